"""Convex programs over cones: arrays in, arrays out. The mathematics is in the extension module."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import _bpqp
from ._arguments import names_of
from ._core import Info, _call, as_array, check_sparse, failure_text, is_sparse, numbers_of, options, policy_code
from ._errors import ArgumentError, DtypeError, Error, SolveError
from ._kept import Kept

NAMES = ("P", "q", "A", "b")
OUTPUTS = ("x", "s", "y")
CONES = {
    "zero": "a number of rows",
    "nonnegative": "a number of rows",
    "soc": "a number of rows",
    "psd": "the order of the matrix",
    "exp": None,
    "pow": "an exponent between 0 and 1",
    "dual_exp": None,
    "dual_pow": "an exponent between 0 and 1",
}
Cone = tuple[Any, ...]
Pattern = tuple[Any, Any]  # indptr and indices of compressed columns


def cone_rows(cone: Cone) -> int:
    """The rows of A that a cone takes."""
    kind = cone[0]
    if kind == "psd":
        return int(cone[1] * (cone[1] + 1) // 2)
    return int(cone[1]) if kind in ("zero", "nonnegative", "soc") else 3


def _cones(cones: Any) -> list[Cone]:
    out: list[Cone] = []
    if isinstance(cones, str) or not isinstance(cones, Iterable):
        raise ArgumentError(f'cones = {cones!r}: pass a list such as [("zero", 2), ("soc", 3)]')
    for k, cone in enumerate(cones):
        item = (cone,) if isinstance(cone, str) else tuple(cone) if isinstance(cone, Iterable) else ()
        kind = item[0] if item else None
        if not isinstance(kind, str) or kind not in CONES:
            raise ArgumentError(f"cones[{k}] = {cone!r}: choose a kind from {', '.join(CONES)}")
        wanted = CONES[kind]
        if len(item) != (1 if wanted is None else 2):
            shape = f"({kind!r},)" if wanted is None else f"({kind!r}, {wanted})"
            raise ArgumentError(f"cones[{k}] = {cone!r}: write {shape}")
        if wanted is None:
            out.append((kind,))
            continue
        try:
            number = float(item[1])
        except (TypeError, ValueError, OverflowError):
            raise ArgumentError(f"cones[{k}] = {cone!r}: {item[1]!r} is no number, {kind} takes {wanted}") from None
        if "exponent" in wanted:
            out.append((kind, number))
        elif number >= 0 and number.is_integer() and number < 2**53:
            out.append((kind, int(number)))
        else:
            raise ArgumentError(f"cones[{k}] = {cone!r}: {kind} takes {wanted}, a whole number >= 0")
    return out


class Program:
    """A cone program whose patterns are fixed; values come with every solve, shared (one axis) or batched (two).

    Kept between solves: the symbolic analysis, and one workspace for each thread.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "engine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        checked = options(self.solver, self.settings)
        self.engine = _bpqp.ConicEngine(self.pattern_P, self.pattern_A, self.shape, self.cones, checked)

    def __init__(
        self,
        P: Pattern | None,
        A: Pattern,
        shape: tuple[int, int],
        cones: Sequence[Cone],
        solver: str = "auto",
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.pattern_P, self.pattern_A, self.shape, self.cones = P, A, shape, list(cones)
        self.solver, self.settings = solver, dict(settings or {})
        checked = options(solver, self.settings)
        self.wheel = any(c[0] == "psd" and c[1] > 1 for c in self.cones) or solver == "clarabel_wheel"
        if self.wheel and solver not in ("auto", "clarabel"):
            raise ArgumentError(f"solver = {solver!r}: semidefinite cones are solved by 'clarabel' (or 'auto')")
        try:
            self.engine = _bpqp.ConicEngine(P, A, shape, self.cones, checked)
        except Error:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(f"settings {checked}: {error}") from error

    def solve(self, data: tuple[Any, ...], size: int) -> _bpqp.ConicSolved:
        """Solves for the values `(P, q, A, b)`, each shared or with `size` rows."""
        if not self.wheel:
            return _call(self.engine.solve, data, size)  # type: ignore[no-any-return]
        from ._clarabel import solve_each

        return _call(self.engine.given, data, *solve_each(self, data, size))  # type: ignore[no-any-return]

    def restore(self, data: tuple[Any, ...], state: Any) -> _bpqp.ConicSolved:
        """Solutions from their rows of `ConicSolved.state`."""
        return self.engine.restore(data, state)


@dataclass(slots=True)
class ConicGradients:
    """Gradients with respect to the four arguments; None where not asked for or absent."""

    P: Any = None
    q: Any = None
    A: Any = None
    b: Any = None


@dataclass(slots=True)
class ConicTangents:
    """The change of the outputs along a direction of the data."""

    x: Any
    s: Any
    y: Any


class _Argument(NamedTuple):
    """How a matrix or vector was given, and its values as the extension takes them."""

    values: Any
    batched: bool
    # of a matrix: its pattern, and the type of the sparse matrix (None if it was dense)
    pattern: Pattern | None = None
    template: Any = None
    shape: tuple[int, ...] = ()


def _vector(name: str, value: Any) -> _Argument:
    array = as_array(name, value, 1)
    return _Argument(array, array.ndim == 2, shape=array.shape[-1:])


def _full(rows: int, cols: int) -> Pattern:
    return np.arange(cols + 1, dtype=np.int64) * rows, np.tile(np.arange(rows, dtype=np.int64), cols)


def _matrix(name: str, value: Any) -> _Argument:
    if is_sparse(value):
        check_sparse(name, value)
        matrix = value.tocsc(copy=True)
        matrix.sum_duplicates()
        return _Argument(_values(name, matrix), False, _pattern(matrix), type(value), tuple(matrix.shape))
    if isinstance(value, (list, tuple)) and value and all(map(is_sparse, value)):
        return _stack(name, value)
    array = as_array(name, value, 2)
    rows, cols = array.shape[-2:]
    columns = np.ascontiguousarray(np.swapaxes(array, -1, -2)).reshape(*array.shape[:-2], rows * cols)
    return _Argument(columns, array.ndim == 3, _full(rows, cols), None, (rows, cols))


def _values(name: str, matrix: Any) -> Any:
    if matrix.dtype.kind not in "iuf":
        raise DtypeError(f"{name} has dtype {matrix.dtype}: pass float64 or float32")
    return np.ascontiguousarray(matrix.data, dtype=np.float64)


def _pattern(matrix: Any) -> Pattern:
    matrix.sort_indices()
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)


def _stack(name: str, matrices: Sequence[Any]) -> _Argument:
    """A batch of sparse matrices, on the union of their patterns."""
    from scipy import sparse

    if any(m.shape != matrices[0].shape for m in matrices):
        raise ArgumentError(f"{name} is a list of sparse matrices of different shapes: a batch has one shape")
    for k, m in enumerate(matrices):
        check_sparse(f"{name}[{k}]", m)
    columns = [m.tocsc(copy=True) for m in matrices]
    for m in columns:
        m.sum_duplicates()
    union = sum(sparse.csc_array((np.ones(m.nnz), m.indices, m.indptr), shape=m.shape) for m in columns).tocsc()
    indptr, indices = _pattern(union)
    rows, cols = union.shape

    def keys(indptr: Any, indices: Any) -> Any:
        return np.repeat(np.arange(cols), np.diff(indptr)).astype(np.int64) * rows + indices

    at, values = keys(indptr, indices), np.zeros((len(columns), len(indices)))
    for row, m in zip(values, columns, strict=True):
        row[np.searchsorted(at, keys(m.indptr, m.indices))] = _values(name, m)
    return _Argument(values, True, (indptr, indices), type(matrices[0]), (rows, cols))


class ConicSolution:
    """The solution of a cone program, or of a batch of them (every attribute then has a batch dimension).

    `x`, slacks `s`, multipliers `y`, `objective`, `status`, `ok`, `verdict`, `info`.
    """

    def __init__(
        self, arguments: dict[str, _Argument], batch: int | None, solved: _bpqp.ConicSolved, policy: int
    ) -> None:
        self._arguments, self._batch, self._solved, self._policy = arguments, batch, solved, policy
        self._program: Program | None = None
        values: tuple[Any, ...] = solved.outputs(policy != 2)
        self.x, self.s, self.y, self.objective = values if batch is not None else (v[0] for v in values)
        if batch is None:
            self.objective = float(self.objective)
        if policy == 0:
            raise_failures(solved, self)

    def _each(self, values: Any) -> Any:
        return np.array(values) if self._batch is not None else values[0]

    @property
    def status(self) -> Any:
        """How the solve ended: a string, or an array of them."""
        return self._each(self._solved.status())

    @property
    def ok(self) -> Any:
        """True where there is a solution that may be used."""
        ok = self._solved.ok()
        return bool(ok[0]) if self._batch is None else ok

    @property
    def verdict(self) -> Any:
        """How far the derivative may be trusted."""
        return self._each(self._solved.verdict())

    @property
    def info(self) -> Info:
        """How it was found."""
        s = self._solved
        certificates = [s.certificate(k) for k in range(len(s))]
        if self._batch is None:
            return Info(s.solver()[0], s.iterations()[0], float(s.time()[0]), certificates[0])
        return Info(s.solver(), np.array(s.iterations()), s.time(), certificates)

    def __repr__(self) -> str:
        status = f"status={self.status!r}" if self._batch is None else f"batch of {self._batch}"
        return f"ConicSolution({status})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_solved": Kept.of(self._solved)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        data = tuple(self._arguments[n].values if n in self._arguments else None for n in NAMES)
        kept: Any = state["_solved"]
        program: Any = self._program
        self._solved = kept.back(lambda rows: program.restore(data, rows))

    def _rows(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        array = numbers_of(f"the cotangent of {name}", value)
        expected = getattr(self, name).shape
        if array.dtype.kind not in "iuf":
            raise DtypeError(f"the cotangent of {name} has dtype {array.dtype}: pass float64 or float32")
        if array.shape != expected:
            raise ArgumentError(f"the cotangent of {name} has shape {array.shape}, expected {expected}")
        return np.ascontiguousarray(np.atleast_2d(array), dtype=np.float64)

    def _ask(self, wrt: str | Iterable[str] | None) -> list[bool]:
        names = NAMES if wrt is None else names_of(wrt, NAMES)
        return [n in names and n in self._arguments for n in NAMES]

    def vjp(
        self, x: Any = None, s: Any = None, y: Any = None, *, wrt: str | Iterable[str] | None = None
    ) -> ConicGradients:
        """Gradients of a loss from its derivatives with respect to the outputs.

        `wrt` names the arguments that are wanted (all that are present if None). An argument that the batch shares gets
        the sum over the batch. Sparse data get gradients on their own pattern; the gradient of P is symmetric.
        """
        rows = tuple(self._rows(n, v) for n, v in zip(OUTPUTS, (x, s, y), strict=True))
        if all(r is None for r in rows):
            raise ArgumentError("no cotangent was given: pass x=, s= or y=")
        summed = [n not in self._arguments or not self._arguments[n].batched for n in NAMES]
        grads = self._solved.vjp(rows, self._ask(wrt), summed, self._policy)
        return ConicGradients(*(self._shape(n, g) for n, g in zip(NAMES, grads, strict=True)))

    def _shape(self, name: str, value: Any) -> Any:
        if value is None or name in "qb":
            return value
        own = self._arguments[name]
        rows, cols = own.shape
        if own.template is None:
            return np.swapaxes(value.reshape(*value.shape[:-1], cols, rows), -1, -2)
        if own.batched:
            return [self._sparse(own, v) for v in value]
        return self._sparse(own, value)

    def _sparse(self, own: _Argument, value: Any) -> Any:
        from scipy import sparse

        assert own.pattern is not None
        indptr, indices = own.pattern
        return own.template(sparse.csc_matrix((value, indices, indptr), shape=own.shape))

    def _direction(self, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name not in self._arguments:
            raise ArgumentError(f"a tangent of {name} was given, but {name} is absent")
        own = self._arguments[name]
        label = f"tangent of {name}"
        given = _vector(label, value) if name in "qb" else _matrix(label, value)
        if given.shape != own.shape:
            raise ArgumentError(f"the {label} has shape {given.shape}, but {name} has {own.shape}")
        if given.batched and self._batch is None:
            raise ArgumentError(f"the {label} has a batch dimension, but the problem has none")
        if own.pattern is None:
            return given.values
        return _onto(label, given, own)

    def jvp(self, P: Any = None, q: Any = None, A: Any = None, b: Any = None) -> ConicTangents:
        """The change of the outputs along a direction of the data; what is not given stays as it is."""
        direction = tuple(self._direction(n, v) for n, v in zip(NAMES, (P, q, A, b), strict=True))
        if all(d is None for d in direction):
            raise ArgumentError("no tangent was given: pass P=, q=, A= or b=")
        out = self._solved.jvp(direction, self._policy)
        return ConicTangents(*(out if self._batch is not None else (v[0] for v in out)))

    def jacobian(self, of: str = "x", wrt: str = "q") -> Any:
        """The Jacobian of an output with respect to an argument: one factorization, many right-hand sides.

        Its shape is (batch,) + the shape of the output + the shape of the argument; for a sparse argument the last axis
        runs over its stored entries in compressed-column order.
        """
        if not isinstance(of, str) or of not in OUTPUTS:
            raise ArgumentError(f"of = {of!r}: choose one of {', '.join(OUTPUTS)}")
        if not isinstance(wrt, str) or wrt not in self._arguments:
            raise ArgumentError(f"wrt = {wrt!r}: choose one of {', '.join(self._arguments)}")
        value = self._solved.jacobian(of, NAMES.index(wrt), self._policy)
        value = value if self._batch is not None else value[0]
        own = self._arguments[wrt]
        if own.pattern is None or own.template is not None:
            return value
        rows, cols = own.shape
        return np.swapaxes(value.reshape(*value.shape[:-1], cols, rows), -1, -2)


def _onto(label: str, given: _Argument, own: _Argument) -> Any:
    """Values on the pattern of the data; what is outside of it is refused."""
    assert own.pattern is not None and given.pattern is not None
    rows, cols = own.shape

    def keys(pattern: Pattern) -> Any:
        return np.repeat(np.arange(cols), np.diff(pattern[0])).astype(np.int64) * rows + pattern[1]

    ours, theirs = keys(own.pattern), keys(given.pattern)
    if len(ours) == len(theirs) and np.array_equal(ours, theirs):
        return given.values
    at = np.minimum(np.searchsorted(ours, theirs), max(len(ours) - 1, 0))
    inside = ours[at] == theirs if len(ours) else np.zeros(len(theirs), dtype=bool)
    values = given.values
    if np.any(values[..., ~inside] != 0):
        raise ArgumentError(f"the {label} has entries outside of the sparsity pattern of the data")
    out = np.zeros((*values.shape[:-1], len(ours)))
    out[..., at[inside]] = values[..., inside]
    return out


def raise_failures(solved: Any, solution: Any = None) -> None:
    """A SolveError that lists the elements without a solution, if there are any."""
    if solved.all_ok():
        return
    failures = [(k, status) for k, (status, ok) in enumerate(zip(solved.status(), solved.ok(), strict=True)) if not ok]

    def proof(k: int) -> str:
        certificate, reason = solved.certificate(k), solved.reason(k)
        if reason is not None:
            return f" ({reason})"
        if certificate is None:
            return ""
        return f" (proved by sol.info.certificate, a vector with {np.count_nonzero(certificate)} nonzeros)"

    raise SolveError(failure_text(len(solved), failures, proof), failures, solution)


def solve_conic(
    P: Any,
    q: Any,
    A: Any,
    b: Any,
    cones: Iterable[Any],
    *,
    solver: str = "auto",
    on_failure: str = "raise",
    **settings: Any,
) -> ConicSolution:
    """Solves `min 1/2 x'P x + q'x  s.t.  A x + s = b, s in K`, one problem or a batch.

    The multipliers `y` are in the dual cone, `P x + q + A'y = 0` and `s'y = 0`. Arguments are NumPy arrays; `P` and `A`
    may be scipy.sparse, or for a batch a list of these. Any may carry a batch dimension first; those that do not are
    shared by the batch. `P=None` is a linear objective; a sparse `P` may be its upper triangle.

    Args:
        cones: they take the rows of A in order: ("zero", rows), ("nonnegative", rows), ("soc", rows) with the bound
            first, ("psd", order) for the upper triangle of a symmetric matrix by columns with sqrt 2 off the diagonal,
            ("exp",) for y exp(x / y) <= z, ("pow", a) for x^a y^(1 - a) >= |z|, and their duals ("dual_exp",) and
            ("dual_pow", a). The order and scaling are those of Clarabel.
        solver: "auto" or "clarabel"; semidefinite cones need the package clarabel.
        on_failure: "raise", "nan" (NaN solution and gradient where there is no solution) or "zero_grad".
        settings: eps_abs, eps_rel, max_iter, time_limit, smoothing, threads, polish.
    """
    policy = policy_code(on_failure)
    arguments = {}
    if P is not None:
        arguments["P"] = _matrix("P", P)
    arguments |= {"q": _vector("q", q), "A": _matrix("A", A), "b": _vector("b", b)}
    batch, owner = None, ""
    for name, argument in arguments.items():
        if argument.batched:
            size = argument.values.shape[0]
            if batch is None:
                batch, owner = size, name
            elif batch != size:
                raise ArgumentError(f"{name} has a batch of {size}, but {owner} has one of {batch}: batches must agree")
    if batch == 0:
        raise ArgumentError(f"{owner} has a batch of 0: a batch needs at least one element")
    shape = arguments["A"].shape
    for name, wanted in (("P", (shape[1],) * 2), ("q", shape[1:]), ("b", shape[:1])):
        if name in arguments and arguments[name].shape != wanted:
            advice = "A has one row per entry of b and one column per entry of q"
            raise ArgumentError(f"{name} has shape {arguments[name].shape}, expected {wanted}: {advice}")
    pattern_P = arguments["P"].pattern if "P" in arguments else None
    pattern_A = arguments["A"].pattern
    assert pattern_A is not None
    program = Program(pattern_P, pattern_A, shape, _cones(cones), solver, settings)  # type: ignore[arg-type]
    data = tuple(arguments[n].values if n in arguments else None for n in NAMES)
    solution = ConicSolution(arguments, batch, program.solve(data, batch or 1), policy)
    solution._program = program
    return solution
