//! Compressed sparse columns.

use crate::Error;
use faer::Mat;

/// A sparse matrix in compressed-column form; row indices ascend within a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Csc {
    nrows: usize,
    ncols: usize,
    indptr: Vec<usize>,
    indices: Vec<usize>,
    values: Vec<f64>,
    /// Each column stores one entry, as of a diagonal: products need no loop over columns.
    single: bool,
}

fn single(indptr: &[usize]) -> bool {
    indptr.iter().enumerate().all(|(j, &start)| start == j)
}

impl Csc {
    /// From the three arrays; the row indices of each column must ascend strictly.
    pub fn new(
        nrows: usize,
        ncols: usize,
        indptr: Vec<usize>,
        indices: Vec<usize>,
        values: Vec<f64>,
    ) -> Result<Self, Error> {
        let bad = |reason: String| Err(Error::Pattern { argument: "matrix", reason });
        if indptr.len() != ncols + 1 {
            return bad(format!("{} column pointers for {ncols} columns, expected {}", indptr.len(), ncols + 1));
        }
        if indices.len() != values.len() || indptr[0] != 0 || indptr[ncols] != indices.len() {
            return bad(format!(
                "{} row indices, {} values, column pointers from {} to {}: the numbers must agree",
                indices.len(),
                values.len(),
                indptr[0],
                indptr[ncols]
            ));
        }
        for j in 0..ncols {
            if indptr[j] > indptr[j + 1] || indptr[j + 1] > indices.len() {
                return bad(format!("column pointer {} follows {} at column {j}", indptr[j + 1], indptr[j]));
            }
            let column = &indices[indptr[j]..indptr[j + 1]];
            if let Some(&row) = column.iter().find(|&&i| i >= nrows) {
                return bad(format!("row index {row} in column {j} of a matrix with {nrows} rows"));
            }
            if let Some(w) = column.windows(2).find(|w| w[0] >= w[1]) {
                return bad(format!("row index {} follows {} in column {j}: sort them and sum duplicates", w[1], w[0]));
            }
        }
        Ok(Csc { nrows, ncols, single: single(&indptr), indptr, indices, values })
    }

    /// From triplets in any order; duplicates are summed.
    pub fn from_triplets(nrows: usize, ncols: usize, triplets: &[(usize, usize, f64)]) -> Result<Self, Error> {
        if let Some(&(i, j, _)) = triplets.iter().find(|&&(i, j, _)| i >= nrows || j >= ncols) {
            let reason = format!("entry ({i}, {j}) lies outside of {nrows} x {ncols}");
            return Err(Error::Pattern { argument: "matrix", reason });
        }
        // by columns in linear time; their entries are in order as a rule, and those of one place stay as they were given
        let mut next = vec![0; ncols + 1];
        triplets.iter().for_each(|&(_, j, _)| next[j + 1] += 1);
        for j in 0..ncols {
            next[j + 1] += next[j];
        }
        let mut order = vec![0; triplets.len()];
        for (k, &(_, j, _)) in triplets.iter().enumerate() {
            order[next[j]] = k;
            next[j] += 1;
        }
        // the end of each column is the start of the next one
        let (mut indices, mut values) = (Vec::with_capacity(order.len()), Vec::<f64>::with_capacity(order.len()));
        let (mut indptr, mut start) = (Vec::with_capacity(ncols + 1), 0);
        indptr.push(0);
        for &end in &next[..ncols] {
            let column = &mut order[start..end];
            if !column.is_sorted_by_key(|&k| triplets[k].0) {
                column.sort_by_key(|&k| triplets[k].0);
            }
            let mut last = None;
            for (i, _, v) in column.iter().map(|&k| triplets[k]) {
                match values.last_mut() {
                    Some(sum) if last == Some(i) => *sum += v,
                    _ => {
                        indices.push(i);
                        values.push(v);
                        last = Some(i);
                    }
                }
            }
            indptr.push(indices.len());
            start = end;
        }
        Ok(Csc { nrows, ncols, single: single(&indptr), indptr, indices, values })
    }

    /// The nonzero entries of a dense matrix.
    pub fn from_dense(m: &Mat<f64>) -> Self {
        let mut triplets = Vec::new();
        for j in 0..m.ncols() {
            for i in 0..m.nrows() {
                if m[(i, j)] != 0.0 {
                    triplets.push((i, j, m[(i, j)]));
                }
            }
        }
        Csc::from_triplets(m.nrows(), m.ncols(), &triplets).expect("indices come from the matrix")
    }

    /// Rows.
    pub fn nrows(&self) -> usize {
        self.nrows
    }
    /// Columns.
    pub fn ncols(&self) -> usize {
        self.ncols
    }
    /// Stored entries.
    pub fn nnz(&self) -> usize {
        self.values.len()
    }
    /// Column pointers.
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }
    /// Row indices.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
    /// Values.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
    /// Values, to change them on the same pattern.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }
    /// True if each column stores its diagonal entry and nothing else.
    pub(crate) fn is_diagonal(&self) -> bool {
        self.nrows == self.ncols && self.single && self.indices.iter().enumerate().all(|(j, &i)| i == j)
    }

    /// True if both have the same shape and stored positions.
    pub fn same_pattern(&self, other: &Csc) -> bool {
        self.nrows == other.nrows && self.indptr == other.indptr && self.indices == other.indices
    }

    /// `(row, value)` of the stored entries of column `j`.
    pub fn column(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.indptr[j]..self.indptr[j + 1];
        self.indices[range.clone()].iter().copied().zip(self.values[range].iter().copied())
    }

    /// `(row, column, value)` of the stored entries, by column.
    pub fn triplets(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        (0..self.ncols).flat_map(move |j| self.column(j).map(move |(i, v)| (i, j, v)))
    }

    /// The entry in that place, 0 if none is stored.
    pub(crate) fn entry(&self, row: usize, col: usize) -> f64 {
        let (start, end) = (self.indptr[col], self.indptr[col + 1]);
        self.indices[start..end].binary_search(&row).map_or(0.0, |k| self.values[start + k])
    }

    /// Moves the entry in that place, if one is stored.
    pub(crate) fn move_entry(&mut self, row: usize, col: usize, step: f64) {
        let (start, end) = (self.indptr[col], self.indptr[col + 1]);
        if let Ok(k) = self.indices[start..end].binary_search(&row) {
            self.values[start + k] += step;
        }
    }

    /// Refuses an entry that is not finite.
    pub(crate) fn check_finite(&self, argument: &'static str) -> Result<(), Error> {
        match self.triplets().find(|(_, _, v)| !v.is_finite()) {
            None => Ok(()),
            Some((row, col, value)) => Err(Error::NotFinite { argument, row, col, value }),
        }
    }

    /// The same pattern with the values of a function of (row, column, value).
    pub(crate) fn map(&self, f: impl Fn(usize, usize, f64) -> f64) -> Csc {
        let mut out = self.clone();
        for j in 0..self.ncols {
            for k in self.indptr[j]..self.indptr[j + 1] {
                out.values[k] = f(self.indices[k], j, self.values[k]);
            }
        }
        out
    }

    /// The same pattern with the values of a function of (row, column), in the buffers of `last` if they have it.
    pub(crate) fn refill(&self, last: Option<Csc>, f: impl Fn(usize, usize) -> f64) -> Csc {
        let mut out = match last {
            Some(last) if last.same_pattern(self) => last,
            _ => self.clone(),
        };
        for j in 0..self.ncols {
            let range = self.indptr[j]..self.indptr[j + 1];
            for (v, &i) in out.values[range.clone()].iter_mut().zip(&self.indices[range]) {
                *v = f(i, j);
            }
        }
        out
    }

    /// The same pattern with the values of a function of (row, column).
    pub fn map_pattern(&self, mut f: impl FnMut(usize, usize) -> f64) -> Csc {
        let mut out = self.clone();
        for j in 0..self.ncols {
            for k in self.indptr[j]..self.indptr[j + 1] {
                out.values[k] = f(self.indices[k], j);
            }
        }
        out
    }

    /// The transpose.
    pub fn transpose(&self) -> Csc {
        let mut indptr = vec![0; self.nrows + 1];
        for &i in &self.indices {
            indptr[i + 1] += 1;
        }
        for i in 0..self.nrows {
            indptr[i + 1] += indptr[i];
        }
        let mut next = indptr.clone();
        let (mut indices, mut values) = (vec![0; self.nnz()], vec![0.0; self.nnz()]);
        for (i, j, v) in self.triplets() {
            indices[next[i]] = j;
            values[next[i]] = v;
            next[i] += 1;
        }
        Csc { nrows: self.ncols, ncols: self.nrows, single: single(&indptr), indptr, indices, values }
    }

    /// The dense matrix.
    pub fn to_dense(&self) -> Mat<f64> {
        let mut m = Mat::zeros(self.nrows, self.ncols);
        for (i, j, v) in self.triplets() {
            m[(i, j)] += v;
        }
        m
    }

    /// `out += alpha * self * x`.
    pub fn mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64]) {
        if self.single {
            for ((&i, v), xj) in self.indices.iter().zip(&self.values).zip(x) {
                out[i] += alpha * xj * v;
            }
            return;
        }
        for (ends, &xj) in self.indptr.windows(2).zip(x) {
            let scaled = alpha * xj;
            if scaled != 0.0 {
                let range = ends[0]..ends[1];
                for (&i, v) in self.indices[range.clone()].iter().zip(&self.values[range]) {
                    out[i] += scaled * v;
                }
            }
        }
    }

    /// `out += alpha * self' * y`.
    pub fn tmul_add(&self, alpha: f64, y: &[f64], out: &mut [f64]) {
        if self.single {
            for ((&i, v), o) in self.indices.iter().zip(&self.values).zip(out) {
                *o += alpha * (v * y[i]);
            }
            return;
        }
        for (ends, o) in self.indptr.windows(2).zip(out) {
            let range = ends[0]..ends[1];
            let entries = self.indices[range.clone()].iter().zip(&self.values[range]);
            *o += alpha * entries.fold(0.0, |sum, (&i, v)| sum + v * y[i]);
        }
    }

    /// `out += |self| x` for `x >= 0`.
    pub(crate) fn magnitudes_add(&self, x: &[f64], out: &mut [f64]) {
        if self.single {
            self.indices.iter().zip(&self.values).zip(x).for_each(|((&i, v), x)| out[i] += v.abs() * x);
            return;
        }
        for (j, &xj) in x.iter().enumerate() {
            let range = self.indptr[j]..self.indptr[j + 1];
            for (&i, v) in self.indices[range.clone()].iter().zip(&self.values[range]) {
                out[i] += v.abs() * xj;
            }
        }
    }

    /// `out += |self|' y` for `y >= 0`.
    pub(crate) fn transposed_magnitudes_add(&self, y: &[f64], out: &mut [f64]) {
        if self.single {
            self.indices.iter().zip(&self.values).zip(out).for_each(|((&i, v), o)| *o += v.abs() * y[i]);
            return;
        }
        for (j, o) in out.iter_mut().enumerate() {
            let range = self.indptr[j]..self.indptr[j + 1];
            let entries = self.indices[range.clone()].iter().zip(&self.values[range]);
            *o += entries.map(|(&i, v)| v.abs() * y[i]).sum::<f64>();
        }
    }
}
