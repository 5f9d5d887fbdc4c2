//! What depends on P and the constraint matrices only: computed once, shared by forward and backward, by the instances
//! of a batch and by the epochs of a training.

use super::cholesky::{CholeskyScratch, NotPositive, pivot_ratio};
use super::kernels::{solve_lower, solve_lower_transposed};
use crate::Qp;
use crate::matrix::{Hessian, Matrix};
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Accum, Mat, Par};
use std::sync::Arc;

/// `P = L L'`, `Y = L^-1 C'` (n x k) and `M = Y'Y = C P^-1 C'`, with C = [A; G] all constraint rows.
///
/// Cost `n^3/3 + n^2 k + n k^2` flops; everything after it lives in the k-dimensional space of the multipliers.
#[derive(Debug)]
pub(crate) struct RangeSpace {
    p: Arc<Hessian>,
    a: Arc<Matrix>,
    g: Arc<Matrix>,
    /// Cholesky factor of P; the strict upper triangle is not used.
    pub l: Mat<f64>,
    /// Smallest over largest squared pivot of L.
    pub pivot_ratio: f64,
    /// `L^-1 C'`.
    pub y: Mat<f64>,
    /// `C P^-1 C'`, lower triangle.
    pub m: Mat<f64>,
}

/// Smallest pivot ratio at which P counts as safely positive definite; below it the primal form is more accurate.
const SAFE: f64 = 1e-12;

impl RangeSpace {
    /// Computes the factors; fails if P is not safely positive definite.
    pub fn new(qp: &Qp, scratch: &mut CholeskyScratch) -> Result<Self, NotPositive> {
        let l = match &*qp.p {
            Hessian::Dense(p) => scratch.factor_of(p),
            other => scratch.factor_of(&other.to_dense()),
        }?;
        let pivot_ratio = pivot_ratio(l.as_ref());
        if pivot_ratio < SAFE {
            return Err(NotPositive);
        }
        let mut y = transposed_rows(qp);
        solve_lower_triangular_in_place(l.as_ref(), y.as_mut(), Par::Seq);
        let k = y.ncols();
        let mut m = Mat::zeros(k, k);
        triangular_matmul(
            m.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Replace,
            y.transpose(),
            BlockStructure::Rectangular,
            y.as_ref(),
            BlockStructure::Rectangular,
            1.0,
            Par::Seq,
        );
        Ok(RangeSpace { p: qp.p.clone(), a: qp.a.clone(), g: qp.g.clone(), l, pivot_ratio, y, m })
    }

    /// True if these are the factors of the matrices of `qp`.
    pub fn is_of(&self, qp: &Qp) -> bool {
        Arc::ptr_eq(&self.p, &qp.p) && Arc::ptr_eq(&self.a, &qp.a) && Arc::ptr_eq(&self.g, &qp.g)
    }

    /// `x = L^-1 x`.
    pub fn solve_lower(&self, x: &mut [f64]) {
        solve_lower(self.l.as_ref(), x);
    }

    /// `x = L^-T x`.
    pub fn solve_upper(&self, x: &mut [f64]) {
        solve_lower_transposed(self.l.as_ref(), x);
    }
}

/// `C' = [A' G']`, n x k.
pub(crate) fn transposed_rows(qp: &Qp) -> Mat<f64> {
    let (m, k) = (qp.n_equality(), qp.n_equality() + qp.n_inequality());
    let mut out = Mat::zeros(qp.n(), k);
    for (offset, rows) in [(0, &qp.a), (m, &qp.g)] {
        match &**rows {
            Matrix::Dense(d) => out.as_mut().subcols_mut(offset, d.nrows()).copy_from(d.transpose()),
            Matrix::Sparse(s) => s.triplets().for_each(|(i, j, v)| out[(j, offset + i)] = v),
        }
    }
    out
}
