"""Layers in more than one process, and on more than one device: the examples of `python/examples/beyond` run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from conftest import need

FOLDER = Path(__file__).parents[1] / "examples" / "beyond"


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
