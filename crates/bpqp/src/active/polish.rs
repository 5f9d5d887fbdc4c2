//! From a solver's approximate point to the exact solution of its active set; verified, and repaired where it is wrong.
//!
//! Each round solves the equality-constrained KKT system of the set for the *correction* to the point (least change:
//! where multipliers are not unique a fresh solve flips signs and the repair cycles), then checks every constraint that
//! the set ignores and the sign of every multiplier that it assumes. What is violated enters the set, what has the wrong
//! sign leaves it: one step of the semi-smooth Newton method on the optimality conditions (Hintermüller, Ito, Kunisch
//! 2002), which is why the same loop, given more rounds, is also a forward solver.

mod repair;

use super::identify::{RowScales, distance_scale, unclear};
use super::rows::Tolerance;
use super::{ActiveSet, Crossover, Doubts, RowCheck, Side};
use crate::kkt::{KktFactor, factor_flat};
use crate::matrix::{nan_max, norm_inf};
use crate::residuals::{ResidualWork, residuals};
use crate::thresholds::{EQUATION_ROUNDING, TERM_ROUNDING};
use crate::{Deadline, Point, Qp, Residuals};

/// The equations of the set hold if what is left of them is below this multiple of the scales of their rows.
pub(crate) const HOLDS: f64 = 1e-8;
/// The same of every single row.
const BY_ROWS: Tolerance = Tolerance { absolute: 0.0, primal: HOLDS, dual: HOLDS, homogeneous: 1e-12 };
/// Lengths below this are measured as if they were this long: a solution that vanishes has no length of its own.
pub(crate) const SHORT: f64 = 1e-4;
/// Residuals relative to the terms that cancel in them: rounding.
pub(crate) const ROUNDING: f64 = 1e-14;
/// Residuals whose reduction by a solve tells how good its factors are.
pub(crate) const TELLING: f64 = 1e-10;
/// What a solve leaves more of than this gets no better by another one.
const STUCK: f64 = 0.5;
/// Solves at most per set.
const CORRECTIONS: usize = 4;
/// The number of places far off from which on the set of a draft is given up.
const MANY: usize = 8;
/// Equations that are off by more than this, relative to their terms, are further apart than solvers are asked to end.
const APART: f64 = 1e-8;
/// A multiplier and a slack within this factor of each other do not tell whether they belong to an active constraint. Where that
/// is so for this many and this part of the variables, a sketch is given up before it costs anything: on the public collections
/// one set in ten was right there.
const UNCLEAR: f64 = 100.0;
const HAZY: usize = 40;
const HAZY_PART: usize = 20;
/// Rounds in which everything that is wrong is changed at once; then only the worst, which cannot cycle in two steps.
const BOLD_ROUNDS: usize = 12;

/// Where a polish begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the set that the point itself tells.
    Point,
    /// The same, of a point that more digits are to be had of: a set that is wrong in many places waits for them.
    Draft,
    /// A draft of the first digits: where it leaves much open, even the first factorization waits.
    Sketch,
    /// At a vertex that it leads to.
    Vertex,
}

/// What polishing did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PolishReport {
    /// The point is the solution of its active set and every other constraint holds.
    pub verified: bool,
    /// Systems solved.
    pub rounds: usize,
    /// Factor by which the first solve with the last factorization reduced the residual: how exact it is. Infinite if
    /// there was no residual to reduce.
    pub accuracy: f64,
    /// The active rows are linearly dependent: multipliers are one choice of several.
    pub dependent: bool,
    /// The solution is one point of an optimal face: what was added to P to factor the system there.
    pub face: Option<f64>,
    /// Residuals of the point that comes out.
    pub residuals: Residuals,
    /// Its objective.
    pub objective: f64,
    /// The last factorization belongs to the set that comes out.
    pub factored: bool,
}

/// Buffers of the polish.
#[derive(Debug, Default)]
pub(crate) struct Polisher {
    pub scales: RowScales,
    /// When it has to give up: never, unless a solve says so.
    pub deadline: Deadline,
    /// Residuals of the point that the next polish starts from and its objective, where they are known; their vectors are in
    /// `work`.
    pub known: Option<(Residuals, f64)>,
    pub work: ResidualWork,
    pub dx: Vec<f64>,
    pub dc: Vec<f64>,
    pub(super) w: Vec<f64>,
    pub(super) v: Vec<f64>,
    pub(super) trial: Point,
    before: Point,
    /// The largest steps of each variable and each multiplier of a row in the corrections of this round.
    steps: [Vec<f64>; 2],
    /// Where multipliers of dependent rows had run off to.
    pub(super) far: Point,
    /// Where it came from, once weakly active constraints are held: what it was before says how sure it is now.
    origin: Point,
    pub(super) set: ActiveSet,
    check: RowCheck,
    doubts: Doubts,
    /// Scales of the residuals before the corrections: of the primal ones, of the dual ones.
    start: (f64, f64),
    /// The set is that of a vertex: independent, which weakly active constraints would end.
    vertex: bool,
    /// The point is one of few digits.
    draft: bool,
    /// Places where the set was far off at the last repair.
    far_off: usize,
}

/// Rounding of sums of `n` terms, relative to the largest: it grows as a random walk does.
pub(crate) fn rounding(n: usize) -> f64 {
    ROUNDING * (n as f64 / 100.0).sqrt().max(1.0)
}

impl Polisher {
    /// Polishes from there.
    pub fn polish_from(
        &mut self,
        start: Start,
        qp: &Qp,
        (kkt, rounds): (&mut dyn KktFactor, usize),
        point: &mut Point,
        active: &mut ActiveSet,
    ) -> PolishReport {
        self.draft = matches!(start, Start::Draft | Start::Sketch);
        // dense systems cost little beside what comes before them
        if start == Start::Sketch && kkt.refines() && self.known.is_some() && self.hazy(qp, point) {
            self.known = None;
            return self.give_up(qp, point, 0, f64::INFINITY);
        }
        match start {
            Start::Point | Start::Draft | Start::Sketch => self.polish(qp, kkt, rounds, point, active),
            Start::Vertex => self.polish_vertex(qp, kkt, rounds, point, active),
        }
    }

    /// From a vertex that `point` leads to, for points whose own set does not lead to a solution. Weakly active
    /// constraints are held there as far as they are independent.
    fn polish_vertex(
        &mut self,
        qp: &Qp,
        kkt: &mut dyn KktFactor,
        rounds: usize,
        point: &mut Point,
        active: &mut ActiveSet,
    ) -> PolishReport {
        self.known = None;
        residuals(qp, point, &mut self.work);
        let force = self.scales.force(qp, &self.work.px, &point.x);
        let length = self.scales.distance(qp, &self.work.px, &point.x);
        let (mut vertex, mut set) = (point.clone(), ActiveSet::default());
        let norms = (&self.scales.norms[..], length, force);
        if !Crossover::run(qp, (&mut vertex, &self.work), norms, &mut set) {
            return self.give_up(qp, point, 0, f64::INFINITY);
        }
        self.vertex = true;
        let report = self.polish(qp, kkt, rounds, &mut vertex, &mut set);
        self.vertex = false;
        if !report.verified {
            return self.give_up(qp, point, report.rounds, report.accuracy);
        }
        point.clone_from(&vertex);
        active.clone_from(&set);
        report
    }

    /// Polishes `point` on `active` for at most `rounds` rounds, with `scales` of this problem. On success both are replaced by
    /// the exact ones; else both are left as they were and `verified` is false.
    pub fn polish(
        &mut self,
        qp: &Qp,
        kkt: &mut dyn KktFactor,
        rounds: usize,
        point: &mut Point,
        active: &mut ActiveSet,
    ) -> PolishReport {
        let mut known = self.known.take();
        self.trial.clone_from(point);
        self.set.clone_from(active);
        if self.scales.vanish(qp) {
            self.trial.reset(qp);
            known = None;
        }
        let mut accuracy = f64::INFINITY;
        // what was verified before the weakly active constraints were held
        let mut free: Option<PolishReport> = None;
        for round in 1..=rounds {
            if self.deadline.passed() {
                return free.unwrap_or_else(|| self.give_up(qp, point, round - 1, accuracy));
            }
            let placed = self.place();
            for (steps, len) in self.steps.iter_mut().zip([qp.n(), qp.n_equality() + qp.n_inequality()]) {
                steps.clear();
                steps.resize(len, 0.0);
            }
            if self.snap(qp) || placed {
                known = None;
            }
            self.set.diagonals(qp.n_equality(), &mut self.dx, &mut self.dc);
            let Ok(face) = factor_flat(kkt, qp.kkt(), (&self.dx, &self.dc), &mut self.w) else {
                return free.unwrap_or_else(|| self.give_up(qp, point, round, accuracy));
            };
            let (first, mut residuals, mut objective) = self.correct(qp, kkt, known.take(), false);
            accuracy = first;
            log::trace!("round {round}: primal {:.1e}, dual {:.1e}", residuals.primal, residuals.dual);
            if let Some(back) = self.bring_back(qp, kkt) {
                (residuals, objective) = back;
            }
            if !objective.is_finite() {
                return free.unwrap_or_else(|| self.give_up(qp, point, round, accuracy));
            }
            let changed = self.repair(qp, round > BOLD_ROUNDS);
            // what changes that much leads nowhere, more often than not; nor does a wrong set whose equations contradict each other,
            // by a lot or once more
            let far = round > 1 || residuals.primal > APART * residuals.primal_scale;
            let contradicts = |it: &mut Self| far && it.far_off > 0 && !it.holds(qp, &residuals);
            if self.draft && (self.far_off > MANY || contradicts(self)) {
                return free.unwrap_or_else(|| self.give_up(qp, point, round, accuracy));
            }
            if !changed {
                let pushed = face.is_some() && self.is_pushed(qp);
                if pushed || !self.holds(qp, &residuals) {
                    // small rows may still be off where the large ones are at rounding
                    (_, residuals, objective) = self.correct(qp, kkt, None, true);
                    if self.repair(qp, round > BOLD_ROUNDS) {
                        continue;
                    }
                    if pushed || !self.holds(qp, &residuals) {
                        if face == Some(0.0) && self.run_along(qp, kkt) {
                            continue;
                        }
                        return free.unwrap_or_else(|| self.give_up(qp, point, round, accuracy));
                    }
                }
                if !self.rounded(qp, &residuals) {
                    // a solution that vanishes leaves nothing but rounding of where it came from
                    (_, residuals, objective) = self.correct(qp, kkt, None, true);
                    if self.repair(qp, round > BOLD_ROUNDS) {
                        continue;
                    }
                }
                let length = norm_inf(if free.is_some() { &self.origin.x } else { &point.x });
                if self.all_clear(qp, length) {
                    self.set.weak_g.fill(false);
                    self.set.weak_bound.fill(false);
                } else {
                    self.doubts.measure(qp, &self.trial, None);
                    let holds = self.doubts.off(&self.work, &self.set) <= EQUATION_ROUNDING;
                    if !holds {
                        (_, residuals, objective) = self.correct(qp, kkt, None, true);
                    }
                    let from = if free.is_some() { &self.origin } else { &*point };
                    self.doubts.measure(qp, &self.trial, Some((from, &self.steps)));
                    self.doubts.load(qp, kkt, &self.work, &self.set);
                    if self.judge(qp, round > BOLD_ROUNDS) {
                        continue;
                    }
                }
                self.clip();
                let dependent = kkt.deficient();
                if dependent && self.drowns(qp) || face.is_some() && self.drowns_along(qp, kkt) {
                    return free.unwrap_or_else(|| self.give_up(qp, point, round, accuracy));
                }
                if free.is_none() && self.set.any_weak() {
                    std::mem::swap(&mut self.origin, point);
                }
                point.clone_from(&self.trial);
                active.clone_from(&self.set);
                let (rounds, factored) = (round, true);
                let report =
                    PolishReport { verified: true, rounds, accuracy, dependent, face, residuals, objective, factored };
                if free.is_none() && !self.vertex && self.hold_weak(qp) {
                    free = Some(PolishReport { factored: false, ..report });
                    continue;
                }
                return report;
            }
        }
        free.unwrap_or_else(|| self.give_up(qp, point, rounds, accuracy))
    }

    /// The point, whose residual vectors are at hand, leaves too much open for its set to be worth a factorization.
    fn hazy(&self, qp: &Qp, point: &Point) -> bool {
        let open = unclear(qp, point, &self.work, &self.scales, UNCLEAR);
        open > HAZY.max(qp.n() / HAZY_PART)
    }

    /// The trial point satisfies the equations of its set, each in the units of its own row: the system of the set may be
    /// inconsistent, and a row of small entries must not drown in the residuals of the others.
    fn holds(&mut self, qp: &Qp, report: &Residuals) -> bool {
        let force = HOLDS * report.dual_scale.max(self.scales.force(qp, &self.work.px, &self.trial.x));
        let length = HOLDS * distance_scale(qp, &self.trial.x).max(SHORT);
        let mut stationarity = self.work.stationarity.iter().zip(&self.set.bound);
        self.rows_within(length)
            && stationarity.all(|(r, &side)| side != Side::Free || r.abs() <= force)
            && self.check.holds(qp, (&self.trial, &self.work), &self.set, &self.scales, BY_ROWS)
            || self.vanishes(qp)
    }

    /// The trial point is no further than this from every equality and active row.
    pub(super) fn rows_within(&self, length: f64) -> bool {
        let mut equalities = self.work.equality.iter().zip(&self.scales.equality);
        let mut rows = self.work.slack.iter().zip(&self.scales.norms).zip(&self.set.g);
        equalities.all(|(r, norm)| r.abs() <= length * norm)
            && rows.all(|((s, norm), &active)| !active || s.abs() <= length * norm)
    }

    /// How far the trial point is from the equality or active row that it is furthest from.
    fn furthest_row(&self) -> f64 {
        let equalities = self.work.equality.iter().zip(&self.scales.equality);
        let rows = self.work.slack.iter().zip(&self.scales.norms).zip(&self.set.g).filter(|(_, active)| **active);
        equalities.chain(rows.map(|(row, _)| row)).fold(0.0_f64, |m, (r, norm)| nan_max(m, r.abs() / norm))
    }

    /// What is left of the equations is rounding beside the terms that cancel in them at the point itself.
    fn rounded(&self, qp: &Qp, r: &Residuals) -> bool {
        let small = |force: f64| r.dual <= EQUATION_ROUNDING * force;
        let force = || self.scales.force(qp, &self.work.px, &self.trial.x);
        r.primal <= EQUATION_ROUNDING * r.primal_scale && (small(r.dual_scale) || small(force()))
    }

    /// What is left of the equations is rounding of numbers of the size of the data, as far as each equation knows of them: all
    /// there is where the solution vanishes, and has no size of its own.
    fn vanishes(&mut self, qp: &Qp) -> bool {
        let (length, force) = self.scales.of_data(qp, &self.work.px, &self.trial.x);
        let (length, force) = (ROUNDING * length, ROUNDING * force);
        if !self.rows_within(length) {
            return false;
        }
        self.scales.shares(qp, &self.set, &mut self.w);
        let terms = self.w.iter().zip(qp.q.iter()).map(|(share, q)| (force * share).max(ROUNDING * q.abs()));
        let mut stationarity = self.work.stationarity.iter().zip(&self.set.bound).zip(terms);
        stationarity.all(|((r, &side), terms)| side != Side::Free || r.abs() <= terms)
    }

    /// Multipliers of the wrong sign by rounding only, which `repair` let pass, vanish.
    fn clip(&mut self) {
        self.trial.z.iter_mut().for_each(|z| *z = z.max(0.0));
        for (z, side) in self.trial.z_box.iter_mut().zip(&self.set.bound) {
            match side {
                Side::Lower => *z = z.min(0.0),
                Side::Upper => *z = z.max(0.0),
                Side::Free | Side::Fixed => {}
            }
        }
    }

    fn give_up(&mut self, qp: &Qp, point: &Point, rounds: usize, accuracy: f64) -> PolishReport {
        let (residuals, objective) = residuals(qp, point, &mut self.work);
        let (dependent, face, factored) = (false, None, false);
        PolishReport { verified: false, rounds, accuracy, dependent, face, residuals, objective, factored }
    }

    /// Multipliers of inactive constraints vanish; true if that changes one.
    fn place(&mut self) -> bool {
        let mut changed = false;
        let rows = self.trial.z.iter_mut().zip(&self.set.g).filter(|(_, active)| !**active).map(|(z, _)| z);
        let bounds = self.trial.z_box.iter_mut().zip(&self.set.bound).filter(|(_, side)| **side == Side::Free);
        for z in rows.chain(bounds.map(|(z, _)| z)) {
            changed |= *z != 0.0;
            *z = 0.0;
        }
        changed
    }

    /// Variables at a bound are put there exactly; true if that moves one.
    fn snap(&mut self, qp: &Qp) -> bool {
        let (lb, ub) = (qp.lb(), qp.ub());
        let mut changed = false;
        for (i, &side) in self.set.bound.iter().enumerate() {
            let at = match side {
                Side::Free => continue,
                Side::Lower | Side::Fixed => lb[i],
                Side::Upper => ub[i],
            };
            changed |= self.trial.x[i] != at;
            self.trial.x[i] = at;
        }
        changed
    }

    /// Corrects the trial point on its set until its residual is at rounding level or stops falling, which takes one solve
    /// with good factors; or `to_the_end` of its solves, while it stays there. The first solve tells how good they are. The
    /// residuals of the point may be `known`, with their vectors in `work`.
    pub(super) fn correct(
        &mut self,
        qp: &Qp,
        kkt: &mut dyn KktFactor,
        known: Option<(Residuals, f64)>,
        to_the_end: bool,
    ) -> (f64, Residuals, f64) {
        let (m, rounding) = (qp.n_equality(), rounding(qp.n()));
        let (report, _) = known.unwrap_or_else(|| residuals(qp, &self.trial, &mut self.work));
        // where the solution vanishes, so do the scales of its residuals: they never count less than those of the start
        self.start = (report.primal_scale, report.dual_scale.max(self.scales.force(qp, &self.work.px, &self.trial.x)));
        let mut before = self.distance_to_set(qp, &report);
        let (mut first, mut last) = (f64::INFINITY, None);
        let mut off = f64::INFINITY;
        for _ in 0..CORRECTIONS {
            self.w.clear();
            self.w.extend(self.work.stationarity.iter().map(|r| -r));
            self.v.clear();
            self.v.extend(self.work.equality.iter().map(|r| -r));
            self.v.extend(self.work.slack.iter().zip(&self.set.g).map(|(&s, &active)| if active { s } else { 0.0 }));
            kkt.solve(&mut self.w, &mut self.v);
            for (steps, step) in self.steps.iter_mut().zip([&self.w, &self.v]) {
                steps.iter_mut().zip(step).for_each(|(most, step)| *most = most.max(step.abs()));
            }
            self.before.clone_from(&self.trial);
            self.trial.x.iter_mut().zip(&self.w).for_each(|(x, d)| *x += d);
            self.trial.y.iter_mut().zip(&self.v[..m]).for_each(|(y, d)| *y += d);
            self.trial.z.iter_mut().zip(&self.v[m..]).for_each(|(z, d)| *z += d);
            let now = residuals(qp, &self.trial, &mut self.work);
            let mut after = self.distance_to_set(qp, &now.0);
            if after > before && after > rounding {
                // rows without a constant are sums of nothing but what they are off by
                self.start.0 = self.start.0.max(self.terms_of_rows(qp));
                after = self.distance_to_set(qp, &now.0);
            }
            // from a point that all but lies on the set nothing can be learned about the factors
            if first == f64::INFINITY && before > TELLING {
                first = after / before;
            }
            if after.is_nan() || (after > before && after > rounding) {
                std::mem::swap(&mut self.trial, &mut self.before);
                last = Some(residuals(qp, &self.trial, &mut self.work));
                break;
            }
            last = Some(now);
            // ill-conditioned or unknown factors: the worse block may be at rounding while the other still improves
            let well = !to_the_end && (kkt.reciprocal_condition() > 0.0 || kkt.rounded());
            if after == 0.0 || (well && (after <= rounding || after > 0.1 * before)) {
                break;
            }
            // rows that contradict each other, or factors that get nowhere
            if after > (if to_the_end { before } else { STUCK * before }).max(rounding) {
                break;
            }
            // at rounding of the largest rows, others may be on their way to rounding of their own terms; two solves tell, and what
            // the second one changes tells besides how sure each number is
            if after <= rounding {
                let was = std::mem::replace(&mut off, self.off(qp));
                if off <= TERM_ROUNDING || off > 0.5 * was {
                    break;
                }
            }
            before = after;
        }
        let (mut report, mut objective) = last.unwrap_or((report, f64::NAN));
        // the multiplier of a pinned variable is whatever makes its row of the stationarity vanish
        if self.set.bound.iter().any(|&side| side != Side::Free) {
            for (i, &side) in self.set.bound.iter().enumerate() {
                if side != Side::Free {
                    self.trial.z_box[i] -= self.work.stationarity[i];
                }
            }
            (report, objective) = residuals(qp, &self.trial, &mut self.work);
        }
        (first, report, objective)
    }

    /// What the worst equation of the set is off by, relative to its own terms.
    fn off(&mut self, qp: &Qp) -> f64 {
        self.doubts.measure(qp, &self.trial, None);
        self.doubts.off(&self.work, &self.set)
    }

    /// What the terms of the rows of the set may have been before the last correction.
    fn terms_of_rows(&self, qp: &Qp) -> f64 {
        let rows = self.scales.norms.iter().zip(&self.set.g).filter(|(_, active)| **active).map(|(norm, _)| norm);
        let length = self.scales.distance(qp, &self.work.px, &self.before.x);
        length * self.scales.equality.iter().chain(rows).fold(0.0_f64, |m, norm| m.max(*norm))
    }

    /// How far the trial point is from solving the KKT system of its set: stationarity of the free variables and residuals
    /// of the active rows, each relative to the terms that cancel in it.
    fn distance_to_set(&self, qp: &Qp, scales: &Residuals) -> f64 {
        let free = self.work.stationarity.iter().zip(&self.set.bound).filter(|(_, side)| **side == Side::Free);
        let dual = free.fold(0.0_f64, |m, (r, _)| if r.is_nan() { f64::NAN } else { m.max(r.abs()) });
        let rows = self.work.slack.iter().zip(&self.set.g).filter(|(_, active)| **active);
        let primal = rows.fold(norm_inf(&self.work.equality), |m, (s, _)| m.max(s.abs()));
        let relative = |r: f64, scale: f64| if r == 0.0 { 0.0 } else { r / scale };
        // where the solution and with it every term vanishes, relative to the force that the curvature exerts on x
        let force = scales.dual_scale.max(self.scales.force(qp, &self.work.px, &self.trial.x)).max(self.start.1);
        let (dual, primal) = (relative(dual, force), relative(primal, scales.primal_scale.max(self.start.0)));
        if dual.is_nan() || primal.is_nan() { f64::NAN } else { dual.max(primal) }
    }

    /// The force and the length that multipliers and slacks of the trial point are compared with: no less than rounding of those
    /// of the data, for where the solution vanishes its own would be as small as anything that is left of it.
    pub(super) fn units(&self, qp: &Qp) -> (f64, f64) {
        let force = self.scales.force(qp, &self.work.px, &self.trial.x);
        let length = self.scales.distance(qp, &self.work.px, &self.trial.x);
        let (least_force, least) = self.scales.of_reach(ROUNDING);
        (force.max(least_force), length.max(least))
    }
}
