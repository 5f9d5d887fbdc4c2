//! The report as one web page: no script, no font, no picture from elsewhere.

mod charts;
mod svg;

use super::results::Results;
use super::table;
use svg::escape;

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn page(results: &Results) -> String {
    let data = &results.data;
    let (from, until) = (whole(&data.test.from), whole(&data.test.until));
    let title = format!("Portfolios of {} stocks, {from} to {until}", data.tickers.len());
    let sections =
        [head(results, &title), numbers(results), caveats(results), charts::section(results), method(results)];
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{}</title><style>\n{STYLE}</style></head><body><main>\n{}\n</main></body></html>\n",
        escape(&title),
        sections.join("\n")
    )
}

/// A date that is not broken at the end of a line.
fn whole(date: &str) -> String {
    date.replace('-', "\u{2011}")
}

fn head(results: &Results, title: &str) -> String {
    let data = &results.data;
    let stopped = if results.interrupted {
        "<p class=\"note\">Stopped before the end: these are the results of the best epochs so far.</p>"
    } else {
        ""
    };
    format!(
        "<h1>{}</h1><p>Does a predictor make better decisions when it is trained through the optimization problem that \
         uses it? Two methods share the predictor, its initial weights and the split; <b>two-stage</b> minimizes the \
         prediction error, <b>bpqp</b> a loss on the decisions.</p>\
         <p class=\"soft\">{}: {} stocks, {} days. Trained on {} days from {} to {}, epoch chosen on {} days to {}, \
         everything below measured on {} later days from {} to {}.</p>{stopped}",
        escape(title),
        escape(&data.source),
        data.tickers.len(),
        data.days,
        data.train.days,
        whole(&data.train.from),
        whole(&data.train.until),
        data.validation.days,
        whole(&data.validation.until),
        data.test.days,
        whole(&data.test.from),
        whole(&data.test.until)
    )
}

/// Measures as rows and methods as columns: that fits a phone.
fn numbers(results: &Results) -> String {
    let rows = table::rows(results);
    let mut html = String::from("<h2>Test days</h2><table><thead><tr><th></th>");
    for (name, _) in &rows {
        html += &format!("<th>{}</th>", escape(name));
    }
    html += "</tr></thead><tbody>";
    for (k, name) in table::header().into_iter().enumerate() {
        let (name, unit) = name.split_once('\n').unwrap_or((name, ""));
        html += &format!("<tr><th>{}<small>{}</small></th>", escape(name), escape(unit));
        for (_, cells) in &rows {
            let cell = match cells[k].split_once(" ± ") {
                Some((mean, spread)) => format!("{}<small>± {}</small>", escape(mean), escape(spread)),
                None => escape(&cells[k]),
            };
            html += &format!("<td>{cell}</td>");
        }
        html += "</tr>";
    }
    html += "</tbody></table>";
    let seeds = results.methods.iter().map(|m| m.seeds.len()).max().unwrap_or(0);
    if seeds > 1 {
        html += &format!("<p class=\"soft\">Mean ± standard deviation over {seeds} random starts.</p>");
    }
    if let Some(text) = table::comparison(results) {
        html += &format!("<p>{}</p>", escape(&text));
    }
    html
}

fn caveats(results: &Results) -> String {
    let items: String = results.caveats.iter().map(|c| format!("<li>{}</li>", escape(c))).collect();
    format!("<h2>What these data cannot prove</h2><ul>{items}</ul>")
}

fn method(results: &Results) -> String {
    let (rule, training) = (&results.rule, &results.training);
    let loss = match training.loss {
        super::train::DecisionLoss::Mixed { beta } => format!("{beta} · mean(R²) + MSE"),
        super::train::DecisionLoss::Regret => "mean(R)".to_owned(),
    };
    format!(
        "<h2>How it was computed</h2><p>The decision of a day minimizes <code>λ/2 w'Σw − μ'w</code> over \
         <code>1'w = 1, 0 ≤ w ≤ {}</code> with λ = {}; μ is what the predictor expects, and Σ the {} covariance of the \
         last {} days ({} principal components plus a diagonal). A decision sees closing prices up to its day, is traded \
         at the next close and earns the return of the day after. Its regret R is its cost under the true returns less \
         the least possible cost. bpqp minimizes {} with the gradient through the problem. {} epochs, {} days a step, \
         {} features per stock. Two-stage keeps the epoch with the least prediction error on the validation days, bpqp \
         the one with the least regret there.</p><p class=\"soft\">Made by bpqp {} in {:.0} s.</p>",
        rule.cap,
        rule.risk_aversion,
        rule.covariance,
        super::covariance::WINDOW,
        super::covariance::COMPONENTS,
        loss,
        training.epochs,
        training.batch,
        results.data.features.len(),
        env!("CARGO_PKG_VERSION"),
        results.seconds
    )
}
