//! One instance of a batch, solved or not.

use bpqp::{Certificate, Conic, ConicSolution, Error, Point, Settings, Status};
use std::time::Duration;

/// One solved instance, or one without a solution.
pub(super) struct Instance {
    /// There only where derivatives are.
    pub(super) solution: Option<ConicSolution>,
    pub(super) status: Status,
    pub(super) point: [Vec<f64>; 3],
    pub(super) objective: f64,
    pub(super) certificate: Option<Certificate>,
    /// What is wrong with its data, if they are no problem.
    pub(super) reason: Option<Error>,
    pub(super) solver: &'static str,
    pub(super) iterations: usize,
    pub(super) time: Duration,
}

impl From<ConicSolution> for Instance {
    fn from(s: ConicSolution) -> Self {
        Instance {
            status: s.status,
            point: [s.x.clone(), s.s.clone(), s.y.clone()],
            objective: s.objective,
            certificate: s.info.certificate.clone(),
            reason: None,
            solver: s.info.solver,
            iterations: s.info.iterations,
            time: s.info.time,
            solution: s.ok().then_some(s),
        }
    }
}

impl Instance {
    pub(super) fn failed(status: Status, point: [Vec<f64>; 3], certificate: Option<Certificate>) -> Self {
        let (solver, iterations, time) = ("given", 0, Duration::ZERO);
        let (objective, reason) = (f64::NAN, None);
        Instance { solution: None, status, point, objective, certificate, reason, solver, iterations, time }
    }

    /// One whose data are no problem.
    pub(super) fn invalid(conic: &Conic, error: Error) -> Self {
        let nan = |n: usize| vec![f64::NAN; n];
        let point = [nan(conic.n()), nan(conic.m()), nan(conic.m())];
        Instance { reason: Some(error), solver: "none", ..Instance::failed(Status::InvalidData, point, None) }
    }

    /// What another solver found.
    pub(super) fn given(conic: &Conic, status: &str, point: [Vec<f64>; 3], settings: &Settings) -> Result<Self, Error> {
        let proved = |status: Status, certificate: Certificate, point| match conic.verifies(&certificate) {
            true => Instance::failed(status, point, Some(certificate)),
            false => Instance::failed(Status::NumericalFailure, point, None),
        };
        let [x, s, y] = point;
        Ok(match status {
            "primal_infeasible" => proved(
                Status::PrimalInfeasible,
                Certificate::PrimalInfeasible(Point { y: y.clone(), ..Point::default() }),
                [x, s, y],
            ),
            "dual_infeasible" => proved(Status::DualInfeasible, Certificate::DualInfeasible(x.clone()), [x, s, y]),
            "iteration_limit" => Instance::failed(Status::IterationLimit, [x, s, y], None),
            "time_limit" => Instance::failed(Status::TimeLimit, [x, s, y], None),
            _ if x.iter().chain(&s).chain(&y).any(|v| !v.is_finite()) => {
                Instance::failed(Status::NumericalFailure, [x, s, y], None)
            }
            _ => {
                let first = conic.from_solution(x, s, y, settings)?;
                let better = match first.info.polished && first.ok() {
                    true => {
                        let (x, s, y) = first.at_point();
                        let again = conic.from_solution(x.to_vec(), s.to_vec(), y.to_vec(), settings)?;
                        (again.ok() && again.residuals.relative() <= first.residuals.relative()).then_some(again)
                    }
                    false => None,
                };
                better.unwrap_or(first).into()
            }
        })
    }
}
