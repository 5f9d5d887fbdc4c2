"""Sparse tensors, and matrices of scipy.sparse, as the values of their entries and a pattern."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .._arguments import is_sparse
from .._errors import ArgumentError, DtypeError
from .._pattern import Pattern, of_scipy, pattern_of
from .._types import Array

_LAYOUTS = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)


def sparse(value: Any) -> bool:
    """True for what has a pattern. In words that torch.compile can follow."""
    if isinstance(value, torch.Tensor):
        return value.layout != torch.strided
    return hasattr(value, "tocsc")


def _places(value: torch.Tensor) -> tuple[Array, Array]:
    """Rows and columns of the entries, in their order; seen past the transforms of torch.func that are active."""
    while torch._C._functorch.is_functorch_wrapped_tensor(value):
        if torch._C._functorch.is_batchedtensor(value):
            raise ArgumentError("vmap over a sparse tensor: map over its values, and make the tensor of them inside")
        value = torch._C._functorch.get_unwrapped(value)
    with torch._C._DisableFuncTorch():
        value = value.detach()
        if value.layout == torch.sparse_coo:
            rows, cols = value.coalesce().indices().numpy(force=True)
            return rows, cols
        by_rows = value.layout == torch.sparse_csr
        ends = (value.crow_indices() if by_rows else value.ccol_indices()).numpy(force=True)
        others = (value.col_indices() if by_rows else value.row_indices()).numpy(force=True)
    lines = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    return (lines, others) if by_rows else (others, lines)


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
    if value.layout not in _LAYOUTS:
        raise DtypeError(f"{name} is a tensor of layout {value.layout}: pass a COO, CSR or CSC one")
    whole = value.coalesce() if value.layout == torch.sparse_coo else value
    rows, cols = _places(value)
    return whole.values(), pattern_of(name, rows, cols, shape, symmetric)


def kept(value: Any) -> torch.Tensor:
    """A matrix of scipy.sparse as a tensor that a module keeps."""
    own = value.tocoo()
    index = torch.from_numpy(np.stack([own.row, own.col]).astype(np.int64))
    return torch.sparse_coo_tensor(index, torch.as_tensor(own.data), own.shape, check_invariants=True).coalesce()


def as_scipy(value: torch.Tensor) -> Any:
    """A sparse tensor as a matrix of scipy.sparse."""
    from scipy import sparse as matrices

    whole = value.detach().coalesce() if value.layout == torch.sparse_coo else value.detach()
    return matrices.coo_matrix((whole.values().numpy(force=True), _places(value)), shape=tuple(value.shape)).tocsc()
