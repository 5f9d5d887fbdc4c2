//! Runs a solver over a problem collection and judges the outcome.

use crate::data::Problem;
use bpqp::{Settings, Solution, Status};
use std::time::Duration;

/// What a solver made of a problem.
#[derive(Debug, Clone)]
pub struct Run {
    /// The problem's name.
    pub name: String,
    /// Variables and rows.
    pub size: (usize, usize),
    /// How the solve ended.
    pub status: Status,
    /// The solver that found it.
    pub solver: &'static str,
    /// Its iterations.
    pub iterations: usize,
    /// The active set was verified.
    pub polished: bool,
    /// `|objective - optimum| / (1 + |optimum|)`, not a number where there is no optimum or no solution.
    pub objective: f64,
    /// The larger of the primal and the dual residual, each over `1 +` the norm of its data.
    pub residual: f64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Bounds that a solution is held to.
pub const ACCURACY: f64 = 1e-6;

impl Run {
    /// True if the problem is solved to [`ACCURACY`] in objective and residuals.
    pub fn solved(&self) -> bool {
        self.status.ok() && self.objective <= ACCURACY && self.residual <= ACCURACY
    }

    /// The heading of [`Run::line`].
    pub fn heading() -> String {
        let columns = ("problem", "n", "rows", "status", "solver", "it", "polish", "objective", "residual", "seconds");
        format!(
            "{:<10} {:>6} {:>6}  {:<18} {:<15} {:>6} {:>6} {:>10} {:>10} {:>8}",
            columns.0,
            columns.1,
            columns.2,
            columns.3,
            columns.4,
            columns.5,
            columns.6,
            columns.7,
            columns.8,
            columns.9
        )
    }

    /// One line of a table.
    pub fn line(&self) -> String {
        format!(
            "{:<10} {:>6} {:>6}  {:<18} {:<15} {:>6} {:>6} {:>10.1e} {:>10.1e} {:>8.2}{}",
            self.name,
            self.size.0,
            self.size.1,
            self.status.name(),
            self.solver,
            self.iterations,
            if self.polished { "yes" } else { "no" },
            self.objective,
            self.residual,
            self.seconds,
            if self.solved() { "" } else { "  <--" }
        )
    }
}

/// Solves a problem with the first of these settings that succeeds.
pub fn run(problem: &Problem, chain: &[Settings]) -> Run {
    let start = std::time::Instant::now();
    let mut best: Option<Run> = None;
    for settings in chain {
        let solution = problem.qp.solve(settings).unwrap_or_else(|e| panic!("{}: {e}", problem.name));
        let run = judge(problem, &solution, start.elapsed());
        let done = run.solved() || matches!(run.status, Status::NonConvex | Status::PrimalInfeasible);
        if done || best.as_ref().is_none_or(|b| !b.status.ok()) {
            best = Some(run);
        }
        if done {
            break;
        }
    }
    best.expect("at least one solver")
}

fn judge(problem: &Problem, solution: &Solution, time: Duration) -> Run {
    let qp = &problem.qp;
    let largest = |v: &[f64]| v.iter().filter(|v| v.is_finite()).fold(0.0_f64, |m, v| m.max(v.abs()));
    let primal_data = [qp.b(), qp.h(), qp.lb(), qp.ub()].into_iter().map(largest).fold(0.0, f64::max);
    let optimum = problem.optimum.unwrap_or(f64::NAN);
    let r = &solution.residuals;
    Run {
        name: problem.name.clone(),
        size: (qp.n(), qp.n_equality() + qp.n_inequality()),
        status: solution.status,
        solver: solution.info.solver,
        iterations: solution.info.iterations,
        polished: solution.info.polished,
        objective: (solution.objective + problem.constant - optimum).abs() / (1.0 + optimum.abs()),
        residual: (r.primal / (1.0 + primal_data)).max(r.dual / (1.0 + largest(qp.q()))),
        seconds: time.as_secs_f64(),
    }
}
