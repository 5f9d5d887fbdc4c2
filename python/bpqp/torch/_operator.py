"""An operator on arrays, that of a CVXPY problem or of a cone program, as the `Call` of the autograd functions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ._functions import Tensors, like, numpy_of, times


@dataclass
class OperatorCall:
    """What an operation needs besides tensors."""

    operator: Any
    size: int
    like: torch.Tensor
    warm: Any = None
    solved: Any = None
    status: list[str] | None = field(default=None, repr=False)

    @property
    def ranks(self) -> tuple[int, ...]:
        return self.operator.ranks  # type: ignore[no-any-return]

    @property
    def output_ranks(self) -> tuple[int, ...]:
        return self.operator.output_ranks  # type: ignore[no-any-return]

    def flat(self, factor: int) -> OperatorCall:
        return replace(self, size=times(self.size, factor), warm=None, solved=None, status=None)

    def solve(self, data: Tensors) -> Tensors:
        self.solved, outputs = self.operator.solve(
            _arrays(data), self.size, self.warm, self.like.dtype == torch.float32
        )
        self.status = self.solved.status()
        return (*like(self.like, outputs), torch.from_numpy(self.solved.state()).to(self.like.device))

    def vjp(self, data: Tensors, state: Any, cotangents: Tensors, needs: Any, summed: Any) -> Tensors:
        solved = self._solution(data, state)
        return like(self.like, self.operator.vjp(solved, _arrays(cotangents), needs, summed))

    def second_vjp(
        self, data: Tensors, state: Any, cotangents: Tensors, along: Tensors, needs: Any, summed: Any
    ) -> Tensors:
        rows, direction = _arrays(cotangents), _arrays(along)
        found = self.operator.second_vjp(self._solution(data, state), rows, direction, needs, summed)
        return like(self.like, found)

    def jvp(self, data: Tensors, state: Any, tangents: Tensors) -> Tensors:
        return like(self.like, self.operator.jvp(self._solution(data, state), _arrays(tangents)))

    def second_jvp(self, data: Tensors, state: Any, tangents: Tensors, along: Tensors) -> Tensors:
        solved = self._solution(data, state)
        return like(self.like, self.operator.second_jvp(solved, _arrays(tangents), _arrays(along)))

    def _solution(self, data: Tensors, state: Any) -> Any:
        if self.solved is None:
            return self.operator.restore(_arrays(data), numpy_of(state))
        return self.solved


def _arrays(tensors: Tensors) -> list[Any]:
    return [numpy_of(v) for v in tensors]
