"""Runs the test suites of diffcp, CVXPY and cvxpylayers on bpqp.

    python python/tools/peer_suites.py [--through diffcp|solver|layer] diffcp=DIR cvxpylayers=DIR cvxpy

DIR is the folder of the tests in a checkout of that project; CVXPY brings its own. The packages themselves (and pytest)
must be installed, and bpqp. Each suite runs unchanged in a process of its own, in which

    diffcp   `import diffcp` finds `bpqp.compat.diffcp`: everything runs through it (the default)
    solver   also the torch layer of cvxpylayers gets `bpqp.compat.cvxpylayers.Bpqp` where a test names no solver
    layer    also `CvxpyLayer` of cvxpylayers.torch and cvxpylayers.jax is that of this package

The results are in docs/cvxpy.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

RUN = """
import sys
from bpqp.compat import diffcp
diffcp.install()
import importlib, importlib.util, pytest
through = sys.argv.pop(1)
for name in ("torch", "jax"):
    if through == "diffcp" or (through, name) == ("solver", "jax") or importlib.util.find_spec(name) is None:
        continue
    theirs = importlib.import_module(f"cvxpylayers.{name}")
    if through == "layer":
        theirs.CvxpyLayer = importlib.import_module(f"bpqp.{name}").CvxpyLayer
        continue

    def solved(self, problem, parameters, variables, solver=None, *args, _base=theirs.CvxpyLayer, **kwargs):
        from bpqp.compat.cvxpylayers import Bpqp

        _base.__init__(self, problem, parameters, variables, Bpqp() if solver is None else solver, *args, **kwargs)

    theirs.CvxpyLayer = type("CvxpyLayer", (theirs.CvxpyLayer,), {"__init__": solved})
sys.exit(pytest.main(sys.argv[1:]))
"""
THROUGH = ("diffcp", "solver", "layer")
# what needs other hardware or a licence is skipped by the suites themselves
FILES = {
    "diffcp": ["test_cone_prog_diff.py", "test_scs.py", "test_ecos.py", "test_clarabel.py"],
    "cvxpylayers": [
        "test_torch.py",
        "test_dual_variables.py",
        "test_readme_examples.py",
        "test_parse_args.py",
        "test_diffcp_optional_deps.py",
        "test_jax.py",
        "test_dual_variables_jax.py",
    ],
}


def files(argument: str) -> list[Path]:
    """The test files that an argument names."""
    name, _, folder = argument.partition("=")
    if name == "cvxpy":
        spec = find_spec("cvxpy")
        if spec is None or spec.origin is None:
            raise SystemExit("cvxpy is not installed")
        return [Path(spec.origin).parent / "tests" / "test_derivative.py"]
    if name not in FILES or not folder:
        raise SystemExit(__doc__)
    return [Path(folder).resolve() / file for file in FILES[name]]


def main() -> int:
    failed, arguments, through = 0, sys.argv[1:], "diffcp"
    if arguments[:1] == ["--through"]:
        through, arguments = "".join(arguments[1:2]), arguments[2:]
    if through not in THROUGH:
        raise SystemExit(__doc__)
    for argument in arguments or [""]:
        paths = files(argument)
        folder = paths[0].parent
        print(f"== {argument.partition('=')[0]} through {through}", flush=True)
        options = ["-q", "-rfEs", "--no-header", "--tb=line", "-p", "no:cacheprovider", "-W", "ignore"]
        command = [
            sys.executable,
            "-c",
            RUN,
            through,
            *options,
            "-c",
            os.devnull,
            "--rootdir",
            str(folder),
            *map(str, paths),
        ]
        failed += subprocess.run(command, cwd=folder, check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
