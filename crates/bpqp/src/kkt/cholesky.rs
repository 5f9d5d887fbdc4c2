//! Dense Cholesky factors.

use super::kernels::{cholesky, padded};
use crate::matrix::columns::column;
use crate::matrix::{cholesky as cholesky_panels, cholesky_memory};
use faer::dyn_stack::MemBuffer;
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Mat, MatMut, MatRef};

/// Up to this order our own kernel is faster than faer's recursion: 0.45 us against 0.65 at order 20, 9.9 against 15 at 100,
/// 67 against 83 at 200 (one core of an EPYC with AVX-512, which faer uses and the kernel does not).
const SMALL: usize = 200;

/// Scratch of the factorization, grown once.
#[derive(Default)]
pub(crate) struct CholeskyScratch {
    small: Vec<f64>,
    large: Option<(MemBuffer, usize)>,
}

impl CholeskyScratch {
    /// Overwrites the lower triangle of `m` by its Cholesky factor. Fails if a pivot is not positive.
    pub fn factor(&mut self, m: MatMut<'_, f64>) -> Result<(), NotPositive> {
        if m.ncols() <= SMALL { self.factor_small(m) } else { self.factor_large(m) }
    }

    /// The Cholesky factor of the lower triangle of `p`; the strict upper triangle of what it returns is not defined.
    pub fn factor_of(&mut self, p: MatRef<'_, f64>) -> Result<Mat<f64>, NotPositive> {
        let n = p.ncols();
        if n > SMALL {
            let mut l = p.to_owned();
            return self.factor_large(l.as_mut()).map(|()| l);
        }
        self.load(p);
        let mut l = Mat::zeros(n, n);
        self.run_small(l.as_mut()).map(|()| l)
    }

    /// The Cholesky factor of the rows and columns `kept`, which ascend, of `m`, of which the lower triangle is read; it is in
    /// `room` or where the work was done.
    pub fn factor_part<'a>(
        &'a mut self,
        m: MatRef<'_, f64>,
        kept: &[usize],
        room: &'a mut Mat<f64>,
    ) -> Result<MatRef<'a, f64>, NotPositive> {
        let k = kept.len();
        let gather = |at: usize, target: &mut [f64]| {
            let source = column(m, kept[at], 0);
            target.iter_mut().zip(&kept[at..]).for_each(|(v, &i)| *v = source[i]);
        };
        if k > SMALL {
            (0..k).for_each(|at| gather(at, &mut room.col_as_slice_mut(at)[at..k]));
            self.factor_large(room.submatrix_mut(0, 0, k, k))?;
            return Ok(room.submatrix(0, 0, k, k));
        }
        let order = padded(k);
        self.make_room(order);
        for (at, column) in self.small[..order * order].chunks_exact_mut(order.max(1)).enumerate() {
            if at < k {
                gather(at, &mut column[at..k]);
            }
            pad(column, at, k);
        }
        if !cholesky(&mut self.small[..order * order], order) {
            return Err(NotPositive);
        }
        Ok(MatRef::from_column_major_slice_with_stride(&self.small, k, k, order))
    }

    fn make_room(&mut self, order: usize) {
        if self.small.len() < order * order {
            self.small.resize(order * order, 0.0);
        }
    }

    fn factor_small(&mut self, m: MatMut<'_, f64>) -> Result<(), NotPositive> {
        self.load(m.rb());
        self.run_small(m)
    }

    /// Copies the lower triangle to the buffer.
    fn load(&mut self, m: MatRef<'_, f64>) {
        let n = m.ncols();
        let order = padded(n);
        self.make_room(order);
        for (j, column) in self.small[..order * order].chunks_exact_mut(order.max(1)).enumerate() {
            if let Some(source) = (j < n).then(|| m.col(j).try_as_col_major()).flatten() {
                column[j..n].copy_from_slice(&source.as_slice()[j..]);
            }
            pad(column, j, n);
        }
    }

    /// True if the pivots of the lower triangle of `m`, less `margin(j)` on its diagonal, are positive. No factor comes of it.
    pub fn is_positive(&mut self, m: MatRef<'_, f64>, margin: impl Fn(usize) -> f64) -> bool {
        let n = m.ncols();
        if n > SMALL {
            let mut l = m.to_owned();
            (0..n).for_each(|j| l[(j, j)] -= margin(j));
            return self.factor_large(l.as_mut()).is_ok();
        }
        self.load(m);
        let order = padded(n);
        (0..n).for_each(|j| self.small[j * order + j] -= margin(j));
        cholesky(&mut self.small[..order * order], order)
    }

    /// Factors what was loaded and writes the lower triangle of the factor.
    fn run_small(&mut self, mut out: MatMut<'_, f64>) -> Result<(), NotPositive> {
        let n = out.ncols();
        let order = padded(n);
        if !cholesky(&mut self.small[..order * order], order) {
            return Err(NotPositive);
        }
        for (j, column) in self.small[..order * order].chunks_exact(order.max(1)).enumerate().take(n) {
            if let Some(target) = out.rb_mut().col_mut(j).try_as_col_major_mut() {
                target.as_slice_mut()[j..].copy_from_slice(&column[j..n]);
            }
        }
        Ok(())
    }

    fn factor_large(&mut self, m: MatMut<'_, f64>) -> Result<(), NotPositive> {
        let n = m.ncols();
        let (buffer, order) = self.large.get_or_insert_with(|| (cholesky_memory(n), n));
        if *order < n {
            (*buffer, *order) = (cholesky_memory(n), n);
        }
        if cholesky_panels(m, buffer) { Ok(()) } else { Err(NotPositive) }
    }
}

/// Column j, from the diagonal on, of a matrix of order n that an identity pads.
pub(super) fn pad(column: &mut [f64], j: usize, n: usize) {
    if n < column.len() {
        column[n.max(j)..].fill(0.0);
        if j >= n {
            column[j] = 1.0;
        }
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

/// The smallest part of the diagonal entry that it came from that a pivot kept.
pub(crate) fn smallest_kept(l: MatRef<'_, f64>, diagonal: impl Fn(usize) -> f64) -> f64 {
    (0..l.ncols()).map(|i| l[(i, i)] * l[(i, i)] / diagonal(i)).fold(1.0, f64::min)
}

/// True if every pivot kept more than `smallest` of the diagonal entry that it came from. Unlike a ratio of pivots this
/// tells dependent rows from rows of different scales.
pub(crate) fn pivots_kept(l: MatRef<'_, f64>, diagonal: &[f64], smallest: f64) -> bool {
    diagonal.iter().enumerate().all(|(i, &d)| l[(i, i)] * l[(i, i)] > smallest * d)
}
