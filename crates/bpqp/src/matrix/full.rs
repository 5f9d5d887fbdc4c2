//! A dense matrix without gaps.

use faer::{Mat, MatMut, MatRef};
use std::ops::{AddAssign, Index, IndexMut};

/// A dense matrix, column after column and nothing between them: faer's own leaves the room of up to seven numbers below every
/// column, more than half of what a matrix of ten rows takes. Made `from` one of faer's, which it is seen as by
/// [`as_ref`](Full::as_ref).
#[derive(Clone, PartialEq)]
pub struct Full {
    values: Box<[f64]>,
    nrows: usize,
    ncols: usize,
}

/// Rows that are transposed together.
const ROWS: usize = 4;

/// That many rows of the same length, if they are all there.
fn split(rows: &[f64], ncols: usize) -> Option<[&[f64]; ROWS]> {
    if rows.len() < ROWS * ncols {
        return None;
    }
    let (a, rest) = rows.split_at(ncols);
    let (b, rest) = rest.split_at(ncols);
    let (c, rest) = rest.split_at(ncols);
    Some([a, b, c, &rest[..ncols]])
}

impl Full {
    /// All zeros.
    pub fn zeros(nrows: usize, ncols: usize) -> Self {
        Full { values: vec![0.0; nrows * ncols].into(), nrows, ncols }
    }

    /// Of the entries `f(row, column)`.
    pub fn from_fn(nrows: usize, ncols: usize, mut f: impl FnMut(usize, usize) -> f64) -> Self {
        let mut values = Vec::with_capacity(nrows * ncols);
        (0..ncols).for_each(|j| values.extend((0..nrows).map(|i| f(i, j))));
        Full { values: values.into(), nrows, ncols }
    }

    /// Of its entries, column after column; missing ones are 0.
    pub fn from_columns(nrows: usize, ncols: usize, mut values: Vec<f64>) -> Self {
        values.resize(nrows * ncols, 0.0);
        Full { values: values.into(), nrows, ncols }
    }

    /// Of its entries, row after row; missing ones are 0.
    pub fn from_rows(nrows: usize, ncols: usize, entries: &[f64]) -> Self {
        let mut out = Full::zeros(nrows, ncols);
        if ncols == 0 || nrows == 0 {
            return out;
        }
        // four rows at a time: a line of the cache is met twice, not eight times
        for (block, rows) in entries.chunks(ROWS * ncols).enumerate() {
            let first = ROWS * block;
            let columns = out.values.chunks_exact_mut(nrows).enumerate();
            match split(rows, ncols) {
                Some([a, b, c, d]) => {
                    let entries = a.iter().zip(b).zip(c.iter().zip(d));
                    columns.zip(entries).for_each(|((_, column), ((a, b), (c, d)))| {
                        if let Some(to) = column[first..].first_chunk_mut() {
                            *to = [*a, *b, *c, *d];
                        }
                    });
                }
                None => columns.for_each(|(j, column)| {
                    let own = rows.get(j..).unwrap_or_default().iter().step_by(ncols);
                    column[first..].iter_mut().zip(own).for_each(|(to, v)| *to = *v);
                }),
            }
        }
        out
    }

    /// Rows.
    pub fn nrows(&self) -> usize {
        self.nrows
    }

    /// Columns.
    pub fn ncols(&self) -> usize {
        self.ncols
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.nrows, self.ncols)
    }

    /// All entries, column after column.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// All entries, to be changed.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// Column j.
    pub fn col_as_slice(&self, j: usize) -> &[f64] {
        &self.values[j * self.nrows..(j + 1) * self.nrows]
    }

    /// Column j, to be changed.
    pub fn col_as_slice_mut(&mut self, j: usize) -> &mut [f64] {
        &mut self.values[j * self.nrows..(j + 1) * self.nrows]
    }

    /// As a matrix of faer.
    pub fn as_ref(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.values, self.nrows, self.ncols)
    }

    /// The same, to be changed.
    pub fn as_mut(&mut self) -> MatMut<'_, f64> {
        MatMut::from_column_major_slice_mut(&mut self.values, self.nrows, self.ncols)
    }

    /// The transposed matrix, seen as one of faer.
    pub fn transpose(&self) -> MatRef<'_, f64> {
        self.as_ref().transpose()
    }

    /// A copy as a matrix of faer.
    pub fn to_mat(&self) -> Mat<f64> {
        self.as_ref().to_owned()
    }
}

impl std::fmt::Debug for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl Index<(usize, usize)> for Full {
    type Output = f64;

    #[inline]
    fn index(&self, (i, j): (usize, usize)) -> &f64 {
        &self.col_as_slice(j)[i]
    }
}

impl IndexMut<(usize, usize)> for Full {
    #[inline]
    fn index_mut(&mut self, (i, j): (usize, usize)) -> &mut f64 {
        &mut self.col_as_slice_mut(j)[i]
    }
}

impl AddAssign<&Full> for Full {
    fn add_assign(&mut self, other: &Full) {
        self.values.iter_mut().zip(&other.values).for_each(|(t, f)| *t += f);
    }
}

impl From<MatRef<'_, f64>> for Full {
    fn from(m: MatRef<'_, f64>) -> Self {
        let mut out = Full::zeros(m.nrows(), m.ncols());
        out.as_mut().copy_from(m);
        out
    }
}

impl From<&Mat<f64>> for Full {
    fn from(m: &Mat<f64>) -> Self {
        m.as_ref().into()
    }
}

impl From<Mat<f64>> for Full {
    fn from(m: Mat<f64>) -> Self {
        m.as_ref().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_are_the_same_matrix() {
        for (m, n) in [(0, 3), (3, 0), (1, 1), (3, 2), (4, 4), (5, 7), (10, 9), (8, 1)] {
            let entry = |i: usize, j: usize| (100 * i + j) as f64 + 1.0;
            let rows: Vec<f64> = (0..m).flat_map(|i| (0..n).map(move |j| entry(i, j))).collect();
            let full = Full::from_rows(m, n, &rows);
            assert_eq!(full, Full::from_fn(m, n, entry));
            assert_eq!(full, Full::from(full.to_mat()));
            assert_eq!(full, Full::from_columns(m, n, full.values().to_vec()));
            assert_eq!(full.shape(), (m, n));
        }
    }
}
