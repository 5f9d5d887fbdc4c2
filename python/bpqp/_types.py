"""Types of what users pass and get. Nothing here is needed at run time but `Unpack`, which is no more than a name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._arguments import Factored
    from ._base import BaseSolution
    from ._large import LowRank
elif sys.version_info >= (3, 11):
    from typing import Unpack
else:

    class Unpack:
        """Keyword arguments that a TypedDict names; for `typing.get_type_hints`."""

        def __class_getitem__(cls, item: Any) -> Any:
            return item


class Sparse(Protocol):
    """A matrix or array of scipy.sparse."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def nnz(self) -> int: ...
    def tocsc(self, copy: bool = ...) -> Any: ...


# float64, or float32 where q is
Array: TypeAlias = npt.NDArray[Any]
Vector: TypeAlias = npt.ArrayLike
# of one problem, or one for each element of a batch
Number: TypeAlias = "float | npt.NDArray[Any]"
Flag: TypeAlias = "bool | npt.NDArray[np.bool_]"
Word: TypeAlias = "str | npt.NDArray[np.str_]"
Words: TypeAlias = "str | list[str]"
# in the form of the data: dense, sparse, of a batch of sparse ones a list, d and F of a factored one,
# two terms of an operator
MatrixGradient: TypeAlias = "npt.NDArray[Any] | Sparse | list[Sparse] | LowRank"
QuadraticGradient: TypeAlias = "MatrixGradient | Factored"
# a direction in which the objective falls, or multipliers that contradict each other
Certificate: TypeAlias = "npt.NDArray[Any] | tuple[npt.NDArray[Any], ...]"
# of a batch of sparse ones, a list
Matrix: TypeAlias = "npt.ArrayLike | Sparse | Sequence[Sparse]"
Quadratic: TypeAlias = "Matrix | Factored"
WarmStart: TypeAlias = "BaseSolution | Mapping[str, npt.ArrayLike | None]"
Cone: TypeAlias = "tuple[str] | tuple[str, int | float] | str"
Cones: TypeAlias = "Iterable[Cone]"
Names: TypeAlias = "str | Iterable[str]"
OnFailure: TypeAlias = Literal["raise", "nan", "zero_grad"]


class Settings(TypedDict, total=False):
    """The settings of every entrance, by keyword; None is the default.

    With `solver="qpsolvers:NAME"` other names go to that solver; a type checker wants them in a `dict[str, Any]`.
    """

    eps_abs: float | None
    eps_rel: float | None
    max_iter: int | None
    time_limit: float | None
    backward: Literal["direct", "first_order"] | None
    smoothing: float | None
    threads: int | None
    polish: bool | None
    presolve: bool | None
    verbose: bool | None
    on_untrusted: Literal["warn", "raise", "ignore"] | None
    infeasible: Literal["status", "closest"] | None


class GivenSettings(Settings, total=False):
    """Those of `from_solution`, where the solver is one of them."""

    solver: str


__all__ = [
    "Array",
    "Certificate",
    "Cone",
    "Cones",
    "Flag",
    "GivenSettings",
    "Matrix",
    "MatrixGradient",
    "Names",
    "Number",
    "OnFailure",
    "Quadratic",
    "QuadraticGradient",
    "Settings",
    "Sparse",
    "Unpack",
    "Vector",
    "WarmStart",
    "Word",
    "Words",
]
