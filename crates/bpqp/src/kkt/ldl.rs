//! Sparse `L D L'` of a symmetric quasi-definite matrix, over faer: one symbolic analysis, many factorizations.
//!
//! Quasi-definite matrices are strongly factorizable (Vanderbei, "Symmetric quasidefinite matrices", SIAM J. Optim.
//! 1995): every symmetric permutation has an `L D L'` with diagonal `D`, so the fill-reducing order can be fixed before
//! the numbers are known. Everything here works in permuted order, so that a refactorization only rewrites values.

use super::equilibrate::Equilibrated;
use super::grouped::{Groups, Room};
use super::leaves::{Leaves, Trimmed};
use super::long;
use crate::interrupt::watched;
use crate::matrix::Wide;
use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::cholesky::ldlt::factor::LdltRegularization;
use faer::perm::PermRef;
use faer::sparse::linalg::cholesky::{
    CholeskySymbolicParams, SymbolicCholesky, SymbolicCholeskyRaw, SymmetricOrdering, factorize_symbolic_cholesky,
    simplicial, supernodal,
};
use faer::sparse::{SparseColMat, SymbolicSparseColMat, SymbolicSparseColMatRef};
use faer::{ColMut, Conj, Par, Side};
use std::sync::{Arc, Mutex};

/// Why a numeric factorization failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PivotError {
    /// A pivot is exactly zero.
    Zero,
    /// A pivot is NaN or infinite.
    NotFinite,
    /// The solve on this thread has to end.
    Late,
}

/// What the pattern of a symmetric matrix decides: the order of elimination, and the fill.
pub(crate) struct LdlPattern {
    symbolic: SymbolicCholesky<usize>,
    /// The permuted triangle that faer reads: the upper one for the simplicial, the lower one for the supernodal code.
    triangle: SymbolicSparseColMat<usize>,
    /// Original index -> permuted index.
    place: Vec<usize>,
    primal_first: bool,
    /// Leading columns with nothing but their diagonal.
    alone: usize,
    /// Where these have few entries in the others: they are no part of the factor.
    leaves: Option<Leaves>,
    /// Of the simplicial code.
    groups: Option<Groups>,
    /// Products that a factorization takes.
    products: usize,
    /// The numbers that were equilibrated last in this pattern.
    pub(super) equilibrated: Mutex<Option<Arc<Equilibrated>>>,
}

/// The factorization of one triangle of a permuted symmetric matrix.
pub(crate) struct Ldl {
    pattern: Arc<LdlPattern>,
    matrix: SparseColMat<usize, f64>,
    factor: Vec<f64>,
    memory: MemBuffer,
    room: Room,
    /// In place of `factor`, where there are leaves.
    trimmed: Option<Box<Trimmed>>,
}

/// Fill that the Schur complement order may cost, relative to minimum degree.
const SCHUR_FILL: usize = 3;
/// A Schur complement pattern with more entries than this times those of the matrix is not even tried.
const SCHUR_PATTERN: usize = 8;

fn symbolic(
    pattern: SymbolicSparseColMatRef<'_, usize>,
    order: SymmetricOrdering<'_, usize>,
) -> Result<SymbolicCholesky<usize>, &'static str> {
    factorize_symbolic_cholesky(pattern, Side::Upper, order, CholeskySymbolicParams::default())
        .map_err(|_| "its factorization does not fit into memory")
}

/// A pattern in compressed columns.
type Columns = (Vec<usize>, Vec<usize>);

/// The pattern of the Schur complement of the first `n` rows, a diagonal block, and whether few of the others meet in each of
/// them. `None` if that is too dense.
fn schur_pattern(n: usize, dim: usize, col_ptr: &[usize], row_idx: &[usize]) -> Option<(Columns, bool)> {
    // rows of the other block that meet in each of the first n: they become a clique
    let mut meet: Vec<Vec<usize>> = vec![Vec::new(); n];
    let (mut size, mut entries) = (0, 0);
    for j in n..dim {
        for &i in &row_idx[col_ptr[j]..col_ptr[j + 1]] {
            if i < n {
                meet[i].push(j - n);
                size += meet[i].len();
                entries += 1;
            } else if i < j {
                return None;
            }
        }
    }
    if size > SCHUR_PATTERN * row_idx.len() + 1000 {
        return None;
    }
    let m = dim - n;
    let (mut rows, mut cols): (Vec<usize>, Vec<usize>) = ((0..m).collect(), (0..m).collect());
    for clique in &meet {
        for (k, &j) in clique.iter().enumerate() {
            rows.extend_from_slice(&clique[..k]);
            cols.resize(rows.len(), j);
        }
    }
    let mut pairs: Vec<(usize, usize)> = sort_by_column(m, &rows, &cols).iter().map(|&k| (cols[k], rows[k])).collect();
    pairs.dedup();
    let mut pointers = vec![0; m + 1];
    pairs.iter().for_each(|&(j, _)| pointers[j + 1] += 1);
    (0..m).for_each(|j| pointers[j + 1] += pointers[j]);
    let rows: Vec<usize> = pairs.iter().map(|&(_, i)| i).collect();
    Some(((pointers, rows), Leaves::are_small(size, entries)))
}

/// What the pivots tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pivots {
    /// Number of positive ones, which is that of positive eigenvalues (Sylvester).
    pub positive: usize,
    /// Smallest magnitude of a negative one.
    pub smallest_negative: f64,
}

/// The entries `0..rows.len()` in the order of their columns, those of a column in the order of their rows. Linear time.
pub(crate) fn sort_by_column(dim: usize, rows: &[usize], cols: &[usize]) -> Vec<usize> {
    let by = |keys: &[usize], entries: &mut dyn Iterator<Item = usize>| {
        let mut start = vec![0; dim + 1];
        keys.iter().for_each(|&k| start[k + 1] += 1);
        (0..dim).for_each(|k| start[k + 1] += start[k]);
        let mut out = vec![0; keys.len()];
        for e in entries {
            out[start[keys[e]]] = e;
            start[keys[e]] += 1;
        }
        out
    };
    let by_row = by(rows, &mut (0..rows.len()));
    by(cols, &mut by_row.into_iter())
}

impl LdlPattern {
    /// Analyses the pattern of an upper triangle in compressed-column form (every diagonal entry stored). Also returns,
    /// for each stored entry, its position in [`Ldl::values_mut`].
    ///
    /// `primal_first` asks for the order in which the first that many rows (whose block must be diagonal) are eliminated
    /// before all others: a Cholesky factorization of the Schur complement. It is taken if its fill is at most a few times
    /// that of the approximate minimum degree order.
    pub fn new(
        dim: usize,
        col_ptr: &[usize],
        row_idx: &[usize],
        primal_first: Option<usize>,
    ) -> Result<(Self, Vec<usize>), &'static str> {
        let pattern = SymbolicSparseColMatRef::new_checked(dim, dim, col_ptr, None, row_idx);
        let mut symbolic = symbolic(pattern, SymmetricOrdering::Amd)?;
        let (mut ordered, mut rest) = (false, None);
        let schur = primal_first.and_then(|n| Some((n, schur_pattern(n, dim, col_ptr, row_idx)?)));
        let schur = schur.as_ref();
        if let Some((n, ((pointers, rows), small))) = schur {
            let (pattern_of_rest, position) = LdlPattern::new(dim - n, pointers, rows, None)?;
            let inverse: Vec<usize> = (0..*n).chain(pattern_of_rest.place.iter().map(|p| n + p)).collect();
            let mut forward = vec![0; dim];
            inverse.iter().enumerate().for_each(|(i, &p)| forward[p] = i);
            let order = SymmetricOrdering::Custom(PermRef::new_checked(&forward, &inverse, dim));
            let other = self::symbolic(pattern, order)?;
            if other.len_val() <= SCHUR_FILL * symbolic.len_val() {
                (symbolic, ordered) = (other, true);
                rest = small.then_some((pattern_of_rest, (pointers, rows), position, inverse));
            }
        }
        let place: Vec<usize> = match (&rest, symbolic.perm()) {
            (Some((.., inverse)), _) => inverse.clone(),
            (_, Some(perm)) => perm.arrays().1.to_vec(),
            _ => (0..dim).collect(),
        };
        let upper = rest.is_some() || matches!(symbolic.raw(), SymbolicCholeskyRaw::Simplicial(_));
        // permuted triangle: bucket the entries by column, then sort each column by row
        let entry = |i: usize, j: usize| {
            let (a, b) = (place[i].min(place[j]), place[i].max(place[j]));
            if upper { (a, b) } else { (b, a) }
        };
        let (mut rows, mut cols) = (Vec::with_capacity(row_idx.len()), Vec::with_capacity(row_idx.len()));
        for j in 0..dim {
            for &i in &row_idx[col_ptr[j]..col_ptr[j + 1]] {
                let (row, col) = entry(i, j);
                rows.push(row);
                cols.push(col);
            }
        }
        let order = sort_by_column(dim, &rows, &cols);
        let mut position = vec![0; order.len()];
        order.iter().enumerate().for_each(|(k, &source)| position[source] = k);
        let mut pointers = vec![0; dim + 1];
        cols.iter().for_each(|&j| pointers[j + 1] += 1);
        (0..dim).for_each(|j| pointers[j + 1] += pointers[j]);
        let sorted = order.iter().map(|&k| rows[k]).collect();
        let triangle = SymbolicSparseColMat::new_checked(dim, dim, pointers, None, sorted);
        let (columns, rows) = (triangle.col_ptr(), triangle.row_idx());
        let alone = (0..dim).take_while(|&j| rows[columns[j]..columns[j + 1]] == [j]).count();
        let leaves = rest.and_then(|(rest, (pointers, schur), position, _)| {
            Leaves::new((columns, rows), rest, ((pointers, schur), &position))
        });
        let products = if leaves.is_some() { 0 } else { long::products(&symbolic) };
        let groups = match symbolic.raw() {
            SymbolicCholeskyRaw::Simplicial(s) if leaves.is_none() => {
                Groups::new((columns, rows), (s.col_ptr(), s.row_idx()))
            }
            _ => None,
        };
        let (primal_first, equilibrated) = (ordered, Mutex::default());
        Ok((
            LdlPattern { symbolic, triangle, place, primal_first, alone, leaves, groups, products, equilibrated },
            position,
        ))
    }

    /// Original index -> permuted index.
    pub fn place(&self) -> &[usize] {
        &self.place
    }

    /// Number of stored entries.
    pub fn stored(&self) -> usize {
        self.triangle.row_idx().len()
    }

    /// About how many numbers it takes.
    pub fn numbers(&self) -> usize {
        let factor = self.leaves.as_ref().map_or(self.symbolic.len_val(), Leaves::numbers);
        factor + 3 * self.stored() + 5 * self.place.len()
    }
}

impl Ldl {
    /// Room for the numbers of a matrix of this pattern.
    pub fn new(pattern: &Arc<LdlPattern>) -> Result<Self, &'static str> {
        let symbolic = &pattern.symbolic;
        let matrix = SparseColMat::new(pattern.triangle.clone(), vec![0.0; pattern.stored()]);
        if let Some(leaves) = &pattern.leaves {
            let trimmed = Some(Box::new(Trimmed::new(leaves, pattern.place.len(), pattern.stored())?));
            let (pattern, factor, memory) = (pattern.clone(), Vec::new(), MemBuffer::new(StackReq::EMPTY));
            return Ok(Ldl { pattern, matrix, factor, memory, room: Room::default(), trimmed });
        }
        let numeric = symbolic.factorize_numeric_ldlt_scratch::<f64>(Par::Seq, Default::default());
        let solve = symbolic.solve_in_place_scratch::<f64>(1, Par::Seq);
        let memory = MemBuffer::try_new(numeric.or(solve)).map_err(|_| "its factorization does not fit into memory")?;
        let factor = vec![0.0; symbolic.len_val()];
        let room = match (&pattern.groups, symbolic.raw()) {
            (Some(groups), SymbolicCholeskyRaw::Simplicial(s)) => groups.room(s.col_ptr()),
            _ => Room::default(),
        };
        Ok(Ldl { pattern: pattern.clone(), matrix, factor, memory, room, trimmed: None })
    }

    /// What it is the factorization of.
    pub fn pattern(&self) -> &LdlPattern {
        &self.pattern
    }

    /// Original index -> permuted index.
    pub fn place(&self) -> &[usize] {
        &self.pattern.place
    }

    /// Column pointers of the permuted triangle.
    pub fn col_ptr(&self) -> &[usize] {
        self.matrix.symbolic().col_ptr()
    }

    /// Row indices of the permuted triangle.
    pub fn row_idx(&self) -> &[usize] {
        self.matrix.symbolic().row_idx()
    }

    /// Values of the permuted triangle, to be set before [`Ldl::factor`].
    pub fn values_mut(&mut self) -> &mut [f64] {
        self.matrix.val_mut()
    }

    /// True if the diagonal block is eliminated before the rest.
    pub fn primal_first(&self) -> bool {
        self.pattern.primal_first
    }

    /// Factors the values.
    pub fn factor(&mut self) -> Result<Pivots, PivotError> {
        if let (Some(trimmed), Some(leaves)) = (&mut self.trimmed, &self.pattern.leaves) {
            let triangle = &self.pattern.triangle;
            return trimmed.factor(leaves, (triangle.col_ptr(), triangle.row_idx()), self.matrix.val());
        }
        let _clean = Wide;
        let stack = MemStack::new(&mut self.memory);
        let a = self.matrix.as_ref();
        let none = LdltRegularization::default();
        match self.pattern.symbolic.raw() {
            _ if self.pattern.products >= long::LOOK && watched() => {
                long::factor(&self.pattern.symbolic, a, &mut self.factor)?;
            }
            SymbolicCholeskyRaw::Simplicial(s) => match &self.pattern.groups {
                Some(groups) => {
                    groups.factor(a.val(), s.col_ptr(), &mut self.factor, &mut self.room)?;
                }
                None => {
                    simplicial::factorize_simplicial_numeric_ldlt(&mut self.factor, a, none, s, stack)
                        .map_err(|_| PivotError::Zero)?;
                }
            },
            SymbolicCholeskyRaw::Supernodal(s) => {
                supernodal::factorize_supernodal_numeric_ldlt(
                    &mut self.factor,
                    a,
                    none,
                    s,
                    Par::Seq,
                    stack,
                    Default::default(),
                )
                .map_err(|_| PivotError::Zero)?;
            }
        }
        let (mut pivots, mut finite) = (Pivots { positive: 0, smallest_negative: f64::INFINITY }, true);
        self.pivots(|d| {
            finite &= d.is_finite();
            if d > 0.0 {
                pivots.positive += 1;
            } else {
                pivots.smallest_negative = pivots.smallest_negative.min(-d);
            }
        });
        if finite { Ok(pivots) } else { Err(PivotError::NotFinite) }
    }

    /// The analysis, the values and the factor.
    #[cfg(test)]
    pub fn parts(&self) -> (&SymbolicCholesky<usize>, faer::sparse::SparseColMatRef<'_, usize, f64>, &[f64]) {
        (&self.pattern.symbolic, self.matrix.as_ref(), &self.factor)
    }

    fn pivots(&self, mut f: impl FnMut(f64)) {
        match self.pattern.symbolic.raw() {
            SymbolicCholeskyRaw::Simplicial(s) => {
                let starts = &s.col_ptr()[..s.ncols()];
                starts.iter().for_each(|&k| f(self.factor[k]));
            }
            SymbolicCholeskyRaw::Supernodal(s) => {
                let ldl = supernodal::SupernodalLdltRef::new(s, &self.factor);
                for node in 0..s.n_supernodes() {
                    let block = ldl.supernode(node).val();
                    (0..block.ncols()).for_each(|j| f(block[(j, j)]));
                }
            }
        }
    }

    /// Solves in place, in permuted order.
    pub fn solve(&mut self, x: &mut [f64]) {
        if let Some(trimmed) = &mut self.trimmed {
            let triangle = &self.pattern.triangle;
            return trimmed.solve((triangle.col_ptr(), triangle.row_idx()), x);
        }
        if let (Some(groups), SymbolicCholeskyRaw::Simplicial(s)) = (&self.pattern.groups, self.pattern.symbolic.raw())
        {
            return groups.solve(s.col_ptr(), &self.factor, x);
        }
        let _clean = Wide;
        let stack = MemStack::new(&mut self.memory);
        let rhs = ColMut::from_slice_mut(x).as_mat_mut();
        match self.pattern.symbolic.raw() {
            SymbolicCholeskyRaw::Simplicial(s) => simplicial::SimplicialLdltRef::new(s, &self.factor)
                .solve_in_place_with_conj(Conj::No, rhs, Par::Seq, stack),
            SymbolicCholeskyRaw::Supernodal(s) => supernodal::SupernodalLdltRef::new(s, &self.factor)
                .solve_in_place_with_conj(Conj::No, rhs, Par::Seq, stack),
        }
    }

    /// `r -= K x` for the symmetric matrix with this pattern and these values.
    pub fn subtract_product(&self, values: &[f64], x: &[f64], r: &mut [f64]) {
        let (col_ptr, row_idx, alone) = (self.col_ptr(), self.row_idx(), self.pattern.alone);
        for ((r, x), v) in r[..alone].iter_mut().zip(x).zip(values) {
            *r -= v * x;
        }
        for j in alone..x.len() {
            let range = col_ptr[j]..col_ptr[j + 1];
            let (rows, values) = (&row_idx[range.clone()], &values[range]);
            let (xj, mut sum) = (x[j], 0.0);
            for (&i, v) in rows.iter().zip(values) {
                sum += v * x[i];
                r[i] -= v * xj;
            }
            // the diagonal, which is stored in every column, was counted twice
            let diagonal = if rows.first() == Some(&j) { values.first() } else { values.last() };
            r[j] -= sum - diagonal.copied().unwrap_or(0.0) * xj;
        }
    }

    /// `r -= K x` and `size += |K| |x|` for the symmetric matrix with this pattern and these values.
    pub fn residual(&self, values: &[f64], x: &[f64], r: &mut [f64], size: &mut [f64]) {
        let (col_ptr, row_idx, alone) = (self.col_ptr(), self.row_idx(), self.pattern.alone);
        for (((r, size), x), v) in r[..alone].iter_mut().zip(&mut *size).zip(x).zip(values) {
            let own = v * x;
            *r -= own;
            *size += own.abs();
        }
        for j in alone..x.len() {
            let xj = x[j];
            let (mut sum, mut magnitude) = (0.0, 0.0);
            let all = col_ptr[j]..col_ptr[j + 1];
            // the diagonal, which is stored in every column, is the first entry or the last
            let first = row_idx[all.start] == j;
            let (at, others) =
                if first { (all.start, all.start + 1..all.end) } else { (all.end - 1, all.start..all.end - 1) };
            for (&i, v) in row_idx[others.clone()].iter().zip(&values[others]) {
                let (below, across) = (v * xj, v * x[i]);
                r[i] -= below;
                size[i] += below.abs();
                sum += across;
                magnitude += across.abs();
            }
            let own = values[at] * xj;
            r[j] -= own + sum;
            size[j] += own.abs() + magnitude;
        }
    }
}
