//! One factorization of the KKT matrix, then refined solves for as many right-hand sides as there are.

use super::{Accuracy, BackwardQp, BackwardSolver};
use crate::Error;
use crate::kkt::{KeptFactors, KktCore, KktData, KktFactor, KktSolver};

/// The direct backward solver.
pub(crate) struct Direct {
    pub solver: KktSolver,
    /// The factors are those of the system at hand, and one solve with them is exact to rounding.
    ready: Option<bool>,
}

impl Direct {
    pub fn new(data: KktData<'_>) -> Result<Self, Error> {
        Ok(Direct { solver: KktSolver::new(data)?, ready: None })
    }

    /// Takes the numbers of a problem of the same structure.
    pub fn load(&mut self, data: KktData<'_>, core: Option<&KktCore>) -> Result<(), Error> {
        self.ready = None;
        self.solver.load(data, core)
    }

    /// The polish left the factors of the system in place, on that face if there is one; `exact` if it saw residuals at rounding
    /// level with them.
    pub fn factored(&mut self, exact: bool, face: Option<f64>) {
        self.ready = Some(exact);
        self.solver.factored(face);
    }

    /// The factors at hand are of another system from now on.
    pub fn forget(&mut self) {
        self.ready = None;
    }

    /// Factors the system; true if its rows are dependent, or the solution is one point of an optimal face.
    pub fn is_singular(&mut self, data: KktData<'_>, diagonals: (&[f64], &[f64])) -> bool {
        self.ready = None;
        self.solver.factor(data, diagonals).is_ok() && self.solver.deficient()
    }

    /// The solution is one point of an optimal face.
    pub fn on_face(&self) -> bool {
        self.solver.on_face()
    }

    /// The factors are there, and one solve with them is exact to rounding.
    pub fn exact(&self) -> bool {
        self.ready == Some(true)
    }

    pub fn kkt(&mut self) -> &mut dyn KktFactor {
        self.ready = None;
        self.solver.kkt()
    }

    pub fn reciprocal_condition(&self) -> f64 {
        self.solver.reciprocal_condition()
    }

    pub fn core(&self) -> Option<KktCore> {
        self.solver.core()
    }

    /// The factors at hand, packed, where one solve with them is exact to rounding.
    pub fn kept(&self) -> Option<KeptFactors> {
        if self.exact() { self.solver.kept() } else { None }
    }
}

/// As many equations as free variables: where they are independent, they leave the variables nothing.
pub(super) fn as_many_rows_as_variables((dx, dc): (&[f64], &[f64])) -> bool {
    dc.iter().filter(|d| **d == 0.0).count() == dx.iter().filter(|d| d.is_finite()).count()
}

impl BackwardSolver for Direct {
    fn prepare(&mut self, system: &BackwardQp<'_>, _core: Option<&KktCore>) -> Result<(), Error> {
        if self.ready.is_none() {
            let diagonals = (system.dx, system.dc);
            self.solver.factor(system.data, diagonals)?;
            self.ready = Some(false);
        }
        Ok(())
    }

    fn solve(&mut self, system: &BackwardQp<'_>, w: &mut [f64], v: &mut [f64]) -> Result<Accuracy, Error> {
        let diagonals = (system.dx, system.dc);
        let at_rest = v.iter().zip(system.dc).all(|(&s, &d)| s == 0.0 || d == f64::INFINITY);
        let residual = if self.ready == Some(true) && !self.on_face() {
            self.solver.kkt().solve(w, v);
            0.0
        } else if at_rest && !self.solver.deficient() && as_many_rows_as_variables(diagonals) {
            self.solver.solve_still(system.data, diagonals, (w, v))?
        } else {
            self.solver.solve(system.data, diagonals, (w, v))?
        };
        if at_rest && self.solver.determines() {
            // a solve with regularized rows would leave a part of them
            w.fill(0.0);
        }
        Ok(Accuracy { residual, deficient: self.solver.deficient(), iterative: false })
    }
}
