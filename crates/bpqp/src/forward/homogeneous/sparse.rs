//! The system of sparse data, by one quasi-definite `L D L'`. Bounds are diagonals. A second-order cone is, by its rows,
//!
//! - *condensed*, where they have few entries: `C1'C1/eta^2` in the block of the variables, of constant pattern, and three
//!   unknowns for the rows `c0`, `C'u` and `C'v` (see `second_order.rs`);
//! - *full*, where it has few rows: `-H` in the block of its multipliers, as for semidefinite cones;
//! - *expanded* otherwise: `-eta^2 D` there, and two unknowns for `u` and `v`.

use super::program::Program;
use super::scaling::{Kind, Scaling};
use super::system::{Parts, Support, columns};
use crate::Error;
use crate::kkt::{Ldl, LdlPattern, sort_by_column, too_large};
use crate::matrix::Csc;
use faer::Mat;
use std::sync::Arc;

/// Regularizations tried in turn, and what the rounding of the largest entry asks beside them.
const DELTAS: [f64; 4] = [1e-9, 1e-8, 1e-7, 1e-6];
const ROUNDING: f64 = f64::EPSILON * f64::EPSILON;
/// Up to that many rows a cone is full.
const SMALL: usize = 4;
/// A cone is condensed where that gives at most this many entries for each of its own.
const FILL: usize = 3;

/// Where a cone has its numbers in the values of the matrix.
enum Slots {
    /// Places and values of `C1'C1`; of `c0` with the entry of C; of `C'u`, `C'v` by the columns of the support.
    Condensed { gram: Vec<usize>, values: Vec<f64>, first: Vec<(usize, usize)>, u: Vec<usize>, v: Vec<usize> },
    /// The upper triangle, by columns.
    Full(Vec<usize>),
    /// Places of the diagonal, of u and of v.
    Expanded { diagonal: Vec<usize>, u: Vec<usize>, v: Vec<usize> },
}

pub(super) struct Sparse {
    n: usize,
    csc: Csc,
    supports: Vec<Support>,
    ldl: Ldl,
    /// Places of P, of E, of the rows of G, and of C where it stands in the matrix, in the order in which they are listed.
    at: Vec<usize>,
    /// The numbers that stay, and all of them, before they are regularized.
    base: Vec<f64>,
    values: Vec<f64>,
    diagonal: Vec<usize>,
    /// The unknowns that are variables rather than multipliers.
    positive: Vec<bool>,
    slots: Vec<Slots>,
    /// First unknown of the rows of R that stand in the matrix, by block; `None` where they are condensed.
    of_block: Vec<Option<usize>>,
    /// First unknowns of the equations and of the rows of G.
    starts: (usize, usize),
    inequalities: usize,
    matrices: Vec<Mat<f64>>,
    rhs: Vec<f64>,
    hk: Vec<f64>,
}

/// Position of entries that are not stored.
const SKIP: usize = usize::MAX;

/// Calls `f` with the unknown and the column of each entry of P, E, G and the cones that are not condensed.
fn for_each_fixed(
    program: &Program,
    csc: &Csc,
    supports: &[Support],
    (starts, linear): ((usize, usize), usize),
    blocks: &[(Option<usize>, usize)],
    mut f: impl FnMut(usize, usize, f64),
) {
    let n = program.n();
    program.p.for_each_extended(n, &mut f);
    program.a.for_each(|i, j, v| f(j, starts.0 + i, v));
    let m = program.a.nrows();
    program.rows.fixed.iter().enumerate().for_each(|(k, &i)| f(i, starts.0 + m + k, 1.0));
    let inequality = &program.rows.inequality;
    let all = inequality.len() == program.g.nrows();
    program.g.for_each(|i, j, v| {
        if let Some(k) = if all { Some(i) } else { inequality.binary_search(&i).ok() } {
            f(j, starts.1 + k, v);
        }
    });
    for ((own, start), support) in blocks.iter().zip(supports) {
        if let Some(first) = own {
            for (j, range) in support {
                for k in range.clone() {
                    f(*j, first + csc.indices()[k] - (start - linear), csc.values()[k]);
                }
            }
        }
    }
}

impl Sparse {
    pub fn new(program: &Program, scaling: &Scaling) -> Result<Self, Error> {
        let (n, m, extension) = (program.n(), program.b.len(), program.p.extension());
        let (csc, supports) = columns(&program.c, scaling);
        let transposed = csc.transpose();
        let inequalities = program.rows.inequality.len();
        let starts = (n + extension, n + extension + m);
        let mut positive = vec![true; n];
        positive.resize(starts.1 + inequalities, false);
        let (mut rows, mut cols) = (Vec::new(), Vec::new());
        let mut push = |i: usize, j: usize| {
            rows.push(i.min(j));
            cols.push(i.max(j));
            rows.len() - 1
        };
        // first the entries whose places depend on the cones
        let (mut slots, mut of_block) = (Vec::new(), Vec::new());
        for (block, support) in scaling.blocks.iter().zip(&supports) {
            let (start, count) = (block.rows.start - scaling.linear, block.rows.len());
            let counts = |i: usize| transposed.indptr()[i + 1] - transposed.indptr()[i];
            let stored: usize = (start + 1..start + count).map(counts).sum();
            let squares: usize = (start + 1..start + count).map(|i| counts(i).pow(2)).sum();
            let first = positive.len();
            if !matches!(block.kind, Kind::SecondOrder(_)) || count <= SMALL {
                positive.resize(first + count, false);
                let entries = (0..count).flat_map(|j| (0..=j).map(move |i| (i, j)));
                slots.push(Slots::Full(entries.map(|(i, j)| push(first + i, first + j)).collect()));
                of_block.push(Some(first));
            } else if squares <= FILL * stored {
                positive.extend([false, false, true]);
                let mut gram = Vec::new();
                for i in start + 1..start + count {
                    let own = &transposed.indices()[transposed.indptr()[i]..transposed.indptr()[i + 1]];
                    for (k, &j) in own.iter().enumerate() {
                        gram.extend(own[..=k].iter().map(|&other| push(other, j)));
                    }
                }
                let entry = |(j, range): &(usize, std::ops::Range<usize>)| {
                    (csc.indices()[range.start] == start).then_some((*j, range.start))
                };
                let c0 = support.iter().filter_map(entry).map(|(j, k)| (push(j, first), k)).collect();
                let u = support.iter().map(|(j, _)| push(*j, first + 1)).collect();
                let v = support.iter().map(|(j, _)| push(*j, first + 2)).collect();
                let values = vec![0.0; gram.len()];
                slots.push(Slots::Condensed { gram, values, first: c0, u, v });
                of_block.push(None);
            } else {
                positive.resize(first + count, false);
                positive.extend([true, false]);
                let diagonal = (0..count).map(|i| push(first + i, first + i)).collect();
                let u = (0..count).map(|i| push(first + i, first + count)).collect();
                let v = (1..count).map(|i| push(first + i, first + count + 1)).collect();
                slots.push(Slots::Expanded { diagonal, u, v });
                of_block.push(Some(first));
            }
        }
        let dim = positive.len();
        let diagonal: Vec<usize> = (0..dim).map(|i| push(i, i)).collect();
        let behind = rows.len();
        let blocks: Vec<_> = of_block.iter().copied().zip(scaling.blocks.iter().map(|b| b.rows.start)).collect();
        let mut at = Vec::new();
        for_each_fixed(program, &csc, &supports, (starts, scaling.linear), &blocks, |i, j, _| {
            at.push(if i <= j { rows.len() } else { SKIP });
            if i <= j {
                rows.push(i);
                cols.push(j);
            }
        });
        debug_assert!(behind <= rows.len());
        // one stored entry for all sources of a place
        let order = sort_by_column(dim, &rows, &cols);
        let (mut col_ptr, mut row_idx) = (vec![0; dim + 1], Vec::with_capacity(order.len()));
        let mut place = vec![0; order.len()];
        let mut last = None;
        for &k in &order {
            if last != Some((rows[k], cols[k])) {
                row_idx.push(rows[k]);
                col_ptr[cols[k] + 1] += 1;
                last = Some((rows[k], cols[k]));
            }
            place[k] = row_idx.len() - 1;
        }
        (0..dim).for_each(|j| col_ptr[j + 1] += col_ptr[j]);
        let (pattern, position) =
            LdlPattern::new(dim, &col_ptr, &row_idx, None).map_err(|reason| too_large(dim, reason))?;
        let find = |k: &mut usize| {
            if *k != SKIP {
                *k = position[place[*k]];
            }
        };
        at.iter_mut().for_each(find);
        let mut diagonal = diagonal;
        diagonal.iter_mut().for_each(find);
        for slots in &mut slots {
            match slots {
                Slots::Condensed { gram, first, u, v, .. } => {
                    gram.iter_mut().chain(u).chain(v).for_each(find);
                    first.iter_mut().for_each(|(k, _)| find(k));
                }
                Slots::Full(places) => places.iter_mut().for_each(find),
                Slots::Expanded { diagonal, u, v } => diagonal.iter_mut().chain(u).chain(v).for_each(find),
            }
        }
        let pattern = Arc::new(pattern);
        let ldl = Ldl::new(&pattern).map_err(|reason| too_large(dim, reason))?;
        let matrices = scaling.blocks.iter().map(|block| match block.kind {
            Kind::Semidefinite(_) => Mat::zeros(block.rows.len(), block.rows.len()),
            Kind::SecondOrder(_) => Mat::zeros(0, 0),
        });
        let stored = pattern.stored();
        let mut out = Sparse {
            n,
            csc,
            supports,
            ldl,
            at,
            base: vec![0.0; stored],
            values: vec![0.0; stored],
            diagonal,
            positive,
            slots,
            of_block,
            starts,
            inequalities,
            matrices: matrices.collect(),
            rhs: vec![0.0; dim],
            hk: vec![0.0; program.h.len()],
        };
        out.write(program, scaling, &transposed);
        Ok(out)
    }

    pub fn load(&mut self, program: &Program, scaling: &Scaling) {
        let (csc, supports) = columns(&program.c, scaling);
        (self.csc, self.supports) = (csc, supports);
        let transposed = self.csc.transpose();
        self.write(program, scaling, &transposed);
    }

    /// Writes the numbers that do not depend on the scaling.
    fn write(&mut self, program: &Program, scaling: &Scaling, transposed: &Csc) {
        let Sparse { base, at, csc, supports, slots, of_block, .. } = self;
        base.fill(0.0);
        let blocks: Vec<_> = of_block.iter().copied().zip(scaling.blocks.iter().map(|b| b.rows.start)).collect();
        let mut at = at.iter();
        for_each_fixed(program, csc, supports, (self.starts, scaling.linear), &blocks, |_, _, v| {
            if let Some(&k) = at.next()
                && k != SKIP
            {
                base[k] += v;
            }
        });
        for (block, slots) in scaling.blocks.iter().zip(slots) {
            if let Slots::Condensed { values, .. } = slots {
                let start = block.rows.start - scaling.linear;
                let mut next = values.iter_mut();
                for i in start + 1..start + block.rows.len() {
                    let own = &transposed.values()[transposed.indptr()[i]..transposed.indptr()[i + 1]];
                    for (k, v) in own.iter().enumerate() {
                        own[..=k].iter().zip(&mut next).for_each(|(other, to)| *to = v * other);
                    }
                }
            }
        }
    }

    /// Writes what depends on the scaling.
    fn fill(&mut self, program: &Program, scaling: &Scaling) {
        let values = &mut self.values;
        values.copy_from_slice(&self.base);
        let h = &scaling.w;
        for k in 0..self.inequalities {
            values[self.diagonal[self.starts.1 + k]] -= h[k];
        }
        let bounds = program.rows.lower.iter().chain(&program.rows.upper);
        bounds.zip(&h[self.inequalities..]).for_each(|(&i, h)| values[self.diagonal[i]] += 1.0 / h);
        // unknowns of a condensed cone follow each other
        let mut unknown = self.starts.1 + self.inequalities;
        for (k, block) in scaling.blocks.iter().enumerate() {
            let (count, w) = (block.rows.len(), &h[block.rows.clone()]);
            match (&self.slots[k], &block.kind) {
                (Slots::Condensed { gram, values: squares, first, u, v }, Kind::SecondOrder(own)) => {
                    let over = 1.0 / own.eta;
                    gram.iter().zip(squares).for_each(|(&k, square)| values[k] += over * over * square);
                    let c0 = over * own.d.sqrt();
                    first.iter().for_each(|&(k, entry)| values[k] += c0 * self.csc.values()[entry]);
                    let start = block.rows.start - scaling.linear;
                    for ((_, range), (&u, &v)) in self.supports[k].iter().zip(u.iter().zip(v)) {
                        let (mut head, mut along) = (0.0, 0.0);
                        for e in range.clone() {
                            let (i, c) = (self.csc.indices()[e] - start, self.csc.values()[e]);
                            if i == 0 { head = c } else { along += w[i] * c }
                        }
                        values[u] += over * (own.u[0] * head - own.u[1] * along);
                        values[v] += over * own.v * along;
                    }
                    values[self.diagonal[unknown]] -= 1.0;
                    values[self.diagonal[unknown + 1]] -= 1.0;
                    values[self.diagonal[unknown + 2]] += 1.0;
                    unknown += 3;
                }
                (Slots::Full(places), Kind::SecondOrder(own)) => {
                    let square = own.eta * own.eta;
                    let mut places = places.iter();
                    for j in 0..count {
                        for i in 0..=j {
                            let sign = if i != j { 0.0 } else if i == 0 { -1.0 } else { 1.0 };
                            if let Some(&k) = places.next() {
                                values[k] -= square * (2.0 * w[i] * w[j] + sign);
                            }
                        }
                    }
                    unknown += count;
                }
                (Slots::Full(places), Kind::Semidefinite(own)) => {
                    let whole = &mut self.matrices[k];
                    own.matrix(whole);
                    let mut places = places.iter();
                    for j in 0..count {
                        for i in 0..=j {
                            if let Some(&k) = places.next() {
                                values[k] -= whole[(j, i)];
                            }
                        }
                    }
                    unknown += count;
                }
                (Slots::Expanded { diagonal, u, v }, Kind::SecondOrder(own)) => {
                    let (eta, square) = (own.eta, own.eta * own.eta);
                    for (i, &k) in diagonal.iter().enumerate() {
                        values[k] -= square * if i == 0 { own.d } else { 1.0 };
                    }
                    for (i, &k) in u.iter().enumerate() {
                        values[k] += eta * if i == 0 { own.u[0] } else { own.u[1] * w[i] };
                    }
                    v.iter().zip(&w[1..]).for_each(|(&k, w)| values[k] += eta * own.v * w);
                    values[self.diagonal[unknown + count]] += 1.0;
                    values[self.diagonal[unknown + count + 1]] -= 1.0;
                    unknown += count + 2;
                }
                (Slots::Condensed { .. } | Slots::Expanded { .. }, Kind::Semidefinite(_)) => {}
            }
        }
    }

    pub fn factor(&mut self, program: &Program, scaling: &mut Scaling) -> bool {
        self.fill(program, scaling);
        let largest = self.diagonal.iter().fold(0.0_f64, |m, &k| m.max(self.values[k].abs()));
        let expected = self.positive.iter().filter(|p| **p).count();
        for delta in DELTAS {
            let delta = delta + ROUNDING * largest;
            let values = self.ldl.values_mut();
            values.copy_from_slice(&self.values);
            for (&k, &positive) in self.diagonal.iter().zip(&self.positive) {
                values[k] += if positive { delta } else { -delta };
            }
            if matches!(self.ldl.factor(), Ok(pivots) if pivots.positive == expected) {
                return true;
            }
        }
        false
    }

    /// Rows that do not stand in the matrix: bounds and condensed cones.
    fn keep_condensed(&mut self, scaling: &Scaling) {
        self.hk[..self.inequalities].fill(0.0);
        for (block, first) in scaling.blocks.iter().zip(&self.of_block) {
            if first.is_some() {
                self.hk[block.rows.clone()].fill(0.0);
            }
        }
    }

    pub fn solve(&mut self, program: &mut Program, scaling: &mut Scaling, [x, y, z]: Parts<'_>) {
        let n = self.n;
        self.hk.copy_from_slice(z);
        self.keep_condensed(scaling);
        scaling.divide(&mut self.hk);
        program.r_tmul_add(1.0, &self.hk, x);
        self.rhs.fill(0.0);
        let place = self.ldl.place();
        for (i, x) in x.iter().enumerate() {
            self.rhs[place[i]] = *x;
        }
        y.iter().enumerate().for_each(|(i, y)| self.rhs[place[self.starts.0 + i]] = *y);
        z[..self.inequalities].iter().enumerate().for_each(|(i, z)| self.rhs[place[self.starts.1 + i]] = *z);
        for (block, first) in scaling.blocks.iter().zip(&self.of_block) {
            if let Some(first) = first {
                for (i, z) in z[block.rows.clone()].iter().enumerate() {
                    self.rhs[place[first + i]] = *z;
                }
            }
        }
        self.ldl.solve(&mut self.rhs);
        let place = self.ldl.place();
        for (i, x) in x[..n].iter_mut().enumerate() {
            *x = self.rhs[place[i]];
        }
        y.iter_mut().enumerate().for_each(|(i, y)| *y = self.rhs[place[self.starts.0 + i]]);
        self.hk.iter_mut().zip(&*z).for_each(|(k, z)| *k = -z);
        program.r_mul_add(1.0, x, &mut self.hk);
        let place = self.ldl.place();
        self.hk[..self.inequalities].fill(0.0);
        for (block, first) in scaling.blocks.iter().zip(&self.of_block) {
            if first.is_some() {
                self.hk[block.rows.clone()].fill(0.0);
            }
        }
        scaling.divide(&mut self.hk);
        z.copy_from_slice(&self.hk);
        z[..self.inequalities].iter_mut().enumerate().for_each(|(i, z)| *z = self.rhs[place[self.starts.1 + i]]);
        for (block, first) in scaling.blocks.iter().zip(&self.of_block) {
            if let Some(first) = first {
                for (i, z) in z[block.rows.clone()].iter_mut().enumerate() {
                    *z = self.rhs[place[first + i]];
                }
            }
        }
    }
}
