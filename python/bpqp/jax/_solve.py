"""What users call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import JAXSparse

from .. import _bpqp, _core
from .._arguments import refuse_products
from .._core import Factored
from .._errors import ArgumentError, DtypeError, Error
from .._pattern import Pattern
from .._qp_operator import qp_operator_for
from .._types import OnFailure, Settings, Sparse, Unpack, Word
from .._verdicts import names
from . import _host
from ._operator import OperatorSpec
from ._primitives import solve_p
from ._slots import pack
from ._sparse import apart, sparse
from ._spec import SLOTS, Spec

ArrayLike: TypeAlias = "jax.typing.ArrayLike | JAXSparse | Sparse | Sequence[Any]"
Quadratic: TypeAlias = "ArrayLike | Factored"


class Solution(NamedTuple):
    """Differentiable outputs `x`, `y`, `z`, `z_box`, `objective`; how each element went: the mask `ok`, `status` as a
    number (`status_names` has its word), `iterations`; and `verdict`, how far derivatives may be trusted, as a number
    (`verdict_names`).
    """

    x: jax.Array
    y: jax.Array
    z: jax.Array
    z_box: jax.Array
    objective: jax.Array
    ok: jax.Array
    status: jax.Array
    iterations: jax.Array
    verdict: jax.Array


def verdict_names(verdict: jax.typing.ArrayLike) -> Word:
    """The words for the numbers in `Solution.verdict`: an array of strings, or one string. Not inside of jit."""
    word: Word = names(np.asarray(verdict).astype(np.uint8))
    return word


def split_status(code: Any) -> tuple[Any, Any]:
    """The status, and whether there is a solution: one of the first two, or the closest feasible program was solved."""
    closest = code >= _bpqp.SOLVED_ALL_THE_SAME
    status = jnp.where(closest, code - _bpqp.SOLVED_ALL_THE_SAME, code)
    return status, closest | (status < 2)


def status_names(status: jax.typing.ArrayLike) -> Word:
    """The words for the numbers in `Solution.status`: an array of strings, or one string. Not inside of jit."""
    names = np.array(_bpqp.STATUSES)[np.asarray(status)]
    return str(names) if names.ndim == 0 else names


def array_of(name: str, value: Any, rank: int, dtype: Any, *, short: bool = False) -> Any:
    """An array of `rank` dimensions or one more; with `short`, or one less."""
    refuse_products(name, value)
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise DtypeError(f"{name} is a {type(value).__name__}: pass a dense array") from error
    if not (jnp.issubdtype(array.dtype, jnp.integer) or array.dtype in (jnp.float32, jnp.float64)):
        raise DtypeError(f"{name} has dtype {array.dtype}: pass float32 or float64")
    if array.ndim not in ((rank - 1, rank, rank + 1) if short else (rank, rank + 1)):
        raise ArgumentError(
            f"{name} has shape {array.shape}: it needs {rank} dimensions, or {rank + 1} with a batch dimension first"
        )
    return array.astype(dtype)


def _refuse_settings(solver: str, chosen: Any, settings: Mapping[str, Any], dtype: Any) -> None:
    """Settings are refused here, not under jit."""
    try:
        _host.engine(solver, chosen, dtype == jnp.float32)
    except Error:
        raise
    except TypeError as error:  # a value that cannot be hashed is no setting
        raise ArgumentError(f"settings {settings}: {error}") from error


def dtype_of(q: Any) -> Any:
    try:
        dtype = jnp.asarray(q).dtype
    except (TypeError, ValueError) as error:
        raise DtypeError(f"q is a {type(q).__name__}: pass a dense array") from error
    if dtype not in (jnp.float32, jnp.float64):
        raise DtypeError(f"q has dtype {dtype}: pass float32 or float64")
    return dtype


def _spread(k: int, array: Any, slots: list[Any], patterns: dict[str, Pattern]) -> Any:
    """The vector that a number stands for, or the matrix that its only row stands for."""
    if k in (3, 5):
        return array[None]
    matrix = patterns.get(SLOTS[k - 1], slots[k - 1])
    like = slots[2].shape[-1] if k > 6 else 1 if matrix is None else matrix.shape[-2]
    return jnp.broadcast_to(array, (like,))


@overload
def solve_qp(
    P: Quadratic | None,
    q: ArrayLike,
    G: ArrayLike | None = None,
    h: ArrayLike | None = None,
    A: ArrayLike | None = None,
    b: ArrayLike | None = None,
    lb: ArrayLike | None = None,
    ub: ArrayLike | None = None,
    *,
    full: Literal[False] = False,
    solver: str = "auto",
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> jax.Array: ...


@overload
def solve_qp(
    P: Quadratic | None,
    q: ArrayLike,
    G: ArrayLike | None = None,
    h: ArrayLike | None = None,
    A: ArrayLike | None = None,
    b: ArrayLike | None = None,
    lb: ArrayLike | None = None,
    ub: ArrayLike | None = None,
    *,
    full: Literal[True],
    solver: str = "auto",
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> Solution: ...


def solve_qp(
    P: Quadratic | None,
    q: ArrayLike,
    G: ArrayLike | None = None,
    h: ArrayLike | None = None,
    A: ArrayLike | None = None,
    b: ArrayLike | None = None,
    lb: ArrayLike | None = None,
    ub: ArrayLike | None = None,
    *,
    full: bool = False,
    solver: str = "auto",
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> jax.Array | Solution:
    """The minimizer of `1/2 x'P x + q'x  s.t.  G x <= h, A x = b, lb <= x <= ub`, differentiable in all its arguments.

    Any argument may carry a batch dimension first; those that do not are shared by the batch, and their gradient is the
    sum. `P` may be None (a linear program) or `Factored(d, F)`. Under jit an unsolved problem is the runtime error of
    JAX with the text of `bpqp.SolveError`.

    Args:
        P, q, G, h, A, b, lb, ub: as for `bpqp.solve_qp`, in the dtype of `q`; P, G and A may be BCOO or BCSR arrays
            with indices that are not traced, or constants of scipy.sparse.
        full: return a `Solution` with the multipliers, the objective, `ok` and `verdict`, for which the backward system
            is looked at.
        solver, on_failure, settings: as for `bpqp.solve_qp`.
    """
    if q is None:
        raise ArgumentError("q is None: a problem needs its linear term; pass zeros for none")
    dtype = dtype_of(q)
    if not _core.by_qpsolvers(solver):
        _core.check_solver(solver, _bpqp.SOLVERS)
    factored = isinstance(P, Factored)
    raw = [P.d, P.F] if isinstance(P, Factored) else [P, None]
    raw += [q, G, h, A, b, lb, ub]
    ranks = (1 if factored else 2, 2, 1, 2, 1, 2, 1, 1, 1)
    slots: list[Any] = [None] * 9
    batch, owner = None, ""
    patterns: dict[str, Pattern] = {}
    for k, value in enumerate(raw):
        if value is None:
            continue
        if sparse(value) and SLOTS[k] in ("P", "G", "A") and not (factored and k == 0):
            slots[k], patterns[SLOTS[k]] = apart(SLOTS[k], value, dtype, symmetric=k == 0)
            continue
        array = array_of(SLOTS[k] if not factored or k > 1 else ("P.d", "P.F")[k], value, ranks[k], dtype, short=k > 2)
        if array.ndim < ranks[k]:
            array = _spread(k, array, slots, patterns)
        if k > 2 and array.size == 0:
            continue
        slots[k] = array
        if array.ndim > ranks[k]:
            if batch is None:
                batch, owner = array.shape[0], SLOTS[k]
            elif batch != array.shape[0]:
                raise ArgumentError(
                    f"{SLOTS[k]} has a batch of {array.shape[0]}, but {owner} has one of {batch}: batches must agree"
                )
    if batch == 0:
        raise ArgumentError(f"{owner} has a batch of 0: a batch needs at least one element")
    for m, v in ((3, 4), (5, 6)):
        if (slots[m] is None) != (slots[v] is None):
            given, missing = (SLOTS[m], SLOTS[v]) if slots[v] is None else (SLOTS[v], SLOTS[m])
            raise ArgumentError(f"{missing} is missing: {given} was given, and the two come together")
    if patterns:
        kept = {k: v for k, v in settings.items() if v is not None}
        there = zip(("P.d", "P.F", *SLOTS[2:]) if factored else SLOTS, slots, ranks, strict=True)
        named = [(name, slot, rank) for name, slot, rank in there if slot is not None]
        own = tuple((n, patterns[n].shape if n in patterns else tuple(v.shape[v.ndim - r :])) for n, v, r in named)
        operator = qp_operator_for(own, patterns, solver, on_failure, kept)
        values = [slot for _, slot, _ in named]
        return _outputs(values, OperatorSpec(operator, batch or 1, np.dtype(dtype), full), batch, full)
    shapes = tuple(None if s is None else tuple(s.shape[s.ndim - r :]) for s, r in zip(slots, ranks, strict=True))
    _check_shapes(shapes, factored)
    chosen = tuple(sorted((k, v) for k, v in settings.items() if v is not None))
    _refuse_settings(solver, chosen, settings, dtype)
    policy = _core.policy_code(on_failure)
    spec = Spec(batch or 1, factored, shapes, np.dtype(dtype), policy, solver, chosen, full)
    return _outputs(pack(slots)[1], spec, batch, full)


def _outputs(values: Any, spec: Any, batch: int | None, full: bool) -> jax.Array | Solution:
    """What the user asked for."""
    *outputs, _, codes = solve_p.bind(*values, spec=spec)
    if not full:
        x: jax.Array = outputs[0] if batch is not None else outputs[0][0]
        return x
    if batch is None:
        outputs, codes = [v[0] for v in outputs], codes[0]
    status, ok = split_status(codes[..., 0])
    x, y, z, z_box, objective = outputs
    return Solution(x, y, z, z_box, objective, ok, status, codes[..., 1], codes[..., 2])


def _check_shapes(shapes: Any, factored: bool) -> None:
    """Shapes are known while tracing, so what is wrong with them is said there."""
    n = shapes[2][0]
    h, b = shapes[4], shapes[6]
    wanted = [(n,) if factored else (n, n), (n, shapes[1][1]) if factored else None, (n,)]
    wanted += [(h[0], n) if h else None, h, (b[0], n) if b else None, b, (n,), (n,)]
    for name, found, expected in zip(SLOTS, shapes, wanted, strict=True):
        if found is not None and found != expected:
            advice = "q has one entry per variable, h and b one per row of G and A"
            raise ArgumentError(f"{name} has shape {found}, expected {expected}: {advice}")
