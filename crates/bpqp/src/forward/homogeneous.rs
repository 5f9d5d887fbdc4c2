//! The native interior point for products of symmetric cones: half lines, second-order and semidefinite cones. A homogeneous
//! embedding of problems with quadratic objectives, as in Clarabel (Goulart & Chen, "Clarabel: An interior-point solver for
//! conic programs with quadratic objectives", 2024), on factorizations of our own that condense each cone.

mod dense;
mod iterate;
mod own;
mod program;
mod scaling;
mod second_order;
mod semidefinite;
mod separable;
mod sparse;
mod system;

use self::iterate::{Iterate, Measures};
use self::program::Program;
use self::scaling::Scaling;
use self::system::System;
use super::{ForwardHandle, ForwardSolver, Outcome};
use crate::residuals::Point;
use crate::{Certificate, Cone, Deadline, Error, Qp, Settings, Status};

/// Tolerances of gap and residuals, from those of the settings: the layer measures in absolute units too.
const PART: f64 = 0.1;
const TIGHTEST: f64 = 1e-10;
const LOOSEST: f64 = 1e-9;
/// Those of a run that is to end where it stalls, at its last digits.
const LAST_DIGITS: (f64, f64) = (1e-13, 1e-12);
/// Tolerance at which a stalled run still counts as inaccurately solved. The layer measures the point anyway.
const REDUCED: f64 = 1e-6;
/// Iterations before it gives up.
const MAX_ITER: usize = 200;
/// A step of less than this part leads nowhere.
const SHORTEST: f64 = 1e-5;
/// Residuals that grow by this factor above the tolerances are those of a system that broke down.
const GROWTH: f64 = 100.0;
/// Iterations without a better point before it gives up.
const PATIENCE: usize = 12;
/// Violation of a proof relative to its value that is worth a closer look, and where nothing else was found.
const SURE: f64 = 1e-8;
const LAST_RESORT: f64 = 1e-5;
/// `kappa/tau` from which on the iteration leads to a proof.
const NO_SOLUTION: f64 = 1e3;
/// Where it is this large nothing is left of a solution.
const NOTHING: f64 = 1e13;

/// The homogeneous interior point.
#[derive(Debug, Clone, Copy, Default)]
pub struct Homogeneous;

impl Homogeneous {
    /// True if these cones are symmetric.
    pub(crate) fn takes(cones: &[Cone]) -> bool {
        cones.iter().all(|cone| match cone {
            Cone::Zero(_) | Cone::Nonnegative(_) | Cone::SecondOrder(_) | Cone::PsdTriangle(_) => true,
            Cone::Exponential | Cone::Power(_) | Cone::DualExponential | Cone::DualPower(_) => false,
        })
    }
}

impl ForwardSolver for Homogeneous {
    fn name(&self) -> &'static str {
        "homogeneous"
    }

    fn takes_cones(&self) -> bool {
        true
    }

    fn prepare(&self, qp: &Qp, settings: &Settings) -> Result<Box<dyn ForwardHandle>, Error> {
        settings.validate()?;
        if let Some(cone) = qp.cones.iter().find(|cone| !Self::takes(&[**cone])) {
            return Err(Error::Unsupported {
                what: format!("the cone {} with the homogeneous interior point", cone.name()),
                advice: "name auto or clarabel",
            });
        }
        Ok(Box::new(Handle {
            settings: settings.clone(),
            qp: qp.clone(),
            core: Core::new(qp)?,
            told: None,
            deadline: None,
        }))
    }
}

/// A problem with all buffers.
struct Core {
    program: Program,
    scaling: Scaling,
    system: System,
    it: Iterate,
    iterations: usize,
    succeeded: bool,
}

impl Core {
    fn new(qp: &Qp) -> Result<Self, Error> {
        let program = Program::new(qp);
        let scaling = Scaling::new(program.linear, program.cones()).ok_or_else(|| Error::Unsupported {
            what: "cones that are not symmetric".to_owned(),
            advice: "name auto or clarabel",
        })?;
        let system = System::new(&program, &scaling)?;
        let it = Iterate::new(&program);
        Ok(Core { program, scaling, system, it, iterations: 0, succeeded: false })
    }

    /// A proof from where the iteration is, if it holds.
    fn proof(&self, measures: &Measures, enough: f64) -> Option<(Status, Certificate)> {
        let (at, qp) = (&self.it.at, self.program.qp());
        let mut candidates = Vec::new();
        if measures.primal_proof <= enough {
            let mut ray = Point::default();
            self.program.write((&at.x, &at.y, &at.z, &at.s), 1.0, &mut ray);
            ray.x.clear();
            ray.s.clear();
            candidates.push((measures.primal_proof, Status::PrimalInfeasible, Certificate::PrimalInfeasible(ray)));
        }
        if measures.dual_proof <= enough {
            let direction = Certificate::DualInfeasible(self.program.direction(&at.x));
            candidates.push((measures.dual_proof, Status::DualInfeasible, direction));
        }
        candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
        candidates.into_iter().find_map(|(_, status, proof)| {
            let proof = proof.cleaned(qp);
            proof.verify(qp).then_some((status, proof))
        })
    }

    fn write(&self, out: &mut Point) {
        let at = &self.it.at;
        self.program.write((&at.x, &at.y, &at.z, &at.s), at.tau, out);
    }

    /// The end without a solution to the tolerances: what is best, or a proof.
    fn end(&mut self, status: Status, best: &Measures, now: &Measures, out: &mut Point) -> Outcome {
        let mut outcome = Outcome { status, iterations: self.iterations, certificate: None };
        if best.solved(REDUCED, REDUCED) {
            self.it.go_back();
            self.write(out);
            if status == Status::NumericalFailure {
                outcome.status = Status::SolvedInaccurate;
                self.succeeded = true;
            }
            return outcome;
        }
        if let Some((status, proof)) = self.proof(now, LAST_RESORT) {
            self.write(out);
            return Outcome { status, certificate: Some(proof), ..outcome };
        }
        self.it.go_back();
        if let Some((status, proof)) = self.proof(best, LAST_RESORT) {
            self.write(out);
            return Outcome { status, certificate: Some(proof), ..outcome };
        }
        self.write(out);
        outcome
    }

    fn run(&mut self, limit: usize, (gap, residual): (f64, f64), deadline: &Deadline, out: &mut Point) -> Outcome {
        self.succeeded = false;
        let mut best = Measures { primal: f64::INFINITY, dual: f64::INFINITY, ..Measures::default() };
        let (mut since, mut last, mut first) = (0, best, self.iterations == 0);
        loop {
            let now = self.it.measure(&mut self.program, &self.scaling);
            if now.solved(gap, residual) {
                self.write(out);
                self.succeeded = true;
                return Outcome { status: Status::Solved, iterations: self.iterations, certificate: None };
            }
            let broken = !now.worst().is_finite() || !self.it.mu.is_finite();
            if !broken && now.worst() < best.worst() {
                (best, since) = (now, 0);
                self.it.keep();
            } else {
                since += 1;
            }
            let proof = if now.kappa_tau > NO_SOLUTION { self.proof(&now, SURE) } else { None };
            if let Some((status, proof)) = proof {
                self.write(out);
                return Outcome { status, iterations: self.iterations, certificate: Some(proof) };
            }
            let grew = |now: f64, last: f64| now > GROWTH * residual && now > GROWTH * last;
            let worse = now.kappa_tau < 1.0
                && self.iterations > 1
                && (grew(now.primal, last.primal) || grew(now.dual, last.dual));
            last = now;
            let late = deadline.passed();
            let stuck = broken || worse || (since > PATIENCE && now.kappa_tau < 1.0) || now.kappa_tau > NOTHING;
            if late || stuck || self.iterations >= limit {
                let status = match () {
                    () if late => Status::TimeLimit,
                    () if stuck => Status::NumericalFailure,
                    () => Status::IterationLimit,
                };
                return self.end(status, &best, &now, out);
            }
            self.iterations += 1;
            match self.it.advance(&mut self.program, &mut self.scaling, &mut self.system, first) {
                Some(length) if length > SHORTEST => {}
                _ => {
                    let status = if deadline.passed() { Status::TimeLimit } else { Status::NumericalFailure };
                    return self.end(status, &best, &now, out);
                }
            }
            first = false;
        }
    }
}

struct Handle {
    settings: Settings,
    qp: Qp,
    core: Core,
    /// When the next solve has to end, and the last one had to.
    told: Option<Deadline>,
    deadline: Option<Deadline>,
}

impl ForwardHandle for Handle {
    fn update(&mut self, qp: &Qp) -> Result<(), Error> {
        let Core { program, scaling, system, .. } = &mut self.core;
        match program.update(qp) {
            Some(changed) => system.load(program, scaling, changed),
            None => self.core = Core::new(qp)?,
        }
        self.qp = qp.clone();
        Ok(())
    }

    fn end_by(&mut self, deadline: &Deadline) {
        self.told = Some(deadline.clone());
    }

    fn solve(&mut self, _warm: Option<&Point>, out: &mut Point) -> Outcome {
        let deadline = self.told.take().unwrap_or_else(|| self.settings.deadline());
        let Core { program, scaling, system, it, .. } = &mut self.core;
        let tolerance = (PART * self.settings.eps_abs.max(self.settings.eps_rel)).clamp(TIGHTEST, LOOSEST);
        let outcome = if it.start(program, scaling, system) {
            self.core.iterations = 0;
            let limit = self.settings.max_iter.unwrap_or(MAX_ITER);
            self.core.run(limit, (tolerance, tolerance), &deadline, out)
        } else {
            out.reset(&self.qp);
            let status = if deadline.passed() { Status::TimeLimit } else { Status::NumericalFailure };
            self.core.succeeded = false;
            Outcome { status, iterations: 0, certificate: None }
        };
        self.deadline = Some(deadline);
        outcome
    }

    /// Its last digits may tell active cones from others; there are none behind them.
    fn tighten(&mut self, out: &mut Point) -> Option<Outcome> {
        let deadline = self.deadline.take().filter(|deadline| !deadline.passed())?;
        // who limits the iterations did not ask for more of them
        if !self.core.succeeded || self.settings.max_iter.is_some() {
            return None;
        }
        let limit = self.core.iterations + MAX_ITER;
        Some(self.core.run(limit, LAST_DIGITS, &deadline, out))
    }
}

#[cfg(test)]
mod tests;
