//! A factorization and what is needed to solve with it to the last digits: on optimal faces, and where it breaks down.

use super::{
    Breakdown, FlatSolver, KeptFactors, KktCore, KktData, KktFactor, Refiner, SparseKkt, factor_flat, prepare,
};
use crate::Error;

/// Solves the systems of one structure.
pub(crate) struct KktSolver {
    kkt: Box<dyn KktFactor>,
    refiner: Refiner,
    /// What was added to P, if the solution is one point of an optimal face.
    face: Option<f64>,
    flat: FlatSolver,
    shifted: Vec<f64>,
    /// The first choice of factorization broke down on this system: the regularized one is at work, and the first the other.
    robust: bool,
    other: Option<Box<dyn KktFactor>>,
}

impl KktSolver {
    pub fn new(data: KktData<'_>) -> Result<Self, Error> {
        Ok(KktSolver {
            kkt: prepare(data)?,
            refiner: Refiner::default(),
            face: None,
            flat: FlatSolver::default(),
            shifted: Vec::new(),
            robust: false,
            other: None,
        })
    }

    /// Takes the numbers of matrices of the same structure.
    pub fn load(&mut self, data: KktData<'_>, core: Option<&KktCore>) -> Result<(), Error> {
        self.first_choice();
        self.other = None;
        if let Some(core) = core {
            self.kkt.adopt(core);
        }
        self.kkt.load(data)
    }

    pub fn kkt(&mut self) -> &mut dyn KktFactor {
        &mut *self.kkt
    }

    /// A solve begins, which finds what a new one would.
    pub fn begin(&mut self) {
        self.first_choice();
        self.kkt.begin();
    }

    /// What broke down on one system may not on the next, and nothing is to depend on the one before.
    fn first_choice(&mut self) {
        if let Some(first) = self.other.as_mut().filter(|_| self.robust) {
            std::mem::swap(&mut self.kkt, first);
        }
        self.robust = false;
    }

    /// Someone else factored with [`kkt`](Self::kkt), with this added to P if it was on a face.
    pub fn factored(&mut self, face: Option<f64>) {
        self.face = face;
    }

    fn try_factor(&mut self, data: KktData<'_>, (dx, dc): (&[f64], &[f64])) -> Result<(), Breakdown> {
        self.face = factor_flat(&mut *self.kkt, data, (dx, dc), &mut self.shifted)?;
        Ok(())
    }

    /// Factors for these diagonals; where the system is singular on the variables, for the point of least norm; where the
    /// first choice of factorization breaks down, with the regularized one: its residual tells.
    pub fn factor(&mut self, data: KktData<'_>, diagonals: (&[f64], &[f64])) -> Result<(), Error> {
        let broken = |why: Breakdown| Error::Backward { reason: why.to_string() };
        self.first_choice();
        match self.try_factor(data, diagonals) {
            Err(Breakdown::Inertia | Breakdown::Rank) => self.make_robust(data, diagonals),
            other => other.map_err(broken),
        }
    }

    fn make_robust(&mut self, data: KktData<'_>, diagonals: (&[f64], &[f64])) -> Result<(), Error> {
        let regularized = match self.other.take() {
            Some(kept) => kept,
            None => Box::new(SparseKkt::new(data)?),
        };
        self.other = Some(std::mem::replace(&mut self.kkt, regularized));
        self.robust = true;
        self.kkt.begin();
        self.try_factor(data, diagonals).map_err(|why| Error::Backward { reason: why.to_string() })
    }

    /// Solves in place and refines; where numbers overflow, once more with the regularized factorization. Returns the
    /// relative residual.
    pub fn solve(
        &mut self,
        data: KktData<'_>,
        diagonals: (&[f64], &[f64]),
        (w, v): (&mut [f64], &mut [f64]),
    ) -> Result<f64, Error> {
        let Some(delta) = self.face else {
            let residual = self.refiner.solve(&mut *self.kkt, data, diagonals, w, v);
            let finite = w.iter().chain(&*v).all(|e| e.is_finite());
            if finite || self.robust {
                return Ok(residual);
            }
            self.make_robust(data, diagonals)?;
            self.refiner.restore(w, v);
            return self.solve(data, diagonals, (w, v));
        };
        Ok(self.flat.solve(&mut *self.kkt, &mut self.refiner, data, (delta, diagonals), (w, v)))
    }

    /// The next solves are for their residuals, or for their solutions again.
    pub fn for_residuals(&mut self, alone: bool) {
        self.flat.residual_alone = alone;
    }

    /// The same where the variables are known to vanish: independent rows leave them nothing else.
    pub fn solve_still(
        &mut self,
        data: KktData<'_>,
        diagonals: (&[f64], &[f64]),
        (w, v): (&mut [f64], &mut [f64]),
    ) -> Result<f64, Error> {
        self.refiner.still = true;
        let out = self.solve(data, diagonals, (w, v));
        self.refiner.still = false;
        out
    }

    /// The same for a step whose outcome is measured.
    pub fn step(
        &mut self,
        data: KktData<'_>,
        diagonals: (&[f64], &[f64]),
        (w, v): (&mut [f64], &mut [f64]),
    ) -> Result<(), Error> {
        self.refiner.measured = true;
        let out = self.solve(data, diagonals, (w, v));
        self.refiner.measured = false;
        out.map(|_| ())
    }

    /// True if the kept rows were dependent, or the solution is one point of an optimal face.
    pub fn deficient(&mut self) -> bool {
        self.kkt.deficient() || self.on_face()
    }

    /// The kept rows are dependent, or there is a face, and they leave the variables no other direction.
    pub fn determines(&mut self) -> bool {
        self.kkt.determines()
    }

    /// The solution is one point of an optimal face.
    pub fn on_face(&self) -> bool {
        self.face.is_some()
    }

    pub fn reciprocal_condition(&self) -> f64 {
        self.kkt.reciprocal_condition()
    }

    pub fn core(&self) -> Option<KktCore> {
        self.kkt.core()
    }

    /// The factorization at hand, packed.
    pub fn kept(&self) -> Option<KeptFactors> {
        if self.on_face() { None } else { self.kkt.kept() }
    }
}
