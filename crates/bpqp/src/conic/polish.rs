//! From a solver's point to the solution: Newton's method on the optimality conditions, cones included.
//!
//! With `v = s - y` the conditions are `P x + q + A'(Pi(v) - v) = 0` and `A x + Pi(v) = b`: equations without
//! inequalities, whose derivative is that of the forward mode. A step is the tangent along `dq = r_d`, `db = -r_p` (the
//! residuals), followed by the projection of `v` back onto complementary `(s, y)`. Where the point is not on a kink the
//! convergence is quadratic: two or three steps.
//!
//! s and y have units of their own, so `v = s - unit y` with the ratio of the sizes of s and y as the unit.

use super::Conic;
use super::differentiate::{At, along, blocks};
use super::residuals::{Work, equations};
use super::system::{Faces, System};
use crate::Residuals;
use crate::cones::{Block, Tolerance};
use crate::matrix::norm_inf;

/// Steps at most.
const STEPS: usize = 12;
/// Residuals relative to their scales that count as rounding.
const ROUNDING: f64 = 1e-15;
/// Slack relative to the terms it is the difference of, multiplier relative to the largest one, that count as zero.
const WEAK: f64 = 1e-9;
/// The absolute tolerance times this counts as zero, too.
const NOTHING: f64 = 1e-4;
/// What an interior point leaves of a slack or multiplier that is zero, relative to the terms around it.
const REMNANT: f64 = 1e-6;

/// What came out.
#[derive(Debug, Clone)]
pub(crate) struct Polished {
    pub at: At,
    pub residuals: Residuals,
    pub objective: f64,
    pub steps: usize,
}

/// The larger of the two residuals relative to their scales, which count at least as much as the absolute tolerance.
pub(crate) fn merit(r: &Residuals, eps_abs: f64) -> f64 {
    let part = |r: f64, scale: f64| if r == 0.0 { 0.0 } else { r / scale.max(eps_abs) };
    let (a, b) = (part(r.primal, r.primal_scale), part(r.dual, r.dual_scale));
    if a.is_nan() || b.is_nan() { f64::INFINITY } else { a.max(b) }
}

/// The unit of the multipliers in slacks: the ratio of their largest entries in inequalities. Where all slacks or all
/// multipliers are remnants, small against the terms that make them or against the absolute tolerance, those count.
fn unit(conic: &Conic, x: &[f64], (s, terms): (&[f64], &[f64]), y: &[f64], eps_abs: f64) -> f64 {
    let (mut slack, mut multiplier, mut largest_terms) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (k, rows) in blocks(conic) {
        if !matches!(conic.cones[k], crate::Cone::Zero(_)) {
            slack = slack.max(norm_inf(&s[rows.clone()]));
            largest_terms = largest_terms.max(norm_inf(&terms[rows.clone()]));
            multiplier = multiplier.max(norm_inf(&y[rows]));
        }
    }
    let mut px = vec![0.0; x.len()];
    conic.p_mul_add(1.0, x, &mut px);
    let force = norm_inf(&px).max(norm_inf(&conic.q)) / norm_inf(conic.a.values());
    let force = if force.is_nan() { 0.0 } else { force };
    let ratio = slack.max(REMNANT * largest_terms).max(eps_abs) / multiplier.max(REMNANT * force).max(eps_abs);
    if ratio.is_finite() && ratio > 0.0 { ratio } else { 1.0 }
}

/// Buffers of the projection.
struct Splitter {
    unit: f64,
    v: Vec<f64>,
    tolerance: Vec<Tolerance>,
}

impl Splitter {
    fn new(conic: &Conic, (x, s, y): (&[f64], &[f64], &[f64]), eps_abs: f64) -> Self {
        let mut terms: Vec<f64> = conic.b.iter().map(|b| b.abs()).collect();
        for (i, j, v) in conic.a.triplets() {
            terms[i] += (v * x[j]).abs();
        }
        let unit = unit(conic, x, (s, &terms), y, eps_abs);
        let largest = norm_inf(y) * unit;
        let floor = NOTHING * eps_abs;
        let tolerance = terms
            .iter()
            .map(|t| Tolerance { s: (WEAK * t).max(floor), y: (WEAK * largest).max(floor * unit) })
            .collect();
        Splitter { unit, v: vec![0.0; s.len()], tolerance }
    }

    /// Makes `(s, y)` complementary and says where they are.
    fn split(&mut self, conic: &Conic, s: &mut [f64], y: &mut [f64]) -> Faces {
        let mut faces = Faces { bases: Vec::new(), curvature: vec![0.0; s.len()], weak: Vec::new() };
        for (v, (s, y)) in self.v.iter_mut().zip(s.iter().zip(y.iter())) {
            *v = s - self.unit * y;
        }
        for (k, rows) in blocks(conic) {
            let block = Block {
                s: &mut s[rows.clone()],
                y: &mut y[rows.clone()],
                curvature: &mut faces.curvature[rows.clone()],
            };
            let split = conic.cones[k].split(&self.v[rows.clone()], &self.tolerance[rows.clone()], block);
            faces.bases.push(split.basis);
            faces.weak.push(split.weak && !matches!(conic.cones[k], crate::Cone::Zero(_)));
        }
        y.iter_mut().for_each(|y| *y /= self.unit);
        faces.curvature.iter_mut().for_each(|c| *c /= self.unit);
        faces
    }
}

/// The complementary point nearest to a given one, with its geometry.
pub(crate) fn complementary(conic: &Conic, (x, s, y): (&[f64], &[f64], &[f64]), eps_abs: f64) -> At {
    let (mut s, mut y) = (s.to_vec(), y.to_vec());
    let faces = Splitter::new(conic, (x, &s, &y), eps_abs).split(conic, &mut s, &mut y);
    At { x: x.to_vec(), s, y, faces }
}

/// Newton steps from a point; keeps the best one.
pub(crate) fn polish(
    conic: &Conic,
    system: &mut System,
    (x, s, y): (&[f64], &[f64], &[f64]),
    eps_abs: f64,
) -> Polished {
    let mut splitter = Splitter::new(conic, (x, s, y), eps_abs);
    let (mut s, mut y) = (s.to_vec(), y.to_vec());
    let faces = splitter.split(conic, &mut s, &mut y);
    let mut at = At { x: x.to_vec(), s, y, faces };
    let mut work = Work::default();
    let (residuals, objective) = equations(conic, (&at.x, &at.s, &at.y), &mut work);
    let mut best = Polished { at: at.clone(), residuals, objective, steps: 0 };
    let mut failures = 0;
    for step in 1..=STEPS {
        if merit(&best.residuals, eps_abs) <= ROUNDING || system.factor(conic, &at.faces).is_err() {
            break;
        }
        let mut l = work.dual.clone();
        let Ok((dy, _)) = along(conic, &at.faces, system, &mut l, &work.primal) else { break };
        let mut ds = work.primal.clone();
        conic.a.mul_add(-1.0, &l, &mut ds);
        let add = |to: &mut [f64], d: &[f64]| to.iter_mut().zip(d).for_each(|(t, d)| *t += d);
        add(&mut at.x, &l);
        add(&mut at.s, &ds);
        add(&mut at.y, &dy);
        at.faces = splitter.split(conic, &mut at.s, &mut at.y);
        let (residuals, objective) = equations(conic, (&at.x, &at.s, &at.y), &mut work);
        let (new, old) = (merit(&residuals, eps_abs), merit(&best.residuals, eps_abs));
        if new < old {
            let slow = new > 0.5 * old;
            best = Polished { at: at.clone(), residuals, objective, steps: step };
            failures = usize::from(slow) * (failures + 1);
        } else {
            failures += 1;
        }
        if failures >= 2 || (failures > 0 && old < 1e-12) {
            break;
        }
    }
    best
}
