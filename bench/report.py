"""Tables in Markdown and plots as SVG from the results of run.py."""

from __future__ import annotations

import math
import re
from pathlib import Path

import collection
import numpy as np
import peers

WRONG = 1e-4
# seconds that are added in the geometric mean, so that microseconds do not decide it
SHIFT = 1e-3
GREY = "#7d8590"  # read on white and on black
COLOURS = {
    "bpqp": "#e4572e",
    "bpqp-torch": "#f4a261",
    "bpqp-cvxpy": "#e4572e",
    "daqp": "#2a9d8f",
    "proxqp": "#8e6fc4",
    "piqp": "#3a86d1",
    "clarabel": "#8d99ae",
    "osqp": "#b5651d",
    "osqp-twice": "#b5651d",
    "osqp-twice-polished": "#d4a373",
    "osqp twice": "#b5651d",
    "qpth": "#c05299",
    "moreau": "#6a994e",
    "highs": "#d6a800",
    "auto": "#e4572e",
    "interior_point": "#3a86d1",
    "active_set": "#2a9d8f",
    "admm": "#b5651d",
}


def right(row):
    return row["status"] == "ok" and row.get("error", 0) <= WRONG and row.get("x_error", 0) <= WRONG


def number(ms):
    return f"{ms:.3g}" if ms < 1000 else f"{ms:.0f}"


def table(header, rows):
    return "\n".join(
        [
            "| " + " | ".join(header) + " |",
            "| --- |" + " --- |" * (len(header) - 1),
            *("| " + " | ".join(r) + " |" for r in rows),
        ]
    )


class Results:
    def __init__(self, rows):
        self.rows = [r for r in rows if r["peer"] != "-" or r["family"] == "factors"]

    def cells(self, rows, names):
        """Total (backward) in ms of process time; `!` and the error where wrong; the fastest right one in bold."""
        best = min((r["cpu"] for r in rows.values() if right(r)), default=None)
        out = []
        for name in names:
            r = rows.get(name)
            if r is None or r["status"] == "skip":
                out.append("-")
            elif r["status"] != "ok":
                out.append({"timeout": "too slow"}.get(r["status"], "fails"))
            else:
                text = f"{number(1e3 * r['cpu'])} ({number(1e3 * r['parts'][1][1])})"
                worst = max(r.get("error", 0), r.get("x_error", 0))
                out.append(
                    f"**{text}**" if r["cpu"] == best and right(r) else text if right(r) else f"{text} ! {worst:.0e}"
                )
        return out

    def grid(self, families, mode="q", names=None):
        names = names or peers.NAMES
        lines, used = [], []
        for family in families:
            for instance in sorted(
                {r["instance"] for r in self.rows if r["family"] == family and r["mode"] == mode}, key=size
            ):
                rows = {
                    r["peer"]: r
                    for r in self.rows
                    if r["family"] == family and (r["instance"], r["mode"]) == (instance, mode)
                }
                lines.append((instance, rows))
                used += [name for name in names if rows.get(name, {}).get("status", "skip") != "skip"]
        names = [name for name in names if name in used]
        return (
            table(["problem", *names], [[instance, *self.cells(rows, names)] for instance, rows in lines])
            if lines
            else ""
        )


def collections():
    return [(family, mode) for family in ("maros", "netlib") for mode in ("solve", "both")]


def size(instance):
    family, _, rest = instance.partition("-")
    return family, [int(v) for v in re.findall(r"\d+", rest)]


def profile(rows, folder):
    """For each solver: seconds by problem, infinite where it is wrong."""
    optima = collection.known(folder)
    times, verdicts, tried = {}, {}, {}
    for r in rows:
        tried.setdefault(r["instance"], set()).add(r["peer"])
    # where the run was stopped some solvers were not asked: such a problem says nothing
    problems = sorted(p for p, names in tried.items() if len(names) == max(map(len, tried.values())))
    for problem in problems:
        mine = {r["peer"]: r for r in rows if r["instance"] == problem}
        feasible = [r["objective"] for r in mine.values() if r.get("violation", 1) <= collection.FEASIBLE]
        for solver, r in mine.items():
            ok = collection.right(r, optima.get(problem, "unknown"), min(feasible, default=None))
            times.setdefault(solver, {})[problem] = r["cpu"] if ok else math.inf
            said = r.get("said") or r["status"].replace("ok", "no optimum")
            verdicts[solver, problem] = "" if ok else said
    return problems, times, verdicts


def shifted_mean(times, problems, limit):
    t = [min(times.get(p, math.inf), limit) for p in problems]
    return math.exp(np.mean([math.log(v + SHIFT) for v in t])) - SHIFT


def slope(x, y):
    return np.polyfit(np.log(x), np.log(y), 1)[0]


def slopes(results):
    """Growth of our own time, from the larger half of the sizes, where overheads are gone."""
    series = {
        "dense, n (half active, n/5 rows)": ("half", lambda r: r["n"]),
        "projection, nonzeros": ("projection", lambda r: r["nnz"]),
        "control, nonzeros": ("mpc", lambda r: r["nnz"]),
        "batch of n = 10, size": ("batch", lambda r: r["batch"] if r["n"] == 10 else None),
        "batch of n = 50, size": ("batch", lambda r: r["batch"] if r["n"] == 50 else None),
        "second-order cone, n": ("cones", lambda r: r["n"] if r["instance"].startswith("socp-") else None),
    }
    lines = []
    for name, (family, x) in series.items():
        rows = [
            r
            for r in results.rows
            if r["family"] == family and r["peer"] == "bpqp" and r["mode"] == "q" and r["status"] == "ok"
        ]
        rows = [r for r in rows if not r["instance"].startswith("mpcrows")]
        points = sorted((x(r), r["parts"][0][1], r["parts"][1][1]) for r in rows if x(r))
        if len(points) >= 2:
            a = np.array(points)[-max(2, (len(points) + 1) // 2) :]
            lines.append(
                [
                    name,
                    f"{a[0, 0]:.0f} to {a[-1, 0]:.0f}",
                    f"{slope(a[:, 0], a[:, 1]):.2f}",
                    f"{slope(a[:, 0], a[:, 2]):.2f}",
                ]
            )
    return table(["family, by", "from", "forward", "backward"], lines) if lines else ""


def tables(meta, results, options):
    made = {}
    versions = ", ".join(f"{k} {v}" for k, v in meta["versions"].items())
    made["machine"] = (
        f"{meta['machine']}; Python {meta['python']}; {versions}; commit {meta['commit']}; {meta['date']}."
    )
    made["dense"] = results.grid(["paper", "half", "large", "lp", "portfolio"])
    made["batch"] = results.grid(["batch"])
    made["tiny"] = results.grid(["tiny"])
    made["sparse"] = results.grid(["mpc", "projection", "boyd"])
    made["cones"] = results.grid(["cones"])
    made["same"] = results.grid(["half", "portfolio", "tiny", "mpc"], "same")
    made["all"] = results.grid(["half", "batch"], "all")
    made["layers"] = results.grid(["layers"], "all", peers.LAYERS)
    made["slopes"] = slopes(results)
    for family, mode in collections():
        rows = [r for r in results.rows if (r["family"], r["mode"]) == (family, mode)]
        if not rows:
            continue
        limit = meta["options"]["limit"]
        problems, times, verdicts = profile(rows, getattr(options, family))
        means = {s: shifted_mean(t, problems, limit) for s, t in times.items()}
        unit = means.get("bpqp", min(means.values()))
        lines = []
        for solver in sorted(means, key=means.get):
            wrong = [f"{p} ({verdicts[solver, p]})" for p in problems if times[solver].get(p, math.inf) == math.inf]
            note = ", ".join(wrong[:6]) + (f" and {len(wrong) - 6} others" if len(wrong) > 6 else "")
            lines.append(
                [
                    solver,
                    f"{len(problems) - len(wrong)}",
                    f"{1e3 * means[solver]:.2f}",
                    f"{means[solver] / unit:.2f}",
                    note,
                ]
            )
        name = family if mode == "solve" else f"{family}-{mode}"
        made[name] = table(["solver", f"right, of {len(problems)}", "mean, ms", "beside bpqp", "not right"], lines)
        if "bpqp" in times:
            ratios = []
            for p in problems:
                others = {s: t.get(p, math.inf) for s, t in times.items() if s != "bpqp"}
                best = min(others, key=others.get, default=None)
                if best and others[best] < math.inf and times["bpqp"][p] < math.inf:
                    ratios.append((times["bpqp"][p] / others[best], p, times["bpqp"][p], best, others[best]))
            worst = sorted(ratios, reverse=True)[:6]
            rest = [
                [p, number(1e3 * mine), f"{number(1e3 * best)} ({s})", f"{ratio:.1f}"]
                for ratio, p, mine, s, best in worst
            ]
            made[f"{name}-worst"] = table(["problem", "bpqp, ms", "fastest right solver, ms", "ratio"], rest)
    factors = {r["instance"]: r["points"] for r in results.rows if r["family"] == "factors" and "points" in r}
    if "solver" in factors:
        at = list(dict.fromkeys(p["at"] for p in factors["solver"]))
        kinds = list(dict.fromkeys(p["solver"] for p in factors["solver"]))
        found = {(p["at"], p["solver"]): p for p in factors["solver"]}
        cell = lambda p: f"{number(1e3 * p['forward'])} ({p['iterations']:.0f}; {p['error']:.0e})"  # noqa: E731
        made["solver"] = table(["problem", *kinds], [[a, *(cell(found[a, k]) for k in kinds)] for a in at])
    return {k: v for k, v in made.items() if v}


def style():
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(
        {
            "svg.hashsalt": "bpqp",
            "font.size": 9,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            **{f"{part}.color": GREY for part in ("text", "xtick", "ytick", "grid")},
            "axes.edgecolor": GREY,
            "axes.labelcolor": GREY,
            "axes.titlesize": 9.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "lines.linewidth": 1.5,
            "lines.markersize": 4,
        }
    )


def colour(name):
    return COLOURS.get(name.rstrip("+"), GREY)


def lines_of(axes, series, unit=1e3):
    """`series[name]`: (x, seconds, right); what is wrong is a cross, and no part of the line."""
    for name, points in series.items():
        points.sort(key=lambda p: p[0])
        good = [(x, unit * t) for x, t, ok in points if ok]
        bad = [(x, unit * t) for x, t, ok in points if not ok]
        wide = 2.4 if name.startswith("bpqp") else 1.3
        if good:
            axes.plot(
                *zip(*good, strict=True),
                "-o",
                color=colour(name),
                label=name,
                linewidth=wide,
                zorder=3 if wide > 2 else 2,
            )
        if bad:
            axes.plot(
                *zip(*bad, strict=True), "x", color=colour(name), label=None if good else f"{name} (wrong)", alpha=0.8
            )
    axes.set_xscale("log")
    axes.set_yscale("log")


def gather(results, family, x, keep=lambda r: True, per=lambda r: 1):
    series = {}
    for r in results.rows:
        if r["family"] == family and r["mode"] == "q" and r["status"] == "ok" and keep(r):
            series.setdefault(r["peer"], []).append((x(r), r["cpu"] / per(r), right(r)))
    return series


def one_legend(figure, axes, columns=6):
    seen = {}
    for ax in np.ravel(axes):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            seen.setdefault(label, handle)
    figure.legend(
        seen.values(), seen.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.02), ncols=columns, fontsize=8.5
    )


def plots(results, options, folder):
    import matplotlib.pyplot as plt

    style()

    def save(figure, name):
        figure.savefig(folder / f"performance-{name}.svg", bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)

    dense = {"paper": "the paper's: hardly any row active", "half": "half of the rows active"}
    if any(r["family"] in dense for r in results.rows):
        figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.6), sharey=True)
        for ax, (family, title) in zip(axes, dense.items(), strict=True):
            lines_of(ax, gather(results, family, lambda r: r["n"]))
            ax.set(title=title, xlabel="variables (a fifth as many rows of each kind)")
        axes[0].set_ylabel("both passes, ms")
        one_legend(figure, axes, 5)
        save(figure, "dense")
    if any(r["family"] == "batch" for r in results.rows):
        figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.6))
        for ax, n in zip(axes, (10, 50), strict=True):
            lines_of(
                ax,
                gather(results, "batch", lambda r: r["batch"], lambda r, n=n: r["n"] == n, lambda r: r["batch"]),
                1e6,
            )
            ax.set(title=f"{n} variables, {n} inequalities", xlabel="problems in the batch")
        axes[0].set_ylabel("both passes, microseconds a problem")
        one_legend(figure, axes, 5)
        save(figure, "batch")
    if any(r["family"] in ("mpc", "projection") for r in results.rows):
        figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4), sharey=True)
        kinds = (
            ("mpc", "mpc-", "control, limits as bounds"),
            ("mpc", "mpcrows-", "control, limits as rows"),
            ("projection", "proj-", "projection"),
        )
        for ax, (family, start, title) in zip(axes, kinds, strict=True):
            lines_of(
                ax, gather(results, family, lambda r: r["n"], lambda r, start=start: r["instance"].startswith(start))
            )
            ax.set(title=title, xlabel="variables")
        axes[0].set_ylabel("both passes, ms")
        one_legend(figure, axes, 5)
        save(figure, "sparse")
    overview(results, save)
    of = lambda shown: [r for r in results.rows if (r["family"], r["mode"]) == shown]  # noqa: E731
    shown = [kind for kind in collections() if of(kind)]
    if shown:
        lines, passes = (len(shown) + 1) // 2, {"solve": "solving alone", "both": "both passes"}
        figure, axes = plt.subplots(
            lines, 2, figsize=(9.2, 3.3 * lines), sharey=True, squeeze=False, gridspec_kw={"hspace": 0.45}
        )
        for ax, (family, mode) in zip(axes.flat, shown, strict=False):
            problems, times, _ = profile(of((family, mode)), getattr(options, family))
            best = {p: min(t.get(p, math.inf) for t in times.values()) for p in problems}
            for solver, t in times.items():
                ratios = sorted(t.get(p, math.inf) / best[p] for p in problems if best[p] < math.inf)
                good = [v for v in ratios if v < math.inf]
                share = np.arange(1, len(good) + 1) / len(problems)
                if good:
                    ax.step([1, *good, 1e4], [0, *share, share[-1]], where="post", color=colour(solver), label=solver)
            ax.set(xscale="log", xlim=(1, 1e3), ylim=(0, 1.02), xlabel="times the fastest solver of the problem")
            collected = {"maros": "Maros-Meszaros", "netlib": "Netlib"}[family]
            ax.set_title(f"{collected}, {len(problems)} problems, {passes[mode]}")
            ax.set_ylabel("share of the problems" if ax in axes[:, 0] else "")
        one_legend(figure, axes)
        save(figure, "profiles")
    factors({r["instance"]: r["points"] for r in results.rows if r["family"] == "factors" and "points" in r}, save)


def overview(results, save):
    """Times of the fastest right peer beside ours, for every problem."""
    import matplotlib.pyplot as plt

    ours = {"bpqp", "bpqp-torch", "bpqp-cvxpy", "bpqp-qplayer"}
    points = []
    for family, instance, mode in dict.fromkeys((r["family"], r["instance"], r["mode"]) for r in results.rows):
        if family in ("factors", "maros", "netlib") or mode == "same":
            continue
        rows = {
            r["peer"]: r
            for r in results.rows
            if (r["family"], r["instance"], r["mode"]) == (family, instance, mode) and right(r)
        }
        mine = [r["cpu"] for p, r in rows.items() if p in ours]
        others = {p: r["cpu"] for p, r in rows.items() if p not in ours}
        if mine and others:
            best = min(others, key=others.get)
            points.append(
                (f"{instance} (CVXPY layer)" if family == "layers" else instance, others[best] / min(mine), best)
            )
    if not points:
        return
    figure, ax = plt.subplots(figsize=(8.4, 0.19 * len(points) + 0.9))
    for k, (_, ratio, best) in enumerate(points):
        ax.plot([1, ratio], [-k, -k], color=GREY, alpha=0.35, linewidth=1)
        ax.plot(ratio, -k, "o", color=COLOURS["bpqp"] if ratio >= 1 else COLOURS["piqp"], markersize=5)
        ax.annotate(f"  {best}  ", (ratio, -k), va="center", ha="left" if ratio >= 1 else "right", fontsize=7)
    ax.axvline(1, color=GREY, linewidth=1)
    ax.set_xscale("log")
    low, high = min(p[1] for p in points), max(p[1] for p in points)
    ax.set_xlim(min(0.35, low / 2), high * 3)
    ax.set_ylim(-len(points) + 0.3, 0.7)
    ticks = [v for v in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if ax.get_xlim()[0] <= v <= ax.get_xlim()[1]]
    ax.set_xticks(ticks, [f"{v:g}" for v in ticks])
    ax.xaxis.set_minor_locator(plt.NullLocator())
    ax.set_yticks([-k for k in range(len(points))], [p[0] for p in points], fontsize=7)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("time of the fastest right peer / time of bpqp, both passes (right of 1: bpqp is faster)")
    save(figure, "overview")


def factors(found, save):
    import matplotlib.pyplot as plt

    if not {"condition", "share", "tolerance", "warm"} <= set(found):
        return
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6.2), gridspec_kw={"hspace": 0.5, "wspace": 0.32})

    def series(points, value, solvers):
        for solver in solvers:
            mine = [(p["at"], value(p)) for p in points if p["solver"] == solver]
            if mine:
                yield solver, *zip(*mine, strict=True)

    kinds = ("interior_point", "active_set", "admm")
    forward, error = lambda p: 1e3 * p["forward"], lambda p: max(p["error"], 1e-17)
    for ax, name, value, title, label in (
        (axes[0, 0], "condition", forward, "condition of P", "forward, ms"),
        (axes[0, 1], "condition", error, "condition of P", "error of the gradient"),
        (axes[0, 2], "share", forward, "share of rows inside", "forward, ms"),
    ):
        for solver, x, y in series(found[name], value, kinds):
            ax.plot(x, y, "-o", color=colour(solver), label=solver)
        ax.set(yscale="log", xscale="log" if name == "condition" else "linear", title=title, ylabel=label)
    looks = [
        ("interior_point", True, "-o"),
        ("interior_point", False, "--s"),
        ("admm", True, "-o"),
        ("admm", False, "--s"),
        ("osqp twice", False, ":D"),
    ]
    for solver, polish, look in looks:
        mine = [p for p in found["tolerance"] if p["solver"] == solver and p["polish"] == polish]
        hue = "#c05299" if solver == "osqp twice" else colour(solver)
        label = solver if polish else f"{solver}, not polished" if solver != "osqp twice" else "OSQP in both passes"
        axes[1, 0].plot([p["at"] for p in mine], [error(p) for p in mine], look, color=hue, label=label)
        axes[1, 1].plot([p["at"] for p in mine], [forward(p) for p in mine], look, color=hue)
    axes[1, 0].set(xscale="log", yscale="log", title="forward tolerance", ylabel="error of the gradient")
    axes[1, 1].set(xscale="log", yscale="log", title="forward tolerance", ylabel="forward, ms")
    for ax in axes[1, :2]:
        ax.invert_xaxis()
    for solver, x, y in series(found["warm"], lambda p: p["forward"] / p["cold"], kinds):
        axes[1, 2].plot(x, y, "-o", color=colour(solver))
    axes[1, 2].axhline(1, color=GREY, linewidth=1)
    axes[1, 2].set(xscale="log", ylim=(0, None), title="distance of the warm start", ylabel="warm / cold")
    one_legend(figure, axes, 4)
    save(figure, "factors")


def fill(page, made):
    text = page.read_text()
    for name, content in made.items():
        pattern = re.compile(rf"(<!-- bench:{re.escape(name)} -->\n).*?(<!-- end -->)", re.S)
        text = pattern.sub(lambda m, content=content: f"{m[1]}\n{content}\n\n{m[2]}", text)
    page.write_text(text)


def write(meta, rows, options):
    results = Results(rows)
    made = tables(meta, results, options)
    out = Path(options.out)
    text = "\n\n".join(f"## {name}\n\n{content}" for name, content in made.items())
    (out / "tables.md").write_text(f"# bpqp beside other libraries\n\n{text}\n")
    if options.page:
        fill(options.page, made)
    try:
        folder = options.pictures or out
        folder.mkdir(parents=True, exist_ok=True)
        plots(results, options, folder)
    except ImportError:
        print("no plots: matplotlib is not installed")
    print(text)
    print(f"\n{out / 'tables.md'}")
