//! The report as one web page that needs nothing from elsewhere.

mod charts;
pub(crate) mod svg;

use super::engine::Method;
use super::options::Learn;
use super::results::Results;
use super::table;
use std::fmt::Write;
use svg::escape;

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn page(results: &Results) -> String {
    let data = &results.data;
    let title = format!("Portfolios of {} stocks, {} to {}", data.tickers.len(), whole(&data.from), whole(&data.until));
    let sections = [
        head(results, &title),
        numbers(results),
        caveats(results),
        charts::section(results),
        downloads(results),
        method(results),
    ];
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
    let mut html = format!("<h1>{}</h1>", escape(title));
    html += match results.learn {
        Learn::Risk => {
            "<p>A network moves the risk model of the stocks; the decision is the capped long-only portfolio of least variance. \
             Is the portfolio calmer when the network is trained <b>through the program</b>, for the variance of the portfolio \
             that is then held, than when it is trained for a good forecast of each stock's variance (<b>two-stage</b>)?</p>"
        }
        Learn::Returns => {
            "<p>A network forecasts returns; the decision is the mean-variance portfolio. Does it earn more when the network is \
             trained <b>through the program</b> than when it is trained for a good forecast (<b>two-stage</b>)?</p>"
        }
    };
    let _ =
        write!(html, "<p class=\"soft\">{}: {} stocks, {} days.", escape(&data.source), data.tickers.len(), data.days);
    for (k, p) in results.periods.iter().enumerate() {
        let part = if results.validation_only { &p.validation } else { &p.test };
        let _ = write!(
            html,
            " Period {}: trained on {} days to {}, chosen on {} days, measured on {} days from {} to {}.",
            k + 1,
            p.train.days,
            whole(&p.train.until),
            p.validation.days,
            part.days,
            whole(&part.from),
            whole(&part.until)
        );
    }
    html += "</p>";
    if results.interrupted {
        html += "<p class=\"note\">Stopped before the end: these are the results of the best networks so far.</p>";
    }
    for remark in &data.remarks {
        let _ = write!(html, "<p class=\"note\">{}</p>", escape(remark));
    }
    html
}

/// Measures as rows and methods as columns: that fits a phone.
fn numbers(results: &Results) -> String {
    let methods = |names: &[Method]| names.iter().map(|m| format!("<th>{}</th>", escape(m.name()))).collect::<String>();
    let names: Vec<Method> = results.rows.iter().map(|r| r.method).collect();
    let which = if results.validation_only { "Validation days" } else { "Test days" };
    let mut html = format!("<h2>{which}</h2><table><thead><tr><th></th>{}</tr></thead><tbody>", methods(&names));
    let measure = |name: &str| {
        let name = name
            .replace("draw-\ndown", "drawdown\n")
            .replace("names\nheld", "names held")
            .replace("net\nr", "net r")
            .replace("net\nS", "net S");
        let (name, unit) = name.split_once('\n').unwrap_or((name.as_str(), ""));
        format!("<tr><th>{}<small>{}</small></th>", escape(name), escape(unit))
    };
    for column in table::COLUMNS {
        html += &measure(column.name);
        results.rows.iter().for_each(|r| html += &format!("<td>{}</td>", (column.write)(&r.mean)));
        html += "</tr>";
    }
    html += "</tbody></table>";
    for c in results.comparisons.iter().filter(|c| c.against >= Method::Static) {
        let _ = write!(html, "<p>{}</p>", escape(&table::comparison(results, c)));
    }
    if results.cost > 0.0 {
        let _ = write!(
            html,
            "<h2>With trading in the program</h2><table><thead><tr><th></th>{}</tr></thead><tbody>",
            methods(&names)
        );
        for column in table::COST_COLUMNS {
            html += &measure(column.name);
            results.with_costs.iter().for_each(|r| html += &format!("<td>{}</td>", (column.write)(&r.mean)));
            html += "</tr>";
        }
        html += "</tbody></table>";
    }
    html
}

fn caveats(results: &Results) -> String {
    let items: String = results.caveats.iter().map(|c| format!("<li>{}</li>", escape(c))).collect();
    format!("<h2>What these numbers cannot prove</h2><ul>{items}</ul>")
}

/// The daily numbers as files that the page carries with it.
fn downloads(results: &Results) -> String {
    let mut returns = String::from("date");
    results.rows.iter().for_each(|r| returns += &format!(",{}", r.method.name().replace(',', "")));
    for (t, date) in results.dates.iter().enumerate() {
        returns += &format!("\n{date}");
        for row in &results.rows {
            let value = row.seeds.first().map_or(0.0, |s| s.series.returns[t]);
            returns += &format!(",{value:.6}");
        }
    }
    let mut weights = String::from("date,ticker,weight");
    if let Some(row) = results.row(Method::Through) {
        for day in row.weights.iter().step_by(5) {
            for (i, w) in day.weights.iter().filter(|(_, w)| *w > 1e-4) {
                weights += &format!("\n{},{},{w:.4}", day.date, results.data.tickers[*i]);
            }
        }
    }
    let link = |name: &str, text: &str, words: &str| {
        let mut encoded = String::with_capacity(text.len() * 5 / 4);
        for c in text.chars() {
            match c {
                '\n' => encoded.push_str("%0A"),
                ' ' => encoded.push_str("%20"),
                '%' => encoded.push_str("%25"),
                '#' => encoded.push_str("%23"),
                c => encoded.push(c),
            }
        }
        format!("<li><a download=\"{name}\" href=\"data:text/csv,{}\">{words}</a></li>", escape(&encoded))
    };
    format!(
        "<h2>Data</h2><ul>{}{}</ul>",
        link("returns.csv", &returns, "Daily returns of every method, first seed (CSV)"),
        link("weights.csv", &weights, "Weights through the program on every fifth day, first seed (CSV)")
    )
}

fn method(results: &Results) -> String {
    let (rule, t) = (&results.rule, &results.training);
    let program = match results.learn {
        Learn::Risk => {
            "<code>min w'Sw, S = M (diag(d) + F F') M, M = diag(exp(a/2))</code>, where d and F are the risk model of the last \
             240 days (10 components) and a is what the network says of each stock. Two-stage training minimizes the Gaussian \
             likelihood loss of each stock's squared returns of the next week; through the program it is the logarithm of the \
             realized variance of the portfolio over that week, with the gradient through d and F"
        }
        Learn::Returns => {
            "<code>min λ/2 w'Σw − μ'w</code>, where μ is what the network says of each stock. Two-stage training maximizes the \
             correlation with the returns; through the program it is the utility of the portfolio"
        }
    };
    format!(
        "<h2>How it was computed</h2><p>The decision of a day solves {program}, over <code>1'w = 1, 0 ≤ w ≤ {:.3}</code>{}. A \
         decision sees prices up to its day, is traded at the next close and earns the return of the day after. {} epochs, then \
         {} more as before (longer) or through the program; epochs, and how much to trade, were chosen on validation days. {} \
         features per stock, {} hidden units, {} days a step; a pass through the program took {:.1} s, {:.0} % of it in the \
         optimization.</p><p class=\"soft\">Made by bpqp {} in {:.0} s.</p>",
        rule.cap,
        if rule.groups.is_empty() { String::new() } else { format!(", {} groups with caps", rule.groups.len()) },
        t.epochs,
        t.tune,
        results.data.features.len(),
        t.hidden,
        t.batch,
        results.pass_seconds,
        1e2 * results.solver_share,
        env!("CARGO_PKG_VERSION"),
        results.seconds
    )
}
