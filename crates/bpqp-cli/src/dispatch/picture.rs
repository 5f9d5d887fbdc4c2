//! The prices of a grid, bus by bus, as SVG.

use super::Results;
use crate::portfolio::report::svg::escape;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 34.0;
const FLOOR: f64 = HEIGHT - 44.0;
/// The load that the ends of the lines belong to, in percent more.
const MORE: f64 = 5.0;

/// A point for the price at each bus, in the order of the file, and a line to where it goes with 5 % more load, to first order.
pub fn prices(results: &Results) -> String {
    let points: Vec<(f64, f64)> =
        results.buses.iter().filter_map(|b| Some((b.price?, b.price? + MORE * b.price_by_load?))).collect();
    let within = |(l, h): (f64, f64), v: f64| (l.min(v), h.max(v));
    let (low, high) = points.iter().map(|p| p.0).fold((f64::MAX, f64::MIN), within);
    // room for the lines, but not so much for one of them that the points become a line
    let span = high - low;
    let ends = points.iter().map(|p| p.1.clamp(low - span, high + span));
    let (low, high) = ends.fold((low, high), within);
    let room = (0.05 * (high - low)).max(0.02 * high.abs()).max(1e-3);
    let (low, high) = if points.is_empty() { (0.0, 1.0) } else { (low - room, high + room) };
    let y = |v: f64| FLOOR - (v - low) / (high - low) * (FLOOR - TOP);
    let count = points.len().max(1) as f64;
    let x = |k: usize| LEFT + (k as f64 + 0.5) / count * (WIDTH - LEFT - 12.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" font-family=\"sans-serif\" \
         font-size=\"12\"><rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\
         <text x=\"{LEFT}\" y=\"18\" font-size=\"14\" fill=\"#222\">{}: price at every bus, $/MWh, and where {MORE} % more load \
         moves it</text>",
        escape(&results.case)
    );
    for k in 0..=4 {
        let value = low + (high - low) * f64::from(k) / 4.0;
        let at = y(value);
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e4e4e4\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{value:.2}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    let radius = (0.3 * (WIDTH - LEFT) / count).clamp(1.2, 4.5);
    for (k, (price, moved)) in points.iter().enumerate() {
        let color = if moved >= price { "#c0392b" } else { "#2471a3" };
        let end = y(moved.clamp(low, high));
        let _ = write!(
            svg,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{end:.1}\" stroke=\"{color}\" stroke-width=\"{2:.1}\" \
             opacity=\"0.6\"/><circle cx=\"{0:.1}\" cy=\"{1:.1}\" r=\"{radius:.1}\" fill=\"#1f3a4d\"><title>bus {3}: \
             {price:.4}</title></circle>",
            x(k),
            y(*price),
            (0.6 * radius).max(0.8),
            results.buses[k].bus
        );
    }
    let step = points.len().div_ceil(14).max(1);
    for k in (0..points.len()).step_by(step) {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            x(k),
            FLOOR + 18.0,
            results.buses[k].bus
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">bus</text></svg>",
        LEFT + 0.5 * (WIDTH - LEFT),
        FLOOR + 36.0
    );
    svg
}

/// The picture as a file of its own.
pub fn alone(results: &Results) -> String {
    prices(results) + "\n"
}
