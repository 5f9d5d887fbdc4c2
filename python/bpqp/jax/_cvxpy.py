"""A CVXPY problem as a JAX function: an `Operator` as the `spec` of the primitives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._errors import ArgumentError, DtypeError
from .._types import OnFailure
from ._nlp import CvxpyNlp
from ._operator import OperatorSpec
from ._primitives import solve_p
from ._solve import split_status

if TYPE_CHECKING:
    import cvxpy as cp


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

    Under jit, vmap, grad, jacfwd, jacrev and hessian (with `nlp=True` in reverse mode only, once). Arguments are
    those of `bpqp.torch.CvxpyLayer`; under jit an unsolved problem is the runtime error of JAX with the text of
    `bpqp.SolveError`.
    """

    def __init__(
        self,
        problem: cp.Problem,
        parameters: Sequence[cp.Parameter],
        variables: Sequence[cp.Variable],
        solver: str | None = None,
        gp: bool = False,
        verbose: bool = False,
        canon_backend: str | None = None,
        solver_args: Mapping[str, Any] | None = None,
        *,
        on_failure: OnFailure = "raise",
        nlp: bool = False,
    ) -> None:
        self._nlp: CvxpyNlp | None = None
        if nlp:
            from ..cvxpy._nlp import compiled

            self._nlp = CvxpyNlp(*compiled(problem, parameters, variables, solver_args, on_failure))
            return
        from ..cvxpy import Canonical
        from ..cvxpy._operator import Operators

        canonical = Canonical(problem, parameters, variables, gp=gp, canon_backend=canon_backend)
        args = {**(solver_args or {}), **({"verbose": True} if verbose else {})}
        self._operators = Operators(canonical, solver, args, on_failure)

    @overload
    def __call__(
        self, *params: ArrayLike, full: Literal[False] = False, solver_args: Mapping[str, Any] | None = None
    ) -> tuple[jax.Array, ...]: ...

    @overload
    def __call__(
        self, *params: ArrayLike, full: Literal[True], solver_args: Mapping[str, Any] | None = None
    ) -> CvxpySolution: ...

    def __call__(
        self, *params: ArrayLike, full: bool = False, solver_args: Mapping[str, Any] | None = None
    ) -> tuple[jax.Array, ...] | CvxpySolution:
        """The values of the variables, a tuple; with `full` a `CvxpySolution`, which looks at the backward system too.

        In the dtype of the first array; see `bpqp.torch.CvxpyLayer`.
        """
        if self._nlp is not None:
            if solver_args is not None:
                raise ArgumentError("with nlp=True settings are given where the layer is made")
            arrays = _arrays(params)
            dtype = arrays[0].dtype if arrays else jnp.zeros(0).dtype
            variables, codes = self._nlp([a.astype(dtype) for a in arrays])
            code = codes[..., 0]
            return CvxpySolution(variables, code < 2, code, codes[..., 1]) if full else variables
        operator = self._operators.get(solver_args)
        arrays = _arrays(params)
        batch = operator.check(arrays)
        dtype = np.dtype(arrays[0].dtype) if arrays else np.dtype(jnp.zeros(0).dtype)
        arrays = [a.astype(dtype) for a in arrays]
        canonical = operator.canonical
        inputs = [_OF[kind](arrays[k]) for k, kind in canonical.inputs]
        *outputs, _, codes = solve_p.bind(*inputs, spec=OperatorSpec(operator, batch or 1, dtype, full))
        if batch is None:
            outputs, codes = [v[0] for v in outputs], codes[0]
        kinds = (exponential for _, _, exponential in canonical.outputs)
        variables = tuple(jnp.exp(v) if e else v for v, e in zip(outputs, kinds, strict=True))
        if not full:
            return variables
        status, ok = split_status(codes[..., 0])
        return CvxpySolution(variables, ok, status, codes[..., 2])


# what the inputs of the maps are of the parameters
_OF: dict[str, Any] = {"": lambda value: value, "log": jnp.log, "square": jnp.square}


def _arrays(params: Sequence[Any]) -> list[jax.Array]:
    if any(p is None for p in params):
        raise DtypeError(f"parameter {[p is None for p in params].index(True)} is None: pass an array")
    try:
        arrays = [jnp.asarray(p) for p in params]
    except (TypeError, ValueError) as error:
        raise DtypeError(f"a parameter is no dense array: {error}") from error
    for k, array in enumerate(arrays):
        if array.dtype not in (jnp.float32, jnp.float64):
            raise DtypeError(f"parameter {k} has dtype {array.dtype}: pass float32 or float64")
    return arrays
