# %% [markdown]
# # Projections
#
# The nearest point of a set is a quadratic program, so a projection is a layer of one line.

# %%
import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)


def simplex(y):
    n = y.shape[-1]
    return bt.solve_qp(torch.eye(n), -y, A=torch.ones(1, n), b=torch.ones(1), lb=torch.zeros(n))


def box(y):
    return bt.solve_qp(torch.eye(y.shape[-1]), -y, lb=-torch.ones(2) / 2, ub=torch.ones(2) / 2)


# %% [markdown]
# Projected on the simplex, scores become probabilities as with softmax, but many of them are exactly 0
# (*sparsemax*).

# %%
t = torch.linspace(-2, 2, 201)
scores = torch.stack([t, 0 * t, 0 * t - 0.5], 1)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
axes[0].plot(t, simplex(scores))
axes[0].set(title="sparsemax of (t, 0, -0.5)", xlabel="t", ylabel="probability")
points = 1.2 * torch.randn(40, 2)
inside = box(points)
for start, end in zip(points, inside, strict=True):
    axes[1].plot(*torch.stack([start, end]).T, color="0.8", lw=0.8)
axes[1].plot(*inside.T, ".", ms=6)
axes[1].set(title="nearest points of a box", aspect="equal")
plt.show()

# %% [markdown]
# The derivative is that of sorting and clamping: entries at 0 do not move, the others share a change.

# %%
y = torch.tensor([0.5, 0.2, -1.0])
print(torch.func.jacrev(simplex)(y))
