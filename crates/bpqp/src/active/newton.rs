//! From a solver's point to the solution where there are curved cones: Newton's method on the optimality conditions.
//!
//! With `v = s - y` the conditions of a constraint `C x + s = d` are `P x + q + C'(Pi(v) - v) = 0` and
//! `C x + Pi(v) = d`: equations without inequalities, whose derivative is that of the forward mode. A step is the tangent
//! along the residuals, followed by the projection of `v` back onto complementary `(s, y)`; inequalities and bounds are
//! half-lines, and take part the same way. Where the point is not on a kink the convergence is quadratic: two or three
//! steps.
//!
//! s and y have units of their own, so `v = s - unit y` with the ratio of the sizes of s and y as the unit.

use super::{ActiveSet, PolishReport, Rotation, Side};
use crate::cones::{Basis, Tolerance, blocks};
use crate::kkt::KktSolver;
use crate::matrix::{nan_max, norm_inf};
use crate::residuals::{ResidualWork, equations};
use crate::thresholds::{EXTREME_CURVATURE, LOST, NEAR_KINK, RUN_OFF, TANGENT};
use crate::{Point, Qp, Residuals};

/// Steps at most.
const STEPS: usize = 12;
/// Residuals relative to their scales that count as rounding: of sums of many terms.
const ROUNDING: f64 = 1e-14;
/// Residuals relative to their scales up to which a point is the solution.
const POLISHED: f64 = 1e-10;
/// A slack is clear of a kink where it is further than this multiple of what its row is off by.
const UNSURE: f64 = 10.0;
/// Slack relative to the terms it is the difference of, multiplier relative to the largest one, that count as zero.
const WEAK: f64 = 1e-9;
/// The absolute tolerance times this counts as zero, too.
const NOTHING: f64 = 1e-4;
/// The residuals at a kink with every weakly active constraint held.
const HELD: f64 = 1e-13;
/// What an interior point leaves of a slack or multiplier that is zero, relative to the terms around it.
const REMNANT: f64 = 1e-6;

/// The larger of the two residuals relative to their scales, which count at least as much as the absolute tolerance.
pub(crate) fn merit(r: &Residuals, eps_abs: f64) -> f64 {
    let part = |r: f64, scale: f64| if r == 0.0 { 0.0 } else { r / scale.max(eps_abs) };
    let (a, b) = (part(r.primal, r.primal_scale), part(r.dual, r.dual_scale));
    if a.is_nan() || b.is_nan() { f64::INFINITY } else { a.max(b) }
}

/// A curvature that is neither 0 nor infinite, and further than this factor from 1.
fn is_beyond(factor: f64, c: f64) -> bool {
    c > 0.0 && c < f64::INFINITY && !(1.0 / factor..=factor).contains(&c)
}

/// Buffers of the method.
#[derive(Debug, Default)]
pub(crate) struct Newton {
    work: ResidualWork,
    dx: Vec<f64>,
    dc: Vec<f64>,
    w: Vec<f64>,
    v: Vec<f64>,
    trial: Point,
    set: ActiveSet,
    best: Point,
    best_set: ActiveSet,
    /// Magnitudes of the terms of each slack: inequalities, curved cones.
    terms: [Vec<f64>; 2],
    /// What the rows of A, G and C are measured in: their entries times the largest variable, and their constants.
    units: [Vec<f64>; 3],
    tolerance: Vec<Tolerance>,
    /// The unit of the multipliers in slacks, and the largest multiplier in it.
    unit: f64,
    largest: f64,
    floor: f64,
    /// Weakly active linear constraints are held.
    hold: bool,
    scratch: Vec<f64>,
}

/// What came out of one evaluation.
#[derive(Clone, Copy)]
struct Value {
    residuals: Residuals,
    objective: f64,
    merit: f64,
    /// The same with each row in its own unit, as far as rows may be from each other: what a step has to lower.
    progress: f64,
    /// What is left of the worst row of the cones, in what counts as zero there.
    off: f64,
}

impl Newton {
    /// Newton steps from `point`, which is replaced by the best one met, with the faces on which it is; without a `system` it
    /// is only made complementary. `verified` says whether that is the solution.
    pub fn polish(
        &mut self,
        qp: &Qp,
        mut system: Option<(&mut Rotation, &mut KktSolver)>,
        point: &mut Point,
        active: &mut ActiveSet,
        eps_abs: f64,
    ) -> PolishReport {
        self.trial.clone_from(point);
        self.measure(qp, eps_abs);
        self.hold = system.is_none();
        self.set.release(qp);
        self.split(qp, true);
        let mut best = self.evaluate(qp, eps_abs);
        self.keep();
        let (mut taken, mut failures, mut dependent, mut flat) = (0, 0, false, false);
        // a step that only makes it worse, and far from here, says that the point is none that its equations determine
        let mut astray = false;
        for step in 1..=STEPS {
            let Some((rotation, solver)) = &mut system else { break };
            if best.progress <= ROUNDING || self.step(qp, rotation, solver).is_none() {
                break;
            }
            (dependent, flat) = (solver.deficient(), solver.on_face());
            let new = self.evaluate(qp, eps_abs);
            let old = best.progress;
            if new.progress < old {
                let slow = new.progress > 0.5 * old;
                (best, taken) = (new, step);
                self.keep();
                failures = usize::from(slow) * (failures + 1);
            } else {
                failures += 1;
                astray |= taken == 0 && self.moved() > LOST * norm_inf(&self.best.x);
            }
            if failures >= 2 || (failures > 0 && old < 1e-12) {
                break;
            }
        }
        let kink = best.merit <= POLISHED && self.weakly_free();
        if let Some((rotation, solver)) = system.as_mut().filter(|_| kink) {
            // of the pieces that meet at a kink the one that does not depend on what rounding left of a slack
            let old = best.merit;
            self.hold = true;
            self.trial.clone_from(&self.best);
            self.set.clone_from(&self.best_set);
            self.split(qp, false);
            equations(qp, &self.trial, &mut self.work);
            if self.step(qp, rotation, solver).is_some() {
                let new = self.evaluate(qp, eps_abs);
                if new.merit <= old.max(HELD) {
                    best = new;
                    (dependent, flat) = (solver.deficient(), solver.on_face());
                    taken += 1;
                    self.keep();
                }
            }
        }
        let lost = match &mut system {
            Some((rotation, solver)) if best.merit <= POLISHED && taken > 0 && !dependent && !flat => {
                self.beyond(NEAR_KINK) && self.moves(qp, rotation, solver)
            }
            _ => false,
        };
        if best.off > 1.0 {
            self.mark_unsure(qp);
        }
        self.mark_tangents(qp);
        point.clone_from(&self.best);
        active.clone_from(&self.best_set);
        let Value { residuals, objective, merit, .. } = best;
        PolishReport {
            verified: merit <= POLISHED && !lost && !(astray && taken == 0),
            rounds: taken,
            accuracy: f64::INFINITY,
            dependent: dependent && taken > 0,
            face: (flat && taken > 0).then_some(0.0),
            residuals,
            objective,
            // of the step before
            factored: false,
        }
    }

    /// Slacks are known no better than their rows hold: cones that are no further from a kink are as good as there.
    fn mark_unsure(&mut self, qp: &Qp) {
        self.trial.clone_from(&self.best);
        self.set.clone_from(&self.best_set);
        equations(qp, &self.trial, &mut self.work);
        self.tolerance.iter_mut().zip(&self.work.cone).for_each(|(zero, r)| zero.s = zero.s.max(UNSURE * r.abs()));
        let Point { s, y_cone, .. } = &mut self.trial;
        self.set.faces.split(&qp.cones, self.unit, &self.tolerance, &mut self.scratch, (s, y_cone));
        let weak = self.best_set.faces.weak.iter_mut().zip(&self.set.faces.weak);
        weak.for_each(|(weak, unsure)| *weak |= unsure);
    }

    /// Second-order cones whose boundary no variable is known to cross are as good as on a kink: whether their row holds anything
    /// is decided by rounding.
    fn mark_tangents(&mut self, qp: &Qp) {
        let faces = &mut self.best_set.faces;
        if !faces.bases.iter().any(|basis| matches!(basis, Basis::SecondOrder(_))) {
            return;
        }
        self.scratch.clear();
        self.scratch.resize(faces.bases.len(), 0.0);
        let (crossing, mut cones) = (&mut self.scratch, blocks(&qp.cones));
        let mut at = (usize::MAX, 0, 0..0);
        let (mut normal, mut length) = (0.0_f64, 0.0_f64);
        // entries come by column, so those of a cone are together
        qp.c.for_each(|row, column, v| {
            if column != at.0 || !at.2.contains(&row) {
                if length > 0.0 {
                    crossing[at.1] = crossing[at.1].max(normal.abs() / length.sqrt());
                }
                (normal, length) = (0.0, 0.0);
                if column != at.0 {
                    cones = blocks(&qp.cones);
                }
                if let Some((cone, rows)) = cones.find(|(_, rows)| rows.contains(&row)) {
                    at = (column, cone, rows);
                }
            }
            if let Basis::SecondOrder(direction) = &faces.bases[at.1] {
                let i = row - at.2.start;
                normal += v * if i == 0 { 1.0 } else { -direction[i - 1] };
                length += v * v;
            }
        });
        if length > 0.0 {
            crossing[at.1] = crossing[at.1].max(normal.abs() / length.sqrt());
        }
        for ((weak, basis), crossing) in faces.weak.iter_mut().zip(&faces.bases).zip(crossing) {
            *weak |= matches!(basis, Basis::SecondOrder(_)) && *crossing <= TANGENT;
        }
    }

    /// True if the best point has weakly active linear constraints that its set does not hold.
    fn weakly_free(&self) -> bool {
        let ActiveSet { g, bound, weak_g, weak_bound, .. } = &self.best_set;
        g.iter().zip(weak_g).any(|(active, weak)| *weak && !*active)
            || bound.iter().zip(weak_bound).any(|(side, weak)| *weak && *side == Side::Free)
    }

    /// True if some curvature of the best point is further than this factor from 1 in the unit of the multipliers.
    fn beyond(&self, factor: f64) -> bool {
        self.best_set.faces.curvature.iter().any(|c| is_beyond(factor, c * self.unit))
    }

    /// True if what is left of the equations of the best point, where curvatures are extreme, moves it by a good part of its
    /// length. What cancels in a row is no measure of the sum, so each counts as it is. Cones of which it moves a curvature
    /// that tells them from a kink are as good as there: towards one the method converges slowly, and ends anywhere.
    fn moves(&mut self, qp: &Qp, rotation: &mut Rotation, solver: &mut KktSolver) -> bool {
        let extreme = self.beyond(EXTREME_CURVATURE);
        self.trial.clone_from(&self.best);
        self.set.clone_from(&self.best_set);
        equations(qp, &self.trial, &mut self.work);
        if self.step(qp, rotation, solver).is_none() {
            return extreme;
        }
        let (unit, faces) = (self.unit, &mut self.best_set.faces);
        for (k, rows) in blocks(&qp.cones) {
            let mut both = faces.curvature[rows.clone()].iter().zip(&self.set.faces.curvature[rows]);
            faces.weak[k] |=
                both.any(|(old, new)| is_beyond(NEAR_KINK, old * unit) && !(0.5 * old..=2.0 * old).contains(new));
        }
        extreme && self.moved() > LOST * norm_inf(&self.best.x)
    }

    /// How far the trial point is from the best one.
    fn moved(&self) -> f64 {
        self.trial.x.iter().zip(&self.best.x).fold(0.0, |m, (a, b)| nan_max(m, (a - b).abs()))
    }

    fn keep(&mut self) {
        self.best.clone_from(&self.trial);
        self.best_set.clone_from(&self.set);
    }

    /// The residuals of the trial point, which is complementary; free inequalities have no residual but a violation.
    fn evaluate(&mut self, qp: &Qp, eps_abs: f64) -> Value {
        let (mut residuals, objective) = equations(qp, &self.trial, &mut self.work);
        // slack that an active row still has is a residual
        for (s, &active) in self.work.slack.iter().zip(&self.set.g) {
            if active {
                residuals.primal = nan_max(residuals.primal, s.abs());
            }
        }
        let merit = merit(&residuals, eps_abs);
        let [a, g, c] = &self.units;
        // an empty row has no unit of its own
        let part = |r: f64, unit: f64| if unit > 0.0 { r.abs() / unit } else { 0.0 };
        let held = self.work.slack.iter().zip(&self.set.g).map(|(s, active)| if *active { *s } else { s.min(0.0) });
        let rows = self.work.equality.iter().copied().zip(a).chain(held.zip(g));
        let rows = rows.chain(self.work.cone.iter().copied().zip(c));
        let progress = rows.fold(merit, |m, (r, unit)| nan_max(m, part(r, *unit)));
        let rows = self.work.cone.iter().zip(&self.tolerance).filter(|(r, _)| **r != 0.0);
        let off = rows.fold(0.0, |m, (r, zero)| nan_max(m, r.abs() / zero.s));
        Value { residuals, objective, merit, progress, off }
    }

    /// Magnitudes of the terms, the unit of the multipliers, and what counts as zero; residual vectors in `work`.
    fn measure(&mut self, qp: &Qp, eps_abs: f64) {
        let Point { x, z, z_box, s, y_cone, .. } = &self.trial;
        let magnitudes = |v: &mut Vec<f64>, of: &[f64]| {
            v.clear();
            v.extend(of.iter().map(|v| if v.is_finite() { v.abs() } else { 0.0 }));
        };
        magnitudes(&mut self.scratch, x);
        for (terms, (m, rhs)) in self.terms.iter_mut().zip([(&qp.g, &qp.h), (&qp.c, &qp.d)]) {
            magnitudes(terms, rhs);
            m.magnitudes_add(&self.scratch, terms);
        }
        let largest = norm_inf(x);
        let largest = if largest > 0.0 && largest.is_finite() { largest } else { 1.0 };
        self.scratch.fill(largest);
        for (units, (m, rhs)) in self.units.iter_mut().zip([(&qp.a, &qp.b), (&qp.g, &qp.h), (&qp.c, &qp.d)]) {
            magnitudes(units, rhs);
            m.magnitudes_add(&self.scratch, units);
        }
        equations(qp, &self.trial, &mut self.work);
        let finite = |v: f64| if v.is_finite() { v.abs() } else { 0.0 };
        let mut slack = self.work.slack.iter().fold(norm_inf(s), |m, s| m.max(finite(*s)));
        let mut multiplier = norm_inf(z).max(norm_inf(z_box)).max(norm_inf(y_cone));
        let mut largest_terms = norm_inf(&self.terms[0]).max(norm_inf(&self.terms[1]));
        for i in 0..x.len() {
            for bound in [qp.lb[i], qp.ub[i]] {
                slack = slack.max(finite(x[i] - bound));
                largest_terms = largest_terms.max(if bound.is_finite() { bound.abs() + x[i].abs() } else { 0.0 });
            }
        }
        let mut entry = if qp.has_bounds() { 1.0_f64 } else { 0.0 };
        qp.kkt().for_each_row_entry(|_, _, v| entry = entry.max(v.abs()));
        let force = norm_inf(&self.work.px).max(norm_inf(&qp.q)) / entry;
        let force = if force.is_nan() { 0.0 } else { force };
        slack = slack.max(REMNANT * largest_terms).max(eps_abs);
        multiplier = multiplier.max(REMNANT * force).max(eps_abs);
        let ratio = slack / multiplier;
        self.unit = if ratio.is_finite() && ratio > 0.0 { ratio } else { 1.0 };
        self.floor = NOTHING * eps_abs;
        self.largest = self.unit * norm_inf(z).max(norm_inf(z_box)).max(norm_inf(y_cone)).max(norm_inf(&self.trial.y));
        let of_cone: Vec<Tolerance> = self.terms[1].iter().map(|&t| self.zero(t)).collect();
        self.tolerance = of_cone;
        // a multiplier that no variable feels beside its other forces is their rounding
        let Newton { w: forces, v: rest, .. } = self;
        forces.clear();
        forces.resize(qp.n(), 0.0);
        rest.clear();
        rest.resize(qp.n_cone(), f64::INFINITY);
        magnitudes(&mut self.scratch, &self.trial.x);
        qp.p.magnitudes_add(&self.scratch, forces, &mut Vec::new());
        forces.iter_mut().zip(qp.q.iter()).for_each(|(force, q)| *force += q.abs());
        qp.c.for_each(|i, j, v| {
            if v != 0.0 {
                rest[i] = rest[i].min(forces[j] / v.abs());
            }
        });
        for (tolerance, rest) in self.tolerance.iter_mut().zip(&*rest).filter(|(_, rest)| rest.is_finite()) {
            tolerance.y = tolerance.y.max(self.unit * ROUNDING * rest);
        }
    }

    /// What counts as zero in a constraint with terms of this size.
    fn zero(&self, terms: f64) -> Tolerance {
        Tolerance { s: (WEAK * terms).max(self.floor), y: (WEAK * self.largest).max(self.floor * self.unit) }
    }

    /// Makes slacks and multipliers complementary and says what is active; `work` holds the residual vectors. The sign of a
    /// multiplier says of which bound it is, unless it is `given` to be read so.
    fn split(&mut self, qp: &Qp, given: bool) {
        let unit = self.unit;
        for i in 0..self.set.g.len() {
            let tol = self.zero(self.terms[0][i]);
            let v = self.work.slack[i] - unit * self.trial.z[i];
            let weak = if v <= 0.0 { -v <= tol.y } else { v <= tol.s };
            self.set.g[i] = v <= 0.0 || (self.hold && weak);
            self.trial.z[i] = (-v / unit).max(0.0);
            self.set.weak_g[i] = weak;
        }
        for i in 0..self.set.bound.len() {
            let (lb, ub, x, z) = (qp.lb[i], qp.ub[i], self.trial.x[i], self.trial.z_box[i]);
            if lb == ub {
                (self.set.bound[i], self.set.weak_bound[i], self.trial.x[i]) = (Side::Fixed, false, lb);
                continue;
            }
            let (lower, upper) = match self.set.bound[i] {
                Side::Lower if !given => (-z, 0.0),
                Side::Upper if !given => (0.0, z),
                _ => ((-z).max(0.0), z.max(0.0)),
            };
            let (v_lower, v_upper) = (x - lb - unit * lower, ub - x - unit * upper);
            let (side, v, bound) =
                if v_lower <= v_upper { (Side::Lower, v_lower, lb) } else { (Side::Upper, v_upper, ub) };
            let tol = self.zero(x.abs() + if bound.is_finite() { bound.abs() } else { 0.0 });
            let weak = if v <= 0.0 { -v <= tol.y } else { v <= tol.s };
            self.set.weak_bound[i] = weak;
            if v <= 0.0 || (self.hold && weak) {
                self.set.bound[i] = side;
                self.trial.x[i] = bound;
                let force = (-v / unit).max(0.0);
                self.trial.z_box[i] = if side == Side::Lower { -force } else { force };
            } else {
                self.set.bound[i] = Side::Free;
                self.trial.z_box[i] = 0.0;
            }
        }
        let Point { s, y_cone, .. } = &mut self.trial;
        self.set.faces.split(&qp.cones, unit, &self.tolerance, &mut self.scratch, (s, y_cone));
    }

    /// True if the multipliers of the equalities went along what cancels, where rows are dependent, so far that their rounding
    /// is that of the stationarity.
    fn run_off(&mut self, qp: &Qp) -> bool {
        let sizes: Vec<f64> = self.trial.y.iter().map(|y| y.abs()).collect();
        self.scratch.clear();
        self.scratch.resize(qp.n(), 0.0);
        qp.a.transposed_magnitudes_add(&sizes, &mut self.scratch);
        let (residuals, _) = equations(qp, &self.trial, &mut self.work);
        norm_inf(&self.scratch) > RUN_OFF * residuals.dual_scale
    }

    /// One Newton step from the trial point, whose residual vectors are in `work`; `None` if its system cannot be solved.
    fn step(&mut self, qp: &Qp, rotation: &mut Rotation, solver: &mut KktSolver) -> Option<()> {
        let (n, m, mi) = (qp.n(), qp.n_equality(), qp.n_inequality());
        self.set.diagonals(m, &mut self.dx, &mut self.dc);
        rotation.rotate(&qp.c, &self.set.faces);
        rotation.diagonals(&self.set.faces, &mut self.dx, &mut self.dc);
        solver.load(rotation.data(), None).ok()?;
        solver.factor(rotation.data(), (&self.dx, &self.dc)).ok()?;
        if solver.deficient() && self.run_off(qp) {
            self.trial.y.fill(0.0);
            equations(qp, &self.trial, &mut self.work);
        }
        self.w.clear();
        self.w.extend(self.work.stationarity.iter().map(|r| -r));
        self.w.resize(rotation.variables(), 0.0);
        self.v.clear();
        self.v.extend(self.work.equality.iter().map(|r| -r));
        self.v.extend(self.work.slack.iter().zip(&self.set.g).map(|(&s, &active)| if active { s } else { 0.0 }));
        self.v.resize(m + mi + qp.n_cone(), 0.0);
        for (k, rows) in blocks(&qp.cones) {
            let rhs = &mut self.v[m + mi + rows.start..m + mi + rows.end];
            self.set.faces.bases[k].coordinates(&self.work.cone[rows], rhs);
        }
        let drop = |v: &mut [f64], d: &[f64]| {
            v.iter_mut().zip(d).filter(|(_, d)| **d == f64::INFINITY).for_each(|(v, _)| *v = 0.0);
        };
        drop(&mut self.w, &self.dx);
        drop(&mut self.v, &self.dc);
        solver.step(rotation.data(), (&self.dx, &self.dc), (&mut self.w, &mut self.v)).ok()?;
        if !self.w.iter().chain(&self.v).all(|e| e.is_finite()) {
            return None;
        }
        let add = |to: &mut [f64], d: &[f64]| to.iter_mut().zip(d).for_each(|(t, d)| *t += d);
        add(&mut self.trial.x, &self.w[..n]);
        add(&mut self.trial.y, &self.v[..m]);
        add(&mut self.trial.z, &self.v[m..m + mi]);
        for (k, rows) in blocks(&qp.cones) {
            self.scratch.clear();
            self.scratch.resize(rows.len(), 0.0);
            self.set.faces.bases[k].combine(&self.v[m + mi + rows.start..m + mi + rows.end], &mut self.scratch);
            add(&mut self.trial.y_cone[rows], &self.scratch);
        }
        equations(qp, &self.trial, &mut self.work);
        // the slacks are those of x
        add(&mut self.trial.s, &self.work.cone);
        // the multiplier of a pinned variable is whatever makes its row of the stationarity vanish
        for i in 0..n {
            if self.set.bound[i] != Side::Free {
                self.trial.z_box[i] -= self.work.stationarity[i];
            }
        }
        self.split(qp, false);
        Some(())
    }
}
