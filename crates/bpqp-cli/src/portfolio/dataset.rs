//! Samples: one decision a day, its inputs, its outcome, and the split in time.

use super::covariance::{Covariance, WINDOW};
use super::features::{Features, WARM_UP};
use super::prices::{DataError, Panel, Prices};
use bpqp::{Hessian, Matrix, Qp};
use rayon::prelude::*;
use std::ops::Range;

/// Days between the close that a decision sees and the close that ends its return: the decision of day t sees closes up
/// to t, is traded at the close of t + 1, and earns `close[t + 2] / close[t + 1] - 1`. A price cannot be both seen and
/// traded at, so the bounce between bid and ask of one close earns nothing.
pub const HORIZON: usize = 2;

/// Parts of the samples, in order of time; [`HORIZON`] days are left out between them, so that no outcome of one part
/// reaches into the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// To learn from: 60 %.
    pub train: Range<usize>,
    /// To choose the epoch: 20 %.
    pub validation: Range<usize>,
    /// To report: 20 %.
    pub test: Range<usize>,
}

impl Split {
    /// The split of `samples` days.
    pub fn of(samples: usize) -> Self {
        let (first, second) = (samples * 3 / 5, samples * 4 / 5);
        Split {
            train: 0..first.saturating_sub(HORIZON),
            validation: first..second.saturating_sub(HORIZON).max(first),
            test: second..samples,
        }
    }
}

/// Everything that the methods learn from and are measured by. Sample s is day `s + WARM_UP`.
pub struct Dataset {
    /// The prices.
    pub prices: Prices,
    /// Inputs of the predictor.
    pub features: Features,
    /// Risk model of each sample.
    pub covariances: Vec<Covariance>,
    /// The split.
    pub split: Split,
    returns: Panel,
}

const MINIMUM: usize = WARM_UP + HORIZON + 100;

impl Dataset {
    /// Computes features and risk models.
    pub fn new(prices: Prices) -> Result<Self, DataError> {
        const { assert!(WINDOW <= WARM_UP) };
        let (days, stocks) = (prices.dates.len(), prices.tickers.len());
        if days < MINIMUM || stocks < 2 {
            return Err(DataError::TooLittle { days, stocks, needed: MINIMUM });
        }
        let returns = prices.returns();
        let features = Features::compute(&prices);
        let days: Vec<usize> = (WARM_UP..days - HORIZON).collect();
        let covariances: Option<Vec<Covariance>> =
            days.par_iter().map(|&day| Covariance::estimate(&returns, stocks, day)).collect();
        let covariances = covariances.ok_or(DataError::TooLittle { days: days.len(), stocks, needed: MINIMUM })?;
        Ok(Dataset { split: Split::of(covariances.len()), prices, features, covariances, returns })
    }

    /// Number of stocks.
    pub fn stocks(&self) -> usize {
        self.prices.tickers.len()
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.covariances.len()
    }

    /// The day on which the decision of a sample is taken.
    pub fn date(&self, sample: usize) -> &str {
        &self.prices.dates[sample + WARM_UP]
    }

    /// Inputs of the predictor for a sample, stock by stock.
    pub fn inputs(&self, sample: usize) -> &[f32] {
        self.features.day(sample + WARM_UP)
    }

    /// The returns that the decision of a sample earns.
    pub fn outcome(&self, sample: usize) -> &[f64] {
        self.returns.day(sample + WARM_UP + HORIZON)
    }

    /// The program of a sample with expected returns 0:
    /// `min lambda/2 w' Sigma w - mu'w, 1'w = 1, 0 <= w <= cap`.
    pub fn problem(&self, sample: usize, rule: &Rule) -> Result<Qp, bpqp::Error> {
        let Covariance { d, f } = &self.covariances[sample];
        let n = d.len();
        let root = rule.risk_aversion.sqrt();
        let factored = Hessian::low_rank(d.iter().map(|v| rule.risk_aversion * v).collect(), faer::Scale(root) * f)?;
        let p = if rule.dense { Hessian::Dense(factored.to_dense()) } else { factored };
        Qp::new(p, vec![0.0; n])?
            .equality(Matrix::from_rows(1, n, &vec![1.0; n])?, vec![1.0])?
            .bounds(vec![0.0; n], vec![rule.cap; n])
    }
}

/// How a portfolio follows from expected returns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Lambda, the price of variance.
    pub risk_aversion: f64,
    /// The largest weight.
    pub cap: f64,
    /// Pass the covariance as a dense matrix instead of its factors (slower; to compare).
    pub dense: bool,
}

impl Rule {
    /// `lambda/2 w' Sigma w - r'w`: what a decision costs if the returns are `r`.
    pub fn cost(&self, covariance: &Covariance, w: &[f64], r: &[f64]) -> f64 {
        let earned: f64 = w.iter().zip(r).map(|(w, r)| w * r).sum();
        0.5 * self.risk_aversion * covariance.variance(w) - earned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_with_the_horizon_between() {
        let split = Split::of(1000);
        assert_eq!(split.train, 0..598);
        assert_eq!(split.validation, 600..798);
        assert_eq!(split.test, 800..1000);
        // The last outcome of one part is known when the next part starts.
        assert!(split.train.end - 1 + HORIZON < split.validation.start + 1);
        assert!(split.validation.end - 1 + HORIZON < split.test.start + 1);
    }
}
