"""The portfolio of `bpqp portfolio` beside cvxpylayers in the same factored form, in one run, one thread.

    python bench/portfolio.py                    500 stocks, 10 factors, 12 days
    python bench/portfolio.py --stocks 300 --days 6

The program of a day is min 1/2 w'(diag(d) + F F')w over 1'w = 1, 0 <= w <= 0.05; the gradient of a quadratic loss goes
into d and F. Days follow each other: d and F move by 2 % from day to day. `cold` has nothing of the day before, `warm`
starts from its solution. Weights and gradients agree with those of the first row, or the row says so with `!`.
Times are medians of wall-clock milliseconds a day.
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
from cvxpylayers.torch import CvxpyLayer  # noqa: E402

import bpqp.torch as bt  # noqa: E402

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
CAP, FACTORS = 0.05, 10


def days(stocks, count):
    rng = np.random.default_rng(0)
    d = rng.uniform(0.5, 2.0, stocks)
    F = rng.standard_normal((stocks, FACTORS)) * np.r_[1.0, np.full(FACTORS - 1, 0.3)]
    F[:, 0] = 0.6 + 0.3 * rng.standard_normal(stocks)
    out = []
    for _ in range(count):
        d = d * np.exp(0.02 * rng.standard_normal(stocks))
        F = F + 0.02 * rng.standard_normal(F.shape)
        out.append((torch.tensor(d), torch.tensor(F), torch.tensor(rng.standard_normal(stocks))))
    return out


def bpqp_layer(stocks, warm):
    set_ = dict(A=torch.ones(1, stocks), b=torch.ones(1), lb=torch.zeros(stocks), ub=torch.full((stocks,), CAP))
    layer = bt.QpLayer(q=torch.zeros(stocks), **set_, threads=1)

    def solve(d, F):
        # a warm start is by the name of a sample: one name for all days
        index = dict(index=[0]) if warm else {}
        return layer(P=bt.Factored(d[None], F[None]), **index)[0]

    return solve


def cvxpy_layer(make, stocks):
    w = cp.Variable(stocks)
    root, F = cp.Parameter(stocks, nonneg=True), cp.Parameter((FACTORS, stocks))
    risk = cp.sum_squares(cp.multiply(root, w)) + cp.sum_squares(F @ w)
    problem = cp.Problem(cp.Minimize(0.5 * risk), [cp.sum(w) == 1, w >= 0, w <= CAP])
    layer = make(problem, [root, F], [w])
    return lambda d, f: layer(d.sqrt(), f.T.contiguous())[0]


def run(solve, data):
    forward, backward, results = [], [], []
    for d, F, loss in data:
        d, F = d.clone().requires_grad_(), F.clone().requires_grad_()
        start = time.perf_counter()
        w = solve(d, F)
        middle = time.perf_counter()
        (w * loss).sum().backward()
        end = time.perf_counter()
        forward.append(1e3 * (middle - start))
        backward.append(1e3 * (end - middle))
        results.append((w.detach(), d.grad, F.grad))
    # the first day prepares the layer
    return statistics.median(forward[1:]), statistics.median(backward[1:]), results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stocks", type=int, default=500)
    parser.add_argument("--days", type=int, default=12)
    options = parser.parse_args()
    data = days(options.stocks, options.days)
    layers = {
        "bpqp.torch.QpLayer, cold": lambda: bpqp_layer(options.stocks, False),
        "bpqp.torch.QpLayer, warm": lambda: bpqp_layer(options.stocks, True),
        "bpqp.torch.CvxpyLayer": lambda: cvxpy_layer(bt.CvxpyLayer, options.stocks),
        "cvxpylayers": lambda: cvxpy_layer(CvxpyLayer, options.stocks),
    }
    reference = None
    print(f"{options.stocks} stocks, {options.days} days, milliseconds a day\n\n{'':26} forward backward    total")
    for name, make in layers.items():
        forward, backward, results = run(make(), data)
        reference = reference or results
        apart = max(
            float((a - b).abs().max() / (1e-9 + b.abs().max()))
            for mine, theirs in zip(results, reference)
            for a, b in zip(mine, theirs)
        )
        mark = "" if apart < 1e-3 else " !"
        print(f"{name:26} {forward:7.2f} {backward:8.2f} {forward + backward:8.2f}   apart {apart:.0e}{mark}")


if __name__ == "__main__":
    main()
