"""A CVXPY problem as a JAX function: three primitives on the flat batch of an `Operator`.

    solve(inputs)                 -> outputs, state     its jvp is `jvp`
    jvp(inputs, tangents)         -> tangents           linear in the tangents; the transpose is `vjp`
    vjp(inputs, cotangents)       -> gradients          linear in the cotangents; the transpose is `jvp`

Second derivatives of a cone program are refused. `state` is doubles as pairs of 32-bit words, so that it survives
without x64. An input with one dimension more than its rank has one value per element; others are shared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .._conic import raise_failures
from .._errors import DtypeError, UnsupportedError
from ._primitives import _aval_rank, _flatten, _or_zeros, _unknown, _zero, repeats

Mask = tuple[bool, ...]


@dataclass(frozen=True)
class Spec:
    """What is static."""

    operator: Any
    size: int
    dtype: np.dtype[Any]

    @property
    def inputs(self) -> int:
        return len(self.operator.ranks)

    def outputs(self) -> list[Any]:
        return [ShapedArray((self.size, *shape), self.dtype) for shape in self.operator.output_shapes]

    def state(self) -> Any:
        return ShapedArray((self.size, 2 * self.operator.state_size), np.dtype(np.uint32))

    def gradients(self, ask: Mask, summed: Mask) -> list[Any]:
        slots = zip(ask, summed, self.operator.shapes, strict=True)
        return [ShapedArray(shape if s else (self.size, *shape), self.dtype) for a, s, shape in slots if a]

    def split(self, args: Any) -> tuple[Any, Any, Any]:
        """Inputs, state and the rest."""
        return args[: self.inputs], args[self.inputs], args[self.inputs + 1 :]


# --- on the host


def _f64(values: Any) -> list[Any]:
    # not ascontiguousarray: that gives a scalar an axis
    return [np.asarray(v, dtype=np.float64, order="C") for v in values]


def _cast(spec: Spec, arrays: Any) -> list[Any]:
    return [np.asarray(a, dtype=spec.dtype) for a in arrays]


def _restore(spec: Spec, inputs: Any, state: Any) -> Any:
    rows = np.ascontiguousarray(np.asarray(state)).view(np.float64)
    return spec.operator.restore(_f64(inputs), rows)


def _host_solve(*inputs: Any, spec: Spec) -> list[Any]:
    solved, outputs = spec.operator.solve(_f64(inputs), spec.size)
    if spec.operator.policy == 0:
        raise_failures(solved)
    return [*_cast(spec, outputs), solved.state().view(np.uint32)]


def _host_jvp(*args: Any, spec: Spec) -> list[Any]:
    inputs, state, tangents = spec.split(args)
    return _cast(spec, spec.operator.jvp(_restore(spec, inputs, state), _f64(tangents)))


def _host_vjp(*args: Any, spec: Spec, ask: Mask, summed: Mask) -> list[Any]:
    inputs, state, cotangents = spec.split(args)
    return _cast(spec, spec.operator.vjp(_restore(spec, inputs, state), _f64(cotangents), ask, summed))


# --- the primitives


def _primitive(name: str, host: Any, shapes: Any) -> Any:
    primitive = Primitive(f"bpqp_cvxpy_{name}")
    primitive.multiple_results = True

    def traced(*args: Any, **params: Any) -> Any:
        out = [jax.ShapeDtypeStruct(s.shape, s.dtype) for s in shapes(**params)]
        return jax.pure_callback(partial(host, **params), out, *args)

    def concrete(*args: Any, **params: Any) -> Any:
        # outside of jit: no callback, and errors as they are
        return [jnp.asarray(v) for v in host(*args, **params)]

    primitive.def_impl(concrete)
    primitive.def_abstract_eval(lambda *_, **params: shapes(**params))
    mlir.register_lowering(primitive, mlir.lower_fun(traced, multiple_results=True))
    return primitive


solve_p = _primitive("solve", _host_solve, lambda spec: [*spec.outputs(), spec.state()])
jvp_p = _primitive("jvp", _host_jvp, lambda spec: spec.outputs())
vjp_p = _primitive("vjp", _host_vjp, lambda spec, ask, summed: spec.gradients(ask, summed))


def _refuse(moved: Any) -> None:
    if any(not isinstance(v, ad.Zero) for v in moved):
        raise UnsupportedError("second derivatives of a cone program are not supported; those of bpqp.jax.solve_qp are")


def _solve_jvp(primals: Any, tangents: Any, *, spec: Spec) -> Any:
    *outputs, state = solve_p.bind(*primals, spec=spec)
    moved = None
    if any(not isinstance(t, ad.Zero) for t in tangents):
        moved = jvp_p.bind(*primals, state, *map(ad.instantiate_zeros, tangents), spec=spec)
    return [*outputs, state], [*_or_zeros(moved, outputs), _zero(state)]


def _linear_jvp(primitive: Any) -> Any:
    """The jvp of what is linear in all but the inputs and the state."""

    def rule(primals: Any, moved: Any, *, spec: Spec, **params: Any) -> Any:
        out = primitive.bind(*primals, spec=spec, **params)
        _refuse(moved[: spec.inputs])
        inputs, state, _ = spec.split(primals)
        own = moved[spec.inputs + 1 :]
        if all(isinstance(v, ad.Zero) for v in own):
            return out, _or_zeros(None, out)
        return out, primitive.bind(*inputs, state, *map(ad.instantiate_zeros, own), spec=spec, **params)

    return rule


ad.primitive_jvps[solve_p] = _solve_jvp
ad.primitive_jvps[jvp_p] = _linear_jvp(jvp_p)
ad.primitive_jvps[vjp_p] = _linear_jvp(vjp_p)


def _jvp_transpose(cts: Any, *args: Any, spec: Spec) -> Any:
    inputs, state, tangents = spec.split(args)
    _constant(inputs)
    ask = _unknown(tangents)
    summed = tuple(a <= r for a, r in zip(_aval_rank(tangents), spec.operator.ranks, strict=True))
    grads = iter(vjp_p.bind(*inputs, state, *map(ad.instantiate_zeros, cts), spec=spec, ask=ask, summed=summed))
    return [*[None] * (spec.inputs + 1), *(next(grads) if a else None for a in ask)]


def _vjp_transpose(cts: Any, *args: Any, spec: Spec, ask: Mask, summed: Mask) -> Any:
    inputs, state, cotangents = spec.split(args)
    _constant(inputs)
    given = iter(map(ad.instantiate_zeros, cts))
    shapes = spec.operator.shapes
    tangents = [next(given) if a else jnp.zeros(s, spec.dtype) for a, s in zip(ask, shapes, strict=True)]
    moved = jvp_p.bind(*inputs, state, *tangents, spec=spec)
    unknown = _unknown(cotangents)
    return [*[None] * (spec.inputs + 1), *(m if u else None for m, u in zip(moved, unknown, strict=True))]


def _constant(inputs: Any) -> None:
    if any(_unknown(inputs)):
        raise UnsupportedError("a derivative of a solution is not linear in the parameters")


ad.primitive_transposes[jvp_p] = _jvp_transpose
ad.primitive_transposes[vjp_p] = _vjp_transpose


def _batcher(primitive: Any) -> Any:
    def rule(args: Any, dims: Any, *, spec: Spec, **params: Any) -> Any:
        repeat = repeats(args, dims)
        ranks = list(spec.operator.ranks)
        if primitive is jvp_p:
            ranks += [1, *spec.operator.ranks]
        elif primitive is vjp_p:
            ranks += [1, *spec.operator.output_ranks]
        flat = [_flatten(a, d, repeat, spec.size, r) for a, d, r in zip(args, dims, ranks, strict=True)]
        changed = {**params, "summed": (False,) * spec.inputs} if "summed" in params else params
        out = primitive.bind(*flat, spec=replace(spec, size=spec.size * repeat), **changed)
        out = [v.reshape(repeat, spec.size, *v.shape[1:]) for v in out]
        if "summed" in params:
            flags = [s for s, a in zip(params["summed"], params["ask"], strict=True) if a]
            out = [v.sum(1) if s else v for v, s in zip(out, flags, strict=True)]
        return out, [0] * len(out)

    return rule


for _p in (solve_p, jvp_p, vjp_p):
    batching.primitive_batchers[_p] = _batcher(_p)


# --- for users


class CvxpyLayer:
    """The solution of a parametrized CVXPY problem as a function of its parameters.

        layer = CvxpyLayer(problem, parameters=[A, b], variables=[x])
        (x_star,) = layer(A_array, b_array)

    Under jit, vmap, grad, jacfwd and jacrev. Arguments are those of `bpqp.torch.CvxpyLayer`; under jit an unsolved
    problem is the runtime error of JAX with the text of `bpqp.SolveError`.
    """

    def __init__(
        self,
        problem: Any,
        parameters: Any,
        variables: Any,
        solver: str | None = None,
        gp: bool = False,
        verbose: bool = False,
        canon_backend: str | None = None,
        solver_args: dict[str, Any] | None = None,
        *,
        on_failure: str = "raise",
    ) -> None:
        from ..cvxpy import Canonical
        from ..cvxpy._operator import Operators

        canonical = Canonical(problem, parameters, variables, gp=gp, canon_backend=canon_backend)
        args = {**(solver_args or {}), **({"verbose": True} if verbose else {})}
        self._operators = Operators(canonical, solver, args, on_failure)

    def __call__(self, *params: Any, solver_args: dict[str, Any] | None = None) -> tuple[Any, ...]:
        """The values of the variables, in the dtype of the first array; see `bpqp.torch.CvxpyLayer`."""
        operator = self._operators.get(solver_args)
        if any(p is None for p in params):
            raise DtypeError(f"parameter {[p is None for p in params].index(True)} is None: pass an array")
        try:
            arrays = [jnp.asarray(p) for p in params]
        except (TypeError, ValueError) as error:
            raise DtypeError(f"a parameter is no dense array: {error}") from error
        for k, array in enumerate(arrays):
            if array.dtype not in (jnp.float32, jnp.float64):
                raise DtypeError(f"parameter {k} has dtype {array.dtype}: pass float32 or float64")
        batch = operator.check(arrays)
        dtype = np.dtype(arrays[0].dtype) if arrays else np.dtype(jnp.zeros(0).dtype)
        arrays = [a.astype(dtype) for a in arrays]
        canonical = operator.canonical
        inputs = [jnp.log(arrays[k]) if log else arrays[k] for k, log in canonical.inputs]
        *outputs, _ = solve_p.bind(*inputs, spec=Spec(operator, batch or 1, dtype))
        if batch is None:
            outputs = [v[0] for v in outputs]
        kinds = (exponential for _, _, exponential in canonical.outputs)
        return tuple(jnp.exp(v) if e else v for v, e in zip(outputs, kinds, strict=True))
