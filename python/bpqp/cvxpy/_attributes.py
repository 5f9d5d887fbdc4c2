"""What parameters of CVXPY are declared to be, checked where their values are at hand.

CVXPY compiles a problem for what its parameters are declared to be: of a symmetric matrix it keeps one triangle, of a
diagonal one the diagonal. Other values would silently be those of another problem.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._errors import ArgumentError

# of the largest entry, as for P of `solve_qp`: rounding of single precision, added up; where the data are in single
# precision themselves, also what finite differences of them do
_RELATIVE = (1e-5, 1e-3)
# what CVXPY forgives where a value is set
_ABSOLUTE = 1e-10
_BOUNDS = {"nonneg": (0.0, None), "pos": (0.0, None), "nonpos": (None, 0.0), "neg": (None, 0.0)}
_SYMMETRIC = ("symmetric", "PSD", "NSD", "hermitian")


class Declared:
    """The attributes of a parameter."""

    def __init__(self, k: int, parameter: Any) -> None:
        self.label = f"parameter {k} ({parameter.name()})"
        attributes = parameter.attributes
        self.flat = bool(attributes["sparsity"])
        known = (*_BOUNDS, *_SYMMETRIC, "diag")
        self.names = [name for name in known if attributes.get(name) is True]
        bounds = attributes.get("bounds")
        self.bounds = None if bounds is None else tuple(None if b is None else np.asarray(b, float) for b in bounds)
        self.rank = 1 if self.flat else len(parameter.shape)

    def check(self, value: Any, single: bool = False) -> None:
        """Refuses values that are not what was declared; NaN is found where the problem is solved."""
        if not self.names and self.bounds is None:
            return
        size = np.max(np.abs(value), axis=tuple(range(np.ndim(value) - self.rank, np.ndim(value))), keepdims=True)
        slack = _ABSOLUTE + _RELATIVE[single] * size if np.size(value) else 0.0
        for name in self.names:
            if name in _BOUNDS:
                self._between(name, value, _BOUNDS[name], slack)
            elif self.flat:
                continue
            elif name == "diag":
                off = ~np.eye(value.shape[-1], dtype=bool)
                self._refuse(name, value, off & (np.abs(value) > slack))
            else:
                mirror = np.swapaxes(value, -1, -2)
                self._refuse(name, value, np.abs(value - mirror) > slack, mirrored=True)
                if name in ("PSD", "NSD"):
                    self._definite(name, value, slack)
        if self.bounds is not None:
            self._between("bounds", value, self.bounds, slack)

    def _between(self, name: str, value: Any, bounds: Any, slack: Any) -> None:
        lower, upper = bounds
        # the size of a number alone is no unit for its own sign
        slack = slack if self.rank else _ABSOLUTE
        if lower is not None:
            self._refuse(name, value, value < lower - slack)
        if upper is not None:
            self._refuse(name, value, value > upper + slack)

    def _refuse(self, name: str, value: Any, wrong: Any, *, mirrored: bool = False) -> None:
        if not np.any(wrong):
            return
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        lead, entry = index[: len(index) - self.rank], index[len(index) - self.rank :]
        at = f"[{', '.join(map(str, entry))}]" if entry else ""
        text = f"{self.label} is declared {name}, but its entry {at} is {value[index]:g}"
        if mirrored:
            text += f" and [{entry[1]}, {entry[0]}] is {value[(*lead, entry[1], entry[0])]:g}"
        self._fail(text, lead, "give it such a value, or declare it without")

    def _definite(self, name: str, value: Any, slack: Any) -> None:
        sign = 1.0 if name == "PSD" else -1.0
        moved = sign * value + slack * value.shape[-1] * np.eye(value.shape[-1])
        try:
            if np.isfinite(moved).all():
                np.linalg.cholesky(moved)
                return
        except np.linalg.LinAlgError:
            pass
        for index in np.ndindex(value.shape[:-2]):
            if not np.isfinite(value[index]).all():
                continue
            values = np.linalg.eigvalsh(value[index])
            worst = values[0] if name == "PSD" else values[-1]
            if sign * worst < -np.max(slack[index]) * value.shape[-1]:
                text = f"{self.label} is declared {name}, but it has the eigenvalue {worst:g}"
                self._fail(text, index, "give it such a value, or declare it without")

    @staticmethod
    def _fail(text: str, lead: tuple[int, ...], advice: str) -> None:
        where = f" in element {lead[0]} of the batch" if lead else ""
        raise ArgumentError(f"{text}{where}: {advice}")
