"""One peer in its own process: jobs as lines of JSON in, results as lines of JSON out."""

import json
import os
import sys
import traceback
import warnings
from pathlib import Path

# what libraries print goes to stderr
OUT = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
from clock import repeat, timed  # noqa: E402


def say(value):
    print(json.dumps(value), file=OUT)


def path_of(folder, job, k):
    group = "same" if job["mode"] == "same" else "new"
    return Path(folder) / f"{job['instance']}-{group}-{k}.npz"


def collected(job):
    return Path(job["references"]) / f"{job['family']}-{job['instance']}.npz"


def refer(job):
    """References of an instance, kept in files."""
    import instances
    import reference

    found = []
    for k, p in enumerate(instances.draws(job["instance"], job["mode"], job["draws"])):
        file = path_of(job["references"], job, k)
        if not file.is_file():
            made = reference.of(p)
            with file.with_suffix(".new").open("wb") as out:
                np.savez(out, **made)
            file.with_suffix(".new").rename(file)
        with np.load(file) as r:
            found.append([float(r[key]) for key in ("margin", "residual", "active")])
    margin, residual, active = np.array(found).T
    return {"status": "ok", "margin": margin.min(), "residual": residual.max(), "active": active.mean()}


def run_case(peer, job):
    import instances
    import reference

    problems = instances.draws(job["instance"], job["mode"], job["draws"])
    peer.supports(problems[0], job["mode"])
    peer.prepare(problems[0], job["mode"])
    errors = {}

    def once(k):
        i = k % len(problems)
        p = problems[i]
        peer.load(p)
        times = timed(peer.forward, lambda: peer.backward(p.g))
        if i not in errors:
            with np.load(path_of(job["references"], job, i)) as r:
                errors[i] = reference.errors(p, r, peer.x(), peer.grads(), job["mode"])
        return times

    for k in range(len(problems)):
        once(k)
    result = repeat(once, job["budget"])
    x, gradient = np.array(list(errors.values())).max(axis=0)
    p = problems[0]
    nonzeros = sum(getattr(M, "nnz", 0) for M in (p.P, p.A, getattr(p, "G", None))) or None
    return result | {"status": "ok", "x_error": x, "error": gradient, "n": p.n, "batch": p.batch, "nnz": nonzeros}


def main():
    role, name = sys.argv[1:3]
    if role == "peer":
        import peers

        peer = peers.get(name)
        from peers.base import Skip

        def run(job):
            try:
                return run_case(peer, job)
            except Skip as reason:
                return {"status": "skip", "error": str(reason)}

    elif role == "layer":
        import layers

        run = lambda job: layers.measure(name, job["instance"], job["budget"], job["references"])  # noqa: E731
    elif role == "solver":
        import collection

        run = lambda job: collection.measure(name, job["folder"], job["instance"], job["budget"])  # noqa: E731
    elif role == "both":
        import collection

        def run(job):
            return collection.both(name, job["folder"], job["instance"], job["budget"], collected(job))

    elif role == "collected":
        import collection

        def run(job):
            file = collected(job)
            if not file.is_file():
                collection.refer(job["folder"], job["instance"], file)
            with np.load(file) as found:
                return {"status": "ok", "gradient": "dx" in found}

    elif role == "factor":
        import factors

        run = lambda job: factors.measure(job["instance"], job["budget"])  # noqa: E731
    else:
        run = refer
    say({"status": "ready"})
    for line in sys.stdin:
        try:
            result = run(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            result = {"status": "failed", "error": f"{type(error).__name__}: {str(error)[:200]}"}
        say(result | {"load": os.getloadavg()[0]})


try:
    main()
except Exception as error:
    say({"status": "absent", "error": f"{type(error).__name__}: {str(error)[:200]}"})
