"""The direct way outside of transforms: one autograd function around the solution, with its factorization.

What `_functions` does with tensors alone, because the transforms of torch.func see nothing else, is done here with the
solution itself; a backward pass that is differentiated again, or mapped, goes on there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch.autograd import forward_ad

from ._functions import Call, _scatter, _shared, _Vjp

Tensors = tuple[Any, ...]
_transforming = torch._C._are_functorch_transforms_active
_RANKS = (2, 1, 2, 1, 2, 1, 1, 1)


def applies() -> bool:
    """True outside of transforms, of forward mode and of torch.compile."""
    return not (_transforming() or forward_ad._current_level >= 0 or torch.compiler.is_compiling())


def to_tensor(array: Any, like: torch.Tensor) -> torch.Tensor:
    """An array in the dtype and on the device of `like`."""
    tensor = torch.from_numpy(array)
    return tensor if like.dtype == torch.float64 and like.is_cpu else tensor.to(like.device, like.dtype)


class Found(NamedTuple):
    """Data as they should be: slots, the arrays of the eight blocks, the slots that are present and their tensors,
    which of the nine are shared, and the size of the batch.
    """

    slots: list[Any]
    arrays: tuple[Any, ...]
    present: tuple[int, ...]
    data: list[Any]
    shared: tuple[bool, ...]
    batch: int | None


def collect(values: Any) -> Found | None:
    """The data where all is as it should be: dense, in double precision, on the CPU, of shapes that may fit together.
    None sends the call to where errors are named.
    """
    arrays: list[Any] = [None] * 8
    shared, present, data = [True] * 9, [], []
    batch, wide, dense, kind = None, torch.float64, torch.strided, torch.Tensor
    for k, value in enumerate(values):
        if value is None:
            continue
        if not (isinstance(value, kind) and value.dtype is wide and value.is_cpu and value.layout is dense):
            return None
        array = value.numpy(force=True)
        more = array.ndim - _RANKS[k]
        slot = k + 1 if k else 0
        if more:
            if more != 1 or (batch is not None and batch != array.shape[0]):
                return None
            batch = array.shape[0]
            shared[slot] = False
        if not array.size:
            return None
        arrays[k] = array if value.is_contiguous() else np.ascontiguousarray(array)
        present.append(slot)
        data.append(value)
    _, q, G, h, A, b, _, _ = arrays
    if q is None or (G is None) != (h is None) or (A is None) != (b is None):
        return None
    return Found([values[0], None, *values[1:]], tuple(arrays), tuple(present), data, tuple(shared), batch)


def _row(cotangent: Any, batched: bool) -> Any:
    if cotangent is None:
        return None
    array = cotangent.numpy(force=True)
    if array.dtype != np.float64 or not array.flags.c_contiguous:
        array = np.ascontiguousarray(array, dtype=np.float64)
    return array if batched else array[None]


class _Eager(torch.autograd.Function):
    """Inputs: call, whether there is a batch, the outputs as arrays, the data that are present. Outputs: as tensors."""

    @staticmethod
    def forward(ctx: Any, call: Call, batched: bool, arrays: Any, *data: Any) -> Any:
        ctx.call, ctx.batched = call, batched
        ctx.save_for_backward(*data)
        if len(arrays) == 1:
            return to_tensor(arrays[0], data[0])
        ctx.set_materialize_grads(False)
        return tuple([to_tensor(a, data[0]) for a in arrays])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        call, batched = ctx.call, ctx.batched
        present, needs = call.present, ctx.needs_input_grad[3:]
        cotangents = (*cotangents, *(None,) * (5 - len(cotangents)))
        if torch.is_grad_enabled() or _transforming():
            return None, None, None, *_differentiable(ctx, cotangents, needs)
        rows = tuple([_row(c, batched) for c in cotangents])
        if not any([r is not None for r in rows]):
            return (None,) * (3 + len(present))
        ask = [False] * 8
        for k, need in zip(present, needs, strict=True):
            if need:
                ask[k - 1 if k else 0] = True
        # the solution holds its own data: the tensors are not looked at
        eight = call.solved.vjp(rows, ask, call.shared, call.policy)
        grads: list[Any] = [None, None, None]
        for k, need in zip(present, needs, strict=True):
            value = eight[k - 1 if k else 0] if need else None
            if value is not None:
                value = torch.from_numpy(value[k] if isinstance(value, tuple) else value)
                if call.like is not None:
                    value = value.to(*call.like)
            grads.append(value)
        return tuple(grads)


def _differentiable(ctx: Any, cotangents: Any, needs: Any) -> list[Any]:
    """The gradients as functions of cotangents and data, for a backward pass that is differentiated or mapped."""
    call, saved = ctx.call, ctx.saved_tensors
    data: list[Any] = [None] * 9
    wanted = [False] * 9
    for k, need, value in zip(call.present, needs, saved, strict=True):
        data[k], wanted[k] = value, need
    if not any(c is not None for c in cotangents):
        return [None] * len(saved)
    state = torch.from_numpy(call.solved.state()).to(saved[0].device)
    if not ctx.batched:
        cotangents = tuple(c if c is None else c[None] for c in cotangents)
    grads = _scatter(wanted, _Vjp.apply(call, tuple(wanted), call.shared, *data, state, *cotangents))
    return [grads[k] for k in call.present]


def outputs(call: Call, slots: Any, batched: bool, full: bool, found: Found | None) -> Tensors:
    """The outputs of the solution in `call` as tensors: five, or x alone."""
    nan = call.policy != 2
    arrays = call.solved.outputs(nan) if full else (call.solved.x(nan),)
    if not batched:
        arrays = tuple([a[0:1].reshape(a.shape[1:]) for a in arrays])
    like = slots[2]
    if torch.is_grad_enabled():
        data = found.data if found else [s for s in slots if s is not None]
        if any([v.requires_grad for v in data]):
            if found:
                call.present, call.shared = found.present, found.shared
            else:
                call.present = tuple([k for k, s in enumerate(slots) if s is not None])
                call.shared = _shared(call, slots)
                call.like = (like.device, like.dtype)
            out = _Eager.apply(call, batched, arrays, *data)
            return out if full else (out,)
    return tuple([to_tensor(a, like) for a in arrays])
