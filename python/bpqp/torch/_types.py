"""Types of what users of torch pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from .._arguments import Factored
    from .._base import BaseSolution
    from .._types import Sparse
    from ._solution import ConicSolution, Solution

TensorLike: TypeAlias = "torch.Tensor | npt.ArrayLike | Sparse"
Quadratic: TypeAlias = "TensorLike | Factored"
WarmStart: TypeAlias = "Solution | ConicSolution | BaseSolution | Mapping[str, TensorLike | None]"

__all__ = ["Quadratic", "TensorLike", "WarmStart"]
