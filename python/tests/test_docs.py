"""The Python code of the README and of the user guide runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import need

ROOT = Path(__file__).parents[2]
BLOCKS = [
    pytest.param(code, id=f"{page}-{k}")
    for page in ("README.md", "docs/python.md")
    for k, code in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), flags=re.DOTALL))
]


@pytest.mark.parametrize("code", BLOCKS)
def test_the_code_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("torch", "jax"):
        if f"import {package}" in code:
            need(package)
    exec(compile(code, "example", "exec"), {})
    assert capsys.readouterr().out
