"""Smooth programs of torch callables: differentiated by torch, solved by the extension."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.func import grad, jvp

from .. import _bpqp
from .._engines import POLICIES, policy_code
from .._errors import ArgumentError, DtypeError, SolveError
from .._nonlinear import bounds_of, check_local, checked_settings, code_of, described, split, start_of, wrapped
from .._results import GradientReport
from .._types import Array, OnFailure
from .._verdicts import check_choice, judge
from ._first import first_only

Function = Callable[..., torch.Tensor]
# matrices of fewer variables are dense
_DENSE = 64


def _jacobian(values: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """All rows of it in one pass over the graph, which is kept."""
    size, found = values.numel(), None
    if size and values.requires_grad:
        each = torch.eye(size, dtype=values.dtype, device=values.device)
        (found,) = torch.autograd.grad(values, by, each, retain_graph=True, is_grads_batched=True, allow_unused=True)
    return by.new_zeros(size, by.numel()) if found is None else found


class Calls:
    """The functions at given parameters, as the extension calls them."""

    def __init__(self, layer: NonlinearLayer, params: Sequence[torch.Tensor], lb: Array, ub: Array) -> None:
        self.f, self.lb, self.ub = layer.f, lb, ub
        self.params = tuple(p.detach().double() for p in params)
        self.device = params[0].device if params else torch.device("cpu")
        self.c, self.g = layer.c, layer.g
        self.patterns = layer._patterns

    def moved(self, k: int, at: int, step: float) -> Calls:
        """The same with one number of a parameter moved."""
        other = copy(self)
        params = [p.clone() for p in self.params]
        params[k].view(-1)[at] += step
        other.params = tuple(params)
        return other

    def _tensor(self, v: Array) -> torch.Tensor:
        return torch.from_numpy(np.array(v)).to(self.device)

    @staticmethod
    def _array(v: torch.Tensor) -> Array:
        return np.ascontiguousarray(v.detach().cpu().numpy(), dtype=np.float64)

    def _rows(self, function: Function | None, x: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(0) if function is None else function(x, *params).reshape(-1)

    def _lagrangian(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        rows = self._rows(self.c, x, *params) @ y + self._rows(self.g, x, *params) @ z
        return self.f(x, *params).reshape(()) + rows

    def values(self, x: Array) -> tuple[float, Array, Array]:
        at = self._tensor(x)
        with torch.no_grad():
            c, g = (self._array(self._rows(rows, at, *self.params)) for rows in (self.c, self.g))
            return float(self.f(at, *self.params)), c, g

    def expand(self, x: Array, y: Array, z: Array) -> tuple[Array, Any, Any, Any]:
        at, ys, zs = map(self._tensor, (x, y, z))
        with torch.enable_grad():
            at = at.requires_grad_()
            f = self.f(at, *self.params).reshape(1)
            c, g = (self._rows(rows, at, *self.params) for rows in (self.c, self.g))
            blocks = [self._array(_jacobian(rows, at)) for rows in (f, c, g)]
            lagrangian = f[0] + c @ ys + g @ zs
            slope = at.new_zeros(x.size)
            if lagrangian.requires_grad:
                (slope,) = torch.autograd.grad(lagrangian, at, create_graph=True, materialize_grads=True)
            blocks.append(self._array(_jacobian(slope, at)))
        return blocks[0][0], *self._sparse(blocks[1:])

    def _sparse(self, matrices: list[Array]) -> list[Any]:
        """The same by columns, on the entries that were ever not 0, where these are few."""
        n = matrices[-1].shape[0]
        known = self.patterns.get(n)
        if known is None or [m.shape for m in known] != [m.shape for m in matrices]:
            known = [np.eye(*m.shape, dtype=bool) if k == 2 else m != 0 for k, m in enumerate(matrices)]
        known = [old | (m != 0) for old, m in zip(known, matrices, strict=True)]
        self.patterns[n] = known
        if n <= _DENSE or 10 * sum(m.sum() for m in known) > sum(m.size for m in known):
            return list(matrices)
        out = []
        for mask, m in zip(known, matrices, strict=True):
            columns, rows = np.nonzero(mask.T)
            starts = np.searchsorted(columns, np.arange(n + 1))
            out.append((starts.astype(np.int64), rows.astype(np.int64), m[rows, columns], m.shape))
        return out

    def pull(self, x: Array, y: Array, z: Array, w: Array, u_y: Array, u_z: Array, t: float) -> Array:
        at, ys, zs, ws, uy, uz = map(self._tensor, (x, y, z, w, u_y, u_z))
        if not self.params:
            return np.zeros(0)

        with torch.enable_grad():
            at = at.requires_grad_()
            params = [p.detach().requires_grad_() for p in self.params]
            lagrangian = self._lagrangian(at, ys, zs, *params)
            (slope,) = torch.autograd.grad(lagrangian, at, create_graph=True, materialize_grads=True)
            rows = self._rows(self.c, at, *params) @ uy + self._rows(self.g, at, *params) @ uz
            total = ws @ slope + rows + t * lagrangian
            if not total.requires_grad:
                return np.zeros(sum(p.numel() for p in params))
            found = torch.autograd.grad(total, params, materialize_grads=True)
        return np.concatenate([self._array(v).reshape(-1) for v in found])

    def push(self, x: Array, y: Array, z: Array, direction: Array) -> tuple[Array, Array, Array, float]:
        at, ys, zs = map(self._tensor, (x, y, z))
        parts = tuple(self._tensor(v) for v in split(direction, [tuple(p.shape) for p in self.params]))

        def moved(*params: torch.Tensor) -> tuple[torch.Tensor, ...]:
            slope = grad(lambda v: self._lagrangian(v, ys, zs, *params))(at)
            rows = (self._rows(self.c, at, *params), self._rows(self.g, at, *params))
            return slope, *rows, self._lagrangian(at, ys, zs, *params)

        if not self.params:
            return np.zeros(x.size), np.zeros(y.size), np.zeros(z.size), 0.0
        out: Any = jvp(moved, self.params, parts)[1]
        return self._array(out[0]), self._array(out[1]), self._array(out[2]), float(out[3])


def _each(values: list[Any], single: bool) -> Any:
    return values[0] if single else np.array(values)


@dataclass
class NonlinearSolution:
    """Differentiable `x`, multipliers `y`, `z`, `z_box`, `objective`; how each element went, and its `verdict`."""

    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor
    z_box: torch.Tensor
    objective: torch.Tensor
    ok: torch.Tensor
    status: Any
    verdict: Any
    iterations: Any


@dataclass
class _Call:
    """One call of a layer: what the forward pass leaves for the backward pass."""

    calls: list[Calls]
    batched: tuple[bool, ...]
    policy: int
    on_untrusted: str
    solved: list[_bpqp.Local] = field(default_factory=list)


class _Solve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: _Call, like: torch.Tensor, *inputs: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        ctx.call, ctx.like = call, [None if v is None else (v.dtype, v.device, tuple(v.shape)) for v in inputs]
        ctx.save_for_backward(*inputs)
        columns: list[list[Array]] = [[], [], [], [], []]
        for local in call.solved:
            parts = local.outputs()
            for column, part in zip(columns, parts, strict=True):
                blank = call.policy == 1 and not local.ok
                column.append(np.full_like(part, np.nan) if blank else part)
        stacked = [torch.from_numpy(np.stack(c)).to(like) for c in columns]
        return stacked[0], stacked[1], stacked[2], stacked[3], stacked[4][:, 0]

    @staticmethod
    @first_only("a NonlinearLayer")
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[Any, ...]:
        call: _Call = ctx.call
        rows = [np.ascontiguousarray(c.detach().cpu().double().numpy()) for c in cotangents]
        params = ctx.like[2:]
        shapes = [s[2][1:] if b else s[2] for s, b in zip(params, call.batched, strict=True)]
        grads: list[Any] = [None if s is None else np.zeros(s[2]) for s in ctx.like]
        codes = np.zeros(len(call.solved), np.uint8)
        for k, (local, calls) in enumerate(zip(call.solved, call.calls, strict=True)):
            own = [r[k] if r.ndim > 1 else r[k : k + 1] for r in rows]
            if local.ok:
                flat, lb, ub, verdict = local.vjp(calls, tuple(np.ascontiguousarray(r) for r in own))
                codes[k] = code_of(verdict)
                parts = [lb, ub, *split(flat, shapes)]
            else:
                # what does not matter to the loss has no gradient, whatever the policy is
                bad = np.nan if call.policy == 1 and any(np.any(r != 0) for r in own) else 0.0
                n = calls.lb.size
                parts = [np.full(n, bad), np.full(n, bad), *(np.full(s, bad) for s in shapes)]
            for j, part in enumerate(parts):
                if grads[j] is None:
                    continue
                if (j < 2 and grads[j].ndim == 2) or (j >= 2 and call.batched[j - 2]):
                    grads[j][k] += part
                else:
                    grads[j] += part if grads[j].shape == part.shape else part.sum()
        judge(codes, call.on_untrusted)
        out = []
        for value, like in zip(grads, ctx.like, strict=True):
            out.append(None if value is None else torch.from_numpy(np.asarray(value)).to(dtype=like[0], device=like[1]))
        return None, None, *out


class NonlinearLayer(torch.nn.Module):
    """The minimizer of a smooth program of torch callables, differentiable in its parameters and bounds:

        minimize f(x, *params)  s.t.  c(x, *params) = 0,  g(x, *params) <= 0,  lb <= x <= ub

    `f` returns a number, `c` and `g` vectors; all for one element, without a batch dimension, differentiable twice by
    torch. The derivative of a local solution is that of the quadratic program with the Hessian of the Lagrangian over
    the active rows; a point that is no minimum has the status `not_a_minimum` and no gradient.

    Args:
        f, c, g: callables of `(x, *params)`.
        lb, ub: bounds, (n,) or a number; tensors of a call may take their place.
        on_failure: "raise" (`bpqp.SolveError`), "nan" or "zero_grad" (the last iterate, no gradient).
        on_untrusted: "warn", "raise" or "ignore".
        settings: eps_abs, eps_rel (1e-8), max_iter, time_limit (seconds).
    """

    _calls_of: Any = Calls

    def __init__(
        self,
        f: Function,
        c: Function | None = None,
        g: Function | None = None,
        lb: Any = None,
        ub: Any = None,
        *,
        on_failure: OnFailure = "raise",
        on_untrusted: str = "warn",
        **settings: Any,
    ) -> None:
        super().__init__()
        self.f, self.c, self.g, self.lb, self.ub = f, c, g, lb, ub
        self._policy, self._on_untrusted = policy_code(on_failure), check_choice(on_untrusted)
        self._settings = checked_settings(settings)
        self._memory: dict[Hashable, tuple[Array, Array, Array]] = {}
        self._patterns: dict[int, list[Any]] = {}

    def forward(
        self,
        *params: torch.Tensor,
        x0: Any,
        lb: Any = None,
        ub: Any = None,
        batched: Sequence[bool] | None = None,
        index: Sequence[Hashable] | None = None,
        full: bool = False,
    ) -> Any:
        """The minimizer from `x0`, (n,) or, for a batch, (batch, n).

        Args:
            x0: the starting point; its dimension says whether this is a batch.
            lb, ub: bounds in place of those of the layer, (n,) or (batch, n); differentiable.
            batched: which parameters have a batch dimension first; those of a batch whose first dimension is its size
                where None. The others are shared, and their gradient is the sum.
            index: names of the samples: each starts from its own last solution.
            full: return a `NonlinearSolution`.
        """
        for k, p in enumerate(params):
            if not isinstance(p, torch.Tensor) or not p.is_floating_point():
                raise DtypeError(f"parameter {k} is a {type(p).__name__}: pass a tensor of float64 or float32")
        start = torch.as_tensor(x0)
        single = start.ndim == 1
        starts = np.ascontiguousarray(np.atleast_2d(start.detach().cpu().double().numpy()))
        if starts.ndim != 2:
            raise ArgumentError(f"x0 has shape {tuple(start.shape)}, expected (n,) or (batch, n)")
        size, n = starts.shape
        if batched is None:
            batched = [not single and p.ndim > 0 and p.shape[0] == size for p in params]
        if len(batched) != len(params) or (single and any(batched)):
            raise ArgumentError("batched has one flag for each parameter, and needs an x0 of shape (batch, n)")
        if index is not None and len(index) != size:
            raise ArgumentError(f"index has {len(index)} names for {size} elements")
        box = [v if v is not None else own for v, own in ((lb, self.lb), (ub, self.ub))]
        tensors = [v if isinstance(v, torch.Tensor) else None for v in box]
        rows = [v.detach().cpu().double().numpy() if isinstance(v, torch.Tensor) else v for v in box]
        call = _Call([], tuple(bool(b) for b in batched), self._policy, self._on_untrusted)
        for k in range(size):
            own = [p[k] if b else p for p, b in zip(params, batched, strict=True)]
            bounds = bounds_of(n, *(v[k] if v is not None and np.ndim(v) == 2 else v for v in rows))
            calls = self._calls_of(self, own, *bounds)
            known = self._memory.get(index[k]) if index is not None else None
            x, multipliers = (starts[k], None) if known is None else (known[0], known[1:])
            local = _bpqp.solve_smooth(calls, x, multipliers, self._settings)
            if known is not None and not local.ok:
                local = _bpqp.solve_smooth(calls, starts[k], None, self._settings)
            if index is not None and local.ok:
                self._memory[index[k]] = local.outputs()[:3]
            call.calls.append(calls)
            call.solved.append(local)
        failures = [(k, local.status) for k, local in enumerate(call.solved) if not local.ok]
        if failures and self._policy == POLICIES["raise"]:
            text = "; ".join(f"element {k}: {described(call.solved[k])}" for k, _ in failures[:8])
            raise SolveError(f"{len(failures)} of {size} smooth programs were not solved: {text}", failures)
        floating = [p for p in params if p.is_floating_point()]
        like = (
            floating[0]
            if floating
            else start.to(torch.get_default_dtype() if not start.is_floating_point() else start.dtype)
        )
        outputs = _Solve.apply(call, like.detach()[..., :0], *tensors, *params)
        if single:
            outputs = tuple(v[0] for v in outputs)
        if not full:
            return outputs[0]
        ok = torch.tensor([local.ok for local in call.solved])
        status, verdict = ([getattr(local, name) for local in call.solved] for name in ("status", "verdict"))
        steps = [local.iterations for local in call.solved]
        x, y, z, z_box, objective = outputs
        return NonlinearSolution(
            x,
            y,
            z,
            z_box,
            objective,
            ok[0] if single else ok,
            _each(status, single),
            _each(verdict, single),
            _each(steps, single),
        )

    def check_gradient(self, *params: torch.Tensor, x0: Any, **cotangents: Any) -> GradientReport:
        """Central differences of re-solves against the gradient by every number of the parameters, for one element.

        `cotangents` are the derivatives of the loss by x, y, z, z_box, objective; ones for x if none is given.
        """
        start = start_of(torch.as_tensor(x0).detach().cpu().double().numpy())
        box = (v.detach().cpu().double().numpy() if isinstance(v, torch.Tensor) else v for v in (self.lb, self.ub))
        calls = self._calls_of(self, params, *bounds_of(start.size, *box))
        local = _bpqp.solve_smooth(calls, start, None, self._settings)
        shapes = [tuple(p.shape) for p in params]
        return check_local(wrapped(local, calls, shapes, "raise", self._on_untrusted), cotangents)


@dataclass
class CvxpyNlpSolution:
    """The differentiable `variables` that were asked for, and `ok`, `status`, `verdict` of each element."""

    variables: tuple[torch.Tensor, ...]
    ok: torch.Tensor
    status: Any
    verdict: Any


class CvxpyNlp:
    """A DNLP problem of CVXPY as a function of tensors: what `CvxpyLayer(nlp=True)` does."""

    def __init__(self, nlp: Any, policy: int, on_untrusted: str, settings: dict[str, Any]) -> None:
        self.nlp, self.policy, self.on_untrusted, self.settings = nlp, policy, on_untrusted, settings
        self.memory: dict[Hashable, tuple[Array, Array, Array]] = {}

    def __call__(self, params: Sequence[torch.Tensor], index: Sequence[Hashable] | None, full: bool) -> Any:
        nlp = self.nlp
        if len(params) != len(nlp.shapes):
            raise ArgumentError(f"{len(params)} tensors were given for {len(nlp.shapes)} parameters")
        size: int | None = None
        flags, columns = [], []
        for k, (p, shape) in enumerate(zip(params, nlp.shapes, strict=True)):
            own = tuple(p.shape)
            batched = own != shape
            if batched and own[1:] != shape:
                raise ArgumentError(f"parameter {k} has shape {own}, expected {shape}, or a batch of that")
            if batched and size not in (None, own[0]):
                raise ArgumentError(f"parameter {k} has a batch of {own[0]}, but another has one of {size}")
            size = own[0] if batched else size
            flags.append(batched)
            # by columns, as CVXPY flattens
            flat = p.reshape((own[0] if batched else 1, *shape))
            columns.append(flat.permute(0, *range(len(shape), 0, -1)).reshape(flat.shape[0], -1))
        count = 1 if size is None else size
        if index is not None and len(index) != count:
            raise ArgumentError(f"index has {len(index)} names for {count} elements")
        call = _Call([], tuple(flags), self.policy, self.on_untrusted)
        inputs = [c if b else c[0] for c, b in zip(columns, flags, strict=True)]
        numbers = [c.detach().cpu().double().numpy() for c in columns]
        for k in range(count):
            theta = [c[k if b else 0] for c, b in zip(numbers, flags, strict=True)]
            calls = nlp.at(theta)
            known = self.memory.get(index[k]) if index is not None else None
            x, multipliers = (nlp.start, None) if known is None else (known[0], known[1:])
            local = _bpqp.solve_smooth(calls, x, multipliers, self.settings)
            if known is not None and not local.ok:
                local = _bpqp.solve_smooth(calls, nlp.start, None, self.settings)
            if index is not None and local.ok:
                self.memory[index[k]] = local.outputs()[:3]
            call.calls.append(calls)
            call.solved.append(local)
        failures = [(k, local.status) for k, local in enumerate(call.solved) if not local.ok]
        if failures and self.policy == POLICIES["raise"]:
            text = "; ".join(f"element {k}: {described(call.solved[k])}" for k, _ in failures[:8])
            raise SolveError(f"{len(failures)} of {count} problems were not solved: {text}", failures)
        like = params[0] if params else torch.zeros(0, dtype=torch.float64)
        primal_dual = torch.cat(_Solve.apply(call, like.detach().reshape(-1)[:0], None, None, *inputs)[:3], 1)
        variables = []
        for place, shape in nlp.outputs:
            value = primal_dual[:, torch.as_tensor(place)].reshape(count, *reversed(shape))
            value = value.permute(0, *range(len(shape), 0, -1))
            variables.append(value[0] if size is None else value)
        if not full:
            return tuple(variables)
        ok = torch.tensor([local.ok for local in call.solved])
        status, verdict = ([getattr(local, name) for local in call.solved] for name in ("status", "verdict"))
        return CvxpyNlpSolution(
            tuple(variables), ok[0] if size is None else ok, _each(status, size is None), _each(verdict, size is None)
        )
