# %% [markdown]
# # Optimal transport
#
# The plan that carries one histogram into another at least cost is a linear program. Its solution is a vertex,
# and its derivative by the costs is zero almost everywhere; `smoothing` gives a useful one, and the multipliers
# (the *potentials*) give the exact derivative of the distance by the histograms.

# %%
import bpqp
import matplotlib.pyplot as plt
import numpy as np

n = 16
t = np.linspace(0, 1, n)
a, b = np.exp(-((t - 0.3) ** 2) / 0.01), np.exp(-((t - 0.7) ** 2) / 0.03) + 0.2
a, b = (a + 0.01) / (a + 0.01).sum(), b / b.sum()
cost = (t[:, None] - t[None]) ** 2
rows, columns = np.kron(np.eye(n), np.ones((1, n))), np.kron(np.ones((1, n)), np.eye(n))
A, rhs = np.vstack([rows, columns])[:-1], np.concatenate([a, b])[:-1]  # the last row follows from the others
plain = bpqp.solve_qp(None, cost.ravel(), A=A, b=rhs, lb=np.zeros(n * n))
soft = bpqp.solve_qp(None, cost.ravel(), A=A, b=rhs, lb=np.zeros(n * n), smoothing=1e-4)
print("squared distance", plain.objective)

# %%
loss = (t[None] * np.ones((n, 1))).ravel() * (np.arange(n) == 5).repeat(n)  # where the mass of one bin goes
figure, axes = plt.subplots(1, 3, figsize=(10, 3))
axes[0].imshow(plain.x.reshape(n, n), cmap="Blues")
axes[0].set_title("plan")
for axis, sol, name in ((axes[1], plain, "exact: zero"), (axes[2], soft, "smoothed")):
    g = sol.vjp(x=loss).q.reshape(n, n)
    limit = max(np.abs(g).max(), 1e-12)
    axis.imshow(g, cmap="RdBu", vmin=-limit, vmax=limit)
    axis.set_title(f"by the costs, {name}")
plt.show()
