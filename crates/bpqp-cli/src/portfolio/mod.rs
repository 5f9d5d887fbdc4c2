//! Portfolios learned through the program that makes them: prices -> features -> network -> factored covariance (or expected
//! returns) -> quadratic program -> loss of the decision -> gradient through the program -> network.

pub mod alpha;
pub mod covariance;
pub mod dataset;
pub mod engine;
pub mod features;
pub mod friction;
pub mod metrics;
pub mod model;
pub mod model_file;
pub mod options;
pub mod prices;
mod progress;
pub mod random;
pub mod report;
pub mod results;
mod run;
pub mod stats;
pub mod table;
pub mod training;
mod weights;

pub use run::{results as train_and_measure, run};
