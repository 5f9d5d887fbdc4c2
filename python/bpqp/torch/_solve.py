"""The call of a user: arguments checked and taken apart, and the way that is chosen for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import torch

from .. import _bpqp, _core
from .._core import Factored
from .._engines import OURS
from .._errors import ArgumentError
from .._pattern import Pattern
from .._qp_operator import RANKS as QP_RANKS
from .._qp_operator import qp_operator_for
from .._types import OnFailure, Settings, Unpack
from . import _eager, _products
from ._functions import Solve, numpy_of
from ._operator import OperatorCall
from ._qp import RANKS, SLOTS, QpCall
from ._solution import Solution
from ._sparse import apart, sparse
from ._tensors import deciding, tensor_of
from ._types import Quadratic, TensorLike, WarmStart

MATRICES = ("P", "G", "A")


def _spread(k: int, tensor: torch.Tensor, slots: list[Any], patterns: dict[str, Pattern]) -> torch.Tensor:
    """The vector that a number stands for, or the matrix that its only row stands for."""
    if k in (3, 5):
        return tensor.unsqueeze(0)
    if k > 6:
        return tensor.expand(slots[2].shape[-1])
    matrix = patterns.get(SLOTS[k - 1], slots[k - 1])
    return tensor.expand(1 if matrix is None else matrix.shape[-2])


class Collected(NamedTuple):
    """The nine slots, whether P is factored, the size of the batch, and the patterns of sparse slots by name."""

    slots: list[Any]
    factored: bool
    batch: int | None
    patterns: dict[str, Pattern]


def collect(P: Any, q: Any, G: Any, h: Any, A: Any, b: Any, lb: Any, ub: Any) -> Collected:
    """The data of a call, checked and taken apart."""
    q = deciding(q)
    factored = isinstance(P, Factored)
    slots = [P.d, P.F] if isinstance(P, Factored) else [P, None]
    slots += [q, G, h, A, b, lb, ub]
    names = ("P.d", "P.F", *SLOTS[2:]) if factored else SLOTS
    dtype, device = q.dtype, q.device
    batch, owner = None, ""
    patterns: dict[str, Pattern] = {}
    for k, (value, name, rank) in enumerate(zip(slots, names, RANKS[factored], strict=True)):
        if value is None:
            continue
        if sparse(value) and name in MATRICES:
            values, pattern = apart(name, value, q, symmetric=k == 0)
            if k == 0 or pattern.shape[0]:
                patterns[name] = pattern
            slots[k] = tensor_of(name, values, q) if name in patterns else None
            continue
        tensor = value
        if not (isinstance(value, torch.Tensor) and value.dtype is dtype and value.layout is torch.strided):
            tensor = tensor_of(name, value, q)
        if tensor.device != device:
            raise ArgumentError(f"{name} is on {tensor.device}, but q is on {device}: move one of them")
        if k > 2 and tensor.dim() == rank - 1:
            tensor = _spread(k, tensor, slots, patterns)
        more = tensor.dim() - rank
        if more not in (0, 1):
            raise ArgumentError(
                f"{name} has shape {tuple(tensor.shape)}: "
                f"it needs {rank} dimensions, or {rank + 1} with a batch dimension first"
            )
        if k > 2 and tensor.numel() == 0:
            slots[k] = None
            continue
        if more:
            size = tensor.shape[0]
            if batch is None:
                batch, owner = size, name
            elif batch != size:
                raise ArgumentError(f"{name} has a batch of {size}, but {owner} has one of {batch}: batches must agree")
        slots[k] = tensor
    if factored and (slots[0] is None or slots[1] is None):
        raise ArgumentError("a Factored P needs both d and F")
    if batch == 0:
        raise ArgumentError(f"{owner} has a batch of 0: a batch needs at least one element")
    for m, v in ((3, 4), (5, 6)):
        if (slots[m] is None) != (slots[v] is None):
            given, missing = (SLOTS[m], SLOTS[v]) if slots[v] is None else (SLOTS[v], SLOTS[m])
            raise ArgumentError(f"{missing} is missing: {given} was given, and the two come together")
    return Collected(slots, factored, batch, patterns)


def run(
    slots: list[Any],
    factored: bool,
    batch: int | None,
    *,
    engine: _bpqp.Engine,
    solver: str,
    settings: Mapping[str, Any],
    on_failure: str,
    warm: Any = None,
    full: bool = False,
) -> tuple[Any, QpCall]:
    """Solves, and gives what the user asked for."""
    call = QpCall(batch or 1, factored, _core.policy_code(on_failure), engine, solver, settings, warm)
    try:
        if _eager.applies():
            call.run(tuple(slots))
            data = [s for s in slots if s is not None]
            like = (slots[2].device, slots[2].dtype)
            differentiable = torch.is_grad_enabled() and any([v.requires_grad for v in data])
            kept = (call.solved, call.policy, like, engine, solver, settings)
            return _eager.outputs(kept, call.solved.answer(call.policy), data, differentiable, full), call
        *outputs, state = Solve.apply(call, *slots)
    except ValueError as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(str(error)) from None
    if not full:
        return outputs[0] if batch is not None else outputs[0][0], call
    return solution_of(outputs, state, call, batch), call


def run_sparse(
    data: Collected, solver: str, on_failure: str, settings: Any, warm: Any = None, full: bool = False
) -> tuple[Any, OperatorCall]:
    """Solves where a matrix is sparse."""
    slots, _, batch, patterns = data
    names = ("P.d", "P.F", *SLOTS[2:]) if data.factored else SLOTS
    there = {name: slot for name, slot in zip(names, slots, strict=True) if slot is not None}
    shapes = tuple(
        (n, patterns[n].shape if n in patterns else tuple(v.shape[v.dim() - QP_RANKS[n] :])) for n, v in there.items()
    )
    operator = qp_operator_for(shapes, patterns, solver, on_failure, settings)
    call = OperatorCall(operator, batch or 1, slots[2].detach(), warm)
    *outputs, state = Solve.apply(call, *there.values())
    if not full:
        return outputs[0] if batch is not None else outputs[0][0], call
    return solution_of(outputs, state, call, batch), call


def solution_of(outputs: Any, state: Any, call: QpCall | OperatorCall, batch: int | None) -> Solution:
    """All outputs; status and verdict where the call has them."""
    ok = state[:, -1] != 0
    if batch is None:
        outputs, ok = [v[0] for v in outputs], ok[0]
    status: Any = call.status
    if status is not None and len(status) == call.size:
        status = status[0] if batch is None else np.array(status)
    else:
        status = None
    x, y, z, z_box, objective = outputs
    return Solution(x, y, z, z_box, objective, ok, status, call.solved if status is not None else None)


def compiled(
    slots: list[Any], factored: bool, batch: int | None, solver: str, on_failure: str, settings: Any, full: bool
) -> Any:
    """The same as one operator in the graph of torch.compile."""
    policy = _core.policy_code(on_failure)
    spec = f"({solver!r}, {policy}, {factored}, {[(k, v) for k, v in settings.items()]!r})"
    *outputs, state = torch.ops.bpqp.solve(*slots, spec)
    ok = state[:, -1] != 0
    if batch is None:
        outputs, ok = [v[0] for v in outputs], ok[0]
    x, y, z, z_box, objective = outputs
    return Solution(x, y, z, z_box, objective, ok, None) if full else x


@overload
def solve_qp(
    P: Quadratic | None,
    q: torch.Tensor,
    G: TensorLike | None = None,
    h: TensorLike | None = None,
    A: TensorLike | None = None,
    b: TensorLike | None = None,
    lb: TensorLike | None = None,
    ub: TensorLike | None = None,
    *,
    full: Literal[False] = False,
    solver: str = "auto",
    warm_start: WarmStart | None = None,
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> torch.Tensor: ...


@overload
def solve_qp(
    P: Quadratic | None,
    q: torch.Tensor,
    G: TensorLike | None = None,
    h: TensorLike | None = None,
    A: TensorLike | None = None,
    b: TensorLike | None = None,
    lb: TensorLike | None = None,
    ub: TensorLike | None = None,
    *,
    full: Literal[True],
    solver: str = "auto",
    warm_start: WarmStart | None = None,
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> Solution: ...


def solve_qp(
    P: Quadratic | None,
    q: torch.Tensor,
    G: TensorLike | None = None,
    h: TensorLike | None = None,
    A: TensorLike | None = None,
    b: TensorLike | None = None,
    lb: TensorLike | None = None,
    ub: TensorLike | None = None,
    *,
    full: bool = False,
    solver: str = "auto",
    warm_start: WarmStart | None = None,
    on_failure: OnFailure = "raise",
    **settings: Unpack[Settings],
) -> Any:
    """The minimizer of `1/2 x'P x + q'x  s.t.  G x <= h, A x = b, lb <= x <= ub`, differentiable in all its arguments.

    Any argument may carry a batch dimension first; those that do not are shared by the batch, and their gradient is the
    sum. `P` may be None (a linear program) or `Factored(d, F)`. First and second derivatives, in reverse and forward
    mode, and the transforms of torch.func. A CUDA tensor is solved on the CPU and comes back.

    Args:
        P, q, G, h, A, b, lb, ub: tensors in the shapes of `bpqp.solve_qp`, on one device; `q`, float32 or float64,
            decides dtype and device. P, G and A may be sparse, COO, CSR or CSC, and shared by a batch: their gradients
            live on their entries; or constants of scipy.sparse.
        full: return a `Solution` with the multipliers and the objective, differentiable too, `ok` and `status`.
        solver, warm_start, on_failure, settings: as for `bpqp.solve_qp`.

    Returns:
        `x`, of shape (n,) or (batch, n); or a `Solution`.

    Raises:
        ArgumentError, DtypeError, SolveError: as `bpqp.solve_qp`.
        UnsupportedError: third derivatives, or second ones with `smoothing`.
    """
    theirs = _core.by_qpsolvers(solver)
    if warm_start is None and not theirs and _eager.applies():
        out = _eager.solve((P, q, G, h, A, b, lb, ub), solver, settings, on_failure, full)
        if out is not None:
            return out
    if _products.known(P) or _products.known(G) or _products.known(A):
        return _by_products((P, q, G, h, A, b, lb, ub), full, solver, warm_start, on_failure, settings)
    if sparse(P) or sparse(G) or sparse(A):
        return _outside((P, q, G, h, A, b, lb, ub), full, solver, warm_start, on_failure, settings)
    slots, factored, batch, _ = collect(P, q, G, h, A, b, lb, ub)
    if torch.compiler.is_compiling() and solver in _bpqp.SOLVERS and warm_start is None:
        return compiled(slots, factored, batch, solver, on_failure, settings, full)
    ours = {k: v for k, v in settings.items() if k in OURS} if theirs else settings
    numbers = (batch or 1) * q.shape[-1] ** 2
    prepared = _core.kept_engine("auto" if theirs else solver, ours, q.dtype == torch.float32, numbers)
    warm = start_of(warm_start)
    return run(
        slots,
        factored,
        batch,
        engine=prepared,
        solver=solver,
        settings=settings,
        on_failure=on_failure,
        warm=warm,
        full=full,
    )[0]


def start_of(warm_start: Any) -> Any:
    """Where to start: `(x, y, z, z_box)` with a row for each element."""
    if warm_start is None:
        return None
    given = warm_start if isinstance(warm_start, dict) else {k: getattr(warm_start, k, None) for k in _core.OUTPUTS}
    for name in _core.OUTPUTS:
        if given.get(name) is None:
            raise ArgumentError(f"warm_start has no {name}: pass a solution, or a dict with x, y, z and z_box")
    return tuple(np.atleast_2d(numpy_of(torch.as_tensor(given[name]))) for name in _core.OUTPUTS)


def _with_patterns(values: Any, full: bool, solver: str, warm_start: Any, on_failure: str, settings: Any) -> Any:
    data = collect(*values)
    if data.patterns:
        return run_sparse(data, solver, on_failure, settings, start_of(warm_start), full)[0]
    # they had no rows
    P, q, G, h, A, b, lb, ub = values
    G, h = (None, None) if sparse(G) else (G, h)
    A, b = (None, None) if sparse(A) else (A, b)
    again: Any = solve_qp
    return again(
        P, q, G, h, A, b, lb, ub, full=full, solver=solver, warm_start=warm_start, on_failure=on_failure, **settings
    )


_by_products: Any = torch.compiler.disable(_products.solve)  # type: ignore[no-untyped-call]
# sparse tensors stay outside of the graph of torch.compile
_outside: Any = torch.compiler.disable(_with_patterns)  # type: ignore[no-untyped-call]
