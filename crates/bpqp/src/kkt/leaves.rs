//! Variables with a pivot of their own and few rows each, taken out before the rest: L has no columns for them.
//!
//! Of `[D C'; C B]` with a diagonal D only the Schur complement `B - C D^-1 C'` is factored. Where each product of two entries of a
//! column goes is known beforehand, and a solve passes over the entries of C as they are stored, once there and once back.

use super::ldl::{Ldl, LdlPattern, PivotError, Pivots};
use std::sync::Arc;

/// Products for each entry of C at most: with more rows in a column, blocks of the factor in vector registers are faster.
const PRODUCTS: usize = 3;

/// What the pattern decides.
pub(super) struct Leaves {
    /// Of the Schur complement.
    pub rest: Arc<LdlPattern>,
    /// Products of two entries of a column: where it goes in the triangle of the rest, and where they are in that of the whole.
    products: Vec<[u32; 3]>,
    /// Where the diagonal of the rest is.
    diagonal: Vec<u32>,
}

/// The numbers.
pub(super) struct Trimmed {
    rest: Ldl,
    /// One over each pivot, and the entries of C times those of their columns, where they are in the triangle of the whole.
    inverse: Vec<f64>,
    divided: Vec<f64>,
}

impl Leaves {
    /// True if no column of C has many of its `entries`, with so many `products` of two of one column.
    pub fn are_small(products: usize, entries: usize) -> bool {
        products <= PRODUCTS * entries
    }

    /// Of the upper triangle of a whole whose first columns have their diagonal alone, and of the pattern of the rest, with the
    /// upper triangle that it was made of and where its entries went. `None` where an index is beyond 32 bits.
    pub fn new(
        (col_ptr, row_idx): (&[usize], &[usize]),
        rest: LdlPattern,
        ((pointers, rows), position): ((&[usize], &[usize]), &[usize]),
    ) -> Option<Self> {
        let m = pointers.len() - 1;
        let n = col_ptr.len() - 1 - m;
        u32::try_from(row_idx.len().max(PRODUCTS * row_idx.len())).ok()?;
        let mut original = vec![0; m];
        rest.place().iter().enumerate().for_each(|(i, &p)| original[p] = i);
        let mut own: Vec<Vec<(usize, u32)>> = vec![Vec::new(); n];
        for (p, &i) in original.iter().enumerate() {
            let (begin, last) = (col_ptr[n + p], col_ptr[n + p + 1] - 1);
            (begin..last).for_each(|k| own[row_idx[k]].push((i, k as u32)));
        }
        let find = |i: usize, j: usize| {
            let (begin, end) = (pointers[i.max(j)], pointers[i.max(j) + 1]);
            let found = rows[begin..end].binary_search(&i.min(j)).ok()?;
            Some(position[begin + found] as u32)
        };
        let mut products = Vec::new();
        for entries in &own {
            for (k, &(i, from)) in entries.iter().enumerate() {
                for &(j, other) in &entries[..=k] {
                    products.push([find(i, j)?, from, other]);
                }
            }
        }
        let diagonal = original.iter().map(|&i| find(i, i)).collect::<Option<_>>()?;
        Some(Leaves { rest: Arc::new(rest), products, diagonal })
    }

    /// About how many numbers it takes.
    pub fn numbers(&self) -> usize {
        (3 * self.products.len() + self.diagonal.len()) / 2 + self.rest.numbers()
    }
}

impl Trimmed {
    pub fn new(leaves: &Leaves, dim: usize, stored: usize) -> Result<Self, &'static str> {
        let n = dim - leaves.diagonal.len();
        Ok(Trimmed { rest: Ldl::new(&leaves.rest)?, inverse: vec![0.0; n], divided: vec![0.0; stored] })
    }

    /// Factors the whole with these values.
    pub fn factor(
        &mut self,
        leaves: &Leaves,
        (col_ptr, row_idx): (&[usize], &[usize]),
        values: &[f64],
    ) -> Result<Pivots, PivotError> {
        let n = self.inverse.len();
        // what is not finite makes 0 d NaN
        let (mut least, mut check) = (f64::INFINITY, 0.0);
        for (inverse, &d) in self.inverse.iter_mut().zip(&values[..n]) {
            *inverse = 1.0 / d;
            least = if d.abs() < least { d.abs() } else { least };
            check += 0.0 * d;
        }
        if f64::is_nan(check) {
            return Err(PivotError::NotFinite);
        }
        if least == 0.0 {
            return Err(PivotError::Zero);
        }
        let rest = self.rest.values_mut();
        rest.fill(0.0);
        for (p, &at) in leaves.diagonal.iter().enumerate() {
            rest[at as usize] = values[col_ptr[n + p + 1] - 1];
        }
        let divided = self.divided[n..].iter_mut().zip(&values[n..]).zip(&row_idx[n..]);
        // the diagonal of the rows, which nobody reads here, has no pivot
        divided.for_each(|((divided, v), &j)| *divided = self.inverse.get(j).map_or(0.0, |inverse| v * inverse));
        for &[place, entry, other] in &leaves.products {
            rest[place as usize] -= self.divided[entry as usize] * values[other as usize];
        }
        let mut pivots = self.rest.factor()?;
        for &d in &values[..n] {
            pivots.positive += usize::from(d > 0.0);
            pivots.smallest_negative =
                if d < 0.0 { pivots.smallest_negative.min(-d) } else { pivots.smallest_negative };
        }
        Ok(pivots)
    }

    /// Solves in place, in permuted order.
    pub fn solve(&mut self, (col_ptr, row_idx): (&[usize], &[usize]), x: &mut [f64]) {
        let n = self.inverse.len();
        let (own, rows) = x.split_at_mut(n);
        // the diagonal of a row is its last entry
        let entries = |p: usize| {
            let all = col_ptr[n + p]..col_ptr[n + p + 1] - 1;
            row_idx[all.clone()].iter().zip(&self.divided[all])
        };
        for (p, row) in rows.iter_mut().enumerate() {
            *row -= entries(p).map(|(&j, v)| v * own[j]).sum::<f64>();
        }
        self.rest.solve(rows);
        own.iter_mut().zip(&self.inverse).for_each(|(x, inverse)| *x *= inverse);
        for (p, row) in rows.iter().enumerate() {
            entries(p).for_each(|(&j, v)| own[j] -= v * row);
        }
    }
}
