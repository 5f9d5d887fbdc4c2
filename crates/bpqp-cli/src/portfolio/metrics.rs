//! What is reported of a series of daily returns and weights, with its definition.

use serde::Serialize;

/// Trading days in a year.
pub const YEAR: f64 = 252.0;

/// One method on one series of days t = 1..T: `w_t` the decision, `r_t` the returns that it earns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Metrics {
    /// `sqrt(252)` times the standard deviation of the daily returns `w_t'r_t`.
    pub volatility: f64,
    /// 252 times their mean.
    pub annual_return: f64,
    /// The second over the first, no risk-free rate.
    pub sharpe: f64,
    /// Largest loss from a peak of wealth.
    pub max_drawdown: f64,
    /// Mean over days of `sum |w_t - v_t| / 2`, `v_t` the weights of the day before, drifted with prices: the part of the
    /// portfolio that changes hands.
    pub turnover: f64,
    /// Names held: mean of `1 / sum w_t^2`.
    pub held: f64,
    /// `annual_return` less costs: cost per value traded times `sum |w_t - v_t|`.
    pub net_return: f64,
    /// Sharpe ratio of the returns less costs.
    pub net_sharpe: f64,
}

/// The days of one method, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Series {
    /// Returns before costs.
    pub returns: Vec<f64>,
    /// `sum |w_t - v_t|`.
    pub traded: Vec<f64>,
    /// `1 / sum w_t^2`.
    pub held: Vec<f64>,
}

impl Series {
    /// Appends the days of a later part.
    pub fn extend(&mut self, later: &Series) {
        self.returns.extend(&later.returns);
        self.traded.extend(&later.traded);
        self.held.extend(&later.held);
    }

    /// Adds a day; `before` are the weights just before trading.
    pub fn push(&mut self, w: &[f64], before: &[f64], r: &[f64]) {
        self.returns.push(w.iter().zip(r).map(|(w, r)| w * r).sum());
        self.traded.push(w.iter().zip(before).map(|(w, v)| (w - v).abs()).sum());
        self.held.push(1.0 / w.iter().map(|w| w * w).sum::<f64>());
    }

    /// Returns after costs.
    pub fn net(&self, cost: f64) -> Vec<f64> {
        self.returns.iter().zip(&self.traded).map(|(r, t)| r - cost * t).collect()
    }

    /// All of it, at that cost per value traded.
    pub fn metrics(&self, cost: f64) -> Metrics {
        let (net, volatility) = (self.net(cost), deviation(&self.returns));
        Metrics {
            volatility: YEAR.sqrt() * volatility,
            annual_return: YEAR * mean(&self.returns),
            sharpe: sharpe(&self.returns),
            max_drawdown: max_drawdown(&self.returns),
            turnover: 0.5 * mean(&self.traded),
            held: mean(&self.held),
            net_return: YEAR * mean(&net),
            net_sharpe: sharpe(&net),
        }
    }
}

impl Metrics {
    /// Mean of each number.
    pub fn mean_of(all: &[Metrics]) -> Metrics {
        let of = |f: fn(&Metrics) -> f64| mean(&all.iter().map(f).collect::<Vec<f64>>());
        Metrics {
            volatility: of(|m| m.volatility),
            annual_return: of(|m| m.annual_return),
            sharpe: of(|m| m.sharpe),
            max_drawdown: of(|m| m.max_drawdown),
            turnover: of(|m| m.turnover),
            held: of(|m| m.held),
            net_return: of(|m| m.net_return),
            net_sharpe: of(|m| m.net_sharpe),
        }
    }
}

/// Weights after the prices have moved by `r`.
pub fn drifted(w: &[f64], r: &[f64]) -> Vec<f64> {
    let grown: Vec<f64> = w.iter().zip(r).map(|(w, r)| w * (1.0 + r)).collect();
    let total: f64 = grown.iter().sum();
    grown.into_iter().map(|v| v / total).collect()
}

fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// `sqrt(252)` mean / deviation.
pub fn sharpe(returns: &[f64]) -> f64 {
    YEAR.sqrt() * ratio(mean(returns), deviation(returns))
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

/// Wealth after each day, starting from 1.
pub fn wealth(returns: &[f64]) -> Vec<f64> {
    let step = |wealth: &mut f64, r: &f64| {
        *wealth *= 1.0 + r;
        Some(*wealth)
    };
    returns.iter().scan(1.0, step).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()), "{a} {b}");
    }

    #[test]
    fn agree_with_values_by_hand() {
        let mut days = Series::default();
        days.push(&[1.0, 0.0], &[0.5, 0.5], &[0.0, 0.2]);
        days.push(&[0.25, 0.75], &[1.0, 0.0], &[0.1, -0.2]);
        let m = days.metrics(0.01);
        // Returns are 0 and 0.025 - 0.15 = -0.125.
        close(m.annual_return, -0.0625 * 252.0);
        close(m.volatility, 252f64.sqrt() * 0.125 / 2f64.sqrt());
        close(m.sharpe, m.annual_return / m.volatility);
        close(m.max_drawdown, 0.125);
        close(m.turnover, 0.5 * (1.0 + 1.5) / 2.0);
        close(m.held, 0.5 * (1.0 + 1.0 / 0.625));
        close(m.net_return, m.annual_return - 252.0 * 0.01 * 1.25);
        close(drifted(&[0.5, 0.5], &[1.0, 0.0])[0], 2.0 / 3.0);
    }

    #[test]
    fn drawdown_counts_from_the_start_and_from_peaks() {
        close(max_drawdown(&[-0.1, 0.5, -0.2, 0.1, -0.5]), 1.0 - 0.8 * 1.1 * 0.5);
        close(max_drawdown(&[0.1, 0.2]), 0.0);
        close(max_drawdown(&[-0.3]), 0.3);
    }
}
