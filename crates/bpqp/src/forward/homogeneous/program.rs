//! The problem in the form that the iteration works on:
//!
//! ```text
//! minimize 1/2 x'P x + q'x   subject to   E x = b,   R x + s = h,   s in K
//! ```
//!
//! `E` are the rows of A, then one row for each variable whose bounds meet. `R` are the rows of G with a finite right-hand
//! side, `-x_i` for lower bounds, `x_i` for upper ones, and the rows of C; neither is ever formed. All of it is equilibrated,
//! with one factor for all rows of a cone.

use crate::cones::{Cone, blocks};
use crate::forward::clarabel::Rows;
use crate::forward::scaling::{COST_LIMIT, WELL_SCALED};
use crate::kkt::{APART, power_of_two, raise_rows, ruiz};
use crate::matrix::{Hessian, Matrix, norm_inf};
use crate::{Point, Qp};
use std::sync::Arc;

/// Sweeps of the equilibration, and the largest exponent of its factors.
const SWEEPS: usize = 10;
const LIMIT: f64 = 20.0;
/// Spread of row and column norms up to which nothing is scaled.
const SPREAD: f64 = 1e2;

/// The scaled problem.
pub(super) struct Program {
    of: Qp,
    pub p: Arc<Hessian>,
    pub a: Arc<Matrix>,
    pub g: Arc<Matrix>,
    pub c: Arc<Matrix>,
    pub q: Vec<f64>,
    pub b: Vec<f64>,
    pub h: Vec<f64>,
    pub rows: Rows,
    /// Rows of `R` before the curved cones.
    pub linear: usize,
    /// Factors of the variables, of the rows of `E` and of `R`, and of the objective.
    pub d: Vec<f64>,
    pub e: Vec<f64>,
    pub r: Vec<f64>,
    pub cost: f64,
    /// All factors but that of the objective are 1.
    pub plain: bool,
    /// The largest entry of a column of `D P D`.
    curvature: f64,
    /// Largest entries of the right-hand sides and of the linear term in the units of the problem.
    pub norms: (f64, f64),
    /// Of all rows of A, G and C, as they were found.
    factors: Vec<f64>,
    wide: Vec<f64>,
    work: Vec<f64>,
}

/// Whether the bounds and right-hand sides are finite, and fixed variables fixed, where these rows say so.
fn suit(rows: &Rows, qp: &Qp) -> bool {
    let fixed = |i: usize| qp.lb[i] == qp.ub[i];
    let same = |listed: &[usize], all: usize, is: &dyn Fn(usize) -> bool| {
        let mut next = listed.iter();
        (0..all).filter(|&i| is(i)).all(|i| next.next() == Some(&i)) && next.next().is_none()
    };
    let n = qp.n();
    same(&rows.fixed, n, &fixed)
        && same(&rows.inequality, qp.h.len(), &|i| qp.h[i].is_finite())
        && same(&rows.upper, n, &|i| !fixed(i) && qp.ub[i].is_finite())
        && same(&rows.lower, n, &|i| !fixed(i) && qp.lb[i].is_finite())
}

impl Program {
    pub fn new(qp: &Qp) -> Self {
        let rows = Rows::new(qp);
        let linear = rows.inequality.len() + rows.lower.len() + rows.upper.len();
        let (m, p) = (qp.n_equality() + rows.fixed.len(), linear + qp.n_cone());
        let mut out = Program {
            of: qp.clone(),
            p: qp.p.clone(),
            a: qp.a.clone(),
            g: qp.g.clone(),
            c: qp.c.clone(),
            q: vec![0.0; qp.n()],
            b: vec![0.0; m],
            h: vec![0.0; p],
            rows,
            linear,
            d: vec![1.0; qp.n()],
            e: vec![1.0; m],
            r: vec![1.0; p],
            cost: 1.0,
            plain: true,
            curvature: 0.0,
            norms: (0.0, 0.0),
            factors: Vec::new(),
            wide: vec![0.0; qp.n_inequality()],
            work: Vec::new(),
        };
        out.equilibrate(qp);
        out.cost = out.cost_of(qp);
        out.scale_hessian(qp);
        out.scale_vectors(qp);
        out
    }

    pub fn n(&self) -> usize {
        self.q.len()
    }

    /// Takes other numbers; `None` if other bounds are finite. Says whether P, and whether rows are others.
    pub fn update(&mut self, qp: &Qp) -> Option<(bool, bool)> {
        if !suit(&self.rows, qp) {
            return None;
        }
        let old = &self.of;
        let rows = !(Arc::ptr_eq(&old.a, &qp.a) && Arc::ptr_eq(&old.g, &qp.g) && Arc::ptr_eq(&old.c, &qp.c));
        let mut hessian = !Arc::ptr_eq(&old.p, &qp.p);
        let changed = hessian || rows;
        if changed {
            self.equilibrate(qp);
        }
        let cost = self.cost_of(qp);
        hessian |= cost != self.cost;
        self.cost = cost;
        if changed || hessian {
            self.scale_hessian(qp);
        }
        self.of = qp.clone();
        self.scale_vectors(qp);
        // other factors of the variables change both
        Some((changed || hessian, changed))
    }

    /// Finds the factors of variables and rows, and scales the rows.
    fn equilibrate(&mut self, qp: &Qp) {
        let data = qp.kkt();
        let (n, m) = (data.n(), data.m());
        let mut largest = std::mem::take(&mut self.work);
        let mut factors = std::mem::take(&mut self.factors);
        factors.clear();
        factors.resize(n + m, 1.0);
        largest.clear();
        largest.resize(n + m, 0.0);
        let first = n + qp.n_equality() + qp.n_inequality();
        // a cone is scaled as a whole
        let tie = |largest: &mut [f64]| {
            for (_, rows) in blocks(&qp.cones) {
                let own = &mut largest[first + rows.start..first + rows.end];
                let all = own.iter().fold(0.0_f64, |m, v| m.max(*v));
                own.fill(all);
            }
        };
        qp.p.raise_columns(&factors[..n], &mut largest[..n]);
        raise_rows(data, &factors, &mut largest);
        tie(&mut largest);
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for &v in largest.iter().filter(|v| **v > 0.0) {
            (low, high) = (low.min(v), high.max(v));
        }
        let identity = high <= 0.0 || (high / low <= SPREAD && (1.0 / SPREAD..=SPREAD).contains(&high));
        if !identity {
            let entries = |f: &mut dyn FnMut(usize, usize, f64)| {
                data.for_each_row_entry(|i, j, v| f(n + i, j, v));
                qp.p.diagonal().iter().enumerate().for_each(|(j, &v)| f(j, j, v));
            };
            let raise = |factors: &[f64], largest: &mut [f64]| {
                qp.p.raise_columns(&factors[..n], &mut largest[..n]);
                raise_rows(data, factors, largest);
                tie(largest);
            };
            ruiz(SWEEPS, LIMIT.exp2(), (&mut factors, &mut largest), (APART, &entries), raise);
            // geometric means know nothing of cones
            for (_, rows) in blocks(&qp.cones) {
                let own = &mut factors[first + rows.start..first + rows.end];
                let mean = own.iter().map(|v| v.log2()).sum::<f64>() / own.len().max(1) as f64;
                own.fill(mean.exp2());
            }
            factors.iter_mut().for_each(|v| *v = power_of_two(*v, LIMIT));
        }
        self.plain = identity;
        self.d.copy_from_slice(&factors[..n]);
        let mut end = n;
        let [a, g, c] = data.rows.map(|block| {
            let own = &factors[end..end + block.nrows()];
            end += block.nrows();
            if identity || block.nrows() == 0 { block.clone() } else { Arc::new(block.scaled(own, &self.d)) }
        });
        (self.a, self.g, self.c) = (a, g, c);
        let (m, k) = (qp.n_equality(), qp.n_inequality());
        self.e[..m].copy_from_slice(&factors[n..n + m]);
        self.rows.fixed.iter().zip(&mut self.e[m..]).for_each(|(&i, e)| *e = 1.0 / self.d[i]);
        let Rows { inequality, lower, upper, .. } = &self.rows;
        let linear = inequality.iter().map(|&i| factors[n + m + i]);
        let bounds = lower.iter().chain(upper).map(|&i| 1.0 / self.d[i]);
        let all = linear.chain(bounds).chain(factors[n + m + k..].iter().copied());
        self.r.iter_mut().zip(all).for_each(|(r, factor)| *r = factor);
        let columns = &mut largest[..n];
        columns.fill(0.0);
        qp.p.raise_columns(&self.d, columns);
        self.curvature = columns.iter().fold(0.0_f64, |m, v| m.max(*v));
        (self.factors, self.work) = (factors, largest);
    }

    /// The factor that brings the objective near 1 where it is far from it.
    fn cost_of(&self, qp: &Qp) -> f64 {
        let linear = qp.q.iter().zip(&self.d).fold(0.0_f64, |m, (q, d)| m.max((q * d).abs()));
        let size = linear.max(self.curvature);
        let plain = size <= 0.0 || (1.0 / WELL_SCALED..=WELL_SCALED).contains(&size);
        if plain { 1.0 } else { power_of_two(1.0 / size, COST_LIMIT) }
    }

    fn scale_hessian(&mut self, qp: &Qp) {
        let plain = self.cost == 1.0 && self.d.iter().all(|d| *d == 1.0);
        self.p = if plain { qp.p.clone() } else { Arc::new(qp.p.scaled(self.cost, &self.d)) };
    }

    fn scale_vectors(&mut self, qp: &Qp) {
        let (d, rows) = (&self.d, &self.rows);
        self.q.iter_mut().zip(qp.q.iter().zip(d)).for_each(|(own, (q, d))| *own = self.cost * q * d);
        let b = qp.b.iter().copied().chain(rows.fixed.iter().map(|&i| qp.lb[i]));
        self.b.iter_mut().zip(b.zip(&self.e)).for_each(|(own, (b, e))| *own = b * e);
        let linear = rows.inequality.iter().map(|&i| qp.h[i]);
        let bounds = rows.lower.iter().map(|&i| -qp.lb[i]).chain(rows.upper.iter().map(|&i| qp.ub[i]));
        let h = linear.chain(bounds).chain(qp.d.iter().copied());
        self.h.iter_mut().zip(h.zip(&self.r)).for_each(|(own, (h, r))| *own = h * r);
        let rhs = Self::size(&self.b, &self.e).max(Self::size(&self.h, &self.r));
        self.norms = (rhs, norm_inf(&qp.q));
    }

    /// `out += alpha P x`.
    pub fn p_mul_add(&mut self, alpha: f64, x: &[f64], out: &mut [f64]) {
        if !matches!(*self.p, Hessian::Zero(_)) {
            self.p.mul_add(alpha, x, out, &mut self.work);
        }
    }

    /// `out += alpha E x`.
    pub fn e_mul_add(&self, alpha: f64, x: &[f64], out: &mut [f64]) {
        let m = self.a.nrows();
        if m > 0 {
            self.a.mul_add(alpha, x, &mut out[..m]);
        }
        self.rows.fixed.iter().zip(&mut out[m..]).for_each(|(&i, o)| *o += alpha * x[i]);
    }

    /// `out += alpha E'y`.
    pub fn e_tmul_add(&self, alpha: f64, y: &[f64], out: &mut [f64]) {
        let m = self.a.nrows();
        if m > 0 {
            self.a.tmul_add(alpha, &y[..m], out);
        }
        self.rows.fixed.iter().zip(&y[m..]).for_each(|(&i, y)| out[i] += alpha * y);
    }

    /// `out += alpha R x`.
    pub fn r_mul_add(&mut self, alpha: f64, x: &[f64], out: &mut [f64]) {
        let Rows { inequality, lower, upper, .. } = &self.rows;
        let (linear, rest) = out.split_at_mut(inequality.len());
        if linear.len() == self.g.nrows() && !linear.is_empty() {
            self.g.mul_add(alpha, x, linear);
        } else if !linear.is_empty() {
            self.wide.fill(0.0);
            self.g.mul_add(alpha, x, &mut self.wide);
            inequality.iter().zip(linear).for_each(|(&i, o)| *o += self.wide[i]);
        }
        let (below, rest) = rest.split_at_mut(lower.len());
        let (above, curved) = rest.split_at_mut(upper.len());
        lower.iter().zip(below).for_each(|(&i, o)| *o -= alpha * x[i]);
        upper.iter().zip(above).for_each(|(&i, o)| *o += alpha * x[i]);
        if !curved.is_empty() {
            self.c.mul_add(alpha, x, curved);
        }
    }

    /// `out += alpha R'z`.
    pub fn r_tmul_add(&mut self, alpha: f64, z: &[f64], out: &mut [f64]) {
        let Rows { inequality, lower, upper, .. } = &self.rows;
        let (linear, rest) = z.split_at(inequality.len());
        if linear.len() == self.g.nrows() && !linear.is_empty() {
            self.g.tmul_add(alpha, linear, out);
        } else if !linear.is_empty() {
            self.wide.fill(0.0);
            inequality.iter().zip(linear).for_each(|(&i, z)| self.wide[i] = *z);
            self.g.tmul_add(alpha, &self.wide, out);
        }
        let (below, rest) = rest.split_at(lower.len());
        let (above, curved) = rest.split_at(upper.len());
        lower.iter().zip(below).for_each(|(&i, z)| out[i] -= alpha * z);
        upper.iter().zip(above).for_each(|(&i, z)| out[i] += alpha * z);
        if !curved.is_empty() {
            self.c.tmul_add(alpha, curved, out);
        }
    }

    /// The largest entry of `v` in the units of the problem: of a residual of stationarity, or of slacks, times `1/factor`.
    pub fn size(v: &[f64], factors: &[f64]) -> f64 {
        v.iter().zip(factors).fold(0.0_f64, |m, (v, f)| {
            let v = (v / f).abs();
            if v > m || v.is_nan() { v } else { m }
        })
    }

    /// Writes `(x, y, z, s)`, all times `1/tau`, as a point of the problem.
    pub fn write(&self, (x, y, z, s): (&[f64], &[f64], &[f64], &[f64]), tau: f64, out: &mut Point) {
        out.reset(&self.of);
        let (objective, m) = (1.0 / (tau * self.cost), self.a.nrows());
        out.x.iter_mut().zip(x.iter().zip(&self.d)).for_each(|(o, (x, d))| *o = x * d / tau);
        let mut y = y.iter().zip(&self.e).map(|(y, e)| y * e * objective);
        out.y.iter_mut().for_each(|o| *o = y.next().unwrap_or(0.0));
        debug_assert_eq!(out.y.len(), m);
        let Rows { inequality, lower, upper, fixed } = &self.rows;
        for &i in fixed {
            out.x[i] = self.of.lb[i];
            out.z_box[i] = y.next().unwrap_or(0.0);
        }
        let mut rows = z.iter().zip(&self.r).map(|(z, r)| z * r * objective);
        let mut next = || rows.next().unwrap_or(0.0);
        inequality.iter().for_each(|&i| out.z[i] = next());
        lower.iter().for_each(|&i| out.z_box[i] -= next());
        upper.iter().for_each(|&i| out.z_box[i] += next());
        out.y_cone.iter_mut().for_each(|o| *o = next());
        let slacks = s[self.linear..].iter().zip(&self.r[self.linear..]);
        out.s.iter_mut().zip(slacks).for_each(|(o, (s, r))| *o = s / (r * tau));
    }

    /// `x` in the units of the problem.
    pub fn direction(&self, x: &[f64]) -> Vec<f64> {
        x.iter().zip(&self.d).map(|(x, d)| x * d).collect()
    }

    pub fn cones(&self) -> &[Cone] {
        &self.of.cones
    }

    pub fn qp(&self) -> &Qp {
        &self.of
    }
}
