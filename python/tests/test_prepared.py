"""`QpSolver`: the numbers of `solve_qp`, in place."""

from __future__ import annotations

import threading
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import one

NAMES = ("P", "q", "G", "h", "A", "b", "lb", "ub")


def data(seed: int) -> dict[str, Any]:
    found = one(np.random.default_rng(seed))
    return {k: np.asarray(found[k], dtype=float) for k in NAMES if k in found}


@pytest.mark.parametrize("warm", [False, True])
def test_it_has_the_numbers_of_solve_qp(warm: bool) -> None:
    first = data(0)
    s = bpqp.QpSolver(**first)
    assert s.status == "unsolved" and not s.ok and np.isnan(s.objective) and s.verdict == "none"
    x, out = s.x, {name: np.full_like(value, np.nan) for name, value in first.items()}
    rng, own = np.random.default_rng(1), first
    for k in range(6):
        # all of another problem, or some numbers moved a little
        if k < 4:
            own = data(k)
            s.update(**own)
        else:
            own["q"], own["h"] = own["q"] + 0.01 * rng.normal(size=own["q"].shape), own["h"] + 0.01
            s.update(q=own["q"], h=own["h"])
        assert s.status == "unsolved"
        sol = bpqp.solve_qp(**own)
        assert s.solve(warm=warm) is x and s.x is x and s.ok and s.status == "solved"
        for name in ("x", "y", "z", "z_box", "objective"):
            np.testing.assert_allclose(getattr(s, name), getattr(sol, name), atol=1e-11, rtol=1e-11)
        dx, dy, dz, db = (rng.normal(size=len(v)) for v in (s.x, s.y, s.z, s.z_box))
        expected = sol.vjp(dx, dy, dz, db, 0.5)
        assert s.vjp(dx, dy, dz, db, 0.5, out=out) is out
        new = s.vjp(dx, dy, dz, db, 0.5)
        assert new.verdict == s.verdict == expected.verdict
        for name in first:
            np.testing.assert_allclose(out[name], getattr(expected, name), atol=1e-9, rtol=1e-9)
            np.testing.assert_array_equal(out[name], getattr(new, name))
    again = s.vjp(np.zeros_like(dx), out=new)
    assert again is new and not new.P.any() and not new.lb.any()
    assert s.vjp(dx, wrt="q").G is None


def test_vectors_may_come_later() -> None:
    own = data(0)
    s = bpqp.QpSolver(own["P"], G=own["G"], A=own["A"])
    with pytest.raises(bpqp.ArgumentError, match="b, h, q: given neither"):
        s.solve()
    s.update(q=own["q"], h=list(own["h"]))
    with pytest.raises(bpqp.ArgumentError, match="b: given neither"):
        s.solve()
    s.update(b=own["b"].astype(np.float32).astype(float))
    np.testing.assert_allclose(s.solve(), bpqp.solve_qp(**{k: own[k] for k in NAMES[:6]}).x, atol=1e-6)
    simple = bpqp.QpSolver(q=np.ones(2), lb=0.0, ub=1.0)
    np.testing.assert_array_equal(simple.solve(), [0.0, 0.0])


def test_what_fails_leaves_no_number() -> None:
    # x <= 1 and x >= 2
    s = bpqp.QpSolver(np.eye(1), np.zeros(1), np.array([[1.0], [-1.0]]), np.array([1.0, 0.0]))
    s.solve()
    s.update(h=np.array([1.0, -2.0]))
    with pytest.raises(bpqp.ArgumentError, match="solve first"):
        s.vjp(np.ones(1))
    with pytest.raises(bpqp.SolveError, match="primal_infeasible") as caught:
        s.solve()
    assert caught.value.failures == [(0, "primal_infeasible")] and np.isnan(s.x).all() and not s.ok
    with pytest.raises(bpqp.SolveError):
        s.vjp(np.ones(1))
    for policy, number in (("nan", np.nan), ("zero_grad", 0.0)):
        s = bpqp.QpSolver(np.eye(1), np.zeros(1), np.array([[1.0], [-1.0]]), np.array([1.0, -2.0]), on_failure=policy)
        s.solve()
        assert s.status == "primal_infeasible" and not s.ok and np.isnan(s.objective)
        np.testing.assert_array_equal(s.vjp(np.ones(1)).h, [number, number])
    closest = bpqp.QpSolver(
        np.eye(1), np.zeros(1), np.array([[1.0], [-1.0]]), np.array([1.0, -2.0]), infeasible="closest"
    )
    np.testing.assert_allclose(closest.solve(), [1.5])
    assert closest.ok and closest.status == "primal_infeasible"
    np.testing.assert_allclose(closest.vjp(np.ones(1), wrt="h").h, [0.5, -0.5])


def test_what_cannot_be_is_refused_and_changes_nothing() -> None:
    own = data(0)
    s = bpqp.QpSolver(**own)
    before = s.solve().copy()
    n = len(before)
    for call, word in (
        (lambda: s.update(q=np.ones(n + 1)), "q has shape"),
        (lambda: s.update(q=np.full(n, np.nan)), r"q\[0\]"),
        (lambda: s.update(P=np.triu(np.ones((n, n)))), "symmetric"),
        (lambda: s.update(lb=np.ones(n), ub=-np.ones(n)), "lb"),
        (lambda: s.update(q="costs"), "q"),
        (lambda: s.vjp(), "no cotangent was given: pass x="),
        (lambda: s.vjp(np.ones(n), out={"Q": np.ones(n)}), "Q"),
        (lambda: s.vjp(np.ones(n), out={"q": np.ones(n + 1)}), "out.q"),
        (lambda: s.vjp(np.ones(n), out={"q": np.ones(2 * n)[::2]}), "out.q"),
        (lambda: s.vjp(np.ones(n), out={"q": np.ones(n, np.float32)}), "out.q"),
        (lambda: s.vjp(np.ones(n), out={}, wrt="q"), "out"),
        (lambda: s.vjp(np.ones(n), wrt="w"), "wrt"),
        (lambda: s.vjp(np.ones(n + 1)), "cotangent of x has shape"),
        (lambda: bpqp.QpSolver(**{**own, "q": np.ones((3, n))}), "batch"),
        (lambda: bpqp.QpSolver(**{**own, "q": np.ones(n, np.float32)}), "float32"),
        (lambda: bpqp.QpSolver(bpqp.Factored(np.ones(n), np.ones((n, 1))), own["q"]), "Factored"),
        (lambda: bpqp.QpSolver(), "variables"),
        (lambda: bpqp.QpSolver(np.eye(2), tolerance=1), "tolerance"),  # type: ignore[call-arg]
    ):
        with pytest.raises(bpqp.Error, match=word):
            call()
    np.testing.assert_array_equal(s.solve(warm=False), before)
    s.x.flags.writeable = False
    with pytest.raises(bpqp.ArgumentError, match="x cannot be written"):
        s.solve()


def test_doubts_are_told() -> None:
    # a linear program with a face of solutions
    s = bpqp.QpSolver(q=np.array([1.0, 1.0]), A=np.ones((1, 2)), b=np.ones(1), lb=np.zeros(2))
    s.solve()
    grad = s.vjp(np.array([1.0, 0.0]))
    assert grad.verdict == bpqp.solve_qp(None, np.ones(2), A=np.ones((1, 2)), b=np.ones(1), lb=np.zeros(2)).verdict


def test_threads_have_solvers_of_their_own() -> None:
    wrong = []

    def work(seed: int) -> None:
        own = data(seed)
        s, expected = bpqp.QpSolver(**own), bpqp.solve_qp(**own).x
        for _ in range(50):
            s.update(q=own["q"])
            if not np.allclose(s.solve(), expected, atol=1e-11):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
