# %% [markdown]
# # Support vector machine
#
# In the dual of a support vector machine every training point has a multiplier, at most $C$. The derivative of
# the decision at a new point by each label's weight $C_k$ shows which samples the decision rests on.

# %%
import bpqp
import matplotlib.pyplot as plt
import numpy as np

rng = np.random.default_rng(0)
m = 40
y = np.repeat([1.0, -1.0], m // 2)
X = rng.normal(size=(m, 2)) + y[:, None] * np.array([0.9, 0.5])


def kernel(a, b):
    return np.exp(-((a[:, None] - b[None]) ** 2).sum(2) / 2)


K = kernel(X, X)
P = y[:, None] * y * K + 1e-8 * np.eye(m)
sol = bpqp.solve_qp(P, -np.ones(m), A=y[None], b=np.zeros(1), lb=np.zeros(m), ub=np.full(m, 2.0))
alpha, offset = sol.x, sol.y[0]  # the multiplier of y'alpha = 0 is the offset of the classifier

# %%
new = np.array([[0.2, 0.1]])
by_alpha = (y * kernel(new, X))[0]
influence = sol.vjp(x=by_alpha, y=np.ones(1)).ub
grid = np.stack(np.meshgrid(np.linspace(-3, 3, 60), np.linspace(-3, 3, 60)), -1)
value = kernel(grid.reshape(-1, 2), X) @ (alpha * y) + offset
plt.figure(figsize=(5.6, 4))
plt.contourf(grid[..., 0], grid[..., 1], value.reshape(60, 60), levels=[-9, 0, 9], alpha=0.15)
size = 12 + 300 * np.abs(influence) / max(np.abs(influence).max(), 1e-12)
plt.scatter(*X.T, c=y, cmap="coolwarm", s=size)
plt.plot(*new[0], "k*", ms=12)
plt.title("star: the new point; large: the samples its value moves with")
plt.show()
print("support vectors", int((alpha > 1e-9).sum()), "at the limit", int((alpha > 2 - 1e-9).sum()))
