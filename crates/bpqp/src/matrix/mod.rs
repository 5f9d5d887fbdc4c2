//! Matrices that keep their structure: what is sparse, diagonal or low-rank stays so through both passes.

mod csc;
mod dense;
mod hessian;
mod keep;
mod rows;
mod widened;

pub use csc::Csc;
pub(crate) use dense::*;
pub use hessian::Hessian;
pub(crate) use hessian::{LowerWork, Parameter, Product, Separable};
pub(crate) use keep::Keep;
pub use rows::Matrix;
