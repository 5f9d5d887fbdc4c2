"""What the examples share: arguments, tables, checks, pictures."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

plt.rcParams.update(
    {
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": "medium",
        "legend.frameon": False,
        "font.size": 9,
    }
)


def arguments(description: str | None, picture: str, data: Path | None = None) -> argparse.Namespace:
    """`--short` and `--out`, and `--data` for scripts that have some; and the same random numbers in every run."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--short", action="store_true", help="a few steps, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path(picture), help="the picture (default: %(default)s)")
    if data is not None:
        parser.add_argument("--data", type=Path, default=data, help="closing prices, csv.gz or npz")
    parsed = parser.parse_args()
    if parsed.short:
        print("short: a few steps on little data, to see that it runs; what it finds means nothing\n")
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # these tensors are small: torch is several times faster without threads of its own
    return parsed


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table in Markdown."""
    text = [[f"{c:.4g}" if isinstance(c, float) else str(c) for c in row] for row in (head, *rows)]
    widths = [max(len(row[k]) for row in text) for k in range(len(head))]
    for k, row in enumerate(text):
        print("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |")
        if k == 0:
            print("| " + " | ".join("-" * w for w in widths) + " |")


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path)
    plt.close(figure)
    print(f"picture: {path}")


def along(f: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor, step: float = 1e-5) -> float:
    """The central difference of a scalar function along a direction."""
    with torch.no_grad():
        return ((f(at + step * direction) - f(at - step * direction)) / (2 * step)).item()


def agree(what: str, ours: Tensor | float, reference: Tensor | float, limit: float) -> float:
    """The largest difference, relative to the reference where that is above 1; an error where it exceeds the limit."""
    ours, reference = torch.as_tensor(ours).detach(), torch.as_tensor(reference).detach()
    difference = ((ours - reference).abs().max() / reference.abs().max().clamp(min=1)).item()
    if not difference <= limit:
        raise AssertionError(f"{what} differs from its reference by {difference:.1e}, above {limit:.0e}")
    return difference
