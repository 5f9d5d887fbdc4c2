"""Errors. All are `bpqp.Error`; what Python users expect to catch catches them too."""

from __future__ import annotations

from typing import Any


class Error(Exception):
    """Base of all errors of this package."""


class ArgumentError(Error, ValueError):
    """An argument has the wrong shape, or a value that is refused; the message names argument, index and value."""


class DtypeError(Error, TypeError):
    """An argument has a type that cannot be used."""


class UnsupportedError(Error, NotImplementedError):
    """A mode that does not exist for this input."""


class SolveError(Error, RuntimeError):
    """Some problem has no solution, or none was found. `failures` lists `(element, status)`."""

    def __init__(self, message: str, failures: list[tuple[int, str]] | None = None, solution: Any = None) -> None:
        super().__init__(message)
        self.failures = failures or []
        self.solution = solution


class GradientError(Error, RuntimeError):
    """A derivative is not to be trusted, and `on_untrusted` is "raise". `elements` lists `(element, verdict)`."""

    def __init__(self, message: str, elements: list[tuple[int, str]] | None = None) -> None:
        super().__init__(message)
        self.elements = elements or []


class GradientWarning(UserWarning):
    """A derivative is not to be trusted: its backward system was regularized, or its active set not verified."""
