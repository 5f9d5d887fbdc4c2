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
//! | `C x + s = d` | its cones | `y_cone` |
//!
//! It has no dual cones: their rows are mapped by `(u, v, w) -> (-v, -u, e w)` and `(u/a, v/(1 - a), w)`, which take the
//! dual exponential and power cones onto the primal ones. Where there are cones the solver is set up once per structure.

use super::{ForwardHandle, ForwardSolver, Outcome};
use crate::cones::blocks;
use crate::problem::Blocks;
use crate::residuals::Point;
use crate::{Certificate, Cone, Csc, Deadline, Error, Matrix, Qp, Settings, Status};
use clarabel::algebra::CscMatrix;
use clarabel::solver::traits::ProblemData;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};

/// Tightest tolerance asked of Clarabel at first: below it, it mostly stalls.
const TIGHTEST: f64 = 1e-10;
/// Tolerance of the first run where the polish goes on from it: Newton's method has the digits for less.
const ROUGH: f64 = 1e-8;
/// Tolerances of a run that is to end where it stalls, at its last digits. Residuals have a looser one: a run also ends
/// where they grow to 100 times the tolerance.
const LAST_DIGITS: Tolerance = Tolerance { gap: 1e-13, residual: 1e-12, iterations: 100, refined: true };
/// Tolerance at which a stalled run still counts as inaccurately solved. The layer measures the point anyway.
const REDUCED: f64 = 1e-6;

/// Rows whose largest entry is at most this, and at least its reciprocal, stay in the units of the problem.
const ORDINARY: f64 = 1e3;

/// Where a run ends.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tolerance {
    gap: f64,
    residual: f64,
    iterations: u32,
    /// Systems are refined until nothing changes: what they are off by ends a run early.
    refined: bool,
}

/// The Clarabel [`ForwardSolver`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Clarabel;

impl Clarabel {
    /// True if this build solves problems with these cones.
    pub(crate) fn takes(cones: &[Cone]) -> bool {
        cones.iter().all(|&cone| supported(cone).is_ok())
    }
}

impl ForwardSolver for Clarabel {
    fn name(&self) -> &'static str {
        "clarabel"
    }

    fn takes_cones(&self) -> bool {
        true
    }

    fn prepare(&self, qp: &Qp, settings: &Settings) -> Result<Box<dyn ForwardHandle>, Error> {
        settings.validate()?;
        // the layer measures in absolute units too: ask for more than the tolerance
        let tolerance = (0.01 * settings.eps_abs.max(settings.eps_rel)).clamp(TIGHTEST, 1e-9);
        let iterations = settings.max_iter.map_or(200, |k| u32::try_from(k).unwrap_or(u32::MAX));
        let mut cone_rows = Vec::with_capacity(qp.n_cone());
        for cone in qp.cones.iter() {
            let start = cone_rows.len();
            match *cone {
                Cone::DualExponential => {
                    cone_rows.extend([(start + 1, -1.0), (start, -1.0), (start + 2, std::f64::consts::E)]);
                }
                Cone::DualPower(a) => {
                    cone_rows.extend([(start, 1.0 / a), (start + 1, 1.0 / (1.0 - a)), (start + 2, 1.0)]);
                }
                Cone::Zero(_)
                | Cone::Nonnegative(_)
                | Cone::SecondOrder(_)
                | Cone::PsdTriangle(_)
                | Cone::Exponential
                | Cone::Power(_) => cone_rows.extend((0..cone.rows()).map(|i| (start + i, 1.0))),
            }
        }
        Ok(Box::new(Handle {
            qp: qp.clone(),
            settings: settings.clone(),
            usual: Tolerance { gap: tolerance, residual: tolerance, iterations, refined: false },
            cones: qp.cones.iter().map(|&c| supported(c)).collect::<Result<_, _>>()?,
            cone_rows,
            kept: None,
            told: None,
            deadline: None,
            as_given: false,
            succeeded: false,
            next: None,
            iterations: 0,
        }))
    }
}

fn supported(cone: Cone) -> Result<SupportedConeT<f64>, Error> {
    Ok(match cone {
        Cone::Zero(n) => SupportedConeT::ZeroConeT(n),
        Cone::Nonnegative(n) => SupportedConeT::NonnegativeConeT(n),
        Cone::SecondOrder(n) => SupportedConeT::SecondOrderConeT(n),
        Cone::Exponential | Cone::DualExponential => SupportedConeT::ExponentialConeT(),
        Cone::Power(a) | Cone::DualPower(a) => SupportedConeT::PowerConeT(a),
        #[cfg(feature = "sdp")]
        Cone::PsdTriangle(n) => SupportedConeT::PSDTriangleConeT(n),
        // of order 1: a nonnegative number
        #[cfg(not(feature = "sdp"))]
        Cone::PsdTriangle(n) if n <= 1 => SupportedConeT::NonnegativeConeT(n),
        #[cfg(not(feature = "sdp"))]
        Cone::PsdTriangle(n) => {
            return Err(Error::Unsupported {
                what: format!("solving with a PSD cone of order {n} in this build"),
                advice: "build with the feature `sdp` (it needs a LAPACK), or hand in a solution with from_solution",
            });
        }
    })
}

struct Handle {
    qp: Qp,
    settings: Settings,
    usual: Tolerance,
    cones: Vec<SupportedConeT<f64>>,
    /// Per row of C: where it stands in the rows of the solver's cones, and its factor.
    cone_rows: Vec<(usize, f64)>,
    /// Where there are cones: the last solver, with the rows it was set up for.
    kept: Option<Kept>,
    /// When the next solve has to end, and the last one had to.
    told: Option<Deadline>,
    deadline: Option<Deadline>,
    /// Rows are left in the units of the problem.
    as_given: bool,
    /// The last run found a point.
    succeeded: bool,
    /// What the next run is to be asked for, where the last one was not enough.
    next: Option<Tolerance>,
    iterations: usize,
}

/// A problem as Clarabel takes it: the upper triangle of the Hessian and the linear term in the extended variables
/// `(x, t)`, and the entries of all rows.
struct Data {
    p: CscMatrix<f64>,
    q: Vec<f64>,
    entries: Vec<(usize, usize, f64)>,
    rhs: Vec<f64>,
    /// By which the rows were multiplied.
    factors: Vec<f64>,
    equalities: usize,
    inequalities: usize,
}

/// A solver that is given new numbers.
struct Kept {
    rows: Rows,
    solver: DefaultSolver<f64>,
    a: CscMatrix<f64>,
    /// Row, column and place in the values of `a` of each entry, in the order in which they are listed.
    order: Vec<(usize, usize, usize)>,
    factors: Vec<f64>,
}

impl Kept {
    /// Gives the solver new numbers as if it were set up for them: its analysis and its memory stay, the equilibration is made
    /// anew. The one of earlier numbers, which Clarabel would keep, makes an answer depend on what was solved before. `None`
    /// where the pattern is another one.
    fn renew(&mut self, p: &CscMatrix<f64>, q: &[f64], entries: &[(usize, usize, f64)], rhs: &[f64]) -> Option<()> {
        let Kept { solver, a, order, .. } = self;
        if entries.len() != order.len() {
            return None;
        }
        for (&(i, j, v), &(row, column, at)) in entries.iter().zip(&*order) {
            if (i, j) != (row, column) {
                return None;
            }
            a.nzval[at] = v;
        }
        let data = &mut solver.data;
        if data.P.nzval.len() != p.nzval.len() || data.A.nzval.len() != a.nzval.len() {
            return None;
        }
        data.P.nzval.copy_from_slice(&p.nzval);
        data.A.nzval.copy_from_slice(&a.nzval);
        data.q.copy_from_slice(q);
        data.b.copy_from_slice(rhs);
        data.equilibration.d.fill(1.0);
        data.equilibration.e.fill(1.0);
        data.equilibration.c = 1.0;
        let settings = solver.settings().clone();
        solver.data.equilibrate(&solver.cones, &settings);
        solver.update_data(p, &q.to_vec(), a, &rhs.to_vec()).ok()
    }
}

/// The rows that are not `A` or the extension, by the index of their inequality or variable.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rows {
    pub fixed: Vec<usize>,
    pub inequality: Vec<usize>,
    pub upper: Vec<usize>,
    pub lower: Vec<usize>,
}

impl Rows {
    pub fn new(qp: &Qp) -> Self {
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

impl Handle {
    /// What Clarabel is given, in these rows.
    fn data(&self, rows: &Rows) -> Result<Data, Error> {
        let Blocks { p, q, a, b, g, h, c, d, lb, ub, .. } = &*self.qp;
        let (n, m_eq, extension) = (q.len(), b.len(), p.extension());
        let dim = n + extension;
        let mut q = q.to_vec();
        q.resize(dim, 0.0);
        let (mut quadratic, mut entries) = (Vec::new(), Vec::new());
        let mut rhs = b.to_vec();
        // zeros of a dense matrix are no entries; a pattern keeps its own
        let kept = |m: &Matrix, v: f64| v != 0.0 || matches!(m, Matrix::Sparse(_));
        a.for_each(|i, j, v| {
            if kept(a, v) {
                entries.push((i, j, v));
            }
        });
        p.for_each_extended(n, |i, j, v| {
            if i <= j && j < n {
                quadratic.push((i, j, v));
            } else if j >= n {
                // `F'x - t`, and the square of t in the objective
                entries.push((m_eq + j - n, i, v));
                if i == j {
                    quadratic.push((i, i, 1.0));
                }
            }
        });
        rhs.resize(m_eq + extension, 0.0);
        let p = csc(Csc::from_triplets(dim, dim, &quadratic)?);
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
            if row_of[i] != usize::MAX && kept(g, v) {
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
        let linear = rhs.len();
        rhs.resize(linear + d.len(), 0.0);
        for (&(to, factor), d) in self.cone_rows.iter().zip(d.iter()) {
            rhs[linear + to] = factor * d;
        }
        c.for_each(|i, j, v| {
            let (to, factor) = self.cone_rows[i];
            if kept(c, v) {
                entries.push((linear + to, j, factor * v));
            }
        });
        let factors = self.units(&entries, rhs.len(), linear);
        entries.iter_mut().for_each(|(i, _, v)| *v *= factors[*i]);
        rhs.iter_mut().zip(&factors).for_each(|(b, f)| *b *= f);
        Ok(Data { p, q, entries, rhs, factors, equalities, inequalities: linear - equalities })
    }

    /// Factors that bring the largest entry of a row, and of a cone, near 1 where there are cones: its tolerances are absolute.
    /// Powers of two, so that nothing is rounded. What its own equilibration copes with stays as it is.
    fn units(&self, entries: &[(usize, usize, f64)], rows: usize, linear: usize) -> Vec<f64> {
        let mut largest = vec![0.0_f64; rows];
        if self.cones.is_empty() || self.as_given {
            return vec![1.0; rows];
        }
        entries.iter().for_each(|&(i, _, v)| largest[i] = largest[i].max(v.abs()));
        for (_, block) in blocks(&self.qp.cones) {
            let own = &mut largest[linear + block.start..linear + block.end];
            let all = own.iter().fold(0.0_f64, |m, v| m.max(*v));
            own.fill(all);
        }
        let factor = |v: f64| (-v.log2().round()).exp2();
        let usual = |v: f64| (1.0 / ORDINARY..=ORDINARY).contains(&v) || v == 0.0 || !factor(v).is_normal();
        largest.into_iter().map(|v| if usual(v) { 1.0 } else { factor(v) }).collect()
    }

    /// The settings of a run.
    fn settings(&self, tolerance: Tolerance, deadline: &Deadline) -> DefaultSettings<f64> {
        let mut settings = DefaultSettings {
            verbose: false,
            max_threads: 1,
            max_iter: tolerance.iterations,
            time_limit: deadline.left().map_or(f64::INFINITY, |t| t.as_secs_f64()),
            tol_gap_abs: tolerance.gap,
            tol_gap_rel: tolerance.gap,
            tol_feas: tolerance.residual,
            reduced_tol_gap_abs: REDUCED,
            reduced_tol_gap_rel: REDUCED,
            reduced_tol_feas: REDUCED,
            // a solver that is to be given new numbers keeps all rows and entries
            presolve_enable: self.cones.is_empty(),
            input_sparse_dropzeros: false,
            #[cfg(feature = "sdp")]
            chordal_decomposition_enable: false,
            ..DefaultSettings::default()
        };
        if tolerance.refined {
            settings.iterative_refinement_reltol = f64::EPSILON;
            settings.iterative_refinement_abstol = f64::EPSILON;
            settings.iterative_refinement_max_iter = 30;
            settings.iterative_refinement_stop_ratio = 2.0;
        }
        settings
    }

    /// The solver with the numbers of the problem at hand; `None` if Clarabel refuses them.
    fn set_up(&mut self, rows: Rows, tolerance: Tolerance, deadline: &Deadline) -> Option<Kept> {
        let Data { p, q, entries, rhs, factors, equalities, inequalities } = self.data(&rows).ok()?;
        let settings = self.settings(tolerance, deadline);
        if let Some(mut kept) = self.kept.take().filter(|kept| kept.rows == rows) {
            let same = kept.solver.update_settings(settings.clone()).is_ok();
            if same && kept.renew(&p, &q, &entries, &rhs).is_some() {
                kept.factors = factors;
                return Some(kept);
            }
        }
        let numbered: Vec<_> = entries.iter().enumerate().map(|(k, &(i, j, _))| (i, j, k as f64)).collect();
        let mut a = csc(Csc::from_triplets(rhs.len(), p.n, &numbered).ok()?);
        let mut order: Vec<_> = entries.iter().map(|&(i, j, _)| (i, j, 0)).collect();
        for (at, v) in a.nzval.iter_mut().enumerate() {
            let k = *v as usize;
            order[k].2 = at;
            *v = entries[k].2;
        }
        let mut cones = vec![SupportedConeT::ZeroConeT(equalities), SupportedConeT::NonnegativeConeT(inequalities)];
        cones.extend(self.cones.iter().cloned());
        let mut solver = DefaultSolver::new(&p, &q, &a, &rhs, &cones, settings).ok()?;
        if !self.cones.is_empty() {
            // as in `renew`, where the scaling is found step by step and applied at once
            solver.update_data(&p, &q, &a, &rhs).ok()?;
        }
        Some(Kept { rows, solver, a, order, factors })
    }

    /// What the rows of the solver say of the slacks and multipliers of the problem.
    fn read(&self, rows: &Rows, (s, v): (&[f64], &[f64]), out: &mut Point) {
        let n = self.qp.n();
        let m_eq = self.qp.n_equality();
        let linear = v.len() - self.qp.n_cone();
        let of_bounds = rows.fixed.len() + rows.inequality.len() + rows.upper.len() + rows.lower.len();
        refill(&mut out.z, self.qp.n_inequality());
        refill(&mut out.z_box, n);
        out.y.clear();
        out.y.extend_from_slice(&v[..m_eq]);
        let mut rest = v[linear - of_bounds..linear].iter();
        let mut next = || rest.next().copied().unwrap_or(f64::NAN);
        rows.fixed.iter().for_each(|&i| out.z_box[i] = next());
        rows.inequality.iter().for_each(|&i| out.z[i] = next().max(0.0));
        rows.upper.iter().for_each(|&i| out.z_box[i] = next());
        rows.lower.iter().for_each(|&i| out.z_box[i] -= next());
        out.s.clear();
        out.s.extend(self.cone_rows.iter().map(|&(to, factor)| s[linear + to] / factor));
        out.y_cone.clear();
        out.y_cone.extend(self.cone_rows.iter().map(|&(to, factor)| v[linear + to] * factor));
    }

    fn run(&mut self, tolerance: Tolerance, deadline: &Deadline, out: &mut Point) -> Outcome {
        let n = self.qp.n();
        self.succeeded = false;
        let Some(mut kept) = self.set_up(Rows::new(&self.qp), tolerance, deadline) else {
            *out = Point::zeros(&self.qp);
            return Outcome { status: Status::NumericalFailure, iterations: 0, certificate: None };
        };
        let end = deadline.clone();
        kept.solver.set_termination_callback(move |_: &_| end.passed());
        kept.solver.solve();
        let solution = &kept.solver.solution;
        out.x.clear();
        out.x.extend_from_slice(&solution.x[..n]);
        let s: Vec<f64> = solution.s.iter().zip(&kept.factors).map(|(s, f)| s / f).collect();
        let v: Vec<f64> = solution.z.iter().zip(&kept.factors).map(|(v, f)| v * f).collect();
        self.read(&kept.rows, (&s, &v), out);
        let mut certificate = None;
        let status = match solution.status {
            SolverStatus::Solved => Status::Solved,
            SolverStatus::AlmostSolved => Status::SolvedInaccurate,
            SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => {
                let mut ray = out.clone();
                ray.x.clear();
                ray.s.clear();
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
        self.succeeded = status.ok();
        self.iterations += solution.iterations as usize;
        if !self.cones.is_empty() {
            self.kept = Some(kept);
        }
        Outcome { status, iterations: self.iterations, certificate }
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
        let deadline = self.told.take().unwrap_or_else(|| self.settings.deadline());
        self.iterations = 0;
        // who limits the iterations did not ask for more of them
        let goes_on = !self.cones.is_empty() && self.settings.max_iter.is_none();
        let (first, next) = match goes_on && self.settings.polish {
            true => (Tolerance { gap: ROUGH, residual: ROUGH, ..self.usual }, self.usual),
            false => (self.usual, LAST_DIGITS),
        };
        self.next = goes_on.then_some(next);
        let mut outcome = self.run(first, &deadline, out);
        let settled = |o: &Outcome, qp: &Qp| o.status.ok() || o.certificate.as_ref().is_some_and(|c| c.verify(qp));
        let scaled = self.kept.as_ref().is_some_and(|kept| kept.factors.iter().any(|&f| f != 1.0));
        if scaled && !settled(&outcome, &self.qp) && !deadline.passed() {
            // some proofs are found in the units of the problem only
            (self.kept, self.as_given) = (None, true);
            outcome = self.run(first, &deadline, out);
            (self.kept, self.as_given) = (None, false);
        }
        self.deadline = Some(deadline);
        outcome
    }

    /// The digits that were asked for, after a rough run; then the last ones, which may tell active cones from others.
    fn tighten(&mut self, out: &mut Point) -> Option<Outcome> {
        let deadline = self.deadline.clone().filter(|deadline| !deadline.passed())?;
        let tolerance = self.next.take().filter(|_| self.succeeded)?;
        self.next = (tolerance != LAST_DIGITS).then_some(LAST_DIGITS);
        Some(self.run(tolerance, &deadline, out))
    }
}

#[cfg(test)]
mod tests;
