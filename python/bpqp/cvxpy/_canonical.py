"""A parametrized CVXPY problem as a cone program whose data are a sparse matrix times the parameters.

CVXPY's own reductions make the cone program, once. Its data (P, q, A, b) are affine in the parameters, its variables
and dual values linear in (x, y), and these maps are all that is kept: sparse matrices, never a dense parameter tensor.

For a geometric program the cone program is that of the logarithms: some parameters enter through their logarithm, and
the variables are exponentials of what is recovered here. Both are elementwise and are done by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import cvxpy as cp
import cvxpy.settings as s
import numpy as np
from cvxpy.reductions.dgp2dcp.dgp2dcp import Dgp2Dcp
from scipy import sparse

from .._conic_data import cone_rows
from .._errors import ArgumentError, UnsupportedError
from ._attributes import Declared
from ._chain import compile_problem
from ._factor import recognize
from ._solver import cones_of

SYMMETRIC = ("symmetric", "PSD", "NSD", "hermitian")
BLOCKS = ("P", "q", "A", "b")
# labels are small integers times a scaling of CVXPY, a root of 2 at most
_LABEL = 1e-6


class Canonical:
    """The cone program of a problem and its maps.

    Attributes:
        shape: rows and columns of A.
        cones: as for `bpqp.solve_conic`.
        pattern: for P and A, `(indptr, indices)` of the compressed columns; None for a P that is absent, `(rank,)` for
            one that is `diag(d) + F F'`, whose values are d and the columns of F.
        maps: for each block, the sparse matrix from the entries that `inputs` names to its values.
        constant: for each block, what does not depend on parameters.
        inputs: pairs (parameter, "", "log" or "square") of which the flattened values, their logarithms or squares, one
            after the other, are what the maps act on.
        outputs: triples (from "x" or "y", sparse matrix, exponential?), one for each variable asked for.
    """

    def __init__(
        self,
        problem: cp.Problem,
        parameters: Sequence[Any],
        variables: Sequence[Any],
        *,
        gp: bool = False,
        canon_backend: str | None = None,
    ) -> None:
        _check(problem, parameters, variables, gp)
        self.parameter_shapes = [parameter_shape(p) for p in parameters]
        self.declared = [Declared(k, p) for k, p in enumerate(parameters)]
        self.output_shapes = [tuple(v.shape) for v in variables]
        try:
            data, chain, inverse = compile_problem(problem, gp, canon_backend)
        except cp.error.SolverError as error:
            raise UnsupportedError(f"this problem is not a cone program that bpqp solves: {error}") from error
        program = data[s.PARAM_PROB]
        self.cones = cones_of(data["dims"])
        self.maximize = isinstance(problem.objective, cp.Maximize)
        self._read_maps(program, chain, parameters)
        self._read_outputs(problem, program, chain, inverse, variables)
        recognize(self)

    # --- data from parameters

    def _read_maps(self, program: Any, chain: Any, parameters: Sequence[Any]) -> None:
        named, spread = _spread(program, chain, parameters)
        self.inputs = [(k, "log" if log else "") for k, log in named]
        n = program.x.size
        program.reduced_A.cache()
        program.reduced_P.cache()
        objective = sparse.csr_array(program.q)[:-1]
        rows, width = sum(map(cone_rows, self.cones)), program.total_param_size + 1
        A, b, pattern = _split_constraints(program.reduced_A, n, rows, width)
        self.shape = (rows, n)
        P, pattern_P = _symmetric(program.reduced_P, n, width)
        self.pattern = {"P": pattern_P, "A": pattern}
        self.maps, self.constant = {}, {}
        for name, matrix in zip(BLOCKS, (P, objective, A, b), strict=True):
            rows_first = sparse.csr_array(matrix)
            self.constant[name] = rows_first[:, [-1]].toarray()[:, 0]
            linear = sparse.csr_array(rows_first[:, :-1] @ spread)
            linear.eliminate_zeros()
            self.maps[name] = linear

    # --- variables from solutions

    def _read_outputs(self, problem: Any, program: Any, chain: Any, inverse: Any, variables: Sequence[Any]) -> None:
        rows, n = self.shape
        owner = {dual.id: (c, k) for c in problem.constraints for k, dual in enumerate(c.dual_variables)}
        known = {v.id for v in problem.variables()}
        duals: dict[int, list[Any]] = {}
        logs = set()
        for reduction in chain.reductions:
            if isinstance(reduction, Dgp2Dcp):
                logs = set(reduction.var_id_map)
        self.outputs: list[tuple[str, Any, bool]] = []
        primal = {v.id: k for k, v in enumerate(variables) if v.id in known}
        maps = _linear_maps(lambda x: _primal_values(program, chain, x, primal), n) if primal else {}
        for v in variables:
            if v.id in primal:
                self.outputs.append(("x", maps[v.id], v.id in logs))
                continue
            constraint, k = owner[v.id]
            if constraint.id not in duals:
                read = _dual_reader(chain, inverse, constraint, n)
                duals[constraint.id] = _linear_maps(read, rows)
            self.outputs.append(("y", duals[constraint.id][k], False))


def _check(problem: Any, parameters: Sequence[Any], variables: Sequence[Any], gp: bool) -> None:
    if not isinstance(problem, cp.Problem):
        raise ArgumentError(f"problem is a {type(problem).__name__}: pass a cvxpy.Problem")
    for name, group in (("parameters", parameters), ("variables", variables)):
        if not isinstance(group, (list, tuple)):
            raise ArgumentError(f"{name} is a {type(group).__name__}: pass a list or a tuple")
    own = {p.id: p for p in problem.parameters()}
    given = [p.id for p in parameters]
    for p in parameters:
        if p.id not in own:
            raise ArgumentError(f"parameters must exactly match problem.parameters(): {p} is not one of the problem")
    if len(set(given)) != len(given):
        raise ArgumentError("parameters names one of them twice")
    for p in own.values():
        if p.id not in given:
            raise ArgumentError(f"parameters must exactly match problem.parameters(): {p} is missing")
    for leaf in (*problem.parameters(), *problem.variables()):
        if leaf.is_complex():
            raise UnsupportedError(f"{leaf} is complex: write it as its real and imaginary parts")
        if leaf.attributes["boolean"] or leaf.attributes["integer"]:
            raise UnsupportedError(f"{leaf} is an integer variable: the solution is no smooth function of parameters")
    duals = {v.id for c in problem.constraints for v in c.dual_variables}
    for v in variables:
        if v.id not in {w.id for w in problem.variables()} and v.id not in duals:
            raise ArgumentError(
                f"variables must be a subset of problem.variables() and the dual variables of its constraints: {v} is "
                "neither"
            )
    if not problem.variables():
        raise ArgumentError("the problem has no variables")
    if not (problem.is_dpp("dgp") if gp else problem.is_dpp(quad_form_dpp="qp")):
        raise ArgumentError(
            "the problem is not DPP: its parameters enter in a way that CVXPY cannot compile once (problem.is_dpp()); "
            "quad_form(x, P) with a parameter P is only supported in the objective"
        )


def _split_constraints(reduced: Any, n: int, rows: int, width: int) -> tuple[Any, Any, Any]:
    """The maps to A (in `A x + s = b`) and to b from CVXPY's, which stacks both, and the pattern of A."""
    if reduced.problem_data_index is None:
        empty = sparse.csr_array((0, width))
        return empty, sparse.csr_array((rows, width)), (np.zeros(n + 1, dtype=np.int64), np.zeros(0, dtype=np.int64))
    indices, indptr, _ = reduced.problem_data_index
    matrix = sparse.csr_array(reduced.reduced_mat)
    cut = int(indptr[-2])
    place = sparse.csr_array(
        (np.ones(len(indices) - cut), (indices[cut:], np.arange(len(indices) - cut))), (rows, len(indices) - cut)
    )
    pattern = (np.asarray(indptr[:-1], dtype=np.int64), np.asarray(indices[:cut], dtype=np.int64))
    order, pattern = _sorted(pattern, rows)
    return -matrix[:cut][order], place @ matrix[cut:], pattern


def _sorted(pattern: tuple[Any, Any], rows: int) -> tuple[Any, tuple[Any, Any]]:
    """The pattern with increasing rows in every column, and the order of its entries before."""
    indptr, indices = pattern
    labels = sparse.csc_array((np.arange(1, len(indices) + 1), indices, indptr), shape=(rows, len(indptr) - 1))
    labels.sort_indices()
    return labels.data - 1, (labels.indptr.astype(np.int64), labels.indices.astype(np.int64))


def _symmetric(reduced: Any, n: int, width: int) -> tuple[Any, Any]:
    """The map to (P + P') / 2 on a symmetric pattern."""
    if reduced.matrix_data is None or reduced.problem_data_index is None or not reduced.reduced_mat.shape[0]:
        return sparse.csr_array((0, width)), None
    indices, indptr, _ = reduced.problem_data_index
    count = len(indices)
    cols = np.repeat(np.arange(n), np.diff(indptr[: n + 1]))
    rows = np.asarray(indices)
    pattern = sparse.csc_array((np.ones(2 * count), (np.r_[rows, cols], np.r_[cols, rows])), shape=(n, n))
    pattern.sum_duplicates()
    pattern.sort_indices()
    # the position of (i, j) among the entries of the pattern
    key = np.repeat(np.arange(n), np.diff(pattern.indptr)) * n + pattern.indices
    at = np.searchsorted(key, np.r_[cols * n + rows, rows * n + cols])
    mean = sparse.csr_array((np.full(2 * count, 0.5), (at, np.tile(np.arange(count), 2))), (len(key), count))
    return mean @ sparse.csr_array(reduced.reduced_mat), (
        pattern.indptr.astype(np.int64),
        pattern.indices.astype(np.int64),
    )


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=int))


def parameter_shape(p: Any) -> tuple[int, ...]:
    """The shape in which a parameter is given: its own; one with a sparsity pattern, the vector of its entries."""
    return (len(p.sparse_idx[0]),) if p.attributes["sparsity"] else tuple(p.shape)


def _reorder(shape: tuple[int, ...]) -> Any:
    """From entries in row-major order to column-major order."""
    size = _size(shape)
    order = np.arange(size).reshape(shape).ravel(order="F")
    return sparse.coo_array((np.ones(size), (np.arange(size), order)), (size, size))


def _spread(program: Any, chain: Any, parameters: Sequence[Any]) -> tuple[list[tuple[int, bool]], Any]:
    """What the columns of CVXPY's map are made of: `inputs`, and the sparse matrix from these to the columns."""
    # for every parameter that CVXPY has: which of ours it is, if its logarithm, if without redundant entries
    sources = {p.id: (k, False, False) for k, p in enumerate(parameters)}
    for reduction in chain.reductions:
        if isinstance(reduction, Dgp2Dcp):
            for old, new in reduction.param_id_map.items():
                sources[new[0]] = (sources[old][0], True, False)
            continue
        for old, new in reduction.param_id_map.items():
            sources[new[0]] = (*sources[old][:2], True)
    width = program.total_param_size
    used = [(program.param_id_to_col[i], *sources[i]) for i in program.param_id_to_col if i in sources]
    inputs = sorted({(k, log) for _, k, log, _ in used})
    start, at = {}, 0
    for k, log in inputs:
        start[k, log] = at
        at += _size(parameter_shape(parameters[k]))
    rows, cols, values = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
    for col, k, log, reduced in used:
        entries = _reduce(parameters[k]) if reduced else _reorder(parameters[k].shape)
        rows.append(col + entries.row)
        cols.append(start[k, log] + entries.col)
        values.append(entries.data)
    shape = (width, at)
    matrix = sparse.csr_array((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), shape)
    return inputs, matrix


def _reduce(p: Any) -> Any:
    """From the entries of a parameter with structure to those that CVXPY keeps.

    A symmetric one is read as (S + S') / 2, so that its gradient is symmetric.
    """
    if p.attributes["sparsity"]:
        return sparse.coo_array(sparse.eye_array(len(p.sparse_idx[0])))
    labels = np.arange(p.size).reshape(p.shape)
    if any(p.attributes.get(a) for a in SYMMETRIC):
        rows, cols = np.triu_indices(p.shape[-1])
        upper, lower = labels[..., rows, cols].ravel(order="F"), labels[..., cols, rows].ravel(order="F")
        count = len(upper)
        at = np.tile(np.arange(count), 2)
        return sparse.coo_array((np.full(2 * count, 0.5), (at, np.r_[upper, lower])), (count, p.size))
    if p.attributes["diag"]:
        kept = np.diag(labels)
        return sparse.coo_array((np.ones(len(kept)), (np.arange(len(kept)), kept)), (len(kept), p.size))
    raise UnsupportedError(f"the attributes of the parameter {p} are not known here: declare it without them")


def _primal_values(program: Any, chain: Any, x: Any, wanted: dict[int, int]) -> dict[int, Any]:
    values = program.split_solution(x)
    for reduction in reversed(chain.reductions):
        if isinstance(reduction, Dgp2Dcp):
            # only the names: the exponential is taken by the caller
            back = {new[0]: old for old, new in reduction.var_id_map.items()}
            values = {back.get(i, i): v for i, v in values.items()}
        else:
            values = reduction.var_forward(values)
    return {i: _dense(values[i]) for i in wanted}


def _dense(value: Any) -> Any:
    return np.asarray(value.toarray() if sparse.issparse(value) else value, dtype=float).ravel()


def _dual_reader(chain: Any, inverse: Any, constraint: Any, n: int) -> Callable[[Any], dict[int, Any]]:
    """The dual values of a constraint, as CVXPY would store them, from a y."""
    duals = constraint.dual_variables

    def read(y: Any) -> dict[int, Any]:
        before = [v.value for v in duals]
        solution = SimpleNamespace(status="solved", x=np.zeros(n), y=y, objective=0.0)
        try:
            value = chain.invert(solution, inverse).dual_vars.get(constraint.id)
            if value is None:
                raise UnsupportedError(f"CVXPY returns no dual value of {constraint}: its reductions do not keep it")
            constraint.save_dual_value(value)
            if any(v.value is None for v in duals):
                raise UnsupportedError(f"CVXPY returns no dual value of {constraint}: it does not implement it")
            return {k: _dense(v.value) for k, v in enumerate(duals)}
        finally:
            for v, value in zip(duals, before, strict=True):
                v.save_value(value)

    return read


def _linear_maps(read: Callable[[Any], dict[int, Any]], width: int) -> dict[int, Any]:
    """The sparse matrices of linear maps whose rows have at most one entry, from two evaluations.

    Rows with more entries are found by a third, and then the map is evaluated for every unit vector.
    """
    scale, labelled = read(np.ones(width)), read(np.arange(1.0, width + 1))
    probe = np.random.default_rng(0).normal(size=width)
    expected = read(probe)
    maps = {}
    for key, coefficient in scale.items():
        rows = np.flatnonzero(coefficient)
        label = labelled[key][rows] / coefficient[rows] - 1
        cols = np.rint(label).astype(int)
        good = np.all(np.abs(label - cols) < _LABEL * width) and np.all((cols >= 0) & (cols < width))
        if good:
            shape = (len(coefficient), width)
            maps[key] = sparse.csr_array((coefficient[rows], (rows, cols)), shape)
            good = np.allclose(maps[key] @ probe, expected[key], rtol=1e-9, atol=1e-12)
        if not good:
            return _dense_maps(read, width)
    return maps


def _dense_maps(read: Callable[[Any], dict[int, Any]], width: int) -> dict[int, Any]:
    columns = [read(unit) for unit in np.eye(width)]
    return {k: sparse.csr_array(np.stack([c[k] for c in columns], axis=1)) for k in columns[0]}
