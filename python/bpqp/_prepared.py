"""One small problem that is solved again and again, in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _bpqp
from ._arguments import NAMES, OUTPUTS, Factored, is_sparse, names_of, prepare
from ._cotangents import none_given
from ._engines import call, options, policy_code
from ._errors import ArgumentError, DtypeError, SolveError, UnsupportedError
from ._results import Gradients
from ._types import Array, Names, OnFailure, Settings, Unpack, Vector
from ._verdicts import VERDICTS, choice_of, judge

_DOUBT = 0x80
_STATUSES = tuple(_bpqp.STATUSES)
_PLACE = {name: k for k, name in enumerate(NAMES)}
_OK = tuple(name in ("solved", "solved_inaccurate") for name in _STATUSES)


class QpSolver:
    """One dense problem of fixed shapes, solved and differentiated at high rates: no array is made on the way.

        s = bpqp.QpSolver(P, G=G, A=A)
        s.update(q=q, h=h, b=b)
        s.solve()                       # writes s.x, s.y, s.z, s.z_box
        s.vjp(dx, out=grads)            # writes grads["q"], grads["h"], ...

    Shapes, and which blocks there are, stay as they are given here; what is not given of `q`, `h` and `b` comes with
    the first `update`. Factorizations are kept for as long as their matrices. `s.x`, `s.y`, `s.z` and `s.z_box` are
    arrays that every `solve` writes into: copy what has to last. One solver serves one thread at a time.

    Args:
        P, q, G, h, A, b, lb, ub: as for `solve_qp`: dense, in double precision, without a batch.
        solver, on_failure, settings: as for `solve_qp`, with a solver of this package.

    Raises:
        ArgumentError, DtypeError: as `solve_qp`.
        UnsupportedError: a sparse or factored matrix.
    """

    __slots__ = (
        "_code",
        "_missing",
        "_on_untrusted",
        "_policy",
        "_present",
        "_solver",
        "_verdict",
        "x",
        "y",
        "z",
        "z_box",
    )

    x: Array
    y: Array
    z: Array
    z_box: Array

    def __init__(
        self,
        P: Vector | None = None,
        q: Vector | None = None,
        G: Vector | None = None,
        h: Vector | None = None,
        A: Vector | None = None,
        b: Vector | None = None,
        lb: Vector | None = None,
        ub: Vector | None = None,
        *,
        solver: str = "auto",
        on_failure: OnFailure = "raise",
        **settings: Unpack[Settings],
    ) -> None:
        self._policy = policy_code(on_failure)
        self._on_untrusted = choice_of(settings)
        checked = options(solver, settings)
        if settings.get("verbose"):
            raise ArgumentError("verbose = True: a QpSolver prints nothing")
        given: dict[str, Any] = dict(zip(NAMES, (P, q, G, h, A, b, lb, ub), strict=True))
        for name, value in given.items():
            if is_sparse(value) or isinstance(value, Factored):
                raise UnsupportedError(f"{name} is {type(value).__name__}: a QpSolver is dense; use solve_qp")
        self._missing = set()
        n = _columns(given)
        for vector, matrix in (("q", None), ("h", "G"), ("b", "A")):
            if given[vector] is None and (matrix is None or given[matrix] is not None):
                rows = n if matrix is None else np.atleast_2d(np.asarray(given[matrix])).shape[0]
                given[vector] = np.zeros(rows)
                self._missing.add(vector)
        problem = prepare(**given)
        if problem.batch is not None:
            raise ArgumentError("a QpSolver solves one problem, without a batch dimension: use solve_qp")
        if problem.dtype == np.float32:
            raise DtypeError("q has dtype float32: a QpSolver works in place on float64")
        self._present = tuple(d is not None for d in problem.data)
        sizes = (
            n,
            0 if problem.data[4] is None else len(problem.data[4]),
            0 if problem.data[2] is None else len(problem.data[2]),
            n,
        )
        self.x, self.y, self.z, self.z_box = (np.full(size, np.nan) for size in sizes)
        self._solver = call(_bpqp.Prepared, problem.data, (self.x, self.y, self.z, self.z_box), checked)
        self._code = self._verdict = -1

    def update(
        self,
        P: Vector | None = None,
        q: Vector | None = None,
        G: Vector | None = None,
        h: Vector | None = None,
        A: Vector | None = None,
        b: Vector | None = None,
        lb: Vector | None = None,
        ub: Vector | None = None,
    ) -> None:
        """Takes other numbers for what is given, in the shapes that were prepared; after an error nothing has changed.

        Raises:
            ArgumentError: another shape, or a value that is refused.
        """
        self._solver.update((P, q, G, h, A, b, lb, ub))
        self._code = -1
        if self._missing:
            self._missing -= {name for name, value in (("q", q), ("h", h), ("b", b)) if value is not None}

    def solve(self, *, warm: bool = True) -> Array:
        """Solves the problem at hand, writes `x`, `y`, `z` and `z_box`, and returns `x`, the same array each time.

        `warm`: starts from the last solution, which saves most of the time where the data moved a little, and never
        decides the answer.

        Raises:
            ArgumentError: `q`, `h` or `b` was never given.
            SolveError: there is no solution, or none was found, and `on_failure` is "raise".
        """
        if self._missing:
            raise ArgumentError(f"{', '.join(sorted(self._missing))}: given neither at construction nor to update()")
        self._code = code = self._solver.solve(warm, self._policy)
        if self._policy == 0 and not _OK[code] and not self.ok:
            raise SolveError(f"the problem was not solved: {_STATUSES[code]}", [(0, _STATUSES[code])])
        return self.x

    def vjp(
        self,
        x: Vector | None = None,
        y: Vector | None = None,
        z: Vector | None = None,
        z_box: Vector | None = None,
        objective: float | None = None,
        *,
        wrt: Names | None = None,
        out: Mapping[str, Array] | Gradients | None = None,
    ) -> Any:
        """Gradients of a loss at the last solution, from its derivatives with respect to the outputs.

        `out` is a mapping from names to float64 arrays that are written into, or the `Gradients` of an earlier call;
        what it has is what is computed. Without it new arrays are made for the arguments that `wrt` names (all that are
        present if None). Returns `out`, or the new `Gradients`. How far they may be trusted is `s.verdict`.

        Raises:
            ArgumentError: no solve since the last update, an array of another shape or type, or a name that does not
                exist.
            GradientError: the gradient is in doubt, and `on_untrusted` is "raise".
            SolveError: there is no solution to differentiate, and `on_failure` is "raise".
        """
        if x is None and y is None and z is None and z_box is None and objective is None:
            raise none_given((*OUTPUTS, "objective"))
        target = out
        if out is None:
            target = self._arrays(wrt)
        elif wrt is not None:
            raise ArgumentError("wrt and out were given: out says what is wanted")
        if isinstance(target, Gradients):
            arrays: Any = tuple(getattr(target, name) for name in NAMES)
        else:
            arrays = self._of(target)
        code = self._solver.vjp((x, y, z, z_box, objective), arrays, self._policy)
        self._verdict = code & ~_DOUBT
        if code & _DOUBT:
            judge(np.array([code], np.uint8), self._on_untrusted)
        if isinstance(target, Gradients):
            target.verdict = VERDICTS[self._verdict]
        return target

    def _of(self, out: Any) -> tuple[Any, ...]:
        """The arrays of a mapping, in the order of the arguments."""
        arrays: list[Any] = [None] * 8
        for name, array in out.items():
            if name not in _PLACE or not self._present[_PLACE[name]]:
                present = ", ".join(n for n, there in zip(NAMES, self._present, strict=True) if there)
                raise ArgumentError(f"out has {name!r}: the arguments of this solver are {present}")
            arrays[_PLACE[name]] = array
        return tuple(arrays)

    def _arrays(self, wrt: Names | None) -> Gradients:
        names = NAMES if wrt is None else names_of(wrt, NAMES)
        n, me, mi = len(self.x), len(self.y), len(self.z)
        shapes = ((n, n), (n,), (mi, n), (mi,), (me, n), (me,), (n,), (n,))
        there = zip(NAMES, shapes, self._present, strict=True)
        out = Gradients()
        for name, shape, present in there:
            if present and name in names:
                setattr(out, name, np.empty(shape))
        return out

    @property
    def status(self) -> str:
        """The status of the last solve; "unsolved" if the data changed since, or there was none."""
        return "unsolved" if self._code < 0 else _STATUSES[self._code]

    @property
    def ok(self) -> bool:
        """True if the arrays hold a solution."""
        return self._code >= 0 and not np.isnan(self._solver.objective())

    @property
    def objective(self) -> float:
        """The objective of the last solution; NaN without one."""
        return float(self._solver.objective()) if self._code >= 0 else float("nan")

    @property
    def iterations(self) -> int:
        """The iterations of the last solve."""
        return int(self._solver.iterations())

    @property
    def verdict(self) -> str:
        """How far the gradient of the last `vjp` may be trusted; "none" before the first one."""
        return "none" if self._verdict < 0 else VERDICTS[self._verdict]


def _columns(given: Mapping[str, Any]) -> int:
    """The number of variables."""
    for name in ("q", "P", "G", "A", "lb", "ub"):
        if given[name] is not None and np.ndim(given[name]) > 0:
            return int(np.shape(given[name])[-1])
    raise ArgumentError("nothing says how many variables there are: give P, q, G or A")
