//! Sequential quadratic programming with exact Hessians, on the solvers of quadratic programs.
//!
//! Each step solves the [model](super::model) at the point; its multipliers are those of the next point. An l1 merit function
//! `f + mu (|c|_1 + |g_+|_1)` accepts the step, a second-order correction where the curvature of the rows alone made it fail
//! (the Maratos effect), or a shorter one. Where the rows of the model contradict each other a price on what they miss takes
//! their place; where no price helps the point is a stationary one of the violation. Near the solution full steps go on while
//! they improve: the last digits are those of Newton's method.

mod elastic;
mod merit;
mod outcome;
mod start;

use super::judge::Curvature;
use super::local::LocalSolution;
use super::model::{Expanded, Left, Model, Rows, size};
use super::numbers::{bad_expansion, bad_value};
use super::{At, SmoothProgram, Values};
use crate::active::ActiveSet;
use crate::matrix::norm_inf;
use crate::thresholds::sqp::*;
use crate::{Deadline, Error, Layer, Point, Qp, Settings, Solution, Status};
pub(super) use start::Start;
use std::sync::Arc;

/// What is kept between programs of one structure, solved with the same settings.
#[derive(Default)]
pub(super) struct Kept {
    /// Solves the quadratic programs.
    pub layer: Option<Layer>,
    /// Its solution is the quadratic program of the last local solution.
    pub current: bool,
    curvature: Curvature,
}

struct Sqp<'a> {
    program: &'a mut dyn SmoothProgram,
    kept: &'a mut Kept,
    settings: Settings,
    lb: Arc<[f64]>,
    ub: Arc<[f64]>,
    x: Vec<f64>,
    y: Vec<f64>,
    z: Vec<f64>,
    z_box: Vec<f64>,
    values: Values,
    at: Expanded,
    /// It is that of the point and the multipliers at hand.
    fresh: bool,
    set: Option<ActiveSet>,
    warm: Option<Point>,
    deadline: Deadline,
    price: f64,
    /// What is added to the curvature: more after steps that had to be cut, less after full ones.
    damping: f64,
    /// The last step, relative to x.
    step: f64,
    /// The size of the gradient at the start.
    force: f64,
    steps: usize,
    /// Steps of another solver.
    before: usize,
}

/// Why there is no step.
enum Stop {
    Ended(Status, Option<String>),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            // the user's numbers were looked at; what is made of them may still be too large
            Error::NotFinite { .. } => {
                Stop::Ended(Status::NumericalFailure, Some("the quadratic model overflows".to_owned()))
            }
            other => Stop::Failed(other),
        }
    }
}

fn ended<T>(status: Status, reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Ended(status, Some(reason.into())))
}

fn violation(values: &Values) -> f64 {
    values.equality.iter().map(|c| c.abs()).sum::<f64>() + values.inequality.iter().map(|g| g.max(0.0)).sum::<f64>()
}

fn missed_by(sum: f64) -> String {
    format!("the rows are missed by {sum:.3e} in sum, and no step changes that to first order")
}

/// From `start`, which is one.
pub(super) fn run(
    program: &mut dyn SmoothProgram,
    start: Start,
    settings: &Settings,
    (limit, deadline): (usize, Deadline),
    kept: &mut Kept,
) -> Result<LocalSolution, Error> {
    kept.current = false;
    let (lb, ub) = program.bounds();
    let (lb, ub): (Arc<[f64]>, Arc<[f64]>) = (lb.into(), ub.into());
    let n = lb.len();
    let x: Vec<f64> = (0..n).map(|i| start.x[i].max(lb[i]).min(ub[i])).collect();
    let values = program.values(&x)?;
    let (m, mi) = (values.equality.len(), values.inequality.len());
    // without rows there are none to know
    let known = start.multipliers.is_some() || m + mi == 0;
    let (y, z) = match start.multipliers {
        Some((y, z)) => {
            for (argument, found, expected) in [("y", y.len(), m), ("z", z.len(), mi)] {
                if found != expected {
                    return Err(Error::length(argument, found, expected, "one multiplier for each row"));
                }
            }
            (y, z)
        }
        None => (vec![0.0; m], vec![0.0; mi]),
    };
    let inner = Settings {
        solver: crate::Solver::Auto,
        eps_abs: 1e-9,
        eps_rel: 1e-9,
        max_iter: None,
        polish: true,
        smoothing: None,
        infeasible: crate::Infeasible::Status,
        ..settings.clone()
    };
    let mut sqp = Sqp {
        program,
        kept,
        settings: inner,
        lb,
        ub,
        x,
        y,
        z,
        z_box: start.z_box.unwrap_or_else(|| vec![0.0; n]),
        values,
        at: Expanded::blank(n),
        fresh: false,
        set: start.set,
        warm: None,
        deadline,
        price: 0.0,
        damping: 0.0,
        step: f64::INFINITY,
        force: 0.0,
        steps: 0,
        before: start.steps,
    };
    let tolerance = settings.eps_abs.max(settings.eps_rel);
    let outcome = match bad_value(&sqp.values) {
        Some(bad) => ended(Status::NumericalFailure, format!("{bad} at x0: start where all functions are defined")),
        None => sqp.iterate(tolerance, limit, known),
    };
    match outcome {
        Ok((solution, model, left)) => sqp.finish(solution, &model, left),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Ended(status, reason)) => Ok(sqp.without(status, reason)),
    }
}

impl Sqp<'_> {
    fn rows(&self) -> Rows<'_> {
        Rows { values: &self.values, x: &self.x, bounds: (&self.lb, &self.ub) }
    }

    fn expand(&mut self) -> Result<(), Stop> {
        if self.fresh {
            return Ok(());
        }
        let at = self.program.expand(At { x: &self.x, y: &self.y, z: &self.z })?;
        if let Some(bad) = bad_expansion(&at) {
            return ended(Status::NumericalFailure, bad);
        }
        self.at = Expanded::of(at, self.x.len(), (self.y.len(), self.z.len()))?;
        self.fresh = true;
        Ok(())
    }

    /// Goes to a point, where nothing is known yet.
    fn go(&mut self, x: Vec<f64>, values: Values) {
        (self.x, self.values, self.fresh) = (x, values, false);
    }

    fn left(&self) -> Left {
        Left::of(&self.rows(), &self.at, (&self.y, &self.z, &self.z_box), NOTHING * self.force)
    }

    /// The multipliers of the bounds that the others leave, where x is at one.
    fn forces_at_bounds(&self) -> Vec<f64> {
        let mut force = self.at.gradient.clone();
        self.at.equality.tmul_add(1.0, &self.y, &mut force);
        self.at.inequality.tmul_add(1.0, &self.z, &mut force);
        let of = |j: usize| match self.x[j] {
            x if x <= self.lb[j] => (-force[j]).min(0.0),
            x if x >= self.ub[j] => (-force[j]).max(0.0),
            _ => 0.0,
        };
        (0..force.len()).map(of).collect()
    }

    /// A solution of a quadratic program, from the active set of the last one where that fits. It is a model, which is convex.
    fn quadratic(&mut self, qp: Qp) -> Result<Box<Solution>, Error> {
        let fits = self.kept.layer.as_mut().is_some_and(|layer| layer.update_convex(qp.clone()).is_ok());
        if !fits {
            self.kept.layer = Some(Layer::of_convex(qp, self.settings.clone())?);
        }
        self.kept.current = true;
        match &mut self.kept.layer {
            Some(layer) => layer.solve_from(self.warm.as_ref()).map(|solution| Box::new(solution.clone())),
            None => Err(Error::Backward { reason: "no layer".to_owned() }),
        }
    }

    /// The model at hand.
    fn model(&mut self) -> Result<Model, Error> {
        let unit =
            |at: &Expanded, x: &[f64]| size(&at.hessian).max(norm_inf(&at.gradient) / norm_inf(x).max(1.0)).max(1e-8);
        let damping = if self.damping > 0.0 { self.damping * unit(&self.at, &self.x) } else { 0.0 };
        let rows = Rows { values: &self.values, x: &self.x, bounds: (&self.lb, &self.ub) };
        Model::new(&rows, &self.at, self.set.as_ref(), damping, &mut self.kept.curvature)
    }

    /// The last iterate with its model's solution, where it is a stationary point to the tolerance.
    fn iterate(&mut self, tolerance: f64, limit: usize, known: bool) -> Result<(Box<Solution>, Model, Left), Stop> {
        let start = self.values.objective;
        if self.set.is_some() {
            self.warm = Some(self.point());
        } else if known {
            // the set of the first model tells more than no set
            self.expand()?;
            let mi = self.z.len();
            let active: Vec<bool> = (0..mi).map(|i| self.z[i] > 0.0).collect();
            let n = self.x.len();
            let free = vec![crate::Side::Free; n];
            self.set = Some(ActiveSet::new((active, vec![false; mi]), (free, vec![false; n])));
            self.z_box = self.forces_at_bounds();
        }
        let mut best: Option<(f64, usize)> = None;
        loop {
            if self.deadline.passed() {
                return Err(Stop::Ended(Status::TimeLimit, None));
            }
            self.expand()?;
            self.force = self.force.max(if self.steps == 0 { norm_inf(&self.at.gradient) } else { 0.0 });
            let mut missed = 0.0;
            let (model, solution) = loop {
                let model = self.model()?;
                if known && model.definite && self.steps == 0 {
                    self.warm = Some(self.point());
                }
                let solution = self.quadratic(model.qp.clone())?;
                self.steps += 1;
                if solution.ok() {
                    break (model, solution);
                }
                if solution.status == Status::PrimalInfeasible || self.damping > 1e-2 {
                    let solution = self.elastic(&model, &mut missed)?;
                    break (model, solution);
                }
                // without curvature a model may have no bottom
                self.damping = (10.0 * self.damping).max(1e-4);
            };
            let d: Vec<f64> = solution.x.iter().zip(&self.x).map(|(to, from)| to - from).collect();
            // at this point, with the multipliers that the model gives
            let keep = (
                std::mem::replace(&mut self.y, solution.y.clone()),
                std::mem::replace(&mut self.z, solution.z.clone()),
                std::mem::replace(&mut self.z_box, solution.z_box.clone()),
            );
            // only multipliers of rows have a part in the derivatives
            self.fresh &= self.y.is_empty() && self.z.is_empty();
            let before = self.step;
            let step = d.iter().zip(&self.x).fold(0.0_f64, |m, (d, x)| m.max(d.abs() / x.abs().max(1.0)));
            self.step = step;
            log::trace!("{}: objective {:e}, step {step:.1e}", self.steps, self.values.objective);
            let near = missed == 0.0 && step <= tolerance.max(1e-6).sqrt();
            if let Some(left) = near.then(|| self.left()).filter(|left| left.worst() <= tolerance) {
                // full steps while they improve; the set must have settled too
                let worst = left.worst().max(step);
                let settled = same_set(self.set.as_ref(), &solution.active);
                let better = best.is_none_or(|(last, _)| worst < 0.5 * last);
                let count = best.map_or(0, |(_, count)| count + 1);
                // the first model had the curvature of other multipliers
                if (settled && (worst <= ROUNDED || (!better && count >= 2))) || count >= POLISH {
                    return Ok((solution, model, left));
                }
                self.damping = 0.0;
                best = Some((best.map_or(worst, |(last, _)| last.min(worst)), count));
                let to = solution.x.clone();
                let there = self.program.values(&to)?;
                if bad_value(&there).is_some() {
                    return Ok((solution, model, left));
                }
                let last = settled && model.shift == 0.0 && is_last(step, before);
                self.set = Some(solution.active.clone());
                self.go(to, there);
                if last {
                    self.expand()?;
                    let left = self.left();
                    if left.worst() <= ROUNDED {
                        return Ok((solution, model, left));
                    }
                }
                // the last digits are found from nothing, unless that is long or the answer plain
                let easy = model.definite || self.x.len() > LARGE;
                self.warm = easy.then(|| self.point());
                continue;
            }
            best = None;
            if self.steps >= limit {
                (self.y, self.z, self.z_box) = keep;
                return Err(Stop::Ended(Status::IterationLimit, None));
            }
            if violation(&self.values) <= 1e-6 && self.values.objective < -BOTTOM * (1.0 + start.abs()) {
                return ended(Status::Unbounded, format!("f = {:e} at a feasible point", self.values.objective));
            }
            self.advance(&model, &solution, &d, missed)?;
        }
    }
}

/// True if Newton's method has nothing to find after a step that follows one of length `before`.
///
/// Its error is a multiple of the square of the step, so that the next one would fall by the square of the factor by which this
/// one fell, and the curvature at its end is that of its beginning up to twice that square.
fn is_last(step: f64, before: f64) -> bool {
    let fall = step / before;
    let alike = step <= LAST || (before.is_finite() && fall <= STEEP);
    alike && fall <= FALLS && step * fall * fall <= f64::EPSILON
}

fn same_set(a: Option<&ActiveSet>, b: &ActiveSet) -> bool {
    a.is_some_and(|a| a.g == b.g && a.bound == b.bound)
}
