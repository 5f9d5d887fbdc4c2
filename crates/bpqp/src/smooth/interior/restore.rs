//! Restoration: a point that misses the rows less, by the same method on the program whose rows may be missed at a price.

use super::super::model::each_entry;
use super::super::{At, Expansion, Pushed, SmoothProgram, Values};
use super::{Goal, Interior, Scales};
use crate::matrix::{Csc, Hessian, Matrix, norm_inf};
use crate::thresholds::interior::*;
use crate::{Deadline, Error};
use std::cell::Cell;

impl Interior<'_> {
    /// A point that is less violated and passes the filter. False if there is none in sight.
    pub(super) fn restore(&mut self, deadline: &Deadline) -> Result<bool, Error> {
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
