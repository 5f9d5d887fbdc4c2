//! The numbers of a system in equilibrated units. Forward solver and polish ask for the same one after the other, and so does
//! every step of who changes vectors only: what was made last is kept beside its pattern.

use super::SparseKkt;
use crate::kkt::analysis::SKIP;
use crate::kkt::equilibrate::{Equilibrated, power_of_two, raise_curvature, ruiz};
use std::sync::{Arc, PoisonError};

/// Sweeps of the equilibration.
const RUIZ_SWEEPS: usize = 8;
/// Largest exponent of its factors.
pub(super) const LIMIT: f64 = 60.0;

impl SparseKkt {
    /// Writes the numbers of the blocks, equilibrated.
    pub(super) fn rewrite(&mut self) {
        let data = &mut self.data;
        data.fill(0.0);
        let mut at = self.analysis.at.iter();
        self.of.p.for_each_extended(self.n + self.m, |_, _, v| put(data, at.next(), v));
        for (_, block) in self.of.blocks() {
            block.for_each(|_, _, v| put(data, at.next(), v));
        }

        let sizes = (self.n, self.m);
        let last = self.ldl.pattern().equilibrated.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let same =
            |last: &&Arc<Equilibrated>| last.sizes == sizes && last.apart == self.apart && last.given[..] == data[..];
        if let Some(last) = last.as_ref().filter(same) {
            self.data.copy_from_slice(&last.data);
            self.units.copy_from_slice(&last.units);
            return;
        }
        let given = data.clone();

        let (place, col_ptr, row_idx) = (self.ldl.place(), self.ldl.col_ptr(), self.ldl.row_idx());
        let s = &mut self.x;
        s.fill(1.0);
        let entries = |f: &mut dyn FnMut(usize, usize, f64)| {
            for j in 0..place.len() {
                (col_ptr[j]..col_ptr[j + 1]).for_each(|k| f(row_idx[k], j, data[k]));
            }
        };
        ruiz(RUIZ_SWEEPS, f64::INFINITY, (s, &mut self.r), (self.apart, &entries), |s, largest| {
            for (j, (ends, &own)) in col_ptr.windows(2).zip(s).enumerate() {
                let (range, mut most) = (ends[0]..ends[1], 0.0_f64);
                for (&i, v) in row_idx[range.clone()].iter().zip(&data[range]) {
                    let v = (v * s[i] * own).abs();
                    if v > largest[i] {
                        largest[i] = v;
                    }
                    most = most.max(v);
                }
                largest[j] = largest[j].max(most);
            }
        });
        if self.of.p.extension() == 0 {
            let (parts, raised) = (&self.analysis.parts, &mut self.r);
            raised.fill(0.0);
            self.of.p.for_each_extended(self.n + self.m, |i, j, v| {
                let largest = &mut raised[parts[i]];
                *largest = largest.max((v * s[place[i]] * s[place[j]]).abs());
            });
            raised.iter_mut().for_each(|c| *c = raise_curvature(*c));
            for (i, (&p, &part)) in place.iter().zip(parts).enumerate() {
                let c = raised[part];
                s[p] *= if i < self.n { c } else { 1.0 / c };
            }
        }
        s.iter_mut().for_each(|s| *s = power_of_two(*s, LIMIT));
        for j in 0..s.len() {
            for k in col_ptr[j]..col_ptr[j + 1] {
                data[k] *= s[row_idx[k]] * s[j];
            }
        }
        for (i, unit) in self.units.iter_mut().enumerate() {
            *unit = s[place[i]];
        }
        let (units, data) = (self.units.clone(), data.clone());
        let new = Arc::new(Equilibrated { sizes, apart: self.apart, given, units, data });
        *self.ldl.pattern().equilibrated.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
    }
}

fn put(data: &mut [f64], at: Option<&usize>, v: f64) {
    if let Some(&k) = at.filter(|k| **k != SKIP) {
        data[k] += v;
    }
}
