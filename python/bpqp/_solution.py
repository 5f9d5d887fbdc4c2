"""The solution of a problem or of a batch, with its derivatives. The mathematics is in the extension module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _bpqp
from ._arguments import NAMES, OUTPUTS, RANKS, Factored, Problem, _as_csc, as_array, bits_of, is_sparse, names_of
from ._base import BaseSolution
from ._cotangents import of_x
from ._engines import OURS, by_qpsolvers, engine, policy_code
from ._errors import ArgumentError, DtypeError
from ._outcome import describe, diagnosed, raise_failures
from ._results import Active, Diagnostics, Gradients, Shift, Tangents
from ._types import Array, Matrix, Names, Number, Quadratic, Vector
from ._verdicts import choice_of, judge, verdict_of


class Solution(BaseSolution):
    """The solution of a problem, or of a batch of them (every attribute then has a batch dimension).

    `x`, multipliers `y` (of `A x = b`), `z` (of `G x <= h`), `z_box` (of the bounds, positive at the upper one),
    `objective`, `status`, `ok`, `verdict`, `info`.
    """

    OUTPUTS = OUTPUTS
    x: Array
    y: Array
    z: Array
    z_box: Array
    objective: Number
    _solved: _bpqp.Solved

    def __init__(
        self,
        problem: Problem,
        solved: _bpqp.Solved,
        on_failure: str,
        solver: str = "auto",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._problem, self._batch = problem, problem.batch
        self._solved = solved
        self._choice = (solver, settings or {})
        self._policy, self._on_untrusted = policy_code(on_failure), choice_of(settings)
        values: tuple[Any, ...] = solved.results(self._policy != 2)
        if problem.dtype == np.float32:
            *rows, objective = (np.asarray(v, dtype=np.float32) for v in values)
            values = (*rows, objective.item() if problem.batch is None else objective)
        self.x, self.y, self.z, self.z_box, self.objective = values
        if self._policy == 0 and not solved.all_ok():
            raise_failures(solved, self)

    @property
    def shift(self) -> Shift:
        """By how much the rows had to be shifted, with `infeasible="closest"`."""
        a, g = (self._cast(v if self._batch is not None else v[0]) for v in self._solved.shift())
        return Shift(a, g)

    def __str__(self) -> str:
        """Status, objective, residuals and active rows; counts for a batch."""
        return describe(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        solver, settings = self._choice
        if by_qpsolvers(solver):
            solver, settings = "auto", {k: v for k, v in settings.items() if k in OURS}
        prepared = engine(solver, settings, self._problem.dtype)
        kept: Any = state["_solved"]
        self._solved = kept.back(lambda rows: prepared.restore(self._problem.data, rows))

    def _ask(self, wrt: Names | None) -> list[bool]:
        data = self._problem.data
        if wrt is None:
            return [d is not None for d in data]
        ask = [False] * len(data)
        for name in names_of(wrt, NAMES):
            k = NAMES.index(name)
            ask[k] = data[k] is not None
        return ask

    def _shape_gradient(self, k: int, value: Any) -> Any:
        if isinstance(value, tuple):
            # d and F may be batched apart; the one that is shared gets its sum
            own = zip(value, self._problem.data[0], strict=True)
            return Factored(*(self._cast(v.sum(0) if v.ndim > d.ndim else v) for v, d in own))
        value = self._cast(value)
        form = self._problem.forms[k]
        if form is not None:
            return value.sum(-1) if form == "scalar" else value[..., 0, :]
        template = self._problem.templates[k]
        if template is None or value.ndim > 1:
            return value
        from scipy import sparse

        indptr, indices, _, shape = self._problem.data[k]
        matrix = sparse.csc_matrix((value, indices, indptr), shape=shape)
        return template(matrix)

    def _cast(self, value: Any) -> Any:
        return value.astype(np.float32) if self._problem.dtype == np.float32 else value

    def vjp(
        self,
        x: Vector | None = None,
        y: Vector | None = None,
        z: Vector | None = None,
        z_box: Vector | None = None,
        objective: Vector | None = None,
        wrt: Names | None = None,
    ) -> Gradients:
        """Gradients of a loss from its derivatives with respect to the outputs.

        With the active rows `C` (those of `A` and of `G` and the bounds that bind) one linear system gives all of them:

            [ P  C' ] [u]     [dL/dx]
            [ C  0  ] [v] = - [dL/dm]        dL/dq = u,  dL/dP = (u x' + x u')/2,  dL/d(rhs) = -v, ...

        where `m` are the multipliers of those rows. Cotangents have the shapes of their outputs; None is 0.

        `wrt` names the arguments that are wanted (all that are present if None); what is not wanted costs nothing. An
        argument that the batch shares gets the sum over the batch. Sparse data get gradients on their own pattern.

        Raises:
            ArgumentError: no cotangent, one of another shape than its output, or a name in `wrt` that does not exist.
            GradientError: the gradient is in doubt, and `on_untrusted` is "raise".
            SolveError: there is no solution to differentiate, and `on_failure` is "raise".
        """
        rows = of_x(x, self.x) if y is z is z_box is objective is None else None
        if rows is None:
            rows = self._cotangents(x=x, y=y, z=z, z_box=z_box, objective=objective)
        *grads, codes = self._solved.pull(rows, bits_of(wrt), self._policy)
        verdict = verdict_of(codes, self._on_untrusted, self._batch is not None)
        shaped: list[Any] = grads
        if not self._problem.plain:
            shaped = [None if g is None else self._shape_gradient(k, g) for k, g in enumerate(grads)]
        P, q, G, h, A, b, lb, ub = shaped
        return Gradients(P, q, G, h, A, b, lb, ub, verdict)

    def _direction(self, k: int, value: Any) -> Any:
        name, rank, data = NAMES[k], RANKS[k], self._problem.data[k]
        if value is None:
            return None
        if data is None:
            raise ArgumentError(f"a tangent of {name} was given, but {name} is absent")
        if isinstance(data, tuple) and len(data) == 2:
            if not isinstance(value, Factored):
                raise DtypeError("the tangent of a Factored P is a Factored")
            d = np.zeros_like(data[0]) if value.d is None else as_array("tangent of P.d", value.d, 1)
            F = np.zeros_like(data[1]) if value.F is None else as_array("tangent of P.F", value.F, 2)
            return (d, F)
        if is_sparse(value):
            return _as_csc(f"tangent of {name}", value)[0]
        form = self._problem.forms[k]
        array = as_array(f"tangent of {name}", value, rank if form is None else rank - 1)
        if form == "scalar":
            array = np.array(np.broadcast_to(array[..., None], (*array.shape, data.shape[-1])))
        elif form == "row":
            array = array[..., None, :]
        own = data[3] if isinstance(data, tuple) else data.shape[-rank:]
        if array.shape[-rank:] != tuple(own):
            raise ArgumentError(f"the tangent of {name} has shape {array.shape}, but {name} has {tuple(own)}")
        if array.ndim > rank and self._problem.batch is None:
            raise ArgumentError(f"the tangent of {name} has a batch dimension, but the problem has none")
        return array

    def jvp(
        self,
        P: Quadratic | None = None,
        q: Vector | None = None,
        G: Matrix | None = None,
        h: Vector | None = None,
        A: Matrix | None = None,
        b: Vector | None = None,
        lb: Vector | None = None,
        ub: Vector | None = None,
        *,
        one_sided: bool = False,
    ) -> Tangents:
        """The change of the outputs along a direction of the data; what is not given stays as it is.

        Directions have the shapes of their arguments (without the batch dimension too); that of a `Factored` is one.

        `one_sided`: the derivative in this direction alone, `lim (x(data + t d) - x(data))/t` for `t > 0`, which
        there is at kinks too: where rows are weakly active it solves the quadratic program that says which of them
        hold. It is not linear in the direction, so there is no one-sided `vjp`.

        Raises:
            ArgumentError: no direction, one of another shape than its argument, or of an argument that is absent.
        """
        direction = tuple(self._direction(k, v) for k, v in enumerate((P, q, G, h, A, b, lb, ub)))
        if all(d is None for d in direction):
            raise ArgumentError("no tangent was given: pass P=, q=, G=, h=, A=, b=, lb= or ub=")
        *moved, codes = self._solved.jvp(direction, self._policy, one_sided)
        out = tuple(self._cast(v) for v in moved)
        if self._problem.batch is None:
            out = tuple(v[0] for v in out)
        verdict = verdict_of(codes, self._on_untrusted, self._batch is not None)
        return Tangents(**dict(zip((*OUTPUTS, "objective"), out, strict=True)), verdict=verdict)

    def jacobian(self, of: str = "x", wrt: str = "q") -> Array | Factored:
        """The Jacobian of an output with respect to an argument: one factorization, many right-hand sides.

        Its shape is (batch,) + the shape of the output + the shape of the argument; for a sparse argument the last axis
        runs over its stored entries in compressed-column order; for a factored P it is a Factored of Jacobians.

        Raises:
            ArgumentError: an output or an argument that does not exist, or an argument that is absent.
        """
        if not isinstance(wrt, str) or wrt not in NAMES:
            raise ArgumentError(f"wrt = {wrt!r}: choose one of {', '.join(NAMES)}")
        if not isinstance(of, str) or of not in (*OUTPUTS, "objective"):
            raise ArgumentError(f"of = {of!r}: choose one of {', '.join(OUTPUTS)}, objective")
        ask = self._ask(wrt)
        if not any(ask):
            raise ArgumentError(f"wrt = {wrt!r}, but {wrt} is absent")
        *values, codes = self._solved.jacobian(of, ask, self._policy)
        judge(codes, self._on_untrusted)
        value = values[NAMES.index(wrt)]

        def trim(v: Any) -> Any:
            v = v[0] if self._problem.batch is None else v
            return self._cast(v[..., 0, :] if of == "objective" and v.ndim == 2 and self._problem.batch is None else v)

        if isinstance(value, tuple):
            return Factored(*(trim(v) for v in value))
        found: Array = trim(value)
        form = self._problem.forms[NAMES.index(wrt)]
        if form is not None:
            found = found.sum(-1) if form == "scalar" else found[..., 0, :]
        return found

    def diagnostics(self) -> Diagnostics:
        """What may be trusted, in numbers: active set, residuals, condition of the backward system, verdict."""
        s = self._solved
        n, mi = self.x.shape[-1], self.z.shape[-1]
        state = s.state()[:, -(2 * (n + mi) + 1) :]
        g, weak_g = state[:, :mi] != 0, state[:, mi : 2 * mi] != 0
        side, weak = state[:, 2 * mi : 2 * mi + n], state[:, 2 * mi + n : 2 * (mi + n)] != 0
        box = [np.full((len(s), n), value) for value in (-np.inf, np.inf)]
        for k, bound in ((0, self._problem.data[6]), (1, self._problem.data[7])):
            if bound is not None:
                box[k][:] = bound
        x = s.outputs(False)[0]
        nearer = np.abs(x - box[0]) <= np.abs(box[1] - x)
        active = (g, (side == 1) | (side == 3), (side == 2) | (side == 3))
        weakly = (weak_g, weak & nearer, weak & ~nearer)
        return diagnosed(self, Active(*active), Active(*weakly))
