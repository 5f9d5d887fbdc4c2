//! Differentiable convex optimization.
#![deny(missing_docs)]

pub mod active;
pub mod backward;
mod batch;
pub mod certificate;
pub mod check;
mod error;
pub mod forward;
mod gradient;
pub mod kkt;
mod layer;
pub mod matrix;
pub mod problem;
pub mod residuals;
mod settings;
mod solution;
mod status;

pub use active::{ActiveSet, Side};
pub use batch::{Batch, vjp_batch};
pub use certificate::Certificate;
pub use check::{GradientCheck, check_gradient};
pub use error::Error;
pub use forward::from_solution;
pub use gradient::{Cotangent, Gradient, SolutionTangent, Tangent, Wrt};
pub use layer::Layer;
pub use matrix::{Csc, Hessian, Matrix};
pub use problem::Qp;
pub use residuals::{Point, Residuals};
pub use settings::{Backward, Settings, Solver};
pub use solution::{Info, Solution};
pub use status::{Status, Verdict};
