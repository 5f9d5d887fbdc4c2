"""The autograd functions, for every kind of program. Together they close under derivatives.

    solve(data)                      -> outputs, state      its vjp is `vjp`, its jvp is `jvp`
    vjp(data, cotangents)            -> gradients           linear in the cotangents, with transpose `jvp`
    jvp(data, tangents)              -> tangents            linear in the tangents, with transpose `vjp`
    second_vjp(data, cotangents, d)  -> gradients           the derivative of `vjp` along the direction d of the data
    second_jvp(data, tangents, d)    -> tangents            the derivative of `jvp` along d

Third derivatives are refused. The state that travels between them is a tensor: the point at which the derivative is
taken and its active set. So every transform of torch.func finds only tensors; outside of `vmap` the solution itself is
kept too, with its factorization.

What is solved is a `Call`: that of a quadratic program is in `_qp.py`, of a CVXPY problem in `_cvxpy.py`. Its data are
slots. A slot with one dimension more than its rank has one value per element of the batch; other slots are shared, and
their gradients are sums.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol

import numpy as np
import torch

from .._errors import ArgumentError, UnsupportedError

Tensors = tuple[Any, ...]


class Call(Protocol):
    """What is solved, on a flat batch of `size` elements: tensors in, tensors out; None is an absent slot."""

    size: int
    status: list[str] | None

    @property
    def ranks(self) -> tuple[int, ...]:
        """Of the slots of the data."""

    @property
    def output_ranks(self) -> tuple[int, ...]:
        """Of the outputs."""

    def flat(self, factor: int) -> Call:
        """The same for a batch that many times as large."""

    def solve(self, data: Tensors) -> Tensors:
        """The outputs and the state."""

    def vjp(self, data: Tensors, state: Any, cotangents: Tensors, needs: Any, summed: Any) -> Tensors:
        """The gradients that are needed; those marked in `summed` are sums over the batch."""

    def second_vjp(
        self, data: Tensors, state: Any, cotangents: Tensors, along: Tensors, needs: Any, summed: Any
    ) -> Tensors:
        """Their derivatives along a direction of the data."""

    def jvp(self, data: Tensors, state: Any, tangents: Tensors) -> Tensors:
        """The change of the outputs."""

    def second_jvp(self, data: Tensors, state: Any, tangents: Tensors, along: Tensors) -> Tensors:
        """Its derivative along another direction."""


def numpy_of(value: Any) -> Any:
    """A tensor as an array of doubles in C order; None stays."""
    if value is None:
        return None
    array = value.numpy(force=True)
    # not ascontiguousarray: that gives a scalar an axis
    if array.dtype != np.float64 or not array.flags.c_contiguous:
        array = np.asarray(array, dtype=np.float64, order="C")
    return array


def like(reference: torch.Tensor, arrays: Any) -> Tensors:
    """Arrays as tensors of the dtype and on the device of another one."""
    if reference.dtype == torch.float64 and reference.is_cpu:
        return tuple(map(torch.from_numpy, arrays))
    return tuple(torch.from_numpy(a).to(dtype=reference.dtype, device=reference.device) for a in arrays)


def times(size: int, factor: int) -> int:
    """The size of a batch that is mapped over `factor` elements."""
    if factor == 0:
        raise ArgumentError("vmap over 0 elements: a batch needs at least one element")
    return size * factor


def scatter(needs: Any, values: Any) -> list[Any]:
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


def shared(call: Call, data: Tensors) -> tuple[bool, ...]:
    """Which slots the batch shares."""
    return tuple([v is None or v.dim() == r for v, r in zip(data, call.ranks, strict=True)])


def _add(a: Tensors, b: Tensors) -> Tensors:
    if not a:
        return b
    return tuple(x + y for x, y in zip(a, b, strict=True)) if b else a


def _given(values: Any) -> bool:
    return any(v is not None for v in values)


def _state_rank(call: Call) -> tuple[int, ...]:
    return (*call.ranks, 1)


def _split(call: Call, tensors: Tensors, *more: int) -> list[Any]:
    """Data, state, and groups of slots of these sizes."""
    k = len(call.ranks)
    out: list[Any] = [tensors[:k], tensors[k]]
    at = k + 1
    for size in more:
        out.append(tensors[at : at + size])
        at += size
    return out


class Solve(torch.autograd.Function):
    """Inputs: call, data. Outputs: those of the call, and the state."""

    @staticmethod
    def forward(call: Call, *data: Any) -> Any:
        return call.solve(data)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.call = inputs[0]
        ctx.mark_non_differentiable(output[-1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[1:], output[-1])
        ctx.save_for_forward(*inputs[1:], output[-1])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        *data, state = ctx.saved_tensors
        needs = tuple(ctx.needs_input_grad[1:])
        if not _given(cotangents[:-1]):
            return (None,) * (1 + len(data))
        grads = Vjp.apply(ctx.call, needs, shared(ctx.call, data), *data, state, *cotangents[:-1])
        return (None, *scatter(needs, grads))

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        *data, state = ctx.saved_tensors
        return (*Jvp.apply(ctx.call, *data, state, *tangents), None)

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *data: Any) -> Any:
        repeat = info.batch_size
        flat = call.flat(repeat)
        outputs = Solve.apply(flat, *_flatten_all(call, repeat, in_dims[1:], data, call.ranks))
        call.status = flat.status
        return _unflatten(call, repeat, outputs), (0,) * len(outputs)


class Vjp(torch.autograd.Function):
    """Inputs: call, needs, summed, data, state, cotangents. Outputs: the gradients that are needed."""

    @staticmethod
    def forward(call: Call, needs: Any, summed: Any, *tensors: Any) -> Any:
        data, state, cotangents = _split(call, tensors, len(call.output_ranks))
        return call.vjp(data, state, cotangents, needs, summed)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.call, ctx.needs, ctx.summed = inputs[:3]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[3:])
        ctx.save_for_forward(*inputs[3:])

    @staticmethod
    def backward(ctx: Any, *out: Any) -> Any:
        tensors = ctx.saved_tensors
        o = len(ctx.call.output_ranks)
        data, state, cotangents = _split(ctx.call, tensors, o)
        own, _, other = _split(ctx.call, ctx.needs_input_grad[3:], o)
        if not _given(out):
            return (None,) * (3 + len(tensors))
        along = scatter(ctx.needs, out)
        grads: list[Any] = [None] * len(data)
        if any(own):
            needs = tuple(own)
            sums = shared(ctx.call, data)
            grads = scatter(needs, SecondVjp.apply(ctx.call, needs, sums, *data, state, *cotangents, *along))
        moved: Any = (None,) * o
        if any(other):
            moved = Jvp.apply(ctx.call, *data, state, *along)
        moved = [m if c is not None else None for m, c in zip(moved, cotangents, strict=True)]
        return (None, None, None, *grads, None, *moved)

    @staticmethod
    def jvp(ctx: Any, _call: Any, _needs: Any, _summed: Any, *tangents: Any) -> Any:
        o = len(ctx.call.output_ranks)
        data, state, cotangents = _split(ctx.call, ctx.saved_tensors, o)
        along, _, moved = _split(ctx.call, tangents, o)
        out: Tensors = ()
        if _given(moved):
            out = Vjp.apply(ctx.call, ctx.needs, ctx.summed, *data, state, *moved)
        if _given(along):
            own = SecondVjp.apply(ctx.call, ctx.needs, ctx.summed, *data, state, *cotangents, *along)
            out = _add(out, own)
        return out

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, needs: Any, summed: Any, *tensors: Any) -> Any:
        repeat = info.batch_size
        flat = _flatten_all(call, repeat, in_dims[3:], tensors, (*_state_rank(call), *call.output_ranks))
        apart = (False,) * len(call.ranks)
        return _reduce(call, repeat, needs, summed, tensors, Vjp.apply(call.flat(repeat), needs, apart, *flat))


def _reduce(call: Call, repeat: int, needs: Any, summed: Any, tensors: Any, grads: Any) -> Any:
    """Gradients of the flat batch as those of the mapped one: summed over the elements where the level sums."""
    out = _unflatten(call, repeat, grads)
    data = tensors[: len(call.ranks)]
    wanted = [s for s, need, v in zip(summed, needs, data, strict=True) if need and v is not None]
    return tuple(v.sum(1) if s else v for v, s in zip(out, wanted, strict=True)), (0,) * len(out)


class Jvp(torch.autograd.Function):
    """Inputs: call, data, state, tangents. Outputs: tangents of the outputs."""

    @staticmethod
    def forward(call: Call, *tensors: Any) -> Any:
        data, state, tangents = _split(call, tensors, len(call.ranks))
        return call.jvp(data, state, tangents)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.call = inputs[0]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        k = len(ctx.call.ranks)
        data, state, tangents = _split(ctx.call, ctx.saved_tensors, k)
        own, _, other = _split(ctx.call, ctx.needs_input_grad[1:], k)
        grads: list[Any] = [None] * k
        moved: list[Any] = [None] * k
        if _given(cotangents) and any(own):
            needs, sums = tuple(own), shared(ctx.call, data)
            grads = scatter(needs, SecondVjp.apply(ctx.call, needs, sums, *data, state, *cotangents, *tangents))
        if _given(cotangents) and any(other):
            needs, sums = tuple(other), shared(ctx.call, tangents)
            moved = scatter(needs, Vjp.apply(ctx.call, needs, sums, *data, state, *cotangents))
        return (None, *grads, None, *moved)

    @staticmethod
    def jvp(ctx: Any, _: Any, *moved: Any) -> Any:
        k = len(ctx.call.ranks)
        data, state, tangents = _split(ctx.call, ctx.saved_tensors, k)
        along, _, own = _split(ctx.call, moved, k)
        out: Tensors = ()
        if _given(own):
            out = Jvp.apply(ctx.call, *data, state, *own)
        if _given(along):
            out = _add(out, SecondJvp.apply(ctx.call, *data, state, *tangents, *along))
        return out

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *tensors: Any) -> Any:
        repeat = info.batch_size
        flat = _flatten_all(call, repeat, in_dims[1:], tensors, (*_state_rank(call), *call.ranks))
        out = Jvp.apply(call.flat(repeat), *flat)
        return _unflatten(call, repeat, out), (0,) * len(out)


def _third(*_: Any) -> Any:
    raise UnsupportedError("third derivatives of a solution are not supported: two are, in any order of modes")


class SecondVjp(torch.autograd.Function):
    """Inputs: call, needs, summed, data, state, cotangents, directions. Outputs: gradients that are needed."""

    backward = staticmethod(_third)
    jvp = staticmethod(_third)

    @staticmethod
    def forward(call: Call, needs: Any, summed: Any, *tensors: Any) -> Any:
        data, state, cotangents, along = _split(call, tensors, len(call.output_ranks), len(call.ranks))
        return call.second_vjp(data, state, cotangents, along, needs, summed)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, needs: Any, summed: Any, *tensors: Any) -> Any:
        repeat = info.batch_size
        ranks = (*_state_rank(call), *call.output_ranks, *call.ranks)
        flat = _flatten_all(call, repeat, in_dims[3:], tensors, ranks)
        grads = SecondVjp.apply(call.flat(repeat), needs, (False,) * len(call.ranks), *flat)
        return _reduce(call, repeat, needs, summed, tensors, grads)


class SecondJvp(torch.autograd.Function):
    """Inputs: call, data, state, tangents, directions. Outputs: second derivatives of the outputs."""

    backward = staticmethod(_third)
    jvp = staticmethod(_third)

    @staticmethod
    def forward(call: Call, *tensors: Any) -> Any:
        data, state, tangents, along = _split(call, tensors, len(call.ranks), len(call.ranks))
        return call.second_jvp(data, state, tangents, along)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *tensors: Any) -> Any:
        repeat = info.batch_size
        flat = _flatten_all(call, repeat, in_dims[1:], tensors, (*_state_rank(call), *call.ranks, *call.ranks))
        out = SecondJvp.apply(call.flat(repeat), *flat)
        return _unflatten(call, repeat, out), (0,) * len(out)


# PyTorch asks for it in every call, which takes longer than what it is asked for
for _function in (Solve, Vjp, Jvp, SecondVjp, SecondJvp):
    _function.forward.__dict__["__signature__"] = inspect.signature(_function.forward)
