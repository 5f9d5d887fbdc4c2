"""Seeded problems: nothing is read from a file.

    min 1/2 x'P x + q'x   s.t.   A x = b,  G x <= h,  lb <= x <= ub            Qp
    min 1/2 x'P x + q'x   s.t.   A x + s = b,  s in K                          Conic

`g` is the gradient of the loss by x. Arrays of a batch have a batch dimension first. `make(name, draw)` is a problem
with numbers of its own, `make(name, draw, base)` the problem `base` with other vectors and the matrices that it had.

qp-NxM        the paper's: N variables, M equalities and M inequalities, entries uniform in (0, 1), P = B'B + 1e-6 I.
              Hardly any inequality is active, so this is little more than an equality-constrained problem.
half-NxM      the same with h around the equality-constrained optimum: about half of the inequalities are active
lp-NxM        the paper's linear programs with 1e-6 |x|^2
portfolio-N   long-only mean-variance, ten factors, P as a dense matrix, x >= 0 as bounds
factored-N    the same with P = diag(d) + F F' given as such (to those who lack that form as variables y = F'x: sparse)
batchN-B      B dense problems, N variables and N inequalities
tiny-N        4 variables, 11 inequalities: a robot's safety filter
mpc-T         banded optimal control, T steps, 8 states, 4 inputs, limits as bounds; mpcrows-T: the limits as rows
proj-N        projection on {x >= 0, A x = b}, five entries a row, N/5 rows
boyd-N        P diagonal, 18 rows with N/20 entries each, bounds
socp-N        a linear objective over a ball, the paper's; socpbatch-B: B of them with N = 10
robust-N      a linear objective over a ball and five ellipsoids
sdp-N         a linear objective over the correlation matrices of order N
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class Qp:
    P: Any
    q: Any
    A: Any
    b: Any
    G: Any
    h: Any
    g: Any
    lb: Any = None
    ub: Any = None
    batch: int | None = None
    factor: Any = None  # (d, F)
    lifted: Any = None  # the same problem for those who cannot use the factor
    kind = "qp"

    @property
    def n(self):
        return self.q.shape[-1]

    @property
    def sparse(self):
        return sp.issparse(self.P)

    def element(self, k):
        cut = {name: getattr(self, name)[k] for name in "PqAbGhg"}
        return replace(self, batch=None, **cut)


@dataclass(frozen=True)
class Conic:
    P: Any
    q: Any  # (n,) or (batch, n)
    A: Any
    b: Any
    cones: Any
    g: Any
    kind = "conic"

    @property
    def n(self):
        return self.q.shape[-1]

    @property
    def batch(self):
        return self.q.shape[0] if self.q.ndim == 2 else None


def generator(name, draw):
    # not hash(): it differs between processes
    return np.random.default_rng([zlib.crc32(name.encode()), draw])


def paper_qp(rng, n, m, base=None):
    if base is not None:
        return replace(base, q=rng.random(n))
    B = rng.random((n, n))
    P = B.T @ B + 1e-6 * np.eye(n)
    q, A, b, G = rng.random(n), rng.random((m, n)), rng.random(m), rng.random((m, n))
    return Qp(P, q, A, b, G, G @ rng.random(n), np.ones(n))


def half_active(rng, n, m, base=None, share=0.5, condition=None):
    """`share` of the inequalities lies inside of the equality-constrained optimum; `condition` is that of P."""
    if base is not None:
        return replace(base, q=base.q + 0.1 * (rng.random(n) - 0.5))
    p = paper_qp(rng, n, m)
    if condition is not None:
        Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
        P = (Q * np.geomspace(1, 1 / condition, n)) @ Q.T
        p = replace(p, P=(P + P.T) / 2)
    K = np.block([[p.P, p.A.T], [p.A, np.zeros((m, m))]])
    x = np.linalg.solve(K, np.concatenate([-p.q, p.b]))[:n]
    G = rng.standard_normal((m, n))
    s = G @ x
    inside = np.where(rng.permutation(m) < share * m, -1, 1)
    return replace(p, G=G, h=s + 0.1 * np.std(s) * inside * np.abs(rng.standard_normal(m)))


def lp(rng, n, m, base=None, eps=1e-6):
    if base is not None:
        # the support of the multipliers stays: the program stays bounded
        held = np.linalg.lstsq(-base.G.T, base.q, rcond=None)[0] > 1e-9
        return replace(base, q=base.q - base.G.T @ (held * rng.random(m)))
    s, x, G, A = rng.standard_normal(m), rng.random(n), rng.random((m, n)), rng.random((m, n))
    q = -G.T @ np.maximum(-s, 0)
    return Qp(2 * eps * np.eye(n), q, A, A @ x, G, G @ x + np.maximum(s, 0), np.ones(n))


def portfolio(rng, n, base=None, factored=False, risk=10.0):
    q, g = -0.02 * rng.standard_normal(n), rng.standard_normal(n)
    if base is not None:
        made = replace(base, q=q, g=g)
    else:
        F = 0.05 * rng.standard_normal((n, 10))
        F[:, 0] += 0.15
        d, F = risk * rng.uniform(0.02, 0.12, n) ** 2, np.sqrt(risk) * F
        made = Qp(np.diag(d) + F @ F.T, q, np.ones((1, n)), np.ones(1), np.zeros((0, n)), np.zeros(0), g, np.zeros(n))
        made = replace(made, ub=np.full(n, np.inf), factor=(d, F) if factored else None)
    if not factored:
        return made
    d, F = made.factor
    k = F.shape[1]
    lifted = Qp(
        sp.csc_matrix(sp.diags(np.concatenate([d, np.ones(k)]))),
        np.concatenate([q, np.zeros(k)]),
        sp.csc_matrix(sp.bmat([[np.ones((1, n)), None], [sp.csc_matrix(F.T), -sp.eye(k)]])),
        np.concatenate([np.ones(1), np.zeros(k)]),
        sp.csc_matrix((0, n + k)),
        np.zeros(0),
        np.concatenate([g, np.zeros(k)]),
        np.concatenate([np.zeros(n), np.full(k, -np.inf)]),
        np.full(n + k, np.inf),
    )
    return replace(made, lifted=lifted)


def batch(rng, n, size, base=None):
    q, g = rng.standard_normal((size, n)), rng.standard_normal((size, n))
    if base is not None:
        return replace(base, q=q, g=g)
    L = rng.random((size, n, n))
    P = L @ L.transpose(0, 2, 1) + 1e-3 * np.eye(n)
    G = rng.standard_normal((size, n, n))
    h = np.einsum("bij,bj->bi", G, rng.standard_normal((size, n))) + rng.random((size, n))
    return Qp(P, q, np.zeros((size, 0, n)), np.zeros((size, 0)), G, h, g, batch=size)


def tiny(rng, n, base=None):
    """The wanted input is far off; rows are half spaces around the origin."""
    q, g = -3 * rng.standard_normal(n), rng.standard_normal(n)
    if base is not None:
        return replace(base, q=q, g=g)
    root, G = rng.standard_normal((n, n)), rng.standard_normal((11, n))
    P = root @ root.T + np.eye(n)
    return Qp(P, q, np.zeros((0, n)), np.zeros(0), G, 0.2 + rng.random(11), g)


def mpc(rng, steps, base=None, rows=False, states=8, inputs=4):
    """Variables u_0, x_1, u_1, x_2, ..: everything is banded."""
    width = states + inputs
    q = np.concatenate([np.r_[np.zeros(inputs), -rng.standard_normal(states)] for _ in range(steps)])
    g = rng.standard_normal(steps * width)
    if base is not None:
        return replace(base, q=q, g=g)
    M = np.eye(states) + 0.1 * rng.standard_normal((states, states))
    M /= max(1.0, np.abs(np.linalg.eigvals(M)).max())
    B, start = 0.3 * rng.standard_normal((states, inputs)), rng.standard_normal(states)
    diagonal = np.tile(np.r_[np.full(inputs, 0.1), rng.uniform(0.5, 2.0, states)], steps)
    blocks = [[None] * (2 * steps) for _ in range(steps)]
    for t in range(steps):
        blocks[t][2 * t], blocks[t][2 * t + 1] = -B, np.eye(states)
        if t:
            blocks[t][2 * t - 1] = -M
    b = np.zeros(steps * states)
    b[:states] = M @ start
    limit = np.tile(np.r_[np.full(inputs, 0.5), np.full(states, 8.0)], steps)
    n = len(q)
    p = Qp(
        sp.csc_matrix(sp.diags(diagonal)), q, sp.bmat(blocks, format="csc"), b, sp.csc_matrix((0, n)), np.zeros(0), g
    )
    p = replace(p, lb=-limit, ub=limit)
    return as_rows(p) if rows else p


def projection(rng, n, base=None):
    point, g = rng.standard_normal(n), rng.standard_normal(n)
    if base is not None:
        return replace(base, q=-point, g=g)
    m, fixed = n // 5, generator(f"proj-{n}", 0)  # one pattern for each size
    columns = np.stack([min(max(0, 5 * i - 10), n - 25) + fixed.choice(25, 5, replace=False) for i in range(m)])
    A = sp.csc_matrix((rng.uniform(0.5, 1.5, 5 * m), (np.repeat(np.arange(m), 5), columns.ravel())), shape=(m, n))
    b = A @ (0.1 + np.abs(rng.standard_normal(n)))
    identity = sp.csc_matrix(sp.eye(n))
    return Qp(identity, -point, A, b, sp.csc_matrix((0, n)), np.zeros(0), g, np.zeros(n), np.full(n, np.inf))


def boyd(rng, n, base=None):
    q, g = rng.standard_normal(n), rng.standard_normal(n)
    if base is not None:
        return replace(base, q=q, g=g)
    A = sp.csc_matrix(sp.random(18, n, 0.05, random_state=rng, data_rvs=lambda k: rng.uniform(0.5, 1.5, k)))
    b = A @ rng.uniform(0.2, 0.8, n)
    P = sp.csc_matrix(sp.diags(rng.uniform(0.1, 10.0, n)))
    return Qp(P, q, A, b, sp.csc_matrix((0, n)), np.zeros(0), g, np.zeros(n), np.ones(n))


def ball(rng, n, base=None, size=None):
    shape = (n,) if size is None else (size, n)
    q, g = rng.standard_normal(shape), rng.standard_normal(shape)
    if base is not None:
        return replace(base, q=q, g=g)
    A = sp.csc_matrix(sp.vstack([sp.csc_matrix((1, n)), -sp.eye(n)]))
    b = np.zeros(n + 1)
    b[0] = np.linalg.norm(rng.standard_normal(n))
    return Conic(None, q, A, b, [("soc", n + 1)], g)


def ellipsoids(rng, n, base=None, count=5):
    """A linear objective over a ball and ellipsoids |F x - c| <= 1 that cut it."""
    q, g = rng.standard_normal(n), rng.standard_normal(n)
    if base is not None:
        return replace(base, q=base.q + 0.05 * q, g=g)
    k, blocks, right = max(2, n // 5), [np.zeros((1, n)), -np.eye(n)], [np.ones(1), np.zeros(n)]
    for _ in range(count):
        F = rng.standard_normal((k, n)) / np.sqrt(k)
        blocks += [np.zeros((1, n)), -F]
        right += [np.array([0.6]), F @ (-0.3 * q / np.linalg.norm(q)) * 0.2]
    cones = [("soc", n + 1)] + [("soc", k + 1)] * count
    return Conic(None, q, sp.csc_matrix(np.vstack(blocks)), np.concatenate(right), cones, g)


def correlation(rng, n, base=None):
    """Variables: the upper triangle column by column, entries off the diagonal times the root of 2."""
    c = rng.standard_normal((n, n))
    i, j = np.array([(i, j) for j in range(n) for i in range(j + 1)]).T
    q = np.where(i == j, 1.0, np.sqrt(2.0)) * (c + c.T)[i, j]
    g = rng.standard_normal(len(q))
    if base is not None:
        return replace(base, q=base.q + 0.05 * q, g=g)
    size, on = len(q), np.flatnonzero(i == j)
    fixed = sp.csc_matrix((np.ones(n), (np.arange(n), on)), shape=(n, size))
    A = sp.csc_matrix(sp.vstack([fixed, -sp.eye(size)]))
    return Conic(None, q, A, np.concatenate([np.ones(n), np.zeros(size)]), [("zero", n), ("psd", n)], g)


def as_rows(p):
    """Bounds as rows of G, behind those that are there."""
    if p.lb is None:
        return p
    n = p.n
    up, low = np.isfinite(p.ub), np.isfinite(p.lb)
    h = np.concatenate([p.h, p.ub[up], -p.lb[low]])
    if p.sparse:
        eye = sp.eye(n, format="csr")
        G = sp.vstack([p.G, eye[up], -eye[low]], format="csc")
    else:
        G = np.vstack([p.G, np.eye(n)[up], -np.eye(n)[low]])
    return replace(p, G=G, h=h, lb=None, ub=None)


def make(name, draw=0, base=None):
    family, _, size = name.partition("-")
    rng = generator(name, draw if base is None else 1000 + draw)
    n, _, m = size.partition("x")
    n, m = int(n), int(m or 0)
    if family.startswith("batch"):
        return batch(rng, int(family[5:]), n, base)
    return {
        "qp": lambda: paper_qp(rng, n, m, base),
        "half": lambda: half_active(rng, n, m, base),
        "lp": lambda: lp(rng, n, m, base),
        "portfolio": lambda: portfolio(rng, n, base),
        "factored": lambda: portfolio(rng, n, base, factored=True),
        "tiny": lambda: tiny(rng, n, base),
        "mpc": lambda: mpc(rng, n, base),
        "mpcrows": lambda: mpc(rng, n, base, rows=True),
        "proj": lambda: projection(rng, n, base),
        "boyd": lambda: boyd(rng, n, base),
        "socp": lambda: ball(rng, n, base),
        "socpbatch": lambda: ball(rng, 10, base, size=n),
        "robust": lambda: ellipsoids(rng, n, base),
        "sdp": lambda: correlation(rng, n, base),
    }[family]()


def draws(name, mode, count):
    """The problems that a case goes through in turn; in mode `same` only vectors differ."""
    first = make(name, 0)
    return [first] + [make(name, k, first if mode == "same" else None) for k in range(1, count)]


# name: (what --quick takes, what is taken besides, what only --full takes)
DENSE = (["10x5", "50x10", "100x20"], ["500x100"], ["1000x200"])
FAMILIES = {
    "paper": tuple([f"qp-{s}" for s in part] for part in DENSE),
    "half": tuple([f"half-{s}" for s in part] for part in DENSE),
    # the sizes of the paper's large-scale table
    "large": ([], [], ["qp-1500x500", "qp-3000x1000", "qp-5000x2000"]),
    "lp": (["lp-10x5", "lp-100x20"], ["lp-500x100"], []),
    "portfolio": (["portfolio-100", "factored-100"], ["portfolio-500", "factored-500"], ["factored-5000"]),
    "batch": (
        ["batch10-1", "batch10-16", "batch10-256", "batch50-16"],
        [
            "batch10-4",
            "batch10-64",
            "batch10-1024",
            "batch10-4096",
            "batch50-1",
            "batch50-4",
            "batch50-64",
            "batch50-256",
            "batch100-128",
        ],
        ["batch50-1024", "batch50-4096"],
    ),
    "tiny": (["tiny-4"], [], []),
    "mpc": (["mpc-20", "mpcrows-20"], ["mpc-100", "mpcrows-100", "mpc-500", "mpcrows-500"], []),
    "projection": (["proj-1000"], ["proj-10000", "proj-100000"], []),
    "boyd": ([], [], ["boyd-100000"]),
    "cones": (
        ["socp-10", "socp-100", "robust-20", "sdp-10"],
        ["socp-50", "socp-500", "robust-50", "socpbatch-64", "sdp-20"],
        ["sdp-30"],
    ),
}
# `same` is a mode of these too: matrices known beforehand, only vectors new
SAME = {"tiny-4", "half-50x10", "half-100x20", "half-500x100", "portfolio-500", "factored-500", "mpc-20", "mpc-100"}
# of layers.py and factors.py, which load what not everybody has
LAYERS = (
    ["socp-10", "mixed-20", "portfolio-50"],
    ["socp-100", "socp-500", "batch-64", "portfolio-200", "portfolio-400", "sdp-20"],
    [],
)
FACTORS = (["condition", "share", "tolerance", "warm", "solver"], [], [])
