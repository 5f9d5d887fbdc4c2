//! Differentiable convex optimization.
#![deny(missing_docs)]

pub mod certificate;
mod error;
pub mod forward;
pub mod kkt;
pub mod matrix;
pub mod problem;
pub mod residuals;
mod settings;
mod status;

pub use certificate::Certificate;
pub use error::Error;
pub use matrix::{Csc, Hessian, Matrix};
pub use problem::Qp;
pub use residuals::{Point, Residuals};
pub use settings::{Backward, Settings, Solver};
pub use status::{Status, Verdict};
