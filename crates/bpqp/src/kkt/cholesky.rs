//! Dense Cholesky factors and one-vector triangular solves.

use crate::matrix::gemv;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltRegularization, cholesky_in_place, cholesky_in_place_scratch};
use faer::{MatMut, MatRef, Par};

/// Columns of the diagonal blocks of a triangular solve: the blocks stay in the first-level cache, the rest is a
/// matrix-vector product at memory speed (faer's own one-vector solve is 2-5x slower).
const BLOCK: usize = 32;

/// Scratch of the factorization, grown once.
#[derive(Default)]
pub(crate) struct CholeskyScratch(Option<MemBuffer>, usize);

impl CholeskyScratch {
    /// Overwrites the lower triangle of `m` by its Cholesky factor. Fails if a pivot is not positive.
    pub fn factor(&mut self, m: MatMut<'_, f64>) -> Result<(), NotPositive> {
        let n = m.ncols();
        if self.0.is_none() || self.1 < n {
            let request = cholesky_in_place_scratch::<f64>(n, Par::Seq, faer::Spec::default());
            self.0 = Some(MemBuffer::new(request));
            self.1 = n;
        }
        let Some(buffer) = &mut self.0 else { return Err(NotPositive) };
        let stack = MemStack::new(buffer);
        let out = cholesky_in_place(m, LltRegularization::default(), Par::Seq, stack, faer::Spec::default());
        out.map(|_| ()).map_err(|_| NotPositive)
    }
}

/// A pivot of a Cholesky factorization is not positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotPositive;

/// Ratio of the smallest to the largest squared pivot: a cheap, optimistic estimate of `1/cond`.
pub(crate) fn pivot_ratio(l: MatRef<'_, f64>) -> f64 {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for i in 0..l.ncols() {
        let pivot = l[(i, i)] * l[(i, i)];
        low = low.min(pivot);
        high = high.max(pivot);
    }
    if high > 0.0 { low / high } else { 1.0 }
}

/// True if every pivot kept more than `smallest` of the diagonal entry that it came from. Unlike a ratio of pivots this
/// tells dependent rows from rows of different scales.
pub(crate) fn pivots_kept(l: MatRef<'_, f64>, diagonal: &[f64], smallest: f64) -> bool {
    diagonal.iter().enumerate().all(|(i, &d)| l[(i, i)] * l[(i, i)] > smallest * d)
}

/// Rows `range` of column j, which is contiguous in every matrix that is factored here.
fn column(l: MatRef<'_, f64>, j: usize, range: std::ops::Range<usize>) -> &[f64] {
    match l.col(j).try_as_col_major() {
        Some(column) => &column.as_slice()[range],
        None => &[],
    }
}

/// Forward substitution with the block of rows and columns `start..end`, on `x[start..end]` given as `x`.
fn solve_block(l: MatRef<'_, f64>, start: usize, end: usize, x: &mut [f64]) {
    for j in 0..end - start {
        let column = column(l, start + j, start + j..end);
        let (head, tail) = x.split_at_mut(j + 1);
        let xj = head[j] / column[0];
        head[j] = xj;
        tail.iter_mut().zip(&column[1..]).for_each(|(x, l)| *x -= l * xj);
    }
}

/// `x = L^-1 x`.
pub(crate) fn solve_lower(l: MatRef<'_, f64>, x: &mut [f64]) {
    let n = x.len();
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        let (done, rest) = x.split_at_mut(end);
        solve_block(l, start, end, &mut done[start..]);
        if !rest.is_empty() {
            gemv(-1.0, l.submatrix(end, start, n - end, end - start), &done[start..], rest);
        }
    }
}

/// `x = L^-T x`.
pub(crate) fn solve_lower_transposed(l: MatRef<'_, f64>, x: &mut [f64]) {
    let n = x.len();
    for start in (0..n).step_by(BLOCK).rev() {
        let end = (start + BLOCK).min(n);
        let (head, rest) = x.split_at_mut(end);
        if !rest.is_empty() {
            gemv(-1.0, l.submatrix(end, start, n - end, end - start).transpose(), rest, &mut head[start..]);
        }
        for j in (start..end).rev() {
            let column = column(l, j, j..end);
            let (before, tail) = head.split_at_mut(j + 1);
            // four partial sums: a single one would wait for itself
            let mut sums = [0.0; 4];
            let (chunks, last) = (column[1..].chunks_exact(4), &column[1..][(end - j - 1) / 4 * 4..]);
            for (c, t) in chunks.zip(tail.chunks_exact(4)) {
                for k in 0..4 {
                    sums[k] += c[k] * t[k];
                }
            }
            let rest: f64 = last.iter().zip(&tail[tail.len() - last.len()..]).map(|(l, x)| l * x).sum();
            before[j] = (before[j] - (sums[0] + sums[1] + sums[2] + sums[3] + rest)) / column[0];
        }
    }
}
