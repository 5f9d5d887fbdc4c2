"""A batch over two devices of JAX with shard_map: the same numbers as on one, values and gradients.

python python/examples/beyond/sharded.py
"""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"

import statistics
import time
from typing import Any

import bpqp.jax as bj
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

BATCH, N = 4096, 30


def solve(q: Any) -> Any:
    """A batch of projections on the capped simplex; one thread for each device."""
    return bj.solve_qp(
        jnp.eye(N), q, A=jnp.ones((1, N)), b=jnp.ones(1), lb=jnp.zeros(N), ub=jnp.full(N, 0.2), threads=1
    )


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    mesh = Mesh(np.array(jax.devices()[:2]), ("batch",))
    rows = PartitionSpec("batch")
    sharded = jax.shard_map(solve, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
    rng = np.random.default_rng(0)
    q, weights = jnp.array(rng.normal(size=(BATCH, N))), jnp.array(rng.normal(size=(BATCH, N)))
    found = {}
    for name, function in (("one device", solve), ("two devices", sharded)):
        run = jax.jit(jax.value_and_grad(lambda v, function=function: (weights * function(v)).sum()))
        jax.block_until_ready(run(q))
        seconds = []
        for _ in range(7):
            begin = time.perf_counter()
            found[name] = jax.block_until_ready(run(q))
            seconds.append(time.perf_counter() - begin)
        print(f"{name}: {1e3 * statistics.median(seconds):.1f} ms")
    (value, gradient), (value_2, gradient_2) = found.values()
    worst = max(float(abs(value - value_2)), float(jnp.abs(gradient - gradient_2).max()))
    print(f"{len(jax.devices())} devices; values and gradients differ by {worst:.1e}")
    if worst > 1e-12 * BATCH:
        raise AssertionError("two devices give other numbers than one")


if __name__ == "__main__":
    main()
