"""What is static in the call of an operator: that of a CVXPY problem, or of a cone program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.core import ShapedArray

from . import _operator_host
from ._slots import Mask


@dataclass(frozen=True)
class OperatorSpec:
    """What is static."""

    operator: Any
    size: int
    dtype: np.dtype[Any]
    examine: bool = False

    @property
    def host(self) -> Any:
        """The module of the operations on the host."""
        return _operator_host

    @property
    def ranks(self) -> tuple[int, ...]:
        return self.operator.ranks  # type: ignore[no-any-return]

    @property
    def output_ranks(self) -> tuple[int, ...]:
        return self.operator.output_ranks  # type: ignore[no-any-return]

    @property
    def data_mask(self) -> Mask:
        return (True,) * len(self.operator.ranks)

    def outputs(self) -> list[Any]:
        return [ShapedArray((self.size, *shape), self.dtype) for shape in self.operator.output_shapes]

    def state(self) -> Any:
        return ShapedArray((self.size, 2 * self.operator.state_size), np.dtype(np.uint32))

    def codes(self) -> Any:
        """Status and iterations, and the verdict where it is wanted."""
        return ShapedArray((self.size, 2 + self.examine), np.dtype(np.int32))

    def gradients(self, ask: Mask, summed: Mask) -> list[Any]:
        slots = zip(ask, summed, self.operator.shapes, strict=True)
        return [ShapedArray(shape if s else (self.size, *shape), self.dtype) for a, s, shape in slots if a]
