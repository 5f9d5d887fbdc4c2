//! The way back: multipliers of what was taken out, the last step first.

use super::rows::Rows;
use super::search::{Ray, Step};
use crate::Qp;
use crate::matrix::norm_inf;
use crate::residuals::Point;

/// Of the largest force of a problem, what is clearly not nothing.
const PART: f64 = 1e-3;

/// What was taken out of a program, and where from.
pub(super) struct Back {
    pub rows: Rows,
    pub steps: Vec<Step>,
    /// The values of the columns that are gone, 0 in the others, and the steps that fixed them.
    pub x: Vec<f64>,
    pub by: Vec<usize>,
    /// The bounds of all columns, with those that were rows.
    pub lb: Vec<f64>,
    pub ub: Vec<f64>,
}

/// A point on its way: multipliers of all rows and of all bounds, and the force on every variable without its bounds.
struct Way<'a> {
    back: &'a Back,
    rows: Vec<f64>,
    bounds: Vec<f64>,
    force: Vec<f64>,
    /// A force that is not nothing; 0 in a proof.
    least: f64,
}

impl Way<'_> {
    fn push(&mut self, row: usize, t: f64) {
        if t != 0.0 {
            self.rows[row] += t;
            self.back.rows.row(row).iter().for_each(|&(j, v)| self.force[j] += v * t);
        }
    }

    /// By how much the multiplier of a row may be larger than it has to be, so that nothing that holds has one that vanishes.
    fn room<'b>(&self, row: impl Iterator<Item = &'b (usize, f64)>) -> f64 {
        let largest = row.fold((0.0_f64, 0.0_f64), |(f, a), &(j, v)| (f.max(self.force[j].abs()), a.max(v.abs())));
        if self.least > 0.0 && largest.1 > 0.0 { largest.0.max(self.least) / largest.1 } else { 0.0 }
    }

    /// A multiplier of a row that is not nothing.
    fn share(&self, row: usize) -> f64 {
        let largest = self.back.rows.row(row).iter().fold(0.0_f64, |m, (_, v)| m.max(v.abs()));
        self.least / largest
    }

    /// Multipliers of a row that fixed its variables at their bounds, and of those bounds.
    fn forcing(&mut self, at: usize, row: usize, low: bool, free: bool) {
        let back = self.back;
        let own = || back.rows.row(row).iter().filter(|(j, _)| back.by[*j] == at);
        let sign = if low { 1.0 } else { -1.0 };
        let least = if free { f64::NEG_INFINITY } else { 0.0 };
        let least = own().fold(least, |t, &(j, v)| t.max(-sign * self.force[j] / v));
        let room = self.room(own());
        self.push(row, sign * (least + room));
        for &(j, v) in own() {
            let (z, lower) = (-self.force[j], low == (v > 0.0));
            self.bounds[j] = if lower { z.min(0.0) } else { z.max(0.0) };
        }
    }

    fn undo(&mut self) {
        for (at, step) in self.back.steps.iter().enumerate().rev() {
            match *step {
                Step::Fixed(j) => self.bounds[j] = -self.force[j],
                Step::Equation { row, column, entry } => {
                    self.push(row, -self.force[column] / entry);
                    self.bounds[column] = 0.0;
                }
                Step::Bound { row, column, entry } => {
                    let t = self.bounds[column] / entry;
                    if t > 0.0 {
                        self.bounds[column] = 0.0;
                        self.push(row, t);
                    }
                }
                Step::Forcing { row, low, free } => self.forcing(at, row, low, free),
                Step::Pair { row, other, factor } => {
                    // each has its sign, and what cancels
                    let y = self.rows[row];
                    let room = self.share(row);
                    self.push(row, (-y).max(0.0) + room);
                    self.push(other, (y.min(0.0) - room) / factor);
                }
                Step::Twin { row, other, factor, free } => {
                    // half of what an inequality has; an equation has what cancels
                    let moved = if free { self.share(row).copysign(factor) } else { 0.5 * self.rows[row] };
                    self.push(row, -moved);
                    self.push(other, moved / factor);
                }
            }
        }
    }
}

impl Back {
    /// Completes a point whose `x` is whole, given the multipliers of the rows that were left and of the bounds.
    pub fn point(&self, qp: &Qp, (rows, bounds): (Vec<f64>, Vec<f64>), out: &mut Point) {
        let mut force = qp.q.to_vec();
        qp.p.mul_add(1.0, &out.x, &mut force, &mut Vec::new());
        let least = PART * norm_inf(&qp.q).max(norm_inf(&force));
        self.multipliers(qp, (rows, bounds, force), least, out);
    }

    /// Completes multipliers that prove a contradiction.
    pub fn proof(&self, qp: &Qp, (rows, bounds): (Vec<f64>, Vec<f64>)) -> Point {
        let mut out = Point::default();
        self.multipliers(qp, (rows, bounds, vec![0.0; qp.n()]), 0.0, &mut out);
        out
    }

    /// That of a contradiction in what was left.
    pub fn ray(&self, qp: &Qp, ray: &Ray) -> Point {
        let (mut rows, mut bounds) = (vec![0.0; self.rows.len()], vec![0.0; qp.n()]);
        ray.rows.iter().for_each(|&(i, z)| rows[i] = z);
        ray.bounds.iter().for_each(|&(j, z)| bounds[j] = z);
        self.proof(qp, (rows, bounds))
    }

    fn multipliers(&self, qp: &Qp, (rows, bounds, force): (Vec<f64>, Vec<f64>, Vec<f64>), least: f64, out: &mut Point) {
        let mut way = Way { back: self, rows, bounds, force, least };
        qp.kkt().tmul_add(1.0, &way.rows, &mut way.force);
        way.undo();
        let m = qp.n_equality();
        out.y.clear();
        out.y.extend_from_slice(&way.rows[..m]);
        out.z.clear();
        out.z.extend_from_slice(&way.rows[m..]);
        out.z_box = way.bounds;
        out.s.clear();
        out.y_cone.clear();
    }
}
