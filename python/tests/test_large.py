"""Matrices known by their products only: beside the same programs with matrices, and as they fail."""

import pickle
import signal
import threading
import time

import bpqp
import numpy as np
import pytest


def operator(M):
    return bpqp.Operator(M.shape, lambda x: M @ x, lambda y: M.T @ y)


def planted(seed=0, n=40, m=5, mi=20):
    """A program with active rows and bounds, by its solution."""
    r = np.random.default_rng(seed)
    F = r.standard_normal((n, n))
    P, A, G = F @ F.T / n, r.standard_normal((m, n)), r.standard_normal((mi, n))
    x, y = r.uniform(-1, 1, n), r.standard_normal(m)
    z = np.where(np.arange(mi) % 2 == 0, r.uniform(0.5, 1, mi), 0.0)
    lb, ub, force = x - r.uniform(0.5, 1, n), x + r.uniform(0.5, 1, n), np.zeros(n)
    lb[::5], force[::5] = x[::5], -r.uniform(0.5, 1, len(x[::5]))
    ub[1::5], force[1::5] = x[1::5], r.uniform(0.5, 1, len(x[1::5]))
    q = -(P @ x + A.T @ y + G.T @ z + force)
    return P, q, G, G @ x + np.where(z > 0, 0.0, 0.5), A, A @ x, lb, ub


def test_values_and_gradients_are_those_of_the_matrices():
    P, q, G, h, A, b, lb, ub = planted()
    own = bpqp.solve_qp(P, q, G, h, A, b, lb, ub)
    sol = bpqp.solve_qp(operator(P), q, operator(G), h, operator(A), b, lb, ub)
    assert isinstance(sol, bpqp.LargeSolution) and sol.status == "solved" and sol.verdict == "approximate"
    r = np.random.default_rng(1)
    cotangents = {}
    for name in ("x", "y", "z", "z_box"):
        np.testing.assert_allclose(getattr(sol, name), getattr(own, name), atol=1e-6)
        cotangents[name] = r.standard_normal(getattr(own, name).shape)
    g, d = sol.vjp(**cotangents, objective=0.7), own.vjp(**cotangents, objective=0.7)
    assert g.verdict == "approximate"
    for name in ("q", "h", "b", "lb", "ub"):
        np.testing.assert_allclose(getattr(g, name), getattr(d, name), atol=1e-6, err_msg=name)
    for name in ("P", "G", "A"):
        low, dense = getattr(g, name), getattr(d, name)
        assert isinstance(low, bpqp.LowRank) and low.shape == dense.shape
        np.testing.assert_allclose(low.toarray(), dense, atol=1e-6, err_msg=name)
        v = r.standard_normal(low.shape[1])
        np.testing.assert_allclose(low.matvec(v), dense @ v, atol=1e-5)
        with pytest.raises(bpqp.UnsupportedError, match="LowRank"):
            np.asarray(low)
    active = sol.diagnostics().active
    np.testing.assert_array_equal(active.G, own.diagnostics().active.G)
    np.testing.assert_array_equal(active.lb, own.diagnostics().active.lb)
    np.testing.assert_array_equal(active.ub, own.diagnostics().active.ub)


def test_tangents_are_those_of_the_matrices():
    P, q, G, h, A, b, lb, ub = planted(3)
    own = bpqp.solve_qp(P, q, G, h, A, b, lb, ub)
    sol = bpqp.solve_qp(operator(P), q, G, h, operator(A), b, lb, ub)
    r = np.random.default_rng(2)
    along = {name: r.standard_normal(np.shape(v)) for name, v in zip("PqGhAb", (P, q, G, h, A, b), strict=True)}
    along["P"] = along["P"] + along["P"].T
    along["lb"], along["ub"] = r.standard_normal(q.size), r.standard_normal(q.size)
    t, d = sol.jvp(**{**along, "A": operator(along["A"])}), own.jvp(**along)
    for name in ("x", "y", "z", "z_box", "objective"):
        np.testing.assert_allclose(getattr(t, name), getattr(d, name), atol=2e-5, err_msg=name)


def test_gradients_have_the_form_of_their_data():
    sparse = pytest.importorskip("scipy.sparse")
    P, q, G, h, A, b, lb, _ = planted(4)
    S = sparse.csr_matrix(np.where(np.abs(G) > 0.5, G, 0.0))
    d, F = np.full(q.size, 0.5), P[:, :3].copy()
    args = {"h": h, "b": b, "lb": lb.min(), "ub": 3.0}
    own = bpqp.solve_qp(bpqp.Factored(d, F), q, S, A=A, **args)
    sol = bpqp.solve_qp(bpqp.Factored(d, F), q, S, A=sparse.linalg.aslinearoperator(A), **args)
    g, e = sol.vjp(x=q), own.vjp(x=q)
    assert isinstance(g.G, sparse.csr_matrix) and isinstance(g.A, bpqp.LowRank) and isinstance(g.P, bpqp.Factored)
    np.testing.assert_allclose(g.G.toarray(), e.G.toarray(), atol=1e-6)
    np.testing.assert_allclose(g.P.d, e.P.d, atol=1e-6)
    np.testing.assert_allclose(g.P.F, e.P.F, atol=1e-6)
    assert np.shape(g.ub) == () and g.lb == pytest.approx(e.lb, abs=1e-6)


def test_deblurring_an_image_that_has_no_matrix():
    # nonnegative least squares with a blur by FFT, n = 102,400; the optimality conditions are checked by products
    side = 320
    at = np.minimum(np.arange(side), side - np.arange(side)) ** 2
    kernel = np.exp(-(at[:, None] + at[None, :]) / 4.0)
    wave = np.fft.rfft2(kernel / kernel.sum())
    waves = (wave, wave**2)

    def blur(x, power=1):
        return np.fft.irfft2(np.fft.rfft2(x.reshape(side, side)) * waves[power - 1], (side, side)).ravel()

    r = np.random.default_rng(0)
    seen = blur(np.where(r.random(side * side) < 0.02, 1.0, 0.0)) + 0.01 * r.standard_normal(side * side)
    ridge = 5e-2
    P = bpqp.Operator((side * side, side * side), lambda x: blur(x, 2) + ridge * x)
    sol = bpqp.solve_qp(P, -blur(seen), lb=0.0, eps_abs=1e-7, eps_rel=1e-7)
    force = blur(sol.x, 2) + ridge * sol.x - blur(seen)
    assert sol.ok and sol.x.min() >= 0.0
    assert np.abs(np.where(sol.x > 0, force, np.minimum(force, 0.0))).max() < 1e-6
    dx = r.standard_normal(side * side)
    g = sol.vjp(x=dx, wrt="q")
    free = sol.x > 0
    left = np.where(free, blur(g.q, 2) + ridge * g.q + dx, 0.0)
    assert np.all(g.q[~free] == 0.0) and np.abs(left).max() < 1e-6
    # the derivative along a direction, by products of its own
    t = sol.jvp(q=seen)
    assert abs(g.q @ seen - dx @ t.x) < 1e-6 * np.abs(dx * t.x).sum()


def test_a_sparse_program_beside_the_direct_path():
    sparse = pytest.importorskip("scipy.sparse")
    r = np.random.default_rng(5)
    n, m = 2000, 200
    A = sparse.random(m, n, density=0.01, random_state=np.random.RandomState(0), format="csr")
    P = sparse.diags(r.uniform(0.5, 2.0, n)).tocsc()
    q, b = r.standard_normal(n), A @ r.uniform(0.2, 0.8, n)
    own = bpqp.solve_qp(P, q, A=A, b=b, lb=0.0, ub=1.0)
    sol = bpqp.solve_qp(P, q, A=sparse.linalg.aslinearoperator(A), b=b, lb=0.0, ub=1.0)
    np.testing.assert_allclose(sol.x, own.x, atol=1e-6)
    dx = r.standard_normal(n)
    g, d = sol.vjp(x=dx), own.vjp(x=dx)
    np.testing.assert_allclose(g.q, d.q, atol=1e-5)
    rows, cols = A.nonzero()
    np.testing.assert_allclose(g.A.at(rows, cols), np.asarray(d.A[rows, cols]).ravel(), atol=1e-5)


def test_statuses_come_with_proofs():
    A = np.array([[1.0, 1.0]])
    with pytest.raises(bpqp.SolveError, match="primal_infeasible") as caught:
        bpqp.solve_qp(np.eye(2), np.zeros(2), A=operator(A), b=np.array([5.0]), lb=0.0, ub=1.0)
    y, z, z_box = caught.value.solution.info.certificate
    assert np.abs(A.T @ y + z_box).max() < 1e-6 and 5.0 * y[0] + np.maximum(z_box, 0).sum() < 0 and z.size == 0
    sol = bpqp.solve_qp(operator(np.diag([1.0, 0.0])), np.array([0.0, -1.0]), lb=0.0, on_failure="nan")
    assert sol.status == "dual_infeasible" and np.isnan(sol.x).all() and np.isnan(sol.vjp(x=np.ones(2)).q).all()
    d = sol.info.certificate
    assert d[1] > 0 and abs(d[0]) < 1e-6 * d[1]
    sol = bpqp.solve_qp(operator(np.diag([1.0, -1.0])), np.ones(2), on_failure="zero_grad")
    assert sol.status == "non_convex" and np.all(sol.vjp(x=np.ones(2)).q == 0.0)
    c = sol.info.certificate
    assert c @ (np.diag([1.0, -1.0]) @ c) < 0
    sol = bpqp.solve_qp(operator(np.eye(3)), np.ones(3), lb=-0.5, max_iter=1, on_failure="zero_grad", eps_abs=1e-12)
    assert sol.status in ("iteration_limit", "solved")


def test_solutions_that_are_not_the_only_ones_say_so():
    # the sum alone matters
    ones = np.ones((1, 4))
    P = bpqp.Operator((4, 4), lambda x: np.full(4, x.sum()))
    sol = bpqp.solve_qp(P, -np.ones(4))
    assert sol.ok and sol.verdict == "one_of_several"
    # a bound with neither slack nor multiplier
    sol = bpqp.solve_qp(operator(np.eye(2)), np.array([0.0, -1.0]), lb=0.0)
    assert sol.verdict == "one_of_several" and sol.diagnostics().weakly_active.lb.tolist() == [True, False]
    # twice the same row: the multipliers are not the only ones
    sol = bpqp.solve_qp(np.eye(4), np.arange(4.0), A=operator(np.vstack([ones, ones])), b=np.ones(2))
    np.testing.assert_allclose(sol.x, 1.75 - np.arange(4.0), atol=1e-7)
    assert sol.verdict == "one_of_several"


def test_misuse_names_the_argument():
    eye, q = np.eye(3), np.ones(3)
    bad = {
        "P.*symmetric": ({"P": operator(np.triu(np.ones((3, 3))))}, bpqp.ArgumentError),
        "A.*products of the transpose": (
            {"P": eye, "A": bpqp.Operator((2, 3), lambda x: np.zeros(2), lambda y: np.ones(3)), "b": np.zeros(2)},
            bpqp.ArgumentError,
        ),
        r"G\.matvec.*shape \(3,\), expected \(2,\)": (
            {"P": eye, "G": bpqp.Operator((2, 3), lambda x: x, lambda y: np.zeros(3)), "h": np.zeros(2)},
            bpqp.ArgumentError,
        ),
        "entry 0 of a product is NaN": (
            {"P": bpqp.Operator((3, 3), lambda x: np.full(3, np.nan))},
            bpqp.ArgumentError,
        ),
        "A is an Operator without rmatvec": (
            {"P": eye, "A": bpqp.Operator((2, 3), lambda x: x[:2]), "b": np.zeros(2)},
            bpqp.ArgumentError,
        ),
        "P has shape": ({"P": operator(np.eye(4))}, bpqp.ArgumentError),
        "b has shape": ({"P": operator(eye), "A": np.ones((1, 3)), "b": np.ones(2)}, bpqp.ArgumentError),
        "h is missing": ({"P": operator(eye), "G": np.ones((1, 3))}, bpqp.ArgumentError),
        "batch": ({"P": operator(eye), "q": np.ones((2, 3))}, bpqp.UnsupportedError),
        "backward": ({"P": operator(eye), "backward": "direct"}, bpqp.UnsupportedError),
        "smoothing": ({"P": operator(eye), "smoothing": 0.1}, bpqp.UnsupportedError),
        "solver": ({"P": operator(eye), "solver": "admm"}, bpqp.UnsupportedError),
        r"A has an entry that is nan": (
            {"P": operator(eye), "A": np.array([[1.0, np.nan, 0.0]]), "b": np.ones(1)},
            bpqp.ArgumentError,
        ),
        "no setting": ({"P": operator(eye), "epsilon": 1.0}, bpqp.ArgumentError),
        r"lb\[1\]": ({"P": operator(eye), "lb": np.array([0.0, 2.0, 0.0]), "ub": np.ones(3)}, bpqp.ArgumentError),
    }
    for match, (arguments, error) in bad.items():
        with pytest.raises(error, match=match):
            bpqp.solve_qp(**{"q": q, **arguments})
    sol = bpqp.solve_qp(operator(eye), q)
    with pytest.raises(bpqp.UnsupportedError, match="pickled"):
        pickle.dumps(sol)
    with pytest.raises(bpqp.UnsupportedError, match="differences"):
        bpqp.check_gradient(sol)
    with pytest.raises(bpqp.ArgumentError, match="cotangent of x has shape"):
        sol.vjp(x=np.ones(2))
    with pytest.raises(bpqp.UnsupportedError, match="products only"):
        bpqp.from_solution(operator(eye), q, x=-q)
    with pytest.raises(bpqp.UnsupportedError, match="one_sided"):
        sol.jvp(q=q, one_sided=True)
    with pytest.raises(bpqp.ArgumentError, match="two sizes"):
        bpqp.Operator((3,), lambda x: x)
    with pytest.raises(bpqp.DtypeError, match="matvec"):
        bpqp.Operator((3, 3), eye)


def test_exceptions_of_functions_come_out_as_they_are():
    class Mine(ValueError):
        pass

    calls = 0

    def failing(x):
        nonlocal calls
        calls += 1
        if calls > 5:
            raise Mine("the disk is full")
        return x

    with pytest.raises(Mine, match="disk"):
        bpqp.solve_qp(bpqp.Operator((3, 3), failing), np.ones(3), lb=0.0)


def test_time_limit_and_keyboard_interrupt_end_it():
    calls = []

    def slow(x):
        calls.append(time.monotonic())
        time.sleep(0.02)
        return x * np.linspace(1.0, 2.0, 50)

    P = bpqp.Operator((50, 50), slow)
    start = time.monotonic()
    sol = bpqp.solve_qp(P, -np.ones(50), time_limit=0.2, on_failure="nan")
    # it ends at the next product, however slow the machine is
    assert sol.status == "time_limit" and sum(at > start + 0.2 for at in calls) <= 3

    timer = threading.Timer(0.1, lambda: signal.raise_signal(signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        bpqp.solve_qp(P, -np.ones(50))


def test_single_precision_stays_single():
    P, q, G, h, A, b, lb, ub = (v.astype(np.float32) for v in planted(6))
    sol = bpqp.solve_qp(operator(P), q, G, h, A, b, lb, ub)
    assert sol.ok and sol.x.dtype == np.float32 and sol.vjp(x=sol.x).q.dtype == np.float32
