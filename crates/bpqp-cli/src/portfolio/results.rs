//! What a run found: the source of the table, the JSON and the page.

use super::dataset::{Dataset, Rule, Split};
use super::metrics::{Days, Difference, Metrics, deviation, mean};
use super::train::{Epoch, Method, Trained, Training};
use serde::Serialize;

/// A run.
#[derive(Debug, Serialize)]
pub struct Results {
    /// What was learned from.
    pub data: DataSummary,
    /// How decisions are taken.
    pub rule: RuleSummary,
    /// How it was trained.
    pub training: Training,
    /// True if the user stopped it; what is here then is the best model so far.
    pub interrupted: bool,
    /// One entry per method.
    pub methods: Vec<MethodResults>,
    /// Rules without a predictor, on the test days.
    pub benchmarks: Vec<Benchmark>,
    /// bpqp minus two-stage on the test days, if both were trained.
    pub comparison: Option<Comparison>,
    /// What the data cannot prove.
    pub caveats: Vec<String>,
    /// Days of the test part, on which decisions are taken.
    pub test_dates: Vec<String>,
    /// Seconds of the whole run.
    pub seconds: f64,
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
    /// Inputs of the predictor.
    pub features: Vec<&'static str>,
    /// Parts: first decision, last decision, number of days.
    pub train: Part,
    /// As `train`.
    pub validation: Part,
    /// As `train`.
    pub test: Part,
}

/// A part of the days.
#[derive(Debug, Serialize)]
pub struct Part {
    /// First decision.
    pub from: String,
    /// Last decision.
    pub until: String,
    /// Number of decisions.
    pub days: usize,
}

/// How decisions are taken.
#[derive(Debug, Serialize)]
pub struct RuleSummary {
    /// Lambda.
    pub risk_aversion: f64,
    /// The largest weight.
    pub cap: f64,
    /// `factored` or `dense`.
    pub covariance: &'static str,
}

/// All seeds of a method.
#[derive(Debug, Serialize)]
pub struct MethodResults {
    /// Which.
    pub method: Method,
    /// One entry per seed.
    pub seeds: Vec<SeedResults>,
    /// Means over the seeds.
    pub mean: Summary,
    /// Standard deviations over the seeds; 0 for one seed.
    pub spread: Summary,
}

/// One training.
#[derive(Debug, Serialize)]
pub struct SeedResults {
    /// The seed.
    pub seed: u64,
    /// The chosen epoch.
    pub best_epoch: usize,
    /// False if the user stopped it.
    pub finished: bool,
    /// On the test days.
    pub test: Metrics,
    /// On the validation days.
    pub validation: Metrics,
    /// Seconds per pass over the training days.
    pub seconds_per_epoch: f64,
    /// Milliseconds per forward solve, wall clock on all threads.
    pub forward_ms: f64,
    /// Milliseconds per backward solve, where there is one.
    pub backward_ms: Option<f64>,
    /// Programs whose gradient the solver refused to give.
    pub gradients_refused: usize,
    /// Epoch by epoch.
    pub curve: Vec<Epoch>,
    /// Daily returns of the portfolio on the test days.
    pub returns: Vec<f64>,
    /// Daily regret on the test days.
    pub regret: Vec<f64>,
    /// Weights on the test days.
    #[serde(skip)]
    pub weights: Vec<Vec<f64>>,
}

/// The columns of the table.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Summary {
    /// See [`Metrics::mse`].
    pub mse: f64,
    /// See [`Metrics::ic`].
    pub ic: f64,
    /// See [`Metrics::icir`].
    pub icir: f64,
    /// See [`Metrics::annual_return`].
    pub annual_return: f64,
    /// See [`Metrics::sharpe`].
    pub sharpe: f64,
    /// See [`Metrics::regret`].
    pub regret: f64,
    /// See [`Metrics::max_drawdown`].
    pub max_drawdown: f64,
    /// See [`Metrics::turnover`].
    pub turnover: f64,
    /// See [`SeedResults::seconds_per_epoch`].
    pub seconds_per_epoch: f64,
    /// See [`SeedResults::forward_ms`].
    pub forward_ms: f64,
    /// See [`SeedResults::backward_ms`].
    pub backward_ms: Option<f64>,
}

/// A rule without a predictor.
#[derive(Debug, Serialize)]
pub struct Benchmark {
    /// Its name.
    pub name: &'static str,
    /// On the validation days.
    pub validation: Metrics,
    /// On the test days.
    pub test: Metrics,
    /// Daily returns on the test days.
    pub returns: Vec<f64>,
}

/// bpqp minus two-stage, day by day, averaged over the seeds.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Of the regret; below 0 is better.
    pub regret: Difference,
    /// Of the return; above 0 is better.
    pub daily_return: Difference,
}

impl DataSummary {
    /// Of a data set.
    pub fn of(data: &Dataset) -> Self {
        let Split { train, validation, test } = data.split.clone();
        let part = |range: std::ops::Range<usize>| Part {
            from: data.date(range.start).to_owned(),
            until: data.date(range.end - 1).to_owned(),
            days: range.len(),
        };
        let dates = &data.prices.dates;
        DataSummary {
            source: data.prices.source.clone(),
            tickers: data.prices.tickers.clone(),
            from: dates[0].clone(),
            until: dates[dates.len() - 1].clone(),
            days: dates.len(),
            features: data.features.names.clone(),
            train: part(train),
            validation: part(validation),
            test: part(test),
        }
    }
}

impl RuleSummary {
    /// Of a rule.
    pub fn of(rule: &Rule) -> Self {
        let covariance = if rule.dense { "dense" } else { "factored" };
        RuleSummary { risk_aversion: rule.risk_aversion, cap: rule.cap, covariance }
    }
}

impl SeedResults {
    /// Of a training and its results on the validation and test days.
    pub fn of(seed: u64, trained: &Trained, validation: &Days, test: &Days) -> Self {
        let per = |seconds: f64, count: usize| if count == 0 { 0.0 } else { 1e3 * seconds / count as f64 };
        let passes: Vec<f64> = trained.curve.iter().filter(|e| e.epoch > 0).map(|e| e.seconds).collect();
        let t = &trained.timing;
        // A method that solves nothing while training is timed where it decides.
        let forward = if t.forward_count > 0 { t } else { &trained.validation_timing };
        SeedResults {
            seed,
            best_epoch: trained.best,
            finished: trained.finished,
            test: test.metrics(),
            validation: validation.metrics(),
            seconds_per_epoch: mean(&passes),
            forward_ms: per(forward.forward_seconds, forward.forward_count),
            backward_ms: (t.backward_count > 0).then(|| per(t.backward_seconds, t.backward_count)),
            gradients_refused: t.backward_refused,
            curve: trained.curve.clone(),
            returns: test.returns(),
            regret: test.regret.clone(),
            weights: test.weights.clone(),
        }
    }
}

impl MethodResults {
    /// Mean and spread over the seeds.
    pub fn of(method: Method, seeds: Vec<SeedResults>) -> Self {
        let over = |statistic: fn(&[f64]) -> f64| {
            let take = |value: fn(&SeedResults) -> f64| statistic(&seeds.iter().map(value).collect::<Vec<f64>>());
            let backward: Vec<f64> = seeds.iter().filter_map(|s| s.backward_ms).collect();
            Summary {
                mse: take(|s| s.test.mse.unwrap_or(f64::NAN)),
                ic: take(|s| s.test.ic.unwrap_or(f64::NAN)),
                icir: take(|s| s.test.icir.unwrap_or(f64::NAN)),
                annual_return: take(|s| s.test.annual_return),
                sharpe: take(|s| s.test.sharpe),
                regret: take(|s| s.test.regret),
                max_drawdown: take(|s| s.test.max_drawdown),
                turnover: take(|s| s.test.turnover),
                seconds_per_epoch: take(|s| s.seconds_per_epoch),
                forward_ms: take(|s| s.forward_ms),
                backward_ms: (!backward.is_empty()).then(|| statistic(&backward)),
            }
        };
        MethodResults { method, mean: over(mean), spread: over(deviation), seeds }
    }

    /// A daily series averaged over the seeds.
    pub fn average(&self, series: fn(&SeedResults) -> &Vec<f64>) -> Vec<f64> {
        let days = self.seeds.first().map_or(0, |s| series(s).len());
        (0..days).map(|t| mean(&self.seeds.iter().map(|s| series(s)[t]).collect::<Vec<f64>>())).collect()
    }
}

impl Comparison {
    /// If both methods were trained.
    pub fn of(methods: &[MethodResults]) -> Option<Self> {
        let find = |method| methods.iter().find(|m| m.method == method);
        let (bpqp, two_stage) = (find(Method::Bpqp)?, find(Method::TwoStage)?);
        let difference = |series: fn(&SeedResults) -> &Vec<f64>| {
            let pairs = bpqp.average(series).into_iter().zip(two_stage.average(series));
            Difference::of(&pairs.map(|(b, t)| b - t).collect::<Vec<f64>>())
        };
        Some(Comparison { regret: difference(|s| &s.regret), daily_return: difference(|s| &s.returns) })
    }
}

/// What the data cannot prove, for these results.
pub fn caveats(results: &Results) -> Vec<String> {
    let data = &results.data;
    let mut list = vec![
        format!(
            "Survivors: the {} stocks are in the data because they still traded at the end of it, so every average \
             return is too good, that of equal weights included.",
            data.tickers.len()
        ),
        "No costs: the returns are before fees, spreads, taxes and market impact. The turnover column says how much \
         changes hands each day; at 10 basis points per trade, 0.1 of turnover costs about 5 % a year."
            .to_owned(),
        format!(
            "One history: {} test days are one draw of the market, and the seeds share it. Their spread says how much \
             the starting weights matter, not how much luck the market brought.",
            data.test.days
        ),
    ];
    if data.tickers.len() < 100 {
        list.push(format!(
            "Few stocks: {} names allow little choice; a correlation over {} stocks is noise on any single day.",
            data.tickers.len(),
            data.tickers.len()
        ));
    }
    if results.methods.iter().any(|m| m.seeds.len() == 1) {
        list.push("One seed: run --seeds 3 or more before you compare.".to_owned());
    }
    if results.interrupted {
        list.push("Stopped early: the numbers are those of the best epoch so far.".to_owned());
    }
    list
}
