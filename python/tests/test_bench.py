"""bench/run.py runs, marks what is wrong, goes on where it stopped, and every part of the page has a table for it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("scipy")
pytest.importorskip("clarabel")

ROOT = Path(__file__).parents[2]


def run(out, *options):
    command = [
        sys.executable,
        ROOT / "bench" / "run.py",
        "--quick",
        "--budget",
        "0.01",
        "--peers",
        "bpqp",
        "--out",
        out,
    ]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_it_measures_checks_and_goes_on(tmp_path):
    rows = run(tmp_path, "--families", "tiny,cones")
    measured = [row for row in rows if row.get("peer") == "bpqp"]
    assert {row["instance"] for row in measured} >= {"tiny-4", "socp-10", "robust-20", "sdp-10"}
    for row in measured:
        assert row["status"] == "ok", row
        assert row["error"] < 1e-9 and row["x_error"] < 1e-9, row
        assert 0 < row["parts"][1][1] < row["cpu"] < 10
    references = [row for row in rows if row.get("peer") == "-"]
    assert max(row["residual"] for row in references) < 1e-12
    assert min(row["margin"] for row in references) > 0
    # nothing is measured twice
    again = run(tmp_path, "--families", "tiny,cones")
    assert [row for row in again if row.get("peer") == "bpqp"] == measured
    assert "socp-10" in (tmp_path / "tables.md").read_text()


def test_a_wrong_gradient_is_marked_and_not_ranked():
    sys.path.insert(0, str(ROOT / "bench"))
    try:
        import report
    finally:
        sys.path.pop(0)
    good = {
        "status": "ok",
        "family": "half",
        "instance": "half-10x5",
        "mode": "q",
        "x_error": 0.0,
        "parts": [[1, 1], [1, 1]],
    }
    rows = [good | {"peer": "bpqp", "cpu": 2.0, "error": 1e-12}, good | {"peer": "qpth", "cpu": 1.0, "error": 0.2}]
    table = report.Results(rows).grid(["half"])
    assert "**2000 (" in table
    assert "! 2e-01" in table
    assert "**1000" not in table


def test_the_page_has_a_place_for_every_table():
    page = (ROOT / "docs" / "performance.md").read_text()
    places = re.findall(r"<!-- bench:([\w-]+) -->", page)
    assert len(places) == len(set(places)) == page.count("<!-- end -->")
    code = (ROOT / "bench" / "report.py").read_text()
    made = set(re.findall(r'made\["([\w-]+)"\]', code))
    made |= {f"{family}{part}" for family in ("maros", "netlib") for part in ("", "-worst", "-both", "-both-worst")}
    assert set(places) <= made
