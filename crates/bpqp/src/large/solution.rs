//! The solution of a large program, and how far its derivatives may be trusted.

use super::Program;
use super::face::{Face, System};
use super::model::{Model, Units};
use super::operator::{Stop, norm};
use super::settle::{Settled, face_of};
use crate::matrix::norm_inf;
use crate::residuals::Residuals;
use crate::thresholds::DOUBT;
use crate::thresholds::large::{BACKWARD, BACKWARD_STEPS, NULL, WEAK};
use crate::{Certificate, Deadline, Error, Settings, Status, Verdict};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The solution of a [`Program`], or why there is none. See [`LargeSolution::status`].
#[derive(Debug, Clone)]
pub struct LargeSolution {
    /// Variables.
    pub x: Vec<f64>,
    /// Multipliers of the equalities, free.
    pub y: Vec<f64>,
    /// Multipliers of the inequalities, nonnegative.
    pub z: Vec<f64>,
    /// Multipliers of the bounds, positive at the upper one, negative at the lower one.
    pub z_box: Vec<f64>,
    /// `1/2 x'P x + q'x`.
    pub objective: f64,
    /// How the solve ended.
    pub status: Status,
    /// Residuals of the point, in the units of the problem.
    pub residuals: Residuals,
    /// The proof that there is no solution, where the status says so.
    pub certificate: Option<Certificate>,
    /// Newton steps.
    pub iterations: usize,
    /// Products with P, A, G and their transposes, those that looked at the operators among them.
    pub products: usize,
    /// Wall-clock time.
    pub time: Duration,
    pub(super) program: Program,
    pub(super) settings: Settings,
    pub(super) at: Option<At>,
    shown: OnceLock<Shown>,
}

/// What the backward pass needs: units, the active set, and the pinned variables.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub units: Arc<Units>,
    pub face: Face,
    weak: (Vec<bool>, Vec<bool>),
}

/// What a random right-hand side showed of the system of the active set.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shown {
    /// Nothing is mapped to 0: the solution and its multipliers are the only ones.
    Unique,
    /// Something is.
    Singular,
    /// Neither.
    Nothing,
}

/// How a solve ended, besides its point.
pub(super) struct Ending {
    pub status: Status,
    pub certificate: Option<Certificate>,
    pub iterations: usize,
    pub time: Duration,
}

impl LargeSolution {
    /// No point at all.
    pub(super) fn none(program: &Program, settings: &Settings, status: Status, time: Duration) -> Self {
        let nan = |k: usize| vec![f64::NAN; k];
        LargeSolution {
            x: nan(program.n()),
            y: nan(program.n_equality()),
            z: nan(program.n_inequality()),
            z_box: nan(program.n()),
            objective: f64::NAN,
            status,
            residuals: Residuals::UNKNOWN,
            certificate: None,
            iterations: 0,
            products: 0,
            time,
            program: program.clone(),
            settings: settings.clone(),
            at: None,
            shown: OnceLock::new(),
        }
    }

    pub(super) fn of(model: Model, settings: &Settings, best: Option<Settled>, end: Ending) -> Self {
        let mut out = LargeSolution::none(&model.program, settings, end.status, end.time);
        (out.certificate, out.iterations) = (end.certificate, end.iterations);
        out.products = model.watch.products;
        let Some(Settled { point, residuals, objective }) = best else { return out };
        let units = &*model.units;
        let m = model.program.b.len();
        out.x = (0..point.x.len()).map(|j| unscaled(&model, &point.x, j)).collect();
        let rows: Vec<f64> = point.y.iter().zip(&units.e).map(|(y, e)| y * e / units.cost).collect();
        out.y = rows[..m].to_vec();
        out.z = rows[m..].to_vec();
        out.z_box = point.u.iter().zip(&units.d).map(|(u, d)| u / (d * units.cost)).collect();
        (out.residuals, out.objective) = (residuals, objective);
        let face = face_of(&model, &point);
        let doubt = (DOUBT * residuals.relative()).clamp(WEAK.0, WEAK.1);
        let weak = weak(&model, &point, &face, doubt);
        out.at = Some(At { units: model.units.clone(), face, weak });
        out
    }

    /// True if there is a solution that may be used.
    pub fn ok(&self) -> bool {
        self.status.ok()
    }

    /// The program that it solves.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Per inequality row: is it active?
    pub fn active_rows(&self) -> Vec<bool> {
        let m = self.program.n_equality();
        self.at.as_ref().map_or_else(|| vec![false; self.z.len()], |at| at.face.rows[m..].to_vec())
    }

    /// Per inequality row and per variable: multiplier and slack both vanish, up to the accuracy of the solution.
    pub fn weak(&self) -> (Vec<bool>, Vec<bool>) {
        match &self.at {
            Some(at) => at.weak.clone(),
            None => (vec![false; self.z.len()], vec![false; self.x.len()]),
        }
    }

    /// How far derivatives may be trusted: `Approximate` at best, since they are solved for to a tolerance.
    ///
    /// The system of the active set is solved once for a right-hand side without structure, about the cost of a gradient. If
    /// the residual vanishes the system is regular: the solution and its multipliers are the only ones. If what is left is a
    /// vector that the system maps to 0, derivatives are `OneOfSeveral`, as they are where constraints are weakly active. If
    /// neither was shown, `Untrusted`.
    pub fn verdict(&self) -> Result<Verdict, Error> {
        self.judge(0.0)
    }

    /// The verdict on derivatives whose system was solved to this residual.
    pub(super) fn judge(&self, residual: f64) -> Result<Verdict, Error> {
        let Some(at) = self.at.as_ref().filter(|_| self.status == Status::Solved) else {
            return Ok(Verdict::Untrusted);
        };
        if residual > BACKWARD || residual.is_nan() {
            return Ok(Verdict::Untrusted);
        }
        let weak = at.weak.0.iter().chain(&at.weak.1).any(|w| *w);
        Ok(match self.shown(at)? {
            Shown::Nothing => Verdict::Untrusted,
            Shown::Singular => Verdict::OneOfSeveral,
            Shown::Unique if weak => Verdict::OneOfSeveral,
            Shown::Unique => Verdict::Approximate { tol: residual.max(self.residuals.relative()) },
        })
    }

    /// Products watched anew, with the same units; the interrupt of the settings ends them.
    pub(super) fn model(&self, at: &At) -> Model {
        Model::with(&self.program, at.units.clone(), Deadline::new(None, self.settings.interrupt.clone()))
    }

    fn shown(&self, at: &At) -> Result<Shown, Error> {
        if let Some(shown) = self.shown.get() {
            return Ok(*shown);
        }
        let mut model = self.model(at);
        let found = System::new(&mut model, &at.face).and_then(|mut system| system.null(BACKWARD_STEPS));
        let (end, null) = found.map_err(ended)?;
        log::debug!("random right-hand side: residual {:.1e} after {} steps", end.residual, end.steps);
        let shown = if end.residual <= NULL {
            Shown::Unique
        } else if end.singular && norm(&null) > 0.0 {
            Shown::Singular
        } else {
            Shown::Nothing
        };
        Ok(*self.shown.get_or_init(|| shown))
    }
}

/// A variable in the units of the user: exactly at the bound that holds it.
fn unscaled(model: &Model, x: &[f64], j: usize) -> f64 {
    let program = &model.program;
    if x[j] == model.bounds.0[j] {
        program.lb[j]
    } else if x[j] == model.bounds.1[j] {
        program.ub[j]
    } else {
        x[j] * model.units.d[j]
    }
}

/// What ended products of a backward pass.
pub(super) fn ended(stop: Stop) -> Error {
    match stop {
        Stop::Error(error) => error,
        Stop::Late => Error::Backward { reason: "it was interrupted".to_owned() },
    }
}

/// Rows and bounds of which multiplier and slack both vanish.
fn weak(model: &Model, at: &super::worth::Scaled, face: &Face, doubt: f64) -> (Vec<bool>, Vec<bool>) {
    let force = doubt * norm_inf(&at.y).max(norm_inf(&at.u)).max(norm_inf(&model.q));
    let distance = doubt * norm_inf(&at.x).max(1.0);
    let m = model.program.b.len();
    let slack = |i: usize| model.rows.1[i] - at.cx[i];
    let row = |i: usize| if face.rows[i] { at.y[i] <= force } else { slack(i) <= distance };
    let bound = |j: usize| {
        let (lo, up) = (model.bounds.0[j], model.bounds.1[j]);
        if face.free[j] { (at.x[j] - lo).min(up - at.x[j]) <= distance } else { lo < up && at.u[j].abs() <= force }
    };
    ((m..at.y.len()).map(row).collect(), (0..at.x.len()).map(bound).collect())
}
