//! The log-barrier solution `x(mu)`: `s_i z_i = mu` for every inequality and finite bound.

use crate::forward::newton::PrimalDual;
use crate::kkt::KktFactor;
use crate::matrix::norm_inf;
use crate::{Error, Point, Qp};

const MAX_ITER: usize = 100;
/// The path from afar begins at this mu.
const FAR: f64 = 1.0;
/// Each step aims at this part of the mu that it starts with.
const CENTERED: f64 = 0.2;

/// An error that no longer falls is rounding if it is below this.
const ROUNDING: f64 = 1e-8;

const UNBOUNDED: &str = "it has no solution (the set of optimal points is unbounded)";

/// The barrier solution, and the curvature that it gives to the backward system.
#[derive(Debug, Default)]
pub(crate) struct Smoothed {
    pub it: PrimalDual,
    /// `(x, y, z, z_box)` at `mu`.
    pub point: Point,
    /// `z_l/s_l`, `z_u/s_u` per variable.
    pub lower: Vec<f64>,
    pub upper: Vec<f64>,
}

impl Smoothed {
    /// The barrier solution at `mu`: by Newton's method from the solution `start`, and where that gets stuck along the central
    /// path from afar. It gets stuck where the constraints leave little room: the solution is then far from the path.
    pub fn solve(qp: &Qp, kkt: &mut dyn KktFactor, start: &Point, mu: f64) -> Result<Self, Error> {
        let near = nearest(qp, start, mu);
        let failed = |reason: String| Error::Backward { reason: format!("barrier problem at mu = {mu:e}: {reason}") };
        let it = match follow(qp, kkt, near, mu, 0.0) {
            Err(reason) if reason != UNBOUNDED => follow(qp, kkt, nearest(qp, start, mu.max(FAR)), mu, CENTERED),
            found => found,
        };
        Ok(Self::read(qp, it.map_err(failed)?))
    }

    fn read(qp: &Qp, it: PrimalDual) -> Self {
        let mut point = Point::default();
        it.write(qp, &mut point);
        it.write_fixed(qp, &mut point);
        let mut out = Smoothed { point, lower: vec![0.0; qp.n()], upper: vec![0.0; qp.n()], ..Smoothed::default() };
        for (f, curvature) in [(&it.l, &mut out.lower), (&it.u, &mut out.upper)] {
            for k in 0..f.index.len() {
                curvature[f.index[k]] = f.z[k] / f.s[k];
            }
        }
        out.it = it;
        out
    }
}

/// The point of pairs on the central path that is nearest to a solution.
fn nearest(qp: &Qp, start: &Point, mu: f64) -> PrimalDual {
    let mut it = PrimalDual::new(qp);
    it.x.clone_from(&start.x);
    it.y.clone_from(&start.y);
    // the pair on the central path nearest to (slack, multiplier): s - mu/s = slack - z
    let place = |slack: f64, z: f64| {
        let d = slack - z;
        let root = (d * d + 4.0 * mu).sqrt();
        // two forms of one number: no cancellation for either sign
        if d >= 0.0 { (0.5 * (d + root), 2.0 * mu / (d + root)) } else { (2.0 * mu / (root - d), 0.5 * (root - d)) }
    };
    let mut gx = vec![0.0; qp.n_inequality()];
    qp.g.mul_add(1.0, &start.x, &mut gx);
    for k in 0..it.g.index.len() {
        let i = it.g.index[k];
        (it.g.s[k], it.g.z[k]) = place(qp.h[i] - gx[i], start.z[i]);
    }
    for k in 0..it.l.index.len() {
        let i = it.l.index[k];
        (it.l.s[k], it.l.z[k]) = place(start.x[i] - qp.lb[i], -start.z_box[i].min(0.0));
    }
    for k in 0..it.u.index.len() {
        let i = it.u.index[k];
        (it.u.s[k], it.u.z[k]) = place(qp.ub[i] - start.x[i], start.z_box[i].max(0.0));
    }
    it
}

/// Newton steps to `mu`, each towards `shrink` of the mu at hand at the least. They have converged where every pair is on the path
/// in its own units: `x` may stand still, or be large elsewhere, while small pairs are far from it.
fn follow(qp: &Qp, kkt: &mut dyn KktFactor, mut it: PrimalDual, mu: f64, shrink: f64) -> Result<PrimalDual, String> {
    let (mut change, mut last) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..MAX_ITER {
        it.residuals(qp);
        it.factor(qp, kkt, [0.0; 3]).map_err(|why| why.to_string())?;
        if qp.n() == 0 {
            // slacks are what they are
            return Ok(it);
        }
        let error = it.off_path(mu).max(change);
        // quadratic convergence ends where rounding begins
        if error <= 1e-15 || (error <= ROUNDING && error >= 0.25 * last) {
            return Ok(it);
        }
        last = error;
        let target = mu.max(shrink * it.mu());
        it.direction(qp, kkt, target, false);
        let (primal, dual) = it.step_lengths();
        let full = primal.min(dual);
        let step = if full < 1.0 { 0.99 * full } else { 1.0 };
        if !it.advance(step, step) {
            return Err("a number overflowed".to_owned());
        }
        change = if step == 1.0 { it.relative_step() } else { f64::INFINITY };
        if norm_inf(&it.x) > 1e12 {
            return Err(UNBOUNDED.to_owned());
        }
    }
    Err("Newton's method did not converge: the constraints may leave no interior".to_owned())
}
