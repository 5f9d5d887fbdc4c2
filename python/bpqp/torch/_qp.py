"""A quadratic program as a `Call`: nine slots P (or d of a factored P), F, q, G, h, A, b, lb, ub, and five outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from .. import _bpqp, _core
from .._qpsolvers import solve_with
from .._verdicts import choice_of, judge
from ._functions import Tensors, like, numpy_of, times

SLOTS = ("P", "F", "q", "G", "h", "A", "b", "lb", "ub")
# of a dense and of a factored P
RANKS = ((2, 2, 1, 2, 1, 2, 1, 1, 1), (1, 2, 1, 2, 1, 2, 1, 1, 1))
OUTPUT_RANKS = (1, 1, 1, 1, 0)


@dataclass(slots=True)
class QpCall:
    """What an operation needs besides tensors."""

    size: int
    factored: bool
    policy: int
    engine: _bpqp.Engine
    solver: str
    settings: Mapping[str, Any]
    warm: Any = None
    solved: Any = None
    status: list[str] | None = field(default=None, repr=False)

    @property
    def ranks(self) -> tuple[int, ...]:
        return RANKS[self.factored]

    @property
    def output_ranks(self) -> tuple[int, ...]:
        return OUTPUT_RANKS

    def flat(self, factor: int) -> QpCall:
        return replace(self, size=times(self.size, factor), warm=None, solved=None, status=None)

    def solve(self, data: Tensors) -> Tensors:
        solved = self.run(data)
        self.status = solved.status()
        outputs = like(data[2], solved.outputs(self.policy != 2))
        return (*outputs, torch.from_numpy(solved.state()).to(data[2].device))

    def run(self, data: Tensors) -> _bpqp.Solved:
        """The solutions of the flat batch; a failure is raised if that is the policy."""
        eight = self.eight(data)
        if _core.by_qpsolvers(self.solver):
            flat = [v[0] if isinstance(v, tuple) else v for v in eight]
            ranks = (self.ranks[0], *self.ranks[2:])
            shared = tuple(v is None or v.ndim == r for v, r in zip(flat, ranks, strict=True))
            problem = _core.Problem(eight, shared, self.size, np.dtype(np.float64), (None,) * 8)
            self.solved = solve_with(self.solver.partition(":")[2], problem, self.settings)
        else:
            self.solved = self.engine.solve(eight, self.warm)
        solved: _bpqp.Solved = self.solved
        if self.settings and self.settings.get("verbose"):
            _core.report(solved)
        if self.policy == 0 and not solved.all_ok():
            _core.raise_failures(solved)
        return solved

    def vjp(self, data: Tensors, state: Any, cotangents: Tensors, needs: Any, summed: Any) -> Tensors:
        solved, rows = self._solution(data, state), tuple(numpy_of(c) for c in cotangents)
        return self.gradients(data, needs, summed, lambda ask, total: solved.vjp(rows, ask, total, self.policy))

    def second_vjp(
        self, data: Tensors, state: Any, cotangents: Tensors, along: Tensors, needs: Any, summed: Any
    ) -> Tensors:
        solved, rows = self._solution(data, state), tuple(numpy_of(c) for c in cotangents)
        direction = self._direction(data, along)

        def derive(ask: Any, total: Any) -> Any:
            return solved.second_vjp(rows, direction, ask, total, self.policy)

        return self.gradients(data, needs, summed, derive)

    def jvp(self, data: Tensors, state: Any, tangents: Tensors) -> Tensors:
        solved = self._solution(data, state)
        return self._moved(data, solved.jvp(self._direction(data, tangents), self.policy))

    def second_jvp(self, data: Tensors, state: Any, tangents: Tensors, along: Tensors) -> Tensors:
        first, second = self._direction(data, tangents), self._direction(data, along)
        return self._moved(data, self._solution(data, state).second_jvp(first, second, self.policy))

    def _moved(self, data: Tensors, found: Any) -> Tensors:
        *moved, codes = found
        judge(codes, choice_of(self.settings))
        return like(data[2], moved)

    def _solution(self, data: Tensors, state: torch.Tensor) -> _bpqp.Solved:
        if self.solved is not None:
            return self.solved  # type: ignore[no-any-return]
        return self.engine.restore(self.eight(data), numpy_of(state))

    def eight(self, slots: Tensors) -> tuple[Any, ...]:
        """Nine slots as the eight blocks of the extension; of a factored P both parts, zero where one is missing."""
        arrays = [None if s is None else numpy_of(s) for s in slots]
        if self.factored and arrays[0] is not None:
            arrays[1] = (arrays[0], arrays[1])
        else:
            arrays[1] = arrays[0]
        return tuple(arrays[1:])

    def _direction(self, data: Tensors, slots: Tensors) -> tuple[Any, ...]:
        if self.factored and (slots[0] is None) != (slots[1] is None):
            pairs = zip(slots[:2], data[:2], strict=True)
            d, factor = (s if s is not None else torch.zeros_like(v) for s, v in pairs)
            slots = (d, factor, *slots[2:])
        return self.eight(slots)

    def gradients(self, data: Tensors, needs: Any, summed: Any, derive: Any) -> Tensors:
        """Runs a gradient of the extension and picks the slots that are needed, as tensors."""
        there = [v is not None for v in data]
        ask = [(needs[0] or needs[1]) and there[0], *[n and t for n, t in zip(needs[2:], there[2:], strict=True)]]
        *eight, codes = derive(ask, summed)
        judge(codes, choice_of(self.settings))
        p = eight[0] if isinstance(eight[0], tuple) else (eight[0], None)
        nine = zip(needs, there, (*p, *eight[1:]), strict=True)
        return like(data[2], [value for need, own, value in nine if need and own])
