//! Rows that are multiples of each other.

use super::search::{HOLDS, Look, Ray, Search, Step};
use std::collections::HashMap;

/// Entries of rows that are multiples of each other agree to this part.
const AGREE: f64 = 1e-13;

/// The last part of SplitMix: every bit of what comes out depends on all that went in.
pub(super) fn mixed(v: u64) -> u64 {
    let v = (v ^ (v >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let v = (v ^ (v >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    v ^ (v >> 31)
}

/// A number between 1/2 and 3/2 that has nothing to do with that of another column.
pub(super) fn weight(j: usize) -> f64 {
    let mixed = mixed(j as u64 + 1);
    0.5 + (mixed >> 12) as f64 / (1u64 << 52) as f64
}

/// What numbers that differ by rounding have in common, as a rule.
pub(super) fn rounded(v: f64) -> u64 {
    (v.to_bits() + (1 << 23)) >> 24
}

/// The rows of one direction that are left: an equation, or at most one inequality for each side.
#[derive(Default, Clone, Copy)]
struct Class {
    equation: Option<usize>,
    sides: [Option<usize>; 2],
}

impl Search<'_> {
    /// Of rows that are multiples of each other the tighter one stays, and two sides that meet are an equation. True if there was
    /// something of the kind that changes what other rows may say.
    pub fn find_parallel(&mut self) -> Result<bool, Ray> {
        let mut classes: HashMap<(usize, u64), Class> = HashMap::new();
        let mut changed = false;
        for i in 0..self.rows.len() {
            if !self.row[i] {
                continue;
            }
            let (mut key, mut pivot, mut left) = (0.0, 0.0, 0);
            for &(j, v) in self.rows.row(i).iter().filter(|(j, _)| self.column[*j]) {
                if left == 0 {
                    pivot = v;
                }
                key += v / pivot * weight(j);
                left += 1;
            }
            let class = classes.entry((left, rounded(key))).or_default();
            let first = class.equation.or(class.sides[0]).or(class.sides[1]);
            if first.is_some_and(|first| !self.are_parallel(first, i)) {
                continue;
            }
            let mut new = *class;
            let met = self.join(&mut new, i, pivot)?;
            changed |= met;
            *class = new;
        }
        Ok(changed)
    }

    /// A row joins its class; true if an inequality became an equation.
    fn join(&mut self, class: &mut Class, i: usize, pivot: f64) -> Result<bool, Ray> {
        if self.equation[i] {
            if let Some(other) = class.equation {
                // what one says the other says
                let (apart, terms) = self.apart(i, other);
                return if apart.abs() <= HOLDS * terms {
                    self.row[i] = false;
                    Ok(false)
                } else {
                    Err(self.contradict(i, other))
                };
            }
            class.equation = Some(i);
            for side in std::mem::take(&mut class.sides).into_iter().flatten() {
                self.within(side, i)?;
            }
            return Ok(false);
        }
        if let Some(equation) = class.equation {
            return self.within(i, equation).map(|()| false);
        }
        let side = usize::from(pivot > 0.0);
        if let Some(other) = class.sides[side] {
            let (apart, terms) = self.apart(i, other);
            // in the units of the pivot, which is positive above
            let looser = if side == 1 { apart >= 0.0 } else { apart <= 0.0 };
            let (stays, goes) = if looser { (other, i) } else { (i, other) };
            self.drop_beside(goes, stays, apart.abs() <= HOLDS * terms);
            class.sides[side] = Some(stays);
            if looser {
                return Ok(false);
            }
        } else {
            class.sides[side] = Some(i);
        }
        let Some(other) = class.sides[1 - side] else { return Ok(false) };
        let (apart, terms) = self.apart(i, other);
        let room = if side == 1 { apart } else { -apart };
        if room < -HOLDS * terms {
            return Err(self.contradict(i, other));
        }
        if room > HOLDS * terms {
            return Ok(false);
        }
        *class = Class { equation: Some(other), sides: [None; 2] };
        self.pair(other, i, self.factor(other, i));
        Ok(true)
    }

    /// An inequality beside an equation: it holds, or it does not.
    fn within(&mut self, inequality: usize, equation: usize) -> Result<(), Ray> {
        let (apart, terms) = self.apart(inequality, equation);
        let room = if self.pivot(inequality) > 0.0 { apart } else { -apart };
        if room < -HOLDS * terms {
            return Err(self.contradict(inequality, equation));
        }
        self.drop_beside(inequality, equation, room <= HOLDS * terms);
        Ok(())
    }

    fn drop_beside(&mut self, goes: usize, stays: usize, same: bool) {
        self.row[goes] = false;
        if same {
            let (factor, free) = (self.factor(stays, goes), self.equation[stays]);
            self.steps.push(Step::Twin { row: stays, other: goes, factor, free });
        }
    }

    fn pivot(&self, i: usize) -> f64 {
        self.rows.row(i).iter().find(|(j, _)| self.column[*j]).map_or(1.0, |(_, v)| *v)
    }

    fn factor(&self, of: usize, other: usize) -> f64 {
        self.pivot(other) / self.pivot(of)
    }

    /// The difference of the right-hand sides in the units of the pivots, and its terms.
    fn apart(&self, i: usize, other: usize) -> (f64, f64) {
        let rest = |i: usize| {
            let (Look { gone, terms, .. }, pivot) = (self.look(i), self.pivot(i));
            ((self.rhs(i) - gone) / pivot, (terms / pivot).abs())
        };
        let (own, other) = (rest(i), rest(other));
        (own.0 - other.0, own.1 + other.1)
    }

    fn contradict(&self, i: usize, other: usize) -> Ray {
        let sign = if self.apart(i, other).0 > 0.0 { -1.0 } else { 1.0 };
        Ray { rows: vec![(i, sign / self.pivot(i)), (other, -sign / self.pivot(other))], bounds: Vec::new() }
    }

    fn are_parallel(&self, first: usize, i: usize) -> bool {
        let left = |i: usize| self.rows.row(i).iter().filter(|(j, _)| self.column[*j]);
        let factor = self.factor(first, i);
        left(first).count() == left(i).count()
            && left(first).zip(left(i)).all(|((j, v), (k, w))| j == k && (w - factor * v).abs() <= AGREE * w.abs())
    }
}
