"""What a solve with all outputs returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(slots=True)
class Solution:
    """Differentiable outputs: `x`, multipliers `y`, `z`, `z_box`, `objective`; and `ok`, `status` of each element.

    `status` is None inside of `torch.func.vmap`, where `ok` says the same.
    """

    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor
    z_box: torch.Tensor
    objective: torch.Tensor
    ok: torch.Tensor
    status: Any
