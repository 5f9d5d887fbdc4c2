//! Stage 1: what is solved.

mod qp;
pub(crate) mod validate;

pub(crate) use qp::Blocks;
pub use qp::Qp;
