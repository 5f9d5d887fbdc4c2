"""Cone programs: an operator on arrays behind the same primitives as everything else."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, overload

import jax
import numpy as np

from .._arguments import Factored
from .._conic_data import checked_cones, cone_rows
from .._conic_operator import RANKS, check_shapes, operator_for
from .._errors import ArgumentError
from .._pattern import Pattern
from .._types import Cones, OnFailure, Settings, Unpack
from ._operator import OperatorSpec
from ._primitives import solve_p
from ._solve import ArrayLike, Quadratic, array_of, dtype_of, split_status
from ._sparse import apart, sparse


class ConicSolution(NamedTuple):
    """Differentiable `x`, slacks `s`, multipliers `y` and `z_box`, `objective`; how each element went: the mask `ok`,
    `status` as a number (`status_names` has its word), `iterations`; and `verdict`, how far derivatives may be trusted,
    as a number (`verdict_names`).
    """

    x: jax.Array
    s: jax.Array
    y: jax.Array
    z_box: jax.Array
    objective: jax.Array
    ok: jax.Array
    status: jax.Array
    iterations: jax.Array
    verdict: jax.Array


@overload
def solve_conic(
    P: Quadratic | None,
    q: ArrayLike,
    A: ArrayLike,
    b: ArrayLike,
    cones: Cones,
    *,
    lb: ArrayLike | None = None,
    ub: ArrayLike | None = None,
    full: Literal[False] = False,
    solver: str = "auto",
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> jax.Array: ...


@overload
def solve_conic(
    P: Quadratic | None,
    q: ArrayLike,
    A: ArrayLike,
    b: ArrayLike,
    cones: Cones,
    *,
    lb: ArrayLike | None = None,
    ub: ArrayLike | None = None,
    full: Literal[True],
    solver: str = "auto",
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> ConicSolution: ...


def solve_conic(
    P: Quadratic | None,
    q: ArrayLike,
    A: ArrayLike,
    b: ArrayLike,
    cones: Cones,
    *,
    lb: ArrayLike | None = None,
    ub: ArrayLike | None = None,
    full: bool = False,
    solver: str = "auto",
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> jax.Array | ConicSolution:
    """The minimizer of `1/2 x'P x + q'x  s.t.  A x + s = b, s in K, lb <= x <= ub`, differentiable in all of these.

    Any argument may carry a batch dimension first; those that do not are shared by the batch, and their gradient is the
    sum. `P` may be None (a linear objective) or `Factored(d, F)`. Under jit an unsolved problem is the runtime error of
    JAX with the text of `bpqp.SolveError`. Second derivatives are not there (UnsupportedError) where a semidefinite
    cone or a kink of a cone is in the way.

    Args:
        P, q, A, b, cones, lb, ub: as for `bpqp.solve_conic`, in the dtype of `q`; P and A may be BCOO or BCSR arrays
            with indices that are not traced, or constants of scipy.sparse.
        full: return a `ConicSolution` with slacks, multipliers, the objective, `ok` and `verdict`, for which the
            backward system is looked at.
        solver, on_failure, settings: as for `bpqp.solve_conic`.
    """
    kinds = checked_cones(cones)
    for name, value in (("q", q), ("A", A), ("b", b)):
        if value is None:
            raise ArgumentError(f"{name} is None: a cone program has q, A and b; pass zeros for none")
    dtype = dtype_of(q)
    given: dict[str, Any] = {"P.d": P.d, "P.F": P.F} if isinstance(P, Factored) else {"P": P}
    given |= {"q": q, "A": A, "b": b, "lb": lb, "ub": ub}
    values: dict[str, Any] = {}
    patterns: dict[str, Pattern] = {}
    batch, owner = None, ""
    for name, value in given.items():
        if value is None:
            if name.startswith("P."):
                raise ArgumentError("a Factored P needs both d and F")
            continue
        if sparse(value) and name in ("P", "A"):
            values[name], patterns[name] = apart(name, value, dtype)
            continue
        rank = RANKS[name]
        array = array_of(name, value, rank, dtype, short=name in ("A", "b", "lb", "ub"))
        if array.ndim < rank:
            size = 0 if name == "A" else patterns.get("A", values["A"]).shape[-2 if name == "b" else -1]
            array = array[None] if name == "A" else jax.numpy.broadcast_to(array, (size,))
        if array.ndim > rank:
            if batch is None:
                batch, owner = array.shape[0], name
            elif batch != array.shape[0]:
                raise ArgumentError(
                    f"{name} has a batch of {array.shape[0]}, but {owner} has one of {batch}: batches must agree"
                )
        values[name] = array
    if batch == 0:
        raise ArgumentError(f"{owner} has a batch of 0: a batch needs at least one element")
    shapes = tuple(
        (n, patterns[n].shape if n in patterns else tuple(v.shape[v.ndim - RANKS[n] :])) for n, v in values.items()
    )
    check_shapes(shapes, sum(map(cone_rows, kinds)))
    operator = operator_for(shapes, patterns, kinds, solver, on_failure, settings)
    spec = OperatorSpec(operator, batch or 1, np.dtype(dtype), full)
    *outputs, _, codes = solve_p.bind(*values.values(), spec=spec)
    if not full:
        x: jax.Array = outputs[0] if batch is not None else outputs[0][0]
        return x
    if batch is None:
        outputs, codes = [v[0] for v in outputs], codes[0]
    status, ok = split_status(codes[..., 0])
    x, s, y, z_box, objective = outputs
    return ConicSolution(x, s, y, z_box, objective, ok, status, codes[..., 1], codes[..., 2])
