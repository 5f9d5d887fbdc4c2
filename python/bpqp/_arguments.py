"""The eight arguments of a problem: checked, and brought into the form that the extension takes."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ._bpqp import canonical, take
from ._errors import ArgumentError, DtypeError, UnsupportedError

NAMES = ("P", "q", "G", "h", "A", "b", "lb", "ub")
RANKS = (2, 1, 2, 1, 2, 1, 1, 1)
OUTPUTS = ("x", "y", "z", "z_box")
_F32, _F64 = np.dtype(np.float32), np.dtype(np.float64)


class Factored:
    """`P = diag(d) + F F'`, accepted wherever `P` is; the n x n matrix is never formed.

    `d` has n entries >= 0 and `F` the shape (n, r); either may carry a batch dimension. A gradient with respect to it
    is again one of these.
    """

    __slots__ = ("F", "d")

    def __init__(self, d: Any, F: Any) -> None:
        self.d = d
        self.F = F

    def parts(self) -> tuple[Any, Any]:
        """`(d, F)`."""
        return self.d, self.F

    def __repr__(self) -> str:
        return f"Factored(d={self.d!r}, F={self.F!r})"


def names_of(wrt: Any, names: tuple[str, ...]) -> list[str]:
    """The arguments that `wrt` names."""
    if isinstance(wrt, str):
        given: list[Any] = [wrt]
    else:
        try:
            given = list(wrt)
        except TypeError:
            raise ArgumentError(f"wrt = {wrt!r}: pass a name or a list of names from {', '.join(names)}") from None
    for name in given:
        if not isinstance(name, str) or name not in names:
            raise ArgumentError(f"wrt names {name!r}: choose from {', '.join(names)}")
    return given


@lru_cache(maxsize=64)
def _bits(wrt: str | tuple[str, ...]) -> int:
    return sum(1 << NAMES.index(name) for name in dict.fromkeys(names_of(wrt, NAMES)))


def bits_of(wrt: Any) -> int:
    """The arguments of a problem that `wrt` names, a bit for each; all of them if it is None."""
    if wrt is None:
        return (1 << len(NAMES)) - 1
    try:
        return _bits(wrt)
    except TypeError:  # a list, or names that are none
        return _bits(tuple(names_of(wrt, NAMES)))


class Problem(NamedTuple):
    """Arguments as the extension takes them, and what is needed to give gradients the shape of the data."""

    data: tuple[Any, ...]
    shared: tuple[bool, ...]
    batch: int | None
    dtype: np.dtype[Any]
    templates: tuple[Any, ...]
    numbers: int = 0
    # gradients have the shapes of the data as the extension gives them
    plain: bool = False
    # "scalar" for a number that stands for a vector, "row" for a vector that stands for a matrix of one row
    forms: tuple[str | None, ...] = (None,) * 8


# types of scipy.sparse that were met: asking it takes longer than all else that is done with a small matrix
_SPARSE: set[type] = set()


def is_sparse(value: Any) -> bool:
    """True for the matrices and arrays of scipy.sparse."""
    kind = type(value)
    if kind is np.ndarray:
        return False
    if kind in _SPARSE:
        return True
    sparse = sys.modules.get("scipy.sparse")
    found = sparse is not None and bool(sparse.issparse(value))
    if found:
        _SPARSE.add(kind)
    return found


def numbers_of(name: str, value: Any) -> np.ndarray[Any, Any]:
    """What NumPy makes of a value; what it cannot take is an error of this package."""
    if isinstance(value, np.ndarray):
        return value
    try:
        return np.asarray(value)
    except Exception as error:  # lists of different lengths, tensors that need a gradient, arrays under a trace
        raise DtypeError(f"{name} is a {type(value).__name__} that is no array of numbers: {error}") from None


def refuse_products(name: str, value: Any) -> None:
    """Where numbers are needed, what is known by its products only is refused by name."""
    if hasattr(value, "matvec"):
        raise UnsupportedError(
            f"{name} is known by its products only: bpqp.solve_qp and bpqp.torch.solve_qp take operators"
        )


def as_array(name: str, value: Any, rank: int) -> np.ndarray[Any, Any]:
    """A contiguous f64 array of `rank` dimensions, or one more."""
    refuse_products(name, value)
    array = numbers_of(name, value)
    if type(array) is not np.ndarray and np.ma.is_masked(array):
        raise ArgumentError(f"{name} has masked entries: fill them, a mask would be ignored")
    if array.dtype != np.float64:
        if array.dtype.kind not in "iuf" or array.dtype.itemsize < (4 if array.dtype.kind == "f" else 1):
            raise DtypeError(f"{name} has dtype {array.dtype}: pass float64 or float32")
        array = array.astype(np.float64)
    if array.ndim not in (rank, rank + 1):
        raise ArgumentError(
            f"{name} has shape {array.shape}: it needs {rank} dimensions, or {rank + 1} with a batch dimension first"
        )
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.array(array, order="C")


def _ready(array: np.ndarray[Any, Any], rank: int) -> bool:
    """True for an array of numbers that is already as `as_array` makes it."""
    flags = array.flags
    return array.dtype is _F64 and array.ndim <= rank + 1 and flags.c_contiguous and flags.aligned


def check_sparse(name: str, matrix: Any) -> None:
    """Refuses a sparse matrix whose arrays do not describe one: compiled code of scipy would read beyond their ends."""
    if len(matrix.shape) != 2:
        raise ArgumentError(f"{name} has shape {tuple(matrix.shape)}: a sparse argument is a matrix")
    if matrix.dtype.kind not in "iuf":
        raise DtypeError(f"{name} has dtype {matrix.dtype}: pass float64 or float32")
    if matrix.format == "coo":
        for axis, index, size in zip(("row", "column"), (matrix.row, matrix.col), matrix.shape, strict=True):
            _check_indices(name, axis, index, size)
            if len(index) != len(matrix.data):
                raise ArgumentError(f"{name} has {len(index)} {axis} indices for {len(matrix.data)} values")
        return
    if matrix.format not in ("csc", "csr", "bsr"):
        return
    by_rows = matrix.format != "csc"
    block = matrix.blocksize if matrix.format == "bsr" else (1, 1)
    rows, cols = (size // part for size, part in zip(matrix.shape, block, strict=True))
    lines, others = (rows, cols) if by_rows else (cols, rows)
    indptr, indices = matrix.indptr, matrix.indices
    if len(indptr) != lines + 1 or indptr[0] != 0 or np.any(np.diff(indptr) < 0):
        raise ArgumentError(f"{name}.indptr must rise from 0 and have {lines + 1} entries: rebuild the matrix")
    if not indptr[-1] <= min(len(indices), len(matrix.data)):
        raise ArgumentError(
            f"{name}.indptr ends at {indptr[-1]}, but there are {len(indices)} indices and {len(matrix.data)} values"
        )
    _check_indices(name, "column" if by_rows else "row", indices[: indptr[-1]], others)


def _check_indices(name: str, axis: str, index: Any, size: int) -> None:
    if len(index) and not (index.min() >= 0 and index.max() < size):
        k = int(np.flatnonzero((index < 0) | (index >= size))[0])
        raise ArgumentError(f"entry {k} of {name} has {axis} index {index[k]}: it must be 0 to {size - 1}")


def _as_csc(name: str, value: Any) -> tuple[Any, ...]:
    found = canonical(value, name == "P")
    if found is not None:
        return found, type(value)
    check_sparse(name, value)
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


def _broadcast(k: int, data: list[Any], form: str) -> Any:
    """The array that a number or a row stands for."""
    name = NAMES[k]
    if form == "row":
        row = as_array(name, data[k], 1)
        return row[None] if row.size else None
    value = as_array(name, data[k], 0)
    if k >= 6:
        size = data[1].shape[-1]
    else:
        matrix = data[k - 1]
        if matrix is None:
            return np.full(1, value)
        size = matrix[3][0] if isinstance(matrix, tuple) else matrix.shape[-2]
    return np.full(size, value)


def _fill(data: list[Any], forms: list[str | None]) -> None:
    # matrices come before their vectors
    for k, form in enumerate(forms):
        if form is not None:
            data[k] = _broadcast(k, data, form)


def _pairs(data: list[Any]) -> None:
    for m, v in ((2, 3), (4, 5)):
        if (data[m] is None) != (data[v] is None):
            given, missing = (NAMES[m], NAMES[v]) if data[v] is None else (NAMES[v], NAMES[m])
            raise ArgumentError(f"{missing} is missing: {given} was given, and the two come together")


def _same_batch(batch: int | None, owner: str, name: str, array: np.ndarray[Any, Any]) -> tuple[int, str]:
    """The size of the batch and the argument that it is of."""
    size = array.shape[0]
    if batch is None:
        return size, name
    if batch != size:
        raise ArgumentError(f"{name} has a batch of {size}, but {owner} has one of {batch}: batches must agree")
    return batch, owner


def _structured(k: int, value: Any) -> tuple[Any, Any, list[tuple[str, np.ndarray[Any, Any], int]], int]:
    """An argument that is no plain array: as the extension takes it, its template, its dense parts with their names and
    ranks, and the number of entries that it stores besides."""
    name, rank = NAMES[k], RANKS[k]
    if isinstance(value, Factored):
        if k != 0:
            raise ArgumentError(f"{name} is Factored: only P may be")
        d, F = as_array("P.d", value.d, 1), as_array("P.F", value.F, 2)
        return (d, F), Factored, [("P.d", d, 1), ("P.F", F, 2)], 0
    if is_sparse(value):
        if rank != 2:
            raise DtypeError(f"{name} is a sparse matrix: pass a dense vector")
        if k != 0 and value.shape[0] == 0:
            return None, None, [], value.nnz
        matrix, template = _as_csc(name, value)
        return matrix, template, [], value.nnz
    array = as_array(name, value, rank)
    if array.size == 0 and k >= 2:
        return None, None, [], 0
    return array, None, [(name, array, rank)], 0


def at_once(P: Any, q: Any, G: Any, h: Any, A: Any, b: Any, lb: Any, ub: Any) -> Problem | None:
    """The arguments where all are in the forms that are by far the most common, and nothing is wrong with them."""
    found = take((P, q, G, h, A, b, lb, ub), _SPARSE)
    if found is None:
        return None
    data, shared, batch, templates, numbers, plain = found
    return Problem(data, shared, batch, _F64, templates, numbers, plain)


def prepare(P: Any, q: Any, G: Any, h: Any, A: Any, b: Any, lb: Any, ub: Any) -> Problem:
    """Checks the arguments and brings them into the form that the extension takes."""
    ready = at_once(P, q, G, h, A, b, lb, ub)
    if ready is not None:
        return ready
    if q is None:
        raise ArgumentError("q is None: a problem needs its linear term; pass zeros for none")
    data: list[Any] = [None] * 8
    templates: list[Any] = [None] * 8
    shared = [True] * 8
    forms: list[str | None] = [None] * 8
    batch: int | None = None
    owner, numbers, plain = "", 0, True
    for k, value in enumerate((P, q, G, h, A, b, lb, ub)):
        if value is None:
            continue
        name, rank = NAMES[k], RANKS[k]
        if type(value) is np.ndarray and value.ndim >= rank:
            # by far the most common, and the shortest way
            array = value if _ready(value, rank) else as_array(name, value, rank)
            size = array.size
            if size == 0 and k >= 2:
                continue
            data[k] = array
            numbers += size
            if array.ndim > rank:
                shared[k] = False
                batch, owner = _same_batch(batch, owner, name, array)
            continue
        plain = False
        if k >= 2 and not isinstance(value, (np.ndarray, Factored)) and not is_sparse(value):
            value = numbers_of(name, value)  # noqa: PLW2901
        if k >= 2 and np.ndim(value) == rank - 1:
            # a number for every entry of a vector, a vector for the only row of a matrix
            forms[k] = "scalar" if rank == 1 else "row"
            data[k] = value
            continue
        data[k], templates[k], found, stored = _structured(k, value)
        numbers += stored
        for part, array, own in found:
            numbers += array.size
            if array.ndim > own:
                shared[k] = False
                batch, owner = _same_batch(batch, owner, part, array)
    if not plain:
        _fill(data, forms)
    _pairs(data)
    if batch == 0:
        raise ArgumentError(f"{owner} has a batch of 0: a batch needs at least one element")
    dtype = _F32 if getattr(q, "dtype", None) == _F32 else _F64
    plain = plain and dtype is _F64
    return Problem(tuple(data), tuple(shared), batch, dtype, tuple(templates), numbers, plain, tuple(forms))
