"""Operators in PyTorch: the numbers and gradients of the same programs with matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import bpqp
import bpqp.torch as bt
import torch
from test_large import planted

# torch says that it is young
pytestmark = pytest.mark.filterwarnings("ignore:Sparse")

SHAPES = {"P": (40, 40), "G": (20, 40), "A": (5, 40)}


def tensors(**more: Any) -> dict[str, torch.Tensor]:
    names = ("P", "q", "G", "h", "A", "b", "lb", "ub")
    return {k: torch.tensor(v, **more).requires_grad_() for k, v in zip(names, planted(), strict=True)}


def operators(data: dict[str, torch.Tensor]) -> dict[str, Any]:
    """P, G and A as operators whose params are their entries."""

    def of(name: str) -> bt.Operator:
        return bt.Operator(SHAPES[name], lambda x, M: M @ x, lambda y, M: M.T @ y, params=[data[name]])

    return {k: of(k) if k in SHAPES else v for k, v in data.items()}


def test_values_and_gradients_are_those_of_the_matrices() -> None:
    own, data = tensors(), tensors()
    dense = bt.solve_qp(**own, full=True)
    sol = bt.solve_qp(**operators(data), full=True)
    assert sol.ok and sol.status == "solved" and sol.verdict == "approximate"
    generator = torch.Generator().manual_seed(0)
    losses = [torch.zeros(()), torch.zeros(())]
    for name in ("x", "y", "z", "z_box", "objective"):
        theirs, ours = getattr(dense, name), getattr(sol, name)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
        weights = torch.randn(theirs.shape, generator=generator, dtype=torch.float64)
        losses = [loss + (weights * v).sum() for loss, v in zip(losses, (theirs, ours), strict=True)]
    for loss in losses:
        loss.backward()
    for name, value in own.items():
        torch.testing.assert_close(data[name].grad, value.grad, atol=1e-5, rtol=1e-5)


def test_what_an_operator_depends_on_is_learned() -> None:
    # the width of a blur, from an image and what was seen of it
    n, r = 200, torch.Generator().manual_seed(1)
    place = torch.arange(n, dtype=torch.float64)
    away = torch.minimum(place, n - place) ** 2
    truth = (torch.rand(n, generator=r, dtype=torch.float64) < 0.1).double()

    def wave(width: torch.Tensor) -> torch.Tensor:
        kernel = torch.exp(-away / (2 * width**2))
        return torch.fft.rfft(kernel / kernel.sum())

    def filtered(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(torch.fft.rfft(x) * factor, n)

    seen = filtered(truth, wave(torch.tensor(2.0)))

    def error(width: torch.Tensor) -> torch.Tensor:
        P = bt.Operator((n, n), lambda x, w: filtered(x, wave(w) ** 2) + 0.05 * x, params=[width])
        x = bt.solve_qp(P, -filtered(seen, wave(width)), lb=0.0, eps_abs=1e-10, eps_rel=1e-10)
        return ((filtered(x, wave(width)) - seen) ** 2).sum()

    width = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)
    error(width).backward()
    h = 1e-5
    with torch.no_grad():
        slope = (error(width + h) - error(width - h)) / (2 * h)
    torch.testing.assert_close(width.grad, slope, atol=1e-7, rtol=1e-4)
    assert abs(slope) > 1e-3


def test_mixed_forms_have_gradients_of_their_own() -> None:
    own, data = tensors(), tensors()
    sparse = torch.where(own["G"].detach().abs() > 0.5, own["G"].detach(), 0.0)
    G = sparse.to_sparse_csr().requires_grad_()
    g = sparse.clone().requires_grad_()
    d, F = torch.full((40,), 0.5, dtype=torch.float64), own["P"].detach()[:, :3].clone()
    parts = [v.clone().requires_grad_() for v in (d, F, d, F)]
    bound = [torch.tensor(-3.0, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    rest = {"q": own["q"].detach(), "h": own["h"].detach(), "b": own["b"].detach(), "ub": 3.0}
    dense = bt.solve_qp(bt.Factored(*parts[:2]), G=g, A=own["A"], lb=bound[0], **rest)
    x = bt.solve_qp(bt.Factored(*parts[2:]), G=G, A=operators(data)["A"], lb=bound[1], **rest)
    torch.testing.assert_close(x, dense, atol=1e-6, rtol=1e-6)
    for v in (x, dense):
        (v * torch.linspace(-1, 1, 40, dtype=torch.float64)).sum().backward()
    for ours, theirs in zip((*parts[2:], data["A"], bound[1]), (*parts[:2], own["A"], bound[0]), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-5)
    there = sparse != 0
    torch.testing.assert_close(G.grad.to_dense()[there], g.grad[there], atol=1e-5, rtol=1e-5)


def test_functions_of_numpy_and_scipy_are_constants() -> None:
    linalg = pytest.importorskip("scipy.sparse.linalg")
    data = tensors()
    P, A = (data[k].detach().numpy() for k in "PA")
    dense = bt.solve_qp(**data)
    given = {"P": bpqp.Operator(P.shape, lambda x: P @ x), "A": linalg.aslinearoperator(A)}
    x = bt.solve_qp(**{**data, **given})
    torch.testing.assert_close(x, dense, atol=1e-6, rtol=1e-6)
    x.sum().backward()
    assert data["P"].grad is None and data["G"].grad.abs().max() > 0


def test_single_precision_stays_single() -> None:
    data = tensors(dtype=torch.float32)
    x = bt.solve_qp(**operators(data))
    assert x.dtype == torch.float32
    x.sum().backward()
    assert data["P"].grad.dtype == data["q"].grad.dtype == torch.float32


def test_failures_follow_the_policy() -> None:
    one = torch.ones(1, dtype=torch.float64)
    A = bt.Operator((1, 3), lambda x: x.sum()[None], lambda y: y.expand(3))
    for policy, number in (("nan", float("nan")), ("zero_grad", 0.0)):
        q = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        sol = bt.solve_qp(torch.eye(3), q, A=A, b=9 * one, lb=0.0, ub=1.0, on_failure=policy, full=True)
        assert not sol.ok and sol.status == "primal_infeasible"
        sol.x.sum().backward()
        torch.testing.assert_close(q.grad, torch.full((3,), number, dtype=torch.float64), equal_nan=True)
    with pytest.raises(bpqp.SolveError, match="primal_infeasible"):
        bt.solve_qp(torch.eye(3), torch.zeros(3).double(), A=A, b=9 * one, lb=0.0, ub=1.0)
    # it does not spoil a masked loss
    q = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    x = bt.solve_qp(torch.eye(3), q, A=A, b=9 * one, lb=0.0, ub=1.0, on_failure="nan")
    torch.where(torch.tensor(False), x, 0.0).sum().backward()
    assert torch.all(q.grad == 0)


def test_what_cannot_be_is_refused() -> None:
    q, P = np.ones(3), bt.Operator((3, 3), lambda x: x)
    t = torch.ones(3, dtype=torch.float64, requires_grad=True)
    for call, error, word in (
        (lambda: bt.solve_qp(P, torch.ones(2, 3)), bpqp.UnsupportedError, "batch"),
        (lambda: bt.solve_qp(P, t, warm_start={}), bpqp.UnsupportedError, "warm_start"),
        (lambda: bt.solve_qp(P, q), bpqp.DtypeError, "q is a ndarray"),
        (lambda: bt.solve_qp(P, t, lb="low"), bpqp.DtypeError, "lb is a str"),
        (lambda: torch.func.jacrev(lambda q: bt.solve_qp(P, q))(t), bpqp.UnsupportedError, "torch.func"),
        (lambda: bt.QpLayer(P=P), bpqp.UnsupportedError, "products only"),
        (lambda: bt.Operator((3, 3), lambda x: x, params=[1.0]), bpqp.DtypeError, r"params\[0\] is a float"),
        (lambda: bt.solve_qp(bt.Operator((3, 3), lambda x: x.numpy()), t), bpqp.DtypeError, "return a tensor"),
        (lambda: bt.solve_qp(bt.Operator((3, 3), lambda x: x[:2]), t), bpqp.ArgumentError, r"P\.matvec"),
        (lambda: bt.solve_qp(torch.eye(3), t, A=P, b=t), bpqp.ArgumentError, "A is an Operator without rmatvec"),
    ):
        with pytest.raises(error, match=word):
            call()
    (slope,) = torch.autograd.grad((bt.solve_qp(P, t) * t).sum(), t, create_graph=True)
    with pytest.raises(bpqp.UnsupportedError, match="second derivatives of a program with operators"):
        slope.sum().backward()
    # outside of the graph of torch.compile
    t = t.detach()
    torch.testing.assert_close(torch.compile(lambda q: 2 * bt.solve_qp(P, q), backend="eager")(t), -2 * t)
