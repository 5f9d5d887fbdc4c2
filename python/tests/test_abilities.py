"""The table of docs/abilities.md: every cell is probed, and what is found is what the table says."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from abilities.arrays import Conic, Qp
from abilities.products import Products
from abilities.tensors import Cvxpy, Torch, TorchConic
from abilities.traced import Jax, JaxConic, JaxCvxpy
from test_conic import INSIDE

PAGE = Path(__file__).parents[2] / "docs" / "abilities.md"


def table() -> dict[tuple[str, str], str]:
    rows = [line.strip().strip("|").split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in row] for row in rows]
    return {(row[0], column): cell for row in body for column, cell in zip(head[1:], row[1:], strict=True)}


TABLE = table()

COLUMNS: dict[str, Callable[[], Any]] = {
    "QP": Qp,
    "operators": Products,
    **{kind[0]: lambda kind=kind[0]: Conic(kind) for kind in INSIDE},
    "torch": Torch,
    "torch conic": TorchConic,
    "CvxpyLayer": Cvxpy,
    "JAX": Jax,
    "JAX conic": JaxConic,
    "JAX CvxpyLayer": JaxCvxpy,
}
PROBES = {
    "`warm_start=`": "warm_start",
    "`index=`": "index",
    "`diagnostics()`": "diagnostics",
    "`check_gradient`": "check_gradient",
    "bounds": "bounds",
    "factored P": "factored",
    "`Operator`": "operators",
    "cotangent on the objective": "objective",
    "keyboard interrupts": "interrupts",
    "verdict": "verdict",
    "failures per element": "failures",
    "second derivatives": "second",
    "`full=True`": "full",
    "`on_failure=`": "on_failure",
    "`on_untrusted=`": "on_untrusted",
    "`infeasible=`": "infeasible",
    "`one_sided=`": "one_sided",
}


def test_the_table_is_whole() -> None:
    assert set(TABLE) == {(ability, column) for ability in PROBES for column in COLUMNS}


@pytest.mark.parametrize(("ability", "column"), list(TABLE))
def test_a_cell(ability: str, column: str) -> None:
    if ability == "keyboard interrupts" and sys.platform == "win32":
        pytest.skip("there are no timers there")
    with warnings.catch_warnings():
        if importlib.util.find_spec("jax") and "JAX" in column:
            import jax

            with jax.enable_x64(True):
                found = getattr(COLUMNS[column](), PROBES[ability])()
        else:
            found = getattr(COLUMNS[column](), PROBES[ability])()
    assert found == TABLE[ability, column]
