//! What depends on P and the constraint matrices only: computed once, shared by forward and backward, by the instances
//! of a batch and by the epochs of a training.

use super::cholesky::{CholeskyScratch, NotPositive, pivot_ratio, smallest_kept};
use super::kernels::{bordered, padded, solve_lower, solve_lower_transposed};
use super::rank::Rank;
use super::{KktData, Matrices};
use crate::interrupt::late;
use crate::matrix::columns::BLOCK;
use crate::matrix::{Matrix, lower_gram, solve_lower_columns};
use crate::thresholds::CLEAR_PIVOT;
use faer::{Mat, MatRef};

/// `P = L L'`, `Y = L^-1 C'` (n x k) and `M = Y'Y = C P^-1 C'`, with C all constraint rows.
///
/// Cost `n^3/3 + n^2 k + n k^2` flops; everything after it lives in the k-dimensional space of the multipliers.
#[derive(Debug)]
pub(crate) struct RangeSpace {
    of: Matrices,
    /// Variables and rows.
    n: usize,
    k: usize,
    /// Smallest over largest squared pivot of L.
    pub pivot_ratio: f64,
    /// The smallest part of its diagonal entry that a pivot of L kept.
    pub kept: f64,
    parts: Parts,
}

/// L, Y and M.
#[derive(Debug)]
enum Parts {
    /// One bordered elimination left `[L; Y']`, columns of `ld` numbers, and M behind them.
    Small {
        numbers: Vec<f64>,
        ld: usize,
    },
    Large {
        l: Mat<f64>,
        y: Mat<f64>,
        m: Mat<f64>,
    },
}

impl Parts {
    fn l(&self, n: usize) -> MatRef<'_, f64> {
        match self {
            Parts::Small { numbers, ld } => MatRef::from_column_major_slice_with_stride(numbers, n, n, *ld),
            Parts::Large { l, .. } => l.as_ref(),
        }
    }
}

/// Variables and rows up to which one elimination is faster than faer's products: 12 % of a solve at 50 + 50, even at 75 + 75,
/// 6 % slower at 100 + 100 (one core of an EPYC).
const SMALL: usize = 144;

/// Smallest pivot ratio at which P counts as safely positive definite; below it the primal form is more accurate.
pub(crate) const SAFE: f64 = 1e-12;

impl RangeSpace {
    /// Computes the factors; fails if P is not safely positive definite.
    pub fn new(of: Matrices, scratch: &mut CholeskyScratch) -> Result<Self, NotPositive> {
        let full = if of.p.as_dense().is_none() { of.p.to_dense() } else { Mat::zeros(0, 0) };
        let p = of.p.as_dense().map_or(full.as_ref(), |p| p.as_ref());
        let (n, k) = (p.ncols(), of.rows.iter().map(|block| block.nrows()).sum());
        let small = n + k <= SMALL;
        let mut parts = if small {
            eliminate(p, &of, k)?
        } else {
            Parts::Large { l: scratch.factor_of(p)?, y: Mat::zeros(0, 0), m: Mat::zeros(0, 0) }
        };
        let pivot_ratio = pivot_ratio(parts.l(n));
        if pivot_ratio < SAFE {
            return Err(NotPositive);
        }
        let kept = smallest_kept(parts.l(n), |i| p[(i, i)]);
        if kept <= CLEAR_PIVOT {
            let mut rank = Rank::default();
            rank.examine(&Mat::zeros(n, 0), &p.to_owned(), false);
            if rank.face.ncols() > 0 {
                return Err(NotPositive);
            }
        }
        if let Parts::Large { l, y, m } = &mut parts {
            (*y, *m) = (of.transposed_rows(), Mat::zeros(k, k));
            if k > 0 {
                solve_lower_columns(l.as_ref(), y.as_mut());
                lower_gram(m, y);
            }
            for j in 0..k {
                for i in 0..j {
                    m[(i, j)] = m[(j, i)];
                }
            }
        }
        if late() {
            return Err(NotPositive);
        }
        Ok(RangeSpace { of, n, k, pivot_ratio, kept, parts })
    }

    /// Cholesky factor of P; the strict upper triangle is not used.
    pub fn l(&self) -> MatRef<'_, f64> {
        self.parts.l(self.n)
    }

    /// `L^-1 C'`.
    pub fn y(&self) -> MatRef<'_, f64> {
        match &self.parts {
            Parts::Small { numbers, ld } => {
                let rows = numbers.get(padded_rows(self.n)..).unwrap_or_default();
                MatRef::from_column_major_slice_with_stride(rows, self.k, self.n, *ld).transpose()
            }
            Parts::Large { y, .. } => y.as_ref(),
        }
    }

    /// `C P^-1 C'`, both triangles.
    pub fn m(&self) -> MatRef<'_, f64> {
        match &self.parts {
            Parts::Small { numbers, ld } => {
                let first = padded_rows(self.n);
                let rest = numbers.get(first * ld..).unwrap_or_default();
                MatRef::from_column_major_slice_with_stride(rest, self.k, self.k, ld - first)
            }
            Parts::Large { m, .. } => m.as_ref(),
        }
    }

    /// Number of variables.
    pub fn n(&self) -> usize {
        self.n
    }

    /// True if these are the factors of the matrices of `data`.
    pub fn is_of(&self, data: KktData<'_>) -> bool {
        self.of.are(data)
    }

    /// `x = L^-1 x`.
    pub fn solve_lower(&self, x: &mut [f64]) {
        solve_lower(self.l(), x);
    }

    /// `x = L^-T x`.
    pub fn solve_upper(&self, x: &mut [f64]) {
        solve_lower_transposed(self.l(), x);
    }
}

/// Rows that n variables take: whole blocks of the kernel.
fn padded_rows(n: usize) -> usize {
    n.next_multiple_of(BLOCK)
}

/// Makes a lower triangle, of an order that is a multiple of the block, its negative and mirrors it.
fn negate_and_mirror(m: &mut [f64], order: usize) {
    for j in (0..order).step_by(BLOCK) {
        for i in (j..order).step_by(BLOCK) {
            let mut block = [[0.0; BLOCK]; BLOCK];
            for (c, own) in block.iter_mut().enumerate() {
                let at = (j + c) * order + i;
                for (v, to) in own.iter_mut().zip(&mut m[at..at + BLOCK]) {
                    *v = -*to;
                    *to = *v;
                }
            }
            for r in 0..BLOCK {
                let at = (i + r) * order + j;
                // within a block of the diagonal what is above it is no number of the triangle
                let first = if i == j { r } else { BLOCK };
                for (c, to) in m[at..at + first].iter_mut().enumerate() {
                    *to = block[c][r];
                }
            }
        }
    }
}

/// L, Y and M by one elimination of the variables from `[P, C'; C, 0]`.
fn eliminate(p: MatRef<'_, f64>, of: &Matrices, k: usize) -> Result<Parts, NotPositive> {
    let n = p.ncols();
    let first = padded_rows(n);
    let ld = padded(first + k);
    let order = ld - first;
    let size = first * ld + order * order;
    let mut numbers = Vec::with_capacity(size);
    // column by column: the allocator clears large blocks byte by byte
    while numbers.len() < size {
        numbers.resize(size.min(numbers.len() + ld), 0.0);
    }
    let (columns, rest) = numbers.split_at_mut(first * ld);
    for (j, column) in columns.chunks_exact_mut(ld.max(1)).enumerate() {
        if j < n {
            column[j..n].copy_from_slice(crate::matrix::columns::column(p, j, j));
        } else {
            column[j] = 1.0;
        }
    }
    for (row, block) in of.blocks() {
        match &**block {
            Matrix::Dense(c) => {
                for (j, column) in columns.chunks_exact_mut(ld).take(n).enumerate() {
                    column[first + row..][..c.nrows()].copy_from_slice(c.col_as_slice(j));
                }
            }
            Matrix::Sparse(c) => c.triplets().for_each(|(i, j, v)| columns[j * ld + first + row + i] = v),
        }
    }
    if !bordered(columns, rest, (first, ld)) {
        return Err(NotPositive);
    }
    negate_and_mirror(rest, order);
    Ok(Parts::Small { numbers, ld })
}
