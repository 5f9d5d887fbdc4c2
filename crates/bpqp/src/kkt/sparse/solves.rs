//! Solves with the regularized factors, refined against the system that was asked for.

use super::{DELTAS, SHARP_DELTA, Sharp, SparseKkt};

/// Refinement steps at most.
const REFINEMENTS: usize = 10;
/// Componentwise backward error that counts as rounding.
const ROUNDING: f64 = 4.0 * f64::EPSILON;
/// The same of rows whose terms are rounding of the largest ones: what is left of them is rounding of what vanishes.
const FAINT: f64 = 256.0 * f64::EPSILON;
/// Refinement stops when a step shrinks the residual by less than this.
const STALL: f64 = 0.8;
/// The same of Newton steps: those that shrink slowly cost more than the next iteration, which corrects them.
const STEP_REFINEMENTS: usize = 5;
const STEP_STALL: f64 = 0.5;
/// The relative residual that calls for the sharper regularization.
const SHARPEN: f64 = 1e-5;
/// A first solution of a Newton step that leaves this part of what it may says that the next one need not be measured.
const SURE: f64 = 1e-4;

impl SparseKkt {
    /// Solves; refines where the residual of the first solution is above `enough` of the right-hand side.
    pub(super) fn solve_within(&mut self, enough: f64, w: &mut [f64], v: &mut [f64]) {
        let (n, m) = (self.n, self.m);
        // along the face nothing resists
        self.face.project_off(w);
        let (place, others) = self.ldl.place().split_at(n);
        let (scale, other_scale) = self.scale.split_at(n);
        others[m..].iter().for_each(|&p| self.rhs[p] = 0.0);
        for ((&p, scale), w) in place.iter().zip(scale).zip(&*w) {
            self.rhs[p] = scale * w;
        }
        for ((&p, scale), v) in others.iter().zip(other_scale).zip(&*v) {
            self.rhs[p] = scale * v;
        }
        if self.any_pinned {
            self.rhs.iter_mut().zip(&self.pinned).filter(|(_, pinned)| **pinned).for_each(|(r, _)| *r = 0.0);
        }
        // also when its residual is above the right-hand side: then x is large and the residual is its rounding
        self.x.copy_from_slice(&self.rhs);
        self.ldl.solve(&mut self.x);
        let done = enough > 0.0 && self.refine_step(enough);
        let error = if done { 0.0 } else { self.refine(true, enough) };
        self.rounded = !done && error == 0.0;
        if error > SHARPEN && self.sharp != Sharp::Useless {
            self.sharpen(error);
        }
        if self.any_pinned {
            self.best.iter_mut().zip(&self.pinned).filter(|(_, pinned)| **pinned).for_each(|(x, _)| *x = 0.0);
        }
        let (place, others) = self.ldl.place().split_at(n);
        let (scale, other_scale) = self.scale.split_at(n);
        for ((&p, scale), w) in place.iter().zip(scale).zip(&mut *w) {
            *w = scale * self.best[p];
        }
        for ((&p, scale), v) in others.iter().zip(other_scale).zip(&mut *v) {
            *v = scale * self.best[p];
        }
        self.face.project_off(w);
    }

    /// Improves `x`, the first solution of a Newton step, into `best`, until the residual is that share of the right-hand side in
    /// the weights of the rows; false where it gets stuck so high that the magnitudes of the terms have to tell what it is worth.
    fn refine_step(&mut self, share: f64) -> bool {
        if self.sure {
            self.best.copy_from_slice(&self.x);
            return true;
        }
        let weighted = |v: &[f64], weight: &[f64]| v.iter().zip(weight).map(|(r, w)| (r * w).powi(2)).sum::<f64>();
        let whole = weighted(&self.rhs, &self.weight);
        let mut smallest = f64::INFINITY;
        for step in 0..=STEP_REFINEMENTS {
            self.r.copy_from_slice(&self.rhs);
            self.ldl.subtract_product(&self.exact, &self.x, &mut self.r);
            let left = weighted(&self.r, &self.weight);
            let shrinks = left < STEP_STALL * STEP_STALL * smallest;
            if left < smallest {
                smallest = left;
                self.best.copy_from_slice(&self.x);
            }
            if left <= share * share * whole {
                self.sure = step == 0 && left <= (SURE * share).powi(2) * whole;
                return true;
            }
            if !shrinks {
                break;
            }
            self.ldl.solve(&mut self.r);
            self.x.iter_mut().zip(&self.r).for_each(|(x, d)| *x += d);
        }
        if smallest <= SHARPEN * SHARPEN * whole {
            return true;
        }
        if smallest.is_finite() {
            self.x.copy_from_slice(&self.best);
        }
        false
    }

    /// Improves `x`, the first solution of `exact x = rhs` or a later one, into `best`, until the residual is that share of
    /// the right-hand side at most; returns the error that is left.
    ///
    /// Stops when the componentwise backward error `|r| / (|K||x| + |b|)` (Arioli, Demmel & Duff, "Solving sparse
    /// linear systems with sparse backward error", 1989) is at rounding level, or the residual no longer shrinks: then
    /// either the accuracy is reached or the system is inconsistent, where further steps only inflate `x`.
    fn refine(&mut self, fresh: bool, enough: f64) -> f64 {
        let weighted = |v: &[f64]| v.iter().zip(&self.weight).map(|(r, w)| (r * w).powi(2)).sum::<f64>();
        let enough = enough * enough * weighted(&self.rhs);
        let mut rounded = self.measure();
        if fresh {
            self.scales = self.block_norms(&self.size);
        }
        let mut smallest = f64::INFINITY;
        let mut error = f64::INFINITY;
        for _ in 0..=REFINEMENTS {
            let norm: f64 = self.r.iter().zip(&self.weight).map(|(r, w)| (r * w).powi(2)).sum();
            let previous = smallest;
            // the first x counts whatever it is worth; NaN never does
            if norm < smallest || smallest.is_infinite() {
                smallest = norm;
                self.best.copy_from_slice(&self.x);
                error = self.error();
            }
            let shrinks = norm < STALL * STALL * previous;
            if rounded || norm <= enough || !shrinks {
                break;
            }
            self.ldl.solve(&mut self.r);
            self.x.iter_mut().zip(&self.r).for_each(|(x, d)| *x += d);
            rounded = self.measure();
        }
        if rounded { 0.0 } else { error }
    }

    /// Puts the residual of `x` into `r`, the magnitudes that cancel in it into `size`; true if it is rounding.
    fn measure(&mut self) -> bool {
        self.r.copy_from_slice(&self.rhs);
        self.size.iter_mut().zip(&self.rhs).for_each(|(size, b)| *size = b.abs());
        self.ldl.residual(&self.exact, &self.x, &mut self.r, &mut self.size);
        let floor = self.size.iter().fold(0.0_f64, |m, &s| m.max(s)) * f64::EPSILON;
        self.r.iter().zip(&self.size).all(|(r, &s)| r.abs() <= (ROUNDING * s).max(FAINT * floor))
    }

    /// The residual, relative to the magnitudes of the first solution, of the worse of the two blocks: the multipliers
    /// may be far smaller than the variables, and their block must not drown.
    fn error(&self) -> f64 {
        let r = self.block_norms(&self.r);
        let relative = |r: f64, s: f64| if r == 0.0 { 0.0 } else { r / s };
        let (a, b) = (relative(r.0, self.scales.0), relative(r.1, self.scales.1));
        if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
    }

    /// Largest weighted magnitudes in the rows of stationarity and in those of the constraints.
    fn block_norms(&self, v: &[f64]) -> (f64, f64) {
        let (mut a, mut b) = (0.0_f64, 0.0_f64);
        for (i, &p) in self.ldl.place().iter().enumerate() {
            let entry = v[p].abs() * self.weight[p];
            let norm = if i < self.n { &mut a } else { &mut b };
            *norm = if entry.is_nan() { f64::NAN } else { norm.max(entry) };
        }
        (a, b)
    }

    /// Refinement got stuck at this error: tries the other regularization, and keeps what is better.
    fn sharpen(&mut self, error: f64) {
        let used = self.sharp == Sharp::Used;
        self.sharp = Sharp::Useless;
        let ok = if used {
            self.factor_any(&DELTAS).is_ok()
        } else {
            matches!(self.factor_with(SHARP_DELTA), Ok(pivots) if pivots.positive == self.n)
        };
        if ok {
            self.x.copy_from_slice(&self.best);
            let other = self.refine(false, 0.0);
            if used {
                return;
            }
            if other < 0.1 * error {
                self.sharp = Sharp::Used;
                return;
            }
        }
        if !used {
            // as it was; `best` holds the better solution
            let _ = self.factor_any(&DELTAS);
        }
    }
}
