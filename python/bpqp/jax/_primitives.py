"""Five primitives on a flat batch, closed under derivatives, transposition and batching.

    solve(data)                      -> outputs, state      its jvp is `jvp`
    jvp(data, tangents)              -> tangents            linear in the tangents; the transpose is `vjp`
    vjp(data, cotangents)            -> gradients           linear in the cotangents; the transpose is `jvp`
    second_jvp(data, tangents, d)    -> tangents            the derivative of `jvp` along a direction d of the data
    second_vjp(data, cotangents, d)  -> gradients           the derivative of `vjp` along d

Third derivatives are refused. `state` is the point at which derivatives are taken and its active set, doubles as pairs
of 32-bit words so that it survives without x64.

The data are nine slots: P (or d of a factored P), F, q, G, h, A, b, lb, ub. A slot with one dimension more than its
rank has one value per element of the batch; other slots are shared, and their gradients are sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .. import _bpqp, _core
from .._core import Factored
from .._errors import ArgumentError, DtypeError, UnsupportedError

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

    def gradients(self, ask: Mask, summed: Mask) -> list[Any]:
        lead = [() if s else (self.size,) for s in summed]
        picked = zip(ask, lead, self.shapes, strict=True)
        return [
            ShapedArray((*first, *shape), self.dtype) for want, first, shape in picked if want and shape is not None
        ]


def _spread(mask: Mask, values: Any) -> list[Any]:
    """Values at the places of the mask, None elsewhere."""
    left = iter(values)
    return [next(left) if there else None for there in mask]


def _pack(values: Any) -> tuple[Mask, list[Any]]:
    """The mask of what is there, and what is there."""
    there = tuple(v is not None for v in values)
    return there, [v for v in values if v is not None]


def _alive(values: Any) -> list[Any]:
    """None for symbolic zeros."""
    return [None if v is None or isinstance(v, ad.Zero) else v for v in values]


# --- on the host


@lru_cache(maxsize=64)
def _engine(solver: str, settings: tuple[tuple[str, Any], ...], single: bool) -> _bpqp.Engine:
    dtype = np.dtype(np.float32 if single else np.float64)
    return _core.engine(solver, dict(settings), dtype)


def _spec_engine(spec: Spec) -> _bpqp.Engine:
    return _engine(spec.solver, spec.settings, spec.dtype == np.float32)


def _f64(value: Any) -> Any:
    return None if value is None else np.ascontiguousarray(np.asarray(value), dtype=np.float64)


def _eight(spec: Spec, slots: Any) -> tuple[Any, ...]:
    p, factor, *rest = (_f64(s) for s in slots)
    if spec.factored and (p is not None or factor is not None):
        p = np.zeros(spec.shapes[0] or ()) if p is None else p
        factor = np.zeros(spec.shapes[1] or ()) if factor is None else factor
        return ((p, factor), *rest)
    return (p, *rest)


def _cast(spec: Spec, arrays: Any) -> list[Any]:
    return [np.asarray(a, dtype=spec.dtype) for a in arrays]


def _restore(spec: Spec, data: Any, state: Any) -> _bpqp.Solved:
    rows = np.ascontiguousarray(np.asarray(state)).view(np.float64)
    return _spec_engine(spec).restore(_eight(spec, data), rows)


def _host_solve(*data: Any, spec: Spec) -> list[Any]:
    engine = _engine(spec.solver, spec.settings, spec.dtype == np.float32)
    solved = engine.solve(_eight(spec, _spread(spec.data_mask, data)))
    if spec.policy == 0 and not solved.all_ok():
        _core.raise_failures(solved)
    return [*_cast(spec, solved.outputs(spec.policy != 2)), solved.state().view(np.uint32)]


def _split(spec: Spec, masks: tuple[Mask, ...], args: Any) -> tuple[Any, ...]:
    """The data, the state, and the slots of each mask."""
    count = sum(spec.data_mask)
    out = [_spread(spec.data_mask, args[:count]), args[count]]
    at = count + 1
    for mask in masks:
        out.append(_spread(mask, args[at : at + sum(mask)]))
        at += sum(mask)
    return tuple(out)


def _host_jvp(*args: Any, spec: Spec, tangents: Mask) -> list[Any]:
    data, state, t = _split(spec, (tangents,), args)
    return _cast(spec, _restore(spec, data, state).jvp(_eight(spec, t), spec.policy))


def _host_second_jvp(*args: Any, spec: Spec, tangents: Mask, along: Mask) -> list[Any]:
    data, state, t, d = _split(spec, (tangents, along), args)
    return _cast(spec, _restore(spec, data, state).second_jvp(_eight(spec, t), _eight(spec, d), spec.policy))


def _gradients(spec: Spec, ask: Mask, summed: Mask, derive: Any) -> list[Any]:
    want = [ask[0] or ask[1], *ask[2:]]
    total = [summed[0] and (summed[1] or not spec.factored), *summed[2:]]
    eight = derive(want, total)
    p = eight[0] if isinstance(eight[0], tuple) else (eight[0], None)
    nine = zip(ask, summed, (total[0], *total), (*p, *eight[1:]), strict=True)
    return _cast(spec, [v.sum(0) if own and not one else v for need, own, one, v in nine if need])


def _host_vjp(*args: Any, spec: Spec, cotangents: Mask, ask: Mask, summed: Mask) -> list[Any]:
    data, state, c = _split(spec, (cotangents,), args)
    solved, rows = _restore(spec, data, state), tuple(_f64(v) for v in c)
    return _gradients(spec, ask, summed, lambda want, total: solved.vjp(rows, want, total, spec.policy))


def _host_second_vjp(*args: Any, spec: Spec, cotangents: Mask, along: Mask, ask: Mask, summed: Mask) -> list[Any]:
    data, state, c, d = _split(spec, (cotangents, along), args)
    solved, rows, direction = _restore(spec, data, state), tuple(_f64(v) for v in c), _eight(spec, d)

    def derive(want: Any, total: Any) -> Any:
        return solved.second_vjp(rows, direction, want, total, spec.policy)

    return _gradients(spec, ask, summed, derive)


# --- the primitives


def _primitive(name: str, host: Any, shapes: Any) -> Any:
    primitive = Primitive(f"bpqp_{name}")
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
jvp_p = _primitive("jvp", _host_jvp, lambda spec, tangents: spec.outputs())
second_jvp_p = _primitive("second_jvp", _host_second_jvp, lambda spec, tangents, along: spec.outputs())
vjp_p = _primitive("vjp", _host_vjp, lambda spec, cotangents, ask, summed: spec.gradients(ask, summed))
second_vjp_p = _primitive(
    "second_vjp", _host_second_vjp, lambda spec, cotangents, along, ask, summed: spec.gradients(ask, summed)
)


def _jvp(spec: Spec, data: Any, state: Any, tangents: Any) -> list[Any] | None:
    mask, values = _pack(_alive(tangents))
    if not values:
        return None
    return jvp_p.bind(*_pack(data)[1], state, *values, spec=spec, tangents=mask)


def _second_jvp(spec: Spec, data: Any, state: Any, tangents: Any, along: Any) -> list[Any] | None:
    (mask, values), (mask2, values2) = _pack(_alive(tangents)), _pack(_alive(along))
    if not values or not values2:
        return None
    return second_jvp_p.bind(*_pack(data)[1], state, *values, *values2, spec=spec, tangents=mask, along=mask2)


def _vjp(spec: Spec, data: Any, state: Any, cotangents: Any, ask: Mask, summed: Mask) -> list[Any] | None:
    mask, values = _pack(_alive(cotangents))
    if not values:
        return None
    return vjp_p.bind(*_pack(data)[1], state, *values, spec=spec, cotangents=mask, ask=ask, summed=summed)


def _second_vjp(
    spec: Spec, data: Any, state: Any, cotangents: Any, along: Any, ask: Mask, summed: Mask
) -> list[Any] | None:
    (mask, values), (mask2, values2) = _pack(_alive(cotangents)), _pack(_alive(along))
    if not values or not values2:
        return None
    args = (*_pack(data)[1], state, *values, *values2)
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
    data, t = _spread(spec.data_mask, primals), _spread(spec.data_mask, tangents)
    moved = _or_zeros(_jvp(spec, data, outputs[5], t), outputs[:5])
    return outputs, [*moved, _zero(outputs[5])]


def _jvp_jvp(primals: Any, moved: Any, *, spec: Spec, tangents: Mask) -> Any:
    out = jvp_p.bind(*primals, spec=spec, tangents=tangents)
    data, state, t = _split(spec, (tangents,), primals)
    along, _, t2 = _split(spec, (tangents,), moved)
    return out, _or_zeros(_add(_jvp(spec, data, state, t2), _second_jvp(spec, data, state, t, along)), out)


def _vjp_jvp(primals: Any, moved: Any, *, spec: Spec, cotangents: Mask, ask: Mask, summed: Mask) -> Any:
    out = vjp_p.bind(*primals, spec=spec, cotangents=cotangents, ask=ask, summed=summed)
    data, state, c = _split(spec, (cotangents,), primals)
    along, _, c2 = _split(spec, (cotangents,), moved)
    first = _vjp(spec, data, state, c2, ask, summed)
    return out, _or_zeros(_add(first, _second_vjp(spec, data, state, c, along, ask, summed)), out)


def _refuse_third(data: Any) -> None:
    if any(v is not None for v in _alive(data)):
        raise UnsupportedError("third derivatives of a solution are not supported: two are, in any order of modes")


def _second_jvp_jvp(primals: Any, moved: Any, *, spec: Spec, tangents: Mask, along: Mask) -> Any:
    out = second_jvp_p.bind(*primals, spec=spec, tangents=tangents, along=along)
    data, state, t, d = _split(spec, (tangents, along), primals)
    data2, _, t2, d2 = _split(spec, (tangents, along), moved)
    _refuse_third(data2)
    first = _second_jvp(spec, data, state, t2, d)
    return out, _or_zeros(_add(first, _second_jvp(spec, data, state, t, d2)), out)


def _second_vjp_jvp(
    primals: Any, moved: Any, *, spec: Spec, cotangents: Mask, along: Mask, ask: Mask, summed: Mask
) -> Any:
    out = second_vjp_p.bind(*primals, spec=spec, cotangents=cotangents, along=along, ask=ask, summed=summed)
    data, state, c, d = _split(spec, (cotangents, along), primals)
    data2, _, c2, d2 = _split(spec, (cotangents, along), moved)
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
        values = [None] * 9 if group is None else group
        out += [v for there, v in zip(mask, values, strict=False) if there]
    return out


def _linear(slots: Any, what: str) -> None:
    if any(_unknown(slots)):
        raise UnsupportedError(f"a derivative of a solution is not linear in {what}")


def _jvp_transpose(cts: Any, *args: Any, spec: Spec, tangents: Mask) -> Any:
    data, state, t = _split(spec, (tangents,), args)
    _linear(data, "the data")
    ask = _unknown(t)
    summed = tuple(a <= r for a, r in zip(_aval_rank(t), spec.ranks, strict=True))
    grads = _vjp(spec, data, state, cts, ask, summed)
    return _result(spec, (tangents,), [None if grads is None else _spread(ask, grads)])


def _vjp_transpose(cts: Any, *args: Any, spec: Spec, cotangents: Mask, ask: Mask, summed: Mask) -> Any:
    data, state, c = _split(spec, (cotangents,), args)
    _linear(data, "the data")
    moved = _jvp(spec, data, state, _spread(ask, cts))
    if moved is not None:
        moved = [m if u else None for m, u in zip(moved, _unknown(c), strict=True)]
    return _result(spec, (cotangents,), [moved])


def _second_jvp_transpose(cts: Any, *args: Any, spec: Spec, tangents: Mask, along: Mask) -> Any:
    data, state, t, d = _split(spec, (tangents, along), args)
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
        groups.append(None if grads is None else _spread(ask, grads))
    return _result(spec, (tangents, along), groups)


def _second_vjp_transpose(
    cts: Any, *args: Any, spec: Spec, cotangents: Mask, along: Mask, ask: Mask, summed: Mask
) -> Any:
    data, state, c, d = _split(spec, (cotangents, along), args)
    _linear(data, "the data")
    gamma = _spread(ask, cts)
    to_c, to_d = None, None
    if any(_unknown(c)):
        to_c = _second_jvp(spec, data, state, gamma, d)
        if to_c is not None:
            to_c = [m if u else None for m, u in zip(to_c, _unknown(c), strict=True)]
    if any(_unknown(d)):
        own = _unknown(d)
        flags = tuple(a <= r for a, r in zip(_aval_rank(d), spec.ranks, strict=True))
        grads = _second_vjp(spec, data, state, c, gamma, own, flags)
        to_d = None if grads is None else _spread(own, grads)
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


def _batcher(primitive: Any) -> Any:
    def rule(args: Any, dims: Any, *, spec: Spec, **params: Any) -> Any:
        repeat = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
        ranks = [r for r, there in zip(spec.ranks, spec.data_mask, strict=True) if there]
        if primitive is not solve_p:
            ranks.append(1)
        for name, own in (("cotangents", OUTPUT_RANKS), ("tangents", spec.ranks), ("along", spec.ranks)):
            if name in params:
                ranks += [r for r, there in zip(own, params[name], strict=True) if there]
        flat = [_flatten(a, d, repeat, spec.size, r) for a, d, r in zip(args, dims, ranks, strict=True)]
        changed = {**params, "summed": (False,) * 9} if "summed" in params else params
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


# --- for users


class Solution(NamedTuple):
    """Differentiable outputs `x`, `y`, `z`, `z_box`, `objective`, and the mask `ok` of the elements with a solution."""

    x: Any
    y: Any
    z: Any
    z_box: Any
    objective: Any
    ok: Any


def _array(name: str, value: Any, rank: int, dtype: Any) -> Any:
    array = jnp.asarray(value)
    if not (jnp.issubdtype(array.dtype, jnp.integer) or array.dtype in (jnp.float32, jnp.float64)):
        raise DtypeError(f"{name} has dtype {array.dtype}: pass float32 or float64")
    if array.ndim not in (rank, rank + 1):
        raise ArgumentError(
            f"{name} has shape {array.shape}: it needs {rank} dimensions, or {rank + 1} with a batch dimension first"
        )
    return array.astype(dtype)


def solve_qp(
    P: Any,
    q: Any,
    G: Any = None,
    h: Any = None,
    A: Any = None,
    b: Any = None,
    lb: Any = None,
    ub: Any = None,
    *,
    full: bool = False,
    solver: str = "auto",
    on_failure: str = "raise",
    **settings: Any,
) -> Any:
    """The minimizer of `1/2 x'P x + q'x  s.t.  G x <= h, A x = b, lb <= x <= ub`, differentiable in all its arguments.

    Any argument may carry a batch dimension first; those that do not are shared by the batch, and their gradient is the
    sum. `P` may be None (a linear program) or `Factored(d, F)`. Under jit an unsolved problem is the runtime error of
    JAX with the text of `bpqp.SolveError`.

    Args:
        full: return a `Solution` with the multipliers, the objective and `ok`.
        solver, on_failure, settings: as for `bpqp.solve_qp`.
    """
    if q is None:
        raise ArgumentError("q is None: a problem needs its linear term; pass zeros for none")
    dtype = jnp.asarray(q).dtype
    if dtype not in (jnp.float32, jnp.float64):
        raise DtypeError(f"q has dtype {dtype}: pass float32 or float64")
    if solver not in _bpqp.SOLVERS:
        raise ArgumentError(f"solver = {solver!r}: in JAX choose one of {', '.join(_bpqp.SOLVERS)}")
    factored = isinstance(P, Factored)
    raw = [P.d, P.F] if isinstance(P, Factored) else [P, None]
    raw += [q, G, h, A, b, lb, ub]
    ranks = (1 if factored else 2, 2, 1, 2, 1, 2, 1, 1, 1)
    slots: list[Any] = [None] * 9
    batch, owner = None, ""
    for k, value in enumerate(raw):
        if value is None:
            continue
        array = _array(SLOTS[k] if not factored or k > 1 else ("P.d", "P.F")[k], value, ranks[k], dtype)
        if k > 2 and array.size == 0:
            continue
        slots[k] = array
        if array.ndim > ranks[k]:
            if batch is None:
                batch, owner = array.shape[0], SLOTS[k]
            elif batch != array.shape[0]:
                raise ArgumentError(
                    f"{SLOTS[k]} has a batch of {array.shape[0]}, but {owner} has one of {batch}: batches must agree"
                )
    if batch == 0:
        raise ArgumentError(f"{owner} has a batch of 0: a batch needs at least one element")
    for m, v in ((3, 4), (5, 6)):
        if (slots[m] is None) != (slots[v] is None):
            given, missing = (SLOTS[m], SLOTS[v]) if slots[v] is None else (SLOTS[v], SLOTS[m])
            raise ArgumentError(f"{missing} is missing: {given} was given, and the two come together")
    shapes = tuple(None if s is None else tuple(s.shape[s.ndim - r :]) for s, r in zip(slots, ranks, strict=True))
    _check_shapes(shapes, factored)
    chosen = tuple(sorted((k, v) for k, v in settings.items() if v is not None))
    _engine(solver, chosen, dtype == jnp.float32)  # settings are refused here, not under jit
    policy = _core.policy_code(on_failure)
    spec = Spec(batch or 1, factored, shapes, np.dtype(dtype), policy, solver, chosen)
    *outputs, state = solve_p.bind(*_pack(slots)[1], spec=spec)
    if batch is None:
        outputs, state = [v[0] for v in outputs], state[0]
    return Solution(*outputs, state[..., -1] != 0) if full else outputs[0]


def _check_shapes(shapes: Any, factored: bool) -> None:
    """Shapes are known while tracing, so what is wrong with them is said there."""
    n = shapes[2][0]
    h, b = shapes[4], shapes[6]
    wanted = [(n,) if factored else (n, n), (n, shapes[1][1]) if factored else None, (n,)]
    wanted += [(h[0], n) if h else None, h, (b[0], n) if b else None, b, (n,), (n,)]
    for name, found, expected in zip(SLOTS, shapes, wanted, strict=True):
        if found is not None and found != expected:
            advice = "q has one entry per variable, h and b one per row of G and A"
            raise ArgumentError(f"{name} has shape {found}, expected {expected}: {advice}")
