# ruff: noqa: E402, E501 (threads are set before NumPy starts them; the texts of the page are as long as they are)
"""Inputs on which solvers and differentiable layers are wrong without a word: what each library returns, and what is right.

    python docs/adversarial.py            writes docs/adversarial.md
    python docs/adversarial.py face kink  prints only the cases whose name has one of the words

Nothing is remembered: every library that is installed is run, each in a process of its own (one that dies is started
again behind the case that killed it), with the settings a user gets. What is right is computed here in exact fractions or
from a closed form, never by a solver.
"""

import json
import math
import os
import subprocess
import sys
import time
import warnings
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
import contextlib

import numpy as np

inf = np.inf
LIMIT = 120  # seconds for a case in a library


def a(*v):
    return np.array(v, float)


# ---- what is right, in fractions ----------------------------------------------------------------------------------
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


# ---- the cases ----------------------------------------------------------------------------------------------------
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


# ---- the libraries ------------------------------------------------------------------------------------------------
def rows_of(program):
    """Bounds as further rows of G."""
    n = len(program["q"])
    G, h = program.get("G", np.zeros((0, n))), program.get("h", np.zeros(0))
    for bound, sign in (("ub", 1), ("lb", -1)):
        v = program.get(bound)
        if v is not None:
            k = np.isfinite(v)
            G, h = np.vstack([G, sign * np.eye(n)[k]]), np.r_[h, sign * v[k]]
    return G, h


def bpqp_qp(case):
    import bpqp

    s = bpqp.solve_qp(
        case.program["P"],
        case.program["q"],
        on_failure="nan",
        **{k: v for k, v in case.program.items() if k not in "Pq"},
    )
    if not s.ok:
        return dict(error=str(s.status))
    out = dict(x=s.x)
    if case.g is not None:
        d = s.vjp(x=case.g, wrt=("q",))
        out.update(gradient=d.q, says=str(d.verdict), flag=str(d.verdict) != "exact")
    return out


def bpqp_batch(case):
    import bpqp

    s = bpqp.solve_qp(np.eye(2), case.batch, A=a([1, 1]), b=a(1), on_failure="nan")
    return dict(x=s.x, says=", ".join(map(str, s.status)))


def qpsolvers_qp(name):
    def run(case):
        import qpsolvers
        import scipy.sparse as sp

        p = dict(case.program)
        sparse = name in ("osqp", "clarabel", "highs")
        for k in "PGA":
            if k in p and sparse:
                p[k] = sp.csc_matrix(p[k])
        problem = qpsolvers.Problem(
            p.pop("P"), p.pop("q"), p.get("G"), p.get("h"), p.get("A"), p.get("b"), p.get("lb"), p.get("ub")
        )
        s = qpsolvers.solve_problem(problem, solver=name)
        return dict(x=s.x) if s.found and s.x is not None else dict(error="not found")

    return run


def qpth_qp(case):
    import torch
    from qpth.qp import QPFunction

    G, h = rows_of(case.program)

    def t(v):
        return torch.tensor(v, dtype=torch.float64)

    q = t(case.program["q"]).requires_grad_()
    A, b = (t(case.program[k]) if k in case.program else torch.empty(0, dtype=torch.float64) for k in "Ab")
    if not len(h):
        G, h = np.zeros((1, len(q))), np.ones(1)  # it wants a row
    x = QPFunction(verbose=-1)(t(case.program["P"]), q, t(G), t(h), A, b)[0]
    out = dict(x=x.detach().numpy())
    if case.g is not None:
        (x @ t(case.g)).backward()
        out["gradient"] = q.grad.numpy()
    return out


def qpth_batch(case):
    import torch
    from qpth.qp import QPFunction

    def t(v):
        return torch.tensor(v, dtype=torch.float64)

    return dict(
        x=QPFunction(verbose=-1)(
            torch.eye(2).double(), t(case.batch), t(a([0, 0])), t(a(1)), t(a([1, 1])), t(a(1))
        ).numpy()
    )


def jaxopt_qp(case):
    import jax
    import jaxopt

    jax.config.update("jax_enable_x64", True)
    p, (G, h) = case.program, rows_of(case.program)
    solver = jaxopt.OSQP()

    def solve(q):
        kw = dict(params_obj=(p["P"], q))
        if "A" in p:
            kw["params_eq"] = (p["A"], p["b"])
        if len(h):
            kw["params_ineq"] = (G, h)
        return solver.run(**kw)

    r = solve(p["q"])
    status = int(r.state.status)
    if status != 1:
        return dict(error=f"status {status}")
    out = dict(x=np.array(r.params.primal))
    if case.g is not None:
        out["gradient"] = np.array(jax.grad(lambda q: solve(q).params.primal @ case.g)(p["q"]))
    return out


def jaxopt_batch(case):
    import jax
    import jaxopt

    jax.config.update("jax_enable_x64", True)
    return dict(
        x=np.array(
            jax.vmap(lambda q: jaxopt.OSQP().run(params_obj=(np.eye(2), q), params_eq=(a([1, 1]), a(1))).params.primal)(
                case.batch
            )
        )
    )


def diffcp_qp(case):
    """Its derivatives want a linear objective: `min t + q'x` with `|F'x|^2 <= 2 t`, `P = F F'`."""
    import diffcp
    import scipy.sparse as sp

    p, (G, h), n = case.program, rows_of(case.program), len(case.program["q"])
    if not np.array_equal(p["P"], p["P"].T):
        return dict(skip=True)
    values, vectors = np.linalg.eigh(p["P"])
    if values.min() < -1e-9 * np.abs(values).max():
        return dict(skip=True)
    F = (vectors * np.sqrt(np.maximum(values, 0))).T
    A, b = p.get("A", np.zeros((0, n))), p.get("b", np.zeros(0))

    def t(v):
        return np.full((1, 1), float(v))

    def wide(M):
        return np.hstack([M, np.zeros((len(M), 1))])

    cone = np.vstack(
        [np.hstack([np.zeros((1, n)), t(-1)]), np.hstack([np.zeros((1, n)), t(-1)]), wide(-math.sqrt(2) * F)]
    )
    cones = {k: v for k, v in (("z", len(b)), ("l", len(h)), ("q", [n + 2])) if v}
    rows, right = sp.csc_matrix(np.vstack([wide(A), wide(G), cone])), np.r_[b, h, 1.0, -1.0, np.zeros(n)]
    x, y, s, _, adjoint = diffcp.solve_and_derivative(rows, right, np.r_[p["q"], 1.0], cones)
    out = dict(x=x[:n])
    if case.g is not None:
        out["gradient"] = adjoint(np.r_[case.g, 0.0], np.zeros_like(y), np.zeros_like(s))[2][:n]
    return out


def layered_qp(case):
    """A program in CVXPY's words, q a parameter."""
    import cvxpy as cp

    p = case.program
    x, q = cp.Variable(len(p["q"])), cp.Parameter(len(p["q"]))
    rows = []
    if "A" in p:
        rows.append(p["A"] @ x == p["b"])
    if "G" in p:
        rows.append(p["G"] @ x <= p["h"])
    for bound, sign in (("ub", 1), ("lb", -1)):
        if bound in p and np.isfinite(p[bound]).any():
            k = np.isfinite(p[bound])
            rows.append(sign * x[k] <= sign * p[bound][k])
    return cp.Problem(cp.Minimize(0.5 * cp.quad_form(x, p["P"]) + q @ x), rows), q, x


def layered(case):
    import cvxpy as cp

    kind, value = case.cvxpy
    x = cp.Variable()
    p = cp.Parameter(nonneg=True)
    if kind == "barrier":
        return cp.Problem(cp.Maximize(x + p * cp.log(1 + x) + p * cp.log(1 - x))), p, x, value
    if kind == "inverse":
        return cp.Problem(cp.Minimize(x + p * cp.inv_pos(x))), p, x, value
    if kind == "quartic":
        return cp.Problem(cp.Minimize(cp.power(x, 4) - p * x)), p, x, value
    p, x = cp.Parameter((2, 2), symmetric=True), cp.Variable(2)
    return cp.Problem(cp.Minimize(cp.sum_squares(x)), [p @ x == 1]), p, x, a([1, 2], [0, 1])


def torch_layer(make):
    def run(case):
        import torch

        def t(v):
            return torch.tensor(v, dtype=torch.float64)

        if case.batch is not None:
            import cvxpy as cp

            x, q = cp.Variable(2), cp.Parameter(2)
            layer = make(cp.Problem(cp.Minimize(cp.sum_squares(x) / 2 + q @ x), [cp.sum(x) == 1]), [q], [x])
            return dict(x=layer(t(case.batch))[0].numpy())
        if case.program is not None:
            problem, q, x = layered_qp(case)
            value = t(case.program["q"]).requires_grad_()
            out = make(problem, [q], [x])(value)[0]
            found = dict(x=out.detach().numpy())
            if case.g is not None:
                (out @ t(case.g)).backward()
                found["gradient"] = value.grad.numpy()
            return found
        problem, p, x, number = layered(case)
        layer = make(problem, [p], [x])
        value = t(number).requires_grad_()
        out = layer(value)[0]
        if out.numel() > 1:
            return dict(x=out.detach().numpy())
        found = dict(x=out.item())
        out.backward()
        found["gradient"] = value.grad.item()
        if case.cvxpy[0] == "quartic":
            problem, p, x, _ = layered(case)
            used = make(problem, [p], [x])
            with contextlib.suppress(Exception):  # what it made of the first call does not matter
                used(t(1e-9))
            found["used"] = used(t(number))[0].item()
        return found

    return run


def bpqp_layer(problem, parameters, variables):
    import bpqp.torch

    layer = bpqp.torch.CvxpyLayer(problem, parameters, variables)
    return lambda *values: layer(*values)


def cvxpylayers_layer(problem, parameters, variables):
    from cvxpylayers.torch import CvxpyLayer

    return CvxpyLayer(problem, parameters, variables)


def cvxpy_forward(solver):
    def run(case):
        problem, p, x, number = layered(case)

        def solve(v):
            p.value = v
            problem.solve(solver=solver)
            if problem.status != "optimal":
                raise RuntimeError(problem.status)
            return x.value

        out = solve(number)
        if np.size(out) > 1:
            return dict(x=out)
        found = dict(x=float(out))
        if case.cvxpy[0] == "quartic":
            with contextlib.suppress(Exception):
                solve(1e-9)
            found["used"] = float(solve(number))
        return found

    return run


def choose(qp=None, batch=None, cvxpy=None):
    def run(case):
        which = batch if case.batch is not None else qp if case.program is not None else cvxpy
        return dict(skip=True) if which is None else which(case)

    return run


bpqp_all = torch_layer(bpqp_layer)
layers_all = torch_layer(cvxpylayers_layer)
LIBRARIES = {
    "bpqp": ("bpqp", choose(bpqp_qp, bpqp_batch, bpqp_all)),
    "cvxpylayers": ("cvxpylayers", choose(layers_all, layers_all, layers_all)),
    "diffcp": ("diffcp", choose(diffcp_qp)),
    "qpth": ("qpth", choose(qpth_qp, qpth_batch)),
    "jaxopt": ("jaxopt", choose(jaxopt_qp, jaxopt_batch)),
    "OSQP": ("osqp", choose(qpsolvers_qp("osqp"))),
    "Clarabel": ("clarabel", choose(qpsolvers_qp("clarabel"), None, cvxpy_forward("CLARABEL"))),
    "SCS": ("scs", choose(None, None, cvxpy_forward("SCS"))),
    "PIQP": ("piqp", choose(qpsolvers_qp("piqp"))),
    "ProxQP": ("proxsuite", choose(qpsolvers_qp("proxqp"))),
    "DAQP": ("daqp", choose(qpsolvers_qp("daqp"))),
    "quadprog": ("quadprog", choose(qpsolvers_qp("quadprog"))),
    "HiGHS": ("highspy", choose(qpsolvers_qp("highs"))),
}


# ---- running ------------------------------------------------------------------------------------------------------
def plain(v):
    return (
        v.tolist()
        if isinstance(v, np.ndarray)
        else float(v)
        if isinstance(v, np.floating)
        else bool(v)
        if isinstance(v, np.bool_)
        else v
    )


def child(library, names):
    for case in cases():
        if case.name not in names:
            continue
        print(json.dumps(dict(begin=case.name)), flush=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                out = LIBRARIES[library][1](case)
            except Exception as e:
                out = dict(error=f"{type(e).__name__}: {e}".split("\n")[0][:90])
        told = [w for w in caught if issubclass(w.category, UserWarning) and "deprecat" not in str(w.message).lower()]
        if told and not out.get("flag"):
            out.update(flag=True, says=str(told[0].message).split("\n")[0][:90])
        print(json.dumps(dict(case=case.name, **{k: plain(v) for k, v in out.items()})), flush=True)


def ask(library, names):
    """What a library says to these cases; a death is an answer too."""
    found, left = {}, list(names)
    while left:
        command = [sys.executable, __file__, "--child", library, *left]
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        end, current = time.monotonic() + LIMIT * len(left), None
        try:
            text, _ = p.communicate(timeout=max(LIMIT, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            p.kill()
            text, _ = p.communicate()
        for line in text.splitlines():
            try:
                said = json.loads(line)
            except ValueError:
                continue  # a library that prints
            if "begin" in said:
                current = said["begin"]
            elif "case" in said:
                found[said["case"]], current = said, None
        if current is not None:
            found[current] = dict(error=f"the process ended with code {p.returncode}")
        before, left = len(left), [n for n in left if n not in found]
        if len(left) == before:
            found.update({n: dict(error="the library did not start") for n in left})
            left = []
    return found


def outcome(case, said):
    if said.get("skip"):
        return "-"
    if "error" in said:
        return "says so" if case.flag else "refuses"
    x = np.array(said["x"], float)
    if case.batch is None and not np.isfinite(x).all():
        return "NaN"
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if case.right(said):
            return "right"
    return "flagged" if said.get("flag") else "**wrong**"


def show(said):
    if "error" in said:
        return said["error"].replace("|", "/")
    text = "x = " + vector(said["x"])
    if said.get("used") is not None:
        text += f", used {said['used']:.6g}"
    if said.get("gradient") is not None:
        text += ", gradient " + vector(said["gradient"])
    return text + (f"; {said['says']}" if said.get("says") else "").replace("|", "/")


def installed(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main(words):
    chosen = [c for c in cases() if not words or any(w in c.name for w in words)]
    names = [c.name for c in chosen]
    libraries = [name for name, (package, _) in LIBRARIES.items() if installed(package)]
    said = {library: ask(library, names) for library in libraries}
    result = {(c.name, library): outcome(c, said[library][c.name]) for c in chosen for library in libraries}
    out = [
        "# Adversarial inputs",
        "",
        "Small programs on which solvers and differentiable layers go wrong, what is right (computed in exact fractions or from a closed",
        "form), and what each library returned with the settings a user gets. Written by `python docs/adversarial.py`, which runs them all:",
        ", ".join(f"{name} {installed(LIBRARIES[name][0])}" for name in libraries)
        + ". Solvers of QPs are called through qpsolvers; Clarabel",
        "and SCS through CVXPY where the program has curved cones; diffcp gets a QP as a second-order cone program.",
        "",
        "- *right*: the numbers are right, and where no derivative exists the answer says that it is one of several.",
        "- *says so*, *refuses*: an error, or a status without numbers; *says so* where that is the right answer.",
        "- *flagged*: numbers that are not right, with a warning or a verdict that says so. *NaN*: no number, and no word.",
        "- **wrong**: another number, without a word. -: cannot be stated there.",
        "",
        "| case | " + " | ".join(libraries) + " |",
        "| --- |" + " --- |" * len(libraries),
    ]
    out += [f"| [{c.name}](#{c.name}) | " + " | ".join(result[c.name, k] for k in libraries) + " |" for c in chosen]
    counts = [sum(result[c.name, k] in ("**wrong**", "NaN") for c in chosen) for k in libraries]
    out += ["| wrong or NaN | " + " | ".join(map(str, counts)) + " |"]
    for c in chosen:
        out += [
            "",
            f"## {c.name}",
            "",
            f"{c.kind[0].upper()}{c.kind[1:]}: {c.text}.",
            "",
            f"Right: {c.answer}.",
            "",
            "| library | returned | |",
            "| --- | --- | --- |",
        ]
        out += [
            f"| {k} | {show(said[k][c.name])} | {result[c.name, k]} |"
            for k in libraries
            if not said[k][c.name].get("skip")
        ]
    text = "\n".join(out) + "\n"
    if words:
        print(text)
    else:
        Path(__file__).with_name("adversarial.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        main(sys.argv[1:])
