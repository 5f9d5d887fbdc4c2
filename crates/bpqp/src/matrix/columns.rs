//! Products of dense matrices and vectors, four columns at a time, in the vector instructions that the machine turns out to
//! have: at small orders a general library spends more on finding its kernel than in it.

use super::dense::dot;
use faer::reborrow::ReborrowMut;
use faer::{MatMut, MatRef};
use pulp::{Arch, Simd, WithSimd};

/// Columns that are worked on together: a row of the result is loaded once for four of them.
pub(crate) const BLOCK: usize = 4;

/// Rows `start..` of column j, which is contiguous in every matrix that is factored here.
#[inline(always)]
pub(crate) fn column(l: MatRef<'_, f64>, j: usize, start: usize) -> &[f64] {
    match l.col(j).try_as_col_major() {
        Some(column) => &column.as_slice()[start..],
        None => &[],
    }
}

/// Rows `start..` of columns `j..j + 4`.
#[inline(always)]
pub(crate) fn columns(l: MatRef<'_, f64>, j: usize, start: usize) -> [&[f64]; BLOCK] {
    [column(l, j, start), column(l, j + 1, start), column(l, j + 2, start), column(l, j + 3, start)]
}

/// The first `n` entries of four columns as vectors, and what is left of them. Written out, for a closure may stay a call, which
/// knows nothing of the instructions that its caller is compiled for.
#[inline(always)]
fn vectors<S: Simd>(c: [&[f64]; BLOCK], n: usize) -> [(&[S::f64s], &[f64]); BLOCK] {
    let [c0, c1, c2, c3] = c;
    [S::as_simd_f64s(&c0[..n]), S::as_simd_f64s(&c1[..n]), S::as_simd_f64s(&c2[..n]), S::as_simd_f64s(&c3[..n])]
}

/// Four columns without their first four entries.
#[inline(always)]
pub(crate) fn below([c0, c1, c2, c3]: [&[f64]; BLOCK]) -> [&[f64]; BLOCK] {
    [&c0[BLOCK..], &c1[BLOCK..], &c2[BLOCK..], &c3[BLOCK..]]
}

/// `x -= sum of c_k t_k`.
#[inline(always)]
pub(crate) fn subtract<S: Simd>(simd: S, x: &mut [f64], c: [&[f64]; BLOCK], t: [f64; BLOCK]) {
    let [c0, c1, c2, c3] = vectors::<S>(c, x.len());
    let (t0, t1) = (simd.splat_f64s(-t[0]), simd.splat_f64s(-t[1]));
    let (t2, t3) = (simd.splat_f64s(-t[2]), simd.splat_f64s(-t[3]));
    let (head, tail) = S::as_mut_simd_f64s(x);
    for ((((x, &c0), &c1), &c2), &c3) in head.iter_mut().zip(c0.0).zip(c1.0).zip(c2.0).zip(c3.0) {
        let left = simd.mul_add_f64s(t1, c1, simd.mul_add_f64s(t0, c0, *x));
        let right = simd.mul_add_f64s(t3, c3, simd.mul_f64s(t2, c2));
        *x = simd.add_f64s(left, right);
    }
    for ((((x, c0), c1), c2), c3) in tail.iter_mut().zip(c0.1).zip(c1.1).zip(c2.1).zip(c3.1) {
        *x = (*x - t[0] * c0 - t[1] * c1) - (t[2] * c2 + t[3] * c3);
    }
}

/// Inner products of four columns with `x`.
#[inline(always)]
pub(crate) fn products<S: Simd>(simd: S, x: &[f64], c: [&[f64]; BLOCK]) -> [f64; BLOCK] {
    let [c0, c1, c2, c3] = vectors::<S>(c, x.len());
    let (head, tail) = S::as_simd_f64s(x);
    let mut sums = [simd.splat_f64s(0.0); BLOCK];
    for ((((&x, &c0), &c1), &c2), &c3) in head.iter().zip(c0.0).zip(c1.0).zip(c2.0).zip(c3.0) {
        sums[0] = simd.mul_add_f64s(c0, x, sums[0]);
        sums[1] = simd.mul_add_f64s(c1, x, sums[1]);
        sums[2] = simd.mul_add_f64s(c2, x, sums[2]);
        sums[3] = simd.mul_add_f64s(c3, x, sums[3]);
    }
    let [s0, s1, s2, s3] = sums;
    let mut out =
        [simd.reduce_sum_f64s(s0), simd.reduce_sum_f64s(s1), simd.reduce_sum_f64s(s2), simd.reduce_sum_f64s(s3)];
    for ((((x, c0), c1), c2), c3) in tail.iter().zip(c0.1).zip(c1.1).zip(c2.1).zip(c3.1) {
        out[0] += x * c0;
        out[1] += x * c1;
        out[2] += x * c2;
        out[3] += x * c3;
    }
    out
}

/// `out += alpha * m x` of a matrix whose columns are contiguous.
struct Gemv<'a>(f64, MatRef<'a, f64>, &'a [f64], &'a mut [f64]);

impl WithSimd for Gemv<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Gemv(alpha, m, x, out) = self;
        let blocked = x.len() - x.len() % BLOCK;
        for j in (0..blocked).step_by(BLOCK) {
            let t = [-alpha * x[j], -alpha * x[j + 1], -alpha * x[j + 2], -alpha * x[j + 3]];
            subtract(simd, out, columns(m, j, 0), t);
        }
        for j in blocked..x.len() {
            let t = alpha * x[j];
            out.iter_mut().zip(column(m, j, 0)).for_each(|(o, c)| *o += t * c);
        }
    }
}

/// `out += the columns in list, times t`, of a matrix whose columns are contiguous.
struct AddColumns<'a>(MatRef<'a, f64>, &'a [usize], &'a [f64], &'a mut [f64]);

impl WithSimd for AddColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddColumns(m, list, t, out) = self;
        let (lists, factors) = (list.chunks_exact(BLOCK), t.chunks_exact(BLOCK));
        let rest = lists.remainder().iter().zip(factors.remainder());
        for (j, t) in lists.zip(factors) {
            let own = [column(m, j[0], 0), column(m, j[1], 0), column(m, j[2], 0), column(m, j[3], 0)];
            subtract(simd, out, own, [-t[0], -t[1], -t[2], -t[3]]);
        }
        for (&j, t) in rest {
            out.iter_mut().zip(column(m, j, 0)).for_each(|(o, c)| *o += t * c);
        }
    }
}

/// `out += the columns in list, times t`.
pub(crate) fn add_columns(m: MatRef<'_, f64>, list: &[usize], t: &[f64], out: &mut [f64]) {
    debug_assert!(m.row_stride() == 1 || m.nrows() <= 1 || list.is_empty());
    Arch::new().dispatch(AddColumns(m, list, t, out));
}

/// `out += alpha * m' y` of a matrix whose columns are contiguous.
struct GemvTransposed<'a>(f64, MatRef<'a, f64>, &'a [f64], &'a mut [f64]);

impl WithSimd for GemvTransposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let GemvTransposed(alpha, m, y, out) = self;
        let blocked = out.len() - out.len() % BLOCK;
        for j in (0..blocked).step_by(BLOCK) {
            let s = products(simd, y, columns(m, j, 0));
            out[j..j + BLOCK].iter_mut().zip(s).for_each(|(o, s)| *o += alpha * s);
        }
        for j in blocked..out.len() {
            out[j] += alpha * dot(column(m, j, 0), y);
        }
    }
}

/// The lower triangle of `out += size * m m'` of matrices whose columns are contiguous.
struct AddGram<'a>(MatMut<'a, f64>, MatRef<'a, f64>, f64);

impl WithSimd for AddGram<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddGram(mut out, m, size) = self;
        let blocked = m.ncols() - m.ncols() % BLOCK;
        for j in 0..m.nrows() {
            let Some(column) = out.rb_mut().col_mut(j).try_as_col_major_mut() else { return };
            let own = &mut column.as_slice_mut()[j..];
            for k in (0..blocked).step_by(BLOCK) {
                let c = columns(m, k, j);
                subtract(simd, own, c, [-size * c[0][0], -size * c[1][0], -size * c[2][0], -size * c[3][0]]);
            }
            for k in blocked..m.ncols() {
                let c = self::column(m, k, j);
                let t = size * c[0];
                own.iter_mut().zip(c).for_each(|(o, c)| *o += t * c);
            }
        }
    }
}

/// The lower triangle of `out += size * m m'`; false, and nothing done, where the columns of one are not contiguous.
pub(crate) fn add_gram(out: MatMut<'_, f64>, m: MatRef<'_, f64>, size: f64) -> bool {
    let contiguous = out.row_stride() == 1 && m.row_stride() == 1;
    if contiguous {
        Arch::new().dispatch(AddGram(out, m, size));
    }
    contiguous
}

/// `out += alpha * m x`; false, and nothing done, where neither rows nor columns are contiguous.
pub(crate) fn gemv(alpha: f64, m: MatRef<'_, f64>, x: &[f64], out: &mut [f64]) -> bool {
    if m.row_stride() == 1 {
        Arch::new().dispatch(Gemv(alpha, m, x, out));
    } else if m.col_stride() == 1 {
        Arch::new().dispatch(GemvTransposed(alpha, m.transpose(), x, out));
    } else {
        return false;
    }
    true
}
