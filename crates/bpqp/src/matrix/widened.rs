//! Matrices in more variables than were given, for systems and programs with more variables than the problem.

use super::{Csc, Full, Hessian};
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
                Hessian::Dense(Full::from_fn(n + extra, n + extra, inside))
            }
        }
    }

    /// In as many more variables, on which nothing depends, of the same structure.
    pub(crate) fn with_zeros(&self, extra: usize) -> Hessian {
        let zeros = |d: &[f64]| d.iter().copied().chain(std::iter::repeat_n(0.0, extra)).collect();
        let rows =
            |f: &Mat<f64>, n: usize| Mat::from_fn(n, f.ncols(), |i, j| if i < f.nrows() { f[(i, j)] } else { 0.0 });
        match self {
            Hessian::Diagonal(d) => Hessian::Diagonal(zeros(d)),
            Hessian::LowRank { d, f } => Hessian::LowRank { d: zeros(d), f: rows(f, d.len() + extra) },
            Hessian::BlockDiagonal(blocks) => {
                let more = std::iter::repeat_n(Mat::zeros(1, 1), extra);
                Hessian::BlockDiagonal(blocks.iter().cloned().chain(more).collect())
            }
            other => other.widened(extra),
        }
    }

    /// What [`Self::with_zeros`] was made of.
    pub(crate) fn without(&self, extra: usize) -> Hessian {
        let n = self.n() - extra;
        match self {
            Hessian::Zero(_) => Hessian::Zero(n),
            Hessian::Dense(m) => Hessian::Dense(m.as_ref().submatrix(0, 0, n, n).into()),
            Hessian::Diagonal(d) => Hessian::Diagonal(d[..n].to_vec()),
            Hessian::LowRank { d, f } => {
                Hessian::LowRank { d: d[..n].to_vec(), f: f.submatrix(0, 0, n, f.ncols()).to_owned() }
            }
            Hessian::BlockDiagonal(blocks) => Hessian::BlockDiagonal(blocks[..blocks.len() - extra].to_vec()),
            Hessian::Sparse(m) => {
                let (indices, values) = (m.indices().to_vec(), m.values().to_vec());
                let made = Csc::new(n, n, m.indptr()[..=n].to_vec(), indices, values);
                Hessian::Sparse(made.expect("the last rows and columns have no entries"))
            }
        }
    }
}
