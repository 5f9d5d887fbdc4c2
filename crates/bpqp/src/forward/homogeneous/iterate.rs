//! The iteration on the homogeneous embedding: Mehrotra's predictor and corrector with Nesterov-Todd scaling.
//!
//! ```text
//! P x + E'y + R'z + q tau = 0      E x = b tau      R x + s = h tau
//! x'P x/tau + q'x + b'y + h'z + kappa = 0           s, z in K      tau, kappa >= 0
//! ```
//!
//! has a solution other than zero: with `tau > 0` it is one of the problem, with `kappa > 0` a proof that there is none.

use super::program::Program;
use super::scaling::Scaling;
use super::system::System;
use crate::matrix::{Hessian, dot, nan_max, norm_inf};

/// Part of the way to the boundary.
const TO_BOUNDARY: f64 = 0.99;

/// What complementarity may be off by relative to its scaled variables, and at least.
const CENTRALITY: f64 = 1e-4;
const EXACT: f64 = 1e-12;

/// True without P.
fn is_linear(program: &Program) -> bool {
    matches!(*program.p, Hessian::Zero(_))
}

/// A point of the embedding.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub z: Vec<f64>,
    pub s: Vec<f64>,
    pub tau: f64,
    pub kappa: f64,
}

impl State {
    fn copy_from(&mut self, other: &State) {
        self.x.copy_from_slice(&other.x);
        self.y.copy_from_slice(&other.y);
        self.z.copy_from_slice(&other.z);
        self.s.copy_from_slice(&other.s);
        (self.tau, self.kappa) = (other.tau, other.kappa);
    }
}

/// What a point is worth, in the units of the problem.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measures {
    pub primal: f64,
    pub dual: f64,
    pub gap: f64,
    pub relative_gap: f64,
    pub kappa_tau: f64,
    /// Of proofs: violation of the equations relative to the value, infinite where the value has the wrong sign.
    pub primal_proof: f64,
    pub dual_proof: f64,
}

impl Measures {
    /// The larger of the residuals and the gap.
    pub fn worst(&self) -> f64 {
        nan_max(nan_max(self.primal, self.dual), self.gap.min(self.relative_gap))
    }

    pub fn solved(&self, gap: f64, residual: f64) -> bool {
        self.kappa_tau <= 1.0
            && (self.gap <= gap || self.relative_gap <= gap)
            && self.primal <= residual
            && self.dual <= residual
    }
}

pub(super) struct Iterate {
    pub at: State,
    pub best: State,
    step: State,
    /// Residuals, and the parts of them without `tau`.
    rx: Vec<f64>,
    ry: Vec<f64>,
    rz: Vec<f64>,
    px: Vec<f64>,
    force: Vec<f64>,
    products: (f64, f64, f64),
    r_tau: f64,
    pub mu: f64,
    /// What complementarity may be off by, in scaled units.
    accuracy: f64,
    /// The solution for the constant right-hand side.
    cx: Vec<f64>,
    cy: Vec<f64>,
    cz: Vec<f64>,
    /// What the change of `tau` is divided by.
    denominator: f64,
    ds: Vec<f64>,
}

impl Iterate {
    pub fn new(program: &Program) -> Self {
        let (n, m, p) = (program.n(), program.b.len(), program.h.len());
        let v = |n: usize| vec![0.0; n];
        let state = || State { x: v(n), y: v(m), z: v(p), s: v(p), tau: 1.0, kappa: 1.0 };
        Iterate {
            at: state(),
            best: state(),
            step: state(),
            rx: v(n),
            ry: v(m),
            rz: v(p),
            px: v(n),
            force: v(n),
            products: (0.0, 0.0, 0.0),
            r_tau: 0.0,
            mu: 0.0,
            accuracy: EXACT,
            cx: v(n),
            cy: v(m),
            cz: v(p),
            denominator: 0.0,
            ds: v(p),
        }
    }

    /// The point nearest to the equations, moved inside.
    pub fn start(&mut self, program: &mut Program, scaling: &mut Scaling, system: &mut System) -> bool {
        scaling.unit();
        system.start();
        if !system.factor(program, scaling) {
            return false;
        }
        self.accuracy = EXACT;
        let State { x, y, z, s, tau, kappa } = &mut self.at;
        let linear = program.p.is_zero();
        x.iter_mut().zip(&program.q).for_each(|(x, q)| *x = if linear { 0.0 } else { -q });
        y.copy_from_slice(&program.b);
        z.copy_from_slice(&program.h);
        if !system.solve(program, scaling, self.accuracy, [x, y, z]) {
            return false;
        }
        s.iter_mut().zip(&*z).for_each(|(s, z)| *s = -z);
        if linear {
            self.cx.iter_mut().zip(&program.q).for_each(|(x, q)| *x = -q);
            y.fill(0.0);
            z.fill(0.0);
            if !system.solve_roughly(program, scaling, self.accuracy, [&mut self.cx, y, z]) {
                return false;
            }
        }
        for v in [s, z] {
            let margin = scaling.margin(v);
            if margin.least.is_nan() {
                return false;
            }
            let target = (0.1 * margin.positive / scaling.degree).max(1.0);
            if margin.least < target {
                scaling.shift(target - margin.least, v);
            }
        }
        (*tau, *kappa) = (1.0, 1.0);
        true
    }

    /// Residuals and what they are worth.
    pub fn measure(&mut self, program: &mut Program, scaling: &Scaling) -> Measures {
        let State { x, y, z, s, tau, kappa } = &self.at;
        let (tau, kappa) = (*tau, *kappa);
        self.px.fill(0.0);
        program.p_mul_add(1.0, x, &mut self.px);
        self.force.fill(0.0);
        program.e_tmul_add(1.0, y, &mut self.force);
        program.r_tmul_add(1.0, z, &mut self.force);
        self.ry.fill(0.0);
        program.e_mul_add(1.0, x, &mut self.ry);
        self.rz.copy_from_slice(s);
        program.r_mul_add(1.0, x, &mut self.rz);
        let (qx, bz) = (dot(&program.q, x), dot(&program.b, y) + dot(&program.h, z));
        let xpx = if is_linear(program) { 0.0 } else { dot(x, &self.px) };
        self.products = (qx, bz, xpx);
        self.mu = (dot(s, z) + tau * kappa) / (scaling.degree + 1.0);
        // of proofs, before the constants come in
        let cost = program.cost;
        let (d, e, r) = (&program.d, &program.e, &program.r);
        let plain = program.plain;
        let scaled = |v: &[f64], f: &[f64]| match plain {
            true => norm_inf(v),
            false => v.iter().zip(f).fold(0.0_f64, |m, (v, f)| m.max((v * f).abs())),
        };
        let size = |v: &[f64], f: &[f64]| if plain { norm_inf(v) } else { Program::size(v, f) };
        let size_x = scaled(x, d);
        let size_z = scaled(z, r).max(scaled(y, e)) / cost;
        let size_s = size(s, r);
        let size_px = if is_linear(program) { 0.0 } else { size(&self.px, d) / cost };
        let size_force = size(&self.force, d) / cost;
        let rows = nan_max(size(&self.ry, e), size(&self.rz, r));
        let proof = |violation: f64, value: f64| if value < 0.0 { violation / -value } else { f64::INFINITY };
        let primal_proof = proof(size_force / size_z.max(f64::MIN_POSITIVE), bz / cost / size_z.max(f64::MIN_POSITIVE));
        let unit = size_x.max(f64::MIN_POSITIVE);
        let dual_proof = proof(nan_max(size_px, rows) / unit, qx / cost / unit);
        let size_rows = size_x.max(size_s);
        self.rx.iter_mut().zip(self.px.iter().zip(&self.force).zip(&program.q)).for_each(|(r, ((p, f), q))| {
            *r = p + f + q * tau;
        });
        self.ry.iter_mut().zip(&program.b).for_each(|(r, b)| *r -= b * tau);
        self.rz.iter_mut().zip(&program.h).for_each(|(r, h)| *r -= h * tau);
        self.r_tau = qx + bz + kappa + xpx / tau;
        let (rhs, q) = program.norms;
        let primal = nan_max(size(&self.ry, e), size(&self.rz, r)) / tau;
        let dual = size(&self.rx, d) / (tau * cost);
        let curvature = 0.5 * xpx / (tau * tau);
        let (upper, lower) = ((qx / tau + curvature) / cost, (-bz / tau - curvature) / cost);
        let gap = (upper - lower).abs();
        Measures {
            primal: primal / (rhs.max(size_rows / tau)).max(1.0),
            dual: dual / (q.max(size_px.max(size_force) / tau)).max(1.0),
            gap,
            relative_gap: gap / upper.abs().min(lower.abs()).max(1.0),
            kappa_tau: kappa / tau,
            primal_proof,
            dual_proof,
        }
    }

    /// Keeps the point as the best one.
    pub fn keep(&mut self) {
        self.best.copy_from(&self.at);
    }

    /// Goes back to the best one.
    pub fn go_back(&mut self) {
        self.at.copy_from(&self.best);
    }

    /// Solves for the step: the residuals times `part`, complementarity `ds` (in `self.ds`) and `of_tau`; of a predictor, from
    /// which nothing but a length and products of second order are taken, to a few digits.
    fn direction(
        &mut self,
        program: &mut Program,
        scaling: &mut Scaling,
        system: &mut System,
        (part, of_tau): (f64, f64),
        predictor: bool,
    ) -> bool {
        let State { x, y, z, s, tau: d_tau, kappa: d_kappa } = &mut self.step;
        let (tau, kappa) = (self.at.tau, self.at.kappa);
        x.iter_mut().zip(&self.rx).for_each(|(x, r)| *x = -part * r);
        y.iter_mut().zip(&self.ry).for_each(|(y, r)| *y = -part * r);
        z.iter_mut().zip(self.rz.iter().zip(&self.ds)).for_each(|(z, (r, ds))| *z = ds - part * r);
        let solved = if predictor {
            system.solve_roughly(program, scaling, self.accuracy, [x, y, z])
        } else {
            system.solve(program, scaling, self.accuracy, [x, y, z])
        };
        if !solved {
            return false;
        }
        // (q + 2 P x/tau)'v, without P where it is zero
        let curved = if is_linear(program) { 0.0 } else { 2.0 * dot(&self.px, x) / tau };
        let along = dot(&program.q, x) + curved;
        let numerator = part * self.r_tau - of_tau / tau + along + dot(&program.b, y) + dot(&program.h, z);
        *d_tau = numerator / self.denominator;
        if !d_tau.is_finite() {
            return false;
        }
        let by = *d_tau;
        x.iter_mut().zip(&self.cx).for_each(|(x, c)| *x += by * c);
        y.iter_mut().zip(&self.cy).for_each(|(y, c)| *y += by * c);
        z.iter_mut().zip(&self.cz).for_each(|(z, c)| *z += by * c);
        // from the rows rather than as `-ds - H z`, whose rounding grows with H and would stay in the residuals
        s.iter_mut().zip(self.rz.iter().zip(&program.h)).for_each(|(s, (r, h))| *s = by * h - part * r);
        program.r_mul_add(-1.0, x, s);
        *d_kappa = -(of_tau + kappa * by) / tau;
        true
    }

    /// The longest step up to 1.
    fn longest(&self, scaling: &mut Scaling) -> f64 {
        let (at, step) = (&self.at, &self.step);
        let ratio = |v: f64, d: f64| if d < 0.0 { -v / d } else { 1.0 };
        let most = ratio(at.tau, step.tau).min(ratio(at.kappa, step.kappa)).min(1.0);
        scaling.step((&at.s, &at.z), (&step.s, &step.z), most)
    }

    /// One iteration; the length of the step, `None` if a system broke down.
    pub fn advance(
        &mut self,
        program: &mut Program,
        scaling: &mut Scaling,
        system: &mut System,
        first: bool,
    ) -> Option<f64> {
        if !scaling.update(&self.at.s, &self.at.z) || !system.factor(program, scaling) {
            return None;
        }
        self.accuracy = (CENTRALITY * self.mu.sqrt()).max(EXACT);
        self.cx.iter_mut().zip(&program.q).for_each(|(c, q)| *c = -q);
        self.cy.copy_from_slice(&program.b);
        self.cz.copy_from_slice(&program.h);
        if !system.solve(program, scaling, self.accuracy, [&mut self.cx, &mut self.cy, &mut self.cz]) {
            return None;
        }
        let (tau, kappa) = (self.at.tau, self.at.kappa);
        self.denominator =
            kappa / tau - dot(&program.q, &self.cx) - dot(&program.b, &self.cy) - dot(&program.h, &self.cz);
        if !is_linear(program) {
            // |c - x/tau|^2 - |c|^2 in the norm of P
            self.denominator += (self.products.2 / tau - 2.0 * dot(&self.px, &self.cx)) / tau;
        }
        self.ds.copy_from_slice(&self.at.s);
        if !self.direction(program, scaling, system, (1.0, tau * kappa), true) {
            return None;
        }
        let length = self.longest(scaling);
        let sigma = (1.0 - length).powi(3);
        let (part, target) = (if first { length } else { 1.0 }, sigma * self.mu);
        let State { s, z, .. } = &self.at;
        scaling.corrected((s, z), (&self.step.s, &self.step.z), part, target, &mut self.ds);
        let of_tau = tau * kappa + part * self.step.tau * self.step.kappa - target;
        if !self.direction(program, scaling, system, (1.0 - sigma, of_tau), false) {
            return None;
        }
        let length = TO_BOUNDARY * self.longest(scaling);
        let (at, step) = (&mut self.at, &self.step);
        let add = |v: &mut [f64], d: &[f64]| v.iter_mut().zip(d).for_each(|(v, d)| *v += length * d);
        add(&mut at.x, &step.x);
        add(&mut at.y, &step.y);
        add(&mut at.z, &step.z);
        add(&mut at.s, &step.s);
        at.tau += length * step.tau;
        at.kappa += length * step.kappa;
        (length.is_finite() && at.tau > 0.0 && at.kappa >= 0.0).then_some(length)
    }
}
