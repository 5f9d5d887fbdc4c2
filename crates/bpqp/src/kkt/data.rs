//! What a KKT system is made of: a Hessian and blocks of constraint rows. Whose they are is not known here.

use crate::matrix::{Hessian, Keep, Matrix};
use std::sync::Arc;

/// The matrices of a KKT system: the Hessian and the blocks of constraint rows, in order.
///
/// The blocks are those of the equalities, of the inequalities, and of the curved cones, rotated into their directions.
#[derive(Debug, Clone, Copy)]
pub struct KktData<'a> {
    /// The Hessian.
    pub p: &'a Arc<Hessian>,
    /// The blocks of rows.
    pub rows: [&'a Arc<Matrix>; 3],
    /// Where the analysis of a sparse system is kept.
    pub(crate) analysis: &'a Keep,
}

/// Rows that are few.
pub(crate) const FEW: usize = 64;
/// Rows are full where they store one entry in so many: with a part `s` of the entries stored a sparse factorization does `s^2`
/// of the products of a dense one, each at some twenty times the price.
const FULL: usize = 5;

/// The blocks that have rows, each with the index of its first one in the stack.
fn blocks(rows: [&Arc<Matrix>; 3]) -> impl Iterator<Item = (usize, &Arc<Matrix>)> {
    let mut end = 0;
    rows.into_iter().filter(|block| block.nrows() > 0).map(move |block| {
        let first = end;
        end += block.nrows();
        (first, block)
    })
}

impl<'a> KktData<'a> {
    /// True if the matrices are the same ones.
    pub(crate) fn is_of(self, other: KktData<'_>) -> bool {
        let same = |(a, b): (&Arc<Matrix>, &Arc<Matrix>)| Arc::ptr_eq(a, b) || (a.nrows() == 0 && b.nrows() == 0);
        Arc::ptr_eq(self.p, other.p) && self.rows.into_iter().zip(other.rows).all(same)
    }

    /// Number of variables.
    pub fn n(self) -> usize {
        self.p.n()
    }

    /// Number of rows of all blocks.
    pub fn m(self) -> usize {
        self.rows.iter().map(|block| block.nrows()).sum()
    }

    /// The blocks that have rows, each with the index of its first one in the stack.
    pub fn blocks(self) -> impl Iterator<Item = (usize, &'a Arc<Matrix>)> {
        blocks(self.rows)
    }

    /// True if some block that has rows is stored sparsely.
    pub fn has_sparse_rows(self) -> bool {
        self.blocks().any(|(_, block)| block.is_sparse())
    }

    /// True if there are few rows that are not sparse themselves: a dense Schur complement of them costs little.
    pub fn has_few_full_rows(self) -> bool {
        let mut stored = 0;
        self.for_each_row_entry(|_, _, v| stored += usize::from(v != 0.0));
        self.m() <= FEW && (!self.has_sparse_rows() || FULL * stored >= self.n() * self.m())
    }

    /// Calls `f(row, column, value)` for every stored entry of the rows.
    pub fn for_each_row_entry(self, mut f: impl FnMut(usize, usize, f64)) {
        self.blocks().for_each(|(first, block)| block.for_each(|i, j, v| f(first + i, j, v)));
    }

    /// `out += alpha * C w` with all rows C.
    pub fn mul_add(self, alpha: f64, w: &[f64], out: &mut [f64]) {
        self.blocks().for_each(|(first, block)| block.mul_add(alpha, w, &mut out[first..first + block.nrows()]));
    }

    /// `out += alpha * C'v` with all rows C.
    pub fn tmul_add(self, alpha: f64, v: &[f64], out: &mut [f64]) {
        self.blocks().for_each(|(first, block)| block.tmul_add(alpha, &v[first..first + block.nrows()], out));
    }

    /// `out += |C| w` for `w >= 0`.
    pub(crate) fn magnitudes_add(self, w: &[f64], out: &mut [f64]) {
        self.blocks().for_each(|(first, block)| block.magnitudes_add(w, &mut out[first..first + block.nrows()]));
    }

    /// `out += |C|'v` for `v >= 0`.
    pub(crate) fn transposed_magnitudes_add(self, v: &[f64], out: &mut [f64]) {
        self.blocks().for_each(|(first, block)| block.transposed_magnitudes_add(&v[first..first + block.nrows()], out));
    }
}

/// The matrices that something was computed from, by whose addresses others are recognized as the same.
#[derive(Debug, Clone)]
pub(crate) struct Matrices {
    pub p: Arc<Hessian>,
    pub rows: [Arc<Matrix>; 3],
}

impl Matrices {
    pub fn of(data: KktData<'_>) -> Self {
        Matrices { p: data.p.clone(), rows: data.rows.map(Arc::clone) }
    }

    /// True if these are the matrices of `data`.
    pub fn are(&self, data: KktData<'_>) -> bool {
        Arc::ptr_eq(&self.p, data.p) && self.have_rows(data)
    }

    /// True if these are the rows of `data`.
    pub fn have_rows(&self, data: KktData<'_>) -> bool {
        self.rows.iter().zip(data.rows).all(|(own, other)| Arc::ptr_eq(own, other))
    }

    pub fn blocks(&self) -> impl Iterator<Item = (usize, &Arc<Matrix>)> {
        blocks(self.rows.each_ref())
    }

    /// `C'`, n x m.
    pub fn transposed_rows(&self) -> faer::Mat<f64> {
        let m = self.rows.iter().map(|block| block.nrows()).sum();
        let mut out = faer::Mat::zeros(self.p.n(), m);
        for (first, block) in self.blocks() {
            match &**block {
                Matrix::Dense(d) => out.as_mut().subcols_mut(first, d.nrows()).copy_from(d.transpose()),
                Matrix::Sparse(s) => s.triplets().for_each(|(i, j, v)| out[(j, first + i)] = v),
            }
        }
        out
    }
}
