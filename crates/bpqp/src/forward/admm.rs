//! Operator splitting: the algorithm of OSQP (Stellato, Banjac, Goulart, Bemporad & Boyd, Math. Prog. Comp. 2020).
//!
//! With `z = (A x, G x)` in `[l, u]` and a second copy `b` of x for the bounds, both penalized by `rho`, one iteration
//! solves the KKT system of the pass table in [`crate::kkt`] (`dx = sigma + rho_b`, `dc = 1/rho`):
//!
//! ```text
//! [P + sigma + rho_b  C'    ] [x~]   [sigma x - q + rho_b b - y_b]
//! [C                  -1/rho] [nu] = [z - y / rho                ]      z~ = z + (nu - y)/rho
//! x <- alpha x~ + (1 - alpha) x
//! v  = alpha z~ + (1 - alpha) z + y/rho;   z <- proj(v);   y <- rho (v - z)             the same for b
//! ```
//!
//! Differences from the paper: bounds are a diagonal and not rows; variables with `lb = ub` are pinned exactly and not
//! penalized; without inequalities `alpha` is 1, where over-relaxation only makes the multipliers oscillate (the
//! iteration is then the method of multipliers on the equalities). The last two make this a good solver of the backward
//! QP, whose constraints are all equalities.

mod certificates;

use super::scaling::{ADMM, Scaling};
use super::{ForwardHandle, ForwardSolver, Outcome};
use crate::kkt::{self, KktFactor};
use crate::matrix::norm_inf;
use crate::residuals::{Point, ResidualWork, residuals};
use crate::{Deadline, Error, Qp, Settings, Status};
use certificates::Prover;
use std::sync::Arc;

/// Proximal weight of x.
const SIGMA: f64 = 1e-6;
/// Over-relaxation.
const ALPHA: f64 = 1.6;
/// First penalty, its range, and how much stiffer equalities are (OSQP, section 5.2).
const RHO: f64 = 0.1;
const RHO_RANGE: (f64, f64) = (1e-6, 1e6);
const RHO_EQUALITY: f64 = 1e3;
/// Iterations between two looks at the residuals.
const CHECK: usize = 25;
/// The penalty changes when its estimate is off by this factor.
const ADAPT: f64 = 5.0;
/// Iterations between two changes of the penalty, in the beginning; doubles after [`PATIENCE`] changes.
const ADAPT_EVERY: usize = 50;
const PATIENCE: usize = 10;
/// Iterations at most, by default.
const MAX_ITER: usize = 20_000;

/// The native operator-splitting [`ForwardSolver`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Admm;

impl ForwardSolver for Admm {
    fn name(&self) -> &'static str {
        "admm"
    }

    fn prepare(&self, qp: &Qp, settings: &Settings) -> Result<Box<dyn ForwardHandle>, Error> {
        settings.validate()?;
        Ok(Box::new(Handle::new(qp, settings)?))
    }
}

/// The iterates, scaled. `c` is of the rows (equalities first), `b` of the bounds.
#[derive(Default)]
struct State {
    x: Vec<f64>,
    c: Vec<f64>,
    y: Vec<f64>,
    b: Vec<f64>,
    y_b: Vec<f64>,
}

struct Handle {
    qp: Qp,
    scaled: Qp,
    scaling: Scaling,
    settings: Settings,
    told: Option<Deadline>,
    kkt: Box<dyn KktFactor>,
    rho: f64,
    /// The penalty and the pins that the factorization was made for.
    factored: Option<f64>,
    dx: Vec<f64>,
    dc: Vec<f64>,
    state: State,
    last: State,
    /// `q + P x0` and `C x0`, where `x0` holds the pinned variables.
    q_pinned: Vec<f64>,
    c_pinned: Vec<f64>,
    pinned: Vec<bool>,
    any_pinned: bool,
    alpha: f64,
    w: Vec<f64>,
    v: Vec<f64>,
    rank: Vec<f64>,
    work: ResidualWork,
    prover: Prover,
    refactorizations: usize,
}

impl Handle {
    fn new(qp: &Qp, settings: &Settings) -> Result<Self, Error> {
        let scaling = Scaling::of(qp, ADMM);
        let scaled = scaling.apply(qp);
        let (n, m) = (qp.n(), qp.n_equality() + qp.n_inequality());
        let kkt = kkt::prepare(scaled.kkt())?;
        let state = || State { x: vec![0.0; n], c: vec![0.0; m], y: vec![0.0; m], b: vec![0.0; n], y_b: vec![0.0; n] };
        let mut handle = Handle {
            qp: qp.clone(),
            scaled,
            scaling,
            settings: settings.clone(),
            told: None,
            kkt,
            rho: RHO,
            factored: None,
            dx: vec![0.0; n],
            dc: vec![0.0; m],
            state: state(),
            last: state(),
            q_pinned: vec![0.0; n],
            c_pinned: vec![0.0; m],
            pinned: vec![false; n],
            any_pinned: false,
            alpha: ALPHA,
            w: vec![0.0; n],
            v: vec![0.0; m],
            rank: Vec::new(),
            work: ResidualWork::default(),
            prover: Prover::new(qp),
            refactorizations: 0,
        };
        handle.fold_pins();
        Ok(handle)
    }

    /// What depends on the vectors of the problem: pins, and their share of the right-hand side.
    fn fold_pins(&mut self) {
        let qp = &self.scaled;
        let n = qp.n();
        let before = self.any_pinned;
        self.any_pinned = false;
        let mut moved = false;
        for i in 0..n {
            let pin = qp.lb[i] == qp.ub[i];
            moved |= pin != self.pinned[i];
            self.pinned[i] = pin;
            self.any_pinned |= pin;
        }
        if moved || before != self.any_pinned {
            self.factored = None;
        }
        let bounded = (0..n).any(|i| !self.pinned[i] && (qp.lb[i].is_finite() || qp.ub[i].is_finite()));
        let only_equalities = !bounded && qp.h.iter().all(|h| h.is_infinite());
        self.alpha = if only_equalities { 1.0 } else { ALPHA };
        self.q_pinned.copy_from_slice(&qp.q);
        self.c_pinned.fill(0.0);
        if self.any_pinned {
            for i in 0..n {
                self.w[i] = if self.pinned[i] { qp.lb[i] } else { 0.0 };
            }
            qp.p.mul_add(1.0, &self.w, &mut self.q_pinned, &mut self.rank);
            rows_mul_add(qp, &self.w, &mut self.c_pinned);
        }
    }

    /// Factors for the current penalty, if that is not done already.
    fn refactor(&mut self) -> bool {
        if self.factored == Some(self.rho) {
            return true;
        }
        let qp = &self.scaled;
        let stiff = (self.rho * RHO_EQUALITY).min(RHO_RANGE.1 * RHO_EQUALITY);
        for i in 0..qp.n() {
            let bounded = qp.lb[i].is_finite() || qp.ub[i].is_finite();
            self.dx[i] = if self.pinned[i] { f64::INFINITY } else { SIGMA + if bounded { self.rho } else { 0.0 } };
        }
        let m_eq = qp.n_equality();
        self.dc[..m_eq].fill(1.0 / stiff);
        for (dc, &h) in self.dc[m_eq..].iter_mut().zip(qp.h.iter()) {
            *dc = if h.is_finite() { 1.0 / self.rho } else { f64::INFINITY };
        }
        self.refactorizations += 1;
        let ok = self.kkt.factor(&self.dx, &self.dc).is_ok();
        self.factored = ok.then_some(self.rho);
        ok
    }

    /// One iteration. Nothing is allocated.
    fn iterate(&mut self) {
        let qp = &self.scaled;
        let (n, m_eq) = (qp.n(), qp.n_equality());
        let State { x, c, y, b, y_b } = &mut self.state;
        for i in 0..n {
            let rho_b = self.dx[i] - SIGMA;
            let bound = if rho_b > 0.0 && !self.pinned[i] { rho_b * b[i] - y_b[i] } else { 0.0 };
            self.w[i] = SIGMA * x[i] - self.q_pinned[i] + bound;
        }
        for j in 0..c.len() {
            let rate = if self.dc[j].is_finite() { self.dc[j] } else { 0.0 };
            self.v[j] = c[j] - y[j] * rate - self.c_pinned[j];
        }
        self.kkt.solve(&mut self.w, &mut self.v);
        let alpha = self.alpha;
        for i in 0..n {
            if self.pinned[i] {
                x[i] = qp.lb[i];
                continue;
            }
            let tilde = self.w[i];
            x[i] = alpha * tilde + (1.0 - alpha) * x[i];
            let rho_b = self.dx[i] - SIGMA;
            if rho_b > 0.0 {
                let v = alpha * tilde + (1.0 - alpha) * b[i] + y_b[i] / rho_b;
                b[i] = v.clamp(qp.lb[i], qp.ub[i]);
                y_b[i] = rho_b * (v - b[i]);
            }
        }
        for j in 0..c.len() {
            let rate = self.dc[j];
            if rate.is_infinite() {
                continue;
            }
            let tilde = c[j] + (self.v[j] - y[j]) * rate;
            let v = alpha * tilde + (1.0 - alpha) * c[j] + y[j] * rate;
            c[j] = if j < m_eq { qp.b[j] } else { v.min(qp.h[j - m_eq]) };
            y[j] = (v - c[j]) / rate;
        }
    }

    fn start(&mut self, warm: Option<&Point>) {
        let (qp, Scaling { cost, d, e, .. }) = (&self.scaled, &self.scaling);
        let (n, m_eq) = (qp.n(), qp.n_equality());
        let state = &mut self.state;
        let fits = |p: &&Point| p.x.len() == n && p.y.len() == m_eq && p.z.len() == qp.n_inequality() && p.is_finite();
        match warm.filter(fits) {
            Some(p) => {
                for i in 0..n {
                    state.x[i] = p.x[i] / d[i];
                    state.y_b[i] = p.z_box.get(i).map_or(0.0, |z| z * d[i] * cost);
                }
                let multipliers = p.y.iter().chain(&p.z);
                state.y.iter_mut().zip(multipliers.zip(e)).for_each(|(s, (y, e))| *s = y * cost / e);
            }
            None => {
                state.x.fill(0.0);
                state.y.fill(0.0);
                state.y_b.fill(0.0);
                if self.rho != RHO {
                    self.rho = RHO;
                }
            }
        }
        state.c.fill(0.0);
        rows_mul_add(qp, &state.x, &mut state.c);
        for j in 0..state.c.len() {
            state.c[j] = if j < m_eq { qp.b[j] } else { state.c[j].min(qp.h[j - m_eq]) };
        }
        for i in 0..n {
            state.b[i] = state.x[i].clamp(qp.lb[i], qp.ub[i]);
        }
    }

    /// The unscaled point of the current iterate; the multiplier of a pinned variable is what makes its row of the
    /// stationarity vanish.
    fn extract(&mut self, out: &mut Point) {
        let (qp, Scaling { cost, d, e, .. }) = (&self.qp, &self.scaling);
        let m_eq = qp.n_equality();
        let state = &self.state;
        out.x.clear();
        out.x.extend((0..d.len()).map(|i| if self.pinned[i] { qp.lb[i] } else { state.x[i] * d[i] }));
        let rows = |range: std::ops::Range<usize>| range.map(|j| state.y[j] * e[j] / cost);
        out.y.clear();
        out.y.extend(rows(0..m_eq));
        out.z.clear();
        out.z.extend(rows(m_eq..state.y.len()));
        out.z_box.clear();
        out.z_box.extend((0..d.len()).map(|i| if self.pinned[i] { 0.0 } else { state.y_b[i] / (d[i] * cost) }));
        if self.any_pinned {
            residuals(qp, out, &mut self.work);
            for i in 0..d.len() {
                if self.pinned[i] {
                    out.z_box[i] = -self.work.stationarity[i];
                }
            }
        }
    }

    /// The penalty that would balance the residuals (OSQP, equation 33), from scaled ones.
    fn balanced_rho(&mut self) -> f64 {
        let qp = &self.scaled;
        let State { x, c, y, b, y_b } = &self.state;
        // v: C x - c, then C'y on w
        self.v.fill(0.0);
        rows_mul_add(qp, x, &mut self.v);
        let mut primal_scale = norm_inf(&self.v);
        let mut primal = 0.0_f64;
        for j in 0..c.len() {
            if self.dc[j].is_finite() {
                primal = primal.max((self.v[j] - c[j]).abs());
                primal_scale = primal_scale.max(c[j].abs());
            }
        }
        let bounded = |i: usize| !self.pinned[i] && (qp.lb[i].is_finite() || qp.ub[i].is_finite());
        for i in (0..x.len()).filter(|&i| bounded(i)) {
            primal = primal.max((x[i] - b[i]).abs());
            primal_scale = primal_scale.max(x[i].abs());
        }
        self.w.fill(0.0);
        qp.p.mul_add(1.0, x, &mut self.w, &mut self.rank);
        let mut dual_scale = norm_inf(&self.w).max(norm_inf(&qp.q));
        let m_eq = qp.n_equality();
        qp.a.tmul_add(1.0, &y[..m_eq], &mut self.w);
        qp.g.tmul_add(1.0, &y[m_eq..], &mut self.w);
        let mut dual = 0.0_f64;
        for i in 0..x.len() {
            if !self.pinned[i] {
                dual = dual.max((self.w[i] + qp.q[i] + y_b[i]).abs());
                // |C'y| without another product: it balances P x + q up to the residual
                dual_scale = dual_scale.max(y_b[i].abs());
            }
        }
        let ratio = (primal / primal_scale.max(1e-10)) / (dual / dual_scale.max(1e-10)).max(1e-14);
        (self.rho * ratio.max(1e-14).sqrt()).clamp(RHO_RANGE.0, RHO_RANGE.1)
    }
}

/// `out += C x` over the equality and the inequality rows.
fn rows_mul_add(qp: &Qp, x: &[f64], out: &mut [f64]) {
    let (a, g) = out.split_at_mut(qp.n_equality());
    qp.a.mul_add(1.0, x, a);
    qp.g.mul_add(1.0, x, g);
}

impl ForwardHandle for Handle {
    fn update(&mut self, qp: &Qp) -> Result<(), Error> {
        let same = Arc::ptr_eq(&self.qp.p, &qp.p) && Arc::ptr_eq(&self.qp.a, &qp.a) && Arc::ptr_eq(&self.qp.g, &qp.g);
        if same && self.scaling.suits(&qp.q) {
            self.scaling.update(qp, &mut self.scaled);
        } else {
            let scaling = Scaling::of(qp, ADMM);
            let scaled = scaling.apply(qp);
            self.kkt.load(scaled.kkt())?;
            (self.scaling, self.scaled, self.factored) = (scaling, scaled, None);
        }
        // which bounds are finite decides where the penalty sits
        let kinds = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a.is_finite() == b.is_finite());
        if !(kinds(&self.qp.lb, &qp.lb) && kinds(&self.qp.ub, &qp.ub) && kinds(&self.qp.h, &qp.h)) {
            self.factored = None;
        }
        self.qp = qp.clone();
        self.fold_pins();
        Ok(())
    }

    fn end_by(&mut self, deadline: &Deadline) {
        self.told = Some(deadline.clone());
    }

    fn solve(&mut self, warm: Option<&Point>, out: &mut Point) -> Outcome {
        let deadline = self.told.take().unwrap_or_else(|| self.settings.deadline());
        let max_iter = self.settings.max_iter.unwrap_or(MAX_ITER);
        self.refactorizations = 0;
        self.start(warm);
        let end = |status, iterations, certificate| Outcome { status, iterations, certificate };
        if !self.refactor() {
            self.extract(out);
            return end(Status::NumericalFailure, 0, None);
        }
        let mut next_change = ADAPT_EVERY;
        for k in 1..=max_iter {
            let look = k % CHECK == 0 || k == max_iter || k == 1 || k == 5 || k == 10;
            if look {
                self.last.x.copy_from_slice(&self.state.x);
                self.last.y.copy_from_slice(&self.state.y);
                self.last.y_b.copy_from_slice(&self.state.y_b);
            }
            self.iterate();
            if !look {
                continue;
            }
            self.extract(out);
            if !out.is_finite() {
                return end(Status::NumericalFailure, k, None);
            }
            let (r, _) = residuals(&self.qp, out, &mut self.work);
            log::trace!("{k}: primal {:.1e}, dual {:.1e}, gap {:.1e}, rho {:.1e}", r.primal, r.dual, r.gap, self.rho);
            if r.within(self.settings.eps_abs, self.settings.eps_rel, 1.0) {
                return end(Status::Solved, k, None);
            }
            // costs a few products with the data: ever more rarely
            let thorough = (k / CHECK).is_power_of_two() || k == max_iter;
            let steps = (&self.state, &self.last);
            if let Some((status, certificate)) =
                self.prover.look(&self.qp, &self.scaling, steps, &self.pinned, thorough)
            {
                return end(status, k, Some(certificate));
            }
            if deadline.passed() {
                return end(Status::TimeLimit, k, None);
            }
            if k >= next_change {
                let rho = self.balanced_rho();
                if rho > ADAPT * self.rho || rho < self.rho / ADAPT {
                    self.rho = rho;
                    if !self.refactor() {
                        return end(Status::NumericalFailure, k, None);
                    }
                }
                let slow = 1 + self.refactorizations / PATIENCE;
                next_change = k + ADAPT_EVERY * slow;
            }
        }
        end(Status::IterationLimit, max_iter, None)
    }
}

#[cfg(test)]
mod tests;
