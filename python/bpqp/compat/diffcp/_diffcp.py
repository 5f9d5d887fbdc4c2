"""Of diffcp's compiled module what has a meaning of its own: the derivative of projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import cones as cone_lib
from .cones import Cone, ConeType

__all__ = ["Cone", "ConeType", "dprojection", "dprojection_dense", "in_exp", "in_exp_dual", "project_exp_cone"]


class _Operator:
    def __init__(self, projection: cone_lib.Projection) -> None:
        self.matvec = self.rmatvec = projection.derivative


def _projection(x: Any, cones: Sequence[Cone], dual: bool) -> cone_lib.Projection:
    return cone_lib.Projection(x, [(c.type.value, list(c.sizes)) for c in cones], dual)


def dprojection(x: Any, cones: Sequence[Cone], dual: bool) -> _Operator:
    """The derivative of the projection onto cones, or their duals, as an operator."""
    return _Operator(_projection(x, cones, dual))


def dprojection_dense(x: Any, cones: Sequence[Cone], dual: bool) -> Any:
    """The same as a matrix."""
    projection = _projection(x, cones, dual)
    return np.stack([projection.derivative(unit) for unit in np.eye(len(x))], axis=1)


def project_exp_cone(x: Any) -> Any:
    """The projection onto one exponential cone."""
    return cone_lib.pi(x, [(cone_lib.EXP, 1)])


def in_exp(x: Any) -> bool:
    """True in the exponential cone."""
    return bool(np.allclose(cone_lib.pi(x, [(cone_lib.EXP, 1)]), x, atol=1e-9))


def in_exp_dual(x: Any) -> bool:
    """True in the dual of the exponential cone."""
    return bool(np.allclose(cone_lib.pi(x, [(cone_lib.EXP_DUAL, 1)]), x, atol=1e-9))
