//! Dense kernels on slices, over faer's run-time dispatched ones.

use faer::linalg::matmul::matmul;
use faer::{Accum, ColMut, ColRef, MatRef, Par};

/// `out += alpha * m x`.
pub(crate) fn gemv(alpha: f64, m: MatRef<'_, f64>, x: &[f64], out: &mut [f64]) {
    debug_assert_eq!((m.nrows(), m.ncols()), (out.len(), x.len()));
    matmul(ColMut::from_slice_mut(out).as_mat_mut(), Accum::Add, m, ColRef::from_slice(x).as_mat(), alpha, Par::Seq);
}

/// `out += alpha * m' y`.
pub(crate) fn gemv_t(alpha: f64, m: MatRef<'_, f64>, y: &[f64], out: &mut [f64]) {
    gemv(alpha, m.transpose(), y, out);
}

/// Euclidean inner product.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Largest magnitude; NaN if any entry is.
pub(crate) fn norm_inf(a: &[f64]) -> f64 {
    // f64::max passes NaN over: the second accumulator finds it, and both loops stay free of branches
    let (largest, nan) = a.iter().fold((0.0_f64, 0.0_f64), |(m, nan), v| (m.max(v.abs()), nan + 0.0 * v));
    if nan.is_nan() && a.iter().any(|v| v.is_nan()) { f64::NAN } else { largest }
}
