//! The pictures of the report.

use super::svg::{self, Axis, Line, escape};
use crate::portfolio::engine::Method;
use crate::portfolio::metrics::{mean, wealth};
use crate::portfolio::results::{Results, Row};

/// Time series are thinned to this many points.
const POINTS: usize = 240;
/// Stocks with a color of their own.
const NAMED: usize = 8;

/// All of them.
pub(super) fn section(results: &Results) -> String {
    let figures = [
        volatility(results),
        differences(results),
        wealth_chart(results, false),
        wealth_chart(results, true),
        trading(results),
        held(results),
        weights(results, Method::TwoStage),
        weights(results, Method::Through),
        training(results),
    ];
    format!("<h2>Pictures</h2><div class=\"charts\">{}</div>", figures.concat())
}

/// Class of the style sheet of a method.
pub(super) fn class(method: Method) -> &'static str {
    match method {
        Method::EqualWeight => "equal",
        Method::Static => "least",
        Method::TwoStage => "two-stage",
        Method::Control => "control",
        Method::Through => "bpqp",
    }
}

fn color(method: Method) -> &'static str {
    match method {
        Method::EqualWeight => "var(--equal)",
        Method::Static => "var(--least)",
        Method::TwoStage => "var(--two)",
        Method::Control => "var(--control)",
        Method::Through => "var(--bpqp)",
    }
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

fn key(rows: &[&Row]) -> Vec<(&'static str, &'static str)> {
    rows.iter().map(|r| (color(r.method), r.method.name())).collect()
}

/// A value a period, a dot a method.
fn volatility(results: &Results) -> String {
    // Equal weights lie far above the rest and would flatten it; the table has them.
    let rows: Vec<&Row> = results.rows.iter().filter(|r| r.method != Method::EqualWeight).collect();
    let y = Axis::covering("volatility, % a year", rows.iter().flat_map(|r| &r.by_period).map(|m| 1e2 * m.volatility));
    let count = results.periods.len();
    let part =
        |k: usize| if results.validation_only { &results.periods[k].validation } else { &results.periods[k].test };
    let tick = |k: usize| {
        let text = format!("{} to {}", &part(k).from[..4], &part(k).until[..4]);
        (k as f64 + 0.5, text)
    };
    let x = Axis::given("", (0.0, count as f64), (0..count).map(tick).collect());
    let line = |(at, row): (usize, &&Row)| {
        let place = |k: usize| k as f64 + (at as f64 + 1.0) / (rows.len() as f64 + 1.0);
        let mark = |(k, m): (usize, &crate::portfolio::metrics::Metrics)| {
            (place(k), 1e2 * m.volatility, format!("{}, {}: {:.2} %", row.method.name(), tick(k).1, 1e2 * m.volatility))
        };
        Line {
            points: Vec::new(),
            class: class(row.method).into(),
            marks: row.by_period.iter().enumerate().map(mark).collect(),
        }
    };
    let chart = svg::lines("Volatility", &x, &y, &rows.iter().enumerate().map(line).collect::<Vec<_>>());
    let caption = "Lower is better; means over the seeds. Equal weights are above the picture, see the table.";
    figure("Volatility by period", &key(&rows), &chart, caption)
}

/// Intervals of the differences of log variance.
fn differences(results: &Results) -> String {
    let shown: Vec<_> = results.comparisons.iter().filter(|c| c.against >= Method::Static).collect();
    let values = shown.iter().flat_map(|c| [c.log_variance.interval.0, c.log_variance.interval.1, 0.0]);
    let y = Axis::covering("difference of log variance", values.filter(|v| v.is_finite()));
    let ticks = shown.iter().enumerate().map(|(k, c)| (k as f64 + 0.5, c.against.name().to_owned())).collect();
    let x = Axis::given("", (0.0, shown.len().max(1) as f64), ticks);
    let zero =
        Line { points: vec![(0.0, 0.0), (shown.len().max(1) as f64, 0.0)], class: "thin equal".into(), marks: vec![] };
    let one = |(k, c): (usize, &&crate::portfolio::results::Comparison)| {
        let (d, at) = (&c.log_variance, k as f64 + 0.5);
        let text = format!(
            "through the program less {}: {:+.3}, 95 % from {:+.3} to {:+.3}",
            c.against.name(),
            d.value,
            d.interval.0,
            d.interval.1
        );
        Line {
            points: vec![(at, d.interval.0), (at, d.interval.1)],
            class: "bpqp".into(),
            marks: vec![(at, d.value, text)],
        }
    };
    let lines: Vec<Line> = std::iter::once(zero).chain(shown.iter().enumerate().map(one)).collect();
    let chart = svg::lines("Difference", &x, &y, &lines);
    let caption = "Through the program less each other method on the same days, with its 95 % interval (bootstrap of blocks of \
                   20 days). Below 0: less risk; -0.04 is 2 % less volatility.";
    figure("Is it a difference?", &[], &chart, caption)
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

/// The reported days as an axis: years, or months if there are few.
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

/// A line over the reported days, with values to be hovered over about every hundredth of it.
fn over_time(method: Method, dates: &[String], values: &[f64], write: impl Fn(f64) -> String) -> Line {
    let picks = thinned(values.len());
    let every = picks.len().div_ceil(60).max(1);
    let text = |t: usize| format!("{}, {}: {}", method.name(), dates[t], write(values[t]));
    Line {
        points: picks.iter().map(|&t| (t as f64, values[t])).collect(),
        class: format!("hover {}", class(method)),
        marks: picks.iter().step_by(every).map(|&t| (t as f64, values[t], text(t))).collect(),
    }
}

/// Wealth before costs, or after them with yesterday's weights in the program.
fn wealth_chart(results: &Results, net: bool) -> String {
    let average = |row: &Row| -> Vec<f64> {
        let days = results.dates.len();
        (0..days).map(|t| mean(&row.seeds.iter().map(|s| s.series.returns[t]).collect::<Vec<f64>>())).collect()
    };
    let series: Vec<(Method, Vec<f64>)> = if net {
        results.with_costs.iter().map(|r| (r.method, wealth(&r.series.net(results.cost)))).collect()
    } else {
        results.rows.iter().map(|r| (r.method, wealth(&average(r)))).collect()
    };
    let x = time_axis(&results.dates);
    let y = Axis::logarithmic("wealth (start = 1)", series.iter().flat_map(|(_, w)| w.iter().copied()).chain([1.0]));
    let line = |(m, w): &(Method, Vec<f64>)| over_time(*m, &results.dates, w, |v| format!("{v:.3}"));
    let name = if net { "Net wealth with trading in the program" } else { "Wealth" };
    let chart = svg::lines(name, &x, &y, &series.iter().map(line).collect::<Vec<_>>());
    let caption = if net {
        format!(
            "After {:.0} bp on every value traded, yesterday's weights in the program, first seed.",
            1e4 * results.cost
        )
    } else {
        "Before costs, logarithmic, as equal parts of the seeds.".to_owned()
    };
    figure(name, &key(&results.rows.iter().collect::<Vec<_>>()), &chart, &caption)
}

/// Turnover against net return, free and with yesterday's weights in the program.
fn trading(results: &Results) -> String {
    let pairs: Vec<_> =
        results.rows.iter().zip(&results.with_costs).map(|(a, b)| (a.method, &a.mean, &b.mean)).collect();
    let both = || pairs.iter().flat_map(|(_, a, b)| [*a, *b]);
    let x = Axis::covering("turnover, % a day", both().map(|m| 1e2 * m.turnover));
    let y = Axis::covering("net return, % a year", both().map(|m| 1e2 * m.net_return));
    let line = |(method, free, costed): &(
        Method,
        &crate::portfolio::metrics::Metrics,
        &crate::portfolio::metrics::Metrics,
    )| {
        let at = |m: &crate::portfolio::metrics::Metrics| (1e2 * m.turnover, 1e2 * m.net_return);
        let text = |m: &crate::portfolio::metrics::Metrics, what: &str| {
            format!("{}, {what}: turnover {:.1} % a day, net {:.1} % a year", method.name(), at(m).0, at(m).1)
        };
        let mark = |m: &crate::portfolio::metrics::Metrics, what: &str| (at(m).0, at(m).1, text(m, what));
        Line {
            points: vec![at(free), at(costed)],
            class: format!("thin {}", class(*method)),
            marks: vec![mark(free, "trading freely"), mark(costed, "trading in the program")],
        }
    };
    let chart = svg::lines("Trading", &x, &y, &pairs.iter().map(line).collect::<Vec<_>>());
    let caption = "Each line leads from trading freely (right) to trading priced in the program (left).";
    figure("What trading costs", &key(&results.rows.iter().collect::<Vec<_>>()), &chart, caption)
}

fn held(results: &Results) -> String {
    let rows: Vec<&Row> = results.rows.iter().filter(|r| r.method != Method::EqualWeight).collect();
    let series: Vec<(Method, &[f64])> =
        rows.iter().filter_map(|r| Some((r.method, &r.seeds.first()?.series.held[..]))).collect();
    let x = time_axis(&results.dates);
    let y = Axis::covering("names held", series.iter().flat_map(|(_, h)| h.iter().copied()));
    let line = |(m, h): &(Method, &[f64])| over_time(*m, &results.dates, h, |v| format!("{v:.0} names"));
    let chart = svg::lines("Names held", &x, &y, &series.iter().map(line).collect::<Vec<_>>());
    figure("Names held", &key(&rows), &chart, "1 / sum of squared weights, first seed.")
}

/// Weights over time, first seed.
fn weights(results: &Results, method: Method) -> String {
    let Some(row) = results.row(method).filter(|r| !r.weights.is_empty()) else { return String::new() };
    let stocks = results.data.tickers.len();
    let mut total = vec![0.0; stocks];
    row.weights.iter().flat_map(|h| &h.weights).for_each(|&(i, w)| total[i] += f64::from(w));
    let mut order: Vec<usize> = (0..stocks).collect();
    order.sort_by(|&a, &b| total[b].total_cmp(&total[a]));
    let named: Vec<usize> = order.into_iter().take(NAMED).collect();
    // Means over blocks of days: single days of many stocks are a flicker.
    let block = row.weights.len().div_ceil(80).max(1);
    let blocks: Vec<_> = row.weights.chunks(block).collect();
    let average = |days: &[crate::portfolio::results::Holding], s: usize| {
        let all = days.iter().flat_map(|h| &h.weights).filter(|(i, _)| *i == s);
        all.map(|(_, w)| f64::from(*w)).sum::<f64>() / days.len() as f64
    };
    let last = row.weights.len().saturating_sub(1) as f64;
    let positions: Vec<f64> = (0..blocks.len()).map(|k| k as f64 / (blocks.len().max(2) - 1) as f64 * last).collect();
    let mut shares: Vec<(String, Vec<f64>)> = Vec::new();
    for (k, &s) in named.iter().enumerate() {
        shares.push((format!("s{k}"), blocks.iter().map(|days| average(days, s)).collect()));
    }
    let rest = (0..blocks.len()).map(|b| (1.0 - shares.iter().map(|(_, v)| v[b]).sum::<f64>()).max(0.0)).collect();
    shares.push(("other".to_owned(), rest));
    let x = time_axis(&results.dates);
    let title = format!("Weights, {}", method.name());
    let mut texts: Vec<String> = named
        .iter()
        .map(|&s| format!("{}: {:.1} % on average", results.data.tickers[s], 1e2 * total[s] / row.weights.len() as f64))
        .collect();
    texts.push("all others".into());
    let chart = svg::stacked(&title, &x, &positions, &shares, &texts);
    let names = named.iter().enumerate().map(|(k, &s)| (format!("s{k}"), results.data.tickers[s].clone()));
    let others = (stocks > NAMED).then(|| ("other".to_owned(), format!("{} others", stocks - NAMED)));
    let key: String =
        names.chain(others).map(|(class, name)| format!("<span class=\"{class}\">{}</span>", escape(&name))).collect();
    format!(
        "<figure><h3>{}</h3><div class=\"key\">{key}</div>{chart}<figcaption>First seed, means over {block} \
         days.</figcaption></figure>",
        escape(&title)
    )
}

/// What the epochs were chosen by.
fn training(results: &Results) -> String {
    let rows: Vec<&Row> =
        results.rows.iter().filter(|r| matches!(r.method, Method::Control | Method::Through)).collect();
    let all =
        || rows.iter().flat_map(|r| r.seeds.iter().flat_map(move |s| s.curves.iter().map(move |c| (r.method, s, c))));
    // Periods differ in level: what matters is the change since the two-stage network.
    let change = |c: &[crate::portfolio::training::Epoch], k: usize| c[k].validation - c[0].validation;
    let last = all().map(|(_, _, c)| c.len()).max().unwrap_or(1).max(2) - 1;
    let x = Axis::given("further epoch", (0.0, last as f64), (0..=last).map(|e| (e as f64, e.to_string())).collect());
    let y = Axis::covering(
        "validation measure, change",
        all().flat_map(|(_, _, c)| (0..c.len()).map(|k| change(c, k)).collect::<Vec<_>>()),
    );
    let line =
        |(method, seed, c): (Method, &crate::portfolio::results::SeedRow, &Vec<crate::portfolio::training::Epoch>)| {
            let best = (0..c.len()).min_by(|&a, &b| c[a].validation.total_cmp(&c[b].validation)).unwrap_or(0);
            let text = format!("{} seed {}: epoch {best} chosen, {:+.4}", method.name(), seed.seed, change(c, best));
            Line {
                points: (0..c.len()).map(|k| (k as f64, change(c, k))).collect(),
                class: format!("thin {}", class(method)),
                marks: vec![(best as f64, change(c, best), text)],
            }
        };
    let chart = svg::lines("Training", &x, &y, &all().map(line).collect::<Vec<_>>());
    let caption =
        "On the validation days, one line per seed and period, less is better; a dot is the epoch that was kept.";
    figure("Training on", &key(&rows), &chart, caption)
}
