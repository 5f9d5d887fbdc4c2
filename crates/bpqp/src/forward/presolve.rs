//! What a sparse program has too much of is taken out before it is solved: rows that are empty, that follow from the bounds or
//! from another row, that fix a variable or all of theirs, and variables that are fixed. The point that comes back has all of
//! them, with their multipliers.
//!
//! Nothing here depends on `q`. A multiplier of what was taken out is found from the force on the variables that it fixed,
//! `d = P x + q + A'y + G'z` with the multipliers that are known so far, the last step first:
//!
//! - a row that cannot bind, or a multiple of a tighter one: 0;
//! - a fixed variable: its bound has `-d_j`;
//! - an equation `a x_j = b`: it has `-d_j / a`, the bounds nothing;
//! - an inequality `a x_j <= h`: it has what its bound has, over `a`;
//! - a forcing row, all of whose variables are at the bounds where it is lowest: any `t >= max_j -d_j / a_j` (and at least 0
//!   where it is an inequality) leaves every bound one of the right sign, `-d_j - t a_j`;
//! - rows that say the same, or the two sides of one equation: shares of one multiplier.
//!
//! Where there is a choice no constraint that holds is left without a multiplier, as an interior point would do it: one with
//! neither a slack nor a multiplier is weakly active, which the polish takes for a kink.

mod back;
mod parallel;
mod rows;
mod screen;
mod search;
#[cfg(test)]
mod tests;

use super::Outcome;
use crate::matrix::{Csc, Hessian, Keep, Matrix};
use crate::residuals::Point;
use crate::{Certificate, Qp};
use back::Back;
use rows::{Rows, column};
use search::Search;
use std::sync::Arc;

/// Variables and rows up to which a program is solved as it is.
const SMALL: usize = 64;
/// One in so many of what there is has to be superfluous at first sight, and one in so many in the end.
const GLANCE: usize = 60;
const WORTH: usize = 20;
/// What is gone.
const GONE: usize = usize::MAX;

/// What came of it.
pub(super) enum Presolve {
    /// There is little to take out.
    Little,
    /// What is left, and how to go back.
    Smaller(Box<Smaller>),
    /// A contradiction, with a proof that holds.
    Contradiction(Certificate),
}

/// A program without what was superfluous.
pub(super) struct Smaller {
    back: Back,
    left: Left,
    pub qp: Qp,
}

/// The columns and rows that are left, rows by their place in the stack of both blocks. Equations may come from G.
#[derive(PartialEq)]
struct Left {
    columns: Vec<usize>,
    equations: Vec<usize>,
    inequalities: Vec<usize>,
}

/// True if both have the same numbers but for those of `q`.
fn same_but_for_q(a: &Qp, b: &Qp) -> bool {
    let same = |a: &Arc<[f64]>, b: &Arc<[f64]>| Arc::ptr_eq(a, b) || a == b;
    a.kkt().is_of(b.kkt()) && same(&a.b, &b.b) && same(&a.h, &b.h) && same(&a.lb, &b.lb) && same(&a.ub, &b.ub)
}

/// True if it is for programs of this kind: sparse ones, which are not tiny.
fn takes(qp: &Qp) -> bool {
    let rows = qp.n_equality() + qp.n_inequality();
    let plain = |m: &Matrix| m.is_sparse() || m.nrows() == 0;
    qp.n() + rows > SMALL
        && rows > 0
        && (qp.n_inequality() > 0 || qp.has_bounds())
        && qp.cones.is_empty()
        && plain(&qp.a)
        && plain(&qp.g)
        && matches!(*qp.p, Hessian::Zero(_) | Hessian::Sparse(_) | Hessian::Diagonal(_))
        && u32::try_from(qp.n().max(rows)).is_ok()
        && qp.lb.iter().zip(qp.ub.iter()).all(|(lb, ub)| lb <= ub)
}

impl Presolve {
    /// Of a program, given the one before and what came of it.
    pub fn of(qp: &Qp, last: Option<(Qp, Presolve)>) -> Self {
        let mut known = None;
        if let Some((old, last)) = last {
            if same_but_for_q(&old, qp) {
                return match last {
                    Presolve::Smaller(mut smaller) => {
                        smaller.qp.q = smaller.linear_term(qp).into();
                        Presolve::Smaller(smaller)
                    }
                    other => other,
                };
            }
            if let Presolve::Smaller(smaller) = last {
                known = Some(smaller).filter(|_| old.kkt().is_of(qp.kkt()));
            }
        }
        if !takes(qp) {
            return Presolve::Little;
        }
        let size = qp.n() + qp.n_equality() + qp.n_inequality();
        if GLANCE * screen::superfluous(qp) < size {
            return Presolve::Little;
        }
        let rows = Rows::of(qp);
        let mut search = Search::new(qp, &rows);
        let found = search.run();
        let (left, bounds) = (Left::of(&search), search.bounds);
        let Search { x, by, steps, lb, ub, .. } = search;
        let back = Back { rows, steps, x, by, lb, ub };
        if let Err(ray) = found {
            let proof = Certificate::PrimalInfeasible(back.ray(qp, &ray));
            return if proof.verify(qp) { Presolve::Contradiction(proof) } else { Presolve::Little };
        }
        let size = size - bounds;
        if WORTH * (size - left.count()) < size {
            return Presolve::Little;
        }
        log::debug!("presolve: {} of {size} rows and columns are left", left.count());
        Presolve::Smaller(Box::new(Smaller::new(qp, back, left, known)))
    }
}

impl Left {
    fn of(search: &Search<'_>) -> Self {
        let rows = |equation: bool| {
            let own = (0..search.row.len()).filter(|&i| search.row[i] && search.equation[i] == equation);
            own.collect()
        };
        let columns = (0..search.column.len()).filter(|&j| search.column[j]).collect();
        Left { columns, equations: rows(true), inequalities: rows(false) }
    }

    fn count(&self) -> usize {
        self.columns.len() + self.equations.len() + self.inequalities.len()
    }

    /// The part of the columns and of these rows of both blocks.
    fn rows(&self, qp: &Qp, rows: &[usize]) -> Matrix {
        let place = places(qp.n_equality() + qp.n_inequality(), rows);
        let entries = self.columns.iter().map(|&j| column(qp, j));
        Matrix::Sparse(part((rows.len(), &place), entries))
    }

    fn hessian(&self, p: &Hessian) -> Hessian {
        match p {
            Hessian::Sparse(p) => {
                let place = places(p.ncols(), &self.columns);
                Hessian::Sparse(part((self.columns.len(), &place), self.columns.iter().map(|&j| p.column(j))))
            }
            Hessian::Diagonal(d) => Hessian::Diagonal(self.columns.iter().map(|&j| d[j]).collect()),
            _ => Hessian::Zero(self.columns.len()),
        }
    }
}

/// Where each of those that are left goes.
fn places(count: usize, left: &[usize]) -> Vec<usize> {
    let mut place = vec![GONE; count];
    left.iter().enumerate().for_each(|(to, &from)| place[from] = to);
    place
}

/// The columns with these entries, of which only some rows are left.
fn part<C: Iterator<Item = (usize, f64)>>((rows, place): (usize, &[usize]), columns: impl Iterator<Item = C>) -> Csc {
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for column in columns {
        for (i, v) in column {
            if place[i] != GONE {
                indices.push(place[i]);
                values.push(v);
            }
        }
        indptr.push(indices.len());
    }
    let ncols = indptr.len() - 1;
    Csc::new(rows, ncols, indptr, indices, values).expect("rows that are left are in order")
}

impl Smaller {
    fn new(qp: &Qp, back: Back, left: Left, known: Option<Box<Smaller>>) -> Self {
        let known = known.filter(|known| known.left == left);
        let mut smaller = match known {
            Some(known) => Smaller { back, left, qp: known.qp },
            None => {
                let mut own = qp.clone();
                own.a = Arc::new(left.rows(qp, &left.equations));
                own.g = Arc::new(left.rows(qp, &left.inequalities));
                own.p = Arc::new(left.hessian(&qp.p));
                own.c = Arc::new(Matrix::empty(left.columns.len()));
                own.analysis = Keep::default();
                Smaller { back, left, qp: own }
            }
        };
        let Smaller { left, back, .. } = &smaller;
        let (mut b, mut h) = (qp.b.to_vec(), qp.h.to_vec());
        qp.a.mul_add(-1.0, &back.x, &mut b);
        qp.g.mul_add(-1.0, &back.x, &mut h);
        let rhs = |i: &usize| if *i < b.len() { b[*i] } else { h[*i - b.len()] };
        let (b, h) = (left.equations.iter().map(rhs).collect(), left.inequalities.iter().map(rhs).collect());
        let q = smaller.linear_term(qp).into();
        let bounds = |v: &[f64]| smaller.left.columns.iter().map(|&j| v[j]).collect();
        let (lb, ub) = (bounds(&smaller.back.lb), bounds(&smaller.back.ub));
        (smaller.qp.b, smaller.qp.h, smaller.qp.q, smaller.qp.lb, smaller.qp.ub) = (b, h, q, lb, ub);
        smaller
    }

    /// What `q` and the columns that are gone are to the others.
    fn linear_term(&self, qp: &Qp) -> Vec<f64> {
        let mut q = qp.q.to_vec();
        qp.p.mul_add(1.0, &self.back.x, &mut q, &mut Vec::new());
        self.left.columns.iter().map(|&j| q[j]).collect()
    }

    /// The multipliers of all rows and bounds as far as a point of the smaller program has them.
    fn multipliers(&self, point: &Point) -> (Vec<f64>, Vec<f64>) {
        let (mut rows, mut bounds) = (vec![0.0; self.back.rows.len()], vec![0.0; self.back.x.len()]);
        let Left { columns, equations, inequalities } = &self.left;
        equations.iter().zip(&point.y).for_each(|(&i, y)| rows[i] = *y);
        inequalities.iter().zip(&point.z).for_each(|(&i, z)| rows[i] = *z);
        columns.iter().zip(&point.z_box).for_each(|(&j, z)| bounds[j] = *z);
        (rows, bounds)
    }

    fn whole(&self, x: &[f64], gone: impl Fn(usize) -> f64) -> Vec<f64> {
        let mut out: Vec<f64> = (0..self.back.x.len()).map(gone).collect();
        self.left.columns.iter().zip(x).for_each(|(&j, x)| out[j] = *x);
        out
    }

    /// The point of `qp` that one of the smaller program belongs to. A solver that failed may have written nothing.
    pub fn restore(&self, qp: &Qp, point: &Point, out: &mut Point) {
        if !point.fits(&self.qp) {
            out.reset(qp);
            return;
        }
        let (rows, bounds) = self.multipliers(point);
        out.x = self.whole(&point.x, |j| self.back.x[j]);
        self.back.point(qp, (rows, bounds), out);
    }

    /// What a solver said of the smaller program, said of `qp`; `None` if its proof does not hold there.
    pub fn outcome(&self, qp: &Qp, outcome: Outcome) -> Option<Outcome> {
        let Some(proof) = &outcome.certificate else { return Some(outcome) };
        let proof = match proof {
            Certificate::PrimalInfeasible(point) => {
                let (rows, bounds) = self.multipliers(point);
                Certificate::PrimalInfeasible(self.back.proof(qp, (rows, bounds)))
            }
            Certificate::DualInfeasible(d) => Certificate::DualInfeasible(self.whole(d, |_| 0.0)),
            Certificate::NonConvex(d) => Certificate::NonConvex(self.whole(d, |_| 0.0)),
        };
        proof.verify(qp).then_some(Outcome { certificate: Some(proof), ..outcome })
    }
}
