"""qpth, the layer of OptNet, in double precision; its check that P is positive definite is off."""

import torch
from qpth.qp import QPFunction

from .base import Peer

ALL = ("P", "q", "G", "h", "A", "b")


class Qpth(Peer):
    name = "qpth"
    kinds = frozenset({"dense", "batch"})

    def prepare(self, problem, mode):
        torch.set_num_threads(1)
        self.mode = mode

    def load(self, problem):
        from instances import as_rows

        self.p = p = as_rows(problem)
        self.wrt = tuple(k for k in ALL if p.b.shape[-1] or k not in ("A", "b")) if self.mode == "all" else ("q",)
        self.t = {k: torch.tensor(getattr(p, k), requires_grad=k in self.wrt) for k in ALL}

    def forward(self):
        # equalities that are not there are an empty tensor without a shape
        t = self.t if self.p.b.shape[-1] else self.t | {"A": torch.empty(0), "b": torch.empty(0)}
        self.found = QPFunction(verbose=-1, check_Q_spd=False)(*[t[k] for k in ALL])

    def backward(self, g):
        self.found.backward(torch.from_numpy(g).reshape(self.found.shape))

    def x(self):
        return self.found.detach().numpy().reshape(self.p.q.shape)

    def grads(self):
        made = {k: self.t[k].grad.numpy() for k in self.wrt}
        if "P" in made:
            made["P"] = (made["P"] + made["P"].swapaxes(-1, -2)) / 2
        return made


PEERS = [Qpth]
