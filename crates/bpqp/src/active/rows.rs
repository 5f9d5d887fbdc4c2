//! Does a point satisfy the conditions, each in the units of its own row?
//!
//! Norms over all rows let those of small entries drown: a point can be far off a small row, and a problem without a
//! solution look solved, where the others are larger by many orders of magnitude.

use super::identify::{RowScales, distance_scale};
use super::{ActiveSet, Side};
use crate::cones::blocks;
use crate::kkt::{Units, add_magnitudes};
use crate::matrix::norm_inf;
use crate::residuals::ResidualWork;
use crate::thresholds::EQUATION_ROUNDING;
use crate::{Point, Qp};

/// What may be left of a condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    /// In its own units.
    pub absolute: f64,
    /// Of the terms that cancel in a constraint.
    pub primal: f64,
    /// The same of a row of the stationarity.
    pub dual: f64,
    /// Of the largest force, or of the largest distance, where its constant vanishes: all its terms may be rounding there.
    pub homogeneous: f64,
}

/// Constants below this multiple of the largest force or distance are what rounding left of 0 in the making of the data.
const VANISHES: f64 = 1e-14;

/// Buffers of the check.
#[derive(Debug, Default)]
pub(crate) struct RowCheck {
    dx: Vec<f64>,
    dc: Vec<f64>,
    v: Vec<f64>,
    r: Vec<f64>,
    s: Vec<f64>,
    magnitudes: Vec<f64>,
    rank: Vec<f64>,
    units: Units,
}

impl RowCheck {
    /// True if every condition of `set` holds at the point. `work` holds its residual vectors.
    pub fn holds(
        &mut self,
        qp: &Qp,
        at: (&Point, &ResidualWork),
        set: &ActiveSet,
        scales: &RowScales,
        tolerance: Tolerance,
    ) -> bool {
        plain(qp, at, set, tolerance) || self.in_full(qp, at, set, scales, tolerance)
    }

    /// Puts variables to 0 that are rounding in every equation which has a constant: multipliers and costs, right-hand sides and
    /// what is at a bound. Where a solution vanishes the terms of all other equations are what is left of it, and nothing says
    /// how small that has to be. False if there are none.
    pub fn vanish(&mut self, qp: &Qp, point: &mut Point, set: &ActiveSet) -> bool {
        let m = qp.n_equality();
        let pinned = |j: usize| set.bound[j] != Side::Free;
        self.r.clear();
        self.r.extend(qp.q.iter().zip(&point.z_box).map(|(q, z)| q.abs() + z.abs()));
        self.s.clear();
        self.s.extend(qp.b.iter().chain(qp.h.iter()).map(|b| if b.is_finite() { b.abs() } else { 0.0 }));
        let Self { r, s, magnitudes, .. } = self;
        qp.kkt().for_each_row_entry(|i, j, v| {
            r[j] += (v * if i < m { point.y[i] } else { point.z[i - m] }).abs();
            s[i] += if pinned(j) { (v * point.x[j]).abs() } else { 0.0 };
        });
        // `|P_ij| <= sqrt(P_ii P_jj)`
        qp.p.diagonal_into(magnitudes);
        magnitudes.iter_mut().for_each(|d| *d = d.max(0.0).sqrt());
        let felt = r.iter().zip(&*magnitudes).filter(|(r, root)| **r > 0.0 && **root > 0.0);
        let force = EQUATION_ROUNDING * felt.fold(f64::INFINITY, |m, (r, root)| m.min(r / root));
        // from here on: may it be 0?
        let small = |j: usize, root: f64| !pinned(j) && root * point.x[j].abs() <= force;
        magnitudes.iter_mut().enumerate().for_each(|(j, root)| *root = f64::from(u8::from(small(j, *root))));
        qp.kkt().for_each_row_entry(|i, j, v| {
            let holds = i < m || set.g[i - m];
            if holds && s[i] > 0.0 && (v * point.x[j]).abs() > EQUATION_ROUNDING * s[i] {
                magnitudes[j] = 0.0;
            }
        });
        let mut any = false;
        for (x, may) in point.x.iter_mut().zip(&*magnitudes) {
            if *may > 0.0 && *x != 0.0 {
                (*x, any) = (0.0, true);
            }
        }
        any
    }

    fn in_full(
        &mut self,
        qp: &Qp,
        at: (&Point, &ResidualWork),
        set: &ActiveSet,
        scales: &RowScales,
        tolerance: Tolerance,
    ) -> bool {
        let point = at.0;
        set.diagonals(qp.n_equality(), &mut self.dx, &mut self.dc);
        self.v.clear();
        self.v.extend_from_slice(&point.y);
        self.v.extend_from_slice(&point.z);
        self.v.extend_from_slice(&point.y_cone);
        self.dc.resize(self.v.len(), 0.0);
        self.r.clear();
        self.r.extend(qp.q.iter().zip(&point.z_box).map(|(q, z)| q.abs() + z.abs()));
        self.s.clear();
        self.s.extend(qp.b.iter().chain(qp.h.iter()).map(|b| if b.is_finite() { b.abs() } else { 0.0 }));
        self.s.extend(qp.d.iter().zip(&point.s).map(|(d, s)| d.abs() + s.abs()));
        let (diagonals, sizes) = ((&self.dx[..], &self.dc[..]), (&mut self.r[..], &mut self.s[..]));
        add_magnitudes(qp.kkt(), diagonals, (&point.x, &self.v), sizes, (&mut self.magnitudes, &mut self.rank));
        if within(qp, at, set, scales, (&self.r, &self.s), tolerance) {
            return true;
        }
        self.units.load(qp.kkt(), diagonals);
        self.units.raise((&mut self.r, &mut self.s), diagonals);
        within(qp, at, set, scales, (&self.r, &self.s), tolerance)
    }
}

/// True if the residuals are within the tolerances, relative to the terms `(r, s)` of their rows.
fn within(
    qp: &Qp,
    (point, work): (&Point, &ResidualWork),
    set: &ActiveSet,
    scales: &RowScales,
    (r, s): (&[f64], &[f64]),
    tolerance: Tolerance,
) -> bool {
    let force = scales.force(qp, &work.px, &point.x);
    let length = distance_scale(qp, &point.x);
    let small = |relative: f64, (r, size): (f64, f64), (constant, largest): (f64, f64)| {
        let homogeneous = constant.abs() <= VANISHES * largest;
        let rounding = if homogeneous { tolerance.homogeneous * largest } else { 0.0 };
        r <= tolerance.absolute + (relative * size).max(rounding)
    };
    let m = qp.n_equality();
    let stationarity = |j: usize| small(tolerance.dual, (work.stationarity[j].abs(), r[j]), (qp.q[j], force));
    let constraint =
        |off: f64, size: f64, constant: f64, norm: f64| small(tolerance.primal, (off, size), (constant, length * norm));
    let equality = |i: usize| constraint(work.equality[i].abs(), s[i], qp.b[i], scales.equality[i]);
    let row = |i: usize| {
        let off = if set.g[i] { work.slack[i].abs() } else { -work.slack[i] };
        constraint(off, s[m + i], qp.h[i], scales.norms[i])
    };
    // the rows of a cone have one size: its projection mixes them
    let first = m + qp.n_inequality();
    let cone = |rows: std::ops::Range<usize>| {
        let size = norm_inf(&s[first + rows.start..first + rows.end]);
        let constant = norm_inf(&qp.d[rows.clone()]);
        constraint(norm_inf(&work.cone[rows]), size, constant, 1.0)
    };
    let bounds = |j: usize| {
        let (x, lb, ub) = (point.x[j], qp.lb[j], qp.ub[j]);
        constraint(lb - x, x.abs(), lb, 1.0) && constraint(x - ub, x.abs(), ub, 1.0)
    };
    (0..qp.n()).all(|j| (set.bound[j] != Side::Free || stationarity(j)) && bounds(j))
        && (0..m).all(equality)
        && (0..qp.n_inequality()).all(row)
        && blocks(&qp.cones).all(|(_, rows)| cone(rows))
}

/// What can be seen without another product with the data: every residual is small against the vectors of the problem in
/// its own row. Without branches, for nearly every problem ends here.
fn plain(qp: &Qp, (point, work): (&Point, &ResidualWork), set: &ActiveSet, tolerance: Tolerance) -> bool {
    let within = |relative: f64, r: f64, size: f64| usize::from(r <= tolerance.absolute + relative * size.abs());
    let small = |r: f64, size: f64| within(tolerance.primal, r, size);
    let stationarity = work.stationarity.iter().zip(qp.q.iter().zip(&work.px));
    let stationarity: usize =
        stationarity.map(|(r, (q, px))| within(tolerance.dual, r.abs(), q.abs() + px.abs())).sum();
    let equalities: usize = work.equality.iter().zip(qp.b.iter()).map(|(r, b)| small(r.abs(), *b)).sum();
    let rows = work.slack.iter().zip(qp.h.iter()).zip(&set.g);
    let rows: usize = rows.map(|((s, h), &active)| small(if active { s.abs() } else { -s }, *h)).sum();
    let bounds = point.x.iter().zip(qp.lb.iter().zip(qp.ub.iter()));
    let bounds: usize = bounds.map(|(x, (lb, ub))| small(lb - x, *x) & small(x - ub, *x)).sum();
    let cones = blocks(&qp.cones).all(|(_, rows)| {
        small(norm_inf(&work.cone[rows.clone()]), norm_inf(&qp.d[rows.clone()]).max(norm_inf(&point.s[rows]))) == 1
    });
    cones && (stationarity, equalities, rows, bounds) == (qp.n(), qp.n_equality(), qp.n_inequality(), qp.n())
}
