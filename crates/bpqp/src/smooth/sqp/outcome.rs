//! What the iteration ends with: a judged solution, or why there is none.

use super::super::judge::{Order, judge};
use super::super::local::LocalSolution;
use super::super::model::{Left, Model};
use super::{Sqp, Stop};
use crate::thresholds::sqp::*;
use crate::{Error, Layer, Solution, Status};

impl Sqp<'_> {
    pub(super) fn blank(&self, status: Status) -> LocalSolution {
        LocalSolution::at_point(&self.point(), self.values.objective, status, self.before + self.steps)
    }

    pub(super) fn without(self, status: Status, reason: Option<String>) -> LocalSolution {
        LocalSolution { reason, ..self.blank(status) }
    }

    /// Judges the stationary point.
    pub(super) fn finish(mut self, solution: Solution, model: &Model, left: Left) -> Result<LocalSolution, Error> {
        // the Hessian was that of the multipliers before
        match self.expand() {
            Ok(()) => {}
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Ended(status, reason)) => return Ok(self.without(status, reason)),
        }
        let mut out = self.blank(Status::Solved);
        out.residual = left.worst();
        // derivatives are those of a model with exactly these rows held, and the Hessian as it is
        let exact = Model::new(&self.rows(), &self.at, Some(&solution.active), 0.0)?;
        match judge(&self.at, &solution.active) {
            Order::NotAMinimum(direction) => {
                (out.status, out.direction) = (Status::NotAMinimum, Some(direction));
                return Ok(out);
            }
            // where the last steps do not shrink as Newton's do, the curvature is one that vanishes at the solution
            Order::Minimum => out.order_known = exact.shift == 0.0 && self.step <= SETTLED,
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
            let mut layer = Layer::new(exact.qp.clone(), self.settings.clone())?;
            layer.solve_from(Some(&solution.point()))?.clone()
        };
        if inner.ok() {
            // multipliers as they are at this point
            (out.y, out.z, out.z_box) = (inner.y.clone(), inner.z.clone(), inner.z_box.clone());
        }
        (out.rho, out.held) = (exact.rho, exact.held);
        out.order_known &= inner.ok();
        out.inner = Some(inner);
        Ok(out)
    }
}
