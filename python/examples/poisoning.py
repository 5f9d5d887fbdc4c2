"""Which way each training point would have to move to hurt a classifier most: data poisoning.

Two classifiers are fitted to points x_k with labels y_k, as layers whose parameter is the matrix X of all points:

    logistic regression      minimize mean_k log(1 + exp(-y_k (x_k'theta + c))) + 0.01 |theta|^2     exponential cones
    support vector machine   minimize mean_k max(0, 1 - y_k (x_k'theta + c))    + 0.01 |theta|^2     a quadratic program

The gradient of the test loss with respect to X is drawn as arrows: every point pulls on the first classifier, on the
second only those exactly on its margin where they determine theta and c. Then all points move along the gradient, by a
root mean square of 0.3, or as a control in random directions, and the classifier is fitted again. Gradients are
compared with central differences, and those of logistic regression with the implicit function theorem on the fit.
"""

from __future__ import annotations

import math

import cvxpy as cp
import matplotlib.pyplot as plt
import torch
from bpqp.torch import CvxpyLayer
from common import agree, along, arguments, save, table
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn.functional import softplus

RIDGE, DISTANCE, STEPS = 0.01, 0.3, 3
Data = tuple[Tensor, Tensor]


def points(count: int) -> Data:
    """Two clouds that overlap a little."""
    y = torch.ones(count)
    y[count // 2 :] = -1
    return y[:, None] * torch.tensor([1.0, 0.6]) + 0.8 * torch.randn(count, 2), y


def classifier(y: Tensor, kind: str) -> CvxpyLayer:
    """From the points (count, 2) to theta and c."""
    theta, offset, X = cp.Variable(2), cp.Variable(), cp.Parameter((len(y), 2))
    margins = cp.multiply(y.numpy(), X @ theta + offset)
    losses = cp.logistic(-margins) if kind == "logistic regression" else cp.pos(1 - margins)
    objective = cp.sum(losses) / len(y) + RIDGE * cp.sum_squares(theta)
    return CvxpyLayer(cp.Problem(cp.Minimize(objective)), [X], [theta, offset])


def test_loss(layer: CvxpyLayer, X: Tensor, test: Data) -> Tensor:
    theta, offset = layer(X)
    return softplus(-test[1] * (test[0] @ theta + offset)).mean()


def pull(layer: CvxpyLayer, X: Tensor, test: Data) -> Tensor:
    """The gradient of the test loss with respect to the points."""
    leaf = X.clone().requires_grad_()
    return torch.autograd.grad(test_loss(layer, leaf, test), leaf)[0]


def implicit(layer: CvxpyLayer, X: Tensor, y: Tensor, test: Data) -> Tensor:
    """The same for logistic regression, by differentiating its stationarity condition."""
    theta = torch.cat([v.reshape(-1) for v in layer(X)]).detach().requires_grad_()
    leaf = X.clone().requires_grad_()

    def slope(t: Tensor, at: Tensor) -> Tensor:
        fit = softplus(-y * (at @ t[:2] + t[2])).mean() + RIDGE * t[:2].square().sum()
        return torch.autograd.grad(fit, t, create_graph=True)[0]

    H = torch.autograd.functional.jacobian(lambda t: slope(t, X), theta.detach().requires_grad_())
    (back,) = torch.autograd.grad(softplus(-test[1] * (test[0] @ theta[:2] + theta[2])).mean(), theta)
    return -torch.autograd.grad(slope(theta, leaf) @ torch.linalg.solve(H, back), leaf)[0]


def move(layer: CvxpyLayer, X: Tensor, test: Data, chosen: bool) -> Tensor:
    """All points together moved by a root mean square of DISTANCE, along the gradient or at random."""
    for _ in range(STEPS):
        direction = pull(layer, X, test) if chosen else torch.randn_like(X)
        X = X + DISTANCE / STEPS * math.sqrt(len(X)) * direction / direction.norm()
    return X


def describe(layer: CvxpyLayer, X: Tensor, test: Data) -> list[float]:
    theta, offset = layer(X)
    wrong = (test[1] * (test[0] @ theta + offset) < 0).double().mean()
    return [test_loss(layer, X, test).item(), 100 * wrong.item()]


def draw(axis: Axes, layer: CvxpyLayer, X: Tensor, moved: Tensor, y: Tensor, arrows: Tensor, name: str) -> None:
    for sign, color in ((1, "tab:blue"), (-1, "tab:orange")):
        axis.scatter(*X[y == sign].T, s=16, color=color, label=f"class {sign:+d}", zorder=2)
    scale = 1.2 / arrows.norm(dim=1).max()
    seen = arrows.norm(dim=1) * scale > 0.02
    tails, tips = X[seen], (scale * arrows)[seen]
    axis.quiver(*tails.T, *tips.T, angles="xy", scale_units="xy", scale=1, width=0.004, color="0.25", zorder=3)
    t = torch.linspace(-4, 4, 2)
    for at, style, text in ((X, "-", "boundary"), (moved, "--", "after the points moved")):
        theta, offset = layer(at)
        axis.plot(t, -(offset + theta[0] * t) / theta[1], style, color="black", lw=1, label=text)
    axis.set(title=name, xlabel="$x_1$", xlim=(-3.6, 3.6), ylim=(-3.2, 3.2), aspect="equal")


def main() -> None:
    settings = arguments(__doc__, "poisoning.png")
    count = 24 if settings.short else 60
    X, y = points(count)
    test = points(4000)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharey=True)
    rows: list[list[object]] = []
    for axis, kind in zip(axes, ("logistic regression", "support vector machine"), strict=True):
        layer = classifier(y, kind)
        arrows = pull(layer, X, test)
        directions = torch.randn(5, *X.shape)
        central = [along(lambda at, layer=layer: test_loss(layer, at, test), X, d, 1e-6) for d in directions]
        checked = agree("the gradient", (directions * arrows).sum((1, 2)), torch.tensor(central), 1e-7)
        if kind == "logistic regression":
            checked = max(checked, agree("the gradient", arrows, implicit(layer, X, y, test), 1e-9))
        pulling = int((arrows.norm(dim=1) > 1e-9).sum())
        moved = move(layer, X, test, chosen=True)
        for name, at in (
            ("as they are", X),
            ("moved at random", move(layer, X, test, chosen=False)),
            ("poisoned", moved),
        ):
            first = name == "as they are"
            rows.append([kind, name, *describe(layer, at, test), pulling if first else "", checked if first else ""])
        with torch.no_grad():
            draw(axis, layer, X, moved, y, arrows, kind)
    table(("classifier", "points", "test loss", "test errors %", "points that pull", "gradients differ by"), rows)
    print(f"{count} points; where they move, by {DISTANCE} (root mean square)")
    axes[0].set_ylabel("$x_2$")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    save(figure, settings.out)


if __name__ == "__main__":
    main()
