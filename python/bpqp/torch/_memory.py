"""The last solution of each sample, where its next solve starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .._errors import ArgumentError


class Memory:
    """Warm starts by the names of samples."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, ...]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def clear(self) -> None:
        """Forgets all of them."""
        self._known.clear()

    @staticmethod
    def names(index: Any, batch: int) -> list[int]:
        """The samples that an index names, one for each element of the batch."""
        numbers = np.atleast_1d(index.numpy(force=True) if isinstance(index, torch.Tensor) else np.asarray(index))
        if numbers.dtype.kind not in "iu":
            raise ArgumentError(f"index has dtype {numbers.dtype}: pass integers, one that names each sample")
        out = [int(i) for i in numbers.reshape(-1)]
        if len(out) != batch:
            raise ArgumentError(f"index has {len(out)} entries for a batch of {batch}: one for each element")
        return out

    def start(self, names: list[int]) -> Any:
        """Where these samples start; None if none of them was solved."""
        known = next((self._known[i] for i in names if i in self._known), None)
        if known is None:
            return None
        # what was never solved starts at NaN, which is no start
        blank = tuple(np.full_like(v, np.nan) for v in known)
        rows = [self._known.get(i, blank) for i in names]
        if any(v.shape != w.shape for row in rows for v, w in zip(row, known, strict=True)):
            return None
        return tuple(np.stack(column) for column in zip(*rows, strict=True))

    def keep(self, names: list[int], solved: Any) -> None:
        """Remembers the solutions of these samples."""
        rows = solved.outputs(True)[:4]
        for k, (i, ok) in enumerate(zip(names, solved.ok(), strict=True)):
            if ok:
                self._known[i] = tuple(row[k] for row in rows)
