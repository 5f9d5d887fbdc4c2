//! 158 features of prices and volumes in the manner of Alpha158 of Qlib: the shape of the day's candle, and 29 measures over
//! each of five windows. `c`, `o`, `h`, `l`, `v` are close, open, high, low and volume of one stock; `w` is the window.

/// Windows in days.
const WINDOWS: [usize; 5] = [5, 10, 20, 30, 60];
/// The first day on which every window is full.
pub const WARM_UP: usize = 61;
const TINY: f64 = 1e-12;
/// Names of the measures of the day.
const DAY: [&str; 13] =
    ["KMID", "KLEN", "KMID2", "KUP", "KUP2", "KLOW", "KLOW2", "KSFT", "KSFT2", "OPEN0", "HIGH0", "LOW0", "VWAP0"];
/// Names of the measures over a window.
const WINDOW: [&str; 29] = [
    "ROC", "MA", "STD", "BETA", "RSQR", "RESI", "MAX", "MIN", "QTLU", "QTLD", "RANK", "RSV", "IMAX", "IMIN", "IMXD",
    "CORR", "CORD", "CNTP", "CNTN", "CNTD", "SUMP", "SUMN", "SUMD", "VMA", "VSTD", "WVMA", "VSUMP", "VSUMN", "VSUMD",
];

/// Their names in order.
pub fn names() -> Vec<String> {
    let day = DAY.iter().map(|n| (*n).to_owned());
    day.chain(WINDOWS.iter().flat_map(|w| WINDOW.iter().map(move |n| format!("{n}{w}")))).collect()
}

/// One stock, all days.
pub struct Stock<'a> {
    /// Closing prices.
    pub close: &'a [f64],
    /// Opening prices.
    pub open: &'a [f64],
    /// Highest prices.
    pub high: &'a [f64],
    /// Lowest prices.
    pub low: &'a [f64],
    /// Volumes; where one is unknown, the last known.
    pub volume: &'a [f64],
}

/// What is derived from the prices once: day by day, nothing looks ahead.
pub struct Series<'a> {
    of: Stock<'a>,
    ratio: Vec<f64>,
    change: Vec<f64>,
    log_volume: Vec<f64>,
    volume_change: Vec<f64>,
    volume_log_ratio: Vec<f64>,
    shock: Vec<f64>,
}

impl<'a> Series<'a> {
    /// Of a stock.
    pub fn new(of: Stock<'a>) -> Self {
        let before = |x: &[f64], t: usize| x[t.saturating_sub(1)];
        let days = of.close.len();
        let map = |f: &dyn Fn(usize) -> f64| (0..days).map(f).collect::<Vec<f64>>();
        let ratio = map(&|t| of.close[t] / before(of.close, t));
        Series {
            change: map(&|t| of.close[t] - before(of.close, t)),
            log_volume: map(&|t| of.volume[t].ln_1p()),
            volume_change: map(&|t| of.volume[t] - before(of.volume, t)),
            volume_log_ratio: map(&|t| (of.volume[t] / before(of.volume, t).max(1.0)).ln_1p()),
            shock: map(&|t| (ratio[t] - 1.0).abs() * of.volume[t]),
            ratio,
            of,
        }
    }

    /// The features of day `t`, which is at least [`WARM_UP`], appended to `out`.
    pub fn features(&self, t: usize, out: &mut Vec<f64>) {
        let Stock { close, open, high, low, .. } = self.of;
        let (c, o, h, l) = (close[t], open[t], high[t], low[t]);
        let (top, bottom, span) = (o.max(c), o.min(c), h - l + TINY);
        out.extend([(c - o) / o, (h - l) / o, (c - o) / span, (h - top) / o, (h - top) / span, (bottom - l) / o]);
        out.extend([(bottom - l) / span, (2.0 * c - h - l) / o, (2.0 * c - h - l) / span, o / c, h / c, l / c]);
        out.push((h + l + c) / 3.0 / c);
        for w in WINDOWS {
            self.window(t, w, out);
        }
    }

    fn window(&self, t: usize, w: usize, out: &mut Vec<f64>) {
        let n = w as f64;
        fn last(x: &[f64], t: usize, w: usize) -> &[f64] {
            &x[t + 1 - w..=t]
        }
        let c = self.of.close[t];
        let closes = last(self.of.close, t, w);
        let average = mean(closes);
        let line = slope(closes, average);
        let at = |x: &[f64], better: fn(f64, f64) -> bool| {
            (0..w).fold(0, |best, k| if better(x[k], x[best]) { k } else { best })
        };
        let (highs, lows) = (last(self.of.high, t, w), last(self.of.low, t, w));
        let (imax, imin) = (at(highs, |a, b| a > b), at(lows, |a, b| a < b));
        let (highest, lowest) = (highs[imax], lows[imin]);
        let mut sorted = [0.0; 60];
        let sorted = &mut sorted[..w];
        sorted.copy_from_slice(closes);
        sorted.sort_unstable_by(f64::total_cmp);
        let below = closes.iter().filter(|x| **x < c).count() as f64;
        let same = closes.iter().filter(|x| **x == c).count() as f64;
        let (imax, imin) = ((imax + 1) as f64 / n, (imin + 1) as f64 / n);
        out.extend([self.of.close[t - w] / c, average / c, deviation(closes, average) / c]);
        out.extend([line.slope / c, line.r2, line.residual / c, highest / c, lowest / c]);
        out.extend([quantile(sorted, 0.8) / c, quantile(sorted, 0.2) / c, (below + 0.5 * same) / n]);
        out.extend([(c - lowest) / (highest - lowest + TINY), imax, imin, imax - imin]);
        out.push(correlation(closes, last(&self.log_volume, t, w)));
        out.push(correlation(last(&self.ratio, t, w), last(&self.volume_log_ratio, t, w)));
        let moves = Moves::of(last(&self.change, t, w));
        out.extend([moves.ups / n, moves.downs / n, (moves.ups - moves.downs) / n]);
        out.extend([moves.up / moves.total, moves.down / moves.total, (moves.up - moves.down) / moves.total]);
        let volumes = last(self.of.volume, t, w);
        let (volume, now) = (mean(volumes), self.log_volume[t]);
        out.extend([volume.ln_1p() - now, deviation(volumes, volume).ln_1p() - now]);
        let shocks = last(&self.shock, t, w);
        let shock = mean(shocks);
        out.push(deviation(shocks, shock) / (shock + TINY));
        let moves = Moves::of(last(&self.volume_change, t, w));
        out.extend([moves.up / moves.total, moves.down / moves.total, (moves.up - moves.down) / moves.total]);
    }
}

/// Rises and falls of a series of changes: how many and how much.
struct Moves {
    ups: f64,
    downs: f64,
    up: f64,
    down: f64,
    total: f64,
}

impl Moves {
    fn of(changes: &[f64]) -> Self {
        let mut m = Moves { ups: 0.0, downs: 0.0, up: 0.0, down: 0.0, total: TINY };
        for &d in changes {
            if d > 0.0 {
                (m.ups, m.up) = (m.ups + 1.0, m.up + d);
            } else if d < 0.0 {
                (m.downs, m.down) = (m.downs + 1.0, m.down - d);
            }
            m.total += d.abs();
        }
        m
    }
}

/// The regression of a series on time.
struct Trend {
    slope: f64,
    r2: f64,
    residual: f64,
}

fn slope(x: &[f64], average: f64) -> Trend {
    let n = x.len() as f64;
    let time = |k: usize| k as f64 - (n - 1.0) / 2.0;
    let squares = n * (n * n - 1.0) / 12.0;
    let slope = x.iter().enumerate().map(|(k, v)| time(k) * (v - average)).sum::<f64>() / squares;
    let variance: f64 = x.iter().map(|v| (v - average).powi(2)).sum();
    let r2 = if variance > 1e-12 * average * average { slope * slope * squares / variance } else { 0.0 };
    Trend { slope, r2, residual: x[x.len() - 1] - average - slope * time(x.len() - 1) }
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn deviation(x: &[f64], mean: f64) -> f64 {
    (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (x.len() - 1) as f64).sqrt()
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (k, rest) = (at.floor() as usize, at.fract());
    sorted[k] + rest * (sorted[(k + 1).min(sorted.len() - 1)] - sorted[k])
}

/// 0 where one side does not move.
fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let (mx, my) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        xy += (a - mx) * (b - my);
        xx += (a - mx).powi(2);
        yy += (b - my).powi(2);
    }
    let moves = xx > 1e-12 * mx * mx && yy > 1e-12 * my * my;
    if moves { xy / (xx * yy).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_has_the_features_of_a_straight_line() {
        let close: Vec<f64> = (0..80).map(|t| 100.0 + t as f64).collect();
        let by = |f: f64| close.iter().map(|c| c * f).collect::<Vec<f64>>();
        let (open, high, low) = (by(0.999), by(1.002), by(0.998));
        let volume = vec![1e6; 80];
        let stock = Stock { close: &close, open: &open, high: &high, low: &low, volume: &volume };
        let mut out = Vec::new();
        Series::new(stock).features(70, &mut out);
        let names = names();
        assert_eq!((names.len(), out.len()), (158, 158));
        let value = |name: &str| out[names.iter().position(|n| n == name).unwrap()];
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        near(value("BETA5"), 1.0 / 170.0);
        near(value("RSQR60"), 1.0);
        near(value("RESI10"), 0.0);
        near(value("ROC20"), 150.0 / 170.0);
        near(value("RANK5"), 0.9);
        near(value("IMAX5"), 1.0);
        near(value("IMIN5"), 0.2);
        near(value("SUMP30"), 1.0);
        near(value("CNTD10"), 1.0);
        near(value("CORR10"), 0.0);
        near(value("QTLU5"), 169.2 / 170.0);
    }
}
