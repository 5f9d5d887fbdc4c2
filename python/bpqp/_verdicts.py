"""Verdicts on derivatives, and what is said of those in doubt.

The extension gives one number for each element: the place of the verdict in `VERDICTS`, the best first, and a flag
where it is not what was asked for (regularized, untrusted, approximate beyond the tolerances).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _bpqp
from ._errors import ArgumentError, GradientError, GradientWarning

VERDICTS = tuple(_bpqp.VERDICTS)
CHOICES = ("warn", "raise", "ignore")
Codes = NDArray[np.uint8]

_DOUBT = 0x80
_NAMES = np.array(VERDICTS)
_LISTED = 8
_HERE = str(Path(__file__).parent)


def check_choice(on_untrusted: Any) -> str:
    """The setting, refused if it is none."""
    if isinstance(on_untrusted, str) and on_untrusted in CHOICES:
        return on_untrusted
    raise ArgumentError(f"on_untrusted = {on_untrusted!r}: choose 'warn', 'raise' or 'ignore'")


def choice_of(settings: Mapping[str, Any] | None) -> str:
    """What the settings say of derivatives in doubt."""
    chosen = settings.get("on_untrusted") if settings else None
    return "warn" if chosen is None else str(chosen)


def names(codes: Any) -> Any:
    """The words for the numbers: an array of strings, or one string."""
    found = _NAMES[np.asarray(codes) & ~np.uint8(_DOUBT)]
    return str(found) if found.ndim == 0 else found


def verdict_of(codes: Codes | int, on_untrusted: str, batched: bool) -> Any:
    """The verdicts in words, one for a single problem, after a word to the user where some are in doubt."""
    if batched:
        judge(np.asarray(codes), on_untrusted)
        return names(codes)
    code: int = codes if isinstance(codes, int) else codes.item()
    if code & _DOUBT:
        judge(np.array([code], dtype=np.uint8), on_untrusted)
    return VERDICTS[code & ~_DOUBT]


def judge(codes: Codes | None, on_untrusted: str) -> None:
    """Warns of derivatives in doubt, or raises; None is none in doubt."""
    if codes is None or on_untrusted == "ignore":
        return
    if codes.max(initial=0) < _DOUBT:
        return
    doubtful = np.flatnonzero(codes & _DOUBT)
    elements = [(int(k), names(codes[k])) for k in doubtful]
    lines = [f"element {k}: {verdict}" for k, verdict in elements[:_LISTED]]
    if len(elements) > _LISTED:
        lines.append(f"and {len(elements) - _LISTED} more")
    text = f"{len(elements)} of {len(codes)} derivatives are not to be trusted: {'; '.join(lines)}. "
    text += "sol.diagnostics() tells more; on_untrusted='ignore' says nothing of it"
    if on_untrusted == "raise":
        raise GradientError(text, elements)
    warnings.warn(GradientWarning(text), stacklevel=_outside())


def _outside() -> int:
    """The place in the stack, as seen from `judge`, of the first function that is not of this package."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    return level
