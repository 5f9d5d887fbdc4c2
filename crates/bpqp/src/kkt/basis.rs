//! Square bases of columns: chosen in a given order by what elimination leaves of each, then factored and exchanged one by
//! one, as in the simplex method.
//!
//! The factors are those of Gilbert & Peierls, "Sparse partial pivoting in time proportional to arithmetic operations"
//! (1988): each column is eliminated by the ones before it and pivots on the row of the fewest entries among its large
//! ones. An exchange multiplies by an elementary matrix (the product form of the inverse).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const NONE: usize = usize::MAX;
/// Pivots may be this part of the largest entry of their column, for the sake of sparsity.
const PARTIAL: f64 = 0.1;
/// Exchanges after which the basis is factored again.
const EXCHANGES: usize = 50;

/// Columns of entries `(row, value)`; behind them the unit columns of the rows.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    rows: usize,
    start: Vec<usize>,
    entries: Vec<(usize, f64)>,
    /// Of each row.
    count: Vec<usize>,
}

impl Columns {
    /// From entries `(row, column, value)` in any order.
    pub fn new((rows, columns): (usize, usize), entries: &[(usize, usize, f64)]) -> Self {
        let (mut start, mut count) = (vec![0; columns + 1], vec![1; rows]);
        for &(i, j, _) in entries {
            start[j + 1] += 1;
            count[i] += 1;
        }
        (0..columns).for_each(|j| start[j + 1] += start[j]);
        let (mut next, mut sorted) = (start.clone(), vec![(0, 0.0); entries.len()]);
        for &(i, j, v) in entries {
            sorted[next[j]] = (i, v);
            next[j] += 1;
        }
        Columns { rows, start, entries: sorted, count }
    }

    /// Number of columns without those of the rows.
    fn stored(&self) -> usize {
        self.start.len() - 1
    }

    /// Number of entries of a column.
    pub fn len(&self, j: usize) -> usize {
        if j < self.stored() { self.start[j + 1] - self.start[j] } else { 1 }
    }

    /// Calls `f(row, value)` for the entries of a column.
    pub fn each(&self, j: usize, mut f: impl FnMut(usize, f64)) {
        match j.checked_sub(self.stored()) {
            None => self.entries[self.start[j]..self.start[j + 1]].iter().for_each(|&(i, v)| f(i, v)),
            Some(i) => f(i, 1.0),
        }
    }

    /// The product of a column with a vector over the rows.
    pub fn dot(&self, j: usize, y: &[f64]) -> f64 {
        let mut sum = 0.0;
        self.each(j, |i, v| sum += v * y[i]);
        sum
    }
}

/// Columns of a triangular factor.
#[derive(Debug, Default)]
struct Triangle {
    start: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

impl Triangle {
    fn clear(&mut self) {
        self.start.clear();
        self.start.push(0);
        self.entries.clear();
    }

    fn end(&mut self) {
        self.start.push(self.entries.len());
    }

    fn column(&self, k: usize) -> &[(usize, f64)] {
        &self.entries[self.start[k]..self.start[k + 1]]
    }
}

/// A column that took the place of another: its entries in terms of the basis, without the pivot.
#[derive(Debug)]
struct Exchange {
    place: usize,
    pivot: f64,
    others: Vec<(usize, f64)>,
}

/// A basis and its factors.
#[derive(Debug, Default)]
pub(crate) struct Basis {
    /// The column at each place.
    pub columns: Vec<usize>,
    /// Products so far.
    pub products: usize,
    lower: Triangle,
    upper: Triangle,
    diagonal: Vec<f64>,
    /// The row of each step, and the other way round.
    row: Vec<usize>,
    step: Vec<usize>,
    exchanges: Vec<Exchange>,
    work: Vec<f64>,
    marked: Vec<bool>,
    touched: Vec<usize>,
    heap: BinaryHeap<Reverse<usize>>,
}

impl Basis {
    /// Takes columns in this order, each of which elimination by those before leaves more than `rounding` of its own terms,
    /// until there is one for every row. All unit columns must be among them. False if `most` products do not suffice.
    pub fn select(&mut self, a: &Columns, order: impl Iterator<Item = usize>, rounding: f64, most: usize) -> bool {
        let m = a.rows;
        self.columns.clear();
        self.lower.clear();
        self.upper.clear();
        self.diagonal.clear();
        self.row.clear();
        self.exchanges.clear();
        self.step.clear();
        self.step.resize(m, NONE);
        self.work.clear();
        self.work.resize(m, 0.0);
        self.marked.clear();
        self.marked.resize(m, false);
        for j in order {
            if self.columns.len() == m || self.products > most {
                break;
            }
            if self.take(a, j, rounding) {
                self.columns.push(j);
            }
        }
        self.columns.len() == m
    }

    /// Factors the same columns again, the short ones first; those that have become dependent make room for unit columns.
    pub fn refactor(&mut self, a: &Columns, rounding: f64, most: usize) -> bool {
        let mut order = std::mem::take(&mut self.columns);
        order.sort_by_key(|&j| (a.len(j), j));
        let first = a.stored();
        self.select(a, order.into_iter().chain(first..first + a.rows), rounding, most)
    }

    /// True if it should be factored again.
    pub fn stale(&self) -> bool {
        self.exchanges.len() >= EXCHANGES
    }

    fn touch(&mut self, i: usize, v: f64) {
        if !self.marked[i] {
            self.marked[i] = true;
            self.touched.push(i);
            if self.step[i] != NONE {
                self.heap.push(Reverse(self.step[i]));
            }
        }
        self.work[i] += v;
    }

    fn take(&mut self, a: &Columns, j: usize, rounding: f64) -> bool {
        self.touched.clear();
        let mut size = 0.0_f64;
        a.each(j, |i, v| {
            size = size.max(v.abs());
            self.touch(i, v);
        });
        let kept = self.upper.entries.len();
        while let Some(Reverse(k)) = self.heap.pop() {
            let u = self.work[self.row[k]];
            if u == 0.0 {
                continue;
            }
            self.upper.entries.push((k, u));
            let range = self.lower.start[k]..self.lower.start[k + 1];
            self.products += range.len();
            for at in range {
                let (i, l) = self.lower.entries[at];
                size = size.max((u * l).abs());
                self.touch(i, -u * l);
            }
        }
        let left = |i: &usize| self.step[*i] == NONE;
        let largest = self.touched.iter().filter(|i| left(i)).fold(0.0_f64, |m, &i| m.max(self.work[i].abs()));
        let taken = largest > rounding * size && largest.is_finite();
        if taken {
            let large = |i: &usize| left(i) && self.work[*i].abs() >= PARTIAL * largest;
            let pivot = self.touched.iter().copied().filter(large).min_by_key(|&i| (a.count[i], i)).unwrap_or(0);
            let diagonal = self.work[pivot];
            self.upper.end();
            self.diagonal.push(diagonal);
            self.step[pivot] = self.row.len();
            self.row.push(pivot);
            for &i in self.touched.iter().filter(|&&i| self.step[i] == NONE && self.work[i] != 0.0) {
                self.lower.entries.push((i, self.work[i] / diagonal));
            }
            self.lower.end();
        } else {
            self.upper.entries.truncate(kept);
        }
        for &i in &self.touched {
            (self.work[i], self.marked[i]) = (0.0, false);
        }
        taken
    }

    /// Solves `B x = r` in place: over rows in, over places out.
    pub fn solve(&mut self, r: &mut [f64]) {
        let m = self.row.len();
        self.products += m + self.lower.entries.len() + self.upper.entries.len();
        for k in 0..m {
            let t = r[self.row[k]];
            self.work[k] = t;
            if t != 0.0 {
                self.lower.column(k).iter().for_each(|&(i, l)| r[i] -= t * l);
            }
        }
        for k in (0..m).rev() {
            let x = self.work[k] / self.diagonal[k];
            r[k] = x;
            if x != 0.0 {
                self.upper.column(k).iter().for_each(|&(i, u)| self.work[i] -= x * u);
            }
        }
        self.work.fill(0.0);
        for e in &self.exchanges {
            let x = r[e.place] / e.pivot;
            r[e.place] = x;
            if x != 0.0 {
                e.others.iter().for_each(|&(i, v)| r[i] -= x * v);
            }
        }
    }

    /// Solves `B'y = c` in place: over places in, over rows out.
    pub fn solve_transposed(&mut self, c: &mut [f64]) {
        let m = self.row.len();
        self.products += m + self.lower.entries.len() + self.upper.entries.len();
        for e in self.exchanges.iter().rev() {
            let sum: f64 = e.others.iter().map(|&(i, v)| v * c[i]).sum();
            c[e.place] = (c[e.place] - sum) / e.pivot;
        }
        for k in 0..m {
            let sum: f64 = self.upper.column(k).iter().map(|&(i, u)| u * c[i]).sum();
            c[k] = (c[k] - sum) / self.diagonal[k];
        }
        self.work.copy_from_slice(c);
        for k in (0..m).rev() {
            // the rows of a column of L pivot later: they are there already
            let sum: f64 = self.lower.column(k).iter().map(|&(i, l)| l * self.work[self.step[i]]).sum();
            self.work[k] -= sum;
        }
        for k in 0..m {
            c[self.row[k]] = self.work[k];
        }
        self.work.fill(0.0);
    }

    /// Puts column `j` at a place; `along` are its entries in terms of the basis.
    pub fn exchange(&mut self, place: usize, j: usize, along: &[f64]) {
        let others = along.iter().copied().enumerate().filter(|&(i, v)| i != place && v != 0.0).collect();
        self.exchanges.push(Exchange { place, pivot: along[place], others });
        self.columns[place] = j;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of small integers, many of them 0; a column that repeats the sum of two others.
    fn columns(seed: u64, m: usize, n: usize) -> (Columns, Vec<Vec<f64>>) {
        let mut full = vec![vec![0.0; m]; n];
        let mut state = seed;
        for column in &mut full {
            for v in column.iter_mut() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *v = if state >> 62 == 0 { ((state >> 40) % 7) as f64 - 3.0 } else { 0.0 };
            }
        }
        full[2] = full[0].iter().zip(&full[1]).map(|(a, b)| a + b).collect();
        let mut entries = Vec::new();
        for (j, column) in full.iter().enumerate() {
            entries.extend(column.iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(i, v)| (i, j, *v)));
        }
        full.extend((0..m).map(|i| (0..m).map(|k| f64::from(k == i)).collect()));
        (Columns::new((m, n), &entries), full)
    }

    fn product(full: &[Vec<f64>], basis: &Basis, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; x.len()];
        for (&j, x) in basis.columns.iter().zip(x) {
            out.iter_mut().zip(&full[j]).for_each(|(o, v)| *o += x * v);
        }
        out
    }

    #[test]
    fn selects_independent_columns_in_order_and_solves_after_exchanges() {
        for seed in 1..40 {
            let (m, n) = (12, 15);
            let (a, full) = columns(seed, m, n);
            let mut basis = Basis::default();
            assert!(basis.select(&a, 0..n + m, 1e-9, usize::MAX), "seed {seed}");
            // the third column follows from the first two
            assert!(!(basis.columns.contains(&0) && basis.columns.contains(&1) && basis.columns.contains(&2)));
            for round in 0..4 {
                let x: Vec<f64> = (0..m).map(|i| (i * i % 7) as f64 - 3.0).collect();
                let mut r = product(&full, &basis, &x);
                basis.solve(&mut r);
                assert!(r.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-8), "seed {seed}: {r:?} {x:?}");
                let mut y: Vec<f64> = basis.columns.iter().map(|&j| a.dot(j, &x)).collect();
                basis.solve_transposed(&mut y);
                assert!(y.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-8), "seed {seed}: {y:?} {x:?}");
                let other = |j: &usize| *j > 3 * round && !basis.columns.contains(j) && a.len(*j) > 0;
                let Some(j) = (0..n + m).find(other) else { break };
                let mut along = full[j].clone();
                basis.solve(&mut along);
                let place = (0..m).max_by(|&i, &k| along[i].abs().total_cmp(&along[k].abs())).expect("rows");
                basis.exchange(place, j, &along);
                if round == 2 {
                    assert!(basis.refactor(&a, 1e-9, usize::MAX));
                }
            }
        }
    }
}
