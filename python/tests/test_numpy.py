"""NumPy and SciPy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import MI, NAMES, OUTPUTS, M, N, difference, is_active, need, problem

need("scipy")
from scipy import sparse  # noqa: E402

SHARED = ("q",)


def cotangents(sol: Any, seed: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=np.shape(getattr(sol, name))) for name in OUTPUTS}


@pytest.mark.parametrize("batched", [NAMES, ("q",), ("q", "h", "b"), ("P", "G", "A")])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_central_differences(name: str, batched: tuple[str, ...]) -> None:
    data = problem(3, batched, seed=1)
    sol = bpqp.solve_qp(**data)
    assert is_active(sol)
    weights = cotangents(sol)

    def loss(at: dict[str, Any]) -> float:
        s = bpqp.solve_qp(**at)
        return float(sum((weights[k] * getattr(s, k)).sum() for k in OUTPUTS))

    gradient = getattr(sol.vjp(**weights, wrt=name), name)
    assert gradient.shape == data[name].shape
    np.testing.assert_allclose(gradient, difference(loss, data, name), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
def test_every_output_alone(output: str) -> None:
    data = problem(seed=2)
    sol = bpqp.solve_qp(**data)
    assert is_active(sol)
    weight = np.random.default_rng(0).normal(size=np.shape(getattr(sol, output)))
    gradient = sol.vjp(**{output: weight})
    for name in NAMES:

        def loss(at: dict[str, Any]) -> float:
            return float((weight * getattr(bpqp.solve_qp(**at), output)).sum())

        np.testing.assert_allclose(getattr(gradient, name), difference(loss, data, name), atol=2e-6, rtol=1e-6)


def test_tangents_are_adjoint_to_gradients() -> None:
    data = problem(4, ("q", "G"), seed=3)
    sol = bpqp.solve_qp(**data)
    rng = np.random.default_rng(1)
    weights = cotangents(sol)
    direction = {k: rng.normal(size=data[k].shape) for k in NAMES}
    t, g = sol.jvp(**direction), sol.vjp(**weights)
    left = sum((weights[k] * getattr(t, k)).sum() for k in OUTPUTS)
    right = sum((direction[k] * getattr(g, k)).sum() for k in NAMES)
    assert left == pytest.approx(right, rel=1e-11)


def test_batch_is_loop_and_shared_gradients_are_sums() -> None:
    data = problem(5, ("q", "b"), seed=4)
    sol = bpqp.solve_qp(**data, threads=2)
    w = np.random.default_rng(0).normal(size=sol.x.shape)
    g = sol.vjp(x=w)
    total = np.zeros_like(data["P"])
    for k in range(5):
        single = bpqp.solve_qp(**{**data, "q": data["q"][k], "b": data["b"][k]})
        np.testing.assert_allclose(single.x, sol.x[k], atol=1e-13)
        own = single.vjp(x=w[k])
        np.testing.assert_allclose(own.q, g.q[k], atol=1e-12)
        total += own.P
    np.testing.assert_allclose(total, g.P, atol=1e-12)
    again = bpqp.solve_qp(**data, threads=1)
    assert np.array_equal(again.x, sol.x)
    assert np.array_equal(again.vjp(x=w).P, g.P)


def test_sparse_is_dense_on_the_pattern() -> None:
    data = problem(seed=6)
    mask = np.abs(data["G"]) > 0.5
    data["G"] = data["G"] * mask
    data["h"] = data["G"] @ np.zeros(N) + 0.3
    dense = bpqp.solve_qp(**data)
    for kind in (sparse.csc_matrix, sparse.csr_matrix, sparse.coo_array):
        sol = bpqp.solve_qp(**{**data, **{k: kind(data[k]) for k in ("P", "G", "A")}})
        np.testing.assert_allclose(sol.x, dense.x, atol=1e-10)
        g, e = sol.vjp(x=np.arange(N)), dense.vjp(x=np.arange(N))
        assert sparse.issparse(g.G)
        assert g.G.nnz == mask.sum()
        np.testing.assert_allclose(g.G.toarray(), e.G * mask, atol=1e-9)
        np.testing.assert_allclose(g.P.toarray(), e.P, atol=1e-9)
        t = sol.jvp(G=g.G, P=g.P)
        np.testing.assert_allclose(t.x, dense.jvp(G=e.G * mask, P=e.P).x, atol=1e-9)
    assert sol.jacobian("x", "G").shape == (N, mask.sum())


def test_factored() -> None:
    rng = np.random.default_rng(7)
    data = problem(seed=7)
    d, F = rng.random(N) + 0.5, rng.normal(size=(N, 2))
    sol = bpqp.solve_qp(**{**data, "P": bpqp.Factored(d, F)})
    full = bpqp.solve_qp(**{**data, "P": np.diag(d) + F @ F.T})
    np.testing.assert_allclose(sol.x, full.x, atol=1e-10)
    w = rng.normal(size=N)
    g, e = sol.vjp(x=w).P, full.vjp(x=w).P
    np.testing.assert_allclose(g.d, np.diag(e), atol=1e-9)
    np.testing.assert_allclose(g.F, 2 * e @ F, atol=1e-9)
    batch = bpqp.solve_qp(**{**data, "P": bpqp.Factored(np.stack([d, d + 1]), F)})
    assert batch.vjp(x=batch.x).P.d.shape == (2, N)
    assert batch.vjp(x=batch.x).P.F.shape == (N, 2)
    t = sol.jvp(P=bpqp.Factored(np.ones(N), None))
    np.testing.assert_allclose(t.x, full.jvp(P=np.eye(N)).x, atol=1e-9)


@pytest.mark.parametrize("wrt", NAMES)
@pytest.mark.parametrize("of", OUTPUTS)
def test_jacobian_rows_are_gradients(of: str, wrt: str) -> None:
    data = problem(2, ("q", "h"), seed=8)
    sol = bpqp.solve_qp(**data)
    J = sol.jacobian(of, wrt)
    size = {"x": N, "y": M, "z": MI, "z_box": N, "objective": 1}[of]
    assert J.shape == (2, size, *(data[wrt].shape[1:] if wrt in ("q", "h") else data[wrt].shape))
    for i in range(size):
        unit = np.zeros(np.shape(getattr(sol, of)))
        unit[(slice(None), i) if of != "objective" else slice(None)] = 1
        row = getattr(sol.vjp(**{of: unit}, wrt=wrt), wrt)
        total = J[:, i] if wrt in ("q", "h") else J[:, i].sum(0)
        np.testing.assert_allclose(total, row, atol=1e-11)


def test_single_precision() -> None:
    data = problem(4, ("q",), seed=9)
    single = {k: v.astype(np.float32) for k, v in data.items()}
    sol, exact = bpqp.solve_qp(**single), bpqp.solve_qp(**data)
    assert sol.x.dtype == np.float32
    np.testing.assert_allclose(sol.x, exact.x, atol=1e-5)
    w = np.ones((4, N), np.float32)
    g, e = sol.vjp(x=w), exact.vjp(x=w)
    for name in NAMES:
        assert getattr(g, name).dtype == np.float32
        np.testing.assert_allclose(getattr(g, name), getattr(e, name), atol=1e-4, rtol=1e-4)


def test_linear_program_and_absent_blocks() -> None:
    sol = bpqp.solve_qp(None, np.array([1.0, -1.0]), lb=np.zeros(2), ub=np.ones(2))
    np.testing.assert_allclose(sol.x, [0, 1], atol=1e-12)
    g = sol.vjp(x=np.array([2.0, 3.0]))
    assert g.P is None
    assert g.G is None
    assert np.array_equal(g.q, [0, 0])
    np.testing.assert_allclose(g.lb, [2, 0])
    np.testing.assert_allclose(g.ub, [0, 3])
    empty = bpqp.solve_qp(np.eye(2), np.ones(2), np.zeros((0, 2)), np.zeros(0))
    assert empty.z.shape == (0,)


INFEASIBLE = {"lb": np.full(N, 2.0), "ub": np.full(N, 3.0)}


def failing(batch: int = 64) -> dict[str, Any]:
    data = problem(batch, ("q", "h"), seed=10)
    data["h"][7] = -100.0
    return data


def test_one_infeasible_element_raises() -> None:
    with pytest.raises(bpqp.SolveError, match=r"1 of 64 .* element 7: primal_infeasible .*certificate") as caught:
        bpqp.solve_qp(**failing())
    assert caught.value.failures == [(7, "primal_infeasible")]
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.solution.ok.sum() == 63


@pytest.mark.parametrize("policy", ["nan", "zero_grad"])
def test_one_infeasible_element_is_masked(policy: str) -> None:
    sol = bpqp.solve_qp(**failing(), on_failure=policy)
    assert list(np.flatnonzero(~sol.ok)) == [7]
    assert sol.status[7] == "primal_infeasible"
    assert sol.info.certificate[7] is not None
    rest = np.arange(64) != 7
    assert np.isfinite(sol.x[rest]).all()
    g = sol.vjp(x=np.ones_like(sol.x), wrt=("q", "h", "P"))
    assert np.isfinite(g.q[rest]).all()
    if policy == "nan":
        assert np.isnan(sol.x[7]).all()
        assert np.isnan(g.q[7]).all()
        assert np.isnan(g.P).all()
    else:
        assert (g.q[7] == 0).all()
        assert np.isfinite(g.P).all()


def test_unbounded_and_non_convex() -> None:
    sol = bpqp.solve_qp(None, np.ones(2), lb=np.array([0.0, -np.inf]), on_failure="nan")
    assert (sol.status, sol.ok) == ("dual_infeasible", False)
    sol = bpqp.solve_qp(np.diag([1.0, -1.0]), np.ones(2), on_failure="nan")
    assert sol.status == "non_convex"
    assert np.isnan(sol.x).all()


WRONG = [
    ({"q": None}, bpqp.ArgumentError, "q is None"),
    ({"q": np.ones((2, 3, 4))}, bpqp.ArgumentError, "q has shape"),
    ({"q": np.ones(N - 1)}, bpqp.ArgumentError, "q has"),
    ({"P": np.ones((N, N - 1))}, bpqp.ArgumentError, "P has shape"),
    ({"P": np.triu(np.ones((N, N)))}, bpqp.ArgumentError, r"P\[.*must be symmetric"),
    ({"G": np.ones((MI, N + 1))}, bpqp.ArgumentError, "G has shape"),
    ({"h": np.ones(MI + 1)}, bpqp.ArgumentError, "h has shape"),
    ({"h": None}, bpqp.ArgumentError, "h is missing"),
    ({"A": None}, bpqp.ArgumentError, "A is missing"),
    ({"q": np.full(N, np.nan)}, bpqp.ArgumentError, r"q\[0\] is NaN"),
    ({"lb": np.full(N, 9.0)}, bpqp.ArgumentError, r"lb\[0\] = 9"),
    ({"q": np.ones((3, N)), "b": np.ones((2, M))}, bpqp.ArgumentError, "b has a batch of 2, but q has one of 3"),
    ({"q": np.ones(N, np.complex128)}, bpqp.DtypeError, "q has dtype complex128"),
    ({"q": np.ones(N, np.float16)}, bpqp.DtypeError, "q has dtype float16"),
    ({"q": np.array(["a"] * N)}, bpqp.DtypeError, "q has dtype"),
    ({"q": sparse.csc_matrix(np.ones((1, N)))}, bpqp.DtypeError, "q is a sparse matrix"),
    ({"P": bpqp.Factored(np.ones(N), np.ones((N - 1, 2)))}, bpqp.ArgumentError, "F has shape"),
    ({"P": bpqp.Factored(-np.ones(N), np.ones((N, 2)))}, bpqp.ArgumentError, r"d\[0\] = -1"),
    ({"solver": "nope"}, bpqp.ArgumentError, "solver = 'nope': choose one of auto"),
    ({"on_failure": "ignore"}, bpqp.ArgumentError, "on_failure = 'ignore'"),
    ({"eps": 1e-3}, bpqp.ArgumentError, "there is no setting 'eps'"),
    ({"eps_abs": -1.0}, bpqp.ArgumentError, "eps_abs = -1"),
    ({"eps_abs": "small"}, bpqp.ArgumentError, "eps_abs = 'small'"),
    ({"threads": -1}, bpqp.ArgumentError, "threads = -1"),
    ({"backward": "adjoint"}, bpqp.ArgumentError, "backward = 'adjoint'"),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG)
def test_misuse_is_named(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        bpqp.solve_qp(**{**problem(), **change})
    assert isinstance(caught.value, bpqp.Error)
    assert isinstance(caught.value, TypeError if error is bpqp.DtypeError else ValueError)


def test_misuse_in_a_batch_names_the_element() -> None:
    data = problem(3, ("q",))
    data["q"][2, 1] = np.inf
    with pytest.raises(bpqp.SolveError, match=r"element 2: invalid_data \(q\[1\] is inf"):
        bpqp.solve_qp(**data)


def test_misuse_of_derivatives() -> None:
    sol = bpqp.solve_qp(**problem())
    for call, message in [
        (lambda: sol.vjp(), "no cotangent"),
        (lambda: sol.vjp(x=np.ones(N + 1)), "cotangent of x has shape"),
        (lambda: sol.vjp(x=np.full(N, np.nan)), "cotangent of x"),
        (lambda: sol.vjp(x=np.ones(N), wrt="Q"), "wrt names 'Q'"),
        (lambda: sol.jvp(), "no tangent"),
        (lambda: sol.jvp(q=np.ones(N + 1)), "tangent of q has shape"),
        (lambda: sol.jvp(q=np.ones((2, N))), "batch dimension"),
        (lambda: sol.jacobian("w", "q"), "of = 'w'"),
        (lambda: sol.jacobian("x", "w"), "wrt = 'w'"),
        (lambda: bpqp.solve_qp(np.eye(2), np.ones(2)).jacobian("x", "G"), "G is absent"),
    ]:
        with pytest.raises(bpqp.ArgumentError, match=message):
            call()


def test_diagnostics() -> None:
    sol = bpqp.solve_qp(**problem(seed=2))
    d = sol.diagnostics()
    assert d.verdict == "exact"
    assert (d.active.G == (sol.z > 0)).all()
    assert ((d.active.lb | d.active.ub) == (sol.z_box != 0)).all()
    assert not (d.weakly_active.G.any() or d.weakly_active.lb.any())
    assert d.residuals["primal"] < 1e-10
    assert d.condition >= 1
    weak = bpqp.solve_qp(np.eye(2), np.zeros(2), lb=np.zeros(2)).diagnostics()
    assert weak.verdict == "one_of_several"
    assert weak.weakly_active.lb.all()
    assert not weak.weakly_active.ub.any()


def test_check_gradient() -> None:
    report = bpqp.check_gradient(bpqp.solve_qp(**problem(2, ("q",), seed=2)), element=1)
    assert report.worst < 1e-6
    assert {row["block"] for row in report.table} == set(NAMES)
    assert "central difference" in str(report)


def test_from_solution() -> None:
    data = problem(seed=2)
    sol = bpqp.solve_qp(**data)
    w = np.random.default_rng(0).normal(size=N)
    want = sol.vjp(x=w)
    for given in ({}, {"y": sol.y, "z": sol.z, "z_box": sol.z_box}):
        other = bpqp.from_solution(**data, x=sol.x, **given)
        assert np.array_equal(other.x, sol.x)
        for name in NAMES:
            np.testing.assert_allclose(getattr(other.vjp(x=w), name), getattr(want, name), atol=1e-10)
    with pytest.raises(bpqp.SolveError, match="element 0"):
        bpqp.from_solution(**data, x=sol.x + 0.01)
    off = bpqp.from_solution(**data, x=sol.x + 1e-7, on_failure="nan")
    assert 0 < off.diagnostics().moved < 1e-5
    with pytest.raises(bpqp.ArgumentError, match="x is None"):
        bpqp.from_solution(**data, x=None)


def test_warm_start_of_a_batch_with_absent_blocks() -> None:
    data = {k: v for k, v in problem(3, NAMES, seed=1).items() if k not in ("G", "h", "A", "b")}
    sol = bpqp.solve_qp(**data)
    again = bpqp.solve_qp(**data, warm_start=sol)
    np.testing.assert_allclose(again.x, sol.x, atol=1e-12)
    assert (again.info.iterations == 1).all()


def test_warm_start() -> None:
    data = problem(3, ("q",), seed=2)
    sol = bpqp.solve_qp(**data)
    again = bpqp.solve_qp(**data, warm_start=sol)
    np.testing.assert_allclose(again.x, sol.x, atol=1e-10)
    with pytest.raises(bpqp.ArgumentError, match="warm_start"):
        bpqp.solve_qp(**data, warm_start={"x": sol.x})
    with pytest.raises(bpqp.ArgumentError, match="warm_start"):
        bpqp.solve_qp(**problem(), warm_start=sol)


@pytest.mark.parametrize("solver", ["interior_point", "admm", "clarabel"])
def test_native_solvers_give_one_gradient(solver: str) -> None:
    data = problem(3, NAMES, seed=1)
    want, sol = bpqp.solve_qp(**data), bpqp.solve_qp(**data, solver=solver)
    assert (np.array(sol.info.solver) == solver).all()
    w = np.ones_like(sol.x)
    for name in NAMES:
        np.testing.assert_allclose(getattr(sol.vjp(x=w), name), getattr(want.vjp(x=w), name), atol=1e-8)


def test_solvers_of_qpsolvers_give_one_gradient() -> None:
    need("qpsolvers")
    data = problem(3, NAMES, seed=1)
    want = bpqp.solve_qp(**data)
    w = np.random.default_rng(0).normal(size=want.x.shape)
    # jaxopt, which the guide compares with, works in single precision unless JAX is told otherwise
    named = [s for s in bpqp.solvers() if s.startswith("qpsolvers:") and "jaxopt" not in s]
    if len(named) < 5 and not os.environ.get("CI"):
        pytest.skip(f"only {named} are installed")
    assert len(named) >= 5
    for solver in named:
        sol = bpqp.solve_qp(**data, solver=solver)
        assert sol.ok.all(), solver
        for name in NAMES:
            got, expected = getattr(sol.vjp(x=w), name), getattr(want.vjp(x=w), name)
            np.testing.assert_allclose(got, expected, atol=1e-6, err_msg=solver)
    with pytest.raises(bpqp.ArgumentError, match="not installed"):
        bpqp.solve_qp(**data, solver="qpsolvers:nope")


def test_smoothing_and_first_order() -> None:
    data = problem(seed=2)
    sol = bpqp.solve_qp(**data, smoothing=1e-3)
    assert sol.diagnostics().verdict == "smoothed"
    assert bpqp.check_gradient(sol).worst < 1e-5
    direct, first = bpqp.solve_qp(**data), bpqp.solve_qp(**data, backward="first_order")
    w = np.ones(N)
    np.testing.assert_allclose(first.vjp(x=w).q, direct.vjp(x=w).q, atol=1e-5)


def test_keyboard_interrupt() -> None:
    rng = np.random.default_rng(0)
    n, batch = 60, 4000
    root = rng.normal(size=(n, n))
    P, q = root @ root.T + np.eye(n), rng.normal(size=(batch, n))
    G, h = rng.normal(size=(60, n)), np.full(60, 0.1)
    # a shell starts what runs in the background with this signal ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(100):
            bpqp.solve_qp(P, q, G, h, threads=1)
    assert time.perf_counter() - start < 20
    timer.join()
    signal.signal(signal.SIGINT, before)


def test_threads_of_the_caller_run_at_once() -> None:
    data = problem(8, ("q",), seed=2)
    want = bpqp.solve_qp(**data).x
    results: list[Any] = [None] * 4

    def work(k: int) -> None:
        for _ in range(20):
            results[k] = bpqp.solve_qp(**data, threads=2).x

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(np.array_equal(r, want) for r in results)


def test_optional_packages_are_imported_only_when_used() -> None:
    code = "import sys, bpqp, numpy as np; bpqp.solve_qp(np.eye(2), np.ones(2)).vjp(x=np.ones(2)); "
    code += "print([m for m in ('torch', 'jax', 'scipy', 'cvxpy', 'qpsolvers') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_forked_child_solves() -> None:
    # in a process of its own: other packages that are loaded here warn of forks
    code = """
import os, numpy as np, bpqp
def solve():
    return bpqp.solve_qp(np.eye(3), np.arange(24.0).reshape(8, 3), lb=np.full(3, -1.0), threads=2).x
want, pid = solve(), os.fork()
if pid == 0:
    os._exit(0 if np.array_equal(solve(), want) else 1)
raise SystemExit(os.waitpid(pid, 0)[1])
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_inputs_are_read_in_any_layout() -> None:
    data = problem(3, NAMES, seed=1)
    want = bpqp.solve_qp(**data)
    other = {k: np.asfortranarray(v) for k, v in data.items()}
    assert np.array_equal(bpqp.solve_qp(**other).x, want.x)
    data["q"].flags.writeable = False
    assert np.array_equal(bpqp.solve_qp(**data).x, want.x)


def test_a_batch_in_the_buffers_of_another_is_as_if_it_were_the_first() -> None:
    rng = np.random.default_rng(5)

    def batch(size: int, n: int, m: int) -> list[np.ndarray]:
        G = rng.normal(size=(size, m, n))
        h = rng.uniform(0.1, 1.0, size=(size, m))
        # one of them contradicts itself
        G[1, 1], h[1, :2] = -G[1, 0], -1.0
        return [np.tile(np.eye(n), (size, 1, 1)), rng.normal(size=(size, n)) * 3, G, h]

    def seen(sol: bpqp.Solution) -> list[np.ndarray]:
        g = sol.vjp(x=np.ones_like(sol.x), z=np.ones_like(sol.z))
        return [sol.x, sol.y, sol.z, sol.objective, sol.status, g.P, g.q, g.G, g.h, g.verdict]

    for k, shape in enumerate([(6, 4, 3), (3, 7, 5), (9, 4, 3), (6, 4, 3)] * 2):
        data = batch(*shape)
        held = bpqp.solve_qp(*data, on_failure="nan", on_untrusted="ignore")
        before = [np.array(v) for v in seen(held)]
        # settings of their own get an engine of their own, in which nothing was solved before
        first = bpqp.solve_qp(*data, on_failure="nan", on_untrusted="ignore", max_iter=300 + k)
        for again, other in zip(before, seen(first), strict=True):
            np.testing.assert_array_equal(again, other)
        bpqp.solve_qp(*batch(6, 4, 3), on_failure="nan", on_untrusted="ignore")
        for again, other in zip(before, seen(held), strict=True):
            np.testing.assert_array_equal(again, other)
