"""Solutions that leave the process: what is pickled of them, and how they are put together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# what is known of a solution besides the point at which it is differentiated
_FACTS = (
    "ok",
    "all_ok",
    "failures",
    "status",
    "solver",
    "iterations",
    "time",
    "moved",
    "residuals",
    "examine",
    "active",
)
_EACH = ("certificate", "reason")


class Kept:
    """The state of a `Solved` of the extension, and what was known of it."""

    def __init__(self, rows: Any, facts: dict[str, Any]) -> None:
        self.rows, self.facts = rows, facts

    @classmethod
    def of(cls, solved: Any) -> Kept:
        """Of a solution of this process."""
        facts = {name: getattr(solved, name)() for name in _FACTS if hasattr(solved, name)}
        for name in _EACH:
            facts[name] = [getattr(solved, name)(k) for k in range(len(solved))]
        return cls(solved.state(), facts)

    def back(self, restore: Callable[[Any], Any]) -> Any:
        """The solution again, by a function that makes it from its rows."""
        return Restored(restore(self.rows), self.facts)


class Restored:
    """A `Solved` whose facts are those of the solve that found it."""

    def __init__(self, solved: Any, facts: dict[str, Any]) -> None:
        self._solved, self._facts = solved, facts

    def __len__(self) -> int:
        return len(self._solved)

    def __getattr__(self, name: str) -> Any:
        facts = self.__dict__.get("_facts", {})
        if name not in facts:
            return getattr(self.__dict__["_solved"], name)
        if name in _EACH:
            return lambda k: facts[name][k]
        return lambda: facts[name]
