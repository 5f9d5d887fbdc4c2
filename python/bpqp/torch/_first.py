"""Backward passes that are there once: a derivative of them is an error, never a gradient that lacks a part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .._errors import UnsupportedError


class _Refuse(torch.autograd.Function):
    """Inputs: what is differentiated, how many gradients, those, all that they depend on. Outputs: the gradients."""

    @staticmethod
    def forward(ctx: Any, what: str, count: int, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.what = what
        return tuple(v.clone() for v in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise UnsupportedError(f"second derivatives of {ctx.what} are not supported")


def first_only(what: str) -> Callable[[Callable[..., tuple[Any, ...]]], Any]:
    """Decorates the `backward` of a function that saved its inputs.

    `once_differentiable` of torch looks at the cotangents alone: where these are constants, the part of a second
    derivative that comes through the data would be left out without a word.
    """

    def decorate(backward: Callable[..., tuple[Any, ...]]) -> Any:
        def wrapped(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
            with torch.no_grad():
                grads = list(backward(ctx, *cotangents))
            if not torch.is_grad_enabled():
                return tuple(grads)
            there = [k for k, v in enumerate(grads) if isinstance(v, torch.Tensor)]
            sources = [v for v in (*ctx.saved_tensors, *cotangents) if v is not None]
            made = _Refuse.apply(what, len(there), *(grads[k] for k in there), *sources)
            for k, v in zip(there, made, strict=True):
                grads[k] = v
            return tuple(grads)

        return wrapped

    return decorate
