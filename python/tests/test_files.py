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


def test_json_files_hold_a_problem_to_the_last_bit(tmp_path: Path) -> None:
    need("scipy")
    from scipy import sparse

    rng = np.random.default_rng(0)
    root, G, A = (
        rng.normal(size=(4, 4)),
        rng.normal(size=(2, 4)),
        sparse.random(3, 4, 0.6, random_state=1, format="csr"),
    )
    rest = {"q": rng.normal(size=4) / 3, "G": G, "h": [0.1, np.inf], "A": A, "b": A @ np.full(4, 0.1), "lb": -1}
    for P in (root @ root.T, sparse.eye(4, format="csc"), bpqp.Factored(np.ones(4), root[:, :2]), None):
        bpqp.write_json(tmp_path / "a.json", P, **rest)
        problem = bpqp.read_json(str(tmp_path / "a.json"))
        assert problem["ub"] is None and np.array_equal(problem["lb"], -np.ones(4)) and problem["h"][1] == np.inf
        np.testing.assert_array_equal(problem["q"], rest["q"])
        np.testing.assert_array_equal(problem["A"].toarray(), A.toarray())
        np.testing.assert_array_equal(bpqp.solve_qp(**problem).x, bpqp.solve_qp(P, **rest).x)
    packed = write(tmp_path / "a.json.gz", (tmp_path / "a.json").read_text("utf-8"))
    assert bpqp.read_json(packed)["P"] is None
    # numbers of float32 are numbers of float64
    single = rest["q"].astype(np.float32)
    bpqp.write_json(tmp_path / "a.json", np.eye(4, dtype=np.float32), single)
    np.testing.assert_array_equal(bpqp.read_json(tmp_path / "a.json")["q"], single)


def test_what_json_files_cannot_hold_is_refused(tmp_path: Path) -> None:
    for arguments, message in (
        ({"q": np.zeros((2, 3))}, "batch of 2"),
        ({"q": [np.nan]}, "q has the entry nan"),
        ({"q": [0.0], "lb": [np.inf]}, "lb has the entry inf"),
        ({"q": [0.0], "G": [[1.0]], "h": [-np.inf]}, "h has the entry -inf"),
        ({"P": bpqp.Factored([np.inf], [[0.0]]), "q": [0.0]}, "P has the entry inf"),
    ):
        with pytest.raises(bpqp.ArgumentError, match=message):
            bpqp.write_json(tmp_path / "a.json", **arguments)  # type: ignore[arg-type]
    for text, message in (
        ("[1]", "a problem is an object"),
        ('{"q": [1], "dx": [1]}', "'dx' is no argument"),
        ('{"q": [null]}', "null is an infinite"),
        ('{"q": [1], "q": [2]}', "twice"),
        ('{"q": [1], "A": {"shape": [1, 1], "row": [0]}}', "bad.json"),
        ('{"q": [1', "bad.json"),
    ):
        if "shape" in text:
            need("scipy")
        with pytest.raises(bpqp.ArgumentError, match=message):
            bpqp.read_json(write(tmp_path / "bad.json", text))


def test_layers_write_their_program(tmp_path: Path) -> None:
    need("torch", "scipy")
    import bpqp.torch as bt
    import torch

    G = torch.tensor([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]).to_sparse()
    h = torch.nn.Parameter(torch.tensor([0.1, 0.3], dtype=torch.float32))
    layer = bt.QpLayer(P=bt.Factored(torch.ones(3), torch.ones(3, 1)), G=G, h=h)
    layer.write_json(tmp_path / "a.json", ub=torch.full((3,), 0.2))
    problem = bpqp.read_json(tmp_path / "a.json")
    np.testing.assert_array_equal(problem["h"], h.detach().numpy())
    np.testing.assert_array_equal(problem["q"], np.zeros(3))
    assert problem["G"].nnz == 3 and isinstance(problem["P"], bpqp.Factored)
    with pytest.raises(bpqp.ArgumentError, match="no argument that this layer lacks"):
        layer.write_json(tmp_path / "a.json", h=h)
