"""A quadratic program with sparse matrices as an operator on a flat batch of NumPy arrays, for torch and JAX.

The data are slots: P (or d and F of a factored one), q, G, h, A, b, lb, ub, of which only q has to be there. The slot
of a sparse matrix has the values of its entries. A slot with one dimension more than its rank has one value for every
element of the batch; others are shared, and their gradients are sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from . import _bpqp
from ._arguments import NAMES, Problem
from ._conic_operator import Arrays, Shapes, rows_of
from ._engines import OURS, by_qpsolvers, call, kept_engine, policy_code
from ._errors import ArgumentError
from ._outcome import raise_failures, report
from ._pattern import Pattern
from ._qpsolvers import solve_with
from ._verdicts import choice_of, judge

RANKS = {"P": 2, "P.d": 1, "P.F": 2, "q": 1, "G": 2, "h": 1, "A": 2, "b": 1, "lb": 1, "ub": 1}
Patterns = tuple[tuple[str, Pattern], ...]


class QpOperator:
    """A quadratic program with the shapes of its slots, a solver and a policy for failures."""

    output_ranks = (1, 1, 1, 1, 0)

    def __init__(
        self, shapes: Shapes, patterns: Patterns, solver: str, on_failure: str, settings: dict[str, Any]
    ) -> None:
        self.policy = policy_code(on_failure)
        self.names = tuple(name for name, _ in shapes)
        self.patterns = dict(patterns)
        self.shapes = [(self.patterns[name].count,) if name in self.patterns else shape for name, shape in shapes]
        self.ranks = tuple(1 if name in self.patterns else RANKS[name] for name in self.names)
        self.solver, self.settings, self.on_untrusted = solver, settings, choice_of(settings)
        found = dict(shapes)
        n, h, b = found["q"][0], found.get("h", ()), found.get("b", ())
        wanted = {"P": (n, n), "P.d": (n,), "P.F": (n, *found.get("P.F", (n, 0))[1:]), "h": h, "b": b}
        wanted |= {"G": (*h, n), "A": (*b, n)}
        for name, shape in found.items():
            expected = wanted.get(name, (n,))
            if shape != expected:
                advice = "q has one entry per variable, h and b one per row of G and A"
                raise ArgumentError(f"{name} has shape {shape}, expected {expected}: {advice}")
        self.widths = n, (b or (0,))[0], (h or (0,))[0]
        n, m, mi = self.widths
        self.output_shapes = [(n,), (m,), (mi,), (n,), ()]

    @property
    def state_size(self) -> int:
        """Numbers in a row of the state."""
        n, m, mi = self.widths
        return 4 * n + m + 3 * mi + 1

    def _engine(self, single: bool) -> _bpqp.Engine:
        theirs = by_qpsolvers(self.solver)
        ours = {k: v for k, v in self.settings.items() if k in OURS} if theirs else self.settings
        return kept_engine("auto" if theirs else self.solver, ours, single, self.state_size)

    def _eight(self, values: Arrays) -> tuple[Any, ...]:
        given = dict(zip(self.names, values, strict=True))
        for name, pattern in self.patterns.items():
            given[name] = pattern.block(given[name])
        if "P.d" in given and not (given["P.d"] is None and given["P.F"] is None):
            shapes = dict(zip(self.names, self.shapes, strict=True))
            parts = (given[name] for name in ("P.d", "P.F"))
            given["P"] = tuple(
                np.zeros(shapes[name]) if v is None else np.ascontiguousarray(v, dtype=np.float64)
                for name, v in zip(("P.d", "P.F"), parts, strict=True)
            )
        eight = (given.get(name) for name in NAMES)
        whole = tuple(v if v is None or isinstance(v, tuple) else np.ascontiguousarray(v, np.float64) for v in eight)
        return whole

    def solve(
        self, values: Arrays, size: int, warm: Any = None, single: bool = False
    ) -> tuple[_bpqp.Solved, list[Any]]:
        """The solutions and `(x, y, z, z_box, objective)` of every element; failures are raised by policy."""
        eight = self._eight(values)
        solved: _bpqp.Solved
        if by_qpsolvers(self.solver):
            slots = dict(zip(self.names, zip(values, self.ranks, strict=True), strict=True))
            apart = {name for name, (value, rank) in slots.items() if value is not None and value.ndim > rank}
            shared = tuple(name not in apart and not (name == "P" and apart & {"P.d", "P.F"}) for name in NAMES)
            problem = Problem(eight, shared, size, np.dtype(np.float64), (None,) * 8)
            solved = solve_with(self.solver.partition(":")[2], problem, self.settings)
        else:
            solved = call(self._engine(single).solve, eight, warm)
        if self.settings.get("verbose"):
            report(solved)
        if self.policy == 0:
            raise_failures(solved)
        return solved, list(solved.outputs(self.policy != 2))

    def restore(self, values: Arrays, state: Any) -> _bpqp.Solved:
        """Solutions from their state."""
        return self._engine(False).restore(self._eight(values), np.ascontiguousarray(state))

    def vjp(self, solved: _bpqp.Solved, cotangents: Arrays, needs: Sequence[bool], summed: Sequence[bool]) -> list[Any]:
        """The gradients that are needed; those marked in `summed` are sums over the batch."""
        rows = rows_of(cotangents)
        return self._gradients(needs, summed, lambda ask, total: solved.vjp(rows, ask, total, self.policy))

    def second_vjp(
        self, solved: _bpqp.Solved, cotangents: Arrays, along: Arrays, needs: Sequence[bool], summed: Sequence[bool]
    ) -> list[Any]:
        """Their derivatives along a direction of the data, the cotangents held."""
        rows, direction = rows_of(cotangents), self._eight(along)

        def derive(ask: Any, total: Any) -> Any:
            return solved.second_vjp(rows, direction, ask, total, self.policy)

        return self._gradients(needs, summed, derive)

    def _gradients(self, needs: Sequence[bool], summed: Sequence[bool], derive: Callable[[Any, Any], Any]) -> list[Any]:
        need, total = (dict(zip(self.names, flags, strict=True)) for flags in (needs, summed))
        ask = [need.get(name, False) for name in NAMES]
        ask[0] = ask[0] or need.get("P.d", False) or need.get("P.F", False)
        first = total.get("P", True)
        sums = [total.get("P.d", first), total.get("P.F", first), *(total.get(name, True) for name in NAMES[1:])]
        *values, codes = derive(ask, sums)
        judge(codes, self.on_untrusted)
        found = dict(zip(NAMES, values, strict=True))
        if isinstance(found["P"], tuple):
            found["P.d"], found["P.F"] = found["P"]
        for name, pattern in self.patterns.items():
            if need[name]:
                found[name] = pattern.gather(found[name])
        return [found[name] for name in self.names if need[name]]

    def jvp(self, solved: _bpqp.Solved, tangents: Arrays) -> list[Any]:
        """The change of the outputs along a direction; None stands for zeros."""
        return self._moved(solved.jvp(self._eight(tangents), self.policy))

    def second_jvp(self, solved: _bpqp.Solved, tangents: Arrays, along: Arrays) -> list[Any]:
        """Its derivative along another direction."""
        return self._moved(solved.second_jvp(self._eight(tangents), self._eight(along), self.policy))

    def _moved(self, found: Any) -> list[Any]:
        *moved, codes = found
        judge(codes, self.on_untrusted)
        return list(moved)


@lru_cache(maxsize=8)
def _kept(
    shapes: Shapes, patterns: Patterns, solver: str, on_failure: str, settings: tuple[tuple[str, type, Any], ...]
) -> QpOperator:
    return QpOperator(shapes, patterns, solver, on_failure, {name: value for name, _, value in settings})


def qp_operator_for(
    shapes: Shapes, patterns: dict[str, Pattern], solver: str, on_failure: str, settings: Any
) -> QpOperator:
    """The operator for these shapes, patterns and settings."""
    chosen = tuple((name, type(settings[name]), settings[name]) for name in sorted(settings))
    own = tuple(patterns.items())
    try:
        return _kept(shapes, own, solver, on_failure, chosen)
    except TypeError:  # what cannot be hashed is no setting: it is refused by name
        return QpOperator(shapes, own, solver, on_failure, dict(settings))
