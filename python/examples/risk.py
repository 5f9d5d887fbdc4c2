"""Risk, learned through the portfolio that it makes.

A small network moves the risk model of 100 US stocks, S = M (diag(d) + F F') M with M = diag(exp(a / 2)); the
decision of a day is the long-only portfolio of least variance w'Sw with no weight above 0.1. Two-stage training fits
each stock's variance (the Gaussian likelihood of the next week's squared returns); the control does so for as many
more epochs as "through" trains for the logarithm of the portfolio's realized variance, with the gradient through d
and F of the program. P stays factored.

The first four years train, the next chooses the epoch, the next two are reported. `bpqp portfolio` is the full study
(500 stocks, 158 features, three test periods, costs), docs/portfolio.md its results, docs/decisions.md its lessons.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bpqp.torch as bt
import matplotlib.pyplot as plt
import numpy as np
import torch
from common import arguments, save, table
from torch import Tensor

PRICES = Path(__file__).parents[2] / "crates" / "bpqp-cli" / "data" / "us500.prices"
Loss = Callable[[Tensor, Tensor], Tensor]
STOCKS, WINDOW, FACTORS, AHEAD, CAP = 100, 240, 10, 5, 0.1


def prices() -> tuple[list[str], list[Tensor]]:
    """Dates, and close, open, high, low, volume as (days, stocks), from the file that ships with the program."""
    tickers, dates, first, numbers = gzip.decompress(PRICES.read_bytes()).split(b"\n", 3)
    shape = (5, 2, tickers.count(b",") + 1, dates.count(b",") + 1)
    low, high = np.frombuffer(numbers, np.uint8).reshape(shape).astype(int).swapaxes(0, 1)
    value = (low + 256 * high)[:, :STOCKS].swapaxes(1, 2)

    def signed(v: np.ndarray) -> np.ndarray:
        return np.where(v % 2 == 0, v // 2, -(v + 1) // 2)

    start = np.array([int(k) for k in first.split(b",")[:STOCKS]])
    close = np.exp(2e-4 * (start + np.cumsum(signed(value[0]), 0)))
    open_ = close * np.exp(2e-4 * signed(value[1]))
    top = np.maximum(open_, close) * np.exp(2e-4 * value[2])
    bottom = np.minimum(open_, close) * np.exp(-2e-4 * value[3])
    volume = np.exp(0.02 * np.cumsum(np.where(value[4] > 0, signed(value[4] - 1), 0), 0))
    return [d.decode() for d in dates.split(b",")], [torch.tensor(a) for a in (close, open_, top, bottom, volume)]


@dataclass
class Days:
    """Row t: what is known at the close of day t + WINDOW, and the returns of the week after the next close."""

    x: Tensor
    d: Tensor
    F: Tensor
    ahead: Tensor
    dates: list[str]


def load(last: int) -> Days:
    dates, (close, _, top, bottom, volume) = prices()
    r = torch.zeros_like(close)
    r[1:] = close[1:] / close[:-1] - 1
    at = torch.arange(WINDOW, min(last, len(close) - AHEAD - 1))
    spread, dollars = (top / bottom).log(), (volume * close).log()

    def back(a: Tensor, k: int) -> Tensor:
        return a.unfold(0, k, 1)[at - k + 1]  # the last k values up to each day

    x = [(back(a, k).mean(2) + 1e-4).log() for a in (r.abs(), spread) for k in (1, 5, 20, 60)]
    x += [back(dollars, 5).mean(2) - back(dollars, 60).mean(2), back(r, 5).sum(2), back(r, 60).sum(2)]
    x = [(v - v.mean(1, keepdim=True)) / v.std(1, keepdim=True) for v in x]
    d, factors, level = [], [], []
    for k, t in enumerate(at.tolist()):
        if k % 5 == 0:
            a = (r[t - WINDOW + 1 : t + 1] - r[t - WINDOW + 1 : t + 1].mean(0)) / WINDOW**0.5
            vectors = torch.linalg.eigh(a @ a.T)[1][:, -FACTORS:]
            f = a.T @ vectors
            own = ((a * a).sum(0) - (f * f).sum(1)).clamp(min=1e-6)
            s = (own + (f * f).sum(1)).mean().sqrt()  # everything is in units of the risk of the day
        d.append(own / s**2)
        factors.append(f / s)
        level.append(s)
    ahead = torch.stack([r[at + 2 + k] for k in range(AHEAD)], 1) / torch.stack(level)[:, None, None]
    return Days(torch.stack(x, 2).clamp(-3, 3), torch.stack(d), torch.stack(factors), ahead, [dates[t] for t in at])


def draw(risk: dict[str, float], held: dict[str, Tensor]) -> plt.Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=[1, 2])
    left.barh(list(risk), list(risk.values()), color=["0.7", "tab:orange", "tab:purple", "tab:blue"])
    left.set(xlim=(0.9, 1.05), title="Risk of the portfolio held (static = 1)")
    left.invert_yaxis()
    for name, color in (("two-stage", "tab:orange"), ("through the program", "tab:blue")):
        right.plot(1 / (held[name] ** 2).sum(1), label=name, color=color, lw=1)
    right.set(xlabel="test day", title="Names held")
    right.legend()
    return figure


def main() -> None:
    settings = arguments(__doc__, "risk.png")
    year = 40 if settings.short else 250
    days = load(WINDOW + 7 * year + 1)
    train = torch.arange(4 * year - 6)  # a week and a day between the parts: no outcome reaches into the next
    valid, test = torch.arange(4 * year, 5 * year - 6), torch.arange(5 * year, 7 * year - 6)
    base = days.d + days.F.square().sum(2)
    target = days.ahead.square().mean(1).clamp(max=100)
    ones = torch.ones(STOCKS)
    program = bt.QpLayer(q=torch.zeros(STOCKS), A=ones[None], b=ones[:1], lb=0 * ones, ub=CAP * ones)

    def weights(a: Tensor, rows: Tensor) -> Tensor:
        half = (0.5 * a).exp()
        return program(P=bt.Factored(days.d[rows] * half**2, days.F[rows] * half[..., None]))

    def fit(a: Tensor, rows: Tensor) -> Tensor:
        v = base[rows] * a.exp()
        return (v.log() + target[rows] / v).mean()

    def variance(a: Tensor, rows: Tensor) -> Tensor:
        return torch.einsum("bkn,bn->bk", days.ahead[rows], weights(a, rows)).square().mean().log()

    def training(start: dict[str, Tensor] | None, epochs: int, loss: Loss, check: Loss) -> torch.nn.Sequential:
        torch.manual_seed(1)
        last = torch.nn.Linear(32, 1)
        net = torch.nn.Sequential(torch.nn.Linear(days.x.shape[2], 32), torch.nn.ReLU(), last)
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)  # a = 0: the risk model as it is
        if start:
            net.load_state_dict(start)
        optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3)
        best, state = float("inf"), net.state_dict()
        for epoch in range(epochs + 1):
            for rows in train[torch.randperm(len(train))].split(16) if epoch else ():
                optimizer.zero_grad()
                loss(said(net, rows), rows).backward()
                optimizer.step()
            with torch.no_grad():
                now = check(said(net, valid), valid).item()
            if now < best:
                best, state = now, {k: v.clone() for k, v in net.state_dict().items()}
        net.load_state_dict(state)
        return net

    def said(net: torch.nn.Sequential, rows: Tensor) -> Tensor:
        return 2 * torch.tanh(net(days.x[rows]).squeeze(2))

    epochs = 1 if settings.short else 5
    first = training(None, epochs, fit, fit)
    nets = {
        "two-stage": first,
        "two-stage, longer": training(first.state_dict(), epochs, fit, variance),
        "through the program": training(first.state_dict(), epochs, variance, variance),
    }
    with torch.no_grad():
        held = {name: weights(said(net, test), test) for name, net in nets.items()}
        held = {"static": weights(torch.zeros(len(test), STOCKS), test), **held}
    scaled = {name: torch.einsum("bn,bn->b", days.ahead[test, 0], w) for name, w in held.items()}
    risk = {name: (r.std() / scaled["static"].std()).item() for name, r in scaled.items()}
    names = {name: (1 / (w * w).sum(1)).mean().item() for name, w in held.items()}
    rows = [(k, risk[k], names[k], (w[1:] - w[:-1]).abs().sum(1).mean().item() / 2) for k, w in held.items()]
    span = f"{days.dates[int(test[0])]} to {days.dates[int(test[-1])]}"
    print(f"{len(train)} days train, {len(valid)} choose, {len(test)} are reported: {span}")
    table(("", "risk against static", "names held", "turnover a day"), rows)
    save(draw(risk, held), settings.out)


if __name__ == "__main__":
    main()
