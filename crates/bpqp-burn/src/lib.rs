//! Quadratic programs as differentiable layers for [burn](https://docs.rs/burn).
#![deny(missing_docs)]

mod block;
mod error;
mod layer;
mod op;

pub use block::{Arguments, Block, MatrixArgument, VectorArgument};
pub use error::LayerError;
pub use layer::{Multipliers, OnFailure, Output, QpLayer, Timing};
