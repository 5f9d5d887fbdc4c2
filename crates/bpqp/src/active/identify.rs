//! Which constraints does a point say are active?

use super::{ActiveSet, Side};
use crate::matrix::{Hessian, Matrix, add_squares, norm_inf};
use crate::residuals::ResidualWork;
use crate::{Point, Qp};
use std::sync::Arc;

/// Norms of the rows of `G` and `A`: a slack over it is a distance, a multiplier times it a force.
#[derive(Debug, Default)]
pub(crate) struct RowScales {
    of: Option<(Arc<Matrix>, Arc<Matrix>, Arc<Hessian>)>,
    /// Euclidean norm of each row of `G`, 1 for an empty one.
    pub norms: Vec<f64>,
    /// The rows of `G` that are empty: nothing moves their slack.
    empty: Vec<usize>,
    /// The same of `A`.
    pub equality: Vec<f64>,
    /// Largest diagonal entry of P, which bounds every entry of it.
    curvature: f64,
    diagonal: Vec<f64>,
    /// The largest distance of a row or a bound from the origin.
    reach: f64,
}

impl RowScales {
    /// Takes the rows of `qp`, which are not measured again if they are the same matrix as before, and where they are.
    pub fn load(&mut self, qp: &Qp) {
        self.load_rows(qp);
        let finite = |v: f64| if v.is_finite() { v.abs() } else { 0.0 };
        let part = |rhs: &[f64], norms: &[f64]| rhs.iter().zip(norms).fold(0.0_f64, |m, (v, n)| m.max(finite(*v) / n));
        // an empty row is at no distance
        let mut empty = self.empty.iter().peekable();
        let inequalities = qp.h.iter().zip(&self.norms).enumerate().fold(0.0_f64, |m, (i, (h, norm))| {
            if empty.next_if(|e| **e == i).is_some() { m } else { m.max(finite(*h) / norm) }
        });
        let rows = part(&qp.b, &self.equality).max(inequalities);
        self.reach = qp.lb.iter().chain(qp.ub.iter()).fold(rows, |m, v| m.max(finite(*v)));
    }

    fn load_rows(&mut self, qp: &Qp) {
        let same = self
            .of
            .as_ref()
            .is_some_and(|(g, a, p)| Arc::ptr_eq(g, &qp.g) && Arc::ptr_eq(a, &qp.a) && Arc::ptr_eq(p, &qp.p));
        if same {
            return;
        }
        qp.p.diagonal_into(&mut self.diagonal);
        self.curvature = self.diagonal.iter().fold(0.0, |m, d| m.max(*d));
        self.empty.clear();
        row_norms(&qp.g, &mut self.norms, |i| self.empty.push(i));
        row_norms(&qp.a, &mut self.equality, |_| {});
        self.of = Some((qp.g.clone(), qp.a.clone(), qp.p.clone()));
    }

    /// True if norms of rows and curvatures of variables are positive and within a factor `apart` of each other: then nothing has
    /// a unit far from the others.
    pub fn close(&self, apart: f64) -> bool {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for sizes in [&self.norms, &self.equality, &self.diagonal] {
            (low, high) = sizes.iter().fold((low, high), |(low, high), v| (low.min(*v), high.max(*v)));
        }
        low > 0.0 && high <= apart * low
    }

    /// The force that multipliers are compared with: the largest of `|q|`, `|P x|` and the products in `P x`, which is what
    /// remains where these cancel.
    pub fn force(&self, qp: &Qp, px: &[f64], x: &[f64]) -> f64 {
        let larger = |a: f64, b: f64| if a > b { a } else { b };
        let terms = px.iter().zip(qp.q.iter()).zip(self.diagonal.iter().zip(x));
        let (px, q, own) = terms.fold((0.0, 0.0, 0.0), |(a, b, c), ((px, q), (d, x))| {
            (larger(px.abs(), a), larger(q.abs(), b), larger(d * x.abs(), c))
        });
        let force = larger(larger(px, q), own);
        if force > 0.0 { force } else { 1.0 }
    }

    /// A length and a force that nothing in the problem exceeds: those of the point and those of the data, so that they mean
    /// something where the solution vanishes.
    pub fn of_data(&self, qp: &Qp, px: &[f64], x: &[f64]) -> (f64, f64) {
        let length = self.distance(qp, px, x).max(self.reach);
        (length, self.force(qp, px, x).max(self.curvature * length))
    }

    /// The part of the force of the data that each variable can feel: from `|P_ij| <= sqrt(P_ii P_jj)`, and from multipliers of
    /// the size of that force on the rows of the set. One that neither P nor such a row knows feels nothing but its own cost.
    pub fn shares(&self, qp: &Qp, set: &ActiveSet, out: &mut Vec<f64>) {
        let largest = if self.curvature > 0.0 { self.curvature } else { 1.0 };
        out.clear();
        out.extend(self.diagonal.iter().map(|d| (d / largest).max(0.0).sqrt()));
        qp.a.for_each(|i, j, v| out[j] = out[j].max(v.abs() / self.equality[i]));
        qp.g.for_each(|i, j, v| out[j] = if set.g[i] { out[j].max(v.abs() / self.norms[i]) } else { out[j] });
    }

    /// True if every force and every right-hand side is 0: then so is a solution, and no number says how small another is.
    pub fn vanish(&self, qp: &Qp) -> bool {
        self.reach == 0.0 && norm_inf(&qp.q) == 0.0
    }

    /// This part of the distance of the furthest row or bound, and of the force that the largest curvature has there.
    pub fn of_reach(&self, part: f64) -> (f64, f64) {
        (part * self.reach * self.curvature, part * self.reach)
    }

    /// The length that slacks are compared with: [`distance_scale`], and what the forces move against the largest curvature, or each
    /// variable against its own if that is less; where the solution vanishes, what is left of `x` is rounding of that.
    pub fn distance(&self, qp: &Qp, px: &[f64], x: &[f64]) -> f64 {
        let (scale, force) = (distance_scale(qp, x), norm_inf(px).max(norm_inf(&qp.q)));
        if self.curvature == 0.0 || force <= scale * self.curvature {
            return scale;
        }
        // a force on a variable without curvature is in no unit of length
        let forces = px.iter().zip(qp.q.iter()).map(|(px, q)| px.abs().max(q.abs()));
        let own = self.diagonal.iter().zip(forces).filter(|(d, _)| **d > 0.0).fold(0.0_f64, |m, (d, f)| m.max(f / d));
        scale.max(own.min(force / self.curvature))
    }
}

/// Tells which rows are empty.
fn row_norms(m: &Matrix, norms: &mut Vec<f64>, mut empty: impl FnMut(usize)) {
    norms.clear();
    norms.resize(m.nrows(), 0.0);
    match m {
        Matrix::Dense(m) => add_squares(m.as_ref(), norms),
        Matrix::Sparse(m) => {
            for (&i, v) in m.indices().iter().zip(m.values()) {
                norms[i] += v * v;
            }
        }
    }
    for (i, norm) in norms.iter_mut().enumerate() {
        if *norm > 0.0 {
            *norm = norm.sqrt();
        } else {
            *norm = 1.0;
            empty(i);
        }
    }
}

/// What a solver leaves of a solution that vanishes, relative to the lengths in the data.
pub(crate) const REST: f64 = 1e-6;

/// Decides the active set by comparing multiplier with slack in scaled units (a force relative to the forces of the
/// problem, a distance relative to its distances): active iff the multiplier is the larger. `work` holds the residual
/// vectors of the point.
pub(crate) fn identify(qp: &Qp, point: &Point, work: &ResidualWork, scales: &RowScales, out: &mut ActiveSet) {
    let n = qp.n();
    let force = scales.force(qp, &work.px, &point.x);
    let distance = scales.distance(qp, &work.px, &point.x).max(REST * scales.of_data(qp, &work.px, &point.x).0);
    out.g.clear();
    out.g.extend((0..qp.n_inequality()).map(|i| {
        let norm = scales.norms[i];
        work.slack[i] <= 0.0 || point.z[i] * norm / force > work.slack[i] / (norm * distance)
    }));
    for &i in &scales.empty {
        out.g[i] = work.slack[i] <= 0.0;
    }
    out.bound.clear();
    let (lb, ub) = (qp.lb(), qp.ub());
    out.bound.extend((0..n).map(|i| {
        let (lb, ub, x, z) = (lb[i], ub[i], point.x[i], point.z_box[i]);
        if lb == ub {
            Side::Fixed
        } else if lb.is_finite() && (x <= lb || (-z) / force > (x - lb) / distance) {
            Side::Lower
        } else if ub.is_finite() && (x >= ub || z / force > (ub - x) / distance) {
            Side::Upper
        } else {
            Side::Free
        }
    }));
    out.weak_g.clear();
    out.weak_g.resize(qp.n_inequality(), false);
    out.weak_bound.clear();
    out.weak_bound.resize(n, false);
}

/// How many inequalities and finite bounds have a multiplier and a slack within this factor of each other in those units: an
/// interior point that has not come far leaves many of which it cannot tell whether they are active.
pub(crate) fn unclear(qp: &Qp, point: &Point, work: &ResidualWork, scales: &RowScales, factor: f64) -> usize {
    let force = scales.force(qp, &work.px, &point.x);
    let distance = scales.distance(qp, &work.px, &point.x);
    let near = |multiplier: f64, slack: f64| {
        let (z, s) = (multiplier / force, slack / distance);
        z > 0.0 && s > 0.0 && z < factor * s && s < factor * z
    };
    let rows = scales.norms.iter().zip(point.z.iter().zip(&work.slack));
    let rows = rows.filter(|(norm, (z, s))| near(*z * **norm, *s / **norm)).count();
    let bounds = point.x.iter().zip(&point.z_box).zip(qp.lb.iter().zip(qp.ub.iter()));
    rows + bounds.filter(|((x, z), (lb, ub))| near(-**z, *x - *lb) || near(**z, *ub - *x)).count()
}

/// The length that slacks are compared with: the largest of `|x|` and of the ranges that its bounds leave.
pub(crate) fn distance_scale(qp: &Qp, x: &[f64]) -> f64 {
    let mut scale = norm_inf(x);
    if scale == 0.0 {
        for i in 0..x.len() {
            for bound in [qp.lb[i], qp.ub[i]] {
                if bound.is_finite() {
                    scale = scale.max(bound.abs());
                }
            }
        }
    }
    if scale > 0.0 { scale } else { 1.0 }
}
