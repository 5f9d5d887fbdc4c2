"""Records of the core in Python's `logging`: below the name bpqp, from threads too, and none without a listener."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator

import bpqp
import numpy as np
import pytest
from conftest import need, problem

LOGGER = logging.getLogger("bpqp")


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    before = LOGGER.level
    yield
    LOGGER.setLevel(before)


def texts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{r.name} {r.levelname} {r.getMessage()}" for r in caplog.records]


def test_a_solve_leaves_one_record_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    bpqp.solve_qp(**problem())
    assert texts(caplog) == []
    # the level may change at any time
    LOGGER.setLevel(logging.DEBUG)
    bpqp.solve_qp(**problem(), solver="interior_point")
    (line,) = texts(caplog)
    assert line.startswith("bpqp.layer DEBUG solved by interior_point in ") and "verified: primal " in line
    LOGGER.setLevel(logging.WARNING)
    bpqp.solve_qp(**problem())
    assert len(caplog.records) == 1


def test_iterations_are_at_level_5(caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.setLevel(5)
    sol = bpqp.solve_qp(**problem(), solver="interior_point")
    steps = [r for r in caplog.records if r.name.startswith("bpqp.forward.") and r.levelno == 5]
    assert len(steps) >= int(sol.info.iterations) > 0
    # parts can be heard apart
    caplog.clear()
    LOGGER.setLevel(logging.WARNING)
    logging.getLogger("bpqp.layer").setLevel(logging.DEBUG)
    bpqp.solve_qp(**problem())
    logging.getLogger("bpqp.layer").setLevel(logging.NOTSET)
    assert texts(caplog) == []  # the level of bpqp is what is looked at


def test_failures_and_derivatives_in_doubt(caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.setLevel(logging.DEBUG)
    bpqp.solve_qp(None, [0.0], A=[[1.0], [1.0]], b=[0.0, 1.0], on_failure="nan")
    assert "no solution: primal_infeasible by" in texts(caplog)[-1]
    assert texts(caplog)[-1].endswith("with a certificate")
    caplog.clear()
    sol = bpqp.solve_qp(np.eye(2), np.zeros(2), lb=0)
    sol.vjp(x=np.ones(2), wrt="q")
    assert texts(caplog)[-1] == "bpqp.derivatives DEBUG a derivative is one_of_several"


def test_threads_of_the_core_and_of_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    """Threads without the interpreter leave records too, and nobody waits for anybody."""
    LOGGER.setLevel(logging.DEBUG)
    data = problem(400, ("q",))
    bpqp.solve_qp(**data, threads=4)
    assert len(caplog.records) == 400
    caplog.clear()
    runs = [threading.Thread(target=lambda: bpqp.solve_qp(**data, threads=2)) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
        assert not run.is_alive()
    assert len(caplog.records) == 1600


def test_cones_smooth_programs_and_small_solvers(caplog: pytest.LogCaptureFixture) -> None:
    LOGGER.setLevel(logging.DEBUG)
    A = np.vstack([np.zeros((1, 2)), -np.eye(2)])
    bpqp.solve_conic(None, [1.0, 1.0], A, [1.0, 0.0, 0.0], [("soc", 3)])
    assert any(line.startswith("bpqp.layer DEBUG solved by homogeneous") for line in texts(caplog))
    caplog.clear()
    small = bpqp.QpSolver(np.eye(2), np.array([-0.5, -2.0]), lb=np.zeros(2), ub=np.ones(2))
    small.solve()
    assert len(caplog.records) == 1


def test_under_jit(caplog: pytest.LogCaptureFixture) -> None:
    need("jax")
    import bpqp.jax as bj
    import jax

    LOGGER.setLevel(logging.DEBUG)
    bpqp.solve_qp(np.eye(2), np.zeros(2))  # compiled programs hear what the last call of Python heard
    caplog.clear()
    data = {k: np.asarray(v) for k, v in problem().items()}
    jax.block_until_ready(jax.jit(lambda q: bj.solve_qp(**{**data, "q": q}))(data["q"]))
    assert [r.name for r in caplog.records if r.name.startswith("bpqp.")] == ["bpqp.layer"]


def test_nothing_is_printed_by_default() -> None:
    code = "import bpqp; bpqp.solve_qp(None, [0.0], A=[[1.0], [1.0]], b=[0.0, 1.0], on_failure='nan')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""
