"""Projections onto the exponential and power cones, their duals, and the derivatives, with 50 digits.

    python3 reference.py > reference.csv        (needs mpmath)
    python3 reference.py grid > grid.csv        (a minute)

Nothing here knows the formulas of the library. The cones are unions of rays; the projection onto a boundary ray p is
<v, p>+ p/|p|^2, so that the nearest boundary point is that of the ray of largest <v, p>/|p|, found by a search. The
candidates are v itself (if it is in the cone), the origin, the flat faces and that point: the nearest wins. Duals by
Pi_K*(v) = v + Pi_K(-v). Derivatives are central differences with a step of 1e-18.

Columns: cone, exponent, v (3), projection (3), derivative (9, by rows). Points of the grid, which meets every face and kink,
have before the derivative a word on it: `smooth`; `kink`, where the derivatives of two opposite directions are not opposite;
`unclear`, where differences of two steps are not the same.
"""

import itertools
import math
import random
import sys
from functools import cache

from mpmath import exp, log, mp, mpf, sqrt

mp.dps = 50


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def best_ray(v, ray, centre):
    """The largest <v, p(t)>/|p(t)| near `centre`, where it is unimodal, by golden section and then by secant."""

    def slope(t):
        h = mpf(10) ** -20
        f = [dot(v, ray(s)) / sqrt(dot(ray(s), ray(s))) for s in (t - h, t + h)]
        return (f[1] - f[0]) / (2 * h)

    lo, hi = centre - mpf(1) / 20, centre + mpf(1) / 20
    if not (slope(lo) > 0 > slope(hi)):
        return None
    for _ in range(110):
        mid = (lo + hi) / 2
        if slope(mid) > 0:
            lo = mid
        else:
            hi = mid
    return (lo + hi) / 2


GRID = [-60 + k / 20 for k in range(2401)]


@cache
def points(ray):
    rays = ([float(x) for x in ray(mpf(t))] for t in GRID)
    return [[x / math.sqrt(sum(b * b for b in p)) for x in p] for p in rays]


@cache
def centre(v, ray):
    values = [sum(a * b for a, b in zip(v, p)) for p in points(ray)]
    top = max(range(len(GRID)), key=values.__getitem__)
    return GRID[top] if values[top] > 0 else None


def boundary(v, ray):
    near = centre(tuple(float(x) for x in v), ray)
    t = None if near is None else best_ray(v, ray, mpf(near))
    if t is None:
        return None
    p = ray(t)
    scale = dot(v, p) / dot(p, p)
    return [scale * x for x in p] if scale > 0 else None


def exp_ray(r):
    return (r, mpf(1), exp(r))


def project_exp(v):
    x, y, z = v
    if y > 0 and z > 0 and log(y) + x / y <= log(z):
        return list(v)
    candidates = [[mpf(0)] * 3]
    if x <= 0:
        candidates.append([x, mpf(0), max(z, mpf(0))])
    candidates.append([min(x, mpf(0)), mpf(0), max(z, mpf(0))])
    if x < -60 * y < 0:
        # beyond the rays that are searched, where the boundary is flat to 26 digits
        candidates.append([x, y, max(z, mpf(0))])
    candidates.append(boundary(v, exp_ray))
    return nearest(v, candidates)


def project_pow(a):
    rays = {sign: lambda t, sign=sign: (exp(t), exp(-t), sign * exp(t * (2 * a - 1))) for sign in (1, -1)}

    def project(v):
        x, y, z = v
        if x > 0 and y > 0 and x**a * y ** (1 - a) >= abs(z):
            return list(v)
        sign = 1 if z >= 0 else -1
        candidates = [[mpf(0)] * 3, [max(x, mpf(0)), max(y, mpf(0)), mpf(0)]]
        candidates.append(boundary(v, rays[sign]))
        return nearest(v, candidates)

    return project


def nearest(v, candidates):
    found = [c for c in candidates if c is not None]
    return min(found, key=lambda c: dot([p - q for p, q in zip(c, v)], [p - q for p, q in zip(c, v)]))


def dual(project):
    return lambda v: [a + b for a, b in zip(v, project([-x for x in v]))]


def derivative(project, v):
    h = mpf(10) ** -18
    columns = []
    for k in range(3):
        ends = []
        for side in (h, -h):
            moved = list(v)
            moved[k] += side
            ends.append(project(moved))
        columns.append([(p - q) / (2 * h) for p, q in zip(*ends)])
    return [columns[j][i] for i in range(3) for j in range(3)]


def one_sided(project, v, e, h):
    start, end = project(v), project([x + h * d for x, d in zip(v, e)])
    return [(q - p) / h for p, q in zip(start, end)]


def judge(project, v):
    kind = "smooth"
    for e in itertools.product((-1, 0, 1), repeat=3):
        if e <= (0, 0, 0):
            continue
        sides = []
        for way in (e, tuple(-d for d in e)):
            coarse, fine = (one_sided(project, v, way, mpf(10) ** -k) for k in (10, 16))
            if max(abs(p - q) for p, q in zip(coarse, fine)) > 1e-6:
                return "unclear"
            sides.append(fine)
        if max(abs(p + q) for p, q in zip(*sides)) > 1e-6:
            kind = "kink"
    return kind


def cones():
    out = [("exp", mpf(0), project_exp), ("dual_exp", mpf(0), dual(project_exp))]
    for exponent in ("0.5", "0.25", "0.9"):
        a = mpf(float(exponent))
        out += [("pow", a, project_pow(a)), ("dual_pow", a, dual(project_pow(a)))]
    return out


def numbers(values):
    return [repr(float(mpf(x))) for x in values]


def main():
    rng = random.Random(20260)
    for name, a, project in cones():
        for k in range(16):
            scale = 10.0 ** rng.uniform(-2, 2) if k % 2 else 1.0
            v = [mpf(float(scale * rng.gauss(0, 1))) for _ in range(3)]
            print(name, *numbers([a, *v, *project(v), *derivative(project, v)]), sep=",")


def grid():
    for name, a, project in cones():
        if a == mpf(0.9):
            continue
        # of power cones also where the dual has its corners
        extra = [(-a, a - 1, mpf(s)) for s in (1, -1)] + [(a, 1 - a, mpf(s)) for s in (1, -1)] if a else []
        for v in [*itertools.product(map(mpf, (-2, -1, 0, 1, 2)), repeat=3), *extra]:
            v = list(v)
            if a and v[2] == 0 and v[0] * v[1] <= 0:
                # the boundary leaves this edge flatter than the search sees: closed forms are in tests.rs
                continue
            kind = judge(project, v)
            slopes = derivative(project, v) if kind == "smooth" else []
            first = numbers([a, *v, *project(v)])
            print(name, *first, kind, *numbers(slopes), sep=",")


if __name__ == "__main__":
    grid() if sys.argv[1:] == ["grid"] else main()
