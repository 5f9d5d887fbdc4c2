//! The Clarabel interior point (Goulart & Chen, "Clarabel: An interior-point solver for conic programs with quadratic
//! objectives", 2024): `min 1/2 x'Px + q'x` subject to `M x + s = k`, `s` in a cone, multipliers `P x + q + M'v = 0`.
//!
//! Only here do bounds become rows. The rows of `M`, in this order:
//!
//! | rows | cone | multiplier |
//! | --- | --- | --- |
//! | `A x = b` | zero | `y` |
//! | `F'x - t = 0` (factored P, with `1/2 t't` in the objective) | zero | dropped |
//! | `x_i = lb_i` where `lb_i = ub_i` | zero | `z_box` |
//! | `G x <= h`, finite `h` only | nonnegative | `z` |
//! | `x_i <= ub_i`, finite | nonnegative | `z_box` |
//! | `-x_i <= -lb_i`, finite | nonnegative | `-z_box` |

use super::{ForwardHandle, ForwardSolver, Outcome};
use crate::residuals::Point;
use crate::{Certificate, Csc, Deadline, Error, Hessian, Qp, Settings, Status};
use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};

/// Tightest tolerance asked of Clarabel: below it, it mostly stalls.
const TIGHTEST: f64 = 1e-10;
/// Tolerance at which a stalled run still counts as inaccurately solved. The layer measures the point anyway.
const REDUCED: f64 = 1e-6;

/// The Clarabel [`ForwardSolver`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Clarabel;

impl ForwardSolver for Clarabel {
    fn name(&self) -> &'static str {
        "clarabel"
    }

    fn prepare(&self, qp: &Qp, settings: &Settings) -> Result<Box<dyn ForwardHandle>, Error> {
        settings.validate()?;
        // the layer measures in absolute units too: ask for more than the tolerance
        let tol = (0.01 * settings.eps_abs.max(settings.eps_rel)).clamp(TIGHTEST, 1e-9);
        let own = settings.clone();
        let settings = DefaultSettings {
            verbose: false,
            max_threads: 1,
            max_iter: settings.max_iter.map_or(200, |k| u32::try_from(k).unwrap_or(u32::MAX)),
            tol_gap_abs: tol,
            tol_gap_rel: tol,
            tol_feas: tol,
            reduced_tol_gap_abs: REDUCED,
            reduced_tol_gap_rel: REDUCED,
            reduced_tol_feas: REDUCED,
            ..DefaultSettings::default()
        };
        Ok(Box::new(Handle { qp: qp.clone(), settings, own, told: None }))
    }
}

/// Clarabel keeps its own copy of everything, so that a handle holds only the problem.
struct Handle {
    qp: Qp,
    settings: DefaultSettings<f64>,
    own: Settings,
    told: Option<Deadline>,
}

/// The rows that are not `A` or the extension, by the index of their inequality or variable.
#[derive(Default)]
struct Rows {
    fixed: Vec<usize>,
    inequality: Vec<usize>,
    upper: Vec<usize>,
    lower: Vec<usize>,
}

impl Rows {
    fn new(qp: &Qp) -> Self {
        let mut rows =
            Rows { inequality: (0..qp.h.len()).filter(|&i| qp.h[i].is_finite()).collect(), ..Rows::default() };
        for i in 0..qp.n() {
            if qp.lb[i] == qp.ub[i] {
                rows.fixed.push(i);
                continue;
            }
            if qp.ub[i].is_finite() {
                rows.upper.push(i);
            }
            if qp.lb[i].is_finite() {
                rows.lower.push(i);
            }
        }
        rows
    }
}

fn csc(m: Csc) -> CscMatrix<f64> {
    CscMatrix::new(m.nrows(), m.ncols(), m.indptr().to_vec(), m.indices().to_vec(), m.values().to_vec())
}

/// The upper triangle of the Hessian in the extended variables `(x, t)`.
fn hessian(p: &Hessian) -> Result<CscMatrix<f64>, Error> {
    let n = p.n();
    let mut entries = Vec::new();
    let mut dim = n;
    match p {
        Hessian::Zero(_) => {}
        Hessian::Dense(m) => (0..n).for_each(|j| (0..=j).for_each(|i| entries.push((i, j, m[(i, j)])))),
        Hessian::Sparse(m) => entries.extend(m.triplets().filter(|&(i, j, _)| i <= j)),
        Hessian::Diagonal(d) => entries.extend(d.iter().enumerate().map(|(i, &v)| (i, i, v))),
        Hessian::LowRank { d, f } => {
            dim += f.ncols();
            entries.extend(d.iter().enumerate().map(|(i, &v)| (i, i, v)));
            entries.extend((n..dim).map(|k| (k, k, 1.0)));
        }
    }
    Csc::from_triplets(dim, dim, &entries).map(csc)
}

impl Handle {
    fn build(&self, rows: &Rows) -> Result<DefaultSolver<f64>, Error> {
        let Qp { p, q, a, b, g, h, lb, ub, .. } = &self.qp;
        let (n, m_eq) = (q.len(), b.len());
        let p = hessian(p)?;
        let mut q = q.to_vec();
        q.resize(p.n, 0.0);
        let mut entries = Vec::new();
        let mut rhs = b.to_vec();
        a.for_each(|i, j, v| entries.push((i, j, v)));
        if let Hessian::LowRank { f, .. } = &*self.qp.p {
            for k in 0..f.ncols() {
                entries.extend((0..n).map(|i| (m_eq + k, i, f[(i, k)])));
                entries.push((m_eq + k, n + k, -1.0));
                rhs.push(0.0);
            }
        }
        for &i in &rows.fixed {
            entries.push((rhs.len(), i, 1.0));
            rhs.push(lb[i]);
        }
        let equalities = rhs.len();
        let mut row_of = vec![usize::MAX; h.len()];
        for &i in &rows.inequality {
            row_of[i] = rhs.len();
            rhs.push(h[i]);
        }
        g.for_each(|i, j, v| {
            if row_of[i] != usize::MAX {
                entries.push((row_of[i], j, v));
            }
        });
        for &i in &rows.upper {
            entries.push((rhs.len(), i, 1.0));
            rhs.push(ub[i]);
        }
        for &i in &rows.lower {
            entries.push((rhs.len(), i, -1.0));
            rhs.push(-lb[i]);
        }
        let m = csc(Csc::from_triplets(rhs.len(), p.n, &entries)?);
        let cones = [SupportedConeT::ZeroConeT(equalities), SupportedConeT::NonnegativeConeT(rhs.len() - equalities)];
        DefaultSolver::new(&p, &q, &m, &rhs, &cones, self.settings.clone()).map_err(|e| Error::Unsupported {
            what: format!("this problem in Clarabel ({e})"),
            advice: "choose another solver",
        })
    }

    /// Multipliers of the rows into those of the problem.
    fn duals(&self, rows: &Rows, v: &[f64], out: &mut Point) {
        let n = self.qp.n();
        let m_eq = self.qp.n_equality();
        let extension = if let Hessian::LowRank { f, .. } = &*self.qp.p { f.ncols() } else { 0 };
        refill(&mut out.z, self.qp.n_inequality());
        refill(&mut out.z_box, n);
        out.y.clear();
        out.y.extend_from_slice(&v[..m_eq]);
        let mut rest = v[m_eq + extension..].iter();
        let mut next = || rest.next().copied().unwrap_or(f64::NAN);
        rows.fixed.iter().for_each(|&i| out.z_box[i] = next());
        rows.inequality.iter().for_each(|&i| out.z[i] = next().max(0.0));
        rows.upper.iter().for_each(|&i| out.z_box[i] = next());
        rows.lower.iter().for_each(|&i| out.z_box[i] -= next());
    }
}

fn refill(v: &mut Vec<f64>, n: usize) {
    v.clear();
    v.resize(n, 0.0);
}

impl ForwardHandle for Handle {
    fn update(&mut self, qp: &Qp) -> Result<(), Error> {
        self.qp = qp.clone();
        Ok(())
    }

    fn end_by(&mut self, deadline: &Deadline) {
        self.told = Some(deadline.clone());
    }

    fn solve(&mut self, _warm: Option<&Point>, out: &mut Point) -> Outcome {
        let n = self.qp.n();
        let deadline = self.told.take().unwrap_or_else(|| Deadline::of(&self.own));
        self.settings.time_limit = deadline.left().map_or(f64::INFINITY, |t| t.as_secs_f64());
        let rows = Rows::new(&self.qp);
        let Ok(mut solver) = self.build(&rows) else {
            *out = Point::zeros(&self.qp);
            return Outcome { status: Status::NumericalFailure, iterations: 0, certificate: None };
        };
        solver.set_termination_callback(move |_: &_| deadline.passed());
        solver.solve();
        let solution = &solver.solution;
        out.x.clear();
        out.x.extend_from_slice(&solution.x[..n]);
        self.duals(&rows, &solution.z, out);
        let mut certificate = None;
        let status = match solution.status {
            SolverStatus::Solved => Status::Solved,
            SolverStatus::AlmostSolved => Status::SolvedInaccurate,
            SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => {
                let mut ray = out.clone();
                ray.x.clear();
                certificate = Some(Certificate::PrimalInfeasible(ray).cleaned(&self.qp));
                Status::PrimalInfeasible
            }
            SolverStatus::DualInfeasible | SolverStatus::AlmostDualInfeasible => {
                certificate = Some(Certificate::DualInfeasible(out.x.clone()).cleaned(&self.qp));
                Status::DualInfeasible
            }
            SolverStatus::MaxIterations => Status::IterationLimit,
            SolverStatus::MaxTime | SolverStatus::CallbackTerminated => Status::TimeLimit,
            _ => Status::NumericalFailure,
        };
        Outcome { status, iterations: solution.iterations as usize, certificate }
    }
}

#[cfg(test)]
mod tests;
