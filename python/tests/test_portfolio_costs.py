"""Portfolios whose costs are no quadratic ones: market impact as power cones, and a concave penalty on many names."""

import bpqp
import numpy as np
import pytest

rng = np.random.default_rng(1)
N = 5
F = rng.standard_normal((N, 3))
RISK = 0.05 * F @ F.T + 0.02 * np.diag(1 + rng.random(N))
RETURNS = 0.08 * rng.standard_normal(N)
HELD = np.array([0.5, 0.2, 0.3, 0.0, 0.0])
IMPACT = 0.05 * (1 + rng.random(N))


def with_impact(held, **settings):
    """min 1/2 w'R w - r'w + sum k |w - held|^1.5 over w >= 0, sum w = 1, by cones t^(2/3) >= |w - held|."""
    P = np.zeros((2 * N, 2 * N))
    P[:N, :N] = RISK
    rows = [np.concatenate([np.ones(N), np.zeros(N)])]
    b = [1.0]
    for i in range(N):
        t, none, w = np.zeros(2 * N), np.zeros(2 * N), np.zeros(2 * N)
        t[N + i], w[i] = -1.0, -1.0
        rows += [t, none, w]
        b += [0.0, 1.0, -held[i]]
    cones = [("zero", 1), *[("pow", 2 / 3)] * N]
    lb = np.concatenate([np.zeros(N), np.full(N, -np.inf)])
    return bpqp.solve_conic(
        P, np.concatenate([-RETURNS, IMPACT]), np.array(rows), np.array(b), cones, lb=lb, **settings
    )


def test_market_impact_is_a_power_cone():
    sol = with_impact(HELD)
    w = sol.x[:N]
    off = w - HELD
    np.testing.assert_allclose(sol.x[N:], np.abs(off) ** 1.5, atol=1e-7)
    slope = RISK @ w - RETURNS + 1.5 * IMPACT * np.sign(off) * np.sqrt(np.abs(off))
    moved = (w > 1e-6) & (np.abs(off) > 1e-6)
    assert moved.sum() >= 2
    # what is traded has one marginal value
    np.testing.assert_allclose(slope[moved], slope[moved].mean(), atol=1e-6)
    loss, along = rng.standard_normal(N), np.array([0.3, -0.1, -0.2, 0.0, 0.0])
    places = 3 + 3 * np.arange(N)
    g = sol.vjp(x=np.concatenate([loss, np.zeros(N)])).b[places] @ -along
    h = 1e-5
    numeric = (with_impact(HELD + h * along).x - with_impact(HELD - h * along).x)[:N] @ loss / (2 * h)
    assert abs(g - numeric) <= 1e-4 * max(1.0, abs(numeric))


def test_a_concave_penalty_has_local_solutions():
    torch = pytest.importorskip("torch")
    import bpqp.torch as bt

    risk = torch.from_numpy(RISK)
    few = 0.02

    def cost(w, returns, strength):
        return 0.5 * w @ risk @ w - returns @ w + strength * torch.log1p(w / few).sum()

    layer = bt.NonlinearLayer(cost, c=lambda w, *_: w.sum().reshape(1) - 1, lb=0.0)
    returns = torch.from_numpy(RETURNS).requires_grad_()
    strength = torch.tensor(0.02, dtype=torch.float64)
    even = np.full(N, 1 / N)
    plain = layer(returns, 0 * strength, x0=even, full=True)
    found = layer(returns, strength, x0=even, full=True)
    assert found.status == "solved" and found.verdict == "exact"
    # the penalty leaves fewer names
    assert (found.x > 1e-6).sum() < (plain.x > 1e-6).sum()
    found.objective.backward()
    np.testing.assert_allclose(returns.grad, -found.x.detach(), atol=1e-8)
    assert layer.check_gradient(returns.detach(), strength, x0=found.x.detach()).worst < 1e-5
    # another start may end elsewhere, with a verdict of its own
    other = layer(returns, strength, x0=np.eye(N)[4], full=True)
    assert other.status == "solved" and other.verdict in ("exact", "one_of_several")
