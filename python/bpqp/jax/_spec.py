"""What is static in a call of a quadratic program. Its slots: P (or d of a factored P), F, q, G, h, A, b, lb, ub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.core import ShapedArray

from . import _host
from ._slots import Mask

SLOTS = ("P", "F", "q", "G", "h", "A", "b", "lb", "ub")
OUTPUT_RANKS = (1, 1, 1, 1, 0)


@dataclass(frozen=True)
class Spec:
    """What is static: the size of the flat batch, the shapes of the data without it, settings."""

    size: int
    factored: bool
    shapes: tuple[tuple[int, ...] | None, ...]
    dtype: np.dtype[Any]
    policy: int
    solver: str
    settings: tuple[tuple[str, Any], ...]
    # the verdict of each element is wanted
    examine: bool = False

    @property
    def host(self) -> Any:
        """The module of the operations on the host."""
        return _host

    @property
    def output_ranks(self) -> tuple[int, ...]:
        return OUTPUT_RANKS

    @property
    def ranks(self) -> tuple[int, ...]:
        return (1 if self.factored else 2, 2, 1, 2, 1, 2, 1, 1, 1)

    @property
    def data_mask(self) -> Mask:
        return tuple(s is not None for s in self.shapes)

    @property
    def widths(self) -> tuple[int, int, int]:
        """Variables, equalities, inequalities."""
        n, h, b = (self.shapes[k] for k in (2, 4, 6))
        assert n is not None
        return n[0], b[0] if b else 0, h[0] if h else 0

    def outputs(self) -> list[Any]:
        n, m, mi = self.widths
        return [ShapedArray((self.size, *w), self.dtype) for w in ((n,), (m,), (mi,), (n,), ())]

    def state(self) -> Any:
        n, m, mi = self.widths
        return ShapedArray((self.size, 2 * (4 * n + m + 3 * mi + 1)), np.dtype(np.uint32))

    def codes(self) -> Any:
        """Status and iterations, and the verdict where it is wanted."""
        return ShapedArray((self.size, 2 + self.examine), np.dtype(np.int32))

    def gradients(self, ask: Mask, summed: Mask) -> list[Any]:
        lead = [() if s else (self.size,) for s in summed]
        picked = zip(ask, lead, self.shapes, strict=True)
        return [
            ShapedArray((*first, *shape), self.dtype) for want, first, shape in picked if want and shape is not None
        ]
