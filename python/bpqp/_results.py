"""What a solution tells besides itself: gradients, tangents, diagnostics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Gradients:
    """Gradients with respect to the eight arguments; None where not asked for or absent."""

    P: Any = None
    q: Any = None
    G: Any = None
    h: Any = None
    A: Any = None
    b: Any = None
    lb: Any = None
    ub: Any = None


@dataclass(slots=True)
class Tangents:
    """The change of the outputs along a direction of the data."""

    x: Any
    y: Any
    z: Any
    z_box: Any
    objective: Any


@dataclass(slots=True)
class Active:
    """Which inequality rows and bounds are active: boolean arrays of the shapes of `h`, `lb` and `ub`."""

    G: Any
    lb: Any
    ub: Any


@dataclass(slots=True)
class Diagnostics:
    """What may be trusted, in numbers. One entry per element of a batch.

    `condition` estimates the condition of the backward system (NaN where it had to be regularized or is not known),
    `regularization` is the relative residual that regularizing it left, `moved` how far the polish moved `x`.
    """

    active: Active
    weakly_active: Active
    residuals: dict[str, Any]
    condition: Any
    regularization: Any
    moved: Any
    verdict: Any


@dataclass(slots=True)
class Info:
    """How a solution was found; lists or arrays for a batch."""

    solver: Any
    iterations: Any
    time: Any
    certificate: Any


@dataclass(slots=True)
class GradientReport:
    """The analytic gradient against central differences: the worst relative error, and one row per block."""

    worst: float
    table: list[dict[str, Any]]
    text: str = field(repr=False, default="")

    def __str__(self) -> str:
        return self.text
