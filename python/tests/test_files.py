"""Problem files: MPS, QPS and CBF as arguments."""

from __future__ import annotations

import gzip
from pathlib import Path

import bpqp
import numpy as np
import pytest
from conftest import need

# the largest 2 - (x - 1)^2 / 2 - y with x + y >= 2, 0 <= x - y <= 1, x <= 1.5
QPS = """NAME          test
OBJSENSE
    MAX
ROWS
 N  c
 G  r
 L  s
COLUMNS
    x         c         1.0            r         1.0
    x         s         1.0
    y         c         -1.0           r         1.0
    y         s         -1.0
RHS
    R         c         -1.5           r         2.0
    R         s         1.0
RANGES
    R         s         1.0
BOUNDS
 UP B         x         1.5
QUADOBJ
    x         x         -1.0
ENDATA
"""

CBF = """VER
3
OBJSENSE
MAX
VAR
2 1
F 2
CON
4 2
Q 3
L+ 1
OBJACOORD
2
0 1.0
1 2.0
OBJBCOORD
3.0
ACOORD
3
1 0 1.0
2 1 1.0
3 0 1.0
BCOORD
2
0 1.0
3 0.5
"""


def write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()[:20]) + gzip.compress(text.encode()[20:]))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["a.qps", "a.mps.gz"])
def test_qps_files_are_arguments_of_solve_qp(tmp_path: Path, name: str) -> None:
    need("scipy")
    problem = bpqp.read_qps(write(tmp_path / name, QPS))
    assert list(problem) == ["P", "q", "G", "h", "A", "b", "lb", "ub"]
    assert problem["A"] is None and problem["b"] is None
    assert (problem.name, problem.columns, problem.inequalities, problem.equalities) == (
        "test",
        ["x", "y"],
        ["r", "s", "s"],
        [],
    )
    np.testing.assert_array_equal(problem["G"].toarray(), [[-1, -1], [1, -1], [-1, 1]])
    np.testing.assert_array_equal(problem["h"], [-2, 1, 0])
    np.testing.assert_array_equal(problem["P"].toarray(), [[1, 0], [0, 0]])
    np.testing.assert_array_equal(problem["ub"], [1.5, np.inf])
    sol = bpqp.solve_qp(**problem)
    np.testing.assert_allclose(sol.x, [1.5, 0.5], atol=1e-10)
    assert problem.maximize and abs(problem.objective(sol.objective) - 1.375) < 1e-10


def test_linear_programs_have_no_p(tmp_path: Path) -> None:
    need("scipy")
    problem = bpqp.read_qps(str(write(tmp_path / "a.mps", QPS.replace("QUADOBJ\n    x         x         -1.0\n", ""))))
    assert problem["P"] is None and bpqp.solve_qp(**problem).ok


def test_cbf_files_are_arguments_of_solve_conic(tmp_path: Path) -> None:
    need("scipy")
    problem = bpqp.read_cbf(write(tmp_path / "a.cbf.gz", CBF))
    assert problem["cones"] == [("soc", 3), ("nonnegative", 1)] and problem.scalars == 2
    sol = bpqp.solve_conic(**problem)
    assert abs(problem.objective(sol.objective) - 3 - np.sqrt(5)) < 1e-10


def test_bad_files_are_refused_with_the_line(tmp_path: Path) -> None:
    need("scipy")
    for read, text, message in (
        (bpqp.read_qps, QPS.replace("-1.5 ", "-x.5 "), 'bad.qps: line 14: expected a number, found "-x.5"'),
        (bpqp.read_qps, QPS.replace("ENDATA", ""), "without ENDATA"),
        (bpqp.read_cbf, CBF.replace("Q 3", "Z 3"), "line 10: no cone"),
    ):
        with pytest.raises(bpqp.ArgumentError, match=message):
            read(write(tmp_path / "bad.qps", text))
    with pytest.raises(FileNotFoundError):
        bpqp.read_qps(tmp_path / "none.qps")
    packed = write(tmp_path / "a.qps.gz", QPS + "* " + "x" * (2 << 20))
    with pytest.raises(bpqp.ArgumentError, match="more than 1 MB"):
        bpqp.read_qps(packed, max_unpacked=1)
    assert bpqp.read_qps(packed, max_unpacked=3).name == "test"
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(bpqp.ArgumentError, match=r"a\.qps\.gz"):
        bpqp.read_qps(packed)
    (tmp_path / "bytes.qps").write_bytes(b"\xff\xfe")
    with pytest.raises(bpqp.ArgumentError, match=r"bytes\.qps"):
        bpqp.read_qps(tmp_path / "bytes.qps")
