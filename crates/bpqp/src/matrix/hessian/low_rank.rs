//! `diag(d) + F F'`.

use super::{Hessian, KIND, LowerWork, Parameter, Product, Structure, diagonal};
use crate::Error;
use crate::matrix::{dense_finite, dot, gemv, gemv_abs, gemv_t, gemv_t_abs, lower_gram, resize};
use faer::Mat;

/// The two parts.
pub(super) struct LowRank<'a> {
    pub d: &'a [f64],
    pub f: &'a Mat<f64>,
}

pub(super) fn validated(d: Vec<f64>, f: Mat<f64>) -> Result<Hessian, Error> {
    let d = diagonal::validated(d)?;
    dense_finite("F", f.as_ref())?;
    Ok(Hessian::LowRank { d, f })
}

/// Puts the entries of `-(u (F'x)' + x (F'u)')` into `out`.
pub(super) fn factor_gradient(f: &Mat<f64>, product: Product<'_>, put: impl Fn(&mut f64, f64), out: &mut Mat<f64>) {
    let Product { w, x, t } = product;
    for k in 0..f.ncols() {
        let column = f.col_as_slice(k);
        let fx = dot(column, x);
        let fu = dot(column, w) - 0.5 * t * fx;
        for (i, v) in out.col_as_slice_mut(k).iter_mut().enumerate() {
            put(v, -(product.u(i) * fx + x[i] * fu));
        }
    }
}

/// `out -= (dF F' + F dF') x`.
fn sub_product(f: &Mat<f64>, df: &Mat<f64>, x: &[f64], out: &mut [f64]) {
    for k in 0..f.ncols() {
        let (column, change) = (f.col_as_slice(k), df.col_as_slice(k));
        let (fx, dfx) = (dot(column, x), dot(change, x));
        out.iter_mut().zip(column).zip(change).for_each(|((o, c), dc)| *o -= dc * fx + c * dfx);
    }
}

/// `(dF eF' + eF dF') x` for two directions of the factor.
pub(super) fn second_direction(df: &Mat<f64>, ef: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    sub_product(df, ef, x, &mut out);
    out.iter_mut().for_each(|v| *v = -*v);
    out
}

impl Structure for LowRank<'_> {
    fn n(&self) -> usize {
        self.d.len()
    }
    fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64], work: &mut Vec<f64>) {
        self.d.mul_add(alpha, x, out, work);
        work.clear();
        work.resize(self.f.ncols(), 0.0);
        gemv_t(1.0, self.f.as_ref(), x, work);
        gemv(alpha, self.f.as_ref(), work, out);
    }
    fn magnitudes_add(&self, x: &[f64], out: &mut [f64], work: &mut Vec<f64>) {
        self.d.magnitudes_add(x, out, work);
        work.clear();
        work.resize(self.f.ncols(), 0.0);
        gemv_t_abs(self.f.as_ref(), x, work);
        gemv_abs(self.f.as_ref(), work, out);
    }
    fn push_diagonal(&self, out: &mut Vec<f64>) {
        let squares = |i: usize| (0..self.f.ncols()).map(|k| self.f[(i, k)] * self.f[(i, k)]).sum::<f64>();
        out.extend((0..self.d.len()).map(|i| self.d[i] + squares(i)));
    }
    fn to_dense(&self) -> Mat<f64> {
        let mut m = self.f * self.f.transpose();
        for i in 0..self.d.len() {
            m[(i, i)] += self.d[i];
        }
        m
    }
    fn is_zero(&self) -> bool {
        self.d.is_zero() && self.f.as_ref().is_zero()
    }
    fn stored(&self) -> usize {
        self.d.len() * (1 + self.f.ncols())
    }
    fn difference(&self, other: &Hessian) -> Option<&'static str> {
        match other {
            Hessian::LowRank { f, .. } if f.nrows() != self.f.nrows() => Some("size"),
            Hessian::LowRank { f, .. } => (f.ncols() != self.f.ncols()).then_some("number of factors"),
            _ => Some(KIND),
        }
    }
    fn factors(&self) -> Option<usize> {
        Some(self.f.ncols())
    }
    fn for_each_extended(&self, behind: usize, mut f: impl FnMut(usize, usize, f64)) {
        self.d.iter().enumerate().for_each(|(i, &v)| f(i, i, v));
        for k in 0..self.f.ncols() {
            self.f.col_as_slice(k).iter().enumerate().for_each(|(i, &v)| f(i, behind + k, v));
            f(behind + k, behind + k, -1.0);
        }
    }
    fn write_lower(&self, kept: &[usize], out: &mut Mat<f64>, work: &mut LowerWork) {
        let gathered = &mut work.gathered;
        resize(gathered, self.f.ncols(), kept.len());
        for (j, &i) in kept.iter().enumerate() {
            for k in 0..self.f.ncols() {
                gathered[(k, j)] = self.f[(i, k)];
            }
        }
        lower_gram(out, gathered);
        for (j, &i) in kept.iter().enumerate() {
            out[(j, j)] += self.d[i];
        }
    }
    fn scaled(&self, c: f64, d: &[f64]) -> Hessian {
        let root = c.sqrt();
        let f = Mat::from_fn(self.f.nrows(), self.f.ncols(), |i, k| root * d[i] * self.f[(i, k)]);
        Hessian::LowRank { d: diagonal::scaled(self.d, c, d), f }
    }
    fn gradient(&self, product: Product<'_>, last: Option<Hessian>) -> Hessian {
        let (d, mut f) = match last {
            Some(Hessian::LowRank { d, f }) if f.shape() == self.f.shape() => (d, f),
            _ => (Vec::new(), Mat::zeros(self.f.nrows(), self.f.ncols())),
        };
        factor_gradient(self.f, product, |v, term| *v = term, &mut f);
        Hessian::LowRank { d: product.diagonal(d), f }
    }
    fn sub_direction(&self, at: &Hessian, x: &[f64], out: &mut [f64]) {
        if let Hessian::LowRank { f, .. } = at {
            self.d.mul_add(-1.0, x, out, &mut Vec::new());
            sub_product(f, self.f, x, out);
        }
    }
    fn for_each_parameter(&self, mut f: impl FnMut(Parameter)) {
        self.d.for_each_parameter(&mut f);
        for k in 0..self.f.ncols() {
            (0..self.d.len()).for_each(|i| f(Parameter::Factor(i, k)));
        }
    }
    fn parameter(&self, which: Parameter) -> f64 {
        match which {
            Parameter::Factor(i, k) => self.f[(i, k)],
            which => self.d.parameter(which),
        }
    }
}
