//! The laws that every pair of solvers obeys on every structure of problem. Each test is named after its law.

mod batch;
mod closed_forms;
mod degenerate;
mod derivatives;
mod errors;
mod faces;
mod forms;
mod given;
mod invariance;
mod modes;
mod outcomes;
mod pairs;
mod reuse;
mod second;
mod solvers;

use bpqp::{Backward, Settings, Solution, Solver};
use bpqp_testkit::Instance;

/// Every forward solver.
const FORWARD: [Solver; Solver::ALL.len()] = Solver::ALL;

/// Every backward solver.
const BACKWARD: [Backward; 2] = [Backward::Direct, Backward::FirstOrder];

fn settings(solver: Solver, backward: Backward) -> Settings {
    let mut settings = Settings::with_solver(solver);
    settings.backward = backward;
    settings
}

/// Solves an instance; what went wrong if it fails.
fn attempt(instance: &Instance, settings: &Settings) -> Result<Solution, String> {
    let name = format!("{} by {}", instance.name, settings.solver.name());
    let solution = instance.qp.solve(settings).map_err(|e| format!("{name}: {e}"))?;
    if solution.ok() { Ok(solution) } else { Err(format!("{name}: {}", solution.status)) }
}

/// Solves an instance and insists on success.
fn solved(instance: &Instance, settings: &Settings) -> Solution {
    attempt(instance, settings).unwrap_or_else(|e| panic!("{e}"))
}

/// Reports every failure of a law at once.
fn report(failures: &[String]) {
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// True for the pairs that do not exist: the first-order backward solver needs curvature everywhere, and so does the
/// active-set iteration.
fn undefined(instance: &Instance, solver: Solver, _backward: Backward) -> bool {
    solver == Solver::ActiveSet && instance.qp.p().is_zero()
}
