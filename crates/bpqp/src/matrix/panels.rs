//! Long dense kernels that end early where a solve on this thread has to: panel by panel, with a look at the clock between.

use super::{Wide, lower_gram_block};
use crate::interrupt::{late, watched};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{LltRegularization, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::{Accum, Mat, MatMut, MatRef, Par};

/// Columns of a panel: faer's products are at full speed from here on.
const PANEL: usize = 192;
/// Orders from which on a factorization takes longer than a few milliseconds.
const LONG: usize = 512;

/// The scratch that [`cholesky`] needs for this order.
pub(crate) fn cholesky_memory(n: usize) -> MemBuffer {
    MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default()))
}

/// Overwrites the lower triangle of `m` by its Cholesky factor; false if a pivot is not positive, or the time is up.
pub(crate) fn cholesky(mut m: MatMut<'_, f64>, memory: &mut MemBuffer) -> bool {
    let _clean = Wide;
    let n = m.ncols();
    let mut whole = |m: MatMut<'_, f64>| {
        let stack = MemStack::new(memory);
        cholesky_in_place(m, LltRegularization::default(), Par::Seq, stack, Default::default()).is_ok()
    };
    if n < LONG || !watched() {
        return whole(m);
    }
    for j in (0..n).step_by(PANEL) {
        if late() {
            return false;
        }
        let (_, _, _, rest) = m.rb_mut().split_at_mut(j, j);
        let width = PANEL.min(n - j);
        let (mut head, _, mut below, mut rest) = rest.split_at_mut(width, width);
        if !whole(head.rb_mut()) {
            return false;
        }
        solve_lower_triangular_in_place(head.rb(), below.rb_mut().transpose_mut(), Par::Seq);
        triangular_matmul(
            rest.rb_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            below.rb(),
            BlockStructure::Rectangular,
            below.rb().transpose(),
            BlockStructure::Rectangular,
            -1.0,
            Par::Seq,
        );
    }
    true
}

/// `y = L^-1 y`; what is left where the time is up is no solution.
pub(crate) fn solve_lower_columns(l: MatRef<'_, f64>, mut y: MatMut<'_, f64>) {
    let _clean = Wide;
    let k = y.ncols();
    if l.ncols() < LONG || k <= PANEL || !watched() {
        return solve_lower_triangular_in_place(l, y, Par::Seq);
    }
    for j in (0..k).step_by(PANEL) {
        if late() {
            return;
        }
        let width = PANEL.min(k - j);
        solve_lower_triangular_in_place(l, y.rb_mut().subcols_mut(j, width), Par::Seq);
    }
}

/// Lower triangle of `out = y'y`; what is left where the time is up is none.
pub(crate) fn lower_gram(out: &mut Mat<f64>, y: &Mat<f64>) {
    let _clean = Wide;
    let k = y.ncols();
    if k < LONG || !watched() {
        return lower_gram_block(out.as_mut(), y.as_ref());
    }
    for j in (0..k).step_by(PANEL) {
        if late() {
            return;
        }
        let width = PANEL.min(k - j);
        let (own, below) = (y.as_ref().subcols(j, width), y.as_ref().subcols(j + width, k - j - width));
        lower_gram_block(out.as_mut().submatrix_mut(j, j, width, width), own);
        let rest = out.as_mut().submatrix_mut(j + width, j, k - j - width, width);
        faer::linalg::matmul::matmul(rest, Accum::Replace, below.transpose(), own, 1.0, Par::Seq);
    }
}
