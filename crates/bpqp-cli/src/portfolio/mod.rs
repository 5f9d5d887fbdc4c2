//! End-to-end portfolios: prices -> features -> expected returns -> mean-variance program -> decision loss -> gradient
//! through the program -> predictor.

pub mod covariance;
pub mod dataset;
pub mod features;
pub mod metrics;
pub mod model;
pub mod options;
pub mod prices;
mod progress;
pub mod random;
pub mod report;
pub mod results;
mod run;
pub mod table;
pub mod train;

pub use run::{results as train_and_measure, run};
