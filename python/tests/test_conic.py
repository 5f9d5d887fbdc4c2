"""solve_conic: every cone against central differences and closed forms, batches, failures."""

from __future__ import annotations

from typing import Any

import bpqp
import numpy as np
import pytest
from bpqp._conic import cone_rows
from conftest import need

need("scipy")
from scipy import sparse  # noqa: E402

NAMES = ("P", "q", "A", "b")
# cones with a slack that is inside of each
INSIDE: dict[tuple[Any, ...], list[float]] = {
    ("zero", 1): [0.0],
    ("nonnegative", 4): [1.0, 1.0, 0.1, 0.1],
    ("soc", 4): [1.0, 0.1, 0.2, 0.3],
    ("exp",): [-1.0, 1.0, 1.0],
    ("pow", 0.3): [1.0, 1.0, 0.3],
    ("dual_exp",): [-1.0, 0.5, 2.0],
    ("dual_pow", 0.6): [1.0, 1.0, 0.3],
    ("psd", 3): [1.0, 0.1, 1.0, 0.1, 0.2, 1.0],
}


def program(cones: Any, seed: int = 0, n: int = 6) -> dict[str, Any]:
    """A feasible and bounded problem that pushes against its cones."""
    rng = np.random.default_rng(seed)
    m = sum(map(cone_rows, cones))
    A, root = rng.normal(size=(m, n)), rng.normal(size=(n, n))
    inside = np.concatenate([INSIDE[c] for c in cones])
    return {
        "P": 0.2 * root @ root.T + 0.1 * np.eye(n),
        "q": 3 * rng.normal(size=n),
        "A": A,
        "b": A @ (0.3 * rng.normal(size=n)) + 0.3 * inside,
    }


def check_derivatives(data: dict[str, Any], cones: Any, tolerance: float = 1e-6) -> Any:
    """The derivative of a random linear function of (x, s, y) along random directions of each argument."""
    if any(c[0] == "psd" for c in cones):
        need("clarabel")
    rng = np.random.default_rng(7)
    sol = bpqp.solve_conic(**data, cones=cones)
    weights = [rng.normal(size=v.shape) for v in (sol.x, sol.s, sol.y)]

    def value(**changed: Any) -> float:
        moved = bpqp.solve_conic(**{**data, **changed}, cones=cones)
        return sum(float(w @ v) for w, v in zip(weights, (moved.x, moved.s, moved.y), strict=True))

    grads = sol.vjp(*weights)
    for name in NAMES:
        direction = rng.normal(size=data[name].shape)
        if name == "P":
            direction = direction + direction.T
        step = 1e-5
        numeric = (value(**{name: data[name] + step * direction}) - value(**{name: data[name] - step * direction})) / (
            2 * step
        )
        reverse = float((getattr(grads, name) * direction).sum())
        t = sol.jvp(**{name: direction})
        forward = sum(float(w @ v) for w, v in zip(weights, (t.x, t.s, t.y), strict=True))
        scale = max(1.0, abs(numeric))
        assert abs(reverse - numeric) < tolerance * scale, (name, reverse, numeric)
        assert abs(forward - reverse) < 1e-9 * scale, (name, forward, reverse)
    return sol


@pytest.mark.parametrize("cone", list(INSIDE), ids=lambda c: c[0])
def test_every_cone_against_central_differences(cone: tuple[Any, ...]) -> None:
    cones = [cone] if cone[0] != "zero" else [cone, ("soc", 4)]
    sol = check_derivatives(program(cones, seed=3), cones)
    assert np.linalg.norm(sol.y) > 1e-3  # it binds


def test_all_cones_together() -> None:
    cones = list(INSIDE)
    sol = check_derivatives(program(cones, n=9), cones)
    assert sol.verdict == "exact"
    assert sol.info.solver == "clarabel"


def test_the_sum_of_squares_has_a_closed_form() -> None:
    # min 1/2 |x - c|^2 over the ball of radius r: x = r c / |c|
    c, r = np.array([3.0, 4.0]), 2.0
    A = np.vstack([np.zeros(2), -np.eye(2)])
    sol = bpqp.solve_conic(np.eye(2), -c, A, [r, 0, 0], [("soc", 3)])
    np.testing.assert_allclose(sol.x, r * c / 5, atol=1e-12)
    np.testing.assert_allclose(sol.vjp(x=[1.0, 0.0]).b[0], c[0] / 5, atol=1e-12)
    tangent = np.eye(2) - np.outer(c, c) / 25
    np.testing.assert_allclose(sol.jacobian("x", "q"), -r / 5 * tangent, atol=1e-12)


def test_the_nearest_semidefinite_matrix() -> None:
    need("clarabel")
    rng = np.random.default_rng(1)
    C = rng.normal(size=(4, 4))
    C = C + C.T
    rows, cols = np.tril_indices(4)[1], np.tril_indices(4)[0]
    scale = np.where(rows == cols, 1.0, np.sqrt(2))
    n = len(rows)
    sol = bpqp.solve_conic(np.eye(n), -C[rows, cols] * scale, -np.eye(n), np.zeros(n), [("psd", 4)])
    values, vectors = np.linalg.eigh(C)
    nearest = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T
    np.testing.assert_allclose(sol.x, nearest[rows, cols] * scale, atol=1e-10)


def test_sparse_data_give_sparse_gradients() -> None:
    cones = [("nonnegative", 4), ("soc", 4)]
    data = program(cones)
    keep = np.random.default_rng(5).random(data["A"].shape) < 0.6
    data["A"] = np.where(keep, data["A"], 0.0)
    dense = bpqp.solve_conic(**data, cones=cones).vjp(x=np.ones(6))
    thin = {**data, "A": sparse.csr_matrix(data["A"]), "P": sparse.coo_array(data["P"])}
    grads = bpqp.solve_conic(**thin, cones=cones).vjp(x=np.ones(6))
    assert isinstance(grads.A, sparse.csr_matrix)
    np.testing.assert_allclose(grads.A.toarray(), np.where(keep, dense.A, 0), atol=1e-9)
    np.testing.assert_allclose(grads.P.toarray(), dense.P, atol=1e-9)
    upper = {**data, "P": sparse.triu(data["P"], format="csc")}
    half = bpqp.solve_conic(**upper, cones=cones).vjp(x=np.ones(6)).P.toarray()
    np.testing.assert_allclose(half, np.triu(2 * dense.P) - np.diag(np.diag(dense.P)), atol=1e-9)


def test_a_batch_is_a_loop() -> None:
    cones = [("nonnegative", 4), ("soc", 4), ("exp",)]
    items = [program(cones, seed=k) for k in range(3)]
    A = items[0]["A"]
    q, b = np.stack([i["q"] for i in items]), np.stack([items[0]["b"] + 0.01 * k for k in range(3)])
    P = [sparse.csc_array(i["P"]) for i in items]
    sol = bpqp.solve_conic(P, q, A, b, cones)
    rng = np.random.default_rng(0)
    dx, dy = rng.normal(size=sol.x.shape), rng.normal(size=sol.y.shape)
    grads = sol.vjp(x=dx, y=dy)
    alone = [bpqp.solve_conic(P[k], q[k], A, b[k], cones) for k in range(3)]
    each = [s.vjp(x=dx[k], y=dy[k]) for k, s in enumerate(alone)]
    np.testing.assert_allclose(sol.x, [s.x for s in alone], atol=1e-10)
    np.testing.assert_allclose(grads.q, [g.q for g in each], atol=1e-8)
    np.testing.assert_allclose(grads.A, sum(g.A for g in each), atol=1e-8)  # shared: the sum
    np.testing.assert_allclose([g.toarray() for g in grads.P], [g.P.toarray() for g in each], atol=1e-8)
    t = sol.jvp(q=np.ones(6))
    np.testing.assert_allclose(t.x, [s.jvp(q=np.ones(6)).x for s in alone], atol=1e-8)
    J = sol.jacobian("y", "b")
    np.testing.assert_allclose(np.einsum("kij,ki->kj", J, dy), sol.vjp(y=dy).b, atol=1e-8)


def test_failures() -> None:
    A, cones = np.array([[1.0], [-1.0]]), [("nonnegative", 2)]
    b = np.array([[1.0, 0.0], [-1.0, -1.0]])  # the second: x <= -1 and x >= 1
    with pytest.raises(bpqp.SolveError, match="element 1: primal_infeasible") as caught:
        bpqp.solve_conic(None, [1.0], A, b, cones)
    assert caught.value.failures == [(1, "primal_infeasible")]
    assert caught.value.solution.info.certificate[1] is not None
    sol = bpqp.solve_conic(None, [1.0], A, b, cones, on_failure="nan")
    assert list(sol.ok) == [True, False]
    assert np.isnan(sol.x[1]).all()
    assert sol.x[0] == pytest.approx(0.0)
    assert np.isnan(sol.vjp(x=np.ones((2, 1)), wrt="b").b[1]).all()
    sol = bpqp.solve_conic(None, [1.0], A, b, cones, on_failure="zero_grad")
    grads = sol.vjp(x=np.ones((2, 1)))
    assert np.all(grads.b[1] == 0)
    assert grads.b[0] == pytest.approx([0.0, -1.0])
    with pytest.raises(bpqp.SolveError, match="dual_infeasible"):
        bpqp.solve_conic(None, [-1.0, 0.0], np.array([[-1.0, 0.0], [0.0, 1.0]]), [0.0, 1.0], [("soc", 2)])
    need("clarabel")
    with pytest.raises(bpqp.SolveError, match="primal_infeasible"):
        bpqp.solve_conic(None, [0.0], [[0.0], [0.0], [0.0]], [-1.0, 0.0, 1.0], [("psd", 2)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cones": [("nonnegative", 2)]}, r"cones has shape \(2,\), expected \(4,\)"),
        ({"cones": [("ball", 4)]}, r"cones\[0\] = \('ball', 4\): choose a kind"),
        ({"cones": [("exp", 3), ("zero", 1)]}, r"cones\[0\] = \('exp', 3\): write \('exp',\)"),
        ({"cones": [("pow", 1.5), ("zero", 1)]}, "strictly between 0 and 1"),
        ({"b": np.zeros(3)}, r"b has shape \(3,\), expected \(4,\)"),
        ({"q": np.full(6, np.nan)}, "q"),
        ({"P": np.triu(np.ones((6, 6)))}, "P"),
        ({"solver": "admm"}, "solver"),
        ({"eps": 1e-3}, "there is no setting 'eps'"),
    ],
)
def test_misuse_is_refused(changed: dict[str, Any], message: str) -> None:
    arguments = {**program([("soc", 4)]), "cones": [("soc", 4)], **changed}
    with pytest.raises(bpqp.ArgumentError, match=message):
        bpqp.solve_conic(**arguments)


def test_misuse_of_derivatives_is_refused() -> None:
    data = program([("soc", 4)])
    sol = bpqp.solve_conic(**data, cones=[("soc", 4)])
    for call, message in (
        (lambda: sol.vjp(), "no cotangent"),
        (lambda: sol.vjp(x=np.ones(3)), "cotangent of x has shape"),
        (lambda: sol.vjp(x=np.ones(6), wrt="c"), "wrt names 'c'"),
        (lambda: sol.jvp(), "no tangent"),
        (lambda: sol.jvp(b=np.ones((2, 4))), "batch dimension"),
        (lambda: sol.jacobian("z"), "of = 'z'"),
    ):
        with pytest.raises(bpqp.ArgumentError, match=message):
            call()
    thin = bpqp.solve_conic(**{**data, "A": sparse.csc_matrix(np.tril(data["A"]))}, cones=[("soc", 4)])
    with pytest.raises(bpqp.ArgumentError, match="outside of the sparsity pattern"):
        thin.jvp(A=np.ones((4, 6)))
