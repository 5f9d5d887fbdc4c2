//! What the predictor sees: per stock and day, from prices up to that day's close.
//!
//! Every feature is standardized per day over the stocks (mean 0, deviation 1, clipped at 3), so it says how a stock
//! compares with the others on that day, and no statistic of another day enters.

use super::alpha;
use super::prices::Prices;
use rayon::prelude::*;

/// The longest look back: the first day with features.
pub const WARM_UP: usize = 240;
const CLIP: f64 = 3.0;
/// Features of closing prices.
const CLOSES: [&str; 31] = [
    "return 1",
    "return 1, a day ago",
    "momentum 5",
    "momentum 10",
    "momentum 20",
    "momentum 60",
    "momentum 120",
    "momentum 240 without 20",
    "own move 5",
    "own move 20",
    "own move 60",
    "volatility 5",
    "volatility 20",
    "volatility 60",
    "volatility 240",
    "volatility 5 to 60",
    "volatility 20 to 240",
    "beta 120",
    "own volatility 120",
    "market correlation 120",
    "skewness 60",
    "best day 20",
    "worst day 20",
    "up days 20",
    "to average 20",
    "to average 60",
    "to average 240",
    "to high 60",
    "to high 240",
    "to low 60",
    "to low 240",
];

/// A feature is stored in this many steps on either side of 0: a byte each, since they are many and are compared only.
const LEVELS: f64 = 127.0;

/// Features of all days from [`WARM_UP`] on.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Names, in the order of the values.
    pub names: Vec<String>,
    stocks: usize,
    values: Vec<i8>,
}

impl Features {
    /// The features of `day` (an index into the dates, at least [`WARM_UP`]), stock by stock, appended to `out`.
    pub fn day(&self, day: usize, out: &mut Vec<f32>) {
        let size = self.stocks * self.names.len();
        let step = (CLIP / LEVELS) as f32;
        out.extend(
            self.values[(day - WARM_UP) * size..(day - WARM_UP + 1) * size].iter().map(|&v| f32::from(v) * step),
        );
    }

    /// Computes all features: the 158 of [`alpha`](super::alpha) where there are ranges and volumes, else those of closing
    /// prices. A stock that is not in the universe of a day (see [`Prices::known`]) has zeros there.
    pub fn compute(prices: &Prices) -> Self {
        let (days, stocks) = (prices.dates.len(), prices.tickers.len());
        let first = WARM_UP.min(days);
        let from_alpha = prices.extra.is_some();
        let names = if from_alpha { alpha::names() } else { CLOSES.iter().map(|n| (*n).to_owned()).collect() };
        let count = names.len();
        let raw: Vec<Vec<f32>> = if from_alpha {
            (0..stocks).into_par_iter().map(|s| from_extra(prices, s, first)).collect()
        } else {
            let returns = prices.returns();
            let market: Vec<f64> = (0..days).map(|t| prices.mean_known(&returns, t)).collect();
            let stock = |s: usize| {
                let log: Vec<f64> = prices.close.stock(s).iter().map(|p| p.ln()).collect();
                let columns = from_closes(&log, &returns.stock(s), &market);
                (first..days)
                    .flat_map(|t| columns.iter().map(move |(_, c)| c[t] as f32).collect::<Vec<f32>>())
                    .collect()
            };
            (0..stocks).into_par_iter().map(stock).collect()
        };
        let mut values = vec![0i8; (days - first) * stocks * count];
        values.par_chunks_mut((stocks * count).max(1)).enumerate().for_each(|(k, out)| {
            let known: Vec<usize> = (0..stocks).filter(|&s| prices.known(first + k, s)).collect();
            let mut column = Vec::with_capacity(known.len());
            for feature in 0..count {
                column.clear();
                column.extend(known.iter().map(|&s| f64::from(raw[s][k * count + feature])));
                standardize(&mut column);
                for (&s, value) in known.iter().zip(&column) {
                    out[s * count + feature] = (value / CLIP * LEVELS).round() as i8;
                }
            }
        });
        Features { names, stocks, values }
    }
}

/// The features of one stock from day `first` on, day by day.
fn from_extra(prices: &Prices, stock: usize, first: usize) -> Vec<f32> {
    let Some(extra) = &prices.extra else { return Vec::new() };
    let [close, open, high, low] = [&prices.close, &extra.open, &extra.high, &extra.low].map(|p| p.stock(stock));
    let mut volume = extra.volume.stock(stock);
    // An unknown volume is not a volume of 0: the day before stands in.
    for t in 1..volume.len() {
        if volume[t] <= 0.0 {
            volume[t] = volume[t - 1];
        }
    }
    let of = alpha::Stock { close: &close, open: &open, high: &high, low: &low, volume: &volume };
    let series = alpha::Series::new(of);
    let (mut out, mut row) = (Vec::new(), Vec::new());
    for t in first..close.len() {
        row.clear();
        series.features(t, &mut row);
        out.extend(row.iter().map(|&v| v as f32));
    }
    out
}

/// Mean 0, deviation 1 after cutting off what lies beyond the outermost hundredths, clipped; zeros where all stocks agree.
fn standardize(column: &mut [f64]) {
    column.iter_mut().filter(|v| !v.is_finite()).for_each(|v| *v = 0.0);
    let mut sorted = column.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (Some(&low), Some(&high)) = (sorted.get(sorted.len() / 100), sorted.get(sorted.len() - 1 - sorted.len() / 100))
    else {
        return;
    };
    column.iter_mut().for_each(|v| *v = v.clamp(low, high));
    let (mean, deviation) = mean_deviation(column);
    let unit = |v: f64| if deviation > 1e-9 { ((v - mean) / deviation).clamp(-CLIP, CLIP) } else { 0.0 };
    column.iter_mut().for_each(|v| *v = unit(*v));
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
