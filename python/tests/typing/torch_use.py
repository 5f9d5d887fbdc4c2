"""Code of a user, for the type checker: nothing here is run."""

import bpqp.torch as bt
import torch
from torch import Tensor
from typing_extensions import assert_type


class Policy(torch.nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.layer = bt.QpLayer(P=torch.eye(n), lb=torch.zeros(n), on_failure="nan", threads=1)

    def forward(self, q: Tensor, ids: Tensor) -> Tensor:
        x: Tensor = self.layer(q=q, index=ids)
        return x


def prices(P: Tensor, q: Tensor, A: Tensor, b: Tensor) -> Tensor:
    assert_type(bt.solve_qp(P, q, A=A, b=b), Tensor)
    sol = bt.solve_qp(P, q, A=A, b=b, full=True, eps_abs=1e-9)
    assert_type(sol, bt.Solution)
    return sol.y


def mistake(P: Tensor, q: Tensor) -> None:
    bt.solve_qp(P, q, solver=1)  # type: ignore[call-overload]
