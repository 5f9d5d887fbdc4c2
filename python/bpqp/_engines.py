"""Settings, and the prepared state that they are for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _bpqp
from ._errors import ArgumentError, Error
from ._verdicts import check_choice

POLICIES = {"raise": 0, "nan": 1, "zero_grad": 2}
SETTINGS = (
    *("eps_abs", "eps_rel", "max_iter", "time_limit", "backward", "smoothing", "threads", "verbose", "polish"),
    *("on_untrusted", "infeasible", "presolve"),
)

# Settings that mean the backward pass where qpsolvers solves; everything else goes to the solver.
OURS = ("backward", "smoothing", "threads", "polish", "verbose", "on_untrusted", "infeasible")


def installed() -> list[str]:
    """The solvers that qpsolvers finds; none if it is not installed."""
    try:
        import qpsolvers
    except ImportError:
        return []
    return sorted(qpsolvers.available_solvers)


def check_solver(solver: Any, names: Any) -> None:
    """Refuses a solver that is none of `names`, with a word on the one that was meant."""
    if isinstance(solver, str) and solver in names:
        return
    named = solver.lower() if isinstance(solver, str) else ""
    if named in names:
        raise ArgumentError(f"solver = {solver!r}: did you mean {named!r}?")
    theirs = f"qpsolvers:{named}"
    if named in installed():
        raise ArgumentError(f"solver = {solver!r}: did you mean {theirs!r}? Native ones are {', '.join(names)}")
    raise ArgumentError(f"solver = {solver!r}: choose one of {', '.join(names)}, or 'qpsolvers:NAME'")


def by_qpsolvers(solver: Any) -> bool:
    """True for "qpsolvers:NAME"."""
    return isinstance(solver, str) and solver.startswith("qpsolvers:")


def options(solver: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the names of the settings; their values are checked where they are used."""
    for name in settings:
        if name not in SETTINGS:
            raise ArgumentError(f"there is no setting {name!r}: choose from {', '.join(SETTINGS)}")
    if not by_qpsolvers(solver):
        check_solver(solver, _bpqp.SOLVERS)
    out = {"solver": solver, **settings}
    out.pop("verbose", None)
    if out.pop("on_untrusted", None) is not None:
        check_choice(settings["on_untrusted"])
    if out.get("backward") is not None and out["backward"] not in ("direct", "first_order"):
        raise ArgumentError(f"backward = {out['backward']!r}: choose 'direct' or 'first_order'")
    return out


def call(function: Any, *args: Any) -> Any:
    """Calls into the extension; what it says of shapes is an error of this package."""
    try:
        return function(*args)
    except Error:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise ArgumentError(str(error)) from None


def policy_code(on_failure: str) -> int:
    """The number of a failure policy."""
    try:
        return POLICIES[on_failure]
    except (KeyError, TypeError):
        raise ArgumentError(f"on_failure = {on_failure!r}: choose 'raise', 'nan' or 'zero_grad'") from None


def engine(solver: str, settings: Mapping[str, Any], dtype: np.dtype[Any]) -> _bpqp.Engine:
    """Prepared state for problems to come."""
    checked = options(solver, settings)
    try:
        return _bpqp.Engine(checked, dtype == np.float32)
    except (TypeError, OverflowError, ValueError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"settings {checked}: {error}") from error


_LARGE = 1 << 20
_KEPT = 8
_local = threading.local()


def kept_engine(solver: str, settings: Mapping[str, Any], single: bool, numbers: int) -> _bpqp.Engine:
    """Prepared state that this thread keeps for problems to come: making its workspaces costs more than a small solve.

    It holds on to the last problem, so data of many `numbers` get an engine of their own, and only a few are kept.
    """
    key: Any = (solver, single)
    if settings:
        # True and 1 are equal, and not the same setting
        key = (solver, single, *settings.items(), *map(type, settings.values()))
    found: _bpqp.Engine | None
    try:
        found = _local.engines.get(key)
    except AttributeError:
        _local.engines = {}
        found = None
    except TypeError:  # a setting that is not hashable is not a valid one either
        found = None
    if found is None or numbers > _LARGE:
        found = engine(solver, settings, np.dtype(np.float32 if single else np.float64))
        if numbers <= _LARGE:
            if len(_local.engines) >= _KEPT:
                _local.engines.pop(next(iter(_local.engines)))
            _local.engines[key] = found
    return found
