"""Problems with active inequalities and bounds, and central differences."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
import pytest

NAMES = ("P", "q", "G", "h", "A", "b", "lb", "ub")
OUTPUTS = ("x", "y", "z", "z_box", "objective")
N, M, MI = 6, 2, 5


def need(*packages: str) -> None:
    """Skips the tests of a module where an optional package is absent; under CI it must be there."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            if os.environ.get("CI"):
                raise RuntimeError(f"{package} is not installed, and CI runs every test")
            pytest.skip(f"{package} is not installed", allow_module_level=True)


def one(rng: np.random.Generator) -> dict[str, Any]:
    """A feasible problem, most of whose constraints matter."""
    root, x = rng.normal(size=(N, N)), 0.1 * rng.normal(size=N)
    G, A = rng.normal(size=(MI, N)), rng.normal(size=(M, N))
    return {
        "P": root @ root.T + np.eye(N),
        "q": 4 * rng.normal(size=N),
        "G": G,
        "h": G @ x + 0.2,
        "A": A,
        "b": A @ x,
        "lb": x - 0.4,
        "ub": x + 0.4,
    }


def problem(batch: int | None = None, batched: tuple[str, ...] = NAMES, seed: int = 0) -> dict[str, Any]:
    """One problem, or a batch in which only `batched` arguments differ."""
    rng = np.random.default_rng(seed)
    first = one(rng)
    if batch is None:
        return first
    if batched == NAMES:
        items = [first] + [one(rng) for _ in range(batch - 1)]
        return {k: np.stack([item[k] for item in items]) for k in NAMES}
    out: dict[str, Any] = dict(first)
    for k in batched:
        scale = {"q": 2.0, "h": 0.05, "b": 0.02}.get(k, 0.01)
        out[k] = np.stack([first[k] + scale * rng.normal(size=first[k].shape) for _ in range(batch)])
    if "P" in batched:
        out["P"] = 0.5 * (out["P"] + out["P"].transpose(0, 2, 1))
    return out


def is_active(sol: Any) -> bool:
    """True if inequality rows and bounds bind somewhere, so that a test of gradients means something."""
    return bool(np.any(np.asarray(sol.z) > 1e-3) and np.any(np.abs(np.asarray(sol.z_box)) > 1e-3))


def difference(f: Any, at: dict[str, Any], name: str, step: float = 1e-6) -> Any:
    """Central differences of a scalar function with respect to one argument; P is moved symmetrically."""
    value = np.asarray(at[name])
    out = np.zeros(value.shape)
    for index in np.ndindex(value.shape):
        sides = []
        for sign in (1, -1):
            moved = value.copy()
            if name == "P":
                mirror = (*index[:-2], index[-1], index[-2])
                moved[index] += 0.5 * sign * step
                moved[mirror] += 0.5 * sign * step
            else:
                moved[index] += sign * step
            sides.append(f({**at, name: moved}))
        out[index] = (sides[0] - sides[1]) / (2 * step)
    return out
