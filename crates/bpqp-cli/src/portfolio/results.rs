//! What a run found: the source of the table, the JSON and the page.

use super::engine::{Method, Rule};
use super::friction::Friction;
use super::metrics::{Metrics, Series};
use super::options::Learn;
use super::stats::Difference;
use super::training::{Epoch, Training};
use serde::Serialize;

/// A run.
#[derive(Debug, Serialize)]
pub struct Results {
    /// What the network moves.
    pub learn: Learn,
    /// What was learned from.
    pub data: DataSummary,
    /// What may be held.
    pub rule: Rule,
    /// How it was trained.
    pub training: Training,
    /// Cost of trading per value traded.
    pub cost: f64,
    /// True if the numbers are of the validation days, the test days unread.
    pub validation_only: bool,
    /// True if the user stopped it; what is here then is of the best networks so far.
    pub interrupted: bool,
    /// The walk.
    pub periods: Vec<Period>,
    /// One row per method.
    pub rows: Vec<Row>,
    /// The same with yesterday's weights in the program.
    pub with_costs: Vec<CostRow>,
    /// Through the program less each other method, on the same days.
    pub comparisons: Vec<Comparison>,
    /// What the numbers cannot prove.
    pub caveats: Vec<String>,
    /// The days of the reported periods on which decisions are taken.
    pub dates: Vec<String>,
    /// The last days' weights of the saved network.
    pub latest: Option<Vec<super::model_file::Weights>>,
    /// Seconds of the whole run.
    pub seconds: f64,
    /// Seconds of a pass through the program, and the share of it that is the optimization.
    pub pass_seconds: f64,
    /// See `pass_seconds`.
    pub solver_share: f64,
}

/// The data in numbers.
#[derive(Debug, Serialize)]
pub struct DataSummary {
    /// Where the prices come from.
    pub source: String,
    /// Names of the stocks.
    pub tickers: Vec<String>,
    /// First day.
    pub from: String,
    /// Last day.
    pub until: String,
    /// Number of days.
    pub days: usize,
    /// Inputs of the network.
    pub features: Vec<String>,
    /// What was found in the file.
    pub remarks: Vec<String>,
}

/// One step of the walk.
#[derive(Debug, Clone, Serialize)]
pub struct Period {
    /// Days to learn from.
    pub train: Part,
    /// Days to choose by.
    pub validation: Part,
    /// Days to report.
    pub test: Part,
}

/// A part of the days.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// First decision.
    pub from: String,
    /// Last decision.
    pub until: String,
    /// Number of decisions.
    pub days: usize,
}

/// A method on the reported days.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Which.
    pub method: Method,
    /// One entry per seed; one for a method without a network.
    pub seeds: Vec<SeedRow>,
    /// Means over the seeds.
    pub mean: Metrics,
    /// Means over the seeds, period by period.
    pub by_period: Vec<Metrics>,
    /// The weights of the first seed.
    pub weights: Vec<Holding>,
}

/// The weights of a day, 0 left out.
#[derive(Debug, Clone, Serialize)]
pub struct Holding {
    /// The day of the decision.
    pub date: String,
    /// Number of the stock in [`DataSummary::tickers`], and its weight.
    pub weights: Vec<(usize, f32)>,
}

/// One seed of a method.
#[derive(Debug, Serialize)]
pub struct SeedRow {
    /// The seed.
    pub seed: u64,
    /// On all reported days.
    pub metrics: Metrics,
    /// Its days.
    #[serde(flatten)]
    pub series: Series,
    /// Its training, period by period.
    pub curves: Vec<Vec<Epoch>>,
    /// The chosen epochs.
    pub chosen: Vec<usize>,
}

/// A method with yesterday's weights in its program.
#[derive(Debug, Serialize)]
pub struct CostRow {
    /// Which.
    pub method: Method,
    /// The price of trading, chosen on the validation days of each seed and period.
    pub frictions: Vec<Vec<Friction>>,
    /// Means over the seeds.
    pub mean: Metrics,
    /// The days of the first seed.
    pub series: Series,
}

/// Through the program less another method, averaged over the seeds.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The other one.
    pub against: Method,
    /// Of the logarithm of the variance; below 0 is better. Block bootstrap.
    pub log_variance: Difference,
    /// Of the Sharpe ratio; above 0 is better. Block bootstrap.
    pub sharpe: Difference,
    /// Of the daily return. Newey and West.
    pub daily_return: Difference,
    /// Volatility a year of both, period by period.
    pub volatility: Vec<(f64, f64)>,
}

impl Results {
    /// The row of a method.
    pub fn row(&self, method: Method) -> Option<&Row> {
        self.rows.iter().find(|r| r.method == method)
    }
}

/// What the numbers cannot prove.
pub fn caveats(results: &Results, built_in: bool) -> Vec<String> {
    let mut all = Vec::new();
    if results.interrupted {
        all.push("Stopped early: these are the best networks so far, of the periods and seeds that were begun.".into());
    }
    if results.validation_only {
        all.push(
            "Validation days only: epochs and settings were chosen on these very days, so they look too good.".into(),
        );
    }
    all.push(if built_in {
        "Survivors: only stocks that still traded at the end of the data are in it, so every return is too good, that of \
         equal weights included. Compare methods; do not claim profits."
            .into()
    } else {
        "Survivors: if the file holds only stocks that exist today, every return is too good.".into()
    });
    all.push(
        "One history: seeds share the market's one draw, their spread says nothing about its luck. The tests know the days \
         to depend on each other over a month, not over years."
            .into(),
    );
    all.push(format!(
        "Costs: the first table trades freely; 'net' takes {:.0} bp off every value bought or sold, which is a guess at \
         spreads and impact.",
        1e4 * results.cost
    ));
    if results.learn == Learn::Returns {
        all.push(
            "Expected returns: daily returns of liquid stocks are close to unpredictable; a difference within two standard \
             errors is nothing, and of many runs one exceeds that by chance."
                .into(),
        );
    }
    if results.data.tickers.len() < 50 {
        all.push(format!("Few stocks: with {} there is little to choose from.", results.data.tickers.len()));
    }
    all
}
