"""Cone programs solved by the package clarabel: its wheel has semidefinite cones, which need a LAPACK."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._conic_data import cone_rows
from ._errors import UnsupportedError

STATUS = {
    "Solved": "solved",
    "AlmostSolved": "solved_inaccurate",
    "PrimalInfeasible": "primal_infeasible",
    "AlmostPrimalInfeasible": "primal_infeasible",
    "DualInfeasible": "dual_infeasible",
    "AlmostDualInfeasible": "dual_infeasible",
    "MaxIterations": "iteration_limit",
    "MaxTime": "time_limit",
}


def _cones(cones: list[tuple[Any, ...]]) -> list[Any]:
    import clarabel

    kinds = {
        "zero": clarabel.ZeroConeT,
        "nonnegative": clarabel.NonnegativeConeT,
        "soc": clarabel.SecondOrderConeT,
        "psd": clarabel.PSDTriangleConeT,
        "exp": clarabel.ExponentialConeT,
        "pow": clarabel.PowerConeT,
    }
    return [kinds[c[0].removeprefix("dual_")](*c[1:]) for c in cones]


def _dual_rows(cones: list[tuple[Any, ...]]) -> tuple[Any, Any]:
    """Row k of the problem as row `place[k]` times `factor[k]` of one without dual cones, which clarabel has not."""
    place, factor = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    start = 0
    for cone in cones:
        rows = cone_rows(cone)
        at, scale = np.arange(rows), np.ones(rows)
        if cone[0] == "dual_exp":  # (u, v, w) is in it iff (-v, -u, e w) is in the exponential cone
            at, scale = np.array([1, 0, 2]), np.array([-1.0, -1.0, np.e])
        elif cone[0] == "dual_pow":
            scale = np.array([1 / cone[1], 1 / (1 - cone[1]), 1.0])
        place.append(start + at)
        factor.append(scale)
        start += rows
    return np.concatenate(place), np.concatenate(factor)


def _settings(given: Mapping[str, Any]) -> Any:
    import clarabel

    s = clarabel.DefaultSettings()
    s.verbose = bool(given.get("verbose") or False)
    for name, theirs in (
        ("eps_abs", ("tol_gap_abs", "tol_feas")),
        ("eps_rel", ("tol_gap_rel",)),
        ("max_iter", ("max_iter",)),
        ("time_limit", ("time_limit",)),
        ("threads", ("max_threads",)),
    ):
        if given.get(name) is not None:
            for own in theirs:
                setattr(s, own, given[name])
    return s


def _quadratic(program: Any, values: Any, n: int) -> Any:
    """P as a sparse matrix: a factored one is formed."""
    from scipy import sparse

    if values is None:
        return sparse.csc_matrix((n, n))
    pattern = program.pattern_P
    if len(pattern) == 1:
        F = values[n:].reshape(pattern[0], n)
        return sparse.csc_matrix(np.diag(values[:n]) + F.T @ F)
    return sparse.csc_matrix((values, pattern[1], pattern[0]), shape=(n, n))


def solve_each(program: Any, data: tuple[Any, ...], size: int) -> tuple[Any, ...]:
    """`(x, s, y, z_box)`, and of each instance its status, iterations and seconds."""
    try:
        import clarabel
        from scipy import sparse
    except ImportError as error:
        raise UnsupportedError(
            "semidefinite cones need the packages clarabel and scipy: pip install clarabel"
        ) from error
    if program.settings.get("infeasible") == "closest":
        raise UnsupportedError(
            "the closest feasible program with curved cones is not supported: shift the rows by variables of your own"
        )
    m, n = program.shape
    cones, settings = _cones(program.cones), _settings(program.settings)
    place, factor = _dual_rows(program.cones)
    rows_of_A = program.pattern_A[1]

    def at(k: int, values: Any) -> Any:
        return values if values.ndim == 1 else values[k]

    def matrix(values: Any, pattern: Any, shape: tuple[int, int]) -> Any:
        return sparse.csc_matrix((values, pattern[1], pattern[0]), shape=shape)

    box = [np.full(n, value) if v is None else v for v, value in zip(data[4:], (-np.inf, np.inf), strict=True)]
    rows: tuple[list[Any], ...] = ([], [], [], [])
    status, iterations, seconds = [], [], []
    for k in range(size):
        P, q, A, b = data[:4]
        start = time.perf_counter()
        quadratic = _quadratic(program, None if P is None else at(k, P), n)
        pattern = (program.pattern_A[0], place[rows_of_A])
        constraints = matrix(at(k, A) * factor[rows_of_A], pattern, (m, n))
        constraints.sort_indices()
        right = np.empty(m)
        right[place] = factor * at(k, b)
        upper = sparse.triu(quadratic, format="csc")
        lb, ub = (at(k, v) for v in box)
        low, high = np.flatnonzero(np.isfinite(lb)), np.flatnonzero(np.isfinite(ub))
        own = cones
        if len(low) or len(high):
            # bounds are rows there, behind those of the problem
            eye = sparse.eye(n, format="csr")
            constraints = sparse.vstack([constraints, -eye[low], eye[high]], format="csc")
            right = np.concatenate([right, -lb[low], ub[high]])
            own = [*cones, clarabel.NonnegativeConeT(len(low) + len(high))]
        out = clarabel.DefaultSolver(upper, at(k, q), constraints, right, own, settings).solve()
        s, z = np.asarray(out.s), np.asarray(out.z)
        z_box = np.zeros(n)
        z_box[low] -= z[m : m + len(low)]
        z_box[high] += z[m + len(low) :]
        points = (np.asarray(out.x), s[:m][place] / factor, z[:m][place] * factor, z_box)
        for column, value in zip(rows, points, strict=True):
            column.append(value)
        status.append(STATUS.get(str(out.status), "numerical_failure"))
        iterations.append(out.iterations)
        seconds.append(time.perf_counter() - start)
    return tuple(np.stack(r) for r in rows), status, iterations, seconds
