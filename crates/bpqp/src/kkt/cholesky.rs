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

/// Rows `range` of column j.
fn column<'a>(l: MatRef<'a, f64>, j: usize, range: std::ops::Range<usize>) -> impl Iterator<Item = &'a f64> {
    l.col(j).subrows(range.start, range.len()).iter()
}

/// `x = L^-1 x`.
pub(crate) fn solve_lower(l: MatRef<'_, f64>, x: &mut [f64]) {
    let n = x.len();
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        for j in start..end {
            let (head, tail) = x[..end].split_at_mut(j + 1);
            let xj = head[j] / l[(j, j)];
            head[j] = xj;
            tail.iter_mut().zip(column(l, j, j + 1..end)).for_each(|(x, l)| *x -= l * xj);
        }
        let (done, rest) = x.split_at_mut(end);
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
            let (before, tail) = head.split_at_mut(j + 1);
            let sum: f64 = tail.iter().zip(column(l, j, j + 1..end)).map(|(x, l)| x * l).sum();
            before[j] = (before[j] - sum) / l[(j, j)];
        }
    }
}
