"""The dispatch of a grid as a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .._engines import POLICIES, policy_code
from .._errors import ArgumentError, SolveError
from .._nonlinear import checked_settings, code_of
from .._types import Array, OnFailure
from .._verdicts import check_choice, judge
from ..grid import PARAMETERS, Case, request
from ._first import first_only


@dataclass
class DispatchSolution:
    """Differentiable `cost`, `power`, `price`; how each element went, and its `verdict`."""

    cost: torch.Tensor
    power: torch.Tensor
    price: torch.Tensor
    ok: torch.Tensor
    status: list[str]
    verdict: list[str]


class _Dispatch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Any, like: torch.Tensor, *inputs: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        ctx.call, ctx.like = call, [None if v is None else (v.dtype, v.device, tuple(v.shape)) for v in inputs]
        ctx.save_for_backward(*inputs)
        outputs = [(d.outcome()[5], *(d.outputs()[k] for k in (0, 2))) for d in call[0]]
        return tuple(torch.from_numpy(np.stack([o[k] for o in outputs])).to(like) for k in range(3))

    @staticmethod
    @first_only("a DispatchLayer")
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[Any, ...]:
        found, policy, on_untrusted = ctx.call
        cost, power, price = (np.ascontiguousarray(c.detach().cpu().double().numpy()) for c in cotangents)
        grads: list[Array | None] = [None if s is None else np.zeros(s[2]) for s in ctx.like]
        codes = np.zeros(len(found), np.uint8)
        for k, d in enumerate(found):
            if d.outcome()[1]:
                parts, verdict = d.vjp(float(cost[k]), power[k], price[k])
                codes[k] = code_of(verdict)
            else:
                # what does not matter to the loss has no gradient, whatever the policy is
                matters = cost[k] != 0 or power[k].any() or price[k].any()
                bad = np.nan if policy == 1 and matters else 0.0
                parts = [np.full(g.shape[-1] if g is not None else 0, bad) for g in grads]
            for g, part in zip(grads, parts, strict=True):
                if g is not None:
                    g[k if g.ndim == 2 else ...] += part
        judge(codes, on_untrusted)
        made = (
            None if g is None else torch.from_numpy(g).to(dtype=s[0], device=s[1])
            for g, s in zip(grads, ctx.like, strict=True)
        )
        return None, None, *made


class DispatchLayer(torch.nn.Module):
    """The cheapest schedule of a grid as a function of loads, limits and costs: cost, powers, prices at all buses.

    The linear power flow is a convex layer, the full one (`ac=True`) a smooth one. The derivative of prices is a second
    one of the cost: 0 at a vertex of a program with linear costs.

    Args:
        case: a grid, `bpqp.grid.read_case(..)`.
        on_failure: "raise" (`bpqp.SolveError`), "nan" or "zero_grad".
        on_untrusted: "warn", "raise" or "ignore".
        settings: eps_abs, eps_rel, max_iter, time_limit (seconds).
    """

    def __init__(
        self,
        case: Case,
        *,
        ac: bool = False,
        on_failure: OnFailure = "raise",
        on_untrusted: str = "warn",
        **settings: Any,
    ) -> None:
        super().__init__()
        self.case, self.ac = case, ac
        self._policy, self._on_untrusted = policy_code(on_failure), check_choice(on_untrusted)
        self._settings = checked_settings(settings)

    def forward(self, **parameters: torch.Tensor) -> DispatchSolution:
        """The schedule at these parameters (load, reactive, limit, quadratic, linear), each (n,) or (batch, n).

        What is not given is as in the case; what has no batch dimension is shared, and its gradient is the sum.
        """
        unknown = [name for name in parameters if name not in PARAMETERS]
        if unknown or not parameters:
            raise ArgumentError(f"pass tensors by name, of {', '.join(PARAMETERS)}; found {unknown or 'none'}")
        given: Sequence[torch.Tensor | None] = [parameters.get(name) for name in PARAMETERS]
        sizes = {v.shape[0] for v in given if v is not None and v.ndim == 2}
        if len(sizes) > 1:
            raise ArgumentError(f"parameters have batches of {sorted(sizes)}: one size, or none")
        single = not sizes
        rows = [None if v is None else v.detach().cpu().double().numpy() for v in given]
        found = []
        near = None
        for k in range(1 if single else sizes.pop()):
            values = {
                name: v[k] if v is not None and v.ndim == 2 else v for name, v in zip(PARAMETERS, rows, strict=True)
            }
            near = request(self.case, values, self.ac, self._settings, near).solve(self.case)
            found.append(near)
        outcomes = [d.outcome() for d in found]
        failures = [(k, o[0]) for k, o in enumerate(outcomes) if not o[1]]
        if failures and self._policy == POLICIES["raise"]:
            raise SolveError(f"no schedule was found for {len(failures)} of {len(found)}: {failures[:8]}", failures)
        like = next(v for v in given if v is not None)
        out = _Dispatch.apply((found, self._policy, self._on_untrusted), like.detach()[..., :0], *given)
        cost, power, price = (v[0] for v in out) if single else out
        ok = torch.tensor([o[1] for o in outcomes])
        status, verdict = [o[0] for o in outcomes], [o[2] for o in outcomes]
        return DispatchSolution(cost, power, price, ok[0] if single else ok, status, verdict)
