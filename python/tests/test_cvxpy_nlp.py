"""CVXPY's disciplined nonlinear problems as torch layers: gradients against differences, convex ones as ever."""

import numpy as np
import pytest
from conftest import need

need("torch", "cvxpy")

import bpqp  # noqa: E402
import bpqp.torch as bt  # noqa: E402
import cvxpy as cp  # noqa: E402
import torch  # noqa: E402
from cvxpy.atoms.elementwise.trig import sin  # noqa: E402

pytest.importorskip("cvxpy.reductions.dnlp2smooth.dnlp2smooth", reason="CVXPY 1.9 states nonlinear programs")

rng = np.random.default_rng(3)


def outside_of_a_ball():
    x, c, r = cp.Variable(4), cp.Parameter(4), cp.Parameter()
    x.value = np.array([1.0, 0.2, -0.3, 0.5])
    return cp.Problem(cp.Minimize(cp.sum_squares(x - c)), [cp.sum_squares(x) >= r]), [c, r], [x], [0.3 * x.value, 3.0]


def circle_packing():
    p = cp.Variable((2, 3))
    r, side = cp.Parameter(3), cp.Variable()
    p.value, side.value = np.array([[0.0, 2.5, 1.0], [0.0, 0.3, 2.2]]), 5.0
    rows = [cp.sum_squares(p[:, i] - p[:, j]) >= cp.square(r[i] + r[j]) for i in range(3) for j in range(i)]
    rows += [p[0] >= r, p[1] >= r, p[0] + r <= side, p[1] + r <= side]
    return cp.Problem(cp.Minimize(side + 0.05 * cp.sum_squares(p)), rows), [r], [side], [np.array([1.0, 0.8, 0.6])]


def bilinear():
    x, y, a = cp.Variable(pos=True), cp.Variable(pos=True), cp.Parameter(pos=True)
    x.value, y.value = 1.0, 2.0
    return cp.Problem(cp.Minimize(x + 2 * y), [x * y >= a]), [a], [x, y], [3.0]


def trust_region():
    x, q = cp.Variable(3), cp.Parameter(3)
    x.value = np.array([0.1, 0.2, -0.5])
    m = np.diag([-2.0, 1.0, 0.5])
    return (
        cp.Problem(cp.Minimize(0.5 * x @ m @ x + q @ x), [cp.sum_squares(x) <= 1]),
        [q],
        [x],
        [np.array([0.4, -0.3, 0.2])],
    )


def phase_retrieval():
    x, b = cp.Variable(2), cp.Parameter(5)
    a = rng.normal(size=(5, 2))
    x.value = np.array([1.0, 0.5])
    return cp.Problem(cp.Minimize(cp.sum_squares(cp.square(a @ x) - b))), [b], [x], [(a @ [1.1, 0.4]) ** 2 + 0.05]


def path_around_an_obstacle():
    p, goal = cp.Variable((5, 2)), cp.Parameter(2)
    p.value = np.column_stack([np.linspace(0.2, 2.8, 5), 0.8 * np.ones(5)])
    steps = [cp.sum_squares(p[0])] + [cp.sum_squares(p[i + 1] - p[i]) for i in range(4)] + [cp.sum_squares(goal - p[4])]
    rows = [cp.sum_squares(p[i] - np.array([1.5, 0.0])) >= 0.5 for i in range(5)]
    return cp.Problem(cp.Minimize(sum(steps)), rows), [goal], [p], [np.array([3.0, 0.2])]


def sine_fit():
    w, t = cp.Variable(2), np.linspace(0, 2, 9)
    data = cp.Parameter(9)
    w.value = np.array([1.0, 1.3])
    return (
        cp.Problem(cp.Minimize(cp.sum_squares(w[0] * sin(w[1] * t) - data))),
        [data],
        [w],
        [1.2 * np.sin(1.5 * t) + 0.05],
    )


def entropy_with_a_product():
    x, c, k = cp.Variable(3, pos=True), cp.Parameter(3), cp.Parameter(pos=True)
    x.value = np.array([0.5, 0.8, 1.1])
    return (
        cp.Problem(cp.Minimize(-cp.sum(cp.entr(x)) + c @ x), [x[0] * x[1] >= k]),
        [c, k],
        [x],
        [np.array([0.3, -0.2, 0.1]), 0.4],
    )


def logistic():
    x, s = cp.Variable(2), cp.Parameter(6)
    a = rng.normal(size=(6, 2))
    cost = cp.sum(cp.logistic(cp.multiply(s, a @ x))) + 0.1 * cp.sum_squares(x)
    x.value = np.zeros(2)
    return cp.Problem(cp.Minimize(cost)), [s], [x], [np.array([1.0, -1, 1, -1, 1, 0.5])]


def concave_penalty():
    x, c = cp.Variable(4, nonneg=True), cp.Parameter(4)
    x.value = 0.6 * np.ones(4)
    return (
        cp.Problem(cp.Minimize(cp.sum_squares(x - c) + 0.1 * cp.sum(cp.log(1 + x)))),
        [c],
        [x],
        [np.array([0.9, -0.5, 0.4, 1.2])],
    )


def power_flow():
    v, d = cp.Variable(2), cp.Parameter()
    v.value = np.array([1.0, 0.1])
    flow = 5 * v[0] * sin(v[1]) == d
    return cp.Problem(cp.Minimize(cp.square(v[0] - 1) + cp.square(v[1])), [flow, v[0] <= 1.1]), [d], [v], [0.8]


def on_a_sphere():
    x, c = cp.Variable(3), cp.Parameter(3)
    x.value = np.array([0.5, -0.5, 0.7])
    return cp.Problem(cp.Minimize(c @ x), [cp.sum_squares(x) == 1]), [c], [x], [np.array([-0.5, 0.6, -1.0])]


def maximized():
    x, a = cp.Variable(2, pos=True), cp.Parameter(2, pos=True)
    x.value = np.array([0.4, 0.4])
    return cp.Problem(cp.Maximize(x[0] * x[1]), [a @ x <= 1]), [a], [x], [np.array([1.0, 2.0])]


def rosenbrock():
    x, p = cp.Variable(2), cp.Parameter(2)
    x.value = np.array([0.8, 0.6])
    return (
        cp.Problem(cp.Minimize(10 * cp.square(x[1] - cp.square(x[0])) + cp.square(p[0] - x[0])), [x[1] <= p[1]]),
        [p],
        [x],
        [np.array([1.0, 0.7])],
    )


def exponential_growth():
    x, b = cp.Variable(2), cp.Parameter(2)
    x.value = np.array([0.1, 0.2])
    return (
        cp.Problem(cp.Minimize(cp.sum_squares(x)), [cp.exp(x[0]) * x[1] >= b[0], x[0] + x[1] <= b[1]]),
        [b],
        [x],
        [np.array([0.5, 2.0])],
    )


PROBLEMS = [
    outside_of_a_ball,
    circle_packing,
    bilinear,
    trust_region,
    phase_retrieval,
    path_around_an_obstacle,
    sine_fit,
    entropy_with_a_product,
    logistic,
    concave_penalty,
    power_flow,
    on_a_sphere,
    maximized,
    rosenbrock,
    exponential_growth,
]


@pytest.mark.parametrize("make", PROBLEMS)
def test_gradients_agree_with_differences(make) -> None:
    problem, parameters, variables, values = make()
    for p, v in zip(parameters, values, strict=True):
        p.value = v
    layer = bt.CvxpyLayer(problem, parameters, variables, nlp=True)
    tensors = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    found = layer(*tensors, full=True)
    assert bool(found.ok) and found.verdict == "exact", found
    assert torch.autograd.gradcheck(lambda *t: layer(*t), tensors, eps=1e-6, atol=2e-5, rtol=1e-4)


def test_convex_problems_are_the_same_with_and_without() -> None:
    x, c = cp.Variable(3), cp.Parameter(3)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - c)), [cp.sum(x) == 1, x >= 0])
    value = torch.tensor([0.9, -0.4, 0.3], dtype=torch.float64, requires_grad=True)
    gradients = []
    for nlp in (False, True):
        (found,) = bt.CvxpyLayer(problem, [c], [x], nlp=nlp)(value)
        gradients.append(
            (
                found.detach().numpy(),
                torch.autograd.grad(found @ torch.tensor([1.0, 2.0, -1.0]).double(), value)[0].numpy(),
            )
        )
    np.testing.assert_allclose(gradients[0][0], gradients[1][0], atol=1e-8)
    np.testing.assert_allclose(gradients[0][1], gradients[1][1], atol=1e-7)


def test_batches_matrices_and_what_is_refused() -> None:
    x, m = cp.Variable((2, 3)), cp.Parameter((2, 3))
    x.value = np.ones((2, 3))
    layer = bt.CvxpyLayer(cp.Problem(cp.Minimize(cp.sum_squares(x - m)), [cp.sum_squares(x) >= 20]), [m], [x], nlp=True)
    values = torch.tensor(rng.normal(size=(2, 2, 3)), requires_grad=True)
    (found,) = layer(values)
    expected = values.detach() * (np.sqrt(20) / values.detach().flatten(1).norm(dim=1))[:, None, None]
    np.testing.assert_allclose(found.detach().numpy(), expected.numpy(), atol=1e-7)
    found[0].sum().backward()
    assert values.grad[1].abs().max() == 0 and values.grad[0].abs().max() > 0
    y, stranger = cp.Variable(), cp.Variable()
    other = stranger >= 1
    for wrong in (stranger, other.dual_variables[0]):
        with pytest.raises(bpqp.Error, match="no dual variable of its constraints"):
            bt.CvxpyLayer(cp.Problem(cp.Minimize(y), [y >= 1]), [], [wrong], nlp=True)


def with_duals(problem, variables):
    return [*variables, *(v for c in problem.constraints for v in c.dual_variables)]


CONSTRAINED = [make for make in PROBLEMS if make()[0].constraints]


@pytest.mark.parametrize("make", CONSTRAINED)
def test_duals_of_constraints_are_outputs(make) -> None:
    problem, parameters, variables, values = make()
    for p, v in zip(parameters, values, strict=True):
        p.value = v
    layer = bt.CvxpyLayer(problem, parameters, with_duals(problem, variables), nlp=True)
    tensors = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    found = layer(*tensors, full=True)
    duals = found.variables[len(variables) :]
    assert [tuple(d.shape) for d in duals] == [v.shape for c in problem.constraints for v in c.dual_variables]
    assert any(bool((d.abs() > 1e-6).any()) for d in duals)
    # multipliers of inequalities are those of a minimum
    for c, d in zip(problem.constraints, duals, strict=True):
        assert isinstance(c, cp.constraints.Equality) or bool((d >= 0).all())
    assert torch.autograd.gradcheck(lambda *t: layer(*t), tensors, eps=1e-6, atol=2e-5, rtol=1e-4)


def test_duals_are_those_of_convex_problems() -> None:
    x, c = cp.Variable((2, 2)), cp.Parameter((2, 2))
    rows = [cp.sum_squares(x[:, 0]) <= 0.2, x <= 0.3, cp.trace(x) >= -5, cp.sum(x[0]) == 0.1]
    value = torch.tensor([[0.9, -0.4], [0.3, 0.6]], dtype=torch.float64, requires_grad=True)
    for sign, sense in ((1.0, cp.Minimize), (-1.0, cp.Maximize)):
        problem = cp.Problem(sense(sign * cp.sum_squares(x - c)), rows)
        wanted = with_duals(problem, [x])
        w = [torch.as_tensor(np.random.default_rng(2).standard_normal(v.shape)) for v in wanted]
        gradients = []
        for nlp in (False, True):
            found = bt.CvxpyLayer(problem, [c], wanted, nlp=nlp)(value)
            loss = sum((a * b).sum() for a, b in zip(found, w, strict=True))
            gradients.append(([v.detach().numpy() for v in found], torch.autograd.grad(loss, value)[0].numpy()))
        for a, b in zip(gradients[0][0], gradients[1][0], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
        np.testing.assert_allclose(gradients[0][1], gradients[1][1], atol=1e-5)


def test_a_batch_of_duals_in_both() -> None:
    problem, (a,), (x, _), _ = bilinear()
    row = problem.constraints[0].dual_variables[0]
    values = torch.tensor([3.0, 1.0], dtype=torch.float64, requires_grad=True)
    price, first = bt.CvxpyLayer(problem, [a], [row, x], nlp=True)(values)
    # min x + 2 y over x y >= a: the value sqrt(8 a) has the derivative sqrt(2 / a)
    expected = np.sqrt(2 / values.detach().numpy())
    np.testing.assert_allclose(price.detach().numpy(), expected, atol=1e-7)
    np.testing.assert_allclose(first.detach().numpy(), np.sqrt(2 * values.detach().numpy()), atol=1e-7)
    price.sum().backward()
    np.testing.assert_allclose(values.grad.numpy(), -0.5 * np.sqrt(2) * values.detach().numpy() ** -1.5, atol=1e-7)
    need("jax")
    import bpqp.jax as bj
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        layer = bj.CvxpyLayer(problem, [a], [row, x], nlp=True)
        array = jnp.array([3.0, 1.0])
        np.testing.assert_allclose(layer(array)[0], expected, atol=1e-7)
        slopes = jax.jit(jax.grad(lambda v: layer(v)[0].sum()))(array)
        np.testing.assert_allclose(slopes, values.grad.numpy(), atol=1e-7)


@pytest.mark.parametrize("make", PROBLEMS)
def test_jax_has_the_same_solutions_and_gradients(make) -> None:
    need("jax")
    import bpqp.jax as bj
    import jax
    import jax.numpy as jnp

    problem, parameters, variables, values = make()
    for p, v in zip(parameters, values, strict=True):
        p.value = v
    variables = with_duals(problem, variables)
    of_torch = bt.CvxpyLayer(problem, parameters, variables, nlp=True)
    tensors = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    found = of_torch(*tensors)
    gradients = torch.autograd.grad(sum(v.sum() for v in found), tensors)
    with jax.enable_x64(True):
        layer = bj.CvxpyLayer(problem, parameters, variables, nlp=True)
        arrays = [jnp.array(v, dtype=jnp.float64) for v in values]
        for own, other in zip(layer(*arrays), found, strict=True):
            np.testing.assert_allclose(own, other.detach().numpy(), atol=1e-8)
        loss = jax.jit(jax.grad(lambda *a: sum(jnp.sum(v) for v in layer(*a)), argnums=tuple(range(len(arrays)))))
        for own, other in zip(loss(*arrays), gradients, strict=True):
            np.testing.assert_allclose(own, other.numpy(), atol=1e-6)
        batch = layer(jnp.stack([arrays[0]] * 2), *arrays[1:], full=True)
        assert batch.ok.tolist() == [True, True]
