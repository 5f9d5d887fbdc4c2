"""CVXPY's own standard problems, with the points, multipliers and proofs that they expect, by the solver object."""

import inspect

import pytest

pytest.importorskip("cvxpy")

from bpqp.cvxpy import BPQP
from cvxpy.tests import solver_test_helpers

CLASSES = [value for name, value in vars(solver_test_helpers).items() if name.startswith("StandardTest")]
CASES = [
    pytest.param(getattr(own, name), id=f"{own.__name__}.{name}")
    for own in CLASSES
    for name in sorted(vars(own))
    # integers are another kind of problem; lp_7 asks for another solver before it solves, and is below
    if name.startswith("test_") and not name.startswith("test_mi_") and name != "test_lp_7"
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_standard_problem(case):
    if "kwargs" in inspect.signature(case).parameters:
        case(solver=BPQP())
    else:
        case(BPQP())


def test_the_ill_posed_linear_program():
    problem = solver_test_helpers.lp_7()
    problem.solve(BPQP())
    problem.verify_objective(4)


def test_there_are_standard_problems():
    kinds = {case.id.partition(".")[0] for case in CASES}
    assert len(CASES) >= 30 and "StandardTestInfeasibleProblems" in kinds
