"""A layer inside DistributedDataParallel: gradients of two processes are those of one, and warm starts follow the
sample.

torchrun --nproc-per-node 2 python/examples/beyond/ddp.py

Each process solves its share of the samples; `index=` names them, so that a sample starts from its own last
solution whichever batch it comes in (a process remembers the samples that it has solved; hand a sample to the same
process to profit from it).
"""

from __future__ import annotations

import os
import statistics
import time

import bpqp.torch as bt
import torch
import torch.distributed as dist
from torch import Tensor

SAMPLES, FEATURES, STOCKS, STEPS = 2048, 8, 40, 8


class Weights(torch.nn.Module):
    """From features to the weights of a long-only portfolio."""

    def __init__(self) -> None:
        super().__init__()
        self.forecast = torch.nn.Linear(FEATURES, STOCKS)
        eye = torch.eye(STOCKS)
        # one thread: the processes share the cores already
        self.layer = bt.QpLayer(
            P=eye, A=torch.ones(1, STOCKS), b=torch.ones(1), lb=torch.zeros(STOCKS), ub=eye.sum(0) / 5, threads=1
        )

    def forward(self, features: Tensor, index: Tensor) -> Tensor:
        return self.layer(q=-self.forecast(features), index=index)


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(SAMPLES, k, generator=generator) for k in (FEATURES, STOCKS))  # type: ignore[return-value]


def loss_of(model: torch.nn.Module, rows: Tensor) -> Tensor:
    features, returns = data()
    return -(model(features[rows], rows) * returns[rows]).sum(1).mean()


def train(model: torch.nn.Module, rows: Tensor) -> tuple[list[Tensor], float]:
    """The gradients of the first step, and the median of the seconds of the others."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first: list[Tensor] = []
    seconds = []
    for _ in range(STEPS):
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss_of(model, rows).backward()
        first = first or [p.grad.clone() for p in model.parameters() if p.grad is not None]
        optimizer.step()
        seconds.append(time.perf_counter() - begin)
    return first, statistics.median(seconds[1:])


def main() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.manual_seed(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    alone = Weights()
    shared = torch.nn.parallel.DistributedDataParallel(Weights())
    shared.module.load_state_dict(alone.state_dict())
    ours, seconds = train(shared, torch.arange(rank, SAMPLES, world))
    if rank == 0:
        one, seconds_one = train(alone, torch.arange(SAMPLES))
        worst = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, one, strict=True))
        print(f"gradients of {world} processes differ from one by {worst:.1e}")
        end = max(
            (a - b).abs().max().item() for a, b in zip(shared.module.parameters(), alone.parameters(), strict=True)
        )
        print(f"weights after {STEPS} steps differ by {end:.1e}")
        print(f"{1e3 * seconds:.1f} ms a step, alone {1e3 * seconds_one:.1f} ms (one thread each)")
        if worst > 1e-12:
            raise AssertionError("the gradients are not those of one process")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main()
