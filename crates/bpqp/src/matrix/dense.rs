//! Dense kernels on slices, over faer's run-time dispatched ones.

use super::columns::column;
use super::{Wide, columns};
use crate::Error;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::{Accum, ColMut, ColRef, Mat, MatMut, MatRef, Par};
use pulp::{Arch, Simd, WithSimd};

/// `out += alpha * m x`.
pub(crate) fn gemv(alpha: f64, m: MatRef<'_, f64>, x: &[f64], out: &mut [f64]) {
    debug_assert_eq!((m.nrows(), m.ncols()), (out.len(), x.len()));
    // of no rows, or of no columns
    if x.is_empty() || out.is_empty() {
        return;
    }
    if columns::gemv(alpha, m, x, out) {
        return;
    }
    let _clean = Wide;
    matmul(ColMut::from_slice_mut(out).as_mat_mut(), Accum::Add, m, ColRef::from_slice(x).as_mat(), alpha, Par::Seq);
}

/// `out += alpha * m' y`.
pub(crate) fn gemv_t(alpha: f64, m: MatRef<'_, f64>, y: &[f64], out: &mut [f64]) {
    gemv(alpha, m.transpose(), y, out);
}

/// `out += |m| x` for `x >= 0`.
pub(crate) fn gemv_abs(m: MatRef<'_, f64>, x: &[f64], out: &mut [f64]) {
    if !out.is_empty() {
        Arch::new().dispatch(GemvAbs(m, x, out));
    }
}

struct GemvAbs<'a>(MatRef<'a, f64>, &'a [f64], &'a mut [f64]);

impl WithSimd for GemvAbs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let GemvAbs(m, x, out) = self;
        for (j, &x) in x.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            let (own, rest) = S::as_simd_f64s(column(m, j, 0));
            let (head, tail) = S::as_mut_simd_f64s(out);
            let t = simd.splat_f64s(x);
            for (o, &v) in head.iter_mut().zip(own) {
                *o = simd.add_f64s(*o, simd.mul_f64s(simd.abs_f64s(v), t));
            }
            tail.iter_mut().zip(rest).for_each(|(o, v)| *o += v.abs() * x);
        }
    }
}

/// Adds the squares of the entries of each row.
pub(crate) fn add_squares(m: MatRef<'_, f64>, out: &mut [f64]) {
    if !out.is_empty() {
        Arch::new().dispatch(AddSquares(m, out));
    }
}

struct AddSquares<'a>(MatRef<'a, f64>, &'a mut [f64]);

impl WithSimd for AddSquares<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddSquares(m, out) = self;
        for j in 0..m.ncols() {
            let (own, rest) = S::as_simd_f64s(column(m, j, 0));
            let (head, tail) = S::as_mut_simd_f64s(out);
            for (o, &v) in head.iter_mut().zip(own) {
                *o = simd.add_f64s(*o, simd.mul_f64s(v, v));
            }
            tail.iter_mut().zip(rest).for_each(|(o, v)| *o += v * v);
        }
    }
}

/// `out += |m|' y` for `y >= 0`.
pub(crate) fn gemv_t_abs(m: MatRef<'_, f64>, y: &[f64], out: &mut [f64]) {
    for (j, o) in out.iter_mut().enumerate() {
        let mut lanes = [0.0; LANES];
        let (left, right) = (column(m, j, 0).chunks_exact(LANES), y.chunks_exact(LANES));
        let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a.abs() * b).sum();
        for (a, b) in left.zip(right) {
            for k in 0..LANES {
                lanes[k] += a[k].abs() * b[k];
            }
        }
        *o += lanes.iter().sum::<f64>() + rest;
    }
}

/// Raises `rows` and `columns` to the largest magnitudes in those of `E m D`.
pub(crate) fn raise_largest(m: MatRef<'_, f64>, (e, d): (&[f64], &[f64]), rows: &mut [f64], columns: &mut [f64]) {
    for (j, (d, top)) in d.iter().zip(columns).enumerate() {
        let mut largest = *top;
        for ((v, e), row) in column(m, j, 0).iter().zip(e).zip(&mut *rows) {
            let v = (v * e * d).abs();
            *row = if v > *row { v } else { *row };
            largest = if v > largest { v } else { largest };
        }
        *top = largest;
    }
}

/// The smallest magnitude above 0, infinite if there is none, and the largest one.
pub(crate) fn extent(a: &[f64]) -> (f64, f64) {
    let (mut low, mut high) = ([f64::INFINITY; LANES], [0.0_f64; LANES]);
    let (chunks, rest) = pulp::as_arrays::<LANES, _>(a);
    let mut see = |k: usize, v: f64| {
        let v = v.abs();
        high[k] = if v > high[k] { v } else { high[k] };
        let positive = if v > 0.0 { v } else { f64::INFINITY };
        low[k] = if positive < low[k] { positive } else { low[k] };
    };
    chunks.iter().for_each(|chunk| (0..LANES).for_each(|k| see(k, chunk[k])));
    rest.iter().enumerate().for_each(|(k, &v)| see(k, v));
    (low.into_iter().fold(f64::INFINITY, f64::min), high.into_iter().fold(0.0, f64::max))
}

/// Accumulators that run side by side: a single one would wait for itself, four cycles per entry.
const LANES: usize = 8;

/// Euclidean inner product.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let mut lanes = [0.0; LANES];
    let (left, right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (mut last, mut other) = (left.remainder(), right.remainder());
    for (a, b) in left.zip(right) {
        for k in 0..LANES {
            lanes[k] += a[k] * b[k];
        }
    }
    // what is left in halves, side by side too
    add_half::<4>(&mut last, &mut other, &mut lanes);
    add_half::<2>(&mut last, &mut other, &mut lanes);
    add_half::<1>(&mut last, &mut other, &mut lanes);
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// Adds the products of the first `N` entries, if there are so many, and goes on behind them.
#[inline(always)]
fn add_half<const N: usize>(a: &mut &[f64], b: &mut &[f64], lanes: &mut [f64; LANES]) {
    if let (Some((left, rest)), Some((right, other))) = (a.split_first_chunk::<N>(), b.split_first_chunk::<N>()) {
        for k in 0..N {
            lanes[k] += left[k] * right[k];
        }
        (*a, *b) = (rest, other);
    }
}

/// The larger one; NaN if one of them is.
pub(crate) fn nan_max(a: f64, b: f64) -> f64 {
    if a >= b || a.is_nan() { a } else { b }
}

/// Largest magnitude; NaN if any entry is.
pub(crate) fn norm_inf(a: &[f64]) -> f64 {
    // short vectors are not worth setting up many accumulators for
    if a.len() < 4 * LANES { largest::<2>(a) } else { largest::<LANES>(a) }
}

/// The same with that many accumulators.
#[inline(always)]
fn largest<const N: usize>(a: &[f64]) -> f64 {
    // a comparison passes NaN over: the second accumulators find it, and the loop stays free of branches
    let (mut largest, mut nan) = ([0.0_f64; N], [0.0_f64; N]);
    let (chunks, rest) = pulp::as_arrays::<N, _>(a);
    for chunk in chunks {
        for k in 0..N {
            let v = chunk[k].abs();
            largest[k] = if v > largest[k] { v } else { largest[k] };
            nan[k] += 0.0 * v;
        }
    }
    for (k, v) in rest.iter().enumerate() {
        let v = v.abs();
        largest[k] = if v > largest[k] { v } else { largest[k] };
        nan[k] += 0.0 * v;
    }
    // an infinite entry makes 0 v NaN as well
    if nan.iter().sum::<f64>().is_nan() && a.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    largest.into_iter().fold(0.0, f64::max)
}

/// Products up to which finding a kernel for `y'y` takes longer than the plain ones.
const FEW: usize = 512;

/// Lower triangle of `out = y'y`.
pub(crate) fn lower_gram_block(mut out: MatMut<'_, f64>, y: MatRef<'_, f64>) {
    let k = y.ncols();
    if k * k * y.nrows() <= FEW && y.row_stride() == 1 {
        for j in 0..k {
            (j..k).for_each(|i| out[(i, j)] = dot(column(y, i, 0), column(y, j, 0)));
        }
        return;
    }
    let _clean = Wide;
    triangular_matmul(
        out,
        BlockStructure::TriangularLower,
        Accum::Replace,
        y.transpose(),
        BlockStructure::Rectangular,
        y,
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
}

/// Lower triangle of the rows and columns `kept` of a symmetric matrix.
pub(crate) fn gather_lower(m: MatRef<'_, f64>, kept: &[usize], out: &mut Mat<f64>) {
    let all = kept.len() == m.ncols();
    for (j, &col) in kept.iter().enumerate() {
        let (source, target) = (column(m, col, 0), out.col_as_slice_mut(j));
        if all {
            target[j..].copy_from_slice(&source[j..]);
        } else {
            for (o, &i) in target[j..].iter_mut().zip(&kept[j..]) {
                *o = source[i];
            }
        }
    }
}

pub(crate) fn resize(m: &mut Mat<f64>, nrows: usize, ncols: usize) {
    if (m.nrows(), m.ncols()) != (nrows, ncols) {
        m.resize_with(nrows, ncols, |_, _| 0.0);
    }
}

/// The first column with an entry that is not finite.
struct NotFiniteColumn<'a>(MatRef<'a, f64>);

impl WithSimd for NotFiniteColumn<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<usize> {
        let zero = simd.splat_f64s(0.0);
        (0..self.0.ncols()).find(|&col| {
            // 0 v is 0 for a finite v, and NaN for the others
            let (head, tail) = S::as_simd_f64s(column(self.0, col, 0));
            let sum = head.iter().fold(zero, |sum, &v| simd.mul_add_f64s(zero, v, sum));
            tail.iter().fold(simd.reduce_sum_f64s(sum), |sum, v| sum + 0.0 * v) != 0.0
        })
    }
}

/// Refuses a matrix with an entry that is not finite.
pub(crate) fn dense_finite(argument: &'static str, m: MatRef<'_, f64>) -> Result<(), Error> {
    let bad = Arch::new().dispatch(NotFiniteColumn(m));
    let place = bad.and_then(|col| column(m, col, 0).iter().position(|v| !v.is_finite()).map(|row| (row, col)));
    match place {
        None => Ok(()),
        Some((row, col)) => Err(Error::NotFinite { argument, row, col, value: m[(row, col)] }),
    }
}
