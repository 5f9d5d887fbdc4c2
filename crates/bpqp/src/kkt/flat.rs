//! Optimal faces: directions of the variables along which neither the objective nor an active constraint changes.
//!
//! There the system of the active set is singular, and the least-norm solution of the least-squares problem is the one
//! that is taken: the limit, as `delta` vanishes, of `delta/2 |w|^2` in the objective of the backward QP. Both the limit
//! and the projection on the face come from the factors of `P + delta I`.

use super::{Breakdown, KktData, KktFactor, Refiner};
use crate::matrix::norm_inf;

/// `delta` relative to the largest curvature along a variable. What is flatter than that counts as curved only where the
/// factorization itself says so.
const DELTA: f64 = 1e-6;
/// Steps of the projection; each shrinks what is curved by `delta/(delta + curvature)`. At least as many as a refined solve
/// has: what they leave of a curved direction is then as small as the residual that the verdict is made of.
const STEPS: usize = 8;
/// A step that changes no more than this, relative to what it leaves, is rounding over `delta`: what is left is the face.
const STILL: f64 = 1e-10;
/// What such a step leaves of its system, as a part.
const STEP: f64 = 1e-12;

/// Factors the system of an active set; where it is singular on the variables, with `delta` added to the diagonal of P.
/// Returns that `delta`; `shifted` is scratch.
pub(crate) fn factor_flat(
    kkt: &mut dyn KktFactor,
    data: KktData<'_>,
    (dx, dc): (&[f64], &[f64]),
    shifted: &mut Vec<f64>,
) -> Result<Option<f64>, Breakdown> {
    match kkt.factor(dx, dc) {
        Ok(()) if !kkt.flat() => return Ok(None),
        // it leaves the face by itself
        Ok(()) if kkt.leave_face(&mut []) => return Ok(Some(0.0)),
        Ok(()) | Err(Breakdown::Inertia) => {}
        Err(other) => return Err(other),
    }
    let curvature = largest_curvature(data, dc);
    let delta = if curvature > 0.0 { DELTA * curvature } else { 1.0 };
    shifted.clear();
    shifted.extend(dx.iter().map(|d| d + delta));
    kkt.factor(shifted, dc).map(|()| Some(delta))
}

/// Largest diagonal entry of P, or of what a soft row adds to it.
fn largest_curvature(data: KktData<'_>, dc: &[f64]) -> f64 {
    let mut largest = data.p.diagonal().into_iter().fold(0.0, f64::max);
    data.for_each_row_entry(|i, _, v| {
        if dc[i] > 0.0 {
            largest = largest.max(v * v / dc[i]);
        }
    });
    largest
}

/// Buffers of [`FlatSolver::solve`].
#[derive(Debug, Default)]
pub(crate) struct FlatSolver {
    u: Vec<f64>,
    v: Vec<f64>,
    before: Vec<f64>,
    /// Nobody asks for the solution: what counts is what is left.
    pub residual_alone: bool,
}

impl FlatSolver {
    /// Solves with the factors of `P + delta I`: the part of `w` along the face, which nothing resists, is dropped; what
    /// is left is refined against the system itself, which converges to its solution of least norm. Returns the
    /// relative residual, or what the face is in doubt by.
    pub fn solve(
        &mut self,
        kkt: &mut dyn KktFactor,
        refiner: &mut Refiner,
        data: KktData<'_>,
        (delta, diagonals): (f64, (&[f64], &[f64])),
        (w, v): (&mut [f64], &mut [f64]),
    ) -> f64 {
        self.leave_face(kkt, delta, w, v.len());
        let residual = refiner.solve(kkt, data, diagonals, w, v);
        if !self.residual_alone {
            // what rounding left of that part was divided by delta
            self.leave_face(kkt, delta, w, v.len());
        }
        residual.max(kkt.face_doubt())
    }

    /// Subtracts from `w` its projection on the face; twice, for the first is accurate to `rounding/delta` only.
    fn leave_face(&mut self, kkt: &mut dyn KktFactor, delta: f64, w: &mut [f64], rows: usize) {
        if kkt.leave_face(w) {
            return;
        }
        for _ in 0..2 {
            self.u.clear();
            self.u.extend_from_slice(w);
            let nothing = f64::EPSILON * norm_inf(w);
            for _ in 0..STEPS {
                self.before.clone_from(&self.u);
                self.u.iter_mut().for_each(|u| *u *= delta);
                self.v.clear();
                self.v.resize(rows, 0.0);
                kkt.solve_step(&mut self.u, &mut self.v, STEP);
                let change = self.u.iter().zip(&self.before).fold(0.0_f64, |m, (u, b)| m.max((u - b).abs()));
                if change <= nothing.max(STILL * norm_inf(&self.u)) {
                    break;
                }
            }
            w.iter_mut().zip(&self.u).for_each(|(w, u)| *w -= u);
        }
    }
}
