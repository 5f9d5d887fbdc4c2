"""bpqp as CVXPY sees a solver: its cones, their order, and how its solutions are read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cvxpy.settings as s
import numpy as np
from cvxpy.constraints import SOC, ExpCone, PowCone3D
from cvxpy.reductions.solution import Solution, failure_solution
from cvxpy.reductions.solvers import utilities
from cvxpy.reductions.solvers.conic_solvers.conic_solver import ConicSolver
from cvxpy.utilities.psd_utils import TriangleKind

try:
    from cvxpy.constraints import SvecPSD
except ImportError as error:  # it came with the version that this package needs for parameters in quad_form
    raise ImportError("bpqp needs cvxpy >= 1.9: pip install -U cvxpy") from error

from .._conic import solve_conic

STATUS = {
    "solved": s.OPTIMAL,
    "solved_inaccurate": s.OPTIMAL_INACCURATE,
    "primal_infeasible": s.INFEASIBLE,
    "dual_infeasible": s.UNBOUNDED,
    "iteration_limit": s.USER_LIMIT,
    "time_limit": s.USER_LIMIT,
}


def cones_of(dims: Any) -> list[tuple[Any, ...]]:
    """The cones of CVXPY, in its order, as `solve_conic` has them."""
    cones: list[tuple[Any, ...]] = []
    if dims.zero:
        cones.append(("zero", dims.zero))
    if dims.nonneg:
        cones.append(("nonnegative", dims.nonneg))
    cones += [("soc", n) for n in dims.soc]
    cones += [("psd", n) for n in dims.psd]
    cones += [("exp",)] * dims.exp
    cones += [("pow", float(alpha)) for alpha in dims.p3d]
    return cones


class BPQP(ConicSolver):
    """`problem.solve(solver=bpqp.cvxpy.BPQP())` solves with bpqp; settings are those of `bpqp.solve_conic`."""

    SUPPORTED_CONSTRAINTS = (*ConicSolver.SUPPORTED_CONSTRAINTS, SOC, ExpCone, PowCone3D, SvecPSD)
    PSD_TRIANGLE_KIND = TriangleKind.UPPER
    PSD_SQRT2_SCALING = True
    EXP_CONE_ORDER = (0, 1, 2)
    # the attribute `bounds` of variables, and their signs, come as lb and ub
    BOUNDED_VARIABLES = True

    def name(self) -> str:
        return "BPQP"

    def import_solver(self) -> None:
        """There is nothing to import: this is it."""

    def supports_quad_obj(self) -> bool:
        return True

    def cite(self, data: Any) -> str:
        return ""

    def apply(self, problem: Any) -> Any:
        """The data, with the number of rows that are inequalities under the name that CVXPY's QP solvers give it."""
        data, inverse_data = super().apply(problem)
        data["n_ineq"] = data[self.DIMS].nonneg
        return data, inverse_data

    def solve_via_data(
        self, data: Any, warm_start: bool, verbose: bool, solver_opts: dict[str, Any], solver_cache: Any = None
    ) -> Any:
        settings = {k: v for k, v in solver_opts.items() if k != "use_quad_obj"}
        cones, bounds = cones_of(data[self.DIMS]), {"lb": data.get(s.LOWER_BOUNDS), "ub": data.get(s.UPPER_BOUNDS)}
        blocks = (data.get(s.P), data[s.C], data[s.A], data[s.B])
        return solve_conic(*blocks, cones, **bounds, on_failure="zero_grad", **settings)

    def invert(self, solution: Any, inverse_data: Any) -> Solution:
        status = STATUS.get(solution.status, s.SOLVER_ERROR)
        info = getattr(solution, "info", SimpleNamespace(time=None, iterations=None))
        attr = {s.SOLVE_TIME: info.time, s.NUM_ITERS: info.iterations}
        if status == s.INFEASIBLE and isinstance(info.certificate, tuple):
            # the multipliers of the proof: they are a direction, of any length
            return failure_solution(status, attr, self._duals(info.certificate[0], inverse_data))
        if status not in s.SOLUTION_PRESENT:
            return failure_solution(status, attr)
        duals = self._duals(solution.y, inverse_data)
        value = solution.objective + float(np.asarray(inverse_data[s.OFFSET]).item())
        return Solution(status, value, {inverse_data[self.VAR_ID]: solution.x}, duals, attr)

    def _duals(self, y: Any, inverse_data: Any) -> dict[Any, Any]:
        zero = inverse_data[self.DIMS].zero
        duals: dict[Any, Any] = {}
        for part, key in ((y[:zero], self.EQ_CONSTR), (y[zero:], self.NEQ_CONSTR)):
            duals |= utilities.get_dual_values(part, utilities.extract_dual_value, inverse_data[key])
        return duals


class Rows(BPQP):
    """The same with every bound as a row: a layer's bounds may depend on parameters, and their duals are asked for."""

    BOUNDED_VARIABLES = False


__all__ = ["BPQP", "Rows", "cones_of"]
