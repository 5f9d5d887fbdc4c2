//! Are two methods different? Paired tests on the same days.

use super::metrics::{deviation, mean, sharpe};
use super::random::Random;
use serde::Serialize;

/// Days that a block of the bootstrap keeps together: a month, beyond which daily variances say little of each other.
const BLOCK: usize = 20;
const DRAWS: usize = 1000;
/// Lags of the Newey-West estimate.
const LAGS: usize = 10;

/// A difference, its standard error, and their quotient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// The difference.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// 95 % interval.
    pub interval: (f64, f64),
    /// The first over the second; 0 if they do not differ at all.
    pub t: f64,
}

impl Difference {
    fn new(value: f64, standard_error: f64) -> Self {
        let t = if standard_error > 0.0 { value / standard_error } else { 0.0 };
        let reach = 1.96 * standard_error;
        Difference { value, standard_error, interval: (value - reach, value + reach), t }
    }
}

/// Mean over pairs (random starts) of `measure(a) - measure(b)`; the standard error by a circular block bootstrap that draws
/// the same days for all of them.
pub fn bootstrap(pairs: &[(&[f64], &[f64])], measure: impl Fn(&[f64]) -> f64) -> Difference {
    let days = pairs.iter().map(|(a, b)| a.len().min(b.len())).min().unwrap_or(0);
    let of = |pick: &dyn Fn(&[f64]) -> Vec<f64>| {
        mean(&pairs.iter().map(|(a, b)| measure(&pick(a)) - measure(&pick(b))).collect::<Vec<f64>>())
    };
    let value = of(&|x| x.to_vec());
    if days < 2 * BLOCK {
        return Difference::new(value, f64::NAN);
    }
    let mut random = Random::new(1, 0xb007);
    let draws: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let starts: Vec<usize> = (0..days.div_ceil(BLOCK)).map(|_| random.below(days)).collect();
            let at: Vec<usize> =
                starts.iter().flat_map(|s| (0..BLOCK).map(move |k| (s + k) % days)).take(days).collect();
            of(&|x| at.iter().map(|&k| x[k]).collect())
        })
        .collect();
    Difference::new(value, deviation(&draws))
}

/// Difference of the logarithms of the variances.
pub fn log_variance(pairs: &[(&[f64], &[f64])]) -> Difference {
    bootstrap(pairs, |r| 2.0 * deviation(r).ln())
}

/// Difference of the Sharpe ratios.
pub fn sharpe_ratio(pairs: &[(&[f64], &[f64])]) -> Difference {
    bootstrap(pairs, sharpe)
}

/// Mean of daily differences, averaged over the pairs; the standard error by Newey and West.
pub fn daily_return(pairs: &[(&[f64], &[f64])]) -> Difference {
    let days = pairs.iter().map(|(a, b)| a.len().min(b.len())).min().unwrap_or(0);
    let day = |t: usize| mean(&pairs.iter().map(|(a, b)| a[t] - b[t]).collect::<Vec<f64>>());
    let d: Vec<f64> = (0..days).map(day).collect();
    let m = mean(&d);
    let auto = |lag: usize| (lag..days).map(|t| (d[t] - m) * (d[t - lag] - m)).sum::<f64>();
    let lags = LAGS.min(days.saturating_sub(1));
    let weight = |lag: usize| 1.0 - lag as f64 / (lags + 1) as f64;
    let sum = auto(0) + 2.0 * (1..=lags).map(|l| weight(l) * auto(l)).sum::<f64>();
    Difference::new(m, sum.max(0.0).sqrt() / days.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, scale: f64) -> Vec<f64> {
        let mut random = Random::new(seed, 3);
        (0..2000).map(|_| scale * ((0..12).map(|_| random.uniform()).sum::<f64>() - 6.0)).collect()
    }

    #[test]
    fn what_differs_is_seen_and_what_does_not_is_not() {
        let (a, b, c) = (noise(1, 0.01), noise(2, 0.01), noise(3, 0.012));
        let same = log_variance(&[(&a, &b)]);
        assert!(same.t.abs() < 3.0, "{same:?}");
        let other = log_variance(&[(&c, &a)]);
        assert!(other.t > 4.0 && (other.value - 2.0 * 1.2f64.ln()).abs() < 3.0 * other.standard_error, "{other:?}");
        let equal = log_variance(&[(&a, &a)]);
        assert_eq!((equal.value, equal.t), (0.0, 0.0));
        let up: Vec<f64> = a.iter().map(|r| r + 0.002).collect();
        // The standard error of a mean of independent days.
        let d = daily_return(&[(&up, &b)]);
        assert!((d.standard_error / (0.01 * (2.0f64 / 2000.0).sqrt()) - 1.0).abs() < 0.25 && d.t > 3.0, "{d:?}");
        assert!(sharpe_ratio(&[(&up, &b)]).t > 3.0);
    }
}
