"""The operations of a CVXPY problem or a cone program on the host, for the primitives: an operator on NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._host import codes
from ._slots import Mask, split


def _f64(values: Any) -> list[Any]:
    # not ascontiguousarray: that gives a scalar an axis
    return [None if v is None else np.asarray(v, dtype=np.float64, order="C") for v in values]


def _cast(spec: Any, arrays: Any) -> list[Any]:
    return [np.asarray(a, dtype=spec.dtype) for a in arrays]


def _restore(spec: Any, inputs: Any, state: Any) -> Any:
    rows = np.ascontiguousarray(np.asarray(state)).view(np.float64)
    return spec.operator.restore(_f64(inputs), rows)


def solve(*inputs: Any, spec: Any) -> list[Any]:
    solved, outputs = spec.operator.solve(_f64(inputs), spec.size, single=spec.dtype == np.float32)
    return [*_cast(spec, outputs), solved.state().view(np.uint32), codes(solved, spec.examine)]


def jvp(*args: Any, spec: Any, tangents: Mask) -> list[Any]:
    inputs, state, t = split(spec, (tangents,), args)
    return _cast(spec, spec.operator.jvp(_restore(spec, inputs, state), _f64(t)))


def second_jvp(*args: Any, spec: Any, tangents: Mask, along: Mask) -> list[Any]:
    inputs, state, t, d = split(spec, (tangents, along), args)
    return _cast(spec, spec.operator.second_jvp(_restore(spec, inputs, state), _f64(t), _f64(d)))


def vjp(*args: Any, spec: Any, cotangents: Mask, ask: Mask, summed: Mask) -> list[Any]:
    inputs, state, c = split(spec, (cotangents,), args)
    return _cast(spec, spec.operator.vjp(_restore(spec, inputs, state), _f64(c), ask, summed))


def second_vjp(*args: Any, spec: Any, cotangents: Mask, along: Mask, ask: Mask, summed: Mask) -> list[Any]:
    inputs, state, c, d = split(spec, (cotangents, along), args)
    solved = _restore(spec, inputs, state)
    return _cast(spec, spec.operator.second_vjp(solved, _f64(c), _f64(d), ask, summed))
