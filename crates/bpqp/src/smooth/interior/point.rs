//! The scaled program at the point: values, derivatives, and what is left of the conditions.

use super::super::numbers::{bad_expansion, bad_value};
use super::super::{At, Values};
use super::Interior;
use crate::Error;
use crate::matrix::{Hessian, Matrix, norm_inf};
use crate::thresholds::interior::*;

fn scaled_rows(m: &Matrix, scale: &[f64]) -> Matrix {
    m.scaled(scale, &vec![1.0; m.ncols()])
}

pub(super) fn largest_in_rows(m: &Matrix) -> Vec<f64> {
    let mut out = vec![0.0_f64; m.nrows()];
    m.for_each(|i, _, v| out[i] = out[i].max(v.abs()));
    out
}

impl Interior<'_> {
    pub(super) fn scaled(&self, mut v: Values) -> Values {
        v.objective *= self.scales.f;
        v.equality.iter_mut().zip(&self.scales.c).for_each(|(c, s)| *c *= s);
        v.inequality.iter_mut().zip(&self.scales.g).for_each(|(g, s)| *g = *g * s - RELAX);
        v
    }

    /// Expands at the point; false where the derivatives are no numbers.
    pub(super) fn expand(&mut self) -> Result<bool, Error> {
        let f = self.scales.f;
        let own = |v: &[f64], s: &[f64]| v.iter().zip(s).map(|(v, s)| v * s / f).collect::<Vec<f64>>();
        let (y, z) = (own(&self.y, &self.scales.c), own(&self.z, &self.scales.g));
        let mut at = self.program.expand(At { x: &self.x, y: &y, z: &z })?;
        if bad_expansion(&at).is_some() {
            return Ok(false);
        }
        at.gradient.iter_mut().for_each(|g| *g *= f);
        at.equality = scaled_rows(&at.equality, &self.scales.c);
        at.inequality = scaled_rows(&at.inequality, &self.scales.g);
        at.hessian = match at.hessian {
            Hessian::Sparse(mut h) => {
                h.values_mut().iter_mut().for_each(|v| *v *= f);
                Hessian::Sparse(h)
            }
            other => other.scaled(f, &vec![1.0; self.x.len()]),
        };
        self.at = at;
        Ok(true)
    }

    /// Values there, if they are numbers.
    pub(super) fn look(&mut self, x: &[f64]) -> Result<Option<Values>, Error> {
        let values = self.program.values(x)?;
        Ok(bad_value(&values).is_none().then(|| self.scaled(values)))
    }

    pub(super) fn violation(&self, values: &Values, s: &[f64]) -> f64 {
        let rows = values.inequality.iter().zip(s).map(|(g, s)| (g + s).abs());
        values.equality.iter().map(|c| c.abs()).chain(rows).sum()
    }

    /// The barrier function.
    pub(super) fn barrier(&self, values: &Values, x: &[f64], s: &[f64]) -> f64 {
        let mut logs: f64 = s.iter().map(|s| s.ln()).sum();
        for j in (0..x.len()).filter(|&j| !self.fixed[j]) {
            if self.lb[j].is_finite() {
                logs += (x[j] - self.lb[j]).ln();
            }
            if self.ub[j].is_finite() {
                logs += (self.ub[j] - x[j]).ln();
            }
        }
        values.objective - self.mu * logs
    }

    /// The gradient of the Lagrangian without the multipliers of the bounds.
    pub(super) fn forces(&self) -> Vec<f64> {
        let mut r = self.at.gradient.clone();
        self.at.equality.tmul_add(1.0, &self.y, &mut r);
        self.at.inequality.tmul_add(1.0, &self.z, &mut r);
        r
    }

    pub(super) fn rows(&self, values: &Values, s: &[f64]) -> Vec<f64> {
        values.inequality.iter().zip(s).map(|(g, s)| g + s).collect()
    }

    /// What is left of the conditions for this mu.
    pub(super) fn error(&self, mu: f64) -> f64 {
        let r = self.forces();
        let n = self.x.len();
        let (mut dual, mut product) = (0.0_f64, 0.0_f64);
        for j in (0..n).filter(|&j| !self.fixed[j]) {
            dual = dual.max((r[j] - self.zl[j] + self.zu[j]).abs());
            if self.lb[j].is_finite() {
                product = product.max((self.zl[j] * (self.x[j] - self.lb[j]) - mu).abs());
            }
            if self.ub[j].is_finite() {
                product = product.max((self.zu[j] * (self.ub[j] - self.x[j]) - mu).abs());
            }
        }
        self.z.iter().zip(&self.s).for_each(|(z, s)| product = product.max((z * s - mu).abs()));
        let sum = |v: &[f64]| v.iter().map(|v| v.abs()).sum::<f64>();
        let own = sum(&self.zl) + sum(&self.zu) + sum(&self.z);
        let count = (2 * n + self.z.len() + self.y.len()).max(1) as f64;
        let scale = ((own + sum(&self.y)) / count).max(100.0) / 100.0;
        let rows = self.values.inequality.iter().zip(&self.s).fold(0.0_f64, |m, (g, s)| m.max((g + s).abs()));
        (dual / scale).max(product / scale).max(norm_inf(&self.values.equality)).max(rows)
    }
}
