"""Projections onto the exponential and power cones, their duals, and the derivatives, with 50 digits.

    python3 reference.py > reference.csv        (needs mpmath)

Nothing here knows the formulas of the library. The cones are unions of rays; the projection onto a boundary ray p is
<v, p>+ p/|p|^2, so that the nearest boundary point is that of the ray of largest <v, p>/|p|, found by a search. The
candidates are v itself (if it is in the cone), the origin, the flat faces and that point: the nearest wins. Duals by
Pi_K*(v) = v + Pi_K(-v). Derivatives are central differences with a step of 1e-18.

Columns: cone, exponent, v (3), projection (3), derivative (9, by rows).
"""

import random

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


def boundary(v, ray, bounds):
    import math

    def value(t):
        p = [float(x) for x in ray(mpf(t))]
        return sum(float(a) * b for a, b in zip(v, p)) / math.sqrt(sum(b * b for b in p))

    grid = [bounds[0] + (bounds[1] - bounds[0]) * k / 2400 for k in range(2401)]
    values = [value(t) for t in grid]
    top = max(range(len(grid)), key=values.__getitem__)
    if values[top] <= 0:
        return None
    t = best_ray(v, ray, mpf(grid[top]))
    if t is None:
        return None
    p = ray(t)
    scale = dot(v, p) / dot(p, p)
    return [scale * x for x in p] if scale > 0 else None


def project_exp(v):
    x, y, z = v
    if y > 0 and z > 0 and log(y) + x / y <= log(z):
        return list(v)
    candidates = [[mpf(0)] * 3]
    if x <= 0:
        candidates.append([x, mpf(0), max(z, mpf(0))])
    candidates.append([min(x, mpf(0)), mpf(0), max(z, mpf(0))])
    candidates.append(boundary(v, lambda r: (r, mpf(1), exp(r)), (-60, 60)))
    return nearest(v, candidates)


def project_pow(a):
    def project(v):
        x, y, z = v
        if x > 0 and y > 0 and x**a * y ** (1 - a) >= abs(z):
            return list(v)
        sign = 1 if z >= 0 else -1
        candidates = [[mpf(0)] * 3, [max(x, mpf(0)), max(y, mpf(0)), mpf(0)]]
        ray = lambda t: (exp(t), exp(-t), sign * exp(t * (2 * a - 1)))  # noqa: E731
        candidates.append(boundary(v, ray, (-60, 60)))
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


def main():
    rng = random.Random(20260)
    cones = [("exp", mpf(0), project_exp), ("dual_exp", mpf(0), dual(project_exp))]
    for exponent in ("0.5", "0.25", "0.9"):
        a = mpf(float(exponent))
        cones += [("pow", a, project_pow(a)), ("dual_pow", a, dual(project_pow(a)))]
    for name, a, project in cones:
        for k in range(16):
            scale = 10.0 ** rng.uniform(-2, 2) if k % 2 else 1.0
            v = [mpf(float(scale * rng.gauss(0, 1))) for _ in range(3)]
            p = project(v)
            row = [mpf(x) for x in (*v, *p, *derivative(project, v))]
            print(name, repr(float(a)), *(repr(float(x)) for x in row), sep=",")


main()
