"""Smooth programs: NumPy, torch and JAX against closed forms and differences; points that are no solutions."""

import pickle

import bpqp
import numpy as np
import pytest

A = np.array([0.3, 0.4])


def outside() -> bpqp.Nonlinear:
    """The projection of a onto the outside of a disk, |x|^2 >= r: x = a sqrt(r)/|a|."""
    return bpqp.Nonlinear(
        f=lambda x, a, r: np.sum((x - a) ** 2),
        g=lambda x, a, r: np.array([r - x @ x]),
        derivatives=bpqp.Derivatives(
            gradient=lambda x, a, r: 2 * (x - a),
            hessian=lambda x, y, z, a, r: 2 * np.eye(2) * (1 - z[0]),
            jacobian_g=lambda x, a, r: -2 * x[None],
            f_parameters=lambda x, a, r: [-2 * (x - a), np.zeros(())],
            g_parameters=lambda x, a, r: [np.zeros((1, 2)), np.ones((1,))],
            cross=lambda x, y, z, a, r: [-2 * np.eye(2), np.zeros(2)],
        ),
    )


def closed_form(w):
    """Gradients of w'x by a and r, at r = 1."""
    nc = np.linalg.norm(A)
    return (w - A * (A @ w) / nc**2) / nc, (w @ A) / (2 * nc)


def test_numpy_callables_have_their_closed_form():
    sol = bpqp.solve_nlp(outside(), [A, 1.0], [0.5, 0.5])
    np.testing.assert_allclose(sol.x, [0.6, 0.8], atol=1e-10)
    assert sol.ok and sol.verdict == "exact" and sol.status == "solved"
    w = np.array([1.0, -2.0])
    g = sol.vjp(x=w)
    by_a, by_r = closed_form(w)
    np.testing.assert_allclose(g.params[0], by_a, atol=1e-9)
    np.testing.assert_allclose(g.params[1], by_r, atol=1e-9)
    t = sol.jvp([A * 0 + 1.0, 0.5])
    np.testing.assert_allclose(w @ t.x, by_a.sum() + 0.5 * by_r, atol=1e-9)
    again = bpqp.from_local_solution(outside(), [A, 1.0], sol.x + 1e-6)
    np.testing.assert_allclose(again.x, sol.x, atol=1e-10)
    with pytest.raises(bpqp.Error, match="no cotangent"):
        sol.vjp()
    with pytest.raises(bpqp.ArgumentError, match=r"the cotangent of x has shape \(3,\), expected \(2,\)"):
        sol.vjp(x=np.ones(3))
    with pytest.raises(bpqp.DtypeError, match="the cotangent of z is a list"):
        sol.vjp(z=[1.0, [2.0]])
    with pytest.raises(bpqp.ArgumentError, match="the direction of parameter 1 has shape"):
        sol.jvp([None, np.ones(2)])
    with pytest.raises(bpqp.Error, match="no setting"):
        bpqp.solve_nlp(outside(), [A, 1.0], [0.5, 0.5], tolerance=1)


def test_what_is_no_solution_says_so():
    saddle = bpqp.Nonlinear(
        f=lambda x: x[0] ** 2 - x[1] ** 2,
        derivatives=bpqp.Derivatives(lambda x: np.array([2 * x[0], -2 * x[1]]), lambda x, y, z: np.diag([2.0, -2.0])),
    )
    with pytest.raises(bpqp.SolveError, match="not_a_minimum"):
        bpqp.solve_nlp(saddle, [], [0.0, 0.0])
    sol = bpqp.solve_nlp(saddle, [], [0.0, 0.0], on_failure="nan")
    assert sol.status == "not_a_minimum" and np.isnan(sol.x).all() and abs(sol.direction[1]) == 1
    with pytest.raises(bpqp.SolveError):
        sol.vjp(x=[1.0, 0.0])
    with pytest.raises(ZeroDivisionError):
        broken = bpqp.Nonlinear(lambda x: 1 / 0, derivatives=saddle.derivatives)
        bpqp.solve_nlp(broken, [], [0.0, 0.0])
    with pytest.raises(bpqp.Error, match="derivatives is None"):
        bpqp.solve_nlp(bpqp.Nonlinear(lambda x: 0.0), [], [0.0])


def test_torch_layers_differentiate_parameters_bounds_and_multipliers():
    torch = pytest.importorskip("torch")
    bt = pytest.importorskip("bpqp.torch")
    layer = bt.NonlinearLayer(
        f=lambda x, a, r: ((x - a) ** 2).sum(), g=lambda x, a, r: (r - x @ x).reshape(1), on_untrusted="raise"
    )
    a = torch.tensor(A, requires_grad=True)
    r = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    x = layer(a, r, x0=[0.5, 0.5])
    w = np.array([1.0, -2.0])
    (x @ torch.tensor(w)).backward()
    by_a, by_r = closed_form(w)
    np.testing.assert_allclose(a.grad.numpy(), by_a, atol=1e-9)
    np.testing.assert_allclose(float(r.grad), by_r, atol=1e-9)
    # a batch with a shared radius; every output
    many = torch.tensor(np.stack([A, 1.5 * A, [-0.5, 0.2]]), requires_grad=True)

    def all_of(many, r):
        s = layer(many, r, x0=np.full((3, 2), 0.5), full=True)
        return torch.cat([s.x, s.z, s.objective[:, None]], 1)

    assert torch.autograd.gradcheck(all_of, (many, r), eps=1e-6, atol=1e-6)
    sol = layer(many, r, x0=np.full((3, 2), 0.5), full=True)
    assert sol.ok.all() and set(sol.verdict) == {"exact"} and sol.x.shape == (3, 2)
    # bounds as tensors, and warm starts by sample
    bounded = bt.NonlinearLayer(f=lambda x, c: ((x - c) ** 4 + (x - c) ** 2).sum())
    c = torch.tensor([2.0, 0.5], dtype=torch.float64, requires_grad=True)
    ub = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, u: bounded(c, x0=[0.0, 0.0], ub=u), (c, ub), eps=1e-6, atol=1e-6)
    first = bounded(c, x0=[0.0, 0.0], index=["a"], full=True)
    second = bounded(c, x0=[0.0, 0.0], index=["a"], full=True)
    assert second.iterations <= first.iterations
    # a second derivative is an error, also where the loss has a constant slope
    (slope,) = torch.autograd.grad(bounded(c, x0=[0.0, 0.0]).sum(), c, create_graph=True)
    with pytest.raises(bpqp.UnsupportedError, match="second derivatives of a NonlinearLayer"):
        (slope.sum() + c.sum()).backward()


def test_torch_failures_stay_with_their_element():
    torch = pytest.importorskip("torch")
    bt = pytest.importorskip("bpqp.torch")
    functions = {"f": lambda x, p: x.sum(), "g": lambda x, p: x**2 - p}
    with pytest.raises(bpqp.SolveError, match="element 1: status locally_infeasible"):
        bt.NonlinearLayer(**functions)(torch.tensor([1.0, -1.0]), x0=np.array([[3.0], [3.0]]))
    p = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True)
    s = bt.NonlinearLayer(**functions, on_failure="nan")(p, x0=np.array([[3.0], [3.0]]), full=True)
    assert s.ok.tolist() == [True, False] and torch.isnan(s.x[1]).all()
    s.x[s.ok].sum().backward()
    np.testing.assert_allclose(p.grad.numpy(), [-0.5, 0.0], atol=1e-8)


def test_jax_differentiates_in_both_modes_under_its_transformations():
    jax = pytest.importorskip("jax")
    bj = pytest.importorskip("bpqp.jax")
    import jax.numpy as jnp

    def f(x, p):
        return jnp.sum((x - p["a"]) ** 2)

    def g(x, p):
        return (p["r"] - x @ x)[None]

    with jax.enable_x64(True):
        x0, w = jnp.array([0.5, 0.5]), jnp.array([1.0, -2.0])
        p = {"a": jnp.array(A), "r": jnp.array(1.0)}
        by_a, by_r = closed_form(np.asarray(w))
        loss = lambda p: bj.solve_nlp(f, x0, p, g=g) @ w  # noqa: E731
        for transform in (lambda h: h, jax.jit):
            found = transform(jax.grad(loss))(p)
            np.testing.assert_allclose(found["a"], by_a, atol=1e-9)
            np.testing.assert_allclose(found["r"], by_r, atol=1e-9)
        forward = jax.jit(jax.jacfwd(lambda p: bj.solve_nlp(f, x0, p, g=g)))(p)
        np.testing.assert_allclose(w @ forward["a"], by_a, atol=1e-9)
        many = jnp.stack([jnp.array(A), 1.5 * A, jnp.array([-0.5, 0.2])])
        each = jax.vmap(lambda a: bj.solve_nlp(f, x0, {"a": a, "r": 1.0}, g=g, full=True))(many)
        np.testing.assert_allclose(each.x, many / jnp.linalg.norm(many, axis=1, keepdims=True), atol=1e-9)
        assert each.ok.all() and set(bj.verdict_names(each.verdict)) == {"exact"}
        # bounds are differentiable, and what is no solution is an error
        by_ub = jax.grad(lambda u: bj.solve_nlp(f, x0, {"a": jnp.array([3.0, 0.2]), "r": 0.0}, ub=u)[0])(jnp.ones(2))
        np.testing.assert_allclose(by_ub, [1.0, 0.0], atol=1e-10)
        with pytest.raises(Exception, match="not_a_minimum"):
            bj.solve_nlp(lambda x, p: -jnp.sum(x**2), jnp.zeros(2)).block_until_ready()
        nan = bj.solve_nlp(lambda x, p: -jnp.sum(x**2), jnp.zeros(2), on_failure="nan", full=True)
        assert bj.status_names(nan.status) == "not_a_minimum" and jnp.isnan(nan.x).all()


def box() -> bpqp.Nonlinear:
    """The projection of a onto x >= 0."""
    own = bpqp.Derivatives(distance_slope, distance_curvature, f_parameters=distance_by_a, cross=distance_cross)
    return bpqp.Nonlinear(distance, lb=0.0, derivatives=own)


def distance(x, a):
    return np.sum((x - a) ** 2)


def distance_slope(x, a):
    return 2 * (x - a)


def distance_curvature(x, y, z, a):
    return 2 * np.eye(x.size)


def distance_by_a(x, a):
    return [-2 * (x - a)]


def distance_cross(x, y, z, a):
    return [-2 * np.eye(x.size)]


def test_gradients_are_checked_by_resolving():
    sol = bpqp.solve_nlp(outside(), [A, 1.0], [0.5, 0.5])
    report = bpqp.check_gradient(sol, x=[1.0, -2.0], objective=0.5)
    assert report.worst < 1e-6 and [r["checked"] for r in report.table] == [2, 1]
    kink = bpqp.solve_nlp(box(), [np.array([0.0, 1.0])], [0.5, 0.5], on_untrusted="ignore")
    report = bpqp.check_gradient(kink)
    assert report.table[0]["kinks"] == 1 and report.table[0]["checked"] == 1 and report.worst < 1e-6


def test_one_side_of_a_kink():
    sol = bpqp.solve_nlp(box(), [np.array([0.0, 1.0])], [0.5, 0.5], on_untrusted="ignore")
    assert sol.verdict == "one_of_several"
    for side, moved in ((1.0, 1.0), (-1.0, 0.0)):
        t = sol.jvp([np.array([side, 3.0])], one_sided=True)
        np.testing.assert_allclose(t.x, [moved, 3.0], atol=1e-9)
    plain = bpqp.solve_nlp(outside(), [A, 1.0], [0.5, 0.5])
    a, b = (plain.jvp([A, 0.0], one_sided=side) for side in (True, False))
    np.testing.assert_allclose(a.x, b.x, atol=1e-12)


def test_solutions_are_pickled():
    program = box()
    assert pickle.loads(pickle.dumps(program)) == program
    sol = bpqp.solve_nlp(program, [np.array([-1.0, 1.0])], [0.5, 0.5])
    back = pickle.loads(pickle.dumps(sol))
    np.testing.assert_array_equal(back.x, sol.x)
    np.testing.assert_allclose(back.vjp(x=[1.0, 1.0]).params[0], sol.vjp(x=[1.0, 1.0]).params[0], atol=1e-12)


def torch_distance(x, a):
    return ((x - a) ** 2).sum()


def torch_step(s, u, p):
    return s + 0.1 * (s[[1, 0]] * p + u)


def torch_stage(s, u, p):
    return (s**2).sum() + 0.1 * (u**2).sum()


def test_torch_layers_are_pickled_and_checked():
    torch = pytest.importorskip("torch")
    import bpqp.torch as bt

    a = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    for layer in (
        bt.NonlinearLayer(torch_distance, lb=0.0),
        pickle.loads(pickle.dumps(bt.NonlinearLayer(torch_distance, lb=0.0))),
    ):
        np.testing.assert_allclose(layer(a, x0=[0.5, 0.5]), [0.0, 1.0], atol=1e-9)
        assert layer.check_gradient(a, x0=[0.5, 0.5]).worst < 1e-6


def test_plans_are_those_of_the_layer_without_stages():
    torch = pytest.importorskip("torch")
    import bpqp.torch as bt

    torch.manual_seed(0)
    layer = bt.ControlLayer(
        torch_step,
        torch_stage,
        horizon=15,
        states=2,
        controls=2,
        control_bounds=(-0.7, 0.7),
        eps_abs=1e-9,
        eps_rel=1e-9,
    )
    plain = bt.NonlinearLayer(layer.f, c=layer.c, lb=layer.lb, ub=layer.ub, eps_abs=1e-9, eps_rel=1e-9)
    state = torch.tensor([[2.0, -1.0], [0.5, 1.0]], dtype=torch.float64, requires_grad=True)
    p = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    u, s = layer(state, p, index=["a", "b"])
    assert u.shape == (2, 15, 2) and s.shape == (2, 15, 2) and u.abs().max() <= 0.7 + 1e-9
    x = plain(state, p, x0=torch.zeros(2, 60, dtype=torch.float64)).reshape(2, 15, 4)
    np.testing.assert_allclose(torch.cat([u, s], -1).detach(), x.detach(), atol=1e-7)
    w = torch.randn_like(x)
    own = torch.autograd.grad((torch.cat([u, s], -1) * w).sum(), (state, p))
    other = torch.autograd.grad((x * w).sum(), (state, p))
    for a, b in zip(own, other, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    later = layer(s[:, 0].detach(), p, index=["a", "b"], shift=True)[0]
    np.testing.assert_allclose(later.detach(), layer(s[:, 0].detach(), p)[0].detach(), atol=1e-7)
    assert layer.check_gradient(state[0].detach(), p.detach(), x0=x[0].detach().reshape(-1)).worst < 1e-5
