# %% [markdown]
# # Scheduling with prices
#
# Three generators meet a day's demand at least cost, with limits and ramps. The multiplier of "demand is met"
# is the price of power in that hour, and it is an output that can be differentiated as any other.

# %%
import bpqp
import matplotlib.pyplot as plt
import numpy as np

hours, units = 24, 3
t = np.arange(hours)
demand = 6 + 2.5 * np.sin((t - 9) * np.pi / 12) + 1.2 * np.exp(-((t - 19) ** 2) / 4)
cost, curve = np.array([1.0, 2.0, 4.0]), np.array([0.05, 0.1, 0.2])
limit, ramp = np.array([5.0, 3.0, 4.0]), np.array([0.5, 1.0, 3.0])
n = hours * units  # x[hour, unit]
A = np.kron(np.eye(hours), np.ones((1, units)))
step = np.kron(np.eye(hours - 1, hours, 1) - np.eye(hours - 1, hours), np.eye(units))
sol = bpqp.solve_qp(
    np.diag(np.tile(curve, hours)),
    np.tile(cost, hours),
    G=np.vstack([step, -step]),
    h=np.tile(ramp, 2 * (hours - 1)),
    A=A,
    b=demand,
    lb=np.zeros(n),
    ub=np.tile(limit, hours),
)
x, price = sol.x.reshape(hours, units), -sol.y

# %%
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.3))
axes[0].stackplot(t, x.T, labels=["base", "middle", "peak"])
axes[0].plot(t, demand, "k", lw=1, label="demand")
axes[0].set(xlabel="hour", ylabel="power", title="schedule")
axes[0].legend(loc="upper left")
axes[1].step(t, price, where="mid")
axes[1].set(xlabel="hour", title="price")
plt.show()

# %% [markdown]
# How would the price of the dearest hour change with the demand of each hour? Ramps couple the hours.

# %%
peak = int(price.argmax())
dy = np.zeros(hours)
dy[peak] = -1
print("hour", peak, np.round(sol.vjp(y=dy).b, 3))
