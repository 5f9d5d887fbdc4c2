"""The bridges to diffcp and cvxpylayers, without those packages where they are not needed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import need

need("scipy", "clarabel")
from bpqp.compat import diffcp  # noqa: E402
from bpqp.compat.diffcp import cones as cone_lib  # noqa: E402
from scipy import sparse  # noqa: E402

CONES: dict[str, Any] = {"z": 1, "l": 3, "q": [3], "s": [3], "ep": 1, "ed": 1, "p": [0.4]}


def data(seed: int = 0) -> tuple[Any, Any, Any]:
    """A feasible, bounded problem over all of SCS's cones in its order; some entries of A are zeros that count."""
    rng = np.random.default_rng(seed)
    inside = [
        0,
        1,
        1,
        0.1,
        1,
        0.2,
        0.3,
        *cone_lib.vec_symm(np.diag([1.0, 1.5, 0.5]) + 0.1),
        -1,
        1,
        1,
        -1,
        0.5,
        2,
        1,
        1,
        0.3,
    ]
    m, n = len(inside), 5
    A = rng.normal(size=(m, n))
    A[rng.random(A.shape) < 0.3] = 0
    dual = np.abs(rng.normal(size=m))
    # a multiplier inside of the dual cones makes it bounded
    y = np.concatenate(
        [rng.normal(size=1), dual[1:4], [2, 0.3, 0.4], cone_lib.vec_symm(np.eye(3)), [-1, 0.5, 2, -1, 1, 1, 1, 1, 0.2]]
    )
    A[0, 0] = 1.0
    pattern = sparse.csc_matrix(A)
    pattern.data[0] = 0.0
    return pattern, np.array(inside), -(pattern.T @ y)


def test_derivative_and_adjoint_against_differences() -> None:
    A, b, c = data()
    x, y, s, D, DT = diffcp.solve_and_derivative(A, b, c, CONES, mode="dense", eps=1e-3)
    cones = cone_lib.parse_cone_dict(CONES)
    np.testing.assert_allclose(A @ x + s, b, atol=1e-8)
    np.testing.assert_allclose(A.T @ y + c, 0, atol=1e-8)
    np.testing.assert_allclose(cone_lib.pi(s, cones), s, atol=1e-7)
    np.testing.assert_allclose(cone_lib.pi(y, cones, dual=True), y, atol=1e-7)
    rng = np.random.default_rng(1)
    dA = A.copy()
    dA.data = rng.normal(size=A.nnz)
    db, dc = rng.normal(size=b.shape), rng.normal(size=c.shape)
    dx, dy, ds = D(dA, db, dc)
    step = 1e-5
    sides = [diffcp.solve_only(A + k * step * dA, b + k * step * db, c + k * step * dc, CONES) for k in (1, -1)]
    for plus, minus, analytic in zip(*sides, (dx, dy, ds), strict=True):
        np.testing.assert_allclose((plus - minus) / (2 * step), analytic, atol=1e-5)
    weights = [rng.normal(size=v.shape) for v in (dx, dy, ds)]
    gA, gb, gc = DT(*weights)
    assert gA.nnz == A.nnz  # explicit zeros included
    left = sum(w @ v for w, v in zip(weights, (dx, dy, ds), strict=True))
    assert gA.multiply(dA).sum() + gb @ db + gc @ dc == pytest.approx(left, rel=1e-8)


def test_a_batch_is_a_loop() -> None:
    problems = [data(k) for k in (0, 0, 1)]
    As, bs, cs = ([p[k] for p in problems] for k in range(3))
    bs[1] = bs[1] * 1.1
    xs, ys, ss, _, DT = diffcp.solve_and_derivative_batch(As, bs, cs, [CONES] * 3, n_jobs_forward=1)
    grads = DT(xs, ys, ss)
    for k in range(3):
        x, y, s, _, own = diffcp.solve_and_derivative(As[k], bs[k], cs[k], CONES)
        np.testing.assert_allclose(xs[k], x, atol=1e-7)
        for many, alone in zip(grads, own(x, y, s), strict=True):
            difference = many[k] - alone
            dense = difference.toarray() if sparse.issparse(difference) else difference
            np.testing.assert_allclose(dense, 0, atol=1e-5)
    only = diffcp.solve_only_batch(As, bs, cs, [CONES] * 3)
    np.testing.assert_allclose(only[0][2], xs[2], atol=1e-7)


def test_what_has_no_solution() -> None:
    A, b, c = sparse.csc_matrix(np.ones((2, 1))), np.array([1.0, -1.0]), np.ones(1)
    with pytest.raises(diffcp.SolverError, match="Solver scs returned status Infeasible"):
        diffcp.solve_and_derivative(A, b, c, {"z": 2})
    result = diffcp.solve_and_derivative_internal(A, b, c, {"z": 2}, raise_on_error=False)
    assert result["D"] is None and result["info"]["status"] == "Infeasible"
    with pytest.raises(bpqp.SolveError, match="NaN in A"):
        diffcp.solve_only(A * np.nan, b, c, {"z": 2})
    with pytest.raises(ValueError, match="Unsupported mode"):
        diffcp.solve_and_derivative(A, b, c, {"z": 2}, mode="magic")


def test_installed_it_is_found_as_diffcp() -> None:
    need("cvxpy", "scs")
    code = """
from bpqp.compat import diffcp
diffcp.install()
import cvxpy as cp
import diffcp as theirs
assert theirs is diffcp
from diffcp.cone_program import solve_and_derivative
b, x = cp.Parameter(value=3.0), cp.Variable()
problem = cp.Problem(cp.Minimize(cp.square(x - 2 * b)), [x >= 0])
problem.solve(requires_grad=True)
problem.backward()
assert abs(b.gradient - 2.0) < 1e-8, b.gradient
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


@pytest.mark.filterwarnings("ignore")
def test_the_interface_of_cvxpylayers_agrees_with_our_layer() -> None:
    need("cvxpy", "cvxpylayers", "torch", "scs")
    import cvxpy as cp
    import torch
    from bpqp.compat.cvxpylayers import Bpqp
    from bpqp.torch import CvxpyLayer
    from cvxpylayers.torch import CvxpyLayer as Theirs

    rng = np.random.default_rng(0)
    x, X = cp.Variable(3), cp.Variable((2, 2), symmetric=True)
    A, b, weight = cp.Parameter((4, 3)), cp.Parameter(4), cp.Parameter(nonneg=True)
    cons = [x >= -0.2, cp.norm(x) <= 0.7, X >> 0.1 * np.eye(2), X[0, 0] == 1 + x[1]]
    fit = cp.sum_squares(A @ x - b) + weight * cp.norm1(x) + cp.sum_squares(X + x[0])
    problem = cp.Problem(cp.Minimize(fit), cons)
    variables = [x, X, cons[0].dual_variables[0], cons[2].dual_variables[0]]
    tensors = [torch.from_numpy(rng.normal(size=s)).requires_grad_() for s in ((2, 4, 3), (4,))]
    tensors.append(torch.tensor([0.1, 0.3], dtype=torch.float64, requires_grad=True))
    found = []
    for layer in (
        Theirs(problem, [A, b, weight], variables, solver=Bpqp()),
        CvxpyLayer(problem, [A, b, weight], variables),
    ):
        out = layer(*tensors)
        loss = sum((torch.arange(1.0, v.numel() + 1).reshape(v.shape) * v).sum() for v in (out[0], out[2]))
        found.append((*out, *torch.autograd.grad(loss + (out[1] ** 2).sum() + (out[3] ** 2).sum(), tensors)))
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-8, rtol=1e-6)
