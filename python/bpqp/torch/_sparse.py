"""Sparse tensors, and matrices of scipy.sparse, as the values of their entries and a pattern."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .._arguments import is_sparse
from .._errors import ArgumentError, DtypeError
from .._pattern import Pattern, of_scipy, pattern_of

_COMPRESSED = (torch.sparse_csr, torch.sparse_csc)


def sparse(value: Any) -> bool:
    """True for what has a pattern."""
    return is_sparse(value) or (isinstance(value, torch.Tensor) and value.layout != torch.strided)


def apart(name: str, value: Any, like: torch.Tensor, symmetric: bool = False) -> tuple[torch.Tensor, Pattern]:
    """The values of a sparse matrix, differentiable if it is a tensor, and its pattern."""
    if is_sparse(value):
        data, pattern = of_scipy(name, value, symmetric)
        if data.dtype.kind not in "iuf":
            raise DtypeError(f"{name} has dtype {data.dtype}: pass float64 or float32")
        return torch.as_tensor(data, dtype=like.dtype, device=like.device), pattern
    shape = tuple(value.shape)
    if len(shape) != 2 or value.dense_dim():
        raise ArgumentError(f"{name} has shape {shape}: a sparse argument is a matrix, shared by the batch")
    if value.layout == torch.sparse_coo:
        whole = value.coalesce()
        rows, cols = (index.numpy(force=True) for index in whole.indices())
    elif value.layout in _COMPRESSED:
        whole = value
        by_rows = value.layout == torch.sparse_csr
        ends = (value.crow_indices() if by_rows else value.ccol_indices()).numpy(force=True)
        others = (value.col_indices() if by_rows else value.row_indices()).numpy(force=True)
        lines = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        rows, cols = (lines, others) if by_rows else (others, lines)
    else:
        raise DtypeError(f"{name} is a tensor of layout {value.layout}: pass a COO, CSR or CSC one")
    return whole.values(), pattern_of(name, rows, cols, shape, symmetric)


def kept(value: Any) -> torch.Tensor:
    """A matrix of scipy.sparse as a tensor that a module keeps."""
    own = value.tocoo()
    index = torch.from_numpy(np.stack([own.row, own.col]).astype(np.int64))
    return torch.sparse_coo_tensor(index, torch.as_tensor(own.data), own.shape, check_invariants=True).coalesce()
