//! Proofs that a problem has no solution; checked from the data, whoever found them.

use crate::Qp;
use crate::matrix::{Matrix, dot, norm_inf};
use crate::residuals::Point;

/// A proof that there is no solution.
#[derive(Debug, Clone, PartialEq)]
pub enum Certificate {
    /// Multipliers with `A'y + G'z + z_box = 0`, `z >= 0` and `b'y + h'z + ub'z_box+ - lb'z_box- < 0`:
    /// no point satisfies the constraints (Farkas). `x` is empty.
    PrimalInfeasible(Point),
    /// A direction with `P d = 0`, `A d = 0`, `G d <= 0`, `d` inside the recession cone of the bounds, and `q'd < 0`.
    DualInfeasible(Vec<f64>),
    /// A direction with `A d = 0` and `d'P d < 0`.
    NonConvex(Vec<f64>),
}

/// Relative accuracy at which a certificate is accepted.
const ACCEPT: f64 = 1e-6;

impl Certificate {
    /// How well the certificate proves its claim: its violation relative to the size of what it proves. Below about
    /// 1e-6 it is accepted; infinite if it proves nothing.
    pub fn violation(&self, qp: &Qp) -> f64 {
        match self {
            Certificate::PrimalInfeasible(p) => primal_violation(qp, p),
            Certificate::DualInfeasible(d) => dual_violation(qp, d),
            Certificate::NonConvex(d) => curvature_violation(qp, d),
        }
    }

    /// The certificate with entries that are small against the largest one set to zero, where that proves more: what an
    /// interior point leaves of an inactive multiplier is not zero.
    pub(crate) fn cleaned(self, qp: &Qp) -> Self {
        let mut best = (self.violation(qp), self);
        for relative in CLEAN {
            let mut candidate = best.1.clone();
            let vectors = match &mut candidate {
                Certificate::PrimalInfeasible(p) => vec![&mut p.y, &mut p.z, &mut p.z_box],
                Certificate::DualInfeasible(d) | Certificate::NonConvex(d) => vec![d],
            };
            let size = vectors.iter().fold(0.0_f64, |m, v| m.max(norm_inf(v)));
            for v in vectors.into_iter().flatten() {
                if v.abs() < relative * size {
                    *v = 0.0;
                }
            }
            for candidate in [candidate.clone(), candidate.balanced(qp)] {
                let violation = candidate.violation(qp);
                if violation < best.0 {
                    best = (violation, candidate);
                }
            }
        }
        best.1
    }

    /// Farkas multipliers with those of the bounds chosen so that `A'y + G'z + z_box = 0` wherever there is a bound.
    fn balanced(mut self, qp: &Qp) -> Self {
        if let Certificate::PrimalInfeasible(p) = &mut self {
            p.z_box.fill(0.0);
            qp.a.tmul_add(-1.0, &p.y, &mut p.z_box);
            qp.g.tmul_add(-1.0, &p.z, &mut p.z_box);
            for (i, z) in p.z_box.iter_mut().enumerate() {
                let bound = if *z > 0.0 { qp.ub[i] } else { qp.lb[i] };
                if !bound.is_finite() {
                    *z = 0.0;
                }
            }
        }
        self
    }

    /// True if the certificate proves its claim.
    pub fn verify(&self, qp: &Qp) -> bool {
        self.violation(qp) <= ACCEPT
    }
}

/// Entries below these multiples of the largest one may be remnants.
const CLEAN: [f64; 4] = [0.0, 1e-7, 1e-5, 1e-3];

/// With `r = A'y + G'z + z_box` and value `-v < 0`, every feasible x would give `r'x <= -v`: a contradiction for all x
/// with `|x| < v / |r|_1`. The violation is measured as `|r|_inf` and wrong signs over `v` and over the multipliers, and is at
/// least the rounding error of `v` over `v`.
fn primal_violation(qp: &Qp, p: &Point) -> f64 {
    let n = qp.n();
    if p.y.len() != qp.n_equality() || p.z.len() != qp.n_inequality() || p.z_box.len() != n {
        return f64::INFINITY;
    }
    let mut r = p.z_box.clone();
    qp.a.tmul_add(1.0, &p.y, &mut r);
    qp.g.tmul_add(1.0, &p.z, &mut r);
    let mut wrong = norm_inf(&r);
    let mut value = dot(&qp.b, &p.y);
    // a value that is the rounding error of its terms proves nothing: a feasible set of one point has such
    let mut terms: f64 = qp.b.iter().zip(&p.y).map(|(b, y)| (b * y).abs()).sum();
    for i in 0..p.z.len() {
        if qp.h[i].is_finite() {
            value += qp.h[i] * p.z[i];
            terms += (qp.h[i] * p.z[i]).abs();
            wrong = wrong.max(-p.z[i]);
        } else {
            wrong = wrong.max(p.z[i].abs());
        }
    }
    for i in 0..n {
        let bound = if p.z_box[i] > 0.0 { qp.ub[i] } else { qp.lb[i] };
        if bound.is_finite() {
            value += bound * p.z_box[i];
            terms += (bound * p.z_box[i]).abs();
        } else {
            wrong = wrong.max(p.z_box[i].abs());
        }
    }
    let size = norm_inf(&p.y).max(norm_inf(&p.z)).max(norm_inf(&p.z_box));
    ratio(wrong, -value, size).max(f64::EPSILON * terms / -value)
}

fn dual_violation(qp: &Qp, d: &[f64]) -> f64 {
    if d.len() != qp.n() {
        return f64::INFINITY;
    }
    let mut pd = vec![0.0; d.len()];
    qp.p.mul_add(1.0, d, &mut pd, &mut Vec::new());
    // in the units of the data where these are small: curvature or a row of 1e-8 is there, it only binds far out
    let curvature = qp.p.diagonal().into_iter().fold(0.0, f64::max);
    let mut wrong = norm_inf(&pd) / if curvature > 0.0 { curvature.min(1.0) } else { 1.0 };
    let mut ad = vec![0.0; qp.n_equality()];
    qp.a.mul_add(1.0, d, &mut ad);
    for (r, unit) in ad.iter().zip(units(&qp.a)) {
        wrong = wrong.max(r.abs() / unit);
    }
    let mut gd = vec![0.0; qp.n_inequality()];
    qp.g.mul_add(1.0, d, &mut gd);
    for ((r, unit), h) in gd.iter().zip(units(&qp.g)).zip(qp.h.iter()) {
        if h.is_finite() {
            wrong = wrong.max(r / unit);
        }
    }
    for i in 0..d.len() {
        if qp.ub[i].is_finite() {
            wrong = wrong.max(d[i]);
        }
        if qp.lb[i].is_finite() {
            wrong = wrong.max(-d[i]);
        }
    }
    let value = -dot(&qp.q, d);
    let terms: f64 = qp.q.iter().zip(d).map(|(q, d)| (q * d).abs()).sum();
    ratio(wrong, value, norm_inf(d)).max(f64::EPSILON * terms / value)
}

/// The largest magnitude in each row, at most 1; 1 for a row of zeros.
fn units(m: &Matrix) -> Vec<f64> {
    let mut out = vec![0.0_f64; m.nrows()];
    m.for_each(|i, _, v| out[i] = out[i].max(v.abs()));
    out.iter_mut().for_each(|v| *v = if *v > 0.0 { v.min(1.0) } else { 1.0 });
    out
}

fn curvature_violation(qp: &Qp, d: &[f64]) -> f64 {
    if d.len() != qp.n() {
        return f64::INFINITY;
    }
    let mut pd = vec![0.0; d.len()];
    qp.p.mul_add(1.0, d, &mut pd, &mut Vec::new());
    let mut ad = vec![0.0; qp.n_equality()];
    qp.a.mul_add(1.0, d, &mut ad);
    let curvature = dot(d, &pd) / dot(d, d);
    // |A d| relative to |d| against the size of the curvature relative to P
    let size = norm_inf(d);
    if curvature.is_nan() || curvature >= 0.0 {
        return f64::INFINITY;
    }
    norm_inf(&ad) / size
}

/// Violation against both the value that it has to prove and the size of the vector.
fn ratio(wrong: f64, value: f64, size: f64) -> f64 {
    let bad = wrong.is_nan() || value.is_nan() || value <= 0.0 || size == 0.0;
    if bad { f64::INFINITY } else { (wrong / value).max(wrong / size) }
}
