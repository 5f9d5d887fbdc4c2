"""The functions of diffcp, computed by bpqp.

    from bpqp.compat import diffcp
    x, y, s, D, DT = diffcp.solve_and_derivative(A, b, c, cone_dict)

So that what imports diffcp itself runs on bpqp, unchanged (cvxpylayers' default path, CVXPY's `requires_grad`):

    from bpqp.compat import diffcp
    diffcp.install()                      # before cvxpy and cvxpylayers are imported

What is as in diffcp: arguments, results, signs, the order and scaling of the cones (those of SCS: a semidefinite matrix
is its lower triangle by columns), gradients on the pattern of `A`, explicit zeros included.

What is not: the solution is polished and the derivative is that of the solution map, by the backward quadratic program
of bpqp, whatever `mode` says ("lpgd" and its relatives too: they approach it as tau goes to 0). The arguments of SCS,
ECOS and Clarabel are accepted and change nothing. `P` is allowed in every mode, and its gradient is on its pattern.
"""

from __future__ import annotations

import sys

from . import _diffcp, cone_program, cones, utils
from .cone_program import (
    SolverError,
    solve_and_derivative,
    solve_and_derivative_batch,
    solve_and_derivative_internal,
    solve_internal,
    solve_only,
    solve_only_batch,
)
from .cones import EXP, POS, PSD, SOC, ZERO

# the version of diffcp whose interface this is
__version__ = "1.1.9"

__all__ = [
    "EXP",
    "POS",
    "PSD",
    "SOC",
    "ZERO",
    "SolverError",
    "install",
    "solve_and_derivative",
    "solve_and_derivative_batch",
    "solve_and_derivative_internal",
    "solve_internal",
    "solve_only",
    "solve_only_batch",
]


def install() -> None:
    """From here on `import diffcp` finds this module; a diffcp that was imported before is no longer found."""
    sys.modules["diffcp"] = sys.modules[__name__]
    for module in (_diffcp, cone_program, cones, utils):
        sys.modules[f"diffcp.{module.__name__.rpartition('.')[2]}"] = module
