//! Where the method ended: a point, and which constraints it presses against.

use super::super::numbers::{bad_expansion, bad_value};
use super::super::{At, SmoothProgram};
use crate::Error;
use crate::active::Side;
use crate::matrix::norm_inf;

/// Where the method ended.
pub(in crate::smooth) struct Reached {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub z: Vec<f64>,
    pub z_box: Vec<f64>,
    /// What the multipliers weigh against the slacks, of rows, lower and upper bounds; 0 for fixed variables.
    pub weight: (Vec<f64>, Vec<f64>, Vec<f64>),
    pub steps: usize,
    /// A stationary point to the tolerance, as far as is known here.
    pub converged: bool,
}

/// A point with the multipliers of a similar problem, as if it had been reached; `None` if its rows have other numbers, or are
/// none.
pub(in crate::smooth) fn near(
    program: &mut dyn SmoothProgram,
    x: &[f64],
    y: &[f64],
    z: &[f64],
) -> Result<Option<Reached>, Error> {
    let (lb, ub) = program.bounds();
    let (lb, ub) = (lb.to_vec(), ub.to_vec());
    let n = lb.len();
    let x: Vec<f64> = (0..n).map(|j| x[j].max(lb[j]).min(ub[j])).collect();
    let values = program.values(&x)?;
    if bad_value(&values).is_some() || values.equality.len() != y.len() || values.inequality.len() != z.len() {
        return Ok(None);
    }
    let at = program.expand(At { x: &x, y, z })?;
    if bad_expansion(&at).is_some() {
        return Ok(None);
    }
    let mut forces = at.gradient;
    at.equality.tmul_add(1.0, y, &mut forces);
    at.inequality.tmul_add(1.0, z, &mut forces);
    let unit = norm_inf(&forces).max(norm_inf(y)).max(norm_inf(z)).max(f64::MIN_POSITIVE);
    let row =
        |i: usize| if values.inequality[i] > 0.0 { f64::INFINITY } else { against(z[i] / unit, -values.inequality[i]) };
    let low = |j: usize| if lb[j] < ub[j] { against(forces[j] / unit, x[j] - lb[j]) } else { 0.0 };
    let high = |j: usize| if lb[j] < ub[j] { against(-forces[j] / unit, ub[j] - x[j]) } else { 0.0 };
    let weight = ((0..z.len()).map(row).collect(), (0..n).map(low).collect(), (0..n).map(high).collect());
    let z_box = forces.iter().map(|f| -f).collect();
    Ok(Some(Reached { y: y.to_vec(), z: z.to_vec(), z_box, weight, steps: 0, converged: true, x }))
}

impl Reached {
    /// Rows and sides of variables whose multiplier is more than this many times their slack.
    pub fn active(&self, times: f64, (lb, ub): (&[f64], &[f64])) -> (Vec<bool>, Vec<Side>) {
        let (rows, low, high) = &self.weight;
        let side = |j: usize| match (low[j] > times, high[j] > times) {
            _ if lb[j] == ub[j] => Side::Fixed,
            (true, _) => Side::Lower,
            (_, true) => Side::Upper,
            _ => Side::Free,
        };
        (rows.iter().map(|w| *w > times).collect(), (0..low.len()).map(side).collect())
    }
}

/// A multiplier against a slack; infinite without a slack, unless both vanish.
pub(super) fn against(z: f64, slack: f64) -> f64 {
    if z <= 0.0 && slack > 0.0 { 0.0 } else { z.max(f64::MIN_POSITIVE) / slack.max(0.0) }
}
