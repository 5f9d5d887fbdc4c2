"""bpqp as a solver of cvxpylayers (1.2 and later): the layer stays theirs, solution and derivative are bpqp's.

    from cvxpylayers.torch import CvxpyLayer
    from bpqp.compat.cvxpylayers import Bpqp

    layer = CvxpyLayer(problem, parameters=[A, b], variables=[x], solver=Bpqp())

Besides what their default path does: a quadratic objective stays one, a parameter may be the matrix of a `quad_form`,
and the batch is solved and differentiated at once. Their layer for JAX takes no such solver (it fails in 1.2.0).
`bpqp.compat.diffcp` runs their default path instead, the call unchanged; `bpqp.torch.CvxpyLayer` and
`bpqp.jax.CvxpyLayer` are the layers of this package.

The gradient of a symmetric parameter is theirs: on the upper triangle, which is the part that they read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cvxpy.reductions.solvers.conic_solvers.scs_conif import dims_to_solver_dict
from cvxpylayers.interfaces.base import SolverInterface

from .._outcome import raise_failures
from .._program import Program
from .._verdicts import judge
from ..cvxpy._operator import settings_of
from .diffcp.cones import bpqp_cones, parse_cone_dict, row_order

__all__ = ["Bpqp"]


class Bpqp(SolverInterface):
    """The interface; `settings` are those of `bpqp.solve_conic`. One instance serves one layer."""

    # rows and dual values in the order of SCS, which is the one that cvxpylayers reads
    canon_solver = "SCS"
    supports_quad_obj = True

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, ctx: Any) -> None:
        """Reads the structure of the problem."""
        indices, indptr, (_, width) = ctx.reduced_A.problem_data_index
        n, cut = int(width) - 1, int(indptr[-2])
        self._right, self._cut, self._n = np.asarray(indices[cut:]), cut, n
        cones = bpqp_cones(parse_cone_dict(dims_to_solver_dict(ctx.cone_dims)))
        self._order = row_order(cones)
        place = np.empty(len(self._order), dtype=np.int64)
        place[self._order] = np.arange(len(place))
        cols = np.repeat(np.arange(n), np.diff(indptr[:-1]))
        own = place[np.asarray(indices[:cut])]
        self._entries = np.lexsort((own, cols))
        pattern = (np.asarray(indptr[:-1], dtype=np.int64), own[self._entries].astype(np.int64))
        quadratic = ctx.reduced_P.problem_data_index
        P = None
        if quadratic is not None:
            P = (np.asarray(quadratic[1][: n + 1], dtype=np.int64), np.asarray(quadratic[0], dtype=np.int64))
        self._structure = (P, pattern, (len(self._order), n), cones)
        self._programs: dict[str, Program] = {}

    def _program(self, solver_args: dict[str, Any]) -> Program:
        args = {**self.settings, **(solver_args or {})}
        solver, settings = settings_of(args.pop("solver", None), args)
        key = repr((solver, sorted(settings.items())))
        if key not in self._programs:
            self._programs[key] = Program(*self._structure, solver, settings)
        return self._programs[key]

    def solve_numpy_batch(
        self, P: Any, q: Any, A: Any, dims: Any, solver_args: dict[str, Any], needs_grad: bool
    ) -> tuple[Any, Any, Any]:
        """`(x, y, state)` with a row for every instance."""
        size = len(q)
        right = np.zeros((size, len(self._order)))
        right[:, self._right] = A[:, self._cut :]
        data = (P, q[:, : self._n], -A[:, : self._cut][:, self._entries], right[:, self._order])
        if self._structure[0] is None:
            data = (None, *data[1:])
        rows = tuple(None if v is None else np.ascontiguousarray(v, dtype=np.float64) for v in data)
        solved = self._program(solver_args).solve(rows, size)
        raise_failures(solved)
        x, _, y, *_ = solved.outputs(True)
        dual = np.empty_like(y)
        dual[:, self._order] = y
        return x, dual, (solved, P is not None)

    def derivative_numpy_batch(self, dprimal: Any, ddual: Any, saved_state: Any) -> tuple[Any, Any, Any]:
        """Gradients with respect to the values of P, q and A."""
        solved, quadratic = saved_state
        x = np.ascontiguousarray(dprimal, dtype=np.float64)
        y = np.ascontiguousarray(ddual[:, self._order], dtype=np.float64)
        asked = [quadratic, True, True, True, False, False]
        P, q, A, b, _, _, codes = solved.vjp((x, None, y, None, None), asked, [False] * 6, 0)
        judge(codes, "warn")
        values = np.empty((len(q), self._cut + len(self._right)))
        values[:, self._entries] = -A
        right = np.empty_like(b)
        right[:, self._order] = b
        values[:, self._cut :] = right[:, self._right]
        return P, np.concatenate([q, np.zeros((len(q), 1))], axis=1), values

    # the entries of torch, so that a batch stays one

    def solve_torch_batch(
        self, P: Any, q: Any, A: Any, dims: Any, solver_args: dict[str, Any], needs_grad: bool
    ) -> tuple[Any, Any, Any]:
        import torch

        arrays = (None if v is None else v.numpy(force=True) for v in (P, q, A))
        x, y, state = self.solve_numpy_batch(*arrays, dims, solver_args, needs_grad)
        return (*(torch.from_numpy(v).to(q.device, q.dtype) for v in (x, y)), state)

    def derivative_torch_batch(self, dprimal: Any, ddual: Any, saved_state: Any) -> tuple[Any, Any, Any]:
        import torch

        grads = self.derivative_numpy_batch(dprimal.numpy(force=True), ddual.numpy(force=True), saved_state)
        like = dprimal
        return tuple(None if g is None else torch.from_numpy(g).to(like.device, like.dtype) for g in grads)  # type: ignore[return-value]
