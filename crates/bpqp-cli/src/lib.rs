//! The parts of the `bpqp` program.
#![deny(missing_docs)]

pub mod bench;
pub mod commands;
pub mod conic_file;
pub mod portfolio;
pub mod problem_file;
pub mod schedule;
