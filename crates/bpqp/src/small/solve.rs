//! The sweep over all lanes: multipliers, point, polish, and whether all of it is clear.

use super::kernels::{eliminate, gram, multiply, solve_lower, solve_upper, subtract_transposed};
use super::lanewise::Lanewise;
use super::places;
use crate::thresholds::{
    CLEAR_PIVOT, CLEARLY, EQUATION_ROUNDING, FACTORS_CLEAR, FAR_APART, RUN_OFF, WELL_CONDITIONED, rank_rounding,
};
use crate::{active, forward, kkt};
use pulp::{Simd, WithSimd};

/// Solves the programs of all lanes.
pub(super) struct SolveAll<'a> {
    pub shape: (usize, usize),
    /// The matrices are not those of the last call.
    pub fresh: bool,
    pub numbers: &'a mut [f64],
}

/// Factors the systems of the active sets of all lanes.
pub(super) struct Factor<'a> {
    pub shape: (usize, usize),
    /// The matrices are not those of the last call.
    pub fresh: bool,
    pub numbers: &'a mut [f64],
}

/// Solves with these factors.
pub(super) struct SolveFor<'a> {
    pub shape: (usize, usize),
    pub numbers: &'a mut [f64],
}

/// The arrays of all lanes.
struct Parts<'a, V> {
    /// P, G by their rows, q and h.
    p: &'a mut [V],
    g: &'a mut [V],
    q: &'a mut [V],
    h: &'a mut [V],
    /// 1 where a row is in the set.
    active: &'a mut [V],
    x: &'a mut [V],
    z: &'a mut [V],
    /// Right-hand sides and what they become.
    w: &'a mut [V],
    v: &'a mut [V],
    told: &'a mut [V],
    used: V,
    /// `[L; Y']` with the pivots of L, `M = Y'Y`, the factor of its active part with its pivots.
    t: &'a mut [V],
    pivots: &'a mut [V],
    gram: &'a mut [V],
    s: &'a mut [V],
    s_pivots: &'a mut [V],
    /// `L^-1 q` and what the multipliers are pushed by.
    lq: &'a mut [V],
    c: &'a mut [V],
    /// `P x`, `P x + q + G'z`, `h - G x`.
    px: &'a mut [V],
    stationarity: &'a mut [V],
    slack: &'a mut [V],
    /// Norms of the rows of G, and in the metric of `P^-1`; until the multipliers are known the inverses of their squares.
    norms: &'a mut [V],
    duals: &'a mut [V],
}

fn parts<V: Copy>(all: &mut [V], (n, m): (usize, usize)) -> Parts<'_, V> {
    let at = places(n, m);
    let used = all[at.used];
    let (head, mut rest) = all.split_at_mut(at.rest);
    let (p, head) = head.split_at_mut(at.g);
    let (g, head) = head.split_at_mut(at.q - at.g);
    let (q, head) = head.split_at_mut(n);
    let (h, head) = head.split_at_mut(m);
    let (active, head) = head.split_at_mut(m);
    let (x, head) = head.split_at_mut(n);
    let (z, head) = head.split_at_mut(m);
    let (w, head) = head.split_at_mut(n);
    let (v, told) = head.split_at_mut(m);
    let mut take = |len: usize| {
        let (own, left) = std::mem::take(&mut rest).split_at_mut(len);
        rest = left;
        own
    };
    Parts {
        p,
        g,
        q,
        h,
        active,
        x,
        z,
        w,
        v,
        told,
        used,
        t: take((n + m) * n),
        pivots: take(n),
        gram: take(m * m),
        s: take(m * m),
        s_pivots: take(m),
        lq: take(n),
        c: take(m),
        px: take(n),
        stationarity: take(n),
        slack: take(m),
        norms: take(m),
        duals: take(m),
    }
}

/// `P = L L'`, `Y = L^-1 G'` and `M = Y'Y`.
#[inline(always)]
fn reduce<S: Simd>(simd: S, n: usize, parts: &mut Parts<'_, S::f64s>) {
    parts.t[..n * n].copy_from_slice(parts.p);
    parts.t[n * n..].copy_from_slice(parts.g);
    eliminate(simd, parts.t, parts.pivots);
    gram(simd, &parts.t[n * n..], n, parts.gram);
}

/// Passes over the multipliers from which the set is guessed: they leave half of the rounds, of which each costs ten of them.
const PASSES: usize = 8;

/// The rows that bind after a few passes of projected Gauss and Seidel: any guess will do.
#[inline(always)]
fn guess<S: Simd>(simd: S, parts: &mut Parts<'_, S::f64s>) {
    let Parts { gram, c, z, slack, duals, active, .. } = parts;
    let zero = simd.splat_f64s(0.0);
    let all = Lanewise(simd);
    let m = z.len();
    z.fill(zero);
    slack.copy_from_slice(c);
    for _ in 0..PASSES {
        for r in 0..m {
            let row = &gram[r * m..][..m];
            let next = simd.negate_mul_add_e_f64s(slack[r], duals[r], z[r]);
            let next = simd.max_f64s(next, zero);
            let step = simd.sub_f64s(next, z[r]);
            z[r] = next;
            for k in 0..m {
                slack[k] = simd.mul_add_e_f64s(row[k], step, slack[k]);
            }
        }
    }
    for r in 0..m {
        active[r] = all.above(z[r], zero);
    }
}

/// Factors M on the set, beside ones on the other rows.
#[inline(always)]
fn factor_set<S: Simd>(simd: S, m: usize, parts: &mut Parts<'_, S::f64s>) {
    let all = Lanewise(simd);
    for i in 0..m {
        let own = parts.active[i];
        let row = &mut parts.s[i * m..][..i];
        for ((to, from), other) in row.iter_mut().zip(&parts.gram[i * m..][..i]).zip(&*parts.active) {
            *to = simd.mul_f64s(*from, simd.mul_f64s(own, *other));
        }
        parts.s[i * m + i] = all.of_set(own, parts.gram[i * m + i], all.splat(1.0));
    }
    eliminate(simd, parts.s, parts.s_pivots);
}

/// Solves for `(w, v)` in place, with zeros in v on rows that are not in the set.
#[inline(always)]
fn solve_set<S: Simd>(simd: S, n: usize, parts: &mut Parts<'_, S::f64s>) {
    let Parts { t, s, active, w, v, c, .. } = parts;
    let (l, y) = t.split_at(n * n);
    solve_lower(simd, l, w);
    multiply(simd, y, w, c);
    for r in 0..v.len() {
        v[r] = simd.mul_f64s(active[r], simd.sub_f64s(c[r], v[r]));
    }
    solve_lower(simd, s, v);
    solve_upper(simd, s, v);
    subtract_transposed(simd, y, v, w);
    solve_upper(simd, l, w);
}

/// The residuals of a point, in the order of [`Residuals`](crate::Residuals), and its objective.
#[inline(always)]
fn equations<S: Simd>(simd: S, n: usize, parts: &mut Parts<'_, S::f64s>) -> [S::f64s; 8] {
    let Parts { p, g, q, h, x, z, px, stationarity, slack, .. } = parts;
    let all = Lanewise(simd);
    let (zero, half) = (all.splat(0.0), all.splat(0.5));
    multiply(simd, p, x, px);
    stationarity.fill(zero);
    subtract_transposed(simd, g, z, stationarity);
    let (mut dual, mut dual_scale, mut quadratic, mut linear) = (zero, zero, zero, zero);
    for i in 0..n {
        dual_scale = all.larger(all.larger(all.larger(dual_scale, stationarity[i]), px[i]), q[i]);
        stationarity[i] = simd.sub_f64s(simd.add_f64s(px[i], q[i]), stationarity[i]);
        dual = all.larger(dual, stationarity[i]);
        quadratic = simd.mul_add_e_f64s(x[i], px[i], quadratic);
        linear = simd.mul_add_e_f64s(x[i], q[i], linear);
    }
    let (mut primal, mut primal_scale, mut complementarity, mut terms) = (zero, zero, zero, zero);
    multiply(simd, g, x, slack);
    for r in 0..z.len() {
        primal_scale = all.larger(all.larger(primal_scale, slack[r]), h[r]);
        slack[r] = simd.sub_f64s(h[r], slack[r]);
        primal = simd.max_f64s(all.neg(slack[r]), primal);
        dual = simd.max_f64s(all.neg(z[r]), dual);
        complementarity = all.larger(complementarity, simd.mul_f64s(z[r], slack[r]));
        terms = simd.mul_add_e_f64s(h[r], z[r], terms);
    }
    let objective = simd.mul_add_e_f64s(half, quadratic, linear);
    let gap = all.abs(simd.add_f64s(simd.add_f64s(quadratic, linear), terms));
    let other = simd.mul_add_e_f64s(half, quadratic, terms);
    let gap_scale = all.larger(all.abs(objective), other);
    [primal, dual, complementarity, gap, primal_scale, dual_scale, gap_scale, objective]
}

/// What the units of all points of a problem share: the largest curvature, the largest distance of a row, the largest `|q|`.
struct Reach<V> {
    curvature: V,
    reach: V,
    pull: V,
}

/// The units of a point: see the functions of the same names of [`RowScales`](crate::active).
struct Units<V> {
    /// The largest of `|x|`, or 1 where that is 0.
    length: V,
    distance: V,
    force: V,
    data_length: V,
    data_force: V,
}

#[inline(always)]
fn units<S: Simd>(simd: S, n: usize, parts: &Parts<'_, S::f64s>, of: &Reach<S::f64s>) -> Units<S::f64s> {
    let all = Lanewise(simd);
    let zero = all.splat(0.0);
    let (mut length, mut pull, mut products, mut moved) = (zero, of.pull, zero, zero);
    for i in 0..n {
        let diagonal = parts.p[i * n + i];
        length = all.larger(length, parts.x[i]);
        pull = all.larger(pull, parts.px[i]);
        products = all.larger(products, simd.mul_f64s(diagonal, parts.x[i]));
        let own = all.larger(all.abs(parts.px[i]), parts.q[i]);
        moved = simd.max_f64s(simd.div_f64s(own, diagonal), moved);
    }
    let length = all.positive(length);
    let short = simd.less_than_or_equal_f64s(pull, simd.mul_f64s(length, of.curvature));
    let further = simd.max_f64s(simd.min_f64s(moved, simd.div_f64s(pull, of.curvature)), length);
    let distance = simd.select_f64s(short, length, further);
    let force = all.positive(simd.max_f64s(products, pull));
    let data_length = simd.max_f64s(of.reach, distance);
    let data_force = simd.max_f64s(simd.mul_f64s(of.curvature, data_length), force);
    Units { length, distance, force, data_length, data_force }
}

/// What is known of the factors: they may be used, the smallest part of its diagonal entry that a pivot of L kept, and the
/// smallest over the largest pivot.
struct Pivots<V> {
    safe: V,
    kept: V,
    ratio: V,
}

#[inline(always)]
fn pivots<S: Simd>(simd: S, n: usize, parts: &Parts<'_, S::f64s>) -> Pivots<S::f64s> {
    let all = Lanewise(simd);
    let (mut kept, mut low, mut high) = (all.splat(1.0), all.splat(f64::INFINITY), all.splat(0.0));
    for (i, &pivot) in parts.pivots.iter().enumerate() {
        kept = simd.min_f64s(simd.div_f64s(pivot, parts.p[i * n + i]), kept);
        (low, high) = (simd.min_f64s(pivot, low), simd.max_f64s(pivot, high));
    }
    let ratio = simd.div_f64s(low, high);
    Pivots {
        safe: all.both(all.above(kept, all.splat(CLEAR_PIVOT)), all.within(all.splat(kkt::SAFE), ratio)),
        kept,
        ratio,
    }
}

/// Smallest over largest pivot of the rows of the set, 1 without any.
#[inline(always)]
fn ratio_of_rows<S: Simd>(simd: S, parts: &Parts<'_, S::f64s>) -> S::f64s {
    let all = Lanewise(simd);
    let (zero, none) = (all.splat(0.0), all.splat(f64::INFINITY));
    let (mut low, mut high) = (none, zero);
    for (&active, &pivot) in parts.active.iter().zip(&*parts.s_pivots) {
        low = simd.min_f64s(all.of_set(active, pivot, none), low);
        high = simd.max_f64s(all.of_set(active, pivot, zero), high);
    }
    simd.select_f64s(simd.greater_than_f64s(high, zero), simd.div_f64s(low, high), all.splat(1.0))
}

/// Norms of the rows, what points are measured with, and whether all units are close and something is not 0.
#[inline(always)]
fn measure<S: Simd>(simd: S, n: usize, parts: &mut Parts<'_, S::f64s>) -> (Reach<S::f64s>, S::f64s) {
    let all = Lanewise(simd);
    let (zero, one) = (all.splat(0.0), all.splat(1.0));
    let (mut low, mut curvature, mut reach) = (all.splat(f64::INFINITY), zero, zero);
    for i in 0..n {
        let own = parts.p[i * n + i];
        (low, curvature) = (simd.min_f64s(own, low), simd.max_f64s(own, curvature));
    }
    let (m, mut high) = (parts.h.len(), curvature);
    for r in 0..m {
        let mut sum = zero;
        for v in &parts.g[r * n..][..n] {
            sum = simd.mul_add_e_f64s(*v, *v, sum);
        }
        let norm = simd.sqrt_f64s(sum);
        parts.norms[r] = norm;
        parts.duals[r] = simd.div_f64s(one, parts.gram[r * m + r]);
        (low, high) = (simd.min_f64s(norm, low), simd.max_f64s(norm, high));
        reach = all.larger(reach, simd.div_f64s(parts.h[r], norm));
    }
    let pull = all.largest(parts.q, zero);
    let close = all.both(all.above(low, zero), all.within(high, all.times(low, FAR_APART)));
    (Reach { curvature, reach, pull }, all.both(close, all.above(simd.add_f64s(reach, pull), zero)))
}

/// The multipliers by block principal pivoting; where they are found, and in how many rounds.
#[inline(always)]
fn pivot<S: Simd>(simd: S, parts: &mut Parts<'_, S::f64s>, ok: S::f64s) -> (S::f64s, S::f64s) {
    let all = Lanewise(simd);
    let (zero, one) = (all.splat(0.0), all.splat(1.0));
    let m = parts.h.len();
    let mut live = all.both(parts.used, ok);
    let (mut rounds, mut done) = (zero, zero);
    let (mut least, mut patience) = (all.splat(f64::INFINITY), zero);
    for _ in 0..forward::PIVOTING_ROUNDS {
        rounds = simd.add_f64s(rounds, live);
        factor_set(simd, m, parts);
        for r in 0..m {
            let own = all.of_set(parts.active[r], parts.gram[r * m + r], one);
            live = all.both(live, all.above(parts.s_pivots[r], all.times(own, forward::PIVOT_KEPT)));
            parts.z[r] = all.neg(all.both(parts.active[r], parts.c[r]));
        }
        solve_lower(simd, parts.s, parts.z);
        solve_upper(simd, parts.s, parts.z);
        for r in 0..m {
            parts.z[r] = all.both(parts.active[r], parts.z[r]);
        }
        multiply(simd, parts.gram, parts.z, parts.slack);
        let mut wrong = zero;
        for r in 0..m {
            parts.slack[r] = simd.add_f64s(parts.slack[r], parts.c[r]);
            let margin = all.of_set(parts.active[r], parts.z[r], parts.slack[r]);
            let off = simd.sub_f64s(one, all.above(margin, zero));
            wrong = simd.add_f64s(wrong, off);
            parts.active[r] = all.abs(simd.sub_f64s(parts.active[r], off));
        }
        // nothing moves any more in a lane that is done
        let finished = all.both(live, all.within(wrong, zero));
        done = simd.add_f64s(done, finished);
        let fewer = simd.less_than_f64s(wrong, least);
        patience = simd.select_f64s(fewer, all.splat(forward::PATIENCE as f64), simd.sub_f64s(patience, one));
        least = simd.min_f64s(wrong, least);
        live = all.both(simd.sub_f64s(live, finished), all.within(zero, patience));
        if simd.reduce_max_f64s(live) == 0.0 {
            break;
        }
    }
    (done, rounds)
}

/// Where the multipliers and slacks of the pivoting are clear of zero, and no more rows bind than there are variables.
#[inline(always)]
fn clear_multipliers<S: Simd>(simd: S, n: usize, parts: &mut Parts<'_, S::f64s>) -> S::f64s {
    let all = Lanewise(simd);
    let (zero, one) = (all.splat(0.0), all.splat(1.0));
    let m = parts.h.len();
    let mut squares = zero;
    for &v in &*parts.lq {
        squares = simd.mul_add_e_f64s(v, v, squares);
    }
    let mut force = simd.sqrt_f64s(squares);
    for r in 0..m {
        parts.duals[r] = simd.sqrt_f64s(parts.gram[r * m + r]);
        force = simd.mul_add_e_f64s(parts.duals[r], parts.z[r], force);
    }
    let (mut count, mut ok) = (zero, one);
    for r in 0..m {
        let active = parts.active[r];
        count = simd.add_f64s(count, active);
        let size = simd.mul_add_e_f64s(parts.duals[r], force, all.abs(parts.h[r]));
        let slack = all.of_set(active, zero, parts.slack[r]);
        let margin = simd.mul_add_e_f64s(parts.z[r], parts.gram[r * m + r], slack);
        ok = all.both(ok, all.above(margin, all.times(size, forward::PIVOTING_CLEAR)));
    }
    all.both(ok, all.within(count, all.splat(n as f64)))
}

/// Where the residuals of the point say that the same rows bind: as `identify` does.
#[inline(always)]
fn same_set<S: Simd>(simd: S, parts: &Parts<'_, S::f64s>, units: &Units<S::f64s>) -> S::f64s {
    let all = Lanewise(simd);
    let zero = all.splat(0.0);
    let distance = simd.max_f64s(all.times(units.data_length, active::REST), units.distance);
    let mut ok = all.splat(1.0);
    for r in 0..parts.h.len() {
        let (slack, norm) = (parts.slack[r], parts.norms[r]);
        let pressed = all.both(all.both(parts.z[r], norm), all.both(norm, distance));
        let binds = simd.max_f64s(all.within(slack, zero), all.above(pressed, all.both(slack, units.force)));
        ok = all.both(ok, all.number(simd.equal_f64s(binds, parts.active[r])));
    }
    ok
}

/// How far the point is from solving the system of its set, each half relative to its terms or to those at the start.
#[inline(always)]
fn off_set<S: Simd>(simd: S, parts: &Parts<'_, S::f64s>, scales: (S::f64s, S::f64s)) -> S::f64s {
    let all = Lanewise(simd);
    let zero = all.splat(0.0);
    let dual = all.largest(parts.stationarity, zero);
    let mut primal = zero;
    for (slack, active) in parts.slack.iter().zip(&*parts.active) {
        primal = all.larger(primal, all.both(*slack, *active));
    }
    simd.max_f64s(all.relative(dual, scales.1), all.relative(primal, scales.0))
}

/// Where the corrected point satisfies its equations, and every multiplier and slack is far above what rounding may have made
/// of it: then none of the wrong sign is left to look for.
#[inline(always)]
fn verified<S: Simd>(
    simd: S,
    parts: &Parts<'_, S::f64s>,
    (now, units): (&[S::f64s; 8], &Units<S::f64s>),
    of: &Reach<S::f64s>,
) -> S::f64s {
    let all = Lanewise(simd);
    let zero = all.splat(0.0);
    let [primal, dual, _, _, primal_scale, dual_scale, ..] = *now;
    let worst = all.largest(parts.stationarity, zero);
    let force = simd.max_f64s(units.force, dual_scale);
    let mut ok = all.both(
        all.within(worst, all.times(force, active::HOLDS)),
        all.both(
            all.within(primal, all.times(primal_scale, EQUATION_ROUNDING)),
            all.within(dual, all.times(force, EQUATION_ROUNDING)),
        ),
    );
    let mut felt = of.pull;
    for i in 0..parts.q.len() {
        let px = parts.px[i];
        felt = all.larger(felt, px);
        let terms = simd.add_f64s(all.abs(parts.q[i]), all.abs(px));
        ok = all.both(ok, all.within(all.abs(parts.stationarity[i]), all.times(terms, active::HOLDS)));
    }
    let near = all.times(simd.max_f64s(units.length, all.splat(active::SHORT)), active::HOLDS);
    let (mut largest, mut furthest) = (zero, zero);
    for r in 0..parts.h.len() {
        let norm = parts.norms[r];
        let distance = all.both(parts.active[r], all.abs(parts.slack[r]));
        largest = all.larger(largest, all.both(parts.z[r], norm));
        furthest = simd.max_f64s(simd.div_f64s(distance, norm), furthest);
        let small = all.times(all.abs(parts.h[r]), active::HOLDS);
        ok = all.both(ok, all.both(all.within(distance, all.both(near, norm)), all.within(distance, small)));
    }
    ok = all.both(ok, all.within(largest, all.times(felt, RUN_OFF)));
    let left = |v: S::f64s| all.times(v, 1.0 / active::ROUNDING);
    let length = all.times(simd.max_f64s(left(furthest), units.data_length), CLEARLY);
    let force = all.times(simd.max_f64s(left(worst), units.data_force), CLEARLY);
    for r in 0..parts.h.len() {
        let norm = parts.norms[r];
        let pressed = all.above(all.both(parts.z[r], norm), force);
        let apart = all.above(parts.slack[r], all.both(length, norm));
        ok = all.both(ok, all.of_set(parts.active[r], pressed, apart));
    }
    ok
}

impl WithSimd for SolveAll<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (n, m) = self.shape;
        let parts = &mut parts(S::as_mut_simd_f64s(self.numbers).0, self.shape);
        let all = Lanewise(simd);
        let (zero, one) = (all.splat(0.0), all.splat(1.0));

        if self.fresh {
            reduce(simd, n, parts);
        }
        let pivots = pivots(simd, n, parts);
        let (of, close) = measure(simd, n, parts);
        let mut ok = all.both(pivots.safe, close);

        // c = h + Y' L^-1 q, and the multipliers
        parts.lq.copy_from_slice(parts.q);
        let (l, y) = parts.t.split_at(n * n);
        solve_lower(simd, l, parts.lq);
        multiply(simd, y, parts.lq, parts.c);
        for r in 0..m {
            parts.c[r] = simd.add_f64s(parts.h[r], parts.c[r]);
        }
        guess(simd, parts);
        let (done, rounds) = pivot(simd, parts, ok);
        ok = all.both(all.both(ok, done), clear_multipliers(simd, n, parts));

        // x = -L^-T (L^-1 q + Y z)
        let (l, y) = parts.t.split_at(n * n);
        for i in 0..n {
            parts.x[i] = all.neg(parts.lq[i]);
        }
        subtract_transposed(simd, y, parts.z, parts.x);
        solve_upper(simd, l, parts.x);
        let raw = equations(simd, n, parts);
        parts.told[..8].copy_from_slice(&raw);
        let first = units(simd, n, parts, &of);
        ok = all.both(ok, same_set(simd, parts, &first));

        // the polish: one solve for the correction, with the factors of the last round
        let start = (raw[4], simd.max_f64s(first.force, raw[5]));
        let before = off_set(simd, parts, start);
        for i in 0..n {
            parts.w[i] = all.neg(parts.stationarity[i]);
        }
        for r in 0..m {
            parts.v[r] = all.both(parts.active[r], parts.slack[r]);
        }
        solve_set(simd, n, parts);
        let mut moved = zero;
        for i in 0..n {
            moved = all.larger(moved, parts.w[i]);
            parts.x[i] = simd.add_f64s(parts.x[i], parts.w[i]);
        }
        for r in 0..m {
            parts.z[r] = simd.add_f64s(parts.z[r], parts.v[r]);
        }
        let now = equations(simd, n, parts);
        parts.told[8..16].copy_from_slice(&now);
        let last = units(simd, n, parts, &of);
        let scales = (simd.max_f64s(now[4], start.0), simd.max_f64s(simd.max_f64s(now[5], last.force), start.1));
        let after = off_set(simd, parts, scales);
        ok = all.both(ok, all.within(after, all.splat(active::rounding(n))));
        ok = all.both(ok, verified(simd, parts, (&now, &last), &of));

        // the rows are independent
        let smallest = simd.div_f64s(all.splat(rank_rounding(n)), pivots.kept);
        let smallest = simd.max_f64s(smallest, all.splat(CLEAR_PIVOT));
        for r in 0..m {
            let own = all.both(parts.active[r], parts.gram[r * m + r]);
            ok = all.both(ok, all.above(parts.s_pivots[r], all.both(smallest, own)));
        }
        let condition = simd.min_f64s(ratio_of_rows(simd, parts), pivots.ratio);
        // one solve reduced what there was to reduce
        let told = all.above(before, all.splat(active::TELLING));
        let falls = all.number(simd.less_than_f64s(after, all.times(before, FACTORS_CLEAR)));
        let accurate = simd.max_f64s(simd.sub_f64s(one, told), falls);
        parts.told[16] = rounds;
        parts.told[17] = moved;
        parts.told[18] = all.both(accurate, all.above(condition, all.splat(WELL_CONDITIONED)));
        parts.told[19] = ok;
        parts.told[20] = condition;
        // rounding leaves zeros of either sign
        for z in &mut *parts.z {
            *z = simd.max_f64s(*z, zero);
        }
    }
}

impl WithSimd for Factor<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (n, m) = self.shape;
        let parts = &mut parts(S::as_mut_simd_f64s(self.numbers).0, self.shape);
        if self.fresh {
            reduce(simd, n, parts);
        }
        factor_set(simd, m, parts);
        parts.told[20] = simd.min_f64s(ratio_of_rows(simd, parts), pivots(simd, n, parts).ratio);
    }
}

impl WithSimd for SolveFor<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let parts = &mut parts(S::as_mut_simd_f64s(self.numbers).0, self.shape);
        solve_set(simd, self.shape.0, parts);
    }
}
