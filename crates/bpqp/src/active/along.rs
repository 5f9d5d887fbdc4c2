//! A force that is left along a face.
//!
//! The system of the set has no solution where a cost pushes along directions that neither P nor a row of the set resists: a
//! correction leaves them out, and the point stays where the solver ended, however far the constraint is that resists.

use super::{Polisher, Side};
use crate::Qp;
use crate::kkt::KktFactor;
use crate::thresholds::EQUATION_ROUNDING;

impl Polisher {
    /// True if a variable that neither P nor a row of the set knows feels a cost: however small beside those of the others, nothing
    /// balances it.
    pub(super) fn is_pushed(&mut self, qp: &Qp) -> bool {
        self.scales.shares(qp, &self.set, &mut self.w);
        let free = self.work.stationarity.iter().zip(&self.set.bound).zip(&self.w);
        free.into_iter().any(|((r, &side), share)| side == Side::Free && *share == 0.0 && *r != 0.0)
    }

    /// Where a force is left along a face, nothing of the set resists it: the point runs along it up to the first constraint that
    /// does, which enters the set. False if there is none.
    pub(super) fn run_along(&mut self, qp: &Qp, kkt: &dyn KktFactor) -> bool {
        self.w.clear();
        let free = self.work.stationarity.iter().zip(&self.set.bound);
        self.w.extend(free.map(|(r, &side)| if side == Side::Free { *r } else { 0.0 }));
        self.far.x.clone_from(&self.w);
        if !kkt.leave_face(&mut self.far.x) {
            return false;
        }
        // against the force, without its part that is resisted
        self.w.iter_mut().zip(&self.far.x).for_each(|(w, rest)| *w = rest - *w);
        let mut found = false;
        // parts that do not meet run on beside what has come to its bound
        loop {
            self.v.clear();
            self.v.resize(qp.n_inequality(), 0.0);
            qp.g.mul_add(1.0, &self.w, &mut self.v);
            let until = |along: f64, room: f64| if along > 0.0 { room / along } else { f64::INFINITY };
            let rows = self.v.iter().zip(&self.work.slack).zip(&self.set.g);
            let rows = rows.map(|((v, slack), &active)| if active { f64::INFINITY } else { until(*v, *slack) });
            let room = self.trial.x.iter().zip(qp.lb.iter().zip(qp.ub.iter()));
            let bounds = self.w.iter().zip(room).map(|(w, (x, (lb, ub)))| until(*w, ub - x).min(until(-w, x - lb)));
            let first = |best: (f64, usize), (i, step): (usize, f64)| if step < best.0 { (step, i) } else { best };
            let (step, i) = rows.chain(bounds).enumerate().fold((f64::INFINITY, usize::MAX), first);
            if i == usize::MAX {
                return found;
            }
            found = true;
            self.trial.x.iter_mut().zip(&self.w).for_each(|(x, w)| *x += step * w);
            self.work.slack.iter_mut().zip(&self.v).for_each(|(s, v)| *s -= step * v);
            let Some(j) = i.checked_sub(self.set.g.len()) else {
                self.set.g[i] = true;
                return true;
            };
            self.set.bound[j] = if self.w[j] > 0.0 { Side::Upper } else { Side::Lower };
            self.w[j] = 0.0;
            self.stop_parts(qp);
        }
    }

    /// What a row of the set ties to something that has come to its bound does not run on.
    fn stop_parts(&mut self, qp: &Qp) {
        let m = qp.n_equality();
        let mut sums = vec![(0.0_f64, 0.0_f64); m + qp.n_inequality()];
        loop {
            sums.fill((0.0, 0.0));
            qp.kkt().for_each_row_entry(|i, j, v| {
                let term = v * self.w[j];
                sums[i] = (sums[i].0 + term, sums[i].1 + term.abs());
            });
            let holds = |i: usize| i < m || self.set.g[i - m];
            let off = |i: usize| holds(i) && sums[i].0.abs() > EQUATION_ROUNDING * sums[i].1;
            let mut stopped = false;
            qp.kkt().for_each_row_entry(|i, j, v| {
                if v != 0.0 && self.w[j] != 0.0 && off(i) {
                    (self.w[j], stopped) = (0.0, true);
                }
            });
            if !stopped {
                return;
            }
        }
    }
}
