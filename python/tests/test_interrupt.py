"""A keyboard interrupt ends a solve that runs: one problem, of any solver that iterates."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import bpqp
import numpy as np
import pytest

CODE = """
import signal, sys, time
import numpy as np, bpqp
# a shell starts what runs in the background with interrupts ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
# no iterate satisfies a tolerance of 1e-300: this runs until it is told to stop
settings = {"eps_abs": 1e-300, "eps_rel": 0.0, "max_iter": 10**9, "solver": sys.argv[1], "polish": False}
rng = np.random.default_rng(0)
n, batch = 30, int(sys.argv[2])
root = rng.normal(size=(n, n))
G, q = rng.normal(size=(20, n)), rng.normal(size=(batch, n))
start = time.monotonic()
try:
    print("started", flush=True)
    bpqp.solve_qp(root @ root.T, q, G, np.full(20, 0.1), **settings)
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - start)
# and the next solve is not disturbed by it
assert bpqp.solve_qp(np.eye(n), q[0], G, np.full(20, 0.1), solver=sys.argv[1]).ok
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to processes in another way there")
@pytest.mark.parametrize("batch", [1, 40])
def test_a_keyboard_interrupt_ends_a_long_solve(batch: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", CODE, "admm", str(batch)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert out.startswith("interrupted"), out
    assert out.endswith("done\n"), out
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no timers there")
def test_an_interrupt_is_seen_inside_of_a_cone_program() -> None:
    n = 300
    rng = np.random.default_rng(0)
    A = np.vstack([-np.eye(n), rng.normal(size=(n, n))])
    b, cones = np.concatenate([np.zeros(n), np.full(n, 2.0)]), [("nonnegative", n), ("soc", n)]

    def solve() -> None:
        # however it ends, it takes some seconds
        bpqp.solve_conic(np.eye(n), np.ones(n), A, b, cones, polish=False, on_failure="nan")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    solve()
    whole = time.monotonic() - start
    before = signal.signal(signal.SIGALRM, stop)
    try:
        start = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.2 * whole)
        with pytest.raises(KeyboardInterrupt):
            solve()
        assert time.monotonic() - start < 0.8 * whole + 0.1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # and the next solve is not disturbed by it
    assert bpqp.solve_conic(np.eye(2), np.ones(2), -np.eye(2), np.zeros(2), [("nonnegative", 2)]).ok
