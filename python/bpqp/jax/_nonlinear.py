"""Smooth programs of JAX callables: solved by the extension on the host, differentiated by JAX in one linear system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .. import _bpqp
from .._engines import POLICIES, policy_code
from .._errors import ArgumentError, SolveError
from .._nonlinear import checked_settings, described
from .._types import OnFailure

Function = Callable[..., Any]


class NonlinearSolution(NamedTuple):
    """Differentiable `x`, multipliers `y`, `z`, `z_box`, `objective`; the mask `ok`, `status` as a number
    (`bpqp.jax.status_names`) and `verdict` as a number (`bpqp.jax.verdict_names`)."""

    x: Any
    y: Any
    z: Any
    z_box: Any
    objective: Any
    ok: Any
    status: Any
    verdict: Any


@dataclass(frozen=True)
class _Program:
    """What is static: the functions of `(x, params)`, and the settings."""

    f: Function
    c: Function | None
    g: Function | None
    policy: int
    settings: tuple[tuple[str, Any], ...]

    def rows(self, function: Function | None, x: Any, params: Any) -> Any:
        return jnp.zeros(0, x.dtype) if function is None else jnp.atleast_1d(function(x, params))

    def lagrangian(self, x: Any, y: Any, z: Any, params: Any) -> Any:
        return self.f(x, params) + self.rows(self.c, x, params) @ y + self.rows(self.g, x, params) @ z


@partial(jax.jit, static_argnums=0)
def _values(program: _Program, x: Any, params: Any) -> Any:
    return program.f(x, params), program.rows(program.c, x, params), program.rows(program.g, x, params)


@partial(jax.jit, static_argnums=0)
def _expand(program: _Program, x: Any, y: Any, z: Any, params: Any) -> Any:
    def jacobian(rows: Function | None) -> Any:
        return jax.jacrev(lambda v: program.rows(rows, v, params))(x)

    curvature = jax.hessian(lambda v: program.lagrangian(v, y, z, params))(x)
    return jax.grad(program.f)(x, params), jacobian(program.c), jacobian(program.g), curvature


class _Calls:
    """The functions at given parameters, as the extension calls them; in double precision whatever JAX computes in."""

    def __init__(self, program: _Program, params: Any, lb: Any, ub: Any, dtype: Any) -> None:
        self.program, self.params, self.dtype = program, params, dtype
        self.lb, self.ub = lb, ub

    def values(self, x: Any) -> Any:
        f, c, g = _values(self.program, x.astype(self.dtype), self.params)
        return float(f), np.asarray(c, np.float64), np.asarray(g, np.float64)

    def expand(self, x: Any, y: Any, z: Any) -> Any:
        out = _expand(self.program, *(v.astype(self.dtype) for v in (x, y, z)), self.params)
        return tuple(np.ascontiguousarray(v, np.float64) for v in out)


def _solve_on_host(program: _Program, unravel: Any, x0: Any, flat: Any, lb: Any, ub: Any) -> Any:
    dtype = np.asarray(x0).dtype
    start, lower, upper = (np.asarray(v, np.float64) for v in (x0, lb, ub))
    calls = _Calls(program, unravel(np.asarray(flat)), lower, upper, dtype)
    settings = dict(program.settings)
    if dtype == np.float32:
        settings = {"eps_abs": 1e-5, "eps_rel": 1e-5, **settings}
    local = _bpqp.solve_smooth(calls, start, None, settings)
    if not local.ok and program.policy == POLICIES["raise"]:
        raise SolveError(f"the smooth program was not solved, {described(local)}", [(0, local.status)])
    outputs = [np.asarray(v, dtype) for v in local.outputs()]
    if not local.ok and program.policy == POLICIES["nan"]:
        outputs = [np.full_like(v, np.nan) for v in outputs]
    active = local.active()
    k = outputs[2].size
    held, sides = (np.zeros(k, bool), np.zeros(start.size)) if active is None else active[:2]
    codes = np.array([_bpqp.STATUSES.index(local.status), _bpqp.VERDICTS.index(local.verdict)], np.int32)
    return *outputs[:4], outputs[4][0], held.astype(dtype), sides.astype(dtype), codes


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _solve(program: _Program, unravel: Any, x0: Any, flat: Any, lb: Any, ub: Any) -> Any:
    c, g = (jax.eval_shape(lambda v, r=rows: program.rows(r, v, unravel(flat)), x0) for rows in (program.c, program.g))
    n, dtype = x0.shape[0], x0.dtype
    sizes: list[tuple[int, ...]] = [(n,), (c.shape[0],), (g.shape[0],), (n,), (), (g.shape[0],), (n,)]
    struct: Any = jax.ShapeDtypeStruct
    shapes = (*(struct(size, dtype) for size in sizes), struct((2,), np.int32))
    host = partial(_solve_on_host, program, unravel)
    return jax.pure_callback(host, shapes, x0, flat, lb, ub, vmap_method="sequential")


@_solve.defjvp
def _solve_jvp(program: _Program, unravel: Any, primals: Any, tangents: Any) -> Any:
    x0, flat, lb, ub = primals
    _, dflat, dlb, dub = tangents
    out = _solve(program, unravel, x0, flat, lb, ub)
    x, y, z, z_box, _, held, sides, codes = out
    n, m, k = x.shape[0], y.shape[0], z.shape[0]
    slope = jax.grad(program.lagrangian)

    def of(p: Any) -> Any:
        params = unravel(p)
        rows = (program.rows(program.c, x, params), program.rows(program.g, x, params))
        return slope(x, y, z, params), *rows, program.lagrangian(x, y, z, params)

    _, (dslope, dc, dg, dl) = jax.jvp(of, (flat,), (dflat,))
    params = unravel(flat)
    _, a, rows, h = _expand(program, x, y, z, params)
    # rows that do not hold have no multiplier, variables that are not held none either: their equations say so
    pinned = jnp.abs(sides)
    dbound = jnp.where(sides < 0, dlb, jnp.where(sides > 0, dub, 0.0))

    def zeros(r: int, s: int) -> Any:
        return jnp.zeros((r, s), x.dtype)

    system = jnp.block(
        [
            [h, a.T, rows.T, jnp.eye(n, dtype=x.dtype)],
            [a, zeros(m, m), zeros(m, k), zeros(m, n)],
            [held[:, None] * rows, zeros(k, m), jnp.diag(1.0 - held), zeros(k, n)],
            [jnp.diag(pinned), zeros(n, m), zeros(n, k), jnp.diag(1.0 - pinned)],
        ]
    )
    right = jnp.concatenate([-dslope, -dc, -held * dg, pinned * dbound])
    step = jnp.linalg.solve(system, right)
    usable = (codes[0] < 2) | (program.policy == POLICIES["nan"])
    step = jnp.where(usable, step, 0.0)
    dx, dy, dz, dzb = jnp.split(step, [n, n + m, n + m + k])
    dobjective = jnp.where(usable, dl - z_box @ dbound, 0.0)
    nothing = np.zeros(codes.shape, jax.dtypes.float0)
    return out, (dx, dy, dz, dzb, dobjective, jnp.zeros_like(held), jnp.zeros_like(sides), nothing)


def solve_nlp(
    f: Function,
    x0: Any,
    params: Any = (),
    c: Function | None = None,
    g: Function | None = None,
    lb: Any = None,
    ub: Any = None,
    *,
    full: bool = False,
    on_failure: OnFailure = "raise",
    **settings: Any,
) -> Any:
    """A local minimizer of a smooth program of JAX callables, differentiable in its parameters and bounds:

        minimize f(x, params)  s.t.  c(x, params) = 0,  g(x, params) <= 0,  lb <= x <= ub

    Its derivative is that of the quadratic program with the Hessian of the Lagrangian over the active rows: one linear
    system, which JAX differentiates in both modes. Works under `jit`, `vmap`, `grad`, `jacfwd` and `jacrev`; functions
    that close over traced values are not supported: pass those in `params`. At a kink the derivative is that of one
    side.

    Args:
        params: a pytree of arrays.
        x0: (n,), where to start.
        lb, ub: bounds, (n,) or a number, or None.
        full: return a `NonlinearSolution`.
        on_failure: "raise" (under jit the framework's runtime error with the text of `bpqp.SolveError`), "nan" or
            "zero_grad".
        settings: eps_abs, eps_rel (1e-8), max_iter, time_limit (seconds).
    """
    start = jnp.asarray(x0)
    if start.ndim != 1 or not jnp.issubdtype(start.dtype, jnp.floating):
        raise ArgumentError(f"x0 has shape {start.shape} and dtype {start.dtype}: pass (n,) of float64 or float32")
    flat, unravel = ravel_pytree(params)
    flat = flat.astype(start.dtype)
    box = []
    for name, value, missing in (("lb", lb, -jnp.inf), ("ub", ub, jnp.inf)):
        array = jnp.asarray(missing if value is None else value, start.dtype)
        if array.ndim > 1 or (array.ndim == 1 and array.shape != start.shape):
            raise ArgumentError(f"{name} has shape {array.shape}, expected {start.shape}, one entry for each variable")
        box.append(jnp.broadcast_to(array, start.shape))
    chosen = tuple(sorted(checked_settings(settings).items()))
    program = _Program(f, c, g, policy_code(on_failure), chosen)
    x, y, z, z_box, objective, _, _, codes = _solve(program, unravel, start, flat, *box)
    if not full:
        return x
    return NonlinearSolution(x, y, z, z_box, objective, codes[..., 0] < 2, codes[..., 0], codes[..., 1])


__all__ = ["NonlinearSolution", "solve_nlp"]
