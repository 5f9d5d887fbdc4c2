//! Where the method begins: inside the bounds, with the scales of the gradients there.

use super::super::{At, SmoothProgram, Values};
use super::point::largest_in_rows;
use super::{Goal, Interior, Scales};
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
            x,
        };
        out.values = out.scaled(values);
        out.s = out.values.inequality.iter().map(|g| (-g).max(PUSH)).collect();
        out.z = out.s.iter().map(|s| (mu / s).clamp(1e-8, 1.0).max(mu)).collect();
        Ok(out)
    }
}
