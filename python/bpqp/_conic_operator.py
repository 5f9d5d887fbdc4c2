"""A cone program as an operator on a flat batch of NumPy arrays, for the shells of torch and JAX.

The data are slots: P (or d and F of a factored one), q, A, b, lb, ub, of which P, lb and ub may be absent. The slot of
a sparse matrix has the values of its entries. A slot with one dimension more than its rank has one value for every
element of the batch; others are shared, and their gradients are sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from . import _bpqp
from ._conic_data import NAMES, Cone, full_pattern
from ._engines import policy_code
from ._errors import ArgumentError
from ._outcome import raise_failures, report
from ._pattern import Pattern
from ._program import Program
from ._verdicts import judge

Arrays = Sequence[Any]
SLOTS = ("P", "P.d", "P.F", "q", "A", "b", "lb", "ub")
RANKS = {"P": 2, "P.d": 1, "P.F": 2, "q": 1, "A": 2, "b": 1, "lb": 1, "ub": 1}
OUTPUT_RANKS = (1, 1, 1, 1, 0)
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Patterns = tuple[tuple[str, Pattern], ...]


def check_shapes(shapes: Shapes, rows: int) -> None:
    """Refuses shapes that do not fit, and cones that take another number of rows than there are."""
    found = dict(shapes)
    n, m = found["A"][1], found["A"][0]
    wanted = {"P": (n, n), "P.d": (n,), "P.F": (n, *found.get("P.F", (n, 0))[1:]), "q": (n,), "b": (m,)}
    for name, shape in shapes:
        expected = wanted.get(name, (m, n) if name == "A" else (n,))
        if shape != expected:
            advice = "A has one row per entry of b and one column per entry of q"
            raise ArgumentError(f"{name} has shape {shape}, expected {expected}: {advice}")
    if rows != m:
        raise ArgumentError(f"the cones take {rows} rows, but A has {m}: they take all of them, in order")


class ConicOperator:
    """A cone program with the shapes of its slots, a solver and a policy for failures."""

    output_ranks = OUTPUT_RANKS

    def __init__(
        self,
        shapes: Shapes,
        patterns: Patterns,
        cones: Sequence[Cone],
        solver: str,
        on_failure: str,
        settings: dict[str, Any],
    ) -> None:
        self.policy = policy_code(on_failure)
        self.names = tuple(name for name, _ in shapes)
        self.patterns = dict(patterns)
        self.shapes = [(self.patterns[name].count,) if name in self.patterns else shape for name, shape in shapes]
        self.ranks = tuple(1 if name in self.patterns else RANKS[name] for name in self.names)
        found = dict(shapes)
        m, n = found["A"]
        self.output_shapes = [(n,), (m,), (m,), (n,), ()]
        P = (found["P.F"][1],) if "P.F" in found else self._pattern("P", (n, n)) if "P" in found else None
        self.program = Program(P, self._pattern("A", (m, n)), (m, n), cones, solver, settings)

    @property
    def state_size(self) -> int:
        """Numbers in a row of the state."""
        m, n = self.program.shape
        return 2 * (n + m) + 1

    def _pattern(self, name: str, shape: tuple[int, int]) -> tuple[Any, Any]:
        own = self.patterns.get(name)
        return full_pattern(*shape) if own is None else (own.indptr, own.indices)

    def _blocks(self, values: Arrays) -> tuple[Any, ...]:
        """`(P, q, A, b, lb, ub)` as the extension takes them; None stands for absent or zero."""
        given = dict(zip(self.names, values, strict=True))
        if "P.d" in given:
            given["P"] = self._factored(given["P.d"], given["P.F"])
        for name in ("P", "A"):
            value = given.get(name)
            if value is not None and not (name == "P" and "P.d" in given):
                own = self.patterns.get(name)
                given[name] = _columns(value) if own is None else own.columns(value)
        blocks = (given.get(name) for name in NAMES)
        return tuple(None if v is None else np.ascontiguousarray(v, dtype=np.float64) for v in blocks)

    def _factored(self, d: Any, F: Any) -> Any:
        if d is None and F is None:
            return None
        shapes = dict(zip(self.names, self.shapes, strict=True))
        d = np.zeros(shapes["P.d"]) if d is None else d
        columns = _columns(np.zeros(shapes["P.F"]) if F is None else F)
        lead = d.shape[:-1] or columns.shape[:-1]
        return np.concatenate([np.broadcast_to(v, (*lead, v.shape[-1])) for v in (d, columns)], axis=-1)

    def solve(
        self, values: Arrays, size: int, warm: Any = None, single: bool = False
    ) -> tuple[_bpqp.ConicSolved, list[Any]]:
        """The solutions and `(x, s, y, z_box, objective)` of every element; failures are raised by policy."""
        solved = self.program.solve(self._blocks(values), size, warm)
        if self.program.settings.get("verbose"):
            report(solved)
        if self.policy == 0:
            raise_failures(solved)
        return solved, list(solved.outputs(self.policy != 2))

    def restore(self, values: Arrays, state: Any) -> _bpqp.ConicSolved:
        """Solutions from their state."""
        return self.program.restore(self._blocks(values), np.ascontiguousarray(state))

    def vjp(
        self, solved: _bpqp.ConicSolved, cotangents: Arrays, needs: Sequence[bool], summed: Sequence[bool]
    ) -> list[Any]:
        """The gradients that are needed; those marked in `summed` are sums over the batch."""
        rows = rows_of(cotangents)
        return self._gradients(needs, summed, lambda ask, total: solved.vjp(rows, ask, total, self.policy))

    def second_vjp(
        self,
        solved: _bpqp.ConicSolved,
        cotangents: Arrays,
        along: Arrays,
        needs: Sequence[bool],
        summed: Sequence[bool],
    ) -> list[Any]:
        """Their derivatives along a direction of the data, the cotangents held."""
        rows, direction = rows_of(cotangents), self._blocks(along)

        def derive(ask: Any, total: Any) -> Any:
            return solved.second_vjp(rows, direction, ask, total, self.policy)

        return self._gradients(needs, summed, derive)

    def _gradients(self, needs: Sequence[bool], summed: Sequence[bool], derive: Callable[[Any, Any], Any]) -> list[Any]:
        need, total = (dict(zip(self.names, flags, strict=True)) for flags in (needs, summed))
        factored = "P.d" in need
        ask = [need.get(name, False) for name in NAMES]
        sums = [total.get(name, True) for name in NAMES]
        if factored:
            ask[0] = need["P.d"] or need["P.F"]
            sums[0] = total["P.d"] and total["P.F"]
        *values, codes = derive(ask, sums)
        judge(codes, self.program.on_untrusted)
        found = dict(zip(NAMES, values, strict=True))
        shapes = dict(zip(self.names, self.shapes, strict=True))
        if factored and ask[0]:
            n = shapes["P.d"][0]
            for name, part in (("P.d", found["P"][..., :n]), ("P.F", found["P"][..., n:])):
                # d and F may be batched apart; the one that is shared gets its sum
                found[name] = part.sum(0) if total[name] and part.ndim > 1 else part
        out = []
        for name in self.names:
            if need[name]:
                value = found[name]
                if name in self.patterns:
                    value = self.patterns[name].gather(value)
                elif RANKS[name] == 2:
                    rows, cols = shapes[name]
                    value = np.swapaxes(value.reshape(*value.shape[:-1], cols, rows), -1, -2)
                out.append(np.ascontiguousarray(value))
        return out

    def jvp(self, solved: _bpqp.ConicSolved, tangents: Arrays) -> list[Any]:
        """The change of the outputs along a direction; None stands for zeros."""
        return self._moved(solved.jvp(self._blocks(tangents), self.policy))

    def second_jvp(self, solved: _bpqp.ConicSolved, tangents: Arrays, along: Arrays) -> list[Any]:
        """Its derivative along another direction."""
        return self._moved(solved.second_jvp(self._blocks(tangents), self._blocks(along), self.policy))

    def _moved(self, found: Any) -> list[Any]:
        *moved, codes = found
        judge(codes, self.program.on_untrusted)
        return list(moved)


def rows_of(cotangents: Arrays) -> Any:
    return tuple(None if c is None else np.asarray(c, dtype=np.float64, order="C") for c in cotangents)


def _columns(value: Any) -> Any:
    """A matrix, or a batch of them, by columns."""
    return np.ascontiguousarray(np.swapaxes(value, -1, -2)).reshape(*value.shape[:-2], -1)


@lru_cache(maxsize=8)
def _kept(
    shapes: Shapes,
    patterns: Patterns,
    cones: tuple[Cone, ...],
    solver: str,
    on_failure: str,
    settings: tuple[tuple[str, type, Any], ...],
) -> ConicOperator:
    return ConicOperator(shapes, patterns, cones, solver, on_failure, {name: value for name, _, value in settings})


def operator_for(
    shapes: Shapes,
    patterns: dict[str, Pattern],
    cones: Sequence[Cone],
    solver: str,
    on_failure: str,
    settings: Any,
) -> ConicOperator:
    """The operator for these shapes and settings: what was analysed is kept between calls."""
    chosen = tuple((name, type(settings[name]), settings[name]) for name in sorted(settings))
    own = tuple(patterns.items())
    try:
        return _kept(shapes, own, tuple(cones), solver, on_failure, chosen)
    except TypeError:  # what cannot be hashed is no setting: it is refused by name
        return ConicOperator(shapes, own, cones, solver, on_failure, dict(settings))
