"""Grids: what to generate where, what power costs at every bus, and how both move.

    case = bpqp.grid.read_case("pglib_opf_case118_ieee.m")
    found = bpqp.grid.dispatch(case, ac=True)
    found.cost, found.price                                # $/h, and $/MWh at every bus
    found.vjp(price=weights).load                          # a gradient by the loads of all buses

The linear power flow is a convex program, the full one (`ac=True`) a smooth one, whose solution is a local one. For
PyTorch: `bpqp.torch.DispatchLayer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _bpqp
from ._engines import POLICIES, policy_code
from ._errors import ArgumentError, SolveError
from ._nonlinear import checked_settings, code_of
from ._types import Array, OnFailure
from ._verdicts import check_choice, judge

__all__ = ["Case", "Dispatch", "DispatchGradients", "DispatchTangents", "case", "dispatch", "read_case"]

PARAMETERS = ("load", "reactive", "limit", "quadratic", "linear")
NUMBERS = (*PARAMETERS, "least", "most")
OUTPUTS = ("power", "reactive", "price", "voltage", "angle", "flow")


@dataclass(frozen=True)
class Case:
    """A grid, in the units of its file.

    `load` and `reactive` (MW, MVAr) and the numbers `bus` are those of the buses; `limit` (MVA, infinite without one)
    and `ends` (indices of two buses) of the branches; `quadratic` and `linear` (coefficients of P^2 and P, $/h with P
    in MW), the powers `least` and `most` and the index `generator_bus` of the generators that run.
    """

    bus: npt.NDArray[np.int64]
    generator_bus: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    load: Array
    reactive: Array
    limit: Array
    quadratic: Array
    linear: Array
    least: Array
    most: Array
    text: str = field(repr=False)
    _grid: _bpqp.Grid = field(repr=False, compare=False)

    def __reduce__(self) -> Any:
        return case, (self.text,)


def case(text: str) -> Case:
    """The grid of a text in MATPOWER's format, as those of PGLib."""
    grid = _bpqp.Grid(text)
    ids, generators, ends = grid.places()
    numbers = dict(zip(NUMBERS, grid.numbers(), strict=True))
    bus, own, pairs = (np.array(v, np.int64) for v in (ids, generators, np.reshape(ends, (-1, 2))))
    return Case(bus=bus, generator_bus=own, ends=pairs, **numbers, text=text, _grid=grid)


def read_case(path: str | PathLike[str]) -> Case:
    """The grid of a file in MATPOWER's format."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return case(file.read())


@dataclass(frozen=True)
class DispatchGradients:
    """Gradients by the parameters of a case, and the verdict on them."""

    load: Array
    reactive: Array
    limit: Array
    quadratic: Array
    linear: Array
    verdict: str


@dataclass(frozen=True)
class DispatchTangents:
    """The change of cost, powers and prices, and the verdict on it."""

    cost: float
    power: Array
    price: Array
    verdict: str


@dataclass(frozen=True)
class _Call:
    """What a solution follows from: numbers in the order of `PARAMETERS`, and where to start."""

    numbers: tuple[Array, ...]
    ac: bool
    settings: dict[str, Any]
    near: tuple[Array, Array, Array] | None

    def solve(self, case: Case) -> _bpqp.Dispatched:
        return case._grid.dispatch(self.numbers, self.ac, self.settings, self.near)


@dataclass(frozen=True)
class Dispatch:
    """A solved grid: `cost` ($/h), `power` of the generators (MW), `price` at every bus ($/MWh), `angle` (degrees).

    And the `flow` of power into every branch (MW); with the full power flow also `reactive` (MVAr) and `voltage`. NaN
    without a solution. Pickles keep all numbers; the first derivative of one that was read solves the grid again, from
    where it ended.
    """

    cost: float
    power: Array
    reactive: Array
    price: Array
    voltage: Array
    angle: Array
    flow: Array
    status: str
    ok: bool
    verdict: str
    iterations: int
    residual: float
    reason: str | None
    case: Case = field(repr=False)
    _call: _Call = field(repr=False)
    _on_untrusted: str = field(repr=False, default="warn")

    @cached_property
    def _solved(self) -> _bpqp.Dispatched:
        return self._call.solve(self.case)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_solved"}
        return {**state, "_call": replace(self._call, near=self._solved.point())}

    def vjp(self, cost: float = 0.0, power: Any = None, price: Any = None) -> DispatchGradients:
        """Gradients by loads, limits and costs, from derivatives by cost, powers and prices; None is 0."""
        rows = [_vector(n, v, self.case) for n, v in (("power", power), ("price", price))]
        parts, verdict = self._solved.vjp(float(cost), *rows)
        judge(np.array([code_of(verdict)], np.uint8), self._on_untrusted)
        return DispatchGradients(**dict(zip(PARAMETERS, parts, strict=True)), verdict=verdict)

    def jvp(self, **along: Any) -> DispatchTangents:
        """The change along a direction of load, reactive, limit, quadratic, linear; what is missing stays."""
        unknown = [name for name in along if name not in PARAMETERS]
        if unknown:
            raise ArgumentError(f"there is no parameter {unknown[0]!r}: choose from {', '.join(PARAMETERS)}")
        rows = tuple(_vector(name, along.get(name), self.case) for name in PARAMETERS)
        cost, (power, price), verdict = self._solved.jvp(rows)
        judge(np.array([code_of(verdict)], np.uint8), self._on_untrusted)
        return DispatchTangents(cost, power, price, verdict)


def _vector(name: str, value: Any, case: Case) -> Array:
    """One number for each entry of the part of a case, 0 for None; a number stands for all."""
    like = {"power": case.least, "price": case.load}.get(name)
    n = (getattr(case, name) if like is None else like).size
    array = np.asarray(0.0 if value is None else value, dtype=np.float64)
    if array.ndim > 1 or (array.ndim == 1 and array.size != n):
        raise ArgumentError(f"{name} has shape {array.shape}, expected ({n},)")
    return np.ascontiguousarray(np.broadcast_to(array, (n,)))


def request(case: Case, values: dict[str, Any], ac: bool, settings: dict[str, Any], near: Any = None) -> _Call:
    """With these parameters in the place of those of the case, from the solution `near` of the extension."""
    numbers = tuple(getattr(case, n) if values.get(n) is None else _vector(n, values[n], case) for n in PARAMETERS)
    return _Call(numbers, ac, settings, None if near is None else near.point())


def dispatch(
    case: Case,
    *,
    load: npt.ArrayLike | None = None,
    reactive: npt.ArrayLike | None = None,
    limit: npt.ArrayLike | None = None,
    quadratic: npt.ArrayLike | None = None,
    linear: npt.ArrayLike | None = None,
    ac: bool = False,
    near: Dispatch | None = None,
    on_failure: OnFailure = "raise",
    on_untrusted: str = "warn",
    **settings: Any,
) -> Dispatch:
    """The cheapest schedule that meets the loads, prices at every bus, and their derivatives.

    Args:
        load, reactive, limit, quadratic, linear: in the place of those of the case.
        ac: the full power flow, with losses, voltages and reactive power: a local solution.
        near: the solution of a similar case of this grid, to start from.
        on_failure: "raise" (`bpqp.SolveError`), "nan" or "zero_grad", which have NaN for numbers here.
        settings: eps_abs, eps_rel, max_iter, time_limit (seconds).
    """
    policy_code(on_failure)
    check_choice(on_untrusted)
    values = dict(zip(PARAMETERS, (load, reactive, limit, quadratic, linear), strict=True))
    asked = request(case, values, ac, checked_settings(settings), None if near is None else near._solved)
    found = asked.solve(case)
    status, ok, verdict, iterations, residual, cost, reason = found.outcome()
    if not ok and POLICIES[on_failure] == 0:
        raise SolveError(f"no schedule was found, status {status}" + (f": {reason}" if reason else ""), [(0, status)])
    outputs = dict(zip(OUTPUTS, found.outputs(), strict=True))
    made = Dispatch(
        cost=cost,
        **outputs,
        status=status,
        ok=ok,
        verdict=verdict,
        iterations=iterations,
        residual=residual,
        reason=reason,
        case=case,
        _call=asked,
        _on_untrusted=on_untrusted,
    )
    made.__dict__["_solved"] = found
    return made
