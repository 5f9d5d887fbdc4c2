"""The Python code of the README and of the user guide runs; the API pages are those of the docstrings."""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path

import pytest
from conftest import need

ROOT = Path(__file__).parents[2]
NAMES = "python cvxpy closest large nonlinear dpp coming-from start/numpy start/torch start/jax start/cvxpy"
PAGES = ("README.md", *(f"docs/{name}.md" for name in NAMES.split()))
BLOCKS = [
    pytest.param(code, id=f"{page}-{k}")
    for page in PAGES
    for k, code in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), flags=re.DOTALL))
]


# what the guide compares with; their own warnings are not ours
PEERS = ("qpth", "cvxpy", "cvxpylayers", "osqp", "jaxopt")


@pytest.mark.parametrize("code", BLOCKS)
def test_the_code_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    imported = set(re.findall(r"^(?:import|from) (\w+)", code, flags=re.MULTILINE))
    need(*imported - {"bpqp"})
    with warnings.catch_warnings():
        if not imported.isdisjoint(PEERS):
            warnings.simplefilter("ignore")
        exec(compile(code, "example", "exec"), {})
    assert capsys.readouterr().out


def test_the_api_pages_are_current() -> None:
    need("torch", "jax", "cvxpy", "cvxpylayers")
    spec = importlib.util.spec_from_file_location("api", ROOT / "docs" / "api.py")
    assert spec is not None and spec.loader is not None
    api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(api)
    pages = api.pages()
    committed = {path.name: path.read_text("utf-8") for path in (ROOT / "docs" / "api").glob("*.md")}
    assert committed.keys() == pages.keys(), "run python docs/api.py"
    for name, page in pages.items():
        assert committed[name] == page, f"docs/api/{name} is not current: run python docs/api.py"
        # a heading is followed by a text
        assert not re.search(r"^#.*\n\n(\n|#|Made)", page, flags=re.MULTILINE), name


def test_every_answer_has_the_test_that_it_names() -> None:
    page = (ROOT / "docs" / "answers.md").read_text("utf-8")
    rows = [line.split("|") for line in page.split("## Declined")[0].splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 20
    for row in rows:
        names = re.findall(r"`([^`]+)`", row[3])
        assert names, row
        for name in names:
            path, _, test = name.partition("::")
            file = ROOT / path if "/" in path else ROOT / "python" / "tests" / path
            assert file.is_file(), name
            assert not test or f"def {test}(" in file.read_text("utf-8"), name


def test_the_glossary_has_the_words_of_the_package() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    entries = re.findall(r"^(\S.*)\n:   \S", page, flags=re.MULTILINE)
    words = ("vjp", "jvp", "Cotangent", "Polish", "Verdict", "Face of solutions", "Weakly active")
    for word in (*words, "Infeasible, primal", "Infeasible, dual"):
        assert word in entries, word
    assert entries == sorted(entries, key=str.lower)
