"""What a solve with all outputs returns."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch

from .. import _bpqp
from .._types import Word


def _verdict(solved: _bpqp.Solved | _bpqp.ConicSolved | _Told | None, status: Word | None) -> Word | None:
    """The verdict of each element, in the form of its status; the backward system is looked at for it."""
    if solved is None or status is None:
        return None
    names = [found[0] for found in solved.examine()]
    return names[0] if isinstance(status, str) else np.array(names)


class _Told:
    """What was known of the solutions of another process."""

    def __init__(self, found: list[tuple[str, float, float, bool]]) -> None:
        self._found = found

    def examine(self) -> list[tuple[str, float, float, bool]]:
        return self._found


def _reduced(sol: Any) -> Any:
    """A solution as it is pickled: tensors, and what is known of them."""
    values = [getattr(sol, own.name) for own in fields(sol)]
    known = values.pop()
    return type(sol), (*values, None if known is None else _Told(known.examine()))


@dataclass(slots=True)
class Solution:
    """Differentiable `x`, multipliers `y`, `z`, `z_box`, `objective`; `ok`, `status` and `verdict` of each element.

    `status` and `verdict` are None inside of `torch.func.vmap` and of torch.compile, where `ok` says which are solved.
    """

    x: torch.Tensor
    y: torch.Tensor
    z: torch.Tensor
    z_box: torch.Tensor
    objective: torch.Tensor
    ok: torch.Tensor
    status: Word | None
    _solved: _bpqp.Solved | _bpqp.ConicSolved | _Told | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> Any:
        return _reduced(self)

    @property
    def verdict(self) -> Word | None:
        """How far derivatives may be trusted, the worst of all outputs and arguments."""
        return _verdict(self._solved, self.status)


@dataclass(slots=True)
class ConicSolution:
    """Differentiable `x`, slacks `s`, multipliers `y`, `z_box`, `objective`; `ok`, `status`, `verdict` of each element.

    `status` and `verdict` are None inside of `torch.func.vmap`, where `ok` says which are solved.
    """

    x: torch.Tensor
    s: torch.Tensor
    y: torch.Tensor
    z_box: torch.Tensor
    objective: torch.Tensor
    ok: torch.Tensor
    status: Word | None
    _solved: _bpqp.Solved | _bpqp.ConicSolved | _Told | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> Any:
        return _reduced(self)

    @property
    def verdict(self) -> Word | None:
        """How far derivatives may be trusted, the worst of all outputs and arguments."""
        return _verdict(self._solved, self.status)


@dataclass(slots=True)
class CvxpySolution:
    """The differentiable `variables` that were asked for, and `ok`, `status`, `verdict` of each element.

    `status` and `verdict` are None inside of `torch.func.vmap`, where `ok` says which are solved.
    """

    variables: tuple[torch.Tensor, ...]
    ok: torch.Tensor
    status: Word | None
    _solved: _bpqp.Solved | _bpqp.ConicSolved | _Told | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> Any:
        return _reduced(self)

    @property
    def verdict(self) -> Word | None:
        """How far derivatives may be trusted, the worst of all outputs and parameters."""
        return _verdict(self._solved, self.status)
