"""The code of the user guide runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import need

GUIDE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=["torch", "jax", "numpy"])
def test_the_guide_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("torch", "jax"):
        if f"import {package}" in code:
            need(package)
    exec(compile(code, str(GUIDE), "exec"), {})
    assert capsys.readouterr().out
