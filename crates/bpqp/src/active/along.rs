//! A force that is left along a face.
//!
//! The system of the set has no solution where a cost pushes along directions that neither P nor a row of the set resists: a
//! correction leaves them out, and the point stays where the solver ended, however far the constraint is that resists.

use super::polish::HOLDS;
use super::{Polisher, Side};
use crate::Qp;
use crate::kkt::{KktFactor, project_off};
use crate::matrix::{dot, norm_inf};
use crate::thresholds::{DROWNED, EQUATION_ROUNDING};
use faer::MatRef;

/// A force of which no more than this is left comes to its end: the rest may be rounding of what was met.
const REST: f64 = 1e-10;

impl Polisher {
    /// True if a variable that neither P nor a row of the set knows feels a cost: however small beside those of the others, nothing
    /// balances it.
    pub(super) fn is_pushed(&mut self, qp: &Qp) -> bool {
        self.scales.shares(qp, &self.set, &mut self.w);
        let free = self.work.stationarity.iter().zip(&self.set.bound).zip(&self.w);
        free.into_iter().any(|((r, &side), share)| side == Side::Free && *share == 0.0 && *r != 0.0)
    }

    /// True if the point is so far along a face that what the cost is there is not seen beside rounding of `P x`, which has no
    /// part along it: without that the forces have one.
    pub(super) fn drowns_along(&mut self, qp: &Qp, kkt: &dyn KktFactor) -> bool {
        if self.scales.force(qp, &self.work.px, &self.trial.x) <= DROWNED / f64::EPSILON * norm_inf(&qp.q) {
            return false;
        }
        self.w.clear();
        self.w.extend(qp.q.iter().zip(&self.trial.z_box).map(|(q, z)| q + z));
        qp.a.tmul_add(1.0, &self.trial.y, &mut self.w);
        qp.g.tmul_add(1.0, &self.trial.z, &mut self.w);
        self.w.iter_mut().zip(&self.set.bound).filter(|(_, side)| **side != Side::Free).for_each(|(w, _)| *w = 0.0);
        self.far.x.clone_from(&self.w);
        let known = kkt.leave_face(&mut self.far.x);
        let along = self.w.iter().zip(&self.far.x).fold(0.0_f64, |m, (w, rest)| m.max((w - rest).abs()));
        known && along > HOLDS * norm_inf(&self.w)
    }

    /// Where a force is left along a face, nothing of the set resists it: the point runs along it up to the first constraint that
    /// does, which enters the set, then along what that leaves of the face, and so on. False if there is none.
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
        let whole = dot(&self.w, &self.w);
        let mut found = false;
        // directions of the face that what was met resists, orthonormal
        let (mut held, n) = (Vec::new(), self.w.len());
        while dot(&self.w, &self.w) > REST * REST * whole {
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
                break;
            }
            found = true;
            self.trial.x.iter_mut().zip(&self.w).for_each(|(x, w)| *x += step * w);
            self.work.slack.iter_mut().zip(&self.v).for_each(|(s, v)| *s -= step * v);
            let mut met = vec![0.0; n];
            match i.checked_sub(self.set.g.len()) {
                None => {
                    self.set.g[i] = true;
                    qp.g.for_each(|row, j, v| met[j] += if row == i { v } else { 0.0 });
                }
                Some(j) => {
                    self.set.bound[j] = if self.w[j] > 0.0 { Side::Upper } else { Side::Lower };
                    met[j] = 1.0;
                }
            }
            self.far.x.clone_from(&met);
            kkt.leave_face(&mut self.far.x);
            met.iter_mut().zip(&self.far.x).for_each(|(m, rest)| *m -= rest);
            let others = MatRef::from_column_major_slice(&held, n, held.len() / n);
            for _ in 0..2 {
                project_off(others, &mut met);
            }
            let length = dot(&met, &met).sqrt();
            if !(length > 0.0 && length.is_finite()) {
                break;
            }
            met.iter_mut().for_each(|m| *m /= length);
            let along = dot(&met, &self.w);
            for ((w, m), &side) in self.w.iter_mut().zip(&met).zip(&self.set.bound) {
                let rest = *w - along * m;
                // nothing but rounding of a direction that is held
                let held = side != Side::Free || rest.abs() <= EQUATION_ROUNDING * w.abs();
                *w = if held { 0.0 } else { rest };
            }
            held.extend(met);
        }
        found
    }
}
