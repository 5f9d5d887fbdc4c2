"""The same problem as a layer of CVXPY: cvxpylayers with its back ends and bpqp.torch.CvxpyLayer.

socp-N       a linear objective over a ball, the paper's           batch-B   B of them with N = 10
mixed-N      equalities, inequalities, second-order and exponential cones
portfolio-N  long-only, ten factors, as norms of parameters        sdp-N     one over correlation matrices

Every parameter is asked for its gradient. Right is what agrees along a random direction with central differences of
tight solves.
"""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path

import cvxpy as cp
import numpy as np
import torch
from clock import repeat, timed

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


# as far as double precision goes
TIGHT = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas", "tol_ktratio"), 1e-15)
TIGHT |= dict.fromkeys(("iterative_refinement_reltol", "iterative_refinement_abstol"), 1e-15)
TIGHT |= {"iterative_refinement_max_iter": 30, "static_regularization_constant": 1e-11, "max_iter": 500}


def ball(n, rng, batch=None):
    x, q, r = cp.Variable(n), cp.Parameter(n), cp.Parameter(1)
    shape = () if batch is None else (batch,)
    radius = np.linalg.norm(rng.standard_normal((*shape, n)), axis=-1, keepdims=True)
    return cp.Problem(cp.Minimize(q @ x), [cp.SOC(r[0], x)]), [q, r], [x], [rng.standard_normal((*shape, n)), radius]


def mixed(n, rng):
    """Log-sum-exp of some, norm of others, entropy, linear rows: every part is active."""
    x = cp.Variable(n)
    q, b, h, r = cp.Parameter(n), cp.Parameter(1), cp.Parameter(n // 2), cp.Parameter(1)
    rows = rng.standard_normal((n // 2, n))
    constraints = [cp.sum(x) == b, rows @ x <= h, cp.SOC(r[0], rng.standard_normal((5, n)) @ x)]
    problem = cp.Problem(cp.Minimize(q @ x - cp.sum(cp.entr(x)) + cp.log_sum_exp(3 * x[:4])), constraints)
    right = 0.02 * rng.standard_normal(n // 2) + rows.sum(1) / n + 0.05
    return problem, [q, b, h, r], [x], [rng.standard_normal(n), np.ones(1), right, np.array([0.6])]


def portfolio(n, rng, factors=10):
    w, q = cp.Variable(n), cp.Parameter(n)
    root, F = cp.Parameter(n, nonneg=True), cp.Parameter((factors, n))
    risk = cp.sum_squares(cp.multiply(root, w)) + cp.sum_squares(F @ w)
    problem = cp.Problem(cp.Minimize(0.5 * risk + q @ w), [cp.sum(w) == 1, w >= 0])
    loadings = rng.standard_normal((factors, n)) * np.r_[1.0, np.full(factors - 1, 0.3)][:, None]
    values = [0.1 * rng.standard_normal(n), np.sqrt(rng.uniform(0.5, 2.0, n)), loadings]
    return problem, [q, root, F], [w], values


def correlation(n, rng):
    X, C = cp.Variable((n, n), PSD=True), cp.Parameter((n, n), symmetric=True)
    c = rng.standard_normal((n, n))
    return cp.Problem(cp.Minimize(cp.trace(C @ X)), [cp.diag(X) == 1]), [C], [X], [c + c.T]


def make(name):
    kind, _, size = name.partition("-")
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if kind == "batch":
        return ball(10, rng, int(size))
    return {"socp": ball, "mixed": mixed, "portfolio": portfolio, "sdp": correlation}[kind](int(size), rng)


def cvxpylayers_of(solver, **options):
    def build(problem, parameters, variables):
        from cvxpylayers.torch import CvxpyLayer

        layer = CvxpyLayer(problem, parameters, variables, solver=solver)
        return lambda *tensors: layer(*tensors, solver_args=options)

    return build


def ours(problem, parameters, variables):
    from bpqp.torch import CvxpyLayer

    return CvxpyLayer(problem, parameters, variables)


def written(problem, parameters, variables):
    """The portfolio as one writes it for `QpLayer`, everything new in every call."""
    from bpqp import Factored
    from bpqp.torch import QpLayer

    n = variables[0].size
    layer, fixed = QpLayer(), {"A": torch.ones(1, n), "b": torch.ones(1), "lb": torch.zeros(n)}
    return lambda q, root, F: (layer(P=Factored(root**2, F.T), q=q, **fixed),)


BUILD = {
    "bpqp-cvxpy": ours,
    "bpqp-qplayer": written,
    "cvxpylayers-scs": cvxpylayers_of("DIFFCP", solve_method="SCS"),
    "cvxpylayers-clarabel": cvxpylayers_of("DIFFCP", solve_method="Clarabel"),
    "cvxpylayers-moreau": cvxpylayers_of("MOREAU"),
}


def loss_at(case, values, weights):
    """The loss of a tight solve; of a batch the first elements."""
    problem, parameters, variables, _ = case
    batched, total = values[0].ndim > parameters[0].ndim, 0.0
    for k in range(len(weights[0]) if batched else 1):
        for parameter, value in zip(parameters, values, strict=True):
            parameter.value = value[k] if batched else value
        problem.solve(solver="CLARABEL", **TIGHT)
        total += sum(float(np.sum((w[k] if batched else w) * v.value)) for w, v in zip(weights, variables, strict=True))
    return total


def question(case, seed, file):
    """Weights of a loss, a direction of the parameters, and the slope of the loss along it, which `file` keeps."""
    _, parameters, variables, values = case
    rng = np.random.default_rng(100 + seed)
    lead = values[0].shape[: values[0].ndim - parameters[0].ndim]
    weights = [rng.standard_normal((*lead, *v.shape)) for v in variables]
    along = [rng.standard_normal(v.shape) for v in values]
    symmetric = [p.attributes["symmetric"] for p in parameters]
    along = [(d + d.swapaxes(-1, -2)) / 2 if s else d for d, s in zip(along, symmetric, strict=True)]

    def difference(step):
        there, back = ([v + s * d for v, d in zip(values, along, strict=True)] for s in (step, -step))
        return (loss_at(case, there, weights) - loss_at(case, back, weights)) / (2 * step)

    if not file.is_file():
        pairs = []
        for step in (1e-4, 1e-5, 1e-6):
            pairs.append((difference(2 * step), difference(step)))
            if abs(np.subtract(*pairs[-1])) <= 1e-5 * max(abs(pairs[-1][1]), 1e-3):
                break
        # where they differ by much an active set changes in between, or little but rounding is left
        coarse, fine = min(pairs, key=lambda pair: abs(np.subtract(*pair)))
        file.write_text(repr(float(fine + (fine - coarse) / 3)))
    return weights, along, float(file.read_text())


def measure(layer, name, budget, folder, count=3):
    if layer == "bpqp-qplayer" and not name.startswith("portfolio"):
        return {"status": "skip", "error": "the portfolio alone is written for it"}
    cases = []
    for seed in range(count):
        problem, parameters, variables, values = make(name)
        if seed:
            rng = np.random.default_rng(seed)
            values = [(1 + 0.05 * rng.standard_normal()) * v for v in values]
        cases.append((problem, parameters, variables, values))
    questions = [question(case, k, Path(folder) / f"layer-{name}-{k}.txt") for k, case in enumerate(cases)]
    call = BUILD[layer](*cases[0][:3])
    worst = {}

    def once(k):
        i = k % count
        weights, along, expected = questions[i]
        given = [torch.tensor(v, requires_grad=True) for v in cases[i][3]]
        weights = [torch.as_tensor(w) for w in weights]
        kept = {}

        def forward():
            kept["loss"] = sum((o * w).sum() for o, w in zip(call(*given), weights, strict=True))

        times = timed(forward, lambda: kept["loss"].backward())
        if i not in worst:
            found = sum(float((t.grad.numpy() * d).sum()) for t, d in zip(given, along, strict=True))
            worst[i] = abs(found - expected) / max(abs(expected), 1e-3)
        return times

    for i in range(count):
        once(i)
    return repeat(once, budget) | {"error": max(worst.values()), "status": "ok"}
