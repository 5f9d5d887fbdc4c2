"""Warm starts: what it saves that `layer(q=q, index=ids)` remembers the solution of every sample.

The portfolios of portfolio.py with the covariance as a diagonal and ten factors. One network is trained through the
programs twice, with and without `index`; after every epoch all its programs are also solved once from nothing and once
from the epoch before, to count iterations. `--data ../shared/data/stocks/us500_close.npz` takes 500 stocks.
Seconds are of the processor, on one core.
"""

from __future__ import annotations

import time
from statistics import mean

import bpqp
import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch
from common import arguments, save, table
from portfolio import PRICES, RISK_AVERSION, Days, Predictor, load, value


class Programs:
    """The programs of the training days."""

    def __init__(self, days: Days, last: int) -> None:
        self.days, self.last = days, last
        self.n = days.returns.shape[1]
        sigma = RISK_AVERSION / 100 * days.sigma[:last]
        u, s, _ = torch.svd_lowrank(sigma, min(10, self.n), niter=4)
        self.F = u * s.sqrt()[:, None, :]
        self.d = (sigma.diagonal(dim1=1, dim2=2) - self.F.square().sum(2)).clamp(min=1e-3)
        cap = 4 / self.n
        self.fixed = {"A": torch.ones(1, self.n), "b": torch.ones(1)}
        self.fixed |= {"lb": torch.zeros(self.n), "ub": torch.full((self.n,), cap)}

    def epoch(self, model: Predictor, optimizer: torch.optim.Optimizer, layer: bt.QpLayer, remember: bool) -> float:
        """Trains for one epoch; seconds of the processor."""
        begin = time.process_time()
        for rows in torch.randperm(self.last).split(64):
            features, sigma, returns = self.days[rows]
            optimizer.zero_grad()
            P = bt.Factored(self.d[rows], self.F[rows])
            w = layer(P=P, q=-model(features), index=rows if remember else None)
            value(w, sigma, returns).mean().backward()
            optimizer.step()
        return time.process_time() - begin

    @torch.no_grad()
    def solve(self, model: Predictor, start: bpqp.Solution | None) -> tuple[bpqp.Solution, float]:
        """All programs at once, and seconds of the processor."""
        q = -model(self.days.features[: self.last]).numpy()
        P = bpqp.Factored(self.d.numpy(), self.F.numpy())
        fixed = {k: v.numpy() for k, v in self.fixed.items()}
        begin = time.process_time()
        return bpqp.solve_qp(P, q, **fixed, warm_start=start, threads=1), time.process_time() - begin


def main() -> None:
    settings = arguments(__doc__, "warm_start.png", data=PRICES)
    days = load(settings.data)
    programs = Programs(days, 128 if settings.short else int(0.6 * len(days.dates)))
    epochs = 2 if settings.short else 8
    training: dict[bool, list[float]] = {}
    iterations: dict[bool, list[float]] = {False: [], True: []}
    solving: dict[bool, list[float]] = {False: [], True: []}
    for remember in (False, True):
        torch.manual_seed(1)
        model = Predictor(days.features.shape[2])
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        layer = bt.QpLayer(**programs.fixed, threads=1)
        programs.epoch(model, optimizer, layer, remember)  # nothing is remembered yet
        training[remember], before = [], None
        if remember:
            before, _ = programs.solve(model, None)
        for _ in range(epochs):
            training[remember].append(programs.epoch(model, optimizer, layer, remember))
            if not remember:
                continue
            for warm, start in ((False, None), (True, before)):
                sol, seconds = programs.solve(model, start)
                iterations[warm].append(float(sol.info.iterations.mean()))
                solving[warm].append(seconds)
            before = sol
    rows = []
    for warm, name in ((False, "from nothing"), (True, "from the epoch before")):
        per = 1e6 * mean(solving[warm]) / programs.last
        rows.append((name, mean(iterations[warm]), per, mean(training[warm])))
    print(f"{programs.last} programs with {programs.n} variables, mean of {epochs} epochs after the first")
    table(("start", "iterations", "microseconds per solve", "seconds per epoch"), rows)
    save(draw(iterations, solving, programs.last), settings.out)


def draw(iterations: dict[bool, list[float]], solving: dict[bool, list[float]], count: int) -> plt.Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2))
    for warm, name in ((False, "from nothing"), (True, "from the epoch before")):
        epochs = range(2, 2 + len(iterations[warm]))
        left.plot(epochs, iterations[warm], marker=".", label=name)
        right.plot(epochs, [1e6 * s / count for s in solving[warm]], marker=".", label=name)
    left.set(xlabel="epoch", ylabel="iterations, mean over programs", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="microseconds per solve", ylim=(0, None))
    left.legend()
    return figure


if __name__ == "__main__":
    main()
