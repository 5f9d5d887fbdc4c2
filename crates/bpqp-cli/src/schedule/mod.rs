//! Generator schedules from load forecasts: features -> mean and spread of tomorrow's loads -> the schedule of least expected
//! cost -> what it really costs -> gradient through the schedule -> network.
//!
//! The problem of Donti, Amos and Kolter (2017), "Task-based end-to-end model learning in stochastic optimization".

pub mod data;
pub mod model;
pub mod options;
pub mod program;
mod progress;
pub mod report;
pub mod results;
mod run;
pub mod table;
pub mod train;

pub use run::{results as train_and_measure, run};
