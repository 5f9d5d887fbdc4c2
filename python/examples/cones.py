"""Six small programs over cones as layers, each against an independent reference.

    robust linear program     second-order      its uncertainty radii are learned from days of demand
    softmax                   exponential       maximizes score plus entropy; a cap on the probabilities is one line
    nearest correlation       semidefinite      repairs correlations of stocks estimated from days with gaps
    covariance selection      log-determinant   its sparsity weight is learned by the likelihood of later days
    largest eigenvalue        semidefinite      bounds a maximal cut; the gradient says which edges are cut
    geometric program         exponential       the box of the largest volume

Every layer is `bpqp.torch.CvxpyLayer` on a few lines of CVXPY. References are closed forms, another algorithm, an
enumeration, and central differences; a difference above its limit is an error.
"""

from __future__ import annotations

import itertools
from typing import Any

import cvxpy as cp
import matplotlib.pyplot as plt
import numpy as np
import torch
from bpqp.torch import CvxpyLayer
from common import agree, along, arguments, save, table
from matplotlib.axes import Axes
from portfolio import PRICES, read
from torch import Tensor

Row = list[object]


def gradient(loss: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(loss, at)[0]


def by_differences(f: Any, at: Tensor, limit: float = 1e-6, step: float = 1e-5) -> float:
    """The gradient of f against central differences along three random directions."""
    leaf = at.clone().requires_grad_()
    g = gradient(f(leaf), leaf)
    directions = [torch.randn_like(at) for _ in range(3)]
    if at.dim() == 2 and at.shape[0] == at.shape[1]:
        directions = [d + d.mT for d in directions]
    ours = torch.stack([(g * d).sum() for d in directions])
    return agree("a gradient", ours, torch.tensor([along(f, at, d, step) for d in directions]), limit)


def robust(short: bool, axis: Axes) -> Row:
    """maximize profit'x  subject to  mean_i'x + r_i |root_i x| <= hours_i,  x >= 0

    Machine i needs an uncertain number of hours per product; hours above those planned cost four times as much as the
    products earn per hour. The radii r are learned from days: too small pays for overtime, too large produces nothing.
    """
    products, machines, days = 6, 3, 400
    mean = 1 + torch.rand(machines, products)
    root = torch.randn(machines, products, products) * torch.tensor([0.04, 0.08, 0.16])[:, None, None]
    profit, hours = 1 + torch.rand(products), 10 * torch.ones(machines)
    need = mean + torch.einsum("ijk,dik->dij", root, torch.randn(days, machines, products))
    x, r = cp.Variable(products, nonneg=True), cp.Parameter(machines, nonneg=True)
    rows = [mean[i].numpy() @ x + r[i] * cp.norm(root[i].mT.numpy() @ x) <= hours[i].item() for i in range(machines)]
    layer = CvxpyLayer(cp.Problem(cp.Maximize(profit.numpy() @ x), rows), [r], [x])

    def cost(radius: Tensor) -> Tensor:
        (plan,) = layer(radius)
        overtime = (torch.einsum("dij,...j->...di", need, plan) - hours).clamp(min=0).sum(-1).mean(-1)
        return 4 * overtime - plan @ profit

    checked = by_differences(cost, 0.5 + torch.rand(machines), step=1e-6)
    radius = torch.ones(machines, requires_grad=True)
    optimizer = torch.optim.Adam([radius], lr=0.1)
    for _ in range(5 if short else 60):
        optimizer.zero_grad()
        cost(radius).backward()
        optimizer.step()
        radius.data.clamp_(min=0)
    grid = torch.linspace(0, 3, 61)
    with torch.no_grad():
        curve, learned = -cost(grid[:, None].expand(-1, machines)), -cost(radius).item()
    axis.plot(grid, curve, label="one radius for all")
    axis.axhline(learned, color="tab:orange", label="three radii, learned")
    axis.set(title="Robust linear program", xlabel="radius of the uncertainty", ylabel="profit a day")
    axis.legend(loc="lower center")
    found = f"profit {curve[0]:.2f} at radius 0, {curve.max():.2f} at the best common one, {learned:.2f} learned"
    return ["robust linear program", "3 soc", found, "", checked]


def softmax(_: bool, axis: Axes) -> Row:
    """maximize score'p + entropy(p)  subject to  1'p = 1  is softmax"""
    p, score = cp.Variable(3), cp.Parameter(3)
    objective = cp.Maximize(score @ p + cp.sum(cp.entr(p)))
    layer = CvxpyLayer(cp.Problem(objective, [cp.sum(p) == 1]), [score], [p])
    capped = CvxpyLayer(cp.Problem(objective, [cp.sum(p) == 1, p <= 0.6]), [score], [p])
    batch, weights = torch.randn(20, 3), torch.randn(20, 3)
    leaf = batch.clone().requires_grad_()
    (ours,), closed = layer(leaf), leaf.softmax(1)
    value = agree("softmax", ours, closed, 1e-8)
    slope = agree("its gradient", *(gradient((weights * v).sum(), leaf) for v in (ours, closed)), limit=1e-7)
    by_differences(lambda s: (weights * capped(s)[0]).sum(), batch)
    t = torch.linspace(-2, 3, 101)
    scores = torch.stack([t, torch.zeros(101), torch.full((101,), -0.5)], 1)
    for k, name in enumerate(("$t$", "$0$", "$-0.5$")):
        axis.plot(t, layer(scores)[0][:, k], color=f"C{k}", label=f"score {name}")
        axis.plot(t, capped(scores)[0][:, k], color=f"C{k}", ls="--")
    axis.set(title="Softmax; dashed: none above 0.6", xlabel="$t$", ylabel="probability")
    axis.legend()
    return ["softmax", "3 exp", "20 score vectors against torch.softmax", value, slope]


def dykstra(matrix: np.ndarray) -> np.ndarray:
    """The nearest correlation matrix by alternating projections (Higham 2002)."""
    y, correction = matrix.copy(), np.zeros_like(matrix)
    for _ in range(20000):
        r = y - correction
        values, vectors = np.linalg.eigh(r)
        x = (vectors * np.maximum(values, 0)) @ vectors.T
        correction = x - r
        last, y = y, x.copy()
        np.fill_diagonal(y, 1)
        if np.abs(y - last).max() < 1e-13:
            break
    return y


def returns() -> Tensor:
    """Daily returns of the 20 stocks that ship with this repository."""
    return read(PRICES)[1].log().diff(dim=0)


def correlation(short: bool, axis: Axes) -> Row:
    """minimize |X - C|^2  subject to  X semidefinite, diag(X) = 1"""
    size, days = (8, 30) if short else (20, 60)
    data = returns()[-days:, :size]
    seen = torch.rand(days, size) < 0.5
    C = torch.eye(size)
    for i, j in itertools.combinations(range(size), 2):
        both = seen[:, i] & seen[:, j]
        C[i, j] = C[j, i] = torch.corrcoef(data[both][:, [i, j]].T)[0, 1]
    X, parameter = cp.Variable((size, size), PSD=True), cp.Parameter((size, size), symmetric=True)
    layer = CvxpyLayer(cp.Problem(cp.Minimize(cp.sum_squares(X - parameter)), [cp.diag(X) == 1]), [parameter], [X])
    truth = torch.corrcoef(data.T)

    def loss(c: Tensor) -> Tensor:
        return (layer(c)[0] - truth).square().sum()

    near = layer(C)[0]
    value = agree("the nearest correlation matrix", near, torch.from_numpy(dykstra(C.numpy())), 1e-7)
    checked = by_differences(loss, C)
    low = torch.linalg.eigvalsh(C)[0].item()
    for matrix, name, style in ((C, "estimated from gaps", "o"), (near, "nearest", "."), (truth, "without gaps", "x")):
        axis.plot(range(size), torch.linalg.eigvalsh(matrix), style, label=name)
    axis.axhline(0, color="0.7", lw=0.8, zorder=0)
    axis.set(title="Nearest correlation matrix", xlabel="index", ylabel="eigenvalue")
    axis.set_yscale("symlog", linthresh=0.3)
    axis.legend()
    errors = [(v - truth).norm().item() for v in (C, near)]
    found = f"smallest eigenvalue {low:.2f} before; error {errors[0]:.2f} before, {errors[1]:.2f} after"
    return ["nearest correlation", f"psd {size}", found, value, checked]


def derivative_by_support(S: Tensor, theta: Tensor) -> Tensor:
    """d theta / d rho of covariance selection where the nonzeros stay: W dT W + sign(T) = 0 on them, W = T^-1."""
    n = len(S)
    W = theta.inverse()
    free = theta.abs().flatten() > 1e-6
    sign = (theta.sign() * (1 - torch.eye(n))).flatten()
    out = torch.zeros(n * n)
    out[free] = torch.linalg.solve(torch.kron(W, W)[free][:, free], -sign[free])
    return out.reshape(n, n)


def selection(short: bool, axis: Axes) -> Row:
    """minimize tr(S T) - log det T + rho sum_{i != j} |T_ij|

    is optimal where T^-1 - S is rho sign(T) off the diagonal, within +-rho where T is zero, and 0 on the diagonal.
    """
    size = 5 if short else 10
    data = returns()[:, :size]
    data = data[-800:] / data[-800:].std(0)
    S, later = data[:100].T.cov(), data[100:].T.cov()
    T, rho = cp.Variable((size, size), symmetric=True), cp.Parameter(nonneg=True)
    outside = 1 - np.eye(size)
    fit = cp.trace(S.numpy() @ T) - cp.log_det(T) + rho * cp.sum(cp.multiply(outside, cp.abs(T)))
    layer = CvxpyLayer(cp.Problem(cp.Minimize(fit)), [rho], [T])

    def loss(weight: Tensor) -> Tensor:
        (theta,) = layer(weight)
        return (theta * later).sum((-2, -1)) - torch.logdet(theta)

    log_rho = torch.tensor(0.0).sub(3).requires_grad_()
    theta = layer(log_rho.exp())[0].detach()
    W, weight = theta.inverse(), log_rho.exp().item()
    bounded = S + (W - S).clamp(-weight, weight) * torch.from_numpy(outside)
    value = agree("the inverse", W, bounded, 1e-7)
    agree("its signs", theta * (W - S), weight * theta.abs() * torch.from_numpy(outside), 1e-7)
    slope = derivative_by_support(S, theta)
    reference = log_rho.exp() * (slope * (later - W)).sum()
    checked = agree("the derivative by rho", gradient(loss(log_rho.exp()), log_rho), reference, 1e-6)
    optimizer = torch.optim.Adam([log_rho], lr=0.2)
    for _ in range(2 if short else 25):
        optimizer.zero_grad()
        loss(log_rho.exp()).backward()
        optimizer.step()
    grid = torch.logspace(-2.5, -0.3, 7 if short else 31)
    with torch.no_grad():
        curve, best, weight = loss(grid), loss(log_rho.exp()).item(), log_rho.exp().item()
        zeros = (layer(log_rho.exp())[0].abs() < 1e-6).double().mean().item()
    axis.semilogx(grid, curve)
    axis.plot(weight, best, "o", color="tab:orange", label="learned")
    axis.set(title="Covariance selection", xlabel="weight of sparsity", ylabel="loss on later days")
    axis.legend()
    found = (
        f"weight {weight:.3f} learned: loss {best:.3f} on later days, {curve.min():.3f} on a grid; {zeros:.0%} zeros"
    )
    return ["covariance selection", f"psd {2 * size}, {size} exp", found, value, checked]


def eigenvalue(short: bool, axis: Axes) -> Row:
    """size/4 min_d lambda_max(Laplacian + diag(d)),  1'd = 0,  bounds the largest cut of a graph"""
    size = 8 if short else 12
    edges = [e for e in itertools.combinations(range(size), 2) if torch.rand(()) < 0.45]
    weights = torch.rand(len(edges)) + 0.2
    incidence = torch.zeros(len(edges), size)
    for k, (i, j) in enumerate(edges):
        incidence[k, i], incidence[k, j] = 1, -1
    d, top, L = cp.Variable(size), cp.Variable(), cp.Parameter((size, size), symmetric=True)
    problem = cp.Problem(cp.Minimize(top), [cp.lambda_max(L + cp.diag(d)) <= top, cp.sum(d) == 0])
    layer = CvxpyLayer(problem, [L], [top])

    def bound(w: Tensor) -> Tensor:
        return size / 4 * layer(incidence.T @ (w[:, None] * incidence))[0]

    leaf = weights.clone().requires_grad_()
    value = bound(leaf)
    g = gradient(value, leaf)
    by_differences(bound, weights)
    # the dual program has correlations of the nodes as its solution, and they are the gradient
    X = cp.Variable((size, size), PSD=True)
    laplacian = (incidence.T @ (weights[:, None] * incidence)).numpy()
    dual = cp.Problem(cp.Maximize(cp.trace(laplacian @ X) / 4), [cp.diag(X) == 1])
    dual.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    expected = torch.tensor([(1 - X.value[i, j]) / 2 for i, j in edges])
    exact = agree("the bound", value, dual.value, 1e-6)
    checked = agree("its gradient", g, expected, 1e-4)
    sides = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * (size - 1)).reshape(-1, size - 1)
    sides = torch.cat([torch.zeros(len(sides), 1), sides], 1)
    cuts = (sides @ incidence.T).abs() @ weights
    side = sides[cuts.argmax()]
    angle = 2 * torch.pi * torch.arange(size) / size
    place = torch.stack([angle.cos(), angle.sin()], 1)
    for k, (i, j) in enumerate(edges):
        color = plt.cm.viridis(g[k].item())
        axis.plot(place[[i, j], 0], place[[i, j], 1], color=color, lw=3 * weights[k].item(), zorder=1)
    axis.scatter(*place.T, s=70, c=side, cmap="bwr", edgecolors="black", zorder=2)
    mappable = plt.cm.ScalarMappable(plt.Normalize(0, 1), "viridis")
    axis.figure.colorbar(mappable, ax=axis, label="gradient of the bound")
    axis.set(title="Largest cut (nodes) and its bound (edges)", xticks=[], yticks=[], aspect="equal")
    axis.spines[["left", "bottom"]].set_visible(False)
    found = f"bound {value.item():.3f}, largest cut {cuts.max():.3f} (enumerated)"
    return ["largest eigenvalue", f"psd {size}", found, exact, checked]


def box(wall: Tensor, floor: Tensor) -> Tensor:
    """Height and side of the box below, by hand: the floor binds, or the ratio does."""
    side = torch.minimum(floor.sqrt(), (wall / 2).sqrt())
    return torch.stack([wall / (4 * side), side], -1)


def geometric(_: bool, axis: Axes) -> Row:
    """maximize h w d  subject to  2 h (w + d) <= wall,  w d <= floor,  h >= w/2,  h >= d/2"""
    h, w, d = (cp.Variable(pos=True) for _ in range(3))
    wall, floor = (cp.Parameter(pos=True) for _ in range(2))
    rows = [2 * h * (w + d) <= wall, w * d <= floor, w / h <= 2, d / h <= 2]
    layer = CvxpyLayer(cp.Problem(cp.Maximize(h * w * d), rows), [wall, floor], [h, w, d], gp=True)
    areas = torch.cat([torch.linspace(1, 4.98, 40), torch.linspace(5.02, 8, 30)])
    walls = torch.full_like(areas, 10.0)
    leaves = [v.clone().requires_grad_() for v in (walls, areas)]
    sides, closed = torch.stack(layer(*leaves), -1), box(*leaves)
    closed = closed[:, [0, 1, 1]]
    value = agree("the box", sides, closed, 1e-7)
    ours, theirs = (torch.cat(torch.autograd.grad(v.prod(-1).sum(), leaves)) for v in (sides, closed))
    slope = agree("its gradient", ours, theirs, 1e-6)
    sides = sides.detach()
    for k, name in ((0, "height"), (1, "width and depth")):
        axis.plot(areas, sides[:, k], label=name)
    axis.plot(areas, sides.prod(-1), color="black", label="volume")
    axis.plot(areas, ours[len(areas) :], ":", color="black", label="derivative of the volume")
    axis.set(title="Geometric program: the largest box", xlabel="area of the floor", ylabel="size", ylim=(0, 6.5))
    axis.legend()
    return ["geometric program", "exp", f"{len(areas)} boxes against their closed form", value, slope]


def main() -> None:
    settings = arguments(__doc__, "cones.png")
    figure, axes = plt.subplots(2, 3, figsize=(12, 6.6))
    programs = (robust, softmax, correlation, selection, eigenvalue, geometric)
    rows = [program(settings.short, axis) for program, axis in zip(programs, axes.flat, strict=True)]
    table(("program", "cones", "found", "values differ by", "gradients differ by"), rows)
    save(figure, settings.out)


if __name__ == "__main__":
    main()
