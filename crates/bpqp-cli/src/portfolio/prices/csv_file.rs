//! Prices from text: one column per stock, one row per stock and day, one stock alone, or several header rows as the Python
//! package yfinance writes them. Fields may be separated by commas, semicolons or tabs; rows may come newest first.

use super::calendar::{DateForm, iso};
use super::{DataError, Extra, Panel, Prices};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// More days than this without any price are a hole. Exchanges were never closed so long in living memory.
const LONGEST_CLOSURE: i64 = 15;
/// What a column may hold.
const KINDS: [&str; 6] = ["adj close", "close", "open", "high", "low", "volume"];
const CLOSE: usize = 1;
const VOLUME: usize = 5;

/// What to do about days without a price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    /// Carry the last price over them.
    pub fill: bool,
    /// Leave the stock out.
    pub drop: bool,
}

/// One record with what is needed to say where an error is.
struct Row {
    record: csv::StringRecord,
    line: u64,
}

impl Row {
    fn field(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or("").trim()
    }
}

/// A column with prices or volumes of one stock.
struct Column {
    at: usize,
    name: String,
    kind: usize,
    stock: usize,
}

struct Reader<'a> {
    file: &'a Path,
    decimal_comma: bool,
    remarks: Vec<String>,
}

/// The kind of a column's name: `Adj Close`, `adj_close` and `AdjClose` are one.
fn kind(name: &str) -> Option<usize> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let plain = match plain.as_str() {
        "adjclose" | "adjustedclose" | "closeadj" | "adjclosingprice" => "adj close",
        "closelast" | "price" | "last" => "close",
        "vol" => "volume",
        other => other,
    };
    KINDS.iter().position(|k| *k == plain)
}

fn is_date(name: &str) -> bool {
    matches!(name.to_ascii_lowercase().as_str(), "date" | "datetime" | "timestamp" | "time" | "day" | "")
}

fn is_ticker(name: &str) -> bool {
    matches!(name.to_ascii_lowercase().as_str(), "ticker" | "symbol" | "name" | "tic" | "stock")
}

pub(super) fn read(file: &Path, mut text: impl Read, gaps: Gaps) -> Result<Prices, DataError> {
    let mut bytes = Vec::new();
    let io = |e: std::io::Error| DataError::Io { file: file.to_path_buf(), reason: e.to_string() };
    text.read_to_end(&mut bytes).map_err(io)?;
    // Spreadsheets like to write a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let first = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    let count = |c: u8| first.iter().filter(|&&b| b == c).count();
    let delimiter = [b';', b'\t'].into_iter().find(|&c| count(c) > count(b',')).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(bytes);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| DataError::Row {
            file: file.to_path_buf(),
            line: e.position().map_or(0, csv::Position::line),
            reason: format!("not readable as separated text: {e}"),
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().any(|f| !f.trim().is_empty()) {
            rows.push(Row { record, line });
        }
    }
    // With semicolons between the fields a comma is the decimal point, if any number has one.
    let decimal_comma = delimiter == b';' && rows.iter().skip(1).any(|r| r.record.iter().any(|f| f.contains(',')));
    Reader { file, decimal_comma, remarks: Vec::new() }.prices(&rows, gaps)
}

impl Reader<'_> {
    fn header(&self, reason: impl Into<String>) -> DataError {
        DataError::Header { file: self.file.to_path_buf(), reason: reason.into() }
    }

    fn row(&self, line: u64, reason: impl Into<String>) -> DataError {
        DataError::Row { file: self.file.to_path_buf(), line, reason: reason.into() }
    }

    fn prices(self, rows: &[Row], gaps: Gaps) -> Result<Prices, DataError> {
        let Some((head, _)) = rows.split_first() else { return Err(self.header("the file is empty")) };
        let names: Vec<String> = head.record.iter().map(|h| h.trim().to_owned()).collect();
        if names.len() < 2 {
            return Err(self.header(format!("{} column(s)", names.len())));
        }
        // yfinance: a row of prices' kinds and a row of tickers, in either order, then a row that says only "Date".
        if let [_, second, rest @ ..] = rows {
            let seconds: Vec<String> = second.record.iter().map(|h| h.trim().to_owned()).collect();
            let all_kinds = |row: &[String]| row.len() > 1 && row[1..].iter().all(|n| kind(n).is_some());
            let named = matches!(names[0].to_ascii_lowercase().as_str(), "price" | "ticker" | "attributes" | "");
            if named && (all_kinds(&names) || all_kinds(&seconds)) && seconds.len() == names.len() {
                let (kinds, tickers) = if all_kinds(&names) { (&names, &seconds) } else { (&seconds, &names) };
                let skip = usize::from(
                    rest.first()
                        .is_some_and(|r| is_date(r.field(0)) && r.record.iter().skip(1).all(|f| f.trim().is_empty())),
                );
                return self.columns(kinds, tickers, &rest[skip..], gaps);
            }
        }
        let rows = &rows[1..];
        if let Some(row) = rows.iter().find(|r| r.record.len() != names.len()) {
            let reason = format!("{} fields, but the first line names {}", row.record.len(), names.len());
            return Err(self.row(row.line, reason));
        }
        let date = names.iter().position(|n| !n.is_empty() && is_date(n)).or(names[0].is_empty().then_some(0));
        let ticker = names.iter().position(|n| is_ticker(n));
        let Some(date) = date else {
            return Err(self.header(format!("the first column is {:?}, not `date`", names[0])));
        };
        let has_price = names.iter().any(|n| matches!(kind(n), Some(0 | CLOSE)));
        match ticker {
            Some(ticker) if has_price => self.long(&names, date, ticker, rows, gaps),
            // One stock alone, under the name of its file.
            None if has_price
                && names.iter().enumerate().all(|(k, n)| k == date || kind(n).is_some() || is_action(n)) =>
            {
                let name = self.file.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
                let tickers = vec![name; names.len()];
                self.columns(&names, &tickers, rows, gaps)
            }
            _ if date == 0 => {
                let kinds = vec!["close".to_owned(); names.len()];
                self.columns(&kinds, &names, rows, gaps)
            }
            _ => Err(self.header("there is no column of prices (close or adj_close) for the column of tickers")),
        }
    }

    fn number(&self, row: &Row, column: &Column) -> Result<Option<f64>, DataError> {
        let text = row.field(column.at);
        if text.is_empty() || ["nan", "na", "n/a", "null", "none", "-"].contains(&text.to_ascii_lowercase().as_str()) {
            return Ok(None);
        }
        let plain = text.trim_start_matches(['$', '€', '£']);
        let plain = if self.decimal_comma { plain.replace('.', "").replace(',', ".") } else { plain.replace(',', "") };
        let (file, line, name) = (self.file.to_path_buf(), row.line, column.name.clone());
        let value: f64 = match plain.parse() {
            Ok(value) if f64::is_finite(value) => value,
            _ => return Err(DataError::NotANumber { file, line, column: name, value: text.to_owned() }),
        };
        let positive = column.kind != VOLUME;
        let (good, needed) = if positive { (value > 0.0, "a positive price") } else { (value >= 0.0, "a volume") };
        if good { Ok(Some(value)) } else { Err(DataError::NotPositive { file, line, column: name, value, needed }) }
    }

    /// The form of the dates of a column, and the days.
    fn dates(&mut self, rows: &[Row], column: usize) -> Result<Vec<i64>, DataError> {
        let texts: Vec<&str> = rows.iter().map(|r| r.field(column)).collect();
        let form = DateForm::of(&texts);
        if let Some(remark) = form.remark() {
            self.remarks.push(remark);
        }
        let day = |(row, text): (&Row, &&str)| {
            form.day(text).ok_or_else(|| DataError::Date {
                file: self.file.to_path_buf(),
                line: row.line,
                column: "date".into(),
                value: (*text).to_owned(),
            })
        };
        rows.iter().zip(&texts).map(day).collect()
    }

    /// A column for each kind of number and stock, a row for each day.
    fn columns(mut self, kinds: &[String], tickers: &[String], rows: &[Row], gaps: Gaps) -> Result<Prices, DataError> {
        if rows.is_empty() {
            return Err(self.row(2, "there are no rows"));
        }
        let mut names: Vec<String> = Vec::new();
        let mut number_of: HashMap<&str, usize> = HashMap::new();
        let mut columns: Vec<Column> = Vec::new();
        for at in 0..tickers.len() {
            let (Some(kind), false) = (kind(&kinds[at]), at == 0 || (is_date(&tickers[at]) && !tickers[at].is_empty()))
            else {
                continue;
            };
            let ticker = tickers[at].as_str();
            if ticker.is_empty() {
                return Err(self.header(format!("column {} has no name: every stock needs a name of its own", at + 1)));
            }
            let stock = *number_of.entry(ticker).or_insert_with(|| {
                names.push(ticker.to_owned());
                names.len() - 1
            });
            if columns.iter().any(|c| c.stock == stock && c.kind == kind) {
                return Err(self.header(format!(
                    "column {} is named {ticker:?} like another one: every stock needs a name of its own",
                    at + 1
                )));
            }
            columns.push(Column { at, name: ticker.to_owned(), kind, stock });
        }
        let days = self.dates(rows, 0)?;
        let mut cells = Cells::default();
        for (row, &day) in rows.iter().zip(&days) {
            if let Some(&first) = cells.lines.get(&day) {
                let (file, date) = (self.file.to_path_buf(), iso(day));
                return Err(DataError::Duplicate { file, line: row.line, date, what: "the file".into(), first });
            }
            cells.lines.insert(day, row.line);
            for column in &columns {
                if let Some(value) = self.number(row, column)? {
                    cells.put(day, column.stock, column.kind, value);
                }
            }
        }
        let has = |kind: usize| columns.iter().any(|c| c.kind == kind);
        self.finish(names, cells, std::array::from_fn(has), gaps)
    }

    /// A row for each day and stock.
    fn long(
        mut self,
        names: &[String],
        date: usize,
        ticker: usize,
        rows: &[Row],
        gaps: Gaps,
    ) -> Result<Prices, DataError> {
        if rows.is_empty() {
            return Err(self.row(2, "there are no rows"));
        }
        let mut tickers: Vec<String> = Vec::new();
        let mut number_of: HashMap<String, usize> = HashMap::new();
        let columns: Vec<(usize, usize)> =
            names.iter().enumerate().filter_map(|(at, n)| Some((at, kind(n)?))).collect();
        let days = self.dates(rows, date)?;
        let mut cells = Cells::default();
        let mut seen: HashMap<(i64, usize), u64> = HashMap::new();
        for (row, &day) in rows.iter().zip(&days) {
            let name = row.field(ticker);
            if name.is_empty() {
                return Err(self.row(row.line, "the ticker is empty: name the stock, or leave the row out"));
            }
            let stock = *number_of.entry(name.to_owned()).or_insert_with(|| {
                tickers.push(name.to_owned());
                tickers.len() - 1
            });
            if let Some(&first) = seen.get(&(day, stock)) {
                let (file, date, what) = (self.file.to_path_buf(), iso(day), name.to_owned());
                return Err(DataError::Duplicate { file, line: row.line, date, what, first });
            }
            seen.insert((day, stock), row.line);
            cells.lines.entry(day).or_insert(row.line);
            for &(at, kind) in &columns {
                let column = Column { at, name: names[at].clone(), kind, stock };
                if let Some(value) = self.number(row, &column)? {
                    cells.put(day, stock, kind, value);
                }
            }
        }
        let has = |kind: usize| columns.iter().any(|c| c.1 == kind);
        self.finish(tickers, cells, std::array::from_fn(has), gaps)
    }

    /// From cells to panels: the closing price taken, gaps, holes.
    fn finish(mut self, tickers: Vec<String>, cells: Cells, has: [bool; 6], gaps: Gaps) -> Result<Prices, DataError> {
        let days: Vec<i64> = cells.lines.keys().copied().collect();
        for pair in days.windows(2) {
            if pair[1] - pair[0] > LONGEST_CLOSURE {
                let (from, to, line) = (iso(pair[0]), iso(pair[1]), cells.lines[&pair[1]]);
                return Err(DataError::Hole { file: self.file.to_path_buf(), line, from, to, days: pair[1] - pair[0] });
            }
        }
        let close = if has[0] { 0 } else { CLOSE };
        if has[0] && has[CLOSE] {
            self.remarks.push("`Adj Close` is used, not `Close`: it is adjusted for splits and dividends".into());
        }
        let mut kept: Vec<usize> = Vec::new();
        let mut listed: Vec<Range<usize>> = Vec::new();
        let (mut late, mut filled, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        for (stock, ticker) in tickers.iter().enumerate() {
            let there = |t: &usize| cells.get(days[*t], stock, close).is_some();
            let own: Vec<usize> = (0..days.len()).filter(there).collect();
            let range = match (own.first(), own.last()) {
                (Some(&first), Some(&last)) => first..last + 1,
                _ => 0..0,
            };
            if gaps.drop && own.len() < days.len() {
                dropped.push(ticker.as_str());
                continue;
            }
            if own.is_empty() {
                return Err(
                    self.header(format!("{ticker} has no price on any day: leave it out (--drop-incomplete does)"))
                );
            }
            if own.len() < range.len() {
                if !gaps.fill {
                    let gap = range.clone().find(|t| !there(t)).unwrap_or(range.start);
                    return Err(DataError::Gap {
                        file: self.file.to_path_buf(),
                        line: cells.lines[&days[gap]],
                        ticker: ticker.clone(),
                        date: iso(days[gap]),
                        count: range.len() - own.len(),
                        days: range.len(),
                    });
                }
                filled.push(format!("{ticker} on {}", range.len() - own.len()));
            }
            if range.len() < days.len() {
                late.push(format!("{ticker} {} to {}", iso(days[range.start]), iso(days[range.end - 1])));
            }
            kept.push(stock);
            listed.push(range);
        }
        let some = |list: &[String]| {
            let more = if list.len() > 3 { format!(" and {} more", list.len() - 3) } else { String::new() };
            format!("{}{more}", list.iter().take(3).cloned().collect::<Vec<_>>().join(", "))
        };
        if !late.is_empty() {
            self.remarks.push(format!(
                "not listed on all days: {}; such a stock is in the universe after 240 days of prices, until its last",
                some(&late)
            ));
        }
        if !filled.is_empty() {
            self.remarks.push(format!("last prices carried over days without one: {} days", some(&filled)));
        }
        if !dropped.is_empty() {
            let names: Vec<String> = dropped.iter().map(|d| (*d).to_owned()).collect();
            self.remarks.push(format!("left out because they lack prices: {}", some(&names)));
        }
        if kept.is_empty() {
            return Err(self.header("no stock has a price on every day: use --fill instead of --drop-incomplete"));
        }
        let panels = self.panels(&cells, &days, &kept, &listed, close);
        let [closes, open, high, low, volume] = panels;
        let all = has[2] && has[3] && has[4] && has[VOLUME];
        let source = self.file.file_name().unwrap_or(self.file.as_os_str()).to_string_lossy().into_owned();
        Ok(Prices {
            source,
            tickers: kept.iter().map(|&s| tickers[s].clone()).collect(),
            dates: days.iter().map(|&d| iso(d)).collect(),
            close: closes,
            extra: all.then_some(Extra { open, high, low, volume }),
            listed,
            remarks: self.remarks,
        })
    }

    /// Close, open, high, low and volume. Ranges are adjusted like the close; a price that is missing stands for no
    /// movement, a missing volume is unknown (0).
    fn panels(&self, cells: &Cells, days: &[i64], kept: &[usize], listed: &[Range<usize>], close: usize) -> [Panel; 5] {
        let mut panels: [Panel; 5] =
            std::array::from_fn(|_| Panel::new(kept.len(), vec![0.0; kept.len() * days.len()]));
        for (s, (&stock, range)) in kept.iter().zip(listed).enumerate() {
            let value = |t: usize, kind: usize| cells.get(days[t], stock, kind);
            let mut last = value(range.start, close).unwrap_or(1.0);
            for t in 0..days.len() {
                let now = if range.contains(&t) { value(t, close) } else { None };
                let adjusted = now.unwrap_or(last);
                let by = match (now, value(t, CLOSE)) {
                    (Some(_), Some(raw)) => adjusted / raw,
                    _ => 1.0,
                };
                let price = |kind: usize| now.and_then(|_| value(t, kind)).map_or(adjusted, |v| v * by);
                let (open, high, low) = (price(2), price(3), price(4));
                let high = high.max(open).max(adjusted);
                let low = low.min(open).min(adjusted);
                let volume = now.and_then(|_| value(t, VOLUME)).map_or(0.0, |v| v / by);
                for (panel, v) in panels.iter_mut().zip([adjusted, open, high, low, volume]) {
                    panel.set(t, s, v);
                }
                last = adjusted;
            }
        }
        panels
    }
}

/// Dividends and splits beside the prices of yfinance.
fn is_action(name: &str) -> bool {
    matches!(name.to_ascii_lowercase().as_str(), "dividends" | "stock splits" | "capital gains")
}

/// Numbers by day, stock and kind.
#[derive(Default)]
struct Cells {
    /// Days in order, with the first line of each.
    lines: BTreeMap<i64, u64>,
    values: HashMap<(i64, usize), [Option<f64>; 6]>,
}

impl Cells {
    fn put(&mut self, day: i64, stock: usize, kind: usize, value: f64) {
        self.values.entry((day, stock)).or_default()[kind] = Some(value);
    }

    fn get(&self, day: i64, stock: usize, kind: usize) -> Option<f64> {
        self.values.get(&(day, stock))?[kind]
    }
}
