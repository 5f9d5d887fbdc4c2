//! Multipliers of dependent rows that ran off.
//!
//! Where no point is strictly inside the active rows (an equality along an active inequality, two inequalities that face each
//! other) the multipliers have no bound: along what cancels they may be as large as they like, and an interior point follows
//! the middle of all of them. The stationarity is a sum of them then, and holds to their rounding only, which may be more than
//! all the forces that decide about x. Of all multipliers that do, the polish takes ones of the size of the forces.

use super::polish::HOLDS;
use super::{Polisher, Side};
use crate::kkt::KktFactor;
use crate::matrix::norm_inf;
use crate::thresholds::{DROWNED, RUN_OFF};
use crate::{Point, Qp, Residuals};

impl Polisher {
    /// The largest force of a multiplier of the trial point.
    fn largest_multiplier(&self) -> f64 {
        let rows = |v: &[f64], norms: &[f64]| v.iter().zip(norms).fold(0.0_f64, |m, (v, norm)| m.max(v.abs() * norm));
        let Point { y, z, z_box, .. } = &self.trial;
        let bounds = z_box.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        rows(y, &self.scales.equality).max(rows(z, &self.scales.norms)).max(bounds)
    }

    /// True if the multipliers of the trial point are so large that what they leave of the stationarity decides nothing.
    pub(super) fn drowns(&self, qp: &Qp) -> bool {
        self.largest_multiplier() > DROWNED / f64::EPSILON * self.units(qp).0
    }

    /// Brings multipliers that ran off along dependent rows of the set back, and the point with them: cut to the limit, and
    /// corrected by the least change that the equations ask for. Where that has the wrong sign, as much of where they were is
    /// kept as gives the right one. `None` if none ran off.
    pub(super) fn bring_back(&mut self, qp: &Qp, kkt: &mut dyn KktFactor) -> Option<(Residuals, f64)> {
        // a force is no less than this, and for nearly every point that is all there is to see
        let (largest, least) = (self.largest_multiplier(), norm_inf(&self.work.px).max(norm_inf(&qp.q)));
        if self.trial.y.is_empty() && self.trial.z.is_empty() || largest <= RUN_OFF * least {
            return None;
        }
        let (force, length) = self.units(qp);
        let limit = RUN_OFF * force;
        if !limit.is_finite() {
            return None;
        }
        // rows that contradict each other have no multipliers at all: the set is wrong
        if !(largest > limit && self.rows_within(HOLDS * length) && kkt.deficient()) {
            return None;
        }
        self.far.clone_from(&self.trial);
        let Point { y, z, .. } = &mut self.trial;
        for (v, norms) in [(y, &self.scales.equality), (z, &self.scales.norms)] {
            v.iter_mut().zip(norms).for_each(|(v, norm)| *v = v.min(limit / norm).max(-limit / norm));
        }
        let (_, mut residuals, mut objective) = self.correct(qp, kkt, None, true);
        let kept = 2.0 * self.share_of_far();
        if kept > 0.0 {
            let kept = kept.min(1.0);
            let Point { y, z, .. } = &mut self.trial;
            for (v, far) in [(y, &self.far.y), (z, &self.far.z)] {
                v.iter_mut().zip(far).for_each(|(v, far)| *v += kept * (far - *v));
            }
            (_, residuals, objective) = self.correct(qp, kkt, None, true);
        }
        Some((residuals, objective))
    }

    /// The smallest part of the way back to where the multipliers were on which all that had the right sign there have it.
    fn share_of_far(&self) -> f64 {
        let rows = self.trial.z.iter().zip(&self.far.z).zip(&self.set.g);
        let rows = rows.filter(|(_, active)| **active).map(|((z, far), _)| (*z, *far));
        let bounds = self.trial.z_box.iter().zip(&self.far.z_box).zip(&self.set.bound);
        let bounds = bounds.filter_map(|((z, far), side)| match side {
            Side::Lower => Some((-z, -far)),
            Side::Upper => Some((*z, *far)),
            Side::Free | Side::Fixed => None,
        });
        let wrong = rows.chain(bounds).filter(|(z, far)| *z < 0.0 && *far > 0.0);
        wrong.fold(0.0_f64, |m, (z, far)| m.max(z / (z - far)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hessian;
    use crate::active::{ActiveSet, Start};
    use crate::kkt::prepare;
    use faer::{Mat, mat};

    /// `min 1/2 x'P x + q'x` on a line through `(2, -1) c` that an equality and an inequality along it hold, or two inequalities
    /// that face each other, in these units of objective, variables and rows; the point of it with multipliers of `1 + far`
    /// and `far`; its solution.
    fn planted(c: f64, facing: bool, far: f64, [objective, length, row]: [f64; 3]) -> (Qp, Point, Vec<f64>) {
        let (x, normal) = ([2.0 * c, -c], [1.0, -1.0]);
        let p = mat![[5.0, -2.0], [-2.0, 2.0]];
        let q: Vec<f64> = (0..2).map(|i| -(p[(i, 0)] * x[0] + p[(i, 1)] * x[1] + normal[i])).collect();
        let level = normal[0] * x[0] + normal[1] * x[1];
        let rows = |signs: &[f64]| Mat::from_fn(signs.len(), 2, |i, j| signs[i] * row * normal[j] / length);
        let levels = |signs: &[f64]| signs.iter().map(|s| s * row * level).collect::<Vec<_>>();
        let qp = Qp::new(
            Hessian::from(Mat::from_fn(2, 2, |i, j| p[(i, j)] * objective / length / length)),
            q.iter().map(|q| q * objective / length).collect::<Vec<_>>(),
        )
        .and_then(|qp| match facing {
            true => qp.inequality(rows(&[1.0, -1.0]), levels(&[1.0, -1.0])),
            false => {
                qp.equality(rows(&[-1.0]), levels(&[-1.0])).and_then(|qp| qp.inequality(rows(&[1.0]), levels(&[1.0])))
            }
        })
        .expect("valid");
        let mut point = Point::zeros(&qp);
        let right: Vec<f64> = x.iter().map(|x| x * length).collect();
        point.x.clone_from(&right);
        let multipliers = [1.0 + far, far].map(|v| v * objective / row);
        if facing {
            point.z.copy_from_slice(&multipliers)
        } else {
            (point.z[0], point.y[0]) = multipliers.into()
        }
        (qp, point, right)
    }

    #[test]
    fn multipliers_that_ran_off_come_back_and_hide_nothing_of_the_point() {
        for (far, c) in [1e4, 1e8, 1e11].into_iter().flat_map(|far| [1.0, 3.0].map(|c| (far, c))) {
            for (facing, exponents) in [false, true].into_iter().flat_map(|facing| {
                [[0, 0, 0], [-20, 8, 0], [8, -10, 30], [0, 20, -20]].map(|exponents| (facing, exponents))
            }) {
                let what = format!("far {far:e}, at {c}, facing {facing}, units {exponents:?}");
                let units = exponents.map(|e| f64::from(e).exp2());
                let (qp, mut point, right) = planted(c, facing, far, units);
                // as an interior point leaves it: the stationarity holds to the rounding of its terms
                let off = far * f64::EPSILON * units[1];
                point.x.iter_mut().zip([1.0, -0.5]).for_each(|(x, way)| *x += off * way);
                let mut kkt = prepare(qp.kkt()).expect("valid");
                let mut polisher = Polisher::default();
                polisher.scales.load(&qp);
                let mut set = ActiveSet::default();
                set.release(&qp);
                set.g.fill(true);
                let report = polisher.polish_from(Start::Point, &qp, (&mut *kkt, 10), &mut point, &mut set);
                assert!(report.verified && report.dependent, "{what}: {report:?}");
                let size = units[1] * c;
                let error = point.x.iter().zip(&right).fold(0.0_f64, |m, (x, right)| m.max((x - right).abs()));
                assert!(error <= 1e-12 * size, "{what}: {:?} instead of {right:?}", point.x);
                let unit = units[2] / units[0];
                let multipliers = point.z.iter().chain(&point.y).fold(0.0_f64, |m, v| m.max(v.abs()));
                assert!(point.z.iter().all(|z| *z >= 0.0), "{what}: {:?}", point.z);
                assert!(multipliers * unit <= 1e4, "{what}: {:?}, {:?}", point.y, point.z);
            }
        }
    }
}
