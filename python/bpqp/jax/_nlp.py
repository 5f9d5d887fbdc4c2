"""CVXPY's disciplined nonlinear problems in JAX: solved and differentiated on the host, in reverse mode."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _bpqp
from .._engines import POLICIES
from .._errors import ArgumentError, SolveError
from .._nonlinear import code_of, described
from .._verdicts import judge


@dataclass(frozen=True, eq=False)
class _Compiled:
    """What is static."""

    nlp: Any
    policy: int
    on_untrusted: str
    settings: dict[str, Any]

    def solve(self, theta: Any, x: Any, multipliers: Any = None) -> tuple[Any, _bpqp.Local]:
        calls = self.nlp.of(np.asarray(theta, np.float64))
        return calls, _bpqp.solve_smooth(calls, np.asarray(x, np.float64), multipliers, self.settings)


def _forward(compiled: _Compiled, theta: Any) -> Any:
    _, local = compiled.solve(theta, compiled.nlp.start)
    if not local.ok and compiled.policy == POLICIES["raise"]:
        raise SolveError(f"the problem was not solved, {described(local)}", [(0, local.status)])
    x, y, z = (np.asarray(v) for v in local.outputs()[:3])
    shown = np.concatenate([x, y, z])
    if not local.ok and compiled.policy == POLICIES["nan"]:
        shown = np.full_like(shown, np.nan)
    dtype = np.asarray(theta).dtype
    codes = np.array([_bpqp.STATUSES.index(local.status), _bpqp.VERDICTS.index(local.verdict)], np.int32)
    return shown.astype(dtype), x.astype(dtype), y.astype(dtype), z.astype(dtype), codes


def _backward(compiled: _Compiled, theta: Any, x: Any, y: Any, z: Any, codes: Any, cotangent: Any) -> Any:
    theta, cotangent = np.asarray(theta), np.asarray(cotangent, np.float64)
    if codes[0] >= 2:
        # what does not matter to the loss has no gradient
        bad = np.nan if compiled.policy == POLICIES["nan"] and np.any(cotangent != 0) else 0.0
        return np.full(theta.shape, bad, theta.dtype)
    # a step or two from the solution
    start = tuple(np.ascontiguousarray(v, np.float64) for v in (y, z))
    calls, local = compiled.solve(theta, x, start)
    if not local.ok:
        calls, local = compiled.solve(theta, compiled.nlp.start)
    x, y, z, z_box, objective = local.outputs()
    parts = np.split(cotangent, np.cumsum([x.size, y.size]))
    own = (*map(np.ascontiguousarray, parts), np.zeros_like(z_box), np.zeros_like(objective))
    flat, _, _, verdict = local.vjp(calls, own)
    judge(np.array([code_of(verdict)], np.uint8), compiled.on_untrusted)
    return flat.astype(theta.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _solve(compiled: _Compiled, theta: Any) -> Any:
    return _solve_fwd(compiled, theta)[0]


def _solve_fwd(compiled: _Compiled, theta: Any) -> Any:
    struct: Any = jax.ShapeDtypeStruct
    m, k = compiled.nlp.counts
    n = compiled.nlp.n
    sizes = (n + m + k, n, m, k)
    shapes = (*(struct((size,), theta.dtype) for size in sizes), struct((2,), np.int32))
    host = partial(_forward, compiled)
    shown, x, y, z, codes = jax.pure_callback(host, shapes, theta, vmap_method="sequential")
    return (shown, codes), (theta, x, y, z, codes)


def _solve_bwd(compiled: _Compiled, kept: Any, cotangents: Any) -> Any:
    theta = kept[0]
    struct: Any = jax.ShapeDtypeStruct
    host = partial(_backward, compiled)
    shape = struct(theta.shape, theta.dtype)
    return (jax.pure_callback(host, shape, *kept, cotangents[0], vmap_method="sequential"),)


_solve.defvjp(_solve_fwd, _solve_bwd)


class CvxpyNlp:
    """A DNLP problem of CVXPY as a function of arrays: what `CvxpyLayer(nlp=True)` does."""

    def __init__(self, nlp: Any, policy: int, on_untrusted: str, settings: dict[str, Any]) -> None:
        self._compiled = _Compiled(nlp, policy, on_untrusted, settings)

    def __call__(self, arrays: list[Any]) -> tuple[tuple[Any, ...], Any]:
        """The variables, and codes of status and verdict."""
        nlp = self._compiled.nlp
        if len(arrays) != len(nlp.shapes):
            raise ArgumentError(f"{len(arrays)} arrays were given for {len(nlp.shapes)} parameters")
        size: int | None = None
        flags = []
        for k, (p, shape) in enumerate(zip(arrays, nlp.shapes, strict=True)):
            batched = p.shape != shape
            if batched and p.shape[1:] != shape:
                raise ArgumentError(f"parameter {k} has shape {p.shape}, expected {shape}, or a batch of that")
            if batched and size not in (None, p.shape[0]):
                raise ArgumentError(f"parameter {k} has a batch of {p.shape[0]}, but another has one of {size}")
            size = p.shape[0] if batched else size
            flags.append(batched)

        def one(*values: Any) -> Any:
            flat = [jnp.ravel(v, order="F") for v in values]
            theta = jnp.concatenate(flat) if flat else jnp.zeros(0)
            found, codes = _solve(self._compiled, theta)
            return tuple(jnp.reshape(found[place], shape, order="F") for place, shape in nlp.outputs), codes

        if size is None:
            found: tuple[tuple[Any, ...], Any] = one(*arrays)
            return found
        return jax.vmap(one, in_axes=tuple(0 if b else None for b in flags))(*arrays)  # type: ignore[no-any-return]
