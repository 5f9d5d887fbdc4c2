//! The factored system of an active set, packed: what the derivatives of one solution take of the matrices of its problem, in less
//! than half of what the factors of all rows take.

use super::kernels::{Lower, solve_lower_of, solve_lower_transposed_of};
use super::range_space::RangeSpace;
use crate::matrix::columns::{BLOCK, column};
use crate::matrix::{gemv, gemv_t};
use faer::MatRef;

/// `P = L L'`, the columns of `Y = L^-1 C'` of the rows that are kept, and the Cholesky factor of `Y'Y`.
#[derive(Debug)]
pub(crate) struct KeptFactors {
    n: usize,
    rows: Vec<u32>,
    /// The rows of Y are contiguous, not its columns.
    across: bool,
    reciprocal_condition: f64,
    numbers: Vec<f64>,
}

/// A lower triangle, blocks of four columns one after the other, each from its first row on.
#[derive(Clone, Copy)]
struct Packed<'a> {
    numbers: &'a [f64],
    n: usize,
}

/// Where the block of column j begins; j is that of its first column.
fn place(n: usize, j: usize) -> usize {
    let blocks = j / BLOCK;
    j * n - BLOCK * BLOCK * (blocks * blocks.saturating_sub(1)) / 2
}

/// Numbers of a packed triangle of order n.
fn packed_len(n: usize) -> usize {
    let whole = n - n % BLOCK;
    place(n, whole) + (n - whole) * (n - whole)
}

fn pack(l: MatRef<'_, f64>, to: &mut Vec<f64>) {
    (0..l.ncols()).for_each(|j| to.extend_from_slice(column(l, j, j - j % BLOCK)));
}

impl<'a> Lower<'a> for Packed<'a> {
    #[inline(always)]
    fn columns(self, j: usize) -> [&'a [f64]; BLOCK] {
        let rows = self.n - j;
        let block = &self.numbers[place(self.n, j)..][..BLOCK * rows];
        let (c0, rest) = block.split_at(rows);
        let (c1, rest) = rest.split_at(rows);
        let (c2, c3) = rest.split_at(rows);
        [c0, c1, c2, c3]
    }

    #[inline(always)]
    fn column(self, j: usize) -> &'a [f64] {
        let first = j - j % BLOCK;
        let rows = self.n - first;
        let at = place(self.n, first) + (j - first) * rows;
        &self.numbers[at + j - first..at + rows]
    }
}

impl KeptFactors {
    /// Of the kept rows, whose Schur complement has the Cholesky factor `s`.
    pub fn new(core: &RangeSpace, rows: &[usize], s: MatRef<'_, f64>, reciprocal_condition: f64) -> Self {
        let (n, y) = (core.n(), core.y());
        let across = y.col_stride() == 1 && y.row_stride() != 1;
        let mut numbers = Vec::with_capacity(packed_len(n) + n * rows.len() + packed_len(rows.len()));
        pack(core.l(), &mut numbers);
        if across {
            for i in 0..n {
                let row = column(y.transpose(), i, 0);
                numbers.extend(rows.iter().map(|&r| row[r]));
            }
        } else {
            rows.iter().for_each(|&r| numbers.extend_from_slice(column(y, r, 0)));
        }
        pack(s, &mut numbers);
        KeptFactors { n, rows: rows.iter().map(|&r| r as u32).collect(), across, reciprocal_condition, numbers }
    }

    pub fn reciprocal_condition(&self) -> f64 {
        self.reciprocal_condition
    }

    /// Solves in place: `r` in `w` and `s` in `v`; rows that are not kept come out as 0.
    pub fn solve(&self, w: &mut [f64], v: &mut [f64], u: &mut Vec<f64>) {
        let (n, k) = (self.n, self.rows.len());
        let (l, rest) = self.numbers.split_at(packed_len(n));
        let (y, s) = rest.split_at(n * k);
        let (l, s) = (Packed { numbers: l, n }, Packed { numbers: s, n: k });
        let y = match self.across {
            true => MatRef::from_row_major_slice(y, n, k),
            false => MatRef::from_column_major_slice(y, n, k),
        };
        solve_lower_of(l, w);
        u.clear();
        u.extend(self.rows.iter().map(|&r| -v[r as usize]));
        gemv_t(1.0, y, w, u);
        solve_lower_of(s, u);
        solve_lower_transposed_of(s, u);
        v.fill(0.0);
        self.rows.iter().zip(&*u).for_each(|(&r, &u)| v[r as usize] = u);
        gemv(-1.0, y, u, w);
        solve_lower_transposed_of(l, w);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bpqp_testkit::Rng;
    use faer::Mat;

    #[test]
    fn a_packed_triangle_solves_as_the_whole_one() {
        let mut rng = Rng::new(3);
        for n in (0..14).chain([50, 63]) {
            let l = Mat::from_fn(n, n, |i, j| if i == j { 2.0 + rng.uniform() } else { rng.normal() / (1 + n) as f64 });
            let mut numbers = Vec::new();
            pack(l.as_ref(), &mut numbers);
            assert_eq!(numbers.len(), packed_len(n));
            let x: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
            let packed = Packed { numbers: &numbers, n };
            let (mut own, mut whole) = (x.clone(), x);
            solve_lower_of(packed, &mut own);
            super::super::solve_lower(l.as_ref(), &mut whole);
            assert_eq!(own, whole, "order {n}");
            solve_lower_transposed_of(packed, &mut own);
            super::super::solve_lower_transposed(l.as_ref(), &mut whole);
            assert_eq!(own, whole, "order {n}");
        }
    }
}
