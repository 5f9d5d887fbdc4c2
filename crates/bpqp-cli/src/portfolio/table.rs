//! The tables on the terminal, within 80 columns.

use super::engine::Method;
use super::metrics::Metrics;
use super::options::Learn;
use super::results::{Comparison, CostRow, Results, Row};
use super::stats::Difference;
use comfy_table::{CellAlignment, Table, presets};

/// A column: its name, its unit, and how it is written.
pub struct Column {
    /// Name and unit, a line each.
    pub name: &'static str,
    /// From the numbers to the text.
    pub write: fn(&Metrics) -> String,
}

/// Of the first table.
pub const COLUMNS: [Column; 7] = [
    Column { name: "volatility\n% a year", write: |m| format!("{:.2}", 1e2 * m.volatility) },
    Column { name: "return\n% a year", write: |m| format!("{:.1}", 1e2 * m.annual_return) },
    Column { name: "Sharpe\nratio", write: |m| format!("{:.2}", m.sharpe) },
    Column { name: "draw-\ndown %", write: |m| format!("{:.1}", 1e2 * m.max_drawdown) },
    Column { name: "turnover\n% a day", write: |m| format!("{:.1}", 1e2 * m.turnover) },
    Column { name: "names\nheld", write: |m| format!("{:.0}", m.held) },
    Column { name: "net\nreturn", write: |m| format!("{:.1}", 1e2 * m.net_return) },
];

/// Of the table with costs.
pub const COST_COLUMNS: [Column; 5] = [
    Column { name: "volatility\n% a year", write: |m| format!("{:.2}", 1e2 * m.volatility) },
    Column { name: "turnover\n% a day", write: |m| format!("{:.1}", 1e2 * m.turnover) },
    Column { name: "names\nheld", write: |m| format!("{:.0}", m.held) },
    Column { name: "net\nreturn", write: |m| format!("{:.1}", 1e2 * m.net_return) },
    Column { name: "net\nSharpe", write: |m| format!("{:.2}", m.net_sharpe) },
];

fn table<'r>(first: &str, columns: &[Column], rows: impl Iterator<Item = (Method, &'r Metrics)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(std::iter::once(first).chain(columns.iter().map(|c| c.name)));
    for (method, metrics) in rows {
        table.add_row(std::iter::once(method.name().to_owned()).chain(columns.iter().map(|c| (c.write)(metrics))));
    }
    for (k, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 1));
        if k > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Words in lines of at most 80 columns.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |l| l.chars().count());
        if line + 1 + word.chars().count() > 80 {
            lines.push(indent.to_owned() + word);
        } else if let Some(last) = lines.last_mut() {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}

/// The whole text: data, tables, comparisons, caveats.
pub fn text(results: &Results) -> String {
    let data = &results.data;
    let mut lines = vec![wrapped(
        &format!("{}: {} stocks, {} days, {} to {}", data.source, data.tickers.len(), data.days, data.from, data.until),
        "",
    )];
    let which = if results.validation_only { "validation" } else { "test" };
    for (k, p) in results.periods.iter().enumerate() {
        let part = if results.validation_only { &p.validation } else { &p.test };
        let text = format!(
            "{which} period {}: {} to {} ({} days), trained on {} to {}",
            k + 1,
            part.from,
            part.until,
            part.days,
            p.train.from,
            p.train.until
        );
        lines.push(wrapped(&text, "  "));
    }
    lines.extend(data.remarks.iter().map(|r| wrapped(&format!("note: {r}"), "  ")));
    let seeds = results.rows.iter().map(|r| r.seeds.len()).max().unwrap_or(0);
    let head = format!("{} {which} days,\n{seeds} seed{}", results.dates.len(), if seeds == 1 { "" } else { "s" });
    lines.push(String::new());
    lines.push(table(&head, &COLUMNS, results.rows.iter().map(|r: &Row| (r.method, &r.mean))));
    if results.cost > 0.0 {
        lines.push(String::new());
        lines.push(wrapped(
            "With yesterday's weights in the program: kappa/2 |w - w_drifted|^2 or c |w - w_drifted|_1, which of them and how much \
             chosen on the validation days.",
            "",
        ));
        lines.push(table("", &COST_COLUMNS, results.with_costs.iter().map(|r: &CostRow| (r.method, &r.mean))));
    }
    lines.push(String::new());
    for c in results.comparisons.iter().filter(|c| c.against >= Method::Static) {
        lines.push(wrapped(&comparison(results, c), "  "));
    }
    if let Some(day) = results.latest.as_ref().and_then(|l| l.last()) {
        let top: Vec<String> = day.weights.iter().take(5).map(|(t, w)| format!("{t} {:.1} %", 1e2 * w)).collect();
        lines.push(wrapped(
            &format!(
                "Saved. Weights after {}: {} names, expected volatility {:.1} %; {}, ...",
                day.date,
                day.weights.len(),
                1e2 * day.expected_volatility,
                top.join(", ")
            ),
            "  ",
        ));
    }
    lines.push(String::new());
    lines.push("What these numbers cannot prove:".into());
    lines.extend(results.caveats.iter().map(|c| wrapped(&format!("  - {c}"), "    ")));
    lines.join("\n")
}

/// A difference with its standard error and t.
pub fn difference(d: &Difference, scale: f64, digits: usize) -> String {
    format!("{:+.digits$} ± {:.digits$} (t = {:+.1})", scale * d.value, scale * d.standard_error, d.t)
}

/// One comparison in words.
pub fn comparison(results: &Results, c: &Comparison) -> String {
    let lower = c.volatility.iter().filter(|(a, b)| a < b).count();
    let risk = format!(
        "log variance {}, lower in {lower} of {} periods; Sharpe {}; return {} bp a day",
        difference(&c.log_variance, 1.0, 3),
        c.volatility.len(),
        difference(&c.sharpe, 1.0, 2),
        difference(&c.daily_return, 1e4, 2)
    );
    let text = match results.learn {
        Learn::Risk => risk,
        Learn::Returns => format!(
            "return {} bp a day; Sharpe {}; log variance {}",
            difference(&c.daily_return, 1e4, 2),
            difference(&c.sharpe, 1.0, 2),
            difference(&c.log_variance, 1.0, 3)
        ),
    };
    format!("Through the program less {}: {text}.", c.against.name())
}
