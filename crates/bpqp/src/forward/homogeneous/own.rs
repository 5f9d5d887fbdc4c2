//! Semidefinite cones whose rows are variables: `D x + s = h` with a diagonal `D`, where no other cone, no bound and no entry
//! of P meets these variables. That is the form of `minimize <C, X>, A X = b, X in K`.
//!
//! Of their equations `B'v + D z = f` and `D x - H z = k` both unknowns are eliminated,
//!
//! ```text
//! z = D^-1 (f - B'v)      x = D^-1 (k + H z)
//! ```
//!
//! which leaves `-B D^-1 H D^-1 B'` to the rows `B` of E and G that meet them. It is of the order of these rows, and as
//! good-natured as the solution; `H^-1`, condensed to the variables, has eigenvalues from `mu` to `1/mu`, and the small
//! ones are lost.

use super::program::Program;
use super::scaling::{Kind, Scaling};
use super::semidefinite::{Semidefinite, product};
use super::sparse::for_each_fixed;
use super::system::Support;
use crate::matrix::Csc;
use faer::Mat;
use std::ops::Range;

pub(super) struct Own {
    /// The rows of the cone in C and in R, the variable of each, and D.
    rows: Range<usize>,
    variables: Vec<usize>,
    d: Vec<f64>,
    /// The unknowns of the rows `B`, and `D^-1 B'` by these.
    pub touching: Vec<usize>,
    b: Csc,
    support: Support,
    /// Columns of `H` that are needed, and it.
    needed: Vec<usize>,
    h: Mat<f64>,
    column: Vec<f64>,
    /// Right-hand sides, and scratch.
    f: Vec<f64>,
    k: Vec<f64>,
    t: Vec<f64>,
}

impl Own {
    /// Of the cone with these rows of C; `None` if it is not of this form, or the rows that it meets are more than its own.
    pub fn new(
        program: &Program,
        (csc, transposed): (&Csc, &Csc),
        rows: Range<usize>,
        starts: (usize, usize),
    ) -> Option<Self> {
        let n = program.n();
        let variable = |i: usize| {
            let own = &transposed.indices()[transposed.indptr()[i]..transposed.indptr()[i + 1]];
            let alone = |j: &usize| csc.indptr()[j + 1] - csc.indptr()[*j] == 1;
            own.first().copied().filter(|j| own.len() == 1 && alone(j))
        };
        let variables: Vec<usize> = rows.clone().map(variable).collect::<Option<_>>()?;
        let mut met = vec![false; n];
        variables.iter().for_each(|&j| met[j] = true);
        let mut alone = true;
        program.p.for_each_extended(n, |i, j, _| {
            alone &= !(met.get(i) == Some(&true) || met.get(j) == Some(&true));
        });
        let bounds = &program.rows;
        alone &= !bounds.lower.iter().chain(&bounds.upper).chain(&bounds.fixed).any(|&i| met[i]);
        let mut touching = Vec::new();
        for_each_fixed(program, starts, |j, unknown, _| {
            if unknown >= starts.0 && met.get(j) == Some(&true) {
                touching.push(unknown);
            }
        });
        touching.sort_unstable();
        touching.dedup();
        if !alone || touching.len() > rows.len() {
            return None;
        }
        let size = rows.len();
        let v = || vec![0.0; size];
        let (b, h) = (empty(size, touching.len()), Mat::zeros(size, size));
        let (support, needed) = (Vec::new(), Vec::new());
        Some(Own { rows, variables, d: v(), touching, b, support, needed, h, column: v(), f: v(), k: v(), t: v() })
    }

    /// True for its variables.
    pub fn mark(&self, of_own: &mut [bool]) {
        self.variables.iter().for_each(|&j| of_own[j] = true);
    }

    /// Takes the numbers.
    pub fn load(&mut self, program: &Program, transposed: &Csc, starts: (usize, usize)) {
        let mut position = vec![usize::MAX; program.n()];
        self.variables.iter().enumerate().for_each(|(k, &j)| position[j] = k);
        self.d.iter_mut().zip(self.rows.clone()).for_each(|(d, i)| *d = transposed.values()[transposed.indptr()[i]]);
        let mut entries = Vec::new();
        for_each_fixed(program, starts, |j, unknown, v| {
            if let (Ok(row), Some(&k)) = (self.touching.binary_search(&unknown), position.get(j)) {
                if k != usize::MAX {
                    entries.push((row, k, v / self.d[k]));
                }
            }
        });
        entries.sort_unstable_by_key(|&(row, k, _)| (row, k));
        let starts = (0..=self.touching.len()).map(|row| entries.partition_point(|e| e.0 < row)).collect::<Vec<_>>();
        self.support = starts.windows(2).enumerate().map(|(row, w)| (row, w[0]..w[1])).collect();
        let indices: Vec<usize> = entries.iter().map(|e| e.1).collect();
        self.needed.clone_from(&indices);
        self.needed.sort_unstable();
        self.needed.dedup();
        let values = entries.iter().map(|e| e.2).collect();
        let (size, rows) = (self.rows.len(), self.touching.len());
        self.b = Csc::new(size, rows, starts, indices, values).unwrap_or_else(|_| empty(size, rows));
    }

    /// Calls `add` for the lower triangle of `B D^-1 H D^-1 B'`, column by column.
    pub fn schur(&mut self, scaling: &Semidefinite, mut add: impl FnMut(f64)) {
        scaling.columns(&self.needed, &mut self.h);
        product((&self.b, &self.support, 0), &self.h, &mut self.column, |_, _, v| add(v));
    }

    /// Takes its right-hand sides out of the parts, to those of the rows `B`: of E, then of G.
    pub fn begin(&mut self, scaling: &mut Scaling, block: usize, [x, y, z]: [&mut [f64]; 3], first: usize) {
        let block = &mut scaling.blocks[block];
        for (i, &j) in self.variables.iter().enumerate() {
            self.f[i] = x[j] / self.d[i];
            x[j] = 0.0;
        }
        let own = &mut z[block.rows.clone()];
        self.k.copy_from_slice(own);
        own.fill(0.0);
        mul(&mut block.kind, &self.f, &mut self.t);
        self.t.iter_mut().zip(&self.k).for_each(|(t, k)| *t += k);
        for ((_, range), &unknown) in self.support.iter().zip(&self.touching) {
            let entries = self.b.indices()[range.clone()].iter().zip(&self.b.values()[range.clone()]);
            let along: f64 = entries.map(|(&k, v)| v * self.t[k]).sum();
            *entry((y, z), unknown - first) -= along;
        }
    }

    /// Puts its unknowns into the parts, where those of the rows are known.
    pub fn end(&mut self, scaling: &mut Scaling, block: usize, [x, y, z]: [&mut [f64]; 3], first: usize) {
        for ((_, range), &unknown) in self.support.iter().zip(&self.touching) {
            let v = *entry((y, z), unknown - first);
            let entries = self.b.indices()[range.clone()].iter().zip(&self.b.values()[range.clone()]);
            entries.for_each(|(&k, b)| self.f[k] -= b * v);
        }
        let block = &mut scaling.blocks[block];
        z[block.rows.clone()].copy_from_slice(&self.f);
        mul(&mut block.kind, &self.f, &mut self.t);
        for (i, &j) in self.variables.iter().enumerate() {
            x[j] = (self.k[i] + self.t[i]) / self.d[i];
        }
    }
}

fn empty(rows: usize, cols: usize) -> Csc {
    Csc::from_dense(&Mat::zeros(rows, cols))
}

fn mul(kind: &mut Kind, z: &[f64], out: &mut [f64]) {
    if let Kind::Semidefinite(own) = kind {
        own.mul(z, out);
    }
}

/// The entry of a row of E, or of G behind them.
fn entry<'a>((y, z): (&'a mut [f64], &'a mut [f64]), k: usize) -> &'a mut f64 {
    let m = y.len();
    if k < m { &mut y[k] } else { &mut z[k - m] }
}
