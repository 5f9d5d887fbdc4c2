"""Code of a user, for the type checker: nothing here is run."""

import bpqp.jax as bj
import jax


def third(P: jax.Array, q: jax.Array) -> jax.Array:
    x: jax.Array = bj.solve_qp(P, q, solver="auto")
    sol: bj.Solution = bj.solve_qp(P, q, full=True)
    y: jax.Array = sol.y
    return x[2] - y[0]


def mistake(P: jax.Array, q: jax.Array) -> None:
    bj.solve_qp(P, q, solver=1)  # type: ignore[arg-type]
