"""Train in Python, serve in Rust: the network as safetensors, its program as JSON, and no Python where they run.

python python/examples/beyond/serve.py model
cargo run --release -p bpqp --features serde --example serve -- model < model/features.jsonl

A network predicts costs, the program decides by them over a capped simplex with sectors. The folder gets
`model.safetensors`, `program.json` (learned sector limits are in it), some features, and what Python decides for them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpqp.torch as bt
import torch
from bpqp.torch import losses
from safetensors.torch import save_file
from torch import Tensor

FEATURES, HIDDEN, N, SECTORS, STEPS = 5, 16, 12, 3, 30


class Decider(torch.nn.Module):
    """From features to a decision."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(FEATURES, HIDDEN)
        self.costs = torch.nn.Linear(HIDDEN, N)
        of_sector = torch.eye(SECTORS).repeat_interleave(N // SECTORS, 1)
        self.layer = bt.QpLayer(
            P=0.3 * torch.eye(N),
            G=of_sector,
            h=torch.nn.Parameter(torch.full((SECTORS,), 0.45)),
            A=torch.ones(1, N),
            b=torch.ones(1),
            lb=torch.zeros(N),
            ub=torch.full((N,), 0.3),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layer(q=self.costs(self.hidden(features).relu()))


def main(folder: Path, dtype: torch.dtype) -> None:
    torch.set_default_dtype(dtype)
    torch.manual_seed(0)
    features = torch.randn(64, FEATURES)
    truth = torch.tanh(features @ torch.randn(FEATURES, N))
    model = Decider()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(STEPS):
        optimizer.zero_grad()
        predicted = model.costs(model.hidden(features).relu())
        loss = losses.regret(model.layer, predicted, truth)
        loss.backward()
        optimizer.step()
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("layer.")}
    save_file(weights, folder / "model.safetensors")
    model.layer.write_json(folder / "program.json")
    with torch.no_grad():
        decisions = model(features)
    for name, rows in (("features", features), ("decisions", decisions)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows.double().tolist()))
    print(f"regret {loss.item():.4f} after {STEPS} steps; {folder} is ready to be served")


if __name__ == "__main__":
    main(Path(sys.argv[1]), torch.float32 if "--f32" in sys.argv else torch.float64)
