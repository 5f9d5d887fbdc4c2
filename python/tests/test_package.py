"""What is installed: one version, typed, and nothing but NumPy needed."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import bpqp

ROOT = Path(__file__).parents[2]
OPTIONAL = ("torch", "jax", "scipy", "cvxpy", "diffcp", "cvxpylayers", "qpsolvers", "qpth")


def test_the_version_is_that_of_the_workspace() -> None:
    manifest = (ROOT / "Cargo.toml").read_text("utf-8")
    (version,) = re.findall(r'^version = "(.*)"$', manifest, flags=re.MULTILINE)
    assert bpqp.__version__ == version == importlib.metadata.version("bpqp")
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_types_are_installed() -> None:
    folder = Path(bpqp.__file__).parent
    assert (folder / "py.typed").exists()
    assert (folder / "_bpqp.pyi").exists()


def test_nothing_but_numpy_is_needed() -> None:
    code = f"""
import importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Absent())
import numpy as np
import bpqp
sol = bpqp.solve_qp(np.eye(2), np.array([-2.0, 1.0]), lb=np.zeros(2))
assert sol.x.tolist() == [2, 0] and sol.vjp(x=np.ones(2)).q.tolist() == [-1, 0]
assert bpqp.check_gradient(sol).worst < 1e-6 and "qpsolvers" not in " ".join(bpqp.solvers())
try:
    bpqp.solve_qp(np.eye(2), np.ones(2), solver="qpsolvers:osqp")
except bpqp.ArgumentError as error:
    assert "not installed" in str(error)
else:
    raise AssertionError("solved with a package that is absent")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_wheel_is_built_for_every_processor() -> None:
    """The kernels choose their instructions at run time; a flag for one processor would crash on others."""
    files = [
        ROOT / "Cargo.toml",
        ROOT / "pyproject.toml",
        *ROOT.glob(".cargo/config*"),
        *ROOT.glob("crates/*/build.rs"),
    ]
    files += [ROOT / "test.sh", *ROOT.glob("python/*.sh"), *ROOT.glob("crates/*/Cargo.toml")]
    for file in files:
        text = file.read_text("utf-8")
        assert "target-cpu" not in text, file
        assert "target-feature" not in text, file
