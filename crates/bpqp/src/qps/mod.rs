//! MPS and QPS files: linear and quadratic programs as the collections of Netlib and of Maros and Meszaros have them.
//!
//! ```text
//! min or max  1/2 x'Q x + c'x + constant   s.t.  rows of types E, L, G with ranges,  bounds (0 and infinity if none is given)
//! ```
//!
//! Sections NAME, OBJSENSE, ROWS, COLUMNS, RHS, RANGES, BOUNDS, QUADOBJ or QSECTION (a triangle of Q), QMATRIX (all of Q),
//! ENDATA, in fixed or in free format. Rows E become equalities, the others `G x <= h` (rows G with their sign turned), and
//! a row with a range becomes two. A maximum becomes the minimum of the negative.
//!
//! What the format leaves open is read as most solvers do: the right-hand side of the objective is the negative of its
//! constant; an upper bound below 0 without a lower one frees the variable below; 1e20 and beyond is infinite in bounds and
//! sides of rows; further rows of type N are no part of the problem. Refused are integer variables, several vectors of one
//! section, entries given twice, and names that were not declared.

mod build;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::parse;
pub use write::write;

use crate::Qp;

/// A problem read from a file.
#[derive(Debug, Clone)]
pub struct Qps {
    /// The name that the file gives itself.
    pub name: String,
    /// The problem, as a minimum, every matrix sparse.
    pub qp: Qp,
    /// The constant of the objective.
    pub constant: f64,
    /// The file asks for the maximum.
    pub maximize: bool,
    /// Names of the variables.
    pub columns: Vec<String>,
    /// Names of the rows of `A`.
    pub equalities: Vec<String>,
    /// Names of the rows of `G`; that of a row with a range is there twice, its upper side first.
    pub inequalities: Vec<String>,
}

impl Qps {
    /// The objective of the file at the objective of `qp`.
    pub fn objective(&self, minimum: f64) -> f64 {
        self.constant + if self.maximize { -minimum } else { minimum }
    }
}
