//! What the predictor sees: per stock and day, from prices up to that day's close.
//!
//! Every feature is standardized per day over the stocks (mean 0, deviation 1, clipped at 3), so it says how a stock
//! compares with the others on that day, and no statistic of another day enters.

use super::prices::Prices;
use rayon::prelude::*;

/// The longest look back: the first day with features.
pub const WARM_UP: usize = 240;
const CLIP: f64 = 3.0;

/// Features of all days from [`WARM_UP`] on.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Names, in the order of the values.
    pub names: Vec<&'static str>,
    stocks: usize,
    values: Vec<f32>,
}

impl Features {
    /// The features of `day` (an index into the dates, at least [`WARM_UP`]): stock by stock.
    pub fn day(&self, day: usize) -> &[f32] {
        let size = self.stocks * self.names.len();
        &self.values[(day - WARM_UP) * size..(day - WARM_UP + 1) * size]
    }

    /// Computes all features.
    pub fn compute(prices: &Prices) -> Self {
        let (days, stocks) = (prices.dates.len(), prices.tickers.len());
        let returns = prices.returns();
        let market: Vec<f64> = (0..days).map(|t| returns.day(t).iter().sum::<f64>() / stocks as f64).collect();
        let columns: Vec<Vec<(&'static str, Vec<f64>)>> = (0..stocks)
            .into_par_iter()
            .map(|s| {
                let log: Vec<f64> = prices.close.stock(s).iter().map(|p| p.ln()).collect();
                let mut columns = from_closes(&log, &returns.stock(s), &market);
                if let Some(extra) = &prices.extra {
                    let panels = [&extra.open, &extra.high, &extra.low, &extra.volume];
                    columns.extend(from_extra(&log, panels.map(|p| p.stock(s))));
                }
                columns
            })
            .collect();
        let names: Vec<&'static str> = columns.first().map_or_else(Vec::new, |c| c.iter().map(|(n, _)| *n).collect());
        let first = WARM_UP.min(days);
        let mut values = vec![0.0f32; (days - first) * stocks * names.len()];
        values.par_chunks_mut((stocks * names.len()).max(1)).enumerate().for_each(|(k, out)| {
            for feature in 0..names.len() {
                let raw: Vec<f64> = (0..stocks).map(|s| columns[s][feature].1[first + k]).collect();
                for (s, value) in standardize(&raw).into_iter().enumerate() {
                    out[s * names.len() + feature] = value as f32;
                }
            }
        });
        Features { names, stocks, values }
    }
}

/// Mean 0, deviation 1, clipped; zeros where all stocks agree.
fn standardize(raw: &[f64]) -> Vec<f64> {
    let (mean, deviation) = mean_deviation(raw);
    let unit = |v: &f64| if deviation > 1e-12 { ((v - mean) / deviation).clamp(-CLIP, CLIP) } else { 0.0 };
    raw.iter().map(unit).collect()
}

fn mean_deviation(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (mean, variance.sqrt())
}

/// One value for each day from [`WARM_UP`] on, zeros before.
fn column(days: usize, value: impl Fn(usize) -> f64) -> Vec<f64> {
    (0..days).map(|t| if t < WARM_UP { 0.0 } else { value(t) }).collect()
}

fn from_closes(log: &[f64], returns: &[f64], market: &[f64]) -> Vec<(&'static str, Vec<f64>)> {
    let days = log.len();
    // The last `w` values up to day t.
    let last = |series: &[f64], t: usize, w: usize| -> Vec<f64> { series[t + 1 - w..=t].to_vec() };
    let deviation = |t: usize, w: usize| mean_deviation(&returns[t + 1 - w..=t]).1;
    let mean_log = |t: usize, w: usize| log[t + 1 - w..=t].iter().sum::<f64>() / w as f64;
    let high = |t: usize, w: usize| log[t + 1 - w..=t].iter().copied().fold(f64::MIN, f64::max);
    let low = |t: usize, w: usize| log[t + 1 - w..=t].iter().copied().fold(f64::MAX, f64::min);
    // Slope of the stock on the market, and the deviation of what is left.
    let regression = |t: usize, w: usize| -> (f64, f64, f64) {
        let (r, m) = (&returns[t + 1 - w..=t], &market[t + 1 - w..=t]);
        let ((rm, rd), (mm, md)) = (mean_deviation(r), mean_deviation(m));
        let cov = r.iter().zip(m).map(|(a, b)| (a - rm) * (b - mm)).sum::<f64>() / w as f64;
        let beta = cov / (md * md).max(1e-12);
        let correlation = cov / (rd * md).max(1e-12);
        (beta, (rd * rd - beta * cov).max(0.0).sqrt(), correlation)
    };
    let beta: Vec<(f64, f64, f64)> =
        (0..days).map(|t| if t < WARM_UP { (1.0, 0.0, 0.0) } else { regression(t, 120) }).collect();
    let own_move = |t: usize, w: usize| -> f64 { (t + 1 - w..=t).map(|u| returns[u] - beta[t].0 * market[u]).sum() };
    let skewness = |t: usize, w: usize| {
        let window = last(returns, t, w);
        let (mean, deviation) = mean_deviation(&window);
        window.iter().map(|r| (r - mean).powi(3)).sum::<f64>() / w as f64 / deviation.max(1e-9).powi(3)
    };
    let best = |t: usize, w: usize| returns[t + 1 - w..=t].iter().copied().fold(f64::MIN, f64::max);
    let worst = |t: usize, w: usize| returns[t + 1 - w..=t].iter().copied().fold(f64::MAX, f64::min);
    let ups = |t: usize, w: usize| returns[t + 1 - w..=t].iter().filter(|&&r| r > 0.0).count() as f64;
    let ratio = |a: f64, b: f64| (a.max(1e-9) / b.max(1e-9)).ln();
    vec![
        ("return 1", column(days, |t| returns[t])),
        ("return 1, a day ago", column(days, |t| returns[t - 1])),
        ("momentum 5", column(days, |t| log[t] - log[t - 5])),
        ("momentum 10", column(days, |t| log[t] - log[t - 10])),
        ("momentum 20", column(days, |t| log[t] - log[t - 20])),
        ("momentum 60", column(days, |t| log[t] - log[t - 60])),
        ("momentum 120", column(days, |t| log[t] - log[t - 120])),
        ("momentum 240 without 20", column(days, |t| log[t - 20] - log[t - 240])),
        ("own move 5", column(days, |t| own_move(t, 5))),
        ("own move 20", column(days, |t| own_move(t, 20))),
        ("own move 60", column(days, |t| own_move(t, 60))),
        ("volatility 5", column(days, |t| deviation(t, 5))),
        ("volatility 20", column(days, |t| deviation(t, 20))),
        ("volatility 60", column(days, |t| deviation(t, 60))),
        ("volatility 240", column(days, |t| deviation(t, 240))),
        ("volatility 5 to 60", column(days, |t| ratio(deviation(t, 5), deviation(t, 60)))),
        ("volatility 20 to 240", column(days, |t| ratio(deviation(t, 20), deviation(t, 240)))),
        ("beta 120", column(days, |t| beta[t].0)),
        ("own volatility 120", column(days, |t| beta[t].1)),
        ("market correlation 120", column(days, |t| beta[t].2)),
        ("skewness 60", column(days, |t| skewness(t, 60))),
        ("best day 20", column(days, |t| best(t, 20))),
        ("worst day 20", column(days, |t| worst(t, 20))),
        ("up days 20", column(days, |t| ups(t, 20))),
        ("to average 20", column(days, |t| log[t] - mean_log(t, 20))),
        ("to average 60", column(days, |t| log[t] - mean_log(t, 60))),
        ("to average 240", column(days, |t| log[t] - mean_log(t, 240))),
        ("to high 60", column(days, |t| log[t] - high(t, 60))),
        ("to high 240", column(days, |t| log[t] - high(t, 240))),
        ("to low 60", column(days, |t| log[t] - low(t, 60))),
        ("to low 240", column(days, |t| log[t] - low(t, 240))),
    ]
}

fn from_extra(log: &[f64], [open, high, low, volume]: [Vec<f64>; 4]) -> Vec<(&'static str, Vec<f64>)> {
    let days = log.len();
    // log(1 + v): a volume of 0 means unknown in some sources and must not be an infinity.
    let log_volume: Vec<f64> = volume.iter().map(|v| v.ln_1p()).collect();
    let mean = |series: &[f64], t: usize, w: usize| series[t + 1 - w..=t].iter().sum::<f64>() / w as f64;
    let range: Vec<f64> = high.iter().zip(&low).map(|(h, l)| (h / l).ln()).collect();
    let illiquidity: Vec<f64> = (0..days)
        .map(|t| if t == 0 { 0.0 } else { (log[t] - log[t - 1]).abs() / (volume[t] * log[t].exp()).max(1.0) })
        .collect();
    let dollars: Vec<f64> = volume.iter().zip(log).map(|(v, l)| (v * l.exp()).ln_1p()).collect();
    let place = |t: usize| {
        let (l, h) = (low[t].ln(), high[t].ln());
        if h > l { (2.0 * log[t] - l - h) / (h - l) } else { 0.0 }
    };
    let together = |t: usize, w: usize| {
        let moves: Vec<f64> = (t + 1 - w..=t).map(|u| log[u] - log[u - 1]).collect();
        let (a, b) = (&moves, &log_volume[t + 1 - w..=t]);
        let ((am, ad), (bm, bd)) = (mean_deviation(a), mean_deviation(b));
        let cov = a.iter().zip(b).map(|(x, y)| (x - am) * (y - bm)).sum::<f64>() / w as f64;
        cov / (ad * bd).max(1e-12)
    };
    vec![
        ("volume to 20", column(days, |t| log_volume[t] - mean(&log_volume, t, 20))),
        ("volume 5 to 60", column(days, |t| mean(&log_volume, t, 5) - mean(&log_volume, t, 60))),
        ("volume deviation 20", column(days, |t| mean_deviation(&log_volume[t - 19..=t]).1)),
        ("return and volume 20", column(days, |t| together(t, 20))),
        ("dollar volume 60", column(days, |t| mean(&dollars, t, 60))),
        ("illiquidity 20", column(days, |t| mean(&illiquidity, t, 20).max(1e-18).ln())),
        ("body", column(days, |t| log[t] - open[t].ln())),
        ("overnight", column(days, |t| open[t].ln() - log[t - 1])),
        ("place in range", column(days, place)),
        ("range", column(days, |t| range[t])),
        ("range 20", column(days, |t| mean(&range, t, 20))),
    ]
}
