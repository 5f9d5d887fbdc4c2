"""Collections of problems from files, Maros-Meszaros and Netlib: solving alone, and both passes.

A collection is a folder of `.npz` files (P_data, P_indices, P_indptr, q, A_.., l, u: min 1/2 x'P x + q'x, l <= A x <=
u, the last n rows of A the identity; or A_.., b, c, lo, hi: min c'x, A x = b, lo <= x <= hi) or of MPS and QPS files,
with `index.csv` (name, objective, kind or status) where optima are known. Right is a point whose rows and bounds hold
to 1e-6 of the terms of the row and whose objective is the known optimum to 1e-4 (where none is known: not above that
of the best that is feasible), and for an infeasible problem the word that it is. Every solver is asked for 1e-8 (OSQP
for 1e-6, which is what is checked).

Both passes are the gradient of `cos(i)'x` by q, of the problems that have an optimum. It is judged, too, where
reference.py finds an active set that is strictly complementary and regular; elsewhere there are several.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from clock import repeat, timed

FEASIBLE, OPTIMAL, GRADIENT, INFINITE = 1e-6, 1e-4, 1e-4, 1e19
# not convex; a solver may say so
LEFT_OUT = {"VALUES"}


def names(folder, most=None):
    files = [f for f in sorted(Path(folder).iterdir()) if f.suffix.lower() in (".npz", ".mps", ".qps", ".sif")]
    return [f.stem for f in sorted(files, key=lambda f: (f.stat().st_size, f.name)) if f.stem not in LEFT_OUT][:most]


def load(folder, name):
    """P, q, C, l, u, lb, ub with l <= C x <= u, and the constant of the objective."""
    file = next(f for f in Path(folder).iterdir() if f.stem == name and f.suffix != ".csv")
    if file.suffix.lower() != ".npz":
        import bpqp

        p = bpqp.read_qps(file)
        n = len(p["q"])
        P = sp.csc_matrix(p.get("P") if p.get("P") is not None else (n, n))
        blocks = [sp.csc_matrix(p[k]) if p.get(k) is not None else sp.csc_matrix((0, n)) for k in ("A", "G")]
        b, h = (np.zeros(0) if p.get(k) is None else p[k] for k in ("b", "h"))
        lb, ub = (np.full(n, v) if p.get(k) is None else p[k] for k, v in (("lb", -np.inf), ("ub", np.inf)))
        return (
            P,
            p["q"],
            sp.vstack(blocks, format="csc"),
            np.r_[b, np.full(len(h), -np.inf)],
            np.r_[b, h],
            lb,
            ub,
            p.constant,
        )
    d = np.load(file)
    matrix = lambda k, shape: sp.csc_matrix((d[f"{k}_data"], d[f"{k}_indices"], d[f"{k}_indptr"]), shape=shape)  # noqa: E731
    if "c" in d:
        n = len(d["c"])
        return sp.csc_matrix((n, n)), d["c"], matrix("A", tuple(d["A_shape"])), d["b"], d["b"], d["lo"], d["hi"], 0.0
    n, rows = int(d["n"][0]), len(d["l"])
    A, m, constant = matrix("A", (rows, n)), rows - n, float(d["r"][0]) if "r" in d else 0.0
    if (A[m:] - sp.eye(n)).nnz:
        return matrix("P", (n, n)), d["q"], A, d["l"], d["u"], np.full(n, -np.inf), np.full(n, np.inf), constant
    return matrix("P", (n, n)), d["q"], sp.csc_matrix(A[:m]), d["l"][:m], d["u"][:m], d["l"][m:], d["u"][m:], constant


def known(folder):
    """The optimum by name; None for an infeasible problem."""
    index = Path(folder) / "index.csv"
    if not index.is_file():
        return {}
    with index.open() as file:
        rows = list(csv.DictReader(file))
    return {r["name"]: None if r.get("kind") == "infeasible" else float(r["objective"]) for r in rows}


def bpqp_of(P, q, C, l, u, lb, ub):
    import bpqp

    same = l == u
    up, low = ~same & np.isfinite(u), ~same & np.isfinite(l)
    rows = C.tocsr()
    G, h = sp.csc_matrix(sp.vstack([rows[up], -rows[low]])), np.concatenate([u[up], -l[low]])
    A, b = sp.csc_matrix(rows[same]), u[same]
    given = {"P": P if P.nnz else None, "q": q, "lb": lb, "ub": ub}
    given |= {"A": A, "b": b} if same.any() else {}
    given |= {"G": G, "h": h} if len(h) else {}

    def run():
        found = bpqp.solve_qp(**given, on_failure="zero_grad", threads=1)
        return found.x, str(found.status)

    return run


def piqp_of(P, q, C, l, u, lb, ub):
    import piqp

    same = l == u
    rows = C.tocsr()
    A, G = sp.csc_matrix(rows[same]), sp.csc_matrix(rows[~same])

    def run():
        s = piqp.SparseSolver()
        s.settings.max_iter = 500
        s.settings.eps_abs = s.settings.eps_rel = 1e-8
        box = (np.maximum(lb, -1e30), np.minimum(ub, 1e30))
        ends = (l[~same], u[~same]) if G.shape[0] else (None, None)
        s.setup(P, q, A, u[same], G if G.shape[0] else None, *ends, *box)
        return (status := s.solve()) and (np.array(s.result.x), str(status).rsplit(".", 1)[-1])

    return run


def clarabel_of(P, q, C, l, u, lb, ub):
    import clarabel

    same = l == u
    up, low = ~same & np.isfinite(u), ~same & np.isfinite(l)
    rows, eye = C.tocsr(), sp.eye(len(q), format="csr")
    above, below = np.isfinite(ub), np.isfinite(lb)
    A = sp.vstack([rows[same], rows[up], -rows[low], eye[above], -eye[below]], format="csc")
    b = np.concatenate([u[same], u[up], -l[low], ub[above], -lb[below]])
    cones = [clarabel.ZeroConeT(int(same.sum())), clarabel.NonnegativeConeT(len(b) - int(same.sum()))]
    upper = sp.triu(P, format="csc")

    def run():
        s = clarabel.DefaultSettings()
        s.verbose, s.max_threads = False, 1
        found = clarabel.DefaultSolver(upper, q, A, b, cones, s).solve()
        return np.array(found.x), str(found.status)

    return run


def proxqp_of(P, q, C, l, u, lb, ub):
    import proxsuite

    same = l == u
    rows = C.tocsr()
    A = sp.csc_matrix(rows[same])
    bound = np.isfinite(lb) | np.isfinite(ub)
    G = sp.vstack([rows[~same], sp.eye(len(q), format="csr")[bound]], format="csc")
    low, up = np.r_[l[~same], lb[bound]], np.r_[u[~same], ub[bound]]

    def run():
        s = proxsuite.proxqp.sparse.QP(len(q), A.shape[0], G.shape[0])
        s.settings.eps_abs, s.settings.eps_rel = 1e-8, 1e-8
        s.init(P, q, A, u[same], G, np.maximum(low, -1e20), np.minimum(up, 1e20))
        s.solve()
        return np.array(s.results.x), str(s.results.info.status).rsplit(".", 1)[-1]

    return run


def osqp_of(P, q, C, l, u, lb, ub):
    import osqp

    A, low, up = sp.vstack([C, sp.eye(len(q))], format="csc"), np.r_[l, lb], np.r_[u, ub]
    upper = sp.triu(P, format="csc")

    def run():
        s = osqp.OSQP()
        s.setup(upper, q, A, low, up, verbose=False, eps_abs=1e-6, eps_rel=1e-6, max_iter=1_000_000, polishing=True)
        found = s.solve()
        return np.array(found.x), found.info.status

    return run


def highs_of(P, q, C, l, u, lb, ub):
    import highspy

    n, m = len(q), C.shape[0]

    def run():
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = n, m
        lp.col_cost_, lp.col_lower_, lp.col_upper_, lp.row_lower_, lp.row_upper_ = q, lb, ub, l, u
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = C.indptr, C.indices, C.data
        s = highspy.Highs()
        s.setOptionValue("output_flag", False)
        s.setOptionValue("threads", 1)
        s.passModel(lp)
        s.run()
        return np.array(s.getSolution().col_value), s.modelStatusToString(s.getModelStatus())

    return run


BUILD = {
    "bpqp": bpqp_of,
    "piqp": piqp_of,
    "clarabel": clarabel_of,
    "proxqp": proxqp_of,
    "osqp": osqp_of,
    "highs": highs_of,
}


# below this the reference says nothing: which multipliers vanish is not told
MARGIN, RESIDUAL = 1e-9, 1e-12


def problem_of(P, q, C, l, u, lb, ub):
    """The same as peers take it."""
    from instances import Qp

    same = l == u
    up, low = ~same & np.isfinite(u), ~same & np.isfinite(l)
    rows = C.tocsr()
    G = sp.vstack([rows[up], -rows[low]], format="csc")
    g = np.cos(np.arange(1.0, len(q) + 1))
    return Qp(P, q, sp.csc_matrix(rows[same]), u[same], G, np.r_[u[up], -l[low]], g, lb, ub)


def refer(folder, name, file):
    """The reference of a gradient into a file; an empty one where there is none."""
    import reference

    *data, _ = load(folder, name)
    try:
        found = reference.quadratic(problem_of(*data))
        if found["margin"] < MARGIN or found["residual"] > RESIDUAL:
            found = {}
    except (ArithmeticError, RuntimeError):
        found = {}
    with file.with_suffix(".new").open("wb") as out:
        np.savez(out, **found)
    file.with_suffix(".new").rename(file)


class Ours:
    """bpqp, which answers in place of raising an error."""

    def load(self, problem):
        from peers.ours import arguments

        given = arguments(problem)
        self.given = given if problem.P.nnz else given | {"P": None}

    def forward(self):
        import bpqp

        self.found = bpqp.solve_qp(**self.given, on_failure="zero_grad", threads=1)

    def backward(self, g):
        self.out = {"q": self.found.vjp(x=g, wrt=("q",)).q}

    def x(self):
        return self.found.x

    def grads(self):
        return self.out


def both(name, folder, instance, budget, file):
    """Both passes of one problem that has an optimum."""
    import peers

    *data, constant = load(folder, instance)
    p = problem_of(*data)
    peer = Ours() if name == "bpqp" else peers.get(name)
    if name != "bpqp":
        peer.tolerance = 1e-8
        peer.prepare(p, "q")
    peer.load(p)

    def once(_):
        return timed(peer.forward, lambda: peer.backward(p.g))

    first = once(0)
    result = (
        repeat(once, budget, least=1, most=20)
        if sum(part[0] for part in first) < 3 * budget
        else {"cpu": sum(part[1] for part in first), "parts": first, "calls": 1}
    )
    result |= {"status": "ok", "said": "", "n": p.n, "nnz": int(p.P.nnz + data[2].nnz), "infeasible": False}
    known = np.load(file) if file.is_file() else {}
    if "dx" in known:
        # at a vertex the gradient is zero
        dx, least = known["dx"], 1e-6 * max(1, np.abs(known["x"]).max(initial=0))
        off = float(np.abs(np.asarray(peer.grads()["q"]) - dx).max(initial=0) / max(np.abs(dx).max(initial=0), least))
        result["error"] = off if np.isfinite(off) else 1e300
        if result["error"] > GRADIENT:
            result["said"] = f"gradient off by {off:.0e}"
    return result | judged(peer.x(), *data, constant)


def measure(solver, folder, name, budget):
    *data, constant = load(folder, name)
    P, q, C = data[:3]
    if solver == "highs" and P.nnz:
        return {"status": "skip", "error": "linear programs only"}
    run, last = BUILD[solver](*data), {}

    def once(_):
        return timed(lambda: last.update(zip(("x", "status"), run(), strict=True)))

    first = once(0)
    # what takes far longer than the budget is measured once; of the rest the first call, with cold code, does not count
    seconds = first[0][0]
    result = (
        repeat(once, budget, least=1, most=20)
        if seconds < 3 * budget
        else {"wall": first[0][0], "cpu": first[0][1], "calls": 1}
    )
    x, status = last["x"], last["status"]
    result |= {"status": "ok", "said": status, "n": len(q), "nnz": int(P.nnz + C.nnz)}
    said = status.lower().replace("_", "").replace(" ", "")
    result["infeasible"] = "infeasible" in said and "dual" not in said
    return result | judged(x, *data, constant)


def judged(x, P, q, C, l, u, lb, ub, constant):
    """What a point is off by, and its objective."""
    if len(x) != len(q) or not np.isfinite(x).all():
        return {}
    size = np.maximum(1, abs(C) @ np.abs(x))
    r = C @ x
    rows = np.maximum(np.maximum(r - u, l - r), 0) / np.maximum(size, np.where(np.isfinite(u), np.abs(u), 0))
    box = np.maximum(np.maximum(x - ub, lb - x), 0) / np.maximum(1, np.abs(x))
    violation = float(max(rows.max(initial=0), box.max(initial=0)))
    return {"violation": violation, "objective": float(0.5 * x @ (P @ x) + q @ x) + constant}


def right(row, optimum, best):
    """`optimum`: a number, None (infeasible) or "unknown"; `best` of all peers' feasible objectives."""
    if row.get("status") != "ok":
        return False
    if optimum is None:
        return row["infeasible"]
    target = best if optimum == "unknown" else optimum
    if row.get("violation", np.inf) > FEASIBLE or target is None or row["infeasible"]:
        return False
    if row.get("error", 0) > GRADIENT:
        return False
    return abs(row["objective"] - target) <= OPTIMAL * max(1, abs(target))
