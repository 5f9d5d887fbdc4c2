//! Stage 3: the meeting point. All that the backward pass knows of the forward pass.

use crate::active::{ActiveSet, Newton};
use crate::backward::{Accuracy, At};
use crate::closest::Closest;
use crate::cones::blocks;
use crate::kkt::{KeptFactors, KktCore};
use crate::residuals::{ResidualWork, residuals};
use crate::settings::Backward;
use crate::small::Found;
use crate::{Certificate, Error, Point, Qp, Residuals, Settings, Solver, Status, Verdict};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// How a solution was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Info {
    /// The solver that found it.
    pub solver: &'static str,
    /// Its iterations.
    pub iterations: usize,
    /// Wall-clock time of the forward pass, polish included.
    pub time: Duration,
    /// The proof that there is no solution, where the status says so.
    pub certificate: Option<Certificate>,
    /// The polish solved the KKT system of the active set and verified every other constraint.
    pub polished: bool,
    /// Systems that the polish solved.
    pub polish_rounds: usize,
    /// Residuals of the solver's own point, before the polish.
    pub raw: Option<Residuals>,
    /// How far the polish moved `x`, in the infinity norm.
    pub moved: f64,
    /// The active rows are linearly dependent.
    pub dependent_rows: bool,
    /// The solution is one point of an optimal face: along some directions nothing changes.
    pub flat_face: bool,
}

/// A solution, or the reason why there is none. See [`Solution::status`].
///
/// It is a [`Point`]: `solution.x`, `solution.z` and the others are those of the point that was found.
#[derive(Debug)]
pub struct Solution {
    /// `1/2 x'P x + q'x`.
    pub objective: f64,
    /// How the solve ended.
    pub status: Status,
    /// Residuals of the point, in problem units, computed from the data.
    pub residuals: Residuals,
    /// How it was found.
    pub info: Info,
    pub(crate) qp: Qp,
    /// The point at which the gradient is taken.
    pub(crate) at: Point,
    /// What is shown in its place: someone else's point, that was polished, or the better one of a curved program.
    pub(crate) shown: Option<Box<Point>>,
    pub(crate) active: ActiveSet,
    pub(crate) core: Option<KktCore>,
    /// The factors of its active set, in place of `core` where no other problem has these matrices.
    pub(crate) kept: Option<Arc<KeptFactors>>,
    /// One solve with the factors of the active set was seen to be exact to rounding: the same factors, made again, are.
    pub(crate) exact_factors: bool,
    pub(crate) settings: Settings,
    /// The solve that found it: no two have the same number, and 0 is none.
    pub(crate) solve: u64,
    /// What was asked for where the constraints contradict each other.
    pub(crate) closest: Option<Arc<Nearest>>,
}

impl Deref for Solution {
    type Target = Point;

    #[inline]
    fn deref(&self) -> &Point {
        self.shown.as_deref().unwrap_or(&self.at)
    }
}

// by hand: a derived `clone_from` allocates anew
impl Clone for Solution {
    fn clone(&self) -> Self {
        let Solution { objective, status, residuals, info, shown, .. } = self;
        let Solution { qp, at, active, core, kept, exact_factors, settings, solve, closest, .. } = self;
        Solution {
            objective: *objective,
            status: *status,
            residuals: *residuals,
            info: info.clone(),
            qp: qp.clone(),
            at: at.clone(),
            shown: shown.clone(),
            active: active.clone(),
            core: core.clone(),
            kept: kept.clone(),
            exact_factors: *exact_factors,
            settings: settings.clone(),
            solve: *solve,
            closest: closest.clone(),
        }
    }

    /// Becomes a copy of another solution, in the buffers at hand.
    fn clone_from(&mut self, other: &Self) {
        let Solution { objective, status, residuals, info, shown, .. } = other;
        let Solution { qp, at, active, core, kept, exact_factors, settings, closest, .. } = other;
        (self.objective, self.status, self.residuals, self.info) = (*objective, *status, *residuals, info.clone());
        self.solve = other.solve;
        self.closest.clone_from(closest);
        self.at.clone_from(at);
        self.shown.clone_from(shown);
        self.active.clone_from(active);
        (self.qp, self.core, self.exact_factors) = (qp.clone(), core.clone(), *exact_factors);
        self.kept.clone_from(kept);
        if self.settings != *settings {
            self.settings = settings.clone();
        }
    }
}

/// The closest feasible program of a problem, and its solution.
#[derive(Debug)]
pub(crate) struct Nearest {
    pub map: Closest,
    pub solution: Solution,
    /// The shifts of the rows of A and G.
    pub shift: (Vec<f64>, Vec<f64>),
}

impl Solution {
    /// A solution of the shape of `qp` that says nothing yet.
    pub(crate) fn blank(qp: &Qp, settings: &Settings) -> Self {
        Solution {
            objective: f64::NAN,
            status: Status::NumericalFailure,
            residuals: Residuals::UNKNOWN,
            info: Info::default(),
            qp: qp.clone(),
            at: Point::zeros(qp),
            shown: None,
            active: ActiveSet::default(),
            core: None,
            kept: None,
            exact_factors: false,
            settings: settings.clone(),
            solve: 0,
            closest: None,
        }
    }

    /// A solution that was taken apart, put together again: `point` and `active` come from a solution of `qp` in this
    /// library ([`Solution::at_point`], [`Solution::active`]) and are believed. What a framework without a place for state
    /// (JAX) hands from the forward to the backward pass. For points from elsewhere use [`from_solution`](crate::from_solution).
    pub fn restore(qp: Qp, point: Point, active: ActiveSet, settings: &Settings) -> Result<Self, Error> {
        let advice = "the parts must be those of a solution of this problem";
        let (n, mi) = (qp.n(), qp.n_inequality());
        for (argument, found, expected) in [
            ("x", point.x.len(), n),
            ("y", point.y.len(), qp.n_equality()),
            ("z", point.z.len(), mi),
            ("z_box", point.z_box.len(), n),
            ("s", point.s.len(), qp.n_cone()),
            ("y_cone", point.y_cone.len(), qp.n_cone()),
            ("active.g", active.g.len(), mi),
            ("active.weak_g", active.weak_g.len(), mi),
            ("active.bound", active.bound.len(), n),
            ("active.weak_bound", active.weak_bound.len(), n),
        ] {
            if found != expected {
                return Err(Error::length(argument, found, expected, advice));
            }
        }
        let (mut point, mut active) = (point, active);
        if !qp.cones.is_empty() {
            Newton::default().polish(&qp, None, &mut point, &mut active, settings.eps_abs);
        }
        let (residuals, objective) = residuals(&qp, &point, &mut ResidualWork::default());
        let mut solution = Solution::blank(&qp, settings);
        (solution.residuals, solution.objective, solution.at, solution.active) = (residuals, objective, point, active);
        solution.status = Status::Solved;
        solution.info.polished = true;
        solution.publish();
        Ok(solution)
    }

    /// The point at which the gradient is taken.
    pub fn at_point(&self) -> &Point {
        &self.at
    }

    /// The settings it was solved with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Publishes `at` as the solution.
    pub(crate) fn publish(&mut self) {
        self.shown = None;
    }

    /// Takes over the point and the set that are in their places, and what else a sweep over small programs found.
    pub(crate) fn take_found(&mut self, found: &Found) {
        self.publish();
        (self.residuals, self.objective, self.status) = (found.residuals, found.objective, Status::Solved);
        (self.core, self.kept, self.exact_factors) = (None, None, found.exact_factors);
        let info = &mut self.info;
        info.solver = Solver::InteriorPoint.name();
        (info.raw, info.moved, info.iterations) = (Some(found.raw), found.moved, found.rounds);
        (info.polished, info.polish_rounds, info.certificate) = (true, 1, None);
        (info.dependent_rows, info.flat_face) = (false, false);
    }

    /// Shows another point than the one at which derivatives are taken.
    pub(crate) fn show(&mut self, point: &Point) {
        self.shown = Some(Box::new(point.clone()));
    }

    /// True if what is shown is the point at which derivatives are taken.
    pub(crate) fn shows_its_point(&self) -> bool {
        self.shown.is_none()
    }

    /// Slack and multiplier of the curved cone `k`; `None` if there is no such cone, or no point.
    pub fn cone(&self, k: usize) -> Option<(&[f64], &[f64])> {
        let (_, rows) = blocks(&self.qp.cones).nth(k)?;
        Some((self.s.get(rows.clone())?, self.y_cone.get(rows)?))
    }

    /// True if there is a solution that may be used, that of the closest feasible program included.
    pub fn ok(&self) -> bool {
        self.status.ok() || self.closest.is_some()
    }

    /// By how much the rows of A and of G had to be shifted, `A x = b + shift` and `G x <= h + shift`, where the solution is
    /// that of the [closest feasible program](crate::Infeasible::Closest).
    pub fn shift(&self) -> Option<(&[f64], &[f64])> {
        self.closest.as_deref().map(|nearest| (&nearest.shift.0[..], &nearest.shift.1[..]))
    }

    /// Takes over the solution of the closest feasible program.
    pub(crate) fn take_closest(&mut self, nearest: Nearest) {
        let (n, m, mi) = (self.qp.n(), self.qp.n_equality(), self.qp.n_inequality());
        self.active = nearest.map.active(&nearest.solution.active);
        (self.objective, self.residuals) = (nearest.solution.objective, nearest.solution.residuals);
        let nan = |n: usize| vec![f64::NAN; n];
        let x = nearest.solution.x[..n].to_vec();
        self.at = Point { x, y: nan(m), z: nan(mi), z_box: nan(n), ..Point::default() };
        self.publish();
        self.closest = Some(Arc::new(nearest));
    }

    /// The problem that was solved.
    pub fn qp(&self) -> &Qp {
        &self.qp
    }

    /// The active set on which the gradient is taken.
    pub fn active(&self) -> &ActiveSet {
        &self.active
    }

    /// The point `(x, y, z, z_box)`, to warm-start another solve.
    pub fn point(&self) -> Point {
        Point::clone(self)
    }

    /// The same, without a copy.
    pub fn into_point(self) -> Point {
        self.shown.map_or(self.at, |shown| *shown)
    }

    /// How far a gradient taken here may be trusted, as far as the forward pass knows; the backward pass can only lower it.
    pub fn verdict(&self) -> Verdict {
        if let Some(nearest) = &self.closest {
            return nearest.verdict(nearest.solution.verdict(), true);
        }
        if let Some(mu) = self.settings.smoothing {
            return Verdict::Smoothed { mu };
        }
        if !self.settings.polish {
            return Verdict::Approximate { tol: self.residuals.relative() };
        }
        if !self.info.polished {
            return Verdict::Untrusted;
        }
        if self.active.any_weak() || self.info.dependent_rows || self.info.flat_face {
            return Verdict::OneOfSeveral;
        }
        match self.settings.backward {
            Backward::FirstOrder => Verdict::Approximate { tol: self.settings.eps_abs.max(self.settings.eps_rel) },
            _ => Verdict::Exact,
        }
    }

    pub(crate) fn at(&self) -> At<'_> {
        At {
            qp: &self.qp,
            point: &self.at,
            active: &self.active,
            core: self.core.as_ref(),
            kept: self.kept.as_ref().filter(|_| self.closest.is_none()),
            exact_factors: self.exact_factors && self.closest.is_none(),
            smoothing: self.settings.smoothing,
        }
    }
}

impl Nearest {
    /// The verdict on a derivative, from that on the one of the program of both levels. Least squares of incomplete rank
    /// jump when the matrices change it.
    pub fn verdict(&self, own: Verdict, matrices: bool) -> Verdict {
        if matrices && !self.map.full_rank { own.worse(Verdict::OneOfSeveral) } else { own }
    }
}

/// Relative residual up to which a backward solve counts as exact.
const ACCURATE: f64 = 1e-8;

/// What the backward pass learned can only lower the trust.
pub(crate) fn lower(verdict: Verdict, accuracy: Accuracy) -> Verdict {
    // NaN is not
    let accurate = accuracy.residual <= ACCURATE;
    match verdict {
        Verdict::Exact | Verdict::OneOfSeveral if !accuracy.iterative && !accurate => Verdict::Regularized,
        Verdict::Exact if accuracy.deficient => Verdict::OneOfSeveral,
        other => other,
    }
}
