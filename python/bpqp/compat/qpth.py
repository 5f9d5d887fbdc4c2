"""The call shape of qpth (OptNet's layer) on `bpqp.torch.solve_qp`.

    from bpqp.compat.qpth import QPFunction
    z = QPFunction()(Q, p, G, h, A, b)          # minimize 1/2 z'Q z + p'z  subject to  G z <= h,  A z = b

What is as in qpth:

* Any argument may have a batch dimension first; an absent block is an empty tensor. The result always has a batch
  dimension, of size 1 if no argument has one.
* The gradient of an argument *shared* by the batch is the **mean** over the batch. The derivative of a loss is the sum,
  and `bpqp.torch.solve_qp` gives that: to move over, and keep a learning rate, multiply the loss by the batch size, or
  leave the sum and divide the rate. The gradient of an argument with a batch dimension is the same in both.
* With `check_Q_spd` a Q that is not positive definite is a RuntimeError.

What is not: a problem without a solution raises `bpqp.SolveError`, where qpth returns its last iterate; a Q that is not
symmetric is refused; blocks may be absent in any combination; and the solver is that of bpqp, which stops at its own
tolerances, so `eps`, `notImprovedLim`, `maxIter` and `solver` are accepted and change nothing. Second derivatives are
right. Forward mode is refused: a mean is not what a derivative in that mode would be.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from typing import Any

import torch

from .._errors import ArgumentError, SolveError
from ..torch import solve_qp

__all__ = ["QPFunction", "QPSolvers", "qp"]

# so that `qpth.qp.QPFunction` is found after `from bpqp.compat import qpth`
qp = sys.modules[__name__]

RANKS = {"Q": 2, "p": 1, "G": 2, "h": 1, "A": 2, "b": 1}


class QPSolvers(Enum):
    """The names of qpth's solvers; bpqp chooses its own for both."""

    PDIPM_BATCHED = 1
    CVXPY = 2


class _Averaged(torch.autograd.Function):
    """The identity, whose gradient is divided by the size of the batch."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: torch.Tensor, size: int) -> torch.Tensor:
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.size = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradient: Any) -> Any:
        return gradient[0] / ctx.size, None


def QPFunction(
    eps: float = 1e-12,
    verbose: int = 0,
    notImprovedLim: int = 3,
    maxIter: int = 20,
    solver: QPSolvers = QPSolvers.PDIPM_BATCHED,
    check_Q_spd: bool = True,
) -> Callable[..., torch.Tensor]:
    """A layer `(Q, p, G, h, A, b) -> z` with the meaning described in this module; z has shape (batch, n)."""
    if getattr(solver, "name", None) not in QPSolvers.__members__:
        raise ArgumentError(f"solver = {solver!r}: choose a member of QPSolvers")

    def layer(
        Q: torch.Tensor,
        p: torch.Tensor,
        G: torch.Tensor | None = None,
        h: torch.Tensor | None = None,
        A: torch.Tensor | None = None,
        b: torch.Tensor | None = None,
    ) -> torch.Tensor:
        given = dict(zip(RANKS, (Q, p, G, h, A, b), strict=True))
        data = {name: value for name, value in given.items() if value is not None and value.numel() > 0}
        for name in ("Q", "p"):
            if name not in data:
                raise ArgumentError(f"{name} is empty: only G, h, A and b may be")
        if check_Q_spd and torch.linalg.cholesky_ex(Q.detach()).info.any():
            raise SolveError("Q is not SPD: pass check_Q_spd=False for a semidefinite Q")
        sizes = [value.shape[0] for name, value in data.items() if value.dim() == RANKS[name] + 1]
        if sizes and sizes[0] > 1:
            for name, value in data.items():
                if value.dim() == RANKS[name]:
                    data[name] = _Averaged.apply(value, sizes[0])
        blocks = (data.get(name) for name in ("G", "h", "A", "b"))
        z: torch.Tensor = solve_qp(data["Q"], data["p"], *blocks, verbose=verbose > 0)
        return z if sizes else z.unsqueeze(0)

    return layer
