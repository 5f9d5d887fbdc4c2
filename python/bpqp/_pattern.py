"""Patterns of sparse arguments, for the shells of torch and JAX: values travel in the order of the user's entries."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ._arguments import check_sparse
from ._errors import ArgumentError
from ._types import Array


class Pattern:
    """The places of the entries of a matrix, and where they are among those of its compressed columns.

    Two of the same places are one and the same object, so that what was analysed is found again.
    """

    __slots__ = ("count", "indices", "indptr", "permutation", "place", "shape")

    def __init__(self, rows: Array, cols: Array, shape: tuple[int, int], symmetric: bool) -> None:
        self.shape, self.count = shape, len(rows)
        keys = cols * shape[0] + rows
        # the gradient of a symmetric matrix lives on a symmetric pattern
        whole = np.concatenate([keys, rows * shape[0] + cols]) if symmetric else keys
        found, place = np.unique(whole, return_inverse=True)
        self.place = place.reshape(-1)[: self.count]
        self.permutation = len(found) == self.count and len(np.unique(keys)) == self.count
        self.indices = found % max(shape[0], 1)
        self.indptr = np.searchsorted(found, np.arange(shape[1] + 1) * shape[0]).astype(np.int64)

    def columns(self, values: Array) -> Array:
        """The values of compressed columns; entries of one place are added."""
        out = np.zeros((*values.shape[:-1], len(self.indices)))
        if self.permutation:
            out[..., self.place] = values
        else:
            # entries of one place are added one after the other
            for k, at in enumerate(self.place):
                out[..., at] += values[..., k]
        return out

    def block(self, values: Array | None) -> tuple[Array, Array, Array, tuple[int, int]] | None:
        """The matrix as the extension takes it."""
        return None if values is None else (self.indptr, self.indices, self.columns(values), self.shape)

    def gather(self, values: Array) -> Array:
        """The gradient of the user's entries, of one of the compressed columns."""
        return np.ascontiguousarray(values[..., self.place])


@lru_cache(maxsize=32)
def _kept(rows: bytes, cols: bytes, shape: tuple[int, int], symmetric: bool) -> Pattern:
    return Pattern(np.frombuffer(rows, np.int64), np.frombuffer(cols, np.int64), shape, symmetric)


def pattern_of(name: str, rows: Any, cols: Any, shape: tuple[int, ...], symmetric: bool = False) -> Pattern:
    """The pattern of entries at these rows and columns."""
    if len(shape) != 2:
        raise ArgumentError(f"{name} has shape {tuple(shape)}: a sparse argument is a matrix, shared by the batch")
    index = []
    for axis, given, size in zip(("row", "column"), (rows, cols), shape, strict=True):
        array = np.ascontiguousarray(given, dtype=np.int64)
        if array.size and not (array.min() >= 0 and array.max() < size):
            k = int(np.flatnonzero((array < 0) | (array >= size))[0])
            raise ArgumentError(f"entry {k} of {name} has {axis} index {array[k]}: it must be 0 to {size - 1}")
        index.append(array)
    square = symmetric and shape[0] == shape[1]
    return _kept(index[0].tobytes(), index[1].tobytes(), (int(shape[0]), int(shape[1])), square)


def of_scipy(name: str, matrix: Any, symmetric: bool = False) -> tuple[Array, Pattern]:
    """Values and pattern of a matrix of scipy.sparse."""
    check_sparse(name, matrix)
    own = matrix.tocoo()
    return np.asarray(own.data), pattern_of(name, own.row, own.col, own.shape, symmetric)
