"""Grids: published costs, prices, derivatives against re-solves, the torch layer."""

import copy
import pickle
from pathlib import Path

import bpqp
import bpqp.grid
import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "opf"
CASES = {"14_ieee": 2178.0804, "30_as": 803.1273}


def case(name):
    path = FOLDER / f"pglib_opf_case{name}.m"
    if not path.is_file():
        pytest.skip("the cases of PGLib are not here")
    return bpqp.grid.read_case(path)


@pytest.mark.parametrize("name", CASES)
def test_costs_prices_and_derivatives(name):
    grid = case(name)
    found = bpqp.grid.dispatch(grid, ac=True)
    assert found.ok and found.verdict == "exact" and abs(found.cost - CASES[name]) < 1e-3
    # a price is what one more MW costs
    np.testing.assert_allclose(found.vjp(cost=1.0).load, found.price, rtol=1e-6, atol=1e-6)
    rng = np.random.default_rng(0)
    w = rng.standard_normal(grid.load.size)
    for ac in (False, True):
        found = bpqp.grid.dispatch(grid, ac=ac, on_untrusted="ignore")
        along = {"load": rng.standard_normal(grid.load.size), "linear": rng.standard_normal(grid.linear.size)}
        g, t = found.vjp(cost=0.3, price=w), found.jvp(**along)
        pulled = sum(getattr(g, k) @ v for k, v in along.items())
        np.testing.assert_allclose(pulled, 0.3 * t.cost + w @ t.price, rtol=1e-7, atol=1e-7)
        h = 1e-5
        both = [
            bpqp.grid.dispatch(grid, ac=ac, near=found, **{k: getattr(grid, k) + s * h * v for k, v in along.items()})
            for s in (1, -1)
        ]
        np.testing.assert_allclose((both[0].cost - both[1].cost) / (2 * h), t.cost, rtol=1e-5, atol=1e-4)
    back = pickle.loads(pickle.dumps(grid))
    np.testing.assert_array_equal(back.load, grid.load)


@pytest.mark.parametrize("ac", [False, True])
def test_solutions_are_pickled(ac):
    grid = case("30_as")
    load = 1.02 * grid.load
    found = bpqp.grid.dispatch(grid, load=load, ac=ac, near=bpqp.grid.dispatch(grid, ac=ac))
    w = np.random.default_rng(1).standard_normal(load.size)
    own = found.vjp(cost=0.3, price=w)
    for back in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found), pickle.loads(pickle.dumps(copy.copy(found)))):
        for name in ("power", "reactive", "price", "voltage", "angle", "flow"):
            np.testing.assert_array_equal(getattr(back, name), getattr(found, name))
        assert (back.cost, back.status, back.ok, back.verdict) == (found.cost, found.status, found.ok, found.verdict)
        again = back.vjp(cost=0.3, price=w)
        assert again.verdict == own.verdict
        for name in ("load", "limit", "quadratic", "linear"):
            np.testing.assert_allclose(getattr(again, name), getattr(own, name), rtol=1e-7, atol=1e-7)
        # it is a start for others
        assert bpqp.grid.dispatch(grid, load=load, ac=ac, near=back).cost == pytest.approx(found.cost, rel=1e-9)
    gradients = pickle.loads(pickle.dumps(own))
    np.testing.assert_array_equal(gradients.load, own.load)
    failed = pickle.loads(pickle.dumps(bpqp.grid.dispatch(grid, load=100 * load, ac=ac, on_failure="nan")))
    assert not failed.ok and np.isnan(failed.cost)


def test_what_is_refused():
    grid = case("14_ieee")
    with pytest.raises(bpqp.Error, match="load"):
        bpqp.grid.dispatch(grid, load=np.ones(3))
    with pytest.raises(bpqp.SolveError):
        bpqp.grid.dispatch(grid, load=100 * grid.load)
    assert np.isnan(bpqp.grid.dispatch(grid, load=100 * grid.load, on_failure="nan").cost)
    with pytest.raises(bpqp.Error, match="baseMVA"):
        bpqp.grid.case("function mpc = nothing")
    with pytest.raises(bpqp.Error, match="no parameter"):
        bpqp.grid.dispatch(grid).jvp(voltage=1.0)


@pytest.mark.parametrize("ac", [False, True])
def test_torch_layer(ac):
    torch = pytest.importorskip("torch")
    import bpqp.torch as bt

    grid = case("30_as")
    layer = pickle.loads(pickle.dumps(bt.DispatchLayer(grid, ac=ac)))
    scale = torch.tensor([[1.0], [1.05]], dtype=torch.float64)
    load = (scale * torch.from_numpy(grid.load)).requires_grad_()
    linear = torch.from_numpy(grid.linear.copy()).requires_grad_()
    out = layer(load=load, linear=linear)
    assert out.price.shape == load.shape and bool(out.ok.all())
    (out.cost.sum() + out.price[1].sum()).backward()
    one = bpqp.grid.dispatch(grid, load=1.05 * grid.load, ac=ac)
    own = one.vjp(cost=1.0, price=np.ones(grid.load.size))
    np.testing.assert_allclose(load.grad[1], own.load, atol=1e-6)
    first = bpqp.grid.dispatch(grid, ac=ac).vjp(cost=1.0)
    np.testing.assert_allclose(linear.grad, own.linear + first.linear, atol=1e-5)
    (slope,) = torch.autograd.grad(layer(load=load, linear=linear).cost.sum(), load, create_graph=True)
    with pytest.raises(bpqp.UnsupportedError, match="second derivatives of a DispatchLayer"):
        (slope.sum() + load.sum()).backward()


def test_a_failed_element_does_not_spoil_a_masked_loss():
    torch = pytest.importorskip("torch")
    import bpqp.torch as bt

    grid = case("14_ieee")
    layer = bt.DispatchLayer(grid, on_failure="nan")
    load = (torch.tensor([[1.0], [100.0]], dtype=torch.float64) * torch.from_numpy(grid.load)).requires_grad_()
    out = layer(load=load)
    assert out.ok.tolist() == [True, False]
    out.cost[out.ok].sum().backward()
    assert torch.isfinite(load.grad).all() and torch.all(load.grad[1] == 0)
