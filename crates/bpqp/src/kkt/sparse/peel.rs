//! What the pattern tells of rank, in linear time: a row that meets one variable is independent of all others, and so is one that
//! alone meets some variable. Both go with that variable, again and again, as a triangular basis of a linear program is put
//! together (Bixby, "Implementing the simplex method: the initial basis", 1992). Where nothing is left there is nothing to search.
//!
//! A pivot counts only where it is of the size of its row and column in the equilibrated matrix: a smaller one may be what full
//! pivoting would call rounding, and is left to it.

use super::SparseKkt;

/// The smallest pivot, where the largest entries are about 1.
const PIVOT: f64 = 1e-3;

/// The entries between rows and variables that are there, by rows and by variables.
struct Peel {
    starts: Vec<usize>,
    /// What each row or variable meets, and the size of the entry; variables come after the rows.
    met: Vec<(usize, f64)>,
    there: Vec<bool>,
    count: Vec<usize>,
}

impl Peel {
    /// With these rows and variables of the system.
    fn of(kkt: &SparseKkt, there: Vec<bool>) -> Self {
        let m = kkt.m;
        let mut count = vec![0; there.len()];
        let each = |f: &mut dyn FnMut(usize, usize, f64)| {
            for (first, block) in kkt.of.blocks() {
                block.for_each(|i, j, v| {
                    let (i, j) = (first + i, m + j);
                    if v != 0.0 && there[i] && there[j] {
                        f(i, j, v);
                    }
                });
            }
        };
        each(&mut |i, j, _| (count[i], count[j]) = (count[i] + 1, count[j] + 1));
        let mut starts = vec![0; there.len() + 1];
        count.iter().enumerate().for_each(|(i, c)| starts[i + 1] = starts[i] + c);
        let mut next = starts.clone();
        let mut met = vec![(0, 0.0); starts[there.len()]];
        each(&mut |i, j, v| {
            let size = (v * kkt.scale[kkt.n + i] * kkt.scale[j - m]).abs();
            for (from, to) in [(i, j), (j, i)] {
                met[next[from]] = (to, size);
                next[from] += 1;
            }
        });
        Peel { starts, met, there, count }
    }

    /// Takes out pairs until there is none; `alone` says which variables may go because one row alone meets them.
    fn run(&mut self, m: usize, alone: impl Fn(usize) -> bool) {
        let single = |peel: &Self, i: usize| peel.there[i] && peel.count[i] == 1 && (i < m || alone(i - m));
        let mut open: Vec<usize> = (0..self.there.len()).filter(|&i| single(self, i)).collect();
        while let Some(i) = open.pop() {
            // its partner may have gone with another one
            if !single(self, i) {
                continue;
            }
            let Some(&(j, size)) = self.met[self.starts[i]..self.starts[i + 1]].iter().find(|(j, _)| self.there[*j])
            else {
                continue;
            };
            if size < PIVOT {
                continue;
            }
            (self.there[i], self.there[j]) = (false, false);
            for at in self.starts[j]..self.starts[j + 1] {
                let other = self.met[at].0;
                self.count[other] -= 1;
                if single(self, other) {
                    open.push(other);
                }
            }
        }
    }
}

impl SparseKkt {
    /// The rows with `dc = 0` are independent on the free variables: the pattern says so. Where it does not, false.
    pub(super) fn rows_peel_off(&self) -> bool {
        let rows = self.dc.iter().map(|d| *d == 0.0);
        let mut peel = Peel::of(self, rows.chain(self.dx.iter().map(|d| d.is_finite())).collect());
        peel.run(self.m, |_| true);
        !peel.there[..self.m].contains(&true)
    }

    /// Is there a direction of the free variables along which nothing changes? Where the pattern tells.
    pub(super) fn flat_by_pattern(&self) -> Option<bool> {
        let (n, m) = (self.n, self.m);
        let soft = self.dc.iter().any(|d| *d != 0.0 && d.is_finite());
        if soft || self.of.p.extension() > 0 {
            return None;
        }
        // what P ties to another variable, and what it curves
        let (mut tied, mut curved) = (vec![false; n], self.dx.iter().map(|d| *d > 0.0).collect::<Vec<_>>());
        self.of.p.for_each_extended(n + m, |i, j, v| {
            if v != 0.0 && self.dx[i].is_finite() && self.dx[j].is_finite() {
                if i == j && v > 0.0 {
                    curved[i] = true;
                } else {
                    (tied[i], tied[j]) = (true, true);
                }
            }
        });
        let rows = self.dc.iter().map(|d| *d == 0.0);
        let variables = (0..n).map(|j| self.dx[j].is_finite() && (tied[j] || !curved[j]));
        let mut peel = Peel::of(self, rows.chain(variables).collect());
        peel.run(m, |j| !tied[j]);
        let (rows, variables) = peel.there.split_at(m);
        let uncurved = variables.iter().zip(&tied).filter(|(there, tied)| **there && !**tied).count();
        match () {
            () if !variables.contains(&true) => Some(false),
            // more unknowns than equations
            () if uncurved > rows.iter().filter(|there| **there).count() => Some(true),
            () => None,
        }
    }
}
