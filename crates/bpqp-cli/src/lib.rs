//! The parts of the `bpqp` program.
#![deny(missing_docs)]

pub mod bench;
pub mod commands;
pub mod conic_file;
pub mod dispatch;
mod forms;
pub mod logging;
pub mod portfolio;
pub mod problem_file;
pub mod qps_file;
pub mod schedule;
pub mod schema;
pub mod unique;
pub mod unpack;

use std::io::Write as _;

/// A line on standard error. Nobody reading it is no reason to end, as it would be with `eprintln`.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
