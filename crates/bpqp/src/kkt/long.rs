//! Long factorizations of sparse matrices, in solves that may have to end: in pieces, with a look at the clock between.
//!
//! They leave what faer's leave, in its storage, so that its solves serve both: a left-looking elimination of supernodes
//! (Ng & Peyton, "Block sparse Cholesky algorithms on advanced uniprocessor computers", SIAM J. Sci. Comput. 1993), or of
//! single columns row by row (Davis, "Direct methods for sparse linear systems", 2006, chapter 4) where faer takes those.

use super::ldl::PivotError;
use crate::interrupt::late;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::ldlt::factor::{LdltRegularization, cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::solve_unit_lower_triangular_in_place;
use faer::reborrow::{Reborrow, ReborrowMut};
use faer::sparse::SparseColMatRef;
use faer::sparse::linalg::cholesky::{SymbolicCholesky, SymbolicCholeskyRaw, simplicial, supernodal};
use faer::{Accum, MatMut, MatRef, Par};

/// Products between two looks at the clock, and those of a factorization that takes long: less than a tenth of a second,
/// column by column.
pub(super) const LOOK: usize = 1 << 26;
/// Columns of a panel: faer's products are at full speed from here on.
const PANEL: usize = 128;
const NONE: usize = usize::MAX;

/// Products that a factorization takes.
pub(super) fn products(symbolic: &SymbolicCholesky<usize>) -> usize {
    let squares = |columns: usize, below: usize| (0..columns).map(|j| (below + j) * (below + j)).sum::<usize>();
    match symbolic.raw() {
        SymbolicCholeskyRaw::Simplicial(s) => s.col_ptr().windows(2).map(|c| squares(1, c[1] - c[0])).sum(),
        SymbolicCholeskyRaw::Supernodal(s) => {
            let nodes = 0..s.n_supernodes();
            nodes.map(|k| squares(s.supernode_end()[k] - s.supernode_begin()[k], s.supernode(k).pattern().len())).sum()
        }
    }
}

/// Factors `a` into `factor`; ends early where the solve on this thread has to.
pub(super) fn factor(
    symbolic: &SymbolicCholesky<usize>,
    a: SparseColMatRef<'_, usize, f64>,
    factor: &mut [f64],
) -> Result<(), PivotError> {
    match symbolic.raw() {
        SymbolicCholeskyRaw::Simplicial(s) => by_columns(s, a, factor),
        SymbolicCholeskyRaw::Supernodal(s) => by_supernodes(s, a, factor),
    }
}

/// Products since the last look at the clock.
#[derive(Default)]
struct Looks(usize);

impl Looks {
    fn after(&mut self, products: usize) -> Result<(), PivotError> {
        self.0 += products;
        if self.0 < LOOK {
            return Ok(());
        }
        self.0 = 0;
        if late() { Err(PivotError::Late) } else { Ok(()) }
    }
}

/// The upper triangle of `a`, row by row of the factor.
fn by_columns(
    s: &simplicial::SymbolicSimplicialCholesky<usize>,
    a: SparseColMatRef<'_, usize, f64>,
    factor: &mut [f64],
) -> Result<(), PivotError> {
    let (n, starts, rows) = (s.ncols(), s.col_ptr(), s.row_idx());
    // the last entry of each column so far
    let mut last = starts[..n].to_vec();
    let (mut x, mut seen, mut order) = (vec![0.0; n], vec![NONE; n], vec![0; n]);
    let mut looks = Looks::default();
    for k in 0..n {
        // the columns with an entry in row k, each before its parent in the elimination tree
        let (mut pivot, mut top, mut taken) = (0.0, n, 0);
        seen[k] = k;
        for (i, v) in a.row_idx_of_col(k).zip(a.val_of_col(k)).filter(|(i, _)| *i <= k) {
            if i == k {
                pivot += v;
                continue;
            }
            x[i] += v;
            let (mut i, mut path) = (i, 0);
            while seen[i] != k {
                (order[path], seen[i]) = (i, k);
                path += 1;
                i = rows[starts[i] + 1];
            }
            order.copy_within(..path, top - path);
            top -= path;
        }
        for &j in &order[top..] {
            let entry = std::mem::take(&mut x[j]);
            let (first, end) = (starts[j] + 1, last[j] + 1);
            rows[first..end].iter().zip(&factor[first..end]).for_each(|(&i, l)| x[i] -= l * entry);
            let own = entry / factor[starts[j]];
            pivot -= own * entry;
            (factor[end], last[j]) = (own, end);
            taken += end - first;
        }
        if pivot == 0.0 || !pivot.is_finite() {
            return Err(PivotError::Zero);
        }
        factor[starts[k]] = pivot;
        looks.after(taken)?;
    }
    Ok(())
}

/// Room for products.
#[derive(Default)]
struct Room {
    scaled: Vec<f64>,
    product: Vec<f64>,
}

fn sized(room: &mut Vec<f64>, rows: usize, columns: usize) -> MatMut<'_, f64> {
    room.resize(room.len().max(rows * columns), 0.0);
    MatMut::from_column_major_slice_mut(&mut room[..rows * columns], rows, columns)
}

/// The lower triangle of `a`, supernode by supernode.
fn by_supernodes(
    s: &supernodal::SymbolicSupernodalCholesky<usize>,
    a: SparseColMatRef<'_, usize, f64>,
    factor: &mut [f64],
) -> Result<(), PivotError> {
    let (begin, end, starts) = (s.supernode_begin(), s.supernode_end(), s.col_ptr_for_val());
    let nodes = s.n_supernodes();
    let (mut node_of, mut place) = (vec![0; s.nrows()], vec![0; s.nrows()]);
    (0..nodes).for_each(|node| node_of[begin[node]..end[node]].fill(node));
    // which done supernodes have rows in each one, as lists, and the first of these rows
    let (mut first, mut next, mut from) = (vec![NONE; nodes], vec![NONE; nodes], vec![0; nodes]);
    let (mut looks, mut room) = (Looks::default(), Room::default());
    factor.fill(0.0);
    for node in 0..nodes {
        let (columns, rows) = (begin[node]..end[node], s.supernode(node).pattern());
        let width = columns.len();
        columns.clone().chain(rows.iter().copied()).enumerate().for_each(|(at, i)| place[i] = at);
        let (done, rest) = factor.split_at_mut(starts[node]);
        let own = &mut rest[..starts[node + 1] - starts[node]];
        let mut block = MatMut::from_column_major_slice_mut(own, width + rows.len(), width);
        for j in columns.clone() {
            for (i, v) in a.row_idx_of_col(j).zip(a.val_of_col(j)).filter(|(i, _)| *i >= j) {
                block[(place[i], place[j])] += v;
            }
        }
        let mut waiting = first[node];
        while waiting != NONE {
            let before = waiting;
            waiting = next[before];
            let (whole, inner) = (s.supernode(before).pattern(), end[before] - begin[before]);
            let l = &done[starts[before]..starts[before + 1]];
            let l = MatRef::from_column_major_slice(l, inner + whole.len(), inner);
            let (d, l) = l.split_at_row(inner);
            let (l, rows) = (l.split_at_row(from[before]).1, &whole[from[before]..]);
            let held = rows.partition_point(|i| *i < columns.end);
            subtract(block.rb_mut(), (d, l), (rows, held, &place), &mut room, &mut looks)?;
            from[before] += held;
            if let Some(row) = rows.get(held) {
                (next[before], first[node_of[*row]]) = (first[node_of[*row]], before);
            }
        }
        eliminate(block, &mut room, &mut looks)?;
        if let Some(row) = rows.first() {
            (next[node], first[node_of[*row]]) = (first[node_of[*row]], node);
        }
    }
    Ok(())
}

/// `block -= l D l'`, of the rows of `l`, which go to these places, on the first `held` of them as columns.
fn subtract(
    mut block: MatMut<'_, f64>,
    (d, l): (MatRef<'_, f64>, MatRef<'_, f64>),
    (rows, held, place): (&[usize], usize, &[usize]),
    room: &mut Room,
    looks: &mut Looks,
) -> Result<(), PivotError> {
    let inner = l.ncols();
    for c in (0..held).step_by(PANEL) {
        let (width, height) = (PANEL.min(held - c), rows.len() - c);
        let mut scaled = sized(&mut room.scaled, width, inner);
        for j in 0..inner {
            (0..width).for_each(|i| scaled[(i, j)] = l[(c + i, j)] * d[(j, j)]);
        }
        let mut product = sized(&mut room.product, height, width);
        let below = l.subrows(c, height);
        matmul(product.rb_mut(), Accum::Replace, below, scaled.rb().transpose(), 1.0, Par::Seq);
        for j in 0..width {
            let mut target = block.rb_mut().col_mut(place[rows[c + j]]);
            let source = product.rb().col(j);
            (j..height).for_each(|i| target[place[rows[c + i]]] -= source[i]);
        }
        looks.after(height * width * inner)?;
    }
    Ok(())
}

/// The columns of a supernode, eliminated panel by panel: unit lower, with the pivots on the diagonal.
fn eliminate(mut block: MatMut<'_, f64>, room: &mut Room, looks: &mut Looks) -> Result<(), PivotError> {
    let width = block.ncols();
    let mut memory = MemBuffer::new(cholesky_in_place_scratch::<f64>(width.min(PANEL), Par::Seq, Default::default()));
    for p in (0..width).step_by(PANEL) {
        let own = PANEL.min(width - p);
        let (_, _, _, rest) = block.rb_mut().split_at_mut(p, p);
        let (left, mut right) = rest.split_at_col_mut(own);
        let (mut head, mut below) = left.split_at_row_mut(own);
        let stack = MemStack::new(&mut memory);
        let regularization = LdltRegularization::default();
        cholesky_in_place(head.rb_mut(), regularization, Par::Seq, stack, Default::default())
            .map_err(|_| PivotError::Zero)?;
        (0..own).for_each(|j| (0..j).for_each(|i| head[(i, j)] = 0.0));
        // first L D, of which the rows of the other columns are kept, then L
        solve_unit_lower_triangular_in_place(head.rb(), below.rb_mut().transpose_mut(), Par::Seq);
        let others = right.ncols();
        let mut scaled = sized(&mut room.scaled, others, own);
        scaled.copy_from(below.rb().subrows(0, others));
        for j in 0..own {
            let pivot = head[(j, j)];
            below.rb_mut().col_mut(j).iter_mut().for_each(|l| *l /= pivot);
        }
        looks.after(below.nrows() * own * own)?;
        for c in (0..others).step_by(PANEL) {
            let (count, height) = (PANEL.min(others - c), below.nrows() - c);
            let target = right.rb_mut().submatrix_mut(own + c, c, height, count);
            let (l, scaled) = (below.rb().subrows(c, height), scaled.rb().subrows(c, count));
            matmul(target, Accum::Add, l, scaled.transpose(), -1.0, Par::Seq);
            looks.after(height * count * own)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ldl::{Ldl, LdlPattern};
    use super::*;
    use crate::interrupt::{LOOKS, Watch};
    use crate::{Deadline, Interrupt};
    use bpqp_testkit::Rng;
    use std::sync::Arc;

    /// A quasi-definite matrix with this many entries beside the diagonal in each column, at most this far from it.
    fn matrix(dim: usize, entries: usize, band: usize) -> Ldl {
        let mut rng = Rng::new(7);
        let (mut pointers, mut rows) = (vec![0], Vec::new());
        for j in 0..dim {
            let mut own: Vec<usize> = (0..entries).map(|_| j - rng.below(band.min(j) + 1)).chain([j]).collect();
            own.sort_unstable();
            own.dedup();
            rows.extend(own);
            pointers.push(rows.len());
        }
        let (pattern, position) = LdlPattern::new(dim, &pointers, &rows, None).expect("small");
        let mut ldl = Ldl::new(&Arc::new(pattern)).expect("small");
        for j in 0..dim {
            for k in pointers[j]..pointers[j + 1] {
                let sign = if j % 3 == 0 { -1.0 } else { 1.0 };
                let value = if rows[k] == j { sign * 10.0 * entries as f64 } else { rng.normal() };
                ldl.values_mut()[position[k]] = value;
            }
        }
        ldl
    }

    #[test]
    fn the_pieces_are_the_factors_of_the_whole() {
        // by columns, and by supernodes of many panels
        for (dim, entries, band) in [(400, 1, 400), (3000, 2, 30), (600, 12, 600)] {
            let mut ldl = matrix(dim, entries, band);
            let pivots = ldl.factor().expect("quasi-definite");
            let (symbolic, a, whole) = ldl.parts();
            let mut pieces = vec![f64::NAN; whole.len()];
            factor(symbolic, a, &mut pieces).expect("quasi-definite");
            let error = pieces.iter().zip(whole).fold(0.0_f64, |m, (p, w)| m.max((p - w).abs() / (1.0 + w.abs())));
            assert!(error <= 1e-12, "{dim}: {error:.1e}");
            assert_eq!(pivots.positive, dim - dim.div_ceil(3));
        }
    }

    #[test]
    fn long_factorizations_look_at_the_clock_and_end() {
        let mut ldl = matrix(4000, 3, 4000);
        let products = products(ldl.parts().0);
        assert!(products > 4 * LOOK, "{products}");
        let interrupt = Interrupt::default();
        let _watch = Watch::new(&Deadline::new(None, Some(interrupt.clone())));
        let looks = || LOOKS.with(|looks| looks.replace(0));
        looks();
        assert!(ldl.factor().is_ok());
        // of the products half are by symmetry; no piece is longer than two looks are apart
        let seen = looks();
        assert!(4 * seen * LOOK >= products, "{seen} looks at {products} products");
        interrupt.request();
        assert_eq!(ldl.factor().err(), Some(PivotError::Late));
        assert_eq!(looks(), 1);
        interrupt.clear();
        assert!(ldl.factor().is_ok());
    }
}
