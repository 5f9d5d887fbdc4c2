//! Quadratic programs as differentiable layers for [candle](https://github.com/huggingface/candle).
//!
//! [`QpLayer`] holds a batch of problems
//!
//! ```text
//! x_i = argmin 1/2 x'P_i x + q_i'x   subject to   A_i x = b_i,  G_i x <= h_i,  lb_i <= x <= ub_i
//! ```
//!
//! and solves them with some of their blocks replaced by tensors ([`Arguments`]). The result is a tensor that
//! `Tensor::backward` goes through: its backward pass is the equality-constrained program over the active set that the core
//! crate solves (Theorem 1 of Pan et al., "BPQP", NeurIPS 2024).
//!
//! ```
//! use bpqp::{Hessian, Matrix, Qp, Settings};
//! use bpqp_candle::{Arguments, QpLayer};
//! use candle_core::{Device, Var};
//!
//! // Euclidean projection onto the simplex: min 1/2 |x|^2 - v'x, 1'x = 1, x >= 0, for a batch of two.
//! let simplex = Qp::new(Hessian::Diagonal(vec![1.0; 3]), vec![0.0; 3])?
//!     .equality(Matrix::from_rows(1, 3, &[1.0; 3])?, vec![1.0])?
//!     .bounds(vec![0.0; 3], vec![])?;
//! let layer = QpLayer::shared(simplex, 2, Settings::default())?;
//!
//! let v = Var::new(&[[0.5, 0.2, -1.0], [2.0, 0.0, 0.0]], &Device::Cpu)?;
//! let x = layer.forward(Arguments::new().q(&v.neg()?))?.x;
//! let rounded = |t: &candle_core::Tensor| Ok::<_, candle_core::Error>((t * 100.0)?.round()?.to_vec2::<f64>()?);
//! assert_eq!(rounded(&x)?, [[65.0, 35.0, 0.0], [100.0, 0.0, 0.0]]);
//!
//! // The first row has two free entries, which share a change: dx_1/dv = (1/2, -1/2, 0). The second row is a corner.
//! let gradients = x.narrow(1, 0, 1)?.sum_all()?.backward()?;
//! assert_eq!(rounded(gradients.get(&v).expect("v is a variable"))?, [[50.0, -50.0, 0.0], [0.0, 0.0, 0.0]]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Problem data are those of the core: `P` may be dense, sparse, diagonal or `diag(d) + F F'`, which stays factored.
//! - A tensor without a batch dimension is shared by the batch, and its gradient is the sum over it.
//! - Only tensors that track gradients get one.
//! - [`QpLayer::forward_at`] names the instances; each starts from its own last solution.
//! - An instance without a solution is an error, NaN, or a zero gradient, as [`OnFailure`] says; it never spoils others.
//! - Tensors may be single precision, or lower, and on any device; the core works in double precision on the CPU.
#![deny(missing_docs)]

mod arguments;
mod layer;
mod op;

pub use arguments::Arguments;
pub use bpqp::adapter::{Block, LayerError, OnFailure, Timing};
pub use layer::{Multipliers, Output, QpLayer};

/// Why a forward pass gave no tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the layer refuses, and instances without a solution.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A tensor of whole numbers.
    #[error("{block} has dtype {dtype:?}: pass a tensor of floating point numbers")]
    Dtype {
        /// Which argument.
        block: Block,
        /// Its type.
        dtype: candle_core::DType,
    },
    /// What candle itself refuses.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
