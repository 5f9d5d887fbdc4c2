"""Problem files: JSON, MPS and QPS as the arguments of `solve_qp`, CBF as those of `solve_conic`."""

from __future__ import annotations

import gzip
import json
import os
from typing import Any

import numpy as np

from . import _bpqp
from ._arguments import NAMES, Factored, prepare
from ._errors import ArgumentError, Error, UnsupportedError
from ._types import Matrix, Quadratic, Vector

_MAX_UNPACKED = 512


class ProblemFile(dict[str, Any]):
    """The arguments of a problem by name, and what its file says beside them.

    `constant` of the objective; `maximize`: the file asks for the maximum, and the arguments are those of the minimum
    of the negative; of QPS files `name`, `columns` (names of the variables), `equalities` (of the rows of A) and
    `inequalities` (of those of G; a row with a range is there twice, its upper side first); of CBF files `scalars`, the
    number of scalar variables, which come before the matrices.
    """

    name: str = ""
    constant: float
    maximize: bool
    columns: list[str]
    equalities: list[str]
    inequalities: list[str]
    scalars: int

    def objective(self, minimum: float) -> float:
        """The objective of the file at the objective of the arguments."""
        return self.constant + (-minimum if self.maximize else minimum)


def _text(path: str | os.PathLike[str], max_unpacked: int) -> str:
    if isinstance(max_unpacked, bool) or not isinstance(max_unpacked, int) or max_unpacked < 0:
        raise ArgumentError(f"max_unpacked = {max_unpacked!r}: pass a number of megabytes")
    name = os.fspath(path)
    with open(name, "rb") as file:
        if name.lower().endswith(".gz"):
            most = max_unpacked << 20
            try:
                with gzip.open(file) as packed:
                    data = packed.read(most + 1)
            except (EOFError, gzip.BadGzipFile) as error:
                raise ArgumentError(f"{name}: {error}") from None
            if len(data) > most:
                raise ArgumentError(f"{name} unpacks to more than {max_unpacked} MB: max_unpacked= allows more")
        else:
            data = file.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{name}: {error}") from None


def _read(reader: Any, path: str | os.PathLike[str], max_unpacked: int, arguments: tuple[str, ...]) -> ProblemFile:
    try:
        from scipy import sparse
    except ImportError:
        raise UnsupportedError("the matrices of problem files are sparse: install scipy") from None
    text = _text(path, max_unpacked)
    try:
        found: dict[str, Any] = reader(text)
    except Error as error:
        raise ArgumentError(f"{os.fspath(path)}: {error}") from None
    out = ProblemFile()
    for key, value in found.items():
        if key not in arguments:
            setattr(out, key, value)
        elif isinstance(value, tuple):
            indptr, indices, values, shape = value
            out[key] = sparse.csc_matrix((values, indices, indptr), shape=shape)
        else:
            out[key] = value
    return out


def read_qps(path: str | os.PathLike[str], *, max_unpacked: int = _MAX_UNPACKED) -> ProblemFile:
    """The problem of an MPS or QPS file as the arguments of `solve_qp`; matrices are sparse.

        problem = bpqp.read_qps("problem.qps.gz")
        sol = bpqp.solve_qp(**problem)
        problem.objective(sol.objective)

    In fixed or free format, with the sections OBJSENSE, RANGES, BOUNDS and QUADOBJ, QSECTION (a triangle) or QMATRIX
    (both). Rows of type E are `A x = b`, those of type L and G are `G x <= h` (G with its sign turned), and a row with
    a range is two of them. A maximum is read as the minimum of the negative. Variables are at least 0 where no bound
    says otherwise; an upper bound below 0 alone frees them below; 1e20 and beyond is infinite.

    Args:
        path: the file; packed with gzip if its name ends in .gz.
        max_unpacked: megabytes that a packed file may unpack to.

    Raises:
        ArgumentError: what the file says is refused; the message has the line. Integer variables are among it.
        OSError: the file cannot be read.
    """
    return _read(_bpqp.read_qps, path, max_unpacked, ("P", "q", "G", "h", "A", "b", "lb", "ub"))


def read_cbf(path: str | os.PathLike[str], *, max_unpacked: int = _MAX_UNPACKED) -> ProblemFile:
    """The problem of a file in the Conic Benchmark Format as the arguments of `solve_conic`; matrices are sparse.

        problem = bpqp.read_cbf("problem.cbf.gz")
        sol = bpqp.solve_conic(**problem)
        problem.objective(sol.objective)

    Versions 1 to 4, continuous problems. Constraints come first, in their order, then the cones of the variables, then
    matrix constraints and matrix variables, whose triangles are further entries of `x`. A maximum is read as the
    minimum of the negative.

    Args:
        path: the file; packed with gzip if its name ends in .gz.
        max_unpacked: megabytes that a packed file may unpack to.

    Raises:
        ArgumentError: what the file says is refused; the message has the line.
        OSError: the file cannot be read.
    """
    out = _read(_bpqp.read_cbf, path, max_unpacked, ("q", "A", "b", "cones"))
    # the format has no quadratic terms, solve_conic has their place
    out["P"] = None
    return out


def _form(value: Any) -> Any:
    """A block as JSON has it; an infinite number is None."""
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        # what is infinite is a side or a bound, so a vector
        return value.tolist() if np.isfinite(value).all() else [v if np.isfinite(v) else None for v in value.tolist()]
    if len(value) == 2:
        return {"d": value[0].tolist(), "F": value[1].tolist()}
    indptr, indices, values, shape = value
    column = np.repeat(np.arange(shape[1]), np.diff(indptr))
    return {"shape": list(shape), "row": indices.tolist(), "col": column.tolist(), "value": values.tolist()}


def write_json(
    path: str | os.PathLike[str],
    P: Quadratic | None = None,
    q: Vector | None = None,
    G: Matrix | None = None,
    h: Vector | None = None,
    A: Matrix | None = None,
    b: Vector | None = None,
    lb: Vector | None = None,
    ub: Vector | None = None,
) -> None:
    """Writes one problem, to the last bit, as the program `bpqp` reads it, and the crate with its feature `serde`.

        bpqp.write_json("program.json", P, q, G, h)
        problem = bpqp.read_json("program.json")

    In Rust it is `let qp: Qp = serde_json::from_str(&text)?`. Dense matrices are lists of rows, sparse ones triplets, a
    factored `P` is `{"d": .., "F": ..}`; an infinite bound is `null`.

    Raises:
        ArgumentError: a batch, a number that is not finite, a side or bound that leaves nothing, or shapes that
            `solve_qp` would refuse.
    """
    found = prepare(P, q, G, h, A, b, lb, ub)
    if found.batch is not None:
        raise ArgumentError(f"a batch of {found.batch} problems: a file holds one")
    for name, value in zip(NAMES, found.data, strict=True):
        arrays = value if isinstance(value, tuple) and len(value) == 2 else (value,)
        for array in arrays:
            numbers = array[2] if isinstance(array, tuple) else array
            if numbers is None:
                continue
            infinite = {"h": np.inf, "ub": np.inf, "lb": -np.inf}.get(name)
            bad = ~np.isfinite(numbers) & (numbers != infinite if infinite else True)
            if bad.any():
                raise ArgumentError(f"{name} has the entry {numbers[bad][0]}: a file holds finite numbers there")
    data = {name: _form(value) for name, value in zip(NAMES, found.data, strict=True) if value is not None}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(data, file, allow_nan=False)
        file.write("\n")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ArgumentError(f"a field occurs twice among {', '.join(name for name, _ in pairs)}")
    return out


def _block(name: str, value: Any) -> Any:
    if isinstance(value, dict) and "d" in value and name == "P":
        d = np.asarray(value["d"], dtype=np.float64)
        F = np.asarray(value["F"] if "F" in value else np.zeros((len(d), 0)), dtype=np.float64)
        return Factored(d, F.reshape(len(d), -1) if F.size == 0 else F)
    if isinstance(value, dict):
        try:
            from scipy import sparse
        except ImportError:
            raise UnsupportedError(f"{name} is sparse: install scipy") from None
        at = (np.asarray(value["row"], dtype=np.int64), np.asarray(value["col"], dtype=np.int64))
        numbers = np.asarray(value["value"], dtype=np.float64)
        return sparse.coo_matrix((numbers, at), shape=tuple(value["shape"])).tocsc()
    infinite = {"h": np.inf, "ub": np.inf, "lb": -np.inf}.get(name)
    if infinite and isinstance(value, list):
        value = [infinite if entry is None else entry for entry in value]
    array = np.asarray(value, dtype=np.float64)
    if array.size and np.isnan(array).any():
        raise ValueError("null is an infinite entry of h, lb or ub only")
    return array


def read_json(path: str | os.PathLike[str], *, max_unpacked: int = _MAX_UNPACKED) -> ProblemFile:
    """The problem of a JSON file as the arguments of `solve_qp`: what `write_json` and Rust (feature `serde`) write.

    Args:
        path: the file; packed with gzip if its name ends in .gz.
        max_unpacked: megabytes that a packed file may unpack to.

    Raises:
        ArgumentError: what the file says is refused. Settings and cotangents, which the program `bpqp` also takes, are.
        OSError: the file cannot be read.
    """
    name = os.fspath(path)
    out = ProblemFile()
    out.constant, out.maximize = 0.0, False
    try:
        found = json.loads(_text(path, max_unpacked), object_pairs_hook=_unique)
        if not isinstance(found, dict) or "q" not in found:
            raise ValueError('a problem is an object such as {"q": [..]}')
        if unknown := [key for key in found if key not in NAMES]:
            raise ValueError(f"{unknown[0]!r} is no argument of solve_qp: they are {', '.join(NAMES)}")
        for key in NAMES:
            value = found.get(key)
            out[key] = None if value is None else _block(key, value)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ArgumentError(f"{name}: {error}") from None
    return out
