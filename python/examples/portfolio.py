"""Portfolios: a predictor trained to predict, and the same one trained through the decision it is used for.

Every fourth day a small network sees features of 20 stocks (the prices that ship with this repository) and predicts
returns mu; the portfolio solves

    minimize lambda/2 w'Sigma w - mu'w  subject to  1'w = 1, 0 <= w <= 0.2

with Sigma from the last 240 days. Two-stage training minimizes the squared error of mu. The others minimize the
regret of w, differentiated through the program: with bpqp, with its facade of qpth's call, and with qpth and
cvxpylayers themselves where they are installed. Same initial weights, order of days, optimizer and epochs; the first
60 % of the days train, the others are reported in two spans, and nothing is chosen on them. `bpqp portfolio` is the
full study of this, docs/portfolio.md its results.
"""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpqp.torch as bt
import matplotlib.pyplot as plt
import numpy as np
import torch
from bpqp.compat import qpth as facade
from common import arguments, save, table
from torch import Tensor

PRICES = Path(__file__).parents[2] / "crates" / "bpqp-cli" / "data" / "sp500_20.csv.gz"
RISK_AVERSION, CAP, WINDOW, EVERY = 10.0, 0.2, 240, 4
ACCURATE = {"eps": 1e-8}  # the solver of cvxpylayers stops at 1e-4 otherwise
Layer = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Days:
    """What is known on each day, and the return from the next close to the one after, in %."""

    features: Tensor
    sigma: Tensor
    returns: Tensor
    dates: list[str]

    def __getitem__(self, rows: slice | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.features[rows], self.sigma[rows], self.returns[rows]


def read(file: Path) -> tuple[list[str], Tensor]:
    """Dates and closing prices (days, stocks)."""
    if file.suffix == ".npz":
        arrays = np.load(file)
        return [str(d) for d in arrays["dates"]], torch.from_numpy(arrays["close"].T.astype(float))
    with gzip.open(file, "rt", encoding="utf-8") as text:
        lines = list(csv.reader(text))[1:]
    return [line[0] for line in lines], torch.tensor([[float(v) for v in line[1:]] for line in lines])


def load(file: Path = PRICES) -> Days:
    dates, prices = read(file)
    log = prices.log()
    daily = 100 * (prices[1:] / prices[:-1] - 1)  # row t - 1 is the return of day t
    days = torch.arange(WINDOW, len(prices) - 2, EVERY)
    windows = daily.unfold(0, WINDOW, 1)[days - WINDOW].mT  # the last WINDOW returns up to the close of each day
    centered = windows - windows.mean(1, keepdim=True)
    sigma = centered.mT @ centered / (WINDOW - 1) + 0.05 * torch.eye(prices.shape[1])
    past = [log[days] - log[days - k] for k in (1, 5, 20, 60, 240)]
    past += [windows[:, -k:].std(1).clamp(min=0.01).log() for k in (20, WINDOW)]
    features = torch.stack(past, 2)
    features = (features - features.mean(1, keepdim=True)) / (features.std(1, keepdim=True) + 1e-9)
    returns = 100 * (prices[days + 2] / prices[days + 1] - 1)
    return Days(features.clamp(-3, 3), sigma, returns, [dates[int(k)] for k in days])


def with_bpqp(P: Tensor, q: Tensor) -> Tensor:
    n = q.shape[1]
    return bt.solve_qp(P, q, A=torch.ones(1, n), b=torch.ones(1), lb=torch.zeros(n), ub=torch.full((n,), CAP))


def with_qpth(function: Callable[..., Tensor]) -> Layer:
    """The bounds as rows, which is what qpth's call has."""

    def layer(P: Tensor, q: Tensor) -> Tensor:
        n = q.shape[1]
        G = torch.cat([-torch.eye(n), torch.eye(n)])
        h = torch.cat([torch.zeros(n), torch.full((n,), CAP)])
        return function(P, q, G, h, torch.ones(1, n), torch.ones(1))

    return layer


def with_cvxpylayers(n: int) -> Layer:
    """The objective as a sum of squares, which is what a parameter of cvxpylayers can be a factor of."""
    import cvxpy as cp
    from cvxpylayers.torch import CvxpyLayer

    w, root, linear = cp.Variable(n), cp.Parameter((n, n)), cp.Parameter(n)
    objective = cp.Minimize(0.5 * cp.sum_squares(root @ w) + linear @ w)
    problem = cp.Problem(objective, [cp.sum(w) == 1, w >= 0, w <= CAP])
    layer = CvxpyLayer(problem, parameters=[root, linear], variables=[w])

    def solve(P: Tensor, q: Tensor) -> Tensor:
        return layer(torch.linalg.cholesky(P).mT, q, solver_args=ACCURATE)[0]

    return solve


def peers(n: int) -> dict[str, Layer]:
    """The layers of other packages that are installed."""
    found: dict[str, Layer] = {}
    try:
        from qpth.qp import QPFunction

        found["qpth"] = with_qpth(QPFunction(verbose=-1, check_Q_spd=False))
    except ImportError as error:
        print(f"without qpth: {error}")
    try:
        found["cvxpylayers"] = with_cvxpylayers(n)
    except ImportError as error:
        print(f"without cvxpylayers: {error}")
    return found


def value(w: Tensor, sigma: Tensor, returns: Tensor) -> Tensor:
    """What the decision minimizes, with the returns that came; in % a day."""
    risk = torch.einsum("bi,bij,bj->b", w, sigma, w)
    return RISK_AVERSION / 200 * risk - (w * returns).sum(1)


class Predictor(torch.nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        last = torch.nn.Linear(16, 1)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)
        self.net = torch.nn.Sequential(torch.nn.Linear(features, 16), torch.nn.SiLU(), last)

    def forward(self, features: Tensor) -> Tensor:
        return self.net(features).squeeze(2)


def train(days: Days, last: int, epochs: int, layer: Layer | None) -> tuple[Predictor, float]:
    """A trained predictor and seconds per epoch; without a layer it learns to predict."""
    torch.manual_seed(1)
    model = Predictor(days.features.shape[2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    begin = time.perf_counter()
    for _ in range(epochs):
        for rows in torch.randperm(last).split(64):
            features, sigma, returns = days[rows]
            optimizer.zero_grad()
            mu = model(features)
            if layer is None:
                loss = (mu - returns).square().mean()
            else:
                # the best value in hindsight does not depend on mu: regret and value have the same gradient
                loss = value(layer(RISK_AVERSION / 100 * sigma, -mu), sigma, returns).mean()
            loss.backward()
            optimizer.step()
    return model, (time.perf_counter() - begin) / epochs


def gradient(layer: Layer, model: Predictor, features: Tensor, sigma: Tensor, returns: Tensor) -> Tensor:
    """The derivative of each day's regret with respect to mu."""
    mu = model(features).detach().requires_grad_()
    loss = value(layer(RISK_AVERSION / 100 * sigma, -mu), sigma, returns).sum()
    return torch.autograd.grad(loss, mu)[0]


class Span:
    """Days on which decisions are judged."""

    def __init__(self, days: Days, rows: slice) -> None:
        self.features, self.sigma, self.returns = days[rows]
        self.dates = days.dates[rows]
        self.best = value(self.decide(self.returns), self.sigma, self.returns)

    @torch.no_grad()
    def decide(self, mu: Tensor) -> Tensor:
        return with_bpqp(RISK_AVERSION / 100 * self.sigma, -mu)

    def regret(self, w: Tensor) -> Tensor:
        """Of each day, in basis points."""
        return 100 * (value(w, self.sigma, self.returns) - self.best)

    def earned(self, w: Tensor) -> Tensor:
        return (w * self.returns).sum(1)


def draw(earned: dict[str, Tensor], dates: list[str], seconds: dict[str, float]) -> plt.Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=[2, 1])
    looks: dict[str, dict[str, Any]] = {
        "two-stage": {"color": "tab:blue"},
        "bpqp": {"color": "tab:orange", "lw": 4, "alpha": 0.5},
        "bpqp by qpth's call": {"color": "tab:green", "ls": "--"},
        "qpth": {"color": "tab:red", "ls": ":"},
        "cvxpylayers": {"color": "black", "ls": (0, (1, 5))},
        "minimum variance": {"color": "0.7"},
    }
    for name, series in earned.items():
        left.plot((1 + series / 100).cumprod(0), label=name, **{"lw": 1.3, **looks[name]})
    ticks = [k for k in range(1, len(dates)) if dates[k][:4] != dates[k - 1][:4]]
    left.set_xticks(ticks, [dates[k][:4] for k in ticks])
    left.set(ylabel="wealth, from every fourth day's return")
    left.set_title("Test days. Survivors, no costs: compare, do not believe")
    left.legend()
    bars = right.barh(list(seconds), list(seconds.values()), color="tab:blue")
    right.bar_label(bars, fmt="%.2f", padding=3)
    right.invert_yaxis()
    right.set_xscale("log")
    right.set_xlim(min(seconds.values()) / 2, 4 * max(seconds.values()))
    right.set(xlabel="seconds per epoch (log scale)", title="Training")
    return figure


def main() -> None:
    settings = arguments(__doc__, "portfolio.png")
    days = load()
    count, n = days.returns.shape
    last, first = int(0.6 * count), int(0.8 * count)
    middle = slice(last + 1, first)  # the returns of a day reach into the next of these days
    if settings.short:
        last, middle, first = 128, slice(count - 200, count - 101), count - 100
    epochs = 1 if settings.short else 3
    methods: dict[str, Layer | None] = {"two-stage": None, "bpqp": with_bpqp}
    methods["bpqp by qpth's call"] = with_qpth(facade.QPFunction(check_Q_spd=False))
    methods.update(peers(n))
    spans = [Span(days, middle), Span(days, slice(first, None))]
    test = spans[1]
    chosen: dict[str, list[Tensor]] = {}
    models, seconds, errors = {}, {}, {}
    for name, layer in methods.items():
        models[name], seconds[name] = train(days, last, epochs, layer)
        with torch.no_grad():
            chosen[name] = [span.decide(models[name](span.features)) for span in spans]
            errors[name] = (models[name](test.features) - test.returns).square().mean().item()
        print(f"{name}: {seconds[name]:.2f} s per epoch", flush=True)
    chosen["minimum variance"] = [span.decide(torch.zeros_like(span.returns)) for span in spans]
    rows = []
    for name, decisions in chosen.items():
        cells: list[object] = [name, errors.get(name, "")]
        for span, w, reference in zip(spans, decisions, chosen["two-stage"], strict=True):
            regret = span.regret(w)
            less = regret - span.regret(reference)
            error = less.std() / len(less) ** 0.5
            cells += [regret.mean().item(), "" if name == "two-stage" else f"{less.mean():+.2f} ± {error:.2f}"]
        earned = test.earned(decisions[1])
        rows.append((*cells, (252**0.5 * earned.mean() / earned.std()).item(), seconds.get(name, "")))
    print(f"{last} days train for {epochs} epochs; {len(spans[0].dates)} days and then {len(test.dates)} are reported")
    later, minus = "regret, bp a day", "minus two-stage"
    head = ("", "squared error", f"{later}: middle", minus, f"{later}: test", minus, "Sharpe", "s per epoch")
    table(head, rows)
    # runs part ways at kinks of the program; for one predictor the gradients can be compared
    at = (models["bpqp"], test.features, test.sigma, test.returns)
    want = gradient(with_bpqp, *at)
    for name, layer in list(methods.items())[2:]:
        if layer is not None:
            gap = (gradient(layer, *at) - want).norm(dim=1) / want.norm(dim=1).max()
            print(
                f"gradient of one predictor's regret, {name} against bpqp: {gap.median():.0e} in the median of the test"
            )
            print(f"    days, {gap.max():.0e} at most, relative to the largest")
    save(draw({k: test.earned(v[1]) for k, v in chosen.items()}, test.dates, seconds), settings.out)


if __name__ == "__main__":
    main()
