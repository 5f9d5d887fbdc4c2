//! The user's object. Prepared once, then solved and differentiated many times.

use super::differentiate::{At, jvp, vjp};
use super::forward::{Forward, Outcome};
use super::polish::{complementary, merit, polish};
use super::polyhedral::{Split, hessian};
use super::residuals::{Work, equations, residuals};
use super::second::second_vjp;
use super::solution::{ConicInfo, Quadratic};
use super::system::System;
use super::{
    Conic, ConicCertificate, ConicCotangent, ConicGradient, ConicSolution, ConicSolutionTangent, ConicTangent, ConicWrt,
};
use crate::error::check_finite;
use crate::matrix::dot;
use crate::solution::lower;
use crate::{Cone, Csc, Error, Hessian, Layer, Qp, Residuals, Settings, Solution, Solver, Status, Verdict};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Residuals relative to their scales up to which a polished point is the solution.
const POLISHED: f64 = 1e-10;
/// A result this much worse than asked for is still a solution, an inaccurate one.
const INACCURATE: f64 = 1e3;
/// Relative residuals up to this count as a solution of another solver, an inaccurate one.
const GIVEN: f64 = 1e-4;

enum Kind {
    /// A quadratic program.
    Polyhedral { split: Arc<Split>, layer: Box<Layer> },
    /// The solver is set up at the first solve.
    Curved { forward: Option<Box<Forward>>, system: Box<System>, factored: bool, convex: Option<Convexity> },
}

enum Convexity {
    Convex,
    Not(Vec<f64>),
}

/// A conic structure, prepared: symbolic work and buffers belong to it.
///
/// ```
/// use bpqp::{Cone, Conic, ConicCotangent, ConicLayer, ConicWrt, Csc, Settings};
/// // minimize -x_1 - x_2 over the disk of radius r, as (r, x) in the second-order cone
/// let a = Csc::from_triplets(3, 2, &[(1, 0, -1.0), (2, 1, -1.0)])?;
/// let disk = Conic::new(None, vec![-1.0, -1.0], a, vec![1.0, 0.0, 0.0], vec![Cone::SecondOrder(3)])?;
/// let mut layer = ConicLayer::new(disk, Settings::default())?;
/// let half = 0.5_f64.sqrt();
/// assert!((layer.solve()?.x[0] - half).abs() < 1e-14);
/// let gradient = layer.vjp(&ConicCotangent::x(&[1.0, 1.0]), ConicWrt::ALL)?;
/// assert!((gradient.b.unwrap()[0] - 2.0 * half).abs() < 1e-12); // the radius
/// layer.update(None, None, None, Some(&[2.0, 0.0, 0.0]))?;
/// assert!((layer.solve()?.x[0] - 2.0 * half).abs() < 1e-14);
/// # Ok::<(), bpqp::Error>(())
/// ```
pub struct ConicLayer {
    conic: Conic,
    settings: Settings,
    kind: Kind,
    solution: ConicSolution,
    verdict: Verdict,
}

impl ConicLayer {
    /// Prepares for problems of the structure of `conic`: its patterns and cones.
    pub fn new(conic: Conic, settings: Settings) -> Result<Self, Error> {
        let mut layer = Self::without_solver(conic, settings)?;
        if let Kind::Curved { forward, .. } = &mut layer.kind {
            if !matches!(layer.settings.solver, Solver::Auto | Solver::Clarabel) {
                return Err(Error::Setting {
                    name: "solver",
                    value: layer.settings.solver.name().to_owned(),
                    advice: "for cones beyond linear constraints name auto or clarabel",
                });
            }
            *forward = Some(Box::new(Forward::new(&layer.conic, &layer.settings)?));
        }
        Ok(layer)
    }

    pub(super) fn without_solver(conic: Conic, settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        let kind = if conic.is_polyhedral() {
            let split = Split::new(&conic)?;
            let layer = Layer::new(split.qp(&conic, None)?, settings.clone())?;
            Kind::Polyhedral { split: Arc::new(split), layer: Box::new(layer) }
        } else {
            refuse_modes(&settings)?;
            let system = Box::new(System::new(&conic)?);
            Kind::Curved { forward: None, system, factored: false, convex: None }
        };
        let solution = ConicSolution::blank(&conic, &settings);
        Ok(ConicLayer { conic, settings, kind, solution, verdict: Verdict::Untrusted })
    }

    /// Takes other numbers on the same patterns, in the order of the stored entries; `None` keeps what is there.
    pub fn update(
        &mut self,
        p: Option<&[f64]>,
        q: Option<&[f64]>,
        a: Option<&[f64]>,
        b: Option<&[f64]>,
    ) -> Result<(), Error> {
        let conic = self.conic.with_values(p, q, a, b)?;
        match &mut self.kind {
            Kind::Polyhedral { split, layer } => {
                let qp = split.qp(&conic, Some((&self.conic, layer.qp())))?;
                layer.update(qp)?;
            }
            Kind::Curved { convex, factored, .. } => {
                *factored = false;
                if p.is_some() || a.is_some() {
                    *convex = None;
                }
            }
        }
        self.conic = conic;
        self.solution.status = Status::NumericalFailure;
        Ok(())
    }

    /// The problem at hand.
    pub fn conic(&self) -> &Conic {
        &self.conic
    }

    /// The solution of the last solve.
    pub fn solution(&self) -> &ConicSolution {
        &self.solution
    }

    /// Solves the problem at hand.
    pub fn solve(&mut self) -> Result<&ConicSolution, Error> {
        let start = Instant::now();
        self.solution = ConicSolution::blank(&self.conic, &self.settings);
        let solution = &mut self.solution;
        match &mut self.kind {
            Kind::Polyhedral { split, layer } => {
                layer.solve()?;
                quadratic(solution, split, layer.solution());
            }
            Kind::Curved { forward, system, factored, convex } => {
                *factored = false;
                let convex = convex.get_or_insert_with(|| convexity(&self.conic));
                if let Convexity::Not(direction) = convex {
                    solution.status = Status::NonConvex;
                    solution.info.solver = "none";
                    solution.info.certificate = Some(ConicCertificate::NonConvex(direction.clone()));
                } else if let Some(forward) = forward {
                    solve_curved(&self.conic, &self.settings, forward, system, solution)?;
                }
            }
        }
        self.solution.info.time = start.elapsed();
        Ok(&self.solution)
    }

    pub(crate) fn into_solution(mut self) -> Result<ConicSolution, Error> {
        self.solve()?;
        if let Kind::Curved { system, factored, .. } = self.kind
            && factored
        {
            self.solution.prepared = Arc::new(Mutex::new(Some(*system)));
        }
        Ok(self.solution)
    }

    /// Someone else's point becomes the current solution.
    pub(super) fn given(mut self, x: Vec<f64>, s: Vec<f64>, y: Vec<f64>) -> Result<ConicSolution, Error> {
        let (n, m) = (self.conic.n(), self.conic.m());
        let advice = "a given solution has the shapes of the problem; only s may be left out";
        for (argument, v, expected) in [("x", &x, n), ("s", &s, m), ("y", &y, m)] {
            if v.len() != expected && !(argument == "s" && v.is_empty()) {
                return Err(Error::length(argument, v.len(), expected, advice));
            }
            check_finite(argument, v)?;
        }
        let mut slack = s;
        if slack.is_empty() {
            slack = self.conic.b.to_vec();
            self.conic.a.mul_add(-1.0, &x, &mut slack);
        }
        let mut work = Work::default();
        let (own, objective) = residuals(&self.conic, (&x, &slack, &y), &mut work);
        let solution = &mut self.solution;
        match &mut self.kind {
            Kind::Polyhedral { split, layer } => {
                let inner = crate::from_solution(layer.qp().clone(), split.point(&x, &y), &self.settings)?;
                quadratic(solution, split, &inner);
            }
            Kind::Curved { system, .. } => {
                polish_into(&self.conic, &self.settings, system, (&x, &slack, &y), solution);
                solution.info.moved = distance(&solution.at.x, &x);
            }
        }
        solution.info.solver = "given";
        solution.status = status(&own, &self.settings, 1.0).unwrap_or(match own.relative() <= GIVEN {
            true => Status::SolvedInaccurate,
            false => Status::NumericalFailure,
        });
        (solution.residuals, solution.objective) = (own, objective);
        (solution.x, solution.s, solution.y) = (x, slack, y);
        Ok(self.solution)
    }

    /// Makes a solution of this structure, of this layer or another, the current one.
    pub fn adopt(&mut self, solution: &ConicSolution) -> Result<(), Error> {
        let other = &solution.conic;
        let same_p = match (self.conic.p(), other.p()) {
            (Some(a), Some(b)) => a.same_pattern(b),
            (None, None) => true,
            _ => false,
        };
        if !(same_p && self.conic.a.same_pattern(&other.a) && self.conic.cones == other.cones) {
            return Err(Error::Structure { argument: "solution", reason: "its patterns or cones are others" });
        }
        if Arc::ptr_eq(&self.solution.at, &solution.at) && self.solution.status == solution.status {
            return Ok(());
        }
        match (&mut self.kind, &solution.quadratic) {
            (Kind::Polyhedral { layer, .. }, Some(quadratic)) => {
                layer.update(quadratic.solution.qp.clone())?;
                layer.adopt(&quadratic.solution)?;
            }
            (Kind::Curved { factored, convex, .. }, _) => {
                *factored = false;
                *convex = None;
            }
            _ => {}
        }
        self.conic = other.clone();
        self.solution = solution.clone();
        Ok(())
    }

    /// The gradient of a loss at the last solution, with these cotangents.
    pub fn vjp(&mut self, cotangent: &ConicCotangent<'_>, wrt: ConicWrt) -> Result<ConicGradient, Error> {
        self.prepare()?;
        match &mut self.kind {
            Kind::Polyhedral { split, layer } => {
                let inner = split.cotangent(&self.conic, cotangent)?;
                let gradient = layer.vjp(&inner, split.wrt(wrt))?.clone();
                self.verdict = layer.verdict();
                let x = &layer.solution().at_point().x;
                Ok(split.gradient(&self.conic, x, cotangent, &gradient))
            }
            Kind::Curved { system, .. } => {
                let (gradient, accuracy) = vjp(&self.conic, &self.solution.at, system, cotangent, wrt)?;
                self.verdict = lower(self.solution.verdict(), accuracy);
                Ok(gradient)
            }
        }
    }

    /// The change of the last solution along a direction of the data.
    pub fn jvp(&mut self, tangent: &ConicTangent<'_>) -> Result<ConicSolutionTangent, Error> {
        self.prepare()?;
        match &mut self.kind {
            Kind::Polyhedral { split, layer } => {
                let inner = layer.jvp(&split.tangent(&self.conic, tangent)?)?.clone();
                self.verdict = layer.verdict();
                Ok(split.outputs_tangent(&self.conic, &layer.solution().at_point().x, tangent, &inner))
            }
            Kind::Curved { system, .. } => {
                let (out, accuracy) = jvp(&self.conic, &self.solution.at, system, tangent)?;
                self.verdict = lower(self.solution.verdict(), accuracy);
                Ok(out)
            }
        }
    }

    /// The derivative of the gradient along a direction of the data, the cotangent held; see [`ConicSolution::second_vjp`].
    pub fn second_vjp(
        &mut self,
        cotangent: &ConicCotangent<'_>,
        along: &ConicTangent<'_>,
        wrt: ConicWrt,
    ) -> Result<ConicGradient, Error> {
        self.prepare()?;
        match &mut self.kind {
            Kind::Polyhedral { split, layer } => {
                let gradient = split.second_vjp(&self.conic, layer, cotangent, along, wrt)?;
                self.verdict = layer.verdict();
                Ok(gradient)
            }
            Kind::Curved { system, .. } => {
                let at = &self.solution.at;
                let (gradient, accuracies) = second_vjp(&self.conic, at, system, cotangent, along, wrt)?;
                self.verdict = accuracies.into_iter().fold(self.solution.verdict(), lower);
                Ok(gradient)
            }
        }
    }

    /// How far the last derivative may be trusted.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn prepare(&mut self) -> Result<(), Error> {
        self.solution.check()?;
        if let Kind::Curved { system, factored, .. } = &mut self.kind
            && !*factored
        {
            system.factor(&self.conic, &self.solution.at.faces)?;
            *factored = true;
        }
        Ok(())
    }
}

fn refuse_modes(settings: &Settings) -> Result<(), Error> {
    if settings.smoothing.is_some() {
        return Err(Error::Unsupported {
            what: "smoothing with cones beyond linear constraints".to_owned(),
            advice: "add a quadratic term to the objective instead",
        });
    }
    if settings.backward == crate::Backward::FirstOrder {
        return Err(Error::Unsupported {
            what: "the first-order backward solver with cones beyond linear constraints".to_owned(),
            advice: "use the direct one",
        });
    }
    Ok(())
}

fn quadratic(solution: &mut ConicSolution, split: &Arc<Split>, inner: &Solution) {
    solution.status = inner.status;
    if inner.ok() {
        (solution.x, solution.s, solution.y) = split.outputs(&solution.conic, inner);
    }
    solution.objective = inner.objective;
    solution.residuals = inner.residuals;
    let several = inner.active().any_weak();
    solution.info = ConicInfo {
        solver: inner.info.solver,
        iterations: inner.info.iterations,
        time: inner.info.time,
        certificate: inner.info.certificate.as_ref().map(|c| split.certificate(c)),
        polished: inner.info.polished,
        polish_rounds: inner.info.polish_rounds,
        raw: inner.info.raw,
        moved: inner.info.moved,
        dependent_rows: inner.info.dependent_rows,
        weakly_active: solution.conic.cones.iter().map(|c| several && matches!(c, Cone::Nonnegative(_))).collect(),
    };
    solution.at = Arc::new(At { x: solution.x.clone(), s: solution.s.clone(), y: solution.y.clone(), ..At::default() });
    solution.quadratic = Some(Quadratic { split: split.clone(), solution: Arc::new(inner.clone()) });
}

/// Is P positive semidefinite on the null space of the zero cones?
fn convexity(conic: &Conic) -> Convexity {
    let direction = || -> Result<Option<Vec<f64>>, Error> {
        let Hessian::Sparse(p) = hessian(conic)? else { return Ok(None) };
        let mut equal = Vec::new();
        let mut row = vec![None; conic.m()];
        let mut count = 0;
        for (k, rows) in super::differentiate::blocks(conic) {
            if matches!(conic.cones[k], Cone::Zero(_)) {
                for i in rows {
                    row[i] = Some(count);
                    count += 1;
                }
            }
        }
        equal.extend(conic.a.triplets().filter_map(|(i, j, v)| row[i].map(|i| (i, j, v))));
        let a = Csc::from_triplets(count, conic.n(), &equal)?;
        let qp = Qp::new(Hessian::Sparse(p), vec![0.0; conic.n()])?.equality(a, vec![0.0; count])?;
        Ok(crate::kkt::negative_curvature(&qp.p, &qp.a))
    };
    match direction() {
        Ok(Some(direction)) => Convexity::Not(direction),
        _ => Convexity::Convex,
    }
}

fn status(r: &Residuals, settings: &Settings, factor: f64) -> Option<Status> {
    let within = |factor| r.within(settings.eps_abs, settings.eps_rel, factor);
    match () {
        () if within(factor) => Some(Status::Solved),
        () if within(INACCURATE * factor) => Some(Status::SolvedInaccurate),
        () => None,
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
}

/// Solves; where the polish fails, once more to the last digits of the solver, which may tell active cones from others.
fn solve_curved(
    conic: &Conic,
    settings: &Settings,
    forward: &mut Forward,
    system: &mut System,
    solution: &mut ConicSolution,
) -> Result<(), Error> {
    let start = Instant::now();
    attempt(conic, settings, forward.solve(conic, false, settings.time_limit)?, system, solution);
    // who limits the iterations did not ask for more of them
    let may = settings.polish && settings.max_iter.is_none() && !settings.late(start);
    if may && solution.ok() && !solution.info.polished {
        let left = settings.time_limit.map(|limit| limit.saturating_sub(start.elapsed()));
        let mut other = ConicSolution::blank(conic, settings);
        attempt(conic, settings, forward.solve(conic, true, left)?, system, &mut other);
        let iterations = solution.info.iterations + other.info.iterations;
        let loss = |s: &ConicSolution| (s.status != Status::Solved, loss(&s.residuals, (&s.s, &s.y), settings.eps_abs));
        if other.ok() && loss(&other) < loss(solution) {
            *solution = other;
        }
        solution.info.iterations = iterations;
    }
    Ok(())
}

/// The largest relative residual of a point, to which all that is missing in complementarity counts.
fn loss(r: &Residuals, (s, y): (&[f64], &[f64]), eps_abs: f64) -> f64 {
    let gap = dot(s, y).abs().max(r.complementarity).max(r.gap) / r.gap_scale.max(eps_abs);
    merit(r, eps_abs).max(gap)
}

/// Polishes what the solver found, and says what came of it.
fn attempt(conic: &Conic, settings: &Settings, outcome: Outcome, system: &mut System, solution: &mut ConicSolution) {
    solution.info.solver = Solver::Clarabel.name();
    solution.info.iterations = outcome.iterations;
    if let Some(certificate) = outcome.certificate {
        if certificate.verify(conic) {
            solution.status = outcome.status;
            solution.info.certificate = Some(certificate);
        }
        return;
    }
    if [&outcome.x, &outcome.s, &outcome.y].iter().any(|v| v.iter().any(|e| !e.is_finite())) {
        return;
    }
    polish_into(conic, settings, system, (&outcome.x, &outcome.s, &outcome.y), solution);
    let at = solution.at.clone();
    let worth = loss(&solution.residuals, (&at.s, &at.y), settings.eps_abs);
    let raw = solution
        .info
        .raw
        .filter(|raw| settings.polish && loss(raw, (&outcome.s, &outcome.y), settings.eps_abs) < worth);
    if let Some(raw) = raw {
        // a degenerate solution that the polish could not reach: the solver's own point is the better one
        (solution.x, solution.s, solution.y) = (outcome.x.clone(), outcome.s, outcome.y);
        (solution.residuals, solution.objective) = (raw, conic.objective(&solution.x));
        solution.info.polished = false;
    } else {
        (solution.x, solution.s, solution.y) = (at.x.clone(), at.s.clone(), at.y.clone());
    }
    solution.info.moved = distance(&solution.x, &outcome.x);
    solution.status = status(&solution.residuals, settings, 1.0).unwrap_or(match outcome.status {
        Status::Solved | Status::SolvedInaccurate => Status::NumericalFailure,
        other => other,
    });
}

/// Sets the point of the derivatives, its residuals, and what the polish has to say.
fn polish_into(
    conic: &Conic,
    settings: &Settings,
    system: &mut System,
    (x, s, y): (&[f64], &[f64], &[f64]),
    solution: &mut ConicSolution,
) {
    let mut work = Work::default();
    solution.info.raw = Some(residuals(conic, (x, s, y), &mut work).0);
    if settings.polish && !settings.interrupted() {
        let polished = polish(conic, system, (x, s, y), settings.eps_abs);
        solution.info.polish_rounds = polished.steps;
        solution.info.polished = merit(&polished.residuals, settings.eps_abs) <= POLISHED;
        solution.info.dependent_rows = polished.steps > 0 && system.deficient();
        (solution.residuals, solution.objective) = (polished.residuals, polished.objective);
        solution.at = Arc::new(polished.at);
    } else {
        let at = complementary(conic, (x, s, y), settings.eps_abs);
        (solution.residuals, solution.objective) = equations(conic, (&at.x, &at.s, &at.y), &mut work);
        solution.at = Arc::new(at);
    }
    solution.info.weakly_active = solution.at.faces.weak.clone();
}
