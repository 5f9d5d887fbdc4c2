"""Layers that are projections: sparsemax, a simplex of any size, a box; each against its closed form.

    project(y) = argmin 1/2 |x - y|^2  over the set

is a quadratic program with P = I and q = -y, so its layer is one line of `bpqp.torch.solve_qp`. Softmax projects by
entropy instead of squared distance: that is not a quadratic program, so it is not here. Values and gradients of a
random loss are compared with sorting (simplex) and clamping (box), where automatic differentiation of the closed form
gives the gradient too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch
from common import arguments, save, table
from torch import Tensor

Layer = Callable[[Tensor], Tensor]


def simplex(y: Tensor, total: Tensor) -> Tensor:
    """The nearest x >= 0 with 1'x = total."""
    n = y.shape[-1]
    return bt.solve_qp(torch.eye(n), -y, A=torch.ones(1, n), b=total.reshape(-1, 1), lb=torch.zeros(n))


def sparsemax(y: Tensor) -> Tensor:
    """Probabilities as softmax gives them, but many of them 0."""
    return simplex(y, torch.ones(1).expand(len(y)))


def box(y: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    return bt.solve_qp(torch.eye(y.shape[-1]), -y, lb=lower, ub=upper)


def simplex_by_sorting(y: Tensor, total: Tensor) -> Tensor:
    largest = y.sort(descending=True).values
    count = torch.arange(1, y.shape[-1] + 1)
    shift = (largest.cumsum(1) - total[:, None]) / count
    support = (largest > shift).sum(1, keepdim=True)
    return (y - shift.gather(1, support - 1)).clamp(min=0)


def compare(name: str, layer: Callable[..., Tensor], closed: Callable[..., Tensor], *inputs: Tensor) -> list[object]:
    """Largest differences of values and of gradients with respect to every input, and milliseconds of the layer."""
    weights = torch.randn(inputs[0].shape)
    results = []
    seconds = 0.0
    for function in (closed, layer, layer):
        leaves = [v.clone().requires_grad_() for v in inputs]
        begin = time.perf_counter()
        x = function(*leaves)
        gradients = torch.autograd.grad((weights * x).sum(), leaves)
        seconds = time.perf_counter() - begin
        results.append((x.detach(), gradients))
    (x, g), _, (ours, ours_g) = results
    worst = max((a - b).abs().max().item() for a, b in zip(g, ours_g, strict=True))
    zeros = (x.abs() < 1e-12).double().mean().item()
    return [name, (x - ours).abs().max().item(), worst, 100 * zeros, 1e3 * seconds]


def draw() -> plt.Figure:
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.4))
    score = torch.linspace(-2, 2, 201)
    p = sparsemax(torch.stack([score, torch.zeros(201), torch.full((201,), -0.5)], 1))
    for k, name in enumerate(("$t$", "$0$", "$-0.5$")):
        axes[0].plot(score, p[:, k], label=f"score {name}")
    axes[0].set(xlabel="$t$", ylabel="probability", title="sparsemax of $(t, 0, -0.5)$")
    axes[0].legend(loc="upper left")
    points = (1.1 * torch.randn(40, 2)).clamp(-2.5, 2.5)
    pictures: list[tuple[str, Layer, list[list[float]]]] = [
        ("simplex", lambda y: simplex(y, torch.ones(len(y))), [[1, 0], [0, 1]]),
        (
            "box",
            lambda y: box(y, -torch.ones(2) / 2, torch.ones(2) / 2),
            [[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]],
        ),
    ]
    for axis, (name, layer, corners) in zip(axes[1:], pictures, strict=True):
        x = layer(points)
        edge = torch.tensor(corners) * (0.5 if name == "box" else 1)
        axis.plot(*edge.T, color="tab:orange", lw=2)
        for start, end in zip(points, x, strict=True):
            axis.plot(*torch.stack([start, end]).T, color="0.75", lw=0.8, zorder=0)
        axis.plot(*points.T, ".", color="0.5", ms=4)
        axis.plot(*x.T, ".", color="tab:blue", ms=6)
        axis.set(aspect="equal", title=f"projection on a {name}", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
    return figure


def main() -> None:
    settings = arguments(__doc__, "projections.png")
    batch, n = (16, 8) if settings.short else (512, 50)
    y = torch.randn(batch, n)
    lower = -torch.rand(batch, n)
    rows = [
        compare("sparsemax", sparsemax, lambda v: simplex_by_sorting(v, torch.ones(batch)), y),
        compare("simplex, with its size", simplex, simplex_by_sorting, y, 1 + 4 * torch.rand(batch)),
        compare("box, with its bounds", box, lambda v, a, b: v.maximum(a).minimum(b), y, lower, lower + 1),
    ]
    print(f"{batch} projections of {n} numbers, forward and backward; differences from the closed form")
    table(("layer", "largest in x", "largest in gradients", "zeros %", "ms"), rows)
    save(draw(), settings.out)


if __name__ == "__main__":
    main()
