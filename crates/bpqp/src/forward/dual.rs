//! The interior point in the space of the multipliers ("range space"), for dense problems with `P` positive definite.
//!
//! Eliminating `x = -P^-1 (q + C'v)`, `v = (y, z)`, leaves the dual problem
//!
//! ```text
//! minimize 1/2 v'M v + c'v   s.t. z >= 0,      M = C P^-1 C',   c = C P^-1 q + (b, h)
//! ```
//!
//! whose slacks `s` of `z >= 0` are the slacks of `G x <= h`. The free multipliers y are eliminated once too
//! (`M_yy = L_y L_y'`), so that an iteration costs one Cholesky of the order of the inequalities. `x` is computed at the
//! end, and its stationarity is exact by construction. Where block principal pivoting finds the multipliers in a few rounds,
//! and all are clear, there is nothing to iterate.

use super::Outcome;
use super::pivoting::Pivoting;
use crate::interrupt::late;
use crate::kkt::{CholeskyScratch, KktCore, Matrices, RangeSpace, solve_lower, solve_lower_transposed};
use crate::matrix::columns::column;
use crate::matrix::{Wide, dot, gemv, gemv_t, norm_inf, solve_lower_columns};
use crate::{Certificate, Deadline, Point, Qp, Settings, Status};
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular_matmul};
use faer::{Accum, Mat, MatRef, Par};
use std::sync::Arc;

const MAX_ITER: usize = 60;
const TO_BOUNDARY: f64 = 0.995;
/// Relative accuracy at which the active set is usually clear (the polish does the rest), and where it is not.
const FIRST_TARGET: f64 = 1e-6;
const LAST_TARGET: f64 = 1e-11;

/// What depends on the matrices only.
#[derive(Debug)]
struct Reduced {
    /// Cholesky factor of `M_yy`.
    ly: Mat<f64>,
    /// `L_y^-1 M_yz`.
    wy: Mat<f64>,
    /// `M_zz - W'W`, both triangles; without equalities this is `M` itself.
    m: Option<Mat<f64>>,
    /// Norms of the inequality rows in the metric of `P^-1`.
    norms: Vec<f64>,
}

impl Reduced {
    fn new(core: &RangeSpace, ne: usize, scratch: &mut CholeskyScratch) -> Option<Self> {
        let all = core.m();
        let ni = all.ncols() - ne;
        let mut ly = all.submatrix(0, 0, ne, ne).to_owned();
        let mut wy = all.submatrix(0, ne, ne, ni).to_owned();
        let mut m = None;
        if ne > 0 {
            let mut own = all.submatrix(ne, ne, ni, ni).to_owned();
            scratch.factor(ly.as_mut()).ok()?;
            if crate::kkt::pivot_ratio(ly.as_ref()) < 1e-12 {
                return None;
            }
            solve_lower_columns(ly.as_ref(), wy.as_mut());
            let _clean = Wide;
            triangular_matmul(
                own.as_mut(),
                BlockStructure::TriangularLower,
                Accum::Add,
                wy.transpose(),
                BlockStructure::Rectangular,
                wy.as_ref(),
                BlockStructure::Rectangular,
                -1.0,
                Par::Seq,
            );
            for j in 0..ni {
                for i in 0..j {
                    own[(i, j)] = own[(j, i)];
                }
            }
            m = Some(own);
        }
        let norms = (ne..ne + ni).map(|i| all[(i, i)].sqrt()).collect();
        (!late()).then_some(Reduced { ly, wy, m, norms })
    }

    fn m<'a>(&'a self, core: &'a RangeSpace) -> MatRef<'a, f64> {
        self.m.as_ref().map_or(core.m(), |m| m.as_ref())
    }
}

/// A prepared solver in multiplier space.
pub(super) struct DualHandle {
    core: Arc<RangeSpace>,
    reduced: Arc<Reduced>,
    scratch: CholeskyScratch,
    pivoting: Pivoting,
    /// The multipliers come from pivoting: there is no interior point to continue from.
    pivoted: bool,
    max_iter: usize,
    deadline: Deadline,
    first_target: f64,
    target: f64,
    iterations: usize,
    /// Sizes of the slacks and of the objective.
    scale: f64,
    value: f64,
    /// `L^-1 q`.
    lq: Vec<f64>,
    c: Vec<f64>,
    cy: Vec<f64>,
    z: Vec<f64>,
    s: Vec<f64>,
    dz: Vec<f64>,
    ds: Vec<f64>,
    r: Vec<f64>,
    k: Mat<f64>,
    t: Vec<f64>,
}

impl DualHandle {
    /// `None` if the equality rows are dependent: the general form takes over.
    pub fn new(qp: &Qp, core: Arc<RangeSpace>, settings: &Settings) -> Option<Self> {
        let mut scratch = CholeskyScratch::default();
        let reduced = Arc::new(Reduced::new(&core, qp.n_equality(), &mut scratch)?);
        let ni = qp.n_inequality();
        Some(DualHandle {
            core,
            reduced,
            scratch,
            pivoting: Pivoting::default(),
            pivoted: false,
            max_iter: settings.max_iter.unwrap_or(MAX_ITER),
            deadline: Deadline::default(),
            // without the polish the iterate itself is what the caller gets
            first_target: if settings.polish { FIRST_TARGET } else { settings.eps_rel.max(settings.eps_abs) },
            target: FIRST_TARGET,
            iterations: 0,
            scale: 1.0,
            value: 0.0,
            lq: Vec::new(),
            c: Vec::new(),
            cy: Vec::new(),
            z: vec![0.0; ni],
            s: vec![0.0; ni],
            dz: vec![0.0; ni],
            ds: vec![0.0; ni],
            r: Vec::with_capacity(ni),
            k: Mat::zeros(ni, ni),
            t: Vec::new(),
        })
    }

    /// Takes new numbers; false if this form no longer applies.
    pub fn update(&mut self, qp: &Qp) -> bool {
        if qp.has_bounds() {
            return false;
        }
        if self.core.is_of(qp.kkt()) {
            return true;
        }
        let Ok(core) = RangeSpace::new(Matrices::of(qp.kkt()), &mut self.scratch) else { return false };
        let Some(reduced) = Reduced::new(&core, qp.n_equality(), &mut self.scratch) else { return false };
        (self.core, self.reduced) = (Arc::new(core), Arc::new(reduced));
        true
    }

    pub fn core(&self) -> KktCore {
        KktCore(self.core.clone())
    }

    fn factor(&mut self, add: impl Fn(usize, &[f64], &[f64]) -> f64) -> bool {
        for j in 0..self.z.len() {
            self.k.col_as_slice_mut(j)[j..].copy_from_slice(column(self.reduced.m(&self.core), j, j));
            self.k[(j, j)] += add(j, &self.z, &self.s);
        }
        self.scratch.factor(self.k.as_mut()).is_ok()
    }

    pub fn solve(&mut self, qp: &Qp, deadline: &Deadline, out: &mut Point) -> Outcome {
        self.deadline.clone_from(deadline);
        let (ne, ni) = (qp.n_equality(), qp.n_inequality());
        let (core, reduced) = (self.core.clone(), self.reduced.clone());
        // c = Y' L^-1 q + (b, h), with y eliminated: c_z - W' L_y^-1 c_y. A row with h = inf never binds: its z stays 0.
        self.lq.clear();
        self.lq.extend_from_slice(&qp.q);
        core.solve_lower(&mut self.lq);
        self.c.clear();
        self.c.extend(qp.b.iter().chain(qp.h.iter()).map(|v| if v.is_finite() { *v } else { 0.0 }));
        gemv_t(1.0, core.y(), &self.lq, &mut self.c);
        let scale = norm_inf(&self.c).max(norm_inf(&qp.b)).max(f64::MIN_POSITIVE);
        self.cy.clear();
        self.cy.extend_from_slice(&self.c[..ne]);
        solve_lower(reduced.ly.as_ref(), &mut self.cy);
        self.c.drain(..ne);
        gemv_t(-1.0, reduced.wy.as_ref(), &self.cy, &mut self.c);
        for i in 0..ni {
            if qp.h[i] == f64::INFINITY {
                self.c[i] = 1e3 * scale;
            }
        }
        // the optimal value of the problem with equalities only
        self.value = 0.5 * (dot(&self.cy, &self.cy) - dot(&self.lq, &self.lq));
        (self.scale, self.iterations, self.target) = (scale, 0, self.first_target);
        self.pivoted = self.pivot(qp, &reduced);
        if !self.pivoted {
            self.start(&reduced);
        }
        self.finish(qp, out)
    }

    /// Finds the multipliers without an interior point; false if that takes one.
    fn pivot(&mut self, qp: &Qp, reduced: &Reduced) -> bool {
        if self.z.is_empty() || self.max_iter == 0 {
            return false;
        }
        let linear = dot(&self.lq, &self.lq).sqrt() + dot(&self.cy, &self.cy).sqrt();
        let norms = &reduced.norms;
        let h = |i: usize| if qp.h[i].is_finite() { qp.h[i].abs() } else { 0.0 };
        let terms = |z: &[f64]| {
            let force = linear + dot(norms, z);
            move |i: usize| h(i) + norms[i] * force
        };
        let system = (reduced.m(&self.core), &self.c[..]);
        let room = (&mut self.scratch, &mut self.k);
        let rounds = self.pivoting.solve(system, terms, room, (&mut self.z, &mut self.s));
        self.iterations = rounds.unwrap_or(0);
        rounds.is_some()
    }

    /// Continues to the last digits; `None` if that was done already.
    pub fn tighten(&mut self, qp: &Qp, out: &mut Point) -> Option<Outcome> {
        if self.target == LAST_TARGET || self.z.is_empty() {
            return None;
        }
        self.target = LAST_TARGET;
        if std::mem::take(&mut self.pivoted) {
            let reduced = self.reduced.clone();
            self.start(&reduced);
        }
        Some(self.finish(qp, out)).filter(|outcome| outcome.status == Status::Solved)
    }

    fn finish(&mut self, qp: &Qp, out: &mut Point) -> Outcome {
        let (core, reduced) = (self.core.clone(), self.reduced.clone());
        let status = if self.z.is_empty() || self.pivoted { Status::Solved } else { self.iterate(&reduced) };
        let iterations = self.iterations;
        let certificate =
            (status == Status::PrimalInfeasible).then(|| self.farkas(qp, &reduced)).filter(|c| c.verify(qp));
        let status = match status {
            Status::PrimalInfeasible if certificate.is_none() => Status::NumericalFailure,
            other => other,
        };
        // y = -L_y^-T (L_y^-1 c_y + W z), x = -L^-T (L^-1 q + Y v)
        self.write(qp, &core, &reduced, out);
        Outcome { status, iterations, certificate }
    }

    fn write(&mut self, qp: &Qp, core: &RangeSpace, reduced: &Reduced, out: &mut Point) {
        let ne = qp.n_equality();
        out.z.clone_from(&self.z);
        for i in 0..out.z.len() {
            if qp.h[i] == f64::INFINITY {
                out.z[i] = 0.0;
            }
        }
        out.y.clear();
        out.y.extend(self.cy.iter().map(|c| -c));
        gemv(-1.0, reduced.wy.as_ref(), &out.z, &mut out.y);
        solve_lower_transposed(reduced.ly.as_ref(), &mut out.y);
        out.x.clear();
        out.x.extend(self.lq.iter().map(|q| -q));
        gemv(-1.0, core.y().subcols(0, ne), &out.y, &mut out.x);
        gemv(-1.0, core.y().subcols(ne, out.z.len()), &out.z, &mut out.x);
        core.solve_upper(&mut out.x);
        out.z_box.clear();
        out.z_box.resize(qp.n(), 0.0);
    }

    /// The iteration for `min 1/2 z'M z + c'z, z >= 0` (Mehrotra's predictor-corrector).
    fn iterate(&mut self, reduced: &Reduced) -> Status {
        let ni = self.z.len();
        let n = ni as f64;
        loop {
            // r = M z + c - s
            self.r.clear();
            self.r.extend(self.c.iter().zip(&self.s).map(|(c, s)| c - s));
            gemv(1.0, reduced.m(&self.core), &self.z, &mut self.r);
            let mu = dot(&self.z, &self.s) / n;
            let value = self.value.abs() + dot(&self.z, &self.c).abs();
            if !mu.is_finite() {
                return Status::NumericalFailure;
            }
            log::trace!("{}: dual residual {:.1e}, mu {mu:.1e}", self.iterations, norm_inf(&self.r));
            let size = norm_inf(&self.s).max(self.scale);
            if norm_inf(&self.r) <= self.target * size && mu * n <= self.target * value {
                return Status::Solved;
            }
            if self.iterations >= self.max_iter {
                return Status::IterationLimit;
            }
            if self.deadline.passed() {
                return Status::TimeLimit;
            }
            if norm_inf(&self.z) > 1e10 * (1.0 + n) && dot(&self.z, &self.c) < 0.0 {
                return Status::PrimalInfeasible;
            }
            if !self.factor(|j, z, s| s[j] / z[j]) {
                return Status::NumericalFailure;
            }
            self.direction(0.0, false);
            let step = self.step();
            let after: f64 =
                (0..ni).map(|i| (self.z[i] + step * self.dz[i]) * (self.s[i] + step * self.ds[i])).sum::<f64>() / n;
            let sigma = (after / mu).clamp(0.0, 1.0).powi(3);
            self.direction(sigma * mu, true);
            let step = self.step();
            let step = if step < 1.0 { step * TO_BOUNDARY } else { step };
            for i in 0..ni {
                self.z[i] += step * self.dz[i];
                self.s[i] += step * self.ds[i];
            }
            self.iterations += 1;
        }
    }

    /// `(M + s/z) dz = -r - (s z - target + correction)/z`, `ds = -(s z - target + correction + s dz)/z`.
    fn direction(&mut self, target: f64, second_order: bool) {
        self.t.clear();
        for i in 0..self.z.len() {
            let correction = if second_order { self.dz[i] * self.ds[i] } else { 0.0 };
            let rc = self.s[i] * self.z[i] - target + correction;
            self.ds[i] = rc;
            self.t.push(-self.r[i] - rc / self.z[i]);
        }
        solve_lower(self.k.as_ref(), &mut self.t);
        solve_lower_transposed(self.k.as_ref(), &mut self.t);
        for i in 0..self.z.len() {
            self.dz[i] = self.t[i];
            self.ds[i] = -(self.ds[i] + self.s[i] * self.dz[i]) / self.z[i];
        }
    }

    fn step(&self) -> f64 {
        let bound =
            |v: &[f64], d: &[f64]| v.iter().zip(d).filter(|(_, d)| **d < 0.0).fold(1.0_f64, |a, (v, d)| a.min(-v / d));
        bound(&self.z, &self.dz).min(bound(&self.s, &self.ds))
    }

    /// The regularized solution `-(M + diag M)^-1 c`, shifted inside by the rule of Mehrotra (1992).
    fn start(&mut self, reduced: &Reduced) {
        let ni = self.z.len();
        self.z.fill(0.0);
        let core = self.core.clone();
        let m = reduced.m(&core);
        let mean = (0..ni).map(|i| m[(i, i)]).sum::<f64>() / ni as f64;
        let floor = if mean > 0.0 { 1e-3 * mean } else { 1.0 };
        self.t.clear();
        self.t.extend(self.c.iter().map(|c| -c));
        if self.factor(|j, _, _| m[(j, j)].max(floor)) {
            solve_lower(self.k.as_ref(), &mut self.t);
            solve_lower_transposed(self.k.as_ref(), &mut self.t);
        }
        self.z.copy_from_slice(&self.t);
        self.s.copy_from_slice(&self.c);
        gemv(1.0, m, &self.z, &mut self.s);
        let lowest = |v: &[f64]| v.iter().fold(f64::INFINITY, |a, b| a.min(*b));
        let (up_z, up_s) = ((-1.5 * lowest(&self.z)).max(0.0), (-1.5 * lowest(&self.s)).max(0.0));
        self.z.iter_mut().for_each(|z| *z += up_z);
        self.s.iter_mut().for_each(|s| *s += up_s);
        let product = dot(&self.z, &self.s);
        let (sum_z, sum_s) = (self.z.iter().sum::<f64>(), self.s.iter().sum::<f64>());
        let (more_z, more_s) = if product > 0.0 && sum_s > 0.0 && sum_z > 0.0 {
            (0.5 * product / sum_s, 0.5 * product / sum_z)
        } else {
            // one of the two is flat: any positive point of the size of the data will do
            let s = norm_inf(&self.c).max(1e-12);
            (if sum_z > 0.0 { 0.1 * sum_z / ni as f64 } else { s / floor }, s)
        };
        self.z.iter_mut().for_each(|z| *z += more_z);
        self.s.iter_mut().for_each(|s| *s += more_s);
    }

    /// The diverging multipliers as a proof of infeasibility.
    fn farkas(&self, qp: &Qp, reduced: &Reduced) -> Certificate {
        let mut y = vec![0.0; qp.n_equality()];
        gemv(-1.0, reduced.wy.as_ref(), &self.z, &mut y);
        solve_lower_transposed(reduced.ly.as_ref(), &mut y);
        let size = norm_inf(&y).max(norm_inf(&self.z));
        let scaled = |v: &[f64]| v.iter().map(|v| v / size).collect::<Vec<_>>();
        let z = scaled(&self.z);
        Certificate::PrimalInfeasible(Point {
            x: Vec::new(),
            y: scaled(&y),
            z,
            z_box: vec![0.0; qp.n()],
            ..Point::default()
        })
    }
}
