# %% [markdown]
# # Nonlinear control
#
# A cart swings a pole up. Every step it plans the next two seconds, a smooth program that is not convex, and applies
# the first force; the next plan starts from the last one. Then the weights of the plan are fitted to the forces of
# another controller, by the gradient through the plans.

# %%
import bpqp.torch as bt
import matplotlib.pyplot as plt
import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
dt = 0.05


def rate(s, u):
    """Of position, angle (0 is upright), speed, turn; the force cannot lift the pole at once."""
    _, angle, speed, turn = s
    sin, cos = angle.sin(), angle.cos()
    push = (u[0] + 0.1 * turn**2 * sin) / 1.2
    spin = (9.81 * sin - cos * push) / (0.5 * (4 / 3 - cos**2 / 6))
    return torch.stack([speed, turn, push - spin * cos / 12, spin])


def step(s, u, log_weights=None):
    k1 = rate(s, u)
    k2 = rate(s + dt / 2 * k1, u)
    k3 = rate(s + dt / 2 * k2, u)
    return s + dt / 6 * (k1 + 2 * k2 + 2 * k3 + rate(s + dt * k3, u))


def off(s, log_weights):
    place, swing, _ = log_weights.exp()
    return place * s[0] ** 2 + swing * (1 - s[1].cos()) + 0.1 * s[2] ** 2 + 0.05 * s[3] ** 2


controller = bt.ControlLayer(
    step,
    stage=lambda s, u, w: off(s, w) + w[2].exp() * u[0] ** 2,
    last=lambda s, w: 20 * off(s, w),
    horizon=40,
    states=4,
    controls=1,
    state_bounds=([-2.0, -torch.inf, -torch.inf, -torch.inf], [2.0, torch.inf, torch.inf, torch.inf]),
    control_bounds=(-12.0, 12.0),
)
weights = torch.tensor([1.0, 5.0, 0.005]).log()


# %%
def guess(state):
    """No force, and the state on a line to 0."""
    line = torch.linspace(1, 0, 41)[1:, None] * state[..., None, :]
    return torch.cat([torch.zeros(*line.shape[:-1], 1), line], -1).flatten(-2)


state = torch.tensor([0.0, torch.pi, 0.0, 0.0])
start = guess(state)
path, forces = [state], []
for _ in range(70):
    u, s = controller(state, weights, x0=start, index=["cart"], shift=True)
    state = step(state, u[0])
    path.append(state)
    forces.append(u[0, 0])
path = torch.stack(path)
print(f"angle at the end {path[-1, 1].item():.1e}")

# %% [markdown]
# Weights whose controller does what another one did in four states. The loss falls to a few hundredths of what it was;
# the weights need not be those of the other one: the forces determine them up to a common factor at best, and one that
# hardly moves a force hardly at all.

# %%
torch.manual_seed(0)
wanted = torch.tensor([3.0, 2.0, 0.02]).log()
states = torch.randn(4, 4) * torch.tensor([0.3, 0.05, 0.1, 0.1])
names = list(range(4))
with torch.no_grad():
    shown = controller(states, wanted, x0=guess(states))[0][:, 0]
learned = weights.clone().requires_grad_()
optimizer = torch.optim.Adam([learned], lr=0.3)
losses, courses = [], []
for _ in range(30):
    optimizer.zero_grad()
    u, _ = controller(states, learned, x0=guess(states), index=names)
    loss = ((u[:, 0] - shown) ** 2).mean()
    loss.backward()
    losses.append(loss.item())
    courses.append(learned.detach().exp().clone())
    optimizer.step()
print(f"loss {losses[0]:.2e} -> {losses[-1]:.2e}; weights {learned.exp().tolist()}, wanted {wanted.exp().tolist()}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3))
axes[0].plot(dt * torch.arange(71), path[:, :2], label=["position, m", "angle, rad"])
axes[0].step(dt * torch.arange(70), torch.stack(forces) / 10, color="0.6", lw=1, label="force, 10 N")
axes[0].axhline(0, color="0.7", lw=0.8)
axes[0].set(title="swing-up", xlabel="s")
axes[0].legend()
axes[1].semilogy(losses)
axes[1].set(title="loss", xlabel="iteration")
ratio = torch.stack(courses) / wanted.exp()
axes[2].plot(ratio, label=["position", "angle", "force"])
axes[2].axhline(1, color="0.7", lw=0.8)
axes[2].set(title="weights by the wanted ones", xlabel="iteration")
axes[2].legend()
plt.show()
