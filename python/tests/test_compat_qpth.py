"""The facade of qpth: its shapes, signs and averages."""

from __future__ import annotations

import importlib.util
from itertools import product
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import difference, need, problem

need("torch")
import torch  # noqa: E402
from bpqp.compat import qpth  # noqa: E402
from bpqp.compat.qpth import QPFunction, QPSolvers  # noqa: E402

NAMES = ("Q", "p", "G", "h", "A", "b")
OURS = dict(zip(NAMES, ("P", "q", "G", "h", "A", "b"), strict=True))
BATCHES: list[Any] = [None, NAMES, ("p",), ("Q", "h"), ("G", "b"), ("A",)]
SIZE = 3


def data(batch: Any, absent: str = "", dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """Arguments of qpth; `absent` are empty tensors."""
    raw = problem(None if batch is None else SIZE, tuple(OURS[k] for k in batch or NAMES), seed=3)
    if batch == NAMES:
        raw = problem(40, seed=3)
        raw = {k: v[:SIZE] for k, v in raw.items()}
    out = {k: torch.tensor(raw[OURS[k]], dtype=dtype) for k in NAMES}
    for k in absent:
        out[k] = torch.Tensor()
    return out


def gradients(layer: Any, values: dict[str, Any], weights: Any) -> tuple[Any, dict[str, Any]]:
    leaves = {k: v.clone().requires_grad_() for k, v in values.items()}
    z = layer(*leaves.values())
    (z * weights).sum().backward()
    return z, {k: v.grad for k, v in leaves.items()}


@pytest.mark.parametrize(("batch", "absent"), list(product(BATCHES, ["", "Ab", "Gh", "GhAb"])))
def test_gradients_are_central_differences_averaged_over_the_batch(batch: Any, absent: str) -> None:
    values = data(batch, absent)
    size = SIZE if any(k not in absent for k in batch or ()) else 1
    weights = torch.linspace(-1, 2, size * 6, dtype=torch.float64).reshape(size, 6)
    z, found = gradients(QPFunction(), values, weights)
    assert z.shape == (size, 6)
    blocks = {OURS[k]: v.numpy() for k, v in values.items() if k not in absent}

    def loss(at: dict[str, Any]) -> float:
        return float(np.sum(weights.numpy() * np.atleast_2d(bpqp.solve_qp(**at).x)))

    for k in NAMES:
        if k in absent:
            assert found[k] is None
            continue
        shared = k not in (batch or ()) and size > 1
        want = difference(loss, blocks, OURS[k]) / (size if shared else 1)
        np.testing.assert_allclose(found[k].numpy(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("qpth") is None, reason="qpth is not installed")
@pytest.mark.parametrize(("batch", "absent"), list(product(BATCHES, ["", "Ab"])))
def test_qpth_itself_agrees(batch: Any, absent: str) -> None:
    theirs = pytest.importorskip("qpth.qp", exc_type=ImportError)
    values = data(batch, absent)
    size = SIZE if any(k not in absent for k in batch or ()) else 1
    weights = torch.linspace(-1, 2, size * 6, dtype=torch.float64).reshape(size, 6)
    z, found = gradients(QPFunction(), values, weights)
    want_z, want = gradients(theirs.QPFunction(verbose=-1), values, weights)
    assert z.shape == want_z.shape
    np.testing.assert_allclose(z.detach(), want_z.detach(), atol=1e-7)
    for k in NAMES:
        if k not in absent:
            # qpth's gradient is that of an interior point: rows that are all but active still count a little
            np.testing.assert_allclose(found[k], want[k], rtol=1e-4, atol=2e-5)


def test_a_constraint_is_active() -> None:
    values = data(("p",))
    z = QPFunction()(*values.values())
    slack = values["h"] - z @ values["G"].mT
    assert (slack.abs() < 1e-9).any()


def test_float32_and_second_derivatives() -> None:
    values = data(("p",), dtype=torch.float32)
    z, found = gradients(QPFunction(), values, 1.0)
    wide, want = gradients(QPFunction(), {k: v.double() for k, v in values.items()}, 1.0)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.double(), wide, rtol=1e-5, atol=1e-5)
    for k in NAMES:
        assert found[k].dtype == torch.float32
        torch.testing.assert_close(found[k].double(), want[k], rtol=1e-4, atol=1e-4)
    values = data(NAMES)
    Q, rest = values.pop("Q"), [v.requires_grad_() for v in values.values()]
    assert torch.autograd.gradgradcheck(lambda *r: QPFunction()(Q, *r), rest)


def test_the_signature_is_that_of_qpth() -> None:
    assert [s.name for s in QPSolvers] == ["PDIPM_BATCHED", "CVXPY"]
    assert qpth.qp.QPFunction is QPFunction
    layer = QPFunction(eps=1e-6, verbose=-1, notImprovedLim=5, maxIter=50, solver=QPSolvers.CVXPY, check_Q_spd=False)
    values = data(NAMES)
    torch.testing.assert_close(layer(*values.values()), QPFunction()(*values.values()))
    with pytest.raises(bpqp.ArgumentError, match="solver"):
        QPFunction(solver="PDIPM_BATCHED")


def test_what_has_no_solution_is_an_error() -> None:
    values = data(None)
    with pytest.raises(RuntimeError, match="Q is not SPD"):
        QPFunction()(torch.diag(torch.tensor([1.0, 1, 1, 1, 1, 0], dtype=torch.float64)), *list(values.values())[1:])
    one = torch.ones(1, 2, dtype=torch.float64)
    with pytest.raises(bpqp.SolveError, match="primal_infeasible"):
        rows, sides = torch.cat([one, -one]), torch.tensor([-1.0, -1.0], dtype=torch.float64)
        QPFunction()(torch.eye(2, dtype=torch.float64), one[0], rows, sides, torch.Tensor(), torch.Tensor())
    with pytest.raises(bpqp.ArgumentError, match="p is empty"):
        QPFunction()(torch.eye(2), torch.Tensor())
