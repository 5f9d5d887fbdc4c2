"""A cone program whose patterns are fixed: what prepares, solves and restores."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from . import _bpqp
from ._conic_data import NAMES, Cone, Pattern
from ._engines import call, options
from ._errors import ArgumentError, Error
from ._verdicts import choice_of

_LARGE = 1 << 20
_KEPT = 8
_local = threading.local()


def kept_program(
    structure: Any,
    numbers: int,
    patterns: tuple[Pattern | None, Pattern],
    shape: tuple[int, int],
    cones: Sequence[Cone],
    solver: str,
    settings: Mapping[str, Any],
) -> Program:
    """A program of this structure that this thread keeps for problems to come: making one costs more than a solve.

    It holds on to the last problem, so data of many `numbers` get a program of their own, and only a few are kept.
    """
    key: Any = (structure, tuple(cones), solver, *((name, type(value), value) for name, value in settings.items()))
    known: dict[Any, Program] = _local.__dict__.setdefault("programs", {})
    try:
        found = known.get(key)
    except TypeError:  # a setting that is not hashable is not a valid one either
        found = None
        numbers = _LARGE + 1
    if found is None or numbers > _LARGE:
        found = Program(*patterns, shape, cones, solver, settings)
        if numbers <= _LARGE:
            if len(known) >= _KEPT:
                known.pop(next(iter(known)))
            known[key] = found
    return found


class Program:
    """A cone program whose patterns are fixed; values come with every solve, shared (one axis) or batched (two).

    Kept between solves: the symbolic analysis, one workspace for each thread, and the factorizations of what did not
    change.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "engine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        checked = options(self.solver, self.settings)
        self.engine = _bpqp.ConicEngine(self.pattern_P, self.pattern_A, self.shape, self.cones, checked)

    def __init__(
        self,
        P: Pattern | None,
        A: Pattern,
        shape: tuple[int, int],
        cones: Sequence[Cone],
        solver: str = "auto",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.pattern_P, self.pattern_A, self.shape, self.cones = P, A, shape, list(cones)
        self.solver, self.settings = solver, dict(settings or {})
        self.on_untrusted = choice_of(self.settings)
        checked = options(solver, self.settings)
        kinds = {c[0] for c in self.cones if c[0] != "psd" or c[1] > 1}
        # beside these only Clarabel has semidefinite cones, in its own wheel
        other = not kinds.isdisjoint(("exp", "pow", "dual_exp", "dual_pow"))
        self.wheel = "psd" in kinds and (other or solver == "clarabel")
        if self.wheel and solver not in ("auto", "clarabel"):
            raise ArgumentError(
                f"solver = {solver!r}: semidefinite cones beside exponential or power cones are solved by 'clarabel' "
                "(or 'auto')"
            )
        try:
            self.engine = _bpqp.ConicEngine(P, A, shape, self.cones, checked)
        except Error:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(f"settings {checked}: {error}") from error

    def solve(self, data: tuple[Any, ...], size: int, warm: Any = None) -> _bpqp.ConicSolved:
        """Solves for the values `(P, q, A, b, lb, ub)`, each shared or with `size` rows, from `(x, s, y, z_box)`."""
        data = (*data, *(None,) * (len(NAMES) - len(data)))
        if not self.wheel:
            return call(self.engine.solve, data, size, warm)  # type: ignore[no-any-return]
        from ._clarabel import solve_each

        return call(self.engine.given, data, *solve_each(self, data, size))  # type: ignore[no-any-return]

    def restore(self, data: tuple[Any, ...], state: Any) -> _bpqp.ConicSolved:
        """Solutions from their rows of `ConicSolved.state`."""
        data = (*data, *(None,) * (len(NAMES) - len(data)))
        return self.engine.restore(data, state)
