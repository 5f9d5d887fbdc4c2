"""What is taken for a tensor of numbers."""

from __future__ import annotations

from typing import Any

import torch

from .._arguments import refuse_products
from .._errors import DtypeError

_LOW = (torch.bfloat16, torch.float16)


def cast_up(tensor: torch.Tensor) -> torch.Tensor:
    """Under autocast a tensor of low precision in single precision, as for torch's own linear algebra."""
    if tensor.dtype in _LOW and torch.is_autocast_enabled(tensor.device.type):
        return tensor.float()
    return tensor


def deciding(q: Any) -> torch.Tensor:
    """The tensor that decides dtype and device."""
    if not isinstance(q, torch.Tensor):
        raise DtypeError(f"q is a {type(q).__name__}: it decides dtype and device, so pass a tensor")
    tensor = cast_up(q)
    if tensor.dtype not in (torch.float32, torch.float64):
        raise DtypeError(f"q has dtype {tensor.dtype}: pass float32 or float64, for instance q.float()")
    return tensor


def tensor_of(name: str, value: Any, like: torch.Tensor) -> torch.Tensor:
    """A dense tensor in the dtype of `like`."""
    if not isinstance(value, torch.Tensor):
        refuse_products(name, value)
        try:
            value = torch.as_tensor(value, dtype=like.dtype, device=like.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DtypeError(f"{name} is a {type(value).__name__}: pass a dense tensor") from error
    if value.layout != torch.strided:
        raise DtypeError(f"{name} is a sparse tensor: only P, G and A may be")
    value = cast_up(value)
    if value.dtype not in (torch.float32, torch.float64):
        raise DtypeError(f"{name} has dtype {value.dtype}: pass float32 or float64, for instance {name}.float()")
    tensor: torch.Tensor = value.to(like.dtype)
    return tensor
