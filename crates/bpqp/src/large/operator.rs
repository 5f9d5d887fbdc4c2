//! A matrix as its products, and products that are watched: counted, timed, and refused where they are no numbers.

use crate::kkt::probe;
use crate::matrix::{Hessian, Matrix, dot};
use crate::thresholds::large::ADJOINT;
use crate::{Deadline, Error};

/// A matrix `M` of which only products are known.
///
/// Products are linear: the same every time, for every `x`. [`Program`](super::Program) looks once whether
/// `apply_transpose` belongs to `apply`, along two vectors without structure.
pub trait Operator: Send + Sync {
    /// Number of rows.
    fn nrows(&self) -> usize;
    /// Number of columns.
    fn ncols(&self) -> usize;
    /// `out = M x`. An error ends the solve and is returned by it.
    fn apply(&self, x: &[f64], out: &mut [f64]) -> Result<(), Error>;
    /// `out = M' y`. Never called for `P`, which is symmetric.
    fn apply_transpose(&self, y: &[f64], out: &mut [f64]) -> Result<(), Error>;
    /// The diagonal of a square one, where it is known; otherwise column lengths, estimated from products, replace it.
    fn diagonal(&self) -> Option<Vec<f64>> {
        None
    }
}

impl Operator for Matrix {
    fn nrows(&self) -> usize {
        Matrix::nrows(self)
    }

    fn ncols(&self) -> usize {
        Matrix::ncols(self)
    }

    fn apply(&self, x: &[f64], out: &mut [f64]) -> Result<(), Error> {
        out.fill(0.0);
        self.mul_add(1.0, x, out);
        Ok(())
    }

    fn apply_transpose(&self, y: &[f64], out: &mut [f64]) -> Result<(), Error> {
        out.fill(0.0);
        self.tmul_add(1.0, y, out);
        Ok(())
    }
}

impl Operator for Hessian {
    fn nrows(&self) -> usize {
        self.n()
    }

    fn ncols(&self) -> usize {
        self.n()
    }

    fn apply(&self, x: &[f64], out: &mut [f64]) -> Result<(), Error> {
        out.fill(0.0);
        self.mul_add(1.0, x, out, &mut Vec::new());
        Ok(())
    }

    fn apply_transpose(&self, y: &[f64], out: &mut [f64]) -> Result<(), Error> {
        self.apply(y, out)
    }

    fn diagonal(&self) -> Option<Vec<f64>> {
        Some(Hessian::diagonal(self))
    }
}

/// Why products ended.
#[derive(Debug)]
pub(super) enum Stop {
    Error(Error),
    /// The time is over, or someone asked for the end.
    Late,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

pub(super) type Step<T> = Result<T, Stop>;

/// Watches products.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    pub deadline: Deadline,
    pub products: usize,
}

impl Watch {
    pub fn apply(&mut self, argument: &'static str, m: &dyn Operator, x: &[f64], out: &mut [f64]) -> Step<()> {
        self.tick()?;
        m.apply(x, out)?;
        finite(argument, "a product", out)
    }

    pub fn transposed(&mut self, argument: &'static str, m: &dyn Operator, y: &[f64], out: &mut [f64]) -> Step<()> {
        self.tick()?;
        m.apply_transpose(y, out)?;
        finite(argument, "a product of the transpose", out)
    }

    fn tick(&mut self) -> Step<()> {
        self.products += 1;
        if self.deadline.passed() { Err(Stop::Late) } else { Ok(()) }
    }
}

fn finite(argument: &'static str, what: &str, out: &[f64]) -> Step<()> {
    match out.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(i) => {
            let reason = format!("entry {i} of {what} is {}", out[i]);
            Err(Error::Operator { argument, reason }.into())
        }
    }
}

/// A vector without structure.
pub(super) fn random(seed: u64, len: usize) -> Vec<f64> {
    (0..len).map(|i| probe(seed, i)).collect()
}

/// Refuses a `P` that is not symmetric, and a transpose that is none: `u'(M v) = v'(M'u)` for two vectors without structure.
pub(super) fn check_adjoint(argument: &'static str, m: &dyn Operator, watch: &mut Watch) -> Step<()> {
    let (u, v) = (random(1, m.nrows()), random(2, m.ncols()));
    let (mut mv, mut tu) = (vec![0.0; u.len()], vec![0.0; v.len()]);
    watch.apply(argument, m, &v, &mut mv)?;
    match argument {
        "P" => watch.apply(argument, m, &u, &mut tu)?,
        _ => watch.transposed(argument, m, &u, &mut tu)?,
    }
    let (one, other) = (dot(&u, &mv), dot(&v, &tu));
    let scale = norm(&u) * norm(&mv) + norm(&v) * norm(&tu);
    if (one - other).abs() <= ADJOINT * scale {
        return Ok(());
    }
    let reason = match argument {
        "P" => format!("u'P v = {one:e} but v'P u = {other:e}: P must be symmetric; pass (P + P')/2"),
        m => format!("u'({m} v) = {one:e} but v'({m}'u) = {other:e}: the products of the transpose are not its own"),
    };
    Err(Error::Operator { argument, reason }.into())
}

pub(super) fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}
