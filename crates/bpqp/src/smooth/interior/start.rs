//! Where the method begins: inside the bounds, with the scales of the gradients there.

use super::super::{At, SmoothProgram, Values};
use super::point::largest_in_rows;
use super::{Goal, Interior, Reached, Scales};
use crate::Error;
use crate::matrix::{Keep, norm_inf};
use crate::thresholds::interior::*;

impl<'a> Interior<'a> {
    /// `x0` has an entry for each variable.
    pub(super) fn start(program: &'a mut dyn SmoothProgram, x0: &[f64], goal: Goal) -> Result<Self, Error> {
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
            known: false,
            x,
        };
        out.values = out.scaled(values);
        out.s = out.values.inequality.iter().map(|g| (-g).max(PUSH)).collect();
        out.z = out.s.iter().map(|s| (mu / s).clamp(1e-8, 1.0).max(mu)).collect();
        Ok(out)
    }
}

impl Interior<'_> {
    /// Takes the multipliers of a similar program, and its point as near to the bounds as they say: a slack is the barrier by its
    /// multiplier, where it was less. False where the functions are no numbers.
    pub(super) fn warm(&mut self, near: &Reached) -> Result<bool, Error> {
        let (n, mu, f) = (self.x.len(), self.mu, self.scales.f);
        let off = |z: f64| mu / z.max(mu.sqrt());
        for j in (0..n).filter(|&j| !self.fixed[j]) {
            let (low, high) = (f * (-near.z_box[j]).max(0.0), f * near.z_box[j].max(0.0));
            let half = 0.5 * (self.ub[j] - self.lb[j]);
            self.x[j] = near.x[j].max(self.lb[j] + off(low).min(half)).min(self.ub[j] - off(high).min(half));
            if self.lb[j].is_finite() {
                self.zl[j] = low.max(mu / (self.x[j] - self.lb[j]));
            }
            if self.ub[j].is_finite() {
                self.zu[j] = high.max(mu / (self.ub[j] - self.x[j]));
            }
        }
        let x = self.x.clone();
        let Some(values) = self.look(&x)? else { return Ok(false) };
        self.values = values;
        self.y = near.y.iter().zip(&self.scales.c).map(|(y, scale)| y * f / scale).collect();
        for i in 0..self.z.len() {
            let z = f * near.z[i].max(0.0) / self.scales.g[i];
            self.s[i] = (-self.values.inequality[i]).max(off(z));
            self.z[i] = z.max(mu / self.s[i]);
        }
        Ok(true)
    }
}
