//! The scaling of a positive semidefinite cone: `R` with `R'Z R = R^-1 S R^-T = diag(lambda)`, so that `W z = R'Z R` and
//! `H z = R R'Z R R'`.

use crate::cones::psd::{smat, svec};
use faer::{Mat, Side};
use std::f64::consts::SQRT_2;

pub(super) struct Semidefinite {
    n: usize,
    r: Mat<f64>,
    inverse: Mat<f64>,
    lambda: Vec<f64>,
    /// `R R'` and its inverse.
    outer: Mat<f64>,
    pub over: Mat<f64>,
}

/// `a + a'` over 2.
fn symmetric(a: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| 0.5 * (a[(i, j)] + a[(j, i)]))
}

impl Semidefinite {
    pub fn new(n: usize) -> Self {
        let one = || Mat::identity(n, n);
        Semidefinite { n, r: one(), inverse: one(), lambda: vec![1.0; n], outer: one(), over: one() }
    }

    pub fn unit(&mut self) {
        *self = Self::new(self.n);
    }

    pub fn update(&mut self, s: &[f64], z: &[f64]) -> bool {
        let n = self.n;
        let (Ok(left), Ok(right)) = (smat(n, s).llt(Side::Lower), smat(n, z).llt(Side::Lower)) else { return false };
        let (left, right) = (left.L().to_owned(), right.L().to_owned());
        let product = right.transpose() * &left;
        let Ok(svd) = product.svd() else { return false };
        let values = svd.S().column_vector();
        self.lambda.iter_mut().enumerate().for_each(|(i, l)| *l = values[i]);
        if self.lambda.iter().any(|l| !(*l > 0.0 && l.is_finite())) {
            return false;
        }
        let roots: Vec<f64> = self.lambda.iter().map(|l| 1.0 / l.sqrt()).collect();
        let v = Mat::from_fn(n, n, |i, j| svd.V()[(i, j)] * roots[j]);
        let u = Mat::from_fn(n, n, |i, j| roots[i] * svd.U()[(j, i)]);
        self.r = &left * &v;
        self.inverse = &u * right.transpose();
        self.outer = &self.r * self.r.transpose();
        self.over = self.inverse.transpose() * &self.inverse;
        true
    }

    pub fn mul(&mut self, z: &[f64], out: &mut [f64]) {
        svec(&(&self.outer * smat(self.n, z) * &self.outer), out);
    }

    pub fn divide(&mut self, v: &mut [f64]) {
        svec(&(&self.over * smat(self.n, v) * &self.over), v);
    }

    pub fn unscale(&mut self, v: &mut [f64]) {
        svec(&(&self.inverse * smat(self.n, v) * self.inverse.transpose()), v);
    }

    fn scaled(&self, ds: &[f64], dz: &[f64]) -> (Mat<f64>, Mat<f64>) {
        let of_s = &self.inverse * smat(self.n, ds) * self.inverse.transpose();
        (of_s, self.r.transpose() * smat(self.n, dz) * &self.r)
    }

    pub fn corrected(&mut self, (ds, dz): (&[f64], &[f64]), (part, target): (f64, f64), out: &mut [f64]) {
        let (left, right) = self.scaled(ds, dz);
        let product = symmetric(&(&left * &right));
        let l = &self.lambda;
        let inner = Mat::from_fn(self.n, self.n, |i, j| {
            let value = part * product[(i, j)] - if i == j { target } else { 0.0 };
            2.0 * value / (l[i] + l[j])
        });
        svec(&(&self.r * inner * self.r.transpose()), out);
    }

    /// The longest step that stays inside.
    pub fn step(&mut self, ds: &[f64], dz: &[f64]) -> f64 {
        let (left, right) = self.scaled(ds, dz);
        let l = &self.lambda;
        let least = |m: &Mat<f64>| {
            let m = symmetric(&Mat::from_fn(self.n, self.n, |i, j| m[(i, j)] / (l[i] * l[j]).sqrt()));
            let values = m.self_adjoint_eigenvalues(Side::Lower);
            values.map_or(f64::NAN, |v| v.iter().fold(f64::INFINITY, |m, v| m.min(*v)))
        };
        let least = least(&left).min(least(&right));
        if least < 0.0 { -1.0 / least } else { f64::INFINITY }
    }

    pub fn eigenvalues(&mut self, v: &[f64], f: impl FnMut(f64)) {
        match smat(self.n, v).self_adjoint_eigenvalues(Side::Lower) {
            Ok(values) => values.into_iter().for_each(f),
            Err(_) => [f64::NAN].into_iter().for_each(f),
        }
    }

    pub fn shift(&self, by: f64, v: &mut [f64]) {
        (0..self.n).for_each(|j| v[j * (j + 3) / 2] += by);
    }
}

/// `H^-1` (from `over`) or `H` (from `outer`) as a matrix on triangles: column `(k, l)`, lower part of the matrix.
pub(super) fn kronecker(b: &Mat<f64>, out: &mut Mat<f64>) {
    let n = b.ncols();
    let mut column = 0;
    for l in 0..n {
        for k in 0..=l {
            let (bk, bl) = (b.col_as_slice(k), b.col_as_slice(l));
            let out = out.col_as_slice_mut(column);
            let mut row = 0;
            for j in 0..n {
                for i in 0..=j {
                    if row >= column {
                        out[row] = match (i == j, k == l) {
                            (true, true) => bk[i] * bk[i],
                            (true, false) => SQRT_2 * bk[i] * bl[i],
                            (false, true) => SQRT_2 * bk[i] * bk[j],
                            (false, false) => bk[i] * bl[j] + bl[i] * bk[j],
                        };
                    }
                    row += 1;
                }
            }
            column += 1;
        }
    }
}

impl Semidefinite {
    /// `H` as a matrix, lower part.
    pub fn matrix(&self, out: &mut Mat<f64>) {
        kronecker(&self.outer, out);
    }

    /// `H^-1` as a matrix, lower part.
    pub fn inverse(&self, out: &mut Mat<f64>) {
        kronecker(&self.over, out);
    }
}
