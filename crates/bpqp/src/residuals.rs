//! What a point is worth, computed from the problem alone and never by the solver that found it.

use crate::Qp;
use crate::cones::blocks;
use crate::matrix::{dot, nan_max, norm_inf};
use crate::problem::Blocks;

/// A primal-dual point: what every forward solver returns and the backward pass starts from.
#[derive(Debug, Default, PartialEq)]
pub struct Point {
    /// Variables.
    pub x: Vec<f64>,
    /// Multipliers of the equalities, free.
    pub y: Vec<f64>,
    /// Multipliers of the inequalities, nonnegative.
    pub z: Vec<f64>,
    /// Multipliers of the bounds, positive at the upper one, negative at the lower one.
    pub z_box: Vec<f64>,
    /// Slacks of the curved cones, in the cones.
    pub s: Vec<f64>,
    /// Multipliers of the curved cones, in their dual cones.
    pub y_cone: Vec<f64>,
}

// by hand: a derived `clone_from` allocates anew
impl Clone for Point {
    fn clone(&self) -> Self {
        let mut out = Point::default();
        out.clone_from(self);
        out
    }

    fn clone_from(&mut self, source: &Self) {
        self.x.clone_from(&source.x);
        self.y.clone_from(&source.y);
        self.z.clone_from(&source.z);
        self.z_box.clone_from(&source.z_box);
        self.s.clone_from(&source.s);
        self.y_cone.clone_from(&source.y_cone);
    }
}

impl Point {
    /// All zeros, in the shape of `qp`.
    pub fn zeros(qp: &Qp) -> Self {
        let mut out = Point::default();
        out.reset(qp);
        out
    }

    /// Becomes all zeros, in the shape of `qp`, in its own buffers.
    pub(crate) fn reset(&mut self, qp: &Qp) {
        for (v, n) in self.parts_mut().into_iter().zip(Self::lengths(qp)) {
            refill(v, n);
        }
    }

    fn lengths(qp: &Qp) -> [usize; 6] {
        [qp.n(), qp.n_equality(), qp.n_inequality(), qp.n(), qp.n_cone(), qp.n_cone()]
    }

    /// `x, y, z, z_box, s, y_cone`.
    pub(crate) fn parts(&self) -> [&Vec<f64>; 6] {
        [&self.x, &self.y, &self.z, &self.z_box, &self.s, &self.y_cone]
    }

    /// The same, to be changed.
    pub(crate) fn parts_mut(&mut self) -> [&mut Vec<f64>; 6] {
        [&mut self.x, &mut self.y, &mut self.z, &mut self.z_box, &mut self.s, &mut self.y_cone]
    }

    /// True if it has the shapes of `qp`.
    pub(crate) fn fits(&self, qp: &Qp) -> bool {
        self.parts().map(Vec::len) == Self::lengths(qp)
    }

    /// True if every entry is finite.
    pub fn is_finite(&self) -> bool {
        self.parts().iter().all(|v| v.iter().all(|e| e.is_finite()))
    }
}

/// Residuals of the optimality conditions in the units of the problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Residuals {
    /// Largest violation of a constraint: `|A x - b|`, `(G x - h)+`, `(lb - x)+`, `(x - ub)+`, `|C x + s - d|`, and the
    /// distance of `s` from its cones.
    pub primal: f64,
    /// Largest entry of `P x + q + A'y + G'z + C'y_cone + z_box`, or violation of the sign of a multiplier, or distance of
    /// `y_cone` from its dual cones.
    pub dual: f64,
    /// Largest product of a multiplier and the slack of its constraint; of a cone, of its block.
    pub complementarity: f64,
    /// `|x'P x + q'x + b'y + h'z + d'y_cone + ub'z_box+ - lb'z_box-|`: the duality gap.
    pub gap: f64,
    /// What `primal` is relative to: the largest of `|A x|, |b|, |G x|, |h|`, the active bounds.
    pub primal_scale: f64,
    /// What `dual` is relative to: the largest of `|P x|, |q|, |A'y|, |G'z|, |z_box|`.
    pub dual_scale: f64,
    /// What `gap` is relative to: the larger of the primal and the dual objective in magnitude.
    pub gap_scale: f64,
}

/// Buffers for [`residuals`]; reused, so that the hot path does not allocate.
#[derive(Debug, Clone, Default)]
pub struct ResidualWork {
    /// `P x`.
    pub px: Vec<f64>,
    /// `P x + q + A'y + G'z + z_box`, filled by [`residuals`].
    pub stationarity: Vec<f64>,
    /// `A x - b`, filled by [`residuals`].
    pub equality: Vec<f64>,
    /// `h - G x`, filled by [`residuals`].
    pub slack: Vec<f64>,
    /// `d - C x - s`, filled by [`residuals`].
    pub cone: Vec<f64>,
    transposed: Vec<f64>,
    rank: Vec<f64>,
}

fn refill(v: &mut Vec<f64>, n: usize) {
    v.clear();
    v.resize(n, 0.0);
}

/// Residuals and objective of a point; the violations of `s in K` and `y_cone in K*` count with the primal and the dual.
pub fn residuals(qp: &Qp, point: &Point, work: &mut ResidualWork) -> (Residuals, f64) {
    let (mut out, objective) = equations(qp, point, work);
    for (k, rows) in blocks(&qp.cones) {
        out.primal = nan_max(out.primal, qp.cones[k].distance(&point.s[rows.clone()]));
        if let Some(dual) = qp.cones[k].dual() {
            out.dual = nan_max(out.dual, dual.distance(&point.y_cone[rows]));
        }
    }
    (out, objective)
}

/// The same of a point whose `s` and `y_cone` are in their cones.
pub(crate) fn equations(qp: &Qp, point: &Point, work: &mut ResidualWork) -> (Residuals, f64) {
    let (n, Point { x, y, z, z_box, s, y_cone }) = (qp.n(), point);
    let qp: &Blocks = qp;
    // slices of one length are not asked for it at every entry
    let (x, z_box, lb, ub) = (&x[..n], &z_box[..n], &qp.lb[..n], &qp.ub[..n]);
    refill(&mut work.px, n);
    qp.p.mul_add(1.0, x, &mut work.px, &mut work.rank);
    let mut dual_scale = norm_inf(&work.px).max(norm_inf(&qp.q)).max(norm_inf(z_box));
    work.stationarity.clear();
    work.stationarity.extend(work.px.iter().zip(&*qp.q).zip(z_box).map(|((px, q), z)| px + q + z));
    for (m, v) in [(&qp.a, y), (&qp.g, z), (&qp.c, y_cone)] {
        if !v.is_empty() {
            refill(&mut work.transposed, n);
            m.tmul_add(1.0, v, &mut work.transposed);
            dual_scale = dual_scale.max(norm_inf(&work.transposed));
            for i in 0..n {
                work.stationarity[i] += work.transposed[i];
            }
        }
    }
    let mut dual = norm_inf(&work.stationarity);

    refill(&mut work.equality, y.len());
    qp.a.mul_add(1.0, x, &mut work.equality);
    let mut primal_scale = norm_inf(&work.equality).max(norm_inf(&qp.b));
    let mut primal = 0.0_f64;
    let (quadratic, linear) = (dot(x, &work.px), dot(x, &qp.q));
    let mut dual_terms = 0.0;
    for i in 0..y.len() {
        work.equality[i] -= qp.b[i];
        primal = nan_max(primal, work.equality[i].abs());
        dual_terms += qp.b[i] * y[i];
    }
    let mut complementarity = 0.0_f64;
    refill(&mut work.slack, z.len());
    qp.g.mul_add(-1.0, x, &mut work.slack);
    for i in 0..z.len() {
        dual = nan_max(dual, -z[i]);
        if qp.h[i] == f64::INFINITY {
            dual = nan_max(dual, z[i].abs());
            work.slack[i] = f64::INFINITY;
            continue;
        }
        primal_scale = primal_scale.max(work.slack[i].abs()).max(qp.h[i].abs());
        work.slack[i] += qp.h[i];
        primal = nan_max(primal, -work.slack[i]);
        complementarity = nan_max(complementarity, (z[i] * work.slack[i]).abs());
        dual_terms += qp.h[i] * z[i];
    }
    for i in 0..n {
        let violation = (lb[i] - x[i]).max(x[i] - ub[i]);
        if violation > 0.0 {
            primal = nan_max(primal, violation);
            primal_scale = primal_scale.max(x[i].abs());
        }
        if z_box[i] != 0.0 {
            let bound = if z_box[i] > 0.0 { ub[i] } else { lb[i] };
            if bound.is_finite() {
                complementarity = nan_max(complementarity, (z_box[i] * (bound - x[i])).abs());
                dual_terms += bound * z_box[i];
                primal_scale = primal_scale.max(bound.abs());
            } else {
                dual = nan_max(dual, z_box[i].abs());
            }
        }
    }
    refill(&mut work.cone, s.len());
    if !s.is_empty() {
        qp.c.mul_add(-1.0, x, &mut work.cone);
        primal_scale = primal_scale.max(norm_inf(&work.cone)).max(norm_inf(&qp.d)).max(norm_inf(s));
        for i in 0..s.len() {
            work.cone[i] += qp.d[i] - s[i];
            primal = nan_max(primal, work.cone[i].abs());
        }
        dual_terms += dot(&qp.d, y_cone);
        for (_, rows) in blocks(&qp.cones) {
            complementarity = nan_max(complementarity, dot(&s[rows.clone()], &y_cone[rows]).abs());
        }
    }
    let objective = 0.5 * quadratic + linear;
    let gap = (quadratic + linear + dual_terms).abs();
    let gap_scale = objective.abs().max((0.5 * quadratic + dual_terms).abs());
    (Residuals { primal, dual, complementarity, gap, primal_scale, dual_scale, gap_scale }, objective)
}

/// The sum of all products of slacks and multipliers of a point, whose residual vectors are in `work`: what its objective is
/// off by while it satisfies the equations. The gap is no measure of that where they cancel in it.
pub(crate) fn total_complementarity(qp: &Qp, point: &Point, work: &ResidualWork) -> f64 {
    let rows = point.z.iter().zip(&work.slack).filter(|(z, _)| **z != 0.0).map(|(z, s)| (z * s).abs());
    let bound = |i: usize| if point.z_box[i] > 0.0 { qp.ub[i] } else { qp.lb[i] };
    let bounds =
        point.z_box.iter().enumerate().map(|(i, z)| (i, z, bound(i))).filter(|(_, _, bound)| bound.is_finite());
    let bounds = bounds.map(|(i, z, bound)| (z * (bound - point.x[i])).abs());
    rows.sum::<f64>() + bounds.sum::<f64>() + dot(&point.s, &point.y_cone).abs()
}

/// What is left of the equations of a point, whose residual vectors are in `work`, priced: a change of the rows by their
/// residuals moves the optimal value by `sum |y r|`, one of the costs by `sum |x r|`. Rows of large terms can hide in a small
/// relative residual that an objective of small terms consists of it.
pub(crate) fn priced(point: &Point, work: &ResidualWork) -> f64 {
    let products = |a: &[f64], b: &[f64]| a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + (a * b).abs());
    let violated = point.z.iter().zip(&work.slack).map(|(z, s)| z * (-s).max(0.0)).sum::<f64>();
    products(&point.y, &work.equality)
        + products(&point.y_cone, &work.cone)
        + products(&point.x, &work.stationarity)
        + violated
}

impl Residuals {
    /// Of no point.
    pub const UNKNOWN: Residuals = Residuals {
        primal: f64::NAN,
        dual: f64::NAN,
        complementarity: f64::NAN,
        gap: f64::NAN,
        primal_scale: f64::NAN,
        dual_scale: f64::NAN,
        gap_scale: f64::NAN,
    };

    /// False where a number overflowed: everything is small against an infinite scale.
    pub(crate) fn known(&self) -> bool {
        let all = [self.primal, self.dual, self.gap, self.primal_scale, self.dual_scale, self.gap_scale];
        all.iter().all(|v| v.is_finite())
    }

    /// True if every residual is at most `factor * (eps_abs + eps_rel * its scale)`.
    pub fn within(&self, eps_abs: f64, eps_rel: f64, factor: f64) -> bool {
        self.known()
            && self.primal <= factor * (eps_abs + eps_rel * self.primal_scale)
            && self.dual <= factor * (eps_abs + eps_rel * self.dual_scale)
            && self.gap <= factor * (eps_abs + eps_rel * self.gap_scale)
    }

    /// The largest residual relative to `1 + its scale`.
    pub fn relative(&self) -> f64 {
        let parts = [
            self.primal / (1.0 + self.primal_scale),
            self.dual / (1.0 + self.dual_scale),
            self.gap / (1.0 + self.gap_scale),
        ];
        parts.into_iter().fold(0.0, nan_max)
    }
}
