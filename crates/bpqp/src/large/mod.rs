//! Quadratic programs whose matrices are given as products only, for problems whose factors do not fit.
//!
//! ```
//! use bpqp::large::{Operator, Program};
//! use bpqp::{Cotangent, Error, Hessian, Settings};
//! use std::sync::Arc;
//!
//! /// Sums of neighbors: a matrix that nobody stores.
//! struct Neighbors(usize);
//!
//! impl Operator for Neighbors {
//!     fn nrows(&self) -> usize {
//!         self.0 - 1
//!     }
//!     fn ncols(&self) -> usize {
//!         self.0
//!     }
//!     fn apply(&self, x: &[f64], out: &mut [f64]) -> Result<(), Error> {
//!         out.iter_mut().zip(x.windows(2)).for_each(|(o, pair)| *o = pair[0] + pair[1]);
//!         Ok(())
//!     }
//!     fn apply_transpose(&self, y: &[f64], out: &mut [f64]) -> Result<(), Error> {
//!         out.fill(0.0);
//!         for (i, y) in y.iter().enumerate() {
//!             out[i] += y;
//!             out[i + 1] += y;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! // the point nearest to (0.9, 0.9, 0, 0, 0.9, 0.9, ..) whose neighbors sum to at most 1
//! let n = 1000;
//! let q: Vec<f64> = (0..n).map(|i| if i % 4 < 2 { -0.9 } else { 0.0 }).collect();
//! let p = Arc::new(Hessian::Diagonal(vec![1.0; n]));
//! let program = Program::new(p, q)?.inequality(Arc::new(Neighbors(n)), vec![1.0; n - 1])?;
//! let sol = program.solve(&Settings::default())?;
//! assert!(sol.ok() && (sol.x[0] - 0.5).abs() < 1e-6);
//! let grad = sol.vjp(&Cotangent::x(&vec![1.0; n]))?;
//! assert_eq!(grad.verdict.name(), "approximate"); // solved for to a tolerance
//! assert_eq!(grad.g.left[0].len(), n - 1); // the gradient of G as two outer products
//! # Ok::<(), Error>(())
//! ```
//!
//! The forward pass is a method of multipliers with Newton steps by conjugate gradients, the last digits and the backward pass
//! are MINRES on the system of the active set: the same equality-constrained QP as everywhere in this library.

mod derivatives;
mod face;
mod few;
mod krylov;
mod model;
mod multipliers;
mod operator;
mod program;
mod proof;
mod settle;
mod solution;
mod worth;

pub use derivatives::{LargeGradient, LargeTangent, Outer};
pub use operator::Operator;
pub use program::Program;
pub use solution::LargeSolution;
