# %% [markdown]
# # Nonlinear control
#
# A cart swings a pole up. Every step it plans the next two seconds, a smooth program that is not convex, and applies the
# first force; the next plan starts from the last one. Then the weights of the plan are learned from the forces
# of another controller, by the gradient through the plans.

# %%
import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
horizon, dt = 40, 0.05


def rate(s, u):
    """Of position, angle (0 is upright), speed, turn; the force cannot lift the pole at once."""
    _, angle, speed, turn = s.unbind(-1)
    sin, cos = angle.sin(), angle.cos()
    push = (u + 0.1 * turn**2 * sin) / 1.2
    spin = (9.81 * sin - cos * push) / (0.5 * (4 / 3 - cos**2 / 6))
    return torch.stack([speed, turn, push - spin * cos / 12, spin], -1)


def step(s, u):
    k1 = rate(s, u)
    k2 = rate(s + dt / 2 * k1, u)
    k3 = rate(s + dt / 2 * k2, u)
    return s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + rate(s + dt * k3, u))


# the plan: a force and the state after it, for every step
def cost(plan, start, log_weights):
    place, swing, effort = log_weights.exp()
    u, s = plan.reshape(horizon, 5)[:, 0], plan.reshape(horizon, 5)[:, 1:]
    off = place * s[:, 0] ** 2 + swing * (1 - s[:, 1].cos()) + 0.1 * s[:, 2] ** 2 + 0.05 * s[:, 3] ** 2
    return off.sum() + 20 * off[-1] + effort * (u**2).sum()


def dynamics(plan, start, log_weights):
    parts = plan.reshape(horizon, 5)
    before = torch.cat([start[None], parts[:-1, 1:]])
    return (step(before, parts[:, 0]) - parts[:, 1:]).reshape(-1)


far = torch.inf
limits = torch.tensor([12.0, 2.0, far, far, far]).repeat(horizon)
controller = bt.NonlinearLayer(cost, c=dynamics, lb=-limits, ub=limits, eps_abs=1e-6, eps_rel=1e-6)
weights = torch.tensor([1.0, 5.0, 0.005]).log()

# %%
state = torch.tensor([0.0, torch.pi, 0.0, 0.0])
ramp = torch.linspace(1, 0, horizon + 1)[1:, None] * state
plan = torch.cat([torch.zeros(horizon, 1), ramp], 1).reshape(-1)
path, forces = [state], []
for _ in range(70):
    plan = controller(state, weights, x0=plan)
    forces.append(plan[0])
    state = step(state, plan[0])
    path.append(state)
    plan = torch.cat([plan[5:], plan[-5:]])  # a step later
path = torch.stack(path)
print(f"angle at the end {path[-1, 1].item():.1e}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3))
axes[0].plot(dt * torch.arange(71), path[:, :2], label=["position, m", "angle, rad"])
axes[0].axhline(0, color="0.7", lw=0.8)
axes[0].set(title="swing-up", xlabel="s")
axes[0].legend()
axes[1].step(dt * torch.arange(70), torch.stack(forces), color="C2")
axes[1].set(title="force, N", xlabel="s")
plt.show()
