//! The system of sparse data, by one quasi-definite `L D L'`. Bounds are diagonals, and cones are condensed: of a second-order
//! cone `C1'C1/eta^2` is in the block of the variables, in a constant pattern, and three unknowns stand for the rows `c0`, `C'u`
//! and `C'v` (see `second_order.rs`); of a semidefinite cone all of `C'H^-1 C` is there, unless its rows are variables (`own.rs`).
//! Entries of `H` are nowhere else: its small eigenvalues would be lost among the large ones.

use super::own::Own;
use super::program::Program;
use super::scaling::{Kind, Scaling};
use super::semidefinite::product;
use super::system::{Parts, Support, columns};
use crate::Error;
use crate::kkt::{Ldl, analyse, too_large};
use crate::matrix::Csc;
use faer::Mat;

/// Regularizations tried in turn, and what the rounding of the largest entry asks beside them.
const DELTAS: [f64; 4] = [1e-9, 1e-8, 1e-7, 1e-6];
const ROUNDING: f64 = f64::EPSILON * f64::EPSILON;
/// Where a cone has its numbers in the values of the matrix.
enum Slots {
    /// Places and values of `C1'C1`, row by row or for all pairs of columns of the support; of `c0` with the entry of C; of
    /// `C'u`, `C'v` by the columns of the support.
    SecondOrder {
        pairs: bool,
        gram: Vec<usize>,
        values: Vec<f64>,
        first: Vec<(usize, usize)>,
        u: Vec<usize>,
        v: Vec<usize>,
    },
    /// All pairs of columns of the support.
    Semidefinite(Vec<usize>),
    /// All pairs of the rows that meet its variables.
    Own(Box<Own>, Vec<usize>),
}

pub(super) struct Sparse {
    n: usize,
    csc: Csc,
    supports: Vec<Support>,
    ldl: Ldl,
    /// Variables that are eliminated beside it.
    own: Vec<bool>,
    /// Places of P, of E and of the rows of G, in the order in which they are listed.
    at: Vec<usize>,
    /// The numbers that stay, and all of them, before they are regularized.
    base: Vec<f64>,
    values: Vec<f64>,
    diagonal: Vec<usize>,
    /// The unknowns that are variables rather than multipliers.
    positive: Vec<bool>,
    slots: Vec<Slots>,
    /// First unknowns of the equations and of the rows of G.
    starts: (usize, usize),
    inequalities: usize,
    /// Of the condensed semidefinite cones `H^-1`.
    matrices: Vec<Mat<f64>>,
    column: Vec<f64>,
    rhs: Vec<f64>,
    hk: Vec<f64>,
}

/// Position of entries that are not stored.
const SKIP: usize = usize::MAX;

/// Calls `f` with the unknown and the column of each entry of P, E and G.
pub(super) fn for_each_fixed(program: &Program, starts: (usize, usize), mut f: impl FnMut(usize, usize, f64)) {
    program.p.for_each_extended(program.n(), &mut f);
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
}

/// Entries of the rows of a cone behind its first one, by columns and rows.
fn row(t: &Csc, i: usize) -> (&[usize], &[f64]) {
    let range = t.indptr()[i]..t.indptr()[i + 1];
    (&t.indices()[range.clone()], &t.values()[range])
}

/// Place of the pair of two positions in a support, the first one not behind.
fn pair(i: usize, j: usize) -> usize {
    j * (j + 1) / 2 + i
}

impl Sparse {
    pub fn new(program: &Program, scaling: &Scaling) -> Result<Self, Error> {
        let (n, m, extension) = (program.n(), program.b.len(), program.p.extension());
        let (csc, supports) = columns(&program.c, scaling, true);
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
        let mut slots = Vec::new();
        let mut of_own = vec![false; n];
        for (block, support) in scaling.blocks.iter().zip(&supports) {
            if matches!(block.kind, Kind::Semidefinite(_)) {
                let rows = block.rows.start - scaling.linear..block.rows.end - scaling.linear;
                if let Some(own) = Own::new(program, (&csc, &transposed), rows, starts) {
                    own.mark(&mut of_own);
                    let mut places = Vec::new();
                    for (k, j) in own.touching.iter().enumerate() {
                        places.extend(own.touching[k..].iter().map(|i| push(*j, *i)));
                    }
                    slots.push(Slots::Own(Box::new(own), places));
                    continue;
                }
                let mut places = Vec::new();
                for (k, (j, _)) in support.iter().enumerate() {
                    places.extend(support[k..].iter().map(|(i, _)| push(*j, *i)));
                }
                slots.push(Slots::Semidefinite(places));
                continue;
            }
            let start = block.rows.start - scaling.linear;
            let behind = start + 1..start + block.rows.len();
            let first = positive.len();
            positive.extend([false, false, true]);
            let by_row: usize = behind.clone().map(|i| row(&transposed, i).0.len()).map(|n| n * (n + 1) / 2).sum();
            let pairs = by_row > support.len() * (support.len() + 1) / 2;
            let mut gram = Vec::new();
            if pairs {
                for (k, (j, _)) in support.iter().enumerate() {
                    gram.extend(support[..=k].iter().map(|(i, _)| push(*i, *j)));
                }
            } else {
                for i in behind {
                    let own = row(&transposed, i).0;
                    for (k, &j) in own.iter().enumerate() {
                        gram.extend(own[..=k].iter().map(|&other| push(other, j)));
                    }
                }
            }
            let entry = |(j, range): &(usize, std::ops::Range<usize>)| {
                (csc.indices()[range.start] == start).then_some((*j, range.start))
            };
            let c0 = support.iter().filter_map(entry).map(|(j, k)| (push(j, first), k)).collect();
            let u = support.iter().map(|(j, _)| push(*j, first + 1)).collect();
            let v = support.iter().map(|(j, _)| push(*j, first + 2)).collect();
            let values = vec![0.0; gram.len()];
            slots.push(Slots::SecondOrder { pairs, gram, values, first: c0, u, v });
        }
        let dim = positive.len();
        let diagonal: Vec<usize> = (0..dim).map(|i| push(i, i)).collect();
        let mut at = Vec::new();
        for_each_fixed(program, starts, |i, j, _| {
            let stands = i <= j && of_own.get(i) != Some(&true);
            at.push(if stands { rows.len() } else { SKIP });
            if stands {
                rows.push(i);
                cols.push(j);
            }
        });
        let (pattern, place) = analyse(dim, (&rows, &cols), None).map_err(|reason| too_large(dim, reason))?;
        let find = |k: &mut usize| {
            if *k != SKIP {
                *k = place[*k];
            }
        };
        at.iter_mut().for_each(find);
        let mut diagonal = diagonal;
        diagonal.iter_mut().for_each(find);
        for slots in &mut slots {
            match slots {
                Slots::SecondOrder { gram, first, u, v, .. } => {
                    gram.iter_mut().chain(u).chain(v).for_each(find);
                    first.iter_mut().for_each(|(k, _)| find(k));
                }
                Slots::Semidefinite(places) | Slots::Own(_, places) => places.iter_mut().for_each(find),
            }
        }
        let ldl = Ldl::new(&pattern).map_err(|reason| too_large(dim, reason))?;
        let matrices = scaling.blocks.iter().zip(&slots).map(|(block, slots)| match slots {
            Slots::Semidefinite(_) => Mat::zeros(block.rows.len(), block.rows.len()),
            Slots::SecondOrder { .. } | Slots::Own(..) => Mat::zeros(0, 0),
        });
        let matrices: Vec<_> = matrices.collect();
        let largest = matrices.iter().map(Mat::ncols).max().unwrap_or(0);
        let stored = pattern.stored();
        let mut out = Sparse {
            n,
            csc,
            supports,
            ldl,
            own: of_own,
            at,
            base: vec![0.0; stored],
            values: vec![0.0; stored],
            diagonal,
            positive,
            slots,
            starts,
            inequalities,
            matrices,
            column: vec![0.0; largest],
            rhs: vec![0.0; dim],
            hk: vec![0.0; program.h.len()],
        };
        out.write(program, scaling, &transposed);
        Ok(out)
    }

    pub fn load(&mut self, program: &Program, scaling: &Scaling) {
        let (csc, supports) = columns(&program.c, scaling, true);
        (self.csc, self.supports) = (csc, supports);
        let transposed = self.csc.transpose();
        self.write(program, scaling, &transposed);
    }

    /// Writes the numbers that do not depend on the scaling.
    fn write(&mut self, program: &Program, scaling: &Scaling, transposed: &Csc) {
        let Sparse { base, at, supports, slots, .. } = self;
        base.fill(0.0);
        let alone = self.own.iter().zip(&self.diagonal).filter(|(own, _)| **own);
        alone.for_each(|(_, &k)| base[k] = 1.0);
        let mut at = at.iter();
        for_each_fixed(program, self.starts, |_, _, v| {
            if let Some(&k) = at.next().filter(|k| **k != SKIP) {
                base[k] += v;
            }
        });
        let mut position = vec![0; self.n];
        for ((block, slots), support) in scaling.blocks.iter().zip(slots).zip(supports) {
            if let Slots::Own(own, _) = slots {
                own.load(program, transposed, self.starts);
            }
            let Slots::SecondOrder { pairs, values, .. } = slots else { continue };
            let start = block.rows.start - scaling.linear;
            support.iter().enumerate().for_each(|(k, (j, _))| position[*j] = k);
            values.fill(0.0);
            let mut next = 0;
            for i in start + 1..start + block.rows.len() {
                let (columns, own) = row(transposed, i);
                for (k, v) in own.iter().enumerate() {
                    for (other, column) in own[..=k].iter().zip(columns) {
                        let at = if *pairs { pair(position[*column], position[columns[k]]) } else { next };
                        values[at] += v * other;
                        next += 1;
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
            let w = &h[block.rows.clone()];
            match (&mut self.slots[k], &block.kind) {
                (Slots::SecondOrder { gram, values: squares, first, u, v, .. }, Kind::SecondOrder(own)) => {
                    let over = 1.0 / own.eta;
                    gram.iter().zip(&*squares).for_each(|(&k, square)| values[k] += over * over * square);
                    let c0 = over * own.d.sqrt();
                    first.iter().for_each(|&(k, entry)| values[k] += c0 * self.csc.values()[entry]);
                    let start = block.rows.start - scaling.linear;
                    for ((_, range), (&u, &v)) in self.supports[k].iter().zip(u.iter().zip(&*v)) {
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
                (Slots::Semidefinite(places), Kind::Semidefinite(own)) => {
                    let whole = &mut self.matrices[k];
                    own.inverse(whole);
                    let mut places = places.iter();
                    let rows = (&self.csc, &self.supports[k], block.rows.start - scaling.linear);
                    product(rows, whole, &mut self.column, |_, _, v| {
                        if let Some(&k) = places.next() {
                            values[k] += v;
                        }
                    });
                }
                (Slots::Own(own, places), Kind::Semidefinite(scaling)) => {
                    let mut places = places.iter();
                    own.schur(scaling, |v| {
                        if let Some(&k) = places.next() {
                            values[k] -= v;
                        }
                    });
                }
                (Slots::SecondOrder { .. }, Kind::Semidefinite(_))
                | (Slots::Semidefinite(_) | Slots::Own(..), Kind::SecondOrder(_)) => {}
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

    pub fn solve(&mut self, program: &mut Program, scaling: &mut Scaling, [x, y, z]: Parts<'_>) {
        let inequalities = self.inequalities;
        for (k, slots) in self.slots.iter_mut().enumerate() {
            if let Slots::Own(own, _) = slots {
                own.begin(scaling, k, [&mut *x, &mut *y, &mut *z], self.starts.0);
            }
        }
        self.hk.copy_from_slice(z);
        self.hk[..inequalities].fill(0.0);
        scaling.divide(&mut self.hk);
        program.r_tmul_add(1.0, &self.hk, x);
        self.rhs.fill(0.0);
        let (place, rhs) = (self.ldl.place(), &mut self.rhs);
        x.iter().zip(place).for_each(|(v, &p)| rhs[p] = *v);
        y.iter().zip(&place[self.starts.0..]).for_each(|(v, &p)| rhs[p] = *v);
        z[..inequalities].iter().zip(&place[self.starts.1..]).for_each(|(v, &p)| rhs[p] = *v);
        self.ldl.solve(&mut self.rhs);
        let (place, rhs) = (self.ldl.place(), &self.rhs);
        x.iter_mut().zip(place).for_each(|(v, &p)| *v = rhs[p]);
        y.iter_mut().zip(&place[self.starts.0..]).for_each(|(v, &p)| *v = rhs[p]);
        z.iter_mut().for_each(|z| *z = -*z);
        program.r_mul_add(1.0, x, z);
        scaling.divide(z);
        z[..inequalities].iter_mut().zip(&place[self.starts.1..]).for_each(|(v, &p)| *v = rhs[p]);
        for (k, slots) in self.slots.iter_mut().enumerate() {
            if let Slots::Own(own, _) = slots {
                own.end(scaling, k, [&mut *x, &mut *y, &mut *z], self.starts.0);
            }
        }
    }
}
