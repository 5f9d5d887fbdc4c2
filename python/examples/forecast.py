"""Load forecasts of three areas, trained to be near, and the same ones trained through the dispatch they are for.

A day ahead the generators of the RTS-GMLC grid are scheduled for the forecast load of an hour, spread over the buses as
in the case. What is missing then is bought at 150 $/MWh, and of what is too much only a tenth of its price is got back.
The loss is the cost of the schedule, a convex program whose gradient by the load is the price at every bus, and what
the deviation costs. A linear forecast of the evening peak from the day and week before; the first eight months train,
the rest are reported. Without the folder of RTS-GMLC (`RTS_GMLC.m`, `DAY_AHEAD_regional_Load.csv.gz`) it makes a year
of loads on a grid of three buses.

Two simplifications of RTS-GMLC: its piecewise linear costs are replaced by parabolas, and least powers by 0, without
which two of 24 schedules have no solution. Shortage is dear here, so the forecast learns to be high. How much of the
gain is just that shows the other forecast with a constant margin on top: a part of each area's mean load, chosen on the
training days. Differences are paired by day.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable
from pathlib import Path

import bpqp.grid
import bpqp.torch as bt
import matplotlib.pyplot as plt
import numpy as np
import torch
from common import arguments, save, table
from torch import Tensor

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "opf" / "rts_gmlc"
HOUR, MISSING, SALVAGE = 18, 150.0, 0.1
MARGINS = [0.01 * k for k in range(13)]
SMALL = """function mpc = case3
mpc.baseMVA = 100.0;
mpc.bus = [
1 3 40 0 0 0 1 1 0 230 1 1.1 0.9;
2 1 60 0 0 0 2 1 0 230 1 1.1 0.9;
3 1 50 0 0 0 3 1 0 230 1 1.1 0.9;
];
mpc.gen = [
1 0 0 99 -99 1 100 1 150 0;
2 0 0 99 -99 1 100 1 150 0;
];
mpc.gencost = [
2 0 0 3 0.1 15 0;
2 0 0 3 0.2 20 0;
];
mpc.branch = [
1 2 0.01 0.1 0 60 0 0 0 0 1 -30 30;
2 3 0.01 0.1 0 60 0 0 0 0 1 -30 30;
1 3 0.01 0.1 0 60 0 0 0 0 1 -30 30;
];
"""


def table_of(text: str, name: str, change: Callable[[list[float]], list[float]]) -> str:
    """The case with every row of a table changed."""
    head, body, tail = re.split(rf"(?s)(?<=mpc\.{name} = \[)(.*?)(?=\];)", text, maxsplit=1)
    lines = (line.split("%")[0].strip().rstrip(";").split() for line in body.splitlines())
    rows = [" ".join(repr(v) for v in change([float(w) for w in line])) + ";" for line in lines if line]
    return head + "\n" + "\n".join(rows) + "\n" + tail


def parabola(row: list[float]) -> list[float]:
    """Costs that are given at points as a convex parabola through them, as near as can be."""
    if row[0] != 1:
        return row
    p, cost = np.array(row[4 : 4 + 2 * int(row[3])]).reshape(-1, 2).T
    fits = (np.polyfit(p, cost, d) for d in (min(2, len(set(p)) - 1), min(1, len(set(p)) - 1)))
    c = next(c for c in (np.r_[np.zeros(3 - len(c)), c] for c in fits) if c[0] >= 0)
    return [2.0, *row[1:3], 3.0, *(float(v) for v in c)]


def off_at_will(row: list[float]) -> list[float]:
    """A generator without a least power: this is no commitment."""
    return [*row[:9], min(0.0, row[9]), *row[10:]]


def load_data() -> tuple[bpqp.grid.Case, np.ndarray, np.ndarray]:
    """The grid, the area of each bus, and the load of each day at the hour, by area."""
    if not (FOLDER / "RTS_GMLC.m").is_file():
        days = np.arange(366)[:, None]
        season = 1 + 0.2 * np.cos(2 * np.pi * days / 366) + 0.05 * np.cos(2 * np.pi * days / 7)
        noise = np.random.default_rng(0).normal(1, 0.04, (366, 3))
        return bpqp.grid.case(SMALL), np.arange(3), season * noise * [40.0, 60.0, 50.0]
    text = (FOLDER / "RTS_GMLC.m").read_text("utf-8")
    grid = bpqp.grid.case(table_of(table_of(text, "gencost", parabola), "gen", off_at_will))
    with gzip.open(FOLDER / "DAY_AHEAD_regional_Load.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if int(row["Period"]) == HOUR]
    loads = np.array([[float(row[k]) for k in "123"] for row in rows])
    return grid, grid.bus // 100 - 1, loads


class Market:
    """What forecasts cost: the schedule made for them, and what the load turns out to be."""

    def __init__(self, grid: bpqp.grid.Case, area: np.ndarray) -> None:
        self.layer = bt.DispatchLayer(grid, on_untrusted="ignore")
        share = np.zeros((3, grid.load.size))
        share[area, np.arange(grid.load.size)] = grid.load
        self.share = torch.from_numpy(share / share.sum(1, keepdims=True))

    def __call__(self, forecast: Tensor, load: Tensor) -> Tensor:
        found = self.layer(load=forecast @ self.share)
        price = found.price.detach().mean(1, keepdim=True)
        off = (load - forecast).sum(1, keepdim=True)
        # areas balance each other in the hour itself
        return found.cost + (MISSING * off.relu() - SALVAGE * price * (-off).relu())[:, 0]


def train(
    model: torch.nn.Linear,
    data: tuple[Tensor, Tensor, Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    rate: float,
) -> list[float]:
    """Adam on batches of days; what each step lost beyond the least that can be lost."""
    x, y, least = data
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    generator = torch.Generator().manual_seed(0)
    course = []
    for _ in range(steps):
        batch = torch.randperm(len(x), generator=generator)[:24]
        optimizer.zero_grad()
        value = loss(model(x[batch]), y[batch]).mean()
        value.backward()
        optimizer.step()
        course.append((value.detach() - least[batch].mean()).item())
    return course


def main() -> None:
    args = arguments(__doc__, "forecast.png")
    grid, area, loads = load_data()
    scale = loads.mean(0)
    day = np.arange(7, len(loads))
    week = 2 * np.pi * day[:, None] / 7
    inputs = np.concatenate([loads[day - 1] / scale - 1, loads[day - 7] / scale - 1, np.cos(week), np.sin(week)], 1)
    x, y = torch.from_numpy(inputs), torch.from_numpy(loads[day])
    train_x, train_y, test_x, test_y = x[:240], y[:240], x[240:], y[240:]
    unit = torch.from_numpy(scale)
    market = Market(grid, area)
    steps = 20 if args.short else 150

    class Forecast(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return unit * (1 + super().forward(x))

    near = Forecast(x.shape[1], 3).double()
    torch.nn.init.zeros_(near.weight)
    torch.nn.init.zeros_(near.bias)
    nothing = torch.zeros(len(train_x))
    train(near, (train_x, train_y, nothing), lambda f, load: ((f - load) / unit) ** 2, 600, 0.02)
    through = Forecast(x.shape[1], 3).double()
    through.load_state_dict(near.state_dict())
    least = market(train_y, train_y).detach() / 1e3
    course = train(through, (train_x, train_y, least), lambda f, load: market(f, load) / 1e3, steps, 0.004)
    rows, shown, days = [], {}, {}
    with torch.no_grad():
        best = market(test_y, test_y)
        costs = [float(market(near(train_x) + m * unit, train_y).mean()) for m in MARGINS]
        margin = MARGINS[int(np.argmin(costs))]
        forecasts = {
            "near": near(test_x),
            f"near, {100 * margin:.0f} % on top": near(test_x) + margin * unit,
            "through the dispatch": through(test_x),
        }
        for name, forecast in forecasts.items():
            more = market(forecast, test_y) - best
            off = (forecast - test_y).sum(1)
            shown[name], days[name] = off, more
            rows.append([name, f"{off.abs().mean():.1f}", f"{off.mean():+.1f}", f"{more.mean():.0f}"])
    for row, more in zip(rows, days.values(), strict=True):
        less = days["through the dispatch"] - more
        row.append(f"{less.mean():+.0f} ± {less.std() / len(less) ** 0.5:.0f}")
    head = ["trained", "error, MW", "mean error, MW", "more than with the true load, $/h", "the last less this"]
    table(head, rows)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    for (name, off), color in zip(shown.items(), ("0.5", "C1", "C0"), strict=True):
        axes[0].hist(off, 25, alpha=0.6, label=name, color=color)
    axes[0].axvline(0, color="0.3", lw=0.8)
    axes[0].set(xlabel="forecast - load, MW", ylabel="days", title="errors of the forecast peak")
    axes[0].legend()
    axes[1].plot(course, color="C0", alpha=0.3)
    wide = min(15, len(course))
    axes[1].plot(np.arange(wide - 1, len(course)), np.convolve(course, np.ones(wide) / wide, "valid"), color="C0")
    axes[1].set(xlabel="step", title="beyond the cost with the true load, 1000 $/h")
    save(figure, args.out)


if __name__ == "__main__":
    main()
