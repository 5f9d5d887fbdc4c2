//! Models whose rows contradict each other: a price on what they miss.

use super::super::model::Model;
use super::{Sqp, Stop, ended, missed_by, violation};
use crate::matrix::norm_inf;
use crate::thresholds::sqp::*;
use crate::{Solution, Status};

impl Sqp<'_> {
    /// The step that misses the rows of the model least for its price, which grows until it helps.
    pub(super) fn elastic(&mut self, model: &Model, missed: &mut f64) -> Result<Box<Solution>, Stop> {
        let (n, m, mi) = (self.x.len(), self.y.len(), self.z.len());
        let now = violation(&self.values);
        if now > MISSED && self.slope_of_violation() <= FLAT * now {
            return ended(Status::LocallyInfeasible, missed_by(now));
        }
        let force = norm_inf(&self.at.gradient).max(1.0);
        let mut price = self.price.max(10.0 * force);
        let mut found: Option<(Solution, f64)> = None;
        let warm = self.warm.take();
        self.kept.current = false;
        loop {
            let qp = model.elastic(price)?;
            let solution = qp.solve(&self.settings)?;
            if solution.ok() {
                let off: f64 = solution.x[n..].iter().map(|s| s.abs()).sum();
                let enough = off <= 0.1 * now;
                found = Some((solution, off));
                if enough {
                    break;
                }
            }
            if price > LARGEST_PRICE * force {
                break;
            }
            price *= 100.0;
        }
        self.warm = warm;
        let Some((mut solution, off)) = found else {
            return ended(Status::NumericalFailure, "the quadratic model was not solved, nor with a price on its rows");
        };
        let step = (0..n).fold(0.0_f64, |m, j| m.max((solution.x[j] - self.x[j]).abs() / self.x[j].abs().max(1.0)));
        if off >= (1.0 - 1e-6) * now && (step <= 1e-6 || off >= (1.0 - 1e-10) * now) && now > MISSED {
            return ended(Status::LocallyInfeasible, missed_by(now));
        }
        self.price = self.price.max(price);
        *missed = off;
        solution.at.x.truncate(n);
        solution.at.z_box.truncate(n);
        solution.active.bound.truncate(n);
        solution.active.weak_bound.truncate(n);
        debug_assert!(solution.y.len() == m && solution.z.len() == mi);
        Ok(Box::new(solution))
    }

    /// How fast the sum of what the rows are missed by changes with x, in units of x, within the bounds.
    pub(super) fn slope_of_violation(&self) -> f64 {
        let mut slope = vec![0.0; self.x.len()];
        let sign = |c: &f64| if *c == 0.0 { 0.0 } else { c.signum() };
        let c: Vec<f64> = self.values.equality.iter().map(sign).collect();
        let g: Vec<f64> = self.values.inequality.iter().map(|g| f64::from(u8::from(*g > 0.0))).collect();
        self.at.equality.tmul_add(1.0, &c, &mut slope);
        self.at.inequality.tmul_add(1.0, &g, &mut slope);
        let stuck =
            |j: usize| (slope[j] > 0.0 && self.x[j] <= self.lb[j]) || (slope[j] < 0.0 && self.x[j] >= self.ub[j]);
        let own = |j: usize| if stuck(j) { 0.0 } else { slope[j].abs() * self.x[j].abs().max(1.0) };
        (0..slope.len()).map(own).fold(0.0, f64::max)
    }
}
