"""Cone programs solved by the package clarabel: its wheel has semidefinite cones, which need a LAPACK."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

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
    for cone in cones:
        if cone[0] not in kinds:
            raise UnsupportedError(f"the cone {cone[0]} beside a semidefinite one: write it as a map of its dual")
    return [kinds[c[0]](*c[1:]) for c in cones]


def _settings(given: dict[str, Any]) -> Any:
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


def solve_each(program: Any, data: tuple[Any, ...], size: int) -> tuple[Any, ...]:
    """`(x, s, y)`, and of each instance its status, iterations and seconds."""
    try:
        import clarabel
        from scipy import sparse
    except ImportError as error:
        raise UnsupportedError(
            "semidefinite cones need the packages clarabel and scipy: pip install clarabel"
        ) from error
    m, n = program.shape
    cones, settings = _cones(program.cones), _settings(program.settings)

    def at(k: int, values: Any) -> Any:
        return values if values.ndim == 1 else values[k]

    def matrix(k: int, values: Any, pattern: Any, shape: tuple[int, int]) -> Any:
        return sparse.csc_matrix((at(k, values), pattern[1], pattern[0]), shape=shape)

    rows: tuple[list[Any], ...] = ([], [], [])
    status, iterations, seconds = [], [], []
    for k in range(size):
        P, q, A, b = data
        start = time.perf_counter()
        quadratic = sparse.csc_matrix((n, n)) if P is None else matrix(k, P, program.pattern_P, (n, n))
        upper = sparse.triu(quadratic, format="csc")
        solver = clarabel.DefaultSolver(
            upper, at(k, q), matrix(k, A, program.pattern_A, (m, n)), at(k, b), cones, settings
        )
        out = solver.solve()
        for column, value in zip(rows, (out.x, out.s, out.z), strict=True):
            column.append(np.asarray(value))
        status.append(STATUS.get(str(out.status), "numerical_failure"))
        iterations.append(out.iterations)
        seconds.append(time.perf_counter() - start)
    return tuple(np.stack(r) for r in rows), status, iterations, seconds
