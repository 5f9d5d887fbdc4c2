"""Operands as slots: which are there, and how they are packed.

A slot with one dimension more than its rank has one value per element of the batch; other slots are shared, and their
gradients are sums.
"""

from __future__ import annotations

from typing import Any

from jax.interpreters import ad

Mask = tuple[bool, ...]


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


def split(spec: Any, masks: tuple[Mask, ...], args: Any) -> tuple[Any, ...]:
    """The data, the state, and the slots of each mask."""
    count = sum(spec.data_mask)
    out = [spread(spec.data_mask, args[:count]), args[count]]
    at = count + 1
    for mask in masks:
        out.append(spread(mask, args[at : at + sum(mask)]))
        at += sum(mask)
    return tuple(out)
