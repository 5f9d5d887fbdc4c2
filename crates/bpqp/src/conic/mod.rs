//! Convex programs over cones, and the derivative of their solutions.
//!
//! ```text
//! minimize    1/2 x'P x + q'x
//! subject to  A x + s = b,   s in K            multipliers y in K*
//! ```
//!
//! the form in which CVXPY, SCS and Clarabel state them. This folder only translates: a [`Conic`] is solved and
//! differentiated as a [`Qp`](crate::Qp) (`form.rs`), and its answers are those of the rows given here.

mod active;
mod answers;
mod batch;
mod check;
mod derivatives;
mod form;
mod gradient;
mod layer;
mod problem;
mod solution;

pub use active::ConicActive;
pub use batch::{ConicBatch, ConicGradients, ConicTangents, ConicWorkers};
pub use check::{ConicCheckRow, ConicGradientCheck, check_conic_gradient};
pub use gradient::{ConicCotangent, ConicGradient, ConicSolutionTangent, ConicTangent, ConicWrt};
pub use layer::ConicLayer;
pub use problem::Conic;
pub use solution::{ConicInfo, ConicSolution};
