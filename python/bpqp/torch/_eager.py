"""The direct way outside of transforms: one autograd function around the solution, with its factorization.

What `_functions` does with tensors alone, because the transforms of torch.func see nothing else, is done here with the
solution itself; a backward pass that is differentiated again, or mapped, goes on there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from .. import _core
from .._errors import UnsupportedError
from .._verdicts import choice_of, judge
from ._functions import Vjp, scatter, shared
from ._qp import QpCall
from ._solution import Solution

Tensors = tuple[Any, ...]
_transforming = torch._C._are_functorch_transforms_active
_compiling = torch.compiler.is_compiling
_from_numpy = torch.from_numpy
_grad_enabled = torch.is_grad_enabled
_F64 = np.dtype(np.float64)


def applies() -> bool:
    """True outside of transforms, of forward mode and of torch.compile."""
    return not (_transforming() or forward_ad._current_level >= 0 or _compiling())


def solve(values: Any, solver: str, settings: Mapping[str, Any], on_failure: str, full: bool) -> Any:
    """The solution where all is as it should be: dense data, in double precision, on the CPU, of shapes that fit.
    None sends the call to where the other data are taken and errors are named.
    """
    if (values[2] is None) != (values[3] is None) or (values[4] is None) != (values[5] is None):
        return None
    arrays: list[Any] = []
    data: list[Any] = []
    numbers, differentiable = 0, False
    try:
        for value in values:
            if value is None:
                arrays.append(None)
                continue
            if not value.is_cpu:
                return None
            array = value.numpy(force=True)
            # what NumPy says of the array is asked of it, and not of the tensor: the extension asks it too
            if array.dtype is not _F64 or not array.size:
                return None
            numbers += array.size
            arrays.append(array if array.flags.c_contiguous else np.ascontiguousarray(array))
            data.append(value)
            if not differentiable and value.requires_grad:
                differentiable = True
    except (AttributeError, TypeError, RuntimeError):
        # no tensor, or none with numbers in rows
        return None
    policy = _core.policy_code(on_failure)
    engine = _core.kept_engine(solver, settings, False, numbers)
    try:
        solved = engine.solve(tuple(arrays))
    except (TypeError, ValueError):
        return None
    if settings and settings.get("verbose"):
        _core.report(solved)
    x = solved.answer(policy)
    if x is None:
        _core.raise_failures(solved)
    differentiable = differentiable and _grad_enabled()
    kept = (solved, policy, None, engine, solver, settings)
    if full:
        return outputs(kept, x, data, differentiable, full)
    return _apply((kept, (x,)), *data) if differentiable else _from_numpy(x)


class _Eager(torch.autograd.Function):
    """Inputs: what is kept and the outputs as arrays, the data that are present. Outputs: as tensors.

    Kept are: the solution, the policy for failures, device and dtype if not those of NumPy; and for a derivative of the
    derivative engine, solver and settings.
    """

    @staticmethod
    def forward(ctx: Any, made: Any, *data: Any) -> Any:
        kept, arrays = made
        ctx.kept = kept
        ctx.save_for_backward(*data)
        like = kept[2]
        if len(arrays) == 1:
            return _from_numpy(arrays[0]) if like is None else _from_numpy(arrays[0]).to(*like)
        ctx.set_materialize_grads(False)
        return tuple([to_tensor(a, like) for a in arrays])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        needs = ctx.needs_input_grad[1:]
        if _grad_enabled() or _transforming():
            return None, *_differentiable(ctx, cotangents, needs)
        solved, policy, like = ctx.kept[:3]
        if len(cotangents) == 1:
            rows = [_row(cotangents[0])]
        else:
            rows = [None if c is None else _row(c) for c in cotangents]
            if all([r is None for r in rows]):
                return (None,) * (1 + len(needs))
        # the solution holds its own data: the tensors are not looked at
        *arrays, doubt = solved.gradients(rows, needs, policy)
        if doubt is not None:
            judge(doubt, choice_of(ctx.kept[5]))
        grads = [None if a is None else _from_numpy(a) for a in arrays]
        if like is not None:
            grads = [None if g is None else g.to(*like) for g in grads]
        return None, *grads


# `_Eager.apply` where no transform is active
_apply = super(torch.autograd.Function, _Eager).apply


def to_tensor(array: Any, like: Any) -> torch.Tensor:
    """An array as a tensor of a device and a dtype; without them, as it is."""
    tensor = _from_numpy(array)
    return tensor if like is None else tensor.to(*like)


def _row(cotangent: torch.Tensor) -> Any:
    """A cotangent as an array of doubles in C order."""
    try:
        try:
            array = cotangent.numpy(force=True)
        except TypeError:  # a dtype that NumPy does not have
            array = cotangent.to(torch.float64).numpy(force=True)
    except RuntimeError as error:
        raise UnsupportedError(
            f"the cotangent is no tensor with numbers of its own ({error}): is_grads_batched=True and "
            "jacobian(vectorize=True) are torch's older vmap; use torch.func.vmap, torch.func.jacrev"
        ) from error
    # not ascontiguousarray: that gives a scalar an axis
    ready = array.dtype is _F64 and array.flags.c_contiguous
    return array if ready else np.array(array, dtype=np.float64, order="C")


def _differentiable(ctx: Any, cotangents: Any, needs: Any) -> list[Any]:
    """The gradients as functions of cotangents and data, for a backward pass that is differentiated or mapped."""
    saved = ctx.saved_tensors
    solved, policy, _, engine, solver, settings = ctx.kept
    if not any([c is not None for c in cotangents]):
        return [None] * len(saved)
    cotangents = (*cotangents, *(None,) * (5 - len(cotangents)))
    present = solved.present()
    data = tuple(scatter(present, saved))
    wanted = [bool(need) for need in scatter(present, needs)]
    call = QpCall(len(solved), present[1], policy, engine, solver, settings, solved=solved)
    state = _from_numpy(solved.state()).to(saved[0].device)
    if not solved.batched():
        cotangents = tuple(c if c is None else c[None] for c in cotangents)
    grads = scatter(wanted, Vjp.apply(call, tuple(wanted), shared(call, data), *data, state, *cotangents))
    return [g for g, there in zip(grads, present, strict=True) if there]


def outputs(kept: Any, x: Any, data: list[Any], differentiable: bool, full: bool) -> Any:
    """The solution as tensors that are made from `data`: x, or all outputs with `full`."""
    solved, policy, like = kept[:3]
    arrays = (x,)
    if full:
        arrays = solved.outputs(policy != 2)
        if not solved.batched():
            arrays = tuple([a[0:1].reshape(a.shape[1:]) for a in arrays])
    if differentiable:
        out = _apply((kept, arrays), *data)
    else:
        out = tuple([to_tensor(a, like) for a in arrays]) if full else to_tensor(x, like)
    if not full:
        return out
    ok, status = torch.from_numpy(solved.ok()), solved.status()
    if like is not None:
        ok = ok.to(like[0])
    if solved.batched():
        return Solution(*(*out, ok, np.array(status), solved))
    return Solution(*(*out, ok[0], status[0], solved))
