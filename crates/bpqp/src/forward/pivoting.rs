//! Block principal pivoting for `minimize 1/2 z'M z + c'z, z >= 0`: guess which multipliers are positive, solve, exchange
//! all that contradict the guess at once (Júdice & Pires, "A block principal pivoting algorithm for large-scale strictly
//! monotone linear complementarity problems", Computers & Operations Research 1994).
//!
//! A round costs a Cholesky factorization of the order of the guess, and a few rounds are enough where M is well
//! conditioned; an interior point takes twice as many, each of the order of all multipliers. It may cycle, and it does not
//! see ties: whoever calls it has another method for what it leaves.

use crate::kkt::{CholeskyScratch, pivots_kept, solve_lower, solve_lower_transposed};
use crate::matrix::columns::{add_columns, column};
use faer::{Mat, MatRef};

/// Rounds at most, and those that may pass without fewer contradictions.
pub(crate) const PIVOTING_ROUNDS: usize = 12;
pub(crate) const PATIENCE: usize = 3;
/// The smallest part of its diagonal entry that a pivot has to keep: below it rows are nearly dependent.
pub(crate) const PIVOT_KEPT: f64 = 1e-10;
/// Multipliers and slacks are clear of zero when they exceed this multiple of the terms that they are sums of.
pub(crate) const PIVOTING_CLEAR: f64 = 1e-7;

/// Its memory.
#[derive(Default)]
pub(super) struct Pivoting {
    positive: Vec<bool>,
    list: Vec<usize>,
    diagonal: Vec<f64>,
    rhs: Vec<f64>,
}

impl Pivoting {
    /// Writes the multipliers `z` and the slacks `s = M z + c` and tells the rounds; `None` where the pivoting does not
    /// end, rows are nearly dependent, or some multiplier and its slack are both nearly zero. `terms(z)` tells the size of the
    /// numbers that each slack is the sum of; `k` is room for a matrix of the order of M.
    pub fn solve<F: Fn(usize) -> f64>(
        &mut self,
        (m, c): (MatRef<'_, f64>, &[f64]),
        terms: impl FnOnce(&[f64]) -> F,
        (scratch, k): (&mut CholeskyScratch, &mut Mat<f64>),
        (z, s): (&mut [f64], &mut [f64]),
    ) -> Option<usize> {
        self.positive.clear();
        self.positive.extend(c.iter().map(|c| *c < 0.0));
        let (mut least, mut patience) = (usize::MAX, PATIENCE);
        for round in 1..=PIVOTING_ROUNDS {
            self.list.clear();
            self.list.extend((0..c.len()).filter(|&i| self.positive[i]));
            self.rhs.clear();
            self.rhs.extend(self.list.iter().map(|&i| -c[i]));
            let l = scratch.factor_part(m, &self.list, k).ok()?;
            self.diagonal.clear();
            self.diagonal.extend(self.list.iter().map(|&i| column(m, i, i)[0]));
            if !pivots_kept(l, &self.diagonal, PIVOT_KEPT) {
                return None;
            }
            solve_lower(l, &mut self.rhs);
            solve_lower_transposed(l, &mut self.rhs);
            z.fill(0.0);
            self.list.iter().zip(&self.rhs).for_each(|(&i, &v)| z[i] = v);
            s.copy_from_slice(c);
            add_columns(m, &self.list, &self.rhs, s);
            let mut wrong = 0;
            for (positive, (z, s)) in self.positive.iter_mut().zip(z.iter().zip(&*s)) {
                let right = if *positive { *z > 0.0 } else { *s > 0.0 };
                wrong += usize::from(!right);
                *positive ^= !right;
            }
            if wrong == 0 {
                self.list.iter().for_each(|&i| s[i] = 0.0);
                let size = terms(z);
                let clear = |i: usize| z[i] * m[(i, i)] + s[i] > PIVOTING_CLEAR * size(i);
                return (0..c.len()).all(clear).then_some(round);
            }
            patience = if wrong < least { PATIENCE } else { patience.checked_sub(1)? };
            least = least.min(wrong);
        }
        None
    }
}
