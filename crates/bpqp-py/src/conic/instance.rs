//! One instance of a batch, solved or not.

use super::values::POINT;
use bpqp::{Certificate, Conic, ConicSolution, Error, Point, Residuals, Settings, Status};
use std::time::Duration;

/// One solved instance, or one without a solution.
pub(super) struct Instance {
    /// There only where derivatives are.
    pub solution: Option<ConicSolution>,
    pub status: Status,
    /// `x, s, y, z_box` of one without a solution; empty where there is none.
    point: [Vec<f64>; POINT],
    pub objective: f64,
    pub residuals: Residuals,
    pub certificate: Option<Certificate>,
    /// What is wrong with its data, if they are no problem.
    pub reason: Option<Error>,
    pub solver: &'static str,
    pub iterations: usize,
    pub time: Duration,
    pub moved: f64,
}

impl From<ConicSolution> for Instance {
    fn from(s: ConicSolution) -> Self {
        Instance {
            status: s.status,
            point: if s.ok() { Default::default() } else { [s.x.clone(), s.s.clone(), s.y.clone(), s.z_box.clone()] },
            objective: s.objective,
            residuals: s.residuals,
            certificate: s.info.certificate.clone(),
            reason: None,
            solver: s.info.solver,
            iterations: s.info.iterations,
            time: s.info.time,
            moved: s.info.moved,
            solution: s.ok().then_some(s),
        }
    }
}

impl Instance {
    /// True if there is a solution that may be used, that of the closest feasible program included.
    pub fn ok(&self) -> bool {
        self.solution.is_some()
    }

    /// `x`, `s`, `y` or `z_box`; empty where there is none.
    pub fn block(&self, k: usize) -> &[f64] {
        match &self.solution {
            Some(s) => [&s.x, &s.s, &s.y, &s.z_box][k],
            None => &self.point[k],
        }
    }

    pub fn failed(status: Status, point: [Vec<f64>; POINT], certificate: Option<Certificate>) -> Self {
        Instance {
            solution: None,
            status,
            point,
            objective: f64::NAN,
            residuals: Residuals::UNKNOWN,
            certificate,
            reason: None,
            solver: "given",
            iterations: 0,
            time: Duration::ZERO,
            moved: f64::NAN,
        }
    }

    /// One whose data are no problem.
    pub fn invalid(conic: &Conic, error: Error) -> Self {
        let point = super::values::widths(conic).map(|width| vec![f64::NAN; width]);
        Instance { reason: Some(error), solver: "none", ..Instance::failed(Status::InvalidData, point, None) }
    }

    /// What another solver found.
    pub fn given(conic: &Conic, status: &str, point: [Vec<f64>; POINT], settings: &Settings) -> Result<Self, Error> {
        let proved = |status: Status, certificate: Certificate, point| {
            let certificate = conic.cleaned(&certificate);
            match conic.verifies(&certificate) {
                true => Instance::failed(status, point, Some(certificate)),
                false => Instance::failed(Status::NumericalFailure, point, None),
            }
        };
        let finite = point.iter().flatten().all(|v| v.is_finite());
        let [x, _, y, z_box] = &point;
        Ok(match status {
            "primal_infeasible" => {
                let proof = Point { y: y.clone(), z_box: z_box.clone(), ..Point::default() };
                proved(Status::PrimalInfeasible, Certificate::PrimalInfeasible(proof), point)
            }
            "dual_infeasible" => proved(Status::DualInfeasible, Certificate::DualInfeasible(x.clone()), point),
            "iteration_limit" => Instance::failed(Status::IterationLimit, point, None),
            "time_limit" => Instance::failed(Status::TimeLimit, point, None),
            _ if !finite => Instance::failed(Status::NumericalFailure, point, None),
            _ => {
                let first = conic.from_point(point, settings)?;
                let better = match first.info.polished && first.ok() {
                    true => {
                        let (x, s, y) = first.at_point();
                        let polished = [x.to_vec(), s.to_vec(), y.to_vec(), first.at_z_box().to_vec()];
                        let again = conic.from_point(polished, settings)?;
                        (again.ok() && again.residuals.relative() <= first.residuals.relative()).then_some(again)
                    }
                    false => None,
                };
                better.unwrap_or(first).into()
            }
        })
    }
}
