# %% [markdown]
# # Portfolio
#
# Weights of least $\tfrac\gamma2 w^\top\Sigma w - \mu^\top w$ with a budget and a cap, as a function of the
# forecasts $\mu$. The derivative says how the decision moves with each forecast: a stock at its cap or at zero
# does not move at all.

# %%
import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(1)
n = 8
F = 0.1 * torch.randn(n, 2)
sigma = F @ F.T + torch.diag(0.01 + 0.02 * torch.rand(n))
mu = 0.03 * torch.randn(n)


def weights(mu, gamma=5.0):
    return bt.solve_qp(
        gamma * sigma, -mu, A=torch.ones(1, n), b=torch.ones(1), lb=torch.zeros(n), ub=torch.full((n,), 0.3)
    )


w, J = weights(mu), torch.func.jacrev(weights)(mu)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=[1, 1.2])
axes[0].bar(range(n), w)
axes[0].axhline(0.3, color="0.6", lw=0.8)
axes[0].set(title="weights, capped at 0.3", xlabel="stock")
limit = J.abs().max()
picture = axes[1].imshow(J, cmap="RdBu", vmin=-limit, vmax=limit)
figure.colorbar(picture)
axes[1].set(title="weight (row) by forecast (column)", xlabel="stock")
plt.show()

# %% [markdown]
# The multiplier of the budget is the price of money: what one more unit of budget adds to the (minimized)
# objective.

# %%
s = bt.solve_qp(
    5 * sigma, -mu, A=torch.ones(1, n), b=torch.ones(1), lb=torch.zeros(n), ub=torch.full((n,), 0.3), full=True
)
print("price of the budget", -s.y.item(), "verdict", s.verdict)
