//! How far a step goes: the merit function, second-order corrections, damping.

use super::super::Values;
use super::super::model::Model;
use super::super::numbers::bad_value;
use super::{Sqp, Stop, ended, missed_by, violation};
use crate::matrix::{dot, norm_inf};
use crate::thresholds::sqp::*;
use crate::{Point, Solution, Status};

impl Sqp<'_> {
    /// Moves along the step.
    pub(super) fn advance(&mut self, model: &Model, solution: &Solution, d: &[f64], missed: f64) -> Result<(), Stop> {
        let largest = norm_inf(&self.y).max(norm_inf(&self.z));
        if self.price < 1.1 * largest {
            self.price = 1.5 * largest + 1e-8;
        } else if missed == 0.0 && self.price > 100.0 * (largest + 1e-8) {
            self.price = 10.0 * largest + 1e-8;
        }
        let before = self.values.objective + self.price * violation(&self.values);
        let mut slope = dot(&self.at.gradient, d) - self.price * (violation(&self.values) - missed);
        // what rounding leaves of the merit
        let noise = 20.0 * f64::EPSILON * (before.abs() + self.price * violation(&self.values) + 1e-300);
        let mut curvature = vec![0.0; d.len()];
        model.qp.p.mul_add(1.0, d, &mut curvature, &mut Vec::new());
        slope = slope.min(-0.1 * dot(d, &curvature).max(0.0)).min(0.0);
        let mut length = 1.0;
        let mut last_bad = None;
        loop {
            let trial: Vec<f64> = (0..d.len()).map(|j| self.inside(j, self.x[j] + length * d[j])).collect();
            let there = self.program.values(&trial)?;
            let bad = bad_value(&there);
            let merit = there.objective + self.price * violation(&there);
            let enough = |merit: f64| merit <= before + ARMIJO * length * slope + noise;
            if bad.is_none() && enough(merit) {
                self.damping = match length {
                    1.0 if self.damping <= 1e-6 => 0.0,
                    1.0 => 0.1 * self.damping,
                    short if short < 0.1 => (10.0 * self.damping).max(1e-3),
                    _ => self.damping,
                };
                self.accept(trial, there, solution);
                return Ok(());
            }
            if bad.is_none() && length == 1.0 && missed == 0.0 {
                let qp = model.corrected(&self.rows(), &self.at, &there, d)?;
                let second = self.quadratic(qp)?;
                if second.ok() {
                    let trial: Vec<f64> = (0..d.len()).map(|j| self.inside(j, second.x[j])).collect();
                    let there = self.program.values(&trial)?;
                    let merit = there.objective + self.price * violation(&there);
                    if bad_value(&there).is_none() && enough(merit) {
                        self.accept(trial, there, solution);
                        return Ok(());
                    }
                }
            }
            last_bad = bad.or(last_bad);
            length *= if length == 1.0 { 0.5 } else { 0.4 };
            let now = violation(&self.values);
            if length < CUT && now > MISSED && self.slope_of_violation() <= FLAT * now {
                return ended(Status::LocallyInfeasible, missed_by(now));
            }
            if length < CUT && self.damping < MOST_DAMPING {
                // another direction, nearer to that of steepest descent
                self.damping = (10.0 * self.damping).max(1e-3);
                return Ok(());
            }
            if length < SHORTEST {
                let reason = match last_bad {
                    Some(bad) => format!("{bad} along every step from x"),
                    None => "no step along the model's direction decreases the merit function".to_owned(),
                };
                return ended(Status::NumericalFailure, reason);
            }
        }
    }

    pub(super) fn point(&self) -> Point {
        Point { x: self.x.clone(), y: self.y.clone(), z: self.z.clone(), z_box: self.z_box.clone(), ..Point::default() }
    }

    pub(super) fn inside(&self, j: usize, x: f64) -> f64 {
        x.max(self.lb[j]).min(self.ub[j])
    }

    pub(super) fn accept(&mut self, x: Vec<f64>, values: Values, solution: &Solution) {
        self.go(x, values);
        let fits = solution.active.bound.len() == self.x.len() && solution.active.g.len() == self.z.len();
        self.set = fits.then(|| solution.active.clone());
        self.warm = Some(self.point());
    }
}
