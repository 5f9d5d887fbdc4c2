//! What is refused of the vectors of a problem, with the argument, the index and the value. Matrices check themselves.

use crate::Error;
use crate::matrix::Matrix;

/// Constraint matrices: `ncols` columns, finite.
pub(super) fn matrix(argument: &'static str, m: &Matrix, ncols: usize) -> Result<(), Error> {
    if m.ncols() != ncols {
        let (found, expected) = ((m.nrows(), m.ncols()), (m.nrows(), ncols));
        return Err(Error::Shape { argument, found, expected, advice: "it needs one column per entry of q" });
    }
    m.check_finite(argument)
}

/// Right-hand sides of inequalities may be `+inf` (a row that never binds), never NaN or `-inf`.
pub(super) fn upper(argument: &'static str, h: &[f64]) -> Result<(), Error> {
    match h.iter().position(|v| v.is_nan() || *v == f64::NEG_INFINITY) {
        None => Ok(()),
        Some(row) => Err(Error::NotFinite { argument, row, col: 0, value: h[row] }),
    }
}

/// Bounds: no NaN, `lb <= ub`, and a value left for every variable.
pub(super) fn bounds(lb: &[f64], ub: &[f64]) -> Result<(), Error> {
    for (argument, values) in [("lb", lb), ("ub", ub)] {
        if let Some(row) = values.iter().position(|v| v.is_nan()) {
            return Err(Error::NotFinite { argument, row, col: 0, value: f64::NAN });
        }
    }
    let crossed = |i: &usize| lb[*i] > ub[*i] || lb[*i] == f64::INFINITY || ub[*i] == f64::NEG_INFINITY;
    match (0..lb.len()).find(crossed) {
        None => Ok(()),
        Some(index) => Err(Error::Bounds { index, lb: lb[index], ub: ub[index] }),
    }
}
