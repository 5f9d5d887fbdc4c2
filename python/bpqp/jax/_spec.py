"""What is static in a call, and the slots of its operands.

The data of a quadratic program are nine slots: P (or d of a factored P), F, q, G, h, A, b, lb, ub. A slot with
one dimension more than its rank has one value per element of the batch; other slots are shared, and their gradients are
sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.core import ShapedArray
from jax.interpreters import ad

SLOTS = ("P", "F", "q", "G", "h", "A", "b", "lb", "ub")
OUTPUT_RANKS = (1, 1, 1, 1, 0)
Mask = tuple[bool, ...]


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
        from . import _host

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


def spread(mask: Mask, values: Any) -> list[Any]:
    """Values at the places of the mask, None elsewhere."""
    left = iter(values)
    return [next(left) if there else None for there in mask]


def pack(values: Any) -> tuple[Mask, list[Any]]:
    """The mask of what is there, and what is there."""
    there = tuple(v is not None for v in values)
    return there, [v for v in values if v is not None]


def alive(values: Any) -> list[Any]:
    """None for symbolic zeros."""
    return [None if v is None or isinstance(v, ad.Zero) else v for v in values]


def split(spec: Spec, masks: tuple[Mask, ...], args: Any) -> tuple[Any, ...]:
    """The data, the state, and the slots of each mask."""
    count = sum(spec.data_mask)
    out = [spread(spec.data_mask, args[:count]), args[count]]
    at = count + 1
    for mask in masks:
        out.append(spread(mask, args[at : at + sum(mask)]))
        at += sum(mask)
    return tuple(out)
