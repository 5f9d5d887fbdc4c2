//! Differentiable convex optimization: solve a quadratic or linear program, then differentiate its solution with respect
//! to every number in it.
//!
//! # The theorem
//!
//! A layer solves `x*(data) = argmin 1/2 x'P x + q'x` under constraints and has to send `dL/dx*` back to `dL/d(data)`.
//! The implicit derivative of the optimality conditions is itself the solution of a QP with equality constraints only,
//! over the rows F that are active at `x*` (BPQP, NeurIPS 2024, Theorem 1):
//!
//! ```text
//! minimize 1/2 w'P w + (dL/dx)'w   s.t.  F w = 0          dL/dq = w,  dL/dP = 1/2 (w x' + x w'),  ...
//! ```
//!
//! So the backward pass depends on the solution only and not on how it was found, is smaller than the forward problem,
//! and can be done by any QP solver. Data flows one way:
//!
//! ```text
//! problem -> forward -> solution -> active -> backward -> gradient
//! ```
//!
//! # Example
//!
//! ```
//! use bpqp::{Cotangent, Qp, Settings, Verdict, Wrt};
//! use faer::mat;
//!
//! // minimize 1/2 x'P x + q'x   s.t.  x_1 + x_2 = 1,  x >= 0
//! let qp = Qp::new(mat![[2.0, 0.5], [0.5, 1.0]], vec![1.0, -0.5])?
//!     .equality(mat![[1.0, 1.0]], vec![1.0])?
//!     .bounds(vec![0.0, 0.0], vec![])?;
//! let sol = qp.solve(&Settings::default())?; // the outcome is sol.status; Err is for misuse
//! assert!(sol.ok() && sol.x[0] == 0.0 && (sol.x[1] - 1.0).abs() < 1e-12);
//!
//! // how a loss L(x) with dL/dx = (1, 2) moves with the data; and how far that may be trusted
//! let grad = sol.vjp(&Cotangent::x(&[1.0, 2.0]), Wrt::ALL)?;
//! assert!((grad.b.as_ref().unwrap()[0] - 2.0).abs() < 1e-12); // a larger budget goes to x_2
//! assert!((grad.lb.as_ref().unwrap()[0] + 1.0).abs() < 1e-12); // x_1 is held at its bound
//! assert_eq!(sol.verdict(), Verdict::Exact);
//! # Ok::<(), bpqp::Error>(())
//! ```
//!
//! Use [`Layer`] to solve and differentiate many problems of one structure, [`Batch`] for many at a time on all cores,
//! and [`from_solution`] for solutions that another solver found. [`Settings`] chooses solvers and modes.
#![deny(missing_docs)]

mod active;
pub mod adapter;
mod backward;
mod batch;
pub mod cbf;
mod certificate;
pub mod check;
mod closest;
mod cones;
mod conic;
mod derivatives;
mod error;
pub mod forward;
mod given;
mod gradient;
mod interrupt;
mod kkt;
pub mod large;
mod layer;
mod matrix;
mod one_sided;
mod problem;
pub mod qps;
pub mod residuals;
#[cfg(feature = "serde")]
mod serial;
mod settings;
mod small;
pub mod smooth;
mod solution;
mod status;
mod threads;
mod thresholds;

pub use active::{ActiveSet, Side};
pub use backward::Accuracy;
pub use batch::{Batch, Gradients, vjp_batch};
pub use certificate::Certificate;
pub use check::{GradientCheck, check_gradient};
pub use cones::{Cone, Face};
pub use conic::{
    Conic, ConicActive, ConicBatch, ConicCheckRow, ConicCotangent, ConicGradient, ConicGradientCheck, ConicGradients,
    ConicInfo, ConicLayer, ConicSolution, ConicSolutionTangent, ConicTangent, ConicTangents, ConicWorkers, ConicWrt,
    check_conic_gradient,
};
pub use derivatives::Derivatives;
pub use error::Error;
pub use given::from_solution;
pub use gradient::{Cotangent, Gradient, SolutionTangent, Tangent, Wrt};
pub use interrupt::{Deadline, Interrupt};
pub use kkt::KktCore;
pub use layer::Layer;
pub use matrix::{Csc, Full, Hessian, Matrix};
pub use problem::Qp;
pub use residuals::{Point, Residuals};
pub use settings::{Backward, Infeasible, Settings, Solver};
pub use solution::{Info, Solution};
pub use status::{Status, Verdict};
pub use threads::MAX_THREADS;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Matrices are given as those of this version of faer.
pub use faer;
