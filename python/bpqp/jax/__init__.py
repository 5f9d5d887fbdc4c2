"""Quadratic and cone programs as differentiable JAX functions: jit, vmap, grad, jacfwd, jacrev, hessian.

x = bpqp.jax.solve_qp(P, q, G, h, A, b, lb, ub)
x = bpqp.jax.solve_conic(P, q, A, b, cones)

Arrays in, arrays out, in the dtype of `q`; the arithmetic is in double precision on the CPU, with x64 or without.
"""

from .._core import Factored
from ._conic import ConicSolution, solve_conic
from ._cvxpy import CvxpyLayer, CvxpySolution
from ._ffi import export_checks
from ._nonlinear import NonlinearSolution, solve_nlp
from ._solve import Solution, solve_qp, status_names, verdict_names

__all__ = [
    "ConicSolution",
    "CvxpyLayer",
    "CvxpySolution",
    "Factored",
    "NonlinearSolution",
    "Solution",
    "export_checks",
    "solve_conic",
    "solve_nlp",
    "solve_qp",
    "status_names",
    "verdict_names",
]
