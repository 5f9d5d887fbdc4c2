"""`python -m bpqp check` tests the installation; other commands are those of the program `bpqp`, if it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import bpqp

USAGE = """usage: python -m bpqp check [--json]
       python -m bpqp COMMAND ...

check tests what is installed, a line for each part; the exit code is 0 if all of it works, else 1. Other commands, and
check with a file, are those of the program bpqp."""

# the projection of (0.5, 2) onto the unit box; q moves x_0 alone
_Q, _X, _DQ = [-0.5, -2.0], [0.5, 1.0], [-1.0, 0.0]
_EYE, _ZERO, _ONE = np.eye(2), np.zeros(2), np.ones(2)


def _agree(what: str, found: Any, expected: Any, tolerance: float = 1e-9) -> None:
    error = float(np.abs(np.asarray(found, dtype=float) - np.asarray(expected, dtype=float)).max())
    if not error <= tolerance:
        raise AssertionError(f"{what} is {np.asarray(found)}, expected {np.asarray(expected)}")


def _numpy() -> str:
    sol = bpqp.solve_qp(_EYE, np.array(_Q), lb=_ZERO, ub=_ONE)
    _agree("x", sol.x, _X)
    _agree("the gradient", sol.vjp(x=_ONE).q, _DQ)
    worst = bpqp.check_gradient(sol).worst
    if not worst < 1e-6:
        raise AssertionError(f"differences disagree with the gradient by {worst}")
    return f"solved, differentiated, differences agree to {worst:.0e}"


def _scipy() -> str:
    from scipy import sparse

    sol = bpqp.solve_qp(sparse.eye(2, format="csc"), np.array(_Q), G=sparse.eye(2, format="csc"), h=_ONE)
    _agree("x", sol.x, _X)
    # the largest sum of the variables in the unit disk
    A = sparse.csc_matrix(np.vstack([np.zeros(2), -_EYE]))
    disk = bpqp.solve_conic(None, -_ONE, A, np.array([1.0, 0.0, 0.0]), [("soc", 3)])
    _agree("x of a cone program", disk.x, _ONE / np.sqrt(2))
    return "sparse matrices, cone programs"


def _torch() -> str:
    import torch

    import bpqp.torch as bt

    q = torch.tensor(_Q, dtype=torch.float64, requires_grad=True)
    x = bt.solve_qp(torch.eye(2, dtype=torch.float64), q, lb=torch.zeros(2), ub=torch.ones(2))
    torch.autograd.backward(x.sum())
    _agree("x", x.detach().numpy(), _X)
    _agree("the gradient", q.grad, _DQ)
    return "solved, differentiated"


def _jax() -> str:
    import jax
    import jax.numpy as jnp

    import bpqp.jax as bj

    def total(q: Any) -> Any:
        return bj.solve_qp(jnp.eye(2), q, lb=jnp.zeros(2), ub=jnp.ones(2)).sum()

    value, grad = jax.jit(jax.value_and_grad(total))(jnp.array(_Q))
    _agree("the sum of x", value, 1.5, 1e-5)
    _agree("the gradient", grad, _DQ, 1e-5)
    return "solved, differentiated under jit"


def _cvxpy() -> str:
    cp: Any = importlib.import_module("cvxpy")
    importlib.import_module("bpqp.cvxpy")
    x, q = cp.Variable(2), cp.Parameter(2)
    problem = cp.Problem(cp.Minimize(cp.quad_form(x, np.eye(2)) / 2 + q @ x), [x >= 0, x <= 1])
    if importlib.util.find_spec("torch") is None:
        return "installed (its layers need torch or jax)"
    import torch

    import bpqp.torch as bt

    data = torch.tensor(_Q, dtype=torch.float64, requires_grad=True)
    (out,) = bt.CvxpyLayer(problem, parameters=[q], variables=[x])(data)
    torch.autograd.backward(out.sum())
    _agree("x", out.detach().numpy(), _X, 1e-7)
    _agree("the gradient", data.grad, _DQ, 1e-7)
    return "a CvxpyLayer solved, differentiated"


def _qpsolvers() -> str:
    names = [name for name in bpqp.solvers() if name.startswith("qpsolvers:")]
    if not names:
        return "installed, without a solver"
    works, fails = [], []
    for name in names:
        try:
            sol = bpqp.solve_qp(_EYE, np.array(_Q), lb=_ZERO, ub=_ONE, solver=name)
        except bpqp.SolveError:
            # a solver of someone else that does not solve this; the others may
            fails.append(name.partition(":")[2])
            continue
        _agree(f"x of {name}", sol.x, _X, 1e-2)
        _agree(f"the gradient of {name}", sol.vjp(x=_ONE).q, _DQ, 1e-6)
        works.append(name.partition(":")[2])
    text = ", ".join(works) + (f"; without a solution: {', '.join(fails)}" if fails else "")
    if not works:
        raise AssertionError(text)
    return text


PARTS: dict[str, Callable[[], str]] = {
    "numpy": _numpy,
    "scipy": _scipy,
    "torch": _torch,
    "jax": _jax,
    "cvxpy": _cvxpy,
    "qpsolvers": _qpsolvers,
}


def check(as_json: bool = False) -> int:
    """Tests every part that is installed and prints a line for each; 0 if all work, else 1."""
    out: list[dict[str, Any]] = []
    for name, test in PARTS.items():
        if importlib.util.find_spec(name) is None:
            out.append({"part": name, "state": "absent", "version": None, "text": "not installed"})
            continue
        version = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                version = getattr(importlib.import_module(name), "__version__", None)
                out.append({"part": name, "state": "ok", "version": version, "text": test()})
        except Exception as error:  # whatever is wrong with a package of someone else is to be told, not to end this
            out.append(
                {"part": name, "state": "FAILED", "version": version, "text": f"{type(error).__name__}: {error}"}
            )
    failed = any(row["state"] == "FAILED" for row in out)
    if as_json:
        print(json.dumps({"bpqp": bpqp.__version__, "ok": not failed, "parts": out}, indent=2))
        return int(failed)
    print(f"bpqp {bpqp.__version__}")
    for row in out:
        print(f"{row['state']:<6} {row['part']} {row['version'] or ''}: {row['text']}".replace(" :", ":"))
    return int(failed)


def main(arguments: list[str]) -> int:
    """Runs a command line, and returns its exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] == "check" and all(a == "--json" for a in arguments[1:]):
        return check(len(arguments) > 1)
    # of this installation first: its folder need not be on the path
    program = shutil.which("bpqp", path=sysconfig.get_path("scripts")) or shutil.which("bpqp")
    if program is None:
        print(f"python -m bpqp {arguments[0]}: the program bpqp is not installed\n{USAGE}", file=sys.stderr)
        return 2
    return subprocess.run([program, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
