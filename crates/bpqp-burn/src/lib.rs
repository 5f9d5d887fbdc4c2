//! Quadratic programs as differentiable layers for [burn](https://burn.dev).
//!
//! [`QpLayer`] holds a batch of problems
//!
//! ```text
//! x_i = argmin 1/2 x'P_i x + q_i'x   subject to   A_i x = b_i,  G_i x <= h_i,  lb_i <= x <= ub_i
//! ```
//!
//! and solves them with some of their blocks replaced by tensors ([`Arguments`]). The result is on burn's tape: its
//! backward pass is the equality-constrained program over the active set that the core crate solves (Theorem 1 of
//! Pan et al., "BPQP", NeurIPS 2024).
//!
//! ```
//! use bpqp::{Hessian, Matrix, Qp, Settings};
//! use bpqp_burn::{Arguments, QpLayer};
//! use burn::tensor::{Device, Tensor};
//!
//! // Euclidean projection onto the simplex: min 1/2 |x|^2 - v'x, 1'x = 1, x >= 0, for a batch of two.
//! let simplex = Qp::new(Hessian::Diagonal(vec![1.0; 3]), vec![0.0; 3])?
//!     .equality(Matrix::from_rows(1, 3, &[1.0; 3])?, vec![1.0])?
//!     .bounds(vec![0.0; 3], vec![])?;
//! let layer = QpLayer::shared(simplex, 2, Settings::default())?;
//!
//! let device = Device::flex().autodiff();
//! let v: Tensor<2> = Tensor::from_floats([[0.5, 0.2, -1.0], [2.0, 0.0, 0.0]], &device).require_grad();
//! let x = layer.forward(Arguments::new().q(-v.clone()))?.x;
//! assert_eq!(x.to_data().iter::<f32>().map(|x| (100.0 * x).round()).collect::<Vec<_>>(), [65.0, 35.0, 0.0, 100.0, 0.0, 0.0]);
//!
//! // The first row has two free entries, which share a change: dx_1/dv = (1/2, -1/2, 0). The second row is a corner.
//! let gradients = x.slice([0..2, 0..1]).sum().backward();
//! let dv = v.grad(&gradients).expect("v tracks gradients");
//! assert_eq!(dv.into_data().iter::<f32>().map(|d| (100.0 * d).round()).collect::<Vec<_>>(), [50.0, -50.0, 0.0, 0.0, 0.0, 0.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Problem data are those of the core: `P` may be dense, sparse, diagonal or `diag(d) + F F'`, which stays factored.
//! - A tensor without a batch dimension is shared by the batch, and its gradient is the sum over it.
//! - Only tensors that track gradients get one.
//! - [`QpLayer::forward_at`] names the instances; each starts from its own last solution.
//! - An instance without a solution is an error, NaN, or a zero gradient, as [`OnFailure`] says; it never spoils others.
//! - Tensors live on burn's `flex` device; move others there and back with `to_device`, which burn differentiates.
#![deny(missing_docs)]

mod block;
mod layer;
mod op;

pub use block::{Arguments, MatrixArgument, VectorArgument};
pub use bpqp::adapter::{Block, LayerError, OnFailure, Timing};
pub use layer::{Multipliers, Output, QpLayer};
