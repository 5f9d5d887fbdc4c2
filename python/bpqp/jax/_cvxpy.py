"""A CVXPY problem as a JAX function: an `Operator` as the `spec` of the primitives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray

from .._errors import DtypeError
from . import _cvxpy_host
from ._primitives import solve_p
from ._solve import split_status
from ._spec import Mask


@dataclass(frozen=True)
class CvxpySpec:
    """What is static."""

    operator: Any
    size: int
    dtype: np.dtype[Any]
    examine: bool = False

    @property
    def host(self) -> Any:
        """The module of the operations on the host."""
        return _cvxpy_host

    @property
    def ranks(self) -> tuple[int, ...]:
        return self.operator.ranks  # type: ignore[no-any-return]

    @property
    def output_ranks(self) -> tuple[int, ...]:
        return self.operator.output_ranks  # type: ignore[no-any-return]

    @property
    def data_mask(self) -> Mask:
        return (True,) * len(self.operator.ranks)

    def outputs(self) -> list[Any]:
        return [ShapedArray((self.size, *shape), self.dtype) for shape in self.operator.output_shapes]

    def state(self) -> Any:
        return ShapedArray((self.size, 2 * self.operator.state_size), np.dtype(np.uint32))

    def codes(self) -> Any:
        """Status and iterations, and the verdict where it is wanted."""
        return ShapedArray((self.size, 2 + self.examine), np.dtype(np.int32))

    def gradients(self, ask: Mask, summed: Mask) -> list[Any]:
        slots = zip(ask, summed, self.operator.shapes, strict=True)
        return [ShapedArray(shape if s else (self.size, *shape), self.dtype) for a, s, shape in slots if a]


class CvxpySolution(NamedTuple):
    """The differentiable `variables` that were asked for; how each element went: the mask `ok`, `status` as a number
    (`status_names` has its word); and `verdict`, how far derivatives may be trusted, as a number (`verdict_names`).
    """

    variables: tuple[Any, ...]
    ok: Any
    status: Any
    verdict: Any


class CvxpyLayer:
    """The solution of a parametrized CVXPY problem as a function of its parameters.

        layer = CvxpyLayer(problem, parameters=[A, b], variables=[x])
        (x_star,) = layer(A_array, b_array)

    Under jit, vmap, grad, jacfwd, jacrev and hessian. Arguments are those of `bpqp.torch.CvxpyLayer`; under jit an
    unsolved problem is the runtime error of JAX with the text of `bpqp.SolveError`.
    """

    def __init__(
        self,
        problem: Any,
        parameters: Any,
        variables: Any,
        solver: str | None = None,
        gp: bool = False,
        verbose: bool = False,
        canon_backend: str | None = None,
        solver_args: dict[str, Any] | None = None,
        *,
        on_failure: str = "raise",
    ) -> None:
        from ..cvxpy import Canonical
        from ..cvxpy._operator import Operators

        canonical = Canonical(problem, parameters, variables, gp=gp, canon_backend=canon_backend)
        args = {**(solver_args or {}), **({"verbose": True} if verbose else {})}
        self._operators = Operators(canonical, solver, args, on_failure)

    def __call__(self, *params: Any, full: bool = False, solver_args: dict[str, Any] | None = None) -> Any:
        """The values of the variables, a tuple; with `full` a `CvxpySolution`, which looks at the backward system too.

        In the dtype of the first array; see `bpqp.torch.CvxpyLayer`.
        """
        operator = self._operators.get(solver_args)
        if any(p is None for p in params):
            raise DtypeError(f"parameter {[p is None for p in params].index(True)} is None: pass an array")
        try:
            arrays = [jnp.asarray(p) for p in params]
        except (TypeError, ValueError) as error:
            raise DtypeError(f"a parameter is no dense array: {error}") from error
        for k, array in enumerate(arrays):
            if array.dtype not in (jnp.float32, jnp.float64):
                raise DtypeError(f"parameter {k} has dtype {array.dtype}: pass float32 or float64")
        batch = operator.check(arrays)
        dtype = np.dtype(arrays[0].dtype) if arrays else np.dtype(jnp.zeros(0).dtype)
        arrays = [a.astype(dtype) for a in arrays]
        canonical = operator.canonical
        inputs = [jnp.log(arrays[k]) if log else arrays[k] for k, log in canonical.inputs]
        *outputs, _, codes = solve_p.bind(*inputs, spec=CvxpySpec(operator, batch or 1, dtype, full))
        if batch is None:
            outputs, codes = [v[0] for v in outputs], codes[0]
        kinds = (exponential for _, _, exponential in canonical.outputs)
        variables = tuple(jnp.exp(v) if e else v for v, e in zip(outputs, kinds, strict=True))
        if not full:
            return variables
        status, ok = split_status(codes[..., 0])
        return CvxpySolution(variables, ok, status, codes[..., 2])
