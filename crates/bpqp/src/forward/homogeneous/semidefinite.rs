//! The scaling of a positive semidefinite cone: `R` with `R'Z R = R^-1 S R^-T = diag(lambda)`, so that `W z = R'Z R` and
//! `H z = R R'Z R R'`.

use super::system::Support;
use crate::cones::psd::{smat, svec};
use crate::matrix::{Csc, Wide};
use faer::{Mat, Side};
use std::f64::consts::SQRT_2;
use std::ops::Range;

pub(super) struct Semidefinite {
    n: usize,
    r: Mat<f64>,
    inverse: Mat<f64>,
    lambda: Vec<f64>,
    /// The singular vectors of R on the left, and its singular values.
    q: Mat<f64>,
    sigma: Vec<f64>,
}

/// `a + a'` over 2.
fn symmetric(a: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| 0.5 * (a[(i, j)] + a[(j, i)]))
}

impl Semidefinite {
    pub fn new(n: usize) -> Self {
        let one = || Mat::identity(n, n);
        Semidefinite { n, r: one(), inverse: one(), lambda: vec![1.0; n], q: one(), sigma: vec![1.0; n] }
    }

    pub fn unit(&mut self) {
        *self = Self::new(self.n);
    }

    pub fn update(&mut self, s: &[f64], z: &[f64]) -> bool {
        let _clean = Wide;
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
        self.r = &left * &v;
        // the inverse by the same singular vectors, so that one undoes the other to the last digits
        let Ok(svd) = self.r.svd() else { return false };
        let values = svd.S().column_vector();
        self.sigma.iter_mut().enumerate().for_each(|(i, s)| *s = values[i]);
        if self.sigma.iter().any(|s| !(*s > 0.0 && s.is_finite())) {
            return false;
        }
        self.q.copy_from(svd.U());
        let over = Mat::from_fn(n, n, |i, j| svd.V()[(i, j)] / self.sigma[j]);
        self.inverse = over * self.q.transpose();
        true
    }

    /// `Q ((Q'M Q)_ij f(sigma_i sigma_j)) Q'`.
    fn apply(&self, m: &[f64], f: impl Fn(f64) -> f64) -> Mat<f64> {
        let _clean = Wide;
        let inner = self.q.transpose() * smat(self.n, m) * &self.q;
        let s = &self.sigma;
        let inner = Mat::from_fn(self.n, self.n, |i, j| inner[(i, j)] * f(s[i] * s[j]));
        &self.q * inner * self.q.transpose()
    }

    pub fn mul(&mut self, z: &[f64], out: &mut [f64]) {
        svec(&self.apply(z, |s| s * s), out);
    }

    pub fn divide(&mut self, v: &mut [f64]) {
        svec(&self.apply(v, |s| 1.0 / (s * s)), v);
    }

    pub fn unscale(&mut self, v: &mut [f64]) {
        let _clean = Wide;
        svec(&(&self.inverse * smat(self.n, v) * self.inverse.transpose()), v);
    }

    fn scaled(&self, ds: &[f64], dz: &[f64]) -> (Mat<f64>, Mat<f64>) {
        let _clean = Wide;
        let of_s = &self.inverse * smat(self.n, ds) * self.inverse.transpose();
        (of_s, self.r.transpose() * smat(self.n, dz) * &self.r)
    }

    pub fn corrected(&mut self, (ds, dz): (&[f64], &[f64]), (part, target): (f64, f64), out: &mut [f64]) {
        let _clean = Wide;
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
        let _clean = Wide;
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
        let _clean = Wide;
        match smat(self.n, v).self_adjoint_eigenvalues(Side::Lower) {
            Ok(values) => values.into_iter().for_each(f),
            Err(_) => [f64::NAN].into_iter().for_each(f),
        }
    }

    pub fn shift(&self, by: f64, v: &mut [f64]) {
        (0..self.n).for_each(|j| v[j * (j + 3) / 2] += by);
    }
}

/// The image under `V -> B V B` of the unit triangle `(k, l)`, from its entry `first` on.
fn kronecker(b: &Mat<f64>, (k, l): (usize, usize), first: usize, out: &mut [f64]) {
    let (bk, bl) = (b.col_as_slice(k), b.col_as_slice(l));
    let mut row = 0;
    for j in 0..b.ncols() {
        for i in 0..=j {
            if row >= first {
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
}

impl Semidefinite {
    /// `Q diag(f(sigma_j^2)) Q'`: H for the identity, its inverse for the reciprocal are `V -> B V B` with this B.
    fn root(&self, f: impl Fn(f64) -> f64) -> Mat<f64> {
        let _clean = Wide;
        let scaled = Mat::from_fn(self.n, self.n, |i, j| self.q[(i, j)] * f(self.sigma[j] * self.sigma[j]));
        scaled * self.q.transpose()
    }

    /// `H^-1` as a matrix.
    pub fn inverse(&self, out: &mut Mat<f64>) {
        let b = self.root(|s| 1.0 / s);
        let mut column = 0;
        for l in 0..self.n {
            for k in 0..=l {
                kronecker(&b, (k, l), column, out.col_as_slice_mut(column));
                column += 1;
            }
        }
        for j in 0..out.ncols() {
            for i in 0..j {
                out[(i, j)] = out[(j, i)];
            }
        }
    }

    /// These columns of H, in ascending order.
    pub fn columns(&self, needed: &[usize], out: &mut Mat<f64>) {
        let b = self.root(|s| s);
        let (mut l, mut first) = (0, 0);
        for &column in needed {
            while first + l < column {
                first += l + 1;
                l += 1;
            }
            kronecker(&b, (column - first, l), 0, out.col_as_slice_mut(column));
        }
    }
}

/// Calls `add(i, j, value)` for the entries `C_i'H^-1 C_j`, `i >= j`, of the columns of this support; `offset` is the first row
/// of the cone, `whole` its `H^-1`.
pub(super) fn product(
    (csc, support, offset): (&Csc, &Support, usize),
    whole: &Mat<f64>,
    column: &mut [f64],
    mut add: impl FnMut(usize, usize, f64),
) {
    let column = &mut column[..whole.ncols()];
    let entries = |range: &Range<usize>| csc.indices()[range.clone()].iter().zip(&csc.values()[range.clone()]);
    for (at, (j, range)) in support.iter().enumerate() {
        column.fill(0.0);
        for (&row, v) in entries(range) {
            column.iter_mut().zip(whole.col_as_slice(row - offset)).for_each(|(c, s)| *c += v * s);
        }
        for (i, range) in &support[at..] {
            add(*i, *j, entries(range).map(|(&row, v)| v * column[row - offset]).sum());
        }
    }
}
