"""Parametrized CVXPY problems for the layers of torch and JAX: with active constraints, and values to start from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cvxpy as cp
import numpy as np


class Program(NamedTuple):
    """A problem, its parameters and outputs, and parameter values."""

    problem: Any
    parameters: list[Any]
    variables: list[Any]
    values: list[Any]
    gp: bool = False


def quadratic() -> Program:
    """A parametric P in quad_form, with the dual values of equalities and inequalities as outputs."""
    rng = np.random.default_rng(1)
    n = 4
    x, P, q, h = cp.Variable(n), cp.Parameter((n, n), PSD=True), cp.Parameter(n), cp.Parameter()
    G = rng.normal(size=(3, n))
    rows, total = G @ x <= h, cp.sum(x) == 1
    problem = cp.Problem(cp.Minimize(0.5 * cp.quad_form(x, P) + q @ x), [rows, total])
    root = rng.normal(size=(n, n))
    values = [root @ root.T + np.eye(n), 3 * rng.normal(size=n), np.array(0.2)]
    return Program(problem, [P, q, h], [x, rows.dual_variables[0], total.dual_variables[0]], values)


def linear() -> Program:
    """A linear program with one vertex as its solution."""
    rng = np.random.default_rng(2)
    x, A, b, c = cp.Variable(3), cp.Parameter((5, 3)), cp.Parameter(5), cp.Parameter(3)
    rows = A @ x <= b
    problem = cp.Problem(cp.Minimize(c @ x), [rows, x >= -1])
    matrix = rng.normal(size=(5, 3))
    # three rows bind
    values = [matrix, matrix @ np.array([0.3, -0.2, 0.1]) + 0.3, -matrix[:3].T @ np.array([1.0, 0.5, 0.8])]
    return Program(problem, [A, b, c], [x, rows.dual_variables[0]], values)


def second_order() -> Program:
    """A norm below an affine function, with the dual value of the cone."""
    rng = np.random.default_rng(3)
    x, A, b, c = cp.Variable(3), cp.Parameter((3, 3)), cp.Parameter(3), cp.Parameter(3)
    cone = cp.SOC(c @ x + 2, A @ x + b)
    problem = cp.Problem(cp.Minimize(cp.sum(x) + 0.1 * cp.sum_squares(x)), [cone])
    values = [np.eye(3) + 0.3 * rng.normal(size=(3, 3)), 0.3 * rng.normal(size=3), 0.2 * rng.normal(size=3)]
    return Program(problem, [A, b, c], [x, *cone.dual_variables], values)


def entropy() -> Program:
    """The maximum of c'x plus the entropy over the simplex."""
    x, c = cp.Variable(4), cp.Parameter(4)
    problem = cp.Problem(cp.Maximize(c @ x + cp.sum(cp.entr(x))), [cp.sum(x) == 1])
    return Program(problem, [c], [x], [np.array([0.5, -1.0, 0.2, 1.3])])


def log_sum_exp() -> Program:
    rng = np.random.default_rng(4)
    x, A, b = cp.Variable(3), cp.Parameter((4, 3)), cp.Parameter(4)
    problem = cp.Problem(cp.Minimize(cp.log_sum_exp(A @ x + b) + 0.5 * cp.sum_squares(x)), [x >= -0.1])
    return Program(problem, [A, b], [x], [rng.normal(size=(4, 3)), rng.normal(size=4)])


def logistic() -> Program:
    """Logistic regression with a weight of its regularization."""
    rng = np.random.default_rng(5)
    w, X, weight = cp.Variable(2), cp.Parameter((5, 2)), cp.Parameter(nonneg=True)
    label = np.array([1, -1, 1, 1, -1])
    loss = cp.sum(cp.logistic(cp.multiply(-label, X @ w)))
    problem = cp.Problem(cp.Minimize(loss + weight * cp.sum_squares(w)))
    return Program(problem, [X, weight], [w], [rng.normal(size=(5, 2)), np.array(0.7)])


def power() -> Program:
    """x^0.3 y^0.7 >= |z| with prices on x and y."""
    x, c, d = cp.Variable(3), cp.Parameter(2), cp.Parameter()
    problem = cp.Problem(
        cp.Minimize(c @ x[:2] + 0.1 * cp.sum_squares(x)), [cp.PowCone3D(x[0], x[1], x[2], 0.3), x[2] >= d]
    )
    return Program(problem, [c, d], [x], [np.array([1.0, 2.0]), np.array(0.8)])


def correlation() -> Program:
    """The nearest correlation matrix, which lies on the boundary of the cone."""
    X, C = cp.Variable((3, 3), symmetric=True), cp.Parameter((3, 3))
    problem = cp.Problem(cp.Minimize(cp.sum_squares(X - C)), [X >> 0, cp.diag(X) == 1])
    return Program(problem, [C], [X], [np.array([[1.0, 0.9, -0.7], [0.8, 1.1, 0.6], [-0.8, 0.5, 0.9]])])


def geometric() -> Program:
    """A geometric program: the volume of a box within areas of its walls and floor."""
    h, w, d = (cp.Variable(pos=True, name=name) for name in "hwd")
    wall, floor, ratio = (cp.Parameter(pos=True, name=name) for name in ("wall", "floor", "ratio"))
    constraints = [2 * (h * w + h * d) <= wall, w * d <= floor, ratio * h <= w, w <= 2 * d]
    problem = cp.Problem(cp.Maximize(h * w * d), constraints)
    return Program(problem, [wall, floor, ratio], [h, w, d], [np.array(20.0), np.array(6.0), np.array(0.8)], gp=True)


SMOOTH: list[Callable[[], Program]] = [
    *(quadratic, linear, second_order, entropy, log_sum_exp, logistic, power, correlation, geometric)
]


def ball() -> Program:
    """The point of a ball of radius r that is nearest to c, if the half-space a'x <= -1 leaves one."""
    x, c, r = cp.Variable(2), cp.Parameter(2), cp.Parameter(nonneg=True)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - c)), [cp.norm(x) <= r, x[0] <= -1])
    return Program(problem, [c, r], [x], [np.array([2.0, 1.0]), np.array(2.0)])


def simplex(n: int = 5) -> Program:
    """The projection onto the simplex: sparsemax."""
    x, c = cp.Variable(n), cp.Parameter(n)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - c)), [x >= 0, cp.sum(x) == 1])
    return Program(problem, [c], [x], [np.array([0.3, 0.6, -0.5, 0.1, 0.4])])


def sparse_rows() -> Program:
    """A parameter with a sparsity pattern, given as the vector of its entries."""
    where = (np.array([0, 0, 1, 2]), np.array([0, 2, 1, 2]))
    x, A, b = cp.Variable(3), cp.Parameter((3, 3), sparsity=where), cp.Parameter(3)
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - 2)), [A @ x <= b])
    return Program(problem, [A, b], [x], [np.array([1.0, 0.5, 2.0, 1.5]), np.array([1.0, 2.0, 1.5])])


def many(n: int) -> Program:
    """n variables, n rows, and a diagonal of n sparse parameters."""
    where = (np.arange(n), np.arange(n))
    x, A, c = cp.Variable(n), cp.Parameter((n, n), sparsity=where), cp.Parameter(n)
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(x) - c @ x), [A @ x <= 1])
    return Program(problem, [A, c], [x], [np.full(n, 2.0), np.linspace(0.0, 1.0, n)])


def sparsemax(c: Any) -> Any:
    """The projection onto the simplex in closed form."""
    order = np.sort(c)[::-1]
    threshold = (np.cumsum(order) - 1) / np.arange(1, len(c) + 1)
    return np.maximum(c - threshold[np.flatnonzero(order > threshold)[-1]], 0)
