//! Positive semidefinite matrices, `svec` of the upper triangle by columns with `sqrt 2` off the diagonal.
//!
//! `V = Q diag(w) Q'`, `s` keeps the positive eigenvalues and `y` the negative ones. In the orthonormal basis
//! `svec(q_i q_i')`, `svec((q_i q_j' + q_j q_i')/sqrt 2)` pairs (+, +) are free, pairs (-, -) pinned, and mixed pairs have
//! the curvature `|w_-|/w_+`. A zero eigenvalue counts as negative.

use super::{Basis, Block, Split, Tolerance};
use crate::matrix::Wide;
use faer::{Mat, Side};
use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

/// The symmetric matrix of a triangle.
pub(crate) fn smat(n: usize, v: &[f64]) -> Mat<f64> {
    let mut m = Mat::zeros(n, n);
    let mut k = 0;
    for j in 0..n {
        for i in 0..=j {
            let value = if i == j { v[k] } else { v[k] * FRAC_1_SQRT_2 };
            (m[(i, j)], m[(j, i)]) = (value, value);
            k += 1;
        }
    }
    m
}

/// The triangle of a symmetric matrix.
pub(crate) fn svec(m: &Mat<f64>, out: &mut [f64]) {
    let mut k = 0;
    for j in 0..m.ncols() {
        for i in 0..=j {
            out[k] = if i == j { m[(i, j)] } else { SQRT_2 * m[(i, j)] };
            k += 1;
        }
    }
}

/// `svec(Q' smat(v) Q)` for the entries `(index, value)` of a triangle that are not zero: coordinates in the eigenbasis.
pub(super) fn rotate_sparse(q: &Mat<f64>, entries: impl Iterator<Item = (usize, f64)>, out: &mut [f64]) {
    let n = q.ncols();
    // (M Q) by rows, of the rows that M touches
    let mut product = Mat::<f64>::zeros(n, n);
    let mut touched = vec![false; n];
    for (k, value) in entries {
        // column j of the triangle starts at j (j + 1) / 2
        let mut j = ((2.0 * k as f64 + 0.25).sqrt() - 0.5) as usize;
        while (j + 1) * (j + 2) / 2 <= k {
            j += 1;
        }
        while j * (j + 1) / 2 > k {
            j -= 1;
        }
        let i = k - j * (j + 1) / 2;
        let value = if i == j { value } else { value * FRAC_1_SQRT_2 };
        for c in 0..n {
            product[(c, i)] += value * q[(j, c)];
            if i != j {
                product[(c, j)] += value * q[(i, c)];
            }
        }
        (touched[i], touched[j]) = (true, true);
    }
    out.fill(0.0);
    for r in (0..n).filter(|&r| touched[r]) {
        let row = product.col_as_slice(r);
        let mut k = 0;
        for j in 0..n {
            for i in 0..=j {
                out[k] += q[(r, i)] * row[j];
                k += 1;
            }
        }
    }
    let mut k = 0;
    for j in 0..n {
        for _ in 0..j {
            out[k] *= SQRT_2;
            k += 1;
        }
        k += 1;
    }
}

/// Coordinates in the eigenbasis.
pub(super) fn rotate(q: &Mat<f64>, v: &[f64], out: &mut [f64]) {
    let m = q.transpose() * smat(q.ncols(), v) * q;
    drop(Wide);
    svec(&m, out);
}

/// From coordinates in the eigenbasis.
pub(super) fn rotate_back(q: &Mat<f64>, v: &[f64], out: &mut [f64]) {
    let m = q * smat(q.ncols(), v) * q.transpose();
    drop(Wide);
    svec(&m, out);
}

pub(super) fn split(n: usize, v: &[f64], tol: Tolerance, block: Block<'_>) -> Split {
    let _clean = Wide;
    let matrix = smat(n, v);
    let Ok(eigen) = matrix.self_adjoint_eigen(Side::Lower) else {
        // only for NaN: let it show in the residuals
        block.s.fill(f64::NAN);
        block.y.fill(f64::NAN);
        block.curvature.fill(f64::INFINITY);
        return Split::plain(true);
    };
    let (q, w) = (eigen.U().to_owned(), eigen.S().column_vector());
    let part = |keep: &dyn Fn(f64) -> f64| {
        let scaled = Mat::from_fn(n, n, |i, j| q[(i, j)] * keep(w[j]));
        &scaled * q.transpose()
    };
    svec(&part(&|w| w.max(0.0)), block.s);
    svec(&part(&|w| (-w).max(0.0)), block.y);
    let (mut k, mut weak) = (0, false);
    for j in 0..n {
        weak |= if w[j] > 0.0 { w[j] <= tol.s } else { -w[j] <= tol.y };
        for i in 0..=j {
            block.curvature[k] = match (w[i] > 0.0, w[j] > 0.0) {
                (true, true) => 0.0,
                (false, false) => f64::INFINITY,
                (true, false) => -w[j] / w[i],
                (false, true) => -w[i] / w[j],
            };
            k += 1;
        }
    }
    let uniform = (0..n).all(|i| (w[i] > 0.0) == (w[0] > 0.0));
    Split { basis: if uniform { Basis::Rows } else { Basis::Eigen(q) }, weak }
}
