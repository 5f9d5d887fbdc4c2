//! Separable problems with few rows, by their multipliers alone.
//!
//! With `P = diag(p)`, `p > 0`, and rows `C = (A; G)` the minimizer for given multipliers is known for each variable by itself,
//! `x_i = clamp(-(q_i + (C'y)_i)/p_i, lb_i, ub_i)`, and the dual function of `y` (as many as there are rows) is concave and
//! piecewise quadratic with the gradient `C x - c`. Newton's method climbs it: `C_F P_F^-1 C_F' d = C x - c` over the variables F
//! between their bounds, and an exact search along `d`, where a step costs one pass over the variables. (For one row this is
//! the classical breakpoint search of continuous knapsack problems.)
//!
//! A dual function without a maximum belongs to an infeasible problem: the next solver finds the proof.

use super::{ForwardHandle, ForwardSolver, Outcome};
use crate::kkt::{CholeskyScratch, Matrices, solve_lower, solve_lower_transposed};
use crate::matrix::{lower_gram, resize};
use crate::residuals::Point;
use crate::{Deadline, Error, Qp, Settings, Status};
use faer::Mat;

/// Newton steps; evaluations of one search.
const STEPS: usize = 100;
const SEARCH: usize = 200;
/// Rows are met to this part of their terms; the polish does the rest.
const MET: f64 = 1e-11;
/// The same where no step improves any more.
const LAST: f64 = 1e-7;
/// Variables from which on the passes over them are what a solve costs.
const LARGE: usize = 1000;
/// What is added to the diagonal of the Newton matrix, relative to that with all variables free.
const SHIFT: f64 = 1e-13;

/// The dual Newton method for a positive diagonal `P` and few rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Separable;

impl Separable {
    /// True if it is the first to be tried.
    pub fn suits(qp: &Qp) -> bool {
        let rows = qp.n_equality() + qp.n_inequality();
        qp.n() >= LARGE
            && rows > 0
            && qp.cones.is_empty()
            && qp.p.is_positive_diagonal()
            && qp.kkt().has_few_full_rows()
    }
}

impl ForwardSolver for Separable {
    fn name(&self) -> &'static str {
        "separable"
    }

    fn prepare(&self, qp: &Qp, settings: &Settings) -> Result<Box<dyn ForwardHandle>, Error> {
        let of = Matrices::of(qp.kkt());
        let data = Data { qp: qp.clone(), p: qp.p.diagonal(), rows: of.transposed_rows() };
        let (n, k) = (qp.n(), data.rows.ncols());
        let zeros = |len: usize| vec![0.0; len];
        let s = State { y: zeros(k), force: zeros(n), x: zeros(n), r: zeros(k), terms: zeros(k) };
        let work = Work {
            kept: Vec::new(),
            free: Vec::new(),
            half: Mat::zeros(0, 0),
            gram: Mat::zeros(0, 0),
            scratch: CholeskyScratch::default(),
            rhs: Vec::new(),
            d: zeros(k),
            along: zeros(n),
        };
        Ok(Box::new(Handle { data, of, s, work, settings: settings.clone(), told: None }))
    }
}

struct Handle {
    data: Data,
    of: Matrices,
    s: State,
    work: Work,
    settings: Settings,
    told: Option<Deadline>,
}

/// The problem, its Hessian and `C'`.
struct Data {
    qp: Qp,
    p: Vec<f64>,
    rows: Mat<f64>,
}

/// Buffers of a step.
struct Work {
    kept: Vec<usize>,
    free: Vec<usize>,
    half: Mat<f64>,
    gram: Mat<f64>,
    scratch: CholeskyScratch,
    rhs: Vec<f64>,
    d: Vec<f64>,
    along: Vec<f64>,
}

/// Multipliers, and what follows from them.
struct State {
    y: Vec<f64>,
    /// `q + C'y`.
    force: Vec<f64>,
    x: Vec<f64>,
    /// `C x - c`, and the largest of the terms of each.
    r: Vec<f64>,
    terms: Vec<f64>,
}

impl Data {
    fn sides(&self) -> impl Iterator<Item = f64> + '_ {
        self.qp.b.iter().chain(self.qp.h.iter()).copied()
    }

    /// What follows from new multipliers.
    fn evaluate(&self, s: &mut State) {
        s.force.copy_from_slice(&self.qp.q);
        for (j, &y) in s.y.iter().enumerate().filter(|(_, y)| **y != 0.0) {
            s.force.iter_mut().zip(self.rows.col_as_slice(j)).for_each(|(f, c)| *f += y * c);
        }
        let (lb, ub) = (&self.qp.lb, &self.qp.ub);
        for (i, x) in s.x.iter_mut().enumerate() {
            *x = (-s.force[i] / self.p[i]).max(lb[i]).min(ub[i]);
        }
        for (j, side) in self.sides().enumerate() {
            if !side.is_finite() {
                (s.r[j], s.terms[j]) = (f64::NEG_INFINITY, 1.0);
                continue;
            }
            let terms = s.x.iter().zip(self.rows.col_as_slice(j)).map(|(x, c)| x * c);
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), t: f64| (sum + t, size + t.abs()));
            s.r[j] = sum - side;
            s.terms[j] = size.max(side.abs());
        }
    }

    /// True if the row may move: equalities, and inequalities that press or are missed.
    fn moves(&self, s: &State, j: usize) -> bool {
        j < self.qp.n_equality() || s.y[j] > 0.0 || s.r[j] > 0.0
    }

    /// By how much the moving rows are off, relative to their terms.
    fn off(&self, s: &State) -> f64 {
        let moving = (0..s.y.len()).filter(|&j| s.terms[j] > 0.0 && self.moves(s, j));
        moving.fold(0.0, |m: f64, j| m.max(s.r[j].abs() / s.terms[j]))
    }

    /// The step of Newton's method; rows without multipliers that it would make negative stay. False if there is none.
    fn direction(&self, s: &State, work: &mut Work) -> bool {
        let m = self.qp.n_equality();
        let Work { kept, free, half, gram, scratch, rhs, d, .. } = work;
        kept.clear();
        kept.extend((0..s.y.len()).filter(|&j| self.moves(s, j)));
        free.clear();
        free.extend((0..s.x.len()).filter(|&i| s.x[i] > self.qp.lb[i] && s.x[i] < self.qp.ub[i]));
        loop {
            let k = kept.len();
            resize(half, free.len(), k);
            resize(gram, k, k);
            for (a, &j) in kept.iter().enumerate() {
                let column = self.rows.col_as_slice(j);
                let scaled = free.iter().map(|&i| column[i] / self.p[i].sqrt());
                half.col_as_slice_mut(a).iter_mut().zip(scaled).for_each(|(h, c)| *h = c);
            }
            lower_gram(gram, half);
            for (a, &j) in kept.iter().enumerate() {
                let all: f64 = self.rows.col_as_slice(j).iter().zip(&self.p).map(|(c, p)| c * c / p).sum();
                gram[(a, a)] += SHIFT * all + f64::MIN_POSITIVE;
            }
            if scratch.factor(gram.as_mut()).is_err() {
                return false;
            }
            rhs.clear();
            rhs.extend(kept.iter().map(|&j| s.r[j]));
            solve_lower(gram.as_ref(), rhs);
            solve_lower_transposed(gram.as_ref(), rhs);
            d.fill(0.0);
            kept.iter().zip(rhs.iter()).for_each(|(&j, v)| d[j] = *v);
            kept.retain(|&j| j < m || s.y[j] > 0.0 || d[j] >= 0.0);
            if kept.len() == k {
                return d.iter().all(|v| v.is_finite());
            }
        }
    }

    /// The best step along `d`: the root of a decreasing, piecewise linear slope, or where a multiplier vanishes.
    fn step(&self, s: &State, d: &[f64], along: &mut [f64]) -> f64 {
        let m = self.qp.n_equality();
        along.fill(0.0);
        let mut constant = 0.0;
        for ((j, &d), side) in d.iter().enumerate().zip(self.sides()).filter(|((_, d), _)| **d != 0.0) {
            along.iter_mut().zip(self.rows.col_as_slice(j)).for_each(|(a, c)| *a += d * c);
            constant += d * side;
        }
        let (lb, ub) = (&self.qp.lb, &self.qp.ub);
        let slope = |t: f64| {
            let (mut value, mut rate) = (-constant, 0.0);
            for i in 0..along.len() {
                let x = -(s.force[i] + t * along[i]) / self.p[i];
                let held = x.max(lb[i]).min(ub[i]);
                value += along[i] * held;
                rate += if held == x { along[i] * along[i] / self.p[i] } else { 0.0 };
            }
            (value, rate)
        };
        let most = (m..d.len()).filter(|&j| d[j] < 0.0).fold(f64::INFINITY, |t, j| t.min(-s.y[j] / d[j]));
        let (mut low, mut high, mut t) = (0.0, most, most.min(1.0));
        let first = slope(0.0).0;
        for _ in 0..SEARCH {
            let (value, rate) = slope(t);
            if value.abs() <= 1e-14 * first || (value > 0.0 && t == most) {
                return t;
            }
            if value > 0.0 {
                low = t
            } else {
                high = t
            }
            let next = t + value / rate;
            t = match () {
                () if next > low && next < high => next,
                () if next >= most && high == most => most,
                () if high.is_finite() => 0.5 * (low + high),
                () => 4.0 * t,
            };
            if !t.is_finite() || high - low <= f64::EPSILON * high {
                return low;
            }
        }
        t
    }

    fn write(&self, s: &State, out: &mut Point) {
        out.reset(&self.qp);
        let m = self.qp.n_equality();
        out.y.copy_from_slice(&s.y[..m]);
        out.z.copy_from_slice(&s.y[m..]);
        for i in 0..s.x.len() {
            if s.x[i] == self.qp.lb[i] || s.x[i] == self.qp.ub[i] {
                out.z_box[i] = -(self.p[i] * s.x[i] + s.force[i]);
            }
        }
        out.x.copy_from_slice(&s.x);
    }
}

impl ForwardHandle for Handle {
    fn update(&mut self, qp: &Qp) -> Result<(), Error> {
        if !self.of.are(qp.kkt()) {
            self.of = Matrices::of(qp.kkt());
            (self.data.rows, self.data.p) = (self.of.transposed_rows(), qp.p.diagonal());
        }
        self.data.qp = qp.clone();
        Ok(())
    }

    fn end_by(&mut self, deadline: &Deadline) {
        self.told = Some(deadline.clone());
    }

    fn solve(&mut self, warm: Option<&Point>, out: &mut Point) -> Outcome {
        let deadline = self.told.take().unwrap_or_else(|| self.settings.deadline());
        let Handle { data, s, work, settings, .. } = self;
        let m = data.qp.n_equality();
        s.y.fill(0.0);
        if let Some(warm) = warm.filter(|point| point.fits(&data.qp) && point.is_finite()) {
            let start = warm.y.iter().copied().chain(warm.z.iter().map(|z| z.max(0.0)));
            s.y.iter_mut().zip(start).for_each(|(y, v)| *y = v);
        }
        let end = |status, iterations| Outcome { status, iterations, certificate: None };
        let positive = data.p.iter().all(|p| *p > 0.0);
        data.evaluate(s);
        let mut best = f64::INFINITY;
        for iteration in 0..settings.max_iter.unwrap_or(STEPS).min(STEPS) {
            let off = data.off(s);
            log::trace!("{iteration}: rows are off by {off:.1e}");
            // within a face of the dual function the next step is exact: no progress is rounding
            if off <= MET || (off <= LAST && off >= 0.5 * best) {
                data.write(s, out);
                return end(Status::Solved, iteration);
            }
            best = best.min(off);
            if !positive || deadline.passed() || !data.direction(s, work) {
                break;
            }
            let t = data.step(s, &work.d, &mut work.along);
            if t == 0.0 {
                break;
            }
            for (j, (y, &d)) in s.y.iter_mut().zip(&work.d).enumerate() {
                let next = *y + t * d;
                // the one that ended the step is zero, not nearly
                let ended = j >= m && d < 0.0 && next <= f64::EPSILON * *y;
                *y = if ended { 0.0 } else { next };
            }
            data.evaluate(s);
        }
        data.write(s, out);
        end(if deadline.passed() { Status::TimeLimit } else { Status::IterationLimit }, STEPS)
    }
}
