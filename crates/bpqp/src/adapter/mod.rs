//! A layer of a machine-learning framework, without the framework.
//!
//! For who writes one: [`ArrayLayer`] holds a batch of problems, takes arrays that replace some of their blocks, and solves;
//! the [`Tape`] that it returns turns the cotangent of the outputs into the gradients of these arrays. What is left to a
//! framework's own layer is to read tensors and to put the tape on its tape: `bpqp-burn` and `bpqp-candle` are these parts.
//!
//! ```
//! use bpqp::adapter::{Array, ArrayLayer, Arrays, Block};
//! use bpqp::{Hessian, Qp, Settings};
//!
//! // projections on the unit box, for a batch of two
//! let qp = Qp::new(Hessian::Diagonal(vec![1.0; 2]), vec![0.0; 2])?.bounds(vec![0.0; 2], vec![1.0; 2])?;
//! let layer = ArrayLayer::shared(qp, 2, Settings::default())?;
//! let mut arrays = Arrays::default();
//! let q = Array { shape: vec![2, 2], values: vec![-0.5, -2.0, 1.0, -0.25], tracked: true };
//! arrays[Block::Q as usize] = Some(q);
//! let solved = layer.forward(arrays)?;
//! assert_eq!(solved.values, [0.5, 1.0, 0.0, 0.25]);
//! let gradients = solved.tape.gradients(&[1.0; 4]);
//! assert_eq!(gradients[Block::Q as usize].as_deref(), Some(&[-1.0, 0.0, 0.0, -1.0][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod error;
mod gather;
mod layer;
mod tape;

pub use block::{Array, Arrays, BLOCKS, Block};
pub use error::LayerError;
pub use gather::{Entries, Gather, Kept, Row};
pub use layer::{ArrayLayer, OnFailure, Solved, Timing};
pub use tape::Tape;
