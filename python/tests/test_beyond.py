"""Layers in more than one process, and on more than one device: the examples of `python/examples/beyond` run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import need

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "python" / "examples" / "beyond"


def run(*command: str) -> str:
    environment = {**os.environ, "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, encoding="utf-8", env=environment, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_have_the_gradients_of_one() -> None:
    need("torch")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = ("--nproc-per-node", "2", "--master-addr", "127.0.0.1", "--master-port", port)
    out = run("-m", "torch.distributed.run", *where, str(FOLDER / "ddp.py"))
    assert "gradients of 2 processes differ from one by" in out


def test_two_devices_have_the_numbers_of_one() -> None:
    need("jax")
    assert "2 devices; values and gradients differ by" in run(str(FOLDER / "sharded.py"))


@pytest.mark.parametrize("precision", ["--f64", "--f32"])
def test_what_python_trained_rust_serves_with_the_same_numbers(precision: str, tmp_path: Path) -> None:
    need("torch", "safetensors")
    program = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / "serve"
    if not program.exists():
        if os.environ.get("CI"):
            raise RuntimeError(f"{program} is missing: the tests of the workspace build it")
        pytest.skip("the example `serve` of the crate is not built")
    assert "ready to be served" in run(str(FOLDER / "serve.py"), str(tmp_path), precision)
    features = (tmp_path / "features.jsonl").read_text("utf-8") + "[1, 2]\n"
    done = subprocess.run([str(program), str(tmp_path)], input=features, capture_output=True, text=True, check=True)
    *served, bad = [json.loads(line) for line in done.stdout.splitlines()]
    decided = [json.loads(line) for line in (tmp_path / "decisions.jsonl").read_text("utf-8").splitlines()]
    np.testing.assert_allclose(served, decided, rtol=0, atol=1e-10 if precision == "--f64" else 2e-6)
    # what binds is there: bounds of both kinds, and sectors
    x = np.array(decided)
    assert (x < 1e-9).any() and (x > 0.3 - 1e-6).any()
    assert bad == {"error": "2 numbers, expected 5"}


def test_a_batch_over_workers_of_ray_survives_the_death_of_one() -> None:
    need("ray")
    out = run(str(FOLDER / "ray_batch.py"), "--programs", "4000", "--chunk", "250")
    assert "2 workers, at most 4 chunks under way, one worker killed: True" in out
    assert "4000 programs in 16 chunks, none lost, every number that of one process" in out
