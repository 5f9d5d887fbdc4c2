"""Cone programs: an operator on arrays behind the same autograd functions as everything else."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
import torch

from .._arguments import Factored
from .._conic_data import checked_cones, cone_rows
from .._conic_operator import RANKS, check_shapes, operator_for
from .._errors import ArgumentError
from .._pattern import Pattern
from .._types import Cones, OnFailure, Settings, Unpack
from ._functions import Solve, numpy_of
from ._operator import OperatorCall
from ._solution import ConicSolution
from ._sparse import apart, sparse
from ._tensors import deciding, tensor_of
from ._types import Quadratic, TensorLike, WarmStart

OUTPUTS = ("x", "s", "y", "z_box")


@overload
def solve_conic(
    P: Quadratic | None,
    q: torch.Tensor,
    A: TensorLike,
    b: TensorLike,
    cones: Cones,
    *,
    lb: TensorLike | None = None,
    ub: TensorLike | None = None,
    full: Literal[False] = False,
    solver: str = "auto",
    warm_start: WarmStart | None = None,
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> torch.Tensor: ...


@overload
def solve_conic(
    P: Quadratic | None,
    q: torch.Tensor,
    A: TensorLike,
    b: TensorLike,
    cones: Cones,
    *,
    lb: TensorLike | None = None,
    ub: TensorLike | None = None,
    full: Literal[True],
    solver: str = "auto",
    warm_start: WarmStart | None = None,
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> ConicSolution: ...


def solve_conic(
    P: Quadratic | None,
    q: torch.Tensor,
    A: TensorLike,
    b: TensorLike,
    cones: Cones,
    *,
    lb: TensorLike | None = None,
    ub: TensorLike | None = None,
    full: bool = False,
    solver: str = "auto",
    warm_start: WarmStart | None = None,
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> torch.Tensor | ConicSolution:
    """The minimizer of `1/2 x'P x + q'x  s.t.  A x + s = b, s in K, lb <= x <= ub`, differentiable in all of these.

    Any argument may carry a batch dimension first; those that do not are shared by the batch, and their gradient is the
    sum. `P` may be None (a linear objective) or `Factored(d, F)`. First and second derivatives, in reverse and forward
    mode, and the transforms of torch.func; second ones are not there (UnsupportedError) where a semidefinite cone or a
    kink of a cone is in the way. Under torch.compile the call stays outside of the graph.

    Args:
        P, q, A, b, lb, ub: tensors in the shapes of `bpqp.solve_conic`, on one device; `q`, float32 or float64,
            decides dtype and device. P and A may be sparse, COO, CSR or CSC, and shared by a batch: their gradients
            live on their entries; or constants of scipy.sparse.
        cones: as for `bpqp.solve_conic`: they take the rows of A in order.
        full: return a `ConicSolution` with slacks, multipliers and the objective, differentiable too, `ok`, `status`
            and `verdict`.
        solver, warm_start, on_failure, settings: as for `bpqp.solve_conic`.

    Returns:
        `x`, of shape (n,) or (batch, n); or a `ConicSolution`.

    Raises:
        ArgumentError, DtypeError, SolveError: as `bpqp.solve_conic`.
        UnsupportedError: third derivatives, and second ones that are not there.
    """
    solve = _outside if torch.compiler.is_compiling() else _solve
    out: torch.Tensor | ConicSolution = solve(P, q, A, b, cones, lb, ub, full, solver, warm_start, on_failure, settings)
    return out


def _solve(
    P: Any,
    q: Any,
    A: Any,
    b: Any,
    cones: Any,
    lb: Any,
    ub: Any,
    full: bool,
    solver: str,
    warm_start: Any,
    on_failure: str,
    settings: Any,
) -> Any:
    kinds = checked_cones(cones)
    values, batch, patterns = _collect(P, q, A, b, lb, ub)
    shapes = tuple(
        (n, patterns[n].shape if n in patterns else tuple(v.shape[v.dim() - RANKS[n] :])) for n, v in values.items()
    )
    check_shapes(shapes, sum(map(cone_rows, kinds)))
    operator = operator_for(shapes, patterns, kinds, solver, on_failure, settings)
    warm = None if warm_start is None else _warm(warm_start)
    call = OperatorCall(operator, batch or 1, values["q"].detach(), warm)
    *outputs, state = Solve.apply(call, *values.values())
    if not full:
        return outputs[0] if batch is not None else outputs[0][0]
    ok, status = state[:, -1] != 0, call.status
    if batch is None:
        outputs, ok = [v[0] for v in outputs], ok[0]
    x, s, y, z_box, objective = outputs
    if status is None or len(status) != call.size:
        return ConicSolution(x, s, y, z_box, objective, ok, None)
    words: Any = status[0] if batch is None else np.array(status)
    return ConicSolution(x, s, y, z_box, objective, ok, words, call.solved)


_outside: Any = torch.compiler.disable(_solve)  # type: ignore[no-untyped-call]


def _warm(given: Any) -> Any:
    """Where to start: `(x, s, y, z_box)` with a row for each element; s and z_box may be absent."""
    found = given if isinstance(given, dict) else {name: getattr(given, name, None) for name in OUTPUTS}
    for name in ("x", "y"):
        if found.get(name) is None:
            raise ArgumentError(f"warm_start has no {name}: pass a solution, or a dict with x, s, y and z_box")
    rows = (found.get(name) for name in OUTPUTS)
    return tuple(None if v is None else np.atleast_2d(numpy_of(torch.as_tensor(v))) for v in rows)


def _collect(
    P: Any, q: Any, A: Any, b: Any, lb: Any, ub: Any
) -> tuple[dict[str, torch.Tensor], int | None, dict[str, Pattern]]:
    """The slots that are there, in the dtype and on the device of q, the size of the batch, and sparse patterns."""
    q = deciding(q)
    for name, value in (("A", A), ("b", b)):
        if value is None:
            raise ArgumentError(f"{name} is None: a cone program has q, A and b; pass zeros for none")
    given = {"P.d": P.d, "P.F": P.F} if isinstance(P, Factored) else {"P": P}
    given |= {"q": q, "A": A, "b": b, "lb": lb, "ub": ub}
    out: dict[str, torch.Tensor] = {}
    patterns: dict[str, Pattern] = {}
    batch, owner = None, ""
    for name, value in given.items():
        if value is None:
            if name.startswith("P."):
                raise ArgumentError("a Factored P needs both d and F")
            continue
        if sparse(value) and name in ("P", "A"):
            entries, patterns[name] = apart(name, value, q)
            out[name] = tensor_of(name, entries, q)
            continue
        tensor, rank = tensor_of(name, value, q), RANKS[name]
        if tensor.device != q.device:
            raise ArgumentError(f"{name} is on {tensor.device}, but q is on {q.device}: move one of them")
        if name == "A" and tensor.dim() == 1:
            tensor = tensor.unsqueeze(0)
        elif name in ("b", "lb", "ub") and tensor.dim() == 0:
            tensor = tensor.expand(patterns.get("A", out["A"]).shape[-2 if name == "b" else -1])
        if tensor.dim() not in (rank, rank + 1):
            raise ArgumentError(
                f"{name} has shape {tuple(tensor.shape)}: "
                f"it needs {rank} dimensions, or {rank + 1} with a batch dimension first"
            )
        if tensor.dim() > rank:
            size = tensor.shape[0]
            if batch is None:
                batch, owner = size, name
            elif batch != size:
                raise ArgumentError(f"{name} has a batch of {size}, but {owner} has one of {batch}: batches must agree")
        out[name] = tensor
    if batch == 0:
        raise ArgumentError(f"{owner} has a batch of 0: a batch needs at least one element")
    return out, batch, patterns
