//! The symbolic side of a sparse KKT system: pattern, order of elimination, and where each number goes. It depends on
//! the structure of the problem only and is made once for it: forward solver, polish and backward pass share it.

use super::ldl::{LdlPattern, sort_by_column};
use crate::{Error, Hessian, Matrix, Qp};
use std::sync::{Arc, OnceLock};

/// Position of entries below the diagonal, which are not stored.
pub(super) const SKIP: usize = usize::MAX;

/// Kept beside the blocks of a problem, and shared by its clones.
#[derive(Clone, Default)]
pub(crate) struct SharedAnalysis(Arc<OnceLock<Arc<Analysis>>>);

impl std::fmt::Debug for SharedAnalysis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.get().is_some() { "analysed" } else { "not analysed" })
    }
}

/// Where the entries of P, A and G, in the order of their `for_each`, go in the values of the factorization; and the
/// diagonal.
pub(super) struct Analysis {
    p: Arc<Hessian>,
    a: Arc<Matrix>,
    g: Arc<Matrix>,
    pub ldl: Arc<LdlPattern>,
    pub p_at: Vec<usize>,
    pub a_at: Vec<usize>,
    pub g_at: Vec<usize>,
    pub diagonal_at: Vec<usize>,
}

impl Analysis {
    /// The analysis kept with `qp` if it is one of its structure; else a new one, which is kept if there was none.
    pub fn of(qp: &Qp) -> Result<Arc<Self>, Error> {
        if let Some(kept) = qp.analysis.0.get()
            && kept.fits(qp)
        {
            return Ok(kept.clone());
        }
        let new = Arc::new(Self::new(qp)?);
        // another thread may have been faster with the same
        let _ = qp.analysis.0.set(new.clone());
        Ok(new)
    }

    /// Spares `qp`, which was found to be of this structure, an analysis of its own.
    pub fn keep_with(self: &Arc<Self>, qp: &Qp) {
        // it may have one already
        let _ = qp.analysis.0.set(self.clone());
    }

    fn fits(&self, qp: &Qp) -> bool {
        (Arc::ptr_eq(&self.p, &qp.p) || same_hessian(&self.p, &qp.p))
            && (Arc::ptr_eq(&self.a, &qp.a) || same_matrix(&self.a, &qp.a))
            && (Arc::ptr_eq(&self.g, &qp.g) || same_matrix(&self.g, &qp.g))
    }

    fn new(qp: &Qp) -> Result<Self, Error> {
        let (n, m_eq) = (qp.n(), qp.n_equality());
        let m = m_eq + qp.n_inequality();
        let dim = n + m + extension(&qp.p);
        // the upper triangle, source by source; those below the diagonal of P are skipped
        let (mut rows, mut cols, mut at) = (Vec::new(), Vec::new(), Vec::new());
        let mut push = |i: usize, j: usize| {
            at.push(if i <= j { rows.len() } else { SKIP });
            if i <= j {
                rows.push(i);
                cols.push(j);
            }
        };
        for_each_p(&qp.p, n + m, |i, j, _| push(i, j));
        qp.a.for_each(|i, j, _| push(j, n + i));
        qp.g.for_each(|i, j, _| push(j, n + m_eq + i));
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
        let diagonal = positive_diagonal(&qp.p).then_some(n);
        let (ldl, position) =
            LdlPattern::new(dim, &col_ptr, &row_idx, diagonal).map_err(|reason| too_large(dim, reason))?;
        at.iter_mut().filter(|k| **k != SKIP).for_each(|k| *k = position[stored_at[*k]]);
        let diagonal_at = at.split_off(at.len() - dim);
        let mut p_count = 0;
        for_each_p(&qp.p, n + m, |_, _, _| p_count += 1);
        let mut a_count = 0;
        qp.a.for_each(|_, _, _| a_count += 1);
        let g_at = at.split_off(p_count + a_count);
        let a_at = at.split_off(p_count);
        let (p, a, g) = (qp.p.clone(), qp.a.clone(), qp.g.clone());
        Ok(Analysis { p, a, g, ldl: Arc::new(ldl), p_at: at, a_at, g_at, diagonal_at })
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

pub(super) fn same_hessian(a: &Hessian, b: &Hessian) -> bool {
    match (a, b) {
        (Hessian::Zero(n), Hessian::Zero(m)) => n == m,
        (Hessian::Dense(a), Hessian::Dense(b)) => a.ncols() == b.ncols(),
        (Hessian::Sparse(a), Hessian::Sparse(b)) => a.same_pattern(b),
        (Hessian::Diagonal(a), Hessian::Diagonal(b)) => a.len() == b.len(),
        (Hessian::LowRank { f: a, .. }, Hessian::LowRank { f: b, .. }) => a.shape() == b.shape(),
        _ => false,
    }
}

pub(super) fn same_matrix(a: &Matrix, b: &Matrix) -> bool {
    match (a, b) {
        (Matrix::Dense(a), Matrix::Dense(b)) => a.shape() == b.shape(),
        (Matrix::Sparse(a), Matrix::Sparse(b)) => a.same_pattern(b),
        _ => false,
    }
}
