"""Problems of CVXPY that are disciplined nonlinear (DNLP): smooth programs with the derivatives of CVXPY's own engine.

Parameters become variables, CVXPY makes the problem smooth, and its engine gives values, gradients, Jacobians and the
Hessian of the Lagrangian in all of them at once. The columns of the parameters are what moves with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from .._engines import policy_code
from .._errors import ArgumentError, UnsupportedError
from .._nonlinear import checked_settings
from .._types import Array
from .._verdicts import check_choice

_SIGNS = ("nonneg", "nonpos", "pos", "neg")
# matrices of fewer variables are dense
_SMALL = 64


class Nlp:
    """A DNLP problem, compiled once."""

    def __init__(self, problem: Any, parameters: Sequence[Any], variables: Sequence[Any]) -> None:
        try:
            from cvxpy.reductions.dnlp2smooth.dnlp2smooth import Dnlp2Smooth
            from cvxpy.reductions.solvers.nlp_solvers.nlp_solver import Bounds, Oracles
        except ImportError as error:
            raise UnsupportedError("nlp=True needs CVXPY 1.9 or later, which states nonlinear programs") from error
        if not problem.is_dnlp():
            raise ArgumentError(
                "the problem is not disciplined nonlinear (DNLP): write it of smooth functions, with nonsmooth convex"
                " ones only where they are minimized or bounded above"
            )
        if {p.id for p in problem.parameters()} != {p.id for p in parameters}:
            raise ArgumentError("parameters must be those of the problem, each once")
        known = {v.id for v in problem.variables()}
        duals = {v.id: k for k, c in enumerate(problem.constraints) for v in c.dual_variables}
        for k, v in enumerate(variables):
            if v.id not in known and v.id not in duals:
                raise ArgumentError(
                    f"variables[{k}] is no variable of the problem and no dual variable of its constraints"
                )
        stand_ins = [_stand_in(p) for p in parameters]
        own = _without_parameters(problem, parameters, stand_ins)
        smooth, inverse = Dnlp2Smooth().apply(own)
        bounds = Bounds(smooth)
        self._engine = Oracles(bounds.new_problem, verbose=False)
        order = list(bounds.new_problem.variables())
        places, at = {}, 0
        lower, upper, start = [], [], []
        for v in order:
            places[v.id] = np.arange(at, at + v.size)
            at += v.size
            for column, value in zip((lower, upper), v.get_bounds(), strict=True):
                column.append(np.broadcast_to(np.asarray(value, float), v.shape).flatten(order="F"))
            start.append(np.asarray(v.value, float).flatten(order="F"))
        self._size = at
        missing = [k for k, v in enumerate(stand_ins) if v.id not in places]
        if missing:
            raise ArgumentError(f"parameter {missing[0]} does not appear in the problem")
        self._theta = np.concatenate([places[v.id] for v in stand_ins] or [np.zeros(0, int)]).astype(int)
        self._x = np.setdiff1d(np.arange(at), self._theta)
        self.n = self._x.size
        place = np.full(at, -1)
        place[self._x] = np.arange(self.n)
        self._place = place
        self.lb, self.ub = np.concatenate(lower)[self._x], np.concatenate(upper)[self._x]
        self.start = np.concatenate(start)[self._x]
        self._equal = np.flatnonzero(bounds.cl == bounds.cu)
        self._above = np.flatnonzero((bounds.cl != bounds.cu) & np.isfinite(bounds.cl))
        self._below = np.flatnonzero((bounds.cl != bounds.cu) & np.isfinite(bounds.cu))
        self._cl, self._cu = bounds.cl, bounds.cu
        self.shapes = [p.shape for p in parameters]
        # of the equalities and of the inequalities
        self.counts = (self._equal.size, self._above.size + self._below.size)
        rows = _rows_of(smooth.constraints, bounds.cl.size)
        multipliers = self._multipliers()

        def found(v: Any) -> Array:
            if v.id in known:
                return np.asarray(place[places[v.id]])
            constraint = inverse.cons_id_map[own.constraints[duals[v.id]].id]
            return multipliers[rows[constraint]]

        # where each is in (x, y, z)
        self.outputs = [(found(v), v.shape) for v in variables]

    def _multipliers(self) -> Array:
        """Where the multiplier of each row is in (x, y, z)."""
        at = np.empty(self._cl.size, int)
        m, above = self._equal.size, self._above.size
        at[self._equal] = self.n + np.arange(m)
        at[self._above] = self.n + m + np.arange(above)
        at[self._below] = self.n + m + above + np.arange(self._below.size)
        return at

    def at(self, values: Sequence[Array]) -> NlpCalls:
        """The program at these values of the parameters."""
        flat = [np.asarray(v, np.float64).flatten(order="F") for v in values]
        return self.of(np.concatenate(flat or [np.zeros(0)]))

    def of(self, theta: Array) -> NlpCalls:
        """The same for all numbers of the parameters, one after the other by columns."""
        return NlpCalls(self, theta)

    def full(self, x: Array, theta: Array) -> Array:
        out = np.empty(self._size)
        out[self._x], out[self._theta] = x, theta
        return out


def _rows_of(constraints: Sequence[Any], total: int) -> dict[int, Array]:
    """Which rows of the engine each constraint is, by its id: they come in order, by columns."""
    rows, at = {}, 0
    for c in constraints:
        rows[c.id] = np.arange(at, at + c.size)
        at += c.size
    if at != total:
        kinds = sorted({type(c).__name__ for c in constraints})
        raise UnsupportedError(f"CVXPY's engine has {total} rows for constraints of {at} entries ({', '.join(kinds)})")
    return rows


def _stand_in(p: Any) -> Any:
    """A variable in the place of a parameter."""
    import cvxpy as cp

    v = cp.Variable(p.shape, **{name: True for name in _SIGNS if p.attributes.get(name)})
    v.value = np.ones(p.shape) if p.value is None else p.value
    return v


def _without_parameters(problem: Any, parameters: Sequence[Any], stand_ins: Sequence[Any]) -> Any:
    """The problem, to be minimized, with variables in the place of its parameters; every variable has a value."""
    import cvxpy as cp

    for v in problem.variables():
        if v.value is None:
            v.value = _start(v)
    swap = {id(p): v for p, v in zip(parameters, stand_ins, strict=True)}
    objective = problem.objective.args[0].tree_copy(swap)
    sign = -1 if isinstance(problem.objective, cp.Maximize) else 1
    return cp.Problem(cp.Minimize(sign * objective), [c.tree_copy(swap) for c in problem.constraints])


def _start(v: Any) -> Array:
    """Where a variable starts that has no value: in the middle of its bounds, or within one of them; 0 without."""
    lb, ub = (np.broadcast_to(np.asarray(b, float), v.shape) for b in v.get_bounds())
    low, high = np.isfinite(lb), np.isfinite(ub)
    out = np.where(low & high, 0.5 * (np.where(low, lb, 0) + np.where(high, ub, 0)), 0.0)
    out = np.where(low & ~high, np.where(low, lb, 0) + 1.0, out)
    return np.asarray(np.where(high & ~low, np.where(high, ub, 0) - 1.0, out))


def compiled(
    problem: Any,
    parameters: Sequence[Any],
    variables: Sequence[Any],
    solver_args: Mapping[str, Any] | None,
    on_failure: str,
) -> tuple[Nlp, int, str, dict[str, Any]]:
    """The compiled problem, and what is done about failures, about derivatives in doubt, and the settings."""
    settings = dict(solver_args or {})
    on_untrusted = check_choice(settings.pop("on_untrusted", "warn"))
    return Nlp(problem, parameters, variables), policy_code(on_failure), on_untrusted, checked_settings(settings)


class NlpCalls:
    """A compiled problem at given parameters, as the extension calls it."""

    def __init__(self, nlp: Nlp, theta: Array) -> None:
        self.nlp, self.theta = nlp, theta
        self.lb, self.ub = nlp.lb, nlp.ub

    def values(self, x: Array) -> tuple[float, Array, Array]:
        p, at = self.nlp, self.nlp.full(x, self.theta)
        f = float(p._engine.objective(at))
        rows = np.asarray(p._engine.constraints(at), float).reshape(-1)
        return (
            f,
            rows[p._equal] - p._cl[p._equal],
            np.concatenate([p._cl[p._above] - rows[p._above], rows[p._below] - p._cu[p._below]]),
        )

    def _matrices(self, x: Array, y: Array, z: Array) -> tuple[Array, Any, Any, Any]:
        """The gradient, the Jacobians of c and g, and the Hessian of the Lagrangian, by all columns."""
        p, at = self.nlp, self.nlp.full(x, self.theta)
        e = p._engine
        e.objective(at)
        gradient = np.array(e.gradient(at), float).reshape(-1)
        m = np.asarray(e.constraints(at)).size
        rows, cols = e.jacobianstructure()
        jacobian = sparse.csr_matrix((np.array(e.jacobian(at), float), (rows, cols)), shape=(m, p._size))
        duals = np.zeros(m)
        k = p._above.size
        duals[p._equal] = y
        duals[p._above] -= z[:k]
        duals[p._below] += z[k:]
        rows, cols = e.hessianstructure()
        lower = sparse.csr_matrix((np.array(e.hessian(at, duals, 1.0), float), (rows, cols)), shape=(p._size, p._size))
        hessian = lower + sparse.tril(lower, -1).T
        inequalities = sparse.vstack([-jacobian[p._above], jacobian[p._below]]).tocsr()
        return gradient, jacobian[p._equal], inequalities, hessian.tocsr()

    def expand(self, x: Array, y: Array, z: Array) -> tuple[Array, Any, Any, Any]:
        p = self.nlp
        gradient, a, g, h = self._matrices(x, y, z)
        blocks = (a[:, p._x], g[:, p._x], h[p._x][:, p._x])
        if p.n <= _SMALL:
            made: list[Any] = [np.ascontiguousarray(b.toarray()) for b in blocks]
        else:
            made = [_columns(b) for b in blocks]
        return np.ascontiguousarray(gradient[p._x]), made[0], made[1], made[2]

    def pull(self, x: Array, y: Array, z: Array, w: Array, u_y: Array, u_z: Array, t: float) -> Array:
        theta = self.nlp._theta
        gradient, a, g, h = self._matrices(x, y, z)
        a, g = a[:, theta], g[:, theta]
        own = gradient[theta] + a.T @ y + g.T @ z
        return np.ascontiguousarray(h[theta][:, self.nlp._x] @ w + a.T @ u_y + g.T @ u_z + t * own)

    def push(self, x: Array, y: Array, z: Array, direction: Array) -> tuple[Array, Array, Array, float]:
        theta = self.nlp._theta
        gradient, a, g, h = self._matrices(x, y, z)
        dc, dg = a[:, theta] @ direction, g[:, theta] @ direction
        return h[self.nlp._x][:, theta] @ direction, dc, dg, float(gradient[theta] @ direction + y @ dc + z @ dg)


def _columns(m: Any) -> Any:
    m = m.tocsc()
    m.sum_duplicates()
    return m.indptr.astype(np.int64), m.indices.astype(np.int64), m.data.astype(np.float64), m.shape
