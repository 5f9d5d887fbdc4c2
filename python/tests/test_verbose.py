"""One line per solve, and nothing without being asked."""

from __future__ import annotations

import re
from typing import Any

import bpqp
import numpy as np
import pytest
from conftest import need, problem

LINE = r"bpqp: {}; interior_point, [\d-]+ iterations; primal \S+, dual \S+, gap \S+; \d+\.\d+ ms\n"


def test_numpy(capsys: pytest.CaptureFixture[str]) -> None:
    bpqp.solve_qp(**problem())
    assert capsys.readouterr().out == ""
    bpqp.solve_qp(**problem(), verbose=True)
    assert re.fullmatch(LINE.format("solved"), capsys.readouterr().out)
    data = problem(3, ("q", "h"), seed=10)
    data["h"][1] = -100.0
    bpqp.solve_qp(**data, verbose=True, on_failure="nan")
    assert re.fullmatch(LINE.format("1 primal_infeasible, 2 solved"), capsys.readouterr().out)


def test_torch(capsys: pytest.CaptureFixture[str]) -> None:
    need("torch")
    import bpqp.torch as bt
    import torch

    data: dict[str, Any] = {k: torch.tensor(v) for k, v in problem().items()}
    q = data.pop("q")
    for solve in (lambda **k: bt.solve_qp(q=q, **data, **k), lambda **k: bt.QpLayer(**data, **k)(q=q)):
        solve()
        assert capsys.readouterr().out == ""
        solve(verbose=True)
        assert re.fullmatch(LINE.format("solved"), capsys.readouterr().out)


def test_jax(capsys: pytest.CaptureFixture[str]) -> None:
    need("jax")
    import bpqp.jax as bj
    import jax

    data = {k: np.asarray(v) for k, v in problem().items()}
    for wrap in (jax.jit, lambda f: f):
        wrap(lambda d: bj.solve_qp(**d))(data).block_until_ready()
        assert capsys.readouterr().out == ""
        wrap(lambda d: bj.solve_qp(**d, verbose=True))(data).block_until_ready()
        assert re.fullmatch(LINE.format("solved"), capsys.readouterr().out)
