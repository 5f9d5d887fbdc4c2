"""`bpqp.solve_qp` where a matrix is a `bpqp.Operator`."""

from __future__ import annotations

import time
from typing import Any

import bpqp
import numpy as np
import pytest

from .arrays import Qp
from .common import CONTRADICTION, DIAGONAL, FACTOR, N, Q, closest, ends, operator, refused


class Products(Qp):
    """`bpqp.solve_qp` with P, or A, known by its products."""

    def solve(self, P: Any = None, q: Any = Q, **more: Any) -> Any:
        return bpqp.solve_qp(operator(np.diag(DIAGONAL)) if P is None else P, q, **{"lb": -0.5, **more})

    def warm_start(self) -> str:
        return refused(lambda: self.solve(warm_start=self.solve()))

    def check_gradient(self) -> str:
        return refused(lambda: bpqp.check_gradient(self.solve()))

    def factored(self) -> str:
        rows = {"A": operator(np.ones((1, N))), "b": np.array([0.3])}
        sol = self.solve(P=bpqp.Factored(DIAGONAL, FACTOR), **rows)
        dense = bpqp.solve_qp(np.diag(DIAGONAL) + FACTOR @ FACTOR.T, Q, A=np.ones((1, N)), b=rows["b"], lb=-0.5)
        np.testing.assert_allclose(sol.x, dense.x, atol=1e-7)
        return "yes" if sol.vjp(x=np.ones(N)).P.F.shape == FACTOR.shape else "no"

    def interrupts(self) -> str:
        def slow(x: Any) -> Any:
            end = time.process_time() + 0.02
            while time.process_time() < end:
                pass
            return x * np.linspace(1.0, 1e6, 50)

        return ends(lambda: bpqp.solve_qp(bpqp.Operator((50, 50), slow), -np.ones(50)))

    def verdict(self) -> str:
        sol = self.solve()
        assert sol.verdict == sol.diagnostics().verdict == sol.vjp(x=np.ones(N)).verdict == "approximate"
        return "yes"

    def failures(self) -> str:
        return refused(lambda: self._two(on_failure="nan"))

    def on_failure(self) -> str:
        # x_0 = -1 below its bound
        rows = {"A": operator(np.eye(1, N)), "b": np.array([-1.0])}
        with pytest.raises(bpqp.SolveError, match="primal_infeasible"):
            self.solve(**rows)
        assert np.isnan(self.solve(**rows, on_failure="nan").vjp(x=np.ones(N)).q).all()
        assert np.all(self.solve(**rows, on_failure="zero_grad").vjp(x=np.ones(N)).q == 0)
        return "yes"

    def infeasible(self) -> str:
        A, b = CONTRADICTION
        return closest(lambda: self.solve(A=operator(A), b=b, lb=-2.0, infeasible="closest").x)

    def one_sided(self) -> str:
        return refused(lambda: self.solve().jvp(q=Q, one_sided=True))
