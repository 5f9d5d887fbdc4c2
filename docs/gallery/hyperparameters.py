# %% [markdown]
# # Hyperparameters
#
# The lasso is a quadratic program in $(\beta^+, \beta^-)$; its penalty is a parameter. The gradient of the
# validation error by the penalty replaces the grid.

# %%
import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
n, m = 20, 40
truth = torch.zeros(n)
truth[:5] = torch.tensor([2.0, -1.5, 1.0, 0.8, -0.6])
X, X_val = torch.randn(m, n), torch.randn(200, n)
y, y_val = X @ truth + torch.randn(m), X_val @ truth + torch.randn(200)
H = X.T @ X / m
P = torch.cat([torch.cat([H, -H], 1), torch.cat([-H, H], 1)])
c = X.T @ y / m


def lasso(log_penalty):
    q = log_penalty.exp().unsqueeze(-1) + torch.cat([-c, c])
    b = bt.solve_qp(P, q, lb=torch.zeros(2 * n))
    return b[..., :n] - b[..., n:]


def error(log_penalty):
    return (lasso(log_penalty) @ X_val.T - y_val).square().mean(-1)


# %%
at, path = torch.tensor(-4.0, requires_grad=True), []
optimizer = torch.optim.Adam([at], lr=0.3)
for _ in range(25):
    optimizer.zero_grad()
    loss = error(at)
    loss.backward()
    path.append((at.item(), loss.item()))
    optimizer.step()
grid = torch.linspace(-5, 0, 80)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
axes[0].plot(grid, error(grid).detach(), color="0.6", label="grid")
axes[0].plot(*zip(*path, strict=True), ".-", label="descent")
axes[0].set(xlabel="log penalty", ylabel="validation error")
axes[0].legend()
axes[1].plot(grid, lasso(grid).detach())
axes[1].axvline(at.item(), color="0.6", lw=0.8)
axes[1].set(xlabel="log penalty", title="coefficients")
plt.show()
