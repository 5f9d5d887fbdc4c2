"""What `test_entrances.py` says of NumPy, for JAX."""

from __future__ import annotations

from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import need, problem

need("jax", "scipy")
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from bpqp import jax as bj  # noqa: E402
from jax.experimental import sparse as jsparse  # noqa: E402
from scipy import sparse  # noqa: E402


@pytest.fixture(autouse=True)
def _double() -> Any:
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("way", ["plain", "jit", "vmap"])
@pytest.mark.parametrize("policy", ["nan", "zero_grad"])
def test_a_bad_element_fails_alone(policy: str, way: str) -> None:
    data = {k: jnp.asarray(v) for k, v in problem(4).items()}
    data["q"] = data["q"].at[0, 0].set(jnp.nan)
    data["lb"] = data["lb"].at[3, 0].set(9.0)

    def solve(d: Any) -> Any:
        return bj.solve_qp(**d, on_failure=policy, full=True)

    run = {"plain": solve, "jit": jax.jit(solve), "vmap": jax.jit(jax.vmap(solve))}[way]
    s = run(data)
    assert list(bj.status_names(s.status)) == ["invalid_data", "solved", "solved", "invalid_data"]
    assert s.ok.tolist() == [False, True, True, False]
    assert np.isnan(s.x).all(1).tolist() == [True, False, False, True]

    def loss(q: Any) -> Any:
        s = run({**data, "q": q})
        return jnp.where(s.ok[:, None], s.x, 0.0).sum()

    g = jax.grad(loss)(data["q"])
    assert np.isfinite(g).all()
    assert (g[jnp.array([0, 3])] == 0).all()
    assert np.abs(g).max() > 0


def test_a_bad_element_is_listed_and_a_single_problem_refused() -> None:
    data = {k: jnp.asarray(v) for k, v in problem(3).items()}
    data["q"] = data["q"].at[1, 2].set(jnp.inf)
    with pytest.raises(bpqp.SolveError, match=r"1 of 3 .*element 1: invalid_data \(q\[2\] is inf"):
        bj.solve_qp(**data)
    with pytest.raises(Exception, match=r"element 1: invalid_data \(q\[2\] is inf"):
        jax.block_until_ready(jax.jit(lambda d: bj.solve_qp(**d))(data))
    with pytest.raises(bpqp.ArgumentError, match=r"q\[2\] is inf"):
        bj.solve_qp(**{k: v[1] for k, v in data.items()}, on_failure="nan")


@pytest.mark.parametrize("jit", [False, True])
def test_a_masked_loss_gives_finite_gradients_of_the_network(jit: bool) -> None:
    rng = np.random.default_rng(0)
    features, w = jnp.asarray(rng.normal(size=(6, 5))), jnp.asarray(rng.normal(size=(5, 3)))
    ub = np.ones((6, 3))
    ub[2], ub[4] = 0.2, -1.0  # no point sums to one; no value is left

    def loss(w: Any, P: Any, rows: Any) -> Any:
        q, box = features[rows] @ w, jnp.asarray(ub)[rows]
        s = bj.solve_qp(P, q, A=jnp.ones((1, 3)), b=1.0, lb=0.0, ub=box, on_failure="nan", full=True)
        return (jnp.where(s.ok[:, None], s.x, 0.0) ** 2).sum()

    grad = jax.grad(loss, argnums=(0, 1))
    grad = jax.jit(grad) if jit else grad
    whole = grad(w, jnp.eye(3), jnp.arange(6))
    good = grad(w, jnp.eye(3), jnp.array([0, 1, 3, 5]))
    for a, b in zip(whole, good, strict=True):
        assert np.isfinite(a).all()
        assert np.allclose(a, b, atol=1e-12)
        assert np.abs(a).max() > 1e-6


def test_numbers_and_rows_stand_for_vectors_and_matrices() -> None:
    q = jnp.array([-1.0, -2.0, 0.5])

    def solve(low: Any, row: Any) -> Any:
        return bj.solve_qp(jnp.eye(3), q, A=row, b=1, G=[1.0, 2.0, 0.0], h=0.9, lb=low, ub=2)

    wide = bpqp.solve_qp(
        np.eye(3),
        np.asarray(q),
        np.array([[1.0, 2.0, 0.0]]),
        [0.9],
        np.ones((1, 3)),
        [1.0],
        np.full(3, -0.3),
        [2.0] * 3,
    )
    dx = np.array([1.0, -2.0, 0.3])
    g = wide.vjp(x=dx)
    assert np.allclose(solve(-0.3, jnp.ones(3)), wide.x)
    low, row = jax.jit(jax.grad(lambda low, row: solve(low, row) @ dx, argnums=(0, 1)))(-0.3, jnp.ones(3))
    assert np.allclose(low, g.lb.sum())
    assert np.allclose(row, g.A[0])


def test_errors_are_those_of_the_package() -> None:
    q, eye = jnp.ones(2), jnp.eye(2)
    calls: list[tuple[Any, str]] = [
        (lambda: bj.solve_qp(eye, q, solver=None), "solver = None"),
        (lambda: bj.solve_qp(eye, q, solver=[]), r"solver = \[\]"),
        (lambda: bj.solve_qp(eye, q, lb=jsparse.BCOO.fromdense(q)), "lb is a BCOO: pass a dense array"),
        (lambda: bj.solve_qp(eye, q, lb=sparse.eye(2, format="csc")), "lb is a csc_matrix"),
        (lambda: bj.solve_qp(eye, jsparse.BCOO.fromdense(q)), "q is a BCOO"),
        (lambda: bj.solve_qp(eye, q, threads=10**9), "threads = 1000000000"),
        (lambda: bj.solve_qp(eye, q, max_iter=[3]), r"settings .*\[3\]"),
        (lambda: jax.vmap(lambda v: bj.solve_qp(eye, v))(jnp.ones((0, 2))), "0 elements"),
        (lambda: bj.solve_qp(eye, jnp.ones((0, 2))), "q has a batch of 0"),
    ]
    for call, message in calls:
        with pytest.raises(bpqp.Error, match=message):
            call()


def test_attributes_of_cvxpy_parameters_are_checked() -> None:
    cp = pytest.importorskip("cvxpy")
    p, x = cp.Parameter((2, 2), name="p", symmetric=True), cp.Variable((2, 2))
    layer = bj.CvxpyLayer(cp.Problem(cp.Minimize(cp.sum_squares(x - p))), [p], [x])
    with pytest.raises(bpqp.ArgumentError, match=r"declared symmetric, but its entry \[0, 1\] is 2"):
        layer(jnp.array([[1.0, 2.0], [0.0, 1.0]]))
    with pytest.raises(Exception, match="declared symmetric"):
        jax.block_until_ready(jax.jit(lambda v: layer(v)[0])(jnp.array([[1.0, 2.0], [0.0, 1.0]])))
    with pytest.raises(bpqp.DtypeError, match="no dense array"):
        layer(jsparse.BCOO.fromdense(jnp.eye(2)))
