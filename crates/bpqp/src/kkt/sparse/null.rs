//! Null vectors of sparse systems: are rows dependent, is the solution on a face?
//!
//! A regularized factorization multiplies a null vector by `1/delta`, and nothing else by more: with `K z = 0` and J the
//! signs of the regularization, `(K + delta J) y = x` gives `z'x = z'(K + delta J) y = delta z'J y`, so that y is at
//! least `|z'x| / (delta |z|)`. Rounding of the factorization, which is of the size of delta, changes that growth by a
//! factor near 1. So a start without structure whose growth stays far below has met no null space, and the doubt
//! costs three solves, and none where the pattern tells (`peel.rs`). Where it grows, elimination decides on the parts of the
//! system (`parts.rs`); parts that are too large for that are searched: what is left of the vector in every row says what it is.

use super::super::Breakdown;
use super::super::analysis::SKIP;
use super::super::probe::probe;
use super::SparseKkt;
use crate::thresholds::{NULL_RESIDUAL, NULL_STEPS, PROBE_SHARE, PROBES};

/// Which part of a vector is looked at.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// Rows with `dc = 0`.
    Hard,
    /// Variables that are not pinned.
    Free,
}

/// What a search came to.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    Nothing,
    Vector,
    /// It grows nearly as fast as one would, and is none.
    Unclear,
}

/// Solves after which growth tells enough.
const GROWTH_STEPS: usize = 3;

impl SparseKkt {
    /// Are the rows with `dc = 0` dependent on the free variables? A vector `v` with `C'v = 0` proves it.
    pub(super) fn hard_rows_dependent(&mut self) -> Result<bool, Breakdown> {
        let hard = self.dc.iter().filter(|d| **d == 0.0).count();
        if hard == 0 {
            return Ok(false);
        }
        if self.more_rows_than_variables() {
            return Ok(true);
        }
        if self.rows_peel_off() {
            return Ok(false);
        }
        let found = self.search(Part::Hard, GROWTH_STEPS);
        if found == Found::Nothing {
            return Ok(false);
        }
        if let Some(dependent) = self.examine().dependent {
            return Ok(dependent);
        }
        if found == Found::Vector {
            return Ok(true);
        }
        // the curvature hides small singular values of the rows: once more without it
        let delta = self.delta;
        self.without_curvature();
        let found = match self.ldl.factor() {
            Ok(_) => self.search(Part::Hard, NULL_STEPS),
            Err(_) => Found::Unclear,
        };
        self.factor_with(delta).map_err(|_| Breakdown::Inertia)?;
        Ok(found == Found::Vector)
    }

    /// Is there a direction of the free variables along which nothing changes?
    pub(super) fn has_flat_direction(&mut self) -> bool {
        match self.flat_by_pattern() {
            Some(false) => return false,
            // its directions are asked for as well
            Some(true) => return self.examine().flat.unwrap_or(true),
            None => {}
        }
        if self.search(Part::Free, GROWTH_STEPS) == Found::Nothing {
            return false;
        }
        let known = self.examine().flat;
        known.unwrap_or_else(|| self.search(Part::Free, NULL_STEPS) == Found::Vector)
    }

    /// Writes the matrix without P: regularized rows, pins.
    fn without_curvature(&mut self) {
        let (n, m, delta) = (self.n, self.m, self.delta);
        let values = self.ldl.values_mut();
        values.copy_from_slice(&self.exact);
        let mut stored = 0;
        self.of.p.for_each_extended(n + m, |_, _, _| stored += 1);
        let at = &self.analysis.at[..stored];
        at.iter().filter(|at| **at != SKIP).for_each(|&at| values[at] = 0.0);
        for (i, &at) in self.analysis.diagonal_at.iter().enumerate() {
            values[at] = match i {
                i if i < n && self.dx[i].is_finite() => delta,
                i if i < n => 1.0,
                i if i < n + m && self.dc[i - n] == 0.0 => -delta,
                _ => -1.0,
            };
        }
    }

    fn search(&mut self, part: Part, steps: usize) -> Found {
        let mut found = Found::Nothing;
        for seed in 1..=PROBES {
            match self.search_from(seed, part, steps) {
                Found::Vector => return Found::Vector,
                Found::Unclear => found = Found::Unclear,
                Found::Nothing => {}
            }
        }
        found
    }

    fn search_from(&mut self, seed: u64, part: Part, steps: usize) -> Found {
        let mut dimension = 0;
        self.x.fill(0.0);
        for (i, &p) in self.ldl.place()[..self.n + self.m].iter().enumerate() {
            if kept(i, self.n, part, (&self.dx, &self.dc)) {
                self.x[p] = probe(seed, i);
                dimension += 1;
            }
        }
        if dimension == 0 {
            return Found::Nothing;
        }
        let share = PROBE_SHARE / (dimension as f64).sqrt();
        let mut growth = 1.0_f64;
        for step in 1..=steps.max(GROWTH_STEPS) {
            self.ldl.solve(&mut self.x);
            self.keep_only(part);
            let size = self.x.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            if !(size > 0.0 && size.is_finite()) {
                return Found::Nothing;
            }
            self.x.iter_mut().for_each(|v| *v /= size);
            if step <= GROWTH_STEPS {
                growth *= size * self.delta;
                // growth is that of a null vector from here on, if there is one
                if growth < share {
                    return Found::Nothing;
                }
            }
            if step >= GROWTH_STEPS && self.is_null(part) {
                return Found::Vector;
            }
        }
        Found::Unclear
    }

    fn keep_only(&mut self, part: Part) {
        for (i, &p) in self.ldl.place().iter().enumerate() {
            // the rows of a factored Hessian belong to its variables
            let own = part == Part::Free && i >= self.n + self.m;
            if !own && !kept(i, self.n, part, (&self.dx, &self.dc)) {
                self.x[p] = 0.0;
            }
        }
    }

    /// What the vector leaves in each row of the matrix is nothing; of hard rows only what they leave in the variables counts.
    fn is_null(&mut self, part: Part) -> bool {
        self.r.fill(0.0);
        self.size.fill(0.0);
        self.ldl.residual(&self.exact, &self.x, &mut self.r, &mut self.size);
        let place = self.ldl.place();
        match part {
            Part::Hard => place[..self.n].iter().all(|&p| self.r[p].abs() <= NULL_RESIDUAL),
            Part::Free => self.r.iter().all(|r| r.abs() <= NULL_RESIDUAL),
        }
    }
}

fn kept(i: usize, n: usize, part: Part, (dx, dc): (&[f64], &[f64])) -> bool {
    match part {
        Part::Hard => i >= n && dc.get(i - n) == Some(&0.0),
        Part::Free => i < n && dx[i].is_finite(),
    }
}
