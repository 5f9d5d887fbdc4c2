//! What the trial point contradicts of its set, and what is changed there.

use super::{Polisher, ROUNDING, Side};
use crate::Qp;
use crate::thresholds::CLEARLY;

/// Violations below this multiple of the scales of the problem are rounding.
const TOLERANCE: f64 = 1e-10;
/// What is wrong by more than this is no matter of the digits that a point is short of.
const FAR_OFF: f64 = 1e-6;

impl Polisher {
    /// Weakly active constraints enter the set; false if they are all there. Of the pieces that meet at a kink it is the one
    /// that does not depend on what rounding left of a slack or a multiplier, nor on the entrance through which it came.
    pub(super) fn hold_weak(&mut self, qp: &Qp) -> bool {
        let mut changed = false;
        for (active, _) in self.set.g.iter_mut().zip(&self.set.weak_g).filter(|(active, weak)| **weak && !**active) {
            (*active, changed) = (true, true);
        }
        for (j, side) in self.set.bound.iter_mut().enumerate() {
            if self.set.weak_bound[j] && *side == Side::Free {
                let lower = self.trial.x[j] - qp.lb[j] <= qp.ub[j] - self.trial.x[j];
                (*side, changed) = (if lower { Side::Lower } else { Side::Upper }, true);
            }
        }
        changed
    }

    /// Changes the set where the trial point contradicts it; false if it does not.
    pub(super) fn repair(&mut self, qp: &Qp, worst_only: bool) -> bool {
        let (force, distance) = self.units(qp);
        let mut worst = (TOLERANCE, usize::MAX);
        let mut changed = false;
        self.far_off = 0;
        let rows = self.set.g.len();
        for i in 0..rows + self.set.bound.len() {
            let wrong = if i < rows {
                self.row_violation(i, force, distance)
            } else {
                self.bound_violation(qp, i - rows, force, distance)
            };
            if wrong > TOLERANCE {
                changed = true;
                self.far_off += usize::from(wrong > FAR_OFF);
                if !worst_only {
                    self.flip(qp, i);
                } else if wrong > worst.0 {
                    worst = (wrong, i);
                }
            }
        }
        if worst_only && worst.1 != usize::MAX {
            self.flip(qp, worst.1);
        }
        changed
    }

    fn row_violation(&self, i: usize, force: f64, distance: f64) -> f64 {
        let norm = self.scales.norms[i];
        if self.set.g[i] { -self.trial.z[i] * norm / force } else { -self.work.slack[i] / (norm * distance) }
    }

    fn bound_violation(&self, qp: &Qp, i: usize, force: f64, distance: f64) -> f64 {
        let (x, z) = (self.trial.x[i], self.trial.z_box[i]);
        match self.set.bound[i] {
            Side::Fixed => 0.0,
            Side::Lower => z / force,
            Side::Upper => -z / force,
            Side::Free => (qp.lb[i] - x).max(x - qp.ub[i]) / distance,
        }
    }

    fn flip(&mut self, qp: &Qp, i: usize) {
        let rows = self.set.g.len();
        if i < rows {
            self.set.g[i] = !self.set.g[i];
            return;
        }
        let i = i - rows;
        self.set.bound[i] = match self.set.bound[i] {
            Side::Free if self.trial.x[i] < qp.lb[i] => Side::Lower,
            Side::Free => Side::Upper,
            _ => Side::Free,
        };
    }

    /// Every multiplier of the set and every slack outside of it is far above what rounding may have made of it, in the units
    /// of the whole problem: no finer unit can say otherwise. `before`: how long the
    /// point was where it came from.
    pub(super) fn all_clear(&self, qp: &Qp, before: f64) -> bool {
        let (length, force) = self.scales.of_data(qp, &self.work.px, &self.trial.x);
        // of a solution that vanishes rounding is left of what it was before
        let length = length.max(before);
        // nor is anything clearer than what is left of the equations lets it be: where the solution and the data vanish, the
        // scales are as small as rounding
        let off = self.furthest_row();
        let free = self.work.stationarity.iter().zip(&self.set.bound).filter(|(_, side)| **side == Side::Free);
        let pull = free.fold(0.0_f64, |m, (r, _)| m.max(r.abs()));
        let (distance, force) = (CLEARLY * length.max(off / ROUNDING), CLEARLY * force.max(pull / ROUNDING));
        let rows = self.set.g.iter().zip(&self.scales.norms).zip(self.trial.z.iter().zip(&self.work.slack));
        let mut bounds = self.set.bound.iter().zip(self.trial.x.iter().zip(&self.trial.z_box)).zip(0..);
        let (lb, ub) = (qp.lb(), qp.ub());
        rows.into_iter().all(|((active, norm), (z, s))| if *active { z * norm > force } else { *s > distance * norm })
            && bounds.all(|((side, (x, z)), i)| match side {
                Side::Fixed => true,
                Side::Lower => -z > force,
                Side::Upper => *z > force,
                Side::Free => (x - lb[i]).min(ub[i] - x) > distance,
            })
    }

    /// Changes the set where the trial point contradicts it beyond its uncertainties; where it does not, false, and what is
    /// within them is weakly active.
    pub(super) fn judge(&mut self, qp: &Qp, worst_only: bool) -> bool {
        let mut worst = (0.0, usize::MAX);
        let rows = self.set.g.len();
        for i in 0..rows + self.set.bound.len() {
            let (wrong, weak) = self.doubts.violation(qp, i, (&self.trial, &self.work), &self.set);
            match i.checked_sub(rows) {
                None => self.set.weak_g[i] = weak,
                Some(j) => self.set.weak_bound[j] = weak,
            }
            if wrong > worst.0 {
                worst = (wrong, i);
            }
        }
        if worst.1 == usize::MAX {
            return false;
        }
        for i in 0..rows + self.set.bound.len() {
            let chosen = if worst_only {
                i == worst.1
            } else {
                self.doubts.violation(qp, i, (&self.trial, &self.work), &self.set).0 > 0.0
            };
            if chosen {
                self.flip(qp, i);
            }
        }
        true
    }
}
