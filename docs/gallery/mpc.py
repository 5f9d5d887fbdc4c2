# %% [markdown]
# # Model predictive control
#
# A controller solves a program over the next steps and applies the first input. Its weights are usually tuned
# by hand; here they are tuned by the gradient of the cost of the closed loop, through all the programs in it.

# %%
import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
horizon, limit = 8, 0.5
Ad, Bd = torch.tensor([[1.0, 0.2], [0.0, 1.0]]), torch.tensor([[0.02], [0.2]])  # a mass, pushed
powers = [torch.linalg.matrix_power(Ad, k) for k in range(horizon + 1)]
free = torch.cat(powers[1:])  # where it goes without inputs
forced = torch.zeros(2 * horizon, horizon)
for k in range(horizon):
    for j in range(k + 1):
        forced[2 * k : 2 * k + 2, j : j + 1] = powers[k - j] @ Bd


def control(state, log_weights):
    """The first input, for a batch of states."""
    position, speed, effort = log_weights.exp()
    W = torch.stack([position, speed]).repeat(horizon)
    P = forced.T @ (W[:, None] * forced) + effort * torch.eye(horizon)
    q = (state @ free.T * W) @ forced
    u = bt.solve_qp(P, q, lb=torch.full((horizon,), -limit), ub=torch.full((horizon,), limit))
    return u[:, :1]


def closed_loop(log_weights, steps=30):
    state = torch.tensor([[1.0, 0.0], [-0.7, 0.5], [0.3, -0.8]])
    path, cost = [state], 0.0
    for _ in range(steps):
        u = control(state, log_weights)
        state = state @ Ad.T + u @ Bd.T
        cost = cost + (10 * state[:, 0] ** 2 + u[:, 0] ** 2).mean()
        path.append(state)
    return cost, torch.stack(path)


# %%
log_weights = torch.zeros(3, requires_grad=True)
before = closed_loop(log_weights)
optimizer = torch.optim.Adam([log_weights], lr=0.2)
for _ in range(20):
    optimizer.zero_grad()
    cost, path = closed_loop(log_weights)
    cost.backward()
    optimizer.step()
print(f"cost {before[0].item():.2f} -> {cost.item():.2f}; weights {log_weights.exp().tolist()}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for axis, p, name in zip(axes, (before[1], path), ("before", "tuned"), strict=True):
    axis.plot(p[:, :, 0].detach())
    axis.axhline(0, color="0.7", lw=0.8)
    axis.set(title=name, xlabel="step")
axes[0].set_ylabel("position of three starts")
plt.show()
