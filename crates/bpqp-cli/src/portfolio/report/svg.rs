//! Charts as SVG text: lines, stacked areas, bars. Colors and fonts come from the page's style sheet.

use std::fmt::Write;

/// Size of every chart in its own units: about a phone's width, so that text stays readable there.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;

/// A line through points.
pub struct Line {
    /// Points in data units.
    pub points: Vec<(f64, f64)>,
    /// Class of the style sheet: decides color and dash.
    pub class: String,
    /// Points to mark with a dot, and what a reader sees on hovering.
    pub marks: Vec<(f64, f64, String)>,
}

/// What stands along an axis.
pub struct Axis {
    /// Name and unit.
    pub label: String,
    /// Positions and texts of the ticks.
    pub ticks: Vec<(f64, String)>,
    /// Least and greatest value.
    pub range: (f64, f64),
    /// Logarithmic?
    pub log: bool,
}

impl Axis {
    /// An axis that covers the values, with round ticks.
    pub fn covering(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(values);
        let room = ((high - low) * 0.05).max(high.abs() * 1e-4).max(1e-12);
        let range = (low - room, high + room);
        let (ticks, decimals) = round_ticks(range.0, range.1);
        let ticks = ticks.into_iter().map(|t| (t, format!("{t:.decimals$}"))).collect();
        Axis { label: label.to_owned(), ticks, range, log: false }
    }

    /// A logarithmic axis for positive values.
    pub fn logarithmic(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = extent(values.filter(|v| *v > 0.0));
        let range = (low / 1.05, high * 1.05);
        let decades = (range.0.log10().floor() as i32)..=(range.1.log10().ceil() as i32);
        // Few ticks: the 1-2-5 series where the axis covers much, finer steps where it covers little.
        let steps: &[f64] = match range.1 / range.0 {
            spread if spread > 6.0 => &[1.0, 2.0, 5.0],
            spread if spread > 1.8 => &[1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
            _ => &[1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0, 2.2, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        };
        let all = decades.flat_map(|d| steps.iter().map(move |s| s * 10f64.powi(d)));
        // Two decimals hide the rounding of 9 * 0.1.
        let text = |t: f64| format!("{t:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
        let ticks = all.filter(|t| (range.0..=range.1).contains(t)).map(|t| (t, text(t))).collect();
        Axis { label: label.to_owned(), ticks, range, log: true }
    }

    /// An axis with ticks chosen by the caller.
    pub fn given(label: &str, range: (f64, f64), ticks: Vec<(f64, String)>) -> Self {
        Axis { label: label.to_owned(), ticks, range, log: false }
    }

    /// Where a value stands between 0 and 1.
    fn place(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        if self.log {
            (value.max(low).ln() - low.ln()) / (high.ln() - low.ln()).max(1e-12)
        } else {
            (value - low) / (high - low).max(1e-300)
        }
    }
}

fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    if low > high { (0.0, 1.0) } else { (low, high) }
}

/// Four to eight multiples of 1, 2 or 5 times a power of ten, and the decimals to write them with.
fn round_ticks(low: f64, high: f64) -> (Vec<f64>, usize) {
    let raw = (high - low) / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = power * [1.0, 2.0, 5.0, 10.0].into_iter().find(|s| s * power >= raw * 0.999).unwrap_or(10.0);
    let first = (low / step).ceil() as i64;
    let last = (high / step).floor() as i64;
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    ((first..=last).map(|k| k as f64 * step).collect(), decimals.min(9))
}

/// Text that is safe inside markup.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

struct Canvas<'a> {
    svg: String,
    x: &'a Axis,
    y: &'a Axis,
}

impl<'a> Canvas<'a> {
    fn new(name: &str, x: &'a Axis, y: &'a Axis) -> Self {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\" class=\"chart\">",
            escape(name)
        );
        for (value, text) in &y.ticks {
            let at = TOP + (1.0 - y.place(*value)) * (HEIGHT - TOP - BOTTOM);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                at + 4.0,
                escape(text)
            );
        }
        let floor = HEIGHT - BOTTOM;
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{floor}\" y2=\"{floor}\"/>",
            WIDTH - RIGHT
        );
        for (value, text) in &x.ticks {
            let at = LEFT + x.place(*value) * (WIDTH - LEFT - RIGHT);
            let _ = write!(
                svg,
                "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{floor}\" y2=\"{}\"/>\
                 <text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                floor + 4.0,
                floor + 18.0,
                escape(text)
            );
        }
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"rotate(-90)\" x=\"{:.1}\" y=\"13\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 8.0,
            escape(&x.label),
            -(TOP + HEIGHT - BOTTOM) / 2.0,
            escape(&y.label)
        );
        Canvas { svg, x, y }
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = LEFT + self.x.place(x).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
        (across, TOP + (1.0 - self.y.place(y).clamp(0.0, 1.0)) * (HEIGHT - TOP - BOTTOM))
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (k, &point) in points.iter().enumerate() {
            let (x, y) = self.at(point);
            let _ = write!(path, "{}{x:.1} {y:.1}", if k == 0 { "M" } else { "L" });
        }
        path
    }

    fn end(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }
}

/// Lines over two axes.
pub fn lines(name: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let mut canvas = Canvas::new(name, x, y);
    for line in lines {
        let path = canvas.path(&line.points);
        let _ = write!(canvas.svg, "<path class=\"line {}\" d=\"{path}\"/>", line.class);
    }
    // Marks last, so that no line covers them.
    for line in lines {
        for (px, py, text) in &line.marks {
            let (cx, cy) = canvas.at((*px, *py));
            let _ = write!(
                canvas.svg,
                "<circle class=\"mark {}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"5\"><title>{}</title></circle>",
                line.class,
                escape(text)
            );
        }
    }
    canvas.end()
}

/// Shares of a whole over time: `shares[k]` is the share of layer k at each position.
/// `texts[k]` is what a reader sees on hovering over it.
pub fn stacked(name: &str, x: &Axis, positions: &[f64], shares: &[(String, Vec<f64>)], texts: &[String]) -> String {
    let percent = (0..=4).map(|k| (0.25 * f64::from(k), format!("{} %", 25 * k))).collect();
    let y = Axis::given("share of the portfolio", (0.0, 1.0), percent);
    let mut canvas = Canvas::new(name, x, &y);
    let mut below = vec![0.0; positions.len()];
    for (k, (class, share)) in shares.iter().enumerate() {
        let above: Vec<f64> = below.iter().zip(share).map(|(b, s)| b + s).collect();
        let mut outline: Vec<(f64, f64)> = positions.iter().copied().zip(above.iter().copied()).collect();
        outline.extend(positions.iter().copied().zip(below.iter().copied()).rev());
        let path = canvas.path(&outline);
        let text = escape(texts.get(k).map_or("", String::as_str));
        let _ = write!(canvas.svg, "<path class=\"area {class}\" d=\"{path}Z\"><title>{text}</title></path>");
        below = above;
    }
    canvas.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let (ticks, decimals) = round_ticks(0.13, 1.07);
        assert_eq!(
            ticks.iter().map(|t| format!("{t:.decimals$}")).collect::<Vec<_>>(),
            ["0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        let (ticks, decimals) = round_ticks(136.9, 140.3);
        assert!(ticks.len() >= 3 && decimals == 0, "{ticks:?}");
    }

    #[test]
    fn logarithmic_ticks_are_few_and_enough() {
        for (low, high) in [(0.74, 1.07), (0.9, 1.4), (0.97, 3.1), (0.5, 40.0)] {
            let axis = Axis::logarithmic("", [low, high].into_iter());
            assert!((3..=9).contains(&axis.ticks.len()), "{low} {high}: {:?}", axis.ticks);
        }
    }

    #[test]
    fn a_constant_has_an_axis_too() {
        let axis = Axis::covering("", [3.0, 3.0].into_iter());
        assert!(axis.range.0 < 3.0 && axis.range.1 > 3.0 && !axis.ticks.is_empty());
        let axis = Axis::covering("", [0.0].into_iter());
        assert!(axis.range.0 < axis.range.1);
    }

    #[test]
    fn names_cannot_break_the_page() {
        assert_eq!(escape("<A&\"B\">"), "&lt;A&amp;&quot;B&quot;&gt;");
    }
}
