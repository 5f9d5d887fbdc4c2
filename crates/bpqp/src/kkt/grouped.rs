//! `L D L'` of a sparse matrix: leaves first, then by rows, up to four columns at a time.
//!
//! Leading rows that have nothing but their diagonal entry to the left of it are leaves: `L_ij = K_ij / d_j` for them without
//! further ado, and what each takes from the rest is an outer product whose places are known beforehand. In the order that
//! eliminates a diagonal Hessian first all variables are leaves, and the rest is the Schur complement.
//!
//! Consecutive columns of L with the same rows below them form a group. A row that meets one meets all of its columns: their
//! products with it are taken together, so that an index is read and an entry of the row is written once for four products.
//! (The up-looking factorization of Davis, "Direct methods for sparse linear systems", 2006, section 4.7, with groups; the
//! rows of L, which it finds anew in every factorization, are kept.)

use super::ldl::{PivotError, sort_by_column};
use std::array::from_fn;

/// Columns of a group at most.
const WIDTH: usize = 4;

/// The columns of a group: where each begins in L, and the rows below the group, as far as they are there.
struct Columns<'a, const N: usize> {
    diagonals: [f64; N],
    /// Of column c the entries in the rows of the columns after it.
    inside: [&'a [f64]; N],
    below: [&'a [f64]; N],
    rows: &'a [u32],
}

impl<'a, const N: usize> Columns<'a, N> {
    /// Columns `first..first + N`, as far as `end` in the first of them.
    #[inline(always)]
    fn new((rows, factor): (&'a [u32], &'a [f64]), col_ptr: &[usize], first: usize, end: usize) -> Self {
        let begin = col_ptr[first] + N;
        let rows = &rows[begin..end.max(begin)];
        let columns: [&[f64]; N] = from_fn(|c| &factor[col_ptr[first + c]..][..N - c + rows.len()]);
        Columns {
            diagonals: columns.map(|column| column[0]),
            inside: from_fn(|c| &columns[c][1..N - c]),
            below: from_fn(|c| &columns[c][N - c..][..rows.len()]),
            rows,
        }
    }

    /// Solves with the columns themselves, and subtracts their products from the rows below.
    #[inline(always)]
    fn forward(&self, own: &mut [f64; N], x: &mut [f64]) {
        for c in 0..N {
            for d in c + 1..N {
                own[d] -= self.inside[c][d - c - 1] * own[c];
            }
        }
        let subtract = |k: usize, entry: &mut f64| {
            let mut value = *entry;
            for c in 0..N {
                value -= self.below[c][k] * own[c];
            }
            *entry = value;
        };
        match self.run(x.len()) {
            Some(run) => x[run].iter_mut().enumerate().for_each(|(k, entry)| subtract(k, entry)),
            None => self.rows.iter().enumerate().for_each(|(k, &i)| subtract(k, &mut x[i as usize])),
        }
    }

    /// The rows below, where they follow each other.
    #[inline(always)]
    fn run(&self, dim: usize) -> Option<std::ops::Range<usize>> {
        let (first, last) = (*self.rows.first()? as usize, *self.rows.last()? as usize);
        (last - first + 1 == self.rows.len() && last < dim).then_some(first..last + 1)
    }

    /// Divides by the pivots, subtracts the products of the rows below, and solves with the columns themselves.
    #[inline(always)]
    fn backward(&self, own: &mut [f64; N], x: &[f64]) {
        let mut sums = [0.0; N];
        for (k, &i) in self.rows.iter().enumerate() {
            let entry = x[i as usize];
            for c in 0..N {
                sums[c] += self.below[c][k] * entry;
            }
        }
        for c in (0..N).rev() {
            own[c] = own[c] / self.diagonals[c] - sums[c];
            for d in c + 1..N {
                own[c] -= self.inside[c][d - c - 1] * own[d];
            }
        }
    }
}

/// Places of outer products per entry of L that are worth their memory, and in all.
const PLACES: usize = 8;
const MOST_PLACES: usize = 1 << 22;

/// The leaves of a pattern, and the rest of the matrix once they are eliminated.
struct Leaves {
    /// Where each entry of their columns of L, but the diagonal, comes from in the matrix.
    source: Vec<u32>,
    /// Where the products of each column go in the rest: of each entry with those before it and itself.
    target: Vec<u32>,
    /// The upper triangle of the rest: where each column begins, and its rows.
    rest_ptr: Vec<usize>,
    rest_idx: Vec<u32>,
    /// Where each entry of the matrix goes in the rest, if it does.
    moved: Vec<u32>,
}

/// The groups of a pattern, and which of them each row meets.
pub(super) struct Groups {
    /// Number of leaves: columns that stand for themselves.
    leaves: usize,
    outer: Leaves,
    /// First column of each group after the leaves.
    starts: Vec<u32>,
    /// Where the groups of each row begin in `met`.
    row_ptr: Vec<usize>,
    met: Vec<u32>,
    /// Rows of the entries of L.
    rows: Vec<u32>,
}

/// Memory of a factorization: a row at work, zeros between; how far each column is filled; the matrix without its leaves.
#[derive(Default)]
pub(super) struct Room {
    row: Vec<f64>,
    filled: Vec<usize>,
    rest: Vec<f64>,
}

/// No place.
const NONE: u32 = u32::MAX;

/// A pattern in compressed columns.
type Pattern<'a> = (&'a [usize], &'a [usize]);

impl Leaves {
    /// Of the first `count` columns; `None` if their outer products are too many.
    fn new(count: usize, (a_ptr, a_idx): Pattern<'_>, (col_ptr, row_idx): Pattern<'_>) -> Option<Self> {
        let dim = a_ptr.len() - 1;
        let column = |j: usize| &row_idx[col_ptr[j] + 1..col_ptr[j + 1]];
        let products: usize = (0..count).map(|j| column(j).len() * (column(j).len() + 1) / 2).sum();
        if products > MOST_PLACES.min(PLACES * row_idx.len()) {
            return None;
        }
        // entries of the matrix and of the outer products, as (column, row); the fill of the rest has them all
        let (mut rows, mut cols): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut source = vec![0; (0..count).map(|j| column(j).len()).sum()];
        let mut next: Vec<usize> = Vec::with_capacity(count);
        let mut end = 0;
        for j in 0..count {
            next.push(end);
            end += column(j).len();
            for (k, &i) in column(j).iter().enumerate() {
                rows.extend(&column(j)[..=k]);
                cols.resize(rows.len(), i);
            }
        }
        // the rows of a leaf ascend in L, and so do the columns of the matrix that it is met in
        let mut others = Vec::new();
        for i in count..dim {
            for k in a_ptr[i]..a_ptr[i + 1] {
                match a_idx[k] {
                    j if j < count => {
                        source[next[j]] = k as u32;
                        next[j] += 1;
                    }
                    row => {
                        others.push(k);
                        rows.push(row);
                        cols.push(i);
                    }
                }
            }
        }
        let mut place = vec![0; rows.len()];
        let (mut rest_ptr, mut rest_idx) = (vec![0; dim - count + 1], Vec::new());
        let mut last = (usize::MAX, usize::MAX);
        for k in sort_by_column(dim, &rows, &cols) {
            if last != (rows[k], cols[k]) {
                last = (rows[k], cols[k]);
                rest_idx.push(rows[k] as u32);
                rest_ptr[cols[k] - count + 1] = rest_idx.len();
            }
            place[k] = rest_idx.len() as u32 - 1;
        }
        // columns without entries begin where the one before them ends
        (0..dim - count).for_each(|i| rest_ptr[i + 1] = rest_ptr[i + 1].max(rest_ptr[i]));
        let mut moved = vec![NONE; a_idx.len()];
        others.iter().zip(place.split_off(products)).for_each(|(&k, at)| moved[k] = at);
        Some(Leaves { source, target: place, rest_ptr, rest_idx, moved })
    }
}

impl Groups {
    /// Of a matrix whose upper triangle has the first pattern, and a factor with the second one, whose columns begin with
    /// their diagonal and have ascending rows; `None` where they do not, or an index is beyond 32 bits.
    pub fn new(a: Pattern<'_>, l: Pattern<'_>) -> Option<Self> {
        let ((a_ptr, a_idx), (col_ptr, row_idx)) = (a, l);
        let dim = a_ptr.len() - 1;
        u32::try_from(dim.max(a_idx.len())).ok()?;
        let column = |j: usize| &row_idx[col_ptr[j]..col_ptr[j + 1]];
        let ordered = |j: usize| column(j).first() == Some(&j) && column(j).is_sorted_by(|a, b| a < b);
        if !(0..dim).all(ordered) {
            return None;
        }
        let mut leaves = (0..dim).take_while(|&j| a_idx[a_ptr[j]..a_ptr[j + 1]] == [j]).count();
        let outer = match Leaves::new(leaves, a, l) {
            Some(outer) => outer,
            None => {
                leaves = 0;
                Leaves::new(0, a, l)?
            }
        };
        let mut starts: Vec<u32> = Vec::new();
        let mut width = WIDTH;
        for j in leaves..dim {
            // ascending rows and one entry less: then the others are the same
            let continues =
                j > leaves && column(j - 1).get(1) == Some(&j) && column(j).len() + 1 == column(j - 1).len();
            if !continues || width == WIDTH {
                starts.push(j as u32);
                width = 0;
            }
            width += 1;
        }
        starts.push(dim as u32);
        let mut row_ptr = vec![0; dim + 1];
        let below = |g: usize| &column(starts[g] as usize)[1..];
        let groups = starts.len() - 1;
        (0..groups).flat_map(below).for_each(|&i| row_ptr[i + 1] += 1);
        (0..dim).for_each(|i| row_ptr[i + 1] += row_ptr[i]);
        let (mut next, mut met) = (row_ptr.clone(), vec![0; row_ptr[dim]]);
        for g in 0..groups {
            for &i in below(g) {
                met[next[i]] = g as u32;
                next[i] += 1;
            }
        }
        let rows = row_idx.iter().map(|&i| i as u32).collect();
        Some(Groups { leaves, outer, starts, row_ptr, met, rows })
    }

    /// Memory of a factorization.
    pub fn room(&self) -> Room {
        let dim = self.row_ptr.len() - 1;
        Room { row: vec![0.0; dim], filled: vec![0; dim], rest: vec![0.0; self.outer.rest_idx.len()] }
    }

    /// Eliminates the leaves: their columns of L, and the rest of the matrix without them; false where a pivot is zero.
    fn eliminate(
        &self,
        (a_ptr, a): (&[usize], &[f64]),
        (col_ptr, factor): (&[usize], &mut [f64]),
        rest: &mut [f64],
    ) -> bool {
        let Leaves { source, target, moved, .. } = &self.outer;
        rest.fill(0.0);
        a.iter().zip(moved).filter(|(_, at)| **at != NONE).for_each(|(v, &at)| rest[at as usize] += v);
        let (mut source, mut target) = (&source[..], &target[..]);
        for j in 0..self.leaves {
            let column = &mut factor[col_ptr[j]..col_ptr[j + 1]];
            let Some((pivot, entries)) = column.split_first_mut() else { return false };
            *pivot = a[a_ptr[j]];
            if *pivot == 0.0 {
                return false;
            }
            let (own, later) = source.split_at(entries.len());
            source = later;
            entries.iter_mut().zip(own).for_each(|(l, &at)| *l = a[at as usize]);
            // from the last entry on, so that those before it still are what they were in the matrix
            let mut places = &target[..entries.len() * (entries.len() + 1) / 2];
            target = &target[places.len()..];
            for k in (0..entries.len()).rev() {
                let (earlier, own) = places.split_at(places.len() - (k + 1));
                places = earlier;
                let l = entries[k] / *pivot;
                own.iter().zip(&*entries).for_each(|(&at, v)| rest[at as usize] -= l * v);
                entries[k] = l;
            }
        }
        true
    }

    /// The columns of group g.
    fn columns(&self, g: usize) -> std::ops::Range<usize> {
        self.starts[g] as usize..self.starts[g + 1] as usize
    }

    /// Factors the matrix with these values in its upper triangle.
    pub fn factor(
        &self,
        (a_ptr, a): (&[usize], &[f64]),
        col_ptr: &[usize],
        factor: &mut [f64],
        room: &mut Room,
    ) -> Result<(), PivotError> {
        let Room { row: y, filled, rest } = room;
        if !self.eliminate((a_ptr, a), (col_ptr, factor), rest) {
            return Err(PivotError::Zero);
        }
        for i in self.leaves..y.len() {
            let column = i - self.leaves;
            let range = self.outer.rest_ptr[column]..self.outer.rest_ptr[column + 1];
            self.outer.rest_idx[range.clone()].iter().zip(&rest[range]).for_each(|(&row, v)| y[row as usize] = *v);
            let mut pivot = std::mem::take(&mut y[i]);
            for &g in &self.met[self.row_ptr[i]..self.row_ptr[i + 1]] {
                let columns = self.columns(g as usize);
                let first = columns.start;
                let work: Work<'_> = (col_ptr, &mut *factor, &mut y[..], &mut filled[..]);
                pivot -= match columns.len().min(i - first) {
                    1 => self.meet::<1>(first, work),
                    2 => self.meet::<2>(first, work),
                    3 => self.meet::<3>(first, work),
                    _ => self.meet::<WIDTH>(first, work),
                };
            }
            if pivot == 0.0 {
                y.fill(0.0);
                return Err(PivotError::Zero);
            }
            factor[col_ptr[i]] = pivot;
            filled[i] = col_ptr[i] + 1;
        }
        Ok(())
    }

    /// The entries of a row in the columns `first..first + N`: what they take from the entries after them, and from the
    /// pivot.
    #[inline(always)]
    fn meet<const N: usize>(&self, first: usize, (col_ptr, factor, y, filled): Work<'_>) -> f64 {
        let mut own: [f64; N] = from_fn(|c| std::mem::take(&mut y[first + c]));
        let columns = Columns::<N>::new((&self.rows, factor), col_ptr, first, filled[first]);
        columns.forward(&mut own, y);
        let diagonals = columns.diagonals;
        let mut taken = 0.0;
        for c in 0..N {
            let l = own[c] / diagonals[c];
            taken += l * own[c];
            factor[filled[first + c]] = l;
            filled[first + c] += 1;
        }
        taken
    }

    /// Solves in place.
    pub fn solve(&self, col_ptr: &[usize], factor: &[f64], x: &mut [f64]) {
        let groups = self.starts.len() - 1;
        let of = (&self.rows[..], factor);
        for j in 0..self.leaves {
            let (entries, xj) = (col_ptr[j] + 1..col_ptr[j + 1], x[j]);
            let rows = &self.rows[entries.clone()];
            rows.iter().zip(&factor[entries]).for_each(|(&i, l)| x[i as usize] -= l * xj);
        }
        for g in 0..groups {
            let columns = self.columns(g);
            match columns.len() {
                1 => forward::<1>(of, col_ptr, columns.start, x),
                2 => forward::<2>(of, col_ptr, columns.start, x),
                3 => forward::<3>(of, col_ptr, columns.start, x),
                _ => forward::<WIDTH>(of, col_ptr, columns.start, x),
            }
        }
        for g in (0..groups).rev() {
            let columns = self.columns(g);
            match columns.len() {
                1 => backward::<1>(of, col_ptr, columns.start, x),
                2 => backward::<2>(of, col_ptr, columns.start, x),
                3 => backward::<3>(of, col_ptr, columns.start, x),
                _ => backward::<WIDTH>(of, col_ptr, columns.start, x),
            }
        }
        for j in (0..self.leaves).rev() {
            let entries = col_ptr[j] + 1..col_ptr[j + 1];
            let rows = &self.rows[entries.clone()];
            let sum: f64 = rows.iter().zip(&factor[entries]).map(|(&i, l)| l * x[i as usize]).sum();
            x[j] = x[j] / factor[col_ptr[j]] - sum;
        }
    }
}

/// Where the columns of L begin, its entries, the row at work, and how far each column is filled.
type Work<'a> = (&'a [usize], &'a mut [f64], &'a mut [f64], &'a mut [usize]);

#[inline(always)]
fn forward<const N: usize>(of: (&[u32], &[f64]), col_ptr: &[usize], first: usize, x: &mut [f64]) {
    let mut own: [f64; N] = from_fn(|c| x[first + c]);
    Columns::<N>::new(of, col_ptr, first, col_ptr[first + 1]).forward(&mut own, x);
    (0..N).for_each(|c| x[first + c] = own[c]);
}

#[inline(always)]
fn backward<const N: usize>(of: (&[u32], &[f64]), col_ptr: &[usize], first: usize, x: &mut [f64]) {
    let mut own: [f64; N] = from_fn(|c| x[first + c]);
    Columns::<N>::new(of, col_ptr, first, col_ptr[first + 1]).backward(&mut own, x);
    (0..N).for_each(|c| x[first + c] = own[c]);
}

#[cfg(test)]
mod tests {
    use super::super::ldl::{Ldl, LdlPattern};
    use super::PivotError;
    use bpqp_testkit::Rng;
    use faer::dyn_stack::{MemBuffer, MemStack};
    use faer::sparse::linalg::cholesky::{SymbolicCholeskyRaw, simplicial};
    use std::sync::Arc;

    /// `[D C'; C -E]` with n diagonal entries and m rows of C with this many entries each, beside a chain among the rows.
    fn saddle(n: usize, m: usize, entries: usize, chain: bool, rng: &mut Rng) -> (Ldl, Vec<usize>) {
        let (mut pointers, mut rows) = (vec![0], Vec::new());
        for j in 0..n + m {
            let mut own = vec![j];
            if j >= n {
                own.extend((0..entries).map(|_| rng.below(n)));
                own.extend((chain && j > n).then(|| j - 1));
            }
            own.sort_unstable();
            own.dedup();
            rows.extend(own);
            pointers.push(rows.len());
        }
        let first = (!chain).then_some(n);
        let (pattern, position) = LdlPattern::new(n + m, &pointers, &rows, first).expect("small");
        let mut ldl = Ldl::new(&Arc::new(pattern)).expect("small");
        let mut diagonal = vec![0; n + m];
        for j in 0..n + m {
            for k in pointers[j]..pointers[j + 1] {
                let sign = if j < n { 1.0 } else { -1.0 };
                ldl.values_mut()[position[k]] = if rows[k] == j { sign * (1.0 + rng.uniform()) } else { rng.normal() };
                if rows[k] == j {
                    diagonal[j] = position[k];
                }
            }
        }
        (ldl, diagonal)
    }

    #[test]
    fn leaves_and_groups_are_the_factors_of_faer_and_solve() {
        let mut rng = Rng::new(3);
        for (n, m, entries, chain) in [
            (1, 0, 0, false),
            (30, 8, 3, false),
            (30, 8, 3, true),
            (200, 60, 4, false),
            (40, 60, 2, false),
            (60, 90, 3, true),
            (5, 30, 2, true),
        ] {
            let (mut ldl, _) = saddle(n, m, entries, chain, &mut rng);
            ldl.factor().expect("quasi-definite");
            let (symbolic, a, ours) = ldl.parts();
            let SymbolicCholeskyRaw::Simplicial(s) = symbolic.raw() else { panic!("small") };
            let mut theirs = vec![0.0; ours.len()];
            let scratch = symbolic.factorize_numeric_ldlt_scratch::<f64>(faer::Par::Seq, Default::default());
            let mut memory = MemBuffer::new(scratch);
            let stack = MemStack::new(&mut memory);
            simplicial::factorize_simplicial_numeric_ldlt(&mut theirs, a, Default::default(), s, stack)
                .expect("definite");
            let off = ours.iter().zip(&theirs).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs() / (1.0 + b.abs())));
            assert!(off < 1e-12, "{n} {m} {entries} {chain}: {off:.1e}");

            let values = a.val().to_vec();
            let b: Vec<f64> = (0..n + m).map(|_| rng.normal()).collect();
            let (mut x, mut r) = (b.clone(), b);
            ldl.solve(&mut x);
            ldl.subtract_product(&values, &x, &mut r);
            let left = r.iter().fold(0.0_f64, |m, r| m.max(r.abs()));
            assert!(left < 1e-11, "{n} {m} {entries} {chain}: {left:.1e}");
        }
    }

    #[test]
    fn a_zero_pivot_is_told_and_leaves_nothing_behind() {
        let mut rng = Rng::new(4);
        for chain in [false, true] {
            let (mut ldl, diagonal) = saddle(30, 8, 3, chain, &mut rng);
            ldl.factor().expect("quasi-definite");
            let whole = ldl.parts().2.to_vec();
            for at in diagonal {
                let kept = std::mem::take(&mut ldl.values_mut()[at]);
                // a later pivot is zero only by chance, a leaf's always
                assert!(matches!(ldl.factor(), Ok(_) | Err(PivotError::Zero)));
                ldl.values_mut()[at] = f64::NAN;
                assert_eq!(ldl.factor().err(), Some(PivotError::NotFinite));
                ldl.values_mut()[at] = kept;
                ldl.factor().expect("quasi-definite");
                assert_eq!(ldl.parts().2, whole);
            }
        }
    }
}
