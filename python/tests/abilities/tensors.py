"""`bpqp.torch`."""

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
    operator,
    refused,
)


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

    def operators(self) -> str:
        return refused(lambda: self.solve(P=operator(np.diag(DIAGONAL))))

    def infeasible(self) -> str:
        A, b = map(self.tensor, CONTRADICTION)
        return closest(lambda: self.solve(A=A, b=b, lb=-2.0, infeasible="closest").detach())

    def one_sided(self) -> str:
        return refused(lambda: self.solve(one_sided=True))


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

    def operators(self) -> str:
        return refused(lambda: self.layer()(operator(np.eye(N))))

    def infeasible(self) -> str:
        objective = self.cp.Minimize(self.cp.sum_squares(self.w) + self.m @ self.w)

        def call(more: Any) -> Any:
            problem = self.cp.Problem(objective, [self.w[0] == 0, self.w[0] == 1, *more])
            layer = self.make(problem, [self.m], [self.w], solver_args={"infeasible": "closest"})
            return layer(self.value(Q))[0]

        found = [closest(lambda: call([])), closest(lambda: call([self.cp.norm(self.w) <= 9]))]
        assert found == ["yes", "error"]
        return "linear"
