"""Problems in the form of diffcp, from CVXPY and at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse


def scs_data_from_cvxpy_problem(problem: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
    """`A, b, c` and the cones of a CVXPY problem."""
    import cvxpy as cp
    from cvxpy.reductions.solvers.conic_solvers.scs_conif import dims_to_solver_dict

    data = problem.get_problem_data(cp.SCS, solver_opts={"use_quad_obj": False})[0]
    return data["A"], data["b"], data["c"], dims_to_solver_dict(data["dims"])


def least_squares_eq_scs_data(m: int, n: int, seed: int = 0) -> tuple[Any, Any, Any, dict[str, Any]]:
    """A least absolute residuals problem over the simplex."""
    import cvxpy as cp

    if m < n:
        raise ValueError(f"m = {m} is less than n = {n}: the solution would not be unique")
    np.random.seed(seed)
    b, A, x = np.random.randn(m), np.random.randn(m, n), cp.Variable(n)
    return scs_data_from_cvxpy_problem(cp.Problem(cp.Minimize(cp.pnorm(A @ x - b, 1)), [x >= 0, cp.sum(x) == 1.0]))


def get_random_like(A: Any, randomness: Callable[[int], Any]) -> Any:
    """A sparse matrix with the pattern of A and the values `randomness(number of entries)`."""
    rows, cols = A.nonzero()
    return sparse.csc_matrix((randomness(A.nnz), (rows, cols)), shape=A.shape)
