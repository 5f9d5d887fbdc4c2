"""Resident memory over many solves.

python python/benchmarks/memory.py [SOLVES]   (a million of each way)
"""

import sys
from pathlib import Path

import bpqp
import bpqp.torch
import numpy as np
import torch

N, BATCH = 4, 64


def resident():
    """Kilobytes, where the system tells (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


def single(rng):
    s = bpqp.solve_qp(np.eye(N), rng.normal(size=N), A=np.ones((1, N)), b=np.ones(1), lb=np.zeros(N))
    s.vjp(x=np.ones(N))
    return 1


def batch(rng):
    s = bpqp.solve_qp(np.eye(N), rng.normal(size=(BATCH, N)), A=np.ones((1, N)), b=np.ones(1), lb=np.zeros(N))
    s.vjp(x=np.ones((BATCH, N)))
    return BATCH


def infeasible(rng):
    try:
        bpqp.solve_qp(np.eye(N), rng.normal(size=N), A=np.ones((1, N)), b=-np.ones(1), lb=np.zeros(N))
    except bpqp.Error:
        return 1
    raise AssertionError("solved")


def layer():
    qp = bpqp.torch.QpLayer(P=torch.eye(N).double(), A=torch.ones(1, N).double(), lb=torch.zeros(N).double())
    b = torch.ones(1).double()

    def run(rng):
        q = torch.tensor(rng.normal(size=(BATCH, N)), requires_grad=True)
        qp(q=q, b=b).sum().backward()
        return BATCH

    return run


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    rng = np.random.default_rng(0)
    ways = (("single solves", single), ("batches", batch), ("infeasible", infeasible), ("a torch layer", layer()))
    for name, way in ways:
        print(name)
        done = shown = 0
        while done < count:
            done += way(rng)
            if done > shown:
                print(f"{done:>9} solves: {resident():>8} kB resident", flush=True)
                shown += -(-count // 10)


if __name__ == "__main__":
    main()
