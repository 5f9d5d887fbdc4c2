//! The report as one web page: no script, no font, no picture from elsewhere.

mod charts;

use super::results::{Method, Results};
use super::table;
use charts::escape;

const STYLE: &str = include_str!("style.css");

/// The page.
pub fn page(results: &Results) -> String {
    let title = format!("Generator schedules, {} to {}", whole(&results.data.span[0]), whole(&results.data.span[1]));
    let sections =
        [head(results, &title), numbers(results), costs(results), days(results), caveats(results), method(results)];
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
    let headline = match results.comparison(Method::EndToEnd, Method::Rmse) {
        Some(c) => format!(
            "<p class=\"big\">Trained through the schedule: <b>{:+.1} %</b> cost against the RMSE network with validated \
             spread (t = {:+.1}){}</p>",
            c.percent,
            c.t,
            match results.comparison(Method::EndToEnd, Method::Likelihood) {
                Some(l) => format!(", {:+.1} % against the likelihood network (t = {:+.1}).", l.percent, l.t),
                None => ".".to_owned(),
            }
        ),
        None => String::new(),
    };
    format!(
        "<h1>{}</h1><p>Tomorrow's 24 hourly outputs are fixed the evening before. A unit of load that is not met costs 50, \
         a unit too much 0.5, and half the square of the difference comes on top; from hour to hour the output changes by \
         at most {}. Does a forecast serve better when it is trained through the schedule that uses it?</p>{headline}\
         <p class=\"soft\">{}: trained on {} days and chosen on {} days from {} to {}, everything below measured on {} \
         later days.</p>",
        escape(title),
        results.ramp,
        escape(&data.source),
        data.train,
        data.validation,
        whole(&data.before[0]),
        whole(&data.before[1]),
        data.test
    )
}

fn numbers(results: &Results) -> String {
    let mut html = String::from("<h2>Cost of a test day</h2><div class=\"wide\"><table><thead><tr>");
    let more = ["RMSE of\nthe mean", "missing\nper hour", "too much\nper hour"];
    for name in table::HEADER.into_iter().chain(more) {
        html += &format!("<th>{}</th>", escape(&name.replace('\n', " ").replace("like- lihood", "likelihood")));
    }
    html += "</tr></thead><tbody>";
    for m in &results.methods {
        let mut cells = table::row(results, m);
        let rmse = m.seeds.iter().all(|s| s.rmse.is_some()).then(|| m.average(|s| s.rmse.unwrap_or(f64::NAN)));
        cells.push(rmse.map_or("-".into(), |v| format!("{v:.4}")));
        cells.push(format!("{:.5}", m.average(|s| s.missing)));
        cells.push(format!("{:.4}", m.average(|s| s.surplus)));
        let class = if m.method == Method::EndToEnd { " class=\"ours\"" } else { "" };
        html += &format!("<tr{class}>");
        for (k, cell) in cells.iter().enumerate() {
            html += &if k == 0 { format!("<th>{}</th>", escape(cell)) } else { format!("<td>{}</td>", escape(cell)) };
        }
        html += "</tr>";
    }
    html += "</tbody></table></div>";
    for sentence in table::words(results) {
        html += &format!("<p class=\"soft\">{}</p>", escape(&sentence));
    }
    html
}

fn costs(results: &Results) -> String {
    let cost = charts::Row::costs(results);
    let difference = charts::Row::differences(results, Method::Rmse);
    format!(
        "<h2>Costs and their intervals</h2><div class=\"charts\">\
         <figure><h3>Cost a day</h3>{}<figcaption>Mean and 95 % interval over the test days; small marks: seeds. The methods \
         share the days, so that the paired picture decides, not the overlap of these intervals.</figcaption></figure>\
         <figure><h3>Cost a day less that of RMSE with validated spread</h3>{}<figcaption>Paired by day: mean and 95 % \
         interval.</figcaption></figure></div>",
        charts::intervals("Cost a day by method", &cost, None),
        charts::intervals("Cost a day less that of RMSE with validated spread", &difference, Some(0.0))
    )
}

fn days(results: &Results) -> String {
    let mut html = String::from(
        "<h2>Some days</h2><div class=\"key\"><span class=\"load\">load that came</span>\
         <span class=\"end\">end-to-end: schedule</span><span class=\"band\">its forecast, ± 2 spreads</span>\
         <span class=\"rmse\">RMSE, validated spread: schedule</span></div><div class=\"charts\">",
    );
    for day in &results.days {
        let [careful, ours] = &day.plans;
        html += &format!(
            "<figure><h3>{}</h3>{}<figcaption>{}. Cost with end-to-end {:.2}, with RMSE {:.2} (first seed).</figcaption>\
             </figure>",
            whole(&day.date),
            charts::day(day),
            capital(day.why),
            ours.cost,
            careful.cost
        );
    }
    html + "</div>"
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn caveats(results: &Results) -> String {
    let items: String = results.caveats.iter().map(|c| format!("<li>{}</li>", escape(c))).collect();
    format!("<h2>What these numbers do not prove</h2><ul>{items}</ul>")
}

fn method(results: &Results) -> String {
    let rows: String = Method::ALL
        .iter()
        .map(|m| format!("<li><b>{}</b>: {}.</li>", escape(m.name()), escape(m.explanation())))
        .collect();
    format!(
        "<h2>How it was computed</h2><p>The forecast of hour h is normal with mean μ and spread σ, and the schedule \
         minimizes the expected cost <code>Σ E[50 (y − z)₊ + 0.5 (z − y)₊ + (z − y)²/2]</code> over \
         <code>|z_h − z_(h−1)| ≤ {}</code>: convex, not quadratic. Sequential quadratic programs with the exact Hessian \
         solve it to a step of 1e-10; the gradient with respect to μ and σ is that of the last one. Networks: a linear model \
         plus a perceptron with two layers of {}; {} features; at most {} passes over the training days and {} of \
         training on; the validation days choose the pass.</p><ul>{rows}</ul><p class=\"soft\">Made by bpqp {} in {:.0} \
         s.</p>",
        results.ramp,
        super::model::HIDDEN,
        results.data.features,
        results.epochs,
        results.task_epochs,
        env!("CARGO_PKG_VERSION"),
        results.seconds
    )
}
