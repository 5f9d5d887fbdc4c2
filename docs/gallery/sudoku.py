# %% [markdown]
# # Sudoku
#
# The layer of OptNet: minimize $\tfrac12 \varepsilon z^\top z - p^\top z$ with $A z = A z_0$, $z \ge 0$, where
# $p$ is the puzzle and $A$ is learned. It is told no rule of the game. Here a few epochs on 4x4 puzzles; the
# full study is `python/examples/sudoku.py`.

# %%
import itertools

import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
torch.set_num_threads(1)
rows = list(itertools.permutations(range(4)))
grids = torch.tensor(
    [
        g
        for g in itertools.product(rows, repeat=4)
        if all(len(set(c)) == 4 for c in zip(*g, strict=True))
        and all(len({*g[r][k : k + 2], *g[r + 1][k : k + 2]}) == 4 for r in (0, 2) for k in (0, 2))
    ]
).reshape(-1, 16)
print(len(grids), "grids")


def one_hot(g):
    return torch.nn.functional.one_hot(g, 4).double().flatten(-2)


def puzzle(g):
    """Eight empty cells, one solution."""
    while True:
        seen = torch.ones(16, dtype=torch.bool)
        seen[torch.randperm(16)[:8]] = False
        if int((grids[:, seen] == g[seen]).all(1).sum()) == 1:
            return one_hot(g) * seen.repeat_interleave(4)


order = torch.randperm(288)
train, test = grids[order[:188]].repeat(4, 1), grids[order[188:]]
clues, test_clues = torch.stack([puzzle(g) for g in train]), torch.stack([puzzle(g) for g in test])

# %%
A = torch.nn.Parameter(torch.rand(40, 64))
log_z0 = torch.nn.Parameter(torch.zeros(64))
layer = bt.QpLayer(P=0.1 * torch.eye(64), lb=torch.zeros(64))
optimizer = torch.optim.Adam([A, log_z0], lr=0.03)
history = []
for _ in range(7):
    for batch in torch.randperm(len(train)).split(32):
        loss = (layer(q=-clues[batch], A=A, b=A @ log_z0.exp()) - one_hot(train[batch])).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        z = layer(q=-test_clues, A=A, b=A @ log_z0.exp())
    right = z.reshape(-1, 16, 4).argmax(2) == test
    history.append([100 * right.double().mean(), 100 * right.all(1).double().mean()])
print(f"cells right {history[-1][0]:.1f} %, whole puzzles {history[-1][1]:.1f} %")

# %%
plt.figure(figsize=(5, 3))
plt.plot(range(1, 8), history, marker=".", label=["cells", "puzzles"])
plt.xlabel("epoch")
plt.ylabel("% right, grids never seen")
plt.legend()
plt.show()
