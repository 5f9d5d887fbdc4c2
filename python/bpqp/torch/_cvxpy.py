"""A CVXPY problem as a PyTorch module.

The autograd functions act on the flat batch of an `Operator` and close under first derivatives:

    solve(inputs)                 -> outputs, state     its vjp is `vjp`, its jvp is `jvp`
    vjp(inputs, cotangents)       -> gradients          linear in the cotangents, with transpose `jvp`
    jvp(inputs, tangents)         -> tangents           linear in the tangents, with transpose `vjp`

Second derivatives of a cone program are refused. The state is a tensor, so that every transform of torch.func finds
only tensors; outside of `vmap` the solution itself is kept too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .._conic import raise_failures
from .._errors import ArgumentError, DtypeError, UnsupportedError
from ._functions import _given, _scatter
from ._solve import cast_up

Tensors = tuple[Any, ...]


@dataclass
class Call:
    """What an operation needs besides tensors."""

    operator: Any
    size: int
    like: torch.Tensor
    solved: Any = None

    @property
    def inputs(self) -> int:
        return len(self.operator.ranks)

    def flat(self, factor: int) -> Call:
        """The same for a batch that many times as large."""
        if factor == 0:
            raise ArgumentError("vmap over 0 elements: a batch needs at least one element")
        return replace(self, size=self.size * factor, solved=None)

    def shared(self, values: Tensors) -> tuple[bool, ...]:
        return tuple(v is None or v.dim() == r for v, r in zip(values, self.operator.ranks, strict=True))

    def solution(self, values: Tensors, state: torch.Tensor) -> Any:
        if self.solved is None:
            return self.operator.restore([_numpy(v) for v in values], _numpy(state))
        return self.solved

    def tensors(self, arrays: Any) -> Tensors:
        like = self.like
        return tuple(torch.from_numpy(a).to(dtype=like.dtype, device=like.device) for a in arrays)


def _numpy(value: Any) -> Any:
    # not ascontiguousarray: that gives a scalar an axis
    return None if value is None else np.asarray(value.numpy(force=True), dtype=np.float64, order="C")


def _flatten(call: Call, repeat: int, dims: Any, values: Any, ranks: Any) -> list[Any]:
    """Slots with their mapped dimension as slots of the flat batch of `repeat * size` elements."""
    out = []
    for value, dim, rank in zip(values, dims, ranks, strict=True):
        if value is None:
            out.append(None)
            continue
        if not isinstance(dim, int):
            if value.dim() == rank:
                out.append(value)
                continue
            value = value.unsqueeze(0).expand(repeat, *value.shape)  # noqa: PLW2901
        else:
            value = value.movedim(dim, 0)  # noqa: PLW2901
            if value.dim() == rank + 1:
                value = value.unsqueeze(1).expand(repeat, call.size, *value.shape[1:])  # noqa: PLW2901
        out.append(value.reshape(repeat * call.size, *value.shape[2:]))
    return out


def _unflatten(call: Call, repeat: int, values: Any) -> Tensors:
    return tuple(v.reshape(repeat, call.size, *v.shape[1:]) for v in values)


def _refuse(flags: Any) -> None:
    if any(flags):
        raise UnsupportedError(
            "second derivatives of a cone program are not supported; those of bpqp.torch.solve_qp are"
        )


class _Solve(torch.autograd.Function):
    """Inputs: call, inputs. Outputs: the variables, and the state."""

    @staticmethod
    def forward(call: Call, *inputs: Any) -> Any:
        solved, outputs = call.operator.solve([_numpy(v) for v in inputs], call.size)
        if call.operator.policy == 0:
            raise_failures(solved)
        call.solved = solved
        return (*call.tensors(outputs), torch.from_numpy(solved.state()).to(call.like.device))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.call = inputs[0]
        ctx.mark_non_differentiable(output[-1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[1:], output[-1])
        ctx.save_for_forward(*inputs[1:], output[-1])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        *inputs, state = ctx.saved_tensors
        needs = tuple(ctx.needs_input_grad[1:])
        if not _given(cotangents[:-1]):
            return (None,) * (1 + len(inputs))
        grads = _Vjp.apply(ctx.call, needs, ctx.call.shared(inputs), *inputs, state, *cotangents[:-1])
        return (None, *_scatter(needs, grads))

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        *inputs, state = ctx.saved_tensors
        return (*_Jvp.apply(ctx.call, *inputs, state, *tangents), None)

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *inputs: Any) -> Any:
        repeat = info.batch_size
        flat = _flatten(call, repeat, in_dims[1:], inputs, call.operator.ranks)
        outputs = _Solve.apply(call.flat(repeat), *flat)
        return _unflatten(call, repeat, outputs), (0,) * len(outputs)


class _Vjp(torch.autograd.Function):
    """Inputs: call, needs, summed, inputs, state, cotangents. Outputs: the gradients that are needed."""

    @staticmethod
    def forward(call: Call, needs: Any, summed: Any, *tensors: Any) -> Any:
        k = call.inputs
        solved = call.solution(tensors[:k], tensors[k])
        cotangents = [_numpy(c) for c in tensors[k + 1 :]]
        return call.tensors(call.operator.vjp(solved, cotangents, needs, summed))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.call, ctx.needs, ctx.summed = inputs[:3]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[3:])
        ctx.save_for_forward(*inputs[3:])

    @staticmethod
    def backward(ctx: Any, *out: Any) -> Any:
        tensors, k = ctx.saved_tensors, ctx.call.inputs
        wanted = ctx.needs_input_grad[3:]
        cotangents = tensors[k + 1 :]
        if not _given(out):
            return (None,) * (3 + len(tensors))
        _refuse(wanted[:k])
        moved: Any = (None,) * len(cotangents)
        if any(wanted[k + 1 :]):
            moved = _Jvp.apply(ctx.call, *tensors[: k + 1], *_scatter(ctx.needs, out))
        moved = [m if c is not None else None for m, c in zip(moved, cotangents, strict=True)]
        return (None,) * (4 + k) + tuple(moved)

    @staticmethod
    def jvp(ctx: Any, _call: Any, _needs: Any, _summed: Any, *moved: Any) -> Any:
        tensors, k = ctx.saved_tensors, ctx.call.inputs
        _refuse(v is not None for v in moved[:k])
        return _Vjp.apply(ctx.call, ctx.needs, ctx.summed, *tensors[: k + 1], *moved[k + 1 :])

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, needs: Any, summed: Any, *tensors: Any) -> Any:
        repeat = info.batch_size
        ranks = (*call.operator.ranks, 1, *call.operator.output_ranks)
        flat = _flatten(call, repeat, in_dims[3:], tensors, ranks)
        grads = _unflatten(call, repeat, _Vjp.apply(call.flat(repeat), needs, (False,) * call.inputs, *flat))
        sums = [s for s, need in zip(summed, needs, strict=True) if need]
        return tuple(v.sum(1) if s else v for v, s in zip(grads, sums, strict=True)), (0,) * len(grads)


class _Jvp(torch.autograd.Function):
    """Inputs: call, inputs, state, tangents. Outputs: the tangents of the variables."""

    @staticmethod
    def forward(call: Call, *tensors: Any) -> Any:
        k = call.inputs
        solved = call.solution(tensors[:k], tensors[k])
        return call.tensors(call.operator.jvp(solved, [_numpy(t) for t in tensors[k + 1 :]]))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.call = inputs[0]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        tensors, k = ctx.saved_tensors, ctx.call.inputs
        wanted = ctx.needs_input_grad[1:]
        moved: list[Any] = [None] * k
        if _given(cotangents):
            _refuse(wanted[:k])
            if any(wanted[k + 1 :]):
                needs = tuple(wanted[k + 1 :])
                shared = ctx.call.shared(tensors[k + 1 :])
                moved = _scatter(needs, _Vjp.apply(ctx.call, needs, shared, *tensors[: k + 1], *cotangents))
        return (None,) * (2 + k) + tuple(moved)

    @staticmethod
    def jvp(ctx: Any, _: Any, *moved: Any) -> Any:
        tensors, k = ctx.saved_tensors, ctx.call.inputs
        _refuse(v is not None for v in moved[:k])
        return _Jvp.apply(ctx.call, *tensors[: k + 1], *moved[k + 1 :])

    @staticmethod
    def vmap(info: Any, in_dims: Any, call: Call, *tensors: Any) -> Any:
        repeat = info.batch_size
        ranks = (*call.operator.ranks, 1, *call.operator.ranks)
        out = _Jvp.apply(call.flat(repeat), *_flatten(call, repeat, in_dims[1:], tensors, ranks))
        return _unflatten(call, repeat, out), (0,) * len(out)


class CvxpyLayer(torch.nn.Module):
    """The solution of a parametrized CVXPY problem as a function of its parameters.

        layer = CvxpyLayer(problem, parameters=[A, b], variables=[x])
        (x_star,) = layer(A_tensor, b_tensor)

    The problem must be DPP; a parameter may be the matrix of a `quad_form` in the objective. It is compiled once.

    Args:
        problem: a `cvxpy.Problem`.
        parameters: all its parameters, in the order of the tensors of a call.
        variables: what a call returns: variables of the problem, and dual variables of its constraints
            (`constraint.dual_variables`).
        solver: "auto" or "clarabel"; the names that cvxpylayers knows mean "auto".
        gp: the problem is a geometric program (DGP).
        verbose, canon_backend: as for cvxpylayers.
        solver_args: settings as for `bpqp.solve_conic`. Tolerances above 1e-8 and arguments of SCS and diffcp that have
            no meaning here are accepted and change nothing.
        on_failure: "raise", "nan" or "zero_grad", as for `bpqp.solve_conic`.
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
        super().__init__()
        from ..cvxpy import Canonical
        from ..cvxpy._operator import Operators

        self.canonical = Canonical(problem, parameters, variables, gp=gp, canon_backend=canon_backend)
        args = {**(solver_args or {}), **({"verbose": True} if verbose else {})}
        self._operators = Operators(self.canonical, solver, args, on_failure)

    def extra_repr(self) -> str:
        m, n = self.canonical.shape
        return f"{n} variables, {m} rows, cones=[{_summary(self.canonical.cones)}]"

    def forward(self, *params: Any, solver_args: dict[str, Any] | None = None) -> tuple[torch.Tensor, ...]:
        """The values of the variables.

        Each tensor has the shape of its parameter, or a batch dimension before it; those without are shared by the
        batch, and their gradient is the sum. A parameter with `sparsity` is given as the vector of its entries, and a
        symmetric one is read as (S + S') / 2, so that its gradient is symmetric. The dtype and device of the result are
        those of the first tensor; under autocast, tensors of low precision are cast up. Values that are not what a
        parameter is declared to be (symmetric, PSD, nonneg, diag, bounds, ...) are an ArgumentError.
        """
        operator = self._operators.get(solver_args)
        like, tensors = _tensors(params)
        batch = operator.check(tensors)
        inputs = [torch.log(tensors[k]) if log else tensors[k] for k, log in self.canonical.inputs]
        *outputs, _ = _Solve.apply(Call(operator, batch or 1, like), *inputs)
        if batch is None:
            outputs = [v[0] for v in outputs]
        kinds = (exponential for _, _, exponential in self.canonical.outputs)
        return tuple(torch.exp(v) if e else v for v, e in zip(outputs, kinds, strict=True))


def _tensors(params: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    params = [cast_up(p) if isinstance(p, torch.Tensor) else p for p in params]
    for k, value in enumerate(params):
        if not isinstance(value, torch.Tensor):
            raise DtypeError(f"parameter {k} is a {type(value).__name__}: pass a tensor")
        if value.dtype not in (torch.float32, torch.float64):
            raise DtypeError(f"parameter {k} has dtype {value.dtype}: pass float32 or float64")
    like = params[0] if params else torch.zeros(0, dtype=torch.float64)
    return like.detach(), list(params)


def _summary(cones: Any) -> str:
    counts: dict[str, int] = {}
    for cone in cones:
        counts[cone[0]] = counts.get(cone[0], 0) + 1
    return ", ".join(f"{kind}" if count == 1 else f"{count} {kind}" for kind, count in counts.items())
