//! The checker that users run on solvers of their own: it passes every solver here, and catches one that breaks a law.

use bpqp::forward::{self, ForwardHandle, ForwardSolver, Outcome};
use bpqp::{Certificate, Error, Point, Qp, Settings, Solver, Status};
use bpqp_problems::check_solver;
use std::sync::Arc;

#[test]
fn every_solver_passes_the_check_for_solvers() {
    for solver in Solver::ALL {
        let report = check_solver(forward::solver(solver));
        assert!(report.ok(), "{report}");
        // a cold iteration on active sets knows no linear programs
        assert!(report.unsolved.is_empty() || solver == Solver::ActiveSet, "{report}");
        assert!(report.solved > 100, "{report}");
    }
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// Claims what it did not solve.
    Claims,
    /// Keeps the first problem for ever.
    Forgets,
    /// Returns where it was told to start.
    Stays,
    /// Calls everything infeasible that is not easy.
    Proves,
    /// Answers otherwise every time.
    Wavers,
}

struct Faulty(Fault);

struct Handle {
    fault: Fault,
    good: Box<dyn ForwardHandle>,
    qp: Qp,
}

impl ForwardSolver for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn prepare(&self, qp: &Qp, settings: &Settings) -> Result<Box<dyn ForwardHandle>, Error> {
        let good = forward::InteriorPoint.prepare(qp, settings)?;
        Ok(Box::new(Handle { fault: self.0, good, qp: qp.clone() }))
    }
}

impl ForwardHandle for Handle {
    fn update(&mut self, qp: &Qp) -> Result<(), Error> {
        if self.fault == Fault::Forgets {
            return Ok(());
        }
        self.qp = qp.clone();
        self.good.update(qp)
    }

    fn solve(&mut self, warm: Option<&Point>, out: &mut Point) -> Outcome {
        use std::sync::atomic::{AtomicU64, Ordering};
        static CALLS: AtomicU64 = AtomicU64::new(0);
        let mut outcome = self.good.solve(None, out);
        match self.fault {
            Fault::Claims => {
                *out = Point::zeros(&self.qp);
                outcome = Outcome { status: Status::Solved, iterations: 1, certificate: None };
            }
            Fault::Stays => {
                if let Some(warm) = warm {
                    out.clone_from(warm);
                }
            }
            Fault::Proves if !outcome.status.ok() => {
                let certificate = Some(Certificate::PrimalInfeasible(Point::zeros(&self.qp)));
                outcome = Outcome { status: Status::PrimalInfeasible, certificate, ..outcome };
            }
            Fault::Wavers => {
                let call = CALLS.fetch_add(1, Ordering::Relaxed) as f64;
                out.x.iter_mut().for_each(|x| *x += 1e-12 * call);
            }
            Fault::Forgets | Fault::Proves => {}
        }
        outcome
    }
}

#[test]
fn the_check_for_solvers_catches_each_fault() {
    for (fault, law) in [
        (Fault::Claims, "claim"),
        (Fault::Claims, "no solution"),
        (Fault::Forgets, "update"),
        (Fault::Stays, "warm start"),
        (Fault::Proves, "no solution"),
        (Fault::Wavers, "same bits"),
    ] {
        let report = check_solver(Arc::new(Faulty(fault)));
        assert!(!report.ok() && report.findings.iter().any(|f| f.law == law), "{fault:?}\n{report}");
    }
}
