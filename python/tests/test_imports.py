"""Modules of the package: each can be imported alone, and none depends on one that depends on it."""

from __future__ import annotations

import ast
import graphlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bpqp

FOLDER = Path(bpqp.__file__).parent
# what a part of the package needs
NEEDS = {"torch": ("torch",), "jax": ("jax",), "cvxpy": ("cvxpy",)}
NEEDS_OF = {
    "bpqp.compat.qpth": ("torch",),
    "bpqp.compat.cvxpylayers": ("cvxpylayers", "cvxpy"),
    "bpqp.compat.diffcp": ("scipy",),
}


def modules() -> dict[str, Path]:
    """Names and files of all modules."""
    out = {}
    for path in sorted(FOLDER.rglob("*.py")):
        parts = ("bpqp", *path.relative_to(FOLDER).with_suffix("").parts)
        out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


def needs(name: str) -> tuple[str, ...]:
    for module, packages in NEEDS_OF.items():
        if name == module or name.startswith(f"{module}."):
            return packages
    return NEEDS.get((*name.split("."), "")[1], ())


def test_every_module_can_be_imported_alone() -> None:
    """In a fork for each, of one interpreter that has loaded the other packages but nothing of this one."""
    if not hasattr(os, "fork"):
        return
    names = [n for n in modules() if all(importlib.util.find_spec(p) is not None for p in needs(n))]
    packages = sorted({p for n in names for p in needs(n)})
    code = f"""
import importlib, os, sys, warnings
warnings.simplefilter("ignore")
for package in {["numpy", *packages]!r}:
    importlib.import_module(package)
assert not any(name.partition(".")[0] == "bpqp" for name in sys.modules)
for name in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(name, repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    os.waitpid(pid, 0)
"""
    if sys.platform == "win32":
        return
    done = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a module imports, at its beginning or later; not those for types alone."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            source = node.module or "" if node.level == 0 else ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                if alias.name == "_bpqp" or source.endswith("._bpqp"):
                    continue  # the extension imports nothing
                full = f"{source}.{alias.name}"
                if full in known:
                    yield full
                elif source in known:
                    yield source


def test_no_module_depends_on_one_that_depends_on_it() -> None:
    known = modules()
    graph = {name: {m for m in imported(name, path, known) if m != name} for name, path in known.items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the circle
