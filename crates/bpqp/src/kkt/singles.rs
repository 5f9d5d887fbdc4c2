//! Rows with one entry: they are no rows of a factorization but part of its diagonal, as bounds are.
//!
//! A row `a w_j - c v = s` with `0 < c < inf` gives `v = (a w_j - s)/c`, which adds `a^2/c` to `dx[j]` and `a s/c` to the
//! right-hand side. Where c = 0 it fixes `w_j = s/a`: the variable is pinned, its column moves to the right-hand side, and
//! `v` is whatever makes row j of the first equation hold. Several that fix one variable are dependent: the one of least
//! squares is taken, and multipliers of least norm.

use super::{Breakdown, KktData, KktFactor, Matrices, prepare};
use crate::Error;
use crate::matrix::{Keep, Matrix};
use std::sync::Arc;

const NONE: usize = usize::MAX;

/// A row with one entry: where it is in the stack, its column, its entry.
#[derive(Debug, Clone, Copy)]
struct Single {
    row: usize,
    column: usize,
    entry: f64,
}

/// The rows of a system, taken apart. Curved cones keep theirs: they change with every point.
struct Apart {
    of: Matrices,
    single: Vec<Single>,
    /// The other rows, and where they are in the stack.
    rest: [Arc<Matrix>; 3],
    kept: Vec<usize>,
}

impl Apart {
    fn new(data: KktData<'_>) -> Self {
        let mut single = Vec::new();
        let mut kept = Vec::new();
        let mut first = 0;
        let mut rest = data.rows.map(Arc::clone);
        for (k, block) in data.rows.into_iter().enumerate() {
            let rows = block.nrows();
            let mut entry = vec![(0, NONE, 0.0); rows];
            if k < 2 {
                block.for_each(|i, j, v| {
                    if v != 0.0 {
                        entry[i] = (entry[i].0 + 1, j, v);
                    }
                });
            }
            let own: Vec<usize> = (0..rows).filter(|&i| entry[i].0 != 1).collect();
            single.extend(
                (entry.iter().enumerate().filter(|(_, e)| e.0 == 1)).map(|(i, &(_, column, entry))| Single {
                    row: first + i,
                    column,
                    entry,
                }),
            );
            if own.len() < rows {
                rest[k] = Arc::new(block.select_rows(&own));
            }
            kept.extend(own.iter().map(|i| first + i));
            first += rows;
        }
        Apart { of: Matrices::of(data), single, rest, kept }
    }

    fn data<'a>(&'a self, p: &'a Arc<crate::Hessian>, analysis: &'a Keep) -> KktData<'a> {
        KktData { p, rows: self.rest.each_ref(), analysis }
    }
}

/// Number of rows with more entries than one, or none.
pub(super) fn other_rows(data: KktData<'_>) -> usize {
    let mut count = data.rows[2].nrows();
    for block in &data.rows[..2] {
        count += block.entries_of_rows().iter().filter(|&&e| e != 1).count();
    }
    count
}

/// A factorization of the other rows, with those of one entry in its diagonal.
pub(crate) struct SinglesKkt {
    apart: Apart,
    inner: Box<dyn KktFactor>,
    analysis: Keep,
    dx: Vec<f64>,
    dc: Vec<f64>,
    /// Of the inner system.
    dx_inner: Vec<f64>,
    dc_inner: Vec<f64>,
    /// The sum of the squares of the entries of the hard rows of each variable; 0 where there is none.
    fixed: Vec<f64>,
    /// Some variable is held more than once.
    dependent: bool,
    /// Some variable is fixed by a row.
    any_fixed: bool,
    at: Vec<f64>,
    force: Vec<f64>,
    inner_v: Vec<f64>,
    work: Vec<f64>,
}

impl SinglesKkt {
    pub fn new(data: KktData<'_>) -> Result<Self, Error> {
        let apart = Apart::new(data);
        let analysis = Keep::default();
        let inner = prepare(apart.data(data.p, &analysis))?;
        let empty = Vec::new;
        Ok(SinglesKkt {
            apart,
            inner,
            analysis,
            dx: empty(),
            dc: empty(),
            dx_inner: empty(),
            dc_inner: empty(),
            fixed: empty(),
            dependent: false,
            any_fixed: false,
            at: empty(),
            force: empty(),
            inner_v: empty(),
            work: empty(),
        })
    }

    /// Solves in place, the system without those rows by `by`.
    fn solve_by(
        &mut self,
        by: impl FnOnce(&mut dyn KktFactor, &mut [f64], &mut [f64]),
        (w, v): (&mut [f64], &mut [f64]),
    ) {
        let of = &self.apart.of;
        self.force.clear();
        self.force.extend_from_slice(w);
        self.at.clear();
        self.at.resize(w.len(), 0.0);
        for &Single { row, column, entry } in &self.apart.single {
            if self.dc[row] == 0.0 {
                // nothing moves a variable that is pinned besides
                if self.dx[column] < f64::INFINITY {
                    self.at[column] += entry * v[row] / self.fixed[column];
                }
            } else if self.dc[row] < f64::INFINITY {
                w[column] += entry * v[row] / self.dc[row];
            }
        }
        self.inner_v.clear();
        self.inner_v.extend(self.apart.kept.iter().map(|&row| v[row]));
        let moved = self.any_fixed && self.at.iter().any(|&t| t != 0.0);
        let rest = self.apart.data(&of.p, &self.analysis);
        if moved {
            of.p.mul_add(-1.0, &self.at, w, &mut self.work);
            rest.mul_add(-1.0, &self.at, &mut self.inner_v);
        }
        by(&mut *self.inner, w, &mut self.inner_v);
        if moved {
            w.iter_mut().zip(&self.at).for_each(|(w, t)| *w += t);
        }
        // the forces that are left for the rows that fix a variable
        if self.any_fixed {
            of.p.mul_add(-1.0, w, &mut self.force, &mut self.work);
            rest.tmul_add(-1.0, &self.inner_v, &mut self.force);
            for ((force, w), dx) in self.force.iter_mut().zip(&*w).zip(&self.dx) {
                *force -= if *w == 0.0 { 0.0 } else { dx * w };
            }
        }
        for &Single { row, column, entry } in &self.apart.single {
            let dc = self.dc[row];
            if dc > 0.0 && dc < f64::INFINITY {
                v[row] = (entry * w[column] - v[row]) / dc;
                self.force[column] -= entry * v[row];
            }
        }
        for &Single { row, column, entry } in &self.apart.single {
            if self.dc[row] == f64::INFINITY {
                v[row] = 0.0;
            } else if self.dc[row] == 0.0 {
                // one that holds a variable that is pinned besides carries nothing
                let free = self.dx[column] < f64::INFINITY;
                v[row] = if free { entry * self.force[column] / self.fixed[column] } else { 0.0 };
            }
        }
        self.apart.kept.iter().zip(&self.inner_v).for_each(|(&row, own)| v[row] = *own);
    }
}

impl KktFactor for SinglesKkt {
    fn load(&mut self, data: KktData<'_>) -> Result<(), Error> {
        if self.apart.of.are(data) {
            return Ok(());
        }
        if self.apart.of.have_rows(data) {
            self.apart.of = Matrices::of(data);
            return self.inner.load(self.apart.data(data.p, &self.analysis));
        }
        let apart = Apart::new(data);
        if apart.kept == self.apart.kept {
            self.apart = apart;
            return self.inner.load(self.apart.data(data.p, &self.analysis));
        }
        // other rows have one entry now
        let analysis = Keep::default();
        self.inner = prepare(apart.data(data.p, &analysis))?;
        (self.apart, self.analysis) = (apart, analysis);
        Ok(())
    }

    fn begin(&mut self) {
        self.inner.begin();
    }

    fn factor(&mut self, dx: &[f64], dc: &[f64]) -> Result<(), Breakdown> {
        let copy = |to: &mut Vec<f64>, from: &[f64]| {
            to.clear();
            to.extend_from_slice(from);
        };
        copy(&mut self.dx, dx);
        copy(&mut self.dc, dc);
        copy(&mut self.dx_inner, dx);
        self.dc_inner.clear();
        self.dc_inner.extend(self.apart.kept.iter().map(|&row| dc[row]));
        self.fixed.clear();
        self.fixed.resize(dx.len(), 0.0);
        (self.dependent, self.any_fixed) = (false, false);
        for &Single { row, column, entry } in &self.apart.single {
            if dc[row] == 0.0 {
                self.dependent |= dx[column] == f64::INFINITY || self.fixed[column] > 0.0;
                self.fixed[column] += entry * entry;
                self.dx_inner[column] = f64::INFINITY;
                self.any_fixed = true;
            } else if dc[row] < f64::INFINITY {
                self.dx_inner[column] += entry * entry / dc[row];
            }
        }
        self.inner.factor(&self.dx_inner, &self.dc_inner)
    }

    fn solve(&mut self, w: &mut [f64], v: &mut [f64]) {
        self.solve_by(|inner, w, v| inner.solve(w, v), (w, v));
    }

    fn solve_step(&mut self, w: &mut [f64], v: &mut [f64], part: f64) {
        self.solve_by(|inner, w, v| inner.solve_step(w, v, part), (w, v));
    }

    fn refines(&self) -> bool {
        self.inner.refines()
    }

    fn rounded(&self) -> bool {
        self.inner.rounded()
    }

    fn deficient(&mut self) -> bool {
        self.dependent || self.inner.deficient()
    }

    fn flat(&mut self) -> bool {
        self.inner.flat()
    }

    fn determines(&mut self) -> bool {
        self.inner.determines()
    }

    fn leave_face(&self, w: &mut [f64]) -> bool {
        self.inner.leave_face(w)
    }

    fn face_doubt(&self) -> f64 {
        self.inner.face_doubt()
    }

    fn reciprocal_condition(&self) -> f64 {
        if self.dependent { 0.0 } else { self.inner.reciprocal_condition() }
    }
}
