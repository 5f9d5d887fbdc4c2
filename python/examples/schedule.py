"""Generator schedules: a load forecast trained to be likely, and the same one trained through the schedule it is for.

Each evening 24 hourly outputs z are fixed, |z_h - z_(h-1)| <= ramp. A unit of load that is not met costs 50, a unit too
much 0.5, and half the square comes on top (Donti, Amos and Kolter 2017). The forecast of an hour is normal, and the
schedule has the least expected cost: convex, but not quadratic. It is a `NonlinearLayer` in the first output and the
changes, whose limits are bounds; a day starts from its own last schedule (`index=`). The loads of PJM ship with this
repository; days before 2015 train, a random fifth of them chooses the epoch, 2015 and 2016 are reported. The full study
of this is `bpqp schedule`; its results: docs/schedule.md.
"""

from __future__ import annotations

import copy
import csv
import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch
from common import along, arguments, save, table
from torch import Tensor, nn

LOADS = Path(__file__).parents[2] / "crates" / "bpqp-cli" / "data" / "pjm_2011_2016.csv.gz"
HOURS, MISSING, SURPLUS, RAMP = 24, 50.0, 0.5, 0.4


@dataclass
class Days:
    """What is known the evening before, and the load that came."""

    dates: list[str]
    features: Tensor
    loads: Tensor


def read(file: Path = LOADS) -> Days:
    """Loads of the day before and the week before, temperatures, weekday and season; days with gaps are left out."""
    with gzip.open(file, "rt", encoding="utf-8") as text:
        lines = list(csv.reader(text))[1:]
    values = {line[0]: torch.tensor([float(v or "nan") for v in line[1:]]) for line in lines}
    days, features, loads = [], [], []
    for day, today in values.items():
        when = date.fromisoformat(day)
        yesterday, week = (values.get(str(when - timedelta(back))) for back in (1, 7))
        if yesterday is None or week is None or torch.cat([today, yesterday, week]).isnan().any():
            continue
        warmth = today[HOURS:]  # stands for a forecast of it
        season = torch.tensor(2 * torch.pi * when.timetuple().tm_yday / 365.25)
        calendar = torch.cat([torch.eye(7)[when.weekday()], torch.stack([season.sin(), season.cos()])])
        features.append(torch.cat([yesterday, week[:HOURS], warmth, warmth**2, calendar]))
        loads.append(today[:HOURS])
        days.append(day)
    return Days(days, torch.stack(features), torch.stack(loads))


def realized(z: Tensor, load: Tensor) -> Tensor:
    """The cost of each day's schedule once the load is known."""
    return (MISSING * (load - z).clamp(min=0) + SURPLUS * (z - load).clamp(min=0) + (z - load) ** 2 / 2).sum(1)


def expected(changes: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """The expected cost of a day, in its first output and the changes from hour to hour."""
    z = changes.cumsum(0)
    over, u = z - mean, (z - mean) / spread
    below, density = torch.special.ndtr(u), torch.exp(-(u**2) / 2) / (2 * torch.pi) ** 0.5
    cost = (MISSING + SURPLUS) * (spread * density + over * below) - MISSING * over + (over**2 + spread**2) / 2
    return cost.sum()


class Scheduler:
    """The optimal schedules, differentiable by mean and spread."""

    def __init__(self) -> None:
        self.limit = torch.tensor([torch.inf] + (HOURS - 1) * [RAMP])
        self.layer = bt.NonlinearLayer(expected, lb=-self.limit, ub=self.limit)

    def __call__(self, mean: Tensor, spread: Tensor, days: Sequence[int] | None = None) -> Tensor:
        z, start = torch.zeros(len(mean)), []
        for load, limit in zip((mean + 2 * spread).detach().T, self.limit, strict=True):  # as far as the limits allow
            start.append((load - z).clamp(-limit, limit))
            z = z + start[-1]
        return self.layer(mean, spread, x0=torch.stack(start, 1), index=days).cumsum(1)


class Forecast(nn.Module):
    """A linear model plus a perceptron that starts at 0; mean and logarithm of the spread of every hour."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, HOURS)
        last = nn.Linear(100, 2 * HOURS)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        first = [nn.Linear(features, 100), nn.LayerNorm(100), nn.ReLU(), nn.Dropout(0.2)]
        self.net = nn.Sequential(*first, nn.Linear(100, 100), nn.LayerNorm(100), nn.ReLU(), nn.Dropout(0.2), last)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = self.net(features).split(HOURS, 1)
        return self.linear(features) + mean, (spread - 1).exp()


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of mean, spread and the numbers of the days


def fit(model: Forecast, loss: Loss, days: Days, train: Tensor, chosen_by: Tensor, epochs: int, rate: float) -> int:
    """Trains, keeps the epoch with the least loss on the days that choose, and says which."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    least, best, state = torch.inf, 0, copy.deepcopy(model.state_dict())
    for epoch in range(1, epochs + 1):
        model.train()
        for k in torch.randperm(len(train)).split(64):
            rows = train[k]
            optimizer.zero_grad()
            loss(*model(days.features[rows]), rows).backward()
            optimizer.step()
        falling.step()
        model.eval()
        with torch.no_grad():
            now = loss(*model(days.features[chosen_by]), chosen_by).item()
        if now < least:
            least, best, state = now, epoch, copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    model.eval()
    return best


def gradient_error() -> float:
    """The derivative of schedules with active limits along a direction, against differences."""
    mean, spread = 1.3 + 0.5 * torch.rand(3, HOURS), 0.03 + 0.05 * torch.rand(3, HOURS)
    both = torch.stack([mean, spread]).requires_grad_()
    weights, direction = torch.randn(3, HOURS), torch.randn(2, 3, HOURS)
    value = lambda at: (weights * Scheduler()(*at)).sum()  # noqa: E731
    (gradient,) = torch.autograd.grad(value(both), both)
    reference = along(value, both.detach(), direction, 1e-7)
    return abs((gradient * direction).sum().item() - reference) / max(1.0, abs(reference))


def draw(days: Days, test: Tensor, plans: dict[str, Tensor], means: Tensor, spreads: Tensor) -> plt.Figure:
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharex=True)
    gain = realized(plans["likelihood"], days.loads[test]) - realized(plans["end-to-end"], days.loads[test])
    picks = {
        "highest load": days.loads[test].amax(1).argmax(),
        "largest gain": gain.argmax(),
        "largest loss": gain.argmin(),
    }
    for axis, (why, k) in zip(axes, picks.items(), strict=True):
        hours, mean, spread = range(HOURS), means[k], spreads[k]
        axis.fill_between(
            hours, mean - 2 * spread, mean + 2 * spread, alpha=0.2, lw=0, label="end-to-end: forecast ± 2 spreads"
        )
        axis.plot(hours, plans["end-to-end"][k], color="tab:blue", label="end-to-end: schedule")
        axis.plot(hours, plans["likelihood"][k], color="tab:orange", label="likelihood: schedule")
        axis.plot(hours, days.loads[test][k], "k.-", lw=1, label="load that came")
        axis.set(title=f"{days.dates[int(test[k])]}: {why}", xlabel="hour")
    axes[0].legend(fontsize=7)
    return figure


def main() -> None:
    settings = arguments(__doc__, "schedule.png")
    print(f"gradient of schedules with active limits: {gradient_error():.0e} from differences")
    days = read()
    before = sum(day < "2015" for day in days.dates)
    order, test = torch.randperm(before), torch.arange(before, len(days.dates))
    train, chosen_by = order[: before * 4 // 5], order[before * 4 // 5 :]
    if settings.short:
        train, chosen_by, test = train[:256], chosen_by[:64], test[:64]
    center, size = days.features[train].mean(0), days.features[train].std(0) + 1e-9
    days.features = (days.features - center) / size
    level, unit = days.loads[train].mean(0), days.loads[train].std(0)

    schedule = Scheduler()

    def likelihood(mean: Tensor, spread: Tensor, rows: Tensor) -> Tensor:
        return (spread.log() + (((days.loads[rows] - level) / unit - mean) / spread) ** 2 / 2).mean()

    def cost(mean: Tensor, spread: Tensor, rows: Tensor) -> Tensor:
        planned = schedule(level + unit * mean, unit * spread, rows.tolist())
        return realized(planned, days.loads[rows]).mean() / 10

    likely = Forecast(days.features.shape[1])
    epochs, more = (3, 1) if settings.short else (80, 12)
    best = {"likelihood": fit(likely, likelihood, days, train, chosen_by, epochs, 1e-3)}
    models = {"likelihood": likely, "likelihood, as long": copy.deepcopy(likely), "end-to-end": copy.deepcopy(likely)}
    for name, loss in (("likelihood, as long", likelihood), ("end-to-end", cost)):
        best[name] = fit(models[name], loss, days, train, chosen_by, more, 3e-4)
    plans, rows, reference = {}, [], torch.zeros(len(test))
    for name, model in models.items():
        with torch.no_grad():
            mean, spread = model(days.features[test])
            plans[name] = schedule(level + unit * mean, unit * spread)
        paid = realized(plans[name], days.loads[test])
        reference = paid if name == "likelihood" else reference
        less = paid - reference
        weeks = less[: len(less) // 7 * 7].reshape(-1, 7).mean(1)  # days of a week hang together
        minus = "" if name == "likelihood" else f"{less.mean():+.3f} ± {weeks.std() / len(weeks) ** 0.5:.3f}"
        rows.append((name, best[name], paid.mean().item(), minus))
    table(("", "epoch", "cost a day", "minus likelihood"), rows)
    save(draw(days, test, plans, level + unit * mean, unit * spread), settings.out)


if __name__ == "__main__":
    main()
