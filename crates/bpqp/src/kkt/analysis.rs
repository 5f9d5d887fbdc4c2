//! The symbolic side of a sparse KKT system: pattern, order of elimination, and where each number goes. It depends on
//! the structure of the problem only and is made once for it: forward solver, polish and backward pass share it.

use super::ldl::{LdlPattern, sort_by_column};
use super::{KktData, Matrices};
use crate::{Error, Hessian, Matrix};
use std::sync::Arc;

/// Position of entries below the diagonal, which are not stored.
pub(super) const SKIP: usize = usize::MAX;

/// Where the entries of P, then those of the rows, in the order of their `for_each`, go in the values of the
/// factorization; and the diagonal.
pub(super) struct Analysis {
    of: Matrices,
    pub ldl: Arc<LdlPattern>,
    pub at: Vec<usize>,
    pub diagonal_at: Vec<usize>,
}

impl Analysis {
    /// The analysis kept with `data` if it is one of its structure; else a new one, which is kept if there was none.
    pub fn of(data: KktData<'_>) -> Result<Arc<Self>, Error> {
        if let Some(kept) = data.analysis.get::<Self>()
            && kept.of.differs(data).is_none()
        {
            return Ok(kept);
        }
        let new = Arc::new(Self::new(data)?);
        data.analysis.set(&new);
        Ok(new)
    }

    fn new(data: KktData<'_>) -> Result<Self, Error> {
        let (n, m) = (data.n(), data.m());
        let dim = n + m + extension(data.p);
        // the upper triangle, source by source; those below the diagonal of P are skipped
        let (mut rows, mut cols, mut at) = (Vec::new(), Vec::new(), Vec::new());
        let mut push = |i: usize, j: usize| {
            at.push(if i <= j { rows.len() } else { SKIP });
            if i <= j {
                rows.push(i);
                cols.push(j);
            }
        };
        for_each_p(data.p, n + m, |i, j, _| push(i, j));
        data.for_each_row_entry(|i, j, _| push(j, n + i));
        for i in 0..dim {
            push(i, i);
        }
        let order = sort_by_column(dim, &rows, &cols);
        // one stored entry for all sources of a place
        let (mut col_ptr, mut row_idx) = (vec![0; dim + 1], Vec::with_capacity(order.len()));
        let mut stored_at = vec![0; order.len()];
        let mut last = None;
        for &k in &order {
            let (i, j) = (rows[k], cols[k]);
            if last != Some((i, j)) {
                row_idx.push(i);
                col_ptr[j + 1] += 1;
                last = Some((i, j));
            }
            stored_at[k] = row_idx.len() - 1;
        }
        for j in 0..dim {
            col_ptr[j + 1] += col_ptr[j];
        }
        let diagonal = positive_diagonal(data.p).then_some(n);
        let (ldl, position) =
            LdlPattern::new(dim, &col_ptr, &row_idx, diagonal).map_err(|reason| too_large(dim, reason))?;
        at.iter_mut().filter(|k| **k != SKIP).for_each(|k| *k = position[stored_at[*k]]);
        let diagonal_at = at.split_off(at.len() - dim);
        Ok(Analysis { of: Matrices::of(data), ldl: Arc::new(ldl), at, diagonal_at })
    }
}

impl Matrices {
    /// The block of `data` that has another structure, if there is one.
    pub(super) fn differs(&self, data: KktData<'_>) -> Option<&'static str> {
        let same = Arc::ptr_eq(&self.p, data.p) || same_hessian(&self.p, data.p);
        let pairs = self.rows.iter().zip(data.rows).zip(["A", "G", "C"]);
        let mut changed = pairs.filter(|((own, other), _)| !(Arc::ptr_eq(own, other) || same_matrix(own, other)));
        if same { changed.next().map(|(_, name)| name) } else { Some("P") }
    }
}

pub(super) fn too_large(dim: usize, reason: &'static str) -> Error {
    Error::Unsupported {
        what: format!("a KKT system of {dim} rows: {reason}"),
        advice: "use a smaller or sparser problem",
    }
}

/// Calls `f(row, column, value)` for the stored entries of `P` that the extended matrix holds: `row <= column` of P, or
/// the factor as the columns behind the constraint rows.
pub(super) fn for_each_p(p: &Hessian, behind: usize, mut f: impl FnMut(usize, usize, f64)) {
    match p {
        Hessian::Zero(_) => {}
        Hessian::Dense(m) => {
            for j in 0..m.ncols() {
                m.col_as_slice(j)[..=j].iter().enumerate().for_each(|(i, &v)| f(i, j, v));
            }
        }
        Hessian::Sparse(m) => m.triplets().for_each(|(i, j, v)| f(i, j, v)),
        Hessian::Diagonal(d) => d.iter().enumerate().for_each(|(i, &v)| f(i, i, v)),
        Hessian::LowRank { d, f: factor } => {
            d.iter().enumerate().for_each(|(i, &v)| f(i, i, v));
            for k in 0..factor.ncols() {
                factor.col_as_slice(k).iter().enumerate().for_each(|(i, &v)| f(i, behind + k, v));
                f(behind + k, behind + k, -1.0);
            }
        }
    }
}

fn positive_diagonal(p: &Hessian) -> bool {
    match p {
        Hessian::Diagonal(d) => d.iter().all(|&v| v > 0.0),
        Hessian::Sparse(m) => m.nnz() == m.ncols() && m.triplets().all(|(i, j, v)| i == j && v > 0.0),
        _ => false,
    }
}

fn extension(p: &Hessian) -> usize {
    if let Hessian::LowRank { f, .. } = p { f.ncols() } else { 0 }
}

fn same_hessian(a: &Hessian, b: &Hessian) -> bool {
    match (a, b) {
        (Hessian::Zero(n), Hessian::Zero(m)) => n == m,
        (Hessian::Dense(a), Hessian::Dense(b)) => a.ncols() == b.ncols(),
        (Hessian::Sparse(a), Hessian::Sparse(b)) => a.same_pattern(b),
        (Hessian::Diagonal(a), Hessian::Diagonal(b)) => a.len() == b.len(),
        (Hessian::LowRank { f: a, .. }, Hessian::LowRank { f: b, .. }) => a.shape() == b.shape(),
        _ => false,
    }
}

fn same_matrix(a: &Matrix, b: &Matrix) -> bool {
    match (a, b) {
        (Matrix::Dense(a), Matrix::Dense(b)) => a.shape() == b.shape(),
        (Matrix::Sparse(a), Matrix::Sparse(b)) => a.same_pattern(b),
        _ => false,
    }
}
