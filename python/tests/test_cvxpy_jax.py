"""CvxpyLayer for JAX: the transforms, and parity with NumPy differences."""

from __future__ import annotations

from typing import Any

import bpqp
import bpqp.jax
import numpy as np
import pytest
from conftest import need

need("jax", "cvxpy", "clarabel")
import cvxpy as cp  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import programs  # noqa: E402
from bpqp.jax import CvxpyLayer  # noqa: E402
from jax.test_util import check_grads  # noqa: E402


@pytest.fixture(autouse=True)
def x64() -> Any:
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def layer_and_data(**options: Any) -> tuple[CvxpyLayer, list[Any]]:
    rng = np.random.default_rng(0)
    x, A, b, weight = cp.Variable(3), cp.Parameter((4, 3)), cp.Parameter(4), cp.Parameter(nonneg=True)
    cons = [x >= -0.2, cp.norm(x) <= 0.5]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(A @ x - b) + weight * cp.norm1(x)), cons)
    layer = CvxpyLayer(problem, [A, b, weight], [x, cons[0].dual_variables[0]], **options)
    return layer, [jnp.array(rng.normal(size=(2, 4, 3))), jnp.array(rng.normal(size=4)), jnp.array(0.1)]


def test_derivatives_in_both_modes() -> None:
    layer, data = layer_and_data()
    check_grads(lambda *v: sum(o.sum() for o in layer(*v)), data, order=1, eps=1e-5, atol=1e-5, rtol=1e-5)


def test_jit_vmap_and_jacobians() -> None:
    layer, (A, b, weight) = layer_and_data()
    for eager, traced in zip(layer(A, b, weight), jax.jit(layer)(A, b, weight), strict=True):
        np.testing.assert_allclose(eager, traced, atol=1e-12)

    def f(b: Any, A: Any) -> Any:
        return layer(A, b, weight)[0]

    np.testing.assert_allclose(jax.jacrev(f)(b, A[0]), jax.jit(jax.jacfwd(f))(b, A[0]), atol=1e-12)
    many = jax.vmap(jax.grad(lambda A: f(b, A).sum()))(A)
    np.testing.assert_allclose(many[1], jax.grad(lambda A: f(b, A).sum())(A[1]), atol=1e-12)
    total = jax.grad(lambda b: f(b, A).sum())(b)
    np.testing.assert_allclose(total, sum(jax.grad(lambda b, k=k: f(b, A[k]).sum())(b) for k in range(2)), atol=1e-10)
    hessian = jax.hessian(lambda b: f(b, A[0]).sum())(b)
    step = 1e-5 * jnp.eye(len(b))[0]
    slopes = [jax.grad(lambda b: f(b, A[0]).sum())(b + sign * step) for sign in (1, -1)]
    np.testing.assert_allclose(hessian[0], (slopes[0] - slopes[1]) / 2e-5, atol=1e-6)


def test_a_geometric_program_and_single_precision() -> None:
    x, a = cp.Variable(pos=True), cp.Parameter(pos=True)
    layer = CvxpyLayer(cp.Problem(cp.Minimize(x + a / x)), [a], [x], gp=True)  # x = sqrt a
    value, slope = jax.value_and_grad(lambda a: layer(a)[0])(jnp.array(4.0))
    np.testing.assert_allclose([value, slope], [2.0, 0.25], atol=1e-8)
    assert layer(jnp.array(4.0, dtype=jnp.float32))[0].dtype == jnp.float32


def test_failures() -> None:
    x, b = cp.Variable(2), cp.Parameter()
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x)), [cp.sum(x) == 2, cp.norm(x) <= b])
    values = jnp.array([2.0, 0.5])
    with pytest.raises(bpqp.SolveError, match="element 1: primal_infeasible"):
        CvxpyLayer(problem, [b], [x])(values)
    (out,) = CvxpyLayer(problem, [b], [x], on_failure="nan")(values)
    np.testing.assert_allclose(out[0], 1.0, atol=1e-8)
    assert np.isnan(out[1]).all()
    quiet = CvxpyLayer(problem, [b], [x], on_failure="zero_grad")
    assert jax.grad(lambda b: quiet(b)[0][0].sum())(values)[1] == 0
    with pytest.raises(jax.errors.JaxRuntimeError, match="element 1: primal_infeasible"):
        jax.block_until_ready(jax.jit(CvxpyLayer(problem, [b], [x]))(values))


@pytest.mark.parametrize("make", programs.SMOOTH, ids=lambda make: make.__name__)
def test_every_cone_in_both_modes(make: Any) -> None:
    program = make()
    layer = CvxpyLayer(program.problem, program.parameters, program.variables, gp=program.gp)
    arrays = [jnp.asarray(v, dtype=jnp.float64) for v in program.values]
    check_grads(layer, arrays, order=1, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5, eps=1e-6)


@pytest.mark.parametrize(
    "make", [p for p in programs.SMOOTH if p is not programs.correlation], ids=lambda m: m.__name__
)
def test_second_derivatives_of_every_cone(make: Any) -> None:
    program = make()
    layer = CvxpyLayer(program.problem, program.parameters, program.variables, gp=program.gp)
    arrays = [jnp.asarray(v, dtype=jnp.float64) for v in program.values]
    check_grads(layer, arrays, order=2, modes=("fwd", "rev"), atol=1e-4, rtol=1e-4, eps=1e-6)


def test_second_derivatives_in_every_order_under_jit_and_vmap() -> None:
    program = programs.entropy()  # softmax
    layer = CvxpyLayer(program.problem, program.parameters, program.variables)
    weight, c = jnp.arange(4.0), jnp.array([[0.5, -1.0, 0.2, 1.3], [0.1, 0.4, -0.2, 0.0]])
    expected = jax.vmap(jax.hessian(lambda c: weight @ jax.nn.softmax(c)))(c)
    for outer in (jax.jacfwd, jax.jacrev):
        for inner in (jax.jacfwd, jax.jacrev):
            hessian = outer(inner(lambda c: weight @ layer(c)[0]))
            np.testing.assert_allclose(hessian(c[0]), expected[0], atol=1e-7)
            np.testing.assert_allclose(jax.jit(jax.vmap(hessian))(c), expected, atol=1e-7)


def test_second_derivatives_of_a_semidefinite_cone_are_refused() -> None:
    program = programs.correlation()
    layer = CvxpyLayer(program.problem, program.parameters, program.variables)
    with pytest.raises(bpqp.UnsupportedError, match=r"second derivative.*psd"):
        jax.hessian(lambda c: layer(c)[0].sum())(jnp.asarray(program.values[0]))


def test_full_output() -> None:
    program = programs.ball()
    layer = CvxpyLayer(program.problem, program.parameters, program.variables, on_failure="nan")
    c, r = jnp.asarray(program.values[0]), jnp.array([1.2, 0.5])
    for call in (layer, jax.jit(layer, static_argnames="full")):
        out = call(c, r, full=True)
        np.testing.assert_array_equal(out.ok, [True, False])
        assert list(bpqp.jax.status_names(out.status)) == ["solved", "primal_infeasible"]
        assert list(bpqp.jax.verdict_names(out.verdict)) == ["exact", "untrusted"]
        np.testing.assert_allclose(out.variables[0], layer(c, r)[0], atol=1e-12)
    one = layer(c, r[0], full=True)
    assert bpqp.jax.verdict_names(one.verdict) == "exact"
    assert jax.vmap(lambda r: layer(c, r, full=True).ok)(r).shape == (2,)


def test_misuse_is_refused() -> None:
    layer, (A, b, weight) = layer_and_data()
    for arguments, error, message in (
        ((A, b), bpqp.ArgumentError, "2 were given for 3"),
        ((A, b[:2], weight), bpqp.ArgumentError, r"parameter 1 has shape \(2,\), expected \(4,\), or \(batch, 4\)"),
        ((A, None, weight), bpqp.DtypeError, "parameter 1 is None"),
        ((A, b.astype(int), weight), bpqp.DtypeError, "parameter 1 has dtype int64"),
    ):
        with pytest.raises(error, match=message):
            layer(*arguments)
