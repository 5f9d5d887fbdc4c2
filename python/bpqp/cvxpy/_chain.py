"""CVXPY's chain of reductions, from a problem to a parametrized cone program for bpqp."""

from __future__ import annotations

import warnings
from copy import copy
from typing import Any

import cvxpy as cp
import numpy as np
from cvxpy.atoms.affine.add_expr import AddExpression
from cvxpy.cvxcore.python import canonInterface
from cvxpy.lin_ops.lin_op import CONSTANT_ID
from cvxpy.reductions.dcp2cone.cone_matrix_stuffing import ConeMatrixStuffing
from cvxpy.reductions.inverse_data import InverseData
from cvxpy.reductions.solvers.solving_chain import resolve_and_build_chain
from cvxpy.utilities.coeff_extractor import CoeffExtractor
from scipy import sparse

from ._solver import Rows


class _SparseExtractor(CoeffExtractor):
    """Extracts a quadratic objective without a dense matrix of all variables times all parameters.

    CVXPY's makes one (800 MB for 10,000 of both). Here the linear terms stay sparse, and the quadratic ones are
    extracted over the parameters that they have.
    """

    def extract_quadratic_coeffs(self, affine_expr: Any, quad_forms: Any) -> Any:
        if len(self.param_to_size) == 1:  # only the constant
            return super().extract_quadratic_coeffs(affine_expr, quad_forms)
        terms = affine_expr.args if isinstance(affine_expr, AddExpression) else [affine_expr]
        head = [t for t in terms if any(v.id in quad_forms for v in t.variables())]
        rest = [t for t in terms if not any(v.id in quad_forms for v in t.variables())]
        width = sum(self.param_to_size.values())
        found: dict[int, dict[str, Any]] = {}
        constant = sparse.csr_array((1, width))
        if head:
            found, constant = self._quadratic(AddExpression(head), quad_forms, width)
        if rest:
            found, own = self._linear(AddExpression(rest), found)
            constant = constant + own
        return found, constant

    def _linear(self, expr: Any, found: Any) -> Any:
        _, offsets, length, _ = InverseData.get_var_offsets(expr.variables())
        sizes = (length, offsets, self.param_to_size, self.param_id_map, expr.size, self.canon_backend)
        matrix = canonInterface.get_problem_matrix([expr.canonical_form[0]], *sizes).tocsr()
        for var in expr.variables():
            rows = matrix[offsets[var.id] : offsets[var.id] + var.size, :]
            own = found.setdefault(var.id, {})
            own["q"] = own["q"] + rows if "q" in own else rows
        return found, matrix[[-1], :]

    def _quadratic(self, expr: Any, quad_forms: Any, width: int) -> Any:
        used = {p.id for p in expr.parameters()}
        for v in expr.variables():
            if v.id in quad_forms:
                used |= {p.id for p in quad_forms[v.id][2].args[1].parameters()}
        few = copy(self)
        few.param_to_size, few.param_id_map, columns = {}, {}, []
        for i in sorted(self.param_to_size, key=lambda i: self.param_id_map[i]):
            if i in used or i == CONSTANT_ID:
                size, start = self.param_to_size[i], self.param_id_map[i]
                few.param_to_size[i], few.param_id_map[i] = size, len(columns)
                columns += range(start, start + size)
        found, constant = CoeffExtractor.extract_quadratic_coeffs(few, expr, quad_forms)
        at = np.array(columns)

        def widen(matrix: Any) -> Any:
            entries = sparse.coo_array(matrix)
            return sparse.csr_array((entries.data, (entries.row, at[entries.col])), (matrix.shape[0], width))

        for own in found.values():
            own["q"] = widen(own["q"])
            if "P" in own:
                own["P"].parameter_offset = at[own["P"].parameter_offset]
        return found, widen(constant)


class _Stuffing(ConeMatrixStuffing):
    def stuffed_objective(self, problem: Any, extractor: Any) -> Any:
        own = object.__new__(_SparseExtractor)
        own.__dict__.update(extractor.__dict__)
        return super().stuffed_objective(problem, own)


def compile_problem(problem: cp.Problem, gp: bool, canon_backend: str | None) -> tuple[Any, Any, Any]:
    """`(data, chain, inverse data)` of the problem for the solver `Rows`; the problem itself is left as it is."""
    chain = resolve_and_build_chain(problem, Rows(), gp=gp, enforce_dpp=True, canon_backend=canon_backend)
    chain.reductions = [
        _Stuffing(quad_obj=r.quad_obj, canon_backend=r.canon_backend) if type(r) is ConeMatrixStuffing else r
        for r in chain.reductions
    ]
    with warnings.catch_warnings():
        # it looks whether sparse parameters have values, and warns of its own look
        warnings.simplefilter("ignore", RuntimeWarning)
        data, inverse = chain.apply(problem)
    return data, chain, inverse
