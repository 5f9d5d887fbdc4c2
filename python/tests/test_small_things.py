"""Small conveniences: what notebooks show, what is pickled, what messages suggest, what JAX stores."""

import pickle

import bpqp
import numpy as np
import pytest


@pytest.fixture
def solutions():
    P, q = np.eye(3), -np.ones(3)
    cones = [("nonnegative", 3)]
    one = (bpqp.solve_qp(P, q, lb=0, ub=0.5), bpqp.solve_conic(P, q, np.eye(3), 0.5, cones))
    many = (bpqp.solve_qp(P, np.stack([q, -q]), lb=0), bpqp.solve_conic(P, np.stack([q, -q]), np.eye(3), 0.5, cones))
    return (*one, *many)


def test_notebooks_show_a_table(solutions):
    for sol in solutions:
        html = sol._repr_html_()
        assert html.startswith("<table>") and type(sol).__name__ in html and "objective" in html
        for line in str(sol).splitlines():
            assert line[12:].strip().replace(">", "&gt;") in html


def test_names_of_solvers_in_capitals():
    with pytest.raises(bpqp.ArgumentError, match="did you mean 'active_set'"):
        bpqp.solve_qp(np.eye(2), np.ones(2), solver="Active_Set")
    pytest.importorskip("osqp")
    pytest.importorskip("qpsolvers")
    with pytest.raises(bpqp.ArgumentError, match="did you mean 'qpsolvers:osqp'"):
        bpqp.solve_qp(np.eye(2), np.ones(2), solver="OSQP")


def test_vectors_have_one_number_in_messages():
    with pytest.raises(bpqp.ArgumentError, match=r"h has shape \(3,\), expected \(2,\)"):
        bpqp.solve_qp(np.eye(2), np.ones(2), G=np.eye(2), h=np.ones(3))


def test_solutions_of_torch_are_pickled():
    torch = pytest.importorskip("torch")
    import bpqp.torch as bt

    sol = bt.solve_qp(torch.eye(2), torch.ones(2), lb=0, full=True)
    conic = bt.solve_conic(torch.eye(2), torch.ones(2), torch.eye(2), torch.ones(2), [("nonnegative", 2)], full=True)
    for own in (sol, conic):
        back = pickle.loads(pickle.dumps(own))
        assert (back.x == own.x).all() and back.status == own.status and back.verdict == own.verdict


def test_numbers_for_bounds_of_a_layer():
    torch = pytest.importorskip("torch")
    import bpqp.torch as bt

    layer = bt.QpLayer(P=torch.eye(2), lb=0, ub=0.5)
    assert layer(q=-torch.ones(2)).tolist() == [0.5, 0.5]


def test_jax_stores_functions_that_solve():
    pytest.importorskip("jax")
    import bpqp.jax as bj
    import jax
    import jax.export
    import jax.numpy as jnp

    function = jax.jit(jax.grad(lambda q: bj.solve_qp(jnp.eye(3), q, lb=0.0).sum()))
    q = jnp.array([1.0, -1.0, -2.0])
    shape = jax.ShapeDtypeStruct(q.shape, q.dtype)
    stored = jax.export.export(function, disabled_checks=bj.export_checks())(shape)
    assert (stored.call(q) == function(q)).all()
    pytest.importorskip("flatbuffers")
    again = jax.export.deserialize(stored.serialize())
    assert (again.call(q) == function(q)).all()


def test_what_is_taken_out_first_changes_nothing_but_time():
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    n = 80
    rows = rng.normal(size=(20, n))
    # every row three times, in other units, and half of the variables fixed
    A = sparse.csc_matrix(np.concatenate([rows, 2 * rows, -0.5 * rows]))
    x0 = rng.random(n)
    b = A @ x0
    lb, ub = np.where(np.arange(n) % 2, x0, 0.0), np.where(np.arange(n) % 2, x0, np.inf)
    q = rng.normal(size=n)
    given = (sparse.eye(n, format="csc"), q), {"A": A, "b": b, "lb": lb, "ub": ub}
    one, other = (bpqp.solve_qp(*given[0], **given[1], presolve=flag) for flag in (True, False))
    np.testing.assert_allclose(one.x, other.x, atol=1e-9)
    g = rng.normal(size=n)
    np.testing.assert_allclose(one.vjp(x=g).q, other.vjp(x=g).q, atol=1e-8)
    with pytest.raises(bpqp.ArgumentError, match="presolve"):
        bpqp.solve_qp(*given[0], **given[1], presolve="yes")
