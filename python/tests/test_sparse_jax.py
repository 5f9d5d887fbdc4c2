"""Sparse arrays and matrices of scipy.sparse in JAX: the answers of dense ones, gradients on the entries."""

import numpy as np
import pytest

pytest.importorskip("jax")
pytest.importorskip("scipy")

import bpqp
import bpqp.jax as bj
import jax
import jax.numpy as jnp
import scipy.sparse as sp
from jax.experimental import sparse as js
from jax.test_util import check_grads

N = 6


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def data(seed=0):
    rng = np.random.default_rng(seed)
    P = np.diag(rng.uniform(1, 2, N)) + np.diag(np.full(N - 1, 0.3), 1) + np.diag(np.full(N - 1, 0.3), -1)
    G = np.where(rng.uniform(size=(8, N)) < 0.5, rng.normal(size=(8, N)), 0.0)
    return P, rng.normal(size=N), G, np.full(8, 0.1)


def test_values_and_gradients_are_those_of_dense_arrays():
    P, q, G, h = map(jnp.asarray, data())
    wanted = jax.grad(lambda P, G: bj.solve_qp(P, q, G=G, h=h).sum(), argnums=(0, 1))(P, G)
    sparse = [js.BCOO.fromdense(P), js.BCOO.fromdense(G, nse=int((G != 0).sum()) + 3)]  # with padding

    def loss(p, g):
        P, G = (js.BCOO((v, m.indices), shape=m.shape) for v, m in zip((p, g), sparse, strict=True))
        return bj.solve_qp(P, q, G=G, h=h).sum()

    values = [m.data for m in sparse]
    for found in (jax.grad(loss, argnums=(0, 1))(*values), jax.jit(jax.grad(loss, argnums=(0, 1)))(*values)):
        for gradient, matrix, dense in zip(found, sparse, wanted, strict=True):
            at = np.asarray(matrix.indices)
            real = (at < np.array(matrix.shape)).all(1)
            np.testing.assert_allclose(gradient[real], dense[at[real, 0], at[real, 1]], atol=1e-9)
            assert not gradient[~real].any()
    check_grads(lambda g: loss(values[0], g), values[1:], order=2, modes=("fwd", "rev"), atol=1e-4, rtol=1e-4)
    gradient = js.grad(lambda G: bj.solve_qp(P, q, G=G, h=h).sum())(sparse[1])
    assert isinstance(gradient, js.BCOO)


def test_scipy_bcsr_and_maps():
    P, q, G, h = data(1)
    expected = bpqp.solve_qp(P, q, G, h)
    for form in (sp.csc_matrix, sp.csr_array, js.BCSR.fromdense, js.BCOO.fromdense):
        sol = bj.solve_qp(form(P), jnp.asarray(q), form(G), 0.1, full=True)
        np.testing.assert_allclose(sol.x, expected.x, atol=1e-10)
        np.testing.assert_allclose(sol.z, expected.z, atol=1e-9)
        assert bj.status_names(sol.status) == "solved" and bool(sol.ok)
    many = jnp.stack([q, -q, 2 * q])
    sparse = sp.csc_matrix(G)
    mapped = jax.vmap(lambda q: bj.solve_qp(P, q, sparse, h))(many)
    loop = jnp.stack([bj.solve_qp(P, row, G, h) for row in many])
    np.testing.assert_allclose(mapped, loop, atol=1e-10)


def test_cone_programs():
    P, q, G, h = data(3)
    h = h + np.array([0, 0, 0, 0, 2.0, 0, 0, 0])
    cones = [("nonnegative", 4), ("soc", 4)]
    wanted = jax.grad(lambda G: bj.solve_conic(P, q, G, h, cones).sum())(jnp.asarray(G))
    A = js.BCOO.fromdense(jnp.asarray(G))

    def loss(a):
        return bj.solve_conic(sp.csc_matrix(P), q, js.BCOO((a, A.indices), shape=A.shape), h, cones).sum()

    np.testing.assert_allclose(jax.grad(loss)(A.data), wanted[A.indices[:, 0], A.indices[:, 1]], atol=1e-7)


def test_misuse_is_named():
    P, q, G, h = data()
    with pytest.raises(bpqp.UnsupportedError, match="the indices of G are traced"):
        jax.jit(lambda G: bj.solve_qp(P, q, G, h))(js.BCOO.fromdense(jnp.asarray(G)))
    with pytest.raises(bpqp.ArgumentError, match=r"G has shape \(8, 5\), expected \(8, 6\)"):
        bj.solve_qp(P, q, sp.csc_matrix(G[:, :5]), h)
    with pytest.raises(bpqp.ArgumentError, match="a sparse argument is a matrix"):
        bj.solve_qp(js.BCOO.fromdense(jnp.stack([P, P]), n_batch=1), q)
