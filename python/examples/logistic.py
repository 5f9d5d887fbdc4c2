"""Hyperparameters of logistic regression, learned by gradient descent through the fit.

The fit minimizes, with one weight per group of features,

    mean_k log(1 + exp(-y_k (x_k'theta + offset))) + 1/2 sum_g w_g |theta_g|^2

a program with two exponential cones per sample. The loss of the validation set is a function of w through theta(w), and
`CvxpyLayer` gives its gradient. First one weight for all features is learned, then one for each of two groups, of which
the second is mostly noise: the validation curve and its map show where the descent ends. Fits are compared with
Newton's method, and gradients with the implicit function theorem on the smooth fit and with central differences.
"""

from __future__ import annotations

import time

import cvxpy as cp
import matplotlib.pyplot as plt
import torch
from bpqp.torch import CvxpyLayer
from common import agree, along, arguments, save, table
from torch import Tensor
from torch.nn.functional import softplus

GROUPS = (4, 12)


def samples(count: int, truth: Tensor) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, len(truth))
    return x, torch.where(torch.rand(count) < torch.sigmoid(x @ truth + 0.3), 1.0, -1.0)


def per_feature(weights: Tensor) -> Tensor:
    """The weight of each feature, and none for the offset."""
    spread = torch.cat([w.expand(*w.shape[:-1], n) for w, n in zip(weights.split(1, -1), GROUPS, strict=True)], -1)
    return torch.cat([spread, torch.zeros(*weights.shape[:-1], 1)], -1)


def with_offset(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1)], 1)


def fit_layer(x: Tensor, y: Tensor) -> CvxpyLayer:
    """From weights (groups,) or a batch of these to theta, the offset last."""
    theta, weights = cp.Variable(x.shape[1] + 1), cp.Parameter(len(GROUPS), nonneg=True)
    margins = cp.multiply(y.numpy(), with_offset(x).numpy() @ theta)
    loss, start = cp.sum(cp.logistic(-margins)) / len(y), 0
    for g, size in enumerate(GROUPS):
        loss += weights[g] * cp.sum_squares(theta[start : start + size]) / 2
        start += size
    return CvxpyLayer(cp.Problem(cp.Minimize(loss)), [weights], [theta])


def logistic_loss(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return softplus(-y * (theta @ with_offset(x).T)).mean(-1)


def newton(x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The fit and the Hessian there."""
    X, w = with_offset(x), per_feature(weights)
    theta = torch.zeros(X.shape[1])
    for _ in range(50):
        p = torch.sigmoid(-y * (X @ theta))
        H = X.T @ ((p * (1 - p))[:, None] * X) / len(y) + torch.diag(w)
        theta = theta - torch.linalg.solve(H, w * theta - X.T @ (y * p) / len(y))
    return theta, H


def checks(layer: CvxpyLayer, train: tuple[Tensor, Tensor], held: tuple[Tensor, Tensor]) -> list[list[object]]:
    """Fit and gradient at some weights, against three references."""

    def loss(weights: Tensor) -> Tensor:
        return logistic_loss(layer(weights)[0], *held)

    weights = torch.tensor([0.03, 0.2], requires_grad=True)
    (ours,) = torch.autograd.grad(loss(weights), weights)
    theta, H = newton(*train, weights.detach())
    leaf = theta.clone().requires_grad_()
    (back,) = torch.autograd.grad(logistic_loss(leaf, *held), leaf)
    # H dtheta = -theta_g dw_g
    implicit = torch.stack([-part.sum() for part in (torch.linalg.solve(H, back) * theta)[:-1].split(GROUPS)])
    central = torch.tensor([along(loss, weights.detach(), e) for e in torch.eye(2)])
    return [
        ["fit against Newton's method", agree("the fit", layer(weights)[0], theta, 1e-8)],
        ["gradient against the implicit function theorem", agree("the gradient", ours, implicit, 1e-7)],
        ["gradient against central differences", agree("the gradient", ours, central, 1e-7)],
    ]


def descend(layer: CvxpyLayer, held: tuple[Tensor, Tensor], log_w: Tensor, steps: int) -> tuple[Tensor, float]:
    """All weights on the way, and seconds per step. One number is one weight for all groups."""
    log_w = log_w.clone().requires_grad_()
    optimizer = torch.optim.Adam([log_w], lr=0.2, betas=(0.5, 0.9))
    path, begin = [log_w.detach().exp().expand(len(GROUPS))], time.perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        logistic_loss(layer(log_w.exp().expand(len(GROUPS)))[0], *held).backward()
        optimizer.step()
        path.append(log_w.detach().exp().expand(len(GROUPS)))
    return torch.stack(path), (time.perf_counter() - begin) / steps


def main() -> None:
    settings = arguments(__doc__, "logistic.png")
    steps, points = (4, 5) if settings.short else (40, 25)
    truth = torch.cat([1.2 * torch.randn(GROUPS[0]), 0.1 * torch.randn(GROUPS[1])])
    train, held, test = (samples(n, truth) for n in (80, 150, 5000))
    layer = fit_layer(*train)
    checked = checks(layer, train, held)

    common, seconds = descend(layer, held, torch.tensor([-5.0]), steps)
    own, _ = descend(layer, held, common[-1].log(), steps)
    grid = torch.logspace(-3, 1, 2 * points - 1)
    with torch.no_grad():
        (curve,) = layer(grid[:, None].expand(-1, 2))
        losses = {"training": train, "validation": held, "test": test}
        curves = {name: logistic_loss(curve, *data) for name, data in losses.items()}
        side = torch.logspace(-3, 1, points)
        plane = torch.cartesian_prod(side, side)
        surface = logistic_loss(layer(plane)[0], *held).reshape(points, points)
        rows: list[list[object]] = []
        for name, w in (("before", common[0]), ("one weight", common[-1]), ("a weight per group", own[-1])):
            (theta,) = layer(w)
            text = " and ".join(f"{v:.3g}" for v in (w[:1] if name != "a weight per group" else w).tolist())
            rows.append([name, text, *(logistic_loss(theta, *losses[k]).item() for k in losses)])
        way = logistic_loss(layer(common)[0], *held)
    table(("learned", "weights", *(f"{k} loss" for k in losses)), rows)
    best = curves["validation"].min().item()
    print(
        f"the best common weight of a grid has validation loss {best:.4f}; {1e3 * seconds:.0f} ms per step of descent"
    )
    table(("check", "differs by"), checked)

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2))
    for (name, values), color in zip(curves.items(), ("0.6", "tab:blue", "tab:green"), strict=True):
        axes[0].semilogx(grid, values, color=color, label=name)
    axes[0].plot(common[:, 0], way, ".", color="tab:orange", label="descent")
    axes[0].plot(common[-1, 0], way[-1], "o", color="tab:orange")
    axes[0].set(xlabel="weight of all features", ylabel="logistic loss", title="One weight: validation curve")
    axes[0].legend()
    levels = surface.min().item() + (surface.max() - surface.min()).item() * torch.linspace(0, 1, 13) ** 2
    filled = axes[1].contourf(side, side, surface.T, levels=levels.tolist(), cmap="Blues")
    axes[1].plot(common[:, 0], common[:, 1], ".", color="tab:orange", label="one weight")
    axes[1].plot(own[:, 0], own[:, 1], ".-", color="tab:red", lw=1, label="a weight per group")
    axes[1].plot(*own[-1], "o", color="tab:red")
    axes[1].set(
        xscale="log", yscale="log", xlabel="weight of group 1 (informative)", ylabel="weight of group 2 (noise)"
    )
    axes[1].set(title="Two weights: validation loss", xlim=(1e-3, 10), ylim=(1e-3, 10))
    axes[1].legend(loc="upper right")
    figure.colorbar(filled, ax=axes[1], label="logistic loss", format="%.2f")
    save(figure, settings.out)


if __name__ == "__main__":
    main()
