//! Which solver a program is given to, and what takes over where it ends.

use super::interior::{self, Reached};
use super::local::LocalSolution;
use super::numbers::bad_value;
use super::{At, SmoothProgram, newton, sqp};
use crate::thresholds::sqp::*;
use crate::{Deadline, Error, Settings, Solver, Status};
use sqp::{Kept, Start};

pub(super) fn solve(
    program: &mut dyn SmoothProgram,
    x0: &[f64],
    multipliers: Option<(&[f64], &[f64])>,
    settings: &Settings,
    kept: &mut Kept,
) -> Result<LocalSolution, Error> {
    kept.current = false;
    let deadline = settings.deadline();
    let limit = settings.max_iter.unwrap_or(STEPS);
    check(program, x0, settings)?;
    let large = x0.len() > LARGE;
    let inside = match settings.solver {
        Solver::InteriorPoint => true,
        Solver::ActiveSet => false,
        _ => large || (x0.len() > SPARSE && is_sparse(program, x0)?),
    };
    let near = match multipliers.filter(|_| inside) {
        Some((y, z)) => interior::near(program, x0, y, z)?,
        None => None,
    };
    if let Some(near) = near {
        if let Some(found) = newton::finish(program, &near, 1.0, settings, &deadline)? {
            return Ok(found);
        }
        // other constraints are active
        let reached = interior::solve(program, x0, Some(&near), settings, &deadline)?;
        if reached.converged {
            if let Some(found) = newton::finish(program, &reached, 1.0, settings, &deadline)? {
                return Ok(found);
            }
        }
    }
    if !inside {
        let first = iterate(program, Start::new(x0, multipliers), settings, (limit, deadline.clone()), kept)?;
        let broken = matches!(first.status, Status::NumericalFailure | Status::IterationLimit);
        if settings.solver == Solver::ActiveSet || !broken {
            return Ok(first);
        }
        let reached = interior::solve(program, x0, None, settings, &deadline)?;
        if !reached.converged {
            return Ok(first);
        }
        let found = ended_inside(program, reached, settings, (limit, deadline), kept)?;
        return Ok(if found.ok() { found } else { first });
    }
    let reached = interior::solve(program, x0, None, settings, &deadline)?;
    if reached.converged {
        return ended_inside(program, reached, settings, (limit, deadline), kept);
    }
    let left = limit.saturating_sub(reached.steps);
    // where it did not move x0 is the better name for the place
    let start = Start { steps: reached.steps, ..Start::new(if reached.steps == 0 { x0 } else { &reached.x }, None) };
    let left = if large { left.min(AFTER) } else { left };
    iterate(program, start, settings, (left, deadline), kept)
}

/// Are the matrices at a start, or the bounds nearest to it, sparse ones? False where they are no numbers.
fn is_sparse(program: &mut dyn SmoothProgram, x0: &[f64]) -> Result<bool, Error> {
    let (lb, ub) = program.bounds();
    let x: Vec<f64> = (0..x0.len()).map(|j| x0[j].max(lb[j]).min(ub[j])).collect();
    let values = program.values(&x)?;
    let (y, z) = (vec![0.0; values.equality.len()], vec![0.0; values.inequality.len()]);
    Ok(bad_value(&values).is_none() && newton::suits(&program.expand(At { x: &x, y: &y, z: &z })?))
}

/// The last digits of what the interior point found.
fn ended_inside(
    program: &mut dyn SmoothProgram,
    reached: Reached,
    settings: &Settings,
    (limit, deadline): (usize, Deadline),
    kept: &mut Kept,
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
    iterate(program, start, settings, (left, deadline), kept)
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
    iterate(program, Start::new(x, multipliers), &loose, (POLISH, settings.deadline()), &mut Kept::default())
}

/// Sequential quadratic programming from a start.
fn iterate(
    program: &mut dyn SmoothProgram,
    start: Start,
    settings: &Settings,
    until: (usize, Deadline),
    kept: &mut Kept,
) -> Result<LocalSolution, Error> {
    check(program, &start.x, settings)?;
    sqp::run(program, start, settings, until, kept)
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
    let empty = |i: &usize| {
        let (lb, ub) = (lb[*i], ub[*i]);
        lb.is_nan() || ub.is_nan() || lb > ub || lb == f64::INFINITY || ub == f64::NEG_INFINITY
    };
    match (0..n).find(empty) {
        Some(i) => Err(Error::Bounds { index: i, lb: lb[i], ub: ub[i] }),
        None => Ok(()),
    }
}
