"""bpqp in the benchmark of peers: what a user of the package calls, nothing prepared that a user could not prepare.

bpqp       NumPy: bpqp.solve_qp and Solution.vjp (bpqp.solve_conic for the second-order cones)
bpqp-torch torch tensors: bpqp.torch.solve_qp; where only q changes a QpLayer that was given the rest at construction
"""

import bpqp
import numpy as np
import scipy.sparse as sp

from .base import Peer

WRT = {"q": ("q",), "qfix": ("q",), "all": ("P", "q", "G", "h", "A", "b")}


class Bpqp(Peer):
    name = "bpqp"
    kinds = frozenset({"qp", "sparse", "batch", "socp"})
    modes = frozenset({"q", "all"})
    max_dense = 10**9

    def prepare(self, problem, mode):
        self.mode = mode
        if problem.kind == "socp":
            n = problem.n
            self.A = sp.vstack([sp.csc_matrix((1, n)), -sp.eye(n)], format="csc")

    def load(self, problem):
        self.p = problem
        self.none = problem.neq == 0

    def forward(self):
        p = self.p
        if p.kind == "socp":
            b = np.concatenate([p.b, np.zeros(p.n)])
            self.sol = bpqp.solve_conic(None, p.q, self.A, b, [("soc", p.n + 1)])
        else:
            A, b = (None, None) if self.none else (p.A, p.b)
            self.sol = bpqp.solve_qp(p.P, p.q, p.G, p.h, A, b)

    def backward(self, g):
        if self.p.kind == "socp":
            self.out = self.sol.vjp(x=g, wrt=("q", "b") if self.mode == "all" else ("q",))
        else:
            self.out = self.sol.vjp(x=g, wrt=WRT[self.mode])

    def z(self):
        return self.sol.x

    def grads(self):
        p, o = self.p, self.out
        if self.mode != "all":
            return {"q": o.q}
        if p.kind == "socp":
            return {"q": o.q, "b": o.b[:1]}
        dense = {k: getattr(o, k) for k in WRT["all"] if getattr(o, k) is not None}
        return {k: v.data if sp.issparse(v) else v for k, v in dense.items()}


class BpqpTorch(Peer):
    name = "bpqp-torch"
    kinds = frozenset({"qp", "batch"})
    modes = frozenset({"q", "all", "qfix"})
    max_dense = 10**9

    def prepare(self, problem, mode):
        import torch

        import bpqp.torch

        torch.set_num_threads(1)
        self.mode, self.torch, self.bt = mode, torch, bpqp.torch
        if mode == "qfix":
            names = [k for k in ("P", "A", "b", "G", "h") if problem.neq or k not in ("A", "b")]
            self.layer = bpqp.torch.QpLayer(**{k: torch.tensor(getattr(problem, k)) for k in names})

    def load(self, problem):
        torch = self.torch
        self.p = problem
        self.t = {
            k: torch.tensor(getattr(problem, k), requires_grad=k in WRT[self.mode])
            for k in ("P", "q", "G", "h", "A", "b")
            if problem.neq or k not in ("A", "b")
        }

    def forward(self):
        self.x = self.layer(q=self.t["q"]) if self.mode == "qfix" else self.bt.solve_qp(**self.t)

    def backward(self, g):
        self.x.backward(self.torch.from_numpy(g))

    def z(self):
        return self.x.detach().numpy()

    def grads(self):
        return {k: v.grad.numpy() for k, v in self.t.items() if k in WRT[self.mode]}


PEERS = [Bpqp, BpqpTorch]
