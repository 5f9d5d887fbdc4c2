//! What can be taken out of a program, found row by row until nothing changes.

use super::rows::{Rows, column};
use crate::Qp;

/// What holds to this part of its terms holds; what is off by more does not.
pub(super) const HOLDS: f64 = 1e-12;
/// Times that all rows may be gone through.
const SWEEPS: usize = 20;
/// What has fixed no column.
const NONE: usize = usize::MAX;

/// What was taken out, in this order; rows that cannot bind leave no trace. Rows are those of the stack of both blocks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// A variable whose bounds are one.
    Fixed(usize),
    /// An equation in one variable.
    Equation { row: usize, column: usize, entry: f64 },
    /// An inequality in one variable, which is its tightest bound on that side.
    Bound { row: usize, column: usize, entry: f64 },
    /// A row that holds with all of its variables at the bounds where it is lowest (or highest) and nowhere else: they were
    /// fixed there. The multiplier of an equation is free.
    Forcing { row: usize, low: bool, free: bool },
    /// Two inequalities that are the two sides of one equation, which the first one now is; the other is this multiple of it.
    Pair { row: usize, other: usize, factor: f64 },
    /// An inequality that says the same as another row, of which it is this multiple, or half of what an equation says.
    Twin { row: usize, other: usize, factor: f64, free: bool },
}

/// Multipliers of rows and of bounds under which what is left contradicts itself.
#[derive(Debug, Default)]
pub(super) struct Ray {
    pub rows: Vec<(usize, f64)>,
    pub bounds: Vec<(usize, f64)>,
}

/// The state of the search.
pub(super) struct Search<'a> {
    pub qp: &'a Qp,
    pub rows: &'a Rows,
    /// Rows that are equations, rows and columns that are left.
    pub equation: Vec<bool>,
    pub row: Vec<bool>,
    pub column: Vec<bool>,
    pub lb: Vec<f64>,
    pub ub: Vec<f64>,
    /// The value of the columns that are gone, and the step that fixed each.
    pub x: Vec<f64>,
    pub by: Vec<usize>,
    pub steps: Vec<Step>,
    /// Rows with one entry that were inequalities.
    pub bounds: usize,
    waiting: Vec<usize>,
    waits: Vec<bool>,
}

/// A row at the bounds of its variables.
pub(super) struct Look {
    /// Variables that are left, and the last of them with its entry.
    pub left: usize,
    last: (usize, f64),
    /// The sum over those that are gone, and the terms of that and of the right-hand side.
    pub gone: f64,
    pub terms: f64,
    /// The lowest and the highest value, the terms of each, infinite if it is.
    low: (f64, f64),
    high: (f64, f64),
}

impl<'a> Search<'a> {
    pub fn new(qp: &'a Qp, rows: &'a Rows) -> Self {
        let (m, k, n) = (qp.n_equality(), rows.len(), qp.n());
        Search {
            qp,
            rows,
            equation: (0..k).map(|i| i < m).collect(),
            row: vec![true; k],
            column: vec![true; n],
            lb: qp.lb.to_vec(),
            ub: qp.ub.to_vec(),
            x: vec![0.0; n],
            by: vec![NONE; n],
            steps: Vec::new(),
            bounds: 0,
            waiting: (0..k).collect(),
            waits: vec![true; k],
        }
    }

    /// The right-hand side of a row.
    pub fn rhs(&self, i: usize) -> f64 {
        let m = self.qp.n_equality();
        if i < m { self.qp.b[i] } else { self.qp.h[i - m] }
    }

    /// Until nothing changes, or for long enough. What contradicts itself is an error.
    pub fn run(&mut self) -> Result<(), Ray> {
        for j in 0..self.column.len() {
            if self.lb[j] == self.ub[j] {
                self.fix(j, self.lb[j], Step::Fixed(j));
            }
        }
        for _ in 0..SWEEPS {
            for i in std::mem::take(&mut self.waiting) {
                self.waits[i] = false;
                if self.row[i] {
                    self.visit(i)?;
                }
            }
            if self.waiting.is_empty() && !self.find_parallel()? {
                break;
            }
        }
        Ok(())
    }

    pub fn look(&self, i: usize) -> Look {
        let size = self.rhs(i).abs();
        let size = if size.is_finite() { size } else { 0.0 };
        let mut look = Look { left: 0, last: (0, 0.0), gone: 0.0, terms: size, low: (0.0, 0.0), high: (0.0, 0.0) };
        for &(j, v) in self.rows.row(i) {
            if !self.column[j] {
                let term = v * self.x[j];
                look.gone += term;
                look.terms += term.abs();
                continue;
            }
            look.left += 1;
            look.last = (j, v);
            let (low, high) = if v > 0.0 { (self.lb[j], self.ub[j]) } else { (self.ub[j], self.lb[j]) };
            look.low.0 += v * low;
            look.low.1 += (v * low).abs();
            look.high.0 += v * high;
            look.high.1 += (v * high).abs();
        }
        for side in [&mut look.low, &mut look.high] {
            side.0 += look.gone;
            side.1 += look.terms;
        }
        look
    }

    fn visit(&mut self, i: usize) -> Result<(), Ray> {
        let (look, rhs, equation) = (self.look(i), self.rhs(i), self.equation[i]);
        let Look { low, high, .. } = look;
        let (above, below) = (low.0 - rhs, high.0 - rhs);
        if above > HOLDS * low.1 {
            return Err(self.contradiction(i, true));
        }
        if equation && below < -HOLDS * high.1 {
            return Err(self.contradiction(i, false));
        }
        let lowest = above.is_finite() && above >= -HOLDS * low.1;
        let highest = below.is_finite() && below <= HOLDS * high.1;
        if look.left == 0 || (!equation && (highest || rhs == f64::INFINITY)) {
            self.row[i] = false;
        } else if lowest || (equation && highest) {
            self.force(i, lowest);
        } else if look.left == 1 {
            let (column, entry) = look.last;
            let bound = (rhs - look.gone) / entry;
            if equation {
                let x = bound.max(self.lb[column]).min(self.ub[column]);
                self.fix(column, x, Step::Equation { row: i, column, entry });
            } else {
                self.tighten(i, (column, entry), bound);
            }
            self.row[i] = false;
        }
        Ok(())
    }

    fn contradiction(&self, i: usize, low: bool) -> Ray {
        let sign = if low { 1.0 } else { -1.0 };
        let left = self.rows.row(i).iter().filter(|(j, _)| self.column[*j]);
        Ray { rows: vec![(i, sign)], bounds: left.map(|&(j, v)| (j, -sign * v)).collect() }
    }

    fn fix(&mut self, j: usize, x: f64, step: Step) {
        self.steps.push(step);
        self.fix_by_last(j, x);
    }

    fn fix_by_last(&mut self, j: usize, x: f64) {
        (self.column[j], self.x[j], self.by[j]) = (false, x, self.steps.len() - 1);
        self.wake(j);
    }

    fn wake(&mut self, j: usize) {
        for (i, _) in column(self.qp, j).filter(|(_, v)| *v != 0.0) {
            if self.row[i] && !self.waits[i] {
                self.waits[i] = true;
                self.waiting.push(i);
            }
        }
    }

    fn force(&mut self, i: usize, low: bool) {
        self.row[i] = false;
        self.steps.push(Step::Forcing { row: i, low, free: self.equation[i] });
        for &(j, v) in self.rows.row(i) {
            if self.column[j] {
                let x = if low == (v > 0.0) { self.lb[j] } else { self.ub[j] };
                self.fix_by_last(j, x);
            }
        }
    }

    fn tighten(&mut self, row: usize, (column, entry): (usize, f64), bound: f64) {
        self.bounds += 1;
        let old = if entry > 0.0 { &mut self.ub[column] } else { &mut self.lb[column] };
        if (entry > 0.0 && bound < *old) || (entry < 0.0 && bound > *old) {
            *old = bound;
            self.steps.push(Step::Bound { row, column, entry });
            self.wake(column);
        }
    }

    /// The row is an equation from now on.
    pub fn pair(&mut self, row: usize, other: usize, factor: f64) {
        self.steps.push(Step::Pair { row, other, factor });
        (self.equation[row], self.row[other]) = (true, false);
        if !self.waits[row] {
            self.waits[row] = true;
            self.waiting.push(row);
        }
    }
}
