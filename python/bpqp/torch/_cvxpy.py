"""A CVXPY problem as a PyTorch module: an `Operator` as the `Call` of the autograd functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import torch

from .._errors import ArgumentError, DtypeError
from .._types import OnFailure
from ._functions import Solve
from ._memory import Memory
from ._nonlinear import CvxpyNlp
from ._operator import OperatorCall
from ._solution import CvxpySolution
from ._tensors import cast_up
from ._types import TensorLike

if TYPE_CHECKING:
    import cvxpy as cp


class CvxpyLayer(torch.nn.Module):
    """The solution of a parametrized CVXPY problem as a function of its parameters.

        layer = CvxpyLayer(problem, parameters=[A, b], variables=[x])
        (x_star,) = layer(A_tensor, b_tensor)

    The problem must be DPP; a parameter may be the matrix of a `quad_form` in the objective. It is compiled once.

    Args:
        problem: a `cvxpy.Problem`.
        parameters: all its parameters, in the order of the tensors of a call.
        variables: what a call returns: variables of the problem, and dual variables of its constraints
            (`constraint.dual_variables`).
        solver: "auto" or "clarabel"; the names that cvxpylayers knows mean "auto".
        gp: the problem is a geometric program (DGP).
        verbose, canon_backend: as for cvxpylayers.
        solver_args: settings as for `bpqp.solve_conic`. Tolerances above 1e-8 and arguments of SCS and diffcp that have
            no meaning here are accepted and change nothing.
        on_failure: "raise", "nan" or "zero_grad", as for `bpqp.solve_conic`.
        nlp: the problem is disciplined nonlinear (DNLP, CVXPY 1.9), not necessarily convex: a local solution, from the
            values of its variables, with the derivatives and verdicts of `NonlinearLayer`. Of its settings
            `solver_args` takes eps_abs, eps_rel, max_iter, time_limit and on_untrusted.

    First and second derivatives, in reverse and forward mode, and the transforms of torch.func. Second ones are not
    there (UnsupportedError) where a semidefinite cone or a kink of a cone is in the way.
    """

    def __init__(
        self,
        problem: cp.Problem,
        parameters: Sequence[cp.Parameter],
        variables: Sequence[cp.Variable],
        solver: str | None = None,
        gp: bool = False,
        verbose: bool = False,
        canon_backend: str | None = None,
        solver_args: Mapping[str, Any] | None = None,
        *,
        on_failure: OnFailure = "raise",
        nlp: bool = False,
    ) -> None:
        super().__init__()
        self._nlp: CvxpyNlp | None = None
        if nlp:
            from ..cvxpy._nlp import compiled

            self._nlp = CvxpyNlp(*compiled(problem, parameters, variables, solver_args, on_failure))
            return
        from ..cvxpy import Canonical
        from ..cvxpy._operator import Operators

        self.canonical = Canonical(problem, parameters, variables, gp=gp, canon_backend=canon_backend)
        args = {**(solver_args or {}), **({"verbose": True} if verbose else {})}
        self._operators = Operators(self.canonical, solver, args, on_failure)
        self._memory = Memory()

    def extra_repr(self) -> str:
        if self._nlp is not None:
            return f"{self._nlp.nlp.n} variables, nlp=True"
        m, n = self.canonical.shape
        return f"{n} variables, {m} rows, cones=[{_summary(self.canonical.cones)}]"

    def forget(self) -> None:
        """Forgets the warm starts."""
        if self._nlp is not None:
            self._nlp.memory.clear()
            return
        self._memory.clear()

    @overload
    def __call__(
        self,
        *params: torch.Tensor,
        index: TensorLike | None = None,
        full: Literal[False] = False,
        solver_args: Mapping[str, Any] | None = None,
    ) -> tuple[torch.Tensor, ...]: ...

    @overload
    def __call__(
        self,
        *params: torch.Tensor,
        index: TensorLike | None = None,
        full: Literal[True],
        solver_args: Mapping[str, Any] | None = None,
    ) -> CvxpySolution: ...

    def __call__(self, *params: Any, **options: Any) -> Any:
        return super().__call__(*params, **options)

    def forward(
        self,
        *params: torch.Tensor,
        index: TensorLike | None = None,
        full: bool = False,
        solver_args: Mapping[str, Any] | None = None,
    ) -> Any:
        """The values of the variables, a tuple; with `full` a `CvxpySolution`: `variables`, `status`, `ok`, `verdict`.

        Each tensor has the shape of its parameter, or a batch dimension before it; those without are shared by the
        batch, and their gradient is the sum. A parameter with `sparsity` is given as the vector of its entries, and a
        symmetric one is read as (S + S') / 2, so that its gradient is symmetric. The dtype and device of the result are
        those of the first tensor; under autocast, tensors of low precision are cast up.

        `index` names the samples of the batch, one integer for each: the solution of each is remembered and is where
        its next solve starts. Semidefinite cones start afresh.

        Raises:
            ArgumentError: a tensor of another shape than its parameter, values that are not what a parameter is
                declared to be (symmetric, PSD, nonneg, diag, bounds, ...), or an index of another length than the
                batch.
            DtypeError: what is no tensor of float32 or float64.
            SolveError: some problem has no solution, or none was found, and `on_failure` is "raise".
        """
        if self._nlp is not None:
            if solver_args is not None:
                raise ArgumentError("with nlp=True settings are given where the layer is made")
            _, tensors = _tensors(params)
            return self._nlp(tensors, None if index is None else Memory.names(index, len(index)), full)
        operator = self._operators.get(solver_args)
        reference, tensors = _tensors(params)
        batch = operator.check(tensors)
        names = None if index is None else Memory.names(index, batch or 1)
        warm = None if names is None else self._memory.start(names)
        inputs = [_OF[kind](tensors[k]) for k, kind in self.canonical.inputs]
        call = OperatorCall(operator, batch or 1, reference, warm)
        *outputs, state = Solve.apply(call, *inputs)
        if names is not None and call.solved is not None:
            self._memory.keep(names, call.solved)
        if batch is None:
            outputs = [v[0] for v in outputs]
        kinds = (exponential for _, _, exponential in self.canonical.outputs)
        variables = tuple(torch.exp(v) if e else v for v, e in zip(outputs, kinds, strict=True))
        if not full:
            return variables
        ok, status = state[:, -1] != 0, call.status
        if status is None or len(status) != call.size:
            return CvxpySolution(variables, ok if batch is not None else ok[0], None)
        if batch is None:
            return CvxpySolution(variables, ok[0], status[0], call.solved)
        return CvxpySolution(variables, ok, np.array(status), call.solved)


# what the inputs of the maps are of the parameters
_OF: dict[str, Any] = {"": lambda value: value, "log": torch.log, "square": torch.square}


def _tensors(params: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    params = [cast_up(p) if isinstance(p, torch.Tensor) else p for p in params]
    for k, value in enumerate(params):
        if not isinstance(value, torch.Tensor):
            raise DtypeError(f"parameter {k} is a {type(value).__name__}: pass a tensor")
        if value.dtype not in (torch.float32, torch.float64):
            raise DtypeError(f"parameter {k} has dtype {value.dtype}: pass float32 or float64")
    like = params[0] if params else torch.zeros(0, dtype=torch.float64)
    return like.detach(), list(params)


def _summary(cones: Any) -> str:
    counts: dict[str, int] = {}
    for cone in cones:
        counts[cone[0]] = counts.get(cone[0], 0) + 1
    return ", ".join(f"{kind}" if count == 1 else f"{count} {kind}" for kind, count in counts.items())
