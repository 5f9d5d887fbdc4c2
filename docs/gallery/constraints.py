# %% [markdown]
# # Learned constraints
#
# Someone decides under a limit that we do not know. From their decisions alone the limit is recovered, by the
# gradient through the program that they solve.

# %%
import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
wishes = 2 * torch.rand(60, 2)


def decide(direction, limit):
    """The nearest point to the wish with direction'x <= limit, x >= 0."""
    return bt.solve_qp(torch.eye(2), -wishes, G=direction[None], h=limit[None], lb=torch.zeros(2))


true = torch.tensor([1.0, 2.0]), torch.tensor(2.0)
seen = decide(*true)

# %%
direction, limit = torch.tensor([1.0, 1.0], requires_grad=True), torch.tensor(3.0, requires_grad=True)
optimizer = torch.optim.Adam([direction, limit], lr=0.05)
losses, starts = [], (direction.tolist(), limit.item())
for _ in range(150):
    optimizer.zero_grad()
    loss = (decide(direction, limit) - seen).square().mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
ratio = direction / limit  # only the ratio is determined
print("learned", ratio.tolist(), "true", (true[0] / true[1]).tolist())

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
axes[0].semilogy(losses)
axes[0].set(xlabel="step", ylabel="squared error of decisions")
t = torch.linspace(0, 2, 2)
axes[1].plot(*seen.T, ".", label="decisions seen")
for (u, v), r, style, name in (
    (*[starts[0]], starts[1], ":", "start"),
    (direction.tolist(), limit.item(), "-", "learned"),
):
    axes[1].plot(t, (r - u * t) / v, style, label=name)
axes[1].set(ylim=(0, 2), aspect="equal")
axes[1].legend()
plt.show()
