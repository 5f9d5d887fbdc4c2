"""Quadratic and cone programs as differentiable PyTorch functions and modules.

    x = bpqp.torch.solve_qp(P, q, G, h, A, b, lb, ub)
    x = bpqp.torch.solve_conic(P, q, A, b, cones)

Tensors in, tensors out, in the dtype and on the device of `q`; the arithmetic is in double precision on the CPU.
"""

from .._core import Factored
from . import _compiled as _compiled  # registers the operators
from . import losses
from ._conic import solve_conic
from ._control import ControlLayer
from ._cvxpy import CvxpyLayer
from ._grid import DispatchLayer, DispatchSolution
from ._layer import QpLayer
from ._nonlinear import NonlinearLayer, NonlinearSolution
from ._products import Operator
from ._solution import ConicSolution, CvxpySolution, Solution
from ._solve import solve_qp

__all__ = [
    "ConicSolution",
    "ControlLayer",
    "CvxpyLayer",
    "CvxpySolution",
    "DispatchLayer",
    "DispatchSolution",
    "Factored",
    "NonlinearLayer",
    "NonlinearSolution",
    "Operator",
    "QpLayer",
    "Solution",
    "losses",
    "solve_conic",
    "solve_qp",
]
