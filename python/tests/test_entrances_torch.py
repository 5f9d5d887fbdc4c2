"""What `test_entrances.py` says of NumPy, for PyTorch and CvxpyLayer; autocast, attributes of parameters."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import need, problem

need("torch", "scipy")
import torch  # noqa: E402
from bpqp import torch as bt  # noqa: E402
from scipy import sparse  # noqa: E402

F64 = torch.float64


def tensors(batch: int, **changed: Any) -> dict[str, torch.Tensor]:
    return {k: torch.tensor(v) for k, v in {**problem(batch), **changed}.items()}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("policy", ["nan", "zero_grad"])
def test_a_bad_element_fails_alone(policy: str, mapped: bool) -> None:
    data = tensors(4)
    data["q"][1, 0], data["lb"][3, 0] = torch.nan, 9.0
    q = data["q"].requires_grad_()
    if mapped:
        x = torch.func.vmap(lambda d: bt.solve_qp(**d, on_failure=policy))(data)
    else:
        s = bt.solve_qp(**data, full=True, on_failure=policy)
        assert list(s.status) == ["solved", "invalid_data", "solved", "invalid_data"]
        assert s.ok.tolist() == [True, False, True, False]
        x = s.x
    assert torch.isnan(x).all(1).tolist() == [False, True, False, True]
    x[[0, 2]].sum().backward()
    assert torch.isfinite(q.grad).all()
    assert (q.grad[[1, 3]] == 0).all()
    assert q.grad[0].abs().max() > 0
    with pytest.raises(bpqp.SolveError, match=r"2 of 4 .*element 1: invalid_data \(q\[0\] is NaN.*element 3: invalid"):
        bt.solve_qp(**data)
    with pytest.raises(bpqp.ArgumentError, match=r"q\[0\] is NaN"):
        bt.solve_qp(**{k: v[1] for k, v in data.items()}, on_failure=policy)


def net(seed: int = 0) -> torch.nn.Linear:
    torch.manual_seed(seed)
    return torch.nn.Linear(5, 3, dtype=F64)


@pytest.mark.parametrize("bad", ["infeasible", "invalid"])
@pytest.mark.parametrize("recipe", ["index", "where", "layer"])
def test_a_masked_loss_gives_finite_gradients_of_the_network(recipe: str, bad: str) -> None:
    features = torch.randn(6, 5, dtype=F64, generator=torch.Generator().manual_seed(1))
    ub = torch.ones(6, 3, dtype=F64)
    ub[2] = -1.0 if bad == "invalid" else 0.2  # at 0.2 no point sums to one
    fixed = dict(A=torch.ones(1, 3, dtype=F64), b=torch.ones(1, dtype=F64), lb=torch.zeros(3, dtype=F64))
    P = torch.eye(3, dtype=F64, requires_grad=True)

    def loss(model: Any, rows: Any) -> Any:
        if recipe == "layer":
            layer = bt.QpLayer(**fixed, on_failure="nan")
            s = layer(P=P, q=model(features[rows]), ub=ub[rows], full=True)
        else:
            s = bt.solve_qp(P, model(features[rows]), **fixed, ub=ub[rows], on_failure="nan", full=True)
        if recipe == "where":
            return torch.where(s.ok[:, None], s.x, 0.0).square().sum()
        return s.x[s.ok].square().sum()

    gradients = []
    for rows in (torch.arange(6), torch.tensor([0, 1, 3, 4, 5])):
        model = net()
        P.grad = None
        loss(model, rows).backward()
        gradients.append([model.weight.grad, model.bias.grad, P.grad])
    for whole, good in zip(*gradients, strict=True):
        assert torch.isfinite(whole).all()
        assert torch.allclose(whole, good, atol=1e-12)
        assert whole.abs().max() > 1e-6
    # a loss that looks at the failed element is told so
    model = net()
    bt.solve_qp(P, model(features), **fixed, ub=ub, on_failure="nan").sum().backward()
    assert torch.isnan(model.weight.grad).any()


def test_second_derivatives_of_a_masked_loss_are_finite() -> None:
    q = torch.randn(3, 3, dtype=F64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    ub = torch.ones(3, 3, dtype=F64)
    ub[1] = -2.0
    s = bt.solve_qp(torch.eye(3, dtype=F64), q, lb=-torch.ones(3, dtype=F64), ub=ub, on_failure="nan", full=True)
    (g,) = torch.autograd.grad(s.x[s.ok].pow(3).sum(), q, create_graph=True)
    (h,) = torch.autograd.grad(g.square().sum(), q)
    assert torch.isfinite(g).all()
    assert torch.isfinite(h).all()


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_autocast_casts_up(low: torch.dtype) -> None:
    torch.manual_seed(0)
    f32: Any = {"dtype": torch.float32}
    model, features = torch.nn.Linear(5, 3, **f32), torch.randn(4, 5, **f32)
    layer = bt.QpLayer(P=torch.eye(3, **f32), lb=torch.zeros(3, **f32))
    with torch.autocast("cpu", dtype=low):
        q = model(features)
        assert q.dtype == low
        for x in (bt.solve_qp(torch.eye(3, **f32), q, lb=q.detach() * 0), layer(q=q)):
            assert x.dtype == torch.float32
            assert torch.allclose(x, torch.clamp(-q.float(), min=0.0), atol=1e-6)
        x.square().sum().backward()
    assert torch.isfinite(model.weight.grad).all()
    assert model.weight.grad.abs().max() > 0
    with pytest.raises(bpqp.DtypeError, match="q has dtype"):
        bt.solve_qp(torch.eye(3, **f32), q.detach())


def test_numbers_and_rows_stand_for_vectors_and_matrices() -> None:
    q = torch.tensor([-1.0, -2.0, 0.5], dtype=F64)
    low = torch.tensor(-0.3, dtype=F64, requires_grad=True)
    row = torch.ones(3, dtype=F64, requires_grad=True)
    x = bt.solve_qp(torch.eye(3, dtype=F64), q, A=row, b=1, G=[1.0, 2.0, 0.0], h=0.9, lb=low, ub=2)
    wide = bpqp.solve_qp(
        np.eye(3), q.numpy(), np.array([[1.0, 2.0, 0.0]]), [0.9], np.ones((1, 3)), [1.0], np.full(3, -0.3), [2.0] * 3
    )
    assert np.allclose(x.detach(), wide.x)
    dx = np.array([1.0, -2.0, 0.3])
    (x * torch.tensor(dx)).sum().backward()
    g = wide.vjp(x=dx)
    assert np.allclose(low.grad, g.lb.sum())
    assert np.allclose(row.grad, g.A[0])
    batch = bt.solve_qp(torch.eye(3, dtype=F64), torch.stack([q, 2 * q]), A=row, b=1.0, lb=0.0)
    assert batch.shape == (2, 3)
    assert bt.QpLayer(P=torch.eye(3, dtype=F64), lb=0.0)(q=q).min() >= 0


def test_errors_are_those_of_the_package() -> None:
    q, eye, none = torch.ones(2, dtype=F64), torch.eye(2, dtype=F64), torch.ones(0, 2, dtype=F64)
    calls: list[tuple[Any, str]] = [
        (lambda: bt.solve_qp(eye, q, solver=None), "solver = None"),
        (lambda: bt.QpLayer(P=eye, solver=None), "solver = None"),
        (
            lambda: bt.QpLayer(lb=sparse.eye(2, format="csc"))(P=eye, q=q),
            "lb is a sparse tensor: only P, G and A may be",
        ),
        (lambda: bt.QpLayer(P=eye, lb=object()), "lb is a object"),
        (lambda: bt.solve_qp(eye, q, lb=sparse.eye(2, format="csc")), "lb is a csc_matrix"),
        (lambda: bt.solve_qp(eye, q, eye, q.to_sparse()), "h is a sparse tensor"),
        (lambda: bt.solve_qp(eye, q, threads=10**9), "threads = 1000000000"),
        (lambda: torch.func.vmap(lambda v: bt.solve_qp(eye, v))(none), "0 elements"),
        (lambda: torch.func.vmap(torch.func.grad(lambda v: bt.solve_qp(eye, v).sum()))(none), "0 elements"),
        (lambda: bt.solve_qp(eye, none), "q has a batch of 0"),
    ]
    for call, message in calls:
        with pytest.raises(bpqp.Error, match=message):
            call()
    if "qpsolvers:osqp" in bpqp.solvers():
        with pytest.raises(bpqp.ArgumentError, match="did you mean 'qpsolvers:osqp'"):
            bt.solve_qp(eye, q, solver="osqp")


# --- CvxpyLayer


def cvxpy_layer(shape: Any, **attributes: Any) -> Any:
    """The projection of what a parameter is, entry by entry."""
    cp = pytest.importorskip("cvxpy")
    p, x = cp.Parameter(shape, name="p", **attributes), cp.Variable(shape)
    return bt.CvxpyLayer(cp.Problem(cp.Minimize(cp.sum_squares(x - p))), [p], [x])


def t(*values: Any) -> torch.Tensor:
    return torch.tensor(values[0] if len(values) == 1 else values, dtype=F64)


ATTRIBUTES: list[tuple[dict[str, Any], Any, Any, str]] = [
    ({"symmetric": True}, [[1.0, 2.0], [2.0, 1.0]], [[1.0, 2.0], [0.0, 1.0]],
     r"declared symmetric, but its entry \[0, 1\] is 2 and"),
    ({"PSD": True}, [[1.0, 1.0], [1.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]], "declared PSD, but it has the eigenvalue -1"),
    ({"PSD": True}, [[1.0, 0.0], [0.0, 0.0]], [[2.0, 1.0], [0.0, 2.0]], r"declared PSD, but its entry \[0, 1\] is 1"),
    ({"NSD": True}, [[-1.0, 0.0], [0.0, 0.0]], [[-1.0, 0.0], [0.0, 1.0]], "declared NSD, but it has the eigenvalue 1"),
    ({"diag": True}, [[1.0, 0.0], [0.0, -3.0]], [[1.0, 0.0], [0.5, 3.0]], r"declared diag, but its entry \[1, 0\] is"),
    ({"nonneg": True}, [0.0, 2.0], [1.0, -1.0], r"declared nonneg, but its entry \[1\] is -1"),
    ({"nonpos": True}, [0.0, -2.0], [-1.0, 1.0], r"declared nonpos, but its entry \[1\] is 1"),
    ({"pos": True}, [1.0, 2.0], [-1.0, 1.0], r"declared pos, but its entry \[0\] is -1"),
    ({"neg": True}, [-1.0, -2.0], [-1.0, 1.0], r"declared neg, but its entry \[1\] is 1"),
    ({"bounds": [-1, 2]}, [-1.0, 2.0], [0.0, 2.5], r"declared bounds, but its entry \[1\] is 2.5"),
    ({"nonneg": True}, 0.0, -1e-3, "declared nonneg, but its entry  is -0.001"),
]  # fmt: skip


@pytest.mark.parametrize(("attributes", "good", "bad", "message"), ATTRIBUTES)
def test_attributes_of_parameters_are_checked(attributes: Any, good: Any, bad: Any, message: str) -> None:
    need("cvxpy")
    layer = cvxpy_layer(np.shape(good), **attributes)
    (x,) = layer(t(good).requires_grad_())
    assert torch.allclose(x, t(good), atol=1e-6)
    x.sum().backward()
    with pytest.raises(bpqp.ArgumentError, match=r"parameter 0 \(p\) is " + message):
        layer(t(bad))
    with pytest.raises(bpqp.ArgumentError, match=message + r".* in element 1 of the batch"):
        layer(torch.stack([t(good), t(bad), t(good)]))
    with pytest.raises(bpqp.ArgumentError, match=message + r".* in element 1 of the batch"):
        torch.func.vmap(lambda v: layer(v)[0])(torch.stack([t(good), t(bad)]))
    # rounding of single precision is forgiven
    noise = 1e-6 * torch.tensor(np.random.default_rng(0).normal(size=np.shape(good)))
    if np.shape(good):
        layer(t(good) + noise)
    again = pickle.loads(pickle.dumps(layer))
    with pytest.raises(bpqp.ArgumentError, match=message):
        copy.deepcopy(again)(t(bad))


def test_a_parameter_that_is_nan_in_one_element_fails_alone() -> None:
    need("cvxpy")
    layer = cvxpy_layer((2,), nonneg=True)
    p = t([[1.0, 2.0], [np.nan, 1.0], [3.0, 4.0]]).requires_grad_()
    with pytest.raises(bpqp.SolveError, match="element 1: invalid_data"):
        layer(p)
    layer._operators.on_failure = "nan"
    layer._operators._known.clear()
    (x,) = layer(p)
    assert torch.isnan(x[1]).all()
    x[[0, 2]].sum().backward()
    assert torch.isfinite(p.grad).all()


def test_autocast_casts_parameters_up() -> None:
    need("cvxpy")
    layer = cvxpy_layer((2,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (x,) = layer(torch.ones(2, dtype=torch.bfloat16))
    assert x.dtype == torch.float32


def test_numbers_below_the_normal_ones_decide_nothing() -> None:
    # as on the threads of XLA, where they are zero
    q = np.array([-3.03311868, -0.0211154, -0.25173004])
    A, b, lb, ub = np.ones((1, 3)), np.ones(1), np.zeros(3), np.ones(3)
    for P in (np.eye(3), bpqp.Factored(np.ones(3), np.zeros((3, 1))), sparse.eye(3, format="csc")):
        plain = bpqp.solve_qp(P, q, A=A, b=b, lb=lb, ub=ub)
        torch.set_flush_denormal(True)
        try:
            flushed = bpqp.solve_qp(P, q, A=A, b=b, lb=lb, ub=ub)
            verdict = flushed.diagnostics().verdict
        finally:
            torch.set_flush_denormal(False)
        assert np.array_equal(plain.x, flushed.x)
        assert verdict == plain.diagnostics().verdict


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_that_are_redundant_in_single_precision_are_feasible_there(seed: int) -> None:
    # the two sets of weights sum to 1 to rounding only: no plan meets both more closely than that
    f32: Any = {"dtype": torch.float32}
    g = torch.Generator().manual_seed(seed)
    cost = torch.rand(8, 36, generator=g, **f32)
    weights = [torch.rand(8, 6, generator=g, **f32) for _ in "ab"]
    b = torch.cat([w / w.sum(1, keepdim=True) for w in weights], 1)
    A = torch.zeros(12, 36, **f32)
    for i in range(6):
        A[i, i * 6 : (i + 1) * 6] = 1
        A[6 + i, i::6] = 1
    x = bt.solve_qp(1e-2 * torch.eye(36, **f32), cost, A=A, b=b, lb=0.0)
    assert (x @ A.T - b).abs().max() < 1e-6
    assert x.min() > -1e-6
