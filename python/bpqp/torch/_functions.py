"""The autograd functions. Each is linear algebra of the core on a flat batch; together they close under derivatives.

    solve(data)                      -> outputs             its vjp is `vjp`, its jvp is `jvp`
    vjp(data, cotangents)            -> gradients           linear in the cotangents, with transpose `jvp`
    jvp(data, tangents)              -> tangents            linear in the tangents, with transpose `vjp`
    second_vjp(data, cotangents, d)  -> gradients           the derivative of `vjp` along the direction d of the data
    second_jvp(data, tangents, d)    -> tangents            the derivative of `jvp` along d

Third derivatives are refused. The state that travels between them is a tensor: the point at which the derivative is
taken and its active set. So every transform of torch.func finds only tensors; outside of `vmap` the solution itself is
kept too, with its factorization.

Everywhere the data are nine slots: P (or d of a factored P), F, q, G, h, A, b, lb, ub. A slot with one dimension more
than its rank has one value per element of the batch; other slots are shared, and their gradients are sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from .. import _bpqp, _core
from .._errors import ArgumentError, UnsupportedError
from .._qpsolvers import solve_with

SLOTS = ("P", "F", "q", "G", "h", "A", "b", "lb", "ub")
# of a dense and of a factored P
RANKS = ((2, 2, 1, 2, 1, 2, 1, 1, 1), (1, 2, 1, 2, 1, 2, 1, 1, 1))
OUTPUT_RANKS = (1, 1, 1, 1, 0)
Tensors = tuple[Any, ...]


@dataclass(slots=True)
class Call:
    """What an operation needs besides tensors."""

    size: int
    factored: bool
    policy: int
    engine: _bpqp.Engine
    solver: str
    settings: dict[str, Any]
    warm: Any = None
    keep: bool = True
    solved: Any = None
    status: list[str] | None = field(default=None, repr=False)

    @property
    def ranks(self) -> tuple[int, ...]:
        return RANKS[self.factored]

    def flat(self, factor: int) -> Call:
        """The same for a batch that many times as large."""
        if factor == 0:
            raise ArgumentError("vmap over 0 elements: a batch needs at least one element")
        return replace(self, size=self.size * factor, warm=None, solved=None, status=None)


def _numpy(value: Any) -> Any:
    if value is None:
        return None
    array = value.numpy(force=True)
    if array.dtype != np.float64 or not array.flags.c_contiguous:
        array = np.ascontiguousarray(array, dtype=np.float64)
    return array


def _eight(call: Call, slots: Tensors) -> tuple[Any, ...]:
    """Nine slots as the eight blocks of the extension; of a factored P both parts, zero where one is missing."""
    arrays = [None if s is None else _numpy(s) for s in slots]
    if call.factored and arrays[0] is not None:
        arrays[1] = (arrays[0], arrays[1])
    else:
        arrays[1] = arrays[0]
    return tuple(arrays[1:])


def _direction(call: Call, data: Tensors, slots: Tensors) -> tuple[Any, ...]:
    if call.factored and (slots[0] is None) != (slots[1] is None):
        d, factor = (s if s is not None else torch.zeros_like(v) for s, v in zip(slots[:2], data[:2], strict=True))
        slots = (d, factor, *slots[2:])
    return _eight(call, slots)


def _like(reference: torch.Tensor, arrays: Any) -> tuple[torch.Tensor, ...]:
    if reference.dtype == torch.float64 and reference.is_cpu:
        return tuple(map(torch.from_numpy, arrays))
    return tuple(torch.from_numpy(a).to(dtype=reference.dtype, device=reference.device) for a in arrays)


def _solution(call: Call, data: Tensors, state: torch.Tensor) -> _bpqp.Solved:
    if call.solved is not None:
        return call.solved
    return call.engine.restore(_eight(call, data), _numpy(state))


def _gradients(call: Call, data: Tensors, needs: Any, summed: Any, derive: Any) -> tuple[torch.Tensor, ...]:
    """Runs a gradient of the extension and picks the slots that are needed, as tensors."""
    there = [v is not None for v in data]
    ask = [(needs[0] or needs[1]) and there[0], *[n and t for n, t in zip(needs[2:], there[2:], strict=True)]]
    eight = derive(ask, summed)
    p = eight[0] if isinstance(eight[0], tuple) else (eight[0], None)
    nine = zip(needs, there, (*p, *eight[1:]), strict=True)
    return _like(data[2], [value for need, own, value in nine if need and own])


def _scatter(needs: Any, values: Any) -> list[Any]:
    """The values of the slots that are needed, at their places."""
    left = iter(values)
    return [next(left) if need else None for need in needs]


def _flatten(value: Any, dim: int | None, repeat: int, size: int, rank: int) -> Any:
    """A slot with its mapped dimension, as a slot of the flat batch of `repeat * size` elements."""
    if value is None:
        return None
    if dim is None:
        if value.dim() == rank:
            return value
        value = value.unsqueeze(0).expand(repeat, *value.shape)
    else:
        value = value.movedim(dim, 0)
        if value.dim() == rank + 1:
            value = value.unsqueeze(1).expand(repeat, size, *value.shape[1:])
    return value.reshape(repeat * size, *value.shape[2:])


def _flatten_all(call: Call, repeat: int, dims: Any, values: Any, ranks: Any) -> list[Any]:
    dims = tuple(d if isinstance(d, int) else None for d in dims)
    return [_flatten(v, d, repeat, call.size, r) for v, d, r in zip(values, dims, ranks, strict=True)]


def _unflatten(call: Call, repeat: int, values: Any) -> Tensors:
    return tuple(v.reshape(repeat, call.size, *v.shape[1:]) for v in values)


def _shared(call: Call, data: Tensors) -> tuple[bool, ...]:
    return tuple([v is None or v.dim() == r for v, r in zip(data, call.ranks, strict=True)])


def _add(a: Tensors, b: Tensors) -> Tensors:
    if not a:
        return b
    return tuple(x + y for x, y in zip(a, b, strict=True)) if b else a


def _given(values: Any) -> bool:
    return any(v is not None for v in values)


def _state_rank(call: Call) -> tuple[int, ...]:
    return (*call.ranks, 1)


def solve(call: Call, data: Tensors) -> _bpqp.Solved:
    """The solutions of the flat batch; a failure is raised if that is the policy."""
    eight = _eight(call, data)
    if _core.by_qpsolvers(call.solver):
        shared = tuple(v is None or v.ndim == r for v, r in zip(_flat_blocks(eight), _flat_ranks(call), strict=True))
        problem = _core.Problem(eight, shared, call.size, np.dtype(np.float64), (None,) * 8)
        call.solved = solve_with(call.solver.partition(":")[2], problem, call.settings)
    else:
        call.solved = call.engine.solve(eight, call.warm)
    return answer(call)


def answer(call: Call) -> _bpqp.Solved:
    """The solutions in `call`: prints a line where that was asked for, raises failures if that is the policy."""
    solved = call.solved
    if call.settings and call.settings.get("verbose"):
        _core.report(solved)
    if call.policy == 0 and not solved.all_ok():
        _core.raise_failures(solved)
    return solved


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(call: Call, *data: Any) -> Any:
        solved = solve(call, data)
        call.status = solved.status()
        if not call.keep:
            call.solved = None
        outputs = _like(data[2], solved.outputs(call.policy != 2))
        return (*outputs, torch.from_numpy(solved.state()).to(data[2].device))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.call = inputs[0]
        ctx.mark_non_differentiable(output[5])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[1:], output[5])
        ctx.save_for_forward(*inputs[1:], output[5])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        *data, state = ctx.saved_tensors
        needs = tuple(ctx.needs_input_grad[1:])
        if not _given(cotangents[:5]):
            return (None,) * 10
        grads = _Vjp.apply(ctx.call, needs, _shared(ctx.call, data), *data, state, *cotangents[:5])
        return (None, *_scatter(needs, grads))

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        *data, state = ctx.saved_tensors
        return (*_Jvp.apply(ctx.call, *data, state, *tangents), None)

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *data: Any) -> Any:
        repeat = info.batch_size
        flat = call.flat(repeat)
        outputs = _Solve.apply(flat, *_flatten_all(call, repeat, in_dims[1:], data, call.ranks))
        call.status = flat.status
        return _unflatten(call, repeat, outputs), (0,) * 6


def _flat_blocks(eight: tuple[Any, ...]) -> list[Any]:
    return [v[0] if isinstance(v, tuple) else v for v in eight]


def _flat_ranks(call: Call) -> tuple[int, ...]:
    return (call.ranks[0], *call.ranks[2:])


class _Vjp(torch.autograd.Function):
    """Inputs: call, needs, summed, 9 data, state, 5 cotangents. Outputs: the gradients that are needed."""

    @staticmethod
    def forward(call: Call, needs: Any, summed: Any, *tensors: Any) -> Any:
        data, state, cotangents = tensors[:9], tensors[9], tensors[10:]
        solved = _solution(call, data, state)
        rows = tuple(_numpy(c) for c in cotangents)
        return _gradients(call, data, needs, summed, lambda ask, total: solved.vjp(rows, ask, total, call.policy))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.call, ctx.needs, ctx.summed = inputs[:3]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[3:])
        ctx.save_for_forward(*inputs[3:])

    @staticmethod
    def backward(ctx: Any, *out: Any) -> Any:
        tensors = ctx.saved_tensors
        data, state, cotangents = tensors[:9], tensors[9], tensors[10:]
        wanted = ctx.needs_input_grad[3:]
        if not _given(out):
            return (None,) * 18
        along = _scatter(ctx.needs, out)
        grads: list[Any] = [None] * 9
        if any(wanted[:9]):
            needs = tuple(wanted[:9])
            shared = _shared(ctx.call, data)
            grads = _scatter(needs, _Second.apply(ctx.call, needs, shared, *data, state, *cotangents, *along))
        moved: Any = (None,) * 5
        if any(wanted[10:]):
            moved = _Jvp.apply(ctx.call, *data, state, *along)
        moved = [m if c is not None else None for m, c in zip(moved, cotangents, strict=True)]
        return (None, None, None, *grads, None, *moved)

    @staticmethod
    def jvp(ctx: Any, _call: Any, _needs: Any, _summed: Any, *tangents: Any) -> Any:
        tensors = ctx.saved_tensors
        data, state, cotangents = tensors[:9], tensors[9], tensors[10:]
        out: Tensors = ()
        if _given(tangents[10:]):
            out = _Vjp.apply(ctx.call, ctx.needs, ctx.summed, *data, state, *tangents[10:])
        if _given(tangents[:9]):
            along = _Second.apply(ctx.call, ctx.needs, ctx.summed, *data, state, *cotangents, *tangents[:9])
            out = _add(out, along)
        return out

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, needs: Any, summed: Any, *tensors: Any) -> Any:
        repeat = info.batch_size
        ranks = (*_state_rank(call), *OUTPUT_RANKS)
        flat = _flatten_all(call, repeat, in_dims[3:], tensors, ranks)
        return _reduce(call, repeat, needs, summed, tensors, _Vjp.apply(call.flat(repeat), needs, (False,) * 9, *flat))


def _reduce(call: Call, repeat: int, needs: Any, summed: Any, tensors: Any, grads: Any) -> Any:
    """Gradients of the flat batch as those of the mapped one: summed over the elements where the level sums."""
    out = _unflatten(call, repeat, grads)
    wanted = [s for s, need, v in zip(summed, needs, tensors[:9], strict=True) if need and v is not None]
    return tuple(v.sum(1) if s else v for v, s in zip(out, wanted, strict=True)), (0,) * len(out)


class _Jvp(torch.autograd.Function):
    """Inputs: call, 9 data, state, 9 tangents. Outputs: 5 tangents."""

    @staticmethod
    def forward(call: Call, *tensors: Any) -> Any:
        data, state, tangents = tensors[:9], tensors[9], tensors[10:]
        solved = _solution(call, data, state)
        return _like(data[2], solved.jvp(_direction(call, data, tangents), call.policy))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.call = inputs[0]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        tensors = ctx.saved_tensors
        data, state, tangents = tensors[:9], tensors[9], tensors[10:]
        wanted = ctx.needs_input_grad[1:]
        grads: list[Any] = [None] * 9
        moved: list[Any] = [None] * 9
        if _given(cotangents) and any(wanted[:9]):
            needs = tuple(wanted[:9])
            shared = _shared(ctx.call, data)
            grads = _scatter(needs, _Second.apply(ctx.call, needs, shared, *data, state, *cotangents, *tangents))
        if _given(cotangents) and any(wanted[10:]):
            needs = tuple(wanted[10:])
            shared = _shared(ctx.call, tangents)
            moved = _scatter(needs, _Vjp.apply(ctx.call, needs, shared, *data, state, *cotangents))
        return (None, *grads, None, *moved)

    @staticmethod
    def jvp(ctx: Any, _: Any, *moved: Any) -> Any:
        tensors = ctx.saved_tensors
        data, state, tangents = tensors[:9], tensors[9], tensors[10:]
        out: Tensors = ()
        if _given(moved[10:]):
            out = _Jvp.apply(ctx.call, *data, state, *moved[10:])
        if _given(moved[:9]):
            out = _add(out, _SecondJvp.apply(ctx.call, *data, state, *tangents, *moved[:9]))
        return out

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *tensors: Any) -> Any:
        repeat = info.batch_size
        flat = _flatten_all(call, repeat, in_dims[1:], tensors, (*_state_rank(call), *call.ranks))
        return _unflatten(call, repeat, _Jvp.apply(call.flat(repeat), *flat)), (0,) * 5


def _third(*_: Any) -> Any:
    raise UnsupportedError("third derivatives of a solution are not supported: two are, in any order of modes")


class _Second(torch.autograd.Function):
    """Inputs: call, needs, summed, 9 data, state, 5 cotangents, 9 directions. Outputs: gradients that are needed."""

    backward = staticmethod(_third)
    jvp = staticmethod(_third)

    @staticmethod
    def forward(call: Call, needs: Any, summed: Any, *tensors: Any) -> Any:
        data, state, cotangents, along = tensors[:9], tensors[9], tensors[10:15], tensors[15:]
        solved = _solution(call, data, state)
        rows, direction = tuple(_numpy(c) for c in cotangents), _direction(call, data, along)

        def derive(ask: Any, total: Any) -> Any:
            return solved.second_vjp(rows, direction, ask, total, call.policy)

        return _gradients(call, data, needs, summed, derive)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, needs: Any, summed: Any, *tensors: Any) -> Any:
        repeat = info.batch_size
        ranks = (*_state_rank(call), *OUTPUT_RANKS, *call.ranks)
        flat = _flatten_all(call, repeat, in_dims[3:], tensors, ranks)
        grads = _Second.apply(call.flat(repeat), needs, (False,) * 9, *flat)
        return _reduce(call, repeat, needs, summed, tensors, grads)


class _SecondJvp(torch.autograd.Function):
    """Inputs: call, 9 data, state, 9 tangents, 9 directions. Outputs: 5 second derivatives."""

    backward = staticmethod(_third)
    jvp = staticmethod(_third)

    @staticmethod
    def forward(call: Call, *tensors: Any) -> Any:
        data, state, tangents, along = tensors[:9], tensors[9], tensors[10:19], tensors[19:]
        solved = _solution(call, data, state)
        first, second = _direction(call, data, tangents), _direction(call, data, along)
        return _like(data[2], solved.second_jvp(first, second, call.policy))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *tensors: Any) -> Any:
        repeat = info.batch_size
        ranks = (*_state_rank(call), *call.ranks, *call.ranks)
        flat = _flatten_all(call, repeat, in_dims[1:], tensors, ranks)
        return _unflatten(call, repeat, _SecondJvp.apply(call.flat(repeat), *flat)), (0,) * 5
