"""`bpqp.jax`."""

from __future__ import annotations

from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import need

from .common import (
    CONTRADICTION,
    DIAGONAL,
    DISK,
    ENDLESS,
    FACTOR,
    SLOW,
    N,
    Q,
    closest,
    ends,
    long_conic,
    long_qp,
    refused,
)
from .tensors import Cvxpy, Torch


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
    operators = Cvxpy.operators

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
