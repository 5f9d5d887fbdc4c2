# %% [markdown]
# # Risk, through the program
#
# A model of covariance $\mathrm{diag}(d) + F F^\top$ can be fitted to the returns, or to what it is for: a
# portfolio that turns out to be calm. Here the stocks' own variances $d$ are learned both ways from the same 60
# days.

# %%
import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(2)
n, days = 30, 60
F_true = 0.8 * torch.randn(n, 1)
# tails that a Gaussian fit does not see through
heavy = torch.distributions.StudentT(2.5)


def returns(m):
    return torch.randn(m, 1) @ F_true.T + heavy.sample((m, n)) * torch.linspace(0.5, 2.0, n)


train, test = returns(days), returns(2000)


def hold(log_d):
    P = bt.Factored(log_d.exp(), F_true)  # never multiplied out
    return bt.solve_qp(P, torch.zeros(n), A=torch.ones(1, n), b=torch.ones(1), lb=torch.zeros(n))


def volatility(w, r):
    return (r @ w).abs().mean()


# %%
fitted = ((train - train.mean(0)) ** 2).mean(0).sub(F_true[:, 0] ** 2).clamp(min=0.05).log()
log_d = fitted.clone().requires_grad_()
optimizer = torch.optim.Adam([log_d], lr=0.05)
curve = []
for _ in range(60):
    loss = volatility(hold(log_d), train)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        curve.append([loss.item(), volatility(hold(log_d), test).item()])
with torch.no_grad():
    two_stage = volatility(hold(fitted), test).item()
plt.figure(figsize=(5.5, 3.2))
plt.plot(curve, label=["through the program: training days", "through the program: other days"])
plt.axhline(two_stage, color="0.4", ls="--", label="fitted to the returns: other days")
plt.xlabel("step")
plt.ylabel("mean absolute return")
plt.legend()
plt.show()

# %% [markdown]
# The training days improve far more than the others: sixty days are few, and what is trained through a decision
# overfits as anything else does. [Learning through decisions](../decisions.md) says when it pays.
