"""Sums of squares `sum_squares(F.T @ x)` beside a diagonal as one factored matrix `diag(d) + F F'`.

CVXPY introduces a variable for each square, `y = F.T @ x`, by equality rows, and leaves a diagonal objective in y. The
cone program is then larger and sparse, where n variables and r squares have a structure of their own. The variables are
eliminated again, in the maps:

    y = S x + t          t affine in the parameters

    1/2 y'D y + q'y   =   1/2 x'(S'D S) x + (S'D t + S'q)'x + constant

so that the data stay affine in the parameters. S may depend on them too where t and q are zero: columns of F are affine
in them, and a square of a single variable times a parameter, `(c p_k x_j)^2`, is affine in `p_k^2`, which joins the
inputs of the maps. That is done only where it is exact and where it pays: the objective of y without parameters, and y
neither in other constraints nor among the outputs; and for squares that mix variables, a diagonal on all of these, and
fewer squares than half of the variables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

# of the variables: with more squares a dense matrix is smaller
_LARGEST_RANK = 0.5


def recognize(canonical: Any) -> None:
    """Rewrites a canonical problem without the variables of its squares, where that is exact and pays."""
    squares, rows, scale = _squares(canonical)
    for _ in range(2):
        if not 0 < len(squares) < canonical.shape[1]:
            return
        made = _Squares(canonical, squares, rows, scale)
        if made.pays():
            break
        squares, rows, scale = squares[made.single], rows[made.single], scale[made.single]
    inputs, extent = made.squared_inputs(canonical)
    _rewrite(canonical, (squares, rows, scale), (made.kept, made.own), made.constant(), made.weights)
    width = canonical.maps["q"].shape[1]
    for name in ("q", "A", "b"):
        canonical.maps[name] = sparse.csr_array(
            sparse.hstack([canonical.maps[name], sparse.csr_array((canonical.maps[name].shape[0], extent))])
        )
    canonical.inputs = [*canonical.inputs, *inputs]
    n, rank = len(made.diagonal), made.rank
    canonical.pattern["P"] = (rank,) if rank else (np.arange(n + 1, dtype=np.int64), np.arange(n, dtype=np.int64))
    canonical.constant["P"], canonical.maps["P"] = made.hessian(width, extent)


class _Squares:
    """Squares `weights_k (S x)_k^2` of the variables that stay: entry e of S is in row `k[e]` and column `j[e]`, a
    `value[e]` and a row of `maps` from the inputs."""

    def __init__(self, canonical: Any, squares: Any, rows: Any, scale: Any) -> None:
        m, n = canonical.shape
        entries = _entries(canonical)
        self.kept, self.own = np.ones(n, dtype=bool), np.ones(m, dtype=bool)
        self.kept[squares], self.own[rows] = False, False
        at = np.full(m, -1)
        at[rows] = np.arange(len(rows))
        moving = np.diff(canonical.maps["A"].indptr) > 0
        inside = ~self.own[entries.row] & self.kept[entries.col] & ((canonical.constant["A"] != 0) | moving)
        self.k, self.j = at[entries.row[inside]], (np.cumsum(self.kept) - 1)[entries.col[inside]]
        self.value = -canonical.constant["A"][inside] / scale[self.k]
        self.maps = sparse.csr_array(sparse.diags_array(-1 / scale[self.k]) @ canonical.maps["A"][inside])
        self.moving = moving[inside]
        diagonal = _diagonal(canonical)
        self.weights, self.diagonal = diagonal[squares], diagonal[self.kept]
        self.count = len(squares)
        # squares of a single variable are entries of the diagonal, if times a number or times one parameter
        plain = np.concatenate([np.full(size, kind == "") for size, (_, kind) in _sizes(canonical)] or [np.zeros(0)])
        one = (np.diff(self.maps.indptr) == 1) & (self.value == 0)
        one[one] = plain[self.maps.indices[self.maps.indptr[:-1][one]]] != 0
        good = ~self.moving | one
        self.single = (np.bincount(self.k, minlength=self.count) <= 1) & (
            np.bincount(self.k, weights=~good, minlength=self.count) == 0
        )
        alone = self.single[self.k]
        fixed, moved = alone & ~self.moving, alone & self.moving
        self.diagonal = self.diagonal + np.bincount(
            self.j[fixed], self.weights[self.k[fixed]] * self.value[fixed] ** 2, len(self.diagonal)
        )
        # of the diagonal: where, the input that is squared, and by what it is multiplied
        first = self.maps.indptr[:-1][moved]
        self.squared = (
            self.j[moved],
            self.maps.indices[first],
            self.weights[self.k[moved]] * self.maps.data[first] ** 2,
        )
        self.mixed = ~alone
        self.rank = self.count - int(self.single.sum())

    def pays(self) -> bool:
        """True if a factored matrix with these squares is smaller, and has a diagonal where it has factors."""
        full = self.diagonal > 0
        full[self.squared[0]] = True
        return self.rank <= _LARGEST_RANK * len(full) and bool(np.all(full[self.j[self.mixed]]))

    def constant(self) -> Any:
        """What of S does not depend on parameters."""
        return sparse.csr_array((self.value, (self.k, self.j)), shape=(self.count, len(self.diagonal)))

    def squared_inputs(self, canonical: Any) -> tuple[list[tuple[int, str]], int]:
        """The inputs that are squared, as further inputs, and their extent; `squared` then names columns of these."""
        inputs, start, extent = [], 0, 0
        j, column, factor = self.squared
        moved = column.copy()
        for size, (k, _) in _sizes(canonical):
            own = (column >= start) & (column < start + size)
            if own.any():
                inputs.append((k, "square"))
                moved[own] += extent - start
                extent += size
            start += size
        self.squared = (j, moved, factor)
        return inputs, extent

    def hessian(self, width: int, extent: int) -> tuple[Any, Any]:
        """Constant part and map of d and the columns of F."""
        n = len(self.diagonal)
        column = np.cumsum(~self.single) - 1
        root = np.sqrt(self.weights[self.k[self.mixed]])
        place = n * (1 + column[self.k[self.mixed]]) + self.j[self.mixed]
        constant = np.concatenate([self.diagonal, np.zeros(n * self.rank)])
        constant[place] = root * self.value[self.mixed]
        where = sparse.csr_array((root, (place, np.arange(len(place)))), (len(constant), len(place)))
        factors = where @ self.maps[self.mixed]
        j, moved, factor = self.squared
        squares = sparse.csr_array((factor, (j, moved)), (len(constant), extent))
        return constant, sparse.csr_array(sparse.hstack([factors.reshape(len(constant), width), squares]))


def _sizes(canonical: Any) -> list[tuple[int, tuple[int, str]]]:
    """How many numbers each of the inputs has."""
    return [(int(np.prod(canonical.parameter_shapes[k], dtype=int)), (k, kind)) for k, kind in canonical.inputs]


def _entries(canonical: Any) -> Any:
    """Row and column of every entry of A, in order."""
    indptr, indices = canonical.pattern["A"]
    return sparse.csc_array((np.ones(len(indices)), indices, indptr), shape=canonical.shape).tocoo()


def _diagonal(canonical: Any) -> Any:
    indptr, indices = canonical.pattern["P"]
    n = len(indptr) - 1
    out = np.zeros(n)
    out[indices] = canonical.constant["P"]
    return out


def _squares(canonical: Any) -> tuple[Any, Any, Any]:
    """The variables that can be eliminated, the rows that define them, and their entries there."""
    none = (np.zeros(0, dtype=int), np.zeros(0, dtype=int), np.zeros(0))
    if canonical.pattern["P"] is None or canonical.maps["P"].nnz or not canonical.cones:
        return none
    kind, zero = canonical.cones[0][0], canonical.cones[0][1]
    indptr, indices = canonical.pattern["P"]
    m, n = canonical.shape
    columns = np.repeat(np.arange(n), np.diff(indptr))
    if kind != "zero" or not np.array_equal(indices, columns) or np.any(canonical.constant["P"] < 0):
        return none
    entries = _entries(canonical)
    fixed = np.diff(canonical.maps["A"].indptr) == 0
    # rows in the zero cone whose multiplier is not asked for
    free = np.zeros(m, dtype=bool)
    free[:zero] = True
    wanted = np.zeros(n, dtype=bool)
    for source, matrix, _ in canonical.outputs:
        (wanted if source == "x" else free)[sparse.coo_array(matrix).col] = source == "x"
    once = np.bincount(entries.col, minlength=n) == 1
    square = once & (_diagonal(canonical) > 0) & ~wanted
    candidate = square[entries.col] & free[entries.row] & (canonical.constant["A"] != 0) & fixed
    # a row with parameters defines a square by itself, without shift and linear term
    moving = np.zeros(m, dtype=bool)
    moving[entries.row[~fixed]] = True
    candidate &= ~moving[entries.row] | (_zero(canonical, "b")[entries.row] & _zero(canonical, "q")[entries.col])
    # one for each row
    rows, first = np.unique(entries.row[candidate], return_index=True)
    return entries.col[candidate][first], rows, canonical.constant["A"][candidate][first]


def _zero(canonical: Any, name: str) -> Any:
    """Where a vector is zero whatever the parameters."""
    return (canonical.constant[name] == 0) & (np.diff(canonical.maps[name].indptr) == 0)


def _rewrite(canonical: Any, gone: tuple[Any, Any, Any], stays: tuple[Any, Any], S: Any, weights: Any) -> None:
    """The same problem without these variables and rows."""
    (squares, rows, scale), (kept, own) = gone, stays
    maps, constant = canonical.maps, canonical.constant
    back, divide = sparse.csr_array(S.T), sparse.diags_array(weights / scale)
    maps["q"] = sparse.csr_array(
        maps["q"][kept] + back @ (sparse.csr_array(divide @ maps["b"][rows]) + maps["q"][squares])
    )
    maps["q"].eliminate_zeros()
    constant["q"] = constant["q"][kept] + back @ (weights / scale * constant["b"][rows] + constant["q"][squares])
    entries = _entries(canonical)
    stay = own[entries.row] & kept[entries.col]
    maps["A"], constant["A"] = maps["A"][stay], constant["A"][stay]
    maps["b"], constant["b"] = maps["b"][own], constant["b"][own]
    row, col = (np.cumsum(own) - 1)[entries.row[stay]], (np.cumsum(kept) - 1)[entries.col[stay]]
    canonical.shape = (int(own.sum()), int(kept.sum()))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(col, minlength=canonical.shape[1]))])
    canonical.pattern["A"] = (indptr.astype(np.int64), row.astype(np.int64))
    left = canonical.cones[0][1] - len(rows)
    canonical.cones = ([("zero", left)] if left else []) + canonical.cones[1:]
    canonical.outputs = [
        (source, sparse.csr_array(sparse.csc_array(matrix)[:, kept if source == "x" else own]), exponential)
        for source, matrix, exponential in canonical.outputs
    ]
