//! The cones of a [`Conic`](crate::Conic) problem: a closed set, one file each.

use crate::Error;

/// A cone, with the rows that it takes of `A x + s = b`, `s in K`. Order and scaling of the rows are those of Clarabel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cone {
    /// `s = 0` of that many rows: equalities.
    Zero(usize),
    /// `s >= 0` of that many rows: inequalities `A x <= b`.
    Nonnegative(usize),
    /// `s_0 >= |(s_1, ..)|_2` of that many rows.
    SecondOrder(usize),
    /// Symmetric positive semidefinite matrices of that order n: n (n + 1) / 2 rows, the upper triangle by columns, with
    /// the entries off the diagonal times sqrt 2.
    PsdTriangle(usize),
    /// The closure of `{(x, y, z): y > 0, y exp(x / y) <= z}`.
    Exponential,
    /// `{(x, y, z): x^a y^(1 - a) >= |z|, x >= 0, y >= 0}` with `0 < a < 1`.
    Power(f64),
    /// The dual of the exponential cone: the closure of `{(u, v, w): u < 0, -u exp(v / u) <= e w}`.
    DualExponential,
    /// The dual of the power cone: `{(u, v, w): (u / a)^a (v / (1 - a))^(1 - a) >= |w|, u >= 0, v >= 0}`.
    DualPower(f64),
}

impl Cone {
    /// Rows that it takes.
    pub fn rows(&self) -> usize {
        match *self {
            Cone::Zero(n) | Cone::Nonnegative(n) | Cone::SecondOrder(n) => n,
            Cone::PsdTriangle(n) => n * (n + 1) / 2,
            Cone::Exponential | Cone::Power(_) | Cone::DualExponential | Cone::DualPower(_) => 3,
        }
    }

    /// The name in lower case with underscores, as the API prints it.
    pub fn name(&self) -> &'static str {
        match self {
            Cone::Zero(_) => "zero",
            Cone::Nonnegative(_) => "nonnegative",
            Cone::SecondOrder(_) => "soc",
            Cone::PsdTriangle(_) => "psd",
            Cone::Exponential => "exp",
            Cone::Power(_) => "pow",
            Cone::DualExponential => "dual_exp",
            Cone::DualPower(_) => "dual_pow",
        }
    }

    /// True for the cones of linear constraints.
    pub fn is_polyhedral(&self) -> bool {
        matches!(self, Cone::Zero(_) | Cone::Nonnegative(_))
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        match *self {
            Cone::Power(a) | Cone::DualPower(a) if !(a > 0.0 && a < 1.0) => Err(Error::Setting {
                name: "the exponent of a power cone",
                value: a.to_string(),
                advice: "choose a number strictly between 0 and 1",
            }),
            _ => Ok(()),
        }
    }
}
