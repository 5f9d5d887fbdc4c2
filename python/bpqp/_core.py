"""NumPy and SciPy: arrays in, arrays out. The mathematics is in the extension module."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from . import _bpqp
from ._errors import ArgumentError, DtypeError, SolveError

NAMES = ("P", "q", "G", "h", "A", "b", "lb", "ub")
RANKS = (2, 1, 2, 1, 2, 1, 1, 1)
OUTPUTS = ("x", "y", "z", "z_box")
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)
POLICIES = {"raise": 0, "nan": 1, "zero_grad": 2}
SETTINGS = ("eps_abs", "eps_rel", "max_iter", "time_limit", "backward", "smoothing", "threads", "verbose", "polish")


class Factored:
    """`P = diag(d) + F F'`, accepted wherever `P` is; the n x n matrix is never formed.

    `d` has n entries >= 0 and `F` the shape (n, r); either may carry a batch dimension. A gradient with respect to it
    is again one of these.
    """

    __slots__ = ("F", "d")

    def __init__(self, d: Any, F: Any) -> None:
        self.d = d
        self.F = F

    def __repr__(self) -> str:
        return f"Factored(d={self.d!r}, F={self.F!r})"


@dataclass(slots=True)
class Gradients:
    """Gradients with respect to the eight arguments; None where not asked for or absent."""

    P: Any = None
    q: Any = None
    G: Any = None
    h: Any = None
    A: Any = None
    b: Any = None
    lb: Any = None
    ub: Any = None


@dataclass(slots=True)
class Tangents:
    """The change of the outputs along a direction of the data."""

    x: Any
    y: Any
    z: Any
    z_box: Any
    objective: Any


@dataclass(slots=True)
class Active:
    """Which inequality rows and bounds are active: boolean arrays of the shapes of `h`, `lb` and `ub`."""

    G: Any
    lb: Any
    ub: Any


@dataclass(slots=True)
class Diagnostics:
    """What may be trusted, in numbers. One entry per element of a batch.

    `condition` estimates the condition of the backward system (NaN where it had to be regularized or is not known),
    `regularization` is the relative residual that regularizing it left, `moved` how far the polish moved `x`.
    """

    active: Active
    weakly_active: Active
    residuals: dict[str, Any]
    condition: Any
    regularization: Any
    moved: Any
    verdict: Any


@dataclass(slots=True)
class Info:
    """How a solution was found; lists or arrays for a batch."""

    solver: Any
    iterations: Any
    time: Any
    certificate: Any


@dataclass(slots=True)
class GradientReport:
    """The analytic gradient against central differences: the worst relative error, and one row per block."""

    worst: float
    table: list[dict[str, Any]]
    text: str = field(repr=False, default="")

    def __str__(self) -> str:
        return self.text


class Problem(NamedTuple):
    """Arguments as the extension takes them, and what is needed to give gradients the shape of the data."""

    data: tuple[Any, ...]
    shared: tuple[bool, ...]
    batch: int | None
    dtype: np.dtype[Any]
    templates: tuple[Any, ...]
    numbers: int = 0


def is_sparse(value: Any) -> bool:
    """True for the matrices and arrays of scipy.sparse."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(value))


def as_array(name: str, value: Any, rank: int) -> np.ndarray[Any, Any]:
    """A contiguous f64 array of `rank` dimensions, or one more."""
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    if array.dtype != np.float64:
        if array.dtype.kind not in "iuf" or array.dtype.itemsize < (4 if array.dtype.kind == "f" else 1):
            raise DtypeError(f"{name} has dtype {array.dtype}: pass float64 or float32")
        array = array.astype(np.float64)
    if array.ndim not in (rank, rank + 1):
        raise ArgumentError(
            f"{name} has shape {array.shape}: it needs {rank} dimensions, or {rank + 1} with a batch dimension first"
        )
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _as_csc(name: str, value: Any) -> tuple[Any, ...]:
    if value.dtype.kind not in "iuf":
        raise DtypeError(f"{name} has dtype {value.dtype}: pass float64 or float32")
    matrix = value.tocsc(copy=True)
    matrix.sum_duplicates()
    if name == "P" and matrix.shape[0] == matrix.shape[1]:
        # the gradient lives on a symmetric pattern
        other = matrix.T.tocsc()
        other.sort_indices()
        if not (np.array_equal(matrix.indptr, other.indptr) and np.array_equal(matrix.indices, other.indices)):
            from scipy import sparse

            a, b = matrix.tocoo(), other.tocoo()
            data = np.concatenate([a.data, np.zeros(b.nnz)])
            at = (np.concatenate([a.row, b.row]), np.concatenate([a.col, b.col]))
            matrix = sparse.coo_matrix((data, at), shape=matrix.shape).tocsc()
            matrix.sum_duplicates()
    matrix.sort_indices()
    values = np.ascontiguousarray(matrix.data, dtype=np.float64)
    pattern = (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), values, tuple(matrix.shape))
    return pattern, type(value)


def prepare(P: Any, q: Any, G: Any, h: Any, A: Any, b: Any, lb: Any, ub: Any) -> Problem:
    """Checks the arguments and brings them into the form that the extension takes."""
    if q is None:
        raise ArgumentError("q is None: a problem needs its linear term; pass zeros for none")
    raw = [P, q, G, h, A, b, lb, ub]
    data: list[Any] = [None] * 8
    templates: list[Any] = [None] * 8
    shared = [True] * 8
    batch, owner, numbers = None, "", 0
    for k, value in enumerate(raw):
        if value is None:
            continue
        name, rank = NAMES[k], RANKS[k]
        if isinstance(value, Factored):
            if k != 0:
                raise ArgumentError(f"{name} is Factored: only P may be")
            d, F = as_array("P.d", value.d, 1), as_array("P.F", value.F, 2)
            data[0], templates[0] = (d, F), Factored
            found = [("P.d", d, 1), ("P.F", F, 2)]
        elif is_sparse(value):
            if rank != 2:
                raise DtypeError(f"{name} is a sparse matrix: pass a dense vector")
            data[k], templates[k] = _as_csc(name, value)
            found = []
            numbers += value.nnz
            if k != 0 and value.shape[0] == 0:
                data[k] = templates[k] = None
        else:
            array = as_array(name, value, rank)
            if array.size == 0 and k >= 2:
                continue
            data[k] = array
            found = [(name, array, rank)]
        for name, array, rank in found:
            numbers += array.size
            if array.ndim > rank:
                shared[k] = False
                if batch is None:
                    batch, owner = array.shape[0], name
                elif batch != array.shape[0]:
                    raise ArgumentError(
                        f"{name} has a batch of {array.shape[0]}, but {owner} has one of {batch}: batches must agree"
                    )
    for m, v in ((2, 3), (4, 5)):
        if (data[m] is None) != (data[v] is None):
            given, missing = (NAMES[m], NAMES[v]) if data[v] is None else (NAMES[v], NAMES[m])
            raise ArgumentError(f"{missing} is missing: {given} was given, and the two come together")
    if batch == 0:
        raise ArgumentError(f"{owner} has a batch of 0: a batch needs at least one element")
    dtype = _F32 if getattr(q, "dtype", None) == _F32 else _F64
    return Problem(tuple(data), tuple(shared), batch, dtype, tuple(templates), numbers)


def options(solver: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Checks the names of the settings; their values are checked where they are used."""
    for name in settings:
        if name not in SETTINGS:
            raise ArgumentError(f"there is no setting {name!r}: choose from {', '.join(SETTINGS)}")
    out = {"solver": solver, **settings}
    out.pop("verbose", None)
    if out.get("backward") is not None and out["backward"] not in ("direct", "first_order"):
        raise ArgumentError(f"backward = {out['backward']!r}: choose 'direct' or 'first_order'")
    return out


def policy_code(on_failure: str) -> int:
    """The number of a failure policy."""
    try:
        return POLICIES[on_failure]
    except (KeyError, TypeError):
        raise ArgumentError(f"on_failure = {on_failure!r}: choose 'raise', 'nan' or 'zero_grad'") from None


def engine(solver: str, settings: dict[str, Any], dtype: np.dtype[Any]) -> _bpqp.Engine:
    """Prepared state for problems to come."""
    checked = options(solver, settings)
    try:
        return _bpqp.Engine(checked, dtype == np.float32)
    except (TypeError, OverflowError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"settings {checked}: {error}") from error


_LARGE = 1 << 20
_KEPT = 8
_local = threading.local()


def kept_engine(solver: str, settings: dict[str, Any], single: bool, numbers: int) -> _bpqp.Engine:
    """Prepared state that this thread keeps for problems to come: making its workspaces costs more than a small solve.

    It holds on to the last problem, so data of many `numbers` get an engine of their own, and only a few are kept.
    """
    key: Any = (solver, single)
    if settings:
        key = (*key, *((name, type(value), value) for name, value in settings.items()))
    found: _bpqp.Engine | None
    try:
        found = _local.engines.get(key)
    except AttributeError:
        _local.engines = {}
        found = None
    except TypeError:  # a setting that is not hashable is not a valid one either
        found = None
    if found is None or numbers > _LARGE:
        found = engine(solver, settings, np.dtype(np.float32 if single else np.float64))
        if numbers <= _LARGE:
            if len(_local.engines) >= _KEPT:
                _local.engines.pop(next(iter(_local.engines)))
            _local.engines[key] = found
    return found


def raise_failures(solved: _bpqp.Solved, solution: Any = None) -> None:
    """A SolveError that lists the elements without a solution."""
    text = solved.failures()
    if text is None:
        return
    failures = [(k, status) for k, (status, ok) in enumerate(zip(solved.status(), solved.ok(), strict=True)) if not ok]
    raise SolveError(text, failures, solution)


def failure_text(size: int, failures: list[tuple[int, str]], proof: Callable[[int], str]) -> str:
    """What is said of a batch of `size` in which some failed."""
    lines = [f"element {k}: {status}{proof(k)}" for k, status in failures[:_LISTED]]
    if len(failures) > _LISTED:
        lines.append(f"and {len(failures) - _LISTED} more, in the list `failures` of this error")
    text = "; ".join(lines)
    return f"{len(failures)} of {size} problems not solved: {text}. on_failure='nan' or 'zero_grad' returns the others"


def report(solved: _bpqp.Solved) -> None:
    """Prints one line on a solve: how many problems ended how, solver, iterations, worst residuals, time."""
    status, steps, residuals = solved.status(), solved.iterations(), solved.residuals()
    ends = ", ".join(f"{status.count(name)} {name}" if len(status) > 1 else name for name in sorted(set(status)))
    solvers = " and ".join(sorted(set(solved.solver())))
    count = f"{min(steps)}-{max(steps)}" if min(steps) < max(steps) else f"{steps[0]}"
    worst = ", ".join(f"{name} {np.max(residuals[name]):.1e}" for name in ("primal", "dual", "gap"))
    print(f"bpqp: {ends}; {solvers}, {count} iterations; {worst}; {1e3 * float(np.sum(solved.time())):.3f} ms")


class Solution:
    """The solution of a problem, or of a batch of them (every attribute then has a batch dimension).

    `x`, multipliers `y` (of `A x = b`), `z` (of `G x <= h`), `z_box` (of the bounds, positive at the upper one),
    `objective`, `status`, `ok`, `info`.
    """

    def __init__(self, problem: Problem, solved: _bpqp.Solved, on_failure: str) -> None:
        self._problem = problem
        self._solved = solved
        self._policy = policy_code(on_failure)
        single = problem.dtype == np.float32
        values: tuple[Any, ...] = solved.outputs(self._policy != 2)
        if single:
            values = tuple(v.astype(np.float32) for v in values)
        if problem.batch is None:
            values = tuple(v[0] for v in values)
        self.x, self.y, self.z, self.z_box, self.objective = values
        if problem.batch is None:
            self.objective = float(self.objective)
        if self._policy == 0 and not solved.all_ok():
            raise_failures(solved, self)

    @property
    def status(self) -> Any:
        """How the solve ended: a string, or an array of them."""
        status = self._solved.status()
        return status[0] if self._problem.batch is None else np.array(status)

    @property
    def ok(self) -> Any:
        """True where there is a solution that may be used."""
        ok = self._solved.ok()
        return bool(ok[0]) if self._problem.batch is None else ok

    @property
    def info(self) -> Info:
        """How it was found."""
        s = self._solved
        certificates = [s.certificate(k) for k in range(len(s))]
        if self._problem.batch is None:
            return Info(s.solver()[0], s.iterations()[0], float(s.time()[0]), certificates[0])
        return Info(s.solver(), np.array(s.iterations()), s.time(), certificates)

    def __repr__(self) -> str:
        batch = self._problem.batch
        return f"Solution(status={self.status!r})" if batch is None else f"Solution(batch of {batch})"

    def _rows(self, name: str, value: Any, shape: tuple[int, ...]) -> Any:
        if value is None:
            return None
        array = np.asarray(value)
        if array.dtype.kind not in "iuf":
            raise DtypeError(f"the cotangent of {name} has dtype {array.dtype}: pass float64 or float32")
        if array.shape != shape:
            raise ArgumentError(f"the cotangent of {name} has shape {array.shape}, expected {shape}, that of {name}")
        rows = shape if self._problem.batch is not None else (1, *shape)
        return np.ascontiguousarray(array, dtype=np.float64).reshape(rows)

    def _cotangents(self, x: Any, y: Any, z: Any, z_box: Any, objective: Any) -> tuple[Any, ...]:
        given = (
            (name, value, getattr(self, name).shape) for name, value in zip(OUTPUTS, (x, y, z, z_box), strict=True)
        )
        rows = [self._rows(*item) for item in given]
        rows.append(self._rows("objective", objective, () if self._problem.batch is None else (self._problem.batch,)))
        if all(r is None for r in rows):
            raise ArgumentError("no cotangent was given: pass x=, y=, z=, z_box= or objective=")
        return tuple(rows)

    def _ask(self, wrt: str | Iterable[str] | None) -> list[bool]:
        if wrt is None:
            return [d is not None for d in self._problem.data]
        names = [wrt] if isinstance(wrt, str) else list(wrt)
        for name in names:
            if name not in NAMES:
                raise ArgumentError(f"wrt names {name!r}: choose from {', '.join(NAMES)}")
        return [n in names and d is not None for n, d in zip(NAMES, self._problem.data, strict=True)]

    def _shape_gradient(self, k: int, value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, tuple):
            # d and F may be batched apart; the one that is shared gets its sum
            own = zip(value, self._problem.data[0], strict=True)
            return Factored(*(self._cast(v.sum(0) if v.ndim > d.ndim else v) for v, d in own))
        value = self._cast(value)
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
        x: Any = None,
        y: Any = None,
        z: Any = None,
        z_box: Any = None,
        objective: Any = None,
        wrt: str | Iterable[str] | None = None,
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
            SolveError: there is no solution to differentiate, and `on_failure` is "raise".
        """
        rows = self._cotangents(x, y, z, z_box, objective)
        grads = self._solved.vjp(rows, self._ask(wrt), (self._problem.shared[0], *self._problem.shared), self._policy)
        return Gradients(*(self._shape_gradient(k, g) for k, g in enumerate(grads)))

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
            return _as_csc("tangent", value)[0]
        array = as_array(f"tangent of {name}", value, rank)
        own = data[3] if isinstance(data, tuple) else data.shape[-rank:]
        if array.shape[-rank:] != tuple(own):
            raise ArgumentError(f"the tangent of {name} has shape {array.shape}, but {name} has {tuple(own)}")
        if array.ndim > rank and self._problem.batch is None:
            raise ArgumentError(f"the tangent of {name} has a batch dimension, but the problem has none")
        return array

    def jvp(
        self,
        P: Any = None,
        q: Any = None,
        G: Any = None,
        h: Any = None,
        A: Any = None,
        b: Any = None,
        lb: Any = None,
        ub: Any = None,
    ) -> Tangents:
        """The change of the outputs along a direction of the data; what is not given stays as it is.

        Directions have the shapes of their arguments (without the batch dimension too); that of a `Factored` is one.

        Raises:
            ArgumentError: no direction, one of another shape than its argument, or of an argument that is absent.
        """
        direction = tuple(self._direction(k, v) for k, v in enumerate((P, q, G, h, A, b, lb, ub)))
        if all(d is None for d in direction):
            raise ArgumentError("no tangent was given: pass P=, q=, G=, h=, A=, b=, lb= or ub=")
        out = tuple(self._cast(v) for v in self._solved.jvp(direction, self._policy))
        if self._problem.batch is None:
            out = tuple(v[0] for v in out)
        return Tangents(*out)

    def jacobian(self, of: str = "x", wrt: str = "q") -> Any:
        """The Jacobian of an output with respect to an argument: one factorization, many right-hand sides.

        Its shape is (batch,) + the shape of the output + the shape of the argument; for a sparse argument the last axis
        runs over its stored entries in compressed-column order; for a factored P it is a Factored of Jacobians.

        Raises:
            ArgumentError: an output or an argument that does not exist, or an argument that is absent.
        """
        if not isinstance(wrt, str) or wrt not in NAMES:
            raise ArgumentError(f"wrt = {wrt!r}: choose one of {', '.join(NAMES)}")
        ask = self._ask(wrt)
        if not any(ask):
            raise ArgumentError(f"wrt = {wrt!r}, but {wrt} is absent")
        value = self._solved.jacobian(of, ask, self._policy)[NAMES.index(wrt)]

        def trim(v: Any) -> Any:
            v = v[0] if self._problem.batch is None else v
            return self._cast(v[..., 0, :] if of == "objective" and v.ndim == 2 and self._problem.batch is None else v)

        return Factored(*(trim(v) for v in value)) if isinstance(value, tuple) else trim(value)

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
        verdicts = s.examine()
        columns = [np.array([v[k] for v in verdicts]) for k in range(3)]
        values = {**s.residuals(), "moved": s.moved()}
        one = self._problem.batch is None

        def pick(v: Any) -> Any:
            return v[0] if one else v

        residuals = {k: pick(v) for k, v in values.items() if k != "moved"}
        return Diagnostics(
            Active(*map(pick, active)),
            Active(*map(pick, weakly)),
            residuals,
            pick(columns[1]),
            pick(columns[2]),
            pick(values["moved"]),
            str(columns[0][0]) if one else columns[0],
        )


def _warm(problem: Problem, warm_start: Any) -> Any:
    if warm_start is None:
        return None
    rows = []
    for name in OUTPUTS:
        value = warm_start.get(name) if isinstance(warm_start, dict) else getattr(warm_start, name, None)
        if value is None:
            raise ArgumentError(f"warm_start has no {name}: pass a Solution, or a dict with x, y, z and z_box")
        array = np.asarray(value, dtype=np.float64)
        rank = 1 if problem.batch is None else 2
        if array.ndim != rank or (problem.batch is not None and array.shape[0] != problem.batch):
            raise ArgumentError(f"warm_start.{name} has shape {array.shape}: it is not that of this problem")
        rows.append(np.ascontiguousarray(array if rank == 2 else array[None, :]))
    return tuple(rows)


def solve_qp(
    P: Any,
    q: Any,
    G: Any = None,
    h: Any = None,
    A: Any = None,
    b: Any = None,
    lb: Any = None,
    ub: Any = None,
    *,
    solver: str = "auto",
    warm_start: Any = None,
    on_failure: str = "raise",
    **settings: Any,
) -> Solution:
    """Solves `min 1/2 x'P x + q'x  s.t.  G x <= h, A x = b, lb <= x <= ub`, one problem or a batch.

    The solution is the point where, with multipliers `y` free and `z >= 0`,

        P x + q + G'z + A'y + z_box = 0,  A x = b,  G x <= h,  lb <= x <= ub,  z'(G x - h) = 0

    and `z_box` is positive where `x` is held at `ub`, negative at `lb` and 0 between them.

    Args:
        P: (n, n), positive semidefinite on the null space of `A`; read as `(P + P')/2`. Also scipy.sparse, `Factored`,
            or None for a linear program.
        q: (n,); its dtype, float32 or float64, is that of the solution. The arithmetic is in double precision.
        G, h: (m, n) and (m,), rows of inequalities; `G` also scipy.sparse. Both or neither may be None.
        A, b: (k, n) and (k,), rows of equalities; `A` also scipy.sparse. Both or neither may be None.
        lb, ub: (n,), may be infinite; None is no bound.
        solver: one of `solvers()`; "qpsolvers:NAME" solves there and differentiates here.
        warm_start: a `Solution` of a similar problem, or a dict with x, y, z and z_box. It never decides the answer.
        on_failure: "raise", "nan" (NaN solution and gradient where there is no solution) or "zero_grad" (the last
            iterate, NaN where there is none, and no gradient).
        settings: eps_abs, eps_rel, max_iter, time_limit (seconds), backward ("direct", "first_order"), smoothing (the
            parameter of the barrier whose gradient is taken), threads, polish, verbose (print a line); with
            "qpsolvers:NAME" other names go to that solver.

    Every dense argument may carry a batch dimension first; those that do not are shared by the batch.

    Raises:
        ArgumentError: a shape, a value or a setting that is refused, by name, index and value.
        DtypeError: an argument that is not of floating point or integer numbers.
        SolveError: some problem has no solution, or none was found, and `on_failure` is "raise".
    """
    policy_code(on_failure)
    problem = prepare(P, q, G, h, A, b, lb, ub)
    if solver.startswith("qpsolvers:"):
        from ._qpsolvers import solve_with

        solved = solve_with(solver.partition(":")[2], problem, settings)
    else:
        prepared = kept_engine(solver, settings, problem.dtype == np.float32, problem.numbers)
        solved = _call(problem, prepared.solve, problem.data, _warm(problem, warm_start))
    if settings.get("verbose"):
        report(solved)
    return Solution(problem, solved, on_failure)


def _call(problem: Problem, function: Any, *args: Any) -> Any:
    """Calls into the extension; what it says of shapes is an error of this package."""
    try:
        return function(*args)
    except ArgumentError:
        raise
    except ValueError as error:
        raise ArgumentError(str(error)) from None


def from_solution(
    P: Any,
    q: Any,
    G: Any = None,
    h: Any = None,
    A: Any = None,
    b: Any = None,
    lb: Any = None,
    ub: Any = None,
    *,
    x: Any,
    y: Any = None,
    z: Any = None,
    z_box: Any = None,
    on_failure: str = "raise",
    **settings: Any,
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
        array = np.atleast_1d(np.asarray(value, dtype=np.float64))
        if problem.batch is None:
            array = array[None]
        if array.ndim != 2 or array.shape[0] != (problem.batch or 1):
            raise ArgumentError(f"{name} has shape {np.shape(value)}: it is not that of this problem")
        rows.append(np.ascontiguousarray(array))
    if any(is_sparse(v) for v in (x, y, z, z_box)):
        raise DtypeError("x, y, z and z_box are dense")
    prepared = engine(settings.pop("solver", "auto"), settings, problem.dtype)
    solved = _call(problem, prepared.given, problem.data, tuple(rows))
    if settings.get("verbose"):
        report(solved)
    return Solution(problem, solved, on_failure)


def check_gradient(
    sol: Solution,
    x: Any = None,
    y: Any = None,
    z: Any = None,
    z_box: Any = None,
    objective: Any = None,
    element: int = 0,
) -> GradientReport:
    """Central differences against the analytic gradient of a loss with these cotangents (ones for x if none is given).

    The problem is solved again for every entry of the data moved both ways. `element` chooses one of a batch.

    Raises:
        ArgumentError: a cotangent of another shape than its output, or an element that does not exist.
        SolveError: that element has no solution.
    """
    if all(v is None for v in (x, y, z, z_box, objective)):
        x = np.ones_like(sol.x)
    rows = sol._cotangents(x, y, z, z_box, objective)
    worst, table, text = _call(sol._problem, sol._solved.check, element, rows)
    keys = ("block", "entries", "checked", "worst", "at", "analytic", "numeric", "kinks")
    return GradientReport(worst, [dict(zip(keys, row, strict=True)) for row in table], text)


def solvers() -> list[str]:
    """What `solver=` may name here: native ones, clarabel, and "qpsolvers:NAME" for each that is installed."""
    from ._qpsolvers import installed

    return [*_bpqp.SOLVERS, *(f"qpsolvers:{name}" for name in installed())]
