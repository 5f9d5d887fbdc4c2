"""Five primitives on a flat batch, closed under derivatives, transposition and batching, for every kind of program.

    solve(data)                      -> outputs, state, codes    its jvp is `jvp`
    jvp(data, tangents)              -> tangents                 linear in the tangents; the transpose is `vjp`
    vjp(data, cotangents)            -> gradients                linear in the cotangents; the transpose is `jvp`
    second_jvp(data, tangents, d)    -> tangents                 the derivative of `jvp` along a direction d of the data
    second_vjp(data, cotangents, d)  -> gradients                the derivative of `vjp` along d

Third derivatives are refused. `state` is the point at which derivatives are taken and its active set, doubles as pairs
of 32-bit words so that it survives without x64; `codes` are status and iterations, and the verdict where it is wanted.

What is solved is a `spec`: of a quadratic program that of `_spec.py`, of a CVXPY problem that of `_cvxpy.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching

from .._errors import ArgumentError, UnsupportedError
from . import _ffi
from ._slots import Mask, alive, pack, split, spread
from ._spec import Spec


def _primitive(name: str, shapes: Any) -> Any:
    primitive = Primitive(f"bpqp_{name}")
    primitive.multiple_results = True

    def concrete(*args: Any, spec: Any, **params: Any) -> Any:
        # outside of jit: errors as they are
        return [jnp.asarray(v) for v in getattr(spec.host, name)(*args, spec=spec, **params)]

    primitive.def_impl(concrete)
    primitive.def_abstract_eval(lambda *_, spec, **params: shapes(spec, **params))
    _ffi.lower(primitive, name, shapes)
    return primitive


solve_p = _primitive("solve", lambda spec: [*spec.outputs(), spec.state(), spec.codes()])
jvp_p = _primitive("jvp", lambda spec, tangents: spec.outputs())
second_jvp_p = _primitive("second_jvp", lambda spec, tangents, along: spec.outputs())
vjp_p = _primitive("vjp", lambda spec, cotangents, ask, summed: spec.gradients(ask, summed))
second_vjp_p = _primitive("second_vjp", lambda spec, cotangents, along, ask, summed: spec.gradients(ask, summed))


def _jvp(spec: Spec, data: Any, state: Any, tangents: Any) -> list[Any] | None:
    mask, values = pack(alive(tangents))
    if not values:
        return None
    return jvp_p.bind(*pack(data)[1], state, *values, spec=spec, tangents=mask)


def _second_jvp(spec: Spec, data: Any, state: Any, tangents: Any, along: Any) -> list[Any] | None:
    (mask, values), (mask2, values2) = pack(alive(tangents)), pack(alive(along))
    if not values or not values2:
        return None
    return second_jvp_p.bind(*pack(data)[1], state, *values, *values2, spec=spec, tangents=mask, along=mask2)


def _vjp(spec: Spec, data: Any, state: Any, cotangents: Any, ask: Mask, summed: Mask) -> list[Any] | None:
    mask, values = pack(alive(cotangents))
    if not values:
        return None
    return vjp_p.bind(*pack(data)[1], state, *values, spec=spec, cotangents=mask, ask=ask, summed=summed)


def _second_vjp(
    spec: Spec, data: Any, state: Any, cotangents: Any, along: Any, ask: Mask, summed: Mask
) -> list[Any] | None:
    (mask, values), (mask2, values2) = pack(alive(cotangents)), pack(alive(along))
    if not values or not values2:
        return None
    args = (*pack(data)[1], state, *values, *values2)
    return second_vjp_p.bind(*args, spec=spec, cotangents=mask, along=mask2, ask=ask, summed=summed)


def _add(a: list[Any] | None, b: list[Any] | None) -> list[Any] | None:
    if a is None or b is None:
        return b if a is None else a
    return [x + y for x, y in zip(a, b, strict=True)]


def _zero(primal: Any) -> Any:
    return ad.Zero(jax.typeof(primal).to_tangent_aval())


def _or_zeros(out: list[Any] | None, primals: Any) -> list[Any]:
    return [_zero(p) for p in primals] if out is None else out


# --- forward mode


def _solve_jvp(primals: Any, tangents: Any, *, spec: Spec) -> Any:
    outputs = solve_p.bind(*primals, spec=spec)
    data, t = spread(spec.data_mask, primals), spread(spec.data_mask, tangents)
    *found, state, codes = outputs
    moved = _or_zeros(_jvp(spec, data, state, t), found)
    return outputs, [*moved, _zero(state), _zero(codes)]


def _jvp_jvp(primals: Any, moved: Any, *, spec: Spec, tangents: Mask) -> Any:
    out = jvp_p.bind(*primals, spec=spec, tangents=tangents)
    data, state, t = split(spec, (tangents,), primals)
    along, _, t2 = split(spec, (tangents,), moved)
    return out, _or_zeros(_add(_jvp(spec, data, state, t2), _second_jvp(spec, data, state, t, along)), out)


def _vjp_jvp(primals: Any, moved: Any, *, spec: Spec, cotangents: Mask, ask: Mask, summed: Mask) -> Any:
    out = vjp_p.bind(*primals, spec=spec, cotangents=cotangents, ask=ask, summed=summed)
    data, state, c = split(spec, (cotangents,), primals)
    along, _, c2 = split(spec, (cotangents,), moved)
    first = _vjp(spec, data, state, c2, ask, summed)
    return out, _or_zeros(_add(first, _second_vjp(spec, data, state, c, along, ask, summed)), out)


def _refuse_third(data: Any) -> None:
    if any(v is not None for v in alive(data)):
        raise UnsupportedError("third derivatives of a solution are not supported: two are, in any order of modes")


def _second_jvp_jvp(primals: Any, moved: Any, *, spec: Spec, tangents: Mask, along: Mask) -> Any:
    out = second_jvp_p.bind(*primals, spec=spec, tangents=tangents, along=along)
    data, state, t, d = split(spec, (tangents, along), primals)
    data2, _, t2, d2 = split(spec, (tangents, along), moved)
    _refuse_third(data2)
    first = _second_jvp(spec, data, state, t2, d)
    return out, _or_zeros(_add(first, _second_jvp(spec, data, state, t, d2)), out)


def _second_vjp_jvp(
    primals: Any, moved: Any, *, spec: Spec, cotangents: Mask, along: Mask, ask: Mask, summed: Mask
) -> Any:
    out = second_vjp_p.bind(*primals, spec=spec, cotangents=cotangents, along=along, ask=ask, summed=summed)
    data, state, c, d = split(spec, (cotangents, along), primals)
    data2, _, c2, d2 = split(spec, (cotangents, along), moved)
    _refuse_third(data2)
    first = _second_vjp(spec, data, state, c2, d, ask, summed)
    return out, _or_zeros(_add(first, _second_vjp(spec, data, state, c, d2, ask, summed)), out)


ad.primitive_jvps[solve_p] = _solve_jvp
ad.primitive_jvps[jvp_p] = _jvp_jvp
ad.primitive_jvps[vjp_p] = _vjp_jvp
ad.primitive_jvps[second_jvp_p] = _second_jvp_jvp
ad.primitive_jvps[second_vjp_p] = _second_vjp_jvp


# --- transposition


def _unknown(slots: Any) -> Mask:
    return tuple(v is not None and ad.is_undefined_primal(v) for v in slots)


def _aval_rank(slots: Any) -> tuple[int, ...]:
    return tuple(0 if v is None else v.aval.ndim if ad.is_undefined_primal(v) else np.ndim(v) for v in slots)


def _result(spec: Spec, masks: tuple[Mask, ...], groups: list[list[Any] | None]) -> list[Any]:
    """Cotangents in the order of the operands."""
    out: list[Any] = [None] * (sum(spec.data_mask) + 1)
    for mask, group in zip(masks, groups, strict=True):
        values = [None] * len(mask) if group is None else group
        out += [v for there, v in zip(mask, values, strict=False) if there]
    return out


def _linear(slots: Any, what: str) -> None:
    if any(_unknown(slots)):
        raise UnsupportedError(f"a derivative of a solution is not linear in {what}")


def _jvp_transpose(cts: Any, *args: Any, spec: Spec, tangents: Mask) -> Any:
    data, state, t = split(spec, (tangents,), args)
    _linear(data, "the data")
    ask = _unknown(t)
    summed = tuple(a <= r for a, r in zip(_aval_rank(t), spec.ranks, strict=True))
    grads = _vjp(spec, data, state, cts, ask, summed)
    return _result(spec, (tangents,), [None if grads is None else spread(ask, grads)])


def _vjp_transpose(cts: Any, *args: Any, spec: Spec, cotangents: Mask, ask: Mask, summed: Mask) -> Any:
    data, state, c = split(spec, (cotangents,), args)
    _linear(data, "the data")
    moved = _jvp(spec, data, state, spread(ask, cts))
    if moved is not None:
        moved = [m if u else None for m, u in zip(moved, _unknown(c), strict=True)]
    return _result(spec, (cotangents,), [moved])


def _second_jvp_transpose(cts: Any, *args: Any, spec: Spec, tangents: Mask, along: Mask) -> Any:
    data, state, t, d = split(spec, (tangents, along), args)
    _linear(data, "the data")
    groups: list[list[Any] | None] = []
    # symmetric in the two directions: with respect to one, the other is the direction of the second derivative
    for own, other in ((t, d), (d, t)):
        ask = _unknown(own)
        if not any(ask):
            groups.append(None)
            continue
        summed = tuple(a <= r for a, r in zip(_aval_rank(own), spec.ranks, strict=True))
        grads = _second_vjp(spec, data, state, cts, other, ask, summed)
        groups.append(None if grads is None else spread(ask, grads))
    return _result(spec, (tangents, along), groups)


def _second_vjp_transpose(
    cts: Any, *args: Any, spec: Spec, cotangents: Mask, along: Mask, ask: Mask, summed: Mask
) -> Any:
    data, state, c, d = split(spec, (cotangents, along), args)
    _linear(data, "the data")
    gamma = spread(ask, cts)
    to_c, to_d = None, None
    if any(_unknown(c)):
        to_c = _second_jvp(spec, data, state, gamma, d)
        if to_c is not None:
            to_c = [m if u else None for m, u in zip(to_c, _unknown(c), strict=True)]
    if any(_unknown(d)):
        own = _unknown(d)
        flags = tuple(a <= r for a, r in zip(_aval_rank(d), spec.ranks, strict=True))
        grads = _second_vjp(spec, data, state, c, gamma, own, flags)
        to_d = None if grads is None else spread(own, grads)
    return _result(spec, (cotangents, along), [to_c, to_d])


ad.primitive_transposes[jvp_p] = _jvp_transpose
ad.primitive_transposes[vjp_p] = _vjp_transpose
ad.primitive_transposes[second_jvp_p] = _second_jvp_transpose
ad.primitive_transposes[second_vjp_p] = _second_vjp_transpose


# --- batching


def _flatten(value: Any, dim: Any, repeat: int, size: int, rank: int) -> Any:
    """An operand with its mapped dimension, as one of the flat batch of `repeat * size` elements."""
    if dim is None:
        if value.ndim == rank:
            return value
        value = jnp.broadcast_to(value, (repeat, *value.shape))
    else:
        value = jnp.moveaxis(value, dim, 0)
        if value.ndim == rank + 1:
            value = jnp.broadcast_to(value[:, None], (repeat, size, *value.shape[1:]))
    return value.reshape(repeat * size, *value.shape[2:])


def repeats(args: Any, dims: Any) -> int:
    """The size of the mapped dimension."""
    repeat: int = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    if repeat == 0:
        raise ArgumentError("vmap over 0 elements: a batch needs at least one element")
    return repeat


def _batcher(primitive: Any) -> Any:
    def rule(args: Any, dims: Any, *, spec: Spec, **params: Any) -> Any:
        repeat = repeats(args, dims)
        ranks = [r for r, there in zip(spec.ranks, spec.data_mask, strict=True) if there]
        if primitive is not solve_p:
            ranks.append(1)
        for name, own in (("cotangents", spec.output_ranks), ("tangents", spec.ranks), ("along", spec.ranks)):
            if name in params:
                ranks += [r for r, there in zip(own, params[name], strict=True) if there]
        flat = [_flatten(a, d, repeat, spec.size, r) for a, d, r in zip(args, dims, ranks, strict=True)]
        changed = {**params, "summed": (False,) * len(spec.ranks)} if "summed" in params else params
        out = primitive.bind(*flat, spec=replace(spec, size=spec.size * repeat), **changed)
        out = [v.reshape(repeat, spec.size, *v.shape[1:]) for v in out]
        if "summed" in params:
            # gradients of the flat batch, summed over the elements where this level sums
            flags = [s for s, a in zip(params["summed"], params["ask"], strict=True) if a]
            out = [v.sum(1) if s else v for v, s in zip(out, flags, strict=True)]
        return out, [0] * len(out)

    return rule


for _p in (solve_p, jvp_p, vjp_p, second_jvp_p, second_vjp_p):
    batching.primitive_batchers[_p] = _batcher(_p)
