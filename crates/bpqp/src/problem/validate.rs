//! What is refused of the vectors of a problem, with the argument, the index and the value. Matrices check themselves.

use crate::Error;
use crate::cones::Cone;
use crate::matrix::Matrix;

/// Constraint matrices: `ncols` columns, finite.
pub(crate) fn matrix(argument: &'static str, m: &Matrix, ncols: usize) -> Result<(), Error> {
    if m.ncols() != ncols {
        let (found, expected) = ((m.nrows(), m.ncols()), (m.nrows(), ncols));
        return Err(Error::Shape { argument, found, expected, advice: "it needs one column per entry of q" });
    }
    m.check_finite(argument)
}

/// Right-hand sides of inequalities may be `+inf` (a row that never binds), never NaN or `-inf`.
pub(crate) fn upper(argument: &'static str, h: &[f64]) -> Result<(), Error> {
    match h.iter().position(|v| v.is_nan() || *v == f64::NEG_INFINITY) {
        None => Ok(()),
        Some(row) => Err(Error::NotFinite { argument, row, col: 0, value: h[row] }),
    }
}

/// Bounds of n variables, an empty vector being none: no NaN, `lb <= ub`, and a value left for every variable.
pub(crate) fn bounds(n: usize, mut lb: Vec<f64>, mut ub: Vec<f64>) -> Result<(Vec<f64>, Vec<f64>), Error> {
    for (argument, values, none) in [("lb", &mut lb, f64::NEG_INFINITY), ("ub", &mut ub, f64::INFINITY)] {
        if values.is_empty() {
            values.resize(n, none);
        }
        if values.len() != n {
            return Err(Error::length(argument, values.len(), n, "bounds have one entry per variable"));
        }
        if let Some(row) = values.iter().position(|v| v.is_nan()) {
            return Err(Error::NotFinite { argument, row, col: 0, value: f64::NAN });
        }
    }
    let crossed = |i: &usize| lb[*i] > ub[*i] || lb[*i] == f64::INFINITY || ub[*i] == f64::NEG_INFINITY;
    match (0..n).find(crossed) {
        None => Ok((lb, ub)),
        Some(index) => Err(Error::Bounds { index, lb: lb[index], ub: ub[index] }),
    }
}

/// Curved cones that take `rows` rows together.
pub(crate) fn cones(cones: &[Cone], rows: usize) -> Result<(), Error> {
    cones.iter().try_for_each(Cone::validate)?;
    if let Some(k) = cones.iter().position(Cone::is_polyhedral) {
        return Err(Error::Setting {
            name: "cones",
            value: format!("{} at position {k}", cones[k].name()),
            advice: "linear constraints are equalities and inequalities",
        });
    }
    // a sum that does not fit is not the number of rows
    let total = cones.iter().try_fold(0_usize, |sum, cone| sum.checked_add(cone.rows()));
    if total != Some(rows) {
        let advice = "the cones take the rows of C (a PSD cone of order n takes n (n + 1) / 2)";
        return Err(Error::length("cones", total.unwrap_or(usize::MAX), rows, advice));
    }
    Ok(())
}
