//! Convex programs over cones, and the derivative of their solutions.
//!
//! ```text
//! minimize    1/2 x'P x + q'x
//! subject to  A x + s = b,   s in K            multipliers y in K*
//! ```
//!
//! with the Lagrangian stationary, `P x + q + A'y = 0`, and `s'y = 0`. `K` is a product of the cones of [`Cone`](crate::Cone), in the
//! order of the rows of `A`. The folder repeats the pipeline of the library:
//!
//! ```text
//! problem -> forward -> solution -> polish -> system (the backward QP) -> gradient
//! ```
//!
//! The only thing that a cone contributes to the backward QP is what [`cones`](crate::cones) says of it: rows that are
//! pinned, and curvature. Problems over zero and nonnegative cones are quadratic programs, and are handed to
//! [`Layer`](crate::Layer).

mod batch;
mod certificate;
mod check;
mod differentiate;
mod forward;
mod gradient;
mod layer;
mod polish;
mod polyhedral;
mod problem;
mod residuals;
mod second;
mod solution;
mod system;

pub use batch::{ConicBatch, ConicGradients, ConicTangents};
pub use certificate::ConicCertificate;
pub use check::{ConicCheckRow, ConicGradientCheck, check_conic_gradient};
pub use gradient::{ConicCotangent, ConicGradient, ConicSolutionTangent, ConicTangent, ConicWrt};
pub use layer::ConicLayer;
pub use problem::Conic;
pub use solution::{ConicInfo, ConicSolution};
