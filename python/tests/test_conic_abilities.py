"""solve_conic: bounds, warm starts, cotangents of every output, diagnostics, check_gradient, failures per element."""

from __future__ import annotations

from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import need
from test_conic import INSIDE, program

need("scipy")
NAMES = ("P", "q", "A", "b", "lb", "ub")
OUTPUTS = ("x", "s", "y", "z_box", "objective")
CURVED = [c for c in INSIDE if c[0] not in ("zero", "nonnegative")]


def bounded(cones: Any, seed: int = 3) -> dict[str, Any]:
    """The problem of `program` with a box around its solution that cuts some of it off."""
    data = program(cones, seed=seed)
    x = bpqp.solve_conic(**data, cones=cones).x
    lb, ub = np.full(len(x), -np.inf), np.full(len(x), np.inf)
    lb[0], ub[1], lb[2], ub[2] = x[0] + 0.02, x[1] - 0.02, x[2] - 5, x[2] + 5
    return {**data, "lb": lb, "ub": ub}


def value(sol: Any, weights: dict[str, Any]) -> float:
    return sum(float(np.sum(weights[k] * getattr(sol, k))) for k in OUTPUTS)


@pytest.mark.parametrize("cone", list(INSIDE), ids=lambda c: c[0])
def test_bounds_and_every_output_against_central_differences(cone: tuple[Any, ...]) -> None:
    if cone[0] == "psd":
        need("clarabel")
    cones = [cone] if cone[0] != "zero" else [cone, ("soc", 4)]
    data = bounded(cones)
    sol = bpqp.solve_conic(**data, cones=cones)
    assert abs(sol.z_box[0]) > 1e-4 or abs(sol.z_box[1]) > 1e-4  # bounds bind
    rng = np.random.default_rng(7)
    weights = {k: rng.normal(size=np.shape(getattr(sol, k))) for k in OUTPUTS}
    grads = sol.vjp(**weights)
    assert grads.verdict == sol.verdict == "exact"
    step = 1e-5
    for name in NAMES:
        direction = rng.normal(size=data[name].shape)
        if name == "P":
            direction = direction + direction.T
        if name in ("lb", "ub"):
            direction[~np.isfinite(data[name])] = 0

        def at(h: float, name: str = name, direction: Any = direction) -> float:
            moved = data[name] + h * direction
            return value(bpqp.solve_conic(**{**data, name: moved}, cones=cones), weights)

        numeric = (at(step) - at(-step)) / (2 * step)
        reverse = float((getattr(grads, name) * direction).sum())
        t = sol.jvp(**{name: direction})
        scale = max(1.0, abs(numeric))
        assert abs(reverse - numeric) < 1e-6 * scale, (name, reverse, numeric)
        assert abs(value(t, weights) - reverse) < 1e-9 * scale, name
        assert t.verdict == "exact"
    report = bpqp.check_gradient(sol, **{k: weights[k] for k in ("x", "y", "s", "z_box", "objective")})
    assert [row["block"] for row in report.table] == list(NAMES)
    assert report.worst < 1e-5, str(report)
    assert all(row["kinks"] == 0 and row["checked"] for row in report.table)


def test_a_cone_program_of_linear_rows_is_the_quadratic_program() -> None:
    rng = np.random.default_rng(0)
    n = 6
    root, G, x0 = rng.normal(size=(n, n)), rng.normal(size=(4, n)), 0.1 * rng.normal(size=n)
    P, q, h = root @ root.T + np.eye(n), 3 * rng.normal(size=n), G @ x0 + 0.1
    lb, ub = x0 - 0.3, x0 + 0.3
    qp = bpqp.solve_qp(P, q, G, h, lb=lb, ub=ub)
    cone = bpqp.solve_conic(P, q, G, h, [("nonnegative", 4)], lb=lb, ub=ub)
    rows = bpqp.solve_conic(
        P, q, np.vstack([G, -np.eye(n), np.eye(n)]), np.concatenate([h, -lb, ub]), [("nonnegative", 4 + 2 * n)]
    )
    assert np.any(qp.z > 1e-3)
    assert np.any(np.abs(qp.z_box) > 1e-3)
    for other in (cone, rows):
        np.testing.assert_allclose(other.x, qp.x, atol=1e-12)
        assert (other.status, other.verdict) == (qp.status, qp.verdict)
        np.testing.assert_allclose(other.vjp(x=np.ones(n)).q, qp.vjp(x=np.ones(n)).q, atol=1e-12)
        np.testing.assert_allclose(other.vjp(objective=1.0).P, qp.vjp(objective=1.0).P, atol=1e-12)
    np.testing.assert_allclose(cone.z_box, qp.z_box, atol=1e-10)
    np.testing.assert_allclose(rows.y[4 + n :] - rows.y[4 : 4 + n], qp.z_box, atol=1e-10)
    d, e = qp.diagnostics(), cone.diagnostics()
    assert np.array_equal(d.active.G, e.active.rows)
    assert np.array_equal(d.active.lb, e.active.lb)
    assert np.array_equal(d.active.ub, e.active.ub)
    assert e.condition == pytest.approx(d.condition)
    held = rows.diagnostics().active.rows
    assert np.array_equal(held, np.concatenate([d.active.G, d.active.lb, d.active.ub]))


def test_numbers_stand_for_vectors_and_a_vector_for_the_only_row() -> None:
    P, q, row = np.eye(3), np.array([-1.0, -2.0, 0.5]), np.ones(3)
    short = bpqp.solve_conic(P, q, row, 1.0, [("zero", 1)], lb=0.0, ub=0.6)
    full = bpqp.solve_conic(P, q, row[None], [1.0], [("zero", 1)], lb=np.zeros(3), ub=np.full(3, 0.6))
    np.testing.assert_array_equal(short.x, full.x)
    a, b = short.vjp(x=[1.0, 2.0, 3.0]), full.vjp(x=[1.0, 2.0, 3.0])
    assert a.A.shape == (3,)
    np.testing.assert_allclose(a.A, b.A[0])
    np.testing.assert_allclose([a.b, a.lb, a.ub], [b.b.sum(), b.lb.sum(), b.ub.sum()])
    np.testing.assert_allclose(short.jvp(lb=1.0).x, full.jvp(lb=np.ones(3)).x)
    np.testing.assert_allclose(short.jacobian("x", "ub"), full.jacobian("x", "ub").sum(-1))


@pytest.mark.parametrize("cone", [c for c in INSIDE if c[0] != "psd"], ids=lambda c: c[0])
def test_a_warm_start_saves_iterations_and_never_decides(cone: tuple[Any, ...]) -> None:
    cones = [cone] if cone[0] != "zero" else [cone, ("soc", 4)]
    data = bounded(cones)
    cold = bpqp.solve_conic(**data, cones=cones)
    moved = {**data, "q": data["q"] + 1e-6}
    fresh = bpqp.solve_conic(**moved, cones=cones)
    warm = bpqp.solve_conic(**moved, cones=cones, warm_start=cold)
    assert warm.info.iterations < fresh.info.iterations
    np.testing.assert_allclose(warm.x, fresh.x, atol=1e-9)
    start = {"x": cold.x, "y": cold.y}
    np.testing.assert_allclose(bpqp.solve_conic(**moved, cones=cones, warm_start=start).x, fresh.x, atol=1e-9)
    wild = {"x": np.full_like(cold.x, 1e6), "y": np.full_like(cold.y, np.nan)}
    np.testing.assert_allclose(bpqp.solve_conic(**moved, cones=cones, warm_start=wild).x, fresh.x, atol=1e-9)


def test_misuse_of_warm_starts_and_bounds_is_refused() -> None:
    data = program([("soc", 4)])
    for changed, message in (
        ({"warm_start": {"x": np.zeros(6)}}, "warm_start has no y"),
        ({"warm_start": {"x": np.zeros(5), "y": np.zeros(4)}}, r"warm_start.x has shape \(5,\), expected \(6,\)"),
        ({"lb": np.zeros(5)}, r"lb has shape \(5,\), expected \(6,\)"),
        ({"lb": np.ones(6), "ub": np.zeros(6)}, "lb"),
        ({"ub": np.full(6, np.nan)}, "ub"),
    ):
        with pytest.raises(bpqp.ArgumentError, match=message):
            bpqp.solve_conic(**data, cones=[("soc", 4)], **changed)
    sol = bpqp.solve_conic(**data, cones=[("soc", 4)])
    with pytest.raises(bpqp.ArgumentError, match="a tangent of lb was given, but lb is absent"):
        sol.jvp(lb=np.ones(6))
    with pytest.raises(bpqp.ArgumentError, match="a cotangent of z was given"):
        bpqp.check_gradient(sol, z=np.ones(4))


def test_diagnostics_name_cones_rows_and_bounds() -> None:
    # (x0, x1, x2) with |(x1, x2)| <= x0 <= 1: the linear rows 0 and 1, then the cone
    A = np.vstack([[1.0, 0, 0], [0, 0, 1.0], -np.eye(3)])
    sol = bpqp.solve_conic(
        None, [0.0, -1.0, 0.0], A, [1.0, 5.0, 0, 0, 0], [("nonnegative", 2), ("soc", 3)], lb=[-1.0, -1.0, 0.0]
    )
    np.testing.assert_allclose(sol.x, [1, 1, 0], atol=1e-9)
    d = sol.diagnostics()
    assert list(d.active.cones) == ["boundary", "boundary"]
    assert list(d.active.rows) == [True, False, True, True, True]
    assert not d.active.ub.any()
    assert set(d.residuals) == {"primal", "dual", "complementarity", "gap"}
    assert d.verdict == sol.verdict
    assert "active rows" in str(sol)
    # at the apex, and inside
    apex = bpqp.solve_conic(np.eye(3), [5.0, 0.1, 0.1], -np.eye(3), np.zeros(3), [("soc", 3)]).diagnostics()
    assert list(apex.active.cones) == ["apex"]
    assert apex.active.rows.all()
    inside = bpqp.solve_conic(np.eye(3), [-5.0, 0.1, 0.1], -np.eye(3), np.zeros(3), [("soc", 3)]).diagnostics()
    assert list(inside.active.cones) == ["interior"]
    assert not inside.active.rows.any()
    kink = bpqp.solve_conic(np.eye(3), np.zeros(3), -np.eye(3), np.zeros(3), [("soc", 3)]).diagnostics()
    assert list(kink.weakly_active.cones) == [True]
    assert kink.verdict == "one_of_several"
    weak = bpqp.solve_conic(np.eye(2), np.zeros(2), np.ones((1, 2)), [1.0], [("nonnegative", 1)], lb=0.0, ub=1.0)
    assert weak.diagnostics().weakly_active.lb.all()
    assert not weak.diagnostics().weakly_active.ub.any()


def test_a_batch_with_bounds_fails_by_element() -> None:
    cones = [("nonnegative", 4), ("soc", 4)]
    data = bounded(cones)
    n = len(data["q"])
    lb = np.stack([data["lb"]] * 4)
    lb[1, 5] = np.nan
    lb[2, 1] = data["ub"][1] + 1
    q = np.stack([data["q"] + 0.01 * k for k in range(4)])
    q[3, 0] = np.inf
    batch = {**data, "lb": lb, "q": q}
    sol = bpqp.solve_conic(**batch, cones=cones, on_failure="nan")
    assert list(sol.ok) == [True, False, False, False]
    assert list(sol.status) == ["solved", "invalid_data", "invalid_data", "invalid_data"]
    assert list(sol.verdict) == ["exact", "untrusted", "untrusted", "untrusted"]
    alone = bpqp.solve_conic(**data, cones=cones)
    np.testing.assert_allclose(sol.x[0], alone.x, atol=1e-12)
    grads = sol.vjp(x=np.ones((4, n)))  # no warning: the failures were asked for
    np.testing.assert_allclose(grads.lb[0], alone.vjp(x=np.ones(n)).lb, atol=1e-10)
    assert np.isnan(grads.lb[1:]).all()
    with pytest.raises(bpqp.SolveError, match="element 1: invalid_data"):
        bpqp.solve_conic(**batch, cones=cones)
    zero = bpqp.solve_conic(**batch, cones=cones, on_failure="zero_grad").vjp(x=np.ones((4, n)))
    assert np.all(zero.q[1:] == 0)
    warm = bpqp.solve_conic(**batch, cones=cones, on_failure="nan", warm_start=sol)
    np.testing.assert_allclose(warm.x[0], alone.x, atol=1e-12)
    with pytest.raises(bpqp.ArgumentError):
        bpqp.solve_conic(**{**data, "lb": lb[1]}, cones=cones)


def test_the_certificate_names_bounds() -> None:
    with pytest.raises(bpqp.SolveError, match="primal_infeasible") as caught:
        bpqp.solve_conic(None, [0.0], [[1.0]], [-1.0], [("nonnegative", 1)], lb=0.0)
    y, z_box = caught.value.solution.info.certificate
    assert y[0] > 0
    assert z_box[0] < 0
    assert y[0] * -1.0 + z_box[0] * 0.0 < 0  # b'y + (bound)'z_box < 0, A'y + z_box = 0
    assert y[0] + z_box[0] == pytest.approx(0)


def test_pickled_solutions_keep_bounds_and_diagnostics() -> None:
    import pickle

    cones = [("nonnegative", 4), ("soc", 4)]
    sol = bpqp.solve_conic(**bounded(cones), cones=cones)
    again = pickle.loads(pickle.dumps(sol))
    assert again.verdict == sol.verdict
    assert np.array_equal(again.diagnostics().active.rows, sol.diagnostics().active.rows)
    n = len(sol.x)
    np.testing.assert_allclose(again.vjp(x=np.ones(n)).lb, sol.vjp(x=np.ones(n)).lb, atol=1e-10)
