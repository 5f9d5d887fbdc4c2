//! The rows of a program, equalities before inequalities, by rows and by columns.

use crate::Qp;
use crate::matrix::{Csc, Matrix};

/// The entries of all rows, row by row; those that are zero are left out.
pub(super) struct Rows {
    start: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

/// A matrix that is sparse; of one without rows, nothing.
pub(super) fn sparse(matrix: &Matrix) -> Option<&Csc> {
    if let Matrix::Sparse(m) = matrix { Some(m) } else { None }
}

/// The entries of a column in all rows.
pub(super) fn column(qp: &Qp, j: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
    let (a, g, m) = (sparse(&qp.a), sparse(&qp.g), qp.n_equality());
    let below = g.into_iter().flat_map(move |g| g.column(j)).map(move |(i, v)| (m + i, v));
    a.into_iter().flat_map(move |a| a.column(j)).chain(below)
}

impl Rows {
    pub fn of(qp: &Qp) -> Self {
        let mut start = vec![0; qp.n_equality() + qp.n_inequality() + 2];
        qp.kkt().for_each_row_entry(|i, _, v| start[i + 2] += usize::from(v != 0.0));
        (2..start.len()).for_each(|i| start[i] += start[i - 1]);
        let mut entries = vec![(0, 0.0); start.last().copied().unwrap_or(0)];
        qp.kkt().for_each_row_entry(|i, j, v| {
            if v != 0.0 {
                entries[start[i + 1]] = (j, v);
                start[i + 1] += 1;
            }
        });
        start.pop();
        Rows { start, entries }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.start.len() - 1
    }

    /// Columns and entries of a row, the columns in order.
    pub fn row(&self, i: usize) -> &[(usize, f64)] {
        &self.entries[self.start[i]..self.start[i + 1]]
    }
}
