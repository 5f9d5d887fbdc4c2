"""A layer learns to remove noise from signals (the second example of OptNet, Amos and Kolter 2017).

Total variation denoising of a signal y is

    minimize 1/2 |x - y|^2 + sum_k w_k |(D x)_k|

with D the differences of neighbours. Its dual is a program with bounds only, and x = y - D'v:

    minimize 1/2 v'D D'v - (D y)'v  subject to  -w <= v <= w

Here D and w are learned, from training signals, through P = D D', q = -D y and both bounds, and compared on signals
never seen with the best w for the D of total variation. The signals are steps on a slope, which total variation does
not expect.
"""

from __future__ import annotations

import time

import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch
from common import arguments, save, table
from torch import Tensor

SIZE, NOISE = 64, 0.3


def signals(count: int) -> tuple[Tensor, Tensor]:
    """Steps at random places, each piece with the same slope; and the same with noise."""
    position = torch.arange(SIZE)
    jumps = (torch.rand(count, SIZE) < 0.06) * torch.randn(count, SIZE) * 1.5
    clean = jumps.cumsum(1) + 0.06 * (position - SIZE / 2)
    clean = clean - clean.mean(1, keepdim=True)
    return clean, clean + NOISE * torch.randn(count, SIZE)


class Denoiser(torch.nn.Module):
    """Starts at total variation with one weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        identity = torch.eye(SIZE)
        self.D = torch.nn.Parameter(identity[1:] - identity[:-1])
        self.log_w = torch.nn.Parameter(torch.full((SIZE - 1,), weight).log())

    def forward(self, noisy: Tensor) -> Tensor:
        w = self.log_w.exp()
        v = bt.solve_qp(self.D @ self.D.T, -noisy @ self.D.T, lb=-w, ub=w)
        return noisy - v @ self.D


def error(model: Denoiser, noisy: Tensor, clean: Tensor) -> float:
    with torch.no_grad():
        return (model(noisy) - clean).square().mean().item()


def draw(
    noisy: Tensor, clean: Tensor, outputs: dict[str, Tensor], history: list[float], base: float, change: Tensor
) -> plt.Figure:
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 5.4), width_ratios=[1, 1.8])
    axes[0, 0].axhline(base, color="tab:orange", label="total variation, best weight")
    axes[0, 0].plot(history, color="tab:blue", marker=".", label="learned")
    axes[0, 0].set(xlabel="epoch", ylabel="mean squared error", title="Signals never seen", ylim=(0, 1.15 * base))
    axes[0, 0].legend(loc="lower left")
    limit = change.abs().max().item()
    image = axes[1, 0].imshow(change, cmap="RdBu", vmin=-limit, vmax=limit)
    axes[1, 0].set(title="Learned D minus that of total variation", xticks=[], yticks=[])
    figure.colorbar(image, ax=axes[1, 0])
    for k, axis in enumerate(axes[:, 1]):
        axis.plot(noisy[k], ".", color="0.65", label="noisy")
        axis.plot(clean[k], color="black", lw=1, label="clean")
        for color, (name, x) in zip(("tab:orange", "tab:blue"), outputs.items(), strict=True):
            axis.plot(x[k], color=color, lw=1.6, label=name)
    axes[0, 1].set_title("Two of the test signals")
    axes[1, 1].set_xlabel("position")
    axes[0, 1].legend(ncols=2)
    return figure


def main() -> None:
    settings = arguments(__doc__, "denoising.png")
    count, epochs = (48, 2) if settings.short else (1500, 12)
    clean, noisy = signals(count)
    test_clean, test_noisy = signals(32 if settings.short else 300)
    candidates = [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0]
    best = min(candidates, key=lambda w: error(Denoiser(w), noisy, clean))
    plain, model = Denoiser(best), Denoiser(best)
    base = error(plain, test_noisy, test_clean)
    history = [base]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, 1e-5)
    begin = time.perf_counter()
    for epoch in range(epochs):
        for rows in torch.randperm(count).split(25):
            optimizer.zero_grad()
            loss = (model(noisy[rows]) - clean[rows]).square().mean()
            loss.backward()
            optimizer.step()
        schedule.step()
        history.append(error(model, test_noisy, test_clean))
        print(f"epoch {epoch + 1:2}: mean squared error on test signals {history[-1]:.5f}", flush=True)
    seconds = (time.perf_counter() - begin) / epochs
    with torch.no_grad():
        outputs = {"total variation": plain(test_noisy), "learned": model(test_noisy)}
        change = model.D - plain.D
    raw = (test_noisy - test_clean).square().mean().item()
    table(
        ("test signals", "mean squared error", "of the noise %"),
        [
            ("noisy", raw, 100.0),
            (f"total variation, w = {best}", base, 100 * base / raw),
            ("learned D and w", history[-1], 100 * history[-1] / raw),
        ],
    )
    print(f"{seconds:.2f} s per epoch of {count} problems with {SIZE - 1} variables and twice as many bounds")
    save(draw(test_noisy, test_clean, outputs, history, base, change), settings.out)


if __name__ == "__main__":
    main()
