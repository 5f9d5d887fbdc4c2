//! A diagonal.

use super::{Hessian, KIND, LowerWork, Parameter, Product, Structure};
use crate::Error;
use faer::Mat;

/// Finite, and nowhere negative.
pub(super) fn validated(d: Vec<f64>) -> Result<Vec<f64>, Error> {
    crate::error::check_finite("d", &d)?;
    match d.iter().position(|&v| v < 0.0) {
        None => Ok(d),
        Some(index) => Err(Error::NegativeDiagonal { index, value: d[index] }),
    }
}

/// `c D diag(v) D`.
pub(super) fn scaled(v: &[f64], c: f64, d: &[f64]) -> Vec<f64> {
    v.iter().zip(d).map(|(v, d)| c * v * d * d).collect()
}

impl Structure for [f64] {
    fn n(&self) -> usize {
        self.len()
    }
    fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64], _work: &mut Vec<f64>) {
        for i in 0..self.len() {
            out[i] += alpha * self[i] * x[i];
        }
    }
    fn magnitudes_add(&self, x: &[f64], out: &mut [f64], _work: &mut Vec<f64>) {
        out.iter_mut().zip(self).zip(x).for_each(|((o, d), x)| *o += d.abs() * x);
    }
    fn push_diagonal(&self, out: &mut Vec<f64>) {
        out.extend_from_slice(self);
    }
    fn to_dense(&self) -> Mat<f64> {
        Mat::from_fn(self.len(), self.len(), |i, j| if i == j { self[i] } else { 0.0 })
    }
    fn is_zero(&self) -> bool {
        self.iter().all(|&v| v == 0.0)
    }
    fn stored(&self) -> usize {
        self.len()
    }
    fn difference(&self, other: &Hessian) -> Option<&'static str> {
        match other {
            Hessian::Diagonal(d) => (d.len() != self.len()).then_some("size"),
            _ => Some(KIND),
        }
    }
    fn for_each_extended(&self, _behind: usize, mut f: impl FnMut(usize, usize, f64)) {
        self.iter().enumerate().for_each(|(i, &v)| f(i, i, v));
    }
    fn is_positive_diagonal(&self) -> bool {
        self.iter().all(|&v| v > 0.0)
    }
    fn write_lower(&self, kept: &[usize], out: &mut Mat<f64>, _work: &mut LowerWork) {
        out.fill(0.0);
        kept.iter().enumerate().for_each(|(j, &i)| out[(j, j)] = self[i]);
    }
    fn scaled(&self, c: f64, d: &[f64]) -> Hessian {
        Hessian::Diagonal(scaled(self, c, d))
    }
    fn gradient(&self, product: Product<'_>, last: Option<Hessian>) -> Hessian {
        let last = if let Some(Hessian::Diagonal(d)) = last { d } else { Vec::new() };
        Hessian::Diagonal(product.diagonal(last))
    }
    fn for_each_parameter(&self, f: impl FnMut(Parameter)) {
        (0..self.len()).map(Parameter::Diagonal).for_each(f);
    }
    fn parameter(&self, which: Parameter) -> f64 {
        if let Parameter::Diagonal(i) = which { self[i] } else { 0.0 }
    }
}
