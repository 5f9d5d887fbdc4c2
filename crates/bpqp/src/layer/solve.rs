//! How a layer solves: which solver is asked, what its point is worth, and who is asked next.

use super::Layer;
use crate::active::{Start, Tolerance, identify, merit};
use crate::forward::{Outcome, rays};
use crate::interrupt::Watch;
use crate::kkt::negative_curvature;
use crate::matrix::dot;
use crate::residuals::{Point, priced, residuals, total_complementarity};
use crate::solution::lower;
use crate::thresholds::EQUATION_ROUNDING;
use crate::{Backward, Certificate, Deadline, Error, Residuals, Solution, Solver, Status, Verdict};

/// Rounds of repair after a forward solver; more from a warm start, where each is cheaper than a solve.
const REPAIR_ROUNDS: usize = 10;
/// The same of the first polish after an interior point, which has further digits for less.
const FIRST_ROUNDS: usize = 3;
pub(super) const WARM_ROUNDS: usize = 25;
/// The same from a vertex, which nothing comes after: bold changes may go in circles, and those of the worst alone come later.
const VERTEX_ROUNDS: usize = 40;
/// Times that a solver is asked for further digits where the polish failed on the first ones.
const DIGITS: usize = 2;
/// An unverified result of `auto` is final if its residuals are this small relative to the data.
const PLAIN: f64 = 1e-7;
/// A result this much worse than asked for is still a solution, an inaccurate one.
const INACCURATE: f64 = 1e3;
/// A constraint that is off by this part of its own terms does not hold at all, however small it is beside others.
const MISSED: f64 = 0.1;
/// A sum is never larger than its terms.
const ANY: f64 = 2.0;
/// Every equation holds to rounding of its own terms: no point is better.
const ROUNDED: Tolerance =
    Tolerance { absolute: 0.0, primal: EQUATION_ROUNDING, dual: EQUATION_ROUNDING, homogeneous: 0.0 };

impl Layer {
    pub(super) fn forward(&mut self, warm: Option<&Point>) -> Result<(), Error> {
        let deadline = self.settings.deadline();
        let watch = Watch::new(&deadline);
        self.backward.differentiator.begin();
        self.forward_until(warm, &deadline)?;
        if self.gets_nowhere() {
            self.leave_the_face(&deadline)?;
        }
        drop(watch);
        if deadline.passed() {
            // what broke down because the time was up says nothing of the problem
            self.chain.iter_mut().for_each(|(_, handle)| *handle = None);
            (self.convex, self.loaded) = (None, false);
            if matches!(self.solution.status, Status::NumericalFailure | Status::IterationLimit) {
                self.solution.status = Status::TimeLimit;
            }
        }
        Ok(())
    }

    fn forward_until(&mut self, warm: Option<&Point>, deadline: &Deadline) -> Result<(), Error> {
        self.backward.differentiator.polisher.deadline.clone_from(deadline);
        self.solution.info.certificate = None;
        self.solution.info.polished = false;
        self.solution.info.raw = None;
        self.solution.status = Status::NumericalFailure;
        let exchange =
            self.settings.polish && (self.curved() || matches!(self.settings.solver, Solver::Auto | Solver::ActiveSet));
        if warm.is_none() && !deadline.passed() && self.solve_small() {
            return Ok(());
        }
        self.refresh()?;
        if let Some(warm) = warm.filter(|_| exchange) {
            if self.is_convex() && self.try_active_set(warm)? {
                return Ok(());
            }
        }
        let mut best: Option<Solution> = None;
        for k in 0..self.chain.len() {
            let (solver, handle) = &mut self.chain[k];
            if handle.is_none() && !deadline.passed() {
                match solver.prepare(&self.solution.qp, &self.settings) {
                    Ok(prepared) => *handle = Some(prepared),
                    // a second opinion that cannot be had in this build leaves the first one
                    Err(Error::Unsupported { .. }) if k > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            let name = solver.name();
            let examined = !deadline.passed() && !self.is_convex();
            if let Some(direction) = self.curvature.as_ref().filter(|_| examined) {
                self.solution.info.solver = "none";
                self.solution.info.iterations = 0;
                return self.finish_without(Status::NonConvex, Some(Certificate::NonConvex(direction.clone())));
            }
            let Some(handle) = self.chain[k].1.as_mut().filter(|_| !deadline.passed()) else {
                if k > 0 {
                    break;
                }
                (self.solution.info.solver, self.solution.info.iterations) = (name, 0);
                return self.finish_without(Status::TimeLimit, None);
            };
            handle.end_by(deadline);
            let outcome = handle.solve(warm, &mut self.trial);
            self.solution.info.solver = name;
            self.solution.info.iterations = outcome.iterations;
            // the last digits of an interior point cost less than finding the set by exchange
            let draft = name == Solver::InteriorPoint.name() && !self.curved();
            let (sketch, start) = if draft { (Start::Sketch, Start::Draft) } else { (Start::Point, Start::Point) };
            if self.accept(outcome.clone(), (sketch, if draft { FIRST_ROUNDS } else { REPAIR_ROUNDS }))? {
                return Ok(());
            }
            let late = deadline.passed();
            let goes_on = self.settings.polish && !late;
            let mut tightened = false;
            while let Some(outcome) =
                self.chain[k].1.as_mut().filter(|_| goes_on).and_then(|h| h.tighten(&mut self.trial))
            {
                tightened = true;
                let first = (self.curved() && self.solution.ok()).then(|| (self.solution.clone(), self.loss));
                let iterations = outcome.iterations;
                self.solution.info.iterations = iterations;
                if self.accept(outcome, (start, REPAIR_ROUNDS))? {
                    return Ok(());
                }
                let worth = |s: &Solution, loss: f64| (s.status != Status::Solved, loss);
                let second = worth(&self.solution, self.loss);
                if let Some((first, _)) =
                    first.filter(|(first, loss)| !self.solution.ok() || worth(first, *loss) <= second)
                {
                    self.adopt(&first)?;
                    self.solution.info.iterations = iterations;
                }
                if !self.curved() {
                    break;
                }
            }
            if tightened && self.solve_to_the_last_digits(k, start, deadline)? {
                return Ok(());
            }
            if let Some(best) = best.take_if(|best| better(best, &self.solution)) {
                // what this solver left in the workspaces belongs to a worse solution
                self.adopt(&best)?;
            }
            if late {
                break;
            }
            // before the other solvers, which cost more; where that leads nowhere, once more from the best point of all
            if k == 0 && self.solve_at_a_vertex(deadline)? {
                return Ok(());
            }
            if draft && self.solve_with_patience(deadline)? {
                return Ok(());
            }
            // on curved boundaries residuals do not tell: there nothing but the polish settles it
            let plainly = !self.curved() && plain(&self.solution) <= PLAIN;
            if self.solution.status.ok() && (self.solution.info.polished || plainly) {
                break;
            }
            // what two interior points find within the tolerance operator splitting does not improve
            if name == Solver::Clarabel.name() && self.solution.status == Status::Solved {
                break;
            }
            if k + 1 < self.chain.len() {
                let (status, next) = (self.solution.status, self.chain[k + 1].0.name());
                log::debug!(
                    "{name} ends with {status} after {} iterations: on to {next}",
                    self.solution.info.iterations
                );
                best = Some(self.solution.clone());
            }
        }
        if self.solution.info.solver != self.chain[0].0.name() && self.solve_at_a_vertex(deadline)? {
            return Ok(());
        }
        if self.curved() && self.solution.status == Status::NumericalFailure {
            if let Some((status, certificate)) = rays::proof(&self.solution.qp, &self.settings, deadline)? {
                return self.finish_without(status, Some(certificate));
            }
        }
        Ok(())
    }

    /// What binds cannot be told where a slack and a multiplier are both small for their kinds, as at a vertex with a reduced cost
    /// far below the others: further digits of the same solver tell. True if they settle the matter; if they make it worse, what
    /// was there stays.
    fn solve_to_the_last_digits(&mut self, k: usize, start: Start, deadline: &Deadline) -> Result<bool, Error> {
        for _ in 0..DIGITS {
            if self.curved() || !self.solution.ok() || self.solution.info.polished || deadline.passed() {
                break;
            }
            let Some(outcome) = self.chain[k].1.as_mut().and_then(|h| h.tighten(&mut self.trial)) else { break };
            let before = self.solution.clone();
            let iterations = outcome.iterations;
            self.solution.info.iterations = iterations;
            if self.accept(outcome, (start, REPAIR_ROUNDS))? {
                return Ok(true);
            }
            if !self.solution.ok() || better(&before, &self.solution) {
                self.adopt(&before)?;
                self.solution.info.iterations = iterations;
                break;
            }
        }
        Ok(false)
    }

    /// Where no point told what binds, a vertex that the best one leads to may: its system is regular. What it does not settle
    /// stays as it was, and is false.
    fn solve_at_a_vertex(&mut self, deadline: &Deadline) -> Result<bool, Error> {
        self.solve_from_there((Start::Vertex, VERTEX_ROUNDS), deadline)
    }

    /// The set of a draft, repaired as long as it takes: where neither further digits nor a vertex told.
    fn solve_with_patience(&mut self, deadline: &Deadline) -> Result<bool, Error> {
        self.solve_from_there((Start::Point, REPAIR_ROUNDS), deadline)
    }

    /// Rows that are dependent on a face of solutions may leave a system that no solve gets to the end of, and every derivative
    /// regularized: one solve tells.
    fn gets_nowhere(&mut self) -> bool {
        let (info, settings) = (&self.solution.info, &self.settings);
        // the system of other derivatives is another one
        let direct = settings.backward == Backward::Direct && settings.smoothing.is_none();
        let doubtful = info.polished && info.dependent_rows && info.flat_face && direct && !self.curved();
        doubtful && {
            let found = self.backward.differentiator.examine(self.solution.at());
            found.map_or(true, |accuracy| lower(self.solution.verdict(), accuracy) == Verdict::Regularized)
        }
    }

    /// From a point of a face to a vertex of it, whose system is regular, if that can be derived and the point itself cannot.
    fn leave_the_face(&mut self, deadline: &Deadline) -> Result<(), Error> {
        let before = self.solution.clone();
        self.solution.info.polished = false;
        if !self.solve_at_a_vertex(deadline)? || self.gets_nowhere() {
            self.adopt(&before)?;
        }
        Ok(())
    }

    fn solve_from_there(&mut self, from: (Start, usize), deadline: &Deadline) -> Result<bool, Error> {
        let settled = self.solution.info.polished || !self.settings.polish;
        if self.curved() || !self.solution.ok() || settled || deadline.passed() {
            return Ok(false);
        }
        let before = self.solution.clone();
        self.trial.clone_from(&before.at);
        let outcome = Outcome { status: before.status, iterations: before.info.iterations, certificate: None };
        let found = self.accept(outcome, from)?;
        if !found {
            self.adopt(&before)?;
        }
        Ok(found)
    }

    /// Whether the problem is convex, found out once for its matrices; at most one factorization, less than any solve.
    fn is_convex(&mut self) -> bool {
        *self.convex.get_or_insert_with(|| {
            // a positive definite P that a solver factored needs no other proof of convexity
            let proved = self.chain.iter().any(|(_, handle)| handle.as_ref().is_some_and(|h| h.core().is_some()));
            self.curvature = if proved { None } else { negative_curvature(&self.solution.qp.p, &self.solution.qp.a) };
            self.curvature.is_none()
        })
    }

    /// True if there are curved cones.
    pub(super) fn curved(&self) -> bool {
        !self.solution.qp.cones.is_empty()
    }

    /// Solves from the active set of a similar problem; false if that does not lead to a verified solution.
    pub(super) fn try_active_set(&mut self, warm: &Point) -> Result<bool, Error> {
        self.trial.clone_from(warm);
        self.polish_trial(Start::Point, WARM_ROUNDS)?;
        if !self.solution.info.polished {
            log::debug!("the warm start leads nowhere: solved from the beginning");
            return Ok(false);
        }
        self.solution.info.solver = Solver::ActiveSet.name();
        self.solution.info.iterations = self.solution.info.polish_rounds;
        self.solution.status = Status::Solved;
        Ok(true)
    }

    /// Identifies and polishes the trial point into the solution, and publishes what is the better of the two.
    pub(super) fn polish_trial(&mut self, start: Start, rounds: usize) -> Result<(), Error> {
        if !self.loaded {
            self.load()?;
        }
        let solution = &mut self.solution;
        let curved = !solution.qp.cones.is_empty();
        let polisher = &mut self.backward.differentiator.polisher;
        // the polish of linear constraints starts from these vectors
        let work = if curved { &mut self.work } else { &mut polisher.work };
        let (raw, objective) = residuals(&solution.qp, &self.trial, work);
        polisher.scales.load(&solution.qp);
        if !curved {
            identify(&solution.qp, &self.trial, &polisher.work, &polisher.scales, &mut solution.active);
        }
        solution.info.raw = Some(raw);
        solution.publish();
        solution.at.clone_from(&self.trial);
        (solution.residuals, solution.objective) = (raw, objective);
        self.rounded = false;
        solution.info.moved = 0.0;
        solution.info.dependent_rows = false;
        solution.info.flat_face = false;
        if self.settings.polish {
            let (from, at, active) = ((start, rounds), &mut solution.at, &mut solution.active);
            let known = (!curved).then_some((raw, objective));
            let mut report = self.backward.differentiator.polish(&solution.qp, from, known, (at, active));
            solution.info.polish_rounds = report.rounds;
            let within = report.residuals.within(self.settings.eps_abs, self.settings.eps_rel, 1.0);
            if report.verified && !within && !curved && report.residuals.known() && solution.at.is_finite() {
                // terms that cancel may be so large that no point is within the tolerance
                residuals(&solution.qp, &solution.at, &mut self.work);
                let scales = &self.backward.differentiator.polisher.scales;
                let at = (&solution.at, &self.work);
                self.rounded = self.rows.holds(&solution.qp, at, &solution.active, scales, ROUNDED);
                if !self.rounded {
                    // or so small that every term is what rounding left of 0
                    let before = solution.at.clone();
                    if self.rows.vanish(&solution.qp, &mut solution.at, &solution.active) {
                        let found = residuals(&solution.qp, &solution.at, &mut self.work);
                        let at = (&solution.at, &self.work);
                        self.rounded = self.rows.holds(&solution.qp, at, &solution.active, scales, ROUNDED);
                        if self.rounded {
                            (report.residuals, report.objective) = found;
                        } else {
                            solution.at = before;
                        }
                    }
                }
            }
            let better = within || self.rounded || report.residuals.relative() <= raw.relative();
            solution.info.polished = report.verified && better;
            solution.exact_factors = solution.info.polished && self.backward.differentiator.exact_factors();
            if solution.info.polished {
                (solution.residuals, solution.objective) = (report.residuals, report.objective);
                solution.info.dependent_rows = report.dependent;
                solution.info.flat_face = report.face.is_some();
                let moved = solution.at.x.iter().zip(&self.trial.x);
                solution.info.moved = moved.fold(0.0, |m, (a, b)| m.max((a - b).abs()));
            } else if curved {
                // derivatives are taken at the point that the polish came to; what is shown is the better of the two
                (solution.residuals, solution.objective) = (report.residuals, report.objective);
                solution.publish();
                let eps_abs = self.settings.eps_abs;
                let total = total_complementarity(&solution.qp, &self.trial, &self.work);
                let own = loss(&raw, total, eps_abs);
                residuals(&solution.qp, &solution.at, &mut self.work);
                let total = total_complementarity(&solution.qp, &solution.at, &self.work);
                self.loss = loss(&report.residuals, total, eps_abs);
                if own < self.loss {
                    (solution.residuals, solution.objective, self.loss) = (raw, objective, own);
                    solution.show(&self.trial);
                }
                (solution.core, solution.kept) = (None, None);
                return Ok(());
            } else {
                // what the polish factored is of a set that is not taken
                self.backward.differentiator.forget();
                solution.at.clone_from(&self.trial);
                residuals(&solution.qp, &self.trial, &mut self.work);
                let scales = &self.backward.differentiator.polisher.scales;
                identify(&solution.qp, &self.trial, &self.work, scales, &mut solution.active);
            }
        } else {
            solution.exact_factors = false;
            if curved {
                let Solution { qp, at, active, .. } = solution;
                self.backward.differentiator.place(qp, at, active);
                (solution.residuals, solution.objective) = residuals(&solution.qp, &solution.at, &mut self.work);
            } else {
                general_point(solution);
            }
        }
        solution.publish();
        solution.core = if self.settings.keep_factor { self.backward.differentiator.core() } else { None };
        solution.kept = None;
        Ok(())
    }

    /// No constraint is missed altogether, in its own units: residuals relative to the largest terms of all rows can hide
    /// that.
    fn every_constraint_holds(&mut self) -> bool {
        let solution = &self.solution;
        residuals(&solution.qp, &solution.at, &mut self.work);
        // violations only: what a poor point says is active may well have a slack
        self.free.release(&solution.qp);
        let absolute = INACCURATE * self.settings.eps_abs;
        let tolerance = Tolerance { absolute, primal: MISSED, dual: ANY, homogeneous: MISSED };
        let scales = &self.backward.differentiator.polisher.scales;
        self.rows.holds(&solution.qp, (&solution.at, &self.work), &self.free, scales, tolerance)
    }

    /// What is left of the equations moves the optimal value by no good part of it. The residual vectors are those of the
    /// solution.
    fn objective_stands(&self) -> bool {
        let Solution { at, residuals, .. } = &self.solution;
        priced(at, &self.work) <= MISSED * residuals.gap_scale + INACCURATE * self.settings.eps_abs
    }

    /// A point that was verified on dependent rows whose objective and dual objective have nothing in common: x went so far along
    /// what neither P nor the rows of its set resist that its own terms are the measure of everything.
    fn ran_off(&self) -> bool {
        let Solution { at, residuals, info, objective, qp, .. } = &self.solution;
        let apart = residuals.gap > MISSED * residuals.gap_scale + INACCURATE * self.settings.eps_abs;
        info.polished && info.dependent_rows && apart && {
            let linear = dot(&qp.q, &at.x);
            let terms = linear.abs() + 2.0 * (objective - linear).abs();
            residuals.gap > EQUATION_ROUNDING.sqrt() * terms
        }
    }

    /// Judges a solver's result; true if it settles the matter.
    fn accept(&mut self, outcome: Outcome, (start, rounds): (Start, usize)) -> Result<bool, Error> {
        if let Some(certificate) = outcome.certificate {
            if certificate.verify(&self.solution.qp) {
                self.finish_without(outcome.status, Some(certificate))?;
                return Ok(true);
            }
            self.finish_without(Status::NumericalFailure, None)?;
            return Ok(false);
        }
        if !self.trial.is_finite() {
            self.finish_without(Status::NumericalFailure, None)?;
            return Ok(false);
        }
        self.polish_trial(start, rounds)?;
        let (eps_abs, eps_rel) = (self.settings.eps_abs, self.settings.eps_rel);
        let unverified = self.settings.polish && !self.solution.info.polished;
        // on a curved boundary an error sideways costs its square, which residuals do not show: a solver that did not end has to
        // be taken at its word
        let unclaimed = unverified && self.curved() && !outcome.status.ok();
        let off =
            unclaimed || (unverified && !(self.every_constraint_holds() && self.objective_stands())) || self.ran_off();
        let solution = &mut self.solution;
        // without the polish the caller wants the solver's own iterate, at the solver's own tolerance
        solution.status = if off {
            if outcome.status.ok() { Status::NumericalFailure } else { outcome.status }
        } else if solution.residuals.within(eps_abs, eps_rel, 1.0)
            || self.rounded
            || (!self.settings.polish && outcome.status == Status::Solved && solution.residuals.known())
        {
            Status::Solved
        } else if solution.residuals.within(eps_abs, eps_rel, INACCURATE) {
            Status::SolvedInaccurate
        } else if outcome.status.ok() {
            Status::NumericalFailure
        } else {
            outcome.status
        };
        Ok(solution.status == Status::Solved && (solution.info.polished || !self.settings.polish))
    }

    pub(super) fn finish_without(&mut self, status: Status, certificate: Option<Certificate>) -> Result<(), Error> {
        let solution = &mut self.solution;
        solution.status = status;
        solution.info.certificate = certificate;
        solution.objective = f64::NAN;
        solution.at.parts_mut().into_iter().for_each(|v| v.fill(f64::NAN));
        solution.publish();
        Ok(())
    }
}

/// The largest relative residual of a point, to which all that is missing in complementarity counts.
fn loss(r: &Residuals, complementarity: f64, eps_abs: f64) -> f64 {
    merit(r, eps_abs).max(complementarity.max(r.gap) / r.gap_scale.max(eps_abs))
}

/// Residuals relative to the data alone, not to the terms that cancel in them: huge multipliers can hide a poor point.
fn plain(solution: &Solution) -> f64 {
    let qp = &solution.qp;
    let finite = |v: &[f64]| v.iter().filter(|v| v.is_finite()).fold(0.0_f64, |m, v| m.max(v.abs()));
    let primal = finite(&qp.b).max(finite(&qp.h)).max(finite(&qp.lb)).max(finite(&qp.ub));
    let r = &solution.residuals;
    let relative = |r: f64, data: f64| if data > 0.0 { r / data } else { r };
    relative(r.primal, primal).max(relative(r.dual, finite(&qp.q)))
}

/// True if `a` is the one to keep.
fn better(a: &Solution, b: &Solution) -> bool {
    match (a.status.ok(), b.status.ok()) {
        // of two points on curved boundaries that nothing verifies the second opinion counts
        (true, true) if !a.qp.cones.is_empty() => {
            !b.info.polished && a.status == Status::Solved && b.status != Status::Solved
        }
        (true, true) => !b.info.polished && plain(a) <= plain(b),
        (a, b) => a || !b,
    }
}

/// Complementarity made exact for the general gradient at an unconverged iterate: multipliers of inactive rows vanish
/// (those of active rows keep their value, and their slack moves into the data).
fn general_point(solution: &mut Solution) {
    for (z, &active) in solution.at.z.iter_mut().zip(&solution.active.g) {
        if !active {
            *z = 0.0;
        }
    }
    for (z, &side) in solution.at.z_box.iter_mut().zip(&solution.active.bound) {
        if side == crate::active::Side::Free {
            *z = 0.0;
        }
    }
}
