"""The direct way outside of transforms: one autograd function around the solution, with its factorization.

What `_functions` does with tensors alone, because the transforms of torch.func see nothing else, is done here with the
solution itself; a backward pass that is differentiated again, or mapped, goes on there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from .. import _core
from ._functions import Call, Solution, _scatter, _shared, _Vjp, answer

Tensors = tuple[Any, ...]
_transforming = torch._C._are_functorch_transforms_active
_compiling = torch.compiler.is_compiling


def applies() -> bool:
    """True outside of transforms, of forward mode and of torch.compile."""
    return not (_transforming() or forward_ad._current_level >= 0 or _compiling())


def to_tensor(array: Any, like: torch.Tensor) -> torch.Tensor:
    """An array in the dtype and on the device of `like`."""
    tensor = torch.from_numpy(array)
    return tensor if like.dtype == torch.float64 and like.is_cpu else tensor.to(like.device, like.dtype)


def solve(values: Any, solver: str, settings: dict[str, Any], on_failure: str, full: bool) -> Any:
    """The solution where all is as it should be: dense data, in double precision, on the CPU, of shapes that fit.
    None sends the call to where the other data are taken and errors are named.
    """
    if (values[2] is None) != (values[3] is None) or (values[4] is None) != (values[5] is None):
        return None
    arrays: list[Any] = []
    data: list[Any] = []
    numbers, differentiable = 0, False
    wide, dense, kind = torch.float64, torch.strided, torch.Tensor
    for value in values:
        if value is None:
            arrays.append(None)
            continue
        if not (isinstance(value, kind) and value.dtype is wide and value.is_cpu and value.layout is dense):
            return None
        array = value.numpy(force=True)
        if not array.size:
            return None
        numbers += array.size
        arrays.append(array if value.is_contiguous() else np.ascontiguousarray(array))
        data.append(value)
        if value.requires_grad:
            differentiable = True
    policy = _core.policy_code(on_failure)
    engine = _core.kept_engine(solver, settings, False, numbers)
    try:
        solved = engine.solve(tuple(arrays))
    except (TypeError, ValueError):
        return None
    call = Call(len(solved), False, policy, engine, solver, settings, solved=solved, batched=solved.batched())
    answer(call)
    return outputs(call, data, differentiable and torch.is_grad_enabled(), full)


def _row(cotangent: Any, batched: bool) -> Any:
    if cotangent is None:
        return None
    array = cotangent.numpy(force=True)
    if array.dtype != np.float64 or not array.flags.c_contiguous:
        array = np.ascontiguousarray(array, dtype=np.float64)
    return array if batched else array[None]


class _Eager(torch.autograd.Function):
    """Inputs: call, the outputs as arrays, the data that are present. Outputs: as tensors."""

    @staticmethod
    def forward(ctx: Any, call: Call, arrays: Any, *data: Any) -> Any:
        ctx.call = call
        ctx.save_for_backward(*data)
        if len(arrays) == 1:
            return to_tensor(arrays[0], data[0])
        ctx.set_materialize_grads(False)
        return tuple([to_tensor(a, data[0]) for a in arrays])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        call, needs = ctx.call, ctx.needs_input_grad[2:]
        if torch.is_grad_enabled() or _transforming():
            return None, None, *_differentiable(ctx, cotangents, needs)
        if len(cotangents) == 1:
            rows: Tensors = (_row(cotangents[0], call.batched), None, None, None, None)
        else:
            rows = tuple([_row(c, call.batched) for c in cotangents])
            if not any([r is not None for r in rows]):
                return (None,) * (2 + len(needs))
        # the solution holds its own data: the tensors are not looked at
        arrays, like = call.solved.gradients(rows, needs, call.policy), call.like
        grads = [None if a is None else torch.from_numpy(a) for a in arrays]
        if like is not None:
            grads = [None if g is None else g.to(*like) for g in grads]
        return None, None, *grads


def _differentiable(ctx: Any, cotangents: Any, needs: Any) -> list[Any]:
    """The gradients as functions of cotangents and data, for a backward pass that is differentiated or mapped."""
    call, saved = ctx.call, ctx.saved_tensors
    if not any([c is not None for c in cotangents]):
        return [None] * len(saved)
    cotangents = (*cotangents, *(None,) * (5 - len(cotangents)))
    present = call.solved.present()
    data = tuple(_scatter(present, saved))
    wanted = [bool(need) for need in _scatter(present, needs)]
    state = torch.from_numpy(call.solved.state()).to(saved[0].device)
    if not call.batched:
        cotangents = tuple(c if c is None else c[None] for c in cotangents)
    grads = _scatter(wanted, _Vjp.apply(call, tuple(wanted), _shared(call, data), *data, state, *cotangents))
    return [g for g, there in zip(grads, present, strict=True) if there]


def outputs(call: Call, data: list[Any], differentiable: bool, full: bool) -> Any:
    """The solution in `call` as tensors that are made from `data`: x, or all outputs with `full`."""
    solved, nan = call.solved, call.policy != 2
    arrays = solved.outputs(nan) if full else (solved.x(nan),)
    if not call.batched:
        arrays = tuple([a[0:1].reshape(a.shape[1:]) for a in arrays])
    if differentiable:
        out = _Eager.apply(call, arrays, *data)
    elif full:
        out = tuple([to_tensor(a, data[0]) for a in arrays])
    else:
        out = to_tensor(arrays[0], data[0])
    if not full:
        return out
    ok, status = torch.from_numpy(solved.ok()).to(data[0].device), solved.status()
    return Solution(*out, *((ok, np.array(status)) if call.batched else (ok[0], status[0])))
