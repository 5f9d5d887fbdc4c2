"""Every example runs in its short mode, prints a table and saves a picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import need

need("torch", "matplotlib")

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(p for p in EXAMPLES.glob("*.py") if p.name != "common.py")


def test_all_are_here() -> None:
    names = "cones denoising forecast logistic poisoning portfolio projections risk schedule sudoku warm_start"
    assert [p.stem for p in SCRIPTS] == names.split()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_runs(script: Path, tmp_path: Path) -> None:
    if "CvxpyLayer" in script.read_text("utf-8"):
        need("cvxpy", "clarabel")
    picture = tmp_path / "out.png"
    command = [sys.executable, str(script), "--short", "--out", str(picture)]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", env={**os.environ, "PYTHONUTF8": "1"}, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    # a short run does not look like a failed study
    assert done.stdout.startswith("short: a few steps")
    assert "| ---" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
