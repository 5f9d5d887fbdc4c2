"""Convex programs over cones: arrays in, arrays out. The mathematics is in the extension module."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from . import _bpqp
from ._arguments import Factored, is_sparse, names_of, numbers_of
from ._base import BaseSolution
from ._conic_data import (
    MATRICES,
    NAMES,
    OUTPUTS,
    Argument,
    checked_cones,
    collect,
    cone_rows,
    factored,
    factors,
    matrix,
    onto,
    vector,
)
from ._engines import policy_code
from ._errors import ArgumentError, DtypeError
from ._outcome import describe, diagnosed, raise_failures, report
from ._program import Program, kept_program
from ._results import ConicActive, ConicGradients, ConicTangents, Diagnostics
from ._types import Array, Cones, Matrix, Names, Number, OnFailure, Quadratic, Settings, Unpack, Vector, WarmStart
from ._verdicts import choice_of, verdict_of

__all__ = ["NAMES", "OUTPUTS", "ConicSolution", "Program", "cone_rows", "raise_failures", "solve_conic"]

_FACES = np.array(["interior", "boundary", "apex"])


class ConicSolution(BaseSolution):
    """The solution of a cone program, or of a batch of them (every attribute then has a batch dimension).

    `x`, slacks `s`, multipliers `y`, `z_box` (of the bounds, positive at the upper one), `objective`, `status`, `ok`,
    `verdict`, `info`.
    """

    OUTPUTS = OUTPUTS
    x: Array
    s: Array
    y: Array
    z_box: Array
    objective: Number
    _solved: _bpqp.ConicSolved

    def __init__(
        self,
        arguments: dict[str, Argument],
        batch: int | None,
        solved: _bpqp.ConicSolved,
        policy: int,
        program: Program,
    ) -> None:
        self._arguments, self._batch, self._solved, self._policy = arguments, batch, solved, policy
        self._program, self._on_untrusted = program, choice_of(program.settings)
        values: tuple[Any, ...] = solved.outputs(policy != 2)
        self.x, self.s, self.y, self.z_box, self.objective = values if batch is not None else (v[0] for v in values)
        if batch is None:
            self.objective = float(values[4][0])
        if policy == 0:
            raise_failures(solved, self)

    @property
    def shift(self) -> Array:
        """By how much each row had to be shifted, with `infeasible="closest"`: `A x + s = b + shift`."""
        shift = self._solved.shift()
        return shift if self._batch is not None else shift[0]

    def __str__(self) -> str:
        """Status, objective, residuals and active rows; counts for a batch."""
        return describe(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        data = tuple(self._arguments[n].values if n in self._arguments else None for n in NAMES)
        kept: Any = state["_solved"]
        self._solved = kept.back(lambda rows: self._program.restore(data, rows))

    def _ask(self, wrt: Names | None) -> list[bool]:
        names = NAMES if wrt is None else names_of(wrt, NAMES)
        return [n in names and n in self._arguments for n in NAMES]

    def vjp(
        self,
        x: Vector | None = None,
        s: Vector | None = None,
        y: Vector | None = None,
        z_box: Vector | None = None,
        objective: Vector | None = None,
        *,
        wrt: Names | None = None,
    ) -> ConicGradients:
        """Gradients of a loss from its derivatives with respect to the outputs.

        Cotangents have the shapes of their outputs; None is 0. `wrt` names the arguments that are wanted (all that are
        present if None). An argument that the batch shares gets the sum over the batch. Sparse data get gradients on
        their own pattern; the gradient of P is symmetric.

        Raises:
            ArgumentError: no cotangent, one of another shape than its output, or a name in `wrt` that does not exist.
            GradientError: the gradient is in doubt, and `on_untrusted` is "raise".
            SolveError: there is no solution to differentiate, and `on_failure` is "raise".
        """
        rows = self._cotangents(x=x, s=s, y=y, z_box=z_box, objective=objective)
        summed = [n not in self._arguments or not self._arguments[n].batched for n in NAMES]
        *grads, codes = self._solved.vjp(rows, self._ask(wrt), summed, self._policy)
        verdict = verdict_of(codes, self._on_untrusted, self._batch is not None)
        return ConicGradients(**{n: self._shape(n, g) for n, g in zip(NAMES, grads, strict=True)}, verdict=verdict)

    def _shape(self, name: str, value: Any) -> Any:
        if value is None:
            return value
        own = self._arguments[name]
        if name not in MATRICES:
            return value if own.form is None else value.sum(-1)
        rows, cols = own.shape
        if own.template is Factored:
            return factors(own, value)
        if own.template is None:
            full = np.swapaxes(value.reshape(*value.shape[:-1], cols, rows), -1, -2)
            return full if own.form is None else full[..., 0, :]
        if own.batched:
            return [self._sparse(own, v) for v in value]
        return self._sparse(own, value)

    def _sparse(self, own: Argument, value: Any) -> Any:
        from scipy import sparse

        indptr, indices = cast("tuple[Any, Any]", own.pattern)
        return own.template(sparse.csc_matrix((value, indices, indptr), shape=own.shape))

    def _direction(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name not in self._arguments:
            raise ArgumentError(f"a tangent of {name} was given, but {name} is absent")
        own = self._arguments[name]
        label = f"tangent of {name}"
        size = own.shape[0] if own.form == "scalar" else None
        if own.template is Factored:
            if not isinstance(value, Factored):
                raise DtypeError("the tangent of a Factored P is a Factored")
            d, F = factors(own._replace(batched=False), np.zeros(own.values.shape[-1])).parts()
            given = factored(label, Factored(d if value.d is None else value.d, F if value.F is None else value.F))
            if given.pattern != own.pattern or given.shape != own.shape:
                raise ArgumentError(f"the {label} has factors of other shapes than P")
            return given.values
        given = matrix(label, value, row=own.form == "row") if name in MATRICES else vector(label, value, size)
        if given.shape != own.shape:
            raise ArgumentError(f"the {label} has shape {given.shape}, but {name} has {own.shape}")
        if given.batched and self._batch is None:
            raise ArgumentError(f"the {label} has a batch dimension, but the problem has none")
        if own.pattern is None:
            return given.values
        return onto(label, given, own)

    def jvp(
        self,
        P: Quadratic | None = None,
        q: Vector | None = None,
        A: Matrix | None = None,
        b: Vector | None = None,
        lb: Vector | None = None,
        ub: Vector | None = None,
        *,
        one_sided: bool = False,
    ) -> ConicTangents:
        """The change of the outputs along a direction of the data; what is not given stays as it is.

        `one_sided`: the derivative in this direction alone, as in `Solution.jvp`; of linear rows only.

        Raises:
            ArgumentError: no direction, one of another shape than its argument, or of an argument that is absent.
        """
        direction = tuple(self._direction(n, v) for n, v in zip(NAMES, (P, q, A, b, lb, ub), strict=True))
        if all(d is None for d in direction):
            raise ArgumentError("no tangent was given: pass P=, q=, A=, b=, lb= or ub=")
        *out, codes = self._solved.jvp(direction, self._policy, one_sided)
        verdict = verdict_of(codes, self._on_untrusted, self._batch is not None)
        moved = out if self._batch is not None else [v[0] for v in out]
        return ConicTangents(**dict(zip((*OUTPUTS, "objective"), moved, strict=True)), verdict=verdict)

    def jacobian(self, of: str = "x", wrt: str = "q") -> Array | Factored:
        """The Jacobian of an output with respect to an argument: one factorization, many right-hand sides.

        Its shape is (batch,) + the shape of the output + the shape of the argument; for a sparse argument the last axis
        runs over its stored entries in compressed-column order.
        """
        if not isinstance(of, str) or of not in (*OUTPUTS, "objective"):
            raise ArgumentError(f"of = {of!r}: choose one of {', '.join(OUTPUTS)}, objective")
        if not isinstance(wrt, str) or wrt not in self._arguments:
            raise ArgumentError(f"wrt = {wrt!r}: choose one of {', '.join(self._arguments)}")
        value: Array = self._solved.jacobian(of, NAMES.index(wrt), self._policy)
        value = value if self._batch is not None else value[0]
        value = value[..., 0, :] if of == "objective" else value
        own = self._arguments[wrt]
        if own.template is Factored:
            return factors(own._replace(batched=False), value)
        if own.form == "scalar":
            return np.asarray(value.sum(-1))
        if own.pattern is None or own.template is not None:
            return value
        rows, cols = own.shape
        full = np.swapaxes(value.reshape(*value.shape[:-1], cols, rows), -1, -2)
        return full if own.form is None else full[..., 0, :]

    def diagnostics(self) -> Diagnostics:
        """What may be trusted, in numbers: active rows, cones and bounds, residuals, condition, verdict."""
        rows, cones, lb, ub, *weakly = self._solved.active()
        active = ConicActive(rows != 0, _FACES[cones], lb != 0, ub != 0)
        return diagnosed(self, active, ConicActive(*(w != 0 for w in weakly)))


def _warm(arguments: dict[str, Argument], batch: int | None, warm_start: Any) -> Any:
    """Where to start, as the extension takes it: `(x, s, y, z_box)` with a row for each element."""
    if warm_start is None:
        return None
    m, n = arguments["A"].shape
    rows: list[Any] = []
    for name, size in zip(OUTPUTS, (n, m, m, n), strict=True):
        value = warm_start.get(name) if isinstance(warm_start, dict) else getattr(warm_start, name, None)
        if value is None:
            if name in ("x", "y"):
                raise ArgumentError(f"warm_start has no {name}: pass a ConicSolution, or a dict with x, s, y and z_box")
            rows.append(None)
            continue
        array = numbers_of(f"warm_start.{name}", value)
        if array.dtype.kind not in "iuf":
            raise DtypeError(f"warm_start.{name} has dtype {array.dtype}: pass float64 or float32")
        wanted = (size,) if batch is None else (batch, size)
        if array.shape != wanted:
            raise ArgumentError(f"warm_start.{name} has shape {array.shape}, expected {wanted}, that of this problem")
        rows.append(np.ascontiguousarray(np.atleast_2d(array), dtype=np.float64))
    return tuple(rows)


def solve_conic(
    P: Quadratic | None,
    q: Vector,
    A: Matrix,
    b: Vector,
    cones: Cones,
    *,
    lb: Vector | None = None,
    ub: Vector | None = None,
    solver: str = "auto",
    warm_start: WarmStart | None = None,
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> ConicSolution:
    """Solves `min 1/2 x'P x + q'x  s.t.  A x + s = b, s in K, lb <= x <= ub`, one problem or a batch.

    The multipliers `y` are in the dual cone, `P x + q + A'y + z_box = 0` and `s'y = 0`. Arguments are NumPy arrays; `P`
    and `A` may be scipy.sparse, or for a batch a list of these. Any may carry a batch dimension first; those that do
    not are shared by the batch. `P=None` is a linear objective; a sparse `P` may be its upper triangle; `P` may be
    `Factored`.

    Args:
        P, q, A, b: (n, n), (n,), (m, n) and (m,). A number stands for every entry of `b`, a vector for the only row of
            `A`.
        cones: they take the rows of A in order: ("zero", rows), ("nonnegative", rows), ("soc", rows) with the bound
            first, ("psd", order) for the upper triangle of a symmetric matrix by columns with sqrt 2 off the diagonal,
            ("exp",) for y exp(x / y) <= z, ("pow", a) for x^a y^(1 - a) >= |z|, and their duals ("dual_exp",) and
            ("dual_pow", a). The order and scaling are those of Clarabel.
        lb, ub: (n,), or a number; may be infinite; None is no bound.
        solver: "auto" or "clarabel"; semidefinite cones need the package clarabel.
        warm_start: a `ConicSolution` of a similar problem, or a dict with x, y and, if known, s and z_box. It never
            decides the answer.
        on_failure: "raise", "nan" (NaN solution and gradient where there is no solution) or "zero_grad".
        settings: eps_abs, eps_rel, max_iter, time_limit, smoothing, threads, polish, presolve, verbose, on_untrusted
            ("warn", "raise" or "ignore": what is done about derivatives that are regularized or untrusted).

    An element of a batch whose own data are not finite, or have `lb > ub`, fails alone, with status "invalid_data".

    Raises:
        ArgumentError: a shape, a value or a setting that is refused, by name, index and value.
        DtypeError: an argument that is not of floating point or integer numbers.
        SolveError: some problem has no solution, or none was found, and `on_failure` is "raise".
    """
    policy = policy_code(on_failure)
    for name, value in (("q", q), ("b", b), ("lb", lb), ("ub", ub)):
        if is_sparse(value):
            raise DtypeError(f"{name} is a sparse matrix: pass a dense vector")
    arguments, batch = collect({"P": P, "q": q, "A": A, "b": b, "lb": lb, "ub": ub})
    pattern_P = arguments["P"].pattern if "P" in arguments else None
    pattern_A = arguments["A"].pattern
    assert pattern_A is not None
    structure = tuple(arguments[name].structure if name in arguments else None for name in MATRICES)
    numbers = sum(argument.values.size for argument in arguments.values())
    shape: Any = arguments["A"].shape
    patterns = (pattern_P, pattern_A)
    program = kept_program(structure, numbers, patterns, shape, checked_cones(cones), solver, settings)
    data = tuple(arguments[n].values if n in arguments else None for n in NAMES)
    solved = program.solve(data, batch or 1, _warm(arguments, batch, warm_start))
    if settings.get("verbose"):
        report(solved)
    return ConicSolution(arguments, batch, solved, policy, program)
