//! A primal-dual interior point with a filter, for large sparse smooth programs (Waechter & Biegler, "On the implementation
//! of an interior-point filter line-search algorithm for large-scale nonlinear programming", Math. Program. 2006).
//!
//! ```text
//! minimize  f(x) - mu (sum log(x - lb) + sum log(ub - x) + sum log s)    s.t.  c(x) = 0,  g(x) + s = 0
//! ```
//!
//! Each step is one sparse KKT system of this library: slacks are `s/z` on the diagonals of their rows, bounds a diagonal of
//! the variables. Where its inertia is wrong curvature is added until it is right. A step is as long as the positive
//! variables allow, and accepted when it makes the violation or the barrier function smaller than all that a filter remembers;
//! a second-order correction is tried first when it is not. Where no length helps, *restoration* looks for a less violated
//! point: the same method on the program whose rows may be missed at a price. The point that comes out is polished and judged
//! like every other: here are no verdicts, and a failure is only a start for the other solver.

use super::model::each_entry;
use super::sqp::{bad_expansion, bad_value};
use super::{At, Expansion, Pushed, SmoothProgram, Values};
use crate::kkt::{KktData, KktFactor, SparseKkt};
use crate::matrix::{Csc, Hessian, Keep, Matrix, dot, norm_inf};
use crate::{Deadline, Error, Settings};
use std::cell::Cell;
use std::sync::Arc;

/// Iterations, where no limit is asked for.
const STEPS: usize = 500;
const FIRST_MU: f64 = 0.1;
/// Gradients are scaled down to this at the start.
const LARGEST_GRADIENT: f64 = 100.0;
/// Bounds and rows are relaxed by this: equal bounds in disguise would leave no interior. The polish takes it back.
const RELAX: f64 = 1e-8;
/// Starts keep this distance from bounds, absolute and relative to their distance.
const PUSH: f64 = 1e-2;
/// What each equality may give way, per unit of its multiplier: dependent rows then have a factorization.
const SOFT: f64 = 1e-9;
/// Curvature that is added: the first, the least and the most, and how it grows and shrinks.
const ADDED: (f64, f64, f64) = (1e-4, 1e-20, 1e20);
const GROW: (f64, f64) = (100.0, 8.0);
const SHRINK: f64 = 1.0 / 3.0;
/// The filter: margins of violation and objective, decrease, and the exponents of the switch between them.
const MARGIN: f64 = 1e-5;
const ARMIJO: f64 = 1e-8;
const SWITCH: (f64, f64) = (2.3, 1.1);
/// Second-order corrections in a row.
const CORRECTIONS: usize = 4;
/// Products of a multiplier and its slack stay within this factor of mu.
const APART: f64 = 1e10;
/// Multipliers above this are not believed after an estimate or a restoration.
const LARGEST_START: f64 = 1e3;
/// The price on violations in the restoration.
const PRICE: f64 = 1e3;
/// Residuals at which a point is one to finish, if no step is accepted any more.
const ACCEPTABLE: f64 = 1e-5;
/// Residuals of restoration that count as stationary.
const RESTORED: f64 = 1e-7;
/// Short steps in a row after which the barrier gives way: two starts of the method are better than one that creeps.
const TINY: f64 = 10.0 * f64::EPSILON;

/// Where the method ended.
pub(super) struct Reached {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub z: Vec<f64>,
    pub z_box: Vec<f64>,
    /// What the multipliers weigh against the slacks, of rows, lower and upper bounds; 0 for fixed variables.
    pub weight: (Vec<f64>, Vec<f64>, Vec<f64>),
    pub steps: usize,
    /// A stationary point to the tolerance, as far as is known here.
    pub converged: bool,
}

pub(super) fn solve(
    program: &mut dyn SmoothProgram,
    x0: &[f64],
    settings: &Settings,
    deadline: &Deadline,
) -> Result<Reached, Error> {
    let mut stop = |_: &[f64], _: &Values| false;
    let limit = settings.max_iter.unwrap_or(STEPS);
    let goal = Goal { tolerance: settings.eps_abs.max(settings.eps_rel), limit, mu: FIRST_MU, outer: true };
    Interior::start(program, x0, goal)?.run(deadline, &mut stop)
}

/// A point with the multipliers of a similar problem, as if it had been reached; `None` if its rows have other numbers, or are
/// none.
pub(super) fn near(program: &mut dyn SmoothProgram, x: &[f64], y: &[f64], z: &[f64]) -> Result<Option<Reached>, Error> {
    let (lb, ub) = program.bounds();
    let (lb, ub) = (lb.to_vec(), ub.to_vec());
    let n = lb.len();
    let x: Vec<f64> = (0..n).map(|j| x[j].max(lb[j]).min(ub[j])).collect();
    let values = program.values(&x)?;
    if bad_value(&values).is_some() || values.equality.len() != y.len() || values.inequality.len() != z.len() {
        return Ok(None);
    }
    let at = program.expand(At { x: &x, y, z })?;
    if bad_expansion(&at).is_some() {
        return Ok(None);
    }
    let mut forces = at.gradient;
    at.equality.tmul_add(1.0, y, &mut forces);
    at.inequality.tmul_add(1.0, z, &mut forces);
    let unit = norm_inf(&forces).max(norm_inf(y)).max(norm_inf(z)).max(f64::MIN_POSITIVE);
    let row =
        |i: usize| if values.inequality[i] > 0.0 { f64::INFINITY } else { against(z[i] / unit, -values.inequality[i]) };
    let low = |j: usize| if lb[j] < ub[j] { against(forces[j] / unit, x[j] - lb[j]) } else { 0.0 };
    let high = |j: usize| if lb[j] < ub[j] { against(-forces[j] / unit, ub[j] - x[j]) } else { 0.0 };
    let weight = ((0..z.len()).map(row).collect(), (0..n).map(low).collect(), (0..n).map(high).collect());
    let z_box = forces.iter().map(|f| -f).collect();
    Ok(Some(Reached { y: y.to_vec(), z: z.to_vec(), z_box, weight, steps: 0, converged: true, x }))
}

impl Reached {
    /// Rows, lower and upper bounds whose multiplier is more than this many times their slack.
    pub fn active(&self, times: f64) -> (Vec<bool>, Vec<bool>, Vec<bool>) {
        let above = |v: &[f64]| v.iter().map(|w| *w > times).collect();
        (above(&self.weight.0), above(&self.weight.1), above(&self.weight.2))
    }
}

/// A multiplier against a slack; infinite without a slack, unless both vanish.
fn against(z: f64, slack: f64) -> f64 {
    if z <= 0.0 && slack > 0.0 { 0.0 } else { z.max(f64::MIN_POSITIVE) / slack.max(0.0) }
}

struct Goal {
    tolerance: f64,
    limit: usize,
    mu: f64,
    /// The program itself, not its restoration: it is scaled, and may be restored.
    outer: bool,
}

/// Scales of the objective and of the rows.
struct Scales {
    f: f64,
    c: Vec<f64>,
    g: Vec<f64>,
}

struct Interior<'a> {
    program: &'a mut dyn SmoothProgram,
    goal: Goal,
    lb: Vec<f64>,
    ub: Vec<f64>,
    fixed: Vec<bool>,
    x: Vec<f64>,
    s: Vec<f64>,
    y: Vec<f64>,
    z: Vec<f64>,
    zl: Vec<f64>,
    zu: Vec<f64>,
    scales: Scales,
    /// Scaled, with the relaxation of the rows.
    values: Values,
    at: Expansion,
    kkt: Option<SparseKkt>,
    keep: Keep,
    mu: f64,
    /// Curvature that was added: when last there was some, and now.
    added: f64,
    current: f64,
    filter: Vec<(f64, f64)>,
    theta_max: f64,
    theta_min: f64,
    steps: usize,
}

/// Is a point at this length with this violation and barrier function accepted, and as a descent of the latter?
type Test<'a, T> = dyn Fn(&T, f64, (f64, f64)) -> Option<bool> + 'a;

/// A direction of everything.
#[derive(Default, Clone)]
struct Step {
    x: Vec<f64>,
    s: Vec<f64>,
    y: Vec<f64>,
    z: Vec<f64>,
    zl: Vec<f64>,
    zu: Vec<f64>,
}

fn scaled_rows(m: &Matrix, scale: &[f64]) -> Matrix {
    m.scaled(scale, &vec![1.0; m.ncols()])
}

fn largest_in_rows(m: &Matrix) -> Vec<f64> {
    let mut out = vec![0.0_f64; m.nrows()];
    m.for_each(|i, _, v| out[i] = out[i].max(v.abs()));
    out
}

impl<'a> Interior<'a> {
    /// `x0` has an entry for each variable.
    fn start(program: &'a mut dyn SmoothProgram, x0: &[f64], goal: Goal) -> Result<Self, Error> {
        let (lb, ub) = program.bounds();
        let n = lb.len();
        let fixed: Vec<bool> = (0..n).map(|j| lb[j] == ub[j]).collect();
        let relaxed = |b: f64, sign: f64| b + sign * RELAX * b.abs().max(1.0);
        let (lb, ub): (Vec<f64>, Vec<f64>) =
            (0..n).map(|j| if fixed[j] { (lb[j], ub[j]) } else { (relaxed(lb[j], -1.0), relaxed(ub[j], 1.0)) }).unzip();
        let inside = |j: usize| {
            if fixed[j] {
                return lb[j];
            }
            let wide = ub[j] - lb[j];
            let off = |b: f64| (PUSH * b.abs().max(1.0)).min(PUSH * wide);
            let (low, high) = (lb[j] + off(lb[j]), ub[j] - off(ub[j]));
            match (lb[j].is_finite(), ub[j].is_finite()) {
                (true, true) => x0[j].max(low).min(high),
                (true, false) => x0[j].max(lb[j] + PUSH * lb[j].abs().max(1.0)),
                (false, true) => x0[j].min(ub[j] - PUSH * ub[j].abs().max(1.0)),
                (false, false) => x0[j],
            }
        };
        let x: Vec<f64> = (0..n).map(inside).collect();
        let values = program.values(&x)?;
        let (m, mi) = (values.equality.len(), values.inequality.len());
        let at = program.expand(At { x: &x, y: &vec![0.0; m], z: &vec![0.0; mi] })?;
        let down = |v: &f64| if goal.outer && *v > LARGEST_GRADIENT { LARGEST_GRADIENT / v } else { 1.0 };
        let scales = Scales {
            f: down(&norm_inf(&at.gradient)).max(1e-8),
            c: largest_in_rows(&at.equality).iter().map(down).collect(),
            g: largest_in_rows(&at.inequality).iter().map(down).collect(),
        };
        let side = |b: &[f64], j: usize| if b[j].is_finite() && !fixed[j] { 1.0 } else { 0.0 };
        let (zl, zu) = ((0..n).map(|j| side(&lb, j)).collect(), (0..n).map(|j| side(&ub, j)).collect());
        let mu = goal.mu;
        let mut out = Interior {
            program,
            goal,
            lb,
            ub,
            fixed,
            s: vec![1.0; mi],
            y: vec![0.0; m],
            z: vec![1.0; mi],
            zl,
            zu,
            scales,
            values: Values::default(),
            at,
            kkt: None,
            keep: Keep::default(),
            mu,
            added: 0.0,
            current: 0.0,
            filter: Vec::new(),
            theta_max: f64::INFINITY,
            theta_min: 0.0,
            steps: 0,
            x,
        };
        out.values = out.scaled(values);
        out.s = out.values.inequality.iter().map(|g| (-g).max(PUSH)).collect();
        out.z = out.s.iter().map(|s| (mu / s).clamp(1e-8, 1.0).max(mu)).collect();
        Ok(out)
    }

    fn scaled(&self, mut v: Values) -> Values {
        v.objective *= self.scales.f;
        v.equality.iter_mut().zip(&self.scales.c).for_each(|(c, s)| *c *= s);
        v.inequality.iter_mut().zip(&self.scales.g).for_each(|(g, s)| *g = *g * s - RELAX);
        v
    }

    /// Expands at the point; false where the derivatives are no numbers.
    fn expand(&mut self) -> Result<bool, Error> {
        let f = self.scales.f;
        let own = |v: &[f64], s: &[f64]| v.iter().zip(s).map(|(v, s)| v * s / f).collect::<Vec<f64>>();
        let (y, z) = (own(&self.y, &self.scales.c), own(&self.z, &self.scales.g));
        let mut at = self.program.expand(At { x: &self.x, y: &y, z: &z })?;
        if bad_expansion(&at).is_some() {
            return Ok(false);
        }
        at.gradient.iter_mut().for_each(|g| *g *= f);
        at.equality = scaled_rows(&at.equality, &self.scales.c);
        at.inequality = scaled_rows(&at.inequality, &self.scales.g);
        at.hessian = match at.hessian {
            Hessian::Sparse(mut h) => {
                h.values_mut().iter_mut().for_each(|v| *v *= f);
                Hessian::Sparse(h)
            }
            other => other.scaled(f, &vec![1.0; self.x.len()]),
        };
        self.at = at;
        Ok(true)
    }

    fn violation(&self, values: &Values, s: &[f64]) -> f64 {
        let rows = values.inequality.iter().zip(s).map(|(g, s)| (g + s).abs());
        values.equality.iter().map(|c| c.abs()).chain(rows).sum()
    }

    /// The barrier function.
    fn barrier(&self, values: &Values, x: &[f64], s: &[f64]) -> f64 {
        let mut logs: f64 = s.iter().map(|s| s.ln()).sum();
        for j in (0..x.len()).filter(|&j| !self.fixed[j]) {
            if self.lb[j].is_finite() {
                logs += (x[j] - self.lb[j]).ln();
            }
            if self.ub[j].is_finite() {
                logs += (self.ub[j] - x[j]).ln();
            }
        }
        values.objective - self.mu * logs
    }

    /// The gradient of the Lagrangian without the multipliers of the bounds.
    fn forces(&self) -> Vec<f64> {
        let mut r = self.at.gradient.clone();
        self.at.equality.tmul_add(1.0, &self.y, &mut r);
        self.at.inequality.tmul_add(1.0, &self.z, &mut r);
        r
    }

    /// What is left of the conditions for this mu.
    fn error(&self, mu: f64) -> f64 {
        let r = self.forces();
        let n = self.x.len();
        let (mut dual, mut product) = (0.0_f64, 0.0_f64);
        for j in (0..n).filter(|&j| !self.fixed[j]) {
            dual = dual.max((r[j] - self.zl[j] + self.zu[j]).abs());
            if self.lb[j].is_finite() {
                product = product.max((self.zl[j] * (self.x[j] - self.lb[j]) - mu).abs());
            }
            if self.ub[j].is_finite() {
                product = product.max((self.zu[j] * (self.ub[j] - self.x[j]) - mu).abs());
            }
        }
        self.z.iter().zip(&self.s).for_each(|(z, s)| product = product.max((z * s - mu).abs()));
        let sum = |v: &[f64]| v.iter().map(|v| v.abs()).sum::<f64>();
        let own = sum(&self.zl) + sum(&self.zu) + sum(&self.z);
        let count = (2 * n + self.z.len() + self.y.len()).max(1) as f64;
        let scale = ((own + sum(&self.y)) / count).max(100.0) / 100.0;
        let rows = self.values.inequality.iter().zip(&self.s).fold(0.0_f64, |m, (g, s)| m.max((g + s).abs()));
        (dual / scale).max(product / scale).max(norm_inf(&self.values.equality)).max(rows)
    }

    /// Factors the system, with curvature added where the inertia asks for it. False if no amount helps.
    fn factor(&mut self) -> Result<bool, Error> {
        let empty = Arc::new(Matrix::empty(self.x.len()));
        let (p, a, g) = (
            Arc::new(self.at.hessian.clone()),
            Arc::new(self.at.equality.clone()),
            Arc::new(self.at.inequality.clone()),
        );
        let data = KktData { p: &p, rows: [&a, &g, &empty], analysis: &self.keep };
        let loaded = match &mut self.kkt {
            Some(kkt) => kkt.load(data).is_ok(),
            None => false,
        };
        if !loaded {
            self.keep = Keep::default();
            let data = KktData { p: &p, rows: [&a, &g, &empty], analysis: &self.keep };
            self.kkt = Some(SparseKkt::new(data)?);
        }
        let (n, m, mi) = (self.x.len(), self.y.len(), self.z.len());
        let mut own = vec![0.0; n];
        for j in 0..n {
            own[j] = if self.fixed[j] {
                f64::INFINITY
            } else {
                self.zl[j] / (self.x[j] - self.lb[j]) + self.zu[j] / (self.ub[j] - self.x[j])
            };
        }
        let mut added = 0.0;
        loop {
            let dx: Vec<f64> = own.iter().map(|d| d + added).collect();
            let mut dc = vec![SOFT; m];
            dc.extend((0..mi).map(|i| 1.0 / (self.z[i] / self.s[i] + added)));
            let Some(kkt) = &mut self.kkt else { return Ok(false) };
            if kkt.factor_once(&dx, &dc).is_ok() {
                if added > 0.0 {
                    self.added = added;
                }
                self.current = added;
                return Ok(true);
            }
            added = match (added == 0.0, self.added == 0.0) {
                (true, true) => ADDED.0,
                (true, false) => (self.added * SHRINK).max(ADDED.1),
                (false, true) => added * GROW.0,
                (false, false) => added * GROW.1,
            };
            if added > ADDED.2 {
                return Ok(false);
            }
        }
    }

    /// The direction for these values of the rows.
    fn direction(&mut self, c: &[f64], g: &[f64]) -> Option<Step> {
        let (n, mi, mu) = (self.x.len(), self.z.len(), self.mu);
        let mut w = self.forces();
        for j in 0..n {
            w[j] = if self.fixed[j] {
                0.0
            } else {
                -(w[j] - mu / (self.x[j] - self.lb[j]) + mu / (self.ub[j] - self.x[j]))
            };
        }
        let weight = |i: usize| 1.0 / (self.z[i] / self.s[i] + self.current);
        let mut v: Vec<f64> = c.iter().map(|c| -c).collect();
        v.extend((0..mi).map(|i| -g[i] + (self.z[i] - mu / self.s[i]) * weight(i)));
        self.kkt.as_mut()?.solve(&mut w, &mut v);
        if !w.iter().chain(&v).all(|v| v.is_finite()) {
            return None;
        }
        let z = v.split_off(c.len());
        let s = (0..mi).map(|i| -(self.z[i] - mu / self.s[i] + z[i]) * weight(i)).collect();
        let (mut zl, mut zu) = (vec![0.0; n], vec![0.0; n]);
        for j in (0..n).filter(|&j| !self.fixed[j]) {
            let (low, high) = (self.x[j] - self.lb[j], self.ub[j] - self.x[j]);
            if low.is_finite() {
                zl[j] = mu / low - self.zl[j] - self.zl[j] / low * w[j];
            }
            if high.is_finite() {
                zu[j] = mu / high - self.zu[j] + self.zu[j] / high * w[j];
            }
        }
        Some(Step { x: w, s, y: v, z, zl, zu })
    }

    /// How far `x` and `s`, and how far the multipliers, may go.
    fn lengths(&self, step: &Step) -> (f64, f64) {
        let tau = (1.0 - self.mu).max(0.99);
        let upto = |v: f64, d: f64| if d < 0.0 { -tau * v / d } else { 1.0 };
        let (mut primal, mut dual) = (1.0_f64, 1.0_f64);
        for j in (0..self.x.len()).filter(|&j| !self.fixed[j]) {
            primal = primal.min(upto(self.x[j] - self.lb[j], step.x[j])).min(upto(self.ub[j] - self.x[j], -step.x[j]));
            dual = dual.min(upto(self.zl[j], step.zl[j])).min(upto(self.zu[j], step.zu[j]));
        }
        for i in 0..self.s.len() {
            primal = primal.min(upto(self.s[i], step.s[i]));
            dual = dual.min(upto(self.z[i], step.z[i]));
        }
        (primal, dual)
    }

    fn moved(&self, step: &Step, length: f64) -> (Vec<f64>, Vec<f64>) {
        let along = |v: &[f64], d: &[f64]| v.iter().zip(d).map(|(v, d)| v + length * d).collect::<Vec<f64>>();
        (along(&self.x, &step.x), along(&self.s, &step.s))
    }

    /// Values there, if they are numbers.
    fn look(&mut self, x: &[f64]) -> Result<Option<Values>, Error> {
        let values = self.program.values(x)?;
        Ok(bad_value(&values).is_none().then(|| self.scaled(values)))
    }

    fn passes_filter(&self, theta: f64, phi: f64) -> bool {
        theta <= self.theta_max && self.filter.iter().all(|&(t, p)| theta < t || phi < p)
    }

    fn accept(&mut self, to: (Vec<f64>, Vec<f64>), values: Values, step: &Step, (primal, dual): (f64, f64)) {
        (self.x, self.s) = to;
        self.values = values;
        let add = |v: &mut [f64], d: &[f64], t: f64| v.iter_mut().zip(d).for_each(|(v, d)| *v += t * d);
        add(&mut self.y, &step.y, primal);
        add(&mut self.z, &step.z, dual);
        add(&mut self.zl, &step.zl, dual);
        add(&mut self.zu, &step.zu, dual);
        self.keep_near();
    }

    /// Keeps each multiplier within a factor of what mu says.
    fn keep_near(&mut self) {
        let mu = self.mu;
        let near = |z: &mut f64, slack: f64| *z = z.min(APART * mu / slack).max(mu / (APART * slack));
        for j in (0..self.x.len()).filter(|&j| !self.fixed[j]) {
            if self.lb[j].is_finite() {
                near(&mut self.zl[j], self.x[j] - self.lb[j]);
            }
            if self.ub[j].is_finite() {
                near(&mut self.zu[j], self.ub[j] - self.x[j]);
            }
        }
        self.z.iter_mut().zip(&self.s).for_each(|(z, s)| near(z, *s));
    }

    /// Multipliers of the equalities that leave least of the forces; zero if they are large.
    fn estimate(&mut self) -> Result<(), Error> {
        let (n, m, mi) = (self.x.len(), self.y.len(), self.z.len());
        if m == 0 {
            return Ok(());
        }
        self.y.fill(0.0);
        let mut w = self.forces();
        (0..n).for_each(|j| w[j] = if self.fixed[j] { 0.0 } else { -(w[j] - self.zl[j] + self.zu[j]) });
        let (p, a, empty) =
            (Arc::new(Hessian::Diagonal(vec![1.0; n])), Arc::new(self.at.equality.clone()), Arc::new(Matrix::empty(n)));
        let mut kkt = SparseKkt::new(KktData { p: &p, rows: [&a, &empty, &empty], analysis: &Keep::default() })?;
        let pins: Vec<f64> = self.fixed.iter().map(|f| if *f { f64::INFINITY } else { 0.0 }).collect();
        debug_assert_eq!(self.s.len(), mi);
        let mut v = vec![0.0; m];
        if kkt.factor_once(&pins, &vec![SOFT; m]).is_ok() {
            kkt.solve(&mut w, &mut v);
            if norm_inf(&v) <= LARGEST_START {
                self.y = v;
            }
        }
        Ok(())
    }

    fn run(mut self, deadline: &Deadline, stop: &mut dyn FnMut(&[f64], &Values) -> bool) -> Result<Reached, Error> {
        if bad_value(&self.values).is_some() || !self.expand()? {
            return Ok(self.ended(false));
        }
        self.estimate()?;
        let theta = self.violation(&self.values, &self.s);
        self.theta_max = 1e4 * theta.max(1.0);
        self.theta_min = 1e-4 * theta.max(1.0);
        let mut tiny = 0;
        loop {
            if deadline.passed() {
                return Ok(self.ended(false));
            }
            if !self.expand()? {
                return Ok(self.ended(false));
            }
            log::trace!(
                "{}: objective {:e}, error {:.1e}, mu {:.1e}",
                self.steps,
                self.values.objective,
                self.error(0.0),
                self.mu
            );
            if self.error(0.0) <= self.goal.tolerance {
                return Ok(self.ended(true));
            }
            if stop(&self.x, &self.values) {
                return Ok(self.ended(true));
            }
            let least = 0.1 * self.goal.tolerance;
            while self.mu > least && (self.error(self.mu) <= 10.0 * self.mu || tiny >= 2) {
                self.mu = (0.2 * self.mu).min(self.mu.powf(1.5)).max(least);
                self.filter.clear();
                tiny = 0;
            }
            if self.steps >= self.goal.limit || tiny >= 4 {
                return Ok(self.ended(false));
            }
            self.steps += 1;
            let (c, rows) = (self.values.equality.clone(), self.rows(&self.values, &self.s));
            let found = if self.factor()? { self.direction(&c, &rows) } else { None };
            let moved = match &found {
                Some(step) => self.search(step)?,
                None => None,
            };
            match moved {
                Some(short) => tiny = if short { tiny + 1 } else { 0 },
                // what is left is rounding, and Newton's method on the active set is better at that
                None if self.goal.outer && self.error(0.0) <= ACCEPTABLE => return Ok(self.ended(true)),
                None if self.goal.outer && self.violation(&self.values, &self.s) > self.goal.tolerance => {
                    if !self.restore(deadline)? {
                        return Ok(self.ended(false));
                    }
                    tiny = 0;
                }
                None => return Ok(self.ended(false)),
            }
        }
    }

    fn rows(&self, values: &Values, s: &[f64]) -> Vec<f64> {
        values.inequality.iter().zip(s).map(|(g, s)| g + s).collect()
    }

    /// Goes along the step. `None` if no length is accepted; true if the step is below rounding.
    fn search(&mut self, step: &Step) -> Result<Option<bool>, Error> {
        let (longest, dual) = self.lengths(step);
        let (theta, phi) = (self.violation(&self.values, &self.s), self.barrier(&self.values, &self.x, &self.s));
        let mut slope = dot(&self.at.gradient, &step.x);
        for j in (0..self.x.len()).filter(|&j| !self.fixed[j]) {
            slope += self.mu * step.x[j] * (1.0 / (self.ub[j] - self.x[j]) - 1.0 / (self.x[j] - self.lb[j]));
        }
        slope -= self.mu * step.s.iter().zip(&self.s).map(|(d, s)| d / s).sum::<f64>();
        let relative =
            |d: &[f64], v: &[f64]| d.iter().zip(v).fold(0.0_f64, |m, (d, v)| m.max(d.abs() / (1.0 + v.abs())));
        if relative(&step.x, &self.x).max(relative(&step.s, &self.s)) < TINY {
            let to = self.moved(step, longest);
            if let Some(values) = self.look(&to.0)? {
                self.accept(to, values, step, (longest, dual));
                return Ok(Some(true));
            }
        }
        let noise = 10.0 * f64::EPSILON * phi.abs();
        let steep = |length: f64| slope < 0.0 && length * (-slope).powf(SWITCH.0) > theta.powf(SWITCH.1);
        let shortest = {
            let mut least = MARGIN;
            if slope < 0.0 {
                least = least.min(MARGIN * theta / -slope);
                if theta <= self.theta_min {
                    least = least.min(theta.powf(SWITCH.1) / (-slope).powf(SWITCH.0));
                }
            }
            0.05 * least
        };
        let good = |own: &Self, length: f64, (t, p): (f64, f64)| {
            if !own.passes_filter(t, p) || !t.is_finite() || !p.is_finite() {
                return None;
            }
            if theta <= own.theta_min && steep(length) {
                return (p <= phi + ARMIJO * length * slope + noise).then_some(true);
            }
            (t <= (1.0 - MARGIN) * theta || p <= phi - MARGIN * theta + noise).then_some(false)
        };
        let mut length = longest;
        let mut first = true;
        while length >= shortest.min(longest) && length > 1e-16 {
            let to = self.moved(step, length);
            if let Some(values) = self.look(&to.0)? {
                let there = (self.violation(&values, &to.1), self.barrier(&values, &to.0, &to.1));
                if let Some(descends) = good(self, length, there) {
                    self.remember(descends, theta, phi);
                    self.accept(to, values, step, (length, dual));
                    return Ok(Some(false));
                }
                if first && there.0 >= theta && self.corrected((&values, &to.1), length, theta, &good)? {
                    return Ok(Some(false));
                }
            }
            first = false;
            length *= 0.5;
        }
        Ok(None)
    }

    fn remember(&mut self, descends: bool, theta: f64, phi: f64) {
        if !descends {
            let entry = ((1.0 - MARGIN) * theta, phi - MARGIN * theta);
            self.filter.retain(|&(t, p)| t < entry.0 || p < entry.1);
            self.filter.push(entry);
        }
    }

    /// Second-order corrections of a full step whose rows curve away.
    fn corrected(
        &mut self,
        (values, s): (&Values, &[f64]),
        length: f64,
        theta: f64,
        good: &Test<'_, Self>,
    ) -> Result<bool, Error> {
        let phi = self.barrier(&self.values, &self.x, &self.s);
        let mut c: Vec<f64> = self.values.equality.iter().zip(&values.equality).map(|(a, b)| length * a + b).collect();
        let (own, there) = (self.rows(&self.values, &self.s), self.rows(values, s));
        let mut g: Vec<f64> = own.iter().zip(&there).map(|(a, b)| length * a + b).collect();
        let mut last = theta;
        for _ in 0..CORRECTIONS {
            let Some(step) = self.direction(&c, &g) else { return Ok(false) };
            let (longest, dual) = self.lengths(&step);
            let to = self.moved(&step, longest);
            let Some(values) = self.look(&to.0)? else { return Ok(false) };
            let there = (self.violation(&values, &to.1), self.barrier(&values, &to.0, &to.1));
            if let Some(descends) = good(self, length, there) {
                self.remember(descends, theta, phi);
                self.accept(to, values, &step, (longest, dual));
                return Ok(true);
            }
            if there.0 > 0.99 * last {
                return Ok(false);
            }
            last = there.0;
            c.iter_mut().zip(&values.equality).for_each(|(c, v)| *c = longest * *c + v);
            let rows = self.rows(&values, &to.1);
            g.iter_mut().zip(&rows).for_each(|(g, v)| *g = longest * *g + v);
        }
        Ok(false)
    }

    /// A point that is less violated and passes the filter. False if there is none in sight.
    fn restore(&mut self, deadline: &Deadline) -> Result<bool, Error> {
        let (theta, phi) = (self.violation(&self.values, &self.s), self.barrier(&self.values, &self.x, &self.s));
        self.remember(false, theta, phi);
        let (n, m, mi) = (self.x.len(), self.y.len(), self.z.len());
        let own = Scales { f: self.scales.f, c: self.scales.c.clone(), g: self.scales.g.clone() };
        let mut values = self.values.clone();
        values.inequality.iter_mut().for_each(|g| *g += RELAX);
        let most = norm_inf(&values.equality).max(values.inequality.iter().fold(0.0_f64, |m, g| m.max(*g)));
        let mu = self.mu.max(most).min(1e3);
        let mut x0 = self.x.clone();
        for c in &values.equality {
            // the ends that suit this price and mu
            let a = (mu - PRICE * c) / (2.0 * PRICE);
            let end = a + (a * a + mu * c / (2.0 * PRICE)).max(0.0).sqrt();
            x0.extend([c + end, end].map(|v| v.max(1e-12)));
        }
        x0.extend(values.inequality.iter().map(|g| g.max(0.0) + mu / PRICE));
        let mut lb = self.lb.clone();
        let mut ub = self.ub.clone();
        lb.resize(n + 2 * m + mi, 0.0);
        ub.resize(n + 2 * m + mi, f64::INFINITY);
        let (from, steps) = (self.x.clone(), self.goal.limit.saturating_sub(self.steps));
        let reached = {
            let Interior { program, filter, theta_max, lb: low, ub: high, mu: outer, fixed, s, .. } = self;
            let (filter, theta_max, outer, s) = (&*filter, *theta_max, *outer, &*s);
            let (f, weight, objective) = (own.f, mu.sqrt(), Cell::new(f64::NAN));
            let own = (own.c, own.g);
            let mut elastic =
                Elastic { program: &mut **program, scales: own, lb, ub, from, weight, n, objective: &objective };
            let mut stop = |x: &[f64], values: &Values| {
                // what the rows are missed by, slacks as they are best
                let c: f64 = (0..m).map(|i| (values.equality[i] + x[n + 2 * i] - x[n + 2 * i + 1]).abs()).sum();
                let g = |i: usize| values.inequality[i] + x[n + 2 * m + i];
                let misses: f64 = (0..mi).map(|i| g(i).max(0.0)).sum();
                let t = c + misses;
                let mut phi = 0.0;
                for j in (0..n).filter(|&j| !fixed[j]) {
                    phi -= if low[j].is_finite() { outer * (x[j] - low[j]).ln() } else { 0.0 };
                    phi -= if high[j].is_finite() { outer * (high[j] - x[j]).ln() } else { 0.0 };
                }
                phi -= (0..mi).map(|i| outer * (-g(i)).max(1e-8 * s[i]).max(1e-12).ln()).sum::<f64>();
                phi += f * objective.get();
                t <= 0.9 * theta && t <= theta_max && filter.iter().all(|&(a, b)| t < a || phi < b)
            };
            let goal = Goal { tolerance: RESTORED, limit: steps.min(200), mu, outer: false };
            let inner = Interior::start(&mut elastic, &x0, goal)?;
            inner.run(deadline, &mut stop)?
        };
        self.steps += reached.steps;
        let x: Vec<f64> = (0..n)
            .map(|j| {
                let margin = |b: f64| (1e-10 * b.abs().max(1.0)).min(1e-2 * RELAX);
                if self.fixed[j] {
                    self.lb[j]
                } else {
                    reached.x[j].max(self.lb[j] + margin(self.lb[j])).min(self.ub[j] - margin(self.ub[j]))
                }
            })
            .collect();
        let Some(values) = self.look(&x)? else { return Ok(false) };
        let s: Vec<f64> =
            values.inequality.iter().zip(&self.s).map(|(g, s)| (-g).max(1e-3 * s.min(1.0)).max(1e-8)).collect();
        let now = self.violation(&values, &s);
        if !reached.converged || now > 0.95 * theta {
            (self.x, self.values, self.s) = (x, values, s);
            return Ok(false);
        }
        (self.x, self.values, self.s) = (x, values, s);
        let mu = self.mu;
        let own = |slack: f64| (mu / slack).min(LARGEST_START);
        for j in (0..n).filter(|&j| !self.fixed[j]) {
            if self.lb[j].is_finite() {
                self.zl[j] = own(self.x[j] - self.lb[j]);
            }
            if self.ub[j].is_finite() {
                self.zu[j] = own(self.ub[j] - self.x[j]);
            }
        }
        self.z = self.s.iter().map(|s| own(*s)).collect();
        if !self.expand()? {
            return Ok(false);
        }
        self.estimate()?;
        self.added = 0.0;
        Ok(true)
    }

    /// In the caller's units.
    fn ended(self, converged: bool) -> Reached {
        let n = self.x.len();
        let f = self.scales.f;
        // relative to each other a multiplier and its slack say which is 0
        let rows = self.z.iter().zip(&self.s).map(|(z, s)| against(*z, *s)).collect();
        let of = |j: usize, z: f64, slack: f64| if self.fixed[j] { 0.0 } else { against(z, slack) };
        let low = (0..n).map(|j| of(j, self.zl[j], self.x[j] - self.lb[j])).collect();
        let high = (0..n).map(|j| of(j, self.zu[j], self.ub[j] - self.x[j])).collect();
        let (lb, ub) = self.program.bounds();
        let x = (0..n).map(|j| self.x[j].max(lb[j]).min(ub[j])).collect();
        let own = |v: &[f64], s: &[f64]| v.iter().zip(s).map(|(v, s)| v * s / f).collect::<Vec<f64>>();
        Reached {
            y: own(&self.y, &self.scales.c),
            z: own(&self.z, &self.scales.g),
            z_box: (0..n).map(|j| (self.zu[j] - self.zl[j]) / f).collect(),
            x,
            weight: (rows, low, high),
            steps: self.steps,
            converged,
        }
    }
}

/// The program whose rows may be missed at a price:
/// `min sum (p + n) + sum t + weight/2 |x - from|^2` over `c - p + n = 0, g - t <= 0`, in the variables x, then `(p, n)` of each
/// equality, then t; it always has a feasible point.
struct Elastic<'a> {
    program: &'a mut dyn SmoothProgram,
    scales: (Vec<f64>, Vec<f64>),
    lb: Vec<f64>,
    ub: Vec<f64>,
    from: Vec<f64>,
    weight: f64,
    n: usize,
    /// What the program itself has at the last point.
    objective: &'a Cell<f64>,
}

impl Elastic<'_> {
    fn unit(&self, j: usize) -> f64 {
        self.weight / self.from[j].abs().max(1.0).powi(2)
    }

    fn missing(&self) -> Error {
        Error::Backward { reason: "restoration has no parameters".to_owned() }
    }
}

impl SmoothProgram for Elastic<'_> {
    fn bounds(&self) -> (&[f64], &[f64]) {
        (&self.lb, &self.ub)
    }

    fn values(&mut self, x: &[f64]) -> Result<Values, Error> {
        let n = self.n;
        let mut values = self.program.values(&x[..n])?;
        let m = values.equality.len();
        values.equality.iter_mut().enumerate().for_each(|(i, c)| {
            *c = *c * self.scales.0[i] - x[n + 2 * i] + x[n + 2 * i + 1];
        });
        values.inequality.iter_mut().enumerate().for_each(|(i, g)| *g = *g * self.scales.1[i] - x[n + 2 * m + i]);
        let near: f64 = (0..n).map(|j| 0.5 * self.unit(j) * (x[j] - self.from[j]).powi(2)).sum();
        self.objective.set(values.objective);
        if values.objective.is_finite() {
            values.objective = PRICE * x[n..].iter().sum::<f64>() + near;
        }
        Ok(values)
    }

    fn expand(&mut self, at: At<'_>) -> Result<Expansion, Error> {
        let n = self.n;
        let (m, mi, all) = (at.y.len(), at.z.len(), at.x.len());
        let scaled = |v: &[f64], s: &[f64]| v.iter().zip(s).map(|(v, s)| v * s).collect::<Vec<f64>>();
        let (y, z) = (scaled(at.y, &self.scales.0), scaled(at.z, &self.scales.1));
        let own = self.program.expand(At { x: &at.x[..n], y: &y, z: &z })?;
        // the rows' curvature alone
        let without = self.program.expand(At { x: &at.x[..n], y: &vec![0.0; m], z: &vec![0.0; mi] })?.hessian;
        let mut h = Vec::new();
        each_entry(&own.hessian, |i, j, v| h.push((i, j, v)));
        each_entry(&without, |i, j, v| h.push((i, j, -v)));
        h.extend((0..n).map(|j| (j, j, self.unit(j))));
        let wide = |matrix: &Matrix, scale: &[f64], more: &mut dyn Iterator<Item = (usize, usize, f64)>| {
            let mut out = Vec::new();
            matrix.for_each(|i, j, v| out.push((i, j, v * scale[i])));
            out.extend(more);
            Csc::from_triplets(matrix.nrows(), all, &out).map(Matrix::Sparse)
        };
        let mut ends = (0..m).flat_map(|i| [(i, n + 2 * i, -1.0), (i, n + 2 * i + 1, 1.0)]);
        let mut slacks = (0..mi).map(|i| (i, n + 2 * m + i, -1.0));
        let mut gradient: Vec<f64> = (0..n).map(|j| self.unit(j) * (at.x[j] - self.from[j])).collect();
        gradient.resize(all, PRICE);
        let hessian = Csc::from_triplets(all, all, &h).map(Hessian::Sparse)?;
        Ok(Expansion {
            gradient,
            equality: wide(&own.equality, &self.scales.0, &mut ends)?,
            inequality: wide(&own.inequality, &self.scales.1, &mut slacks)?,
            hessian,
        })
    }

    fn pull(&mut self, _: At<'_>, _: &[f64], _: (&[f64], &[f64]), _: f64) -> Result<Vec<f64>, Error> {
        Err(self.missing())
    }

    fn push(&mut self, _: At<'_>, _: &[f64]) -> Result<Pushed, Error> {
        Err(self.missing())
    }
}
