//! The table on the terminal, which fits 80 columns.

use super::results::{Comparison, LAGS, Method, MethodResults, Results};
use comfy_table::{CellAlignment, Table, presets};

/// Names of the columns, each a name and a unit on two lines.
pub const HEADER: [&str; 7] = [
    "method",
    "cost
a day",
    "±
seeds",
    "to RMSE,
valid. %",
    "t",
    "to like-
lihood %",
    "t",
];

/// The cells of a row.
pub fn row(results: &Results, m: &MethodResults) -> Vec<String> {
    let spread = if m.seeds.len() > 1 { format!("{:.2}", m.seed_deviation) } else { "-".into() };
    let mut cells = vec![m.method.name().to_owned(), format!("{:.2}", m.cost), spread];
    for against in [Method::Rmse, Method::Likelihood] {
        let (percent, t) = match results.comparison(m.method, against) {
            Some(Comparison { percent, t, .. }) => (format!("{percent:+.1}"), format!("{t:+.1}")),
            None => ("-".into(), "-".into()),
        };
        cells.extend([percent, t]);
    }
    cells
}

/// The whole text: data, table, the comparison in words, caveats.
pub fn text(results: &Results) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(HEADER);
    for method in &results.methods {
        table.add_row(row(results, method));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let data = &results.data;
    let mut lines = vec![
        format!(
            "{}: test {} to {}, {} days; ramp {}",
            data.source, data.span[0], data.span[1], data.test, results.ramp
        ),
        format!(
            "train and validate {} to {}, {} and {} days; {} seed{}",
            data.before[0],
            data.before[1],
            data.train,
            data.validation,
            results.methods[0].seeds.len(),
            if results.methods[0].seeds.len() == 1 { "" } else { "s" }
        ),
        table.to_string(),
    ];
    lines.extend(words(results).iter().flat_map(|sentence| wrap(sentence, "", "")));
    lines.push("What these numbers do not prove:".into());
    lines.extend(results.caveats.iter().flat_map(|caveat| wrap(caveat, "  - ", "    ")));
    lines.join("\n")
}

/// The main comparisons in words.
pub fn words(results: &Results) -> Vec<String> {
    let mut out = vec![format!(
        "t: mean difference of the days' costs over its Newey-West standard error ({LAGS} lags). {:.1} % of the test days' \
         hourly changes of load exceed the ramp limit.",
        100.0 * results.steeper
    )];
    let against = [
        (Method::Rmse, "RMSE with validated spread"),
        (Method::Likelihood, "the likelihood network"),
        (Method::LikelihoodLonger, "the likelihood network trained as long"),
    ];
    let parts: Vec<String> = against
        .into_iter()
        .filter_map(|(method, name)| Some((results.comparison(Method::EndToEnd, method)?, name)))
        .map(|(c, name)| format!("{:+.2} ± {:.2} to {name}", c.mean, c.standard_error))
        .collect();
    out.push(format!("End-to-end with mean and spread, cost a day: {}.", parts.join(", ")));
    out
}

/// The text in lines of at most 80 characters.
fn wrap(text: &str, first: &str, rest: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = first.to_owned();
    let mut fresh = true;
    for word in text.split_whitespace() {
        if !fresh && line.chars().count() + 1 + word.chars().count() > 80 {
            lines.push(std::mem::replace(&mut line, rest.to_owned()));
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line += word;
        fresh = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_fit_the_terminal() {
        let lines = wrap(&"words of text ".repeat(30), "  - ", "    ");
        assert!(lines.len() > 3 && lines.iter().all(|line| line.chars().count() <= 80));
        assert!(lines[0].starts_with("  - words") && lines[1].starts_with("    "));
    }
}
