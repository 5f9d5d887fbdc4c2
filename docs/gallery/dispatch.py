# %% [markdown]
# # Dispatch with prices
#
# Eight towns, four power stations, lines with limits. The cheapest schedule that meets the load is a program; the
# multiplier of "what comes in goes out" at a town is the *price* of power there. Where a line is full, prices on its
# two sides differ. One derivative more says how every price moves with the load of every town.

# %%
import bpqp
import matplotlib.pyplot as plt
import numpy as np

load = np.array([90, 60, 110, 70, 110, 80, 60, 50.0])
# from, to, limit
lines = [(0, 1, 160), (1, 2, 120), (2, 3, 120), (3, 4, 120), (4, 5, 100), (5, 6, 120), (6, 7, 150), (7, 0, 150)]
lines += [(1, 5, 70), (2, 6, 120)]
towns = [0, 2, 5, 7]  # where the stations are
most = np.array([300, 150, 250, 200.0])
curve, slope = np.array([0.01, 0.06, 0.04, 0.02]), np.array([12, 30, 24, 16.0])  # c P^2 + s P, $/h


def table(name, rows):
    return f"mpc.{name} = [\n" + ";\n".join(" ".join(f"{v:g}" for v in row) for row in rows) + ";\n];\n"


# as MATPOWER has it; files of that format are read by bpqp.grid.read_case
case = bpqp.grid.case(
    "mpc.baseMVA = 100;\n"
    + table("bus", [(k + 1, 3 if k == 0 else 1, p, 0, 0, 0, 1, 1, 0, 230, 1, 1.1, 0.9) for k, p in enumerate(load)])
    + table("gen", [(k + 1, 0, 0, 100, -100, 1, 100, 1, p, 0) for k, p in zip(towns, most, strict=True)])
    + table("branch", [(i + 1, j + 1, 0, 0.1, 0, m, m, m, 0, 0, 1, -60, 60) for i, j, m in lines])
    + table("gencost", [(2, 0, 0, 3, c, s, 0) for c, s in zip(curve, slope, strict=True)])
)
found = bpqp.grid.dispatch(case)
full = np.abs(found.flow) > case.limit - 1e-6
print(f"{found.status}, {found.verdict}: {found.cost:.0f} $/h; stations at {np.round(found.power)} MW")
print("full lines", [lines[k][:2] for k in np.flatnonzero(full)], "prices", np.round(found.price, 1))

# %% [markdown]
# A row of the matrix is the gradient of one price by all loads. One more MW at the dear side of a full line raises the
# prices there, and lowers some on the other side.

# %%
moves = np.stack([found.vjp(price=row).load for row in np.eye(len(load))])
angle = np.linspace(0, 2 * np.pi, len(load), endpoint=False)
place = np.stack([np.cos(angle), np.sin(angle)], 1)
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for k, (i, j, _) in enumerate(lines):
    axes[0].plot(*place[[i, j]].T, color="C3" if full[k] else "0.6", lw=0.6 + 4 * abs(found.flow[k]) / 150, zorder=1)
dots = axes[0].scatter(*place.T, c=found.price, s=4 * load, cmap="viridis", zorder=2, edgecolors="k")
for k, (x, y) in enumerate(place):
    axes[0].annotate(f"{found.price[k]:.1f}", (1.3 * x, 1.3 * y), ha="center", va="center")
axes[0].set(title="prices, $/MWh; red: full lines", xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
axes[0].axis("off")
bound = np.abs(moves).max()
shown = axes[1].imshow(moves, cmap="RdBu_r", vmin=-bound, vmax=bound)
axes[1].set(title="price (row) by load (column), $/MWh per MW", xlabel="load at town", ylabel="price at town")
figure.colorbar(shown, ax=axes[1], shrink=0.8)
plt.show()

# %% [markdown]
# A price is itself the derivative of the cost by a load, so the matrix is symmetric; a difference of two schedules
# agrees with it.

# %%
step = 1e-3 * np.eye(len(load))[4]
more, less = (bpqp.grid.dispatch(case, load=load + sign * step).price for sign in (1, -1))
difference = (more - less) / 2e-3
print("symmetric to", np.abs(moves - moves.T).max(), "difference to", np.abs(difference - moves[:, 4]).max())
