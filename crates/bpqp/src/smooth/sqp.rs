//! Sequential quadratic programming with exact Hessians, on the solvers of quadratic programs.
//!
//! Each step solves the [model](super::model) at the point; its multipliers are those of the next point. An l1 merit function
//! `f + mu (|c|_1 + |g_+|_1)` accepts the step, a second-order correction where the curvature of the rows alone made it fail
//! (the Maratos effect), or a shorter one. Where the rows of the model contradict each other a price on what they miss takes
//! their place; where no price helps the point is a stationary one of the violation. Near the solution full steps go on while
//! they improve: the last digits are those of Newton's method.

use super::interior::{self, Reached};
use super::judge::{Order, finite, judge};
use super::local::LocalSolution;
use super::model::{Left, Model, Rows, size};
use super::newton;
use super::{At, Expansion, SmoothProgram, Values};
use crate::active::{ActiveSet, Side};
use crate::matrix::{dot, norm_inf};
use crate::{Deadline, Error, Layer, Point, Qp, Settings, Solution, Solver, Status};
use std::sync::Mutex;

/// Iterations, where no limit is asked for.
const STEPS: usize = 300;
/// Programs with more variables begin with the interior point, unless they come with multipliers.
const LARGE: usize = 300;
/// How many times its slack a multiplier is for its row to be active, tried in turn.
const SURE: [f64; 5] = [1.0, 100.0, 0.01, 1e4, 1e-4];
/// Steps of this solver where the interior point of a large program has failed.
const AFTER: usize = 60;
/// Full steps beyond the tolerance, while they improve.
const POLISH: usize = 8;
/// The part of the predicted decrease that a step must give.
const ARMIJO: f64 = 1e-4;
const SHORTEST: f64 = 1e-13;
/// A step that must be shorter than this part of the model's points the wrong way.
const CUT: f64 = 1e-4;
/// More than this times the curvature does not make a better direction.
const MOST_DAMPING: f64 = 1e8;
/// Rows that are missed by less than this in sum are met.
const MISSED: f64 = 1e-7;
/// The relative slope of what is missed that is none.
const FLAT: f64 = 1e-5;
/// Steps that Newton's method ends with are far below this.
const SETTLED: f64 = 1e-7;
/// Forces below this part of those at the start are none.
pub(super) const NOTHING: f64 = 1e-7;
/// An objective below minus this, relative to where it began, is taken to have no bound.
const BOTTOM: f64 = 1e12;
/// Beyond this times the forces, no price on violations helps.
const LARGEST_PRICE: f64 = 1e9;

struct Sqp<'a> {
    program: &'a mut dyn SmoothProgram,
    settings: Settings,
    lb: Vec<f64>,
    ub: Vec<f64>,
    x: Vec<f64>,
    y: Vec<f64>,
    z: Vec<f64>,
    z_box: Vec<f64>,
    values: Values,
    at: Expansion,
    set: Option<ActiveSet>,
    warm: Option<Point>,
    deadline: Deadline,
    layer: Option<Layer>,
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

/// The first entry that is not finite, by function.
pub(super) fn bad_value(values: &Values) -> Option<String> {
    if !values.objective.is_finite() {
        return Some(format!("f is {}", values.objective));
    }
    let named = [("c", &values.equality), ("g", &values.inequality)];
    named.iter().find_map(|(name, v)| {
        let i = v.iter().position(|v| !v.is_finite())?;
        Some(format!("{name}[{i}] is {}", v[i]))
    })
}

pub(super) fn bad_expansion(at: &Expansion) -> Option<String> {
    if let Some(j) = at.gradient.iter().position(|v| !v.is_finite()) {
        return Some(format!("the gradient of f has {} for x[{j}]", at.gradient[j]));
    }
    for (name, m) in [("c", &at.equality), ("g", &at.inequality)] {
        let mut found = None;
        m.for_each(|i, j, v| {
            if found.is_none() && !v.is_finite() {
                found = Some(format!("the Jacobian of {name} has {v} at ({i}, {j})"));
            }
        });
        if found.is_some() {
            return found;
        }
    }
    (!finite(&at.hessian)).then(|| "the Hessian of the Lagrangian has an entry that is not finite".to_owned())
}

/// Where the iteration begins.
struct Start {
    x: Vec<f64>,
    multipliers: Option<(Vec<f64>, Vec<f64>)>,
    z_box: Option<Vec<f64>>,
    set: Option<ActiveSet>,
    steps: usize,
}

impl Start {
    fn new(x: &[f64], multipliers: Option<(&[f64], &[f64])>) -> Self {
        let multipliers = multipliers.map(|(y, z)| (y.to_vec(), z.to_vec()));
        Start { x: x.to_vec(), multipliers, z_box: None, set: None, steps: 0 }
    }

    /// From a solution of the interior point: its active set is that of the first model.
    fn from_interior(reached: Reached, bounds: (&[f64], &[f64])) -> Self {
        let (rows, low, high) = reached.active(1.0);
        let n = low.len();
        let side = |j: usize| match (low[j], high[j]) {
            _ if bounds.0[j] == bounds.1[j] => Side::Fixed,
            (true, _) => Side::Lower,
            (_, true) => Side::Upper,
            _ => Side::Free,
        };
        let sides: Vec<Side> = (0..n).map(side).collect();
        let z = reached.z.iter().zip(&rows).map(|(z, active)| if *active { *z } else { 0.0 }).collect();
        let z_box = (0..n).map(|j| if low[j] || high[j] { reached.z_box[j] } else { 0.0 }).collect();
        let weak = (vec![false; rows.len()], vec![false; n]);
        Start {
            x: reached.x,
            multipliers: Some((reached.y, z)),
            z_box: Some(z_box),
            set: Some(ActiveSet::new((rows, weak.0), (sides, weak.1))),
            steps: reached.steps,
        }
    }
}

pub(super) fn solve(
    program: &mut dyn SmoothProgram,
    x0: &[f64],
    multipliers: Option<(&[f64], &[f64])>,
    settings: &Settings,
) -> Result<LocalSolution, Error> {
    let deadline = settings.deadline();
    let limit = settings.max_iter.unwrap_or(STEPS);
    let large = x0.len() > LARGE;
    let inside = match settings.solver {
        Solver::InteriorPoint => true,
        Solver::ActiveSet => false,
        _ => large,
    };
    if let (true, Some((y, z))) = (inside, multipliers) {
        check(program, x0, settings)?;
        let near = interior::near(program, x0, y, z)?;
        let found = match near {
            Some(near) => newton::finish(program, &near, 1.0, settings, &deadline)?,
            None => None,
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    if !inside {
        let first = run(program, Start::new(x0, multipliers), settings, limit, deadline.clone())?;
        let broken = matches!(first.status, Status::NumericalFailure | Status::IterationLimit);
        if settings.solver == Solver::ActiveSet || !broken {
            return Ok(first);
        }
        let reached = interior::solve(program, x0, settings, &deadline)?;
        let found = if reached.converged {
            ended_inside(program, reached, settings, limit, deadline)?
        } else {
            return Ok(first);
        };
        return Ok(if found.ok() { found } else { first });
    }
    check(program, x0, settings)?;
    let reached = interior::solve(program, x0, settings, &deadline)?;
    if reached.converged {
        return ended_inside(program, reached, settings, limit, deadline);
    }
    let left = limit.saturating_sub(reached.steps);
    // where it did not move x0 is the better name for the place
    let start = Start { steps: reached.steps, ..Start::new(if reached.steps == 0 { x0 } else { &reached.x }, None) };
    let left = if large { left.min(AFTER) } else { left };
    run(program, start, settings, left, deadline)
}

/// The last digits of what the interior point found.
fn ended_inside(
    program: &mut dyn SmoothProgram,
    reached: Reached,
    settings: &Settings,
    limit: usize,
    deadline: Deadline,
) -> Result<LocalSolution, Error> {
    // where multipliers and slacks are of one size the set is a guess
    for times in SURE {
        if let Some(found) = newton::finish(program, &reached, times, settings, &deadline)? {
            return Ok(found);
        }
    }
    let left = limit.saturating_sub(reached.steps).max(2 * POLISH);
    let left = if reached.x.len() > LARGE { left.min(2 * POLISH) } else { left };
    let start = Start::from_interior(reached, program.bounds());
    run(program, start, settings, left, deadline)
}

/// Full steps from a solution that someone else found.
pub(super) fn polish(
    program: &mut dyn SmoothProgram,
    x: &[f64],
    multipliers: Option<(&[f64], &[f64])>,
    settings: &Settings,
) -> Result<LocalSolution, Error> {
    let loose =
        Settings { eps_abs: settings.eps_abs.max(1e-4), eps_rel: settings.eps_rel.max(1e-4), ..settings.clone() };
    run(program, Start::new(x, multipliers), &loose, POLISH, settings.deadline())
}

/// Refuses what is no start.
fn check(program: &dyn SmoothProgram, x0: &[f64], settings: &Settings) -> Result<(), Error> {
    settings.validate()?;
    let (lb, ub) = program.bounds();
    let n = lb.len();
    if ub.len() != n || x0.len() != n {
        let (argument, found) = if ub.len() != n { ("ub", ub.len()) } else { ("x0", x0.len()) };
        return Err(Error::length(argument, found, n, "x0, lb and ub have one entry for each variable"));
    }
    crate::error::check_finite("x0", x0)?;
    match (0..n).find(|&i| lb[i].is_nan() || ub[i].is_nan() || lb[i] > ub[i]) {
        Some(i) => Err(Error::Bounds { index: i, lb: lb[i], ub: ub[i] }),
        None => Ok(()),
    }
}

fn run(
    program: &mut dyn SmoothProgram,
    start: Start,
    settings: &Settings,
    limit: usize,
    deadline: Deadline,
) -> Result<LocalSolution, Error> {
    check(program, &start.x, settings)?;
    let (lb, ub) = program.bounds();
    let (lb, ub) = (lb.to_vec(), ub.to_vec());
    let n = lb.len();
    let x: Vec<f64> = (0..n).map(|i| start.x[i].max(lb[i]).min(ub[i])).collect();
    let values = program.values(&x)?;
    let (m, mi) = (values.equality.len(), values.inequality.len());
    let known = start.multipliers.is_some();
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
    let blank = Expansion {
        gradient: Vec::new(),
        equality: crate::Matrix::empty(n),
        inequality: crate::Matrix::empty(n),
        hessian: crate::Hessian::Zero(n),
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
        settings: inner,
        lb,
        ub,
        x,
        y,
        z,
        z_box: start.z_box.unwrap_or_else(|| vec![0.0; n]),
        values,
        at: blank,
        set: start.set,
        warm: None,
        deadline,
        layer: None,
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
        self.at = self.program.expand(At { x: &self.x, y: &self.y, z: &self.z })?;
        match bad_expansion(&self.at) {
            Some(bad) => ended(Status::NumericalFailure, bad),
            None => Ok(()),
        }
    }

    fn left(&self) -> Left {
        Left::of(&self.rows(), &self.at, (&self.y, &self.z, &self.z_box), NOTHING * self.force)
    }

    /// A solution of a quadratic program, from the active set of the last one where that fits.
    fn quadratic(&mut self, qp: Qp) -> Result<Solution, Error> {
        let fits = self.layer.as_mut().is_some_and(|layer| layer.update(qp.clone()).is_ok());
        if !fits {
            self.layer = Some(Layer::new(qp, self.settings.clone())?);
        }
        match &mut self.layer {
            Some(layer) => layer.solve_from(self.warm.as_ref()).cloned(),
            None => Err(Error::Backward { reason: "no layer".to_owned() }),
        }
    }

    /// The last iterate with its model's solution, where it is a stationary point to the tolerance.
    fn iterate(&mut self, tolerance: f64, limit: usize, known: bool) -> Result<(Solution, Model, Left), Stop> {
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
        }
        let mut best: Option<(f64, usize)> = None;
        loop {
            if self.deadline.passed() {
                return Err(Stop::Ended(Status::TimeLimit, None));
            }
            self.expand()?;
            self.force = self.force.max(if self.steps == 0 { norm_inf(&self.at.gradient) } else { 0.0 });
            let unit = size(&self.at.hessian).max(norm_inf(&self.at.gradient) / norm_inf(&self.x).max(1.0)).max(1e-8);
            let mut missed = 0.0;
            let (model, solution) = loop {
                let model = Model::new(&self.rows(), &self.at, self.set.as_ref(), self.damping * unit)?;
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
            let keep = (self.y.clone(), self.z.clone(), self.z_box.clone());
            (self.y, self.z, self.z_box) = (solution.y.clone(), solution.z.clone(), solution.z_box.clone());
            let left = self.left();
            let step = d.iter().zip(&self.x).fold(0.0_f64, |m, (d, x)| m.max(d.abs() / x.abs().max(1.0)));
            self.step = step;
            log::trace!(
                "{}: objective {:e}, left {:.1e}, step {step:.1e}",
                self.steps,
                self.values.objective,
                left.worst()
            );
            let done = missed == 0.0 && left.worst() <= tolerance && step <= tolerance.max(1e-6).sqrt();
            if done {
                // full steps while they improve; the set must have settled too
                let worst = left.worst().max(step);
                let settled = same_set(self.set.as_ref(), &solution.active);
                let better = best.is_none_or(|(last, _)| worst < 0.5 * last);
                let count = best.map_or(0, |(_, count)| count + 1);
                // the first model had the curvature of other multipliers
                if (settled && (worst <= 1e-14 || (!better && count >= 2))) || count >= POLISH {
                    return Ok((solution, model, left));
                }
                self.damping = 0.0;
                best = Some((best.map_or(worst, |(last, _)| last.min(worst)), count));
                let to = solution.x.clone();
                let there = self.program.values(&to)?;
                if bad_value(&there).is_none() {
                    self.set = Some(solution.active.clone());
                    (self.x, self.values) = (to, there);
                    // the last digits are found from nothing, unless that is long
                    self.warm = (self.x.len() > LARGE).then(|| self.point());
                    continue;
                }
                return Ok((solution, model, left));
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

    /// Moves along the step.
    fn advance(&mut self, model: &Model, solution: &Solution, d: &[f64], missed: f64) -> Result<(), Stop> {
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

    fn point(&self) -> Point {
        Point { x: self.x.clone(), y: self.y.clone(), z: self.z.clone(), z_box: self.z_box.clone(), ..Point::default() }
    }

    fn inside(&self, j: usize, x: f64) -> f64 {
        x.max(self.lb[j]).min(self.ub[j])
    }

    fn accept(&mut self, x: Vec<f64>, values: Values, solution: &Solution) {
        (self.x, self.values) = (x, values);
        let fits = solution.active.bound.len() == self.x.len() && solution.active.g.len() == self.z.len();
        self.set = fits.then(|| solution.active.clone());
        self.warm = Some(self.point());
    }

    /// The step that misses the rows of the model least for its price, which grows until it helps.
    fn elastic(&mut self, model: &Model, missed: &mut f64) -> Result<Solution, Stop> {
        let (n, m, mi) = (self.x.len(), self.y.len(), self.z.len());
        let now = violation(&self.values);
        if now > MISSED && self.slope_of_violation() <= FLAT * now {
            return ended(Status::LocallyInfeasible, missed_by(now));
        }
        let force = norm_inf(&self.at.gradient).max(1.0);
        let mut price = self.price.max(10.0 * force);
        let mut found: Option<(Solution, f64)> = None;
        let warm = self.warm.take();
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
        solution.x.truncate(n);
        solution.z_box.truncate(n);
        solution.active.bound.truncate(n);
        solution.active.weak_bound.truncate(n);
        debug_assert!(solution.y.len() == m && solution.z.len() == mi);
        Ok(solution)
    }

    /// How fast the sum of what the rows are missed by changes with x, in units of x, within the bounds.
    fn slope_of_violation(&self) -> f64 {
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

    fn blank(&self, status: Status) -> LocalSolution {
        LocalSolution {
            x: self.x.clone(),
            y: self.y.clone(),
            z: self.z.clone(),
            z_box: self.z_box.clone(),
            objective: self.values.objective,
            status,
            iterations: self.before + self.steps,
            residual: f64::NAN,
            reason: None,
            direction: None,
            order_known: false,
            inner: None,
            rho: (0.0, 0.0),
            held: (Vec::new(), Vec::new()),
            work: Mutex::new(None),
            system: None,
        }
    }

    fn without(self, status: Status, reason: Option<String>) -> LocalSolution {
        LocalSolution { reason, ..self.blank(status) }
    }

    /// Judges the stationary point.
    fn finish(mut self, solution: Solution, model: &Model, left: Left) -> Result<LocalSolution, Error> {
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

fn same_set(a: Option<&ActiveSet>, b: &ActiveSet) -> bool {
    a.is_some_and(|a| a.g == b.g && a.bound == b.bound)
}
