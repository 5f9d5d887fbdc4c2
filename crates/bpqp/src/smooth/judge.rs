//! Is a stationary point a minimum? By the inertia of the Hessian of the Lagrangian on the null space of the active rows.
//!
//! | on the null space of | curvature | answer |
//! | --- | --- | --- |
//! | the strictly active rows | positive | a strict local minimum (sufficient) |
//! | all active rows | negative somewhere | not a minimum, with the direction |
//! | | anything between | not known from derivatives of second order |
//!
//! The null space comes from an orthogonal factorization with pivoting and the signs from all eigenvalues, in units of the
//! variables in which the Hessian has a diagonal of about 1. Cholesky of a regularized matrix would not show it. For sparse
//! matrices the pivots of a matrix that is made *less* definite show a minimum first.

use super::model::Expanded;
use crate::active::{ActiveSet, Side};
use crate::kkt::{CholeskyScratch, KktData, SparseKkt};
use crate::matrix::{Hessian, Keep, Matrix, dot, norm_inf};
use faer::{Mat, Side as Triangle};
use std::sync::Arc;

/// Curvatures within this part of the largest one have no sign.
const ROUNDING: f64 = 1e-10;
/// Curvatures of single variables down to this part of the largest one have units of their own.
const LIKE: f64 = 1e-8;
/// The pivots that count as rank.
const RANK: f64 = 1e-11;
/// Programs with fewer variables are judged by eigenvalues alone.
const DENSE: usize = 60;
/// Programs with more free variables than this are not judged by eigenvalues.
const LARGEST: usize = 2500;

/// What the second order says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    Minimum,
    NotAMinimum(Vec<f64>),
    Unknown,
}

/// `definite`: its curvature is clear.
pub(super) fn judge(at: &Expanded, set: &ActiveSet, definite: bool) -> Order {
    let n = at.gradient.len();
    if definite {
        return Order::Minimum;
    }
    let h = at.hessian.to_dense();
    let strict = |i: usize| set.g[i] && !set.weak_g[i];
    let pinned = |j: usize| set.bound[j] != Side::Free && !set.weak_bound[j];
    let any = |i: usize| set.g[i] || set.weak_g[i];
    let touched = |j: usize| set.bound[j] != Side::Free || set.weak_bound[j];
    if shown_by_inertia(at, set) {
        return Order::Minimum;
    }
    let Some((least, _, scale)) = smallest(at, &h, &strict, &pinned) else { return Order::Unknown };
    if least > ROUNDING * scale {
        return Order::Minimum;
    }
    match smallest(at, &h, &any, &touched) {
        Some((least, direction, scale)) if least < -ROUNDING * scale => {
            let pushed: Vec<f64> = (0..n).map(|i| (0..n).map(|j| h[(i, j)] * direction[j]).sum()).collect();
            if dot(&pushed, &direction) < 0.0 { Order::NotAMinimum(direction) } else { Order::Unknown }
        }
        _ => Order::Unknown,
    }
}

/// Proofs of positive curvature, in buffers that are kept between them.
#[derive(Default)]
pub(super) struct Curvature {
    scratch: CholeskyScratch,
}

impl Curvature {
    /// Positive curvature along every direction: shown by the entries of a diagonal, or by the pivots of a dense matrix after
    /// more than what counts as no curvature is taken from its diagonal. False says nothing.
    pub fn is_clear(&mut self, h: &Hessian) -> bool {
        match h {
            Hessian::Diagonal(d) => {
                let least = LIKE * norm_inf(d);
                d.iter().all(|v| *v > 0.0 && *v >= least)
            }
            Hessian::Dense(m) => {
                let n = m.ncols();
                let (largest, margin) = ((0..n).fold(0.0_f64, |d, j| d.max(m[(j, j)])), 2.0 * ROUNDING * n as f64);
                // no entry of a column of a positive definite matrix is larger than this
                let bound = |j: usize| (m[(j, j)] * largest).sqrt().max(LIKE * largest);
                self.scratch.is_positive(m.as_ref(), |j| margin * bound(j))
            }
            _ => false,
        }
    }
}

/// For sparse matrices: true if the curvature on the null space of the strictly active rows F is positive, because
/// `[H - d, F'; F, -d]` with a small d has as many positive pivots as variables: then `H - d + F'F/d` is positive definite, and
/// `F w = 0` leaves `w'H w > d w'w`. False says nothing.
fn shown_by_inertia(at: &Expanded, set: &ActiveSet) -> bool {
    let n = at.gradient.len();
    if n <= DENSE || !matches!(*at.hessian, Hessian::Sparse(_)) {
        return false;
    }
    let (empty, keep) = (Arc::new(Matrix::empty(n)), Keep::default());
    let data = KktData { p: &at.hessian, rows: [&at.equality, &at.inequality, &empty], analysis: &keep };
    let Ok(mut kkt) = SparseKkt::of_curvature(data) else {
        return false;
    };
    let dx = (0..n).map(|j| if set.bound[j] != Side::Free && !set.weak_bound[j] { f64::INFINITY } else { 0.0 });
    let mut dc = vec![0.0; at.equality.nrows()];
    dc.extend((0..at.inequality.nrows()).map(|i| if set.g[i] && !set.weak_g[i] { 0.0 } else { f64::INFINITY }));
    kkt.curves_up(&dx.collect::<Vec<f64>>(), &dc)
}

/// The smallest curvature on the null space of the rows, its direction, and the largest magnitude; infinite without one.
fn smallest(
    at: &Expanded,
    h: &Mat<f64>,
    row: &dyn Fn(usize) -> bool,
    pin: &dyn Fn(usize) -> bool,
) -> Option<(f64, Vec<f64>, f64)> {
    let n = h.nrows();
    let free: Vec<usize> = (0..n).filter(|&j| !pin(j)).collect();
    if free.len() > LARGEST {
        return None;
    }
    let nothing = Some((f64::INFINITY, vec![0.0; n], 1.0));
    if free.is_empty() {
        return nothing;
    }
    let largest = (0..n).flat_map(|j| (0..n).map(move |i| (i, j))).fold(0.0_f64, |m, (i, j)| m.max(h[(i, j)].abs()));
    if largest == 0.0 {
        // no curvature at all: only a vertex is a strict minimum
        let rank = null_space(at, &vec![1.0; free.len()], &free, row)?.ncols();
        return if rank == 0 { nothing } else { Some((0.0, vec![0.0; n], 1.0)) };
    }
    // units in which every variable has a curvature of about 1
    let unit = |j: usize| {
        let own = free.iter().fold(0.0_f64, |m, &i| m.max(h[(i, j)].abs()));
        1.0 / own.max(LIKE * largest).sqrt()
    };
    let units: Vec<f64> = free.iter().map(|&j| unit(j)).collect();
    let basis = null_space(at, &units, &free, row)?;
    if basis.ncols() == 0 {
        return nothing;
    }
    let own = Mat::from_fn(free.len(), free.len(), |a, b| {
        0.5 * (h[(free[a], free[b])] + h[(free[b], free[a])]) * units[a] * units[b]
    });
    let reduced = basis.transpose() * &own * &basis;
    let eigen = reduced.self_adjoint_eigen(Triangle::Lower).ok()?;
    let values = eigen.S().column_vector();
    let scale = (0..values.nrows()).fold(0.0_f64, |m, i| m.max(values[i].abs())).max(1e-8);
    let least = (0..values.nrows()).min_by(|a, b| values[*a].total_cmp(&values[*b]))?;
    let vector = &basis * eigen.U().col(least);
    let mut direction = vec![0.0; n];
    free.iter().enumerate().for_each(|(k, &j)| direction[j] = vector[k] * units[k]);
    let length = direction.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    direction.iter_mut().for_each(|v| *v /= length);
    Some((values[least], direction, scale.max(1.0)))
}

/// An orthonormal basis of the null space of the rows in the free variables, in their units.
fn null_space(at: &Expanded, units: &[f64], free: &[usize], row: &dyn Fn(usize) -> bool) -> Option<Mat<f64>> {
    let f = free.len();
    let mut place = vec![usize::MAX; at.gradient.len()];
    free.iter().enumerate().for_each(|(k, &j)| place[j] = k);
    let m = at.equality.nrows();
    let rows: Vec<usize> = (0..at.inequality.nrows()).filter(|&i| row(i)).collect();
    let mut number = vec![usize::MAX; at.inequality.nrows()];
    rows.iter().enumerate().for_each(|(k, &i)| number[i] = m + k);
    let mut t = Mat::<f64>::zeros(f, m + rows.len());
    at.equality.for_each(|i, j, v| {
        if place[j] != usize::MAX {
            t[(place[j], i)] = v * units[place[j]];
        }
    });
    at.inequality.for_each(|i, j, v| {
        if place[j] != usize::MAX && number[i] != usize::MAX {
            t[(place[j], number[i])] = v * units[place[j]];
        }
    });
    for j in 0..t.ncols() {
        let column = t.col_as_slice_mut(j);
        let largest = column.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        if !largest.is_finite() {
            return None;
        }
        if largest > 0.0 {
            column.iter_mut().for_each(|v| *v /= largest);
        }
    }
    if t.ncols() == 0 {
        return Some(Mat::identity(f, f));
    }
    let qr = t.col_piv_qr();
    let r = qr.thin_R();
    let first = r[(0, 0)].abs();
    let steps = r.nrows().min(r.ncols());
    let rank = (0..steps).take_while(|&k| r[(k, k)].abs() > RANK * first && first > 0.0).count();
    let q = qr.compute_Q();
    Some(Mat::from_fn(f, f - rank, |i, j| q[(i, rank + j)]))
}
