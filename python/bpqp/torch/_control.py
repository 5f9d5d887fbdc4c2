"""Optimal control: smooth programs whose rows are the steps of a dynamical system, with derivatives stage by stage."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch.func import vmap

from .._errors import ArgumentError
from .._types import Array
from ._nonlinear import Calls, Function, NonlinearLayer


def _csc(rows: Array, columns: Array, shape: tuple[int, int]) -> tuple[Any, Any, Any, tuple[int, int]]:
    """The order by columns of entries at different places, and where columns start."""
    order = np.lexsort((rows, columns))
    starts = np.searchsorted(columns[order], np.arange(shape[1] + 1))
    return order, starts.astype(np.int64), rows[order].astype(np.int64), shape


def _places(blocks: list[tuple[int, int, int, int]]) -> tuple[Array, Array]:
    """Rows and columns of the entries of blocks `(row, column, rows, columns)`, one after the other."""
    rows, columns = [], []
    for i, j, m, n in blocks:
        a, b = np.meshgrid(i + np.arange(m), j + np.arange(n), indexing="ij")
        rows.append(a.reshape(-1))
        columns.append(b.reshape(-1))
    return np.concatenate(rows), np.concatenate(columns)


def _grad(value: torch.Tensor, by: torch.Tensor, again: bool = False) -> torch.Tensor:
    """A gradient; 0 where the value does not depend. `again`: to be differentiated once more."""
    if not value.requires_grad:
        return torch.zeros_like(by)
    (out,) = torch.autograd.grad(value, by, create_graph=again, retain_graph=True, materialize_grads=True)
    return out


class _ControlCalls(Calls):
    """Derivatives of all stages at once."""

    def __init__(self, layer: ControlLayer, params: Sequence[torch.Tensor], lb: Array, ub: Array) -> None:
        super().__init__(layer, params, lb, ub)
        self.layer = layer

    def expand(self, x: Array, y: Array, z: Array) -> tuple[Array, Any, Any, Any]:
        own = self.layer
        horizon, nx, nu = own.horizon, own.states, own.controls
        before, control, after = own.parts(self._tensor(x), self.params[0])
        given = self.params[1:]
        prices = self._tensor(y).reshape(horizon, nx)
        # all stages in one graph: a pass over it for every entry of a stage
        with torch.enable_grad():
            at = torch.cat([before, control], 1).detach().requires_grad_()
            end = after[-1].detach().requires_grad_()
            moved = vmap(lambda s, u: own.dynamics(s, u, *given).reshape(nx))(at[:, :nx], at[:, nx:])
            cost = vmap(lambda s, u: own.stage(s, u, *given).reshape(()))(at[:, :nx], at[:, nx:]).sum()
            slopes = _grad(cost, at, True)
            jacobians = torch.stack([_grad(moved[:, k].sum(), at) for k in range(nx)], 1)
            forces = slopes + _grad((prices * moved).sum(), at, True)
            curvatures = torch.stack([_grad(forces[:, k].sum(), at) for k in range(nx + nu)], 1)
            last = own.last(end, *given).reshape(()) if own.last else 0.0 * end.sum()
            last_slope = _grad(last, end, True)
            last_curvature = torch.stack([_grad(last_slope[k], end) for k in range(nx)])
        gradient = torch.zeros(horizon, nu + nx, dtype=at.dtype, device=at.device)
        gradient[:, :nu] = slopes[:, nx:].detach()
        gradient[:-1, nu:] = slopes[1:, :nx].detach()
        gradient[-1, nu:] = last_slope.detach()
        a, h = self._array(jacobians), self._array(curvatures)
        rows = np.concatenate([a[0, :, nx:].reshape(-1), a[1:].reshape(-1), np.full(horizon * nx, -1.0)])
        block = np.concatenate([h[0, nx:, nx:].reshape(-1), h[1:].reshape(-1), self._array(last_curvature).reshape(-1)])
        made = []
        for numbers, (order, starts, places, shape) in ((rows, own.row_places), (block, own.curvature_places)):
            made.append((starts, places, numbers[order], shape))
        return self._array(gradient.reshape(-1)), made[0], np.zeros((0, x.size)), made[1]


class ControlLayer(NonlinearLayer):
    """The optimal plan of a dynamical system from where it is, differentiable in that and in all parameters:

        minimize    sum_k stage(s_k, u_k, *params) + last(s_N, *params)
        subject to  s_k+1 = dynamics(s_k, u_k, *params),   bounds of states and controls,   s_0 = state

    A `NonlinearLayer` in the variables `u_0, s_1, u_1, s_2, ..`, whose sparse derivatives are made of those of the
    stages, all stages at once.

    Args:
        dynamics: `(s, u, *params)` -> the next state, of vectors `s`, `u`; written for one stage, run under `vmap`.
        stage, last: costs `(s, u, *params)` and `(s, *params)` -> a number.
        horizon: the number of steps N.
        controls: the number of entries of `u`.
        state_bounds, control_bounds: pairs of lower and upper bounds, each a number or a vector.
    """

    def __init__(
        self,
        dynamics: Function,
        stage: Function,
        last: Function | None = None,
        *,
        horizon: int,
        states: int,
        controls: int,
        state_bounds: tuple[Any, Any] = (-np.inf, np.inf),
        control_bounds: tuple[Any, Any] = (-np.inf, np.inf),
        **settings: Any,
    ) -> None:
        if min(horizon - 1, states, controls) < 1:
            raise ArgumentError("horizon is at least 2; there is a state and a control")
        self.horizon, self.states, self.controls = horizon, states, controls
        box = []
        for k in range(2):
            u, s = (
                np.broadcast_to(np.asarray(b[k], float), (m,))
                for b, m in ((control_bounds, controls), (state_bounds, states))
            )
            box.append(np.tile(np.concatenate([u, s]), horizon))
        super().__init__(self._total, c=self._steps, lb=box[0], ub=box[1], **settings)
        self.dynamics, self.stage, self.last = dynamics, stage, last
        nx, nu, w = states, controls, states + controls
        n, m = horizon * w, horizon * nx
        later = range(1, horizon)
        rows = [(0, 0, nx, nu), *((k * nx, k * w - nx, nx, w) for k in later)]
        i, j = _places(rows)
        one = np.arange(m)
        there = one // nx * w + nu + one % nx
        self.row_places = _csc(np.concatenate([i, one]), np.concatenate([j, there]), (m, n))
        square = [(0, 0, nu, nu), *((k * w - nx, k * w - nx, w, w) for k in later), (n - nx, n - nx, nx, nx)]
        self.curvature_places = _csc(*_places(square), (n, n))

    _calls_of = _ControlCalls

    def parts(self, plan: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The states before each step, the controls, and the states after it."""
        steps = plan.reshape(self.horizon, -1)
        control, after = steps[:, : self.controls], steps[:, self.controls :]
        return torch.cat([state[None], after[:-1]]), control, after

    def _total(self, plan: torch.Tensor, state: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        before, control, after = self.parts(plan, state)
        total: torch.Tensor = vmap(lambda s, u: self.stage(s, u, *params).reshape(()))(before, control).sum()
        return total if self.last is None else total + self.last(after[-1], *params)

    def _steps(self, plan: torch.Tensor, state: torch.Tensor, *params: torch.Tensor) -> torch.Tensor:
        before, control, after = self.parts(plan, state)
        moved: torch.Tensor = vmap(lambda s, u: self.dynamics(s, u, *params).reshape(-1))(before, control)
        return moved - after

    def forward(  # type: ignore[override]
        self,
        state: torch.Tensor,
        *params: torch.Tensor,
        x0: Any = None,
        index: Sequence[Hashable] | None = None,
        shift: bool = False,
        full: bool = False,
        **more: Any,
    ) -> Any:
        """Controls (horizon, controls) and states (horizon, states) of the plan, for one state or a batch of them.

        Args:
            state: where the system is, (states,) or (batch, states).
            params: what the functions take; shared, or with a batch dimension.
            x0: a plan to start from, (..., horizon * (controls + states)). Without one the state stays and controls are
                0, within the bounds.
            shift: plans that are remembered (`index`) are those of the step before: they start a step later, with their
                end repeated.
            index, full: as in `NonlinearLayer`; with `full` the solution, whose `x` is the plan.
        """
        if x0 is None:
            still = torch.cat([state.new_zeros(*state.shape[:-1], self.controls), state.detach()], -1)
            x0 = still.repeat(*[1] * (state.ndim - 1), self.horizon)
        for name in (index or ()) if shift else ():
            if name in self._memory:
                plan, y, z = self._memory[name]
                w = self.states + self.controls
                start, prices = (np.concatenate([v[k:], v[-k:]]) for v, k in ((plan, w), (y, self.states)))
                self._memory[name] = (start, prices, z)
        solution = super().forward(state, *params, x0=x0, index=index, full=True, **more)
        if full:
            return solution
        steps = solution.x.reshape(*solution.x.shape[:-1], self.horizon, self.controls + self.states)
        return steps[..., : self.controls], steps[..., self.controls :]
