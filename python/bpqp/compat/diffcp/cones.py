"""Cones as diffcp and SCS name and order them, and their projections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from ..._conic_data import cone_rows
from ..._program import Program

ZERO = "z"
EQ_DIM = ZERO
POS = "l"
SOC = "q"
PSD = "s"
EXP = "ep"
EXP_DUAL = "ed"
POW = "p"

# the order of rows, as in SCS
CONES = [ZERO, POS, SOC, PSD, EXP, EXP_DUAL, POW]
# CVXPY's older name of the zero cone
_FREE = "f"
_MIRROR = {"exp": "dual_exp", "dual_exp": "exp", "pow": "dual_pow", "dual_pow": "pow"}


def parse_cone_dict(cone_dict: dict[str, Any]) -> list[tuple[str, Any]]:
    """The cones that are there, in the order of rows."""
    named = {ZERO if k == _FREE else k: v for k, v in cone_dict.items()}
    return [(cone, named[cone]) for cone in CONES if cone in named]


def bpqp_cones(cones: Sequence[tuple[str, Any]]) -> list[tuple[Any, ...]]:
    """The same for `bpqp.solve_conic`, where the rows of a semidefinite cone are in another order."""
    out: list[tuple[Any, ...]] = []
    for kind, size in cones:
        sizes = list(size) if isinstance(size, (list, tuple, np.ndarray)) else [size]
        if kind in (ZERO, POS):
            out += [("zero" if kind == ZERO else "nonnegative", int(n)) for n in sizes if n]
        elif kind in (SOC, PSD):
            out += [("soc" if kind == SOC else "psd", int(n)) for n in sizes if n]
        elif kind in (EXP, EXP_DUAL):
            out += [("exp" if kind == EXP else "dual_exp",)] * int(sum(sizes))
        elif kind == POW:
            out += [("pow", float(a)) if a > 0 else ("dual_pow", -float(a)) for a in sizes]
        else:
            raise NotImplementedError(f"{kind} is not a cone of SCS")
    return out


def row_order(cones: Sequence[tuple[Any, ...]]) -> Any:
    """For each row in the order of bpqp, its place in the order of SCS: the triangles of matrices differ."""
    parts, start = [np.zeros(0, dtype=np.int64)], 0
    for cone in cones:
        rows = cone_rows(cone)
        order = np.arange(rows)
        if cone[0] == "psd":
            n = cone[1]
            lower = np.zeros((n, n), dtype=np.int64)
            lower.T[np.triu_indices(n)] = order
            order = lower.T[np.tril_indices(n)[1], np.tril_indices(n)[0]]
        parts.append(start + order)
        start += rows
    return np.concatenate(parts)


def vec_psd_dim(dim: int) -> int:
    """The rows of a semidefinite cone of that order."""
    return dim * (dim + 1) // 2


def psd_dim(size: int) -> int:
    """The order of a semidefinite cone with that many rows."""
    return int(np.sqrt(2 * size))


def unvec_symm(x: Any, dim: int) -> Any:
    """The symmetric matrix of a vector: its lower triangle by columns, with sqrt 2 off the diagonal."""
    cols, rows = np.triu_indices(dim)
    matrix = np.zeros((dim, dim))
    matrix[rows, cols] = np.where(rows == cols, x, np.asarray(x) / np.sqrt(2))
    return matrix + np.tril(matrix, -1).T


def vec_symm(matrix: Any) -> Any:
    """The vector of a symmetric matrix."""
    cols, rows = np.triu_indices(matrix.shape[0])
    return matrix[rows, cols] * np.where(rows == cols, 1.0, np.sqrt(2))


class Projection:
    """The projection of `v` onto a product of cones or its dual, as the cone program `min |s - v|`; its derivative."""

    def __init__(self, v: Any, cones: Sequence[tuple[str, Any]], dual: bool = False) -> None:
        v = np.asarray(v, dtype=np.float64)
        own = bpqp_cones(cones)
        self._free = np.zeros(len(v), dtype=bool)
        start = 0
        kept = []
        for cone in own:
            rows = cone_rows(cone)
            if dual and cone[0] == "zero":
                self._free[start : start + rows] = True  # its dual is the whole space
            else:
                kept.append((_MIRROR.get(cone[0], cone[0]), *cone[1:]) if dual else cone)
            start += rows
        self._order = row_order(kept)
        n = len(self._order)
        eye = (np.arange(n + 1, dtype=np.int64), np.arange(n, dtype=np.int64))
        self.value = v.copy()
        self._solved = None
        if n:
            data = (np.ones(n), -v[~self._free][self._order], -np.ones(n), np.zeros(n))
            self._solved = Program(eye, eye, (n, n), kept).solve(data, 1)
            self.value[~self._free] = self._back(self._solved.outputs(True)[0][0])

    def _back(self, rows: Any) -> Any:
        out = np.empty(len(rows))
        out[self._order] = rows
        return out

    def derivative(self, direction: Any) -> Any:
        """The change of the projection along a direction of `v`; the map is symmetric."""
        out = np.array(direction, dtype=np.float64)
        if self._solved is not None:
            along = np.ascontiguousarray(-out[~self._free][self._order])
            out[~self._free] = self._back(self._solved.jvp((None, along, None, None, None, None), 0)[0][0])
        return out


def _proj(x: Any, cone: str, dual: bool = False) -> Any:
    """The projection onto a cone, or several of the exponential ones."""
    size = len(x)
    count = {PSD: [psd_dim(size)], SOC: [size], EXP: size // 3, EXP_DUAL: size // 3}.get(cone, size)
    return Projection(x, [(cone, count)], dual).value


def pi(x: Any, cones: Sequence[tuple[str, Any]], dual: bool = False) -> Any:
    """The projection onto a product of cones or its dual: of each part onto its own."""
    out, start = np.array(x, dtype=np.float64), 0
    for kind, sizes in cones:
        for size in sizes if isinstance(sizes, (list, tuple)) else [sizes]:
            rows = sum(map(cone_rows, bpqp_cones([(kind, [size] if kind == POW else size)])))
            out[start : start + rows] = Projection(out[start : start + rows], [(kind, size)], dual).value
            start += rows
    return out


class ConeType(Enum):
    """The kinds of cones."""

    ZERO = ZERO
    POS = POS
    SOC = SOC
    PSD = PSD
    EXP = EXP
    EXP_DUAL = EXP_DUAL


@dataclass(frozen=True)
class Cone:
    """Cones of one kind and their sizes."""

    type: ConeType
    sizes: Sequence[int]


def parse_cone_dict_cpp(cones: Sequence[tuple[str, Any]]) -> list[Any]:
    """The cones as `diffcp._diffcp` has them."""
    return [Cone(ConeType(kind), list(v) if isinstance(v, (list, tuple)) else [v]) for kind, v in cones]
