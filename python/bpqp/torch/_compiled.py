"""The solve as an operator that torch.compile leaves whole. First derivatives in reverse mode."""

# no postponed annotations: the schema of an operator is read from them, and the oldest torch knows only these names
import ast
from functools import lru_cache
from typing import Any, List, Optional  # noqa: UP035

import numpy as np
import torch
from torch import Tensor

from .. import _core
from .._errors import UnsupportedError
from ._functions import like, numpy_of, shared
from ._qp import QpCall

Slot = Optional[Tensor]  # noqa: UP045
Flags = List[bool]  # noqa: UP006
Tensors = List[Tensor]  # noqa: UP006


@lru_cache(maxsize=64)
def _prepared(spec: str, single: bool) -> tuple[Any, int, bool, dict[str, Any]]:
    solver, policy, factored, settings = ast.literal_eval(spec)
    dtype = np.dtype(np.float32 if single else np.float64)
    return _core.engine(solver, dict(settings), dtype), policy, factored, dict(settings)


def _call(spec: str, data: Any) -> QpCall:
    engine, policy, factored, settings = _prepared(spec, data[2].dtype == torch.float32)
    call = QpCall(1, factored, policy, engine, "", settings)
    sizes = [v.shape[0] for v, r in zip(data, call.ranks, strict=True) if v is not None and v.dim() > r]
    call.size = sizes[0] if sizes else 1
    return call


@torch.library.custom_op("bpqp::solve", mutates_args=())
def solve(
    P: Slot, F: Slot, q: Tensor, G: Slot, h: Slot, A: Slot, b: Slot, lb: Slot, ub: Slot, spec: str
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The outputs and the state."""
    data = (P, F, q, G, h, A, b, lb, ub)
    call = _call(spec, data)
    solved = call.run(data)
    x, y, z, z_box, objective = like(q, solved.outputs(call.policy != 2))
    return x, y, z, z_box, objective, torch.from_numpy(solved.state()).to(q.device)


@solve.register_fake
def _(P: Slot, F: Slot, q: Tensor, G: Slot, h: Slot, A: Slot, b: Slot, lb: Slot, ub: Slot, spec: str) -> Any:
    size = _call(spec, (P, F, q, G, h, A, b, lb, ub)).size
    n, mi, m = (0 if v is None else v.shape[-1] for v in (q, h, b))
    state = torch.empty(size, 4 * n + m + 3 * mi + 1, dtype=torch.float64, device=q.device)
    return *(q.new_empty(size, width) for width in (n, m, mi, n)), q.new_empty(size), state


@torch.library.custom_op("bpqp::vjp", mutates_args=())
def gradient(
    P: Slot,
    F: Slot,
    q: Tensor,
    G: Slot,
    h: Slot,
    A: Slot,
    b: Slot,
    lb: Slot,
    ub: Slot,
    state: Tensor,
    x: Slot,
    y: Slot,
    z: Slot,
    z_box: Slot,
    objective: Slot,
    needs: Flags,
    spec: str,
) -> Tensors:
    """The gradients that are needed."""
    data = (P, F, q, G, h, A, b, lb, ub)
    call = _call(spec, data)
    solved = call.engine.restore(call.eight(data), numpy_of(state))
    rows = tuple(numpy_of(c) for c in (x, y, z, z_box, objective))

    def derive(ask: Any, total: Any) -> Any:
        return solved.vjp(rows, ask, total, call.policy)

    return list(call.gradients(data, needs, shared(call, data), derive))


@gradient.register_fake
def _(
    P: Slot,
    F: Slot,
    q: Tensor,
    G: Slot,
    h: Slot,
    A: Slot,
    b: Slot,
    lb: Slot,
    ub: Slot,
    state: Tensor,
    x: Slot,
    y: Slot,
    z: Slot,
    z_box: Slot,
    objective: Slot,
    needs: Flags,
    spec: str,
) -> Any:
    data = (P, F, q, G, h, A, b, lb, ub)
    return [torch.empty_like(v, memory_format=torch.contiguous_format) for v, n in zip(data, needs, strict=True) if n]


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.spec = inputs[9]
    ctx.save_for_backward(*inputs[:9], output[5])


def _backward(ctx: Any, *cotangents: Any) -> Any:
    *data, state = ctx.saved_tensors
    needs = [bool(n) and d is not None for n, d in zip(ctx.needs_input_grad[:9], data, strict=True)]
    left = iter(gradient(*data, state, *cotangents[:5], needs, ctx.spec))
    return (*(next(left) if n else None for n in needs), None)


solve.register_autograd(_backward, setup_context=_setup)


def _second(ctx: Any, *_: Any) -> Any:
    raise UnsupportedError(
        "second derivatives under torch.compile are not supported: "
        "call bpqp.torch.solve_qp outside of the compiled function, or use torch.func without torch.compile"
    )


gradient.register_autograd(_second)
