"""Losses on decisions beside PyEPO: its own data, its own regret, one core each.

PyEPO and a free solver go into an environment of their own, which looks into that of python/test.sh for the rest:

    python/test.sh
    python -m venv target/pyepo
    for path in python target/python/lib/python3*/site-packages; do realpath $path; done \
        >$(echo target/pyepo/lib/python3*/site-packages)/bpqp.pth
    target/pyepo/bin/pip install pyepo ortools
    target/pyepo/bin/python bench/losses.py

Linear networks predict the costs of shortest paths on a 5 x 5 grid (degree 4) and the values of a knapsack with two
limits (degree 4; its linear relaxation, on both sides). The same start, batches, steps and step sizes for every loss;
the regret is `pyepo.metric.regret` on 500 samples that no loss has seen, in percent of the best objective.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import bpqp.torch as bt
import numpy as np
import pyepo
import torch
from bpqp.torch import losses
from pyepo.model import ort
from torch.utils.data import DataLoader

FEATURES, DEGREE, NOISE, SAMPLES, BATCH = 5, 4, 0.5, 8, 32
Step = Callable[..., torch.Tensor]


def shortest_path(count: int, seed: int) -> tuple[Any, bt.QpLayer, bt.QpLayer, float, Any, Any]:
    grid = (5, 5)
    x, c = pyepo.data.shortestpath.genData(count, FEATURES, grid, deg=DEGREE, noise_width=NOISE, seed=seed)
    model = ort.shortestPathModel(grid)
    A = torch.zeros(25, len(model.arcs))
    for k, (start, end) in enumerate(model.arcs):
        A[start, k], A[end, k] = -1.0, 1.0
    b = torch.zeros(25)
    b[0], b[-1] = -1.0, 1.0
    n = len(model.arcs)
    data = {"A": A, "b": b, "lb": torch.zeros(n), "ub": torch.ones(n), "threads": 1}
    return model, bt.QpLayer(**data), bt.QpLayer(P=torch.eye(n), **data), 1.0, x, c


def knapsack(count: int, seed: int) -> tuple[Any, bt.QpLayer, bt.QpLayer, float, Any, Any]:
    items, limits = 32, 2
    args = (count, FEATURES, items)
    weights, x, c = pyepo.data.knapsack.genData(*args, dim=limits, deg=DEGREE, noise_width=NOISE, seed=seed)
    capacity = [20.0] * limits
    model = ort.knapsackModel(weights, capacity).relax()
    G, h = torch.as_tensor(np.asarray(weights), dtype=torch.float32), torch.tensor(capacity)
    data = {"G": G, "h": h, "lb": torch.zeros(items), "ub": torch.ones(items), "threads": 1}
    return model, bt.QpLayer(**data), bt.QpLayer(P=torch.eye(items), **data), -1.0, x, c


def steps_of(model: Any, layer: bt.QpLayer, ridge: bt.QpLayer, sign: float) -> dict[str, Step]:
    """Losses of the predicted costs, the true ones, and the decisions and objectives by these."""
    spo = pyepo.func.SPOPlus(model, processes=1)
    fenchel_young = pyepo.func.perturbedFenchelYoung(model, n_samples=SAMPLES, sigma=1.0, processes=1)
    noise = {"sigma": 1.0, "samples": SAMPLES, "generator": torch.Generator().manual_seed(135)}
    return {
        "two-stage: squared error": lambda p, c, w, z: (p - c).square().mean(),
        "PyEPO SPO+": spo,
        "bpqp spo_plus": lambda p, c, w, z: losses.spo_plus(layer, sign * p, sign * c, best=w),
        "PyEPO perturbed Fenchel-Young, 8": lambda p, c, w, z: fenchel_young(p, w),
        "bpqp fenchel_young, 8": lambda p, c, w, z: losses.fenchel_young(layer, sign * p, sign * c, best=w, **noise),
        "bpqp smoothed, mu = 0.1": lambda p, c, w, z: losses.smoothed(layer, sign * p, sign * c, mu=0.1, best=w),
        "bpqp regret, P = I": lambda p, c, w, z: losses.regret(ridge, sign * p, sign * c),
        "bpqp squared_decision, P = I": lambda p, c, w, z: losses.squared_decision(ridge, sign * p, sign * c),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    test = 500
    for name, problem in (("shortest path, 5 x 5", shortest_path), ("knapsack, 32 items, 2 limits", knapsack)):
        found: dict[str, list[tuple[float, float]]] = {}
        for seed in range(options.seeds):
            model, layer, ridge, sign, x, c = problem(options.train + test, 135 + seed)
            train_set = pyepo.data.dataset.optDataset(model, x[: options.train], c[: options.train])
            tests = pyepo.data.dataset.optDataset(model, x[options.train :], c[options.train :])
            steps = steps_of(model, layer, ridge, sign)
            for label, loss in steps.items():
                torch.manual_seed(seed)
                network = torch.nn.Linear(FEATURES, c.shape[1])
                optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
                batches = DataLoader(train_set, batch_size=BATCH, shuffle=True)
                seconds = []
                for _ in range(options.epochs):
                    begin = time.process_time()
                    for features, *rest in batches:
                        optimizer.zero_grad()
                        loss(network(features), *rest).backward()
                        optimizer.step()
                    seconds.append(time.process_time() - begin)
                regret = pyepo.metric.regret(network, model, DataLoader(tests, batch_size=BATCH))
                found.setdefault(label, []).append((100 * float(regret), float(np.median(seconds))))
        print(f"\n{name}: {options.train} samples, {options.epochs} epochs, {options.seeds} seeds\n")
        print("| loss | regret, % | CPU seconds per epoch |\n| --- | --- | --- |")
        for label, values in found.items():
            regrets, seconds = np.array(values).T
            spread = regrets.std(ddof=min(1, len(regrets) - 1))
            print(f"| {label} | {regrets.mean():.1f} +- {spread:.1f} | {seconds.min():.2f} |")


if __name__ == "__main__":
    main()
