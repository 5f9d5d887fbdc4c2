"""What solutions of quadratic and of cone programs have in common: how they ended, how they were found."""

from __future__ import annotations

from html import escape
from typing import Any, ClassVar

import numpy as np

from . import _bpqp
from ._cotangents import cotangents_of
from ._kept import Kept
from ._outcome import described
from ._results import Info
from ._types import Flag, Word


class BaseSolution:
    """A solution, or a batch of them: every attribute then has a batch dimension.

    `_batch` is its size, None for a single problem; `_solved` the solutions of the extension; `_policy` what becomes of
    derivatives where there is no solution, `_on_untrusted` of those that are in doubt.
    """

    OUTPUTS: ClassVar[tuple[str, ...]]
    _batch: int | None
    _solved: _bpqp.Solved | _bpqp.ConicSolved
    _policy: int
    _on_untrusted: str

    def _word(self, values: list[str]) -> Word:
        return values[0] if self._batch is None else np.array(values)

    @property
    def status(self) -> Word:
        """How the solve ended: a string, or an array of them."""
        return self._word(self._solved.status())

    @property
    def ok(self) -> Flag:
        """True where there is a solution that may be used."""
        ok = self._solved.ok()
        return bool(ok[0]) if self._batch is None else ok

    @property
    def verdict(self) -> Word:
        """How far derivatives may be trusted, the worst of all outputs and arguments: a string, or an array of them.

        The backward system is looked at for it, which takes about as long as a gradient.
        """
        return self._word([found[0] for found in self._solved.examine()])

    @property
    def info(self) -> Info:
        """How it was found."""
        s = self._solved
        certificates = [s.certificate(k) for k in range(len(s))]
        if self._batch is None:
            return Info(s.solver()[0], s.iterations()[0], float(s.time()[0]), certificates[0])
        return Info(s.solver(), np.array(s.iterations()), s.time(), certificates)

    def __repr__(self) -> str:
        status = f"status={self.status!r}" if self._batch is None else f"batch of {self._batch}"
        return f"{type(self).__name__}({status})"

    def _repr_html_(self) -> str:
        """The lines of `print` as a table, for notebooks."""
        cells = ((escape(name), escape(text)) for name, text in described(self))
        rows = (f"<tr><th style='text-align:left'>{name}</th><td>{text}</td></tr>" for name, text in cells)
        return f"<table><caption>{type(self).__name__}</caption>{''.join(rows)}</table>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_solved": Kept.of(self._solved)}

    def _cotangents(self, **given: Any) -> tuple[Any, ...]:
        """Cotangents by name as the extension takes them, in the order of the outputs."""
        return tuple(cotangents_of(self, (*self.OUTPUTS, "objective"), given))
