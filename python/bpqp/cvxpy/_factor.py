"""Sums of squares `sum_squares(F.T @ x)` beside a diagonal as one factored matrix `diag(d) + F F'`.

CVXPY introduces a variable for each square, `y = F.T @ x`, by equality rows, and leaves a diagonal objective in y. The
cone program is then larger and sparse, where n variables and r squares have a structure of their own. The variables are
eliminated again, in the maps:

    y = S x + t          t affine in the parameters

    1/2 y'D y + q'y   =   1/2 x'(S'D S) x + (S'D t + S'q)'x + constant

so that the data stay affine in the parameters. That is done only where it is exact and where it pays: rows and
objective of y without parameters, and y neither in other constraints nor among the outputs; and for squares that mix
variables, a positive diagonal on all of these, and fewer squares than half of the variables.
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
        S, kept, own = _substitution(canonical, squares, rows, scale)
        diagonal = _diagonal(canonical)
        weights, d = diagonal[squares], diagonal[kept]
        # squares of a single variable are entries of the diagonal
        single = np.diff(S.indptr) <= 1
        alone = S[single]
        d = d + np.asarray(alone.multiply(alone).T @ weights[single]).ravel()
        F = (S[~single].T @ sparse.diags_array(np.sqrt(weights[~single]))).toarray()
        if F.shape[1] <= _LARGEST_RANK * len(d) and np.all(d[np.any(F != 0, axis=1)] > 0):
            break
        squares, rows, scale = squares[single], rows[single], scale[single]
    _rewrite(canonical, (squares, rows, scale), (kept, own), S, weights)
    n, rank = F.shape
    width = canonical.maps["q"].shape[1]
    canonical.pattern["P"] = (rank,) if rank else (np.arange(n + 1, dtype=np.int64), np.arange(n, dtype=np.int64))
    canonical.constant["P"] = np.concatenate([d, F.ravel(order="F")])
    canonical.maps["P"] = sparse.csr_array((n * (1 + rank), width))


def _substitution(canonical: Any, squares: Any, rows: Any, scale: Any) -> tuple[Any, Any, Any]:
    """S with one row for each square, and masks of the variables and rows that stay."""
    m, n = canonical.shape
    entries = _entries(canonical)
    kept, own = np.ones(n, dtype=bool), np.ones(m, dtype=bool)
    kept[squares], own[rows] = False, False
    at = np.full(m, -1)
    at[rows] = np.arange(len(rows))
    inside = ~own[entries.row] & kept[entries.col]
    k, j = at[entries.row[inside]], (np.cumsum(kept) - 1)[entries.col[inside]]
    values = -canonical.constant["A"][inside] / scale[k]
    S = sparse.csr_array((values, (k, j)), shape=(len(rows), int(kept.sum())))
    S.eliminate_zeros()
    return S, kept, own


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
    # rows of constants only, in the zero cone, whose multiplier is not asked for
    free = np.zeros(m, dtype=bool)
    free[:zero] = True
    free[entries.row[~fixed]] = False
    wanted = np.zeros(n, dtype=bool)
    for source, matrix, _ in canonical.outputs:
        (wanted if source == "x" else free)[sparse.coo_array(matrix).col] = source == "x"
    once = np.bincount(entries.col, minlength=n) == 1
    square = once & (_diagonal(canonical) > 0) & ~wanted
    candidate = square[entries.col] & free[entries.row] & (canonical.constant["A"] != 0)
    # one for each row
    rows, first = np.unique(entries.row[candidate], return_index=True)
    return entries.col[candidate][first], rows, canonical.constant["A"][candidate][first]


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
