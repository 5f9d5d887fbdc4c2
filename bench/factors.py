"""What efficiency and accuracy depend on: one thing varied at a time.

On 100 variables, 20 equalities and 50 inequalities:

condition   of P, 1 to 1e12: a random orthogonal basis, eigenvalues in geometric steps
share       of inequalities that are active, 0 to 1
tolerance   eps_abs = eps_rel of the forward pass, with and without the polish, and the paper's method
warm        distance of the problem that the warm start is from, relative to q
solver      every forward solver on one problem of each family
"""

from __future__ import annotations

import bpqp
import instances
import numpy as np
import reference
from clock import repeat, timed
from peers.osqp_twice import Twice
from peers.ours import arguments

SOLVERS = ("auto", "interior_point", "active_set", "admm", "clarabel")
QUIET = {"on_failure": "zero_grad", "on_untrusted": "ignore", "threads": 1}
N, EQUALITIES, INEQUALITIES, DRAWS = 100, 20, 50, 3


def problem(draw, **what):
    rng = instances.generator("factors", draw)
    p = instances.half_active(rng, N, EQUALITIES, **({"condition": 1e3} | what))
    # a solution of moderate size, whatever the condition is
    p = instances.replace(p, q=-p.P @ rng.standard_normal(N))
    # more inequalities than equalities, around the same point
    K = np.block([[p.P, p.A.T], [p.A, np.zeros((EQUALITIES,) * 2)]])
    x = np.linalg.solve(K, np.concatenate([-p.q, p.b]))[:N]
    G = rng.standard_normal((INEQUALITIES, N))
    s = G @ x
    inside = np.where(np.arange(INEQUALITIES) < what.get("share", 0.5) * INEQUALITIES, -1, 1)
    h = s + 0.1 * np.std(s) * inside * np.abs(rng.standard_normal(INEQUALITIES))
    return instances.replace(p, G=G, h=h, g=rng.standard_normal(N))


def point(problems, budget, solver="auto", warm=None, **settings):
    """Medians over the problems, and the worst errors."""
    given = [arguments(p) for p in problems]
    references = [reference.of(p) for p in problems]
    last = {}

    def once(k):
        i = k % len(problems)
        start = {} if warm is None else {"warm_start": warm[i]}

        def forward():
            last["s"] = bpqp.solve_qp(**given[i], solver=solver, **start, **QUIET, **settings)

        def backward():
            last["g"] = last["s"].vjp(x=problems[i].g, wrt=("q",)).q

        return timed(forward, backward)

    errors, seen = [], []
    for i, p in enumerate(problems):
        once(i)
        found = last["s"]
        errors.append(reference.errors(p, references[i], found.x, {"q": last["g"]}, "q"))
        seen.append((int(found.info.iterations), str(found.status), str(found.verdict)))
    x, gradient = np.nan_to_num(np.array(errors), nan=np.inf).max(axis=0)
    times = repeat(once, budget)
    made = {
        "forward": times["parts"][0][1],
        "backward": times["parts"][1][1],
        "x_error": float(x),
        "error": float(gradient),
    }
    made |= {"iterations": float(np.mean([s[0] for s in seen])), "status": seen[0][1], "verdict": seen[0][2]}
    return made | {"active": float(np.mean([r["active"] for r in references])), "solver": solver}


def condition(budget):
    for value in np.geomspace(1, 1e12, 7):
        problems = [problem(k, condition=value) for k in range(DRAWS)]
        for solver in SOLVERS[:4]:
            yield {"at": value} | point(problems, budget, solver)


def share(budget):
    for value in np.linspace(0, 1, 6):
        problems = [problem(k, share=value) for k in range(DRAWS)]
        for solver in SOLVERS[:4]:
            yield {"at": value} | point(problems, budget, solver)


def tolerance(budget):
    problems = [problem(k) for k in range(DRAWS)]
    references = [reference.of(p) for p in problems]
    for value in np.geomspace(1e-2, 1e-10, 9):
        for solver in ("interior_point", "admm"):
            for polish in (True, False):
                limit = {"max_iter": 100000} if solver == "admm" else {}
                made = point(problems, budget, solver, eps_abs=value, eps_rel=value, polish=polish, **limit)
                yield {"at": value, "polish": polish} | made
        if value < 1e-9:
            continue
        peer, errors = Twice(eps_abs=value, eps_rel=value, max_iter=100000), []
        try:
            for p, r in zip(problems, references, strict=True):
                peer.prepare(p, "q")
                peer.load(p)
                peer.forward()
                peer.backward(p.g)
                errors.append(reference.errors(p, r, peer.x(), peer.grads(), "q"))
        except ArithmeticError:
            continue

        def once(k, peer=peer):
            peer.load(problems[k % DRAWS])
            return timed(peer.forward, lambda: peer.backward(problems[k % DRAWS].g))

        times = repeat(once, budget)
        x, gradient = np.array(errors).max(axis=0)
        made = {"forward": times["parts"][0][1], "backward": times["parts"][1][1], "x_error": x, "error": gradient}
        yield {"at": value, "polish": False, "solver": "osqp twice"} | made


def warm(budget):
    problems = [problem(k) for k in range(DRAWS)]
    rng = np.random.default_rng(5)
    moves = [rng.standard_normal(N) for _ in problems]
    for value in np.geomspace(1e-6, 1, 7):
        for solver in SOLVERS[:4]:
            near = [
                instances.replace(p, q=p.q + value * np.linalg.norm(p.q) / np.linalg.norm(m) * m)
                for p, m in zip(problems, moves, strict=True)
            ]
            starts = [bpqp.solve_qp(**arguments(p), solver=solver, **QUIET) for p in near]
            cold = point(problems, budget, solver)
            yield {"at": value, "cold": cold["forward"]} | point(problems, budget, solver, starts)


def solver(budget):
    for name in ("half-100x20", "lp-100x20", "portfolio-100", "mpc-20", "proj-1000"):
        problems = [instances.make(name, k) for k in range(DRAWS)]
        for kind in SOLVERS:
            yield {"at": name} | point(problems, budget, kind)


def measure(name, budget):
    points = list(
        {"condition": condition, "share": share, "tolerance": tolerance, "warm": warm, "solver": solver}[name](
            budget / 4
        )
    )
    return {"status": "ok", "points": points}
