"""A pass of training through the portfolio program, and the same pass with cvxpylayers on the same factored program.

    python bench/epoch.py [bpqp] [clarabel] [scs] [moreau] [--days D]

278 days of 500 stocks, invented: 10 factors and a diagonal as risk model, returns drawn from it. The network of
`bpqp portfolio` (158 features, two hidden layers of 64) moves the risk model, the decision is the capped long-only
portfolio of least variance, the loss the log of its variance over the five days that follow, 16 days a step. The first
pass is cold; in later ones bpqp starts each day from its solution in the pass before. cvxpylayers gets the factors and
the diagonal as sums of squares, with its own back ends (`pip install cvxpylayers diffcp clarabel moreau`), and has no
warm starts by sample. Printed are seconds of the processor a pass, so that other work on the machine does not count,
and of that the optimization, forward and backward; torch and bpqp have one thread, diffcp as many as it likes.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

STOCKS, FACTORS, FEATURES, HIDDEN, BATCH, AHEAD, CAP = 500, 10, 158, 64, 16, 5, 0.05
Layer = Callable[[Tensor, Tensor, list[int]], Tensor]


class Days:
    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        market = rng.uniform(0.3, 0.9, (STOCKS, 1))
        loadings = np.concatenate([market, 0.25 * rng.standard_normal((STOCKS, FACTORS - 1))], 1)
        drift = 1 + 0.1 * rng.standard_normal((count, 1, FACTORS))
        self.F = torch.from_numpy(loadings * drift)
        self.d = torch.from_numpy(rng.uniform(0.1, 0.8, STOCKS) * np.exp(0.1 * rng.standard_normal((count, STOCKS))))
        own = np.sqrt(self.d.numpy())[:, None] * rng.standard_normal((count, AHEAD, STOCKS))
        common = np.einsum("dnk,dhk->dhn", self.F.numpy(), rng.standard_normal((count, AHEAD, FACTORS)))
        self.ahead = torch.from_numpy(own + common)
        self.features = torch.from_numpy(rng.standard_normal((count, STOCKS, FEATURES))).float()


class Clock:
    """Seconds in the layer: forward, and between the gradient of its output and those of its inputs."""

    def __init__(self) -> None:
        self.forward = self.backward = 0.0

    def __call__(self, layer: Layer, d: Tensor, F: Tensor, index: list[int]) -> Tensor:
        begin = time.process_time()
        w = layer(d, F, index)
        self.forward += time.process_time() - begin
        at: dict[str, float] = {}

        def entered(gradient: Tensor) -> Tensor:
            at["in"] = time.process_time()
            return gradient

        def left(gradient: Tensor) -> Tensor:
            now = time.process_time()
            self.backward += now - at["in"]
            at["in"] = now
            return gradient

        w.register_hook(entered)
        d.register_hook(left), F.register_hook(left)
        return w


def bpqp_layer() -> Layer:
    import bpqp.torch as bt

    ones, zero = torch.ones(1, STOCKS, dtype=torch.float64), torch.zeros(STOCKS, dtype=torch.float64)
    layer = bt.QpLayer(q=zero, A=ones, b=ones[0, :1], lb=zero, ub=zero + CAP, threads=1)
    return lambda d, F, index: layer(P=bt.Factored(d, F), index=index)


def cvxpylayers_layer(solver: str, **options: str) -> Layer:
    import cvxpy as cp
    from cvxpylayers.torch import CvxpyLayer

    w, root, F = cp.Variable(STOCKS), cp.Parameter(STOCKS, nonneg=True), cp.Parameter((FACTORS, STOCKS))
    risk = cp.sum_squares(cp.multiply(root, w)) + cp.sum_squares(F @ w)
    problem = cp.Problem(cp.Minimize(0.5 * risk), [cp.sum(w) == 1, w >= 0, w <= CAP])
    layer = CvxpyLayer(problem, [root, F], [w], solver=solver)
    return lambda d, F, index: layer(d.sqrt(), F.transpose(1, 2), solver_args=options)[0]


LAYERS: dict[str, Callable[[], Layer]] = {
    "bpqp": bpqp_layer,
    "clarabel": lambda: cvxpylayers_layer("DIFFCP", solve_method="Clarabel"),
    "scs": lambda: cvxpylayers_layer("DIFFCP", solve_method="SCS"),
    "moreau": lambda: cvxpylayers_layer("MOREAU"),
}


def epoch(days: Days, net: nn.Module, optimizer: torch.optim.Optimizer, layer: Layer) -> tuple[float, Clock]:
    clock, begin = Clock(), time.process_time()
    order = torch.randperm(len(days.d), generator=torch.Generator().manual_seed(1))
    for part in order.split(BATCH):
        optimizer.zero_grad()
        half = torch.tanh(net(days.features[part])[..., 0]).double().exp()
        w = clock(layer, days.d[part] * half * half, days.F[part] * half[..., None], part.tolist())
        earned = torch.einsum("bkn,bn->bk", days.ahead[part], w)
        earned.square().mean().log().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return time.process_time() - begin, clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", nargs="*", help=", ".join(LAYERS))
    parser.add_argument("--days", type=int, default=278)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    days = Days(args.days)
    print("layer | pass | seconds | optimization, forward s | backward s | share % | ms a day, forward + backward")
    for name in args.layers or LAYERS:
        torch.manual_seed(0)
        hidden = (nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        net = nn.Sequential(*hidden, nn.Linear(HIDDEN, 1))
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-3)
        layer = LAYERS[name]()
        for k in range(5 if name == "bpqp" else 1):
            seconds, clock = epoch(days, net, optimizer, layer)
            both = clock.forward + clock.backward
            cells = (f"{seconds:.3f}", f"{clock.forward:.3f}", f"{clock.backward:.3f}", f"{100 * both / seconds:.0f}")
            print(" | ".join((name, str(k + 1), *cells, f"{1e3 * both / args.days:.3f}")), flush=True)


if __name__ == "__main__":
    main()
