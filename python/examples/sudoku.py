"""A layer learns the rules of 4x4 sudoku from solved puzzles (the task of OptNet, Amos and Kolter 2017).

A grid is 64 numbers in [0, 1], one for each cell and digit. The layer is

    minimize 1/2 eps z'z - puzzle'z  subject to  A z = A z0,  z >= 0

with A (40 x 64) and z0 > 0 learned, so it is feasible whatever A is. It is told no rule. There are 288 grids: 188
make training puzzles, the other 100 make test puzzles, so no solution of a test puzzle was seen (though all grids are
rearrangements of two, which the layer is not told either). Every puzzle has one solution.
"""

from __future__ import annotations

import itertools
import time

import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch
from common import arguments, save, table
from torch import Tensor

HIDDEN, ROWS, EPS = 8, 40, 0.1


def all_grids() -> Tensor:
    """The 288 solved grids, (288, 16), digits 0 to 3."""
    rows = list(itertools.permutations(range(4)))

    def fits(grid: tuple[tuple[int, ...], ...]) -> bool:
        columns = all(len(set(c)) == len(c) for c in zip(*grid, strict=True))
        boxes = len(grid) % 2 or all(len({*grid[-1][k : k + 2], *grid[-2][k : k + 2]}) == 4 for k in (0, 2))
        return bool(columns and boxes)

    partial: list[tuple[tuple[int, ...], ...]] = [()]
    for _ in range(4):
        partial = [(*grid, row) for grid in partial for row in rows if fits((*grid, row))]
    return torch.tensor(partial).reshape(-1, 16)


def one_hot(grids: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(grids, 4).to(torch.get_default_dtype()).flatten(-2)


def puzzles(grids: Tensor, everything: Tensor, each: int) -> tuple[Tensor, Tensor]:
    """Puzzles with `HIDDEN` empty cells and exactly one solution: clues (one-hot, 0 where empty) and solutions."""
    clues, solutions = [], []
    for grid in grids:
        found = 0
        while found < each:
            seen = torch.ones(16, dtype=torch.bool)
            seen[torch.randperm(16)[:HIDDEN]] = False
            if int((everything[:, seen] == grid[seen]).all(1).sum()) == 1:
                clues.append(one_hot(grid) * seen.repeat_interleave(4))
                solutions.append(grid)
                found += 1
    return torch.stack(clues), torch.stack(solutions)


class Rules(torch.nn.Module):
    """The layer; its parameters are the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.A = torch.nn.Parameter(torch.rand(ROWS, 64))
        self.log_z0 = torch.nn.Parameter(torch.zeros(64))
        self.solve = bt.QpLayer(P=EPS * torch.eye(64), lb=torch.zeros(64))

    def forward(self, clues: Tensor) -> Tensor:
        return self.solve(q=-clues, A=self.A, b=self.A @ self.log_z0.exp())


def right(z: Tensor, solutions: Tensor) -> tuple[float, float]:
    """Shares of cells and of whole puzzles that are right."""
    same = z.reshape(-1, 16, 4).argmax(2) == solutions
    return same.double().mean().item(), same.all(1).double().mean().item()


def draw(clues: Tensor, z: Tensor, solutions: Tensor, history: list[tuple[float, float]]) -> plt.Figure:
    figure, axes = plt.subplots(2, 4, figsize=(9.5, 4.6), width_ratios=[1.6, 1, 1, 1])
    for row in axes[:, 0]:
        row.remove()
    curve = figure.add_subplot(axes[0, 0].get_gridspec()[:, 0])
    for k, name in enumerate(("cells", "puzzles")):
        curve.plot(range(len(history)), [100 * (1 - h[k]) for h in history], label=f"{name} wrong", marker=".")
    curve.set(xlabel="epoch", ylabel="% of the test puzzles", title="Grids never seen", ylim=(0, 102))
    curve.legend()
    answer = z.reshape(-1, 16, 4).argmax(2)
    for k, axis in enumerate(axes[:, 1:].flat):
        axis.set(xlim=(0, 4), ylim=(4, 0), aspect="equal", xticks=[], yticks=[])
        for side in ("top", "right"):
            axis.spines[side].set_visible(True)
        for line in range(1, 4):
            width = 1.4 if line == 2 else 0.4
            axis.axhline(line, color="black", lw=width)
            axis.axvline(line, color="black", lw=width)
        for cell in range(16):
            given = bool(clues[k, 4 * cell : 4 * cell + 4].any())
            good = answer[k, cell] == solutions[k, cell]
            axis.text(
                cell % 4 + 0.5,
                cell // 4 + 0.52,
                str(int(answer[k, cell]) + 1),
                ha="center",
                va="center",
                fontsize=13,
                weight="bold" if given else "normal",
                color="black" if given else "tab:blue" if good else "tab:red",
            )
    axes[0, 2].set_title("black: given, blue: solved by the layer, red: wrong")
    return figure


def main() -> None:
    settings = arguments(__doc__, "sudoku.png")
    everything = all_grids()
    order = torch.randperm(len(everything))
    train, test = everything[order[:188]], everything[order[188:]]
    each, epochs = (1, 2) if settings.short else (8, 12)
    clues, solutions = puzzles(train, everything, each)
    test_clues, test_solutions = puzzles(test, everything, 2)
    model = Rules()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, 1e-3)
    with torch.no_grad():
        history = [right(model(test_clues), test_solutions)]
    begin = time.perf_counter()
    for epoch in range(epochs):
        for rows in torch.randperm(len(clues)).split(47):
            optimizer.zero_grad()
            loss = (model(clues[rows]) - one_hot(solutions[rows])).square().mean()
            loss.backward()
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            z = model(test_clues)
        history.append(right(z, test_solutions))
        print(f"epoch {epoch + 1:2}: loss {loss.item():.5f}, test puzzles solved {history[-1][1]:.1%}", flush=True)
    seconds = (time.perf_counter() - begin) / epochs
    print(f"{len(clues)} training puzzles of 188 grids, {len(test_clues)} test puzzles of 100 other grids")
    table(
        ("test", "cells right %", "puzzles right %"),
        [(name, 100 * c, 100 * p) for name, (c, p) in (("before", history[0]), ("after", history[-1]))],
    )
    # the rules that were learned: a solved grid is a fixed point, a grid with two cells exchanged is not
    with torch.no_grad():
        unseen = test[test[:, 0] != test[:, 1]]
        wrong = unseen.clone()
        wrong[:, [0, 1]] = wrong[:, [1, 0]]
        moved = [(model(one_hot(g)) - one_hot(g)).abs().amax(1).mean().item() for g in (unseen, wrong)]
    rows = [("a solved test grid", moved[0]), ("with two cells exchanged", moved[1])]
    table(("given to the layer", "largest entry moves by"), rows)
    print(f"{seconds:.2f} s per epoch of {len(clues)} problems with 64 variables and 40 learned rows")
    save(draw(test_clues, z, test_solutions, history), settings.out)


if __name__ == "__main__":
    main()
