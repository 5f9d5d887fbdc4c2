"""The table of docs/abilities.md: every cell is probed, and what is found is what the table says."""

from __future__ import annotations

import importlib.util
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpqp
import numpy as np
import pytest
from bpqp._conic_data import cone_rows
from conftest import need
from test_conic import INSIDE
from test_conic_abilities import bounded

PAGE = Path(__file__).parents[2] / "docs" / "abilities.md"
N = 4
DIAGONAL, FACTOR, Q = (
    np.array([1.0, 2.0, 0.5, 1.5]),
    np.array([[1.0], [0.5], [-1.0], [0.3]]),
    np.array([1.0, -2, 0.5, -1]),
)
# ends when it is told to
ENDLESS: dict[str, Any] = {"eps_abs": 1e-300, "eps_rel": 0.0, "max_iter": 10**9, "solver": "admm", "polish": False}


def table() -> dict[tuple[str, str], str]:
    rows = [line.strip().strip("|").split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in row] for row in rows]
    return {(row[0], column): cell for row in body for column, cell in zip(head[1:], row[1:], strict=True)}


TABLE = table()


@contextmanager
def interrupted(after: float) -> Iterator[None]:
    """A keyboard interrupt after that many seconds of this process's own time, which load does not stretch."""
    old = signal.signal(signal.SIGPROF, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_PROF, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def refused(call: Callable[[], Any]) -> str:
    """ "no" where an argument is refused, "yes" where it is taken."""
    try:
        call()
    except (TypeError, AttributeError, bpqp.ArgumentError):
        return "no"
    return "yes"


def ends(call: Callable[[], Any], *, endless: bool = True) -> str:
    """ "yes" where an interrupt ends a call that is under way, "late" where it is seen at its end."""
    after, limit = 0.15, float("inf")
    if not endless:
        # the first call also imports and prepares
        call()
        start = time.process_time()
        call()
        whole = time.process_time() - start
        after, limit = 0.2 * whole, 0.7 * whole
    start = time.process_time()
    try:
        with interrupted(after):
            call()
    except KeyboardInterrupt:
        return "yes" if time.process_time() - start < limit else "late"
    return "no"


def closest(call: Callable[[], Any]) -> str:
    """ "yes" where constraints that contradict each other by 1 are met halfway, "error" where that is refused."""
    try:
        x = np.asarray(call())
    except bpqp.UnsupportedError:
        return "error"
    np.testing.assert_allclose(x.reshape(-1)[0], 0.5, atol=1e-6)
    return "yes"


# x_0 = 0 and x_0 = 1
CONTRADICTION = (np.eye(1, N).repeat(2, axis=0), np.array([0.0, 1.0]))


def long_qp() -> tuple[Any, ...]:
    rng, n = np.random.default_rng(0), 30
    root = rng.normal(size=(n, n))
    return root @ root.T, rng.normal(size=n), rng.normal(size=(20, n)), np.full(20, 0.1)


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


class Torch:
    """`bpqp.torch.solve_qp` and `QpLayer`."""

    def __init__(self) -> None:
        need("torch")
        import bpqp.torch as bt
        import torch

        self.bt, self.torch = bt, torch

    def tensor(self, value: Any) -> Any:
        return self.torch.tensor(value, dtype=self.torch.float64)

    def solve(self, q: Any = Q, P: Any = None, **more: Any) -> Any:
        q = q if isinstance(q, self.torch.Tensor) else self.tensor(q)
        P = self.torch.diag(self.tensor(DIAGONAL)) if P is None else P
        return self.bt.solve_qp(P, q, **{"lb": -0.5, **more})

    def warm_start(self) -> str:
        cold = self.solve(full=True)
        self.torch.testing.assert_close(self.solve(warm_start=cold), cold.x)
        return "yes"

    def index(self) -> str:
        layer = self.bt.QpLayer(P=self.torch.diag(self.tensor(DIAGONAL)), lb=self.torch.full((N,), -0.5).double())
        first = layer(q=self.tensor(Q), index=[3])
        self.torch.testing.assert_close(layer(q=self.tensor(Q), index=[3]), first)
        return "yes" if len(layer._memory) == 1 else "no"

    def full(self) -> str:
        out = self.solve(full=True)
        return "yes" if out.ok and out.status == "solved" else "no"

    def diagnostics(self) -> str:
        return refused(lambda: self.solve(full=True).diagnostics())

    def check_gradient(self) -> str:
        return refused(lambda: bpqp.check_gradient(self.solve(full=True)))

    def bounds(self) -> str:
        lb = self.torch.full((N,), -0.5, dtype=self.torch.float64, requires_grad=True)
        self.solve(lb=lb).sum().backward()
        return "yes" if (lb.grad != 0).any() else "no"

    def factored(self) -> str:
        F = self.tensor(FACTOR).requires_grad_()
        self.solve(P=self.bt.Factored(self.tensor(DIAGONAL), F)).sum().backward()
        return "yes" if (F.grad != 0).any() else "no"

    def objective(self) -> str:
        q = self.tensor(Q).requires_grad_()
        out = self.solve(q, full=True)
        (slope,) = self.torch.autograd.grad(out.objective, q)
        self.torch.testing.assert_close(slope, out.x.detach())
        return "yes"

    def interrupts(self) -> str:
        P, q, G, h = map(self.tensor, long_qp())
        return ends(lambda: self.bt.solve_qp(P, q, G, h, **ENDLESS))

    def verdict(self) -> str:
        return "yes" if self.solve(full=True).verdict == "exact" else "no"

    def failures(self) -> str:
        out = self.solve(np.stack([Q, Q * [np.nan, 1, 1, 1]]), full=True, on_failure="nan")
        assert out.ok.tolist() == [True, False]
        return "yes"

    def on_failure(self) -> str:
        with pytest.raises(bpqp.SolveError, match="element 1"):
            self.solve(np.stack([Q, Q * [np.nan, 1, 1, 1]]))
        return "yes"

    def on_untrusted(self) -> str:
        q = self.tensor(Q).requires_grad_()
        self.solve(q, on_untrusted="raise").sum().backward()
        with pytest.raises(bpqp.ArgumentError, match="on_untrusted"):
            self.solve(q, on_untrusted="loud")
        return "yes"

    def second(self) -> str:
        q = self.tensor(Q).requires_grad_()
        P = self.torch.diag(self.tensor(DIAGONAL)).requires_grad_()
        assert self.torch.autograd.gradgradcheck(lambda q, P: self.solve(q, P=0.5 * (P + P.T)), (q, P))
        return "yes"

    def infeasible(self) -> str:
        A, b = map(self.tensor, CONTRADICTION)
        return closest(lambda: self.solve(A=A, b=b, lb=-2.0, infeasible="closest").detach())

    def one_sided(self) -> str:
        return refused(lambda: self.solve(one_sided=True))


# |x| <= 0.8 and x_0 + x_1 <= 0.6, none of which binds where x is -0.5
DISK = (
    np.vstack([np.zeros(N), -np.eye(N), [[1.0, 1.0, 0.0, 0.0]]]),
    np.r_[1.2, np.zeros(N), 0.6],
    [("soc", N + 1), ("nonnegative", 1)],
)


# the native solver of these cones is done before the timer ticks
SLOW: Any = {"on_failure": "nan", "polish": False, "solver": "clarabel"}


def long_conic() -> tuple[Any, ...]:
    rng, n = np.random.default_rng(0), 250
    A = rng.normal(size=(8 * 151, n))
    b = rng.normal(size=8 * 151)
    A[::151], b[::151] = 0.0, 40.0
    return np.eye(n), rng.normal(size=n), A, b, [("soc", 151)] * 8


class TorchConic(Torch):
    """`bpqp.torch.solve_conic`."""

    def solve(self, q: Any = Q, P: Any = None, **more: Any) -> Any:
        q = q if isinstance(q, self.torch.Tensor) else self.tensor(q)
        P = self.torch.diag(self.tensor(DIAGONAL)) if P is None else P
        return self.bt.solve_conic(P, q, *DISK, **{"lb": -0.5, **more})

    def index(self) -> str:
        return refused(lambda: self.solve(index=[3]))

    def interrupts(self) -> str:
        *data, cones = long_conic()
        P, q, A, b = map(self.tensor, data)
        return ends(lambda: self.bt.solve_conic(P, q, A, b, cones, **SLOW), endless=False)

    def infeasible(self) -> str:
        A, b = map(self.tensor, CONTRADICTION)
        q, P = self.tensor(Q), self.torch.diag(self.tensor(DIAGONAL))
        found = [
            closest(lambda: self.bt.solve_conic(P, q, A, b, [("zero", 2)], infeasible="closest").detach()),
            closest(lambda: self.solve(infeasible="closest").detach()),
        ]
        assert found == ["yes", "error"]
        return "linear"


class Cvxpy(Torch):
    """`bpqp.torch.CvxpyLayer`."""

    def __init__(self) -> None:
        super().__init__()
        need("cvxpy")
        import cvxpy as cp

        self.cp = cp
        self.w, self.m = cp.Variable(N, bounds=[-0.2, None]), cp.Parameter(N)

    def layer(self, **options: Any) -> Any:
        objective = self.cp.sum_squares(FACTOR.T @ self.w) + self.cp.sum_squares(self.w) + self.m @ self.w
        near = self.cp.norm(self.w) <= 0.7
        return self.make(self.cp.Problem(self.cp.Minimize(objective), [near]), [self.m], [self.w], **options)

    def make(self, *args: Any, **options: Any) -> Any:
        return self.bt.CvxpyLayer(*args, **options)

    def solve(self, q: Any = Q, **more: Any) -> Any:
        q = q if isinstance(q, self.torch.Tensor) else self.tensor(q)
        own = {k: more.pop(k) for k in ("on_failure", "solver_args") if k in more}
        if "on_untrusted" in more:
            own["solver_args"] = {"on_untrusted": more.pop("on_untrusted")}
        out = self.layer(**own)(q, **more)
        return out[0] if isinstance(out, tuple) and not hasattr(out, "variables") else out

    def warm_start(self) -> str:
        return refused(lambda: self.solve(warm_start=self.solve()))

    def index(self) -> str:
        layer = self.layer()
        first = layer(self.tensor(Q), index=[3])[0]
        self.torch.testing.assert_close(layer(self.tensor(Q), index=[3])[0], first, atol=1e-8, rtol=0)
        return "yes" if len(layer._memory) == 1 else "no"

    def bounds(self) -> str:
        x = self.solve()
        return "yes" if (abs(np.asarray(x) + 0.2) < 1e-9).any() else "no"

    def factored(self) -> str:
        objective = self.cp.sum_squares(FACTOR.T @ self.w) + self.cp.sum_squares(self.w) + self.m @ self.w
        layer = self.make(self.cp.Problem(self.cp.Minimize(objective), [self.w <= 1]), [self.m], [self.w])
        return "yes" if layer._operators.canonical.pattern["P"] == (1,) else "no"

    def objective(self) -> str:
        return refused(lambda: self.solve(full=True).objective)

    def interrupts(self) -> str:
        rng, n = np.random.default_rng(0), 250
        x, c = self.cp.Variable(n), self.cp.Parameter(n)
        rows = [self.cp.norm(rng.normal(size=(150, n)) @ x + rng.normal(size=150)) <= 40 for _ in range(8)]
        problem = self.cp.Problem(self.cp.Minimize(self.cp.sum_squares(x) + c @ x), rows)
        layer = self.make(problem, [c], [x], on_failure="nan", solver="clarabel")
        value = self.value(rng.normal(size=n))
        return ends(lambda: layer(value), endless=False)

    def value(self, array: Any) -> Any:
        return self.tensor(array)

    def second(self) -> str:
        q = self.tensor(Q).requires_grad_()
        assert self.torch.autograd.gradgradcheck(lambda q: self.solve(q), (q,), atol=1e-5)
        return "yes"

    def infeasible(self) -> str:
        objective = self.cp.Minimize(self.cp.sum_squares(self.w) + self.m @ self.w)

        def call(more: Any) -> Any:
            problem = self.cp.Problem(objective, [self.w[0] == 0, self.w[0] == 1, *more])
            layer = self.make(problem, [self.m], [self.w], solver_args={"infeasible": "closest"})
            return layer(self.value(Q))[0]

        found = [closest(lambda: call([])), closest(lambda: call([self.cp.norm(self.w) <= 9]))]
        assert found == ["yes", "error"]
        return "linear"


class Jax(Torch):
    """`bpqp.jax.solve_qp`."""

    def __init__(self) -> None:
        need("jax")
        import bpqp.jax as bj
        import jax
        import jax.numpy as jnp

        self.bj, self.jax, self.jnp = bj, jax, jnp

    def solve(self, q: Any = Q, P: Any = None, **more: Any) -> Any:
        return self.bj.solve_qp(np.diag(DIAGONAL) if P is None else P, self.jnp.asarray(q), **{"lb": -0.5, **more})

    def warm_start(self) -> str:
        return refused(lambda: self.solve(warm_start=self.solve()))

    def index(self) -> str:
        return refused(lambda: self.solve(index=[3]))

    def full(self) -> str:
        out = self.solve(full=True)
        return "yes" if out.ok and self.bj.status_names(out.status) == "solved" else "no"

    def bounds(self) -> str:
        slope = self.jax.grad(lambda lb: self.solve(lb=lb).sum())(self.jnp.full(N, -0.5))
        return "yes" if (slope != 0).any() else "no"

    def factored(self) -> str:
        def f(F: Any) -> Any:
            return self.solve(P=self.bj.Factored(self.jnp.asarray(DIAGONAL), F)).sum()

        return "yes" if (self.jax.grad(f)(self.jnp.asarray(FACTOR)) != 0).any() else "no"

    def objective(self) -> str:
        slope = self.jax.grad(lambda q: self.solve(q, full=True).objective)(self.jnp.asarray(Q))
        np.testing.assert_allclose(slope, self.solve(), atol=1e-8)
        return "yes"

    def interrupts(self) -> str:
        P, q, G, h = map(self.jnp.asarray, long_qp())
        return {"yes": "eager"}.get(ends(lambda: self.bj.solve_qp(P, q, G, h, **ENDLESS)), "no")

    def verdict(self) -> str:
        return "yes" if self.bj.verdict_names(self.solve(full=True).verdict) == "exact" else "no"

    def failures(self) -> str:
        out = self.solve(np.stack([Q, Q * [np.nan, 1, 1, 1]]), full=True, on_failure="nan")
        assert out.ok.tolist() == [True, False]
        return "yes"

    def on_untrusted(self) -> str:
        self.jax.grad(lambda q: self.solve(q, on_untrusted="raise").sum())(self.jnp.asarray(Q))
        with pytest.raises(bpqp.ArgumentError, match="on_untrusted"):
            self.solve(on_untrusted="loud")
        return "yes"

    def second(self) -> str:
        from jax.test_util import check_grads

        check_grads(lambda q: self.solve(q), (self.jnp.asarray(Q),), order=2, modes=("fwd", "rev"), atol=1e-4, eps=1e-5)
        return "yes"

    def infeasible(self) -> str:
        A, b = CONTRADICTION
        return closest(lambda: self.solve(A=A, b=b, lb=-2.0, infeasible="closest"))


class JaxConic(Jax):
    """`bpqp.jax.solve_conic`."""

    def solve(self, q: Any = Q, P: Any = None, **more: Any) -> Any:
        P = self.jnp.diag(self.jnp.asarray(DIAGONAL)) if P is None else P
        return self.bj.solve_conic(P, self.jnp.asarray(q), *DISK, **{"lb": -0.5, **more})

    def interrupts(self) -> str:
        *data, cones = long_conic()
        P, q, A, b = map(self.jnp.asarray, data)
        found = ends(lambda: self.bj.solve_conic(P, q, A, b, cones, **SLOW), endless=False)
        return {"yes": "eager"}.get(found, "no")

    def infeasible(self) -> str:
        A, b = map(self.jnp.asarray, CONTRADICTION)
        P, q = self.jnp.diag(self.jnp.asarray(DIAGONAL)), self.jnp.asarray(Q)
        found = [
            closest(lambda: self.bj.solve_conic(P, q, A, b, [("zero", 2)], infeasible="closest")),
            closest(lambda: self.solve(infeasible="closest")),
        ]
        assert found == ["yes", "error"]
        return "linear"


class JaxCvxpy(Jax):
    """`bpqp.jax.CvxpyLayer`."""

    def __init__(self) -> None:
        super().__init__()
        need("cvxpy")
        import cvxpy as cp

        self.cp = cp
        self.w, self.m = cp.Variable(N, bounds=[-0.2, None]), cp.Parameter(N)

    layer, factored, interrupts_, bounds = Cvxpy.layer, Cvxpy.factored, Cvxpy.interrupts, Cvxpy.bounds
    objective, index, infeasible = Cvxpy.objective, Jax.index, Cvxpy.infeasible

    def make(self, *args: Any, **options: Any) -> Any:
        return self.bj.CvxpyLayer(*args, **options)

    def value(self, array: Any) -> Any:
        return self.jnp.asarray(array)

    def solve(self, q: Any = Q, **more: Any) -> Any:
        own = {k: more.pop(k) for k in ("on_failure",) if k in more}
        if "on_untrusted" in more:
            own["solver_args"] = {"on_untrusted": more.pop("on_untrusted")}
        out = self.layer(**own)(self.jnp.asarray(q), **more)
        return out if more.get("full") else out[0]

    def interrupts(self) -> str:
        return {"yes": "eager"}.get(self.interrupts_(), "no")


COLUMNS: dict[str, Callable[[], Any]] = {
    "QP": Qp,
    **{kind[0]: lambda kind=kind[0]: Conic(kind) for kind in INSIDE},
    "torch": Torch,
    "torch conic": TorchConic,
    "CvxpyLayer": Cvxpy,
    "JAX": Jax,
    "JAX conic": JaxConic,
    "JAX CvxpyLayer": JaxCvxpy,
}
PROBES = {
    "`warm_start=`": "warm_start",
    "`index=`": "index",
    "`diagnostics()`": "diagnostics",
    "`check_gradient`": "check_gradient",
    "bounds": "bounds",
    "factored P": "factored",
    "cotangent on the objective": "objective",
    "keyboard interrupts": "interrupts",
    "verdict": "verdict",
    "failures per element": "failures",
    "second derivatives": "second",
    "`full=True`": "full",
    "`on_failure=`": "on_failure",
    "`on_untrusted=`": "on_untrusted",
    "`infeasible=`": "infeasible",
    "`one_sided=`": "one_sided",
}


def test_the_table_is_whole() -> None:
    assert set(TABLE) == {(ability, column) for ability in PROBES for column in COLUMNS}


@pytest.mark.parametrize(("ability", "column"), list(TABLE))
def test_a_cell(ability: str, column: str) -> None:
    if ability == "keyboard interrupts" and sys.platform == "win32":
        pytest.skip("there are no timers there")
    with warnings.catch_warnings():
        if importlib.util.find_spec("jax") and "JAX" in column:
            import jax

            with jax.enable_x64(True):
                found = getattr(COLUMNS[column](), PROBES[ability])()
        else:
            found = getattr(COLUMNS[column](), PROBES[ability])()
    assert found == TABLE[ability, column]
