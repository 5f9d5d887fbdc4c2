"""Quadratic programs with matrices that are products: torch functions, and gradients of what they depend on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .. import _large
from .._arguments import NAMES, Factored, is_sparse
from .._errors import ArgumentError, DtypeError, UnsupportedError
from .._large import LargeSolution
from . import _eager
from ._first import first_only
from ._functions import like, numpy_of
from ._solution import Solution
from ._sparse import _places, as_scipy, sparse
from ._tensors import deciding, tensor_of

OUTPUTS = ("x", "y", "z", "z_box", "objective")


class Operator:
    """A matrix as products only, for P, A and G of large problems, with gradients of what it depends on.

    `matvec(x, *params)` is the product with a vector of shape (n,), `rmatvec(y, *params)` that of the transpose, as
    functions of torch. Vectors and params come in double precision, on the device of `q`, whatever its dtype is. P is
    symmetric and needs no `rmatvec`.

    Args:
        shape: (m, n).
        matvec, rmatvec: functions of a vector and the params, linear in the vector.
        params: tensors that have gradients; `matvec` must be differentiable in them by torch.
    """

    __slots__ = ("matvec", "params", "rmatvec", "shape")

    def __init__(
        self,
        shape: tuple[int, int],
        matvec: Callable[..., torch.Tensor],
        rmatvec: Callable[..., torch.Tensor] | None = None,
        params: Sequence[torch.Tensor] = (),
    ) -> None:
        self.shape = _large.Operator(shape, matvec, rmatvec).shape
        self.matvec, self.rmatvec, self.params = matvec, rmatvec, tuple(params)
        for k, value in enumerate(self.params):
            if not isinstance(value, torch.Tensor):
                raise DtypeError(f"params[{k}] is a {type(value).__name__}: pass a tensor")

    def __repr__(self) -> str:
        return f"Operator(shape={self.shape}, params={len(self.params)})"


def _on_arrays(own: Operator, device: torch.device) -> _large.Operator:
    """An operator for NumPy."""
    fixed = [p.detach().double() for p in own.params]

    def of(function: Callable[..., torch.Tensor] | None) -> Any:
        def product(v: Any) -> Any:
            with torch.no_grad():
                found = function(torch.from_numpy(v).to(device), *fixed)  # type: ignore[misc]
            if not isinstance(found, torch.Tensor):
                raise DtypeError(f"an Operator returned a {type(found).__name__}: return a tensor")
            return numpy_of(found)

        return None if function is None else product

    return _large.Operator(own.shape, of(own.matvec), of(own.rmatvec))


def _by_params(own: Operator, found: _large.LowRank, device: torch.device, needs: Sequence[bool]) -> list[Any]:
    """The gradients of the params, of that by the matrix: they are those of `sum_k left_k' M right_k`."""
    if not any(needs):
        return [None] * len(own.params)
    left, right = (torch.from_numpy(part.T.copy()).to(device) for part in (found.left, found.right))
    with torch.enable_grad():
        params = [p.detach().double().requires_grad_(need) for p, need in zip(own.params, needs, strict=True)]
        terms = [u @ own.matvec(v, *params) for u, v in zip(left, right, strict=True)]
        wanted = [p for p in params if p.requires_grad]
        total = torch.stack(terms).sum()
        if not total.requires_grad:
            return [None] * len(own.params)
        slopes = iter(torch.autograd.grad(total, wanted, materialize_grads=True))
    return [next(slopes).to(p.dtype) if need else None for p, need in zip(own.params, needs, strict=True)]


def known(value: Any) -> bool:
    """True for what is known by its products only. In words that torch.compile can follow."""
    return not isinstance(value, torch.Tensor) and hasattr(value, "matvec")


class _Argument:
    """One of P, G, A as tensors that are differentiated, as NumPy's `solve_qp` takes it, and the way back."""

    def __init__(self, name: str, value: Any, q: torch.Tensor) -> None:
        self.name, self.value, self.q = name, value, q
        self.tensors: list[torch.Tensor]
        self.data: Any
        if isinstance(value, Operator):
            self.tensors, self.data = list(value.params), _on_arrays(value, q.device)
        elif isinstance(value, Factored):
            self.tensors = [tensor_of(f"{name}.{part}", getattr(value, part), q) for part in ("d", "F")]
            self.data = Factored(*map(numpy_of, self.tensors))
        elif isinstance(value, torch.Tensor) and sparse(value):
            whole = value.coalesce() if value.layout == torch.sparse_coo else value
            self.tensors, self.data = [tensor_of(name, whole.values(), q)], as_scipy(value)
        elif is_sparse(value) or _large.is_products(value):
            self.tensors, self.data = [], value
        else:
            self.tensors = [tensor_of(name, value, q)]
            self.data = numpy_of(self.tensors[0])

    def gradients(self, found: Any, needs: Sequence[bool]) -> list[Any]:
        if isinstance(self.value, Operator):
            return _by_params(self.value, found, self.q.device, needs)
        if isinstance(self.value, Factored):
            return [found.d, found.F]
        if isinstance(self.value, torch.Tensor) and sparse(self.value):
            rows, cols = _places(self.value)
            return [np.asarray(found.tocsr()[rows.copy(), cols.copy()]).reshape(-1)]
        return [found] * len(self.tensors)


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sol: LargeSolution, arguments: list[_Argument], q: torch.Tensor, *tensors: Any) -> Any:
        ctx.sol, ctx.arguments, ctx.q = sol, arguments, q.detach()
        ctx.save_for_backward(q, *tensors)
        return like(q, [np.array(getattr(sol, name), np.float64) for name in OUTPUTS])

    @staticmethod
    @first_only("a program with operators")
    def backward(ctx: Any, *cotangents: Any) -> Any:
        sol, arguments, needs = ctx.sol, ctx.arguments, list(ctx.needs_input_grad[3:])
        rows = dict(zip(OUTPUTS, map(numpy_of, cotangents), strict=True))
        g = sol.vjp(**rows)
        grads: list[Any] = []
        for argument in arguments:
            count = len(argument.tensors)
            grads += argument.gradients(getattr(g, argument.name), needs[len(grads) : len(grads) + count])
        grads = [v if v is None or isinstance(v, torch.Tensor) else like(ctx.q, [np.asarray(v)])[0] for v in grads]
        by_q = like(ctx.q, [g.q])[0] if ctx.needs_input_grad[2] else None
        return None, None, by_q, *(v if need else None for v, need in zip(grads, needs, strict=True))


class _Known:
    """The verdict of a solution, in the form that solutions of torch ask for it."""

    def __init__(self, sol: LargeSolution) -> None:
        self._sol = sol

    def examine(self) -> list[tuple[str, float, float, bool]]:
        return [(self._sol.verdict, float("nan"), 0.0, self._sol.ok)]


def solve(
    values: Sequence[Any], full: bool, solver: str, warm_start: Any, on_failure: Any, settings: Mapping[str, Any]
) -> Any:
    """`solve_qp` where P, G or A is known by its products only."""
    if not _eager.applies():
        raise UnsupportedError(
            "a program with operators has first derivatives in reverse mode: call it outside of torch.func,"
            " of forward mode and of torch.compile"
        )
    q = deciding(values[1])
    if q.dim() != 1:
        raise UnsupportedError(f"q has shape {tuple(q.shape)}: a program with operators has no batch dimension")
    given = [(name, value) for name, value in zip(NAMES, values, strict=True) if value is not None and name != "q"]
    arguments = [_Argument(name, value, q) for name, value in given]
    for argument in arguments:
        for tensor in argument.tensors:
            if tensor.device != q.device:
                raise ArgumentError(f"{argument.name} is on {tensor.device}, but q is on {q.device}: move one of them")
    data: dict[str, Any] = {a.name: a.data for a in arguments}
    data["q"] = q.numpy(force=True)
    sol = _large.solve_large(tuple(data.get(name) for name in NAMES), solver, warm_start, on_failure, settings)
    x, y, z, z_box, objective = _Solve.apply(sol, arguments, q, *(t for a in arguments for t in a.tensors))
    if not full:
        return x
    ok = torch.tensor(sol.ok, device=q.device)
    known: Any = _Known(sol)
    return Solution(x, y, z, z_box, objective, ok, sol.status, known)
