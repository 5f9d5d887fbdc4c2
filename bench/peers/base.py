"""What a peer is.

prepare(problem, mode)  not timed: shapes and patterns; in mode `same` also the matrices, which later problems share
load(problem)           not timed: the container alone (NumPy to torch). Stacking, sparsifying, factorizing belong to
                        `forward`.
forward(), backward(g)  timed
x(), grads()            not timed: arrays; `grads` has q, and in mode `all` P, A, b, G, h too (P symmetric)
"""

import numpy as np
import scipy.sparse as sp


class Skip(Exception):
    """The peer cannot do this; the message says why."""


class Peer:
    name = "?"
    kinds = frozenset({"dense", "sparse", "batch"})
    modes = frozenset({"q", "all"})

    def supports(self, problem, mode):
        conic = problem.kind == "conic"
        kind = "conic" if conic else "batch" if problem.batch else "sparse" if problem.sparse else "dense"
        if getattr(problem, "factor", None) is not None:
            kind = "sparse"
        if kind not in self.kinds:
            raise Skip(f"no {kind} problems")
        if mode not in self.modes:
            raise Skip(f"mode {mode} is not set up")

    def prepare(self, problem, mode):
        self.mode = mode

    def load(self, problem):
        self.p = problem


def csc(M):
    return M if sp.issparse(M) else sp.csc_matrix(M)


def stack(A, G):
    return sp.vstack([A, G], format="csc") if sp.issparse(A) else np.vstack([A, G])


class Single(Peer):
    """`solve(p)` and `adjoint(p, state, g)` of one problem, `state[0]` is x; a batch is a loop."""

    def load(self, problem):
        self.p = problem
        self.parts = [problem.element(k) for k in range(problem.batch)] if problem.batch else None
        self.one = problem.lifted or problem

    def forward(self):
        self.state = [self.solve(p) for p in self.parts] if self.parts else self.solve(self.one)

    def backward(self, g):
        if self.parts:
            self.out = [self.adjoint(p, s, v) for p, s, v in zip(self.parts, self.state, g, strict=True)]
        else:
            self.out = self.adjoint(self.one, self.state, self.one.g if self.p.lifted else g)

    def x(self):
        return np.stack([s[0] for s in self.state]) if self.parts else self.state[0][: self.p.n]

    def grads(self):
        if self.parts:
            return {k: np.stack([o[k] for o in self.out]) for k in self.out[0]}
        return {"q": self.out["q"][: self.p.n]} if self.p.lifted else self.out
