//! A primal-dual interior point with a filter, for large sparse smooth programs (Waechter & Biegler, "On the implementation
//! of an interior-point filter line-search algorithm for large-scale nonlinear programming", Math. Program. 2006).
//!
//! ```text
//! minimize  f(x) - mu (sum log(x - lb) + sum log(ub - x) + sum log s)    s.t.  c(x) = 0,  g(x) + s = 0
//! ```
//!
//! Each step is one sparse KKT system of this library: slacks are `s/z` on the diagonals of their rows, bounds a diagonal of
//! the variables. Where its inertia is wrong curvature is added until it is right. A step is as long as the positive
//! variables allow, and accepted when it makes the violation or the barrier function smaller than all that a filter remembers;
//! a second-order correction is tried first when it is not. Where no length helps, *restoration* looks for a less violated
//! point: the same method on the program whose rows may be missed at a price. The point that comes out is polished and judged
//! like every other: here are no verdicts, and a failure is only a start for the other solver.

mod point;
mod reached;
mod restore;
mod search;
mod settle;
mod start;
mod step;

use super::numbers::bad_value;
use super::{Expansion, SmoothProgram, Values};
use crate::kkt::SparseKkt;
use crate::matrix::Keep;
use crate::thresholds::interior::*;
use crate::{Deadline, Error, Settings};
use reached::against;
pub(super) use reached::{Reached, near};

/// From `x0`, or the solution of a similar program.
pub(super) fn solve(
    program: &mut dyn SmoothProgram,
    x0: &[f64],
    near: Option<&Reached>,
    settings: &Settings,
    deadline: &Deadline,
) -> Result<Reached, Error> {
    let mut stop = |_: &[f64], _: &Values| false;
    let limit = settings.max_iter.unwrap_or(STEPS);
    let (limit, mu) = if near.is_some() { (limit.min(WARM_STEPS), WARM_MU) } else { (limit, FIRST_MU) };
    let goal = Goal { tolerance: settings.eps_abs.max(settings.eps_rel), limit, mu, outer: true };
    let mut start = Interior::start(program, x0, goal)?;
    if let Some(near) = near {
        start.known = start.warm(near)?;
    }
    start.run(deadline, &mut stop)
}

struct Goal {
    tolerance: f64,
    limit: usize,
    mu: f64,
    /// The program itself, not its restoration: it is scaled, and may be restored.
    outer: bool,
}

/// Scales of the objective and of the rows.
struct Scales {
    f: f64,
    c: Vec<f64>,
    g: Vec<f64>,
}

struct Interior<'a> {
    program: &'a mut dyn SmoothProgram,
    goal: Goal,
    lb: Vec<f64>,
    ub: Vec<f64>,
    fixed: Vec<bool>,
    x: Vec<f64>,
    s: Vec<f64>,
    y: Vec<f64>,
    z: Vec<f64>,
    zl: Vec<f64>,
    zu: Vec<f64>,
    scales: Scales,
    /// Scaled, with the relaxation of the rows.
    values: Values,
    at: Expansion,
    kkt: Option<SparseKkt>,
    keep: Keep,
    mu: f64,
    /// Curvature that was added: when last there was some, and now.
    added: f64,
    current: f64,
    filter: Vec<(f64, f64)>,
    theta_max: f64,
    theta_min: f64,
    steps: usize,
    /// Are there multipliers?
    known: bool,
}

impl Interior<'_> {
    fn run(mut self, deadline: &Deadline, stop: &mut dyn FnMut(&[f64], &Values) -> bool) -> Result<Reached, Error> {
        if bad_value(&self.values).is_some() || !self.expand()? {
            return Ok(self.ended(false));
        }
        if !self.known {
            self.estimate()?;
        }
        let theta = self.violation(&self.values, &self.s);
        self.theta_max = 1e4 * theta.max(1.0);
        self.theta_min = 1e-4 * theta.max(1.0);
        let mut tiny = 0;
        let (mut lowest, mut stalled) = (f64::INFINITY, 0);
        loop {
            if deadline.passed() {
                return Ok(self.ended(false));
            }
            if !self.expand()? {
                return Ok(self.ended(false));
            }
            log::trace!(
                "{}: objective {:e}, error {:.1e}, mu {:.1e}",
                self.steps,
                self.values.objective,
                self.error(0.0),
                self.mu
            );
            if self.error(0.0) <= self.goal.tolerance {
                return self.reached();
            }
            if stop(&self.x, &self.values) {
                return Ok(self.ended(true));
            }
            let (least, error) = (0.1 * self.goal.tolerance, self.error(0.0));
            if self.goal.outer && self.mu <= 10.0 * least && error <= ACCEPTABLE {
                stalled = if error < 0.5 * lowest { 0 } else { stalled + 1 };
                lowest = lowest.min(error);
                if stalled >= STALLED {
                    return self.reached();
                }
            }
            while self.mu > least && (self.error(self.mu) <= 10.0 * self.mu || tiny >= 2) {
                self.mu = (0.2 * self.mu).min(self.mu.powf(1.5)).max(least);
                self.filter.clear();
                tiny = 0;
            }
            if self.steps >= self.goal.limit || tiny >= 4 {
                return Ok(self.ended(false));
            }
            self.steps += 1;
            let (c, rows) = (self.values.equality.clone(), self.rows(&self.values, &self.s));
            let found = if self.factor()? { self.direction(&c, &rows) } else { None };
            let moved = match &found {
                Some(step) => self.search(step)?,
                None => None,
            };
            match moved {
                Some(short) => tiny = if short { tiny + 1 } else { 0 },
                // what is left is rounding, and Newton's method on the active set is better at that
                None if self.goal.outer && self.error(0.0) <= ACCEPTABLE => {
                    return self.reached();
                }
                None if self.goal.outer && self.violation(&self.values, &self.s) > self.goal.tolerance => {
                    if !self.restore(deadline)? {
                        return Ok(self.ended(false));
                    }
                    tiny = 0;
                }
                None => return Ok(self.ended(false)),
            }
        }
    }

    /// A stationary point.
    fn reached(mut self) -> Result<Reached, Error> {
        if self.goal.outer {
            self.settle()?;
        }
        Ok(self.ended(true))
    }

    /// In the caller's units.
    fn ended(self, converged: bool) -> Reached {
        let n = self.x.len();
        let f = self.scales.f;
        // relative to each other a multiplier and its slack say which is 0
        let rows = self.z.iter().zip(&self.s).map(|(z, s)| against(*z, *s)).collect();
        let of = |j: usize, z: f64, slack: f64| if self.fixed[j] { 0.0 } else { against(z, slack) };
        let low = (0..n).map(|j| of(j, self.zl[j], self.x[j] - self.lb[j])).collect();
        let high = (0..n).map(|j| of(j, self.zu[j], self.ub[j] - self.x[j])).collect();
        let (lb, ub) = self.program.bounds();
        let x = (0..n).map(|j| self.x[j].max(lb[j]).min(ub[j])).collect();
        let own = |v: &[f64], s: &[f64]| v.iter().zip(s).map(|(v, s)| v * s / f).collect::<Vec<f64>>();
        Reached {
            y: own(&self.y, &self.scales.c),
            z: own(&self.z, &self.scales.g),
            z_box: (0..n).map(|j| (self.zu[j] - self.zl[j]) / f).collect(),
            x,
            weight: (rows, low, high),
            steps: self.steps,
            converged,
        }
    }
}
