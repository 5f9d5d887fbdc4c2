"""CvxpyLayer of torch: full output, failures, warm starts by index, the verdict of gradients."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import bpqp
import numpy as np
import programs
import pytest
from conftest import need

need("cvxpy", "torch")
import bpqp.torch as bt  # noqa: E402
import cvxpy as cp  # noqa: E402
import torch  # noqa: E402


def build(program: Any, **options: Any) -> tuple[Any, list[torch.Tensor]]:
    layer = bt.CvxpyLayer(program.problem, program.parameters, program.variables, gp=program.gp, **options)
    return layer, [torch.tensor(v, dtype=torch.float64) for v in program.values]


def test_full_output() -> None:
    layer, (c, r) = build(programs.ball(), on_failure="nan")
    r = 0.6 * r  # the ball binds, as does the half-space
    out = layer(c, torch.stack([r, 0.25 * r]), full=True)
    assert isinstance(out, bt.CvxpySolution)
    assert out.ok.tolist() == [True, False]
    assert list(out.status) == ["solved", "primal_infeasible"]
    assert list(out.verdict) == ["exact", "untrusted"]
    torch.testing.assert_close(out.variables[0][0], layer(c, r)[0], atol=1e-12, rtol=0)
    assert torch.isnan(out.variables[0][1]).all()
    one = layer(c, r.requires_grad_(), full=True)
    assert (one.status, bool(one.ok), one.verdict) == ("solved", True, "exact")
    one.variables[0].sum().backward()
    assert r.grad is not None
    seen = []

    def mapped(r: torch.Tensor) -> torch.Tensor:
        out = layer(c, r, full=True)
        seen.append(out)
        return out.ok

    assert torch.func.vmap(mapped)(torch.stack([r.detach(), 0.25 * r.detach()])).tolist() == [True, False]
    assert (seen[0].status, seen[0].verdict) == (None, None)


@pytest.mark.parametrize("policy", ["raise", "nan", "zero_grad"])
def test_on_failure(policy: str) -> None:
    layer, (c, r) = build(programs.ball(), on_failure=policy)
    radius = torch.stack([r, 0.25 * r]).requires_grad_()
    if policy == "raise":
        with pytest.raises(bpqp.SolveError, match="element 1: primal_infeasible"):
            layer(c, radius)
        return
    layer(c, radius)[0].sum().backward()
    alone = r.clone().requires_grad_()
    layer(c, alone)[0].sum().backward()
    assert radius.grad[0] == pytest.approx(alone.grad)
    assert torch.isnan(radius.grad[1]) if policy == "nan" else radius.grad[1] == 0


CURVED = [
    programs.quadratic,
    programs.linear,
    programs.second_order,
    programs.entropy,
    programs.logistic,
    programs.power,
]


@pytest.mark.parametrize("make", CURVED, ids=lambda f: f.__name__)
def test_index_starts_from_the_last_solution_of_a_sample(make: Any) -> None:
    layer, tensors = build(make())
    batch = [torch.stack([t, 1.001 * t]) for t in tensors]
    first = layer(*batch, index=[7, 9], full=True)
    again = layer(*batch, index=torch.tensor([9, 7]), full=True)  # each starts where the other ended
    swapped = layer(*[t.flip(0) for t in batch], index=[9, 7], full=True)
    for a, b, c in zip(first.variables, again.variables, swapped.variables, strict=True):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=0)
        torch.testing.assert_close(a, c.flip(0), atol=1e-9, rtol=0)
    cold, warm = first._solved.iterations(), swapped._solved.iterations()
    assert all(w < c for w, c in zip(warm, reversed(cold), strict=True)), (cold, warm)
    layer.forget()
    fresh = layer(*batch, index=[7, 9], full=True)._solved.iterations()
    assert all(w < f for w, f in zip(warm, reversed(fresh), strict=True)), (warm, fresh)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.testing.assert_close(other(*batch, index=[7, 9])[0], first.variables[0], atol=1e-8, rtol=0)


def test_misuse_of_index_is_refused() -> None:
    layer, tensors = build(programs.linear())
    with pytest.raises(bpqp.ArgumentError, match="index has 2 entries for a batch of 1"):
        layer(*tensors, index=[1, 2])
    with pytest.raises(bpqp.ArgumentError, match="index has dtype float64"):
        layer(*tensors, index=[1.5])


def test_gradients_in_doubt_are_told() -> None:
    # without the polish the iterate is an approximation that was asked for: nothing is said
    program = programs.second_order()
    layer, tensors = build(program, solver_args={"polish": False})
    layer(*[t.requires_grad_() for t in tensors])[0].sum().backward()
    with pytest.raises(bpqp.ArgumentError, match="on_untrusted = 'loud'"):
        build(program, solver_args={"on_untrusted": "loud"})


def test_the_layer_is_the_quadratic_program_that_it_compiles() -> None:
    rng = np.random.default_rng(0)
    n = 5
    root, lb = rng.normal(size=(n, n)), 0.05
    P, q = root @ root.T + np.eye(n), rng.normal(size=n)
    x, m = cp.Variable(n), cp.Parameter(n)
    problem = cp.Problem(cp.Minimize(0.5 * cp.quad_form(x, P) + m @ x), [cp.sum(x) == 1, x >= lb])
    layer = bt.CvxpyLayer(problem, [m], [x])
    a, b = (torch.tensor(q).requires_grad_() for _ in range(2))
    ours = layer(a, full=True)
    theirs = bt.solve_qp(torch.tensor(P), b, A=torch.ones(1, n, dtype=torch.float64), b=1.0, lb=lb, full=True)
    assert (ours.status, ours.verdict) == (theirs.status, theirs.verdict)
    assert (theirs.z_box.abs() > 1e-3).any()
    torch.testing.assert_close(ours.variables[0], theirs.x, atol=1e-12, rtol=0)
    weight = torch.arange(float(n), dtype=torch.float64)
    (weight @ ours.variables[0]).backward()
    (weight @ theirs.x).backward()
    torch.testing.assert_close(a.grad, b.grad, atol=1e-12, rtol=0)
