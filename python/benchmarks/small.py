"""One small dense problem at high rates: `QpSolver` against `solve_qp`; 4 variables, 11 rows, median microseconds.

    python python/benchmarks/small.py [--repeat 2000]

"anew": every problem has costs of its own, drawn afresh. "moved": costs move a little from one problem to the next, as
in a control loop. The gradients are those of q and h.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import bpqp
import numpy as np

N, M = 4, 11


def median(call: Callable[[int], object], repeat: int) -> float:
    """Microseconds of the calls with 0, 1, 2, ..."""
    times = []
    for k in range(repeat):
        start = time.perf_counter()
        call(k)
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=2000)
    repeat = parser.parse_args().repeat
    rng = np.random.default_rng(0)
    P, G = np.eye(N) + 0.1, rng.normal(size=(M, N))
    h = G @ rng.normal(size=N) + 0.3 * rng.random(M)
    dx, out = np.ones(N), {"q": np.empty(N), "h": np.empty(M)}
    print("| costs | call | forward | with vjp |\n| --- | --- | --- | --- |")
    anew = rng.normal(size=(repeat, N))
    for name, costs in (("anew", anew), ("moved", anew[0] + np.cumsum(0.01 * rng.normal(size=(repeat, N)), 0))):

        def plain(k: int, costs: np.ndarray = costs) -> bpqp.Solution:
            return bpqp.solve_qp(P, costs[k], G, h)

        print(
            f"| {name} | `solve_qp` | {median(plain, repeat):.1f} "
            f"| {median(lambda k: plain(k).vjp(x=dx, wrt=('q', 'h')), repeat):.1f} |"
        )
        for warm in (False, True):
            s = bpqp.QpSolver(P, G=G, h=h)

            def forward(k: int, s: bpqp.QpSolver = s, warm: bool = warm, costs: np.ndarray = costs) -> None:
                s.update(q=costs[k], h=h)
                s.solve(warm=warm)

            def both(k: int, s: bpqp.QpSolver = s, forward: Callable[[int], None] = forward) -> None:
                forward(k)
                s.vjp(dx, out=out)

            text = "" if warm else ", `warm=False`"
            print(f"| {name} | `QpSolver`{text} | {median(forward, repeat):.1f} | {median(both, repeat):.1f} |")


if __name__ == "__main__":
    main()
