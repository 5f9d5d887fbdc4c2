//! The forward pass: the proximal method of multipliers (Rockafellar 1976), its steps by Newton's method on the active rows (as in
//! QPALM: Hermans, Themelis & Patrinos 2022) with conjugate gradients.
//!
//! With `C = (A; G; I)` and `v = C x + y/rho`, one step minimizes the convex function
//!
//! ```text
//! 1/2 x'P x + q'x + gamma/2 |x - x_k|^2 + 1/2 sum rho_i dist(v_i, [lo_i, up_i])^2
//! ```
//!
//! whose gradient is piecewise linear: `P x + q + gamma (x - x_k) + C'y+`, `y+ = rho (v - proj v)`. A Newton step solves
//! `(P + gamma + C_J' rho C_J) d = -gradient` over the rows J outside their sides, and the length of the step is exact. Then
//! `y := y+`, `x_k := x`, and penalties of rows that are still missed grow. Operator splitting does the same with one fixed
//! matrix and needs hundreds of steps where this needs tens; with products only, a matrix that stays is worth nothing.

use super::Program;
use super::few::Few;
use super::krylov::{Cg, Symmetric, cg};
use super::model::Model;
use super::operator::{Step, Stop};
use super::proof;
use super::settle::{self, Settled};
use super::solution::{Ending, LargeSolution};
use super::worth::{Scaled, worth};
use crate::matrix::{dot, norm_inf};
use crate::residuals::Residuals;
use crate::thresholds::large as limits;
use crate::{Certificate, Error, Settings, Status};
use std::time::Instant;

pub(super) fn solve(program: &Program, settings: &Settings) -> Result<LargeSolution, Error> {
    let start = Instant::now();
    let mut model = match Model::new(program, settings.deadline()) {
        Ok(model) => model,
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Late) => return Ok(LargeSolution::none(program, settings, Status::TimeLimit, start.elapsed())),
    };
    let mut solver = Solver::new(&model, settings);
    let (status, certificate) = match solver.run(&mut model) {
        Ok(found) => found,
        Err(Stop::Error(error)) => return Err(error),
        Err(Stop::Late) => (Status::TimeLimit, None),
    };
    let ending = Ending { status, certificate, iterations: solver.steps, time: start.elapsed() };
    Ok(LargeSolution::of(model, settings, solver.best, ending))
}

struct Solver {
    settings: Settings,
    max_steps: usize,
    x: Vec<f64>,
    px: Vec<f64>,
    cx: Vec<f64>,
    y: Vec<f64>,
    u: Vec<f64>,
    rho: Vec<f64>,
    rho_box: Vec<f64>,
    gamma: f64,
    center: Vec<f64>,
    /// The next multipliers, and `C'y+`.
    y_next: Vec<f64>,
    u_next: Vec<f64>,
    cty: Vec<f64>,
    gradient: Vec<f64>,
    steps: usize,
    best: Option<Settled>,
}

/// What a step of the inner iteration ended with.
enum Inner {
    Done,
    Limit,
    Negative(Vec<f64>),
}

/// The distance beyond a side: positive above, negative below.
fn beyond(v: f64, lo: f64, up: f64) -> f64 {
    if v > up {
        v - up
    } else if v < lo {
        v - lo
    } else {
        0.0
    }
}

impl Solver {
    fn new(model: &Model, settings: &Settings) -> Self {
        let (n, m) = (model.n(), model.m());
        let zeros = |k: usize| vec![0.0; k];
        let x: Vec<f64> = (0..n).map(|j| 0.0_f64.clamp(model.bounds.0[j], model.bounds.1[j])).collect();
        Solver {
            settings: settings.clone(),
            max_steps: settings.max_iter.unwrap_or(limits::STEPS),
            center: x.clone(),
            x,
            px: zeros(n),
            cx: zeros(m),
            y: zeros(m),
            u: zeros(n),
            rho: zeros(m),
            rho_box: zeros(n),
            gamma: limits::FIRST_GAMMA,
            y_next: zeros(m),
            u_next: zeros(n),
            cty: zeros(n),
            gradient: zeros(n),
            steps: 0,
            best: None,
        }
    }

    fn run(&mut self, model: &mut Model) -> Step<(Status, Option<Certificate>)> {
        self.products(model)?;
        self.first_penalties(model);
        let mut tolerance = 1.0;
        let mut missed = self.missed(model);
        let mut raised = 0;
        for round in 0..limits::ROUNDS {
            match self.minimize(model, tolerance)? {
                Inner::Done => {}
                Inner::Limit => return Ok(self.out_of_steps()),
                Inner::Negative(direction) => {
                    if let Some(found) = proof::curvature(model, &direction)? {
                        return Ok((Status::NonConvex, Some(found)));
                    }
                    raised += 1;
                    if raised > limits::RAISES {
                        return Ok((Status::NumericalFailure, None));
                    }
                    // positive on the null space of the equalities: large penalties make the whole so
                    let m = model.program.b.len();
                    self.rho[..m].iter_mut().for_each(|r| *r = (*r * limits::GROW).min(limits::MOST_RHO));
                    continue;
                }
            }
            if self.look(model)? || self.settle(model)? {
                return Ok((Status::Solved, None));
            }
            if let Some(found) = self.proofs(model)? {
                return Ok(found);
            }
            let residuals = self.best.as_ref().map(|b| b.residuals);
            log::trace!("{round}: {} steps, {} products, {residuals:?}", self.steps, model.watch.products);
            missed = self.next(model, &missed)?;
            tolerance = (tolerance * limits::TIGHTEN).max(limits::LEAST_TOLERANCE);
        }
        Ok(self.out_of_steps())
    }

    fn out_of_steps(&self) -> (Status, Option<Certificate>) {
        let (abs, rel) = (self.settings.eps_abs, self.settings.eps_rel);
        let near = self.best.as_ref().is_some_and(|b| b.residuals.within(abs, rel, 1e3));
        (if near { Status::SolvedInaccurate } else { Status::IterationLimit }, None)
    }

    fn products(&mut self, model: &mut Model) -> Step<()> {
        model.p(&self.x, &mut self.px)?;
        model.c(&self.x, &mut self.cx)
    }

    /// Penalties that balance the objective and what is missed at the start.
    fn first_penalties(&mut self, model: &Model) {
        let value = 0.5 * dot(&self.x, &self.px) + dot(&self.x, &model.q);
        let missed: f64 = self.missed(model).0.iter().map(|v| v * v).sum();
        let rho = (20.0 * value.abs().max(1.0) / (0.5 * missed).max(1.0)).clamp(1e-2, 1e4);
        self.rho.fill(rho);
        self.rho_box.fill(rho);
    }

    /// How far rows and bounds are missed.
    fn missed(&self, model: &Model) -> (Vec<f64>, Vec<f64>) {
        let rows = (0..self.cx.len()).map(|i| beyond(self.cx[i], model.rows.0[i], model.rows.1[i]).abs()).collect();
        let bounds = (0..self.x.len()).map(|j| beyond(self.x[j], model.bounds.0[j], model.bounds.1[j]).abs());
        (rows, bounds.collect())
    }

    /// `y+`, `u+` and the gradient at `x`.
    fn evaluate(&mut self, model: &mut Model) -> Step<()> {
        for i in 0..self.cx.len() {
            let v = self.cx[i] + self.y[i] / self.rho[i];
            self.y_next[i] = self.rho[i] * beyond(v, model.rows.0[i], model.rows.1[i]);
        }
        for j in 0..self.x.len() {
            let v = self.x[j] + self.u[j] / self.rho_box[j];
            self.u_next[j] = self.rho_box[j] * beyond(v, model.bounds.0[j], model.bounds.1[j]);
        }
        self.cty.fill(0.0);
        model.ct_add(&self.y_next, &mut self.cty)?;
        for j in 0..self.x.len() {
            let own = self.px[j] + model.q[j] + self.cty[j] + self.u_next[j];
            self.gradient[j] = own + self.gamma * (self.x[j] - self.center[j]);
        }
        Ok(())
    }

    /// The inner iteration: to this length of the gradient.
    fn minimize(&mut self, model: &mut Model, tolerance: f64) -> Step<Inner> {
        let (n, m) = (self.x.len(), self.cx.len());
        let (mut d, mut pd, mut cd) = (vec![0.0; n], vec![0.0; n], vec![0.0; m]);
        for _ in 0..limits::NEWTON {
            self.evaluate(model)?;
            let length = norm_inf(&self.gradient);
            if length <= tolerance {
                return Ok(Inner::Done);
            }
            if self.steps >= self.max_steps {
                return Ok(Inner::Limit);
            }
            self.steps += 1;
            let rhs: Vec<f64> = self.gradient.iter().map(|g| -g).collect();
            let share = (0.1 * tolerance / length).max(length.powf(0.5).min(1.0) * limits::FORCING).min(0.1);
            let mut newton = Newton::new(model, self);
            let (end, _) = cg(&mut newton, &rhs, &mut d, share, limits::CG)?;
            if let Cg::Negative(direction) = end {
                return Ok(Inner::Negative(direction));
            }
            model.p(&d, &mut pd)?;
            model.c(&d, &mut cd)?;
            let t = self.length(model, &d, &pd, &cd);
            for j in 0..n {
                self.x[j] += t * d[j];
                self.px[j] += t * pd[j];
            }
            self.cx.iter_mut().zip(&cd).for_each(|(c, d)| *c += t * d);
            if t * norm_inf(&d) <= limits::TINY * (1.0 + norm_inf(&self.x)) {
                self.evaluate(model)?;
                return Ok(Inner::Done);
            }
        }
        Ok(Inner::Done)
    }

    /// Where the function is least along `d`: the root of its derivative, which is increasing and piecewise linear.
    fn length(&self, model: &Model, d: &[f64], pd: &[f64], cd: &[f64]) -> f64 {
        let gamma = self.gamma;
        let constant: f64 =
            (0..d.len()).map(|j| d[j] * (self.px[j] + model.q[j] + gamma * (self.x[j] - self.center[j]))).sum();
        let linear = dot(d, pd) + gamma * dot(d, d);
        let slope = |t: f64| {
            let (mut value, mut rate) = (constant + t * linear, linear);
            let mut add = |v: f64, dv: f64, rho: f64, lo: f64, up: f64| {
                let off = beyond(v + t * dv, lo, up);
                if off != 0.0 || lo == up {
                    value += rho * off * dv;
                    rate += rho * dv * dv;
                }
            };
            for i in 0..cd.len() {
                let v = self.cx[i] + self.y[i] / self.rho[i];
                add(v, cd[i], self.rho[i], model.rows.0[i], model.rows.1[i]);
            }
            for j in 0..d.len() {
                let v = self.x[j] + self.u[j] / self.rho_box[j];
                add(v, d[j], self.rho_box[j], model.bounds.0[j], model.bounds.1[j]);
            }
            (value, rate)
        };
        let (mut low, mut high, mut t) = (0.0, f64::INFINITY, 1.0);
        let first = slope(0.0).0.abs();
        for _ in 0..limits::SEARCH {
            let (value, rate) = slope(t);
            if value.abs() <= limits::SEARCHED * first {
                break;
            }
            if value > 0.0 {
                high = t
            } else {
                low = t
            }
            let next = t - value / rate;
            t = if next > low && next < high {
                next
            } else if high.is_finite() {
                0.5 * (low + high)
            } else {
                2.0 * t
            };
        }
        t
    }

    fn point(&self) -> Scaled {
        Scaled { x: self.x.clone(), y: self.y_next.clone(), u: self.u_next.clone(), cx: self.cx.clone() }
    }

    /// Judges the present point; true if it is a solution.
    fn look(&mut self, model: &mut Model) -> Step<bool> {
        let point = self.point();
        let (residuals, objective) = worth(model, &point, &self.px, &self.cx, &self.cty);
        Ok(self.offer(Settled { point, residuals, objective }))
    }

    fn offer(&mut self, found: Settled) -> bool {
        let better = self.best.as_ref().is_none_or(|b| found.residuals.relative() < b.residuals.relative());
        let done = better && found.residuals.within(self.settings.eps_abs, self.settings.eps_rel, 1.0);
        if better {
            self.best = Some(found);
        }
        done
    }

    /// The rows and bounds that are active now, solved as equations.
    fn settle(&mut self, model: &mut Model) -> Step<bool> {
        // the gap is a sum of many terms, and large long after the set is known
        let near = |r: &Residuals| {
            r.primal <= limits::SETTLE * (1.0 + r.primal_scale) && r.dual <= limits::SETTLE * (1.0 + r.dual_scale)
        };
        if !self.best.as_ref().is_some_and(|b| near(&b.residuals)) {
            return Ok(false);
        }
        let found = settle::settle(model, self.point(), &self.settings)?;
        Ok(self.offer(found))
    }

    fn proofs(&mut self, model: &mut Model) -> Step<Option<(Status, Option<Certificate>)>> {
        let dy: Vec<f64> = self.y_next.iter().zip(&self.y).map(|(a, b)| a - b).collect();
        if let Some(found) = proof::primal(model, &dy)? {
            return Ok(Some((Status::PrimalInfeasible, Some(found))));
        }
        let dx: Vec<f64> = self.x.iter().zip(&self.center).map(|(a, b)| a - b).collect();
        Ok(proof::dual(model, &dx)?.map(|found| (Status::DualInfeasible, Some(found))))
    }

    /// The next round: multipliers, center, penalties of what is still missed.
    fn next(&mut self, model: &mut Model, before: &(Vec<f64>, Vec<f64>)) -> Step<(Vec<f64>, Vec<f64>)> {
        self.y.copy_from_slice(&self.y_next);
        self.u.copy_from_slice(&self.u_next);
        self.center.copy_from_slice(&self.x);
        self.gamma = (self.gamma * limits::TIGHTEN).max(limits::LEAST_GAMMA);
        let missed = self.missed(model);
        let largest = norm_inf(&missed.0).max(norm_inf(&missed.1));
        let grow = |rho: &mut [f64], now: &[f64], old: &[f64]| {
            for i in 0..rho.len() {
                if now[i] > limits::SHRUNK * old[i] && now[i] > 0.0 {
                    let factor = (limits::GROW * now[i] / largest).max(1.0);
                    rho[i] = (rho[i] * factor).min(limits::MOST_RHO);
                }
            }
        };
        grow(&mut self.rho, &missed.0, &before.0);
        grow(&mut self.rho_box, &missed.1, &before.1);
        // sums of many steps are made anew
        self.products(model)?;
        Ok(missed)
    }
}

/// The matrix of a Newton step.
struct Newton<'a> {
    model: &'a mut Model,
    /// Penalties of the rows and variables outside their sides, 0 inside; `gamma` joins those of the variables.
    rows: Vec<f64>,
    bounds: Vec<f64>,
    h: Vec<f64>,
    few: Option<Few>,
    y: Vec<f64>,
}

impl<'a> Newton<'a> {
    fn new(model: &'a mut Model, at: &Solver) -> Self {
        let (n, m) = (at.x.len(), at.cx.len());
        let rows: Vec<f64> = (0..m)
            .map(|i| if at.y_next[i] != 0.0 || model.rows.0[i] == model.rows.1[i] { at.rho[i] } else { 0.0 })
            .collect();
        let bounds: Vec<f64> = (0..n)
            .map(|j| {
                let held = at.u_next[j] != 0.0 || model.bounds.0[j] == model.bounds.1[j];
                at.gamma + if held { at.rho_box[j] } else { 0.0 }
            })
            .collect();
        let units = model.units.clone();
        let own = |j: usize| units.curvature[j] + bounds[j];
        let h: Vec<f64> = (0..n).map(|j| 1.0 / own(j)).collect();
        let kept: Vec<bool> = rows.iter().map(|r| *r > 0.0).collect();
        let few = Few::new(&units.few, &h, &kept, |i| 1.0 / rows[i]);
        let mean = rows.iter().sum::<f64>() / m.max(1) as f64;
        let h = match few {
            Some(_) => h,
            None => (0..n).map(|j| 1.0 / (own(j) + mean * units.columns[j])).collect(),
        };
        Newton { model, rows, bounds, h, few, y: vec![0.0; m] }
    }
}

impl Symmetric for Newton<'_> {
    fn apply(&mut self, x: &[f64], out: &mut [f64]) -> Step<()> {
        self.model.p(x, out)?;
        self.model.c(x, &mut self.y)?;
        self.y.iter_mut().zip(&self.rows).for_each(|(y, r)| *y *= r);
        self.model.ct_add(&self.y, out)?;
        out.iter_mut().zip(x.iter().zip(&self.bounds)).for_each(|(o, (x, d))| *o += d * x);
        Ok(())
    }

    fn precondition(&mut self, r: &[f64], out: &mut [f64]) {
        match &self.few {
            Some(few) => few.inverse(&self.h, r, out),
            None => out.iter_mut().zip(r.iter().zip(&self.h)).for_each(|(o, (r, h))| *o = r * h),
        }
    }
}
