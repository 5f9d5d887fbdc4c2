"""Sparse arrays of JAX, and matrices of scipy.sparse, as the values of their entries and a pattern."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse as js

from .._arguments import is_sparse
from .._errors import ArgumentError, DtypeError, UnsupportedError
from .._pattern import Pattern, of_scipy, pattern_of


def sparse(value: Any) -> bool:
    """True for what has a pattern."""
    return is_sparse(value) or isinstance(value, js.JAXSparse)


def apart(name: str, value: Any, dtype: Any, symmetric: bool = False) -> tuple[Any, Pattern]:
    """The values of a sparse matrix, differentiable if it is of JAX, and its pattern."""
    if is_sparse(value):
        data, pattern = of_scipy(name, value, symmetric)
        return jnp.asarray(data, dtype), pattern
    if isinstance(value, js.BCSR):
        value = value.to_bcoo()
    if not isinstance(value, js.BCOO):
        raise DtypeError(f"{name} is a {type(value).__name__}: pass a BCOO or BCSR array, or a dense one")
    if len(value.shape) != 2 or value.n_batch or value.n_dense:
        raise ArgumentError(f"{name} has shape {value.shape}: a sparse argument is a matrix, shared by the batch")
    if isinstance(value.indices, jax.core.Tracer):
        raise UnsupportedError(
            f"the indices of {name} are traced, and a pattern has to be known while tracing: close over them, and give "
            f"the values alone as an argument: BCOO(({name}_values, {name}.indices), shape={name}.shape)"
        )
    index = np.asarray(value.indices)
    # padding points behind the end
    real = (index < np.array(value.shape)).all(1)
    values = value.data if real.all() else value.data[np.flatnonzero(real)]
    return values.astype(dtype), pattern_of(name, index[real, 0], index[real, 1], value.shape, symmetric)
