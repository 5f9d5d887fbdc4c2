# ruff: noqa: E501 (the texts of the page are as long as they are)
"""The cases of adversarial.md, and what is right: in exact fractions or from a closed form, never by a solver."""

import math
from fractions import Fraction

import numpy as np

inf = np.inf


def a(*v):
    return np.array(v, float)


def eliminate(rows, columns):
    """Reduced row echelon form, in fractions."""
    rows, pivots, r = [[Fraction(v) for v in row] for row in rows], [], 0
    for c in range(columns):
        p = next((i for i in range(r, len(rows)) if rows[i][c]), None)
        if p is None:
            continue
        rows[r], rows[p] = rows[p], rows[r]
        rows[r] = [v / rows[r][c] for v in rows[r]]
        for i in range(len(rows)):
            if i != r and rows[i][c]:
                rows[i] = [v - rows[i][c] * w for v, w in zip(rows[i], rows[r], strict=True)]
        pivots.append(c)
        r += 1
    return rows, pivots


def exact_kkt(P, q, C, d, g):
    """x of `min 1/2 x'Px + q'x, C x = d`, and the gradient of g'x by q; None where they are not unique."""
    n, m = len(q), len(C)

    def f(v):
        return [Fraction(float(e)) for e in v]

    left = [f(P[i]) + [Fraction(float(C[k][i])) for k in range(m)] for i in range(n)]
    left += [f(C[k]) + [Fraction(0)] * m for k in range(m)]
    right = [[-Fraction(float(q[i])), Fraction(float(g[i]))] for i in range(n)] + [
        [Fraction(float(d[k])), Fraction(0)] for k in range(m)
    ]
    rows, pivots = eliminate([u + v for u, v in zip(left, right, strict=True)], n + m)
    if pivots[:n] != list(range(n)):
        return None
    return [float(rows[i][n + m]) for i in range(n)], [-float(rows[i][n + m + 1]) for i in range(n)]


class Case:
    """`right` says whether an answer (x, gradient of g'x by q) is right; `honest` is why a flag is the right answer."""

    def __init__(self, name, kind, text, answer, program=None, g=None, right=None, flag=False, cvxpy=None, batch=None):
        self.name, self.kind, self.text, self.answer = name, kind, text, answer
        self.program, self.g, self.right, self.flag, self.cvxpy, self.batch = program, g, right, flag, cvxpy, batch


def near(x, gradient=None, tolerance=1e-3):
    """An answer whose x, and gradient where there is one, are these."""

    def right(r):
        ok = (
            r.get("x") is None
            or x is None
            or np.allclose(r["x"], x, rtol=tolerance, atol=tolerance * np.max(np.abs(x)))
        )
        got = r.get("gradient")
        if got is not None and gradient is not None:
            ok = ok and np.allclose(
                got, gradient, rtol=tolerance, atol=tolerance * max(np.max(np.abs(gradient)), 1e-300)
            )
        return bool(ok)

    return right


def optimal(P, q, A, x):
    """One of the minimizers of `1/2 x'Px + q'x`, `A x = 0`, to a thousandth."""
    x = np.array(x)
    force = P @ x + q
    left = force - A.T @ np.linalg.lstsq(A.T, force, rcond=None)[0]
    return bool(np.abs(A @ x).max() < 1e-3 and np.abs(left).max() < 1e-3)


def never(_):
    return False


def vector(v):
    return "(" + ", ".join(f"{e:.6g}" for e in np.ravel(v)) + ")"


def cases():
    out = []

    def add(*args, **kw):
        return out.append(Case(*args, **kw))

    P, q, A, b, g = a([4, -2, -2], [-2, 1, 1], [-2, 1, 1]), a(0, -1, 3), a([-1, 1, -1]), a(0), a(1, 2, 3)
    assert exact_kkt(P, q, A, b, g) is None  # a line of solutions
    add(
        "face",
        "a face of solutions",
        "`P = [[4,-2,-2],[-2,1,1],[-2,1,1]], q = (0,-1,3)`, `-x1 + x2 - x3 = 0`, gradient of `x1 + 2 x2 + 3 x3` by q",
        "a line of solutions: no derivative; that of the least-norm solution is (52, -13, -65)/196",
        dict(P=P, q=q, A=A, b=b),
        g,
        lambda r, P=P, q=q, A=A: (
            optimal(P, q, A, r["x"])
            and (
                "gradient" not in r
                or bool(r.get("flag") and np.allclose(r["gradient"], a(52, -13, -65) / 196, atol=1e-6))
            )
        ),
        flag=True,
    )

    P, q, G, h, g = np.eye(2), a(-1, -2), a([1, 0], [2, 0]), a(0, 0), a(1, 1)
    x, dq = exact_kkt(P, q, G[:1], h[:1], g)
    add(
        "vertex",
        "a vertex that is none",
        "`min |x|^2/2 - x1 - 2 x2`, `x1 <= 0`, `2 x1 <= 0`: two active rows in two variables, of rank one",
        f"x = {vector(x)}, gradient of x1 + x2 by q {vector(dq)}",
        dict(P=P, q=q, G=G, h=h),
        g,
        near(x, dq),
    )

    v = a(1, -1, -1, 1) / 2
    P = np.eye(5)
    P[1:, 1:] -= 2 * np.outer(v, v)
    low = 0.5 * (2 * v) @ P[1:, 1:] @ (2 * v)
    add(
        "nonconvex",
        "non-convexity missed",
        "`P = blockdiag(1, I - 2 v v')`, `v = (1,-1,-1,1)/2`, `q = 0`, `-1 <= x <= 1`",
        f"not convex: the value is {low:g} at (0, 1, -1, -1, 1), not 0",
        dict(P=P, q=np.zeros(5), lb=-np.ones(5), ub=np.ones(5)),
        None,
        lambda r: r.get("x") is not None and abs(0.5 * np.array(r["x"]) @ P @ np.array(r["x"]) - low) < 1e-6,
        flag=True,
    )

    s = 2.0**-11, 2.0**12
    P, q, A, b, g = np.eye(2), a(1, 3), np.array([[t, t] for t in s]), np.array(s), a(1, 2)
    x, dq = exact_kkt(P, q, A[:1], b[:1], g)
    add(
        "scales",
        "dependent rows of different scale",
        "`min |x|^2/2 + x1 + 3 x2`, the row `x1 + x2 = 1` twice, times 2^-11 and 2^12",
        f"x = {vector(x)}, gradient of x1 + 2 x2 by q {vector(dq)}",
        dict(P=P, q=q, A=A, b=b),
        g,
        near(x, dq),
    )

    e = 2.0**-22
    P, q, A, b = np.eye(2), np.zeros(2), a([1, 1], [1, 1 + e]), a(1, 2)
    x, _ = exact_kkt(P, q, A, b, a(1, 1))
    add(
        "parallel",
        "proofs that prove nothing",
        "two equalities with rows (1, 1) and (1, 1 + 2^-22), right-hand sides 1 and 2",
        f"feasible: x = {vector(x)}",
        dict(P=P, q=q, A=A, b=b),
        None,
        near(x),
    )

    P, q, A, ub = a([3, 2, 0], [2, 4, 4], [0, 4, 8]), a(6, -6, 3), a([-2, 2, -1]), a(inf, 0, inf)
    add(
        "kink",
        "a kink at the origin",
        "`P = [[3,2,0],[2,4,4],[0,4,8]], q = (6,-6,3)`, `-2 x1 + 2 x2 - x3 = 0`, `x2 <= 0`, whose multiplier is 0: gradient of x1 + x2 + x3 by q",
        "x = 0; the derivatives to the two sides differ, so it is one of several",
        dict(P=P, q=q, A=A, b=a(0), ub=ub),
        a(1, 1, 1),
        lambda r: bool(np.abs(r["x"]).max() < 1e-3 and ("gradient" not in r or r.get("flag"))),
        flag=True,
    )

    P, q, lb = np.eye(3), a(-1e8, -0.01, 0.01), a(-inf, 0, 0)
    add(
        "force",
        "a large force elsewhere",
        "`P = I, q = (-1e8, -0.01, 0.01)`, `x2, x3 >= 0`",
        "x = (1e8, 0.01, 0)",
        dict(P=P, q=q, lb=lb),
        a(0, 1, 0),
        lambda r: (
            r.get("x") is not None
            and abs(r["x"][1] - 0.01) < 1e-4
            and (r.get("gradient") is None or np.allclose(r["gradient"], [0, -1, 0], atol=1e-4))
        ),
    )

    P, q, G, h, g = a([2, 1], [0, 2]), a(-1, -1), a([1, 1]), a(10), a(1, 0)
    x, dq = exact_kkt((P + P.T) / 2, q, [], [], g)
    add(
        "asymmetric",
        "a matrix that is not symmetric",
        "`P = [[2,1],[0,2]], q = (-1,-1)`, `x1 + x2 <= 10`: the minimum of `x'Px/2 + q'x` as written",
        f"x = {vector(x)} for the function as written, or an error; half of the matrix is another problem",
        dict(P=P, q=q, G=G, h=h),
        g,
        near(x, dq),
        flag=True,
    )

    add(
        "infeasible",
        "no solution",
        "`min |x|^2/2`, `x1 + x2 <= -1`, `x >= 0`",
        "infeasible",
        dict(P=np.eye(2), q=np.zeros(2), G=a([1, 1]), h=a(-1), lb=np.zeros(2)),
        a(1, 1),
        never,
        flag=True,
    )
    add(
        "unbounded",
        "no solution",
        "`min x1^2/2 - x2`, `x1 + x2 >= 0`",
        "unbounded",
        dict(P=np.diag(a(1, 0)), q=a(0, -1), G=a([-1, -1]), h=a(0)),
        a(1, 1),
        never,
        flag=True,
    )
    add(
        "nan",
        "numbers that are none",
        "`min |x|^2/2 + NaN x1 + x2`, `x <= 1`",
        "an error",
        dict(P=np.eye(2), q=a(np.nan, 1), ub=np.ones(2)),
        a(1, 1),
        never,
        flag=True,
    )
    add(
        "crossed",
        "bounds that cross",
        "`min |x|^2/2`, `1 <= x1 <= -1`",
        "infeasible, or an error",
        dict(P=np.eye(2), q=np.zeros(2), lb=a(1, -1), ub=a(-1, 1)),
        a(1, 1),
        never,
        flag=True,
    )

    P, q, A, b, lb, g = np.diag(a(1, 1e-12)), a(-1, -1e-12), a([1, 1e-6]), a(2), a(0, 0), a(1, 0)
    x, dq = exact_kkt(P, q, A, b, g)
    add(
        "units",
        "variables of other units",
        "`P = diag(1, 1e-12), q = (-1, -1e-12)`, `x1 + 1e-6 x2 = 2`, `x >= 0`",
        f"x = {vector(x)}, gradient of x1 by q {vector(dq)}",
        dict(P=P, q=q, A=A, b=b, lb=lb),
        g,
        lambda r: (
            r.get("x") is not None
            and np.allclose(r["x"], x, rtol=1e-3)
            and (r.get("gradient") is None or np.allclose(r["gradient"], dq, rtol=1e-3))
        ),
    )

    lam = 1e-4
    right, slope = -lam + math.sqrt(1 + lam**2), -1 + lam / math.sqrt(1 + lam**2)
    add(
        "barrier",
        "curved cones",
        "`max x + l (log(1 + x) + log(1 - x))` at l = 1e-4, dx/dl",
        f"x = {right:.8f}, dx/dl = {slope:.6f} (x^2 + 2 l x = 1)",
        right=lambda r: (
            abs(r["x"] - right) < 1e-4 * right and (r.get("gradient") is None or abs(r["gradient"] - slope) < 1e-3)
        ),
        cvxpy=("barrier", lam),
    )
    lam = 1e-9
    root = math.sqrt(lam)
    add(
        "inverse",
        "curved cones",
        "`min x + l / x` at l = 1e-9, dx/dl",
        f"x = {root:.6e}, dx/dl = {0.5 / root:.6g}",
        right=lambda r: (
            abs(r["x"] - root) < 1e-3 * root and (r.get("gradient") is None or abs(r["gradient"] * 2 * root - 1) < 1e-2)
        ),
        cvxpy=("inverse", lam),
    )
    for lam in (1e8, 1e9):
        top = (lam / 4) ** (1 / 3)
        add(
            f"quartic{lam:.0e}".replace("e+0", "e"),
            "the first call differs from later ones",
            f"`min x^4 - {lam:g} x`",
            f"x = {top:.6f}, in a fresh layer and in one that solved l = 1e-9 before",
            right=lambda r, top=top: abs(r["x"] - top) < 1e-3 * top and abs(r["used"] - top) < 1e-3 * top,
            cvxpy=("quartic", lam),
        )
    add(
        "symmetric",
        "attributes of parameters",
        "`min |x|^2`, `S x = (1, 1)`, S declared symmetric and given [[1, 2], [0, 1]]",
        "an error: S is not symmetric",
        right=never,
        flag=True,
        cvxpy=("symmetric", None),
    )
    add(
        "batch",
        "one bad element takes the batch",
        "three programs `min |x|^2/2 + q'x, x1 + x2 = 1`, NaN in one q",
        "the two others are solved: x = (1/2, 1/2)",
        right=lambda r: np.allclose(np.array(r["x"], float)[[0, 2]], 0.5, atol=1e-5),
        batch=np.array([[1, 1], [np.nan, 1], [2, 2.0]]),
    )
    return out
