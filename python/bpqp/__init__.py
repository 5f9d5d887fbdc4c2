"""Differentiable convex optimization: quadratic programs as layers, with gradients that can be trusted.

    minimize    1/2 x'P x + q'x
    subject to  A x = b,  G x <= h,  lb <= x <= ub

`solve_qp` solves one problem or a batch; its `Solution` differentiates. `solve_conic` is the same over cones.
`bpqp.torch` and `bpqp.jax` are the same for those frameworks, and are imported only when asked for.
"""

import logging as _logging

from . import grid
from ._bpqp import __version__
from ._conic import ConicSolution, solve_conic
from ._core import (
    Active,
    Diagnostics,
    Factored,
    GradientReport,
    Gradients,
    Info,
    LargeSolution,
    LowRank,
    Operator,
    Solution,
    Tangents,
    check_gradient,
    from_solution,
    solve_qp,
    solvers,
)
from ._errors import (
    ArgumentError,
    DtypeError,
    Error,
    GradientError,
    GradientWarning,
    SolveError,
    UnsupportedError,
)
from ._files import ProblemFile, read_cbf, read_json, read_qps, write_json
from ._nonlinear import (
    Derivatives,
    LocalSolution,
    Nonlinear,
    NonlinearGradients,
    NonlinearTangents,
    from_local_solution,
    solve_nlp,
)
from ._prepared import QpSolver
from ._results import ConicActive, ConicGradients, ConicTangents, Shift

# what the core says is heard where the application listens, and nowhere else
_logging.getLogger("bpqp").addHandler(_logging.NullHandler())

__all__ = [
    "Active",
    "ArgumentError",
    "ConicActive",
    "ConicGradients",
    "ConicSolution",
    "ConicTangents",
    "Derivatives",
    "Diagnostics",
    "DtypeError",
    "Error",
    "Factored",
    "GradientError",
    "GradientReport",
    "GradientWarning",
    "Gradients",
    "Info",
    "LargeSolution",
    "LocalSolution",
    "LowRank",
    "Nonlinear",
    "NonlinearGradients",
    "NonlinearTangents",
    "Operator",
    "ProblemFile",
    "QpSolver",
    "Shift",
    "Solution",
    "SolveError",
    "Tangents",
    "UnsupportedError",
    "__version__",
    "check_gradient",
    "from_local_solution",
    "from_solution",
    "grid",
    "read_cbf",
    "read_json",
    "read_qps",
    "solve_conic",
    "solve_nlp",
    "solve_qp",
    "solvers",
    "write_json",
]
