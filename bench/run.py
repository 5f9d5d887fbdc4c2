"""bpqp beside other libraries: one command, one machine, one run.

    bench/run.sh                              makes an environment (target/bench/env) with every peer, runs this in it
    python bench/run.py                       in an environment of one's own; peers that are not installed are left out
    python bench/run.py --quick               small sizes, some minutes
    python bench/run.py --families half,mpc --peers bpqp,piqp+
    python bench/run.py --report              tables and plots again, from what was measured

Every peer is a process of its own with one thread; for each instance the peers take turns. Times are medians of
repeated calls, of process CPU time (`cpu`) and of the clock (`wall`); set-up, conversion and both passes count. What
is wrong beside a reference that no peer has a part in (reference.py) by more than 1e-4 is marked `!` and takes no
rank. `--out` gets results.jsonl, a line for each measurement as it comes: the same command goes on where it was
stopped. Then tables.md and the plots.

Families: paper half large lp portfolio batch tiny mpc projection boyd cones (instances.py), layers (CVXPY layers,
layers.py), maros netlib (solving alone, and both passes, from the folders --maros and --netlib, collection.py), factors
(what time and accuracy depend on, factors.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ONE = ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMEXPR", "VECLIB")
ENVIRONMENT = {f"{name}_NUM_THREADS": "1" for name in ONE} | {"VECLIB_MAXIMUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
PACKAGES = [
    "bpqp",
    "numpy",
    "scipy",
    "torch",
    "cvxpy",
    "cvxpylayers",
    "diffcp",
    "scs",
    "clarabel",
    "daqp",
    "proxsuite",
    "piqp",
    "osqp",
    "qpth",
    "moreau",
    "highspy",
]
# what is made for others, whoever was measured before
REFERENCES = ("reference", "collected")
COLLECTIONS = {"maros": "maros_meszaros", "netlib": "netlib_lp"}


class Worker:
    def __init__(self, role, name, log):
        # compiled modules are kept: some packages take half a minute to compile
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | ENVIRONMENT
        command = [sys.executable, str(HERE / "worker.py"), role, name]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=HERE
        )
        self.left = b""

    def read(self, seconds):
        end = time.monotonic() + seconds
        while b"\n" not in self.left:
            rest = end - time.monotonic()
            if rest <= 0:
                return {"status": "timeout", "error": f"over {seconds:.0f} s"}
            if select.select([self.process.stdout], [], [], rest)[0]:
                part = os.read(self.process.stdout.fileno(), 1 << 16)
                if not part:
                    return {"status": "crash", "error": f"the process ended with {self.process.wait()}"}
                self.left += part
        line, self.left = self.left.split(b"\n", 1)
        return json.loads(line)

    def ask(self, job, seconds):
        try:
            self.process.stdin.write((json.dumps(job) + "\n").encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            return {"status": "crash", "error": "the process has ended"}
        return self.read(seconds)

    def end(self):
        self.process.kill()
        self.process.wait()


def command(*words):
    try:
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def describe(options):
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    cpu = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    changed = (
        "-changed" if command("git", "status", "--porcelain", "--untracked-files=no", "--", "crates", "python") else ""
    )
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "machine": f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "commit": command("git", "rev-parse", "--short=10", "HEAD") + changed,
        # what was measured, whatever was written about it since
        "code": command("git", "rev-parse", "HEAD:crates", "HEAD:python") + changed,
        "options": {"budget": options.budget, "limit": options.limit, "draws": options.draws},
        "load": os.getloadavg()[0],
    }


def plan(options):
    """(family, role, peer, job) of everything that is asked for."""
    sys.path.insert(0, str(HERE))
    import collection
    import instances
    import peers

    level = 1 if options.quick else 3 if options.full else 2
    families = options.families.split(",") if options.families else None
    wanted = options.peers.split(",") if options.peers else None
    take = lambda parts: [name for part in parts[:level] for name in part]  # noqa: E731
    chosen = lambda family: families is None or family in families  # noqa: E731
    asked = lambda name: wanted is None or name in wanted  # noqa: E731
    known = [*instances.FAMILIES, "layers", *COLLECTIONS, "factors"]
    if strange := set(families or []) - set(known):
        raise SystemExit(f"no family {', '.join(sorted(strange))}: there are {', '.join(known)}")
    if strange := set(wanted or []) - set([*peers.NAMES, *peers.LAYERS, *peers.SOLVERS, "highs+"]):
        raise SystemExit(f"no peer {', '.join(sorted(strange))}: see bench/peers/__init__.py")
    for family, parts in instances.FAMILIES.items():
        for name in take(parts) if chosen(family) else []:
            modes = (
                ["q"] + ["same"] * (name in instances.SAME) + ["all"] * (options.full and family in ("half", "batch"))
            )
            for mode in modes:
                job = {"instance": name, "mode": mode, "draws": options.draws}
                yield family, "reference", "-", job
                for peer in filter(asked, peers.NAMES):
                    # their modes are known without loading them
                    if mode != "same" or peer.startswith("bpqp"):
                        yield family, "peer", peer, job
    for name in take(instances.LAYERS) if chosen("layers") else []:
        for layer in filter(asked, peers.LAYERS):
            yield "layers", "layer", layer, {"instance": name, "mode": "all"}
    for name in take(instances.FACTORS) if chosen("factors") and (wanted is None or "bpqp" in wanted) else []:
        yield "factors", "factor", "-", {"instance": name, "mode": "-"}
    for family in filter(chosen, COLLECTIONS):
        folder = getattr(options, family)
        if not folder.is_dir():
            print(f"{family} is left out: there is no folder {folder}; name one with --{family}", file=sys.stderr)
            continue
        optima = collection.known(folder)
        for name in collection.names(folder, options.most or (12 if options.quick else None)):
            job = {"instance": name, "mode": "solve", "folder": str(folder)}
            for solver in filter(asked, peers.SOLVERS):
                if solver in collection.BUILD and (solver != "highs" or family == "netlib"):
                    yield family, "solver", solver, job
            if optima.get(name, 0.0) is None:
                continue
            job = job | {"mode": "both", "family": family}
            yield family, "collected", "-", job
            for peer in filter(asked, [*peers.BOTH, *(["highs+"] if family == "netlib" else [])]):
                yield family, "both", peer, job


def progress(total):
    try:
        from tqdm import tqdm

        bar = tqdm(total=total, file=sys.stderr, dynamic_ncols=True, smoothing=0.1)
        return bar.set_description, bar.update, bar.close
    except ImportError:
        done = [0]

        def say(text):
            print(f"{done[0]}/{total} {text}", file=sys.stderr, flush=True)

        def update():
            done[0] += 1

        return say, update, lambda: None


def measure(options, file, rows):
    todo = [
        (f, r, p, j) for f, r, p, j in plan(options) if (f, p, j["instance"], j["mode"]) not in rows or r in REFERENCES
    ]
    say, update, close = progress(len(todo))
    workers, absent, slow = {}, {}, {}
    references = options.out / "references"
    references.mkdir(exist_ok=True)
    with (options.out / "log.txt").open("ab") as log:
        for family, role, peer, job in todo:
            key = (family, peer, job["instance"], job["mode"])
            say(f"{family} {job['instance']} {job['mode']} {'' if peer == '-' else peer}")
            update()
            if (role, peer) in absent:
                continue
            row = {"family": family, "peer": peer, "instance": job["instance"], "mode": job["mode"]}
            kind = job["instance"].partition("-")[0]
            if (role, peer, kind) in slow and family not in COLLECTIONS:
                row |= {"status": "skip", "error": f"{slow[role, peer, kind]} took too long"}
            else:
                if (role, peer) not in workers:
                    workers[role, peer] = Worker(role, peer, log)
                    first = workers[role, peer].read(300)
                    if first["status"] != "ready":
                        absent[role, peer] = first["error"]
                        workers.pop((role, peer)).end()
                        continue
                start = time.monotonic()
                limit = 600 if role in (*REFERENCES, "factor") else options.limit
                answer = workers[role, peer].ask(job | {"references": str(references), "budget": options.budget}, limit)
                row |= answer | {"took": round(time.monotonic() - start, 2)}
                if answer["status"] in ("timeout", "crash"):
                    workers.pop((role, peer)).end()
                    slow[role, peer, kind] = job["instance"]
            if role not in REFERENCES or key not in rows:
                rows[key] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
    close()
    for worker in workers.values():
        worker.end()
    for (role, peer), reason in absent.items():
        print(f"left out: {peer} ({role}): {reason}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sizes")
    size.add_argument("--full", action="store_true", help="the largest sizes and every gradient too")
    parser.add_argument("--families", help="names separated by commas; all of them without")
    parser.add_argument("--peers", help="names separated by commas (bench/peers/__init__.py)")
    parser.add_argument("--out", type=Path, default=ROOT / "target" / "bench" / "results")
    parser.add_argument("--budget", type=float, default=0.3, help="seconds of repeated calls for a number")
    parser.add_argument("--limit", type=float, default=20, help="seconds after which a peer is stopped")
    parser.add_argument("--draws", type=int, default=3, help="different problems that a case goes through")
    parser.add_argument("--most", type=int, help="problems of a collection at most, the smallest ones")
    data = ROOT.parent / "shared" / "data"
    for family, folder in COLLECTIONS.items():
        parser.add_argument(f"--{family}", type=Path, default=data / folder, help=f"folder of {folder}")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument(
        "--page", type=Path, help="a Markdown page whose parts between <!-- bench:NAME --> and <!-- end --> are tables"
    )
    parser.add_argument("--pictures", type=Path, help="folder of the plots, instead of --out")
    options = parser.parse_args()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.jsonl"
    if options.fresh:
        for old in [results, *(options.out / "references").glob("*.*")]:
            old.unlink(missing_ok=True)
    meta, rows, text = describe(options), {}, results.read_text() if results.is_file() else ""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut off when it was stopped
        if "meta" in row:
            before = row["meta"]
            if not options.report and any(before[k] != meta[k] for k in ("code", "versions", "machine", "options")):
                raise SystemExit(
                    f"{results} is of another build, machine or option ({before['commit']}): --fresh, or another --out"
                )
            meta = before
        else:
            rows[row["family"], row["peer"], row["instance"], row["mode"]] = row
    if not options.report:
        with results.open("a") as file:
            if text and not text.endswith("\n"):
                file.write("\n")
            if not rows:
                file.write(json.dumps({"meta": meta}) + "\n")
            measure(options, file, rows)
    import report

    report.write(meta, list(rows.values()), options)


if __name__ == "__main__":
    main()
