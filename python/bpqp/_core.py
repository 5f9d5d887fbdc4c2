"""NumPy and SciPy: arrays in, arrays out. What the parts of the package share is found here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from . import _bpqp
from ._arguments import (
    NAMES,
    OUTPUTS,
    RANKS,
    Factored,
    Problem,
    as_array,
    at_once,
    check_sparse,
    is_sparse,
    numbers_of,
    prepare,
)
from ._engines import (
    POLICIES,
    SETTINGS,
    by_qpsolvers,
    call,
    check_solver,
    engine,
    installed,
    kept_engine,
    options,
    policy_code,
)
from ._errors import ArgumentError, DtypeError, UnsupportedError
from ._large import LargeSolution, LowRank, Operator, Products, is_products, solve_large
from ._nonlinear import LocalSolution, check_local
from ._outcome import raise_failures, report
from ._qpsolvers import solve_with
from ._results import Active, CheckedBlock, Diagnostics, GradientReport, Gradients, Info, Tangents
from ._solution import Solution
from ._types import Matrix, OnFailure, Quadratic, Settings, Unpack, Vector, WarmStart

if TYPE_CHECKING:
    from ._conic import ConicSolution

__all__ = [
    "NAMES",
    "OUTPUTS",
    "POLICIES",
    "RANKS",
    "SETTINGS",
    "Active",
    "Diagnostics",
    "Factored",
    "GradientReport",
    "Gradients",
    "Info",
    "LargeSolution",
    "LowRank",
    "Operator",
    "Problem",
    "Solution",
    "Tangents",
    "as_array",
    "by_qpsolvers",
    "call",
    "check_gradient",
    "check_solver",
    "check_sparse",
    "engine",
    "from_solution",
    "is_sparse",
    "kept_engine",
    "numbers_of",
    "options",
    "policy_code",
    "prepare",
    "raise_failures",
    "report",
    "solve_qp",
    "solvers",
]


def _warm(problem: Problem, warm_start: Any) -> Any:
    if warm_start is None:
        return None
    rows = []
    for name in OUTPUTS:
        value = warm_start.get(name) if isinstance(warm_start, dict) else getattr(warm_start, name, None)
        if value is None:
            raise ArgumentError(f"warm_start has no {name}: pass a Solution, or a dict with x, y, z and z_box")
        array = _doubles(f"warm_start.{name}", value)
        rank = 1 if problem.batch is None else 2
        if array.ndim != rank or (problem.batch is not None and array.shape[0] != problem.batch):
            raise ArgumentError(f"warm_start.{name} has shape {array.shape}: it is not that of this problem")
        rows.append(np.ascontiguousarray(array if rank == 2 else array[None, :]))
    return tuple(rows)


def _doubles(name: str, value: Any) -> Any:
    array = numbers_of(name, value)
    if array.dtype.kind not in "iuf":
        raise DtypeError(f"{name} has dtype {array.dtype}: pass float64 or float32")
    return array.astype(np.float64, copy=False)


@overload
def solve_qp(  # type: ignore[overload-overlap]
    P: Quadratic | None,
    q: Vector,
    G: Matrix | None = None,
    h: Vector | None = None,
    A: Matrix | None = None,
    b: Vector | None = None,
    lb: Vector | None = None,
    ub: Vector | None = None,
    *,
    solver: str = "auto",
    warm_start: WarmStart | None = None,
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> Solution: ...
@overload
def solve_qp(
    P: Quadratic | Products | None,
    q: Vector,
    G: Matrix | Products | None = None,
    h: Vector | None = None,
    A: Matrix | Products | None = None,
    b: Vector | None = None,
    lb: Vector | None = None,
    ub: Vector | None = None,
    *,
    solver: str = "auto",
    warm_start: WarmStart | None = None,
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> LargeSolution: ...
def solve_qp(
    P: Quadratic | Products | None,
    q: Vector,
    G: Matrix | Products | None = None,
    h: Vector | None = None,
    A: Matrix | Products | None = None,
    b: Vector | None = None,
    lb: Vector | None = None,
    ub: Vector | None = None,
    *,
    solver: str = "auto",
    warm_start: WarmStart | None = None,
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> Solution | LargeSolution:
    """Solves `min 1/2 x'P x + q'x  s.t.  G x <= h, A x = b, lb <= x <= ub`, one problem or a batch.

    The solution is the point where, with multipliers `y` free and `z >= 0`,

        P x + q + G'z + A'y + z_box = 0,  A x = b,  G x <= h,  lb <= x <= ub,  z'(G x - h) = 0

    and `z_box` is positive where `x` is held at `ub`, negative at `lb` and 0 between them.

    Args:
        P: (n, n), positive semidefinite on the null space of `A`; read as `(P + P')/2`. Also scipy.sparse, `Factored`,
            or None for a linear program. P, G and A of large problems may be an `Operator` or a LinearOperator of
            SciPy, of which only products are known; the answer is then a `LargeSolution` (`docs/large.md`).
        q: (n,); its dtype, float32 or float64, is that of the solution. The arithmetic is in double precision.
        G, h: (m, n) and (m,), rows of inequalities; `G` also scipy.sparse. Both or neither may be None.
        A, b: (k, n) and (k,), rows of equalities; `A` also scipy.sparse. Both or neither may be None.
        lb, ub: (n,), may be infinite; None is no bound. A number stands for every entry of `h`, `b`, `lb` or `ub`, and
            a vector for the only row of `G` or `A`; their gradients have that shape too.
        solver: one of `solvers()`; "qpsolvers:NAME" solves there and differentiates here.
        warm_start: a `Solution` of a similar problem, or a dict with x, y, z and z_box. It never decides the answer.
        on_failure: "raise", "nan" (NaN solution and gradient where there is no solution) or "zero_grad" (the last
            iterate, NaN where there is none, and no gradient).
        settings: eps_abs, eps_rel (1e-8; for float32 data at least 2.4e-7, twice their rounding), max_iter, time_limit
            (seconds), infeasible ("status"; "closest": where the constraints contradict each other, besides the status
            with its proof the solution of the closest feasible program, `docs/closest.md`), backward ("direct",
            "first_order"), smoothing (the parameter of the barrier whose gradient is taken), threads, polish, presolve
            (whether sparse problems lose first what they have too much of), verbose (print a line), on_untrusted
            ("warn", "raise" or "ignore": what is done about derivatives that are regularized or untrusted); with
            "qpsolvers:NAME" other names go to that solver.

    Every dense argument may carry a batch dimension first; those that do not are shared by the batch. An element of a
    batch whose own data are not finite, or have `lb > ub`, fails alone, with status "invalid_data".

    Raises:
        ArgumentError: a shape, a value or a setting that is refused, by name, index and value.
        DtypeError: an argument that is not of floating point or integer numbers.
        SolveError: some problem has no solution, or none was found, and `on_failure` is "raise".
    """
    policy_code(on_failure)
    problem = at_once(P, q, G, h, A, b, lb, ub)
    if problem is None:
        if is_products(P) or is_products(G) or is_products(A):
            return solve_large((P, q, G, h, A, b, lb, ub), solver, warm_start, on_failure, settings)
        problem = prepare(P, q, G, h, A, b, lb, ub)
    if by_qpsolvers(solver):
        solved = solve_with(solver.partition(":")[2], problem, settings)
    else:
        prepared = kept_engine(solver, settings, problem.dtype == np.float32, problem.numbers)
        solved = call(prepared.solve, problem.data, _warm(problem, warm_start))
    if settings.get("verbose"):
        report(solved)
    return Solution(problem, solved, on_failure, solver, settings)


def from_solution(
    P: Quadratic | None,
    q: Vector,
    G: Matrix | None = None,
    h: Vector | None = None,
    A: Matrix | None = None,
    b: Vector | None = None,
    lb: Vector | None = None,
    ub: Vector | None = None,
    *,
    x: Vector,
    y: Vector | None = None,
    z: Vector | None = None,
    z_box: Vector | None = None,
    solver: str = "auto",
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> Solution:
    """A solution that someone else computed, ready to be differentiated.

    `x` is returned as given, and the residual of what was given decides `ok`. Multipliers that are None are recovered.
    The gradient is taken at the polished point; `diagnostics().moved` says how far away that is.

    Args:
        P, q, G, h, A, b, lb, ub: as for `solve_qp`.
        x: (n,), or (batch, n) if the problem has a batch.
        y, z, z_box: multipliers of `A x = b`, `G x <= h` and of the bounds, in the signs of `solve_qp`.
        on_failure, settings: as for `solve_qp`; "raise" also where `x` is no solution.

    Raises:
        ArgumentError, DtypeError, SolveError: as `solve_qp`.
    """
    policy_code(on_failure)
    problem = prepare(P, q, G, h, A, b, lb, ub)
    rows: list[Any] = []
    for name, value in zip(OUTPUTS, (x, y, z, z_box), strict=True):
        if value is None:
            if name == "x":
                raise ArgumentError("x is None: a solution from elsewhere has at least its x")
            rows.append(None)
            continue
        if is_sparse(value):
            raise DtypeError(f"{name} is a sparse matrix: pass a dense vector")
        array = np.atleast_1d(_doubles(name, value))
        if problem.batch is None:
            array = array[None]
        if array.ndim != 2 or array.shape[0] != (problem.batch or 1):
            raise ArgumentError(f"{name} has shape {np.shape(value)}: it is not that of this problem")
        rows.append(np.ascontiguousarray(array))
    prepared = engine(solver, settings, problem.dtype)
    solved = call(prepared.given, problem.data, tuple(rows))
    if settings.get("verbose"):
        report(solved)
    return Solution(problem, solved, on_failure, solver, settings)


def check_gradient(
    sol: Solution | ConicSolution | LocalSolution | LargeSolution,
    x: Vector | None = None,
    y: Vector | None = None,
    z: Vector | None = None,
    z_box: Vector | None = None,
    objective: Vector | None = None,
    element: int = 0,
    *,
    s: Vector | None = None,
) -> GradientReport:
    """Central differences against the analytic gradient of a loss with these cotangents (ones for x if none is given).

    A quadratic program is solved again for every entry of the data moved both ways; a cone program is followed along
    random directions of each argument; a smooth program is solved again for every number of its parameters.
    `element` chooses one of a batch, `s` are slacks of a cone program.

    Raises:
        ArgumentError: a cotangent of another shape than its output, or an element that does not exist.
        SolveError: that element has no solution.
    """
    if isinstance(sol, LargeSolution):
        raise UnsupportedError("a program with operators is not checked by differences: compare sol.vjp with sol.jvp")
    given = {"x": x, "y": y, "z": z, "z_box": z_box, "objective": objective, "s": s}
    if isinstance(sol, LocalSolution):
        if s is not None or element != 0:
            raise ArgumentError("a smooth program has one element, and no slacks of cones")
        del given["s"]
        return check_local(sol, given)
    if all(v is None for v in given.values()):
        given["x"] = np.ones_like(sol.x)
    rows = sol._cotangents(**given)
    size = sol._batch or 1
    if isinstance(element, bool) or not isinstance(element, (int, np.integer)) or not 0 <= element < size:
        raise ArgumentError(f"element = {element!r}: choose one of the {size} problems, 0 to {size - 1}")
    worst, table, text = call(sol._solved.check, int(element), rows)
    rows_of: list[CheckedBlock] = [
        {
            "block": block,
            "entries": entries,
            "checked": checked,
            "worst": off,
            "at": at,
            "analytic": analytic,
            "numeric": numeric,
            "kinks": kinks,
        }
        for block, entries, checked, off, at, analytic, numeric, kinks in table
    ]
    return GradientReport(worst, rows_of, text)


def solvers() -> list[str]:
    """What `solver=` may name here: native ones, clarabel, and "qpsolvers:NAME" for each that is installed."""
    return [*_bpqp.SOLVERS, *(f"qpsolvers:{name}" for name in installed())]
