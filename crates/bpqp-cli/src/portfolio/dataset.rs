//! Samples: one decision a day, its inputs, its outcome, and the walk forward in time.

use super::covariance::{Covariance, WINDOW};
use super::features::{Features, WARM_UP};
use super::prices::{DataError, Panel, Prices};
use rayon::prelude::*;
use serde::Serialize;
use std::ops::Range;

/// Days between the close that a decision sees and the close that ends its return: the decision of day t sees closes up
/// to t, is traded at the close of t + 1, and earns `close[t + 2] / close[t + 1] - 1`. A price cannot be both seen and
/// traded at, so the bounce between bid and ask of one close earns nothing.
pub const HORIZON: usize = 2;
/// Daily returns after the trade by which risk is judged: a week.
pub const AHEAD: usize = 5;
/// Days left out between the parts, so that no outcome of one part reaches into the next.
pub const GAP: usize = HORIZON + AHEAD - 1;

/// One step of the walk: parts of the samples in order of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fold {
    /// To learn from.
    pub train: Range<usize>,
    /// To choose settings and epochs.
    pub validation: Range<usize>,
    /// To report.
    pub test: Range<usize>,
}

/// The days are cut into units: four to train, one to validate, two to test, and the walk moves on by two; so the test
/// periods are disjoint and end with the data.
pub fn folds(samples: usize, count: usize) -> Vec<Fold> {
    let unit = samples / (5 + 2 * count);
    let fold = |k: usize| {
        let test = samples - 2 * unit * (count - k)..samples - 2 * unit * (count - k - 1);
        let validation = test.start - unit;
        Fold {
            train: validation - 4 * unit..(validation - GAP.min(validation)).max(validation - 4 * unit),
            validation: validation..test.start.saturating_sub(GAP).max(validation),
            test,
        }
    };
    (0..count).map(fold).collect()
}

/// The least unit of the walk with something left after the gaps.
pub const LEAST_UNIT: usize = 2 * GAP;

/// Days that a file must have for a walk of that many folds.
pub fn days_needed(count: usize) -> usize {
    WARM_UP + HORIZON + LEAST_UNIT * (5 + 2 * count)
}

/// What is known at the close of a day, and the stocks that it is known of.
#[derive(Debug, Clone)]
pub struct Day {
    /// The stocks of the universe.
    pub known: Vec<bool>,
    /// `diag(d) + F F'` of all stocks in units of the squared risk of the day; `d = 1, F = 0` outside of the universe.
    pub d: Vec<f32>,
    /// Its factor, stock by stock.
    pub f: Vec<f32>,
    /// The risk of the day: the root of the mean variance of the stocks.
    pub risk: f64,
}

/// Everything that the methods learn from and are measured by. Sample s is day `s + WARM_UP`.
pub struct Dataset {
    /// The prices.
    pub prices: Prices,
    /// Inputs of the predictor.
    pub features: Features,
    /// One a sample.
    pub days: Vec<Day>,
    /// Columns of `F`.
    pub components: usize,
    returns: Panel,
}

impl Dataset {
    /// Computes features and risk models.
    pub fn new(prices: Prices) -> Result<Self, DataError> {
        const { assert!(WINDOW <= WARM_UP) };
        let (days, stocks) = (prices.dates.len(), prices.tickers.len());
        let too_little = || DataError::TooLittle { days, stocks, needed: days_needed(1) };
        if days <= WARM_UP + HORIZON || stocks < 2 {
            return Err(too_little());
        }
        let returns = prices.returns();
        let features = Features::compute(&prices);
        // The risk model is made anew at the first close of every week and whenever the universe changes. It depends on
        // dates, not on where the file starts, so that a longer file gives the same decisions.
        let universe = |t: usize| (0..stocks).filter(|&s| prices.known(t, s)).collect::<Vec<usize>>();
        let fresh = |t: usize| t == WARM_UP || prices.week(t) != prices.week(t - 1) || universe(t) != universe(t - 1);
        let made: Vec<usize> = (WARM_UP..days).filter(|&t| fresh(t)).collect();
        let models: Vec<Option<Day>> = made.par_iter().map(|&t| model(&returns, stocks, &universe(t), t)).collect();
        let models: Vec<Day> = models.into_iter().collect::<Option<_>>().ok_or_else(too_little)?;
        let components = models.first().map_or(0, |m| m.f.len() / stocks);
        let of = |t: usize| models[made.partition_point(|&m| m <= t) - 1].clone();
        Ok(Dataset { days: (WARM_UP..days).map(of).collect(), components, prices, features, returns })
    }

    /// Number of stocks.
    pub fn stocks(&self) -> usize {
        self.prices.tickers.len()
    }

    /// Days on which a decision is possible.
    pub fn samples(&self) -> usize {
        self.days.len()
    }

    /// Days whose decision has a known return.
    pub fn scored(&self) -> usize {
        self.samples() - HORIZON
    }

    /// The day on which the decision of a sample is taken.
    pub fn date(&self, sample: usize) -> &str {
        &self.prices.dates[sample + WARM_UP]
    }

    /// The returns that the decision of a sample earns.
    pub fn outcome(&self, sample: usize) -> &[f64] {
        self.ahead(sample, 0)
    }

    /// The returns of the k-th day after the trade.
    pub fn ahead(&self, sample: usize, k: usize) -> &[f64] {
        self.returns.day(sample + WARM_UP + HORIZON + k)
    }

    /// The returns of the day that ends with the close of a sample.
    pub fn today(&self, sample: usize) -> &[f64] {
        self.returns.day(sample + WARM_UP)
    }
}

fn model(returns: &Panel, stocks: usize, universe: &[usize], day: usize) -> Option<Day> {
    let covariance = Covariance::estimate(returns, universe, day)?;
    let risk = covariance.risk();
    let components = super::covariance::COMPONENTS;
    let (mut d, mut f, mut known) = (vec![1.0; stocks], vec![0.0; stocks * components], vec![false; stocks]);
    for (k, &s) in universe.iter().enumerate() {
        d[s] = (covariance.d[k] / (risk * risk)) as f32;
        for c in 0..covariance.f.ncols() {
            f[s * components + c] = (covariance.f[(k, c)] / risk) as f32;
        }
        known[s] = true;
    }
    (risk > 0.0 && universe.len() > 1).then_some(Day { known, d, f, risk })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_disjoint_and_parts_follow_each_other_with_the_gap_between() {
        for (samples, count) in [(1000, 3), (2744, 3), (700, 1), (300, 4)] {
            let folds = folds(samples, count);
            assert_eq!(folds.last().unwrap().test.end, samples);
            for fold in &folds {
                assert!(!fold.train.is_empty() && !fold.validation.is_empty() && !fold.test.is_empty(), "{fold:?}");
                // The last outcome of one part is known when the next part starts.
                assert!(fold.train.end - 1 + GAP < fold.validation.start + 1);
                assert!(fold.validation.end - 1 + GAP < fold.test.start + 1);
            }
            for pair in folds.windows(2) {
                assert_eq!(pair[0].test.end, pair[1].test.start);
            }
        }
        let least = days_needed(1) - WARM_UP - HORIZON;
        assert!(folds(least, 1).iter().all(|f| f.validation.len() >= GAP && f.train.len() > GAP));
    }
}
