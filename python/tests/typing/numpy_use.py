"""Code of a user, for the type checker: nothing here is run."""

import bpqp
import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type


def decide(mu: NDArray[np.float64], F: NDArray[np.float64]) -> NDArray[np.float64]:
    n = len(mu)
    P = bpqp.Factored(np.full(n, 0.1), F)
    sol = bpqp.solve_qp(P, -mu, A=np.ones((1, n)), b=np.ones(1), lb=np.zeros(n), solver="auto", on_failure="nan")
    assert_type(sol, bpqp.Solution)
    grad = sol.vjp(x=np.ones(n), wrt=["q", "b"])
    assert_type(grad, bpqp.Gradients)
    assert_type(sol.jvp(q=mu), bpqp.Tangents)
    assert_type(sol.info, bpqp.Info)
    assert_type(sol.diagnostics(), bpqp.Diagnostics)
    assert_type(bpqp.check_gradient(sol).worst, float)
    assert_type(sol.status, str | NDArray[np.str_])
    assert_type(sol.ok, bool | NDArray[np.bool_])
    if grad.q is not None:
        mu = mu - grad.q
    for row in bpqp.check_gradient(sol).table:
        assert_type(row["worst"], float)
    assert_type(bpqp.solvers(), list[str])
    whole = bpqp.Operator((n, n), lambda v: 2.0 * v)
    large = bpqp.solve_qp(whole, -mu, A=np.ones((1, n)), b=np.ones(1))
    assert_type(large, bpqp.LargeSolution)
    assert_type(large.status, str)
    assert_type(large.vjp(x=np.ones(n)), bpqp.Gradients)
    again = bpqp.from_solution(P, -mu, A=np.ones((1, n)), b=np.ones(1), lb=np.zeros(n), x=sol.x, y=None)
    x: NDArray[np.float64] = again.x
    return x


def failures(q: NDArray[np.float64]) -> list[tuple[int, str]]:
    try:
        bpqp.solve_qp(None, q)
    except bpqp.SolveError as error:
        return error.failures
    except (bpqp.ArgumentError, bpqp.DtypeError, bpqp.UnsupportedError):
        raise
    return []


def mistakes(q: NDArray[np.float64]) -> None:
    bpqp.solve_qp(np.eye(2), q, solver=1)  # type: ignore[call-overload]
    bpqp.solve_qp(np.eye(2), q, on_failure=None)  # type: ignore[call-overload]
    bpqp.solve_qp(np.eye(2))  # type: ignore[call-overload]
    bpqp.solve_qp(np.eye(2), q).vjp(w=q)  # type: ignore[call-arg]
