"""Smooth programs: functions in place of matrices, with their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from . import _bpqp
from ._arguments import OUTPUTS
from ._cotangents import cotangents_of, doubles_like
from ._engines import POLICIES, policy_code
from ._errors import ArgumentError, SolveError
from ._results import CheckedBlock, GradientReport
from ._types import Array, OnFailure
from ._verdicts import VERDICTS, check_choice, judge

Function = Callable[..., Any]

SETTINGS = ("solver", "eps_abs", "eps_rel", "max_iter", "time_limit")


class Calls(Protocol):
    """What the extension calls: arrays of float64 in and out."""

    lb: Array
    ub: Array

    def values(self, x: Array) -> tuple[float, Array, Array]: ...
    def expand(self, x: Array, y: Array, z: Array) -> tuple[Array, Any, Any, Any]: ...
    def pull(self, x: Array, y: Array, z: Array, w: Array, u_y: Array, u_z: Array, t: float) -> Array: ...
    def push(self, x: Array, y: Array, z: Array, direction: Array) -> tuple[Array, Array, Array, float]: ...


@dataclass(frozen=True)
class Derivatives:
    """Derivatives of the functions of a `Nonlinear`, callables of `(x, *params)`.

    By x: `gradient` of f (n,), the Jacobians `jacobian_c` (m, n) and `jacobian_g` (k, n), and that of the Lagrangian
    `f + y'c + z'g`, `hessian(x, y, z, *params)` (n, n). By the parameters, each a list with one array for each
    parameter `p`: `f_parameters` (shape of p), `c_parameters` (m, shape of p), `g_parameters` (k, shape of p) and
    the derivative of the gradient of the Lagrangian, `cross(x, y, z, *params)` (n, shape of p). Matrices by x may be
    those of scipy.sparse. What a program does not have may be None; those by parameters are needed for derivatives
    only.
    """

    gradient: Function
    hessian: Function
    jacobian_c: Function | None = None
    jacobian_g: Function | None = None
    f_parameters: Function | None = None
    c_parameters: Function | None = None
    g_parameters: Function | None = None
    cross: Function | None = None


@dataclass(frozen=True)
class Nonlinear:
    """The smooth program

        minimize f(x, *params)  s.t.  c(x, *params) = 0,  g(x, *params) <= 0,  lb <= x <= ub

    of callables with their `derivatives`. With PyTorch or JAX callables use `bpqp.torch.NonlinearLayer` or
    `bpqp.jax.solve_nlp`, which need none.
    """

    f: Function
    c: Function | None = None
    g: Function | None = None
    lb: npt.ArrayLike | None = None
    ub: npt.ArrayLike | None = None
    derivatives: Derivatives | None = None


@dataclass(slots=True)
class NonlinearGradients:
    """Gradients by each parameter, in order, and by the bounds; and the verdict on them."""

    params: tuple[Array, ...]
    lb: Array
    ub: Array
    verdict: str


@dataclass(slots=True)
class NonlinearTangents:
    """The change of the outputs along a direction of the parameters and bounds, and the verdict on it."""

    x: Array
    y: Array
    z: Array
    z_box: Array
    objective: float
    verdict: str


def bounds_of(n: int, lb: Any, ub: Any) -> tuple[Array, Array]:
    """Bounds as arrays of n numbers; a number stands for all."""
    out = []
    for name, value, missing in (("lb", lb, -np.inf), ("ub", ub, np.inf)):
        array = np.asarray(missing if value is None else value, dtype=np.float64)
        if array.ndim > 1 or (array.ndim == 1 and array.shape != (n,)):
            raise ArgumentError(f"{name} has shape {array.shape}, expected ({n},), one entry for each variable")
        out.append(np.ascontiguousarray(np.broadcast_to(array, (n,))))
    return out[0], out[1]


def split(flat: Array, shapes: Sequence[tuple[int, ...]]) -> list[Array]:
    """A vector taken apart into arrays of these shapes."""
    out, at = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        out.append(flat[at : at + size].reshape(shape))
        at += size
    return out


def checked_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that smooth programs have."""
    for name in settings:
        if name not in SETTINGS:
            raise ArgumentError(f"there is no setting {name!r} of smooth programs: choose from {', '.join(SETTINGS)}")
    return {k: v for k, v in settings.items() if v is not None}


def _matrix(value: Any) -> Any:
    """A dense array, or a matrix of scipy.sparse by its columns."""
    if hasattr(value, "tocsc"):
        m = value.tocsc()
        m.sum_duplicates()
        return m.indptr.astype(np.int64), m.indices.astype(np.int64), m.data.astype(np.float64), m.shape
    return np.ascontiguousarray(value, dtype=np.float64)


def _flat(parts: Any, rows: int) -> Array:
    """Derivatives by each parameter beside each other, a column for every number."""
    blocks = [np.reshape(np.asarray(v, dtype=np.float64), (rows, -1)) for v in parts]
    return np.concatenate(blocks or [np.zeros((rows, 0))], axis=1)


class _NumpyCalls:
    def __init__(self, program: Nonlinear, params: Sequence[Any], n: int) -> None:
        if program.derivatives is None:
            raise ArgumentError(
                "derivatives is None: pass bpqp.Derivatives, or use bpqp.torch.NonlinearLayer or bpqp.jax.solve_nlp,"
                " which differentiate the functions themselves"
            )
        self.program, self.d = program, program.derivatives
        self.params = [np.asarray(p, dtype=np.float64) for p in params]
        self.shapes = [p.shape for p in self.params]
        self.lb, self.ub = bounds_of(n, program.lb, program.ub)

    def moved(self, k: int, at: int, step: float) -> _NumpyCalls:
        """The same with one number of a parameter moved."""
        params = [p.copy() for p in self.params]
        params[k].reshape(-1)[at] += step
        return _NumpyCalls(self.program, params, self.lb.size)

    def _rows(self, function: Function | None, x: Array) -> Array:
        if function is None:
            return np.zeros(0)
        return np.ascontiguousarray(np.atleast_1d(np.asarray(function(x, *self.params), dtype=np.float64)))

    def values(self, x: Array) -> tuple[float, Array, Array]:
        p = self.program
        return float(p.f(x, *self.params)), self._rows(p.c, x), self._rows(p.g, x)

    def _jacobian(self, name: str, rows: Function | None, jacobian: Function | None, x: Array) -> Any:
        if rows is None:
            return np.zeros((0, x.size))
        if jacobian is None:
            raise ArgumentError(f"derivatives has no {name}, but the program has these rows")
        value = jacobian(x, *self.params)
        return _matrix(value if hasattr(value, "tocsc") else np.reshape(value, (-1, x.size)))

    def expand(self, x: Array, y: Array, z: Array) -> tuple[Array, Any, Any, Any]:
        gradient = np.ascontiguousarray(self.d.gradient(x, *self.params), dtype=np.float64)
        a = self._jacobian("jacobian_c", self.program.c, self.d.jacobian_c, x)
        g = self._jacobian("jacobian_g", self.program.g, self.d.jacobian_g, x)
        return gradient, a, g, _matrix(self.d.hessian(x, y, z, *self.params))

    def _by_parameters(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array, Array]:
        """Jacobians of the gradient of L, c, g and L by the flattened parameters."""
        if self.d.cross is None or self.d.f_parameters is None:
            raise ArgumentError(
                "derivatives has no cross or f_parameters: they are needed to differentiate the solution"
            )
        cross = _flat(self.d.cross(x, y, z, *self.params), x.size)
        total = sum(int(np.prod(s)) for s in self.shapes)
        rows = []
        for function, own, k in (
            (self.program.c, self.d.c_parameters, y.size),
            (self.program.g, self.d.g_parameters, z.size),
        ):
            none = function is None or own is None
            rows.append(np.zeros((k, total)) if none or own is None else _flat(own(x, *self.params), k))
        lagrangian = _flat(self.d.f_parameters(x, *self.params), 1)[0] + y @ rows[0] + z @ rows[1]
        return cross, rows[0], rows[1], lagrangian

    def pull(self, x: Array, y: Array, z: Array, w: Array, u_y: Array, u_z: Array, t: float) -> Array:
        cross, c, g, lagrangian = self._by_parameters(x, y, z)
        return np.ascontiguousarray(w @ cross + u_y @ c + u_z @ g + t * lagrangian)

    def push(self, x: Array, y: Array, z: Array, direction: Array) -> tuple[Array, Array, Array, float]:
        cross, c, g, lagrangian = self._by_parameters(x, y, z)
        return cross @ direction, c @ direction, g @ direction, float(lagrangian @ direction)


@dataclass
class LocalSolution:
    """A local solution: `x`, multipliers `y` (of c), `z` (of g) and `z_box` (of the bounds), `objective`, `status`,
    `ok`.

    Besides `verdict`, `iterations`, `residual`; where there is none, `reason` says why in words and `direction` is one
    along which the objective falls (status `not_a_minimum`).
    """

    x: Array
    y: Array
    z: Array
    z_box: Array
    objective: float
    status: str
    ok: bool
    verdict: str
    iterations: int
    residual: float
    reason: str | None
    direction: Array | None
    _local: _bpqp.Local = field(repr=False)
    _calls: Any = field(repr=False)
    _shapes: list[tuple[int, ...]] = field(repr=False)
    _on_untrusted: str = field(repr=False, default="warn")

    def vjp(
        self, x: Any = None, y: Any = None, z: Any = None, z_box: Any = None, objective: Any = None
    ) -> NonlinearGradients:
        """Gradients of a loss by the parameters and bounds, from its derivatives by the outputs; None is 0."""
        names = (*OUTPUTS, "objective")
        found = cotangents_of(self, names, {"x": x, "y": y, "z": z, "z_box": z_box, "objective": objective})
        sizes = (np.size(getattr(self, name)) for name in names)
        rows = tuple(np.zeros(n) if v is None else v.reshape(-1) for v, n in zip(found, sizes, strict=True))
        flat, lb, ub, verdict = self._local.vjp(self._calls, rows)
        judge(np.array([code_of(verdict)], np.uint8), self._on_untrusted)
        return NonlinearGradients(tuple(split(flat, self._shapes)), lb, ub, verdict)

    def jvp(
        self, params: Sequence[Any] | None = None, lb: Any = None, ub: Any = None, *, one_sided: bool = False
    ) -> NonlinearTangents:
        """The change of the outputs along a direction of the parameters (None for those that stay) and bounds.

        `one_sided`: the derivative in this direction alone, which exists at kinks too; not linear in the direction.
        """
        n = self.x.size
        given = [None] * len(self._shapes) if params is None else list(params)
        if len(given) != len(self._shapes):
            raise ArgumentError(f"{len(given)} directions were given for {len(self._shapes)} parameters")
        parts = [
            np.zeros(shape) if v is None else doubles_like(f"the direction of parameter {k}", v, shape)
            for k, (v, shape) in enumerate(zip(given, self._shapes, strict=True))
        ]
        flat = np.concatenate([p.reshape(-1) for p in parts] or [np.zeros(0)])
        box = [np.zeros(n) if v is None else np.array(np.broadcast_to(v, (n,)), np.float64) for v in (lb, ub)]
        *moved, objective, verdict = self._local.jvp(self._calls, (flat, box[0], box[1]), one_sided)
        judge(np.array([code_of(verdict)], np.uint8), self._on_untrusted)
        x, y, z, z_box = moved
        return NonlinearTangents(x, y, z, z_box, float(objective[0]), verdict)

    def __reduce__(self) -> Any:
        # the derivatives are found again: by Newton's method, from the solution itself
        own = (self.x, self.y, self.z, self.z_box, self.objective, self.status, self.ok, self.verdict, self.iterations)
        return _put_together, (
            *own,
            self.residual,
            self.reason,
            self.direction,
            self._calls,
            self._shapes,
            self._on_untrusted,
        )


def _put_together(*parts: Any) -> LocalSolution:
    *own, calls, shapes, on_untrusted = parts
    x, y, z = (np.ascontiguousarray(v) for v in own[:3])
    local = (
        _bpqp.solve_smooth(calls, x, (y, z), {}, True)
        if own[6]
        else _bpqp.solve_smooth(calls, x, None, {"max_iter": 1})
    )
    x, y, z, z_box, objective, status, ok, verdict, iterations, residual, reason, direction = own
    tail = (residual, reason, direction, local, calls, shapes, on_untrusted)
    return LocalSolution(x, y, z, z_box, objective, status, ok, verdict, iterations, *tail)


def check_local(sol: LocalSolution, cotangents: dict[str, Any]) -> GradientReport:
    """Central differences of re-solves from the solution against `sol.vjp`, for every number of every parameter."""
    given = {name: v for name, v in cotangents.items() if v is not None} or {"x": np.ones_like(sol.x)}
    g = sol.vjp(**given)

    def loss(k: int, at: int, step: float) -> tuple[float, bool]:
        calls = sol._calls.moved(k, at, step)
        local = _bpqp.solve_smooth(calls, sol.x, (sol.y, sol.z), {"eps_abs": 1e-10, "eps_rel": 1e-10})
        outputs = dict(zip(("x", "y", "z", "z_box", "objective"), local.outputs(), strict=True))
        return sum(float(np.sum(np.asarray(v) * outputs[name])) for name, v in given.items()), local.ok

    table: list[CheckedBlock] = []
    for k, analytic in enumerate(g.params):
        flat, numbers = analytic.reshape(-1), sol._calls.params[k].reshape(-1)
        worst, place, numeric, kinks, checked = 0.0, 0, np.zeros(flat.size), 0, 0
        size = max(1e-8, float(np.abs(flat).max(initial=0.0)))
        for i in range(flat.size):
            step = 1e-5 * max(1.0, abs(float(numbers[i])))
            (high, up), (low, down), here = loss(k, i, step), loss(k, i, -step), loss(k, i, 0.0)[0]
            if not (up and down):
                kinks += 1
                continue
            numeric[i] = (high - low) / (2 * step)
            # slopes that differ on the two sides belong to no derivative
            if abs(high - 2 * here + low) / step > 1e-2 * max(size, abs(numeric[i])):
                kinks += 1
                continue
            checked += 1
            off = abs(numeric[i] - flat[i]) / max(size, abs(numeric[i]))
            if off > worst:
                worst, place = off, i
        at = np.unravel_index(place, analytic.shape) if flat.size and analytic.ndim else ()
        table.append(
            {
                "block": f"params[{k}]",
                "entries": int(flat.size),
                "checked": checked,
                "worst": worst,
                "at": str(tuple(int(v) for v in at)),
                "analytic": float(flat[place]) if flat.size else 0.0,
                "numeric": float(numeric[place]) if flat.size else 0.0,
                "kinks": kinks,
            }
        )
    text = "\n".join(
        f"{r['block']}: {r['checked']} of {r['entries']}, worst {r['worst']:.1e} at {r['at']}" for r in table
    )
    return GradientReport(max((r["worst"] for r in table), default=0.0), table, text)


def code_of(verdict: str) -> int:
    """A verdict as the extension gives them: its place, with a flag where it is in doubt."""
    return VERDICTS.index(verdict) | (0x80 if verdict in ("regularized", "untrusted") else 0)


def described(local: _bpqp.Local) -> str:
    """Why there is no solution, in words."""
    return f"status {local.status}" + (f": {local.reason}" if local.reason else "")


def wrapped(
    local: _bpqp.Local, calls: Any, shapes: list[tuple[int, ...]], on_failure: str, on_untrusted: str
) -> LocalSolution:
    """A solution for users; a failure is what `on_failure` says."""
    x, y, z, z_box, objective = local.outputs()
    if not local.ok:
        if POLICIES[on_failure] == 0:
            raise SolveError(f"the smooth program was not solved, {described(local)}", [(0, local.status)])
        if POLICIES[on_failure] == 1:
            x, y, z, z_box = (np.full_like(v, np.nan) for v in (x, y, z, z_box))
            objective = np.array([np.nan])
    head = (x, y, z, z_box, float(objective[0]), local.status, local.ok, local.verdict, local.iterations)
    tail = (local.residual, local.reason, local.direction, local, calls, shapes, on_untrusted)
    return LocalSolution(*head, *tail)


def start_of(x0: Any) -> Array:
    """A starting point."""
    array = np.ascontiguousarray(x0, dtype=np.float64)
    if array.ndim != 1:
        raise ArgumentError(f"x0 has shape {array.shape}: it has one entry for each variable")
    return array


def solve_nlp(
    program: Nonlinear,
    params: Sequence[Any],
    x0: npt.ArrayLike,
    *,
    y: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    on_failure: OnFailure = "raise",
    on_untrusted: str = "warn",
    **settings: Any,
) -> LocalSolution:
    """Solves a smooth program from `x0`: a local solution with its derivatives.

    At a point with multipliers where the gradient of the Lagrangian `L = f + y'c + z'g` vanishes (up to those of the
    bounds), the derivative of the solution is that of the quadratic program with the Hessian of L over the active rows.
    Whether the point is a minimum is shown by inertia: `not_a_minimum` is a status, and a point at which the second
    order decides nothing is `untrusted`.

    Args:
        params: the parameters, arrays of any shape, as the functions take them after x.
        y, z: multipliers of a similar program, to start from.
        on_failure: "raise" (`bpqp.SolveError`), "nan" or "zero_grad" (the last iterate).
        settings: eps_abs, eps_rel (1e-8), max_iter, time_limit (seconds).
    """
    policy_code(on_failure)
    check_choice(on_untrusted)
    start = start_of(x0)
    calls = _NumpyCalls(program, params, start.size)
    multipliers = multipliers_of(y, z)
    local = _bpqp.solve_smooth(calls, start, multipliers, checked_settings(settings))
    return wrapped(local, calls, calls.shapes, on_failure, on_untrusted)


def multipliers_of(y: Any, z: Any) -> tuple[Array, Array] | None:
    """Both, or none; one that is missing is empty."""
    if y is None and z is None:
        return None
    return (
        np.zeros(0) if y is None else np.ascontiguousarray(y, np.float64).reshape(-1),
        np.zeros(0) if z is None else np.ascontiguousarray(z, np.float64).reshape(-1),
    )


def from_local_solution(
    program: Nonlinear,
    params: Sequence[Any],
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    z: npt.ArrayLike | None = None,
    z_box: npt.ArrayLike | None = None,
    *,
    on_failure: OnFailure = "raise",
    on_untrusted: str = "warn",
    **settings: Any,
) -> LocalSolution:
    """A local solution that someone else found (Ipopt, CasADi, SciPy, ..), ready to be differentiated.

    It is polished by Newton steps on its active set, and judged. Missing multipliers are recovered; those of the bounds
    always are.
    """
    del z_box  # they follow from the others
    policy_code(on_failure)
    check_choice(on_untrusted)
    start = start_of(x)
    calls = _NumpyCalls(program, params, start.size)
    local = _bpqp.solve_smooth(calls, start, multipliers_of(y, z), checked_settings(settings), True)
    return wrapped(local, calls, calls.shapes, on_failure, on_untrusted)
