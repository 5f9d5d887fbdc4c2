"""Losses on decisions: what a prediction of costs costs, once the program has decided by it.

    loss = losses.spo_plus(layer, c_hat, c_true)

A program decides `x(c) = argmin c'x + r(x)` over its constraints, `r` a quadratic term or nothing. Each loss takes the
layer, the predicted and the true costs, shapes (n,) or (batch, n), and gives a number that can be differentiated by
`c_hat`.

| loss | linear programs | quadratic programs | evaluations for each pair of costs |
| --- | --- | --- | --- |
| `regret` | no: its gradient is 0 almost everywhere | yes | 2, and a backward pass |
| `squared_decision` | no, for the same reason | yes | 2, and a backward pass |
| `spo_plus` | yes | yes | 2 |
| `smoothed` | yes | yes | 2, and a backward pass |
| `fenchel_young` | yes | yes | 1 + `samples` |

`layer` is a `QpLayer` that gets the costs as `q`, or a callable that takes costs and gives decisions (a tensor, or a
tuple with one, as of a `CvxpyLayer`). Other data of a `QpLayer` are keywords of the loss. The objective is `c'x` and
the quadratic term of a `QpLayer`; `objective=f` says it otherwise, `f(x, c)` with a number for each pair. Decisions by
the true costs that are known (they are the same in every epoch) are given as `best=`, which saves one evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from .._core import Factored
from .._errors import ArgumentError, DtypeError
from ._layer import QpLayer

__all__ = ["fenchel_young", "regret", "smoothed", "spo_plus", "squared_decision"]

Layer = Callable[..., Any]
Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Reduction = Literal["mean", "sum", "none"]


def _costs(c_hat: Any, c_true: Any) -> tuple[torch.Tensor, torch.Tensor]:
    for name, value in (("c_hat", c_hat), ("c_true", c_true)):
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            raise DtypeError(f"{name} is a {type(value).__name__}: pass a tensor of floating point numbers")
        if value.ndim not in (1, 2):
            raise ArgumentError(f"{name} has shape {tuple(value.shape)}: it needs (n,) or (batch, n)")
    if c_hat.shape != c_true.shape:
        raise ArgumentError(f"c_hat has shape {tuple(c_hat.shape)}, c_true {tuple(c_true.shape)}: they must agree")
    return c_hat, c_true.detach()


def _decide(layer: Layer, c: torch.Tensor, data: dict[str, Any]) -> torch.Tensor:
    found = layer(q=c, **data) if isinstance(layer, QpLayer) else layer(c, **data)
    if isinstance(found, (tuple, list)):
        if len(found) != 1:
            raise ArgumentError(f"the layer gives {len(found)} tensors: a loss is on one decision")
        found = found[0]
    if not isinstance(found, torch.Tensor) or found.shape != c.shape:
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise ArgumentError(f"the layer gives {shape} for costs of shape {tuple(c.shape)}: the shapes must agree")
    return found


def _fixed(layer: Layer, c: torch.Tensor, data: dict[str, Any]) -> torch.Tensor:
    """A decision that is not differentiated."""
    with torch.no_grad():
        return _decide(layer, c.detach(), data)


def _best(layer: Layer, c_true: torch.Tensor, best: torch.Tensor | None, data: dict[str, Any]) -> torch.Tensor:
    """The decision by the true costs."""
    if best is None:
        return _fixed(layer, c_true, data)
    if not isinstance(best, torch.Tensor) or best.shape != c_true.shape:
        shape = tuple(best.shape) if isinstance(best, torch.Tensor) else type(best).__name__
        raise ArgumentError(f"best has shape {shape}, c_true {tuple(c_true.shape)}: they must agree")
    return best.detach()


def _objective(layer: Layer, objective: Objective | None, data: dict[str, Any]) -> Objective:
    if objective is not None:
        return objective
    d = F = P = None
    if isinstance(layer, QpLayer):
        P = data.get("P")
        if isinstance(P, Factored):
            d, F, P = P.d, P.F, None
        elif P is None and layer.factored:
            d, F = layer.data_d, layer.data_F
        elif P is None and "P" in layer.fixed:
            P = layer.data_P

    def value(x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = (c * x).sum(-1)
        if P is not None:
            out = out + 0.5 * (x * (P @ x[..., None])[..., 0]).sum(-1)
        if d is not None and F is not None:
            out = out + 0.5 * ((d * x * x).sum(-1) + ((x[..., None, :] @ F)[..., 0, :] ** 2).sum(-1))
        return out

    return value


def _reduce(value: torch.Tensor, reduction: Reduction) -> torch.Tensor:
    if reduction == "none":
        return value
    if reduction == "mean":
        return value.mean()
    if reduction == "sum":
        return value.sum()
    raise ArgumentError(f"reduction = {reduction!r}: choose 'mean', 'sum' or 'none'")


def regret(
    layer: Layer,
    c_hat: torch.Tensor,
    c_true: torch.Tensor,
    *,
    objective: Objective | None = None,
    reduction: Reduction = "mean",
    best: torch.Tensor | None = None,
    **data: Any,
) -> torch.Tensor:
    """What deciding by `c_hat` costs beyond the best decision: `f(x(c_hat), c_true) - f(x(c_true), c_true) >= 0`.

    The gradient is that of the decision. Of a linear program it is 0 wherever it exists: use it to report, and train
    with `spo_plus`, `smoothed` or `fenchel_young`.

    Raises:
        ArgumentError, DtypeError: costs or decisions of another shape or type.
        SolveError: the program has no solution.
    """
    c_hat, c_true = _costs(c_hat, c_true)
    f = _objective(layer, objective, data)
    best = _best(layer, c_true, best, data)
    return _reduce(f(_decide(layer, c_hat, data), c_true) - f(best, c_true), reduction)


def spo_plus(
    layer: Layer,
    c_hat: torch.Tensor,
    c_true: torch.Tensor,
    *,
    objective: Objective | None = None,
    reduction: Reduction = "mean",
    best: torch.Tensor | None = None,
    **data: Any,
) -> torch.Tensor:
    """The convex upper bound of the regret by Elmachtoub and Grigas (2022), with `d = 2 c_hat - c_true`:

        f(x(c_true), d) - f(x(d), d) >= regret        subgradient  2 (x(c_true) - x(d))

    For programs whose objective is linear in the costs. No derivative of the program is needed, so linear programs will
    do.

    Raises:
        ArgumentError, DtypeError, SolveError: as `regret`.
    """
    c_hat, c_true = _costs(c_hat, c_true)
    f = _objective(layer, objective, data)
    d = 2 * c_hat - c_true
    best, own = _best(layer, c_true, best, data), _fixed(layer, d, data)
    return _reduce(f(best, d) - f(own, d), reduction)


def smoothed(
    layer: Layer,
    c_hat: torch.Tensor,
    c_true: torch.Tensor,
    *,
    mu: float,
    objective: Objective | None = None,
    reduction: Reduction = "mean",
    best: torch.Tensor | None = None,
    **data: Any,
) -> torch.Tensor:
    """The regret, with the gradient of the barrier problem with parameter `mu` in place of that of the decision.

    Its value is that of `regret`, exactly; a larger `mu` blurs the gradient over more vertices. It is in the units of
    the objective. For a `QpLayer`; with other layers make them with `smoothing=mu` and use `regret`.

    Raises:
        ArgumentError, DtypeError, SolveError: as `regret`.
    """
    if not isinstance(layer, QpLayer):
        raise ArgumentError("smoothed is for a QpLayer: make the layer with smoothing=mu and use regret")
    twins: dict[float, QpLayer] = layer.__dict__.setdefault("_smoothed", {})
    if mu not in twins:
        twin = QpLayer.__new__(QpLayer)
        torch.nn.Module.__init__(twin)
        twin.solver, twin.on_failure, twin.factored = layer.solver, layer.on_failure, layer.factored
        twin.settings = {**layer.settings, "smoothing": mu}
        twin.fixed, twin._memory = layer.fixed, layer._memory
        twin._forget_engines()
        twins.clear()
        twins[mu] = twin
    twin = twins[mu]
    # the same tensors, wherever the layer has moved to
    twin._buffers, twin._parameters = layer._buffers, layer._parameters
    return regret(
        twin,
        c_hat,
        c_true,
        objective=objective or _objective(layer, None, data),
        reduction=reduction,
        best=best,
        **data,
    )


def fenchel_young(
    layer: Layer,
    c_hat: torch.Tensor,
    c_true: torch.Tensor,
    *,
    sigma: float,
    samples: int = 8,
    generator: torch.Generator | None = None,
    objective: Objective | None = None,
    reduction: Reduction = "mean",
    best: torch.Tensor | None = None,
    **data: Any,
) -> torch.Tensor:
    """The perturbed Fenchel-Young loss of Berthet et al. (2020), of the true decision under normal noise `Z` on the
    costs:

        f(x(c_true), c_hat) - mean over Z of f(x(c_hat + sigma Z), c_hat + sigma Z) >= 0
        gradient  x(c_true) - mean over Z of x(c_hat + sigma Z)

    It is 0 for no noise and the right decision, and convex in `c_hat`. The noise comes in pairs of opposite sign, so
    that the bound holds for every draw. For programs whose objective is linear in the costs; `sigma` is in their units.

    Args:
        layer, c_hat, c_true, objective, reduction, data: as for `regret`; of `c_true` only the decision counts.
        sigma: the standard deviation of the noise.
        samples: how many draws, an even number.
        generator: where the noise comes from.

    Raises:
        ArgumentError, DtypeError, SolveError: as `regret`.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 2 or samples % 2:
        raise ArgumentError(f"samples = {samples!r}: pass an even number, 2 or more")
    if not sigma > 0:
        raise ArgumentError(f"sigma = {sigma!r}: pass a positive number")
    c_hat, c_true = _costs(c_hat, c_true)
    f = _objective(layer, objective, data)
    best = _best(layer, c_true, best, data)
    shape = (samples // 2, *c_hat.shape)
    # drawn where the generator is
    device = c_hat.device if generator is None else generator.device
    noise = torch.randn(shape, generator=generator, dtype=c_hat.dtype, device=device).to(c_hat.device)
    moved = c_hat + sigma * torch.cat([noise, -noise])
    stacks = isinstance(layer, QpLayer) and not data and not _batched(layer)
    if stacks:
        own = _fixed(layer, moved.reshape(-1, c_hat.shape[-1]), data).reshape(moved.shape)
    else:
        own = torch.stack([_fixed(layer, c, data) for c in moved])
    return _reduce(f(best, c_hat) - f(own, moved).mean(0), reduction)


def _batched(layer: QpLayer) -> bool:
    """True if data of the layer have a batch dimension: draws of the noise cannot be elements of one more."""
    ranks = {"P": 2, "d": 1, "F": 2, "q": 1, "G": 2, "h": 1, "A": 2, "b": 1, "lb": 1, "ub": 1}
    tensors = {**layer._buffers, **layer._parameters}
    return any(t is not None and t.ndim > ranks[name.removeprefix("data_")] for name, t in tensors.items())


def squared_decision(
    layer: Layer,
    c_hat: torch.Tensor,
    c_true: torch.Tensor,
    *,
    reduction: Reduction = "mean",
    best: torch.Tensor | None = None,
    **data: Any,
) -> torch.Tensor:
    """The squared distance of the decisions: `|x(c_hat) - x(c_true)|^2`, for quadratic programs (see `regret`).

    Raises:
        ArgumentError, DtypeError, SolveError: as `regret`.
    """
    c_hat, c_true = _costs(c_hat, c_true)
    best = _best(layer, c_true, best, data)
    return _reduce((_decide(layer, c_hat, data) - best).square().sum(-1), reduction)
