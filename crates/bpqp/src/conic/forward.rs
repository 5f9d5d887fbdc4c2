//! The Clarabel interior point (Goulart & Chen, "Clarabel: An interior-point solver for conic programs with quadratic
//! objectives", 2024), set up once per structure.
//!
//! It has no dual cones: their rows are mapped by `(u, v, w) -> (-v, -u, e w)` and `(u/a, v/(1 - a), w)`, which take the
//! dual exponential and power cones onto the primal ones.

use super::{Conic, ConicCertificate};
use crate::{Cone, Csc, Error, Interrupt, Settings, Status};
use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};
use std::time::Duration;

/// Tightest tolerance asked for at first: below it, it mostly stalls.
const TIGHTEST: f64 = 1e-10;
/// Tolerances of a run that is to end where it stalls, at its last digits. Residuals have a looser one: a run also ends
/// where they grow to 100 times the tolerance.
const LAST_DIGITS: Tolerance = Tolerance { gap: 1e-13, residual: 1e-12, iterations: 100 };
/// Tolerance at which a stalled run still counts as inaccurately solved. The point is measured anyway.
const REDUCED: f64 = 1e-6;

/// Where a run ends.
#[derive(Clone, Copy)]
struct Tolerance {
    gap: f64,
    residual: f64,
    iterations: u32,
}

/// A prepared solver.
pub(super) struct Forward {
    settings: DefaultSettings<f64>,
    usual: Tolerance,
    interrupt: Option<Interrupt>,
    solver: Option<DefaultSolver<f64>>,
    cones: Vec<SupportedConeT<f64>>,
    /// Per row: where it stands in the rows of the solver, and its factor.
    rows: Vec<(usize, f64)>,
    /// Entry of A at each entry of the solver's matrix.
    order: Vec<usize>,
    a: CscMatrix<f64>,
}

/// What it says of its result.
pub(super) struct Outcome {
    pub status: Status,
    pub iterations: usize,
    pub certificate: Option<ConicCertificate>,
    pub x: Vec<f64>,
    pub s: Vec<f64>,
    pub y: Vec<f64>,
}

fn csc(m: Csc) -> CscMatrix<f64> {
    CscMatrix::new(m.nrows(), m.ncols(), m.indptr().to_vec(), m.indices().to_vec(), m.values().to_vec())
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
                advice: "build with the feature `sdp` (it needs a LAPACK), or hand in a solution with Conic::from_solution",
            });
        }
    })
}

fn upper(conic: &Conic) -> Result<CscMatrix<f64>, Error> {
    let n = conic.n();
    let Some(p) = conic.p() else { return Ok(CscMatrix::zeros((n, n))) };
    let entry = |(i, j, v): (usize, usize, f64)| match (conic.upper, i == j) {
        (true, _) | (_, true) => (i.min(j), i.max(j), v),
        (false, false) => (i.min(j), i.max(j), 0.5 * v),
    };
    Csc::from_triplets(n, n, &p.triplets().map(entry).collect::<Vec<_>>()).map(csc)
}

impl Forward {
    pub fn new(conic: &Conic, settings: &Settings) -> Result<Self, Error> {
        // the layer measures in absolute units too: ask for more than the tolerance
        let tolerance = (0.01 * settings.eps_abs.max(settings.eps_rel)).clamp(TIGHTEST, 1e-9);
        let iterations = settings.max_iter.map_or(200, |k| u32::try_from(k).unwrap_or(u32::MAX));
        let interrupt = settings.interrupt.clone();
        let settings = DefaultSettings {
            verbose: false,
            max_threads: 1,
            presolve_enable: false,
            input_sparse_dropzeros: false,
            reduced_tol_gap_abs: REDUCED,
            reduced_tol_gap_rel: REDUCED,
            reduced_tol_feas: REDUCED,
            #[cfg(feature = "sdp")]
            chordal_decomposition_enable: false,
            ..DefaultSettings::default()
        };
        let cones = conic.cones.iter().map(|&c| supported(c)).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::with_capacity(conic.m());
        for cone in conic.cones.iter() {
            let start = rows.len();
            match *cone {
                Cone::DualExponential => {
                    rows.extend([(start + 1, -1.0), (start, -1.0), (start + 2, std::f64::consts::E)]);
                }
                Cone::DualPower(a) => {
                    rows.extend([(start, 1.0 / a), (start + 1, 1.0 / (1.0 - a)), (start + 2, 1.0)]);
                }
                _ => rows.extend((0..cone.rows()).map(|i| (start + i, 1.0))),
            }
        }
        let indices: Vec<_> = conic.a.triplets().enumerate().map(|(k, (i, j, _))| (rows[i].0, j, k as f64)).collect();
        let permuted = Csc::from_triplets(conic.m(), conic.n(), &indices)?;
        let order = permuted.values().iter().map(|&k| k as usize).collect();
        Ok(Forward {
            settings,
            usual: Tolerance { gap: tolerance, residual: tolerance, iterations },
            interrupt,
            solver: None,
            cones,
            rows,
            order,
            a: csc(permuted),
        })
    }

    /// Solves to the tolerance of the settings, or to its last digits.
    pub fn solve(&mut self, conic: &Conic, last_digits: bool, limit: Option<Duration>) -> Result<Outcome, Error> {
        let Tolerance { gap, residual, iterations } = if last_digits { LAST_DIGITS } else { self.usual };
        self.settings.tol_gap_abs = gap;
        self.settings.tol_gap_rel = gap;
        self.settings.tol_feas = residual;
        self.settings.max_iter = iterations;
        self.settings.time_limit = limit.map_or(f64::INFINITY, |t| t.as_secs_f64());
        let (entries, values) = (conic.a.indices(), conic.a.values());
        for (v, &k) in self.a.nzval.iter_mut().zip(&self.order) {
            *v = self.rows[entries[k]].1 * values[k];
        }
        let mut b = vec![0.0; conic.m()];
        for (&(to, factor), v) in self.rows.iter().zip(conic.b.iter()) {
            b[to] = factor * v;
        }
        let p = upper(conic)?;
        let q = conic.q.to_vec();
        let updated = match &mut self.solver {
            None => false,
            Some(solver) => {
                let updated = solver.update_data(&p, &q, &self.a, &b).is_ok();
                updated && solver.update_settings(self.settings.clone()).is_ok()
            }
        };
        if !updated {
            let new = DefaultSolver::new(&p, &q, &self.a, &b, &self.cones, self.settings.clone());
            let mut new = new.map_err(|e| Error::Unsupported {
                what: format!("this problem in Clarabel ({e})"),
                advice: "hand in a solution of another solver with Conic::from_solution",
            })?;
            if let Some(interrupt) = self.interrupt.clone() {
                new.set_termination_callback(move |_: &_| interrupt.requested());
            }
            self.solver = Some(new);
        }
        let Some(solver) = &mut self.solver else { unreachable!("set above") };
        solver.solve();
        let solution = &solver.solution;
        let s = self.rows.iter().map(|&(to, factor)| solution.s[to] / factor).collect();
        let y: Vec<f64> = self.rows.iter().map(|&(to, factor)| solution.z[to] * factor).collect();
        let x = solution.x.clone();
        let (status, certificate) = match solution.status {
            SolverStatus::Solved => (Status::Solved, None),
            SolverStatus::AlmostSolved => (Status::SolvedInaccurate, None),
            SolverStatus::PrimalInfeasible | SolverStatus::AlmostPrimalInfeasible => {
                (Status::PrimalInfeasible, Some(ConicCertificate::PrimalInfeasible(y.clone()).cleaned(conic)))
            }
            SolverStatus::DualInfeasible | SolverStatus::AlmostDualInfeasible => {
                (Status::DualInfeasible, Some(ConicCertificate::DualInfeasible(x.clone()).cleaned(conic)))
            }
            SolverStatus::MaxIterations => (Status::IterationLimit, None),
            SolverStatus::MaxTime | SolverStatus::CallbackTerminated => (Status::TimeLimit, None),
            _ => (Status::NumericalFailure, None),
        };
        Ok(Outcome { status, iterations: solution.iterations as usize, certificate, x, s, y })
    }
}
