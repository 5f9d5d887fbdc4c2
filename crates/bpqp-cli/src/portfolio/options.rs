//! The command line of `bpqp portfolio`.

use super::training::Training;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Train a network through the portfolio program that uses it, and compare with training it for a good forecast.
///
/// Without --data it uses the daily prices of 500 US stocks, 2006-2017, that ship with the program.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    /// Something else than training.
    #[command(subcommand)]
    pub command: Option<PortfolioCommand>,
    /// What the network moves: the covariance, or the expected returns
    #[arg(long, value_enum, default_value_t = Learn::Risk)]
    pub learn: Learn,
    /// Where the prices come from.
    #[command(flatten)]
    pub source: Source,
    /// The largest weight of a stock [default: 0.05, with few stocks 4 times the equal weight]
    #[arg(long)]
    pub cap: Option<f64>,
    /// A file of `ticker,group` (a sector, say); no group gets more than --group-cap
    #[arg(long, value_name = "FILE.csv")]
    pub groups: Option<PathBuf>,
    /// The largest weight of a group
    #[arg(long, default_value_t = 0.25, requires = "groups")]
    pub group_cap: f64,
    /// Cost of trading in hundredths of a percent of the value bought or sold
    #[arg(long, value_name = "BP", default_value_t = 5.0)]
    pub cost_bps: f64,
    /// Price of variance: in choosing how much to trade, and in the program of --learn returns
    #[arg(long, value_name = "LAMBDA", default_value_t = 10.0)]
    pub risk_aversion: f64,
    /// Disjoint test periods [default: 3; 1 with --quick]
    #[arg(long, value_name = "K")]
    pub folds: Option<usize>,
    /// Random starts [default: 2; 1 with --quick]
    #[arg(long, value_name = "K")]
    pub seeds: Option<usize>,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Passes over the training days of the two-stage network
    #[arg(long, default_value_t = 3)]
    pub epochs: usize,
    /// Further passes, through the program or (the control) as before
    #[arg(long, value_name = "EPOCHS", default_value_t = 4)]
    pub tune: usize,
    /// Days in one step
    #[arg(long, value_name = "DAYS", default_value_t = 16)]
    pub batch: usize,
    /// Width of the two hidden layers
    #[arg(long, value_name = "UNITS", default_value_t = 64)]
    pub hidden: usize,
    /// Step size of the first passes
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    pub learning_rate: f64,
    /// Step size of the further passes
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    pub tune_rate: f64,
    /// Weight decay of the optimizer
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    pub weight_decay: f64,
    /// Report the validation days and leave the test days unread: for choosing settings
    #[arg(long)]
    pub validate: bool,
    /// Threads [default: all cores]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
    /// A first look in seconds: 20 stocks, the last 1500 days, closing prices only, one test period, one seed
    #[arg(long)]
    pub quick: bool,
    /// Train once more on the latest days and write the network here, for `bpqp portfolio weights`
    #[arg(long, value_name = "MODEL")]
    pub save: Option<PathBuf>,
    /// Write a report as one web page
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Print the results as JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Where prices come from and how they are read.
#[derive(Debug, Clone, Default, Args)]
pub struct Source {
    /// Prices: .csv or .csv.gz, one column per stock, one row per stock and day, or as yfinance writes them; or .npz
    /// (tickers, dates, close as stock x day)
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// A second .npz with open, high, low, volume
    #[arg(long, value_name = "FILE.npz", requires = "data")]
    pub extra: Option<PathBuf>,
    /// Carry the last price over days without one
    #[arg(long)]
    pub fill: bool,
    /// Leave out every stock that lacks a price on any day
    #[arg(long, conflicts_with = "fill")]
    pub drop_incomplete: bool,
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
}

/// What else can be done.
#[derive(Debug, Clone, Subcommand)]
pub enum PortfolioCommand {
    /// The weights to hold after the last day of the data, from a saved network
    Weights(WeightsOptions),
}

/// The command line of `bpqp portfolio weights`.
#[derive(Debug, Clone, Args)]
pub struct WeightsOptions {
    /// What `bpqp portfolio --save` wrote
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// Where the prices come from.
    #[command(flatten)]
    pub source: Source,
    /// What is held now, as `ticker,weight`: the program then trades only as far as it pays
    #[arg(long, value_name = "FILE.csv")]
    pub holdings: Option<PathBuf>,
    /// So many of the last days instead of the last one
    #[arg(long, value_name = "DAYS", default_value_t = 1, conflicts_with = "holdings")]
    pub last: usize,
    /// Print as `date,ticker,weight`
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

/// What the network moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Learn {
    /// The factored covariance; the decision is the portfolio of least variance.
    Risk,
    /// The expected returns; the decision is the mean-variance portfolio.
    Returns,
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
        let positive = [
            ("risk-aversion", self.risk_aversion),
            ("learning-rate", self.learning_rate),
            ("tune-rate", self.tune_rate),
            ("group-cap", self.group_cap),
        ];
        if let Some((option, value)) = positive.into_iter().find(|(_, v)| !(*v > 0.0 && v.is_finite())) {
            return bad(option, value.to_string(), "choose a number > 0");
        }
        let nonnegative = [("cost-bps", self.cost_bps), ("weight-decay", self.weight_decay)];
        if let Some((option, value)) = nonnegative.into_iter().find(|(_, v)| !(*v >= 0.0 && v.is_finite())) {
            return bad(option, value.to_string(), "choose a number >= 0");
        }
        let counts = [("epochs", self.epochs), ("batch", self.batch), ("hidden", self.hidden)];
        for (option, value) in counts.into_iter().chain([("seeds", self.seeds()), ("folds", self.folds())]) {
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
        let (least, cap) = (1.0 / stocks as f64, self.cap(stocks));
        if !(cap >= least && cap <= 1.0) {
            let advice = format!("{stocks} stocks can hold the whole portfolio only for caps between {least:.4} and 1");
            return bad("cap", cap.to_string(), &advice);
        }
        Ok(())
    }

    /// The largest weight of one of so many stocks.
    pub fn cap(&self, stocks: usize) -> f64 {
        self.cap.unwrap_or((4.0 / stocks as f64).clamp(0.05, 1.0))
    }

    /// Test periods.
    pub fn folds(&self) -> usize {
        self.folds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// Random starts.
    pub fn seeds(&self) -> usize {
        self.seeds.unwrap_or(if self.quick { 1 } else { 2 })
    }

    /// How to train.
    pub fn training(&self) -> Training {
        Training {
            epochs: self.epochs,
            tune: self.tune,
            batch: self.batch,
            hidden: self.hidden,
            learning_rate: self.learning_rate,
            tune_rate: self.tune_rate,
            weight_decay: self.weight_decay,
        }
    }
}
