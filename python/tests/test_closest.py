"""`infeasible="closest"`: the same two levels in every front end."""

import bpqp
import numpy as np
import pytest

# x = 0 and x = 3, the second twice as strong; a second variable that the rows do not hold; G with one violated row
A = np.array([[1.0, 0.0], [2.0, 0.0]])
b = np.array([0.0, 6.0])
P = np.diag([0.0, 1.0])
q = np.array([7.0, -2.0])
lb, ub = np.array([-5.0, -5.0]), np.array([5.0, 1.5])
X = np.array([2.4, 1.5])
# x_0 = (b_0 + 2 b_1)/5, x_1 = ub_1
DB = np.array([0.2, 0.4])


def test_numpy_gives_the_closest_program_with_its_shift_and_its_gradient():
    sol = bpqp.solve_qp(P, q, A=A, b=b, lb=lb, ub=ub, infeasible="closest")
    assert sol.ok and sol.status == "primal_infeasible" and sol.info.certificate is not None
    np.testing.assert_allclose(sol.x, X, atol=1e-12)
    np.testing.assert_allclose(sol.shift.A, [2.4, -1.2], atol=1e-12)
    assert sol.shift.G.shape == (0,) and np.isnan(sol.y).all() and np.isnan(sol.z_box).all()
    g = sol.vjp(x=[1.0, 0.0], wrt=["b", "ub", "q"])
    np.testing.assert_allclose(g.b, DB, atol=1e-12)
    assert g.verdict == "exact" and sol.verdict == "one_of_several"
    np.testing.assert_allclose(sol.jvp(b=[1.0, 1.0]).x, [0.6, 0.0], atol=1e-12)
    with pytest.raises(bpqp.Error, match="no multipliers"):
        sol.vjp(y=[1.0, 0.0])
    with pytest.raises(bpqp.SolveError):
        bpqp.solve_qp(P, q, A=A, b=b, lb=lb, ub=ub)
    with pytest.raises(bpqp.Error, match="status, closest"):
        bpqp.solve_qp(P, q, A=A, b=b, infeasible="nearest")


def test_in_a_batch_only_the_element_that_is_infeasible_is_shifted():
    bs = np.array([b, [1.0, 2.0]])
    sol = bpqp.solve_qp(P, q, A=A, b=bs, lb=lb, ub=ub, infeasible="closest")
    assert sol.ok.tolist() == [True, True] and sol.status.tolist() == ["primal_infeasible", "solved"]
    np.testing.assert_allclose(sol.x, [X, [1.0, 1.5]], atol=1e-12)
    np.testing.assert_allclose(sol.shift.A, [[2.4, -1.2], [0.0, 0.0]], atol=1e-12)
    g = sol.vjp(x=[[1.0, 0.0], [0.0, 1.0]], wrt=["b", "ub"])
    np.testing.assert_allclose(g.b[0], DB, atol=1e-12)
    np.testing.assert_allclose(g.ub, [0.0, 1.0], atol=1e-12)


def test_a_cone_program_shifts_its_rows_bounds_in_rows_too():
    from scipy import sparse

    # x <= 1 and -x <= -3 as rows: half way
    rows = sparse.csc_matrix(np.array([[1.0], [-1.0]]))
    cones = [("nonnegative", 2)]
    sol = bpqp.solve_conic(None, np.array([1.0]), rows, np.array([1.0, -3.0]), cones, infeasible="closest")
    assert sol.ok and sol.status == "primal_infeasible"
    np.testing.assert_allclose(sol.x, [2.0], atol=1e-12)
    np.testing.assert_allclose(sol.shift, [1.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(sol.vjp(x=[1.0]).b, [0.5, -0.5], atol=1e-12)
    with pytest.raises(bpqp.Error, match="closest"):
        bpqp.solve_conic(None, np.array([1.0]), rows, np.array([1.0, -3.0]), [("soc", 2)], infeasible="closest")


def test_torch_differentiates_both_levels():
    torch = pytest.importorskip("torch")
    bt = pytest.importorskip("bpqp.torch")
    tensors = [torch.tensor(v, dtype=torch.float64) for v in (P, q, A, b, lb, ub)]
    at_b = tensors[3].clone().requires_grad_()
    sol = bt.solve_qp(*tensors[:2], None, None, tensors[2], at_b, *tensors[4:], infeasible="closest", full=True)
    assert bool(sol.ok) and sol.status == "primal_infeasible"
    sol.x[0].backward()
    np.testing.assert_allclose(at_b.grad.numpy(), DB, atol=1e-12)
    layer = bt.QpLayer(P=tensors[0], A=tensors[2], lb=tensors[4], ub=tensors[5], infeasible="closest")
    both = torch.tensor(np.array([b, [1.0, 2.0]]), requires_grad=True)
    x = layer(q=tensors[1], b=both)
    np.testing.assert_allclose(x.detach().numpy(), [X, [1.0, 1.5]], atol=1e-12)
    x[0, 0].backward()
    np.testing.assert_allclose(both.grad[0].numpy(), DB, atol=1e-12)
    assert torch.autograd.gradcheck(lambda v: layer(q=tensors[1], b=v[:1])[:, 0], (both,), eps=1e-5)


def test_jax_differentiates_both_levels_under_jit():
    jax = pytest.importorskip("jax")
    bj = pytest.importorskip("bpqp.jax")
    with jax.enable_x64(True):
        solve = jax.jit(lambda v: bj.solve_qp(P, q, A=A, b=v, lb=lb, ub=ub, infeasible="closest", full=True))
        sol = solve(b)
        assert bool(sol.ok) and bj.status_names(sol.status) == "primal_infeasible"
        np.testing.assert_allclose(sol.x, X, atol=1e-12)
        np.testing.assert_allclose(jax.grad(lambda v: solve(v).x[0])(b), DB, atol=1e-12)
        np.testing.assert_allclose(jax.jacfwd(lambda v: solve(v).x)(b)[0], DB, atol=1e-12)


def test_a_problem_of_cvxpy_is_shifted_too():
    cp = pytest.importorskip("cvxpy")
    torch = pytest.importorskip("torch")
    bt = pytest.importorskip("bpqp.torch")
    x, c = cp.Variable(2), cp.Parameter(2)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - 1)), [x[0] <= c[0], x[0] >= c[1], x[1] >= 3])
    layer = bt.CvxpyLayer(problem, parameters=[c], variables=[x], solver_args={"infeasible": "closest"})
    at = torch.tensor([0.0, 2.0], dtype=torch.float64, requires_grad=True)
    (found,) = layer(at)
    np.testing.assert_allclose(found.detach().numpy(), [1.0, 3.0], atol=1e-9)
    found[0].backward()
    np.testing.assert_allclose(at.grad.numpy(), [0.5, 0.5], atol=1e-9)
