//! The native active-set iteration: the repair loop of the polish, given more rounds.
//!
//! Each round solves the KKT system of a set, takes in what is violated and lets go what has the wrong sign (the
//! primal-dual active-set method, which is a semi-smooth Newton method). It needs few rounds from the solution of a
//! similar problem and may fail from a cold start; it never returns a point that does not satisfy the conditions.

use super::{ForwardHandle, ForwardSolver, Outcome};
use crate::active::{ActiveSet, Polisher, identify};
use crate::kkt::{self, KktFactor};
use crate::residuals::{ResidualWork, residuals};
use crate::{Certificate, Deadline, Error, Point, Qp, Settings, Status};

const MAX_ROUNDS: usize = 200;

/// The native active-set iteration.
#[derive(Debug, Clone, Copy)]
pub struct PrimalDualActiveSet {
    /// Rounds before it gives up, unless the settings say otherwise.
    pub rounds: usize,
}

impl Default for PrimalDualActiveSet {
    fn default() -> Self {
        PrimalDualActiveSet { rounds: MAX_ROUNDS }
    }
}

struct Handle {
    qp: Qp,
    kkt: Box<dyn KktFactor>,
    polisher: Polisher,
    set: ActiveSet,
    work: ResidualWork,
    rounds: usize,
    settings: Settings,
    told: Option<Deadline>,
}

impl ForwardSolver for PrimalDualActiveSet {
    fn name(&self) -> &'static str {
        "active_set"
    }

    fn prepare(&self, qp: &Qp, settings: &Settings) -> Result<Box<dyn ForwardHandle>, Error> {
        Ok(Box::new(Handle {
            qp: qp.clone(),
            kkt: kkt::prepare(qp.kkt())?,
            polisher: Polisher::default(),
            set: ActiveSet::default(),
            work: ResidualWork::default(),
            rounds: settings.max_iter.unwrap_or(self.rounds),
            settings: settings.clone(),
            told: None,
        }))
    }
}

impl ForwardHandle for Handle {
    fn update(&mut self, qp: &Qp) -> Result<(), Error> {
        self.qp = qp.clone();
        self.kkt.load(qp.kkt())
    }

    fn end_by(&mut self, deadline: &Deadline) {
        self.told = Some(deadline.clone());
    }

    fn solve(&mut self, warm: Option<&Point>, out: &mut Point) -> Outcome {
        match warm {
            Some(warm) => out.clone_from(warm),
            None => out.reset(&self.qp),
        }
        residuals(&self.qp, out, &mut self.work);
        self.polisher.scales.load(&self.qp);
        identify(&self.qp, out, &self.work, &self.polisher.scales, &mut self.set);
        if warm.is_none() {
            // from nothing: no inequality is active
            self.set.g.fill(false);
            for (side, i) in self.set.bound.iter_mut().zip(0..) {
                let fixed = self.qp.lb[i] == self.qp.ub[i];
                *side = if fixed { crate::active::Side::Fixed } else { crate::active::Side::Free };
            }
        }
        self.polisher.deadline = self.told.take().unwrap_or_else(|| self.settings.deadline());
        self.kkt.begin();
        let report = self.polisher.polish(&self.qp, &mut *self.kkt, self.rounds, out, &mut self.set);
        let status = match report.verified {
            true => Status::Solved,
            false if self.polisher.deadline.passed() => Status::TimeLimit,
            false => Status::IterationLimit,
        };
        if let Some(certificate) = contradiction(&self.qp).filter(|_| !report.verified) {
            return Outcome {
                status: Status::PrimalInfeasible,
                iterations: report.rounds,
                certificate: Some(certificate),
            };
        }
        Outcome { status, iterations: report.rounds, certificate: None }
    }
}

/// The proof that a program without variables has a linear row that does not hold: that row.
fn contradiction(qp: &Qp) -> Option<Certificate> {
    if qp.n() > 0 {
        return None;
    }
    let mut ray = Point::zeros(qp);
    ray.x.clear();
    ray.s.clear();
    match (qp.b.iter().position(|b| *b != 0.0), qp.h.iter().position(|h| *h < 0.0)) {
        (Some(i), _) => ray.y[i] = -qp.b[i].signum(),
        (None, Some(i)) => ray.z[i] = 1.0,
        (None, None) => return None,
    }
    Some(Certificate::PrimalInfeasible(ray)).filter(|certificate| certificate.verify(qp))
}
