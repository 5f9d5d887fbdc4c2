# %% [markdown]
# # Deblurring, with a matrix that is a product
#
# A telescope blurs stars. To get them back, minimize $\tfrac12\|Bx - y\|^2 + \tfrac\lambda2\|x\|^2$ over images
# $x \ge 0$. The blur $B$ of 72 x 72 pixels would be a matrix of 27 million numbers; here it is two Fourier transforms,
# a `bpqp.Operator`. Solution and gradient use products only.

# %%
import bpqp
import matplotlib.pyplot as plt
import numpy as np

side = 72
n = side * side
rng = np.random.default_rng(0)
truth = np.zeros((side, side))
truth[tuple(rng.integers(4, side - 4, (2, 30)))] = rng.uniform(0.3, 1.0, 30)
away = np.minimum(np.arange(side), side - np.arange(side)) ** 2
kernel = np.exp(-(away[:, None] + away[None]) / 5.0)
wave = np.fft.rfft2(kernel / kernel.sum())


def filtered(image, factor):
    """The product of an image with a filter, given by its factor for each frequency."""
    return np.fft.irfft2(np.fft.rfft2(image.reshape(side, side)) * factor, (side, side)).ravel()


seen = filtered(truth, wave) + 0.004 * rng.standard_normal(n)


def restored(strength):
    P = bpqp.Operator((n, n), lambda x: filtered(x, wave**2) + strength * x)
    return bpqp.solve_qp(P, -filtered(seen, wave), lb=0.0)


sol = restored(1e-3)
print(sol)

# %% [markdown]
# **The strength, by its gradient.** The gradient by a matrix that is an operator has rank two, `left @ right.T`, and is
# never formed. With $P = B^2 + \lambda I$ the slope by $\lambda$ is its trace. Ten steps on the logarithm:

# %%
strength, path = 3e-2, []
for _ in range(10):
    sol = restored(strength)
    g = sol.vjp(x=sol.x - truth.ravel(), wrt="P").P
    path.append((strength, 0.5 * np.sum((sol.x - truth.ravel()) ** 2)))
    strength *= np.exp(-np.clip(2.0 * strength * (g.left * g.right).sum(), -1.0, 1.0))
print("strength", [f"{s:.1e}" for s, _ in path], "error", [f"{e:.3f}" for _, e in path])
best = restored(strength)
linear = filtered(filtered(seen, wave), 1 / (wave**2 + strength))  # the same without x >= 0

# %% [markdown]
# **What a pixel rests on.** The brightness of one restored star, by every measured pixel: with $q = -By$ that is
# $-B\,\partial/\partial q$.

# %%
star = int(best.x.argmax())
by_seen = -filtered(best.vjp(x=np.eye(1, n, star)[0], wrt="q").q, wave)
figure, axes = plt.subplots(2, 3, figsize=(10, 6.6), layout="constrained")
for axis, image, title in zip(
    axes.ravel(),
    (truth, seen, linear, best.x),
    ("the sky", "what was seen", "restored, any sign", "restored, $x \\geq 0$"),
    strict=False,
):
    axis.imshow(image.reshape(side, side), cmap="magma", vmin=0, vmax=0.5)
    axis.set_title(title)
row, column = divmod(star, side)
corner = np.clip([row - 12, column - 12], 0, side - 24)
part = by_seen.reshape(side, side)[corner[0] : corner[0] + 24, corner[1] : corner[1] + 24]
axes[1, 1].imshow(part, cmap="RdBu", vmin=-np.abs(part).max(), vmax=np.abs(part).max())
axes[1, 1].set_title("one star, by pixels around it")
for axis in axes.ravel()[:5]:
    axis.axis("off")
axes[1, 2].loglog(*zip(*path, strict=True), "o-")
axes[1, 2].set(title="error along the steps", xlabel="strength")
plt.show()
