//! Stage 8: the user's object. Prepared once, then solved and differentiated many times.

use crate::active::{ActiveSet, RowCheck, Start, Tolerance, identify, merit};
use crate::backward::{Accuracy, Differentiator};
use crate::closest::{self, Closest};
use crate::derivatives::{Derivatives, Workspace};
use crate::forward::{self, ForwardHandle, ForwardSolver, Outcome, rays};
use crate::interrupt::Watch;
use crate::kkt::negative_curvature;
use crate::residuals::{Point, ResidualWork, priced, residuals, total_complementarity};
use crate::solution::Nearest;
use crate::thresholds::EQUATION_ROUNDING;
use crate::{
    Certificate, Cotangent, Deadline, Error, Gradient, Infeasible, Qp, Residuals, Settings, Solution, SolutionTangent,
    Solver, Status, Tangent, Verdict, Wrt,
};
use std::sync::Arc;
use std::time::Instant;

/// Rounds of repair after a forward solver; more from a warm start, where each is cheaper than a solve.
const REPAIR_ROUNDS: usize = 10;
/// Rounds of the first polish of a solver that can go on: its last digits cost less than finding the set by exchange.
const FIRST_ROUNDS: usize = 3;
const WARM_ROUNDS: usize = 25;
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

/// A solver, and its handle once it was needed.
type Link = (Arc<dyn ForwardSolver>, Option<Box<dyn ForwardHandle>>);

/// A problem structure, prepared: symbolic work and buffers belong to it, and every factorization is kept for as long as
/// the matrices that it came from.
///
/// ```
/// use bpqp::{Cotangent, Hessian, Layer, Qp, Settings, Wrt};
/// // the projection of (0.5, 2) onto the unit box
/// let qp = Qp::new(Hessian::Diagonal(vec![1.0; 2]), vec![-0.5, -2.0])?.bounds(vec![0.0; 2], vec![1.0; 2])?;
/// let mut layer = Layer::new(qp.clone(), Settings::default())?;
/// assert_eq!(layer.solve()?.x, [0.5, 1.0]);
/// let gradient = layer.vjp(&Cotangent::x(&[1.0, 1.0]), Wrt::ALL)?;
/// assert_eq!(gradient.q.as_deref(), Some(&[-1.0, 0.0][..]));
/// layer.update(qp.with_q(vec![-0.25, 3.0])?)?;
/// assert_eq!(layer.solve()?.x, [0.25, 0.0]);
/// # Ok::<(), bpqp::Error>(())
/// ```
pub struct Layer {
    settings: Settings,
    chain: Vec<Link>,
    backward: Workspace,
    convex: Option<bool>,
    curvature: Option<Vec<f64>>,
    loaded: bool,
    solution: Solution,
    trial: Point,
    work: ResidualWork,
    rows: RowCheck,
    free: ActiveSet,
    /// Where the polish of a curved program failed: how far the point that is shown is off.
    loss: f64,
    /// The point misses the tolerance by rounding of the terms of its equations alone.
    rounded: bool,
}

impl Layer {
    /// Prepares for problems of the structure of `qp`: its shapes, sparsity patterns, and which blocks there are.
    pub fn new(qp: Qp, settings: Settings) -> Result<Self, Error> {
        let solvers = forward::chain(&qp, &settings);
        Self::with_solvers(qp, solvers, settings)
    }

    /// Prepares for a solution that is given: nothing solves.
    pub(crate) fn for_given(qp: Qp, settings: Settings) -> Result<Self, Error> {
        Self::with_solvers(qp, Vec::new(), settings)
    }

    /// The same with forward solvers of your own, tried in this order (`settings.solver` is not looked at).
    pub fn with_solvers(qp: Qp, solvers: Vec<Arc<dyn ForwardSolver>>, settings: Settings) -> Result<Self, Error> {
        settings.validate()?;
        if settings.infeasible == Infeasible::Closest && !qp.cones.is_empty() {
            return Err(Error::Unsupported {
                what: "infeasible = closest with cones beyond linear constraints".to_owned(),
                advice: "add slacks with a cost of their own",
            });
        }
        if !qp.cones.is_empty() {
            forward::check_cones(&solvers, &settings)?;
        }
        Ok(Layer {
            chain: solvers.into_iter().map(|solver| (solver, None)).collect(),
            backward: Workspace::new(Differentiator::new(&qp, &settings)?),
            convex: None,
            curvature: None,
            loaded: false,
            solution: Solution::blank(&qp, &settings),
            trial: Point::zeros(&qp),
            work: ResidualWork::default(),
            rows: RowCheck::default(),
            free: ActiveSet::default(),
            loss: f64::INFINITY,
            rounded: false,
            settings,
        })
    }

    /// Takes the numbers of another problem of the same structure. Blocks that both share keep what was computed of them.
    pub fn update(&mut self, qp: Qp) -> Result<(), Error> {
        let old = &self.solution.qp;
        check_structure(old, &qp)?;
        if !(Arc::ptr_eq(&old.p, &qp.p) && Arc::ptr_eq(&old.a, &qp.a)) {
            self.convex = None;
        }
        for (_, handle) in &mut self.chain {
            if let Some(handle) = handle {
                handle.update(&qp)?;
            }
        }
        self.solution.qp = qp;
        self.solution.status = Status::NumericalFailure;
        self.solution.closest = None;
        self.loaded = false;
        Ok(())
    }

    /// True if the derivatives of that solution can be had here.
    pub(crate) fn serves(&self, solution: &Solution) -> bool {
        self.settings.backward == solution.settings.backward && check_structure(&self.solution.qp, &solution.qp).is_ok()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The problem at hand.
    pub fn qp(&self) -> &Qp {
        &self.solution.qp
    }

    /// Solves the problem at hand.
    pub fn solve(&mut self) -> Result<&Solution, Error> {
        self.solve_from(None)
    }

    /// Solves the problem at hand, starting from the solution of a similar one: if its active set is nearly right this
    /// costs a few systems of that set. A point of other shapes, or with numbers that are not finite, is no help and is
    /// ignored: a warm start never decides whether there is a solution.
    pub fn solve_from(&mut self, warm: Option<&Point>) -> Result<&Solution, Error> {
        let start = Instant::now();
        self.solution.closest = None;
        self.forward(warm.filter(|point| point.fits(&self.solution.qp) && point.is_finite()))?;
        if self.settings.infeasible == Infeasible::Closest && self.solution.status == Status::PrimalInfeasible {
            self.find_closest(start)?;
        }
        self.solution.info.time = start.elapsed();
        self.tell();
        Ok(&self.solution)
    }

    /// One record for each solve; nothing is computed for it that nobody hears.
    fn tell(&self) {
        let Solution { qp, status, info, residuals: r, .. } = &self.solution;
        let (solver, iterations) = (info.solver, info.iterations);
        if status.ok() {
            let how = if info.polished { "verified" } else { "not verified" };
            log::debug!(
                "{status} by {solver} in {iterations} iterations, {how}: primal {:.1e}, dual {:.1e}, gap {:.1e}; {} variables, {} rows",
                r.primal,
                r.dual,
                r.gap,
                qp.n(),
                qp.n_equality() + qp.n_inequality() + qp.n_cone()
            );
        } else {
            let proof = if info.certificate.is_some() { ", with a certificate" } else { "" };
            log::debug!("no solution: {status} by {solver} in {iterations} iterations{proof}");
        }
    }

    /// Solves the closest feasible program, its two levels one after the other. Where one of them is not solved there is no
    /// solution.
    fn find_closest(&mut self, start: Instant) -> Result<(), Error> {
        let Layer { solution, settings, .. } = self;
        let solve = |qp: Qp| {
            let time_limit = settings.time_limit.map(|limit| limit.saturating_sub(start.elapsed()));
            let settings = Settings {
                solver: Solver::Auto,
                infeasible: Infeasible::Status,
                polish: true,
                time_limit,
                ..settings.clone()
            };
            qp.solve(&settings)
        };
        let first = solve(closest::least_squares(&solution.qp)?)?;
        if !first.ok() {
            return Ok(());
        }
        let map = Closest::new(&solution.qp, &first.active);
        let second = solve(map.program(&solution.qp)?)?;
        if second.ok() {
            let shift = map.shift(&second.x);
            solution.take_closest(Nearest { map, solution: second, shift });
        }
        Ok(())
    }

    /// The solution of the last solve.
    pub fn solution(&self) -> &Solution {
        &self.solution
    }

    /// The gradient of a loss at the last solution, with these cotangents; it stays valid until the next call.
    pub fn vjp(&mut self, cotangent: &Cotangent, wrt: Wrt) -> Result<&Gradient, Error> {
        self.derivatives()?.vjp(cotangent, wrt)?;
        Ok(&self.backward.gradient)
    }

    /// The change of the last solution along a direction of the data.
    pub fn jvp(&mut self, tangent: &Tangent) -> Result<&SolutionTangent, Error> {
        self.derivatives()?.jvp(tangent)?;
        Ok(&self.backward.tangent)
    }

    /// The derivative of the gradient `vjp(cotangent, wrt)` along a direction of the data, the cotangent held: the product
    /// of the direction with the (symmetric) Hessian of `<cotangent, outputs>` with respect to the data.
    pub fn second_vjp(&mut self, cotangent: &Cotangent, along: &Tangent, wrt: Wrt) -> Result<&Gradient, Error> {
        self.derivatives()?.second_vjp(cotangent, along, wrt)?;
        Ok(&self.backward.gradient)
    }

    /// The second derivative of the last solution along two directions of the data.
    pub fn second_jvp(&mut self, tangent: &Tangent, along: &Tangent) -> Result<&SolutionTangent, Error> {
        self.derivatives()?.second_jvp(tangent, along)?;
        Ok(&self.backward.tangent)
    }

    /// What the backward system of the last solution is worth: the accuracy of one solve with it, an estimate of its
    /// reciprocal condition (0 where it had to be regularized, or is not known), and the verdict on gradients.
    pub fn examine(&mut self) -> Result<(Accuracy, f64, Verdict), Error> {
        self.derivatives()?.examine()
    }

    /// The gradient of the last `vjp`.
    pub fn gradient(&self) -> &Gradient {
        &self.backward.gradient
    }

    /// How far the last derivative may be trusted.
    pub fn verdict(&self) -> Verdict {
        self.backward.verdict
    }

    pub(crate) fn derivatives(&mut self) -> Result<Derivatives<'_>, Error> {
        Derivatives::new(&self.solution, &mut self.backward)
    }

    /// The derivatives of a solution from elsewhere that this layer [serves](Layer::serves). It is not copied; what was loaded
    /// here for the last solution is lost.
    pub(crate) fn derivatives_of<'a>(&'a mut self, solution: &'a Solution) -> Result<Derivatives<'a>, Error> {
        self.loaded = false;
        self.solution.status = Status::NumericalFailure;
        self.backward.differentiator.load(&solution.qp, solution.core.as_ref())?;
        Derivatives::new(solution, &mut self.backward)
    }

    pub(crate) fn into_solution(mut self) -> Result<Solution, Error> {
        self.solve()?;
        Ok(self.solution)
    }

    /// Makes a solution that came from elsewhere the current one, so that it can be differentiated here.
    pub(crate) fn adopt(&mut self, solution: &Solution) -> Result<(), Error> {
        check_structure(&self.solution.qp, &solution.qp)?;
        self.solution.assign(solution);
        self.backward.differentiator.load(&solution.qp, solution.core.as_ref())?;
        self.loaded = true;
        Ok(())
    }

    fn load(&mut self) -> Result<(), Error> {
        let core = self.chain.iter().find_map(|(_, handle)| handle.as_ref().and_then(|h| h.core()));
        self.backward.differentiator.load(&self.solution.qp, core.as_ref())?;
        self.loaded = true;
        Ok(())
    }

    fn forward(&mut self, warm: Option<&Point>) -> Result<(), Error> {
        let deadline = self.settings.deadline();
        let watch = Watch::new(&deadline);
        self.forward_until(warm, &deadline)?;
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
        if let Some(warm) = warm
            && self.settings.polish
            && (self.curved() || matches!(self.settings.solver, Solver::Auto | Solver::ActiveSet))
            && self.is_convex()
            && self.try_active_set(warm)?
        {
            return Ok(());
        }
        let mut best: Option<Solution> = None;
        for k in 0..self.chain.len() {
            let (solver, handle) = &mut self.chain[k];
            if handle.is_none() && !deadline.passed() {
                *handle = Some(solver.prepare(&self.solution.qp, &self.settings)?);
            }
            let name = solver.name();
            if !deadline.passed()
                && !self.is_convex()
                && let Some(direction) = &self.curvature
            {
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
            if self.accept(outcome.clone(), (Start::Point, FIRST_ROUNDS))? {
                return Ok(());
            }
            let first = (self.curved() && self.solution.ok()).then(|| (self.solution.clone(), self.loss));
            let late = deadline.passed();
            if self.settings.polish
                && !late
                && let Some(outcome) = self.chain[k].1.as_mut().and_then(|h| h.tighten(&mut self.trial))
            {
                let iterations = outcome.iterations;
                self.solution.info.iterations = iterations;
                if self.accept(outcome, (Start::Point, REPAIR_ROUNDS))? {
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
                if self.solve_to_the_last_digits(k, deadline)? {
                    return Ok(());
                }
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
            // on curved boundaries residuals do not tell: there nothing but the polish settles it
            let plainly = !self.curved() && plain(&self.solution) <= PLAIN;
            if self.solution.status.ok() && (self.solution.info.polished || plainly) {
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
        if self.curved()
            && self.solution.status == Status::NumericalFailure
            && let Some((status, certificate)) = rays::proof(&self.solution.qp, &self.settings, deadline)?
        {
            return self.finish_without(status, Some(certificate));
        }
        Ok(())
    }

    /// What binds cannot be told where a slack and a multiplier are both small for their kinds, as at a vertex with a reduced cost
    /// far below the others: further digits of the same solver tell. True if they settle the matter; if they make it worse, what
    /// was there stays.
    fn solve_to_the_last_digits(&mut self, k: usize, deadline: &Deadline) -> Result<bool, Error> {
        for _ in 0..DIGITS {
            if self.curved() || !self.solution.ok() || self.solution.info.polished || deadline.passed() {
                break;
            }
            let Some(outcome) = self.chain[k].1.as_mut().and_then(|h| h.tighten(&mut self.trial)) else { break };
            let before = self.solution.clone();
            let iterations = outcome.iterations;
            self.solution.info.iterations = iterations;
            if self.accept(outcome, (Start::Point, REPAIR_ROUNDS))? {
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
        let settled = self.solution.info.polished || !self.settings.polish;
        if self.curved() || !self.solution.ok() || settled || deadline.passed() {
            return Ok(false);
        }
        let before = self.solution.clone();
        self.trial.clone_from(&before.at);
        let outcome = Outcome { status: before.status, iterations: before.info.iterations, certificate: None };
        let found = self.accept(outcome, (Start::Vertex, REPAIR_ROUNDS))?;
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
    fn curved(&self) -> bool {
        !self.solution.qp.cones.is_empty()
    }

    /// Solves from the active set of a similar problem; false if that does not lead to a verified solution.
    fn try_active_set(&mut self, warm: &Point) -> Result<bool, Error> {
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
    fn polish_trial(&mut self, start: Start, rounds: usize) -> Result<(), Error> {
        if !self.loaded {
            self.load()?;
        }
        let solution = &mut self.solution;
        let (raw, objective) = residuals(&solution.qp, &self.trial, &mut self.work);
        self.backward.differentiator.polisher.scales.load(&solution.qp);
        let scales = &self.backward.differentiator.polisher.scales;
        let curved = !solution.qp.cones.is_empty();
        if !curved {
            identify(&solution.qp, &self.trial, &self.work, scales, &mut solution.active);
        }
        solution.info.raw = Some(raw);
        solution.at.clone_from(&self.trial);
        (solution.residuals, solution.objective) = (raw, objective);
        self.rounded = false;
        solution.info.moved = 0.0;
        solution.info.dependent_rows = false;
        solution.info.flat_face = false;
        if self.settings.polish {
            let (from, at, active) = ((start, rounds), &mut solution.at, &mut solution.active);
            let report = self.backward.differentiator.polish(&solution.qp, from, at, active);
            solution.info.polish_rounds = report.rounds;
            let within = report.residuals.within(self.settings.eps_abs, self.settings.eps_rel, 1.0);
            if report.verified && !within && !curved {
                // terms that cancel may be so large that no point is within the tolerance
                residuals(&solution.qp, &solution.at, &mut self.work);
                let scales = &self.backward.differentiator.polisher.scales;
                let at = (&solution.at, &self.work);
                self.rounded = self.rows.holds(&solution.qp, at, &solution.active, scales, ROUNDED);
            }
            let better = within || self.rounded || report.residuals.relative() <= raw.relative();
            solution.info.polished = report.verified && better;
            solution.exact_factors = solution.info.polished && self.backward.differentiator.exact_factors();
            if solution.info.polished {
                (solution.residuals, solution.objective) = (report.residuals, report.objective);
                solution.info.dependent_rows = report.dependent;
                solution.info.flat_face = report.flat;
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
                solution.core = None;
                return Ok(());
            } else {
                solution.at.clone_from(&self.trial);
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
        let off = unclaimed || (unverified && !(self.every_constraint_holds() && self.objective_stands()));
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

    fn finish_without(&mut self, status: Status, certificate: Option<Certificate>) -> Result<(), Error> {
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

fn check_structure(old: &Qp, new: &Qp) -> Result<(), Error> {
    let counts = [
        ("q", old.n(), new.n(), "it needs one entry per variable"),
        ("b", old.n_equality(), new.n_equality(), "the number of equalities is part of the structure"),
        ("h", old.n_inequality(), new.n_inequality(), "the number of inequalities is part of the structure"),
    ];
    for (argument, expected, found, advice) in counts {
        if expected != found {
            return Err(Error::length(argument, found, expected, advice));
        }
    }
    let changed = |argument, reason| Err(Error::Structure { argument, reason });
    if let Some(reason) = old.p.difference(&new.p) {
        return changed("P", reason);
    }
    if old.cones != new.cones {
        return changed("cones", "other cones");
    }
    for (argument, a, b) in [("A", &old.a, &new.a), ("G", &old.g, &new.g), ("C", &old.c, &new.c)] {
        if let Some(reason) = a.difference(b) {
            return changed(argument, reason);
        }
    }
    Ok(())
}

impl Qp {
    /// Solves the problem once. For many problems of one structure build a [`Layer`] or a [`Batch`](crate::Batch).
    pub fn solve(&self, settings: &Settings) -> Result<Solution, Error> {
        Layer::new(self.clone(), settings.clone())?.into_solution()
    }
}

impl Layer {
    /// Polishes a point that someone else computed and makes it the solution.
    pub(crate) fn differentiate_given(mut self, point: Point) -> Result<Solution, Error> {
        self.trial = point;
        if let Some(direction) = negative_curvature(&self.solution.qp.p, &self.solution.qp.a) {
            self.finish_without(Status::NonConvex, Some(Certificate::NonConvex(direction)))?;
            return Ok(self.solution);
        }
        self.polish_trial(Start::Point, WARM_ROUNDS)?;
        self.solution.info.solver = "given";
        Ok(self.solution)
    }
}
