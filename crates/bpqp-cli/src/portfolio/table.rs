//! The table on the terminal.

use super::metrics::Metrics;
use super::results::{MethodResults, Results, Summary};
use comfy_table::{CellAlignment, Table, presets};

/// A column: its name, its unit, and how a value is written.
struct Column {
    name: &'static str,
    value: fn(&Summary) -> Option<f64>,
    write: fn(f64) -> String,
}

const COLUMNS: [Column; 11] = [
    Column { name: "MSE\n1e-4", value: |s| Some(s.mse), write: |v| format!("{:.3}", 1e4 * v) },
    Column { name: "IC\n%", value: |s| Some(s.ic), write: |v| format!("{:.2}", 1e2 * v) },
    Column { name: "ICIR\n%", value: |s| Some(s.icir), write: |v| format!("{:.2}", 1e2 * v) },
    Column { name: "return\n% a year", value: |s| Some(s.annual_return), write: |v| format!("{:.2}", 1e2 * v) },
    Column { name: "Sharpe\na year", value: |s| Some(s.sharpe), write: |v| format!("{v:.3}") },
    Column { name: "regret\nbp a day", value: |s| Some(s.regret), write: |v| format!("{:.2}", 1e4 * v) },
    Column { name: "drawdown\n%", value: |s| Some(s.max_drawdown), write: |v| format!("{:.1}", 1e2 * v) },
    Column { name: "turnover\n% a day", value: |s| Some(s.turnover), write: |v| format!("{:.1}", 1e2 * v) },
    Column { name: "epoch\ns", value: |s| Some(s.seconds_per_epoch), write: |v| format!("{v:.2}") },
    Column { name: "forward\nms per QP", value: |s| Some(s.forward_ms), write: |v| format!("{v:.3}") },
    Column { name: "backward\nms per QP", value: |s| s.backward_ms, write: |v| format!("{v:.3}") },
];

/// Column names, each a name and a unit on two lines.
pub fn header() -> Vec<&'static str> {
    COLUMNS.iter().map(|c| c.name).collect()
}

/// The rows: a name and one text per column, `-` where there is no value.
pub fn rows(results: &Results) -> Vec<(String, Vec<String>)> {
    let method =
        |m: &MethodResults| (m.method.name().to_owned(), cells(&m.mean, (m.seeds.len() > 1).then_some(&m.spread)));
    let mut rows: Vec<_> = results.methods.iter().map(method).collect();
    rows.extend(results.benchmarks.iter().map(|b| (b.name.to_owned(), cells(&without_predictor(&b.test), None))));
    rows
}

fn without_predictor(m: &Metrics) -> Summary {
    let none = f64::NAN;
    Summary {
        mse: none,
        ic: none,
        icir: none,
        annual_return: m.annual_return,
        sharpe: m.sharpe,
        regret: m.regret,
        max_drawdown: m.max_drawdown,
        turnover: m.turnover,
        seconds_per_epoch: none,
        forward_ms: none,
        backward_ms: None,
    }
}

fn cells(mean: &Summary, spread: Option<&Summary>) -> Vec<String> {
    let cell = |column: &Column| match (column.value)(mean).filter(|v| !v.is_nan()) {
        None => "-".to_owned(),
        Some(value) => match spread.and_then(|s| (column.value)(s)) {
            Some(spread) => format!("{} ± {}", (column.write)(value), (column.write)(spread)),
            None => (column.write)(value),
        },
    };
    COLUMNS.iter().map(cell).collect()
}

/// The whole text: data, table, comparison, caveats.
pub fn text(results: &Results) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(std::iter::once("test days").chain(header()));
    for (name, cells) in rows(results) {
        // Mean above spread keeps the table within a usual terminal.
        let cells = cells.into_iter().map(|c| c.replace(" ± ", "\n± "));
        table.add_row(std::iter::once(name).chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let data = &results.data;
    let mut lines = vec![
        format!("{}: {} stocks, {} days, {} to {}", data.source, data.tickers.len(), data.days, data.from, data.until),
        format!(
            "train {} to {} ({} days), validation to {} ({}), test {} to {} ({})",
            data.train.from,
            data.train.until,
            data.train.days,
            data.validation.until,
            data.validation.days,
            data.test.from,
            data.test.until,
            data.test.days
        ),
        table.to_string(),
    ];
    lines.extend(comparison(results));
    lines.push("What these data cannot prove:".into());
    lines.extend(results.caveats.iter().map(|c| format!("  - {c}")));
    lines.join("\n")
}

/// The comparison in words, if there is one.
pub fn comparison(results: &Results) -> Option<String> {
    let c = results.comparison.as_ref()?;
    let word =
        |t: f64| if t.abs() < 2.0 { "within two standard errors of 0" } else { "beyond two standard errors of 0" };
    Some(format!(
        "bpqp minus two-stage, per test day: regret {:+.2} ± {:.2} bp (t = {:+.1}, {}), return {:+.2} ± {:.2} bp (t = {:+.1}, {}).",
        1e4 * c.regret.mean,
        1e4 * c.regret.standard_error,
        c.regret.t,
        word(c.regret.t),
        1e4 * c.daily_return.mean,
        1e4 * c.daily_return.standard_error,
        c.daily_return.t,
        word(c.daily_return.t)
    ))
}
