//! The numbers of `K = P + diag(dx) + sum of c c'/dc over soft rows`, and multiples of `h h'` of the hard ones.

use super::DenseKkt;
use crate::matrix::{Wide, columns, resize};
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::{Accum, Mat, MatRef, Par};

impl DenseKkt {
    /// Multiples of `h h'` of the hard rows that are of this size, or of the size of K in the units of the elimination.
    pub(super) fn weigh_rows(&mut self, size: f64) {
        let size = if size > 0.0 { size } else { 1.0 };
        self.augmented.clear();
        for (at, &row) in self.hard.iter().enumerate() {
            let own = self.free.iter().fold(0.0_f64, |m, &i| m.max(self.rows[(i, row)].abs()));
            // an empty row adds nothing
            let t = match own > 0.0 {
                true if self.examined => self.rank.weight(self.free.len(), at),
                true => size / (own * own),
                false => 0.0,
            };
            self.augmented.push(t.min(0.1 / self.dc[row]));
        }
    }

    /// K with its soft rows after a factorization took its place.
    pub(super) fn fill_again(&mut self, dx: &[f64]) {
        if !self.decides {
            self.fill_hessian(dx);
            self.add_rows(false);
            return;
        }
        copy(&self.filled, &mut self.k);
        if self.face {
            add_gram(&mut self.k, self.rank.frame.as_ref(), self.rank.curvature);
        }
    }

    pub(super) fn fill_hessian(&mut self, dx: &[f64]) {
        self.of.p.write_lower(&self.free, &mut self.k, &mut self.lower);
        self.hessian_size = 0.0;
        for (j, &i) in self.free.iter().enumerate() {
            self.hessian_size = self.hessian_size.max(self.k[(j, j)].abs());
            self.k[(j, j)] += dx[i];
        }
        if self.face {
            add_gram(&mut self.k, self.rank.frame.as_ref(), self.rank.curvature);
        }
    }

    /// Adds `c c'/dc` of the soft rows, or `augmented * c c'` of the hard ones.
    pub(super) fn add_rows(&mut self, hard: bool) {
        let which = if hard { &self.hard } else { &self.soft };
        if which.is_empty() || self.free.is_empty() {
            return;
        }
        resize(&mut self.gathered, self.free.len(), which.len());
        for (r, &row) in which.iter().enumerate() {
            let scale = if hard { self.augmented[r].sqrt() } else { 1.0 / self.dc[row].sqrt() };
            let source = self.rows.col_as_slice(row);
            let own = self.gathered.col_as_slice_mut(r);
            own.iter_mut().zip(&self.free).for_each(|(own, &i)| *own = scale * source[i]);
        }
        add_gram(&mut self.k, self.gathered.as_ref(), 1.0);
    }
}

/// Column by column, which a general copy of small matrices spends most of its time on finding out.
pub(super) fn copy(from: &Mat<f64>, to: &mut Mat<f64>) {
    (0..from.ncols()).for_each(|j| to.col_as_slice_mut(j).copy_from_slice(from.col_as_slice(j)));
}

/// Products up to which a general library spends more on finding its kernel than in it.
const FEW: usize = 32 * 32 * 32;

/// Adds `size M M'` to the lower triangle of `k`.
fn add_gram(k: &mut Mat<f64>, m: MatRef<'_, f64>, size: f64) {
    if m.nrows() * m.nrows() * m.ncols() <= FEW && columns::add_gram(k.as_mut(), m, size) {
        return;
    }
    let _clean = Wide;
    triangular_matmul(
        k.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Add,
        m,
        BlockStructure::Rectangular,
        m.transpose(),
        BlockStructure::Rectangular,
        size,
        Par::Seq,
    );
}
