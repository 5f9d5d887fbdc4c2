//! `bpqp portfolio weights`: from a saved network and prices to the weights to hold.

use super::dataset::Dataset;
use super::model_file::{Model, Weights};
use super::options::WeightsOptions;
use std::fmt::Write;
use std::path::Path;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Rows of the table on a terminal.
const SHOWN: usize = 30;

/// Runs the command; the text for standard output.
pub fn run(options: &WeightsOptions) -> Result<String, Failure> {
    let model = Model::read(&options.model)?;
    let prices = super::run::load(&options.source, false)?;
    let others = prices.tickers.len() - model.tickers.len().min(prices.tickers.len());
    let data = Dataset::new(model.select(&prices)?)?;
    data.prices.remarks.iter().for_each(|r| crate::say(&format!("note: {r}")));
    if others > 0 {
        crate::say(&format!("note: {others} stocks of the prices are not in the model and are left out"));
    }
    let holdings = options.holdings.as_deref().map(|file| holdings(file, &model.tickers)).transpose()?;
    let days = model.weights(&data, options.last, holdings.as_deref())?;
    if options.json {
        return Ok(serde_json::to_string_pretty(&days)?);
    }
    if options.csv {
        let mut text = String::from("date,ticker,weight");
        for day in &days {
            for (ticker, weight) in &day.weights {
                let _ = write!(text, "\n{},{ticker},{weight:.6}", day.date);
            }
        }
        return Ok(text);
    }
    Ok(days.iter().map(table).collect::<Vec<_>>().join("\n\n"))
}

fn table(day: &Weights) -> String {
    let mut text = format!(
        "Weights from what is known at the close of {}, to be traded at the next close.\n\
         {} stocks; expected volatility {:.2} % a year.\n",
        day.date,
        day.weights.len(),
        1e2 * day.expected_volatility
    );
    for (ticker, weight) in day.weights.iter().take(SHOWN) {
        let _ = write!(text, "\n{ticker:<10} {:6.2} %", 1e2 * weight);
    }
    if day.weights.len() > SHOWN {
        let rest: f64 = day.weights[SHOWN..].iter().map(|(_, w)| w).sum();
        let _ =
            write!(text, "\n{} more  {:6.2} %   (all of them: --csv or --json)", day.weights.len() - SHOWN, 1e2 * rest);
    }
    text
}

/// What is held, in the order of the model's stocks, as shares of the whole.
fn holdings(file: &Path, tickers: &[String]) -> Result<Vec<f64>, Failure> {
    let bad = |reason: String| -> Failure { format!("{}: {reason}", file.display()).into() };
    let mut held = vec![0.0; tickers.len()];
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_path(file)?;
    for (line, record) in reader.records().enumerate() {
        let record = record?;
        let (Some(ticker), Some(weight)) = (record.get(0), record.get(1)) else {
            return Err(bad(format!("line {}: expected `ticker,weight`", line + 1)));
        };
        let Ok(weight) = weight.parse::<f64>() else {
            if line == 0 {
                continue;
            }
            return Err(bad(format!("line {}: {weight:?} is not a number", line + 1)));
        };
        match tickers.iter().position(|t| t == ticker) {
            Some(stock) if weight.is_finite() => held[stock] = weight,
            _ => return Err(bad(format!("line {}: {ticker:?} is not a stock of the model", line + 1))),
        }
    }
    let total: f64 = held.iter().sum();
    if total > 0.0 { Ok(held.into_iter().map(|w| w / total).collect()) } else { Err(bad("nothing is held".into())) }
}
