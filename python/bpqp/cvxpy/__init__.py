"""CVXPY problems as differentiable maps: what `bpqp.torch.CvxpyLayer` and `bpqp.jax.CvxpyLayer` share.

    problem.solve(solver=bpqp.cvxpy.BPQP())      # bpqp as a solver of CVXPY

`Canonical` is a parametrized problem as a cone program, compiled once by CVXPY's own reductions; `Operator` solves it
for a batch of parameters and differentiates. Both are plain NumPy and SciPy.
"""

from ._canonical import Canonical
from ._operator import Operator
from ._solver import BPQP

__all__ = ["BPQP", "Canonical", "Operator"]
