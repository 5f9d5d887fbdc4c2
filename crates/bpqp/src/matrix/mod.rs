//! Matrices that keep their structure: what is sparse, diagonal or low-rank stays so through both passes.

pub(crate) mod columns;
mod csc;
mod dense;
mod full;
mod hessian;
mod keep;
mod panels;
mod rows;
mod wide;
mod widened;

pub use csc::Csc;
pub(crate) use dense::*;
pub use full::Full;
pub use hessian::Hessian;
pub(crate) use hessian::{LowerWork, Parameter, Product, Separable};
pub(crate) use keep::Keep;
pub(crate) use panels::{cholesky, cholesky_memory, lower_gram, solve_lower_columns};
pub use rows::Matrix;
pub(crate) use wide::Wide;
