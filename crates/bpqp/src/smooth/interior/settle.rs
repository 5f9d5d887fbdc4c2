//! The end: multipliers and slacks part, so that which constraints are active is no guess.

use super::Interior;
use crate::Error;
use crate::thresholds::interior::*;

impl Interior<'_> {
    /// Full steps of Newton's method on ever smaller barriers, while they converge: multipliers and slacks part.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        for _ in 0..SETTLING {
            let (mu, error) = (self.mu, self.error(0.0));
            self.mu = (SETTLE * mu).max(LEAST_MU);
            let (c, rows) = (self.values.equality.clone(), self.rows(&self.values, &self.s));
            let found = if self.factor()? { self.direction(&c, &rows) } else { None };
            let Some(step) = found else { break };
            let (primal, dual) = self.lengths(&step);
            let to = self.moved(&step, primal);
            let Some(values) = self.look(&to.0)? else { break };
            let kept =
                (self.x.clone(), self.s.clone(), self.y.clone(), self.z.clone(), self.zl.clone(), self.zu.clone());
            let before = std::mem::take(&mut self.values);
            self.accept(to, values, &step, (primal, dual));
            let expanded = self.expand()?;
            if !expanded || self.error(0.0) > WORSE * error {
                (self.x, self.s, self.y, self.z, self.zl, self.zu) = kept;
                self.values = before;
                break;
            }
            self.steps += 1;
            if self.mu <= LEAST_MU && primal > 0.9 && dual > 0.9 {
                break;
            }
        }
        Ok(())
    }
}
