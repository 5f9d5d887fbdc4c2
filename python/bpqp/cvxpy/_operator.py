"""The solution map of a parametrized problem on a flat batch of NumPy arrays, its vjp and its jvp.

    parameters --sparse maps--> (P, q, A, b) --solve--> (x, s, y) --sparse maps--> variables and dual values

An input with one dimension more than its rank has one value for every element of the batch; others are shared. What no
batched input touches is built once and shared by the batch. The frameworks' layers are thin shells around this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from .. import _bpqp
from .._conic_data import NAMES
from .._core import policy_code
from .._errors import ArgumentError
from .._outcome import raise_failures
from .._program import Program
from .._verdicts import judge
from ._canonical import Canonical

Arrays = Sequence[Any]
# the blocks that depend on parameters; bounds of CVXPY are rows
_BLOCKS = NAMES[:4]


class Operator:
    """A canonical problem with a solver and a policy for failures."""

    def __init__(self, canonical: Canonical, solver: str = "auto", on_failure: str = "raise", **settings: Any) -> None:
        self.canonical = canonical
        self.policy = policy_code(on_failure)
        pattern = canonical.pattern
        self.program = Program(pattern["P"], pattern["A"], canonical.shape, canonical.cones, solver, settings)
        self.shapes = [canonical.parameter_shapes[k] for k, _ in canonical.inputs]
        self.ranks = tuple(len(s) for s in self.shapes)
        self.output_shapes = canonical.output_shapes
        self.output_ranks = tuple(len(s) for s in self.output_shapes)
        self._sizes = [int(np.prod(s, dtype=int)) for s in self.shapes]
        self._slices: dict[tuple[bool, ...], dict[str, Any]] = {}
        self._joins: dict[tuple[bool, ...], tuple[Any, ...]] = {}
        self._back = [matrix.T.tocsr() for _, matrix, _ in canonical.outputs]

    @property
    def state_size(self) -> int:
        """Numbers in a row of the state."""
        m, n = self.program.shape
        return 2 * (n + m) + 1

    def batched(self, values: Arrays) -> tuple[bool, ...]:
        """Which inputs have a batch dimension."""
        return tuple(v is not None and np.ndim(v) > r for v, r in zip(values, self.ranks, strict=True))

    def _columns(self, mask: tuple[bool, ...]) -> dict[str, Any]:
        """The columns of each map that belong to the inputs of a mask, and the transpose."""
        found = self._slices.get(mask)
        if found is None:
            keep = np.repeat(np.array(mask, dtype=bool), self._sizes)
            found = {}
            for name in _BLOCKS:
                part = sparse.csr_array(self.canonical.maps[name][:, keep])
                found[name] = (part, sparse.csr_array(part.T))
            self._slices[mask] = found
        return found

    def _joined(self, mask: tuple[bool, ...]) -> tuple[Any, ...]:
        """The same of all blocks at once, for the product of a small matrix costs as much as that of a larger one.

        Names, matrix, where blocks begin, the constant part; which blocks these inputs move, and their transpose.
        """
        found = self._joins.get(mask)
        if found is None:
            names = [n for n in _BLOCKS if n != "P" or self.program.pattern_P is not None]
            parts = {name: self._columns(mask)[name][0] for name in names}
            moved = [name for name in names if parts[name].nnz]
            starts = np.cumsum([0, *(part.shape[0] for part in parts.values())]).tolist()
            constant = np.concatenate([self.canonical.constant[name] for name in names])
            back = sparse.csr_array(sparse.vstack([parts[name] for name in moved]).T) if moved else None
            found = names, sparse.csr_array(sparse.vstack(list(parts.values()))), starts, constant, moved, back
            self._joins[mask] = found
        return found

    def _blocks(self, values: Arrays, constant: bool) -> tuple[Any, ...]:
        """`(P, q, A, b)` at these inputs; None stands for zeros. Without the constant part: a direction."""
        batched = self.batched(values)
        shared = tuple(v is not None and not b for v, b in zip(values, batched, strict=True))
        empty = np.zeros(0)
        one = np.concatenate([empty, *(np.ravel(v) for v, s in zip(values, shared, strict=True) if s)])
        rows = [np.reshape(v, (np.shape(v)[0], -1)) for v, b in zip(values, batched, strict=True) if b]
        if not rows:
            names, matrix, starts, always, *_ = self._joined(shared)
            value = matrix @ one
            if constant:
                value += always
            made = {name: value[starts[k] : starts[k + 1]] for k, name in enumerate(names)}
            return (*(made.get(name) for name in _BLOCKS), None, None)
        many = np.concatenate(rows, axis=1)
        own, each = self._columns(shared), self._columns(batched)
        out: list[Any] = []
        for name in _BLOCKS:
            if name == "P" and self.program.pattern_P is None:
                out.append(None)
                continue
            value = own[name][0] @ one
            if constant:
                value = value + self.canonical.constant[name]
            matrix = each[name][0]
            if matrix.nnz:
                value = value + (matrix @ many.T).T
            out.append(np.ascontiguousarray(value, dtype=np.float64))
        return (*out, None, None)

    def solve(
        self, values: Arrays, size: int, warm: Any = None, single: bool = False
    ) -> tuple[_bpqp.ConicSolved, list[Any]]:
        """The solutions and the variables asked for, each with a batch dimension; failures are raised by policy.

        `single`: the values come from single precision.
        """
        for (k, kind), value in zip(self.canonical.inputs, values, strict=True):
            if not kind:
                self.canonical.declared[k].check(np.asarray(value), single)
        solved = self.program.solve(self._blocks(values, True), size, warm)
        if self.policy == 0:
            raise_failures(solved)
        x, _, y, *_ = solved.outputs(self.policy != 2)
        return solved, self._read(x, y)

    def restore(self, values: Arrays, state: Any) -> _bpqp.ConicSolved:
        """Solutions from their state."""
        return self.program.restore(self._blocks(values, True), np.ascontiguousarray(state))

    def _read(self, x: Any, y: Any) -> list[Any]:
        found = []
        for (source, matrix, _), shape in zip(self.canonical.outputs, self.output_shapes, strict=True):
            value = (matrix @ (x if source == "x" else y).T).T
            found.append(np.ascontiguousarray(value).reshape(len(x), *shape))
        return found

    def vjp(
        self, solved: _bpqp.ConicSolved, cotangents: Arrays, needs: Sequence[bool], summed: Sequence[bool]
    ) -> list[Any]:
        """The gradients that are needed; those marked in `summed` are sums over the batch."""
        rows = self._rows(solved, cotangents)
        return self._gradients(solved, needs, summed, lambda ask, alone: solved.vjp(rows, ask, alone, self.policy))

    def second_vjp(
        self,
        solved: _bpqp.ConicSolved,
        cotangents: Arrays,
        along: Arrays,
        needs: Sequence[bool],
        summed: Sequence[bool],
    ) -> list[Any]:
        """Their derivatives along a direction of the inputs, the cotangents held: data are affine in the inputs."""
        rows, direction = self._rows(solved, cotangents), self._blocks(along, False)

        def derive(ask: Any, alone: Any) -> Any:
            return solved.second_vjp(rows, direction, ask, alone, self.policy)

        return self._gradients(solved, needs, summed, derive)

    def _rows(self, solved: _bpqp.ConicSolved, cotangents: Arrays) -> tuple[Any, ...]:
        """Cotangents of the variables as those of `(x, s, y, z_box, objective)`."""
        rows: dict[str, Any] = {}
        for (source, _, _), back, c in zip(self.canonical.outputs, self._back, cotangents, strict=True):
            if c is not None:
                value = (back @ np.reshape(c, (len(solved), -1)).T).T
                rows[source] = rows[source] + value if source in rows else value
        x, y = (np.ascontiguousarray(rows[k]) if k in rows else None for k in "xy")
        return x, None, y, None, None

    def _gradients(
        self,
        solved: _bpqp.ConicSolved,
        needs: Sequence[bool],
        summed: Sequence[bool],
        derive: Callable[[Any, Any], Any],
    ) -> list[Any]:
        total = tuple(bool(n and s) for n, s in zip(needs, summed, strict=True))
        apart = tuple(bool(n and not s) for n, s in zip(needs, summed, strict=True))
        if not any(apart):
            return self._sums(total, derive)
        sums, each = self._columns(total), self._columns(apart)
        alone = [not each[name][0].nnz for name in _BLOCKS]
        ask = [bool(sums[name][0].nnz or not one) for name, one in zip(_BLOCKS, alone, strict=True)]
        if self.program.pattern_P is None:
            ask[0] = False
        *values, codes = derive([*ask, False, False], [*alone, True, True])
        judge(codes, self.program.on_untrusted)
        flat_sum = np.zeros(sum(s for s, t in zip(self._sizes, total, strict=True) if t))
        flat_each = np.zeros((len(solved), sum(s for s, t in zip(self._sizes, apart, strict=True) if t)))
        for name, value, one in zip(_BLOCKS, values[:4], alone, strict=True):
            if value is None:
                continue
            flat_sum += sums[name][1] @ (value if one else value.sum(0))
            if not one:
                flat_each += (each[name][1] @ value.T).T
        out, i, j = [], 0, 0
        for size, shape, t, a in zip(self._sizes, self.shapes, total, apart, strict=True):
            if t:
                out.append(flat_sum[i : i + size].reshape(shape))
                i += size
            if a:
                out.append(np.ascontiguousarray(flat_each[:, j : j + size]).reshape(len(solved), *shape))
                j += size
        return out

    def _sums(self, total: tuple[bool, ...], derive: Callable[[Any, Any], Any]) -> list[Any]:
        """The same where every gradient is a sum over the batch."""
        *_, moved, back = self._joined(total)
        *values, codes = derive([*(name in moved for name in _BLOCKS), False, False], [True] * 6)
        judge(codes, self.program.on_untrusted)
        given = [v for name, v in zip(_BLOCKS, values[:4], strict=True) if name in moved]
        flat = back @ np.concatenate(given) if given else np.zeros(sum(self._sizes))
        out, i = [], 0
        for size, shape, t in zip(self._sizes, self.shapes, total, strict=True):
            if t:
                out.append(flat[i : i + size].reshape(shape))
                i += size
        return out

    def jvp(self, solved: _bpqp.ConicSolved, tangents: Arrays) -> list[Any]:
        """The change of the variables along a direction; None stands for zeros."""
        return self._moved(solved.jvp(self._blocks(tangents, False), self.policy))

    def second_jvp(self, solved: _bpqp.ConicSolved, tangents: Arrays, along: Arrays) -> list[Any]:
        """Its derivative along another direction."""
        first, second = self._blocks(tangents, False), self._blocks(along, False)
        return self._moved(solved.second_jvp(first, second, self.policy))

    def _moved(self, found: Any) -> list[Any]:
        x, _, y, *_, codes = found
        judge(codes, self.program.on_untrusted)
        return self._read(x, y)

    # --- what the layers say of their arguments

    def check(self, values: Arrays) -> int | None:
        """The size of the batch of the parameters, None without one."""
        shapes = self.canonical.parameter_shapes
        if len(values) != len(shapes):
            raise ArgumentError(
                f"A tensor must be provided for each CVXPY parameter: {len(values)} were given for {len(shapes)}"
            )
        batch, owner = None, 0
        for k, (value, shape) in enumerate(zip(values, shapes, strict=True)):
            found = tuple(value.shape)
            if found == shape:
                continue
            if len(found) != len(shape) + 1 or found[1:] != shape:
                what = "shape" if len(found) in (len(shape), len(shape) + 1) else "dimensionality"
                batched = ", ".join(map(str, ("batch", *shape)))
                raise ArgumentError(
                    f"Invalid parameter {what}: parameter {k} has shape {found}, expected {shape}, or ({batched}) with "
                    "a batch dimension"
                )
            if batch is None:
                batch, owner = found[0], k
            elif batch != found[0]:
                raise ArgumentError(
                    f"Inconsistent batch sizes: parameter {k} has a batch of {found[0]}, but parameter {owner} has one "
                    f"of {batch}"
                )
        if batch == 0:
            raise ArgumentError(f"parameter {owner} has a batch of 0: a batch needs at least one element")
        return batch


# what one writes for the solvers behind cvxpylayers, and what has no meaning here: there is one way to differentiate,
# and a first-order method's count of iterations says nothing about an interior point
_THEIRS = frozenset(
    [
        *("mode", "solve_method", "n_jobs_forward", "n_jobs_backward", "raise_on_error", "derivative_kwargs"),
        *("acceleration_lookback", "acceleration_interval", "use_indirect", "scale", "normalize", "max_iters"),
        *("warm_start", "verbose"),
    ]
)
_AUTO = frozenset(["diffcp", "scs", "ecos", "moreau", "cuclarabel", "mpax", "bpqp"])
_TOLERANCE = 1e-8


def settings_of(solver: str | None, solver_args: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """bpqp's solver and settings from what one writes for cvxpylayers.

    Tolerances only tighten: the gradient belongs to the solution, not to an approximation of it.
    """
    name = (solver or "auto").lower()
    out: dict[str, Any] = {}
    for key, value in (solver_args or {}).items():
        if key in _THEIRS or value is None:
            continue
        if key in ("eps", "tol", "eps_abs", "eps_rel"):
            for own in ("eps_abs", "eps_rel") if key in ("eps", "tol") else (key,):
                out[own] = min(float(value), _TOLERANCE)
        else:
            out["time_limit" if key == "time_limit_secs" else key] = value
    return "auto" if name in _AUTO else name, out


class Operators:
    """The operators of a layer: one for each choice of settings."""

    def __init__(
        self, canonical: Canonical, solver: str | None, solver_args: Mapping[str, Any] | None, on_failure: str
    ) -> None:
        self.canonical, self.solver, self.on_failure = canonical, solver, on_failure
        self.solver_args = dict(solver_args or {})
        self._known: dict[str, Operator] = {}
        self.get(None)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": {}}

    def get(self, solver_args: Mapping[str, Any] | None) -> Operator:
        """The operator for the settings of the layer and those of a call."""
        args = {**self.solver_args, **(solver_args or {})}
        key = repr(sorted(args.items(), key=lambda item: item[0]))
        if key not in self._known:
            name, settings = settings_of(self.solver, args)
            self._known[key] = Operator(self.canonical, name, self.on_failure, **settings)
        return self._known[key]
