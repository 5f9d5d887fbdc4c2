"""The operations on the host: what runs outside of jit, and as callbacks where XLA cannot call the extension itself."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _bpqp, _core
from .._engines import OURS
from .._qpsolvers import solve_with
from .._verdicts import VERDICTS, choice_of, judge
from ._slots import Mask, split, spread

if TYPE_CHECKING:
    from ._spec import Spec

Settings = tuple[tuple[str, Any], ...]


@lru_cache(maxsize=64)
def engine(solver: str, settings: Settings, single: bool) -> _bpqp.Engine:
    """Prepared state for these settings; that of "qpsolvers:NAME" differentiates what was solved there."""
    dtype = np.dtype(np.float32 if single else np.float64)
    return _core.engine(*native(solver, settings), dtype)


def native(solver: str, settings: Settings) -> tuple[str, dict[str, Any]]:
    """Solver and settings of the extension."""
    if _core.by_qpsolvers(solver):
        return "auto", {k: v for k, v in settings if k in OURS}
    return solver, dict(settings)


def _prepared(spec: Spec) -> _bpqp.Engine:
    return engine(spec.solver, spec.settings, spec.dtype == np.float32)


def _f64(value: Any) -> Any:
    return None if value is None else np.ascontiguousarray(np.asarray(value), dtype=np.float64)


def _eight(spec: Spec, slots: Any) -> tuple[Any, ...]:
    p, factor, *rest = (_f64(s) for s in slots)
    if spec.factored and (p is not None or factor is not None):
        p = np.zeros(spec.shapes[0] or ()) if p is None else p
        factor = np.zeros(spec.shapes[1] or ()) if factor is None else factor
        return ((p, factor), *rest)
    return (p, *rest)


def _cast(spec: Spec, arrays: Any) -> list[Any]:
    return [np.asarray(a, dtype=spec.dtype) for a in arrays]


def _restore(spec: Spec, data: Any, state: Any) -> _bpqp.Solved:
    rows = np.ascontiguousarray(np.asarray(state)).view(np.float64)
    return _prepared(spec).restore(_eight(spec, data), rows)


def solve(*data: Any, spec: Spec) -> list[Any]:
    if _core.by_qpsolvers(spec.solver):
        # arrays of JAX are read-only, and not every solver takes that
        copies = [None if s is None else np.array(s, dtype=np.float64) for s in spread(spec.data_mask, data)]
        eight = _eight(spec, copies)
        shared = tuple(
            s is None or s.ndim == r for k, (s, r) in enumerate(zip(copies, spec.ranks, strict=True)) if k != 1
        )
        problem = _core.Problem(eight, shared, spec.size, spec.dtype, (None,) * 8)
        solved = solve_with(spec.solver.partition(":")[2], problem, dict(spec.settings))
    else:
        solved = _prepared(spec).solve(_eight(spec, spread(spec.data_mask, data)))
    if dict(spec.settings).get("verbose"):
        _core.report(solved)
    if spec.policy == 0 and not solved.all_ok():
        _core.raise_failures(solved)
    return [*_cast(spec, solved.outputs(spec.policy != 2)), solved.state().view(np.uint32), codes(solved, spec.examine)]


def codes(solved: _bpqp.Solved | _bpqp.ConicSolved, examine: bool) -> Any:
    """Status and iterations of each element, and its verdict if that is wanted."""
    found = solved.codes()
    if not examine:
        return found
    verdicts = [VERDICTS.index(verdict) for verdict, *_ in solved.examine()]
    return np.column_stack([found, np.array(verdicts, dtype=np.int32)])


def _judged(spec: Spec, found: Any) -> list[Any]:
    """What was found besides the verdicts, of which those in doubt are told."""
    values: list[Any]
    *values, verdicts = found
    judge(verdicts, choice_of(dict(spec.settings)))
    return values


def jvp(*args: Any, spec: Spec, tangents: Mask) -> list[Any]:
    data, state, t = split(spec, (tangents,), args)
    return _cast(spec, _judged(spec, _restore(spec, data, state).jvp(_eight(spec, t), spec.policy)))


def second_jvp(*args: Any, spec: Spec, tangents: Mask, along: Mask) -> list[Any]:
    data, state, t, d = split(spec, (tangents, along), args)
    found = _restore(spec, data, state).second_jvp(_eight(spec, t), _eight(spec, d), spec.policy)
    return _cast(spec, _judged(spec, found))


def _picked(spec: Spec, ask: Mask, found: Any) -> list[Any]:
    eight = _judged(spec, found)
    p = eight[0] if isinstance(eight[0], tuple) else (eight[0], None)
    return _cast(spec, [v for need, v in zip(ask, (*p, *eight[1:]), strict=True) if need])


def vjp(*args: Any, spec: Spec, cotangents: Mask, ask: Mask, summed: Mask) -> list[Any]:
    data, state, c = split(spec, (cotangents,), args)
    rows, blocks = tuple(_f64(v) for v in c), [ask[0] or ask[1], *ask[2:]]
    return _picked(spec, ask, _restore(spec, data, state).vjp(rows, blocks, summed, spec.policy))


def second_vjp(*args: Any, spec: Spec, cotangents: Mask, along: Mask, ask: Mask, summed: Mask) -> list[Any]:
    data, state, c, d = split(spec, (cotangents, along), args)
    rows, blocks = tuple(_f64(v) for v in c), [ask[0] or ask[1], *ask[2:]]
    solved = _restore(spec, data, state)
    return _picked(spec, ask, solved.second_vjp(rows, _eight(spec, d), blocks, summed, spec.policy))
