"""The data of cone programs: cones, and matrices and vectors as the extension takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ._arguments import Factored, as_array, check_sparse, is_sparse, numbers_of
from ._bpqp import canonical
from ._errors import ArgumentError, DtypeError

NAMES = ("P", "q", "A", "b", "lb", "ub")
MATRICES = ("P", "A")
OUTPUTS = ("x", "s", "y", "z_box")
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
# indptr and indices of compressed columns; of a factored P its rank
Pattern = tuple[Any, Any] | tuple[int]


def cone_rows(cone: Cone) -> int:
    """The rows of A that a cone takes."""
    kind = cone[0]
    if kind == "psd":
        return int(cone[1] * (cone[1] + 1) // 2)
    return int(cone[1]) if kind in ("zero", "nonnegative", "soc") else 3


def checked_cones(cones: Any) -> list[Cone]:
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


class Argument(NamedTuple):
    """How a matrix or vector was given, and its values as the extension takes them."""

    values: Any
    batched: bool
    # of a matrix: its pattern, and the type of the sparse matrix (None if it was dense)
    pattern: Pattern | None = None
    template: Any = None
    shape: tuple[int, ...] = ()
    # "scalar" for a number that stands for a vector, "row" for a vector that stands for a matrix of one row
    form: str | None = None
    # of a factored P: whether d and F are batched
    parts: tuple[bool, bool] = (False, False)

    @property
    def structure(self) -> Any:
        """What two matrices of one pattern have in common, and others have not."""
        if self.template is None or self.template is Factored:
            return self.template, self.pattern if self.template is Factored else None, self.shape
        return (*(np.asarray(part).tobytes() for part in self.pattern or ()), self.shape)


def vector(name: str, value: Any, size: int | None = None) -> Argument:
    """A vector, or the number that stands for one of that size."""
    if size is not None and not is_sparse(value) and np.ndim(numbers_of(name, value)) == 0:
        number = as_array(name, value, 0)
        return Argument(np.full(size, number), False, shape=(size,), form="scalar")
    array = as_array(name, value, 1)
    return Argument(array, array.ndim == 2, shape=array.shape[-1:])


@lru_cache(maxsize=16)
def full_pattern(rows: int, cols: int) -> tuple[Any, Any]:
    """The pattern of a full matrix by columns."""
    pattern = np.arange(cols + 1, dtype=np.int64) * rows, np.tile(np.arange(rows, dtype=np.int64), cols)
    for array in pattern:
        array.flags.writeable = False
    return pattern


def matrix(name: str, value: Any, *, row: bool = False) -> Argument:
    """A matrix, or with `row` the vector that is its only row."""
    if is_sparse(value):
        found = canonical(value, False)
        if found is not None:
            indptr, indices, numbers, shape = found
            return Argument(numbers, False, (indptr, indices), type(value), shape)
        check_sparse(name, value)
        own = value.tocsc(copy=True)
        own.sum_duplicates()
        return Argument(_values(name, own), False, _pattern(own), type(value), tuple(own.shape))
    if isinstance(value, (list, tuple)) and value and all(map(is_sparse, value)):
        return _stack(name, value)
    form = None
    if row and np.ndim(numbers_of(name, value)) == 1:
        value, form = as_array(name, value, 1)[None], "row"
    array = as_array(name, value, 2)
    rows, cols = array.shape[-2:]
    columns = np.ascontiguousarray(np.swapaxes(array, -1, -2)).reshape(*array.shape[:-2], rows * cols)
    return Argument(columns, array.ndim == 3, full_pattern(rows, cols), None, (rows, cols), form)


def _values(name: str, matrix: Any) -> Any:
    if matrix.dtype.kind not in "iuf":
        raise DtypeError(f"{name} has dtype {matrix.dtype}: pass float64 or float32")
    return np.ascontiguousarray(matrix.data, dtype=np.float64)


def _pattern(matrix: Any) -> tuple[Any, Any]:
    matrix.sort_indices()
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64)


def _stack(name: str, matrices: Sequence[Any]) -> Argument:
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
    return Argument(values, True, (indptr, indices), type(matrices[0]), (rows, cols))


def factored(name: str, value: Factored) -> Argument:
    """A factored P: its values are d and the columns of F, one after the other."""
    d, F = as_array(f"{name}.d", value.d, 1), as_array(f"{name}.F", value.F, 2)
    if d.shape[-1] != F.shape[-2]:
        raise ArgumentError(f"{name}.F has shape {F.shape}, but {name}.d has {d.shape[-1]} entries: one row for each")
    if d.ndim > 1 and F.ndim > 2 and d.shape[0] != F.shape[0]:
        raise ArgumentError(f"{name}.d has a batch of {d.shape[0]}, but {name}.F has one of {F.shape[0]}")
    n, r = F.shape[-2:]
    columns = np.swapaxes(F, -1, -2).reshape(*F.shape[:-2], n * r)
    lead = d.shape[:-1] or F.shape[:-2]
    parts = (np.broadcast_to(v, (*lead, v.shape[-1])) for v in (d, columns))
    batched = (d.ndim > 1, F.ndim > 2)
    values = np.ascontiguousarray(np.concatenate(list(parts), axis=-1))
    return Argument(values, bool(lead), (r,), Factored, (n, n), None, batched)


def factors(own: Argument, value: Any) -> Factored:
    """Values as the factors; of a gradient, the one that the batch shares gets its sum."""
    assert own.pattern is not None
    n, r = own.shape[0], own.pattern[0]
    d, F = value[..., :n], np.swapaxes(value[..., n:].reshape(*value.shape[:-1], r, n), -1, -2)
    if own.batched and not own.parts[0]:
        d = d.sum(0)
    if own.batched and not own.parts[1]:
        F = F.sum(0)
    return Factored(d, F)


def onto(label: str, given: Argument, own: Argument) -> Any:
    """Values on the pattern of the data; what is outside of it is refused."""
    assert own.pattern is not None and given.pattern is not None
    rows, cols = own.shape

    def keys(pattern: Any) -> Any:
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


def collect(values: dict[str, Any]) -> tuple[dict[str, Argument], int | None]:
    """The arguments that are there, with shapes that fit, and the size of the batch."""
    out: dict[str, Argument] = {}
    if values["P"] is not None:
        P = values["P"]
        out["P"] = factored("P", P) if isinstance(P, Factored) else matrix("P", P)
    for name in ("q", "A", "b"):
        if values[name] is None:
            raise ArgumentError(f"{name} is None: a cone program has q, A and b; pass zeros for none")
    out["q"] = vector("q", values["q"])
    out["A"] = matrix("A", values["A"], row=True)
    m, n = out["A"].shape
    out["b"] = vector("b", values["b"], m)
    for name in ("lb", "ub"):
        if values[name] is not None:
            out[name] = vector(name, values[name], n)
    for name, wanted in (("P", (n, n)), ("q", (n,)), ("b", (m,)), ("lb", (n,)), ("ub", (n,))):
        if name in out and out[name].shape != wanted:
            advice = "A has one row per entry of b and one column per entry of q"
            raise ArgumentError(f"{name} has shape {out[name].shape}, expected {wanted}: {advice}")
    batch, owner = None, ""
    for name, argument in out.items():
        if argument.batched:
            size = argument.values.shape[0]
            if batch is None:
                batch, owner = size, name
            elif batch != size:
                raise ArgumentError(f"{name} has a batch of {size}, but {owner} has one of {batch}: batches must agree")
    if batch == 0:
        raise ArgumentError(f"{owner} has a batch of 0: a batch needs at least one element")
    return out, batch
