"""`bpqp.solve_qp`, `bpqp.solve_conic`."""

from __future__ import annotations

from typing import Any

import bpqp
import numpy as np
import pytest
from bpqp._conic_data import cone_rows
from conftest import need
from test_conic import INSIDE
from test_conic_abilities import bounded

from .common import CONTRADICTION, DIAGONAL, ENDLESS, FACTOR, N, Q, closest, ends, long_qp, operator, refused


class Qp:
    """`bpqp.solve_qp`."""

    def solve(self, P: Any = None, q: Any = Q, **more: Any) -> Any:
        return bpqp.solve_qp(np.diag(DIAGONAL) if P is None else P, q, **{"lb": -0.5, **more})

    def warm_start(self) -> str:
        cold = self.solve()
        warm = self.solve(q=Q + 1e-7, warm_start=cold)
        assert warm.info.solver == "active_set" or warm.info.iterations <= cold.info.iterations
        return "yes"

    def index(self) -> str:
        return refused(lambda: self.solve(index=[0]))

    def full(self) -> str:
        return refused(lambda: self.solve(full=True))

    def diagnostics(self) -> str:
        d = self.solve().diagnostics()
        assert d.active.lb.any()
        assert d.residuals["primal"] < 1e-8
        return "yes"

    def check_gradient(self) -> str:
        assert bpqp.check_gradient(self.solve()).worst < 1e-5
        return "yes"

    def bounds(self) -> str:
        sol = self.solve()
        assert np.any(np.abs(sol.z_box) > 1e-3)
        return "yes" if np.any(sol.vjp(x=np.ones_like(sol.x)).lb != 0) else "no"

    def factored(self) -> str:
        sol = self.solve(P=bpqp.Factored(DIAGONAL, FACTOR))
        dense = self.solve(P=np.diag(DIAGONAL) + FACTOR @ FACTOR.T)
        np.testing.assert_allclose(sol.x, dense.x, atol=1e-8)
        return "yes" if sol.vjp(x=np.ones_like(sol.x)).P.F.shape == FACTOR.shape else "no"

    def objective(self) -> str:
        sol = self.solve()
        np.testing.assert_allclose(sol.vjp(objective=1.0).q, sol.x, atol=1e-9)
        return "yes"

    def interrupts(self) -> str:
        return ends(lambda: bpqp.solve_qp(*long_qp(), **ENDLESS))

    def verdict(self) -> str:
        sol = self.solve()
        assert sol.verdict == sol.diagnostics().verdict == sol.vjp(x=np.ones_like(sol.x)).verdict == "exact"
        return "yes"

    def _two(self, **more: Any) -> Any:
        return self.solve(q=np.stack([Q, Q * [np.nan, 1, 1, 1]]), **more)

    def failures(self) -> str:
        sol = self._two(on_failure="nan")
        assert list(sol.ok) == [True, False]
        assert list(sol.status) == ["solved", "invalid_data"]
        return "yes"

    def on_failure(self) -> str:
        with pytest.raises(bpqp.SolveError, match="element 1"):
            self._two()
        assert np.isnan(self._two(on_failure="nan").vjp(x=np.ones((2, N))).q[1]).all()
        assert np.all(self._two(on_failure="zero_grad").vjp(x=np.ones((2, N))).q[1] == 0)
        return "yes"

    def on_untrusted(self) -> str:
        self.solve(on_untrusted="raise").vjp(x=np.ones(N))
        with pytest.raises(bpqp.ArgumentError, match="on_untrusted"):
            self.solve(on_untrusted="loud")
        return "yes"

    def second(self) -> str:
        return refused(lambda: self.solve().second_vjp(x=np.ones(N)))

    def operators(self) -> str:
        return refused(lambda: self.solve(P=operator(np.diag(DIAGONAL))))

    def infeasible(self) -> str:
        return closest(lambda: self.solve(A=CONTRADICTION[0], b=CONTRADICTION[1], lb=-2.0, infeasible="closest").x)

    def one_sided(self) -> str:
        # every variable weakly at its bound: it follows upwards only
        sol = bpqp.solve_qp(np.eye(N), np.zeros(N), lb=0)
        for sign, expected in ((1.0, 0.0), (-1.0, 1.0)):
            moved = sol.jvp(q=np.full(N, sign), one_sided=True)
            np.testing.assert_allclose(moved.x, expected, atol=1e-9)
        return "yes"


class Conic(Qp):
    """`bpqp.solve_conic` with one kind of cone."""

    def __init__(self, kind: str) -> None:
        self.cone = next(c for c in INSIDE if c[0] == kind)
        if kind == "psd":
            need("clarabel")
        self.cones = [self.cone] if kind != "zero" else [self.cone, ("soc", 4)]
        self.data = bounded(self.cones)

    def solve(self, **more: Any) -> Any:
        if "index" in more or "full" in more:
            return bpqp.solve_conic(**self.data, cones=self.cones, **more)
        if "q" in more and more["q"] is not Q:
            move = np.asarray(more.pop("q")) - Q
            more["q"] = self.data["q"] + np.pad(move, [(0, 0)] * (move.ndim - 1) + [(0, 2)])
        return bpqp.solve_conic(**{**self.data, **more}, cones=self.cones)

    def warm_start(self) -> str:
        cold = self.solve()
        changed = {"q": self.data["q"] + 1e-6}
        fresh = bpqp.solve_conic(**{**self.data, **changed}, cones=self.cones)
        warm = bpqp.solve_conic(**{**self.data, **changed}, cones=self.cones, warm_start=cold)
        np.testing.assert_allclose(warm.x, fresh.x, atol=1e-8)
        return "yes" if warm.info.iterations < fresh.info.iterations else "ignored"

    def diagnostics(self) -> str:
        d = self.solve().diagnostics()
        assert len(d.active.cones) == len(self.cones)
        assert d.active.lb.any() or d.active.ub.any()
        return "yes"

    def factored(self) -> str:
        d, F = np.linspace(0.5, 1.5, 6), np.linspace(-0.5, 1.0, 6)[:, None]
        sol = self.solve(P=bpqp.Factored(d, F))
        np.testing.assert_allclose(sol.x, self.solve(P=np.diag(d) + F @ F.T).x, atol=1e-7)
        return "yes" if sol.vjp(x=np.ones(6)).P.F.shape == F.shape else "no"

    def interrupts(self) -> str:
        # the timer ticks every few milliseconds
        rng, n, copies = np.random.default_rng(0), *((600, 400) if self.cone[0] == "nonnegative" else (250, 110))
        cones = [self.cone] * copies
        m = sum(map(cone_rows, cones))
        A = rng.normal(size=(m, n))
        inside = np.concatenate([INSIDE[c] for c in cones])
        if self.cone[0] == "zero":
            cones, m = [("zero", 100), ("soc", 400)], 500
            A, inside = rng.normal(size=(m, n)), np.r_[np.zeros(100), 30.0, np.zeros(399)]
        if self.cone[0] == "psd":
            # one of a size at which the solver, not what is around it, takes the time
            order, n = 28, 120
            cones, m = [("psd", order)], order * (order + 1) // 2
            A, inside = rng.normal(size=(m, n)), 5 * np.eye(order)[np.tril_indices(order)]
        q, b = rng.normal(size=n), A @ (0.1 * rng.normal(size=n)) + inside
        # however it ends, it takes a while
        slow: Any = {"solver": "clarabel"} if self.cone[0] == "zero" else {}
        options: Any = {"on_failure": "nan", "polish": False, **slow}
        return ends(lambda: bpqp.solve_conic(np.eye(n), q, A, b, cones, **options), endless=False)

    def _two(self, **more: Any) -> Any:
        q = np.stack([self.data["q"]] * 2)
        q[1, 0] = np.nan
        return bpqp.solve_conic(**{**self.data, "q": q}, cones=self.cones, **more)

    def on_failure(self) -> str:
        with pytest.raises(bpqp.SolveError, match="element 1"):
            self._two()
        assert np.isnan(self._two(on_failure="nan").vjp(x=np.ones((2, 6))).q[1]).all()
        assert np.all(self._two(on_failure="zero_grad").vjp(x=np.ones((2, 6))).q[1] == 0)
        return "yes"

    def on_untrusted(self) -> str:
        self.solve(on_untrusted="raise").vjp(x=np.ones(6))
        with pytest.raises(bpqp.ArgumentError, match="on_untrusted"):
            self.solve(on_untrusted="loud")
        return "yes"

    def second(self) -> str:
        sol = self.solve()
        ask = ([False, True] + [False] * 4, [True] * 6, 0)
        rows, along = (np.ones((1, 6)), None, None, None, None), (None, np.ones(6), None, None, None, None)
        try:
            found = sol._solved.second_vjp(rows, along, *ask)[1]
        except bpqp.UnsupportedError:
            return "error"
        step = 1e-5
        moved = [
            bpqp.solve_conic(**{**self.data, "q": self.data["q"] + sign * step}, cones=self.cones).vjp(x=np.ones(6)).q
            for sign in (1, -1)
        ]
        np.testing.assert_allclose(found, (moved[0] - moved[1]) / (2 * step), atol=1e-5)
        return "yes"

    def operators(self) -> str:
        return refused(lambda: self.solve(P=operator(np.eye(6))))

    def _linear(self) -> list[Any]:
        """The cones, without the curved one that the zero cone has beside it elsewhere."""
        return [self.cone]

    def infeasible(self) -> str:
        cones = [("zero", 2), *self._linear()]
        rows = sum(map(cone_rows, self._linear()))
        n = 1 + rows
        # the first variable is pulled to 0 and to 1, the others are in the cone
        A = np.zeros((2 + rows, n))
        A[:2, 0] = 1.0
        A[2:, 1:] = -np.eye(rows)
        b = np.r_[0.0, 1.0, np.zeros(rows)]
        return closest(lambda: bpqp.solve_conic(np.eye(n), np.zeros(n), A, b, cones, infeasible="closest").x)

    def one_sided(self) -> str:
        cones = self._linear()
        rows = sum(map(cone_rows, cones))
        n = 1 + rows
        A = np.hstack([np.zeros((rows, 1)), -np.eye(rows)])
        q = np.r_[0.0, -np.asarray(INSIDE[self.cone])] if self.cone[0] != "zero" else np.zeros(n)
        sol = bpqp.solve_conic(np.eye(n), q, A, np.zeros(rows), cones, lb=np.r_[0.0, np.full(rows, -np.inf)])
        try:
            moved = [sol.jvp(q=np.eye(1, n)[0] * sign, one_sided=True).x[0] for sign in (1, -1)]
        except bpqp.UnsupportedError:
            return "error"
        np.testing.assert_allclose(moved, [0.0, 1.0], atol=1e-9)
        return "yes"
