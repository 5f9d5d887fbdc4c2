//! The risk model of a day: principal components of the last returns plus a diagonal, kept factored.

use super::prices::Panel;
use faer::{Mat, Par, Side};

/// Days in the estimate.
pub const WINDOW: usize = 240;
/// Daily returns are cut off here, so that a single day does not make a stock's risk for a year.
const LARGEST: f64 = 0.2;
/// Principal components.
pub const COMPONENTS: usize = 10;

/// `Sigma = diag(d) + F F'`.
#[derive(Debug, Clone, PartialEq)]
pub struct Covariance {
    /// What each stock varies by itself, positive.
    pub d: Vec<f64>,
    /// What the components explain, stocks x components.
    pub f: Mat<f64>,
}

impl Covariance {
    /// The estimate of those stocks at the close of `day` from the `WINDOW` returns up to that day.
    ///
    /// With `X` the centered returns divided by `sqrt(WINDOW - 1)` and `X'X = V diag(e) V'`, `F` holds the leading
    /// columns of `V diag(sqrt(e))`, and `d` the rest of each stock's variance, at least 1 % of it (and 1e-8, a daily
    /// volatility of one basis point) so that the program is strictly convex.
    pub fn estimate(returns: &Panel, stocks: &[usize], day: usize) -> Option<Self> {
        let (names, stocks) = (stocks, stocks.len());
        let first = (day + 1).checked_sub(WINDOW)?;
        let scale = 1.0 / ((WINDOW - 1) as f64).sqrt();
        let mut x =
            Mat::from_fn(WINDOW, stocks, |t, s| returns.get(first + t, names[s]).clamp(-LARGEST, LARGEST) * scale);
        for s in 0..stocks {
            let mean = (0..WINDOW).map(|t| x[(t, s)]).sum::<f64>() / WINDOW as f64;
            (0..WINDOW).for_each(|t| x[(t, s)] -= mean);
        }
        let components = COMPONENTS.min(stocks.saturating_sub(1)).min(WINDOW - 1);
        // The eigenvectors of the smaller of X'X and X X' give those of the other.
        let f = if stocks <= WINDOW {
            let (values, vectors) = eigen(product(x.transpose(), x.as_ref()))?;
            Mat::from_fn(stocks, components, |s, k| {
                vectors[(s, stocks - 1 - k)] * values[stocks - 1 - k].max(0.0).sqrt()
            })
        } else {
            let (_, vectors) = eigen(product(x.as_ref(), x.transpose()))?;
            let leading = Mat::from_fn(WINDOW, components, |t, k| vectors[(t, WINDOW - 1 - k)]);
            // X'u = v sqrt(e) for a unit eigenvector u of X X'.
            product(x.transpose(), leading.as_ref())
        };
        let d = (0..stocks).map(|s| {
            let variance: f64 = (0..WINDOW).map(|t| x[(t, s)] * x[(t, s)]).sum();
            let explained: f64 = (0..components).map(|k| f[(s, k)] * f[(s, k)]).sum();
            (variance - explained).max(0.01 * variance).max(1e-8)
        });
        Some(Covariance { d: d.collect(), f })
    }

    /// The risk of the day: the root of the mean variance of the stocks.
    pub fn risk(&self) -> f64 {
        let common: f64 = self.f.col_iter().map(|c| c.iter().map(|f| f * f).sum::<f64>()).sum();
        ((self.d.iter().sum::<f64>() + common) / self.d.len() as f64).sqrt()
    }

    /// `w' Sigma w`.
    pub fn variance(&self, w: &[f64]) -> f64 {
        let own: f64 = self.d.iter().zip(w).map(|(d, w)| d * w * w).sum();
        let common = self.f.col_iter().map(|c| c.iter().zip(w).map(|(f, w)| f * w).sum::<f64>().powi(2));
        own + common.sum::<f64>()
    }
}

fn product(a: faer::MatRef<'_, f64>, b: faer::MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    // Days are spread over the threads, so each day is sequential: the same numbers for any thread count.
    faer::linalg::matmul::matmul(out.as_mut(), faer::Accum::Replace, a, b, 1.0, Par::Seq);
    out
}

fn eigen(m: Mat<f64>) -> Option<(Vec<f64>, Mat<f64>)> {
    let decomposition = m.self_adjoint_eigen(Side::Lower).ok()?;
    Some((decomposition.S().column_vector().iter().copied().collect(), decomposition.U().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portfolio::random::Random;

    fn returns(stocks: usize) -> Panel {
        let mut random = Random::new(5, 0);
        let market: Vec<f64> = (0..WINDOW + 5).map(|_| random.uniform() - 0.5).collect();
        let own =
            |m: &f64| (0..stocks).map(|s| 0.01 * (m * (1.0 + s as f64 % 3.0) + random.uniform())).collect::<Vec<_>>();
        Panel::new(stocks, market.iter().flat_map(own).collect())
    }

    fn sample(returns: &Panel, stocks: usize, day: usize) -> Mat<f64> {
        let rows = day + 1 - WINDOW..day + 1;
        let mean: Vec<f64> =
            (0..stocks).map(|s| rows.clone().map(|t| returns.get(t, s)).sum::<f64>() / WINDOW as f64).collect();
        Mat::from_fn(stocks, stocks, |i, j| {
            let sum: f64 = rows.clone().map(|t| (returns.get(t, i) - mean[i]) * (returns.get(t, j) - mean[j])).sum();
            sum / (WINDOW - 1) as f64
        })
    }

    #[test]
    fn keeps_the_variances_and_reproduces_few_stocks_exactly() {
        // With as many components as stocks less one the factored form is nearly the sample covariance.
        let (stocks, day) = (6, WINDOW + 3);
        let panel = returns(stocks);
        let c = Covariance::estimate(&panel, &(0..stocks).collect::<Vec<_>>(), day).unwrap();
        let s = sample(&panel, stocks, day);
        for i in 0..stocks {
            let mut w = vec![0.0; stocks];
            w[i] = 1.0;
            assert!((c.variance(&w) - s[(i, i)]).abs() < 0.02 * s[(i, i)], "{i}");
        }
        assert!(c.d.iter().all(|&d| d > 0.0));
    }

    #[test]
    fn both_ways_to_the_components_agree() {
        // 250 stocks go through X X'; padding the window's worth of them with copies must give the same components.
        let (stocks, day) = (WINDOW + 10, WINDOW + 2);
        let panel = returns(stocks);
        let c = Covariance::estimate(&panel, &(0..stocks).collect::<Vec<_>>(), day).unwrap();
        let s = sample(&panel, stocks, day);
        // F F' holds the leading eigenvalues of the sample covariance: its trace is their sum.
        let (values, _) = eigen(s.clone()).unwrap();
        let leading: f64 = values.iter().rev().take(COMPONENTS).sum();
        let trace: f64 = c.f.col_iter().map(|col| col.iter().map(|v| v * v).sum::<f64>()).sum();
        assert!((leading - trace).abs() < 1e-9 * leading, "{leading} {trace}");
    }

    #[test]
    fn needs_a_full_window() {
        assert_eq!(Covariance::estimate(&returns(4), &[0, 1, 2, 3], WINDOW - 2), None);
    }
}
