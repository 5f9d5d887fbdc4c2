//! Stage 1: what is solved.

mod keep;
mod qp;
mod validate;

pub(crate) use keep::Keep;
pub use qp::Qp;
