"""Losses on decisions: closed forms over simplex and box, and training on a grid of shortest paths."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from conftest import need

need("torch")

import bpqp  # noqa: E402
import bpqp.torch as bt  # noqa: E402
import torch  # noqa: E402
from bpqp.torch import losses  # noqa: E402

DTYPE = torch.float64


def simplex(n: int, **data: Any) -> bt.QpLayer:
    ones = torch.ones(1, n, dtype=DTYPE)
    return bt.QpLayer(A=ones, b=ones[0, :1], lb=torch.zeros(n, dtype=DTYPE), **data)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))


def corner(c: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(c.argmin(-1), c.shape[-1]).to(DTYPE)


@pytest.mark.parametrize("shape", [(5,), (7, 5)])
def test_spo_plus_over_a_simplex(shape: tuple[int, ...]) -> None:
    c_hat, c = normal(*shape).requires_grad_(), normal(*shape, seed=1)
    loss = losses.spo_plus(simplex(5), c_hat, c, reduction="none")
    best, own = corner(c), corner(2 * c_hat - c)
    closed = -(2 * c_hat - c).min(-1).values + 2 * (c_hat * best).sum(-1) - c.min(-1).values
    torch.testing.assert_close(loss, closed, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), c_hat)[0], 2 * (best - own), atol=1e-12, rtol=0)
    regret = losses.regret(simplex(5), c_hat, c, reduction="none")
    torch.testing.assert_close(regret, (c * corner(c_hat)).sum(-1) - c.min(-1).values, atol=1e-12, rtol=0)
    assert (loss >= regret - 1e-12).all()


def test_quadratic_programs_have_closed_forms() -> None:
    """x(c) = -c in the middle of a wide box: regret |c_hat - c|^2 / 2."""
    n, batch = 4, 3
    c_hat, c = normal(batch, n).requires_grad_(), normal(batch, n, seed=1)
    eye, wide = torch.eye(n, dtype=DTYPE), torch.full((n,), 50.0, dtype=DTYPE)
    for P in (eye, bt.Factored(torch.ones(n, dtype=DTYPE), torch.zeros(n, 1, dtype=DTYPE))):
        layer = bt.QpLayer(P=P, lb=-wide, ub=wide)
        gap = (c_hat - c).square().sum(-1)
        torch.testing.assert_close(losses.regret(layer, c_hat, c, reduction="none"), gap / 2)
        torch.testing.assert_close(losses.squared_decision(layer, c_hat, c, reduction="none"), gap)
        # d = 2 c_hat - c:  f(-c, d) - f(-d, d) = |d - c|^2 / 2
        torch.testing.assert_close(losses.spo_plus(layer, c_hat, c, reduction="none"), 2 * gap)
        for loss, factor in ((losses.regret, 1), (losses.squared_decision, 2), (losses.spo_plus, 4)):
            found = torch.autograd.grad(loss(layer, c_hat, c, reduction="sum"), c_hat)[0]
            torch.testing.assert_close(found, factor * (c_hat - c).detach(), atol=1e-10, rtol=0)
    # P with the call, and a callable with an objective of its own
    layer = bt.QpLayer(lb=-wide, ub=wide)
    torch.testing.assert_close(losses.regret(layer, c_hat, c, P=eye, reduction="sum"), gap.sum() / 2)
    other = losses.regret(lambda c: (-c,), c_hat, c, objective=lambda x, c: (c * x).sum(-1) + x.square().sum(-1) / 2)
    torch.testing.assert_close(other, gap.mean() / 2)


def test_fenchel_young_is_the_mean_of_perturbed_decisions() -> None:
    c_hat, c = normal(6, 5).requires_grad_(), normal(6, 5, seed=1)

    def value(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(3)
        loss = losses.fenchel_young(layer, c_hat, c, sigma=0.5, samples=10, generator=generator, reduction="none")
        return loss, torch.autograd.grad(loss.sum(), c_hat)[0]

    noise = torch.randn(5, 6, 5, dtype=DTYPE, generator=torch.Generator().manual_seed(3))
    moved = c_hat.detach() + 0.5 * torch.cat([noise, -noise])
    loss, grad = value(simplex(5))
    closed = (c_hat * corner(c)).sum(-1) - moved.min(-1).values.mean(0)
    torch.testing.assert_close(loss, closed, atol=1e-12, rtol=0)
    torch.testing.assert_close(grad, corner(c) - corner(moved).mean(0), atol=1e-12, rtol=0)
    assert (loss >= 0).all()
    for same in (corner, lambda c: (corner(c),)):
        torch.testing.assert_close(value(same)[0], loss, atol=1e-12, rtol=0)


def test_smoothed_is_the_regret_with_the_gradient_of_the_barrier() -> None:
    c_hat, c = normal(4, 3).requires_grad_(), normal(4, 3, seed=1)
    layer = simplex(3)
    loss = losses.smoothed(layer, c_hat, c, mu=0.1, reduction="none")
    torch.testing.assert_close(loss, losses.regret(layer, c_hat, c, reduction="none"), atol=1e-10, rtol=0)
    found = torch.autograd.grad(loss.sum(), c_hat)[0]
    x = simplex(3, smoothing=0.1)(q=c_hat)
    torch.testing.assert_close(found, torch.autograd.grad((c * x).sum(), c_hat)[0])
    assert found.abs().max() > 1e-3
    # the layer can still be copied, and its tensors be replaced
    copy.deepcopy(layer)
    layer.data_b = 2 * layer.data_b
    twice = losses.smoothed(layer, c_hat, c, mu=0.1, reduction="none")
    torch.testing.assert_close(twice, 2 * loss, atol=1e-9, rtol=0)


def test_what_cannot_be_is_refused() -> None:
    c, layer = normal(2, 3), simplex(3)
    for call, word in (
        (lambda: losses.regret(layer, c, c[0]), "c_true"),
        (lambda: losses.regret(layer, c.long(), c), "c_hat"),
        (lambda: losses.regret(layer, c, c, reduction="max"), "reduction"),  # type: ignore[arg-type]
        (lambda: losses.regret(lambda c: c[:, :2], c, c), "shape"),
        (lambda: losses.smoothed(lambda c: c, c, c, mu=0.1), "smoothing=mu"),
        (lambda: losses.fenchel_young(layer, c, c, sigma=0.1, samples=3), "samples"),
        (lambda: losses.fenchel_young(layer, c, c, sigma=0.0), "sigma"),
    ):
        with pytest.raises(bpqp.Error, match=word):
            call()


def grid(k: int) -> bt.QpLayer:
    """Shortest paths from one corner to the other of k x k nodes, to the right and down."""
    edges = [(i * k + j, i * k + j + 1) for i in range(k) for j in range(k - 1)]
    edges += [(i * k + j, (i + 1) * k + j) for i in range(k - 1) for j in range(k)]
    A = torch.zeros(k * k, len(edges), dtype=DTYPE)
    for e, (start, end) in enumerate(edges):
        A[start, e], A[end, e] = 1.0, -1.0
    b = torch.zeros(k * k, dtype=DTYPE)
    b[0], b[-1] = 1.0, -1.0
    # the last row is minus the sum of the others
    return bt.QpLayer(A=A[:-1], b=b[:-1], lb=torch.zeros(len(edges), dtype=DTYPE))


@pytest.mark.parametrize(
    "loss",
    [
        losses.spo_plus,
        lambda *args: losses.smoothed(*args, mu=0.3),
        lambda *args: losses.fenchel_young(*args, sigma=0.3, generator=torch.Generator().manual_seed(0)),
    ],
    ids=["spo_plus", "smoothed", "fenchel_young"],
)
def test_shortest_paths_are_learned(loss: Callable[..., torch.Tensor]) -> None:
    layer, n = grid(5), 40
    features, truth = normal(80, 6, seed=1), normal(6, n, seed=2)
    costs = 4.0 + features @ truth
    assert float(costs.min()) > -20
    torch.manual_seed(0)
    model = torch.nn.Linear(6, n, dtype=DTYPE)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

    def regret() -> float:
        with torch.no_grad():
            return float(losses.regret(layer, model(features), costs))

    before = regret()
    for _ in range(6):
        for rows in torch.arange(80).split(16):
            optimizer.zero_grad()
            loss(layer, model(features[rows]), costs[rows]).backward()
            optimizer.step()
    assert regret() < 0.4 * before


def test_known_decisions_are_not_made_again() -> None:
    c_hat, c = normal(7, 5).requires_grad_(), normal(7, 5, seed=1)
    layer, ridge = simplex(5), simplex(5, P=torch.eye(5, dtype=DTYPE))
    calls: list[int] = []
    for module in (layer, ridge):
        module.register_forward_hook(lambda *_: calls.append(1))
    generator = [torch.Generator().manual_seed(2) for _ in range(2)]
    cases: list[tuple[Any, bt.QpLayer, list[dict[str, Any]]]] = [
        (losses.regret, ridge, [{}, {}]),
        (losses.squared_decision, ridge, [{}, {}]),
        (losses.spo_plus, layer, [{}, {}]),
        (losses.fenchel_young, layer, [{"sigma": 1.0, "generator": g} for g in generator]),
    ]
    for loss, module, (first, second) in cases:
        best = module(q=c)
        calls.clear()
        plain = loss(module, c_hat, c, **first)
        own = len(calls)
        known = loss(module, c_hat, c, best=best, **second)
        assert len(calls) == 2 * own - 1
        torch.testing.assert_close(known, plain)
        torch.testing.assert_close(torch.autograd.grad(known, c_hat), torch.autograd.grad(plain, c_hat))
    smooth = losses.smoothed(layer, c_hat, c, mu=0.1, best=layer(q=c))
    torch.testing.assert_close(smooth, losses.smoothed(layer, c_hat, c, mu=0.1))
    with pytest.raises(bpqp.ArgumentError, match="best has shape"):
        losses.spo_plus(layer, c_hat, c, best=c[0])
