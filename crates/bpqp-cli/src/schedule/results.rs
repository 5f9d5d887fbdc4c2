//! What is reported, with its definition.

use super::program::{Day, HOURS};
use serde::Serialize;

/// Days over which the costs of a week hang together, for the standard errors.
pub const LAGS: usize = 7;

/// The rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Squared error; the spread is that of the errors on the training days, as in the paper.
    RmseTraining,
    /// The same network; the spread is that of the errors on the validation days, as a careful user would take it.
    Rmse,
    /// Mean and spread by maximum likelihood.
    Likelihood,
    /// The same, trained on for as long as end-to-end: the control.
    LikelihoodLonger,
    /// No forecast: the output is the schedule, trained without the ramp limits and then projected.
    Quantile,
    /// The RMSE network, trained on by the cost of the schedule; its spread stays.
    EndToEndMean,
    /// The likelihood network, trained on by the cost of the schedule.
    EndToEnd,
}

impl Method {
    /// All, in the order of the table.
    pub const ALL: [Method; 7] = [
        Method::RmseTraining,
        Method::Rmse,
        Method::Likelihood,
        Method::LikelihoodLonger,
        Method::Quantile,
        Method::EndToEndMean,
        Method::EndToEnd,
    ];

    /// As in the table.
    pub fn name(self) -> &'static str {
        match self {
            Method::RmseTraining => "RMSE, training spread",
            Method::Rmse => "RMSE, validated spread",
            Method::Likelihood => "likelihood",
            Method::LikelihoodLonger => "likelihood, as long",
            Method::Quantile => "direct quantile",
            Method::EndToEndMean => "end-to-end, mean",
            Method::EndToEnd => "end-to-end, mean, spread",
        }
    }

    /// What it is, in a sentence.
    pub fn explanation(self) -> &'static str {
        match self {
            Method::RmseTraining => {
                "least squares; the spread of each hour is that of its errors on the training days (the paper's baseline)"
            }
            Method::Rmse => "the same network; the spread is that of the errors on the validation days",
            Method::Likelihood => "mean and spread of each day by maximum likelihood",
            Method::LikelihoodLonger => "the same, trained on for as many passes as end-to-end: the control",
            Method::Quantile => {
                "no forecast: the output is the schedule, trained by its cost without the ramp limits, then projected"
            }
            Method::EndToEndMean => {
                "the RMSE network, trained on by the cost of its schedules; the validated spread stays"
            }
            Method::EndToEnd => "the likelihood network, trained on by the cost of its schedules",
        }
    }
}

/// One method with one seed on the test days.
#[derive(Debug, Clone, Serialize)]
pub struct SeedResults {
    /// The seed.
    pub seed: u64,
    /// The epoch that the validation days chose, from 1; that of the network it starts from is not counted.
    pub best_epoch: usize,
    /// Epochs that were run.
    pub epochs: usize,
    /// Root mean squared error of the mean forecast, where there is one.
    pub rmse: Option<f64>,
    /// Mean load that was not met, per hour.
    pub missing: f64,
    /// Mean output too much, per hour.
    pub surplus: f64,
    /// Cost of each day.
    pub cost: Vec<f64>,
}

impl SeedResults {
    /// Mean cost a day.
    pub fn mean(&self) -> f64 {
        mean(&self.cost)
    }
}

/// One method.
#[derive(Debug, Serialize)]
pub struct MethodResults {
    /// Which.
    pub method: Method,
    /// Mean cost a day over days and seeds.
    pub cost: f64,
    /// Deviation of the mean cost over the seeds.
    pub seed_deviation: f64,
    /// Standard error of the mean cost over the days (Newey and West).
    pub standard_error: f64,
    /// Cost of each day, averaged over the seeds.
    pub daily: Vec<f64>,
    /// Seed by seed.
    pub seeds: Vec<SeedResults>,
}

impl MethodResults {
    /// Of the results of all seeds.
    pub fn of(method: Method, seeds: Vec<SeedResults>) -> Self {
        let days = seeds[0].cost.len();
        let daily: Vec<f64> = (0..days).map(|t| mean(&seeds.iter().map(|s| s.cost[t]).collect::<Vec<f64>>())).collect();
        let means: Vec<f64> = seeds.iter().map(SeedResults::mean).collect();
        let standard_error = newey_west(&daily, LAGS);
        MethodResults { method, cost: mean(&daily), seed_deviation: deviation(&means), standard_error, daily, seeds }
    }

    /// A number of each seed, averaged.
    pub fn average(&self, value: fn(&SeedResults) -> f64) -> f64 {
        mean(&self.seeds.iter().map(value).collect::<Vec<f64>>())
    }
}

/// The cost of a method less that of another, day by day.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Comparison {
    /// Which.
    pub method: Method,
    /// Less which.
    pub against: Method,
    /// Mean cost a day.
    pub mean: f64,
    /// Its standard error (Newey and West).
    pub standard_error: f64,
    /// Mean over standard error.
    pub t: f64,
    /// Mean, in percent of the other's cost.
    pub percent: f64,
}

impl Comparison {
    /// Of two methods on the same days.
    pub fn of(method: &MethodResults, against: &MethodResults) -> Self {
        let pairs = method.daily.iter().zip(&against.daily);
        let difference: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        let (mean, standard_error) = (mean(&difference), newey_west(&difference, LAGS));
        let t = if standard_error > 0.0 { mean / standard_error } else { 0.0 };
        let (method, percent) = (method.method, 100.0 * mean / against.cost);
        Comparison { method, against: against.method, mean, standard_error, t, percent }
    }
}

/// A test day in detail, with the first seed.
#[derive(Debug, Clone, Serialize)]
pub struct DayDetail {
    /// The day.
    pub date: String,
    /// Why it is shown.
    pub why: &'static str,
    /// The load that came.
    pub load: Day,
    /// Of the RMSE network with validated spread, and of end-to-end with mean and spread.
    pub plans: [PlanDetail; 2],
}

/// What one method made of a day.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PlanDetail {
    /// Means of the forecast.
    pub mean: Day,
    /// Its spreads.
    pub spread: Day,
    /// The schedule.
    pub schedule: Day,
    /// Its cost.
    pub cost: f64,
}

/// Days of one part of the data.
#[derive(Debug, Clone, Serialize)]
pub struct DataSummary {
    /// Where they come from.
    pub source: String,
    /// Features of a day.
    pub features: usize,
    /// Days to learn from.
    pub train: usize,
    /// Days to choose by, drawn anew from the same years by each seed.
    pub validation: usize,
    /// Days that are reported.
    pub test: usize,
    /// First and last day of training and validation.
    pub before: [String; 2],
    /// First and last day of the test.
    pub span: [String; 2],
}

/// Everything.
#[derive(Debug, Serialize)]
pub struct Results {
    /// The data.
    pub data: DataSummary,
    /// The most that a schedule changes from hour to hour.
    pub ramp: f64,
    /// Part of the hourly changes of the test days' loads that are larger.
    pub steeper: f64,
    /// Epochs of the networks, at most.
    pub epochs: usize,
    /// Epochs of training on, at most.
    pub task_epochs: usize,
    /// By method.
    pub methods: Vec<MethodResults>,
    /// Against the careful RMSE network, the likelihood network and its control.
    pub comparisons: Vec<Comparison>,
    /// Some days in detail.
    pub days: Vec<DayDetail>,
    /// The test days.
    pub dates: Vec<String>,
    /// What the numbers do not prove.
    pub caveats: Vec<String>,
    /// Wall clock.
    pub seconds: f64,
}

impl Results {
    /// A method's results.
    pub fn method(&self, method: Method) -> Option<&MethodResults> {
        self.methods.iter().find(|m| m.method == method)
    }

    /// A comparison.
    pub fn comparison(&self, method: Method, against: Method) -> Option<&Comparison> {
        self.comparisons.iter().find(|c| c.method == method && c.against == against)
    }
}

/// Load missing and output too much, per hour.
pub fn misses(schedules: &[Day], loads: &[Day]) -> (f64, f64) {
    let pairs = || schedules.iter().flatten().zip(loads.iter().flatten());
    let count = (schedules.len() * HOURS).max(1) as f64;
    let missing = pairs().map(|(z, y)| (y - z).max(0.0)).sum::<f64>() / count;
    (missing, pairs().map(|(z, y)| (z - y).max(0.0)).sum::<f64>() / count)
}

/// What these numbers do not prove.
pub fn caveats(seeds: usize, test: usize, built_in: bool) -> Vec<String> {
    let mut list = vec![
        "The temperature of the day itself is a feature, as in the study, where a plant has a forecast of it: all \
         methods are better here than they would be the evening before."
            .to_owned(),
        format!(
            "{test} test days are one stretch of one grid. The t values are over these days, with {LAGS} lags; the ± \
             over seeds says how much starting weights and the drawn validation days matter."
        ),
    ];
    if built_in {
        list.push(
            "Prices, network and training are those of a study on these very days, which had been looked at before: \
             the test is no longer blind. A ramp limit or data of your own are."
                .to_owned(),
        );
    }
    if seeds == 1 {
        list.push("One seed: run --seeds 3 or more before you compare.".to_owned());
    }
    list
}

/// Arithmetic mean, 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Sample standard deviation, 0 of fewer than two.
pub fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let m = mean(values);
    (values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

/// Standard error of the mean of a series whose values hang together over `lags` steps (Newey and West, Bartlett weights).
pub fn newey_west(values: &[f64], lags: usize) -> f64 {
    let (n, m) = (values.len(), mean(values));
    if n < 2 {
        return 0.0;
    }
    let covariance = |lag: usize| (lag..n).map(|t| (values[t] - m) * (values[t - lag] - m)).sum::<f64>() / n as f64;
    let lags = lags.min(n - 1);
    let weighted = (1..=lags).map(|k| 2.0 * (1.0 - k as f64 / (lags + 1) as f64) * covariance(k)).sum::<f64>();
    ((covariance(0) + weighted).max(0.0) / n as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_errors_agree_with_values_by_hand() {
        let series = [1.0, 2.0, 4.0, 3.0];
        // Deviations -1.5, -0.5, 1.5, 0.5; covariances 5/4 and (0.75 - 0.75 + 0.75)/4 at lag 1.
        assert!((newey_west(&series, 0) - (1.25f64 / 4.0).sqrt()).abs() < 1e-15);
        assert!((newey_west(&series, 1) - ((1.25 + 0.1875) / 4.0f64).sqrt()).abs() < 1e-15);
        assert_eq!(newey_west(&[1.0], 7), 0.0);
    }

    #[test]
    fn values_that_hang_together_have_a_larger_error() {
        let blocks: Vec<f64> = (0..400).map(|t| if (t / 5) % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!(newey_west(&blocks, 3) > 1.3 * newey_west(&blocks, 0));
    }

    #[test]
    fn misses_are_means_over_hours() {
        let (mut z, y) = ([1.0; HOURS], [1.0; HOURS]);
        (z[0], z[1]) = (0.4, 1.2);
        let (missing, surplus) = misses(&[z], &[y]);
        assert!((missing - 0.6 / 24.0).abs() < 1e-15 && (surplus - 0.2 / 24.0).abs() < 1e-15);
    }
}
