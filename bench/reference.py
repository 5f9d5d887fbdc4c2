"""What the peers are compared with, and how.

Quadratic programs: a tight interior point guesses which rows and bounds are active; the KKT system of that set is
solved by LU with refinement, residuals in extended precision (80 bits on x86); the set is corrected until every
active multiplier and every inactive slack is positive. What comes out is an optimum whoever guessed, and the gradient
is one more solve with the same factors. Cones: Newton's method on the optimality conditions with the Jordan products
of the cones, and one more solve with its Jacobian, along random directions. CVXPY layers (layers.py): central
differences of tight solves at two steps.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg as sla
import scipy.sparse as sp
import scipy.sparse.linalg as spla

LONG = np.longdouble
# elements of a batch that are checked
CHECKED = 8


class Refined:
    """K x = r by LU, refined with residuals in extended precision."""

    def __init__(self, K):
        self.K = K.astype(LONG)
        if sp.issparse(K):
            self.solve = spla.splu(sp.csc_matrix(K)).solve
        else:
            factors = sla.lu_factor(K)
            self.solve = lambda r: sla.lu_solve(factors, r)

    def __call__(self, r):
        x, best, error = 0 * r, None, np.inf
        for _ in range(12):
            residual = r - self.K @ x
            now = float(np.abs(residual).max(initial=0)) / max(float(np.abs(r).max(initial=0)), 1e-300)
            if now >= error:
                break
            best, error = x, now
            x = x + self.solve(residual.astype(float)).astype(LONG)
        return best, error


def guess(p):
    """Active rows, and -1, 0 or 1 for variables at lb, free, at ub."""
    import clarabel

    n, ne, ni = p.n, len(p.b), len(p.h)
    lb, ub = (np.full(n, -np.inf), np.full(n, np.inf)) if p.lb is None else (p.lb, p.ub)
    low, up, eye = np.isfinite(lb), np.isfinite(ub), sp.eye(n, format="csr")
    C = sp.vstack([sp.csc_matrix(p.A), sp.csc_matrix(p.G), eye[up], -eye[low]], format="csc")
    d = np.concatenate([p.b, p.h, ub[up], -lb[low]])
    for tolerance in (1e-12, 1e-10, 1e-8):
        s = clarabel.DefaultSettings()
        s.verbose, s.max_iter = False, 300
        s.tol_gap_abs = s.tol_gap_rel = s.tol_feas = tolerance
        cones = [clarabel.ZeroConeT(ne), clarabel.NonnegativeConeT(len(d) - ne)]
        found = clarabel.DefaultSolver(sp.triu(sp.csc_matrix(p.P), format="csc"), p.q, C, d, cones, s).solve()
        if "Solved" in str(found.status):
            break
    on = np.array(found.z) > np.array(found.s)
    held, ups = np.zeros(n, int), int(up.sum())
    held[up] += on[ne + ni : ne + ni + ups]
    held[low] -= on[ne + ni + ups :]
    return on[ne : ne + ni], held


def quadratic(p):
    n, ne = p.n, len(p.b)
    lb, ub = (np.full(n, -np.inf), np.full(n, np.inf)) if p.lb is None else (p.lb, p.ub)
    active, held = guess(p)
    P, A, G = (M.tocsr() if p.sparse else M for M in (p.P, p.A, p.G))
    long = [M.astype(LONG) for M in (P, A, G)]
    for attempt in range(60):
        free = held == 0
        Ga = G[active]
        # SuperLU may crash on it
        if p.sparse and ne + active.sum() > free.sum():
            raise ArithmeticError("more active rows than free variables: no regular active set")
        blocks = [[P[free][:, free], A[:, free].T, Ga[:, free].T], [A[:, free], None, None], [Ga[:, free], None, None]]
        if p.sparse:
            K = sp.bmat(blocks, format="csc")
        else:
            K = np.zeros((int(free.sum()) + ne + len(Ga),) * 2)
            f = int(free.sum())
            K[:f, :f], K[f:, :f], K[:f, f:] = blocks[0][0], np.vstack([A, Ga])[:, free], np.vstack([A, Ga])[:, free].T
        solver, f = Refined(K), int(free.sum())
        x = np.where(held > 0, ub, np.where(held < 0, lb, 0.0)).astype(LONG)
        right = [-(p.q + long[0] @ x)[free], p.b - long[1] @ x, p.h[active] - (long[2] @ x)[active]]
        found, residual = solver(np.concatenate(right))
        x[free], y, z = found[:f], found[f : f + ne], np.zeros(len(p.h), LONG)
        z[active] = found[f + ne :]
        box = -(p.q + long[0] @ x + long[1].T @ y + long[2].T @ z)
        slack, room_low, room_up = p.h - long[2] @ x, x - lb, ub - x
        wrong_rows = (active & (z <= 0)) | (~active & (slack <= 0))
        wrong = ((held > 0) & (box <= 0)) | ((held < 0) & (box >= 0)) | (free & ((room_low <= 0) | (room_up <= 0)))
        if not (wrong_rows.any() or wrong.any()):
            break
        # all that is wrong at first; later one at a time, which does not cycle for long
        active, held = active.copy(), held.copy()
        change = np.concatenate([wrong_rows, wrong])
        if attempt >= 8:
            first = np.flatnonzero(change)[0]
            change[:] = False
            change[first] = True
        rows, bounds = change[: len(active)], change[len(active) :]
        active[rows] = ~active[rows]
        held[bounds] = np.where(free, np.where(room_low <= 0, -1, 1), 0)[bounds]
    else:
        raise ArithmeticError("no active set is consistent")
    found, _ = solver(np.concatenate([-p.g[free], np.zeros(ne + int(active.sum()))]).astype(LONG))
    dx, dz = np.zeros(n), np.zeros(len(p.h))
    dx[free], dy = found[:f].astype(float), found[f : f + ne].astype(float)
    dz[active] = found[f + ne :].astype(float)
    multipliers = np.concatenate([z[active], np.abs(box[~free])]).astype(float)
    slacks = np.concatenate([slack[~active], room_low[free], room_up[free]]).astype(float)
    scale = max(float(np.abs(z).max(initial=0)), float(np.abs(box).max(initial=0)), 1e-300)
    margin = min(multipliers.min(initial=np.inf) / scale, slacks.min(initial=np.inf) / max(1, float(np.abs(x).max())))
    return {
        **{"x": x.astype(float), "y": y.astype(float), "z": z.astype(float), "dx": dx, "dy": dy, "dz": dz},
        "active": float(active.sum() + (~free).sum()),
        "margin": margin,
        "residual": residual,
    }


def tight(p, q):
    """x and multipliers as far as double precision goes: of several settings what satisfies its conditions best."""
    import clarabel

    named = {"zero": clarabel.ZeroConeT, "nonnegative": clarabel.NonnegativeConeT, "soc": clarabel.SecondOrderConeT}
    named |= {"psd": clarabel.PSDTriangleConeT, "exp": clarabel.ExponentialConeT}
    cones = [named[kind](*size) for kind, *size in p.cones]
    P = sp.csc_matrix((p.n, p.n)) if p.P is None else sp.triu(p.P, format="csc")
    best, least = None, np.inf
    for tolerance, regularization in ((1e-15, 1e-11), (1e-13, 1e-10), (1e-12, 1e-8)):
        s = clarabel.DefaultSettings()
        s.verbose, s.max_iter, s.iterative_refinement_max_iter = False, 500, 30
        s.tol_gap_abs = s.tol_gap_rel = s.tol_feas = s.tol_ktratio = tolerance
        s.static_regularization_constant = regularization
        s.iterative_refinement_reltol = s.iterative_refinement_abstol = 1e-15
        found = clarabel.DefaultSolver(P, q, p.A, p.b, cones, s).solve()
        x, z, slack = (np.array(v) for v in (found.x, found.z, found.s))
        off = max(np.abs(p.A @ x + slack - p.b).max(), np.abs(q + p.A.T @ z + (P @ x if p.P is not None else 0)).max())
        off = max(off, np.abs(slack * z).sum())
        if off < least:
            best, least = (x, z), off
    return best


def directions(p):
    """Of q: several for one problem, one for each element of a batch that is checked."""
    return np.random.default_rng(7).standard_normal((CHECKED if p.batch is None else min(CHECKED, p.batch), p.n))


def multiplication(kind, v):
    """The matrix of `u -> v o u`, the Jordan product of the cone."""
    if kind == "nonnegative":
        return np.diag(v)
    if kind == "soc":
        M = v[0] * np.eye(len(v))
        M[0], M[:, 0] = v, v
        return M
    n = round((np.sqrt(8 * len(v) + 1) - 1) / 2)
    j, i = np.tril_indices(n)  # the upper triangle by columns
    root = np.where(i == j, 1.0, np.sqrt(2.0))

    def full(u):
        X = np.zeros((n, n))
        X[i, j] = X[j, i] = u / root
        return X

    V, unit = full(v), [full(e) for e in np.eye(len(v))]
    return np.stack([(root * (V @ E + E @ V)[i, j]) / 2 for E in unit], axis=1)


def optimum(p, q, t):
    """x, its derivative along every row of t, and the size of the last step.

    Newton's method on `P x + q + A'y = 0, s o y = 0` with `s = b - A x` (`s = 0` in the zero cone), from a tight
    interior point; its Jacobian is regular where the solution is unique and strictly complementary.
    """
    n, A, (x, y) = p.n, p.A.toarray(), tight(p, q)
    P = np.zeros((n, n)) if p.P is None else p.P.toarray()
    ends = np.cumsum([0] + [c[1] * (c[1] + 1) // 2 if c[0] == "psd" else c[1] for c in p.cones])
    for _ in range(8):
        s, F, J = p.b - A @ x, [P @ x + q + A.T @ y], [np.hstack([P, A.T])]
        for (kind, *_), low, high in zip(p.cones, ends[:-1], ends[1:], strict=True):
            rows = np.zeros((high - low, len(y)))
            if kind == "zero":
                F.append(s[low:high])
                J.append(np.hstack([-A[low:high], rows]))
                continue
            left = multiplication(kind, y[low:high])
            rows[:, low:high] = multiplication(kind, s[low:high])
            F.append(left @ s[low:high])
            J.append(np.hstack([-left @ A[low:high], rows]))
        J = np.vstack(J)
        step = np.linalg.solve(J, -np.concatenate(F))
        x, y = x + step[:n], y + step[n:]
        size = np.abs(step[:n]).max() / np.abs(x).max()
    right = np.vstack([-t.T, np.zeros((len(y), len(t)))])
    return x, np.linalg.solve(J, right)[:n].T, size


def conic(p):
    t, q, g = directions(p), np.atleast_2d(p.q)[:CHECKED], np.atleast_2d(p.g)[:CHECKED]
    along = [t] if p.batch is None else [row[None] for row in t]
    found = [optimum(p, a, d) for a, d in zip(q, along, strict=True)]
    slope = np.concatenate([dx @ c for (_, dx, _), c in zip(found, g, strict=True)])
    worst = max(size for *_, size in found)
    return {"x": np.array([x for x, *_ in found]), "slope": slope, "residual": worst, "margin": 1.0, "active": np.nan}


def of(p):
    if p.kind == "conic":
        return conic(p)
    if p.batch is None:
        return quadratic(p)
    parts = [quadratic(p.element(k)) for k in range(min(p.batch, CHECKED))]
    made = {key: np.stack([part[key] for part in parts]) for key in parts[0]}
    return made | {"margin": made["margin"].min(), "residual": made["residual"].max(), "active": made["active"].mean()}


def relative(a, b, least=1e-300):
    a, b = np.asarray(a, float), np.asarray(b, float)
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), least)) if a.shape == b.shape else np.inf


def errors(p, r, x, grads, mode):
    """Relative errors of x and of the worst gradient that was asked for."""
    if p.kind == "conic":
        slope = (np.atleast_2d(grads["q"])[:CHECKED] * directions(p)).sum(axis=1)
        return relative(np.atleast_2d(x)[:CHECKED], r["x"]), relative(slope, r["slope"])
    if p.batch is not None:
        x, grads = x[:CHECKED], {k: v[:CHECKED] for k, v in grads.items()}
    wanted = {"q": r["dx"]}
    if mode == "all":
        outer = lambda a, b: a[..., :, None] * b[..., None, :]  # noqa: E731
        half = outer(r["dx"], r["x"]) / 2
        wanted["P"] = half + np.swapaxes(half, -1, -2)
        wanted["h"], wanted["G"] = -r["dz"], outer(r["dz"], r["x"]) + outer(r["z"], r["dx"])
        if r["y"].size:
            wanted["b"], wanted["A"] = -r["dy"], outer(r["dy"], r["x"]) + outer(r["y"], r["dx"])
    # at a vertex gradients are zero: they are compared with a millionth of what they would be without constraints
    diagonal = p.P.diagonal() if p.sparse else np.einsum("...ii->...i", p.P)
    least = 1e-6 * np.linalg.norm(p.g) / np.abs(diagonal).max() * max(1.0, np.linalg.norm(r["x"]))
    worst = max(np.inf if key not in grads else relative(grads[key], value, least) for key, value in wanted.items())
    return relative(x, r["x"]), worst
