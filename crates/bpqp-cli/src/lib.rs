//! The parts of the `bpqp` program.
#![deny(missing_docs)]

pub mod portfolio;
