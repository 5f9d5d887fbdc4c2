//! A factorization and what is needed to solve with it to the last digits: on optimal faces, and where it breaks down.

use super::{Breakdown, FlatSolver, KktCore, KktData, KktFactor, Refiner, SparseKkt, factor_flat, prepare};
use crate::Error;

/// Solves the systems of one structure.
pub(crate) struct KktSolver {
    kkt: Box<dyn KktFactor>,
    refiner: Refiner,
    /// What was added to P, if the solution is one point of an optimal face.
    face: Option<f64>,
    flat: FlatSolver,
    shifted: Vec<f64>,
    /// The first choice of factorization broke down on these matrices: since then the regularized one.
    robust: bool,
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
        })
    }

    /// Takes the numbers of matrices of the same structure.
    pub fn load(&mut self, data: KktData<'_>, core: Option<&KktCore>) -> Result<(), Error> {
        if let Some(core) = core {
            self.kkt.adopt(core);
        }
        self.kkt.load(data)
    }

    pub fn kkt(&mut self) -> &mut dyn KktFactor {
        &mut *self.kkt
    }

    /// Someone else factored with [`kkt`](Self::kkt), and not on a face.
    pub fn factored(&mut self) {
        self.face = None;
    }

    /// Factors for these diagonals; where the system is singular on the variables, for the point of least norm.
    pub fn factor(&mut self, data: KktData<'_>, (dx, dc): (&[f64], &[f64])) -> Result<(), Breakdown> {
        self.face = factor_flat(&mut *self.kkt, data, (dx, dc), &mut self.shifted)?;
        Ok(())
    }

    /// The same, with the regularized factorization where the first choice breaks down: its residual tells.
    pub fn factor_anyway(&mut self, data: KktData<'_>, diagonals: (&[f64], &[f64])) -> Result<(), Error> {
        let broken = |why: Breakdown| Error::Backward { reason: why.to_string() };
        match self.factor(data, diagonals) {
            Err(Breakdown::Inertia | Breakdown::Rank) if !self.robust => self.make_robust(data, diagonals),
            other => other.map_err(broken),
        }
    }

    fn make_robust(&mut self, data: KktData<'_>, diagonals: (&[f64], &[f64])) -> Result<(), Error> {
        self.kkt = Box::new(SparseKkt::new(data)?);
        self.robust = true;
        self.factor(data, diagonals).map_err(|why| Error::Backward { reason: why.to_string() })
    }

    /// Solves in place and refines; returns the relative residual.
    pub fn solve(
        &mut self,
        data: KktData<'_>,
        diagonals: (&[f64], &[f64]),
        (w, v): (&mut [f64], &mut [f64]),
    ) -> f64 {
        match self.face {
            Some(delta) => {
                self.flat.solve(&mut *self.kkt, &mut self.refiner, data, (delta, diagonals), (w, v))
            }
            None => self.refiner.solve(&mut *self.kkt, data, diagonals, w, v),
        }
    }

    /// The same; where numbers overflow once more, from the right-hand sides, with the regularized factorization.
    pub fn solve_anyway(
        &mut self,
        data: KktData<'_>,
        diagonals: (&[f64], &[f64]),
        (w, v): (&mut [f64], &mut [f64]),
    ) -> Result<f64, Error> {
        let finite = |w: &[f64], v: &[f64]| w.iter().chain(v).all(|e| e.is_finite());
        if self.robust {
            return Ok(self.solve(data, diagonals, (w, v)));
        }
        let rhs = (w.to_vec(), v.to_vec());
        let residual = self.solve(data, diagonals, (w, v));
        if finite(w, v) {
            return Ok(residual);
        }
        self.make_robust(data, diagonals)?;
        w.copy_from_slice(&rhs.0);
        v.copy_from_slice(&rhs.1);
        Ok(self.solve(data, diagonals, (w, v)))
    }

    /// True if the kept rows were dependent, or the solution is one point of an optimal face.
    pub fn deficient(&self) -> bool {
        self.kkt.deficient() || self.on_face()
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
}
