"""bpqp as its users call it.

bpqp        bpqp.solve_qp (bpqp.solve_conic), Solution.vjp; matrices known beforehand, dense: bpqp.QpSolver
bpqp-torch  bpqp.torch.solve_qp; matrices known beforehand: bpqp.torch.QpLayer
"""

import bpqp
import numpy as np
import scipy.sparse as sp

from .base import Peer

ALL = ("P", "q", "G", "h", "A", "b")


def arguments(p):
    """What the problem has, by the names of solve_qp."""
    made = {"P": p.P if p.factor is None else bpqp.Factored(*p.factor), "q": p.q}
    for matrix, vector in (("G", "h"), ("A", "b")):
        if getattr(p, vector).shape[-1]:
            made |= {matrix: getattr(p, matrix), vector: getattr(p, vector)}
    return made if p.lb is None else made | {"lb": p.lb, "ub": p.ub}


class Bpqp(Peer):
    name = "bpqp"
    kinds = frozenset({"dense", "sparse", "batch", "conic"})
    modes = frozenset({"q", "all", "same"})

    def prepare(self, problem, mode):
        self.mode, self.solver = mode, None
        if mode == "same" and not problem.sparse and problem.factor is None:
            self.solver = bpqp.QpSolver(**arguments(problem))
            self.out = {"q": np.zeros(problem.n)}

    def load(self, problem):
        self.p = problem
        self.given = None if problem.kind == "conic" else arguments(problem)
        self.wrt = tuple(k for k in ALL if self.given and k in self.given) if self.mode == "all" else ("q",)

    def forward(self):
        if self.solver is not None:
            self.solver.update(q=self.p.q)
            self.solver.solve()
        elif self.p.kind == "conic":
            self.solution = bpqp.solve_conic(self.p.P, self.p.q, self.p.A, self.p.b, self.p.cones, threads=1)
        else:
            self.solution = bpqp.solve_qp(**self.given, threads=1)

    def backward(self, g):
        if self.solver is not None:
            self.solver.vjp(g, out=self.out)
        else:
            self.out = self.solution.vjp(x=g, wrt=self.wrt)

    def x(self):
        return self.solver.x if self.solver is not None else self.solution.x

    def grads(self):
        if self.solver is not None:
            return self.out
        return {k: v.toarray() if sp.issparse(v := getattr(self.out, k)) else v for k in self.wrt}


class BpqpTorch(Peer):
    name = "bpqp-torch"
    kinds = frozenset({"dense", "batch"})
    modes = frozenset({"q", "all", "same"})

    def __init__(self):
        import bpqp.torch
        import torch

        torch.set_num_threads(1)
        self.torch, self.package = torch, bpqp.torch

    def prepare(self, problem, mode):
        self.mode, self.solve = mode, self.package.solve_qp
        if mode == "same":
            known = {k: self.torch.tensor(v) for k, v in arguments(problem).items() if k != "q"}
            self.solve = self.package.QpLayer(**known, threads=1)

    def load(self, problem):
        self.p, given = problem, arguments(problem)
        self.wrt = tuple(k for k in ALL if k in given) if self.mode == "all" else ("q",)
        given = {"q": given["q"]} if self.mode == "same" else given
        self.given = {k: self.torch.tensor(v, requires_grad=k in self.wrt) for k, v in given.items()}
        self.options = {} if self.mode == "same" else {"threads": 1}

    def forward(self):
        self.found = self.solve(**self.given, **self.options)

    def backward(self, g):
        self.found.backward(self.torch.from_numpy(g))

    def x(self):
        return self.found.detach().numpy()

    def grads(self):
        return {k: self.given[k].grad.numpy() for k in self.wrt}


PEERS = [Bpqp, BpqpTorch]
