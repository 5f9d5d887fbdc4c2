"""The method of the paper: OSQP forward, and OSQP again for the backward pass.

That is an equality-constrained QP on the active rows:

    min 1/2 d'P d + g'd   s.t.   A d = 0,  G_active d = 0

osqp-twice           OSQP's own tolerances (1e-3, no polishing), as in the notebook of its authors; set-up counts here
osqp-twice-polished  1e-6 and polishing, so that it is mostly right
"""

import numpy as np
import osqp
import scipy.sparse as sp

from .base import Single, csc
from .recipe import gradients


class Twice(Single):
    name = "osqp-twice"

    def __init__(self, **settings):
        self.settings = settings

    def osqp(self, P, q, C, low, up):
        s = osqp.OSQP()
        s.setup(P, q, C, low, up, verbose=False, **self.settings)
        r = s.solve()
        if r.info.status_val not in (1, 2):
            raise ArithmeticError(r.info.status)
        return np.array(r.x), np.array(r.y)

    def solve(self, p):
        rows, low, up = [csc(p.A), csc(p.G)], [p.b, np.full(len(p.h), -np.inf)], [p.b, p.h]
        if p.lb is not None:
            rows, low, up = [*rows, sp.eye(p.n)], [*low, p.lb], [*up, p.ub]
        self.C, self.P = sp.vstack(rows, format="csc"), sp.triu(csc(p.P), format="csc")
        x, m = self.osqp(self.P, p.q, self.C, np.concatenate(low), np.concatenate(up))
        ne, ni = len(p.b), len(p.h)
        return x, m[:ne], m[ne : ne + ni], m[ne + ni :], self.C, self.P

    def adjoint(self, p, state, g):
        x, y, z, box, C, P = state
        ne, ni = len(p.b), len(p.h)
        keep = np.concatenate([np.ones(ne, bool), z > p.h - p.G @ x, np.zeros(len(box), bool)])
        if len(box):
            keep[ne + ni :] = (box > p.ub - x) | (-box > x - p.lb)
        zero = np.zeros(int(keep.sum()))
        dx, d = self.osqp(P, g, C.tocsr()[keep].tocsc(), zero, zero)
        m = np.zeros(len(keep))
        m[keep] = d
        return gradients(self.mode, x, y, z, dx, m[:ne], m[ne : ne + ni])


class Polished(Twice):
    name = "osqp-twice-polished"

    def __init__(self):
        super().__init__(eps_abs=1e-6, eps_rel=1e-6, polishing=True, max_iter=20000)


PEERS = [Twice, Polished]
