"""CVXPY layers side by side: cvxpylayers with its back ends, Moreau and bpqp on the same problems, in one run.

    python bench/layers.py                       every family, every layer that is installed
    python bench/layers.py --families socp-100,sdp-20 --layers bpqp,scs

Families: socp-N (a linear objective over a ball, the paper's), mixed (equalities, inequalities, second-order and
exponential cones), batch-64 (64 socp-10 at once), sdp-20 (a linear objective over correlation matrices of order 20).
A row is right (no `!`) if its gradient agrees with central differences of tight re-solves along a random direction to 1e-4.
Times are medians in milliseconds of process CPU time, one thread: total is solving and differentiating with every
parameter asked for, backward the second part alone.
"""

import argparse
import os
import statistics
import time
import warnings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(name, "1")
warnings.filterwarnings("ignore")

import cvxpy as cp  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


def ball(n, rng, batch=None):
    x, q, r = cp.Variable(n), cp.Parameter(n), cp.Parameter(1)
    problem = cp.Problem(cp.Minimize(q @ x), [cp.SOC(r[0], x)])
    shape = () if batch is None else (batch,)
    radius = np.linalg.norm(rng.standard_normal((*shape, n)), axis=-1, keepdims=True)
    return problem, [q, r], [x], [rng.standard_normal((*shape, n)), radius]


def mixed(n, rng):
    """Log-sum-exp of some, norm of others, entropy as a regularization, linear rows: every part is active."""
    x = cp.Variable(n)
    q, b, h, r = cp.Parameter(n), cp.Parameter(1), cp.Parameter(n // 2), cp.Parameter(1)
    rows = rng.standard_normal((n // 2, n))
    constraints = [cp.sum(x) == b, rows @ x <= h, cp.SOC(r[0], rng.standard_normal((5, n)) @ x)]
    problem = cp.Problem(cp.Minimize(q @ x - cp.sum(cp.entr(x)) + cp.log_sum_exp(3 * x[:4])), constraints)
    h_value = 0.02 * rng.standard_normal(n // 2) + rows.sum(1) / n
    return problem, [q, b, h, r], [x], [rng.standard_normal(n), np.ones(1), h_value + 0.05, np.array([0.6])]


def correlation(n, rng):
    X, C = cp.Variable((n, n), PSD=True), cp.Parameter((n, n), symmetric=True)
    c = rng.standard_normal((n, n))
    problem = cp.Problem(cp.Minimize(cp.trace(C @ X)), [cp.diag(X) == 1])
    return problem, [C], [X], [c + c.T]


def family(name, seed):
    rng = np.random.default_rng([seed, *name.encode()])
    kind, _, size = name.partition("-")
    if kind == "socp":
        return ball(int(size), rng)
    if kind == "batch":
        return ball(10, rng, int(size))
    return mixed(20, rng) if kind == "mixed" else correlation(int(size), rng)


FAMILIES = ["socp-10", "socp-50", "socp-100", "socp-500", "mixed", "batch-64", "sdp-20"]


def cvxpylayers_of(solver, **args):
    def build(problem, parameters, variables):
        from cvxpylayers.torch import CvxpyLayer

        layer = CvxpyLayer(problem, parameters, variables, solver=solver)
        return lambda *tensors: layer(*tensors, solver_args=dict(args))

    return build


def bpqp_layer(problem, parameters, variables):
    from bpqp.torch import CvxpyLayer

    return CvxpyLayer(problem, parameters, variables)


LAYERS = {
    "bpqp": bpqp_layer,
    "cvxpylayers, SCS": cvxpylayers_of("DIFFCP", solve_method="SCS"),
    "cvxpylayers, Clarabel": cvxpylayers_of("DIFFCP", solve_method="Clarabel"),
    "cvxpylayers, Moreau": cvxpylayers_of("MOREAU"),
}


def loss_at(problem, parameters, variables, values, weights):
    """The loss of a tight re-solve; a batch is a loop."""
    batch = values[0].shape[0] if values[0].ndim > parameters[0].ndim else None
    total = 0.0
    for k in range(batch or 1):
        for parameter, value in zip(parameters, values, strict=True):
            parameter.value = value if batch is None else value[k]
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12, tol_ktratio=1e-10)
        for weight, variable in zip(weights, variables, strict=True):
            total += float(np.sum((weight if batch is None else weight[k]) * variable.value))
    return total


def reference(case, weights, direction, step=1e-4):
    problem, parameters, variables, values = case
    both = [
        loss_at(problem, parameters, variables, [v + s * d for v, d in zip(values, direction, strict=True)], weights)
        for s in (step, -step)
    ]
    return (both[0] - both[1]) / (2 * step)


def measure(build, cases, references, repeats, budget):
    """(total ms, backward ms, worst relative error along the direction)."""
    problem, parameters, variables, _ = cases[0]
    layer = build(problem, parameters, variables)
    totals, backs, worst = [], [], 0.0
    start = time.perf_counter()
    for k in range(repeats + 1):
        i = k % len(cases)
        weights, direction, expected = references[i]
        tensors = [torch.tensor(v, requires_grad=True) for v in cases[i][3]]
        t0 = time.process_time()
        outputs = layer(*tensors)
        loss = sum((o * torch.as_tensor(w)).sum() for o, w in zip(outputs, weights, strict=True))
        t1 = time.process_time()
        loss.backward()
        t2 = time.process_time()
        found = sum(float((t.grad.numpy() * d).sum()) for t, d in zip(tensors, direction, strict=True))
        worst = max(worst, abs(found - expected) / max(abs(expected), 1e-3))
        if k > 0:  # the first call warms up
            totals.append(t2 - t0)
            backs.append(t2 - t1)
        if time.perf_counter() - start > budget and k >= len(cases):
            break
    return 1e3 * statistics.median(totals), 1e3 * statistics.median(backs), worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--layers", default=",".join(LAYERS), help="names, or parts of them, separated by commas")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--budget", type=float, default=5.0, help="seconds per cell")
    options = parser.parse_args()
    names = [n for n in LAYERS if any(part.strip() in n for part in options.layers.split(","))]
    print("| family | " + " | ".join(names) + " |\n| --- |" + " --- |" * len(names))
    for kind in options.families.split(","):
        # one structure (of seed 0), three sets of numbers
        cases, references = [], []
        for seed in range(3):
            problem, parameters, variables, values = family(kind, 0)
            if seed:
                rng = np.random.default_rng(seed)
                scale = [1 + 0.05 * rng.standard_normal() for _ in values]
                values = [s * v for s, v in zip(scale, values, strict=True)]
            rng = np.random.default_rng(100 + seed)
            lead = values[0].shape[: values[0].ndim - parameters[0].ndim]
            weights = [rng.standard_normal((*lead, *v.shape)) for v in variables]
            direction = [rng.standard_normal(v.shape) for v in values]
            direction = [
                (d + d.swapaxes(-1, -2)) / 2 if p.attributes["symmetric"] else d
                for d, p in zip(direction, parameters, strict=True)
            ]
            case = (problem, parameters, variables, values)
            cases.append(case)
            references.append((weights, direction, reference(case, weights, direction)))
        cells = []
        for name in names:
            try:
                total, back, error = measure(LAYERS[name], cases, references, options.repeats, options.budget)
                cells.append(f"{total:.3g} ({back:.3g}){'' if error < 1e-4 else f' ! {error:.0e}'}")
            except Exception as error:
                cells.append(f"{type(error).__name__}: {str(error)[:60]}")
        print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)
    print("\nTotal (backward), ms.")


if __name__ == "__main__":
    main()
