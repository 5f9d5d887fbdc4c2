//! Matrices with more columns than were given, for systems with more variables than the problem.

use super::{Csc, Hessian};
use faer::Mat;

impl Csc {
    /// With as many more columns without entries.
    pub(crate) fn widened(&self, extra: usize) -> Csc {
        let mut indptr = self.indptr().to_vec();
        indptr.resize(self.ncols() + extra + 1, self.nnz());
        let made =
            Csc::new(self.nrows(), self.ncols() + extra, indptr, self.indices().to_vec(), self.values().to_vec());
        made.expect("a pattern stays valid with empty columns")
    }
}

impl Hessian {
    /// True if it is a diagonal and a factor, `diag(d) + F F'`.
    pub(crate) fn is_factored(&self) -> bool {
        matches!(self, Hessian::LowRank { .. })
    }

    /// In as many more variables, on which nothing depends.
    pub(crate) fn widened(&self, extra: usize) -> Hessian {
        let n = self.n();
        match self {
            Hessian::Zero(_) => Hessian::Zero(n + extra),
            Hessian::Diagonal(d) => {
                let entries: Vec<_> = d.iter().enumerate().map(|(i, &v)| (i, i, v)).collect();
                Hessian::Sparse(Csc::from_triplets(n + extra, n + extra, &entries).expect("a diagonal"))
            }
            Hessian::Sparse(m) => {
                let mut indptr = m.indptr().to_vec();
                indptr.resize(n + extra + 1, m.nnz());
                let (indices, values) = (m.indices().to_vec(), m.values().to_vec());
                let made = Csc::new(n + extra, n + extra, indptr, indices, values);
                Hessian::Sparse(made.expect("a pattern stays valid with empty rows and columns"))
            }
            other => {
                let own = other.to_dense();
                let inside = |i: usize, j: usize| if i < n && j < n { own[(i, j)] } else { 0.0 };
                Hessian::Dense(Mat::from_fn(n + extra, n + extra, inside))
            }
        }
    }
}
