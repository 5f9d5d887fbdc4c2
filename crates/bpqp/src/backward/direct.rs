//! One factorization of the KKT matrix, then refined solves for as many right-hand sides as there are.

use super::{Accuracy, BackwardQp, BackwardSolver};
use crate::kkt::{self, FlatSolver, KktCore, KktFactor, Refiner, factor_flat};
use crate::{Error, Qp};

/// The direct backward solver.
pub(crate) struct Direct {
    kkt: Box<dyn KktFactor>,
    refiner: Refiner,
    /// The factors are those of the system at hand, and one solve with them is exact to rounding.
    ready: Option<bool>,
    /// What was added to P, if the solution is one point of an optimal face.
    face: Option<f64>,
    flat: FlatSolver,
    shifted: Vec<f64>,
}

impl Direct {
    pub fn new(qp: &Qp) -> Result<Self, Error> {
        Ok(Direct {
            kkt: kkt::prepare(qp.kkt())?,
            refiner: Refiner::default(),
            ready: None,
            face: None,
            flat: FlatSolver::default(),
            shifted: Vec::new(),
        })
    }

    /// Takes the numbers of a problem of the same structure.
    pub fn load(&mut self, qp: &Qp, core: Option<&KktCore>) -> Result<(), Error> {
        self.ready = None;
        if let Some(core) = core {
            self.kkt.adopt(core);
        }
        self.kkt.load(qp.kkt())
    }

    /// The polish left the factors of the system in place; `exact` if it saw residuals at rounding level with them.
    pub fn factored(&mut self, exact: bool) {
        self.ready = Some(exact);
        self.face = None;
    }

    /// The solution is one point of an optimal face.
    pub fn on_face(&self) -> bool {
        self.face.is_some()
    }

    /// The factors are there, and one solve with them is exact to rounding.
    pub fn exact(&self) -> bool {
        self.ready == Some(true)
    }

    pub fn kkt(&mut self) -> &mut dyn KktFactor {
        self.ready = None;
        &mut *self.kkt
    }

    pub fn reciprocal_condition(&self) -> f64 {
        self.kkt.reciprocal_condition()
    }

    pub fn core(&self) -> Option<KktCore> {
        self.kkt.core()
    }
}

impl BackwardSolver for Direct {
    fn name(&self) -> &'static str {
        "direct"
    }

    fn prepare(&mut self, system: &BackwardQp<'_>, _core: Option<&KktCore>) -> Result<(), Error> {
        if self.ready.is_none() {
            self.face = factor_flat(&mut *self.kkt, system.qp.kkt(), (system.dx, system.dc), &mut self.shifted)
                .map_err(|why| Error::Backward { reason: why.to_string() })?;
            self.ready = Some(false);
        }
        Ok(())
    }

    fn solve(&mut self, system: &BackwardQp<'_>, w: &mut [f64], v: &mut [f64]) -> Result<Accuracy, Error> {
        if let Some(delta) = self.face {
            let at = (delta, (system.dx, system.dc));
            let residual = self.flat.solve(&mut *self.kkt, &mut self.refiner, system.qp.kkt(), at, (w, v));
            return Ok(Accuracy { residual, deficient: true, iterative: false });
        }
        let residual = if self.ready == Some(true) {
            self.kkt.solve(w, v);
            0.0
        } else {
            self.refiner.solve(&mut *self.kkt, system.qp.kkt(), (system.dx, system.dc), w, v)
        };
        Ok(Accuracy { residual, deficient: self.kkt.deficient(), iterative: false })
    }
}
