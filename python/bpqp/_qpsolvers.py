"""Forward there, backward here: the solvers of the package qpsolvers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _bpqp
from ._arguments import RANKS, Problem
from ._engines import OURS, call, engine, installed
from ._errors import ArgumentError

# A first-order solver stops at 1e-3 by default, which is no solution to differentiate.
_ACCURATE: dict[str, dict[str, Any]] = {
    "osqp": {"eps_abs": 1e-10, "eps_rel": 1e-10, "max_iter": 100_000},
    "scs": {"eps_abs": 1e-10, "eps_rel": 1e-10, "max_iters": 100_000},
    "proxqp": {"eps_abs": 1e-10, "eps_rel": 0.0},
    "qpalm": {"eps_abs": 1e-10, "eps_rel": 1e-10},
}


def _at(value: Any, rank: int, k: int) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        if len(value) == 2:
            d, F = _at(value[0], 1, k), _at(value[1], 2, k)
            return np.diag(d) + F @ F.T
        from scipy import sparse

        indptr, indices, values, shape = value
        return sparse.csc_matrix((values, indices, indptr), shape=shape)
    return value[k] if value.ndim > rank else value


def solve_with(name: str, problem: Problem, settings: Mapping[str, Any]) -> _bpqp.Solved:
    """Solves every element of the batch there and hands the solutions over."""
    try:
        import qpsolvers
    except ImportError:
        raise ArgumentError(f"solver = 'qpsolvers:{name}': the package qpsolvers is not installed") from None
    if name not in qpsolvers.available_solvers:
        others = ", ".join(installed()) or "none"
        raise ArgumentError(f"solver = 'qpsolvers:{name}' is not installed; qpsolvers finds: {others}")
    ours = {k: v for k, v in settings.items() if k in OURS}
    prepared = engine("auto", ours, problem.dtype)  # refuses settings before the work
    theirs = {**_ACCURATE.get(name, {}), **{k: v for k, v in settings.items() if k not in OURS}}
    n = problem.data[1].shape[-1]
    m, mi = (0 if problem.data[k] is None else problem.data[k].shape[-1] for k in (5, 3))
    batch = problem.batch or 1
    points = [np.zeros((batch, size)) for size in (n, m, mi, n)]
    complete = [True] * 4
    for k in range(batch):
        P, q, G, h, A, b, lb, ub = (_at(value, rank, k) for value, rank in zip(problem.data, RANKS, strict=True))
        P = np.zeros((n, n)) if P is None else P
        if any(np.isnan(getattr(v, "data", v)).any() for v in (P, q, G, h, A, b, lb, ub) if v is not None):
            continue  # what is wrong is said where these zeros are judged
        with warnings.catch_warnings():
            # they convert dense to sparse where they need to, and say so
            warnings.simplefilter("ignore")
            try:
                found = qpsolvers.solve_problem(qpsolvers.Problem(P, q, G, h, A, b, lb, ub), solver=name, **theirs)
            except Exception as error:  # every solver there has errors of its own
                text = f"solver = 'qpsolvers:{name}' refused problem {k} with the settings {theirs}: {error}"
                raise ArgumentError(text) from error
        if found.x is None:
            continue  # zeros: whether they are a solution is decided by their residuals
        for j, value in enumerate((found.x, found.y, found.z, found.z_box)):
            wanted = points[j].shape[1] and (j < 3 or lb is not None or ub is not None)
            if value is not None and np.size(value) == points[j].shape[1]:
                points[j][k] = value
            elif wanted:
                complete[j] = False
    rows = tuple(p if whole else None for p, whole in zip(points, complete, strict=True))
    solved: _bpqp.Solved = call(prepared.given, problem.data, rows)
    return solved
