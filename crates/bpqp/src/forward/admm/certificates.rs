//! Proofs of infeasibility from the differences of the iterates: where there is no solution, `y^k - y^(k-1)` tends to a
//! Farkas proof and `x^k - x^(k-1)` to a direction of unbounded descent (Banjac, Goulart, Stellato & Boyd,
//! "Infeasibility detection in the alternating direction method of multipliers for convex optimization", JOTA 2019).

use super::State;
use crate::forward::scaling::Scaling;
use crate::residuals::Point;
use crate::{Certificate, Qp, Status};

/// Candidates, reused: a look allocates only when a candidate is promising enough to be checked in full.
pub(super) struct Prover {
    ray: Point,
    direction: Vec<f64>,
}

impl Prover {
    pub fn new(qp: &Qp) -> Self {
        Prover { ray: Point { x: Vec::new(), ..Point::zeros(qp) }, direction: vec![0.0; qp.n()] }
    }

    /// A verified proof, if the last step holds one; `thorough` if what is left of vanishing entries may be dropped.
    pub fn look(
        &mut self,
        qp: &Qp,
        scaling: &Scaling,
        (now, last): (&State, &State),
        pinned: &[bool],
        thorough: bool,
    ) -> Option<(Status, Certificate)> {
        let clean = |proof: Certificate| if thorough { proof.cleaned(qp) } else { proof };
        if self.primal(qp, scaling, now, last) < 0.0 {
            let proof = clean(Certificate::PrimalInfeasible(self.ray.clone()));
            if proof.verify(qp) {
                return Some((Status::PrimalInfeasible, proof));
            }
        }
        if self.dual(qp, scaling, now, last, pinned) < 0.0 {
            let proof = clean(Certificate::DualInfeasible(self.direction.clone()));
            if proof.verify(qp) {
                return Some((Status::DualInfeasible, proof));
            }
        }
        None
    }

    /// Fills the ray with the change of the multipliers; its value `b'y + h'z + bounds`, negative for a proof.
    fn primal(&mut self, qp: &Qp, s: &Scaling, now: &State, last: &State) -> f64 {
        let m_eq = qp.n_equality();
        let change = |j: usize| (now.y[j] - last.y[j]) * s.e[j];
        let mut size = 0.0_f64;
        for (j, y) in self.ray.y.iter_mut().enumerate() {
            *y = change(j);
            size = size.max(y.abs());
        }
        for (j, z) in self.ray.z.iter_mut().enumerate() {
            *z = if qp.h[j].is_finite() { change(m_eq + j).max(0.0) } else { 0.0 };
            size = size.max(*z);
        }
        // any bound can carry what is left of A'y + G'z, as long as it is finite
        let rest = &mut self.ray.z_box;
        rest.fill(0.0);
        qp.a.tmul_add(-1.0, &self.ray.y, rest);
        qp.g.tmul_add(-1.0, &self.ray.z, rest);
        let mut value = 0.0;
        for (i, z) in rest.iter_mut().enumerate() {
            let bound = if *z > 0.0 { qp.ub[i] } else { qp.lb[i] };
            if bound.is_finite() {
                value += bound * *z;
            } else {
                *z = 0.0;
            }
            size = size.max(z.abs());
        }
        value += qp.b.iter().zip(&self.ray.y).map(|(b, y)| b * y).sum::<f64>();
        value += qp.h.iter().zip(&self.ray.z).filter(|(_, z)| **z > 0.0).map(|(h, z)| h * z).sum::<f64>();
        // a proof's value is of the size of its multipliers; rounding is not
        if size > 0.0 && value < -1e-10 * size { value / size } else { 0.0 }
    }

    /// Fills the direction with the change of x; its slope `q'd`, negative for a proof.
    fn dual(&mut self, qp: &Qp, s: &Scaling, now: &State, last: &State, pinned: &[bool]) -> f64 {
        let mut size = 0.0_f64;
        for (i, d) in self.direction.iter_mut().enumerate() {
            let mut change = if pinned[i] { 0.0 } else { (now.x[i] - last.x[i]) * s.d[i] };
            if qp.ub[i].is_finite() {
                change = change.min(0.0);
            }
            if qp.lb[i].is_finite() {
                change = change.max(0.0);
            }
            *d = change;
            size = size.max(change.abs());
        }
        let slope: f64 = qp.q.iter().zip(&self.direction).map(|(q, d)| q * d).sum();
        if size > 0.0 && slope < -1e-10 * size { slope / size } else { 0.0 }
    }
}
