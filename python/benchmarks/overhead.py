"""What a call costs besides the work of the core: NumPy, PyTorch in eager mode, JAX under jit; 10 variables, 5 rows.

    python python/benchmarks/overhead.py [--repeat 300] [--only numpy torch jax]

Every row is the median of many calls, in one run on one machine, with the bar that it has to stay below:

    numpy   forward and gradient of q               <= 40 microseconds
    torch   forward and backward, batch 1 and 128   <= 1.3 x an autograd.Function around a no-op + core
    jax     under jit, batch 128                    <= 2 x a jitted call that multiplies the same arrays + core

The no-op is an autograd.Function that takes and gives the same tensors, keeps its inputs for the backward pass, and
sees them as NumPy arrays both ways as the extension wants them; it computes nothing, and does not even write the
gradients that it gives, so it is the least that such a function costs. "core" is the compiled extension called
directly with arrays that need no conversion: `Engine.solve`, and `Solved.vjp` for all four arguments where there is a
backward pass; it includes the building of problems from the arrays, the threads and the arrays of the results. All
calls of a row take turns, so each finds the caches as the others left them, as in a step of training; the bar is 1.3
or 2 times the no-op, and once the core.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
from collections.abc import Callable
from typing import Any

import bpqp
import numpy as np
from bpqp import _bpqp

N, M = 10, 5
Row = tuple[str, float, float, str]


def problem(batch: int | None) -> list[np.ndarray[Any, Any]]:
    """P, q, G, h with active and inactive rows."""
    rng = np.random.default_rng(0)
    size = batch or 1
    root, x = rng.normal(size=(size, N, N)), rng.normal(size=(size, N))
    G = rng.normal(size=(size, M, N))
    h = np.einsum("kij,kj->ki", G, x) + 0.1 * rng.random((size, M))
    data = [root @ root.transpose(0, 2, 1) + np.eye(N), rng.normal(size=(size, N)), G, h]
    return data if batch else [v[0] for v in data]


class Median:
    """Median times of several calls, taken in turns and in changing order, so that a busy moment hits all of them."""

    def __init__(self, repeat: int) -> None:
        self.repeat = repeat

    def __call__(self, *calls: Callable[[], Any]) -> list[float]:
        times: list[list[float]] = [[] for _ in calls]
        gc.collect()
        gc.disable()
        for _ in range(20):
            for call in calls:
                call()
        order = list(range(len(calls)))
        shuffle = random.Random(0).shuffle
        for _ in range(self.repeat):
            shuffle(order)
            for k in order:
                start = time.perf_counter()
                calls[k]()
                times[k].append(time.perf_counter() - start)
        gc.enable()
        return [1e6 * float(np.median(t)) for t in times]


def core(data: list[Any], wanted: tuple[int, ...]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Calls of the extension: forward, and forward with the gradient of these arguments."""
    engine = _bpqp.Engine({"solver": "auto"}, False)
    size = data[1].shape[0] if data[1].ndim == 2 else 1
    block = (*data, None, None, None, None)
    rows = (np.ones((size, N)), None, None, None, None)
    ask, summed = [k in wanted for k in range(8)], [False] * 9

    def both() -> None:
        engine.solve(block).vjp(rows, ask, summed, 0)

    return lambda: engine.solve(block), both


def in_numpy(median: Median) -> list[Row]:
    data, ones = problem(None), np.ones(N)
    call, (_, bare) = lambda: bpqp.solve_qp(*data).vjp(x=ones, wrt="q"), core(data, (1,))
    took, floor = median(call, bare)
    return [("numpy, forward + vjp of q", took, 40.0, f"core {floor:.1f}")]


def in_torch(median: Median) -> list[Row]:
    import bpqp.torch as bt
    import torch

    class Nothing(torch.autograd.Function):
        """As many tensors in and out, through NumPy both ways, and nothing done."""

        @staticmethod
        def forward(ctx: Any, *data: Any) -> Any:
            ctx.save_for_backward(*data)
            arrays = [v.numpy(force=True) for v in data]
            return torch.from_numpy(arrays[1].copy())

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> Any:
            cotangent.numpy(force=True)
            return tuple([torch.from_numpy(np.empty(v.shape)) for v in ctx.saved_tensors])

    out = []
    for batch in (1, 128):
        arrays = problem(batch)
        leaves = [torch.tensor(v, requires_grad=True) for v in arrays]
        ones = torch.ones(batch, N, dtype=torch.float64)

        def ours(leaves: Any = leaves, ones: Any = ones) -> None:
            torch.autograd.grad(bt.solve_qp(*leaves), leaves, ones)

        def nothing(leaves: Any = leaves, ones: Any = ones) -> None:
            torch.autograd.grad(Nothing.apply(*leaves), leaves, ones)

        took, empty, floor = median(ours, nothing, core(arrays, (0, 1, 2, 3))[1])
        note = f"1.3 x no-op {empty:.1f} + core {floor:.1f}"
        out.append((f"torch, forward + backward, batch {batch}", took, 1.3 * empty + floor, note))
    return out


def in_jax(median: Median) -> list[Row]:
    import jax

    jax.config.update("jax_enable_x64", True)
    import bpqp.jax as bj
    import jax.numpy as jnp

    arrays = problem(128)
    data = [jnp.asarray(v) for v in arrays]
    forward = jax.jit(lambda *d: bj.solve_qp(*d))
    gradient = jax.jit(jax.grad(lambda *d: bj.solve_qp(*d).sum(), argnums=(0, 1, 2, 3)))
    multiply = jax.jit(lambda *d: [v * 1.0001 for v in d])
    calls = [lambda f=f: jax.block_until_ready(f(*data)) for f in (forward, gradient, multiply)]
    one, both, times, bare, bare_both = median(*calls, *core(arrays, (0, 1, 2, 3)))
    return [
        ("jax, jit, forward, batch 128", one, 2 * times + bare, f"2 x multiply {times:.1f} + core {bare:.1f}"),
        ("jax, jit, gradient, batch 128", both, 2 * times + bare_both, f"2 x multiply + core {bare_both:.1f}"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=300, help="calls per row (300)")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), help="parts to run (all)")
    options = parser.parse_args()
    print(f"{'microseconds a call':42} {'took':>9} {'bar':>9}")
    for part in options.only:
        for name, took, bar, note in PARTS[part](Median(options.repeat)):
            print(f"{name:42} {took:9.1f} {bar:9.1f}  {'ok' if took <= bar else 'OVER'}  ({note})", flush=True)


PARTS: dict[str, Callable[[Median], list[Row]]] = {"numpy": in_numpy, "torch": in_torch, "jax": in_jax}

if __name__ == "__main__":
    main()
