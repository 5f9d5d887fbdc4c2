"""A million small programs over workers of Ray: a bounded number of chunks under way, a worker killed, nothing lost.

python python/examples/beyond/ray_batch.py [--programs 1000000] [--chunk 20000] [--workers 2]

A chunk is one task. What waits is bounded: a new one is handed out only when one comes back, so that data and
results of a few chunks are in memory however many there are. A worker dies in the middle (this script kills it); Ray
gives its chunk to another. Every number is that of one process, to the last bit.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import bpqp
import numpy as np
import ray

N, ROWS = 6, 3


def programs(chunk: int, size: int) -> dict[str, Any]:
    """Small allocations: own prices and limits of each, what they share is given once."""
    rng = np.random.default_rng(chunk)
    return {
        "P": np.eye(N) + 0.3,
        "q": rng.normal(size=(size, N)),
        "G": np.kron(np.eye(ROWS), np.ones((1, N // ROWS))),
        "h": 0.2 + rng.random((size, ROWS)),
        "A": np.ones((1, N)),
        "b": np.ones(1) / 2,
        "lb": -np.ones(N),
        "ub": np.ones(N),
    }


def solve(chunk: int, size: int, threads: int = 1) -> np.ndarray[Any, Any]:
    return bpqp.solve_qp(**programs(chunk, size), threads=threads).x


def work(chunk: int, size: int, victim: str) -> tuple[int, np.ndarray[Any, Any]]:
    """Dies once in the middle of a chunk, where a file asks for it."""
    out = solve(chunk, size)
    try:
        os.unlink(victim)
    except FileNotFoundError:
        return chunk, out
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def spread(chunks: list[tuple[int, int]], workers: int, under_way: int) -> tuple[dict[int, Any], int]:
    """Results by chunk, and the most chunks that were under way at once."""
    # a chunk is done again when its worker dies, three times at most
    task = ray.remote(num_cpus=1, max_retries=3)(work)
    with tempfile.TemporaryDirectory() as folder:
        victim = Path(folder, "kill")
        waiting, pending, most = list(reversed(chunks)), [], 0
        results: dict[int, Any] = {}
        while waiting or pending:
            while waiting and len(pending) < under_way:
                if len(waiting) == len(chunks) // 2:
                    victim.touch()
                pending.append(task.remote(*waiting.pop(), str(victim)))
            most = max(most, len(pending))
            ready, pending = ray.wait(pending, num_returns=1)
            for chunk, x in ray.get(ready):
                results[chunk] = np.array(x)  # a copy: what Ray keeps of it is freed
        killed = not victim.exists()
    print(f"{workers} workers, at most {most} chunks under way, one worker killed: {killed}")
    if not killed:
        raise AssertionError("no worker was killed")
    return results, most


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("programs", 1_000_000), ("chunk", 20_000), ("workers", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    sizes = [min(options.chunk, options.programs - k) for k in range(0, options.programs, options.chunk)]
    chunks = list(enumerate(sizes))
    # processes of this machine; ray.init(address="auto") is a cluster
    ray.init(num_cpus=options.workers, include_dashboard=False, log_to_driver=False, logging_level="error")
    warm = ray.remote(num_cpus=1)(solve)
    ray.get([warm.remote(k, 10) for k in range(options.workers)])  # workers have started
    begin = time.perf_counter()
    results, _ = spread(chunks, options.workers, 2 * options.workers)
    parallel = time.perf_counter() - begin
    ray.shutdown()
    begin = time.perf_counter()
    single = [solve(chunk, size) for chunk, size in chunks]
    alone = time.perf_counter() - begin
    for (chunk, _), x in zip(chunks, single, strict=True):
        if not np.array_equal(results[chunk], x):
            raise AssertionError(f"chunk {chunk} has other numbers than one process")
    rate = options.programs / 1e3
    print(f"{options.programs} programs in {len(chunks)} chunks, none lost, every number that of one process")
    for name, seconds in (("one process", alone), ("Ray", parallel)):
        print(f"{name}: {seconds:.2f} s, {rate / seconds:.0f} thousand programs per second")


if __name__ == "__main__":
    main()
