//! The quadratic term.

use super::{Csc, gemv, gemv_abs, gemv_t, gemv_t_abs};
use crate::Error;
use faer::Mat;

/// The Hessian `P`, in the structure in which it came; also the structure of its gradient.
#[derive(Debug, Clone, PartialEq)]
pub enum Hessian {
    /// No quadratic term (a linear program) in that many variables.
    Zero(usize),
    /// A full symmetric matrix.
    Dense(Mat<f64>),
    /// Both triangles of a sparse symmetric matrix.
    Sparse(Csc),
    /// A diagonal.
    Diagonal(Vec<f64>),
    /// `diag(d) + F F'`, as in a factor risk model; the n x n matrix is never formed.
    LowRank {
        /// The diagonal, n entries.
        d: Vec<f64>,
        /// The factor, n x r.
        f: Mat<f64>,
    },
}

impl Hessian {
    /// A dense matrix from n * n entries (row-major and column-major agree, as it is symmetric).
    pub fn from_rows(n: usize, entries: &[f64]) -> Result<Self, Error> {
        if entries.len() != n * n {
            return Err(Error::length("P", entries.len(), n * n, "a dense P has n * n entries"));
        }
        Ok(Hessian::Dense(Mat::from_fn(n, n, |i, j| entries[i * n + j])))
    }

    /// `diag(d) + F F'` with `F` of n x r.
    pub fn low_rank(d: Vec<f64>, f: Mat<f64>) -> Result<Self, Error> {
        if f.nrows() != d.len() {
            let found = (f.nrows(), f.ncols());
            let expected = (d.len(), f.ncols());
            return Err(Error::Shape { argument: "F", found, expected, advice: "F has one row per entry of d" });
        }
        Ok(Hessian::LowRank { d, f })
    }

    /// Number of variables.
    pub fn n(&self) -> usize {
        match self {
            Hessian::Zero(n) => *n,
            Hessian::Dense(m) => m.ncols(),
            Hessian::Sparse(m) => m.ncols(),
            Hessian::Diagonal(d) | Hessian::LowRank { d, .. } => d.len(),
        }
    }

    /// `out += alpha * P x`; `work` holds at least r entries for a factored P.
    pub fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64], work: &mut Vec<f64>) {
        match self {
            Hessian::Zero(_) => {}
            Hessian::Dense(m) => gemv(alpha, m.as_ref(), x, out),
            Hessian::Sparse(m) => m.mul_add(alpha, x, out),
            Hessian::Diagonal(d) => {
                for i in 0..d.len() {
                    out[i] += alpha * d[i] * x[i];
                }
            }
            Hessian::LowRank { d, f } => {
                for i in 0..d.len() {
                    out[i] += alpha * d[i] * x[i];
                }
                work.clear();
                work.resize(f.ncols(), 0.0);
                gemv_t(1.0, f.as_ref(), x, work);
                gemv(alpha, f.as_ref(), work, out);
            }
        }
    }

    /// `out += |P| x` for `x >= 0`; for a factored P with `|d| + |F| |F'|`, the terms as they are computed.
    pub(crate) fn magnitudes_add(&self, x: &[f64], out: &mut [f64], work: &mut Vec<f64>) {
        match self {
            Hessian::Zero(_) => {}
            Hessian::Dense(m) => gemv_abs(m, x, out),
            Hessian::Sparse(m) => m.magnitudes_add(x, out),
            Hessian::Diagonal(d) => out.iter_mut().zip(d).zip(x).for_each(|((o, d), x)| *o += d.abs() * x),
            Hessian::LowRank { d, f } => {
                out.iter_mut().zip(d).zip(x).for_each(|((o, d), x)| *o += d.abs() * x);
                work.clear();
                work.resize(f.ncols(), 0.0);
                gemv_t_abs(f, x, work);
                gemv_abs(f, work, out);
            }
        }
    }

    /// The diagonal of `P`.
    pub fn diagonal(&self) -> Vec<f64> {
        let mut out = Vec::new();
        self.diagonal_into(&mut out);
        out
    }

    /// Writes the diagonal of `P`.
    pub(crate) fn diagonal_into(&self, out: &mut Vec<f64>) {
        out.clear();
        match self {
            Hessian::Zero(n) => out.resize(*n, 0.0),
            Hessian::Dense(m) => out.extend((0..m.ncols()).map(|i| m[(i, i)])),
            Hessian::Sparse(m) => {
                out.extend((0..m.ncols()).map(|j| m.column(j).find(|&(i, _)| i == j).map_or(0.0, |(_, v)| v)))
            }
            Hessian::Diagonal(d) => out.extend_from_slice(d),
            Hessian::LowRank { d, f } => {
                out.extend((0..d.len()).map(|i| d[i] + (0..f.ncols()).map(|k| f[(i, k)] * f[(i, k)]).sum::<f64>()))
            }
        }
    }

    /// The dense matrix; for tests and small fall-backs.
    pub fn to_dense(&self) -> Mat<f64> {
        let n = self.n();
        match self {
            Hessian::Zero(_) => Mat::zeros(n, n),
            Hessian::Dense(m) => m.clone(),
            Hessian::Sparse(m) => m.to_dense(),
            Hessian::Diagonal(d) => Mat::from_fn(n, n, |i, j| if i == j { d[i] } else { 0.0 }),
            Hessian::LowRank { d, f } => {
                let mut m = f * f.transpose();
                for i in 0..n {
                    m[(i, i)] += d[i];
                }
                m
            }
        }
    }

    /// True if there is no quadratic term at all.
    pub fn is_zero(&self) -> bool {
        match self {
            Hessian::Zero(_) => true,
            Hessian::Dense(m) => m.col_iter().all(|c| c.iter().all(|&v| v == 0.0)),
            Hessian::Sparse(m) => m.values().iter().all(|&v| v == 0.0),
            Hessian::Diagonal(d) => d.iter().all(|&v| v == 0.0),
            Hessian::LowRank { d, f } => {
                d.iter().all(|&v| v == 0.0) && f.col_iter().all(|c| c.iter().all(|&v| v == 0.0))
            }
        }
    }
}

impl From<Mat<f64>> for Hessian {
    fn from(m: Mat<f64>) -> Self {
        Hessian::Dense(m)
    }
}

impl From<Csc> for Hessian {
    fn from(m: Csc) -> Self {
        Hessian::Sparse(m)
    }
}
