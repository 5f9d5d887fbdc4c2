//! Stage 1: what is solved.

mod qp;
mod validate;

pub use qp::Qp;
