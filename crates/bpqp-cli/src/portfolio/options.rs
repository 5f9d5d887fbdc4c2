//! The command line of `bpqp portfolio`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Train a predictor of stock returns for good decisions, and compare with training it for small errors.
///
/// Without --data it uses the daily prices of 20 stocks of the S&P 500, 1990-2022, that ship with the program.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Prices: .csv or .csv.gz, either `date,TICKER1,...` or `date,ticker,open,high,low,close,volume`; or .npz
    /// (tickers, dates, close as stock x day)
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// A second .npz with open, high, low, volume
    #[arg(long, value_name = "FILE.npz", requires = "data")]
    pub extra: Option<PathBuf>,
    /// Use days from this date on
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub from: Option<String>,
    /// Use days up to this date
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub until: Option<String>,
    /// Use the first so many stocks only
    #[arg(long, value_name = "COUNT")]
    pub stocks: Option<usize>,
    /// What each packed file of prices may unpack to
    #[arg(long, value_name = "MB", default_value_t = crate::unpack::MAX_UNPACKED)]
    pub max_unpacked: u64,
    /// What to train
    #[arg(long, value_enum, default_value_t = Methods::All)]
    pub method: Methods,
    /// Loss of bpqp: beta * regret^2 + MSE (mixed) or the regret alone
    #[arg(long, value_enum, default_value_t = Loss::Mixed)]
    pub loss: Loss,
    /// Weight of the squared regret in the mixed loss; regret and errors are in units of the day's risk
    #[arg(long, default_value_t = 0.01)]
    pub beta: f64,
    /// Price of variance, lambda in lambda/2 w'Sigma w - mu'w
    #[arg(long, value_name = "LAMBDA", default_value_t = 10.0)]
    pub risk_aversion: f64,
    /// The largest weight of a stock
    #[arg(long, default_value_t = 0.2)]
    pub cap: f64,
    /// Passes over the training days [default: 10; 4 with --quick]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Days in one step
    #[arg(long, value_name = "DAYS", default_value_t = 64)]
    pub batch: usize,
    /// Step size of the optimizer
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    pub learning_rate: f64,
    /// Weight decay of the optimizer
    #[arg(long, value_name = "RATE", default_value_t = 10.0)]
    pub weight_decay: f64,
    /// Random starts; the table shows their mean and spread [default: 3; 1 with --quick]
    #[arg(long, value_name = "K")]
    pub seeds: Option<usize>,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Threads [default: all cores]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
    /// How the covariance reaches the solver; dense is for comparison
    #[arg(long, value_enum, default_value_t = Form::Factored)]
    pub covariance: Form,
    /// A first look in seconds: 10 stocks, the last 1500 days, 4 epochs, one seed
    #[arg(long)]
    pub quick: bool,
    /// Write a report as one web page
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Print the results as JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Which methods to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Methods {
    /// Small prediction error, then the program.
    TwoStage,
    /// Decision loss through the program.
    Bpqp,
    /// Both, and their comparison.
    All,
}

/// Loss of bpqp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Loss {
    /// beta * regret^2 + MSE.
    Mixed,
    /// The regret alone.
    Regret,
}

/// How the covariance reaches the solver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// diag(d) + F F'.
    Factored,
    /// The full matrix.
    Dense,
}

/// An option out of range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("--{option} {value}: {advice}")]
pub struct BadOption {
    option: &'static str,
    value: String,
    advice: String,
}

impl Options {
    /// Refuses values that make no sense for that many stocks.
    pub fn check(&self, stocks: usize) -> Result<(), BadOption> {
        let bad = |option, value: String, advice: &str| Err(BadOption { option, value, advice: advice.to_owned() });
        let positive = [("risk-aversion", self.risk_aversion), ("learning-rate", self.learning_rate)];
        if let Some((option, value)) = positive.into_iter().find(|(_, v)| !(*v > 0.0 && v.is_finite())) {
            return bad(option, value.to_string(), "choose a number > 0");
        }
        let nonnegative = [("beta", self.beta), ("weight-decay", self.weight_decay)];
        if let Some((option, value)) = nonnegative.into_iter().find(|(_, v)| !(*v >= 0.0 && v.is_finite())) {
            return bad(option, value.to_string(), "choose a number >= 0");
        }
        for (option, value) in [("epochs", self.epochs()), ("batch", self.batch), ("seeds", self.seeds())] {
            if value == 0 {
                return bad(option, value.to_string(), "choose at least 1");
            }
        }
        if self.threads == Some(0) {
            return bad("threads", "0".into(), "choose at least 1, or leave it out for all cores");
        }
        if let Some(threads) = self.threads.filter(|&threads| threads > bpqp::MAX_THREADS) {
            let advice = format!("choose at most {}, or leave it out for all cores", bpqp::MAX_THREADS);
            return bad("threads", threads.to_string(), &advice);
        }
        let least = 1.0 / stocks as f64;
        if !(self.cap >= least && self.cap <= 1.0) {
            let advice = format!("{stocks} stocks can hold the whole portfolio only for caps between {least:.4} and 1");
            return bad("cap", self.cap.to_string(), &advice);
        }
        Ok(())
    }

    /// Passes over the training days.
    pub fn epochs(&self) -> usize {
        self.epochs.unwrap_or(if self.quick { 4 } else { 10 })
    }

    /// Random starts.
    pub fn seeds(&self) -> usize {
        self.seeds.unwrap_or(if self.quick { 1 } else { 3 })
    }
}
