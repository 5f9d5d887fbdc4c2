//! What a point is worth, computed from the data.

use super::Conic;
use super::differentiate::blocks;
use crate::Residuals;
use crate::matrix::{dot, norm_inf};

/// Residual vectors of a point.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    /// `P x + q + A'y`.
    pub dual: Vec<f64>,
    /// `b - A x - s`.
    pub primal: Vec<f64>,
}

/// Residuals and objective of a point; the violations of `s in K` and `y in K*` count with `primal` and `dual`.
pub(crate) fn residuals(conic: &Conic, (x, s, y): (&[f64], &[f64], &[f64]), work: &mut Work) -> (Residuals, f64) {
    let (mut out, objective) = equations(conic, (x, s, y), work);
    for (k, rows) in blocks(conic) {
        let cone = conic.cones[k];
        out.primal = out.primal.max(cone.distance(&s[rows.clone()]));
        if let Some(dual) = cone.dual() {
            out.dual = out.dual.max(dual.distance(&y[rows]));
        }
    }
    (out, objective)
}

/// The same for points that are in their cones.
pub(crate) fn equations(conic: &Conic, (x, s, y): (&[f64], &[f64], &[f64]), work: &mut Work) -> (Residuals, f64) {
    let (n, m) = (conic.n(), conic.m());
    let mut px = vec![0.0; n];
    conic.p_mul_add(1.0, x, &mut px);
    work.dual.clear();
    work.dual.resize(n, 0.0);
    conic.a.tmul_add(1.0, y, &mut work.dual);
    let mut dual_scale = norm_inf(&px).max(norm_inf(&conic.q)).max(norm_inf(&work.dual));
    (0..n).for_each(|i| work.dual[i] += px[i] + conic.q[i]);
    work.primal.clear();
    work.primal.resize(m, 0.0);
    conic.a.mul_add(-1.0, x, &mut work.primal);
    let primal_scale = norm_inf(&work.primal).max(norm_inf(&conic.b)).max(norm_inf(s));
    (0..m).for_each(|i| work.primal[i] += conic.b[i] - s[i]);
    let (quadratic, linear, dual_linear) = (dot(x, &px), dot(x, &conic.q), dot(y, &conic.b));
    let complementarity = blocks(conic).fold(0.0_f64, |m, (_, rows)| m.max(dot(&s[rows.clone()], &y[rows]).abs()));
    let objective = 0.5 * quadratic + linear;
    let nan_or = |v: &[f64]| if v.iter().all(|v| v.is_finite()) { norm_inf(v) } else { f64::NAN };
    if !dual_scale.is_finite() {
        dual_scale = f64::NAN;
    }
    let out = Residuals {
        primal: nan_or(&work.primal),
        dual: nan_or(&work.dual),
        complementarity,
        gap: (quadratic + linear + dual_linear).abs(),
        primal_scale,
        dual_scale,
        gap_scale: objective.abs().max((0.5 * quadratic + dual_linear).abs()),
    };
    (out, objective)
}
