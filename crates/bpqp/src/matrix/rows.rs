//! A constraint matrix.

use super::{Csc, Full, dense_finite, extent, gemv, gemv_abs, gemv_t, gemv_t_abs, raise_largest};
use crate::Error;
use faer::Mat;

/// A constraint matrix `A` or `G`, in the structure in which it came; also the structure of its gradient.
#[derive(Debug, Clone, PartialEq)]
pub enum Matrix {
    /// Dense.
    Dense(Full),
    /// Sparse.
    Sparse(Csc),
}

impl Matrix {
    /// A dense matrix from `nrows * ncols` row-major entries.
    pub fn from_rows(nrows: usize, ncols: usize, entries: &[f64]) -> Result<Self, Error> {
        if entries.len() != nrows * ncols {
            let advice = "a row-major matrix has rows * columns entries";
            return Err(Error::length("matrix", entries.len(), nrows * ncols, advice));
        }
        Ok(Matrix::Dense(Full::from_rows(nrows, ncols, entries)))
    }

    /// A matrix without rows.
    pub fn empty(ncols: usize) -> Self {
        Matrix::Dense(Full::zeros(0, ncols))
    }

    /// The rows of one matrix above those of another; dense if either is (one without rows has no say).
    pub(crate) fn stacked(above: &Matrix, below: &Matrix) -> Result<Self, Error> {
        let (m, n) = (above.nrows(), above.ncols());
        if n != below.ncols() {
            let (found, expected) = ((below.nrows(), below.ncols()), (below.nrows(), n));
            return Err(Error::Shape {
                argument: "matrix",
                found,
                expected,
                advice: "it needs one column per entry of q",
            });
        }
        match (above, below) {
            (_, below) if m == 0 => Ok(below.clone()),
            (above, _) if below.nrows() == 0 => Ok(above.clone()),
            (Matrix::Sparse(a), Matrix::Sparse(b)) => {
                let entries: Vec<_> = a.triplets().chain(b.triplets().map(|(i, j, v)| (m + i, j, v))).collect();
                Csc::from_triplets(m + b.nrows(), n, &entries).map(Matrix::Sparse)
            }
            (above, below) => {
                let mut out = Full::zeros(m + below.nrows(), n);
                above.for_each(|i, j, v| out[(i, j)] = v);
                below.for_each(|i, j, v| out[(m + i, j)] = v);
                Ok(Matrix::Dense(out))
            }
        }
    }

    /// Rows.
    pub fn nrows(&self) -> usize {
        match self {
            Matrix::Dense(m) => m.nrows(),
            Matrix::Sparse(m) => m.nrows(),
        }
    }

    /// Columns.
    pub fn ncols(&self) -> usize {
        match self {
            Matrix::Dense(m) => m.ncols(),
            Matrix::Sparse(m) => m.ncols(),
        }
    }

    /// `out += alpha * M x`.
    pub fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64]) {
        match self {
            Matrix::Dense(m) => gemv(alpha, m.as_ref(), x, out),
            Matrix::Sparse(m) => m.mul_add(alpha, x, out),
        }
    }

    /// `out += alpha * M' y`.
    pub fn tmul_add(&self, alpha: f64, y: &[f64], out: &mut [f64]) {
        match self {
            Matrix::Dense(m) => gemv_t(alpha, m.as_ref(), y, out),
            Matrix::Sparse(m) => m.tmul_add(alpha, y, out),
        }
    }

    /// `out += |M| x` for `x >= 0`.
    pub(crate) fn magnitudes_add(&self, x: &[f64], out: &mut [f64]) {
        match self {
            Matrix::Dense(m) => gemv_abs(m.as_ref(), x, out),
            Matrix::Sparse(m) => m.magnitudes_add(x, out),
        }
    }

    /// `out += |M|' y` for `y >= 0`.
    pub(crate) fn transposed_magnitudes_add(&self, y: &[f64], out: &mut [f64]) {
        match self {
            Matrix::Dense(m) => gemv_t_abs(m.as_ref(), y, out),
            Matrix::Sparse(m) => m.transposed_magnitudes_add(y, out),
        }
    }

    /// Raises `rows` and `columns` to the largest magnitudes in those of `E M D`.
    pub(crate) fn raise(&self, (e, d): (&[f64], &[f64]), rows: &mut [f64], columns: &mut [f64]) {
        match self {
            Matrix::Dense(m) => raise_largest(m.as_ref(), (e, d), rows, columns),
            Matrix::Sparse(m) => m.triplets().for_each(|(i, j, v)| {
                let v = (v * e[i] * d[j]).abs();
                rows[i] = rows[i].max(v);
                columns[j] = columns[j].max(v);
            }),
        }
    }

    /// The smallest magnitude above 0, infinite if there is none, and the largest one.
    pub(crate) fn extent(&self) -> (f64, f64) {
        match self {
            Matrix::Dense(m) => extent(m.values()),
            Matrix::Sparse(m) => extent(m.values()),
        }
    }

    /// Number of entries of each row that are not zero.
    pub(crate) fn entries_of_rows(&self) -> Vec<usize> {
        let mut entries = vec![0; self.nrows()];
        self.for_each(|i, _, v| entries[i] += usize::from(v != 0.0));
        entries
    }

    /// These rows, in this order.
    pub(crate) fn select_rows(&self, rows: &[usize]) -> Matrix {
        match self {
            Matrix::Dense(m) => Matrix::Dense(Full::from_fn(rows.len(), m.ncols(), |i, j| m[(rows[i], j)])),
            Matrix::Sparse(m) => {
                let mut place = vec![usize::MAX; m.nrows()];
                rows.iter().enumerate().for_each(|(at, &i)| place[i] = at);
                let kept: Vec<_> =
                    m.triplets().map(|(i, j, v)| (place[i], j, v)).filter(|(i, _, _)| *i != usize::MAX).collect();
                Csc::from_triplets(rows.len(), m.ncols(), &kept)
                    .map_or_else(|_| Matrix::empty(m.ncols()), Matrix::Sparse)
            }
        }
    }

    /// Calls `f(row, column, value)` for every stored entry.
    pub fn for_each(&self, mut f: impl FnMut(usize, usize, f64)) {
        match self {
            Matrix::Dense(m) => {
                for j in 0..m.ncols() {
                    for (i, &v) in m.col_as_slice(j).iter().enumerate() {
                        f(i, j, v);
                    }
                }
            }
            Matrix::Sparse(m) => m.triplets().for_each(|(i, j, v)| f(i, j, v)),
        }
    }

    /// In what its structure (kind, shape, pattern) differs from that of `other`.
    pub(crate) fn difference(&self, other: &Matrix) -> Option<&'static str> {
        match (self, other) {
            (Matrix::Dense(a), Matrix::Dense(b)) => (a.shape() != b.shape()).then_some("shape"),
            (Matrix::Sparse(a), Matrix::Sparse(b)) => (!a.same_pattern(b)).then_some("sparsity pattern"),
            _ => Some("kind of matrix"),
        }
    }

    /// Refuses an entry that is not finite.
    pub(crate) fn check_finite(&self, argument: &'static str) -> Result<(), Error> {
        match self {
            Matrix::Dense(m) => dense_finite(argument, m.as_ref()),
            Matrix::Sparse(m) => m.check_finite(argument),
        }
    }

    /// `E M D`.
    pub(crate) fn scaled(&self, e: &[f64], d: &[f64]) -> Matrix {
        match self {
            Matrix::Dense(m) => Matrix::Dense(Full::from_fn(m.nrows(), m.ncols(), |i, j| e[i] * m[(i, j)] * d[j])),
            Matrix::Sparse(m) => Matrix::Sparse(m.map(|i, j, v| e[i] * v * d[j])),
        }
    }

    /// `self += other` of the same structure.
    pub(crate) fn add(&mut self, other: &Matrix) {
        match (self, other) {
            (Matrix::Dense(to), Matrix::Dense(from)) => *to += from,
            (Matrix::Sparse(to), Matrix::Sparse(from)) => {
                to.values_mut().iter_mut().zip(from.values()).for_each(|(t, f)| *t += f);
            }
            _ => {}
        }
    }

    /// The dense matrix.
    pub fn to_dense(&self) -> Mat<f64> {
        match self {
            Matrix::Dense(m) => m.to_mat(),
            Matrix::Sparse(m) => m.to_dense(),
        }
    }

    /// True if stored sparsely.
    pub fn is_sparse(&self) -> bool {
        matches!(self, Matrix::Sparse(_))
    }
}

impl From<Mat<f64>> for Matrix {
    fn from(m: Mat<f64>) -> Self {
        Matrix::Dense(m.into())
    }
}

impl From<Full> for Matrix {
    fn from(m: Full) -> Self {
        Matrix::Dense(m)
    }
}

impl From<Csc> for Matrix {
    fn from(m: Csc) -> Self {
        Matrix::Sparse(m)
    }
}
