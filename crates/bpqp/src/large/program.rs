//! A quadratic program whose matrices are products.

use super::{LargeSolution, Operator, multipliers};
use crate::error::check_finite;
use crate::problem::validate;
use crate::{Error, Settings};
use std::fmt;
use std::sync::Arc;

/// The quadratic program of [`Qp`](crate::Qp), without curved cones, of which only products with `P`, `A` and `G` are known.
///
/// ```text
/// minimize    1/2 x'P x + q'x
/// subject to  A x  = b             multipliers y, free
///             G x <= h             multipliers z >= 0
///             lb <= x <= ub        multipliers z_box, > 0 at ub and < 0 at lb
/// ```
#[derive(Clone)]
pub struct Program {
    pub(super) p: Option<Arc<dyn Operator>>,
    pub(super) q: Arc<[f64]>,
    pub(super) a: Option<Arc<dyn Operator>>,
    pub(super) b: Arc<[f64]>,
    pub(super) g: Option<Arc<dyn Operator>>,
    pub(super) h: Arc<[f64]>,
    pub(super) lb: Arc<[f64]>,
    pub(super) ub: Arc<[f64]>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, m, mi) = (self.n(), self.b.len(), self.h.len());
        write!(f, "Program of {n} variables, {m} equalities, {mi} inequalities")
    }
}

impl Program {
    /// The unconstrained problem `min 1/2 x'P x + q'x`. `P` must be symmetric, which is looked at when it is solved.
    pub fn new(p: Arc<dyn Operator>, q: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let mut program = Program::linear(q)?;
        let n = program.n();
        if (p.nrows(), p.ncols()) != (n, n) {
            let (found, expected) = ((p.nrows(), p.ncols()), (n, n));
            return Err(Error::Shape { argument: "P", found, expected, advice: "P has one column per entry of q" });
        }
        program.p = Some(p);
        Ok(program)
    }

    /// The linear program `min q'x`.
    pub fn linear(q: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let q = q.into();
        check_finite("q", &q)?;
        let n = q.len();
        Ok(Program {
            p: None,
            q: q.into(),
            a: None,
            b: Arc::new([]),
            g: None,
            h: Arc::new([]),
            lb: vec![f64::NEG_INFINITY; n].into(),
            ub: vec![f64::INFINITY; n].into(),
        })
    }

    /// With the constraints `A x = b` in place of its equalities.
    pub fn equality(mut self, a: Arc<dyn Operator>, b: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let b = b.into();
        self.fits(("A", &*a), ("b", b.len()), "b has one entry per row of A")?;
        check_finite("b", &b)?;
        (self.a, self.b) = (Some(a), b.into());
        Ok(self)
    }

    /// With the constraints `G x <= h` in place of its inequalities. An entry of `h` may be `+inf`.
    pub fn inequality(mut self, g: Arc<dyn Operator>, h: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let h = h.into();
        self.fits(("G", &*g), ("h", h.len()), "h has one entry per row of G")?;
        validate::upper("h", &h)?;
        (self.g, self.h) = (Some(g), h.into());
        Ok(self)
    }

    fn fits(
        &self,
        (argument, m): (&'static str, &dyn Operator),
        (of, rows): (&'static str, usize),
        advice: &'static str,
    ) -> Result<(), Error> {
        if m.ncols() != self.n() {
            let (found, expected) = ((m.nrows(), m.ncols()), (m.nrows(), self.n()));
            return Err(Error::Shape { argument, found, expected, advice: "it needs one column per entry of q" });
        }
        if m.nrows() != rows {
            return Err(Error::length(of, rows, m.nrows(), advice));
        }
        Ok(())
    }

    /// With the bounds `lb <= x <= ub` in place of its bounds; entries may be infinite, and an empty vector means none.
    pub fn bounds(mut self, lb: impl Into<Vec<f64>>, ub: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let (lb, ub) = validate::bounds(self.n(), lb.into(), ub.into())?;
        (self.lb, self.ub) = (lb.into(), ub.into());
        Ok(self)
    }

    /// Number of variables.
    pub fn n(&self) -> usize {
        self.q.len()
    }

    /// Number of equalities.
    pub fn n_equality(&self) -> usize {
        self.b.len()
    }

    /// Number of inequality rows.
    pub fn n_inequality(&self) -> usize {
        self.h.len()
    }

    /// Solves it. Of the settings, the tolerances, `max_iter` (Newton steps), the time limit and the interrupt have a meaning
    /// here.
    pub fn solve(&self, settings: &Settings) -> Result<LargeSolution, Error> {
        settings.validate()?;
        let found = multipliers::solve(self, settings)?;
        log::debug!("{self:?}: {}, {} products", found.status, found.products);
        Ok(found)
    }
}
