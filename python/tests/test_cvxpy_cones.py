"""bpqp.torch.CvxpyLayer over every cone: central differences, closed forms, settings, the size of the set-up."""

from __future__ import annotations

import tracemalloc
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import need

need("cvxpy", "torch")
import programs  # noqa: E402
import torch  # noqa: E402
from bpqp.torch import CvxpyLayer  # noqa: E402
from torch.func import jacfwd, jacrev  # noqa: E402


def build(program: Any, **options: Any) -> tuple[Any, list[torch.Tensor]]:
    """The layer and the tensors of a program."""
    if program.problem.is_dcp() and any(len(v.shape) == 2 for v in program.variables):
        need("clarabel")
    layer = CvxpyLayer(program.problem, program.parameters, program.variables, gp=program.gp, **options)
    return layer, [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in program.values]


@pytest.mark.parametrize("make", programs.SMOOTH, ids=lambda make: make.__name__)
def test_gradcheck_and_the_values_of_cvxpy(make: Any) -> None:
    program = make()
    layer, tensors = build(program)
    outputs = layer(*tensors)
    for p, v in zip(program.parameters, program.values, strict=True):
        p.value = v
    program.problem.solve(solver="CLARABEL", gp=program.gp)
    for ours, theirs in zip(outputs, program.variables, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), np.reshape(theirs.value, ours.shape), atol=2e-4)
    assert torch.autograd.gradcheck(layer, tensors, check_forward_ad=True, atol=2e-6)


TWICE = [make for make in programs.SMOOTH if make is not programs.correlation]


@pytest.mark.parametrize("make", TWICE, ids=lambda f: f.__name__)
def test_second_derivatives_against_central_differences(make: Any) -> None:
    layer, tensors = build(make())
    assert torch.autograd.gradgradcheck(layer, tensors, atol=2e-5, rtol=2e-4)


def test_second_derivatives_in_every_order_of_modes() -> None:
    # of softmax, which is what the maximum of entropy is
    layer, (c,) = build(programs.entropy())
    c, weight = c.detach(), torch.arange(4.0, dtype=torch.float64)
    expected = jacrev(jacrev(lambda c: weight @ torch.softmax(c, 0)))(c)
    for outer, inner in ((jacrev, jacrev), (jacfwd, jacrev), (jacrev, jacfwd), (jacfwd, jacfwd)):
        found = outer(inner(lambda c: weight @ layer(c)[0]))(c)
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


def test_second_derivatives_of_a_semidefinite_cone_are_refused_and_never_frozen() -> None:
    layer, (c,) = build(programs.correlation())
    (g,) = torch.autograd.grad((layer(c)[0] ** 2).sum(), c, create_graph=True)
    with pytest.raises(bpqp.UnsupportedError, match=r"second derivative.*psd"):
        g.sum().backward()
    with pytest.raises(bpqp.UnsupportedError, match="second derivative"):
        jacfwd(jacrev(lambda c: layer(c)[0].sum()))(c.detach())


def test_sparse_parameters() -> None:
    program = programs.sparse_rows()
    layer, tensors = build(program)
    assert torch.autograd.gradcheck(layer, tensors)
    rows, cols = program.parameters[0].sparse_idx
    A = np.zeros((3, 3))
    A[rows, cols] = program.values[0]
    x = layer(*tensors)[0].detach().numpy()
    assert np.any(np.abs(A @ x - program.values[1]) < 1e-9)
    assert np.all(A @ x <= program.values[1] + 1e-9)


def test_softmax_and_sparsemax() -> None:
    layer, (c,) = build(programs.entropy())
    x = layer(c)[0]
    torch.testing.assert_close(x, torch.softmax(c, 0), atol=1e-8, rtol=0)
    weight = torch.arange(4.0, dtype=torch.float64)
    own = torch.autograd.grad(weight @ x, c)[0]
    torch.testing.assert_close(own, torch.autograd.grad(weight @ torch.softmax(c, 0), c)[0], atol=1e-7, rtol=0)
    layer, (c,) = build(programs.simplex())
    x = layer(c)[0]
    np.testing.assert_allclose(x.detach().numpy(), programs.sparsemax(c.detach().numpy()), atol=1e-10)
    kept = (x > 1e-6).double()
    assert 1 < kept.sum() < 5
    weight = torch.arange(5.0, dtype=torch.float64)
    expected = kept * (weight - (weight * kept).sum() / kept.sum())
    torch.testing.assert_close(torch.autograd.grad(weight @ x, c)[0], expected, atol=1e-9, rtol=0)


def test_failures_of_elements() -> None:
    program = programs.ball()
    r = torch.tensor([1.2, 0.5, 1.3], dtype=torch.float64, requires_grad=True)  # the second has no solution
    layer, (c, _) = build(program)
    with pytest.raises(bpqp.SolveError, match="element 1: primal_infeasible") as caught:
        layer(c, r)
    assert caught.value.failures == [(1, "primal_infeasible")]
    layer, (c, _) = build(program, on_failure="nan")
    x = layer(c, r)[0]
    assert torch.isnan(x).all(1).tolist() == [False, True, False]
    dc, dr = torch.autograd.grad(x.sum(), (c, r))
    assert torch.isnan(dr).tolist() == [False, True, False]
    assert torch.isnan(dc).all()  # a sum over the batch
    layer, (c, _) = build(program, on_failure="zero_grad")
    dc, dr = torch.autograd.grad(layer(c, r)[0].nan_to_num().sum(), (c, r))
    assert dr[1] == 0
    assert dr[0] > 1
    good = r.detach()[[0, 2]].requires_grad_()
    ec, er = torch.autograd.grad(build(program)[0](c, good)[0].sum(), (c, good))
    torch.testing.assert_close(dc, ec, atol=1e-9, rtol=0)
    torch.testing.assert_close(dr[[0, 2]], er, atol=1e-9, rtol=0)


def test_solver_args_of_the_layer_and_of_a_call() -> None:
    layer, tensors = build(programs.log_sum_exp(), solver="SCS", solver_args={"eps": 1e-3, "max_iters": 10})
    want = build(programs.log_sum_exp())[0](*tensors)[0]
    torch.testing.assert_close(layer(*tensors)[0], want, atol=1e-9, rtol=0)
    with pytest.raises(bpqp.SolveError, match="iteration_limit"):
        layer(*tensors, solver_args={"max_iter": 1})
    with pytest.raises(bpqp.ArgumentError, match="no setting 'eps_relative'"):
        layer(*tensors, solver_args={"eps_relative": 1e-3})


def test_smoothing_gives_a_linear_program_a_slope() -> None:
    layer, (A, b, c) = build(programs.linear())
    assert torch.autograd.grad(layer(A, b, c)[0].sum(), c)[0].abs().max() < 1e-9
    x = layer(A, b, c, solver_args={"smoothing": 0.1})[0]
    assert torch.autograd.grad(x.sum(), c)[0].abs().max() > 1e-3


def test_the_setup_with_10000_sparse_parameters_is_small() -> None:
    program = programs.many(10_000)
    tracemalloc.start()
    layer, (A, c) = build(program)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300e6  # a dense matrix of parameters times variables would have 800 MB
    x = layer(A, c)[0]
    torch.testing.assert_close(x, torch.minimum(c, 1 / A), atol=1e-9, rtol=0)
    (g,) = torch.autograd.grad(x.sum(), A)
    # where 2 x <= 1 binds, x = 1 / A
    torch.testing.assert_close(g[c > 0.501], torch.full_like(g[c > 0.501], -0.25), atol=1e-8, rtol=0)
    torch.testing.assert_close(g[c < 0.499], torch.zeros_like(g[c < 0.499]), atol=1e-8, rtol=0)
