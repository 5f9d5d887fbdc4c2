//! The native interior point: Mehrotra's predictor-corrector with proximal regularization, over any [`KktFactor`].
//!
//! Dense problems without bounds and with a positive definite Hessian are solved in the space of their multipliers (see
//! `dual.rs`); everything else here. Regularization `rho`, `delta` keeps the systems solvable for linear programs,
//! singular Hessians and dependent rows; it shrinks with the complementarity (as in the proximal interior point of
//! Schwan, Jiang, Kuhn, Jones 2023) and does not move the solution, since residuals are those of the problem itself.

use super::bounds::Bounded;
use super::newton::PrimalDual;
use super::presolve::{Presolve, Smaller};
use super::scaling::{INTERIOR_POINT, Scaling};
use super::{ForwardHandle, ForwardSolver, Outcome, dual::DualHandle};
use crate::kkt::{self, DenseKkt, KktCore, KktFactor, Matrices, many_singles};
use crate::matrix::{Matrix, dot, nan_max, norm_inf};
use crate::{Certificate, Deadline, Error, Point, Qp, Settings, Status};
use std::array::from_fn;
use std::sync::Arc;

/// Iterations before it gives up.
const MAX_ITER: usize = 200;
/// Fraction of the way to the boundary.
const TO_BOUNDARY: f64 = 0.995;
/// Iterations without a residual cut in half after which it ends: another solver or another point may do better.
const IDLE: usize = 60;
/// Steps this short, so many of them one after another, lead nowhere.
const NO_STEP: f64 = 1e-3;
const STALLED: usize = 5;
/// A certificate is looked for from this iteration on.
const FIRST_CERTIFICATE: usize = 4;
/// By how much an iterate has to be longer than the one before that was looked at for a proof.
const GROWN: f64 = 4.0;
/// Violation at which a certificate ends the iteration, and at which one is taken where the iteration ended without
/// a solution.
const SURE: f64 = 1e-8;
const LAST_RESORT: f64 = 1e-6;
/// The part of a residual that the regularization may leave of a step, and the least regularization of variables, equations and
/// inequalities.
const LEFT: f64 = 0.1;
const LEAST_REGULARIZATION: [f64; 3] = [1e-12, 1e-14, 1e-14];
/// What holds to this part of its terms needs no larger steps.
const EXACT: [f64; 3] = [1e-10, 1e-8, 1e-10];
/// A step this much shorter than the other one holds it up.
const HELD_UP: f64 = 0.8;
/// Complementarity that vanished while the residuals did not: the iteration leads nowhere.
const VANISHED: f64 = 1e-15;

/// The native interior point.
#[derive(Debug, Clone, Copy, Default)]
pub struct InteriorPoint;

impl ForwardSolver for InteriorPoint {
    fn name(&self) -> &'static str {
        "interior_point"
    }

    fn prepare(&self, qp: &Qp, settings: &Settings) -> Result<Box<dyn ForwardHandle>, Error> {
        let dense = qp.p.as_dense().is_some();
        let few = qp.n_equality() <= qp.n() && qp.n_inequality() <= 2 * qp.n();
        if dense && !qp.has_bounds() && few && !many_singles(qp.kkt()) {
            let mut kkt = DenseKkt::new(Matrices::of(qp.kkt()));
            let handle = kkt.range_space().and_then(|core| DualHandle::new(qp, core.clone(), settings));
            if let Some(handle) = handle {
                return Ok(Box::new(Choice {
                    settings: settings.clone(),
                    dual: Some(handle),
                    bounded: None,
                    examined: None,
                    presolved: None,
                    smaller: None,
                    general: None,
                    ended: Form::Dual,
                    told: None,
                    deadline: Deadline::default(),
                    qp: qp.clone(),
                }));
            }
        }
        Ok(Box::new(Choice {
            settings: settings.clone(),
            dual: None,
            bounded: None,
            examined: None,
            presolved: None,
            smaller: None,
            general: None,
            ended: Form::Dual,
            told: None,
            deadline: Deadline::default(),
            qp: qp.clone(),
        }))
    }
}

/// The form in which a solve ends, and goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Dual,
    General,
    Smaller,
    /// What is left broke down: the whole of it may be kinder, if the point is worth nothing.
    Broken,
    /// Nothing is left to go on with.
    None,
}

/// The form in multiplier space where it applies, the general form elsewhere or when the first one fails.
struct Choice {
    settings: Settings,
    qp: Qp,
    dual: Option<DualHandle>,
    /// The problem that the general form is given, where some of its rows are bounds.
    bounded: Option<Bounded>,
    /// Is there a bound among these rows?
    examined: Option<(Arc<Matrix>, bool)>,
    general: Option<General>,
    /// The problem that was looked at last for what it has too much of, and what was found.
    presolved: Option<(Qp, Presolve)>,
    /// The form and the last point of what is left of it, if it was solved in place of the whole.
    smaller: Option<(General, Point)>,
    /// Where the last solve ended: the other forms still hold an earlier problem.
    ended: Form,
    /// When the next solve has to end, if someone said so.
    told: Option<Deadline>,
    /// That of the last solve.
    deadline: Deadline,
}

impl ForwardHandle for Choice {
    fn update(&mut self, qp: &Qp) -> Result<(), Error> {
        self.qp = qp.clone();
        if self.dual.as_mut().is_some_and(|dual| !dual.update(qp)) {
            self.dual = None;
        }
        Ok(())
    }

    fn end_by(&mut self, deadline: &Deadline) {
        self.told = Some(deadline.clone());
    }

    fn solve(&mut self, _warm: Option<&Point>, out: &mut Point) -> Outcome {
        self.ended = Form::Dual;
        self.deadline = self.told.take().unwrap_or_else(|| self.settings.deadline());
        if let Some(dual) = &mut self.dual {
            let outcome = dual.solve(&self.qp, &self.deadline, out);
            if outcome.status != Status::NumericalFailure && outcome.status != Status::IterationLimit {
                return outcome;
            }
        }
        self.general_solve(out)
    }

    fn tighten(&mut self, out: &mut Point) -> Option<Outcome> {
        match (&mut self.dual, &mut self.general) {
            _ if self.ended == Form::None => None,
            _ if self.ended == Form::Smaller => {
                let Some((_, Presolve::Smaller(left))) = &self.presolved else { return None };
                let (general, point) = self.smaller.as_mut()?;
                let outcome = general.tighten(&self.settings, &self.deadline, point)?;
                left.restore(&self.qp, point, out);
                // a proof that does not hold here is none
                let failed = failed(outcome.iterations);
                Some(left.outcome(&self.qp, outcome).unwrap_or(failed))
            }
            _ if self.ended == Form::Broken => Some(self.whole_solve(out)),
            (_, Some(general)) if self.ended == Form::General => {
                if let Some(bounded) = &mut self.bounded {
                    // an iteration that breaks down at once leaves the point as it is
                    bounded.reduce(out);
                }
                let mut outcome = general.tighten(&self.settings, &self.deadline, out);
                if let Some(bounded) = &mut self.bounded {
                    bounded.restore(out);
                    outcome.iter_mut().for_each(|outcome| bounded.restore_proof(&mut outcome.certificate));
                }
                outcome
            }
            (Some(dual), _) => dual.tighten(&self.qp, out).or_else(|| Some(self.general_solve(out))),
            (None, _) => None,
        }
    }

    fn core(&self) -> Option<KktCore> {
        self.dual.as_ref().map(DualHandle::core)
    }
}

impl Choice {
    /// Solves what is left of a problem that has much too much; `None` if it has to be solved as it is.
    fn smaller_solve(&mut self, out: &mut Point) -> Option<Outcome> {
        let found = Presolve::of(&self.qp, self.presolved.take());
        let outcome = match &found {
            Presolve::Little => None,
            Presolve::Contradiction(proof) => {
                self.ended = Form::None;
                Some(no_solution(0, proof.clone()))
            }
            Presolve::Smaller(left) => self.solve_left(left, out),
        };
        self.presolved = Some((self.qp.clone(), found));
        outcome
    }

    fn solve_left(&mut self, left: &Smaller, out: &mut Point) -> Option<Outcome> {
        if left.qp.n() == 0 {
            self.ended = Form::None;
            left.restore(&self.qp, &Point::zeros(&left.qp), out);
            return Some(Outcome { status: Status::Solved, iterations: 0, certificate: None });
        }
        let reused = self.smaller.take().filter(|(general, _)| general.takes(&left.qp));
        let reused = reused.and_then(|(mut general, point)| general.update(&left.qp).then_some((general, point)));
        let (general, point) = match reused {
            Some(reused) => self.smaller.insert(reused),
            None => self.smaller.insert((General::new(&left.qp).ok()?, Point::zeros(&left.qp))),
        };
        let outcome = general.solve(&self.settings, &self.deadline, point);
        self.ended = if outcome.status == Status::NumericalFailure { Form::Broken } else { Form::Smaller };
        left.restore(&self.qp, point, out);
        left.outcome(&self.qp, outcome)
    }

    fn general_solve(&mut self, out: &mut Point) -> Outcome {
        if let Some(outcome) = self.settings.presolve.then(|| self.smaller_solve(out)).flatten() {
            return outcome;
        }
        self.whole_solve(out)
    }

    fn whole_solve(&mut self, out: &mut Point) -> Outcome {
        self.ended = Form::General;
        let known = self.examined.as_ref().filter(|(g, _)| Arc::ptr_eq(g, &self.qp.g)).map(|(_, found)| *found);
        let found = known.unwrap_or_else(|| Bounded::any(&self.qp.g));
        if known.is_none() {
            self.examined = Some((self.qp.g.clone(), found));
        }
        self.bounded = if found { Bounded::of(&self.qp, self.bounded.take()) } else { None };
        let qp = self.bounded.as_ref().map_or(&self.qp, |bounded| &bounded.qp);
        let reuse = self.general.as_mut().is_some_and(|general| general.update(qp));
        if !reuse {
            self.general = None;
        }
        if self.general.is_none() {
            self.general = General::new(qp).ok();
        }
        let Some(general) = &mut self.general else { return failed(0) };
        let mut outcome = general.solve(&self.settings, &self.deadline, out);
        if let Some(bounded) = &mut self.bounded {
            bounded.restore(out);
            bounded.restore_proof(&mut outcome.certificate);
        }
        outcome
    }
}

/// The general form.
struct General {
    qp: Qp,
    scaling: Scaling,
    scaled: Qp,
    kkt: Box<dyn KktFactor>,
    it: PrimalDual,
    iterations: usize,
    limit: usize,
    /// Attempts since the last problem came, beside the first.
    attempts: usize,
    /// It made no more steps to speak of: there are no further digits.
    stuck: bool,
}

/// Relative accuracy asked of a first attempt: enough to tell the active set apart; the polish does the rest.
const FIRST_TARGET: f64 = 1e-7;

/// Fractions of the tolerances that the second attempt and the third aim at, and what neither goes below.
const BEYOND: [f64; 2] = [0.1, 1e-4];
const LEAST: f64 = 1e-13;

impl General {
    fn new(qp: &Qp) -> Result<Self, Error> {
        let scaling = Scaling::of(qp, INTERIOR_POINT);
        let scaled = scaling.apply(qp);
        let kkt = kkt::prepare(scaled.kkt())?;
        let it = PrimalDual::new(&scaled);
        Ok(General { qp: qp.clone(), scaling, scaled, kkt, it, iterations: 0, limit: 0, attempts: 0, stuck: false })
    }

    /// True if a problem has the structure of this one.
    fn takes(&self, qp: &Qp) -> bool {
        let same = |a: &Arc<Matrix>, b: &Arc<Matrix>| Arc::ptr_eq(a, b) || a.difference(b).is_none();
        same(&self.qp.a, &qp.a) && same(&self.qp.g, &qp.g) && self.qp.p.difference(&qp.p).is_none()
    }

    /// Takes new numbers; false if the pattern of finite bounds changed, or other rows are bounds now.
    fn update(&mut self, qp: &Qp) -> bool {
        if !Arc::ptr_eq(&self.qp.g, &qp.g) && self.qp.g.difference(&qp.g).is_some() {
            return false;
        }
        let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a.is_finite() == b.is_finite());
        let fixed = |q: &Qp, i: usize| q.lb[i] == q.ub[i];
        let unchanged = same(&self.qp.h, &qp.h)
            && same(&self.qp.lb, &qp.lb)
            && same(&self.qp.ub, &qp.ub)
            && (0..qp.n()).all(|i| fixed(qp, i) == fixed(&self.qp, i));
        if !unchanged {
            return false;
        }
        let old = &self.qp;
        if Arc::ptr_eq(&old.p, &qp.p) && Arc::ptr_eq(&old.a, &qp.a) && Arc::ptr_eq(&old.g, &qp.g) {
            self.scaling.update(qp, &mut self.scaled);
        } else {
            // factors of other matrices may hide rows of these
            self.scaling = Scaling::of(qp, INTERIOR_POINT);
            self.scaled = self.scaling.apply(qp);
        }
        self.qp = qp.clone();
        self.kkt.load(self.scaled.kkt()).is_ok()
    }

    fn solve(&mut self, settings: &Settings, deadline: &Deadline, out: &mut Point) -> Outcome {
        (self.iterations, self.attempts, self.stuck) = (0, 0, false);
        self.limit = settings.max_iter.unwrap_or(MAX_ITER);
        self.kkt.begin();
        if self.start().is_none() {
            return failed(0);
        }
        // without the polish the iterate itself is what the caller gets
        let least = if settings.polish { FIRST_TARGET } else { 0.0 };
        self.run(deadline, settings.eps_rel.max(least), settings.eps_abs.max(least), out)
    }

    fn tighten(&mut self, settings: &Settings, deadline: &Deadline, out: &mut Point) -> Option<Outcome> {
        if self.stuck || (settings.eps_rel >= FIRST_TARGET && settings.eps_abs >= FIRST_TARGET) {
            return None;
        }
        let before = self.iterations;
        loop {
            // the gap of the problem has parts that complementarity does not see: aim a little beyond
            let part = BEYOND.get(self.attempts)?;
            self.attempts += 1;
            let target = |eps: f64| (part * eps).max(LEAST.min(eps));
            let outcome = self.run(deadline, target(settings.eps_rel), target(settings.eps_abs), out);
            // the point that is there already tells nothing new
            if self.iterations > before {
                return Some(outcome);
            }
        }
    }

    /// Mehrotra's starting point: the regularized least-squares solution, shifted inside; `None` if its system breaks down.
    fn start(&mut self) -> Option<()> {
        let (qp, it) = (&self.scaled, &mut self.it);
        for i in 0..qp.n() {
            it.x[i] = 0.0_f64.clamp(qp.lb[i], qp.ub[i]);
        }
        it.y.fill(0.0);
        for f in [&mut it.g, &mut it.l, &mut it.u] {
            f.s.fill(1.0);
            f.z.fill(1.0);
        }
        it.residuals(qp);
        if it.factor(qp, &mut *self.kkt, [1e-6; 3]).is_err() {
            return None;
        }
        it.direction(qp, &mut *self.kkt, 0.0, false);
        let before = it.g.s.len() + it.l.s.len() + it.u.s.len();
        if !it.advance(1.0, 1.0) {
            return None;
        }
        if before == 0 {
            return Some(());
        }
        // shift slacks and multipliers inside, by the rule of Mehrotra (1992)
        let families = || [0usize, 1, 2];
        fn of(it: &mut PrimalDual, k: usize) -> &mut super::newton::Pairs {
            match k {
                0 => &mut it.g,
                1 => &mut it.l,
                _ => &mut it.u,
            }
        }
        let lowest = |v: &[f64]| v.iter().fold(f64::INFINITY, |m, &v| m.min(v));
        let (mut low_s, mut low_z) = (f64::INFINITY, f64::INFINITY);
        for k in families() {
            low_s = low_s.min(lowest(&of(it, k).s));
            low_z = low_z.min(lowest(&of(it, k).z));
        }
        let (up_s, up_z) = ((-1.5 * low_s).max(0.0), (-1.5 * low_z).max(0.0));
        let (mut product, mut sum_s, mut sum_z) = (0.0, 0.0, 0.0);
        for k in families() {
            let f = of(it, k);
            f.s.iter_mut().for_each(|s| *s += up_s);
            f.z.iter_mut().for_each(|z| *z += up_z);
            product += dot(&f.s, &f.z);
            sum_s += f.s.iter().sum::<f64>();
            sum_z += f.z.iter().sum::<f64>();
        }
        let more_s = if sum_z > 0.0 { 0.5 * product / sum_z } else { 1.0 };
        let more_z = if sum_s > 0.0 { 0.5 * product / sum_s } else { 1.0 };
        for k in families() {
            let f = of(it, k);
            f.s.iter_mut().for_each(|s| *s += more_s.max(1e-4));
            f.z.iter_mut().for_each(|z| *z += more_z.max(1e-4));
        }
        Some(())
    }

    /// The iteration ended without a solution: the last iterate, or a proof that there is none.
    fn end(&self, status: Status, out: &mut Point) -> Outcome {
        // an iterate that overflowed leaves the last good one in `out`
        if self.it.mu().is_finite() && self.it.x.iter().all(|x| x.is_finite()) {
            self.scaling.unscale(&self.scaled, &self.it, &self.qp, out);
        }
        match certificate(&self.qp, out, LAST_RESORT) {
            Some(proof) => no_solution(self.iterations, proof),
            None => Outcome { status, iterations: self.iterations, certificate: None },
        }
    }

    fn run(&mut self, deadline: &Deadline, eps_rel: f64, eps_abs: f64, out: &mut Point) -> Outcome {
        let separate = self.scaled.p.is_zero();
        let mut stalled = 0;
        let mut most = [f64::INFINITY; 3];
        let mut looked_at = 0.0;
        let mut progress = (f64::INFINITY, 0);
        loop {
            let (qp, it) = (&self.scaled, &mut self.it);
            it.residuals(qp);
            let mu = it.mu();
            let iterations = self.iterations;
            // residuals of the scaled problem, computed only where somebody listens
            log::trace!(
                "{iterations}: primal {:.1e}, dual {:.1e}, mu {mu:.1e}",
                it.primal_residual(),
                norm_inf(&it.rd)
            );
            let outcome = |status, certificate| Outcome { status, iterations, certificate };
            let (left, exact) = reached(qp, it, &self.scaling, mu, eps_rel, eps_abs);
            if left < 0.5 * progress.0 {
                progress = (left, iterations);
            }
            if left <= 1.0 {
                self.scaling.unscale(qp, it, &self.qp, out);
                return outcome(Status::Solved, None);
            }
            if self.iterations >= FIRST_CERTIFICATE {
                // an iterate that is no longer than when it was looked at last tells nothing new
                let length = self.scaling.longest(it);
                if length > GROWN * looked_at {
                    looked_at = length;
                    self.scaling.unscale(qp, it, &self.qp, out);
                    if let Some(proof) = certificate(&self.qp, out, SURE) {
                        return no_solution(iterations, proof);
                    }
                }
            }
            let late = deadline.passed();
            if self.iterations >= self.limit
                || late
                || stalled >= STALLED
                || iterations > progress.1 + IDLE
                || !mu.is_finite()
                || (mu < VANISHED && it.pairs() > 0)
            {
                let status = match () {
                    () if late => Status::TimeLimit,
                    () if self.iterations >= self.limit => Status::IterationLimit,
                    () => Status::NumericalFailure,
                };
                self.stuck = stalled >= STALLED;
                return self.end(status, out);
            }
            self.iterations += 1;
            let mut regularization = (1e-2 * mu).clamp(1e-10, 1e-8);
            let mut own = most.map(|most| regularization.min(most));
            let mut ok = it.factor(qp, &mut *self.kkt, own).is_ok();
            while !ok && regularization < 1e-3 {
                regularization *= 100.0;
                own = [regularization; 3];
                ok = it.factor(qp, &mut *self.kkt, own).is_ok();
            }
            if !ok {
                return self.end(Status::NumericalFailure, out);
            }
            if it.pairs() == 0 {
                it.direction(qp, &mut *self.kkt, 0.0, false);
            } else {
                it.predict(qp, &mut *self.kkt);
                let (primal, dual) = it.step_lengths();
                let (primal, dual) = together(separate, primal, dual);
                let sigma = (it.mu_after(primal, dual) / mu).clamp(0.0, 1.0).powi(3);
                // in a linear program the residuals go down with the products: an iterate that is feasible before it is central
                // stays near the boundary
                let gone = if separate { 1.0 - sigma } else { 1.0 };
                it.correct(qp, &mut *self.kkt, sigma * mu, gone);
            }
            // a step leaves the regularization times what changed of each residual: where that is so much that the residual hardly
            // shrinks, there is less from here on, for equations and variables until they hold
            let residuals = [norm_inf(&it.rd), norm_inf(&it.ra), it.primal_residual()];
            for (k, change) in it.changes().into_iter().enumerate() {
                if !exact[k] && own[k] * change > LEFT * residuals[k] {
                    most[k] = (LEFT * residuals[k] / change).max(LEAST_REGULARIZATION[k]);
                } else if exact[k] && k < 2 {
                    most[k] = f64::INFINITY;
                }
            }
            let (mut primal, mut dual) = it.step_lengths();
            if primal < 1.0 {
                primal *= TO_BOUNDARY;
            }
            if dual < 1.0 {
                dual *= TO_BOUNDARY;
            }
            (primal, dual) = together(separate, primal, dual);
            if !it.advance(primal, dual) {
                return self.end(Status::NumericalFailure, out);
            }
            stalled = if primal.max(dual) < NO_STEP { stalled + 1 } else { 0 };
        }
    }
}

/// The steps of the variables and of the multipliers, together but where one is held up: what the longer one leaves of the
/// curvature is less than it gains.
fn together(separate: bool, primal: f64, dual: f64) -> (f64, f64) {
    let common = primal.min(dual);
    if separate || common < HELD_UP * primal.max(dual) { (primal, dual) } else { (common, common) }
}

fn no_solution(iterations: usize, certificate: Certificate) -> Outcome {
    let status = match certificate {
        Certificate::PrimalInfeasible(_) => Status::PrimalInfeasible,
        _ => Status::DualInfeasible,
    };
    Outcome { status, iterations, certificate: Some(certificate) }
}

fn failed(iterations: usize) -> Outcome {
    Outcome { status: Status::NumericalFailure, iterations, certificate: None }
}

/// Residuals in the units of the problem, relative to the sizes of the terms that cancel in them: the largest over what is
/// asked for, and whether variables, equations and inequalities hold far beyond that.
fn reached(qp: &Qp, it: &PrimalDual, scaling: &Scaling, mu: f64, eps_rel: f64, eps_abs: f64) -> (f64, [bool; 3]) {
    let (primal, primal_scale) = scaling.primal(it, qp);
    let (dual, dual_scale) = scaling.dual(it, qp);
    let quadratic = dot(&it.x, &it.px);
    let objective = (0.5 * quadratic + dot(&it.x, &qp.q)).abs() / scaling.cost;
    let gap = mu * it.pairs() as f64 / scaling.cost;
    let over = |value: f64, scale: f64| if value == 0.0 { 0.0 } else { value / (eps_abs + eps_rel * scale) };
    let left = nan_max(nan_max(over(primal, primal_scale), over(dual, dual_scale)), over(gap, objective));
    let holds = [(dual, dual_scale), (primal, primal_scale), (primal, primal_scale)];
    (left, from_fn(|k| holds[k].0 <= EXACT[k] * holds[k].1))
}

/// A certificate among the directions in which a diverging iterate points.
fn certificate(qp: &Qp, point: &Point, accept: f64) -> Option<Certificate> {
    // to clean a direction takes many products; one whose value has the wrong sign proves nothing
    let proof = |candidate: Certificate| {
        if candidate.violation(qp).is_infinite() {
            return None;
        }
        Some(candidate.cleaned(qp)).filter(|candidate| candidate.violation(qp) <= accept)
    };
    let multipliers = norm_inf(&point.y).max(norm_inf(&point.z)).max(norm_inf(&point.z_box));
    if multipliers > 1e3 {
        let scaled = |v: &[f64]| v.iter().map(|v| v / multipliers).collect::<Vec<_>>();
        let ray = Point {
            x: Vec::new(),
            y: scaled(&point.y),
            z: scaled(&point.z),
            z_box: scaled(&point.z_box),
            ..Point::default()
        };
        let found = proof(Certificate::PrimalInfeasible(ray));
        if found.is_some() {
            return found;
        }
    }
    let size = norm_inf(&point.x);
    if size > 1e3 { proof(Certificate::DualInfeasible(point.x.iter().map(|v| v / size).collect())) } else { None }
}
