//! Proofs that there is no solution, checked from the data, whoever found them.

use super::Conic;
use super::differentiate::blocks;
use crate::Cone;
use crate::matrix::{dot, norm_inf};

/// A proof that there is no solution.
#[derive(Debug, Clone, PartialEq)]
pub enum ConicCertificate {
    /// `y` in K* with `A'y = 0` and `b'y < 0`: no point satisfies the constraints.
    PrimalInfeasible(Vec<f64>),
    /// `d` with `P d = 0`, `-A d` in K and `q'd < 0`: the objective decreases along it without bound.
    DualInfeasible(Vec<f64>),
    /// `d` on the null space of the rows of the zero cones with `d'P d < 0`.
    NonConvex(Vec<f64>),
}

/// Relative accuracy at which a certificate is accepted.
const ACCEPT: f64 = 1e-6;
/// Entries below these multiples of the largest one may be remnants of an interior point.
const CLEAN: [f64; 4] = [0.0, 1e-7, 1e-5, 1e-3];

impl ConicCertificate {
    /// How well it proves its claim: its violation relative to the size of what it proves, and to its own size. Below
    /// about 1e-6 it is accepted; infinite if it proves nothing.
    pub fn violation(&self, conic: &Conic) -> f64 {
        match self {
            ConicCertificate::PrimalInfeasible(y) => primal_violation(conic, y),
            ConicCertificate::DualInfeasible(d) => dual_violation(conic, d),
            ConicCertificate::NonConvex(d) => curvature_violation(conic, d),
        }
    }

    /// True if it proves its claim.
    pub fn verify(&self, conic: &Conic) -> bool {
        self.violation(conic) <= ACCEPT
    }

    /// The certificate moved into its cone, without entries that are small against the largest, where that proves more.
    pub(crate) fn cleaned(self, conic: &Conic) -> Self {
        let mut best = (self.violation(conic), self);
        for relative in CLEAN {
            let mut candidate = best.1.clone();
            let v = match &mut candidate {
                ConicCertificate::PrimalInfeasible(v)
                | ConicCertificate::DualInfeasible(v)
                | ConicCertificate::NonConvex(v) => v,
            };
            let size = norm_inf(v);
            v.iter_mut().filter(|v| v.abs() < relative * size).for_each(|v| *v = 0.0);
            if let ConicCertificate::PrimalInfeasible(y) = &mut candidate {
                into_dual_cone(conic, y);
            }
            let violation = candidate.violation(conic);
            if violation < best.0 {
                best = (violation, candidate);
            }
        }
        best.1
    }
}

fn into_dual_cone(conic: &Conic, y: &mut [f64]) {
    for (k, rows) in blocks(conic) {
        if let Some(dual) = conic.cones[k].dual() {
            let projected = dual.projection(&y[rows.clone()]);
            y[rows].copy_from_slice(&projected);
        }
    }
}

/// With `r = A'y`, `y` in K* and `b'y = -v < 0` every feasible x would give `r'x <= -v`: a contradiction for all x with
/// `|x| < v/|r|_1`.
fn primal_violation(conic: &Conic, y: &[f64]) -> f64 {
    if y.len() != conic.m() {
        return f64::INFINITY;
    }
    let mut r = vec![0.0; conic.n()];
    conic.a.tmul_add(1.0, y, &mut r);
    let mut wrong = norm_inf(&r);
    for (k, rows) in blocks(conic) {
        if let Some(dual) = conic.cones[k].dual() {
            wrong = wrong.max(dual.distance(&y[rows]));
        }
    }
    let terms: f64 = conic.b.iter().zip(y).map(|(b, y)| (b * y).abs()).sum();
    let value = -dot(&conic.b, y);
    ratio(wrong, value, norm_inf(y)).max(f64::EPSILON * terms / value)
}

fn dual_violation(conic: &Conic, d: &[f64]) -> f64 {
    if d.len() != conic.n() {
        return f64::INFINITY;
    }
    let mut pd = vec![0.0; d.len()];
    conic.p_mul_add(1.0, d, &mut pd);
    let largest = conic.p().map_or(0.0, |p| norm_inf(p.values()));
    // in the units of the data where these are small: curvature of 1e-8 is there, it only binds far out
    let mut wrong = norm_inf(&pd) / if largest > 0.0 { largest.min(1.0) } else { 1.0 };
    let mut s = vec![0.0; conic.m()];
    conic.a.mul_add(-1.0, d, &mut s);
    let mut units = vec![0.0_f64; conic.m()];
    conic.a.triplets().for_each(|(i, _, v)| units[i] = units[i].max(v.abs()));
    for (k, rows) in blocks(conic) {
        let unit = units[rows.clone()].iter().fold(0.0_f64, |m, &u| m.max(u));
        let unit = if unit > 0.0 { unit.min(1.0) } else { 1.0 };
        match conic.cones[k] {
            Cone::Nonnegative(_) | Cone::Zero(_) => {
                for i in rows {
                    let unit = if units[i] > 0.0 { units[i].min(1.0) } else { 1.0 };
                    let zero = matches!(conic.cones[k], Cone::Zero(_));
                    wrong = wrong.max(if zero { s[i].abs() } else { -s[i] } / unit);
                }
            }
            cone => wrong = wrong.max(cone.distance(&s[rows]) / unit),
        }
    }
    let terms: f64 = conic.q.iter().zip(d).map(|(q, d)| (q * d).abs()).sum();
    let value = -dot(&conic.q, d);
    ratio(wrong, value, norm_inf(d)).max(f64::EPSILON * terms / value)
}

fn curvature_violation(conic: &Conic, d: &[f64]) -> f64 {
    if d.len() != conic.n() {
        return f64::INFINITY;
    }
    let mut pd = vec![0.0; d.len()];
    conic.p_mul_add(1.0, d, &mut pd);
    let curvature = dot(d, &pd) / dot(d, d);
    if curvature.is_nan() || curvature >= 0.0 {
        return f64::INFINITY;
    }
    let mut ad = vec![0.0; conic.m()];
    conic.a.mul_add(1.0, d, &mut ad);
    let mut wrong = 0.0_f64;
    for (k, rows) in blocks(conic) {
        if matches!(conic.cones[k], Cone::Zero(_)) {
            wrong = wrong.max(norm_inf(&ad[rows]));
        }
    }
    wrong / norm_inf(d)
}

/// Violation against both the value that it has to prove and the size of the vector.
fn ratio(wrong: f64, value: f64, size: f64) -> f64 {
    let bad = wrong.is_nan() || value.is_nan() || value <= 0.0 || size == 0.0;
    if bad { f64::INFINITY } else { (wrong / value).max(wrong / size) }
}
