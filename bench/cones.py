"""Moreau itself beside bpqp.solve_conic: the same matrices, new numbers in q, one script, one thread.

    python bench/cones.py

Families: mixed (equalities, inequalities, second-order and exponential cones), batch-64 (64 objectives over one ball), sdp-20 (a
linear objective over correlation matrices of order 20). Milliseconds of process CPU time, medians: solving and
differentiating with respect to q, A and b (of it the backward pass). The last columns compare one directional derivative with
central differences of tight solutions.
"""

import os

for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import statistics  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402

import bpqp  # noqa: E402
import cvxpy as cp  # noqa: E402
import moreau  # noqa: E402
import numpy as np  # noqa: E402
import scipy.sparse as sp  # noqa: E402

warnings.filterwarnings("ignore")
REPEATS, STEP = 25, 1e-5


def ball(rng, n=10):
    x = cp.Variable(n)
    radius = cp.Constant(2 + abs(rng.standard_normal()))
    return cp.Problem(cp.Minimize(rng.standard_normal(n) @ x), [cp.SOC(radius, x)])


def mixed(rng, n=20):
    x, rows = cp.Variable(n), rng.standard_normal((n // 2, n))
    h = 0.02 * rng.standard_normal(n // 2) + rows.sum(1) / n + 0.05
    norm = cp.SOC(cp.Constant(0.6), rng.standard_normal((5, n)) @ x)
    objective = rng.standard_normal(n) @ x - cp.sum(cp.entr(x)) + cp.log_sum_exp(3 * x[:4])
    return cp.Problem(cp.Minimize(objective), [cp.sum(x) == 1, rows @ x <= h, norm])


def correlation(rng, n=20):
    X, c = cp.Variable((n, n), PSD=True), rng.standard_normal((n, n))
    return cp.Problem(cp.Minimize(cp.trace((c + c.T) @ X)), [cp.diag(X) == 1])


def timed(call):
    """Medians of the whole call and of what it says that its backward pass took."""
    call()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        backward = call()
        times.append((time.process_time() - start, backward))
    return [1e3 * statistics.median(t) for t in zip(*times, strict=True)]


def compare(problem, batch, rng):
    data, _, _ = problem.get_problem_data(cp.CLARABEL)
    P, q, A, b, dims = data.get("P"), data["c"], sp.csc_matrix(data["A"]), data["b"], data["dims"]
    cones = [("zero", dims.zero)] * (dims.zero > 0) + [("nonnegative", dims.nonneg)] * (dims.nonneg > 0)
    cones += [("soc", k) for k in dims.soc] + [("psd", k) for k in dims.psd] + [("exp",)] * dims.exp
    n, m = len(q), len(b)
    qs = q + 0.05 * rng.standard_normal((batch, n))
    cotangent, direction = rng.standard_normal((2, batch, n))
    gradient = {}

    def ours():
        one = batch == 1
        solution = bpqp.solve_conic(P, qs[0] if one else qs, A, b, cones)
        start = time.process_time()
        out = solution.vjp(x=cotangent[0] if one else cotangent, wrt=("q", "A", "b"))
        took = time.process_time() - start
        gradient["bpqp"] = np.atleast_2d(out.q)
        return took

    rows, upper = sp.csr_matrix(A), sp.csr_matrix((n, n)) if P is None else sp.csr_matrix(P)
    kinds = moreau.Cones(
        num_zero_cones=dims.zero,
        num_nonneg_cones=dims.nonneg,
        so_cone_dims=list(dims.soc),
        num_exp_cones=dims.exp,
        psd_dims=list(dims.psd),
    )
    settings = moreau.Settings(device="cpu", enable_grad=True, batch_size=batch)
    pattern = (upper.indptr, upper.indices, rows.indptr, rows.indices)
    names = ("P_row_offsets", "P_col_indices", "A_row_offsets", "A_col_indices")
    solver = moreau.CompiledSolver(n=n, m=m, cones=kinds, settings=settings, **dict(zip(names, pattern, strict=True)))

    def theirs():
        solver.setup(*[np.repeat(values.data[None], batch, 0) for values in (upper, rows)])
        solver.solve(qs, np.repeat(b[None], batch, 0))
        start = time.process_time()
        out = solver.backward(cotangent)
        took = time.process_time() - start
        gradient["moreau"] = np.asarray(out["dq"])
        return took

    times = [timed(ours), timed(theirs)]
    ends = [bpqp.solve_conic(P, qs[0] + s * direction[0], A, b, cones).x @ cotangent[0] for s in (STEP, -STEP)]
    reference = (ends[0] - ends[1]) / (2 * STEP)
    errors = [abs(gradient[k][0] @ direction[0] / reference - 1) for k in ("bpqp", "moreau")]
    return times, errors


def main():
    print("| family | bpqp | moreau | error of bpqp | error of moreau |\n| --- | --- | --- | --- | --- |")
    rng = np.random.default_rng(3)
    for name, make, batch in (("mixed", mixed, 1), ("batch-64", ball, 64), ("sdp-20", correlation, 1)):
        times, errors = compare(make(rng), batch, rng)
        cells = [f"{total:.3g} ({backward:.2g})" for total, backward in times] + [f"{e:.0e}" for e in errors]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
