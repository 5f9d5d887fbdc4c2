//! The pictures of the report.

use super::svg::{self, Axis, Line, Part, escape};
use crate::portfolio::metrics::wealth;
use crate::portfolio::results::{MethodResults, Results, SeedResults};
use crate::portfolio::train::{Epoch, Method};

/// Time series are thinned to this many points.
const POINTS: usize = 240;
/// Stocks with a color of their own.
const NAMED: usize = 8;

/// All of them.
pub(super) fn section(results: &Results) -> String {
    let mut figures = String::new();
    for figure in [trajectory(results), curve(results, true), curve(results, false), wealth_chart(results)] {
        figures += &figure;
    }
    figures += &weights(results);
    figures += &times(results);
    format!("<h2>Pictures</h2><div class=\"charts\">{figures}</div>")
}

fn figure(title: &str, key: &[(&str, &str)], chart: &str, caption: &str) -> String {
    let key: String =
        key.iter().map(|(style, name)| format!("<span style=\"--c:{style}\">{}</span>", escape(name))).collect();
    format!(
        "<figure><h3>{}</h3><div class=\"key\">{key}</div>{chart}<figcaption>{}</figcaption></figure>",
        escape(title),
        escape(caption)
    )
}

fn color(method: Method) -> &'static str {
    match method {
        Method::TwoStage => "var(--two)",
        Method::Bpqp => "var(--bpqp)",
    }
}

fn method_key(results: &Results) -> Vec<(&'static str, &'static str)> {
    results.methods.iter().map(|m| (color(m.method), m.method.name())).collect()
}

fn every_seed(results: &Results) -> impl Iterator<Item = (Method, &SeedResults)> {
    results.methods.iter().flat_map(|m| m.seeds.iter().map(move |s| (m.method, s)))
}

fn mse(e: &Epoch) -> f64 {
    1e4 * e.validation_mse
}

fn regret(e: &Epoch) -> f64 {
    1e4 * e.validation_regret
}

/// The paper's figure 2: prediction loss against regret, epoch by epoch.
fn trajectory(results: &Results) -> String {
    let epochs = || every_seed(results).flat_map(|(_, s)| &s.curve);
    let x = Axis::covering("prediction loss (MSE, 1e-4)", epochs().map(mse));
    let y = Axis::covering("regret (bp a day)", epochs().map(regret));
    let line = |(method, s): (Method, &SeedResults)| {
        let mark =
            |e: &Epoch| (mse(e), regret(e), format!("{} seed {}: epoch {}, chosen", method.name(), s.seed, e.epoch));
        Line {
            points: s.curve.iter().map(|e| (mse(e), regret(e))).collect(),
            class: format!("thin {}", method.name()),
            marks: s.curve.iter().filter(|e| e.epoch == s.best_epoch).map(mark).collect(),
        }
    };
    let chart =
        svg::lines("Prediction loss against regret", &x, &y, &every_seed(results).map(line).collect::<Vec<_>>());
    let caption = "One line per random start, from epoch to epoch on the validation days; a dot is the chosen epoch. A \
                   smaller prediction error need not mean a smaller regret.";
    figure("Prediction loss against regret", &method_key(results), &chart, caption)
}

/// One loss over the epochs.
fn curve(results: &Results, decision: bool) -> String {
    let (title, label, value): (_, _, fn(&Epoch) -> f64) = if decision {
        ("Regret while training", "regret (bp a day)", regret)
    } else {
        ("Prediction loss while training", "MSE (1e-4)", mse)
    };
    let last = every_seed(results).flat_map(|(_, s)| s.curve.iter().map(|e| e.epoch)).max().unwrap_or(0).max(1);
    let step = last.div_ceil(8).max(1);
    let ticks = (0..=last).step_by(step).map(|e| (e as f64, e.to_string())).collect();
    let x = Axis::given("epoch", (0.0, last as f64), ticks);
    let y = Axis::covering(label, every_seed(results).flat_map(|(_, s)| &s.curve).map(value));
    let line = |(method, s): (Method, &SeedResults)| {
        let mark = |e: &Epoch| (e.epoch as f64, value(e), format!("{} seed {}: chosen", method.name(), s.seed));
        Line {
            points: s.curve.iter().map(|e| (e.epoch as f64, value(e))).collect(),
            class: format!("thin {}", method.name()),
            marks: s.curve.iter().filter(|e| e.epoch == s.best_epoch).map(mark).collect(),
        }
    };
    let chart = svg::lines(title, &x, &y, &every_seed(results).map(line).collect::<Vec<_>>());
    figure(title, &method_key(results), &chart, "On the validation days, one line per random start.")
}

/// Every so many days, the first and the last included.
fn thinned(days: usize) -> Vec<usize> {
    let step = days.div_ceil(POINTS).max(1);
    let mut picks: Vec<usize> = (0..days).step_by(step).collect();
    if days > 0 && picks.last() != Some(&(days - 1)) {
        picks.push(days - 1);
    }
    picks
}

/// The test days as an axis: years, or months if there are few.
fn time_axis(dates: &[String]) -> Axis {
    let starts = |length: usize| -> Vec<(f64, String)> {
        let new = |k: &usize| *k > 0 && dates[*k].get(..length) != dates[*k - 1].get(..length);
        (0..dates.len()).filter(new).map(|k| (k as f64, dates[k].get(..length).unwrap_or("").to_owned())).collect()
    };
    let (years, months) = (starts(4), starts(7));
    let all = if years.len() >= 2 { years } else { months };
    let step = all.len().div_ceil(6).max(1);
    Axis::given("", (0.0, dates.len().saturating_sub(1).max(1) as f64), all.into_iter().step_by(step).collect())
}

fn wealth_chart(results: &Results) -> String {
    let mut key = method_key(results);
    let mut series: Vec<(String, Vec<f64>)> =
        results.methods.iter().map(|m| (m.method.name().to_owned(), wealth(&m.average(|s| &s.returns)))).collect();
    for (benchmark, (class, style)) in
        results.benchmarks.iter().zip([("equal", "var(--equal)"), ("least", "var(--least)")])
    {
        key.push((style, benchmark.name));
        series.push((class.to_owned(), wealth(&benchmark.returns)));
    }
    let x = time_axis(&results.test_dates);
    let y = Axis::logarithmic("wealth (start = 1)", series.iter().flat_map(|(_, w)| w.iter().copied()).chain([1.0]));
    let line = |(class, wealth): &(String, Vec<f64>)| Line {
        points: thinned(wealth.len()).into_iter().map(|t| (t as f64, wealth[t])).collect(),
        class: class.clone(),
        marks: Vec::new(),
    };
    let chart = svg::lines("Wealth", &x, &y, &series.iter().map(line).collect::<Vec<_>>());
    let caption = "On the test days, before costs, logarithmic; the methods as equal parts of their random starts.";
    figure("Wealth", &key, &chart, caption)
}

/// Weights over time, for the first random start of each method.
fn weights(results: &Results) -> String {
    let figures = results.methods.iter().filter_map(|m| Some(stack(results, m, m.seeds.first()?)));
    figures.collect()
}

fn stack(results: &Results, method: &MethodResults, seed: &SeedResults) -> String {
    let stocks = results.data.tickers.len();
    let total = |s: usize| seed.weights.iter().map(|w| w[s]).sum::<f64>();
    let mut order: Vec<usize> = (0..stocks).collect();
    order.sort_by(|&a, &b| total(b).total_cmp(&total(a)));
    let named: Vec<usize> = order.into_iter().take(NAMED).collect();
    // Means over blocks of days: single days of many stocks are a flicker.
    let block = seed.weights.len().div_ceil(80).max(1);
    let mean = |days: &[Vec<f64>], s: usize| days.iter().map(|w| w[s]).sum::<f64>() / days.len() as f64;
    let blocks: Vec<&[Vec<f64>]> = seed.weights.chunks(block).collect();
    let last = seed.weights.len().saturating_sub(1) as f64;
    let middle = |k: usize| k as f64 / (blocks.len().max(2) - 1) as f64 * last;
    let positions: Vec<f64> = (0..blocks.len()).map(middle).collect();
    let mut shares: Vec<(String, Vec<f64>)> = Vec::new();
    for (k, &s) in named.iter().enumerate() {
        shares.push((format!("s{k}"), blocks.iter().map(|days| mean(days, s)).collect()));
    }
    let rest = (0..blocks.len()).map(|b| (1.0 - shares.iter().map(|(_, v)| v[b]).sum::<f64>()).max(0.0)).collect();
    shares.push(("other".to_owned(), rest));
    let x = time_axis(&results.test_dates);
    let title = format!("Weights of {}", method.method.name());
    let chart = svg::stacked(&title, &x, &positions, &shares);
    let names = named.iter().enumerate().map(|(k, &s)| (format!("s{k}"), results.data.tickers[s].clone()));
    let others = (stocks > NAMED).then(|| ("other".to_owned(), format!("{} others", stocks - NAMED)));
    let key: String =
        names.chain(others).map(|(class, name)| format!("<span class=\"{class}\">{}</span>", escape(&name))).collect();
    format!(
        "<figure><h3>{}</h3><div class=\"key\">{key}</div>{chart}<figcaption>Random start {}, means over {block} \
         days.</figcaption></figure>",
        escape(&title),
        seed.seed
    )
}

/// Where a pass over the training days spends its time.
fn times(results: &Results) -> String {
    let days = results.data.train.days as f64;
    let row = |m: &MethodResults| {
        let through = m.mean.backward_ms.is_some();
        let forward = if through { m.mean.forward_ms * days / 1e3 } else { 0.0 };
        let backward = m.mean.backward_ms.unwrap_or(0.0) * days / 1e3;
        let network = (m.mean.seconds_per_epoch - forward - backward).max(0.0);
        let parts =
            [("s2", network, "network"), ("s0", forward, "programs forward"), ("s1", backward, "programs backward")];
        let part = |(class, length, name)| Part { class, length, text: format!("{name}: {length:.3} s") };
        (m.method.name().to_owned(), parts.into_iter().map(part).collect())
    };
    let rows: Vec<_> = results.methods.iter().map(row).collect();
    let chart = svg::bars("Time per pass", "s a pass", &rows);
    let each: Vec<String> = results
        .methods
        .iter()
        .filter_map(|m| Some((m.method.name(), m.mean.forward_ms, m.mean.backward_ms?)))
        .map(|(name, f, b)| format!("{name}: {f:.3} ms forward and {b:.3} ms backward per program"))
        .collect();
    let caption = format!("One pass over the {days} training days, wall clock. {}.", each.join("; "));
    let key = [("#2a9d74", "network"), ("#1d5fd1", "programs forward"), ("#d2691e", "programs backward")];
    figure("Time per pass", &key, &chart, &caption)
}
