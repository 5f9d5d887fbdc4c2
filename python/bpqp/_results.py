"""What a solution tells besides itself: gradients, tangents, diagnostics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from ._types import Array, Certificate, MatrixGradient, Number, QuadraticGradient, Word, Words


@dataclass(slots=True)
class Gradients:
    """Gradients with respect to the eight arguments; None where not asked for or absent.

    `verdict` says how far they may be trusted: a string, or an array of one for each element of a batch.
    """

    P: QuadraticGradient | None = None
    q: Array | None = None
    G: MatrixGradient | None = None
    h: Array | None = None
    A: MatrixGradient | None = None
    b: Array | None = None
    lb: Array | None = None
    ub: Array | None = None
    verdict: Word | None = None


@dataclass(slots=True)
class Tangents:
    """The change of the outputs along a direction of the data, and its `verdict`."""

    x: Array
    y: Array
    z: Array
    z_box: Array
    objective: Number
    verdict: Word | None = None


@dataclass(slots=True)
class ConicGradients:
    """Gradients with respect to the six arguments of a cone program; None where not asked for or absent; `verdict`."""

    P: QuadraticGradient | None = None
    q: Array | None = None
    A: MatrixGradient | None = None
    b: Array | None = None
    lb: Array | None = None
    ub: Array | None = None
    verdict: Word | None = None


@dataclass(slots=True)
class ConicTangents:
    """The change of the outputs of a cone program along a direction of the data, and its `verdict`."""

    x: Array
    s: Array
    y: Array
    z_box: Array
    objective: Number
    verdict: Word | None = None


@dataclass(slots=True)
class Active:
    """Which inequality rows and bounds are active: boolean arrays of the shapes of `h`, `lb` and `ub`."""

    G: npt.NDArray[np.bool_]
    lb: npt.NDArray[np.bool_]
    ub: npt.NDArray[np.bool_]


@dataclass(slots=True)
class ConicActive:
    """What is active of a cone program: boolean arrays for the rows of `A` and the bounds, and where each cone is.

    `rows` is True where the slack is held at 0, and for every row of a curved cone that is not in its interior; `cones`
    has "interior", "boundary" or "apex" for each cone (of linear rows: none, some or all of them active). Of what is
    weakly active, `cones` is boolean too.
    """

    rows: npt.NDArray[np.bool_]
    cones: npt.NDArray[np.str_] | npt.NDArray[np.bool_]
    lb: npt.NDArray[np.bool_]
    ub: npt.NDArray[np.bool_]


@dataclass(slots=True)
class Diagnostics:
    """What may be trusted, in numbers. One entry per element of a batch.

    `condition` estimates the condition of the backward system (NaN where it had to be regularized or is not known),
    `regularization` is the relative residual that regularizing it left, `moved` how far the polish moved `x`.
    """

    active: Active | ConicActive
    weakly_active: Active | ConicActive
    residuals: dict[str, Number]
    condition: Number
    regularization: Number
    moved: Number
    verdict: Word


@dataclass(slots=True)
class Shift:
    """By how much rows were shifted where the constraints contradict each other: `A x = b + A`, `G x <= h + G`.

    Zeros where none was; see `infeasible` of `bpqp.solve_qp`.
    """

    A: Array
    G: Array


@dataclass(slots=True)
class Info:
    """How a solution was found; lists or arrays for a batch."""

    solver: Words
    iterations: int | npt.NDArray[np.int_]
    time: Number
    certificate: Certificate | Sequence[Certificate | None] | None


class CheckedBlock(TypedDict):
    """One row of a `GradientReport`."""

    block: str
    entries: int
    checked: int
    worst: float
    at: str
    analytic: float
    numeric: float
    kinks: int


@dataclass(slots=True)
class GradientReport:
    """The analytic gradient against central differences: the worst relative error, and one row per block."""

    worst: float
    table: list[CheckedBlock]
    text: str = field(repr=False, default="")

    def __str__(self) -> str:
        return self.text
