//! Prices from comma-separated text, wide or long.

use super::{DataError, Extra, Panel, Prices, calendar::day_number};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

/// More days than this without any price are a hole. Exchanges were never closed so long in living memory.
const LONGEST_CLOSURE: i64 = 15;

/// One record with what is needed to say where an error is.
struct Row<'a> {
    file: &'a Path,
    header: &'a [String],
    record: csv::StringRecord,
    line: u64,
}

impl Row<'_> {
    fn field(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or("").trim()
    }

    fn date(&self, column: usize) -> Result<(String, i64), DataError> {
        let value = self.field(column);
        match day_number(value) {
            Some(day) => Ok((value.to_owned(), day)),
            None => Err(DataError::Date {
                file: self.file.to_path_buf(),
                line: self.line,
                column: self.header[column].clone(),
                value: value.to_owned(),
            }),
        }
    }

    /// The number in a column, `None` if the field is empty.
    fn number(&self, column: usize, positive: bool) -> Result<Option<f64>, DataError> {
        let text = self.field(column);
        if text.is_empty() || ["nan", "na", "n/a", "null"].contains(&text.to_ascii_lowercase().as_str()) {
            return Ok(None);
        }
        let (file, line, column) = (self.file.to_path_buf(), self.line, self.header[column].clone());
        let value: f64 = match text.parse() {
            Ok(value) if f64::is_finite(value) => value,
            _ => return Err(DataError::NotANumber { file, line, column, value: text.to_owned() }),
        };
        let (good, needed) = if positive { (value > 0.0, "a positive price") } else { (value >= 0.0, "a volume") };
        if good { Ok(Some(value)) } else { Err(DataError::NotPositive { file, line, column, value, needed }) }
    }
}

/// Keeps dates in order, one row each.
struct Order {
    what: String,
    last: Option<(String, i64, u64)>,
}

impl Order {
    fn new(what: &str) -> Self {
        Order { what: what.to_owned(), last: None }
    }

    fn next(&mut self, file: &Path, line: u64, date: &str, day: i64) -> Result<(), DataError> {
        let (file, date, what) = (file.to_path_buf(), date.to_owned(), self.what.clone());
        if let Some((previous, last, first)) = &self.last {
            if day == *last {
                return Err(DataError::Duplicate { file, line, date, what, first: *first });
            }
            if day < *last {
                return Err(DataError::Unsorted { file, line, date, what, previous: previous.clone() });
            }
        }
        self.last = Some((date, day, line));
        Ok(())
    }
}

pub(super) fn read(file: &Path, text: impl Read) -> Result<Prices, DataError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
    let malformed = |line: u64, e: &csv::Error| DataError::Row {
        file: file.to_path_buf(),
        line,
        reason: format!("not readable as comma-separated text: {e}"),
    };
    let header: Vec<String> = match reader.headers() {
        // Spreadsheets like to write a byte order mark.
        Ok(header) => header.iter().map(|h| h.trim_start_matches('\u{feff}').trim().to_owned()).collect(),
        Err(e) => return Err(malformed(1, &e)),
    };
    let lower: Vec<String> = header.iter().map(|h| h.to_ascii_lowercase()).collect();
    let bad_header = |reason: String| DataError::Header { file: file.to_path_buf(), reason };
    if header.len() < 2 {
        return Err(bad_header(format!("{} column(s)", header.len())));
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| malformed(e.position().map_or(0, csv::Position::line), &e))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(|f| f.trim().is_empty()) {
            continue;
        }
        if record.len() != header.len() {
            let reason = format!("{} fields, but the first line names {}", record.len(), header.len());
            return Err(DataError::Row { file: file.to_path_buf(), line, reason });
        }
        rows.push(Row { file, header: &header, record, line });
    }
    if rows.is_empty() {
        return Err(DataError::Row { file: file.to_path_buf(), line: 2, reason: "there are no rows".into() });
    }
    let find = |name: &str| lower.iter().position(|h| h == name);
    match (find("date"), find("ticker").or(find("symbol")), find("close")) {
        (Some(date), Some(ticker), Some(close)) => {
            let extra = [find("open"), find("high"), find("low"), find("volume")];
            long(file, &rows, date, ticker, close, extra)
        }
        _ if lower[0] == "date" || lower[0].is_empty() => wide(file, &header, &rows),
        _ => Err(bad_header(format!("the first column is {:?}, not `date`", header[0]))),
    }
}

fn finish(
    file: &Path,
    tickers: Vec<String>,
    dates: Vec<(String, i64, u64)>,
    close: Panel,
    extra: Option<Extra>,
) -> Result<Prices, DataError> {
    for pair in dates.windows(2) {
        let days = pair[1].1 - pair[0].1;
        if days > LONGEST_CLOSURE {
            let (from, to, line) = (pair[0].0.clone(), pair[1].0.clone(), pair[1].2);
            return Err(DataError::Hole { file: file.to_path_buf(), line, from, to, days });
        }
    }
    let source = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let dates: Vec<String> = dates.into_iter().map(|(date, ..)| date).collect();
    let dates_count = dates.len();
    let listed = vec![0..dates_count; tickers.len()];
    Ok(Prices { source, tickers, dates, close, extra, listed, remarks: Vec::new() })
}

/// `date,TICKER1,TICKER2,...`
fn wide(file: &Path, header: &[String], rows: &[Row<'_>]) -> Result<Prices, DataError> {
    let tickers = header[1..].to_vec();
    let mut seen = HashMap::new();
    for (k, ticker) in tickers.iter().enumerate() {
        if ticker.is_empty() || seen.insert(ticker, k).is_some() {
            let reason = format!("column {} is named {ticker:?}: every stock needs a name of its own", k + 2);
            return Err(DataError::Header { file: file.to_path_buf(), reason });
        }
    }
    let mut order = Order::new("the file");
    let mut dates = Vec::with_capacity(rows.len());
    let mut values = Vec::with_capacity(rows.len() * tickers.len());
    for row in rows {
        let (date, day) = row.date(0)?;
        order.next(file, row.line, &date, day)?;
        for column in 1..header.len() {
            match row.number(column, true)? {
                Some(value) => values.push(value),
                None => {
                    let missing = |r: &&Row<'_>| matches!(r.number(column, true), Ok(None));
                    return Err(DataError::Gap {
                        file: file.to_path_buf(),
                        line: row.line,
                        ticker: tickers[column - 1].clone(),
                        date,
                        count: rows.iter().filter(missing).count(),
                        days: rows.len(),
                    });
                }
            }
        }
        dates.push((date, day, row.line));
    }
    let close = Panel::new(tickers.len(), values);
    finish(file, tickers, dates, close, None)
}

/// `date,ticker,open,high,low,close,volume`, the rows of one stock in order of date.
fn long(
    file: &Path,
    rows: &[Row<'_>],
    date: usize,
    ticker: usize,
    close: usize,
    extra: [Option<usize>; 4],
) -> Result<Prices, DataError> {
    let mut tickers: Vec<String> = Vec::new();
    let mut number_of: HashMap<&str, usize> = HashMap::new();
    let mut orders: Vec<Order> = Vec::new();
    let mut days: BTreeMap<i64, (String, u64)> = BTreeMap::new();
    let mut cells: HashMap<(i64, usize), &Row<'_>> = HashMap::new();
    for row in rows {
        let (text, day) = row.date(date)?;
        let name = row.field(ticker);
        if name.is_empty() {
            let reason = "the ticker is empty".into();
            return Err(DataError::Row { file: file.to_path_buf(), line: row.line, reason });
        }
        let stock = *number_of.entry(name).or_insert_with(|| {
            tickers.push(name.to_owned());
            orders.push(Order::new(name));
            tickers.len() - 1
        });
        orders[stock].next(file, row.line, &text, day)?;
        days.entry(day).or_insert((text, row.line));
        cells.insert((day, stock), row);
    }
    // Volumes and ranges are used only if every row has them.
    let columns: Option<Vec<usize>> = extra.into_iter().collect();
    let mut panels = vec![Vec::with_capacity(days.len() * tickers.len()); 1 + columns.as_ref().map_or(0, Vec::len)];
    for (&day, (text, line)) in &days {
        for (stock, name) in tickers.iter().enumerate() {
            let cell = cells.get(&(day, stock));
            let value = match cell {
                Some(row) => row.number(close, true)?,
                None => None,
            };
            let Some(value) = value else {
                let has = |d: &i64| {
                    let row = cells.get(&(*d, stock));
                    row.is_some_and(|r| matches!(r.number(close, true), Ok(Some(_)) | Err(_)))
                };
                return Err(DataError::Gap {
                    file: file.to_path_buf(),
                    line: cell.map_or(*line, |row| row.line),
                    ticker: name.clone(),
                    date: text.clone(),
                    count: days.keys().filter(|d| !has(d)).count(),
                    days: days.len(),
                });
            };
            panels[0].push(value);
            if let (Some(columns), Some(row)) = (&columns, cell) {
                for (k, &column) in columns.iter().enumerate() {
                    let is_volume = k == 3;
                    // A missing volume is unknown (0); a missing price stands for no movement.
                    let missing = if is_volume { 0.0 } else { value };
                    panels[k + 1].push(row.number(column, !is_volume)?.unwrap_or(missing));
                }
            }
        }
    }
    let mut panels = panels.into_iter().map(|values| Panel::new(tickers.len(), values));
    let dates = days.into_iter().map(|(day, (text, line))| (text, day, line)).collect();
    match (panels.next(), panels.next(), panels.next(), panels.next(), panels.next()) {
        (Some(close), Some(open), Some(high), Some(low), Some(volume)) => {
            finish(file, tickers, dates, close, Some(Extra { open, high, low, volume }))
        }
        (Some(close), ..) => finish(file, tickers, dates, close, None),
        (None, ..) => Err(DataError::Row { file: file.to_path_buf(), line: 2, reason: "there are no rows".into() }),
    }
}
