"""The full power flow beside Ipopt: the same formulation, the same flat start, one run, one thread each.

    python -m pip install casadi
    python bench/opf.py FOLDER [NAME ..]

FOLDER has cases of PGLib. `bpqp.grid.dispatch(case, ac=True)` to residuals of rounding, then Ipopt 3.14 with MUMPS
through CasADi (its exact sparse derivatives, compiled to its virtual machine) to 1e-9; Ipopt relaxes bounds by 1e-8
of their size. `backward` is the gradient of the sum of all prices by all loads, limits and costs. Milliseconds of the
processor, so that other work on the machine does not count; medians of three where one solve takes less than a
second.
"""

import os

for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import re  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import bpqp.grid  # noqa: E402
import casadi as ca  # noqa: E402
import numpy as np  # noqa: E402


def tables(text):
    """The tables of a case, without what is out of use; buses numbered from 0."""
    text = re.sub(r"%.*", "", text)
    base = float(re.search(r"mpc\.baseMVA\s*=\s*([\d.e+-]+)", text)[1])

    def table(name):
        body = re.search(rf"mpc\.{name}\s*=\s*\[(.*?)\]", text, re.S)[1]
        rows = [line.replace(",", " ").split() for line in re.split(r"[;\n]", body)]
        width = min(len(row) for row in rows if row)
        return np.array([[float(v) for v in row[:width]] for row in rows if row])

    bus, gen, branch, cost = map(table, ("bus", "gen", "branch", "gencost"))
    bus = bus[bus[:, 1] != 4]
    place = {int(number): k for k, number in enumerate(bus[:, 0])}
    running = (gen[:, 7] > 0) & np.isin(gen[:, 0], bus[:, 0])
    gen, cost = gen[running], cost[: len(gen)][running]
    used = (branch[:, 10] > 0) & np.isin(branch[:, 0], bus[:, 0]) & np.isin(branch[:, 1], bus[:, 0])
    branch = branch[used]
    for table_, columns in ((gen, [0]), (branch, [0, 1])):
        table_[:, columns] = np.vectorize(place.get)(table_[:, columns].astype(int))
    return base, bus, gen, branch, cost


def ipopt(text):
    """A solver in polar coordinates, its bounds and its flat start."""
    base, bus, gen, branch, cost = tables(text)
    nb, ng = len(bus), len(gen)
    x = ca.SX.sym("x", 2 * nb + 2 * ng)
    angle, v, p, q = x[:nb], x[nb : 2 * nb], x[2 * nb : 2 * nb + ng], x[2 * nb + ng :]
    low = np.concatenate([np.full(nb, -np.inf), bus[:, 12], gen[:, 9] / base, gen[:, 4] / base])
    high = np.concatenate([np.full(nb, np.inf), bus[:, 11], gen[:, 8] / base, gen[:, 3] / base])
    reference = np.flatnonzero(bus[:, 1] == 3)
    low[reference] = high[reference] = 0
    active = [bus[k, 2] / base + bus[k, 4] / base * v[k] ** 2 for k in range(nb)]
    reactive = [bus[k, 3] / base - bus[k, 5] / base * v[k] ** 2 for k in range(nb)]
    for k in range(ng):
        active[int(gen[k, 0])] -= p[k]
        reactive[int(gen[k, 0])] -= q[k]
    rows, limits = [], []
    for start, end, r, react, charge, rate, _, _, taps, shift, _, smallest, largest in branch[:, :13]:
        f, t, tap = int(start), int(end), taps or 1.0
        y, ratio, half = 1 / complex(r, react), tap * np.exp(1j * np.radians(shift)), 0.5j * charge
        own = ((y + half) / tap**2, -y / np.conj(ratio)), (y + half, -y / ratio)
        difference = angle[f] - angle[t]
        ends = []
        for (here, there), (a, b), turn in zip(((f, t), (t, f)), own, (difference, -difference), strict=True):
            s, c, both = ca.sin(turn), ca.cos(turn), v[here] * v[there]
            # S = v^2 conj(y_own) + v_a v_b exp(j turn) conj(y_mutual)
            ends.append(a.real * v[here] ** 2 + both * (b.real * c + b.imag * s))
            ends.append(-a.imag * v[here] ** 2 + both * (b.real * s - b.imag * c))
            active[here] += ends[-2]
            reactive[here] += ends[-1]
        if rate > 0 and np.isfinite(rate):
            rows += [ends[0] ** 2 + ends[1] ** 2, ends[2] ** 2 + ends[3] ** 2]
            limits += [(-np.inf, (rate / base) ** 2)] * 2
        free = smallest == 0 and largest == 0
        least = -np.inf if free or smallest <= -360 else np.radians(smallest)
        most = np.inf if free or largest >= 360 else np.radians(largest)
        if np.isfinite(least) or np.isfinite(most):
            rows.append(difference)
            limits.append((least, most))
    f = 0
    for k in range(ng):
        value = 0
        for c in cost[k, 4 : 4 + int(cost[k, 3])]:
            value = value * (base * p[k]) + c
        f += value
    g = ca.vertcat(*active, *reactive, *rows)
    options = {"print_level": 0, "sb": "yes", "tol": 1e-9, "max_iter": 500}
    solver = ca.nlpsol("opf", "ipopt", {"x": x, "f": f, "g": g}, {"print_time": False, "ipopt": options})
    under = np.concatenate([np.zeros(2 * nb), [a for a, _ in limits]])
    over = np.concatenate([np.zeros(2 * nb), [b for _, b in limits]])
    with np.errstate(invalid="ignore"):
        middle = np.where(np.isfinite(low) & np.isfinite(high), 0.5 * (low + high), np.clip(0, low, high))
    start = np.concatenate([np.zeros(nb), np.clip(1, low[nb : 2 * nb], high[nb : 2 * nb]), middle[2 * nb :]])

    def solve():
        found = solver(x0=start, lbx=low, ubx=high, lbg=under, ubg=over)
        stats = solver.stats()
        return float(found["f"]), stats["iter_count"], stats["return_status"], np.array(found["lam_g"])[:nb, 0] / base

    return solve


def timed(call):
    """The last answer and the median of the milliseconds of three calls; of one where that takes a second."""
    times = []
    while len(times) < 3 and (not times or times[-1] < 1e3):
        begin = time.process_time()
        answer = call()
        times.append(1e3 * (time.process_time() - begin))
    return answer, statistics.median(times)


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    files = sorted(folder.glob("*.m"), key=lambda f: f.stat().st_size)
    print("case | bpqp $/h | Ipopt $/h | relative | prices | steps | ms | Ipopt steps | ms | backward ms | residual")
    for file in files:
        if names and not any(name in file.name for name in names):
            continue
        text = file.read_text("utf-8", errors="replace")
        case = bpqp.grid.case(text)
        ours, forward = timed(
            lambda case=case: bpqp.grid.dispatch(case, ac=True, on_failure="nan", on_untrusted="ignore")
        )
        ones = np.ones(case.load.size)
        _, backward = timed(lambda ours=ours, ones=ones: ours.vjp(price=ones)) if ours.ok else (None, np.nan)
        (cost, steps, status, price), own = timed(ipopt(text))
        off = abs(ours.cost - cost) / abs(cost)
        apart = np.abs(ours.price - price).max() / np.abs(price).max()
        cells = (
            f"{ours.cost:.6f}",
            f"{cost:.6f}",
            f"{off:.1e}",
            f"{apart:.1e}",
            str(ours.iterations),
            f"{forward:.1f}",
        )
        tail = (str(steps), f"{own:.1f}", f"{backward:.2f}", f"{ours.residual:.1e}")
        shown = "" if status == "Solve_Succeeded" else f" ({status})"
        print(" | ".join((file.stem.removeprefix("pglib_opf_case"), *cells, *tail)) + shown, flush=True)


if __name__ == "__main__":
    main()
