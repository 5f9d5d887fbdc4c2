//! What the iteration ends with: a judged solution, or why there is none.

use super::super::judge::{Order, judge};
use super::super::local::LocalSolution;
use super::super::model::{Left, Model, Rows};
use super::{Sqp, Stop};
use crate::thresholds::sqp::*;
use crate::{Error, Solution, Status};

/// Weights of the rows that are held, and of the bounds; which they are.
type Weight = (f64, f64);
type Held = (Vec<bool>, Vec<bool>);

impl Sqp<'_> {
    pub(super) fn blank(&self, status: Status) -> LocalSolution {
        LocalSolution::at_point(&self.point(), self.values.objective, status, self.before + self.steps)
    }

    pub(super) fn without(self, status: Status, reason: Option<String>) -> LocalSolution {
        LocalSolution { reason, ..self.blank(status) }
    }

    /// Judges the stationary point.
    pub(super) fn finish(mut self, solution: Box<Solution>, model: &Model, left: Left) -> Result<LocalSolution, Error> {
        // the Hessian was that of the multipliers before, if they have a part in it
        match self.expand() {
            Ok(()) => {}
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Ended(status, reason)) => return Ok(self.without(status, reason)),
        }
        let mut out = self.blank(Status::Solved);
        out.residual = left.worst();
        // where the last steps do not shrink as Newton's do, the curvature is one that vanishes at the solution
        let settled = self.step <= SETTLED;
        if model.definite && model.shift == 0.0 && self.y.is_empty() && self.z.is_empty() {
            out.order_known = settled;
            return Ok(Self::with_derivatives(out, solution, (model.rho, model.held.clone())));
        }
        // derivatives are those of a model with exactly these rows held, and the Hessian as it is
        let rows = Rows { values: &self.values, x: &self.x, bounds: (&self.lb, &self.ub) };
        let exact = Model::new(&rows, &self.at, Some(&solution.active), 0.0, &mut self.kept.curvature)?;
        match judge(&self.at, &solution.active, exact.definite) {
            Order::NotAMinimum(direction) => {
                (out.status, out.direction) = (Status::NotAMinimum, Some(direction));
                return Ok(out);
            }
            Order::Minimum => out.order_known = exact.shift == 0.0 && settled,
            Order::Unknown => {}
        }
        let same = exact.rho == model.rho
            && exact.held == model.held
            && exact.shift == model.shift
            && exact.qp.p.difference(&model.qp.p).is_none()
            && *exact.qp.p == *model.qp.p;
        let inner = if same {
            solution
        } else {
            self.warm = Some(solution.point());
            self.quadratic(exact.qp)?
        };
        Ok(Self::with_derivatives(out, inner, (exact.rho, exact.held)))
    }

    /// The solution with the quadratic program that it is, which has its derivatives.
    fn with_derivatives(mut out: LocalSolution, inner: Box<Solution>, (rho, held): (Weight, Held)) -> LocalSolution {
        if inner.ok() {
            // multipliers as they are at this point
            (out.y, out.z, out.z_box) = (inner.y.clone(), inner.z.clone(), inner.z_box.clone());
        }
        (out.rho, out.held) = (rho, held);
        out.order_known &= inner.ok();
        out.inner = Some(*inner);
        out
    }
}
