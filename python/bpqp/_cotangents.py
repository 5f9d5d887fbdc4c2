"""Derivatives of a loss by the outputs, as the extension takes them: one check for every kind of solution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._arguments import numbers_of
from ._errors import ArgumentError, DtypeError
from ._types import Array

_F64 = np.dtype(np.float64)


def none_given(names: tuple[str, ...]) -> ArgumentError:
    """What is raised where a derivative was asked for and nothing says of what."""
    return ArgumentError(f"no cotangent was given: pass {', '.join(f'{name}=' for name in names)}")


def doubles_like(what: str, value: Any, shape: tuple[int, ...]) -> Array:
    """The value as a contiguous array of doubles of this shape."""
    array = numbers_of(what, value)
    if array.dtype.kind not in "iuf":
        raise DtypeError(f"{what} has dtype {array.dtype}: pass float64 or float32")
    if array.shape != shape:
        raise ArgumentError(f"{what} has shape {array.shape}, expected {shape}")
    # ascontiguousarray gives a number an axis
    return np.ascontiguousarray(array, dtype=np.float64).reshape(shape)


def _plain(value: Any, shape: tuple[int, ...]) -> bool:
    """True for what is already as `doubles_like` makes it, by far the most common: asked in the shortest way."""
    return type(value) is np.ndarray and value.dtype is _F64 and value.shape == shape and value.flags.c_contiguous


def of_x(value: Any, x: Array) -> tuple[Array, None, None, None, None] | None:
    """The cotangents of a loss by `x` alone, the first of five outputs, where that needs no more than a look."""
    return (value, None, None, None, None) if _plain(value, x.shape) else None


def cotangents_of(solution: Any, names: tuple[str, ...], given: Mapping[str, Any]) -> list[Array | None]:
    """One array for each output of the solution in the order of `names`, None for those that are not in the loss."""
    found: list[Array | None] = [None] * len(names)
    nothing = True
    for name, value in given.items():
        if value is None:
            continue
        if name not in names:
            raise ArgumentError(f"a cotangent of {name} was given: this solution has {', '.join(names)}")
        nothing, own = False, getattr(solution, name)
        shape = own.shape if type(own) is np.ndarray else np.shape(own)
        plain = _plain(value, shape)
        found[names.index(name)] = value if plain else doubles_like(f"the cotangent of {name}", value, shape)
    if nothing:
        raise none_given(names)
    return found
