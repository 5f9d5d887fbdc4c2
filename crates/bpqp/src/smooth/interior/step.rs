//! A direction of everything from one sparse KKT system, and how far it may go.

use super::Interior;
use crate::Error;
use crate::kkt::{KktData, KktFactor, SparseKkt};
use crate::matrix::{Hessian, Keep, Matrix, norm_inf};
use crate::thresholds::interior::*;
use std::sync::Arc;

/// A direction of everything.
#[derive(Default, Clone)]
pub(super) struct Step {
    pub x: Vec<f64>,
    pub s: Vec<f64>,
    pub y: Vec<f64>,
    pub z: Vec<f64>,
    pub zl: Vec<f64>,
    pub zu: Vec<f64>,
}

impl Interior<'_> {
    /// Factors the system, with curvature added where the inertia asks for it. False if no amount helps.
    pub(super) fn factor(&mut self) -> Result<bool, Error> {
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
    pub(super) fn direction(&mut self, c: &[f64], g: &[f64]) -> Option<Step> {
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
    pub(super) fn lengths(&self, step: &Step) -> (f64, f64) {
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

    pub(super) fn moved(&self, step: &Step, length: f64) -> (Vec<f64>, Vec<f64>) {
        let along = |v: &[f64], d: &[f64]| v.iter().zip(d).map(|(v, d)| v + length * d).collect::<Vec<f64>>();
        (along(&self.x, &step.x), along(&self.s, &step.s))
    }

    /// Multipliers of the equalities that leave least of the forces; zero if they are large.
    pub(super) fn estimate(&mut self) -> Result<(), Error> {
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
}
