//! End-to-end portfolios: prices -> features -> expected returns -> mean-variance program -> decision loss -> gradient
//! through the program -> predictor.

pub mod covariance;
pub mod dataset;
pub mod features;
pub mod metrics;
pub mod model;
pub mod prices;
pub mod random;
pub mod train;
