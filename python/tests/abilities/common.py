"""The numbers that every column is probed with, and how a probe finds its word."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import bpqp
import numpy as np

N = 4
DIAGONAL, FACTOR, Q = (
    np.array([1.0, 2.0, 0.5, 1.5]),
    np.array([[1.0], [0.5], [-1.0], [0.3]]),
    np.array([1.0, -2, 0.5, -1]),
)
# ends when it is told to
ENDLESS: dict[str, Any] = {"eps_abs": 1e-300, "eps_rel": 0.0, "max_iter": 10**9, "solver": "admm", "polish": False}


@contextmanager
def interrupted(after: float) -> Iterator[None]:
    """A keyboard interrupt after that many seconds of this process's own time, which load does not stretch."""
    old = signal.signal(signal.SIGPROF, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_PROF, after)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def refused(call: Callable[[], Any]) -> str:
    """ "yes" where an argument is taken, "no" where there is none such, "error" where it says why it is refused."""
    try:
        call()
    except bpqp.UnsupportedError:
        return "error"
    except (TypeError, AttributeError, bpqp.ArgumentError):
        return "no"
    return "yes"


def ends(call: Callable[[], Any], *, endless: bool = True) -> str:
    """ "yes" where an interrupt ends a call that is under way, "late" where it is seen at its end."""
    after, limit = 0.15, float("inf")
    if not endless:
        # the first call also imports and prepares
        call()
        start = time.process_time()
        call()
        whole = time.process_time() - start
        after, limit = 0.2 * whole, 0.7 * whole
    start = time.process_time()
    try:
        with interrupted(after):
            call()
    except KeyboardInterrupt:
        return "yes" if time.process_time() - start < limit else "late"
    return "no"


def closest(call: Callable[[], Any]) -> str:
    """ "yes" where constraints that contradict each other by 1 are met halfway, "error" where that is refused."""
    try:
        x = np.asarray(call())
    except bpqp.UnsupportedError:
        return "error"
    np.testing.assert_allclose(x.reshape(-1)[0], 0.5, atol=1e-6)
    return "yes"


def operator(M: Any) -> bpqp.Operator:
    """A matrix of which only products are known."""
    return bpqp.Operator(M.shape, lambda x: M @ x, lambda y: M.T @ y)


# x_0 = 0 and x_0 = 1
CONTRADICTION = (np.eye(1, N).repeat(2, axis=0), np.array([0.0, 1.0]))


def long_qp() -> tuple[Any, ...]:
    rng, n = np.random.default_rng(0), 30
    root = rng.normal(size=(n, n))
    return root @ root.T, rng.normal(size=n), rng.normal(size=(20, n)), np.full(20, 0.1)


# |x| <= 0.8 and x_0 + x_1 <= 0.6, none of which binds where x is -0.5
DISK = (
    np.vstack([np.zeros(N), -np.eye(N), [[1.0, 1.0, 0.0, 0.0]]]),
    np.r_[1.2, np.zeros(N), 0.6],
    [("soc", N + 1), ("nonnegative", 1)],
)


# the native solver of these cones is done before the timer ticks
SLOW: Any = {"on_failure": "nan", "polish": False, "solver": "clarabel"}


def long_conic() -> tuple[Any, ...]:
    rng, n = np.random.default_rng(0), 250
    A = rng.normal(size=(8 * 151, n))
    b = rng.normal(size=8 * 151)
    A[::151], b[::151] = 0.0, 40.0
    return np.eye(n), rng.normal(size=n), A, b, [("soc", 151)] * 8
