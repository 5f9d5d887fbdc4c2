"""A good forward solver, then one solve of the KKT system of its active set: what is quickly made by hand.

The active set is where a multiplier is larger than its slack. Variables at a bound leave the system. Dense: Cholesky
and a Schur complement, refined once, where P is positive definite, otherwise LAPACK's symmetric solver. Sparse:
SuperLU, with 1e-9 on the diagonal where it says that the system is singular.

daqp+      DAQP, dual active set, dense          proxqp+    ProxQP, eps 1e-9
piqp+      PIQP, interior point, eps 1e-9        clarabel+  Clarabel, interior point, its own 1e-8
highs+     HiGHS, linear programs, as it comes
"""

import contextlib

import numpy as np
import scipy.linalg as sla
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from .base import Single, csc, stack

lapack, blas = sla.lapack, sla.blas
SINGULAR = 1e-9


def dense_adjoint(P, B, g):
    """[P B'; B 0] [dx; dy] = [-g; 0]."""
    n, m = len(g), len(B)
    L, failed = lapack.dpotrf(P, lower=1, clean=0) if n else (P, 1)
    if not failed and np.diag(L).min() ** 2 > 1e-13 * np.diag(P).max():
        if m == 0:
            return -lapack.dpotrs(L, g, lower=1)[0], np.zeros(0)
        V = blas.dtrsm(1.0, L, B.T, lower=1)
        S, failed = lapack.dpotrf(V.T @ V, lower=1, clean=0)
        if not failed:
            dx, dy = np.zeros(n), np.zeros(m)
            for _ in range(2):
                r, s = -g - P @ dx - B.T @ dy, -(B @ dx)
                u = blas.dtrsv(L, r, lower=1)
                ey = lapack.dpotrs(S, V.T @ u - s, lower=1)[0]
                dx = dx + blas.dtrsv(L, u - V @ ey, lower=1, trans=1)
                dy = dy + ey
            return dx, dy
    K = np.zeros((n + m, n + m))
    K[:n, :n], K[n:, :n], K[:n, n:] = P, B, B.T
    found = sla.solve(K, np.concatenate([-g, np.zeros(m)]), assume_a="sym", check_finite=False)
    return found[:n], found[n:]


def gradients(mode, x, y, z, dx, dy, dz):
    if mode != "all":
        return {"q": dx}
    half = np.outer(dx / 2, x)
    made = {"P": half + half.T, "q": dx, "G": np.outer(dz, x) + np.outer(z, dx), "h": -dz}
    return made | {"A": np.outer(dy, x) + np.outer(y, dx), "b": -dy}


def sparse_adjoint(P, B, g):
    """The same for sparse matrices."""
    n, m = len(g), B.shape[0]
    K = sp.bmat([[P, B.T], [B, None]], format="csc")
    factors = None
    # where more rows than columns, or fewer with too little of P, tell that it is singular SuperLU may crash
    if n - np.count_nonzero(np.diff(P.indptr)) <= m <= n:
        with contextlib.suppress(RuntimeError):
            factors = spla.splu(K)
    if factors is None:
        factors = spla.splu(sp.csc_matrix(K + sp.diags(np.repeat([SINGULAR, -SINGULAR], [n, m]))))
    found = factors.solve(np.concatenate([-g, np.zeros(m)]))
    return found[:n], found[n:]


class Recipe(Single):
    tolerance = 1e-9

    def adjoint(self, p, state, g):
        """`state`: x, y, z, and what the bounds press with (None without bounds), positive at ub."""
        x, y, z, box = state
        active = z > p.h - p.G @ x
        free = np.ones(p.n, bool) if box is None else ~((box > p.ub - x) | (-box > x - p.lb))
        B = stack(p.A, (p.G.tocsr() if p.sparse else p.G)[active])
        P, c = p.P, g
        if not free.all():
            P, B, c = (
                (P.tocsr()[free].tocsc()[:, free], B[:, free], g[free])
                if p.sparse
                else (P[np.ix_(free, free)], B[:, free], g[free])
            )
        inner, dy = (sparse_adjoint if p.sparse else dense_adjoint)(P, B, c)
        dx, dz = np.zeros(p.n), np.zeros(len(p.h))
        dx[free], ne = inner, len(p.b)
        dz[active] = dy[ne:]
        return gradients(self.mode, x, y, z, dx, dy[:ne], dz)


class Daqp(Recipe):
    name = "daqp+"
    kinds = frozenset({"dense", "batch"})

    def solve(self, p):
        import daqp

        n, ne, ni = p.n, len(p.b), len(p.h)
        inner = [] if p.lb is None else [p.ub]
        up = np.concatenate([*inner, p.b, p.h])
        low = np.concatenate([*([] if p.lb is None else [p.lb]), p.b, np.full(ni, -np.inf)])
        sense = np.zeros(len(up), np.int32)
        k = len(up) - ne - ni
        sense[k : k + ne] = 5
        C = np.ascontiguousarray(np.vstack([p.A, p.G]))
        limit = 1e30
        x, _, flag, info = daqp.solve(
            np.ascontiguousarray(p.P), p.q, C, np.minimum(up, limit), np.maximum(low, -limit), sense
        )
        if flag < 0:
            raise ArithmeticError(f"exit flag {flag}")
        m = np.asarray(info["lam"])
        return np.asarray(x), m[k : k + ne], m[k + ne :], m[:n] if k else None


class Proxqp(Recipe):
    name = "proxqp+"

    def solve(self, p):
        import proxsuite

        n, ne, ni, none = p.n, len(p.b), len(p.h), p.lb is None
        A, b = (p.A, p.b) if ne else (None, None)
        if p.sparse and not none:
            # the sparse back end has no bounds of its own
            rows = sp.vstack([p.G, sp.eye(n)], format="csc")
            s = proxsuite.proxqp.sparse.QP(n, ne, ni + n)
            s.settings.eps_abs = self.tolerance
            low, up = (
                np.concatenate([np.full(ni, -1e20), np.maximum(p.lb, -1e20)]),
                np.concatenate([p.h, np.minimum(p.ub, 1e20)]),
            )
            s.init(p.P, p.q, A, b, rows, low, up)
        else:
            made = (proxsuite.proxqp.sparse if p.sparse else proxsuite.proxqp.dense).QP
            s = made(n, ne, ni) if none else made(n, ne, ni, True)
            s.settings.eps_abs = self.tolerance
            box = () if none else (np.maximum(p.lb, -1e20), np.minimum(p.ub, 1e20))
            G, h = (p.G, p.h) if ni else (None, None)
            s.init(p.P, p.q, A, b, G, np.full(ni, -1e20) if ni else None, h, *box)
        s.solve()
        r = s.results
        z = np.array(r.z)
        return np.array(r.x), np.array(r.y), z[:ni], None if none else z[ni:]


class Piqp(Recipe):
    name = "piqp+"

    def solve(self, p):
        import piqp

        s = piqp.SparseSolver() if p.sparse else piqp.DenseSolver()
        s.settings.eps_abs = s.settings.eps_rel = self.tolerance
        s.settings.max_iter = 500
        ne, ni = len(p.b), len(p.h)
        A, b = (p.A, p.b) if ne else (None, None)
        G, h = (p.G, p.h) if ni else (None, None)
        s.setup(p.P, p.q, A, b, G, None, h, p.lb, p.ub)
        s.solve()
        r = s.result
        z = np.array(r.z_u) if ni else np.zeros(0)
        box = None if p.lb is None else np.array(r.z_bu) - np.array(r.z_bl)
        return np.array(r.x), np.array(r.y) if ne else np.zeros(0), z, box


class Clarabel(Recipe):
    name = "clarabel+"

    def solve(self, p):
        import clarabel

        s = clarabel.DefaultSettings()
        s.verbose, s.max_threads = False, 1
        n, ne, ni = p.n, len(p.b), len(p.h)
        rows, right = [csc(p.A), csc(p.G)], [p.b, p.h]
        if p.lb is not None:
            up, low, eye = np.isfinite(p.ub), np.isfinite(p.lb), sp.eye(n, format="csr")
            rows, right = [*rows, eye[up], -eye[low]], [*right, p.ub[up], -p.lb[low]]
        C, d = sp.vstack(rows, format="csc"), np.concatenate(right)
        cones = [clarabel.ZeroConeT(ne), clarabel.NonnegativeConeT(len(d) - ne)]
        r = clarabel.DefaultSolver(sp.triu(csc(p.P), format="csc"), p.q, C, d, cones, s).solve()
        m, box = np.array(r.z), None
        if p.lb is not None:
            box, ups = np.zeros(n), int(up.sum())
            box[up] += m[ne + ni : ne + ni + ups]
            box[low] -= m[ne + ni + ups :]
        return np.array(r.x), m[:ne], m[ne : ne + ni], box


class Highs(Recipe):
    name = "highs+"
    kinds = frozenset({"sparse"})

    def solve(self, p):
        import highspy

        n, ne, ni = p.n, len(p.b), len(p.h)
        C = stack(p.A, p.G)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = n, ne + ni
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = p.q, p.lb, p.ub
        lp.row_lower_, lp.row_upper_ = np.r_[p.b, np.full(ni, -np.inf)], np.r_[p.b, p.h]
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = C.indptr, C.indices, C.data
        s = highspy.Highs()
        s.setOptionValue("output_flag", False)
        s.setOptionValue("threads", 1)
        s.passModel(lp)
        s.run()
        found = s.getSolution()
        m = -np.array(found.row_dual)
        return np.array(found.col_value), m[:ne], m[ne:], -np.array(found.col_dual)


PEERS = [Daqp, Proxqp, Piqp, Clarabel, Highs]
