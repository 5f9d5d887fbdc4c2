//! Misuse: what the caller must change. Outcomes of a solve are a [`Status`](crate::Status), not an error.

use crate::Status;

/// What the caller did wrong, with the argument, the index and the value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument has the wrong shape.
    #[error("{argument} has shape {}, expected {}: {advice}", shape(.argument, *.found), shape(.argument, *.expected))]
    Shape {
        /// Name of the argument.
        argument: &'static str,
        /// Shape that was given: rows, columns.
        found: (usize, usize),
        /// Shape that was needed: rows, columns.
        expected: (usize, usize),
        /// What to do about it.
        advice: &'static str,
    },
    /// NaN, or an infinity where none is allowed.
    #[error("{}[{row}{}] is {value}: every entry must be finite (only lb, ub and h may be infinite)", .argument, column(.argument, *.col))]
    NotFinite {
        /// Name of the argument.
        argument: &'static str,
        /// Row of the entry.
        row: usize,
        /// Column of the entry (0 for vectors).
        col: usize,
        /// The entry.
        value: f64,
    },
    /// A lower bound above its upper bound, or a bound of the wrong sign at infinity.
    #[error("lb[{index}] = {lb} and ub[{index}] = {ub} leave no value for x[{index}]: swap or widen them")]
    Bounds {
        /// Index of the variable.
        index: usize,
        /// Its lower bound.
        lb: f64,
        /// Its upper bound.
        ub: f64,
    },
    /// `P` is not symmetric.
    #[error("P[{row}, {col}] = {value} but P[{col}, {row}] = {mirrored}: P must be symmetric; pass (P + P') / 2")]
    Asymmetric {
        /// Row of the entry.
        row: usize,
        /// Column of the entry.
        col: usize,
        /// The entry.
        value: f64,
        /// The entry across the diagonal.
        mirrored: f64,
    },
    /// A diagonal entry of a diagonal or factored `P` is negative.
    #[error("d[{index}] = {value}: the diagonal of a diagonal or factored P must be nonnegative")]
    NegativeDiagonal {
        /// Index of the entry.
        index: usize,
        /// The entry.
        value: f64,
    },
    /// A sparse matrix whose arrays do not describe one.
    #[error("{argument} is not a valid compressed-column matrix: {reason}")]
    Pattern {
        /// Name of the argument.
        argument: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A problem file that does not say what its format demands.
    #[error("line {line}: {reason}")]
    Format {
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting out of range.
    #[error("setting {name} = {value}: {advice}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// A matrix given as products that are not those of one matrix.
    #[error("{argument} is no operator that can be used: {reason}")]
    Operator {
        /// Name of the argument.
        argument: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An update that changes the structure that was prepared.
    #[error("{argument} changed its structure since the layer was prepared ({reason}): build a new layer")]
    Structure {
        /// Name of the argument.
        argument: &'static str,
        /// What changed.
        reason: &'static str,
    },
    /// Asked for the derivative of a solution that does not exist.
    #[error("the problem has no solution to differentiate: status {status}. Check sol.status before the backward pass")]
    NoSolution {
        /// The status of the solve.
        status: Status,
    },
    /// A mode that does not exist for this input.
    #[error("{what} is not supported: {advice}")]
    Unsupported {
        /// What was asked.
        what: String,
        /// What to do instead.
        advice: &'static str,
    },
    /// The linear algebra of the backward pass broke down.
    #[error("the backward system could not be solved: {reason}")]
    Backward {
        /// What happened.
        reason: String,
    },
}

fn is_matrix(argument: &str) -> bool {
    argument.ends_with(['P', 'A', 'G', 'C', 'F']) || argument == "matrix"
}

/// A shape as NumPy writes it: that of a vector has one number.
fn shape(argument: &str, (rows, cols): (usize, usize)) -> String {
    if is_matrix(argument) { format!("({rows}, {cols})") } else { format!("({rows},)") }
}

/// The second index of an entry; vectors have none.
fn column(argument: &str, col: usize) -> String {
    if is_matrix(argument) { format!(", {col}") } else { String::new() }
}

impl Error {
    /// True if the values of the data are at fault, not their shapes or a setting: other values of the same problem may be
    /// fine.
    pub fn is_of_values(&self) -> bool {
        matches!(
            self,
            Error::NotFinite { .. } | Error::Bounds { .. } | Error::Asymmetric { .. } | Error::NegativeDiagonal { .. }
        )
    }

    /// A vector of the wrong length.
    pub(crate) fn length(argument: &'static str, found: usize, expected: usize, advice: &'static str) -> Self {
        Error::Shape { argument, found: (found, 1), expected: (expected, 1), advice }
    }
}

/// Refuses the first entry that is not finite.
pub(crate) fn check_finite(argument: &'static str, values: &[f64]) -> Result<(), Error> {
    // 0 v is 0 for a finite v and NaN for the others: sums without branches find that there is one
    let (chunks, rest) = pulp::as_arrays::<8, _>(values);
    let mut sums = [0.0; 8];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, v)| *sum += 0.0 * v);
    }
    if sums.iter().chain(rest).all(|v| v.is_finite()) {
        return Ok(());
    }
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(row) => Err(Error::NotFinite { argument, row, col: 0, value: values[row] }),
    }
}
