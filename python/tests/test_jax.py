"""JAX, with and without x64."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import NAMES, OUTPUTS, N, is_active, need, problem

need("jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)
import bpqp.jax as bj  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

BATCHES = [None, NAMES, ("q",), ("q", "G", "lb")]


def arrays(batch: tuple[str, ...] | None, seed: int = 1) -> dict[str, Any]:
    data = problem() if batch is None else problem(3, batch, seed=seed)
    return {k: jnp.asarray(v) for k, v in data.items()}


def outputs(P: Any, *rest: Any) -> Any:
    return bj.solve_qp(0.5 * (P + jnp.swapaxes(P, -1, -2)), *rest, full=True)[:5]


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("batch", BATCHES)
def test_forward_is_that_of_numpy(batch: Any, jit: bool) -> None:
    data = arrays(batch)
    f = jax.jit(outputs) if jit else outputs
    out = f(*data.values())
    want = bpqp.solve_qp(**{k: np.asarray(v) for k, v in data.items()})
    assert is_active(want)
    for value, k in zip(out, OUTPUTS, strict=True):
        np.testing.assert_allclose(value, getattr(want, k), atol=1e-13)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("batch", BATCHES)
def test_first_and_second_derivatives(batch: Any, jit: bool) -> None:
    f = jax.jit(outputs) if jit else outputs
    check_grads(f, tuple(arrays(batch).values()), order=2, modes=("fwd", "rev"), atol=1e-4, rtol=1e-4)


def scalar(data: dict[str, Any], name: str) -> Any:
    def loss(value: Any) -> Any:
        return sum((v**3).sum() for v in outputs(*{**data, name: value}.values()))

    return loss


@pytest.mark.parametrize("name", NAMES)
def test_transforms_agree(name: str) -> None:
    data = arrays(None)
    loss, value = scalar(data, name), data[name]
    g = jax.grad(loss)(value)
    for other in (jax.jacfwd(loss), jax.jacrev(loss), jax.jit(jax.grad(loss))):
        np.testing.assert_allclose(other(value), g, atol=1e-12)
    want = jax.hessian(loss)(value)
    for other in (jax.jacrev(jax.jacrev(loss)), jax.jacfwd(jax.jacfwd(loss)), jax.jit(jax.jacrev(jax.jacfwd(loss)))):
        np.testing.assert_allclose(other(value), want, atol=1e-9)


def test_vmap_is_loop() -> None:
    data = arrays(None)
    values = jnp.stack([data["q"] + 0.3 * k for k in range(4)])
    loss = scalar(data, "q")

    def f(q: Any) -> Any:
        return bj.solve_qp(**{**data, "q": q})

    np.testing.assert_allclose(jax.jit(jax.vmap(f))(values), jnp.stack([f(v) for v in values]), atol=1e-13)
    for make in (jax.grad, jax.hessian):
        want = jnp.stack([make(loss)(v) for v in values])
        np.testing.assert_allclose(jax.jit(jax.vmap(make(loss)))(values), want, atol=1e-10)
    np.testing.assert_allclose(jax.vmap(jax.vmap(f))(values.reshape(2, 2, N)).reshape(4, N), f(values), atol=1e-13)
    np.testing.assert_allclose(jax.vmap(f)(values.reshape(2, 2, N)).reshape(4, N), f(values), atol=1e-13)


def test_shared_gradients_are_sums() -> None:
    data = arrays(None)
    values = jnp.stack([data["q"] + 0.3 * k for k in range(4)])

    def loss(G: Any, q: Any) -> Any:
        return (bj.solve_qp(**{**data, "q": q, "G": G}) ** 3).sum()

    G = data["G"]
    want = jnp.stack([jax.grad(loss)(G, q) for q in values])
    np.testing.assert_allclose(jax.grad(loss)(G, values), want.sum(0), atol=1e-12)
    np.testing.assert_allclose(jax.vmap(jax.grad(loss), (None, 0))(G, values), want, atol=1e-12)
    summed = jax.grad(lambda G: jax.vmap(loss, (None, 0))(G, values).sum())(G)
    np.testing.assert_allclose(summed, want.sum(0), atol=1e-12)


def test_factored() -> None:
    data = arrays(None)
    rng = np.random.default_rng(0)

    def f(d: Any, F: Any, q: Any) -> Any:
        return bj.solve_qp(**{**data, "P": bj.Factored(d, F), "q": q}, full=True)[:5]

    args = (jnp.asarray(rng.random(N) + 0.5), jnp.asarray(rng.normal(size=(N, 2))), data["q"])
    check_grads(f, args, order=2, modes=("fwd", "rev"), atol=1e-4, rtol=1e-4)


def test_torch_and_jax_agree() -> None:
    need("torch")
    import bpqp.torch as bt
    import torch

    data = arrays(NAMES)
    leaves = {k: torch.tensor(np.asarray(v), requires_grad=True) for k, v in data.items()}
    sol = bt.solve_qp(**leaves, full=True)
    theirs = torch.autograd.grad(sum((getattr(sol, k) ** 2).sum() for k in OUTPUTS), list(leaves.values()))

    def loss(data: dict[str, Any]) -> Any:
        return sum((v**2).sum() for v in bj.solve_qp(**data, full=True)[:5])

    ours = jax.grad(loss)(data)
    for name, value in zip(NAMES, theirs, strict=True):
        np.testing.assert_allclose(ours[name], value.numpy(), atol=1e-10)


@pytest.mark.parametrize("jit", [False, True])
def test_failures(jit: bool) -> None:
    data = {k: jnp.asarray(v) for k, v in problem(64, ("q", "h"), seed=10).items()}
    data["h"] = data["h"].at[7].set(-100.0)
    wrap = jax.jit if jit else (lambda f: f)

    def solve(q: Any, policy: str) -> Any:
        return bj.solve_qp(**{**data, "q": q}, full=True, on_failure=policy)

    for policy in ("nan", "zero_grad"):
        sol = wrap(lambda q, policy=policy: solve(q, policy))(data["q"])
        assert np.flatnonzero(~np.asarray(sol.ok)).tolist() == [7]
        g = np.asarray(wrap(jax.grad(lambda q, policy=policy: solve(q, policy).x.sum()))(data["q"]))
        rest = np.arange(64) != 7
        assert np.isfinite(g[rest]).all()
        assert np.isnan(g[7]).all() if policy == "nan" else (g[7] == 0).all()
    error = jax.errors.JaxRuntimeError if jit else bpqp.SolveError
    with pytest.raises(error, match=r"1 of 64 problems not solved: element 7: primal_infeasible"):
        wrap(lambda q: solve(q, "raise").x)(data["q"]).block_until_ready()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"q": jnp.ones(N, jnp.bfloat16)}, bpqp.DtypeError, "q has dtype bfloat16"),
        ({"q": jnp.ones(N + 1)}, bpqp.ArgumentError, "P has shape"),
        ({"G": jnp.ones((5, N + 1))}, bpqp.ArgumentError, "G has shape"),
        ({"h": None}, bpqp.ArgumentError, "h is missing"),
        ({"q": jnp.ones((3, N)), "h": jnp.ones((2, 5))}, bpqp.ArgumentError, "h has a batch of 2, but q has one of 3"),
        ({"solver": "nope"}, bpqp.ArgumentError, "solver = 'nope'"),
        ({"eps": 1.0}, bpqp.ArgumentError, "there is no setting 'eps'"),
        ({"q": None}, bpqp.ArgumentError, "q is None"),
    ],
)
@pytest.mark.parametrize("jit", [False, True])
def test_misuse_is_named(change: dict[str, Any], error: type[Exception], message: str, jit: bool) -> None:
    data = {**arrays(None), **change}
    h = data.pop("lb")

    def f(lb: Any) -> Any:
        return bj.solve_qp(**data, lb=lb)

    with pytest.raises(error, match=message):
        (jax.jit(f) if jit else f)(h)


def test_third_derivatives_are_refused() -> None:
    data = arrays(None)
    with pytest.raises(bpqp.UnsupportedError, match="third derivatives"):
        jax.jacrev(jax.jacrev(jax.jacrev(scalar(data, "q"))))(data["q"])


def test_default_single_precision() -> None:
    code = """
import sys; sys.path.insert(0, sys.argv[1])
import numpy as np, jax, jax.numpy as jnp, bpqp, bpqp.jax as bj
from conftest import problem, NAMES
data = problem(3, ("q",), seed=1)
exact = bpqp.solve_qp(**data)
g = exact.vjp(x=3 * exact.x**2)
f = jax.jit(jax.grad(lambda d: (bj.solve_qp(**d) ** 3).sum()))
ours = f({k: jnp.asarray(v) for k, v in data.items()})
for k in NAMES:
    assert ours[k].dtype == jnp.float32
    np.testing.assert_allclose(ours[k], getattr(g, k), atol=1e-4, rtol=1e-4)
print("agrees")
"""
    env = {**os.environ, "JAX_ENABLE_X64": "0"}
    here = os.path.dirname(__file__)
    run = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, env=env, check=False)
    assert run.stdout.strip() == "agrees", run.stderr
