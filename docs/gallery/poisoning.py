# %% [markdown]
# # Data poisoning
#
# A support vector machine is fitted by a layer whose parameters are the training points themselves. The
# gradient of the test loss by the points says which way each would have to move to do most harm: only those on
# the margin pull.

# %%
import cvxpy as cp
import matplotlib.pyplot as plt
import torch
from bpqp.torch import CvxpyLayer

torch.set_default_dtype(torch.float64)
torch.manual_seed(3)
m = 30


def cloud(count):
    y = torch.ones(count)
    y[count // 2 :] = -1
    return y[:, None] * torch.tensor([1.0, 0.6]) + 0.8 * torch.randn(count, 2), y


X, y = cloud(m)
X_test, y_test = cloud(2000)
theta, offset, points = cp.Variable(2), cp.Variable(), cp.Parameter((m, 2))
margins = cp.multiply(y.numpy(), points @ theta + offset)
fit = cp.Problem(cp.Minimize(cp.sum(cp.pos(1 - margins)) / m + 0.05 * cp.sum_squares(theta)))
layer = CvxpyLayer(fit, [points], [theta, offset])

# %%
at = X.clone().requires_grad_()
slope, shift = layer(at)
loss = torch.nn.functional.softplus(-y_test * (X_test @ slope + shift)).mean()
(pull,) = torch.autograd.grad(loss, at)
strength = pull.norm(dim=1)
print(int((strength > 1e-9).sum()), "of", m, "points pull")
plt.figure(figsize=(5.2, 4))
for sign in (1, -1):
    plt.scatter(*X[y == sign].T, s=18)
arrows = 0.9 * pull / strength.max()
plt.quiver(*X.T, *arrows.T, angles="xy", scale_units="xy", scale=1, width=0.005)
t = torch.tensor([-3.0, 3.0])
plt.plot(t, (-(shift + slope[0] * t) / slope[1]).detach(), "k", lw=1)
plt.ylim(-3, 3)
plt.show()
