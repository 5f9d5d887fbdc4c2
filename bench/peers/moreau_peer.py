"""Moreau, on the CPU, through its CompiledSolver; patterns are known beforehand, numbers are not.

`max_iter` is 5000 instead of 200: its active set method needs more on portfolios, and says nothing to `backward` when
it stops.
"""

import moreau
import numpy as np
import scipy.sparse as sp

from .base import Peer


def order(M):
    """Where each entry in CSR order is in the CSC data of M."""
    M = sp.csc_matrix(M)
    marked = sp.csc_matrix((np.arange(1, M.nnz + 1), M.indices, M.indptr), M.shape)
    return sp.csr_matrix(marked).data.astype(int) - 1


def full(rows, columns):
    return np.arange(rows + 1) * columns, np.tile(np.arange(columns), rows)


class Moreau(Peer):
    name = "moreau"
    kinds = frozenset({"dense", "sparse", "batch", "conic"})
    modes = frozenset({"q"})

    def prepare(self, problem, mode):
        from instances import as_rows

        self.mode, p = mode, problem
        settings = moreau.Settings(device="cpu", enable_grad=True, batch_size=p.batch or 1, max_iter=5000)
        if p.kind == "conic":
            size = lambda kind: sum(c[1] if len(c) > 1 else 1 for c in p.cones if c[0] == kind)  # noqa: E731
            cones = moreau.Cones(
                num_zero_cones=size("zero"),
                num_nonneg_cones=size("nonnegative"),
                so_cone_dims=[c[1] for c in p.cones if c[0] == "soc"],
                num_exp_cones=size("exp"),
                psd_dims=[c[1] for c in p.cones if c[0] == "psd"],
            )
            A = sp.csr_matrix(p.A)
            pattern, m = (np.zeros(p.n + 1, int), np.zeros(0, int), A.indptr, A.indices), len(p.b)
            self.rows = [order(p.A)]
        else:
            p = as_rows(p.lifted or p)
            ne, ni = p.b.shape[-1], p.h.shape[-1]
            m, cones = ne + ni, moreau.Cones(num_zero_cones=ne, num_nonneg_cones=ni)
            if p.sparse:
                P, C = sp.csr_matrix(p.P), sp.csr_matrix(sp.vstack([p.A, p.G]))
                pattern = (P.indptr, P.indices, C.indptr, C.indices)
                self.rows = [order(M) for M in (p.P, p.A, p.G)]
            else:
                pattern = full(p.n, p.n) + full(m, p.n)
        names = ("P_row_offsets", "P_col_indices", "A_row_offsets", "A_col_indices")
        self.s = moreau.CompiledSolver(
            n=p.n, m=m, cones=cones, settings=settings, **dict(zip(names, pattern, strict=True))
        )

    def load(self, problem):
        from instances import as_rows

        self.p = problem
        self.one = problem if problem.kind == "conic" else as_rows(problem.lifted or problem)
        self.size = problem.batch or 1

    def values(self):
        p, size = self.one, self.size
        if p.kind == "conic":
            return np.zeros((size, 0)), np.repeat(p.A.data[self.rows[0]][None], size, 0)
        if p.sparse:
            P, A, G = (M.data[k] for M, k in zip((p.P, p.A, p.G), self.rows, strict=True))
            return P[None], np.concatenate([A, G])[None]
        return p.P.reshape(size, -1), np.concatenate([p.A, p.G], axis=-2).reshape(size, -1)

    def forward(self):
        p = self.one
        self.s.setup(*self.values())
        b = p.b if p.kind == "conic" else np.concatenate([p.b, p.h], axis=-1)
        self.found = self.s.solve(np.atleast_2d(p.q), np.repeat(b[None], self.size, 0) if b.ndim == 1 else b)
        bad = {str(s).rsplit(".", 1)[-1] for s in self.s.info.status} - {"Solved", "AlmostSolved"}
        if bad:
            raise ArithmeticError(f"status {sorted(bad)}")

    def backward(self, g):
        self.out = self.s.backward(np.atleast_2d(self.one.g if getattr(self.p, "lifted", None) else g))

    def x(self):
        return np.asarray(self.found.x)[:, : self.p.n].reshape(self.p.q.shape)

    def grads(self):
        return {"q": np.asarray(self.out["dq"])[:, : self.p.n].reshape(self.p.q.shape)}


PEERS = [Moreau]
