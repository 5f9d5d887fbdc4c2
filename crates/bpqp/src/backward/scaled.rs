//! The polish of problems in units far apart, in units of their own.
//!
//! What is active is told from lengths and forces of the whole problem, and a unit of the whole problem means something
//! only where its rows and columns are of similar size. The scaling is by powers of two, so that the point that comes
//! back is exactly the one that was found.

use crate::active::{ActiveSet, Newton, PolishReport, Polisher, Rotation, Start, identify};
use crate::cones::blocks;
use crate::forward::{POLISH, POLISH_CONES, Scaling};
use crate::kkt::{self, KktFactor, KktSolver, Matrices};
use crate::residuals::{ResidualWork, equations, residuals};
use crate::{Deadline, Error, Point, Qp};

/// The problem in its own units, and what its polish needs.
struct Scaled {
    scaling: Scaling,
    qp: Qp,
    kkt: Option<Box<dyn KktFactor>>,
    polisher: Polisher,
    point: Point,
    work: ResidualWork,
}

/// Polishes problems in units far apart; leaves others alone.
#[derive(Default)]
pub(super) struct ScaledPolish {
    of: Option<Matrices>,
    scaled: Option<Box<Scaled>>,
}

impl ScaledPolish {
    /// Takes the numbers of a problem.
    fn load(&mut self, qp: &Qp) {
        if !self.of.as_ref().is_some_and(|of| of.are(qp.kkt())) {
            self.of = Some(Matrices::of(qp.kkt()));
            let scaling = Scaling::of(qp, POLISH);
            self.scaled = (!scaling.identity).then(|| {
                let (qp, polisher, point) = (scaling.apply(qp), Polisher::default(), Point::zeros(qp));
                Box::new(Scaled { scaling, qp, kkt: None, polisher, point, work: ResidualWork::default() })
            });
        } else if let Some(scaled) = &mut self.scaled {
            scaled.scaling.update(qp, &mut scaled.qp);
        }
    }

    /// Identifies what is active at `point` and polishes it; `None` if the problem needs no units of its own. The report is
    /// in the units of the problem.
    pub fn polish(
        &mut self,
        qp: &Qp,
        (start, rounds, deadline): (Start, usize, &Deadline),
        point: &mut Point,
        active: &mut ActiveSet,
    ) -> Option<PolishReport> {
        self.load(qp);
        let scaled = self.scaled.as_mut()?;
        let mut report = scaled.polish((start, rounds, deadline), point, active).ok()?;
        (report.residuals, report.objective) = residuals(qp, point, &mut scaled.work);
        report.factored = false;
        Some(report)
    }
}

impl Scaled {
    fn polish(
        &mut self,
        (start, rounds, deadline): (Start, usize, &Deadline),
        point: &mut Point,
        active: &mut ActiveSet,
    ) -> Result<PolishReport, Error> {
        let kkt = match &mut self.kkt {
            Some(kkt) => {
                kkt.load(self.qp.kkt())?;
                kkt
            }
            empty => empty.insert(kkt::prepare(self.qp.kkt())?),
        };
        kkt.begin();
        self.point.clone_from(point);
        self.scaling.convert(&mut self.point, false);
        residuals(&self.qp, &self.point, &mut self.work);
        self.polisher.scales.load(&self.qp);
        self.polisher.deadline.clone_from(deadline);
        identify(&self.qp, &self.point, &self.work, &self.polisher.scales, active);
        let report = self.polisher.polish_from(start, &self.qp, (&mut **kkt, rounds), &mut self.point, active);
        if report.verified {
            self.scaling.convert(&mut self.point, true);
            point.clone_from(&self.point);
        }
        Ok(report)
    }
}

/// The same where there are curved cones.
struct ScaledCones {
    scaling: Scaling,
    qp: Qp,
    rotation: Rotation,
    solver: KktSolver,
    newton: Newton,
    point: Point,
    active: ActiveSet,
    work: ResidualWork,
}

/// Polishes problems with curved cones whose rows are in units apart: which slack and which multiplier is 0 is told in one unit
/// for all.
#[derive(Default)]
pub(super) struct ScaledNewton {
    of: Option<Matrices>,
    scaled: Option<Box<ScaledCones>>,
}

impl ScaledNewton {
    fn load(&mut self, qp: &Qp) {
        if !self.of.as_ref().is_some_and(|of| of.are(qp.kkt())) {
            self.of = Some(Matrices::of(qp.kkt()));
            let scaling = Scaling::of(qp, POLISH_CONES);
            self.scaled =
                if scaling.identity { None } else { ScaledCones::new(scaling, qp).ok().flatten().map(Box::new) };
        } else if let Some(scaled) = &mut self.scaled {
            scaled.scaling.update(qp, &mut scaled.qp);
        }
    }

    /// Polishes `point` in units of the problem's own; `None` if it needs none, or if that leads nowhere either.
    pub fn polish(&mut self, qp: &Qp, point: &mut Point, active: &mut ActiveSet, eps_abs: f64) -> Option<PolishReport> {
        self.load(qp);
        let own = self.scaled.as_mut()?;
        own.point.clone_from(point);
        own.scaling.convert(&mut own.point, false);
        own.rotation.load(&own.qp);
        own.solver.begin();
        let system = Some((&mut own.rotation, &mut own.solver));
        let mut report = own.newton.polish(&own.qp, system, &mut own.point, &mut own.active, eps_abs);
        if !report.verified {
            return None;
        }
        own.scaling.convert(&mut own.point, true);
        point.clone_from(&own.point);
        active.clone_from(&own.active);
        // multipliers over slacks
        let e = &own.scaling.e[own.scaling.e.len() - qp.n_cone()..];
        for (_, rows) in blocks(&qp.cones) {
            for (c, e) in active.faces.curvature[rows.clone()].iter_mut().zip(&e[rows]) {
                *c *= e * e / own.scaling.cost;
            }
        }
        (report.residuals, report.objective) = equations(qp, point, &mut own.work);
        Some(report)
    }
}

impl ScaledCones {
    fn new(scaling: Scaling, of: &Qp) -> Result<Option<Self>, Error> {
        let qp = scaling.apply(of);
        let Some(rotation) = Rotation::new(&qp)? else { return Ok(None) };
        let solver = KktSolver::new(rotation.data())?;
        let (newton, point, active) = (Newton::default(), Point::zeros(of), ActiveSet::default());
        let work = ResidualWork::default();
        Ok(Some(ScaledCones { scaling, qp, rotation, solver, newton, point, active, work }))
    }
}
