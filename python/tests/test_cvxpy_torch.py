"""CvxpyLayer for torch, and what it shares with the one for JAX: canonicalization, recovery, policies."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import need

need("torch", "cvxpy", "clarabel")
import cvxpy as cp  # noqa: E402
import torch  # noqa: E402
from bpqp.cvxpy import BPQP, Canonical  # noqa: E402
from bpqp.torch import CvxpyLayer  # noqa: E402

EPS: dict[str, Any] = {"eps": 1e-6, "atol": 1e-6, "rtol": 1e-5}


def tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).requires_grad_()


def mixed() -> tuple[cp.Problem, list[cp.Parameter], list[cp.Variable], list[Any]]:
    """Quadratic and linear terms, a matrix parameter in quad_form, a ball, bounds and an equality."""
    x = cp.Variable(3)
    A, b, Q = cp.Parameter((4, 3)), cp.Parameter(4), cp.Parameter((3, 3), PSD=True)
    weight = cp.Parameter(nonneg=True)
    cons = [x >= -0.2, cp.norm(x) <= 0.7, cp.sum(x) == 0.3]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(A @ x - b) + cp.quad_form(x, Q) + weight * cp.norm1(x)), cons)
    return problem, [A, b, Q, weight], [x], cons


def mixed_layer(**options: Any) -> CvxpyLayer:
    problem, parameters, variables, cons = mixed()
    duals = [cons[0].dual_variables[0], cons[2].dual_variables[0]]
    return CvxpyLayer(problem, parameters, [*variables, *duals], **options)


def mixed_data() -> list[torch.Tensor]:
    root = np.random.default_rng(3).normal(size=(3, 3))
    Q = torch.from_numpy(root @ root.T).requires_grad_()
    return [tensor(2, 4, 3), tensor(4, seed=1), Q, torch.tensor([0.1, 0.3], dtype=torch.float64, requires_grad=True)]


def test_derivatives_of_variables_and_duals_in_a_batch_with_shared_parameters() -> None:
    layer, data = mixed_layer(), mixed_data()
    x, bounds, equality = layer(*data)
    assert x.shape == (2, 3) and bounds.shape == (2, 3) and equality.shape == (2,)
    assert (bounds > 1e-3).any()
    assert torch.autograd.gradcheck(layer, data, **EPS, check_forward_ad=True)


def test_the_gradient_of_a_shared_parameter_is_the_sum() -> None:
    layer, data = mixed_layer(), mixed_data()
    layer(*data)[0].sum().backward()
    total = torch.zeros_like(data[1])
    for k in range(2):
        alone = data[1].detach().clone().requires_grad_()
        layer(data[0][k].detach(), alone, data[2].detach(), data[3][k].detach())[0].sum().backward()
        total += alone.grad
    torch.testing.assert_close(data[1].grad, total)
    torch.testing.assert_close(data[2].grad, data[2].grad.T)  # symmetric


def test_transforms() -> None:
    layer = mixed_layer()
    A, b, Q, weight = (v.detach() for v in mixed_data())

    def f(b: torch.Tensor, A: torch.Tensor) -> torch.Tensor:
        return layer(A, b, Q, weight[0])[0]

    reverse, forward = torch.func.jacrev(f)(b, A[0]), torch.func.jacfwd(f)(b, A[0])
    torch.testing.assert_close(reverse, forward)
    many = torch.func.vmap(torch.func.grad(lambda A: f(b, A).sum()))(A)
    for k in range(2):
        torch.testing.assert_close(many[k], torch.func.grad(lambda A: f(b, A).sum())(A[k]))
    hessian = torch.func.hessian(lambda b: f(b, A[0]).sum())(b)
    step = 1e-5 * torch.eye(len(b), dtype=b.dtype)[0]
    slopes = [torch.func.grad(lambda b: f(b, A[0]).sum())(b + sign * step) for sign in (1, -1)]
    torch.testing.assert_close(hessian[0], (slopes[0] - slopes[1]) / 2e-5, atol=1e-6, rtol=0)


def test_copies_single_precision_and_settings() -> None:
    layer, data = mixed_layer(solver_args={"eps": 1e-4, "acceleration_lookback": 0}), mixed_data()
    (x, *_) = layer(*data)
    other = pickle.loads(pickle.dumps(copy.deepcopy(layer)))
    torch.testing.assert_close(other(*data)[0], x)
    single = layer(*(v.float() for v in data))[0]
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), x, atol=1e-4, rtol=1e-4)
    with pytest.raises(bpqp.ArgumentError, match="no setting 'tolerance'"):
        layer(*data, solver_args={"tolerance": 1})


def test_every_dual_value_is_that_of_cvxpy() -> None:
    x, S = cp.Variable(3), cp.Variable((2, 2), symmetric=True)
    p = cp.Parameter(3, value=np.array([1.0, -0.5, 0.3]))
    cons = [
        cp.sum(x) == 0.5,
        x <= 0.4,
        cp.SOC(1 + x[0], x),
        cp.ExpCone(x, np.ones(3), x + 2),
        cp.PowCone3D(x[0] + 2, x[1] + 2, x[2], 0.3),
        S >> 0.1 * np.eye(2),
        cp.SOC(cp.hstack([0.4, 0.5]), cp.vstack([x[:2], x[1:]]), axis=1),
    ]
    problem = cp.Problem(cp.Maximize(p @ x - cp.sum_squares(x) - cp.sum_squares(S - x[0]) - cp.trace(S)), cons)
    duals = [d for c in cons for d in c.dual_variables]
    layer = CvxpyLayer(problem, [p], [x, S, *duals])
    out = layer(torch.from_numpy(p.value))
    problem.solve(solver="CLARABEL")
    for value, variable in zip(out, [x, S, *duals], strict=True):
        np.testing.assert_allclose(value.numpy().ravel(), np.ravel(variable.value), atol=2e-5)
    layer_gradient = torch.from_numpy(p.value).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: layer(p)[:4], (layer_gradient,), **EPS)


def test_variables_and_parameters_with_structure() -> None:
    D, S = cp.Variable((2, 2), diag=True), cp.Variable((2, 2), PSD=True)
    low = cp.Variable(2, nonpos=True)
    C, w = cp.Parameter((2, 2), symmetric=True), cp.Parameter((2, 3), sparsity=([0, 1], [1, 2]))
    z = cp.Variable(3)
    fit = cp.sum_squares(D - C) + cp.sum_squares(S + C) + cp.sum_squares(low - 1) + cp.sum_squares(w @ z - 1)
    problem = cp.Problem(cp.Minimize(fit + cp.sum_squares(z)))
    layer = CvxpyLayer(problem, [C, w], [D, S, low, z])
    c, entries = torch.tensor([[1.0, 0.5], [0.5, -2.0]], dtype=torch.float64), tensor(2)
    d, s, low_value, _ = layer(c.requires_grad_(), entries)
    torch.testing.assert_close(d, torch.diag(torch.diag(c)))
    values, vectors = torch.linalg.eigh(-c)
    torch.testing.assert_close(s, vectors @ torch.diag(values.clamp(min=0)) @ vectors.T)
    torch.testing.assert_close(low_value, torch.zeros(2, dtype=torch.float64))
    s[0, 1].backward()
    torch.testing.assert_close(c.grad, c.grad.T)
    assert torch.autograd.gradcheck(lambda w: layer(c.detach(), w)[3], (entries,), **EPS)


def test_a_geometric_program() -> None:
    x, y, z = (cp.Variable(pos=True) for _ in range(3))
    a, b, c = cp.Parameter(pos=True), cp.Parameter(pos=True), cp.Parameter()
    problem = cp.Problem(cp.Minimize(1 / (x * y * z)), [a * (x * y + x * z + y * z) <= b, x >= y**c])
    layer = CvxpyLayer(problem, [a, b, c], [x, y, z], gp=True)
    data = [torch.tensor([2.0, 1.5], dtype=torch.float64), *(torch.tensor(v, dtype=torch.float64) for v in (1.0, 0.5))]
    data = [v.requires_grad_() for v in data]
    assert torch.autograd.gradcheck(lambda *v: torch.stack(layer(*v)), data, **EPS)
    a.value, b.value, c.value = 2.0, 1.0, 0.5
    problem.solve(gp=True, solver="CLARABEL")
    found = [float(v[0].detach()) for v in layer(*data)]
    np.testing.assert_allclose(found, [x.value, y.value, z.value], rtol=1e-4)


def test_failure_policies() -> None:
    x, b = cp.Variable(2), cp.Parameter()
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x)), [cp.sum(x) == 2, cp.norm(x) <= b])
    values = torch.tensor([2.0, 0.5], dtype=torch.float64, requires_grad=True)  # the second has no point
    with pytest.raises(bpqp.SolveError, match="element 1: primal_infeasible"):
        CvxpyLayer(problem, [b], [x])(values)
    (out,) = CvxpyLayer(problem, [b], [x], on_failure="nan")(values)
    out.sum().backward()
    torch.testing.assert_close(out[0], torch.ones(2, dtype=torch.float64))
    assert torch.isnan(out[1]).all() and torch.isnan(values.grad[1]) and values.grad[0].abs() < 1e-9
    values.grad = None
    (out,) = CvxpyLayer(problem, [b], [x], on_failure="zero_grad")(values)
    out[0].sum().backward()
    assert values.grad[1] == 0


def test_misuse_is_refused() -> None:
    problem, parameters, variables, _ = mixed()
    for arguments, message in (
        ((problem, parameters[1:], variables), "exactly match .* is missing"),
        ((problem, [*parameters, cp.Parameter()], variables), "exactly match .* is not one"),
        ((problem, parameters, [cp.Variable()]), "subset of problem.variables"),
        ((problem, tuple(parameters), variables[0]), "pass a list or a tuple"),
        (("problem", parameters, variables), "pass a cvxpy.Problem"),
    ):
        with pytest.raises(bpqp.ArgumentError, match=message):
            CvxpyLayer(*arguments)
    x, p = cp.Variable(), cp.Parameter()
    with pytest.raises(bpqp.ArgumentError, match="not DPP"):
        CvxpyLayer(cp.Problem(cp.Minimize((p * p * x - 1) ** 2)), [p], [x])
    for variable in (cp.Variable(complex=True), cp.Variable(integer=True)):
        with pytest.raises(bpqp.UnsupportedError):
            CvxpyLayer(cp.Problem(cp.Minimize(cp.abs(variable - p))), [p], [variable])
    layer, data = mixed_layer(), mixed_data()
    with pytest.raises(bpqp.ArgumentError, match=r"parameter 1 has shape \(5,\)"):
        layer(data[0], tensor(5), *data[2:])
    with pytest.raises(bpqp.ArgumentError, match="parameter 1 has a batch of 3, but parameter 0 has one of 2"):
        layer(data[0], tensor(3, 4), *data[2:])
    with pytest.raises(bpqp.DtypeError, match="parameter 1 is a list"):
        layer(data[0], [0.0] * 4, *data[2:])


def test_many_sparse_parameters_stay_sparse() -> None:
    n = 2000
    rng = np.random.default_rng(0)
    at = np.unique(rng.integers(0, [[200], [n]], size=(2, n)), axis=1)
    x, A, c = cp.Variable(n), cp.Parameter((200, n), sparsity=tuple(at)), cp.Parameter(n)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x) + c @ x + cp.norm1(x)), [A @ x <= 1])
    canonical = Canonical(problem, [A, c], [x, problem.constraints[0].dual_variables[0]])
    assert sum(m.nnz for m in canonical.maps.values()) == at.shape[1] + n
    assert all(matrix.nnz <= n for _, matrix, _ in canonical.outputs)


def test_bpqp_is_a_solver_of_cvxpy() -> None:
    problem, parameters, (x,), cons = mixed()
    for p, value in zip(parameters, mixed_data(), strict=True):
        p.value = value.detach().numpy()[0] if p.size != value.numel() else value.detach().numpy()
    problem.solve(solver=BPQP())
    ours = (problem.value, x.value, cons[0].dual_value)
    problem.solve(solver="CLARABEL")
    for a, b in zip(ours, (problem.value, x.value, cons[0].dual_value), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
