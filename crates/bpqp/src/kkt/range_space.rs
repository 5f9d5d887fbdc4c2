//! What depends on P and the constraint matrices only: computed once, shared by forward and backward, by the instances
//! of a batch and by the epochs of a training.

use super::cholesky::{CholeskyScratch, NotPositive, pivot_ratio, smallest_kept};
use super::kernels::{solve_lower, solve_lower_transposed};
use super::rank::Rank;
use super::{KktData, Matrices};
use crate::interrupt::late;
use crate::matrix::{lower_gram, solve_lower_columns};
use crate::thresholds::CLEAR_PIVOT;
use faer::Mat;

/// `P = L L'`, `Y = L^-1 C'` (n x k) and `M = Y'Y = C P^-1 C'`, with C all constraint rows.
///
/// Cost `n^3/3 + n^2 k + n k^2` flops; everything after it lives in the k-dimensional space of the multipliers.
#[derive(Debug)]
pub(crate) struct RangeSpace {
    of: Matrices,
    /// Cholesky factor of P; the strict upper triangle is not used.
    pub l: Mat<f64>,
    /// Smallest over largest squared pivot of L.
    pub pivot_ratio: f64,
    /// The smallest part of its diagonal entry that a pivot of L kept.
    pub kept: f64,
    /// `L^-1 C'`.
    pub y: Mat<f64>,
    /// `C P^-1 C'`, lower triangle.
    pub m: Mat<f64>,
}

/// Smallest pivot ratio at which P counts as safely positive definite; below it the primal form is more accurate.
const SAFE: f64 = 1e-12;

impl RangeSpace {
    /// Computes the factors; fails if P is not safely positive definite.
    pub fn new(of: Matrices, scratch: &mut CholeskyScratch) -> Result<Self, NotPositive> {
        let full = if of.p.as_dense().is_none() { of.p.to_dense() } else { Mat::zeros(0, 0) };
        let p = of.p.as_dense().unwrap_or(&full);
        let l = scratch.factor_of(p)?;
        let pivot_ratio = pivot_ratio(l.as_ref());
        if pivot_ratio < SAFE {
            return Err(NotPositive);
        }
        let kept = smallest_kept(l.as_ref(), |i| p[(i, i)]);
        if kept <= CLEAR_PIVOT {
            let mut rank = Rank::default();
            rank.examine(&Mat::zeros(p.ncols(), 0), p, false);
            if rank.face.ncols() > 0 {
                return Err(NotPositive);
            }
        }
        let mut y = of.transposed_rows();
        let k = y.ncols();
        let mut m = Mat::zeros(k, k);
        if k > 0 {
            solve_lower_columns(l.as_ref(), y.as_mut());
            lower_gram(&mut m, &y);
        }
        if late() {
            return Err(NotPositive);
        }
        Ok(RangeSpace { of, l, pivot_ratio, kept, y, m })
    }

    /// True if these are the factors of the matrices of `data`.
    pub fn is_of(&self, data: KktData<'_>) -> bool {
        self.of.are(data)
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
