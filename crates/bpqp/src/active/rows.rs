//! Does a point satisfy the conditions, each in the units of its own row?
//!
//! Norms over all rows let those of small entries drown: a point can be far off a small row, and a problem without a
//! solution look solved, where the others are larger by many orders of magnitude.

use super::{ActiveSet, Side};
use crate::kkt::{Units, add_magnitudes};
use crate::matrix::norm_inf;
use crate::residuals::ResidualWork;
use crate::{Point, Qp};

/// Residuals below this multiple of the largest term are rounding where a row has no term of its own to compare with.
const ROUNDING: f64 = 1e-14;

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
    /// True if no residual of the conditions of `set` is above `absolute` plus `relative` times the terms that cancel in
    /// it. `work` holds the residual vectors of the point.
    pub fn holds(
        &mut self,
        qp: &Qp,
        (point, work): (&Point, &ResidualWork),
        set: &ActiveSet,
        (absolute, relative): (f64, f64),
    ) -> bool {
        plain(qp, (point, work), set, (absolute, relative)) || self.in_full(qp, (point, work), set, (absolute, relative))
    }

    fn in_full(
        &mut self,
        qp: &Qp,
        (point, work): (&Point, &ResidualWork),
        set: &ActiveSet,
        (absolute, relative): (f64, f64),
    ) -> bool {
        let m = qp.n_equality();
        set.diagonals(m, &mut self.dx, &mut self.dc);
        self.v.clear();
        self.v.extend_from_slice(&point.y);
        self.v.extend_from_slice(&point.z);
        self.r.clear();
        self.r.extend(qp.q.iter().zip(&point.z_box).map(|(q, z)| q.abs() + z.abs()));
        self.s.clear();
        self.s.extend(qp.b.iter().chain(qp.h.iter()).map(|b| if b.is_finite() { b.abs() } else { 0.0 }));
        let (diagonals, sizes) = ((&self.dx[..], &self.dc[..]), (&mut self.r[..], &mut self.s[..]));
        add_magnitudes(qp, diagonals, (&point.x, &self.v), sizes, (&mut self.magnitudes, &mut self.rank));
        self.units.load(qp, diagonals);
        self.units.raise((&mut self.r, &mut self.s), diagonals);
        let small = |r: f64, size: f64| r.abs() <= absolute + relative * size;
        let mut stationarity = work.stationarity.iter().zip(&self.r).zip(&set.bound);
        let mut equalities = work.equality.iter().zip(&self.s);
        let mut rows = work.slack.iter().zip(&self.s[m..]).zip(&set.g);
        stationarity.all(|((r, size), &side)| side != Side::Free || small(*r, *size))
            && equalities.all(|(r, size)| small(*r, *size))
            && rows.all(|((slack, size), &active)| if active { small(*slack, *size) } else { small(slack.min(0.0), *size) })
            && bounds(qp, point, (absolute, relative))
    }
}

/// What can be seen without another product with the data: every residual is small against the vectors of the problem in
/// its own row. Without branches, for nearly every problem ends here.
fn plain(
    qp: &Qp,
    (point, work): (&Point, &ResidualWork),
    set: &ActiveSet,
    (absolute, relative): (f64, f64),
) -> bool {
    let small = |r: f64, size: f64| usize::from(r <= absolute + relative * size.abs());
    let stationarity = work.stationarity.iter().zip(qp.q.iter().zip(&work.px));
    let stationarity: usize = stationarity.map(|(r, (q, px))| small(r.abs(), q.abs() + px.abs())).sum();
    let equalities: usize = work.equality.iter().zip(qp.b.iter()).map(|(r, b)| small(r.abs(), *b)).sum();
    let rows = work.slack.iter().zip(qp.h.iter()).zip(&set.g);
    let rows: usize = rows.map(|((s, h), &active)| small(if active { s.abs() } else { -s }, *h)).sum();
    let bounds = point.x.iter().zip(qp.lb.iter().zip(qp.ub.iter()));
    let bounds: usize = bounds.map(|(x, (lb, ub))| small(lb - x, *x) & small(x - ub, *x)).sum();
    (stationarity, equalities, rows, bounds) == (qp.n(), qp.n_equality(), qp.n_inequality(), qp.n())
}

/// No variable is outside its bounds by more than a part of itself.
fn bounds(qp: &Qp, point: &Point, (absolute, relative): (f64, f64)) -> bool {
    let rounding = ROUNDING * norm_inf(&point.x);
    point.x.iter().zip(qp.lb.iter().zip(qp.ub.iter())).all(|(x, (lb, ub))| {
        let outside = (lb - x).max(x - ub);
        outside <= absolute + (relative * x.abs()).max(rounding)
    })
}
