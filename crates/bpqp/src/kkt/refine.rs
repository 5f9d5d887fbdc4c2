//! Iterative refinement against the system as stated, whatever regularization the factorization used.
//!
//! What is left is measured row by row, relative to the magnitudes that cancel in the row: the componentwise backward
//! error `|r| / (|K| |z| + |rhs|)` of Oettli & Prager (Numer. Math. 1964), as refined by Arioli, Demmel & Duff ("Solving
//! sparse linear systems with sparse backward error", SIAM J. Matrix Anal. Appl. 1989). It is the same in all units of rows
//! and variables: a row of small entries does not drown in the residuals of the others.
//!
//! A small backward error says that the solution is exact for numbers close by; how much that changes the solution is
//! seen from the correction `d` that another step makes, by the same measure: `|K| |d| / (|K| |z| + |rhs|)`. Where K is
//! singular to rounding, corrections are as large as the solution itself.

use super::equilibrate::Units;
use super::{KktData, KktFactor};
use crate::matrix::nan_max;
use crate::matrix::norm_inf;

/// Steps at most; each costs one product with P and C, two with their magnitudes, and one solve.
const STEPS: usize = 6;
/// Backward error at which refinement stops.
const TARGET: f64 = 1e-13;
/// Backward error that is good enough without asking which rows are rounding.
const GOOD: f64 = 1e-10;
/// What is left where every row holds to rounding.
const ROUNDED: f64 = 4.0 * f64::EPSILON;
/// Relative size of a correction at which the solution needs no other.
const SETTLED: f64 = 1e-9;
/// Where the pivots are known to be above this multiple of the largest, a small backward error is enough.
const WELL_CONDITIONED: f64 = 1e-6;

/// What a residual is compared with.
#[derive(Clone, Copy, PartialEq)]
enum Measure {
    /// The largest term of all rows: enough for a step of an iteration that corrects itself.
    Norm,
    /// The terms of its own row: what an answer is worth.
    Rows,
}

/// Buffers of a refined solve.
#[derive(Debug, Default)]
pub(crate) struct Refiner {
    /// The variables are known to vanish: what a solve leaves of them is rounding, and no residual is measured by it.
    pub still: bool,
    /// What comes of the solution is measured anyway: nobody asks in which rows everything is rounding.
    pub measured: bool,
    r: Vec<f64>,
    s: Vec<f64>,
    size_r: Vec<f64>,
    size_s: Vec<f64>,
    part_r: Vec<f64>,
    part_s: Vec<f64>,
    units: Units,
    scaled: bool,
    magnitudes: Vec<f64>,
    w: Vec<f64>,
    v: Vec<f64>,
    best_w: Vec<f64>,
    best_v: Vec<f64>,
    rank: Vec<f64>,
    rhs_w: Vec<f64>,
    rhs_v: Vec<f64>,
}

pub(super) type Diagonals<'a> = (&'a [f64], &'a [f64]);

fn copy(to: &mut Vec<f64>, from: &[f64]) {
    to.clear();
    to.extend_from_slice(from);
}

fn zeros(v: &mut Vec<f64>, n: usize) {
    v.clear();
    v.resize(n, 0.0);
}

/// The largest entry on the rows that are kept, each relative to its size.
fn relative(x: &[f64], size: &[f64], d: &[f64]) -> f64 {
    let rows = x.iter().zip(size).zip(d).filter(|((x, _), d)| **x != 0.0 && d.is_finite());
    rows.fold(0.0, |m, ((x, size), _)| nan_max(m, x.abs() / size))
}

/// Largest entry on the rows that are kept.
fn kept(x: &[f64], d: &[f64]) -> f64 {
    x.iter().zip(d).filter(|(_, d)| d.is_finite()).fold(0.0_f64, |m, (x, _)| m.max(x.abs()))
}

/// `out += d |z|` on the rows that are kept.
fn add_diagonal(d: &[f64], z: &[f64], out: &mut [f64]) {
    for ((out, d), z) in out.iter_mut().zip(d).zip(z).filter(|((_, d), _)| d.is_finite()) {
        *out += d * z.abs();
    }
}

impl Refiner {
    /// Solves for `(w, v)` in place and refines until that helps no more. Returns what is wrong with the solution: the
    /// backward error, and the size of the last correction where the factors are not known to be well conditioned.
    pub fn solve(
        &mut self,
        kkt: &mut dyn KktFactor,
        data: KktData<'_>,
        diagonals: Diagonals<'_>,
        w: &mut [f64],
        v: &mut [f64],
    ) -> f64 {
        self.refine(kkt, data, diagonals, (w, v), Measure::Rows)
    }

    /// Puts the right-hand sides of the last solve back.
    pub fn restore(&self, w: &mut [f64], v: &mut [f64]) {
        w.copy_from_slice(&self.rhs_w);
        v.copy_from_slice(&self.rhs_v);
    }

    /// Solves for `(w, v)` in place and refines until the residual is small against the largest term, for a step of an
    /// iteration that corrects itself.
    pub fn step(
        &mut self,
        kkt: &mut dyn KktFactor,
        data: KktData<'_>,
        diagonals: Diagonals<'_>,
        w: &mut [f64],
        v: &mut [f64],
    ) {
        self.refine(kkt, data, diagonals, (w, v), Measure::Norm);
    }

    fn refine(
        &mut self,
        kkt: &mut dyn KktFactor,
        data: KktData<'_>,
        diagonals: Diagonals<'_>,
        (w, v): (&mut [f64], &mut [f64]),
        measure: Measure,
    ) -> f64 {
        copy(&mut self.rhs_w, w);
        copy(&mut self.rhs_v, v);
        let size = kept(w, diagonals.0).max(kept(v, diagonals.1));
        if size == 0.0 {
            w.fill(0.0);
            v.fill(0.0);
            return 0.0;
        }
        kkt.solve(w, v);
        if self.still {
            w.fill(0.0);
        }
        // who refined it, and saw rounding in every row, need not be checked, but for what a face takes away
        if !self.still && kkt.refines() && kkt.rounded() && !kkt.leave_face(&mut []) {
            return ROUNDED;
        }
        // nothing is better than what this call computed, least of all the solution of an earlier system
        copy(&mut self.best_w, w);
        copy(&mut self.best_v, v);
        self.scaled = false;
        // an inner refinement has its own way to find out
        let trusted = measure == Measure::Norm || kkt.refines() || kkt.reciprocal_condition() > WELL_CONDITIONED;
        let mut correction = if trusted { 0.0 } else { f64::INFINITY };
        let mut best = f64::INFINITY;
        for step in 0..=STEPS {
            let terms = self.subtract(data, diagonals, w, v);
            let mut error = match measure {
                Measure::Norm => norm_inf(&self.r).max(norm_inf(&self.s)) / size.max(terms),
                Measure::Rows => self.row_error(data, diagonals, w, v),
            };
            // where refinement helps no more, rows may be left in which everything is rounding
            let stalls = error > GOOD && (error >= 0.5 * best || step == STEPS);
            if stalls && measure == Measure::Rows && !self.scaled && !self.measured {
                if error > best {
                    w.copy_from_slice(&self.best_w);
                    v.copy_from_slice(&self.best_v);
                    self.subtract(data, diagonals, w, v);
                }
                self.load_units(data, diagonals);
                error = self.row_error(data, diagonals, w, v);
            }
            if error.is_nan() || error > best.max(TARGET) {
                w.copy_from_slice(&self.best_w);
                v.copy_from_slice(&self.best_v);
                break;
            }
            let (rounding, falls) = (error <= TARGET, error < 0.5 * best);
            best = error;
            let done = if rounding { correction <= SETTLED } else { !falls };
            if done || step == STEPS {
                break;
            }
            copy(&mut self.best_w, w);
            copy(&mut self.best_v, v);
            copy(&mut self.w, &self.r);
            copy(&mut self.v, &self.s);
            kkt.solve(&mut self.w, &mut self.v);
            if self.still {
                self.w.fill(0.0);
            }
            if !trusted {
                let before = correction;
                correction = self.correction(data, diagonals, kkt.deficient());
                if rounding && (correction.is_nan() || correction >= 0.5 * before) {
                    break;
                }
            }
            w.iter_mut().zip(&self.w).for_each(|(w, d)| *w += d);
            v.iter_mut().zip(&self.v).for_each(|(v, d)| *v += d);
        }
        nan_max(best, correction)
    }

    /// `r = rhs - (P + dx) w - C'v`, `s = rhs - C w + dc v` on the rows and columns that are kept; zero elsewhere. Returns
    /// the largest entry before the terms of the constraints are subtracted.
    fn subtract(&mut self, data: KktData<'_>, (dx, dc): Diagonals<'_>, w: &[f64], v: &[f64]) -> f64 {
        copy(&mut self.r, &self.rhs_w);
        copy(&mut self.s, &self.rhs_v);
        let (r, s) = (&mut self.r, &mut self.s);
        data.p.mul_add(-1.0, w, r, &mut self.rank);
        let size = kept(r, dx);
        data.tmul_add(-1.0, v, r);
        data.mul_add(-1.0, w, s);
        for (r, (&d, &w)) in r.iter_mut().zip(dx.iter().zip(w)) {
            *r = if d == f64::INFINITY { 0.0 } else { *r - d * w };
        }
        for (s, (&d, &v)) in s.iter_mut().zip(dc.iter().zip(v)) {
            *s = if d == f64::INFINITY { 0.0 } else { *s + d * v };
        }
        size
    }

    /// The componentwise backward error; leaves the magnitudes of the rows in `size_r` and `size_s`.
    fn row_error(&mut self, data: KktData<'_>, diagonals: Diagonals<'_>, w: &[f64], v: &[f64]) -> f64 {
        for (size, rhs) in [(&mut self.size_r, &self.rhs_w), (&mut self.size_s, &self.rhs_v)] {
            size.clear();
            size.extend(rhs.iter().map(|rhs| rhs.abs()));
        }
        let sizes = (&mut self.size_r[..], &mut self.size_s[..]);
        add_magnitudes(data, diagonals, (w, v), sizes, (&mut self.magnitudes, &mut self.rank));
        if self.scaled {
            self.units.raise((&mut self.size_r, &mut self.size_s), diagonals);
        }
        nan_max(relative(&self.r, &self.size_r, diagonals.0), relative(&self.s, &self.size_s, diagonals.1))
    }

    /// From here on, rows in which everything is rounding are measured against the others.
    fn load_units(&mut self, data: KktData<'_>, diagonals: Diagonals<'_>) {
        self.units.load(data, diagonals);
        self.scaled = true;
    }

    /// The magnitudes of the terms of the correction relative to those of the solution; without its multipliers where they
    /// are one choice of several.
    fn correction(&mut self, data: KktData<'_>, diagonals: Diagonals<'_>, variables_only: bool) -> f64 {
        zeros(&mut self.part_r, self.w.len());
        zeros(&mut self.part_s, self.v.len());
        let parts = (&mut self.part_r[..], &mut self.part_s[..]);
        let v = if variables_only { &[] } else { &self.v[..] };
        add_magnitudes(data, diagonals, (&self.w, v), parts, (&mut self.magnitudes, &mut self.rank));
        let size = |me: &Self| {
            nan_max(relative(&me.part_r, &me.size_r, diagonals.0), relative(&me.part_s, &me.size_s, diagonals.1))
        };
        let plain = size(self);
        if plain <= SETTLED || self.scaled || self.measured {
            return plain;
        }
        self.load_units(data, diagonals);
        self.units.raise((&mut self.size_r, &mut self.size_s), diagonals);
        size(self)
    }
}

/// Adds the magnitudes of the terms of `(P + dx) w + C'v` and `C w - dc v`; without those of `v` if it is empty.
pub(crate) fn add_magnitudes(
    data: KktData<'_>,
    (dx, dc): Diagonals<'_>,
    (w, v): (&[f64], &[f64]),
    (r, s): (&mut [f64], &mut [f64]),
    (magnitudes, rank): (&mut Vec<f64>, &mut Vec<f64>),
) {
    magnitudes.clear();
    magnitudes.extend(w.iter().map(|w| w.abs()));
    data.p.magnitudes_add(magnitudes, r, rank);
    data.magnitudes_add(magnitudes, s);
    if !v.is_empty() {
        magnitudes.clear();
        magnitudes.extend(v.iter().map(|v| v.abs()));
        data.transposed_magnitudes_add(magnitudes, r);
        add_diagonal(dc, v, s);
    }
    add_diagonal(dx, w, r);
}
