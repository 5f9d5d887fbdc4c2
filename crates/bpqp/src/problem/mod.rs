//! Stage 1: what is solved.

mod qp;
pub(crate) mod validate;

pub use qp::Qp;
