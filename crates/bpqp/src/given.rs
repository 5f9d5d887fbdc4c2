//! A solution that someone else computed: the proof that the passes are decoupled.

use crate::active::{RowScales, Side};
use crate::residuals::{ResidualWork, residuals};
use crate::{Error, Layer, Point, Qp, Settings, Solution, Status};

/// Slack below this multiple of the scales makes a row active when its multiplier was not given.
const NEAR: f64 = 1e-6;
/// Relative residuals up to this count as a solution of another solver, an inaccurate one.
pub(crate) const INACCURATE: f64 = 1e-4;

/// A solution of `qp` from elsewhere, ready to be differentiated.
///
/// `x` is returned as given, and its residuals decide the status. Multipliers that are missing (empty) are recovered.
/// The gradient is taken at the polished point; [`Info::moved`](crate::Info) says how far that is from what was given,
/// and the verdict is `Untrusted` where no active set could be verified.
pub fn from_solution(qp: Qp, given: Point, settings: &Settings) -> Result<Solution, Error> {
    let lengths = [
        ("x", given.x.len(), qp.n(), false),
        ("y", given.y.len(), qp.n_equality(), true),
        ("z", given.z.len(), qp.n_inequality(), true),
        ("z_box", given.z_box.len(), qp.n(), true),
        ("s", given.s.len(), qp.n_cone(), true),
        ("y_cone", given.y_cone.len(), qp.n_cone(), false),
    ];
    for (argument, found, expected, optional) in lengths {
        if found != expected && !(optional && found == 0) {
            let advice = "a given solution has the shapes of the problem; only slacks and multipliers of linear constraints may be left out";
            return Err(Error::length(argument, found, expected, advice));
        }
    }
    for (argument, v) in ["x", "y", "z", "z_box", "s", "y_cone"].into_iter().zip(given.parts()) {
        crate::error::check_finite(argument, v)?;
    }
    let missing = (given.y.is_empty() && qp.n_equality() > 0)
        || (given.z.is_empty() && qp.n_inequality() > 0)
        || (given.z_box.is_empty() && qp.has_bounds());
    let mut point = Point::zeros(&qp);
    for (to, from) in point.parts_mut().into_iter().zip(given.parts()) {
        if !from.is_empty() {
            to.copy_from_slice(from);
        }
    }
    if given.s.is_empty() && qp.n_cone() > 0 {
        point.s.copy_from_slice(&qp.d);
        qp.c.mul_add(-1.0, &point.x, &mut point.s);
    }
    let slack = point.s.clone();
    if missing {
        mark_near(&qp, &mut point);
    }
    let layer = Layer::for_given(qp, settings.clone())?;
    let mut solution = layer.differentiate_given(point)?;
    let mut shown = Point { x: given.x, s: slack, ..solution.point() };
    let Point { y, z, z_box, y_cone, .. } = &mut shown;
    for (to, from) in [(y, given.y), (z, given.z), (z_box, given.z_box), (y_cone, given.y_cone)] {
        if !from.is_empty() {
            *to = from;
        }
    }
    let (own, objective) = residuals(&solution.qp, &shown, &mut ResidualWork::default());
    solution.status = if own.within(settings.eps_abs, settings.eps_rel, 1.0) {
        Status::Solved
    } else if own.relative() <= INACCURATE {
        Status::SolvedInaccurate
    } else {
        Status::NumericalFailure
    };
    let moved = solution.at.x.iter().zip(&shown.x).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    solution.info.moved = moved;
    (solution.residuals, solution.objective) = (own, objective);
    solution.show(&shown);
    Ok(solution)
}

/// Without multipliers the slack alone tells what is active: a placeholder multiplier of the size of the forces of the
/// problem marks those rows; the polish replaces it.
fn mark_near(qp: &Qp, point: &mut Point) {
    let mut work = ResidualWork::default();
    residuals(qp, point, &mut work);
    let mut scales = RowScales::default();
    scales.load(qp);
    let force = scales.force(qp, &work.px, &point.x);
    let distance = crate::active::distance_scale(qp, &point.x);
    for i in 0..point.z.len() {
        let near = work.slack[i] <= NEAR * scales.norms[i] * distance;
        if near && point.z[i] == 0.0 {
            point.z[i] = force / scales.norms[i];
        }
    }
    for i in 0..point.x.len() {
        let side = match () {
            () if point.x[i] - qp.lb[i] <= NEAR * distance => Side::Lower,
            () if qp.ub[i] - point.x[i] <= NEAR * distance => Side::Upper,
            () => Side::Free,
        };
        if point.z_box[i] == 0.0 {
            point.z_box[i] = match side {
                Side::Lower => -force,
                Side::Upper => force,
                _ => 0.0,
            };
        }
    }
}
