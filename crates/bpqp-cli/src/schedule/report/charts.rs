//! Charts as SVG text. Colors and fonts come from the page's style sheet.

use crate::schedule::program::{Day, HOURS};
use crate::schedule::results::{DayDetail, Method, Results};
use std::fmt::Write;

/// Width in units of the charts: about a phone's, so that text stays readable there.
const WIDTH: f64 = 460.0;

/// Text that is safe inside markup.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Round numbers that cover a range, and the decimals to write them with.
fn ticks(low: f64, high: f64) -> (Vec<f64>, usize) {
    let raw = (high - low).max(1e-9) / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|s| s * power >= raw * 0.999).unwrap_or(10.0);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    ((((low / step).ceil()) as i64..=(high / step).floor() as i64).map(|k| k as f64 * step).collect(), decimals)
}

/// A value with its interval.
pub struct Row {
    name: &'static str,
    ours: bool,
    value: f64,
    error: f64,
    seeds: Vec<f64>,
}

impl Row {
    /// Mean costs.
    pub fn costs(results: &Results) -> Vec<Row> {
        let row = |m: &crate::schedule::results::MethodResults| Row {
            name: m.method.name(),
            ours: m.method == Method::EndToEnd,
            value: m.cost,
            error: m.standard_error,
            seeds: m.seeds.iter().map(|s| s.mean()).collect(),
        };
        results.methods.iter().map(row).collect()
    }

    /// Mean differences to a method.
    pub fn differences(results: &Results, against: Method) -> Vec<Row> {
        let row = |c: &crate::schedule::results::Comparison| Row {
            name: c.method.name(),
            ours: c.method == Method::EndToEnd,
            value: c.mean,
            error: c.standard_error,
            seeds: Vec::new(),
        };
        results.comparisons.iter().filter(|c| c.against == against).map(row).collect()
    }
}

/// Values with 95 % intervals, one below the other, and a line where there is nothing to see.
pub fn intervals(name: &str, rows: &[Row], zero: Option<f64>) -> String {
    const ROW: f64 = 46.0;
    let height = 34.0 + ROW * rows.len() as f64;
    let ends = rows.iter().flat_map(|r| [r.value - 1.96 * r.error, r.value + 1.96 * r.error]);
    let ends = ends.chain(rows.iter().flat_map(|r| r.seeds.iter().copied())).chain(zero);
    let (low, high) = ends.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let room = 0.04 * (high - low).max(1e-9);
    let (low, high) = (low - room, high + room);
    let at = |v: f64| 8.0 + (v - low) / (high - low) * (WIDTH - 16.0);
    let mut svg = open(name, height);
    let floor = height - 26.0;
    let (ticks, decimals) = ticks(low, high);
    for tick in ticks {
        let x = at(tick);
        // Not a negative zero.
        let tick = if tick.abs() < 1e-12 { 0.0 } else { tick };
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{floor:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick:.decimals$}</text>",
            floor + 18.0
        );
    }
    if let Some(zero) = zero {
        let x = at(zero);
        let _ = write!(svg, "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{floor:.1}\"/>");
    }
    for (k, row) in rows.iter().enumerate() {
        let top = ROW * k as f64;
        let (y, class) = (top + 31.0, if row.ours { "end" } else { "other" });
        let _ = write!(
            svg,
            "<text class=\"label halo\" x=\"8\" y=\"{:.1}\">{}: {:.2}</text>\
             <line class=\"whisker {class}\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
            top + 17.0,
            escape(row.name),
            row.value,
            at(row.value - 1.96 * row.error),
            at(row.value + 1.96 * row.error)
        );
        for seed in &row.seeds {
            let x = at(*seed);
            let _ = write!(
                svg,
                "<line class=\"seed {class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                y - 6.0,
                y + 6.0
            );
        }
        let _ = write!(
            svg,
            "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"5.5\"><title>{}: {:.3} ± {:.3}</title></circle>",
            at(row.value),
            escape(row.name),
            row.value,
            1.96 * row.error
        );
    }
    svg + "</svg>"
}

fn open(name: &str, height: f64) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\" class=\"chart\">", escape(name))
}

/// Load, forecast and schedules of a day.
pub fn day(day: &DayDetail) -> String {
    const HEIGHT: f64 = 290.0;
    const LEFT: f64 = 46.0;
    const RIGHT: f64 = 10.0;
    const TOP: f64 = 10.0;
    const BOTTOM: f64 = 44.0;
    let [careful, ours] = &day.plans;
    let edge = |sign: f64| -> Day { std::array::from_fn(|h| ours.mean[h] + sign * 2.0 * ours.spread[h]) };
    let (lower, upper) = (edge(-1.0), edge(1.0));
    let all = [&day.load, &lower, &upper, &careful.schedule, &ours.schedule];
    let (low, high) = all.iter().flat_map(|v| v.iter()).fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let room = 0.03 * (high - low).max(1e-9);
    let (low, high) = (low - room, high + room);
    let x = |h: usize| LEFT + h as f64 / (HOURS - 1) as f64 * (WIDTH - LEFT - RIGHT);
    let y = |v: f64| TOP + (high - v) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut svg = open(&format!("Load and schedules of {}", day.date), HEIGHT);
    let (marks, decimals) = ticks(low, high);
    for mark in marks {
        let at = y(mark);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{mark:.decimals$}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
    }
    for h in (0..HOURS).step_by(4) {
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{h}</text>",
            x(h),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let _ = write!(
        svg,
        "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">hour of the day</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 8.0
    );
    let path = |points: &mut dyn Iterator<Item = (usize, f64)>| {
        points.enumerate().fold(String::new(), |path, (k, (h, v))| {
            path + &format!("{}{:.1} {:.1}", if k == 0 { "M" } else { "L" }, x(h), y(v))
        })
    };
    let line = |values: &Day| path(&mut values.iter().copied().enumerate());
    let outline = upper.iter().copied().enumerate().chain(lower.iter().copied().enumerate().rev());
    let _ = write!(
        svg,
        "<path class=\"band\" d=\"{}Z\"/><path class=\"line mean\" d=\"{}\"/><path class=\"line rmse\" d=\"{}\"/>\
         <path class=\"line end\" d=\"{}\"/><path class=\"line load\" d=\"{}\"/>",
        path(&mut { outline }),
        line(&ours.mean),
        line(&careful.schedule),
        line(&ours.schedule),
        line(&day.load)
    );
    for h in 0..HOURS {
        let _ = write!(
            svg,
            "<circle class=\"hour\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{h}:00, load {:.3}; end-to-end {:.3} \
             (forecast {:.3} ± {:.3}); RMSE {:.3}</title></circle>",
            x(h),
            y(day.load[h]),
            day.load[h],
            ours.schedule[h],
            ours.mean[h],
            ours.spread[h],
            careful.schedule[h]
        );
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let (values, decimals) = ticks(0.13, 1.07);
        assert_eq!(
            values.iter().map(|t| format!("{t:.decimals$}")).collect::<Vec<_>>(),
            ["0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert!(!ticks(1.0, 1.0).0.is_empty());
    }
}
