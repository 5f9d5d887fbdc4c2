//! The command line of `bpqp schedule`.

use clap::Args;
use std::path::PathBuf;

/// Schedule generators from load forecasts: train the forecast for the cost of the schedule, and compare with training it for
/// small errors.
///
/// Each evening the 24 hourly outputs of tomorrow are fixed; they may change by at most --ramp from hour to hour. A unit of load
/// that is not met costs 50, a unit too much 0.5, and half the square of the difference comes on top (Donti, Amos and Kolter
/// 2017). A network forecasts the load as a normal distribution, the schedule has the least expected cost, and the gradient of
/// what the schedule really costs goes through it back to mean and spread.
///
/// Without --data it uses the hourly loads of PJM, 2011-2016, that ship with the program.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Loads: .csv or .csv.gz with a line a day, date,load_00,...,load_23,temperature_00,...,temperature_23
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// The first day of the test; the days before it train, but for a random fifth that validates
    #[arg(long, value_name = "YYYY-MM-DD", default_value = "2015-01-01")]
    pub test_from: String,
    /// The most that a schedule changes from hour to hour, in units of load; 0.4 seldom binds, 0.06 often
    #[arg(long, value_name = "UNITS", default_value_t = 0.4)]
    pub ramp: f64,
    /// Random starts; the table shows their mean and spread [default: 5; 1 with --quick]
    #[arg(long, value_name = "K")]
    pub seeds: Option<usize>,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Passes over the training days of the networks, at most [default: 150; 12 with --quick]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Passes of training on through the schedule, at most [default: 25; 4 with --quick]
    #[arg(long, value_name = "EPOCHS")]
    pub task_epochs: Option<usize>,
    /// Threads [default: all cores]; the results do not depend on it
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
    /// A first look in seconds: one seed, few epochs
    #[arg(long)]
    pub quick: bool,
    /// Write a report as one web page
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Print the results as JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// An option out of range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("--{option} {value}: {advice}")]
pub struct BadOption {
    option: &'static str,
    value: String,
    advice: &'static str,
}

impl Options {
    /// Refuses values that make no sense.
    pub fn check(&self) -> Result<(), BadOption> {
        let bad = |option, value: String, advice| Err(BadOption { option, value, advice });
        if !(self.ramp > 0.0 && self.ramp.is_finite()) {
            return bad("ramp", self.ramp.to_string(), "choose a number > 0");
        }
        if super::data::day_number(&self.test_from).is_none() {
            return bad("test-from", self.test_from.clone(), "write a date like 2015-01-01");
        }
        for (option, value) in [("seeds", self.seeds()), ("epochs", self.epochs()), ("task-epochs", self.task_epochs())]
        {
            if value == 0 {
                return bad(option, "0".into(), "choose at least 1");
            }
        }
        if self.threads == Some(0) {
            return bad("threads", "0".into(), "choose at least 1, or leave it out for all cores");
        }
        Ok(())
    }

    /// Random starts.
    pub fn seeds(&self) -> usize {
        self.seeds.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// Passes of the networks.
    pub fn epochs(&self) -> usize {
        self.epochs.unwrap_or(if self.quick { 12 } else { 150 })
    }

    /// Passes of training on.
    pub fn task_epochs(&self) -> usize {
        self.task_epochs.unwrap_or(if self.quick { 4 } else { 25 })
    }
}
