"""Problem files: MPS and QPS as the arguments of `solve_qp`, CBF as those of `solve_conic`."""

from __future__ import annotations

import gzip
import os
from typing import Any

from . import _bpqp
from ._errors import ArgumentError, Error, UnsupportedError

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
