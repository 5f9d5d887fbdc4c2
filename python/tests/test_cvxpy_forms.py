"""What CvxpyLayer and the solver object recognize: sums of squares as a factored P, bounds of variables, proofs."""

from __future__ import annotations

from typing import Any

import bpqp
import bpqp.cvxpy
import numpy as np
import pytest
from conftest import need

need("cvxpy", "torch")
import bpqp.torch as bt  # noqa: E402
import cvxpy as cp  # noqa: E402
import torch  # noqa: E402
from bpqp.cvxpy import Canonical, _canonical  # noqa: E402

N, R = 8, 3
RNG = np.random.default_rng(0)
F, D = RNG.normal(size=(N, R)), 0.1 + RNG.random(N)


def portfolio(objective: Any, w: Any, m: Any, *more: Any) -> Any:
    return cp.Problem(cp.Minimize(objective - m @ w), [w >= 0, cp.sum(w) == 1, *more])


def squares(w: Any) -> Any:
    return cp.sum_squares(F.T @ w) + cp.sum_squares(cp.multiply(np.sqrt(D), w))


def test_a_factor_model_is_a_factored_matrix() -> None:
    w, m = cp.Variable(N), cp.Parameter(N)
    problem = portfolio(squares(w), w, m)
    canonical = Canonical(problem, [m], [w, problem.constraints[1].dual_variables[0]])
    assert canonical.shape == (N + 1, N)
    assert canonical.pattern["P"] == (R,)
    np.testing.assert_allclose(canonical.constant["P"][:N], 2 * D)
    G = canonical.constant["P"][N:].reshape(R, N)
    np.testing.assert_allclose(G.T @ G, 2 * F @ F.T, atol=1e-12)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a layer without recognizing squares."""

    def make(*args: Any, **options: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(_canonical, "recognize", lambda canonical: None)
            return bt.CvxpyLayer(*args, **options)

    return make


def programs() -> dict[str, Any]:
    """Problems with squares, their parameters and outputs, and values."""
    out = {}
    w, m, b = cp.Variable(N), cp.Parameter(N), cp.Parameter(R)
    values = [RNG.normal(size=N), 0.3 * RNG.normal(size=R)]
    problem = cp.Problem(
        cp.Minimize(cp.sum_squares(F.T @ w - b) + cp.sum_squares(cp.multiply(np.sqrt(D), w)) - m @ w),
        [w >= 0, cp.sum(w) == 1],
    )
    duals = [problem.constraints[k].dual_variables[0] for k in range(2)]
    out["tracking"] = (problem, [m, b], [w, *duals], values, (R,))
    # beside a second-order cone
    problem = portfolio(squares(w), w, m, cp.norm(w) <= 0.5)
    out["cone"] = (problem, [m], [w], values[:1], (R,))
    # squares of single variables
    problem = cp.Problem(cp.Minimize(cp.sum_squares(w - m)), [w >= 0, cp.sum(w) == 1])
    out["projection"] = (problem, [m], [w], values[:1], "diagonal")
    # no positive diagonal: as it was
    problem = cp.Problem(cp.Minimize(cp.sum_squares(F.T @ w) - m @ w), [w >= 0, cp.sum(w) == 1])
    out["singular"] = (problem, [m], [w], values[:1], None)
    # the factor is a parameter
    factor, root = cp.Parameter((N, R)), cp.Parameter(N)
    problem = portfolio(cp.sum_squares(factor.T @ w) + cp.sum_squares(w), w, m)
    out["factor"] = (problem, [m, factor], [w], [values[0], F], (R,))
    # and the root of the diagonal, beside a constant one
    risk = cp.sum_squares(factor.T @ w) + cp.sum_squares(cp.multiply(root, w))
    problem = portfolio(risk + 0.1 * cp.sum_squares(w), w, m)
    out["risk"] = (problem, [m, factor, root], [w], [values[0], F, np.sqrt(D) * np.sign(values[0])], (R,))
    # factors that are affine in a parameter, with entries that do not move; some of the diagonal vanishes
    mix, load = np.eye(R)[:, : R - 1], cp.Parameter((R - 1, N))
    problem = portfolio(cp.sum_squares((F.T + mix @ load) @ w) + cp.sum_squares(cp.multiply(root, w)), w, m)
    out["affine"] = (problem, [m, load, root], [w], [values[0], F[:, 1:].T, np.where(D < D[2], np.sqrt(D), 0)], (R,))
    # a sum of parameters is not squared entry by entry: one more column would be one for each variable
    problem = portfolio(cp.sum_squares(cp.multiply(root + 1, w)) + 0.5 * cp.sum_squares(w), w, m)
    out["sum"] = (problem, [m, root], [w], [6 * values[0], np.sqrt(D)], "diagonal")
    # a shift with a factor that is a parameter: as it was
    problem = portfolio(cp.sum_squares(factor.T @ w - 0.1) + cp.sum_squares(w), w, m)
    out["shifted"] = (problem, [m, factor], [w], [values[0], F], "diagonal")
    # more squares than variables
    A = RNG.normal(size=(2 * N, N))
    problem = cp.Problem(cp.Minimize(cp.sum_squares(A @ w - 1) + cp.sum_squares(w) - m @ w), [w >= 0])
    out["regression"] = (problem, [m], [w], values[:1], None)
    # a square that is an output, and one in another constraint
    y = cp.Variable(R)
    problem = portfolio(cp.sum_squares(y) + cp.sum_squares(w), w, m, y == F.T @ w)
    out["output"] = (problem, [m], [w, y], values[:1], None)
    problem = portfolio(cp.sum_squares(y) + cp.sum_squares(w), w, m, y == F.T @ w, y <= 0.2)
    out["elsewhere"] = (problem, [m], [w], values[:1], None)
    return out


@pytest.mark.parametrize("name", list(programs()))
def test_results_are_those_of_the_problem_as_it_was(name: str, plain: Any) -> None:
    problem, parameters, variables, values, pattern = programs()[name]
    layer, before = bt.CvxpyLayer(problem, parameters, variables), plain(problem, parameters, variables)
    found = layer.canonical.pattern["P"]
    assert layer.canonical.shape[1] <= before.canonical.shape[1]
    if pattern is None:
        assert layer.canonical.shape == before.canonical.shape or name == "singular"
    elif pattern == "diagonal":
        assert len(found) == 2
        assert layer.canonical.shape[1] < before.canonical.shape[1] or name in ("sum", "shifted")
    else:
        assert found == pattern
    tensors = [torch.tensor(v).requires_grad_() for v in values]
    outputs, others = layer(*tensors, full=True), before(*tensors, full=True)
    assert (outputs.status, outputs.verdict) == (others.status, others.verdict)
    assert (outputs.variables[0] < 1e-9).any()  # bounds bind
    for a, b in zip(outputs.variables, others.variables, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=0)
    weights = [torch.tensor(RNG.normal(size=tuple(v.shape))) for v in outputs.variables]
    grads = [
        torch.autograd.grad(sum((w * v).sum() for w, v in zip(weights, out.variables, strict=True)), tensors)
        for out in (outputs, others)
    ]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=0)
    if outputs.verdict == "exact":
        assert torch.autograd.gradcheck(layer, tensors, check_forward_ad=True, atol=1e-6)
        assert torch.autograd.gradgradcheck(layer, tensors, atol=1e-5)


def test_solve_conic_takes_a_factored_matrix() -> None:
    rng = np.random.default_rng(1)
    A, b, cones = rng.normal(size=(5, N)), np.r_[0.5, 1.0, 0, 0, 0], [("nonnegative", 1), ("soc", 4)]
    q, P = 2 * rng.normal(size=N), bpqp.Factored(D, F)
    low = float(np.sort(bpqp.solve_conic(P, q, A, b, cones).x)[2])  # cuts two off
    sol = bpqp.solve_conic(P, q, A, b, cones, lb=low)
    dense = bpqp.solve_conic(np.diag(D) + F @ F.T, q, A, b, cones, lb=low)
    assert np.any(np.abs(sol.z_box) > 1e-3)
    np.testing.assert_allclose(sol.x, dense.x, atol=1e-9)
    np.testing.assert_allclose(sol.y, dense.y, atol=1e-8)
    w = rng.normal(size=N)
    ours, theirs = sol.vjp(x=w), dense.vjp(x=w)
    np.testing.assert_allclose(ours.P.d, np.diag(theirs.P), atol=1e-8)
    np.testing.assert_allclose(ours.P.F, 2 * theirs.P @ F, atol=1e-8)
    np.testing.assert_allclose(ours.A, theirs.A, atol=1e-8)
    step = rng.normal(size=F.shape)
    moved = sol.jvp(P=bpqp.Factored(None, step)).x
    np.testing.assert_allclose(moved, dense.jvp(P=step @ F.T + F @ step.T).x, atol=1e-8)
    assert w @ moved == pytest.approx(np.sum(ours.P.F * step), abs=1e-9)
    assert bpqp.check_gradient(sol, x=w).worst < 1e-5
    np.testing.assert_allclose(np.einsum("i,ij->j", w, sol.jacobian("x", "P").d), ours.P.d, atol=1e-9)
    both = bpqp.solve_conic(bpqp.Factored(np.stack([D, 2 * D]), F), q, A, b, cones, lb=low)
    grads = both.vjp(x=np.stack([w, w]))
    np.testing.assert_allclose(both.x[0], sol.x, atol=1e-10)
    assert grads.P.d.shape == (2, N)
    assert grads.P.F.shape == (N, R)  # shared: the sum
    np.testing.assert_allclose(grads.P.d[0], ours.P.d, atol=1e-8)
    with pytest.raises(bpqp.ArgumentError, match="the diagonal of a diagonal or factored P must be nonnegative"):
        bpqp.solve_conic(bpqp.Factored(-D, F), q, A, b, cones)
    with pytest.raises(bpqp.ArgumentError, match="one row for each"):
        bpqp.solve_conic(bpqp.Factored(D[1:], F), q, A, b, cones)


def test_bounds_of_variables_are_bounds() -> None:
    x = cp.Variable(3, bounds=[np.array([0.0, -1.0, -np.inf]), np.array([1.0, np.inf, 0.25])])
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - np.array([2.0, -3.0, 1.0]))), [cp.sum(x) <= 10])
    data, _, _ = problem.get_problem_data(bpqp.cvxpy.BPQP())
    assert data["lower_bounds"] is not None
    problem.solve(solver=bpqp.cvxpy.BPQP())
    np.testing.assert_allclose(x.value, [1.0, -1.0, 0.25], atol=1e-9)
    assert problem.value == pytest.approx(1 + 4 + 0.5625)


def test_an_infeasible_problem_has_the_duals_of_its_proof() -> None:
    x = cp.Variable(2, nonneg=True)
    below, ball = x[0] + x[1] <= -1, cp.norm(x) <= 2
    problem = cp.Problem(cp.Minimize(cp.sum(x)), [below, ball])
    problem.solve(solver=bpqp.cvxpy.BPQP())
    assert problem.status == "infeasible"
    assert below.dual_value > 1e-6
    clarabel = cp.Problem(cp.Minimize(cp.sum(x)), [below, ball])
    clarabel.solve(solver="CLARABEL")
    assert clarabel.status == "infeasible"
    equal = cp.sum(x) == -1
    problem = cp.Problem(cp.Minimize(0), [equal])
    problem.solve(solver=bpqp.cvxpy.BPQP())
    assert equal.dual_value > 0  # y (1, 1) >= 0 and y (-1) < 0
