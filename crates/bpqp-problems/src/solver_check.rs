//! The laws that a forward solver obeys, checked from outside: it may live in any crate.

use crate::conic::{Place, instance};
use crate::{Family, Rng};
use bpqp::forward::{ForwardHandle, ForwardSolver, Outcome};
use bpqp::residuals::residuals;
use bpqp::{Cone, Deadline, Error, Hessian, Layer, Point, Qp, Settings, Status};
use faer::mat;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Distance of a solution from the known one, where residuals of 1e-8 are asked for; mostly the polish makes it exact.
const POINT: f64 = 1e-7;
/// Distance between two results of a solver that should be one, relative to `1 + |x|`.
const SAME: f64 = 1e-4;
/// Relative residuals up to which a point counts as a solution that the polish can finish.
const CLAIM: f64 = 1e-3;

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The law, in a few words.
    pub law: &'static str,
    /// The problem on which it was broken: a family of [`Family`] with its size and seed, or what it is.
    pub problem: String,
    /// What the solver did.
    pub what: String,
}

/// What [`check_solver`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SolverReport {
    /// The solver's name.
    pub solver: &'static str,
    /// Problems that it solved.
    pub solved: usize,
    /// Problems that it refused with [`Error::Unsupported`] when it was prepared.
    pub refused: usize,
    /// Problems that it honestly failed on, with the status it gave.
    pub unsolved: Vec<(String, Status)>,
    /// Laws that it broke.
    pub findings: Vec<Finding>,
}

impl SolverReport {
    /// True if it solved something and broke no law.
    pub fn ok(&self) -> bool {
        self.solved > 0 && self.findings.is_empty()
    }

    fn broken(&mut self, law: &'static str, problem: &str, what: impl Into<String>) {
        self.findings.push(Finding { law, problem: problem.to_owned(), what: what.into() });
    }
}

impl fmt::Display for SolverReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unsolved, broken) = (self.unsolved.len(), self.findings.len());
        writeln!(
            f,
            "{}: {} solved, {unsolved} not solved, {} refused, {broken} findings",
            self.solver, self.solved, self.refused
        )?;
        for (problem, status) in &self.unsolved {
            writeln!(f, "  not solved: {problem}: {status}")?;
        }
        for Finding { law, problem, what } in &self.findings {
            writeln!(f, "  {law}: {problem}: {what}")?;
        }
        Ok(())
    }
}

/// Runs a solver on small problems with known solutions, over every structure of data and every cone that it takes, and on
/// problems without a solution:
///
/// - **solution**: what it claims is solved, the polish takes to the known solution;
/// - **claim**: a point that it calls solved has the shapes of the problem, is finite, and satisfies the optimality
///   conditions to 1e-3 at least; one that it does not call solved need not;
/// - **same bits**: two fresh handles give the same numbers;
/// - **update**: a handle that was given other numbers answers as a fresh one, and as before when it is given the old ones;
/// - **warm start**: from its own solution, or from anywhere, it ends at the same point, or says that it did not;
/// - **time limit**: told to end at once it returns, and claims nothing that is not so;
/// - **no solution**: of an infeasible or unbounded problem it claims no solution, and its certificates prove what they claim.
///
/// Gradients need no check: they come from the polished point, whoever found it.
///
/// ```
/// use bpqp::forward::InteriorPoint;
/// use bpqp_problems::check_solver;
/// use std::sync::Arc;
/// let report = check_solver(Arc::new(InteriorPoint));
/// assert!(report.ok(), "{report}");
/// ```
pub fn check_solver(solver: Arc<dyn ForwardSolver>) -> SolverReport {
    let mut report = SolverReport { solver: solver.name(), ..SolverReport::default() };
    for family in Family::all() {
        for seed in 0..2 {
            let made = family.instance(12, seed);
            check(&solver, (&made.name, &made.qp, &made.solution), &mut report);
        }
    }
    if solver.takes_cones() {
        for (name, qp, solution) in curved() {
            check(&solver, (&name, &qp, &solution), &mut report);
        }
    }
    for (name, qp) in without_solution() {
        if let Some(mut handle) = prepare(&solver, (name, &qp), &mut report) {
            let mut point = Point::zeros(&qp);
            let outcome = handle.solve(None, &mut point);
            if outcome.status.ok() {
                report.broken("no solution", name, format!("it claims {}", outcome.status));
            } else if let Some(certificate) = outcome.certificate.as_ref().filter(|c| !c.verify(&qp)) {
                let violation = certificate.violation(&qp);
                report.broken("no solution", name, format!("its certificate proves nothing ({violation:.1e})"));
            }
        }
    }
    report
}

/// A handle; `None` where the solver refuses the problem.
fn prepare(
    solver: &Arc<dyn ForwardSolver>,
    (name, qp): (&str, &Qp),
    report: &mut SolverReport,
) -> Option<Box<dyn ForwardHandle>> {
    match solver.prepare(qp, &Settings::default()) {
        Ok(handle) => Some(handle),
        Err(Error::Unsupported { .. }) => {
            report.refused += 1;
            None
        }
        Err(e) => {
            report.broken("solution", name, format!("it cannot be prepared: {e}"));
            None
        }
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    a.iter().zip(b).fold(0.0, |m, (a, b)| if (a - b).is_nan() { f64::NAN } else { (a - b).abs().max(m) })
}

/// Two results of one problem are one.
fn same(a: &(Outcome, Point), b: &(Outcome, Point)) -> bool {
    let scale = 1.0 + b.1.x.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    a.0.status.ok() == b.0.status.ok() && (!b.0.status.ok() || distance(&a.1.x, &b.1.x) <= SAME * scale)
}

fn run(handle: &mut Box<dyn ForwardHandle>, qp: &Qp, warm: Option<&Point>) -> (Outcome, Point) {
    let mut point = Point::zeros(qp);
    let outcome = handle.solve(warm, &mut point);
    (outcome, point)
}

fn check(solver: &Arc<dyn ForwardSolver>, (name, qp, known): (&str, &Qp, &Point), report: &mut SolverReport) {
    let Some(mut handle) = prepare(solver, (name, qp), report) else { return };
    let cold = run(&mut handle, qp, None);
    claim(name, qp, &cold, report);

    // the whole way, as a layer goes it
    let layer = Layer::with_solvers(qp.clone(), vec![solver.clone()], Settings::default());
    match layer.and_then(|mut layer| layer.solve().cloned()) {
        Err(e) => report.broken("solution", name, e.to_string()),
        Ok(solution) if !solution.ok() => report.unsolved.push((name.to_owned(), solution.status)),
        Ok(solution) => {
            let parts = [(&solution.x, &known.x), (&solution.z, &known.z), (&solution.z_box, &known.z_box)];
            let worst = parts.map(|(a, b)| distance(a, b)).into_iter().fold(0.0, |m, d| if d <= m { m } else { d });
            if worst <= POINT {
                report.solved += 1;
            } else {
                report.broken("solution", name, format!("{worst:.1e} from the known solution"));
            }
        }
    }

    let Ok(mut other) = solver.prepare(qp, &Settings::default()) else { return };
    let anywhere = Point { x: vec![0.5; qp.n()], ..Point::zeros(qp) };
    if cold.0.status.ok() {
        for (what, warm) in [("from its solution", &cold.1), ("from elsewhere", &anywhere)] {
            let found = run(&mut other, qp, Some(warm));
            if found.0.status.ok() && !same(&found, &cold) {
                let apart = distance(&found.1.x, &cold.1.x);
                report.broken("warm start", name, format!("{what}: {apart:.1e} apart"));
            }
        }
    }
    let moved: Vec<f64> = qp.q().iter().enumerate().map(|(i, q)| 1.1 * q + 0.01 * (i as f64 - 3.0)).collect();
    let prepared = qp.clone().with_q(moved).and_then(|near| {
        let fresh = solver.prepare(&near, &Settings::default())?;
        Ok((near, fresh))
    });
    if let Ok((near, mut fresh)) = prepared {
        let expected = run(&mut fresh, &near, None);
        match handle.update(&near) {
            Err(e) => report.broken("update", name, e.to_string()),
            Ok(()) => {
                let mut settle = |what: &str, of: &Qp, handle: &mut Box<dyn ForwardHandle>, expected| {
                    let found = run(handle, of, None);
                    if !same(&found, expected) {
                        let apart = distance(&found.1.x, &expected.1.x);
                        report.broken("update", name, format!("{what}: {apart:.1e} apart"));
                    }
                };
                settle("with other numbers", &near, &mut handle, &expected);
                if handle.update(qp).is_ok() {
                    settle("back to the old numbers", qp, &mut handle, &cold);
                }
            }
        }
    }
    if let Ok(mut again) = solver.prepare(qp, &Settings::default()) {
        let second = run(&mut again, qp, None);
        let bits = |p: &Point| p.x.iter().chain(&p.y).chain(&p.z).map(|v| v.to_bits()).collect::<Vec<_>>();
        if bits(&second.1) != bits(&cold.1) {
            report.broken("same bits", name, "two fresh handles differ");
        }
        again.end_by(&Deadline::new(Some(Duration::ZERO), None));
        let late = run(&mut again, qp, None);
        if late.0.status == Status::Solved {
            claim(name, qp, &late, report);
        }
    }
}

/// Is a point that is called solved one?
fn claim(name: &str, qp: &Qp, (outcome, point): &(Outcome, Point), report: &mut SolverReport) {
    if outcome.status != Status::Solved {
        return;
    }
    let lengths = [point.x.len(), point.y.len(), point.z.len(), point.z_box.len(), point.s.len(), point.y_cone.len()];
    let expected = [qp.n(), qp.n_equality(), qp.n_inequality(), qp.n(), qp.n_cone(), qp.n_cone()];
    if lengths != expected || !point.is_finite() {
        return report.broken("claim", name, "its point has other shapes, or is not finite");
    }
    let (found, _) = residuals(qp, point, &mut bpqp::residuals::ResidualWork::default());
    let relative = found.relative();
    if relative.is_nan() || relative > CLAIM {
        report.broken("claim", name, format!("solved, with a relative residual of {relative:.1e}"));
    }
}

/// One cone of each kind that every build can solve, at each place, with its solution.
fn curved() -> Vec<(String, Qp, Point)> {
    let cones =
        [Cone::SecondOrder(4), Cone::Exponential, Cone::DualExponential, Cone::Power(0.3), Cone::DualPower(0.6)];
    let mut out = Vec::new();
    for (k, cone) in cones.into_iter().enumerate() {
        for place in [Place::Inside, Place::Boundary, Place::Apex] {
            let made = instance(vec![cone], vec![place], 6, false, &mut Rng::new(90 + k as u64));
            let Some(p) = made.problem.p() else { continue };
            let qp = Qp::new(Hessian::Sparse(p.clone()), made.problem.q())
                .and_then(|qp| qp.with_cones(vec![cone], made.problem.a().clone(), made.problem.b()));
            if let Ok(qp) = qp {
                let point = Point { x: made.x, s: made.s, y_cone: made.y, ..Point::zeros(&qp) };
                out.push((format!("{} {place:?}", cone.name()), qp, point));
            }
        }
    }
    out
}

/// Problems without a solution.
fn without_solution() -> Vec<(&'static str, Qp)> {
    let one = || Qp::new(Hessian::Diagonal(vec![1.0, 1.0]), vec![0.0, 0.0]);
    let problems = [
        (
            "x_1 + x_2 <= -1 with x >= 0",
            one()
                .and_then(|qp| qp.inequality(mat![[1.0, 1.0]], vec![-1.0]))
                .and_then(|qp| qp.bounds(vec![0.0; 2], vec![])),
        ),
        (
            "x_1 + x_2 = 1 and x_1 + x_2 = 2",
            one().and_then(|qp| qp.equality(mat![[1.0, 1.0], [1.0, 1.0]], vec![1.0, 2.0])),
        ),
        ("min -x_1 with x >= 0", Qp::linear(vec![-1.0, 0.0]).and_then(|qp| qp.bounds(vec![0.0; 2], vec![]))),
        (
            "min x_2^2/2 - x_1 with x_1 >= x_2",
            Qp::new(Hessian::Diagonal(vec![0.0, 1.0]), vec![-1.0, 0.0])
                .and_then(|qp| qp.inequality(mat![[-1.0, 1.0]], vec![0.0])),
        ),
    ];
    problems.into_iter().filter_map(|(name, qp)| Some((name, qp.ok()?))).collect()
}
