//! Stage 4: what is binding. Identified from a point, polished to it exactly, verified, repaired: by exchange of linear
//! constraints (`polish.rs`), or by Newton's method where there are curved cones (`newton.rs`).

mod along;
mod crossover;
mod doubt;
mod identify;
mod newton;
mod polish;
mod rotation;
mod rows;
mod run_off;

use crossover::Crossover;
pub(crate) use doubt::Doubts;
pub(crate) use identify::{REST, RowScales, distance_scale, identify};
pub(crate) use newton::{Newton, merit};
pub(crate) use polish::{HOLDS, PolishReport, Polisher, ROUNDING, SHORT, Start, TELLING, rounding};
pub(crate) use rotation::Rotation;
pub(crate) use rows::{RowCheck, Tolerance};

use crate::Qp;
use crate::cones::{Cone, Face, Faces, blocks};

/// Where a variable stands between its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Strictly between, or held only weakly.
    Free,
    /// At its lower bound.
    Lower,
    /// At its upper bound.
    Upper,
    /// `lb = ub`.
    Fixed,
}

/// The active set of a point.
#[derive(Debug, Default, PartialEq)]
pub struct ActiveSet {
    /// Per inequality row: is it active?
    pub g: Vec<bool>,
    /// Per variable: which bound is active?
    pub bound: Vec<Side>,
    /// Per inequality row: multiplier and slack both vanish. The solution is only directionally differentiable there.
    pub weak_g: Vec<bool>,
    /// Per variable: the same of its bound.
    pub weak_bound: Vec<bool>,
    /// The faces on which the curved cones are.
    pub(crate) faces: Faces,
}

// by hand: a derived `clone_from` allocates anew
impl Clone for ActiveSet {
    fn clone(&self) -> Self {
        let mut out = ActiveSet::default();
        out.clone_from(self);
        out
    }

    fn clone_from(&mut self, source: &Self) {
        self.g.clone_from(&source.g);
        self.bound.clone_from(&source.bound);
        self.weak_g.clone_from(&source.weak_g);
        self.weak_bound.clone_from(&source.weak_bound);
        self.faces.clone_from(&source.faces);
    }
}

impl ActiveSet {
    /// The set of these inequality rows and bounds, each with those that are weakly active; no curved cones.
    pub fn new((g, weak_g): (Vec<bool>, Vec<bool>), (bound, weak_bound): (Vec<Side>, Vec<bool>)) -> Self {
        ActiveSet { g, bound, weak_g, weak_bound, faces: Faces::default() }
    }

    /// Number of active inequality rows.
    pub fn n_rows(&self) -> usize {
        self.g.iter().filter(|&&a| a).count()
    }

    /// Number of variables at a bound.
    pub fn n_bounds(&self) -> usize {
        self.bound.iter().filter(|&&s| s != Side::Free).count()
    }

    /// True if some constraint is weakly active.
    pub fn any_weak(&self) -> bool {
        self.weak_g.iter().chain(&self.weak_bound).chain(&self.faces.weak).any(|&w| w)
    }

    /// Per curved cone: it is on a kink, where the solution is only directionally differentiable.
    pub fn weak_cone(&self) -> &[bool] {
        &self.faces.weak
    }

    /// Where each of these curved cones is, the cones of the problem.
    pub fn cone_faces<'a>(&'a self, cones: &'a [Cone]) -> impl Iterator<Item = Face> + 'a {
        blocks(cones).map(|(_, rows)| self.faces.curvature.get(rows).map_or(Face::Interior, Faces::of))
    }
}

impl ActiveSet {
    /// Nothing is active.
    pub(crate) fn release(&mut self, qp: &Qp) {
        let (n, rows) = (qp.n(), qp.n_inequality());
        for (flags, len) in [(&mut self.g, rows), (&mut self.weak_g, rows), (&mut self.weak_bound, n)] {
            flags.clear();
            flags.resize(len, false);
        }
        self.bound.clear();
        self.bound.resize(n, Side::Free);
        self.faces.release(&qp.cones);
    }

    /// The diagonals that select this set in the KKT system: pinned variables, active rows.
    pub(crate) fn diagonals(&self, n_equality: usize, dx: &mut Vec<f64>, dc: &mut Vec<f64>) {
        dx.clear();
        dx.extend(self.bound.iter().map(|&side| if side == Side::Free { 0.0 } else { f64::INFINITY }));
        dc.clear();
        dc.resize(n_equality, 0.0);
        dc.extend(self.g.iter().map(|&active| if active { 0.0 } else { f64::INFINITY }));
    }
}
