//! What is reported, with its definition.

use serde::Serialize;

/// Trading days in a year.
pub const YEAR: f64 = 252.0;

/// Numbers of one method on one part of the data. Days are t = 1..T, `mu_t` the expected and `r_t` the true returns,
/// `w_t` the decision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metrics {
    /// Mean of `(mu - r)^2` over days and stocks. Missing for rules that predict nothing.
    pub mse: Option<f64>,
    /// Information coefficient: mean over days of the correlation over stocks of `mu_t` with `r_t`.
    pub ic: Option<f64>,
    /// IC divided by the deviation of the daily correlations.
    pub icir: Option<f64>,
    /// Compound growth of `prod (1 + w_t'r_t)` per year of 252 days.
    pub annual_return: f64,
    /// `sqrt(252) * mean / deviation` of the daily returns `w_t'r_t`, no risk-free rate.
    pub sharpe: f64,
    /// Mean over days of `f_t(w_t) - f_t(w*_t)`, `f_t(w) = lambda/2 w' Sigma_t w - r_t'w`, `w*_t` its minimizer: what not
    /// knowing the returns costs per day.
    pub regret: f64,
    /// Largest loss from a peak of wealth.
    pub max_drawdown: f64,
    /// Mean over days of `sum |w_t - w_(t-1)| / 2`, weights not drifted: the part of the portfolio that changes hands.
    pub turnover: f64,
}

/// Daily results of one method on one part of the data.
#[derive(Debug, Clone, Default)]
pub struct Days {
    /// Expected returns, day by day.
    pub expected: Vec<Vec<f64>>,
    /// True returns.
    pub truth: Vec<Vec<f64>>,
    /// Decisions.
    pub weights: Vec<Vec<f64>>,
    /// Regrets.
    pub regret: Vec<f64>,
}

impl Days {
    /// Daily returns of the portfolio.
    pub fn returns(&self) -> Vec<f64> {
        let day = |(w, r): (&Vec<f64>, &Vec<f64>)| w.iter().zip(r).map(|(w, r)| w * r).sum();
        self.weights.iter().zip(&self.truth).map(day).collect()
    }

    /// Mean squared error of the expected returns.
    pub fn mse(&self) -> Option<f64> {
        let errors: Vec<f64> =
            self.expected.iter().flatten().zip(self.truth.iter().flatten()).map(|(m, r)| (m - r).powi(2)).collect();
        (!errors.is_empty()).then(|| mean(&errors))
    }

    /// All of it.
    pub fn metrics(&self) -> Metrics {
        let daily: Vec<f64> = self.expected.iter().zip(&self.truth).map(|(m, r)| correlation(m, r)).collect();
        let returns = self.returns();
        let moves: Vec<f64> = self
            .weights
            .windows(2)
            .map(|pair| pair[0].iter().zip(&pair[1]).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0)
            .collect();
        let predicts = !daily.is_empty();
        Metrics {
            mse: self.mse(),
            ic: predicts.then(|| mean(&daily)),
            icir: predicts.then(|| ratio(mean(&daily), deviation(&daily))),
            annual_return: annual_return(&returns),
            sharpe: YEAR.sqrt() * ratio(mean(&returns), deviation(&returns)),
            regret: mean(&self.regret),
            max_drawdown: max_drawdown(&returns),
            turnover: mean(&moves),
        }
    }
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
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

/// Pearson correlation, 0 where one side is constant.
pub fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (ma, mb) = (mean(a), mean(b));
    let cov: f64 = a.iter().zip(b).map(|(x, y)| (x - ma) * (y - mb)).sum();
    let square = |v: &[f64], m: f64| v.iter().map(|x| (x - m).powi(2)).sum::<f64>();
    ratio(cov, (square(a, ma) * square(b, mb)).sqrt())
}

/// Wealth after each day, starting from 1.
pub fn wealth(returns: &[f64]) -> Vec<f64> {
    returns
        .iter()
        .scan(1.0, |wealth, r| {
            *wealth *= 1.0 + r;
            Some(*wealth)
        })
        .collect()
}

/// Compound growth per year.
pub fn annual_return(returns: &[f64]) -> f64 {
    match wealth(returns).last() {
        Some(end) => end.max(0.0).powf(YEAR / returns.len() as f64) - 1.0,
        None => 0.0,
    }
}

/// Largest loss from a peak, as a positive fraction.
pub fn max_drawdown(returns: &[f64]) -> f64 {
    let (mut peak, mut worst) = (1.0_f64, 0.0_f64);
    for value in wealth(returns) {
        peak = peak.max(value);
        worst = worst.max(1.0 - value / peak);
    }
    worst
}

/// Is the mean of a daily difference different from 0? Mean, standard error and t value, days taken as independent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Mean per day.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Mean over standard error.
    pub t: f64,
}

impl Difference {
    /// Of daily values.
    pub fn of(values: &[f64]) -> Self {
        let standard_error = deviation(values) / (values.len().max(1) as f64).sqrt();
        Difference { mean: mean(values), standard_error, t: ratio(mean(values), standard_error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()), "{a} {b}");
    }

    #[test]
    fn agree_with_values_by_hand() {
        let days = Days {
            expected: vec![vec![0.1, 0.3], vec![0.2, 0.0]],
            truth: vec![vec![0.0, 0.2], vec![0.1, -0.2]],
            weights: vec![vec![1.0, 0.0], vec![0.25, 0.75]],
            regret: vec![0.2, 0.4],
        };
        let m = days.metrics();
        close(m.mse.unwrap(), (0.01 + 0.01 + 0.01 + 0.04) / 4.0);
        close(m.ic.unwrap(), 1.0);
        // Returns are 0 and 0.025 - 0.15 = -0.125.
        close(m.annual_return, 0.875f64.powf(126.0) - 1.0);
        close(m.max_drawdown, 0.125);
        close(m.sharpe, 252f64.sqrt() * -0.0625 / (0.125 / 2f64.sqrt()));
        close(m.regret, 0.3);
        close(m.turnover, 0.75);
    }

    #[test]
    fn drawdown_counts_from_the_start_and_from_peaks() {
        close(max_drawdown(&[-0.1, 0.5, -0.2, 0.1, -0.5]), 1.0 - 0.8 * 1.1 * 0.5);
        close(max_drawdown(&[0.1, 0.2]), 0.0);
        close(max_drawdown(&[-0.3]), 0.3);
    }

    #[test]
    fn correlation_of_a_constant_is_zero() {
        close(correlation(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), 0.0);
        close(correlation(&[3.0, 2.0, 1.0], &[1.0, 2.0, 3.0]), -1.0);
    }

    #[test]
    fn rules_that_predict_nothing_have_no_prediction_error() {
        let days = Days { weights: vec![vec![1.0]], truth: vec![vec![0.1]], regret: vec![0.0], ..Days::default() };
        let m = days.metrics();
        assert_eq!((m.mse, m.ic, m.icir), (None, None, None));
    }
}
