"""Solving and differentiating cone programs in the form of diffcp: `min c'x + x'P x / 2  s.t.  A x + s = b, s in K`."""

from __future__ import annotations

import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from ..._errors import SolveError
from ..._program import Program
from ..._verdicts import judge
from .cones import bpqp_cones, parse_cone_dict, row_order

MODES = ("dense", "lsqr", "lsmr", "lpgd", "lpgd_right", "lpgd_left")
METHODS = {"SCS": "scs", "ECOS": "ecos", "CLARABEL": "clarabel"}
# status of bpqp -> its name in diffcp, its number in SCS
STATUS = {
    "solved": ("Solved", 1),
    "solved_inaccurate": ("Solved/Inaccurate", 2),
    "primal_infeasible": ("Infeasible", -2),
    "dual_infeasible": ("Unbounded", -1),
}
_FAILURE = ("Failure", -4)
_KEPT = 32
SolverError = SolveError


class _Structure:
    """Patterns and cones of a problem, and the program that solves it; kept, because loops come back with them."""

    _known: ClassVar[OrderedDict[Any, _Structure]] = OrderedDict()
    _lock: ClassVar[Any] = Lock()

    def __init__(self, A: Any, P: Any, cones: list[tuple[Any, ...]], threads: int) -> None:
        m, n = A.shape
        self.order = row_order(cones)
        place = np.empty(m, dtype=np.int64)
        place[self.order] = np.arange(m)
        labels = sparse.csc_array((np.arange(1, A.nnz + 1), place[A.indices], A.indptr), shape=(m, n))
        labels.sort_indices()
        # the entries of A in the order of bpqp, and back
        self.entries = labels.data - 1
        pattern = (labels.indptr.astype(np.int64), labels.indices.astype(np.int64))
        own = None if P is None else (P.indptr.astype(np.int64), P.indices.astype(np.int64))
        self.program = Program(own, pattern, (m, n), cones, "auto", {"threads": threads})

    @classmethod
    def of(cls, A: Any, P: Any, cone_dict: dict[str, Any], threads: int) -> _Structure:
        cones = bpqp_cones(parse_cone_dict(cone_dict))
        key: tuple[Any, ...] = (A.shape, A.indptr.tobytes(), A.indices.tobytes(), tuple(cones), threads)
        key += () if P is None else (P.indptr.tobytes(), P.indices.tobytes())
        with cls._lock:
            found = cls._known.pop(key, None)
            if found is None:
                found = cls(A, P, cones, threads)
            cls._known[key] = found
            while len(cls._known) > _KEPT:
                cls._known.popitem(last=False)
        return found

    def values(self, P: Any, c: Any, A: Any, b: Any) -> tuple[Any, ...]:
        """Values for the program, of one problem or rows of many."""
        parts = (P, c, None if A is None else A[..., self.entries], None if b is None else b[..., self.order])
        return tuple(None if v is None else np.ascontiguousarray(v, dtype=np.float64) for v in parts)

    def back(self, rows: Any) -> Any:
        """Rows of the cones in the order of SCS."""
        out = np.empty_like(rows)
        out[..., self.order] = rows
        return out

    def entries_back(self, values: Any) -> Any:
        out = np.empty_like(values)
        out[..., self.entries] = values
        return out


def _columns(matrix: Any) -> Any:
    """Compressed columns without duplicates, explicit zeros kept; the argument stays as it is."""
    if matrix is None:
        return None
    if not sparse.issparse(matrix):
        matrix = sparse.csc_matrix(matrix)
    if matrix.format != "csc" or not matrix.has_canonical_format:
        matrix = matrix.tocsc(copy=True)
        matrix.sum_duplicates()
    return matrix


def _on_pattern(given: Any, pattern: Any) -> Any:
    """The entries of a sparse matrix on a pattern that contains its own."""
    if given is None:
        return None
    plain = given.format == "csc" and given.has_canonical_format and given.nnz == pattern.nnz
    if plain and np.array_equal(given.indices, pattern.indices) and np.array_equal(given.indptr, pattern.indptr):
        return given.data
    coo = sparse.coo_array(given)
    coo.sum_duplicates()
    rows = pattern.shape[0]
    keys = np.repeat(np.arange(pattern.shape[1]), np.diff(pattern.indptr)).astype(np.int64) * rows + pattern.indices
    own = coo.col.astype(np.int64) * rows + coo.row
    at = np.minimum(np.searchsorted(keys, own), max(len(keys) - 1, 0))
    inside = keys[at] == own if len(keys) else np.zeros(len(own), dtype=bool)
    if np.any(coo.data[~inside] != 0):
        raise ValueError("the direction of a matrix has entries outside of the sparsity pattern of the matrix")
    out = np.zeros(len(keys))
    out[at[inside]] = coo.data[inside]
    return out


class _Batch:
    """Solved problems of one structure."""

    def __init__(
        self, As: Sequence[Any], bs: Sequence[Any], cs: Sequence[Any], Ps: Sequence[Any], cone_dict: Any, threads: int
    ) -> None:
        self.As, self.Ps = As, Ps
        for A in As:
            if np.isnan(A.data).any():
                raise SolverError("Found a NaN in A.")
        self.structure = _Structure.of(As[0], Ps[0], cone_dict, threads)
        P = None if Ps[0] is None else np.stack([P.data for P in Ps])
        c, A, b = (np.stack(v) for v in ([np.ravel(c) for c in cs], [A.data for A in As], [np.ravel(b) for b in bs]))
        start = time.perf_counter()
        self.solved = self.structure.program.solve(self.structure.values(P, c, A, b), len(As))
        self.seconds = (time.perf_counter() - start) / len(As)
        x, s, y, _, self.objective = self.solved.outputs(False)
        self.x, self.s, self.y = x, self.structure.back(s), self.structure.back(y)

    def __len__(self) -> int:
        return len(self.As)

    def forward(self, dAs: Any, dbs: Any, dcs: Any, dPs: Any = None) -> tuple[Any, Any, Any]:
        dA = np.stack([_on_pattern(d, A) for d, A in zip(dAs, self.As, strict=True)])
        dP = None
        if dPs is not None and dPs[0] is not None:
            if self.Ps[0] is None:
                raise ValueError("P must be provided if dP is not None.")
            dP = np.stack([_on_pattern(d, P) for d, P in zip(dPs, self.Ps, strict=True)])
        rows = self.structure.values(dP, np.stack([np.ravel(d) for d in dcs]), dA, np.stack([np.ravel(d) for d in dbs]))
        x, s, y, _, _, codes = self.solved.jvp((*rows, None, None), 0)
        judge(codes, "warn")
        return x, self.structure.back(y), self.structure.back(s)

    def backward(self, dxs: Any, dys: Any, dss: Any, return_dP: bool = False) -> tuple[Any, ...]:
        if return_dP and self.Ps[0] is None:
            raise ValueError("P must be provided to differentiate with respect to it.")
        order = self.structure.order
        rows = [np.stack([np.ravel(d) for d in v]) for v in (dxs, dss, dys)]
        x, s, y = (np.ascontiguousarray(v, dtype=np.float64) for v in (rows[0], rows[1][:, order], rows[2][:, order]))
        asked = [return_dP, True, True, True, False, False]
        grads: tuple[Any, ...] = self.solved.vjp((x, s, y, None, None), asked, [False] * 6, 0)
        P, c, A, b, _, _, codes = grads
        judge(codes, "warn")
        A, b = self.structure.entries_back(A), self.structure.back(b)
        own = self.As[0]
        dAs = [sparse.csc_matrix((v, own.indices.copy(), own.indptr.copy()), shape=own.shape) for v in A]
        out: tuple[Any, ...] = (dAs, list(b), list(c))
        if return_dP:
            pattern = self.Ps[0]
            out += ([sparse.csc_matrix((v, pattern.indices, pattern.indptr), shape=pattern.shape) for v in P],)
        return out

    def result(self, k: int, method: str, raise_on_error: bool) -> dict[str, Any]:
        """What diffcp's internal function returns of one problem."""
        name, number = STATUS.get(self.solved.status()[k], _FAILURE)
        if name == "Solved/Inaccurate":
            warnings.warn("Solved/Inaccurate.", stacklevel=4)
        elif name != "Solved" and raise_on_error:
            raise SolverError(f"Solver {METHODS[method]} returned status {name} (it is bpqp that solved)")
        info = {"status": name, "status_val": number, "iter": self.solved.iterations()[k], "pobj": self.objective[k]}
        info |= {"solveTime": self.seconds, "solve_time": 1e3 * self.seconds, "setupTime": 0.0, "setup_time": 0.0}
        return {"x": self.x[k], "y": self.y[k], "s": self.s[k], "info": info, "D": None, "DT": None}


def _method(name: str | None) -> str:
    method = (name or "SCS").upper()
    if method not in METHODS:
        raise ValueError(f"Solver {name} not supported.")
    return method


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"Unsupported mode {mode}; the supported modes are {', '.join(MODES)}")


def solve_internal(
    A: Any,
    b: Any,
    c: Any,
    cone_dict: dict[str, Any],
    solve_method: str | None = None,
    warm_start: Any = None,
    raise_on_error: bool = True,
    P: Any = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """The solution as a dictionary `x`, `y`, `s`, `info`."""
    method = _method(solve_method)
    batch = _Batch([_columns(A)], [b], [c], [_columns(P)], cone_dict, 1)
    return batch.result(0, method, raise_on_error)


def solve_and_derivative_internal(
    A: Any,
    b: Any,
    c: Any,
    cone_dict: dict[str, Any],
    solve_method: str | None = None,
    warm_start: Any = None,
    mode: str = "lsqr",
    raise_on_error: bool = True,
    P: Any = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """The same with the derivative `D` and its adjoint `DT`; both None where there is no solution."""
    _check_mode(mode)
    method = _method(solve_method)
    batch = _Batch([_columns(A)], [b], [c], [_columns(P)], cone_dict, 1)
    result = batch.result(0, method, raise_on_error)
    if batch.solved.all_ok():

        def derivative(dA: Any, db: Any, dc: Any, dP: Any = None, **_: Any) -> tuple[Any, Any, Any]:
            x, y, s = batch.forward([dA], [db], [dc], [dP])
            return x[0], y[0], s[0]

        def adjoint_derivative(dx: Any, dy: Any, ds: Any, return_dP: bool = False, **_: Any) -> tuple[Any, ...]:
            return tuple(v[0] for v in batch.backward([dx], [dy], [ds], return_dP))

        result["D"], result["DT"] = derivative, adjoint_derivative
    return result


def solve_and_derivative(
    A: Any,
    b: Any,
    c: Any,
    cone_dict: dict[str, Any],
    warm_start: Any = None,
    mode: str = "lsqr",
    solve_method: str = "SCS",
    P: Any = None,
    **kwargs: Any,
) -> tuple[Any, Any, Any, Callable[..., Any], Callable[..., Any]]:
    """`x, y, s, D, DT` with `D(dA, db, dc, dP=None) -> dx, dy, ds` and `DT(dx, dy, ds) -> dA, db, dc`.

    Raises:
        SolverError: the problem has no solution, or none was found.
    """
    r = solve_and_derivative_internal(
        A, b, c, cone_dict, warm_start=warm_start, mode=mode, solve_method=solve_method, P=P, **kwargs
    )
    return r["x"], r["y"], r["s"], r["D"], r["DT"]


def solve_only(
    A: Any,
    b: Any,
    c: Any,
    cone_dict: dict[str, Any],
    warm_start: Any = None,
    solve_method: str = "SCS",
    P: Any = None,
    **kwargs: Any,
) -> tuple[Any, Any, Any]:
    """`x, y, s`."""
    r = solve_internal(A, b, c, cone_dict, warm_start=warm_start, solve_method=solve_method, P=P, **kwargs)
    return r["x"], r["y"], r["s"]


def _groups(As: list[Any], bs: Any, cs: Any, Ps: list[Any], cone_dicts: Any, threads: int) -> list[tuple[Any, _Batch]]:
    """The problems by structure: `(indices, solved)`."""
    found: dict[Any, list[int]] = {}
    for k, (A, P, cones) in enumerate(zip(As, Ps, cone_dicts, strict=True)):
        key: tuple[Any, ...] = (A.shape, A.indptr.tobytes(), A.indices.tobytes(), repr(parse_cone_dict(cones)))
        key += () if P is None else (P.indptr.tobytes(), P.indices.tobytes())
        found.setdefault(key, []).append(k)

    def pick(values: Any, at: list[int]) -> list[Any]:
        return [values[k] for k in at]

    return [
        (at, _Batch(pick(As, at), pick(bs, at), pick(cs, at), pick(Ps, at), cone_dicts[at[0]], threads))
        for at in found.values()
    ]


def _solve_batch(
    As: Any, bs: Any, cs: Any, cone_dicts: Any, jobs: int, Ps: Any, solve_method: str | None, raise_on_error: bool
) -> tuple[list[tuple[Any, _Batch]], tuple[list[Any], list[Any], list[Any]]]:
    method = _method(solve_method)
    matrices = [_columns(A) for A in As]
    quadratics = [None] * len(matrices) if Ps is None else [_columns(P) for P in Ps]
    groups = _groups(matrices, bs, cs, quadratics, cone_dicts, max(jobs, 0))
    points: tuple[list[Any], ...] = tuple([None] * len(matrices) for _ in range(3))
    for at, batch in groups:
        for i, k in enumerate(at):
            result = batch.result(i, method, raise_on_error)
            for column, name in zip(points, ("x", "y", "s"), strict=True):
                column[k] = result[name]
    return groups, points  # type: ignore[return-value]


def solve_and_derivative_batch(
    As: Any,
    bs: Any,
    cs: Any,
    cone_dicts: Any,
    n_jobs_forward: int = -1,
    n_jobs_backward: int = -1,
    mode: str = "lsqr",
    warm_starts: Any = None,
    Ps: Any = None,
    solve_method: str = "SCS",
    raise_on_error: bool = True,
    **kwargs: Any,
) -> tuple[list[Any], list[Any], list[Any], Callable[..., Any], Callable[..., Any]]:
    """`xs, ys, ss, D, DT` of a batch; problems of one structure are solved together. -1 jobs are all cores."""
    _check_mode(mode)
    groups, (xs, ys, ss) = _solve_batch(As, bs, cs, cone_dicts, n_jobs_forward, Ps, solve_method, raise_on_error)
    size = len(xs)

    def gather(each: Callable[[Any, _Batch], tuple[Any, ...]]) -> tuple[list[Any], ...]:
        out: list[list[Any]] = []
        for at, batch in groups:
            columns = each(at, batch)
            out = out or [[None] * size for _ in columns]
            for column, values in zip(out, columns, strict=True):
                for k, value in zip(at, values, strict=True):
                    column[k] = value
        return tuple(out)

    def pick(values: Any, at: list[int]) -> Any:
        return None if values is None else [values[k] for k in at]

    def D_batch(dAs: Any, dbs: Any, dcs: Any, dPs: Any = None, **_: Any) -> tuple[list[Any], ...]:
        return gather(lambda at, batch: batch.forward(*(pick(v, at) for v in (dAs, dbs, dcs, dPs))))

    def DT_batch(dxs: Any, dys: Any, dss: Any, return_dP: bool = False, **_: Any) -> tuple[list[Any], ...]:
        return gather(lambda at, batch: batch.backward(pick(dxs, at), pick(dys, at), pick(dss, at), return_dP))

    return xs, ys, ss, D_batch, DT_batch


def solve_only_batch(
    As: Any,
    bs: Any,
    cs: Any,
    cone_dicts: Any,
    n_jobs_forward: int = -1,
    warm_starts: Any = None,
    Ps: Any = None,
    solve_method: str = "SCS",
    **kwargs: Any,
) -> tuple[list[Any], list[Any], list[Any]]:
    """`xs, ys, ss` of a batch."""
    return _solve_batch(As, bs, cs, cone_dicts, n_jobs_forward, Ps, solve_method, True)[1]
