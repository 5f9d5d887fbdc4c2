//! `L D L'` of a sparse matrix by nodes: columns of L with the same rows below them, which are eliminated together.
//!
//! What is left of the columns of a node, once those before them were eliminated, is dense. It is factored, and its product
//! `V D^-1 V'` is subtracted from the columns after it, four columns of the node at a time (a right-looking supernodal
//! elimination, as in Davis, "Direct methods for sparse linear systems", 2006, section 4.8). In a column where the rows of the
//! node follow each other this is a loop over memory in order; elsewhere the places are known beforehand.
//!
//! Leading columns that have nothing but their diagonal entry in the matrix are leaves: they do not meet each other, and
//! those with the same rows make a node, too. In the order that eliminates a diagonal Hessian first all variables are
//! leaves, and the rest is the Schur complement: of a problem in stages, a chain of blocks of the size of a stage.

use super::ldl::PivotError;
use crate::matrix::columns::{BLOCK, subtract};
use pulp::{Arch, Simd, WithSimd};
use std::array::from_fn;

/// Columns of a group of a solve at most.
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
    /// Columns `first..first + N`.
    #[inline(always)]
    fn new((rows, factor): (&'a [u32], &'a [f64]), col_ptr: &[usize], first: usize) -> Self {
        let rows = &rows[col_ptr[first] + N..col_ptr[first + 1]];
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

/// Places of products per entry of L that are worth their memory, and in all.
const PLACES: usize = 8;
const MOST_PLACES: usize = 1 << 22;

/// What merging leaves may cost: this times the products that each of them takes alone, whose places are looked up one by one.
const MERGED: usize = 4;

/// Numbers of a panel of leaves at most: it is read once for each block of its rows, and stays in the nearest cache.
const PANEL: usize = 2048;

/// The nodes of a pattern.
pub(super) struct Groups {
    leaves: usize,
    /// First columns of the nodes of leaves, and behind the last one; where their rows begin, and they; and where each entry
    /// of the columns of leaves stands among the rows of its node.
    leaf_nodes: Vec<u32>,
    leaf_ptr: Vec<usize>,
    leaf_rows: Vec<u32>,
    inside: Vec<u32>,
    /// First columns of the other nodes.
    nodes: Vec<u32>,
    /// Where each entry of the matrix goes in L.
    entries: Vec<u32>,
    /// For each row of each node, whether its column has others between; and then where they are in L.
    scattered: Vec<bool>,
    places: Vec<u32>,
    /// First column of each group after the leaves.
    starts: Vec<u32>,
    /// Rows of the entries of L.
    rows: Vec<u32>,
}

/// Memory of a factorization.
#[derive(Default)]
pub(super) struct Room {
    /// The columns of a node as they come out.
    lower: Vec<f64>,
    /// What a panel has, and a block of columns of its products.
    columns: Vec<f64>,
    divided: Vec<f64>,
    product: Vec<f64>,
}

/// A pattern in compressed columns.
type Pattern<'a> = (&'a [usize], &'a [usize]);

/// Whether the products of each row that is left are scattered, and where those go.
type Targets<'a> = (&'a [bool], &'a [u32]);

/// The rows of a node below its columns, padded to whole blocks, and the same divided by the pivots: column after column.
struct Panel<'a> {
    rows: &'a [u32],
    width: usize,
    columns: &'a [f64],
    divided: &'a [f64],
}

/// `out -= by v`.
#[inline(always)]
fn subtract_one<S: Simd>(simd: S, out: &mut [f64], v: &[f64], by: f64) {
    let v = S::as_simd_f64s(&v[..out.len()]);
    let (head, tail) = S::as_mut_simd_f64s(out);
    let minus = simd.splat_f64s(-by);
    head.iter_mut().zip(v.0).for_each(|(to, v)| *to = simd.mul_add_f64s(minus, *v, *to));
    tail.iter_mut().zip(v.1).for_each(|(to, v)| *to -= by * v);
}

impl Panel<'_> {
    /// Columns `first..first + BLOCK` of the products of all rows, from that row on.
    #[inline(always)]
    fn multiply<S: Simd>(&self, simd: S, first: usize, stride: usize, product: &mut [f64]) {
        let lanes = S::F64_LANES;
        let vectors = stride / lanes;
        for p in first / lanes..vectors {
            let mut sums = [simd.splat_f64s(0.0); BLOCK];
            let all = self.columns.chunks_exact(stride).zip(self.divided.chunks_exact(stride));
            for (column, divided) in all {
                let v = S::as_simd_f64s(column).0[p];
                let by = &divided[first..first + BLOCK];
                for (sum, by) in sums.iter_mut().zip(by) {
                    *sum = simd.mul_add_f64s(simd.splat_f64s(*by), v, *sum);
                }
            }
            for (k, sum) in sums.iter().enumerate() {
                S::as_mut_simd_f64s(&mut product[k * stride..(k + 1) * stride]).0[p] = *sum;
            }
        }
        // of vectors longer than a block
        for row in (vectors * lanes).max(first)..stride {
            for k in 0..BLOCK {
                let terms =
                    (0..self.width).map(|c| self.divided[c * stride + first + k] * self.columns[c * stride + row]);
                product[k * stride + row] = terms.sum();
            }
        }
    }

    /// Subtracts what the node takes from the columns after it, which begin at `base`.
    #[inline(always)]
    fn update<'t, S: Simd>(
        &self,
        simd: S,
        (later, base): (&mut [f64], usize),
        col_ptr: &[usize],
        mut targets: Targets<'t>,
        product: &mut [f64],
    ) -> Targets<'t> {
        let (count, stride) = (self.rows.len(), self.rows.len().next_multiple_of(BLOCK));
        for first in (0..count).step_by(BLOCK) {
            self.multiply(simd, first, stride, product);
            for row in first..count.min(first + BLOCK) {
                let v = &product[(row - first) * stride + row..][..count - row];
                targets = subtract_row(simd, (later, base), col_ptr, (self.rows, row), targets, (v, 1.0));
            }
        }
        targets
    }
}

/// Subtracts `by v` from the entries of the rows from this one on in its column.
#[inline(always)]
fn subtract_row<'t, S: Simd>(
    simd: S,
    (later, base): (&mut [f64], usize),
    col_ptr: &[usize],
    (rows, row): (&[u32], usize),
    (scattered, places): Targets<'t>,
    (v, by): (&[f64], f64),
) -> Targets<'t> {
    let Some((&flag, scattered)) = scattered.split_first() else { return (scattered, places) };
    if flag {
        let (at, places) = places.split_at(v.len());
        at.iter().zip(v).for_each(|(&at, v)| later[at as usize - base] -= by * v);
        return (scattered, places);
    }
    let target = col_ptr[rows[row] as usize] - base;
    subtract_one(simd, &mut later[target..][..v.len()], v, by);
    (scattered, places)
}

/// True if all rows of a set are in the other one.
fn is_part(a: &[usize], b: &[usize]) -> bool {
    let mut b = b.iter();
    a.iter().all(|i| b.find(|own| *own >= i) == Some(i))
}

/// All rows of two sets in ascending order.
fn union(a: &[usize], b: &[usize]) -> Vec<usize> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(&&i), Some(&&j)) = (a.peek(), b.peek()) {
        out.push(i.min(j));
        if i <= j {
            a.next();
        }
        if j <= i {
            b.next();
        }
    }
    out.extend(a.chain(b));
    out
}

impl Groups {
    /// Of a matrix whose upper triangle has the first pattern, and a factor with the second one, whose columns begin with
    /// their diagonal and have ascending rows; `None` where they do not, an index is beyond 32 bits, or the places of the
    /// products take more memory than they are worth.
    pub fn new(a: Pattern<'_>, l: Pattern<'_>) -> Option<Self> {
        let ((a_ptr, a_idx), (col_ptr, row_idx)) = (a, l);
        let dim = a_ptr.len() - 1;
        u32::try_from(dim.max(a_idx.len()).max(row_idx.len())).ok()?;
        let column = |j: usize| &row_idx[col_ptr[j]..col_ptr[j + 1]];
        let ordered = |j: usize| column(j).first() == Some(&j) && column(j).is_sorted_by(|a, b| a < b);
        if !(0..dim).all(ordered) {
            return None;
        }
        // the entries of a row of the matrix are met in the order of its columns, as those of a column of L ascend
        let mut next: Vec<usize> = col_ptr[..dim].to_vec();
        let mut entries = Vec::with_capacity(a_idx.len());
        for j in 0..dim {
            for &i in &a_idx[a_ptr[j]..a_ptr[j + 1]] {
                while row_idx[next[i]] < j {
                    next[i] += 1;
                }
                entries.push(next[i] as u32);
            }
        }
        let leaves = (0..dim).take_while(|&j| a_idx[a_ptr[j]..a_ptr[j + 1]] == [j]).count();
        let below = |j: usize| &column(j)[1..];
        let products = |rows: usize| rows * (rows + 1) / 2;
        let (mut leaf_nodes, mut leaf_ptr, mut leaf_rows) = (Vec::new(), vec![0], Vec::new());
        let (mut node, mut alone) = (Vec::new(), 0);
        for j in 0..leaves {
            let first = leaf_nodes.last().map_or(0, |&first: &u32| first as usize);
            let union = if j > 0 { union(&node, below(j)) } else { Vec::new() };
            alone += products(below(j).len());
            // L has a place for every product of a leaf, not for those of two
            let room = |rows: &[usize]| (0..rows.len()).all(|k| is_part(&rows[k..], column(rows[k])));
            if j == 0
                || (j + 1 - first) * products(union.len()) > MERGED * alone
                || (j + 1 - first) * union.len() > PANEL
                || (union.len() > node.len() && !room(&union))
            {
                if j > 0 {
                    leaf_rows.extend(node.iter().map(|&i: &usize| i as u32));
                    leaf_ptr.push(leaf_rows.len());
                }
                leaf_nodes.push(j as u32);
                node = below(j).to_vec();
                alone = products(node.len());
            } else {
                node = union;
            }
        }
        if leaves > 0 {
            leaf_rows.extend(node.iter().map(|&i| i as u32));
            leaf_ptr.push(leaf_rows.len());
            leaf_nodes.push(leaves as u32);
        }
        let mut inside = Vec::new();
        for (node, ends) in leaf_nodes.windows(2).zip(leaf_ptr.windows(2)) {
            for j in node[0]..node[1] {
                let mut rows = leaf_rows[ends[0]..ends[1]].iter().zip(0..);
                for &i in below(j as usize) {
                    inside.push(rows.find(|(row, _)| **row == i as u32)?.1);
                }
            }
        }
        let mut nodes: Vec<u32> = Vec::new();
        let mut starts: Vec<u32> = Vec::new();
        let mut width = WIDTH;
        for j in leaves..dim {
            // ascending rows and one entry less: then the others are the same
            let continues =
                j > leaves && column(j - 1).get(1) == Some(&j) && column(j).len() + 1 == column(j - 1).len();
            if !continues {
                nodes.push(j as u32);
            }
            if !continues || width == WIDTH {
                starts.push(j as u32);
                width = 0;
            }
            width += 1;
        }
        starts.push(dim as u32);
        nodes.push(dim as u32);
        let rows: Vec<u32> = row_idx.iter().map(|&i| i as u32).collect();
        let (mut scattered, mut places) = (Vec::new(), Vec::new());
        let of_leaves = leaf_ptr.windows(2).map(|ends| &leaf_rows[ends[0]..ends[1]]);
        let of_nodes = nodes.windows(2).map(|node| &rows[col_ptr[node[1] as usize - 1] + 1..col_ptr[node[1] as usize]]);
        for below in of_leaves.chain(of_nodes) {
            for (k, &c) in below.iter().enumerate() {
                let (begin, end) = (col_ptr[c as usize], col_ptr[c as usize + 1]);
                let (own, wanted) = (&rows[begin..end], &below[k..]);
                // both begin with the diagonal
                let follows = wanted.last() == own.get(wanted.len() - 1);
                scattered.push(!follows);
                if follows {
                    continue;
                }
                if places.len() + wanted.len() > MOST_PLACES.min(PLACES * row_idx.len()) {
                    return None;
                }
                let (mut at, few) = (0, own.len() > 8 * wanted.len());
                for row in wanted {
                    let later = &own[at..];
                    at += if few {
                        later.partition_point(|own| own < row)
                    } else {
                        later.iter().position(|own| own == row)?
                    };
                    places.push((begin + at) as u32);
                }
            }
        }
        Some(Groups {
            leaves,
            leaf_nodes,
            leaf_ptr,
            leaf_rows,
            inside,
            nodes,
            entries,
            scattered,
            places,
            starts,
            rows,
        })
    }

    /// Memory of a factorization.
    pub fn room(&self, col_ptr: &[usize]) -> Room {
        let (mut ragged, mut panel, mut stride) = (0, 0, 0);
        let mut see = |width: usize, rows: usize| {
            let rows = rows.next_multiple_of(BLOCK);
            (panel, stride) = (panel.max(width * rows), stride.max(rows));
        };
        for (columns, ends) in self.leaf_nodes.windows(2).zip(self.leaf_ptr.windows(2)) {
            see((columns[1] - columns[0]) as usize, ends[1] - ends[0]);
        }
        for columns in self.nodes.windows(2) {
            let (first, end) = (columns[0] as usize, columns[1] as usize);
            ragged = ragged.max(col_ptr[end] - col_ptr[first]);
            see(end - first, col_ptr[end] - col_ptr[end - 1]);
        }
        let v = |n: usize| vec![0.0; n];
        Room { lower: v(ragged), columns: v(panel), divided: v(panel), product: v(BLOCK * stride) }
    }

    /// The columns of group g.
    fn columns(&self, g: usize) -> std::ops::Range<usize> {
        self.starts[g] as usize..self.starts[g + 1] as usize
    }

    /// Factors the matrix with these values in its upper triangle.
    pub fn factor(&self, a: &[f64], col_ptr: &[usize], factor: &mut [f64], room: &mut Room) -> Result<(), PivotError> {
        Arch::new().dispatch(Elimination { of: self, a, col_ptr, factor, room })
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

/// A factorization at work.
struct Elimination<'a> {
    of: &'a Groups,
    a: &'a [f64],
    col_ptr: &'a [usize],
    factor: &'a mut [f64],
    room: &'a mut Room,
}

impl WithSimd for Elimination<'_> {
    type Output = Result<(), PivotError>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Elimination { of, a, col_ptr, factor, room } = self;
        let Room { lower, columns, divided, product } = room;
        // columns of leaves are as they were in the matrix, without fill
        factor[col_ptr[of.leaves]..].fill(0.0);
        a.iter().zip(&of.entries).for_each(|(v, &at)| factor[at as usize] = *v);
        let (mut targets, mut inside) = ((&of.scattered[..], &of.places[..]), &of.inside[..]);
        let base = col_ptr[of.leaves];
        let (of_leaves, later) = factor.split_at_mut(base);
        for (node, ends) in of.leaf_nodes.windows(2).zip(of.leaf_ptr.windows(2)) {
            let (first, end) = (node[0] as usize, node[1] as usize);
            let (rows, width) = (&of.leaf_rows[ends[0]..ends[1]], end - first);
            if width == 1 {
                let Some((&mut pivot, own)) = of_leaves[col_ptr[first]..col_ptr[end]].split_first_mut() else {
                    return Err(PivotError::Zero);
                };
                if pivot == 0.0 {
                    return Err(PivotError::Zero);
                }
                inside = &inside[own.len()..];
                for row in 0..own.len() {
                    let v = (&own[row..], own[row] / pivot);
                    targets = subtract_row(simd, (&mut *later, base), col_ptr, (rows, row), targets, v);
                }
                own.iter_mut().for_each(|v| *v /= pivot);
                continue;
            }
            let stride = rows.len().next_multiple_of(BLOCK);
            let (columns, divided) = (&mut columns[..width * stride], &mut divided[..width * stride]);
            columns.fill(0.0);
            divided.fill(0.0);
            for c in 0..width {
                let own = &mut of_leaves[col_ptr[first + c]..col_ptr[first + c + 1]];
                let Some((&mut pivot, own)) = own.split_first_mut() else { return Err(PivotError::Zero) };
                if pivot == 0.0 {
                    return Err(PivotError::Zero);
                }
                let (at, left) = inside.split_at(own.len());
                inside = left;
                let ours = c * stride..(c + 1) * stride;
                let (column, divided) = (&mut columns[ours.clone()], &mut divided[ours]);
                for (v, &at) in own.iter_mut().zip(at) {
                    column[at as usize] = *v;
                    *v /= pivot;
                    divided[at as usize] = *v;
                }
            }
            let panel = Panel { rows, width, columns, divided };
            targets = panel.update(simd, (later, base), col_ptr, targets, product);
        }
        for node in of.nodes.windows(2) {
            let (first, end) = (node[0] as usize, node[1] as usize);
            let (begin, base, width) = (col_ptr[first], col_ptr[end], end - first);
            let rows = &of.rows[col_ptr[end - 1] + 1..base];
            let stride = rows.len().next_multiple_of(BLOCK);
            let (done, later) = factor.split_at_mut(base);
            let own = &mut done[begin..];
            let lower = &mut lower[..own.len()];
            let (columns, divided) = (&mut columns[..width * stride], &mut divided[..width * stride]);
            for c in 0..width {
                let range = col_ptr[first + c] - begin..col_ptr[first + c + 1] - begin;
                let (before, this) = own.split_at_mut(range.start);
                let this = &mut this[..range.len()];
                let from = |b: usize| col_ptr[first + b] - begin + c - b;
                let blocked = c - c % BLOCK;
                for b in (0..blocked).step_by(BLOCK) {
                    let all: [usize; BLOCK] = from_fn(|k| from(b + k));
                    subtract(simd, this, all.map(|from| &before[from..]), all.map(|from| lower[from]));
                }
                (blocked..c).for_each(|b| subtract_one(simd, this, &before[from(b)..], lower[from(b)]));
                let pivot = this[0];
                if pivot == 0.0 {
                    return Err(PivotError::Zero);
                }
                let lower = &mut lower[range];
                lower.iter_mut().zip(&*this).for_each(|(l, v)| *l = v / pivot);
                lower[0] = pivot;
                if width < BLOCK {
                    continue;
                }
                let ours = c * stride..(c + 1) * stride;
                let begin = this.len() - rows.len();
                for (to, from) in [(&mut columns[ours.clone()], &*this), (&mut divided[ours], &*lower)] {
                    to[..rows.len()].copy_from_slice(&from[begin..]);
                    to[rows.len()..].fill(0.0);
                }
            }
            if width < BLOCK {
                for row in 0..rows.len() {
                    let before = targets;
                    for c in 0..width {
                        let end = col_ptr[first + c + 1] - begin;
                        let v = (&own[end - rows.len() + row..end], lower[end - rows.len() + row]);
                        targets = subtract_row(simd, (&mut *later, base), col_ptr, (rows, row), before, v);
                    }
                }
            } else {
                let panel = Panel { rows, width, columns, divided };
                targets = panel.update(simd, (later, base), col_ptr, targets, product);
            }
            own.copy_from_slice(lower);
        }
        Ok(())
    }
}

#[inline(always)]
fn forward<const N: usize>(of: (&[u32], &[f64]), col_ptr: &[usize], first: usize, x: &mut [f64]) {
    let mut own: [f64; N] = from_fn(|c| x[first + c]);
    Columns::<N>::new(of, col_ptr, first).forward(&mut own, x);
    (0..N).for_each(|c| x[first + c] = own[c]);
}

#[inline(always)]
fn backward<const N: usize>(of: (&[u32], &[f64]), col_ptr: &[usize], first: usize, x: &mut [f64]) {
    let mut own: [f64; N] = from_fn(|c| x[first + c]);
    Columns::<N>::new(of, col_ptr, first).backward(&mut own, x);
    (0..N).for_each(|c| x[first + c] = own[c]);
}

#[cfg(test)]
mod tests;
