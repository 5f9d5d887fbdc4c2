"""Code of a user, for the type checker: nothing here is run."""

import bpqp.jax as bj
import jax
from typing_extensions import assert_type


def third(P: jax.Array, q: jax.Array) -> jax.Array:
    x: jax.Array = bj.solve_qp(P, q, solver="auto")
    sol = bj.solve_qp(P, q, full=True, on_untrusted="raise")
    assert_type(sol, bj.Solution)
    y: jax.Array = sol.y
    return x[2] - y[0]


def mistake(P: jax.Array, q: jax.Array) -> None:
    bj.solve_qp(P, q, solver=1)  # type: ignore[call-overload]
