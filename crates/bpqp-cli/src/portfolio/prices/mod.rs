//! Daily prices: what the program computes on, and where it comes from.

mod calendar;
mod csv_file;
mod error;
mod npz;
pub mod packed;

pub use error::DataError;

use super::features::WARM_UP;
use crate::unpack;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Numbers by day and stock.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    stocks: usize,
    values: Vec<f64>,
}

impl Panel {
    /// A panel from day-major values.
    pub fn new(stocks: usize, values: Vec<f64>) -> Self {
        assert!(stocks > 0 && values.len().is_multiple_of(stocks), "a panel is a full table");
        Panel { stocks, values }
    }

    /// The value on a day for a stock.
    pub fn get(&self, day: usize, stock: usize) -> f64 {
        self.values[day * self.stocks + stock]
    }

    /// Replaces one value.
    pub fn set(&mut self, day: usize, stock: usize, value: f64) {
        self.values[day * self.stocks + stock] = value;
    }

    /// All stocks on one day.
    pub fn day(&self, day: usize) -> &[f64] {
        &self.values[day * self.stocks..(day + 1) * self.stocks]
    }

    /// One stock over all days.
    pub fn stock(&self, stock: usize) -> Vec<f64> {
        self.values.iter().skip(stock).step_by(self.stocks).copied().collect()
    }

    fn select(&self, days: std::ops::Range<usize>, stocks: usize) -> Panel {
        let values = days.flat_map(|d| self.day(d)[..stocks].iter().copied()).collect();
        Panel { stocks, values }
    }
}

/// What a long file has beside the closing price.
#[derive(Debug, Clone, PartialEq)]
pub struct Extra {
    /// Opening prices.
    pub open: Panel,
    /// Highest prices.
    pub high: Panel,
    /// Lowest prices.
    pub low: Panel,
    /// Traded volumes; 0 where unknown.
    pub volume: Panel,
}

/// Daily prices without gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// Where they come from, for the report.
    pub source: String,
    /// Names of the stocks.
    pub tickers: Vec<String>,
    /// Trading days, ISO dates, ascending.
    pub dates: Vec<String>,
    /// Closing prices, adjusted for splits and dividends if the source is.
    pub close: Panel,
    /// Opening, highest and lowest prices and volumes, where the source has them.
    pub extra: Option<Extra>,
    /// The days on which each stock has a price of its own, first to last; outside of them its nearest price stands.
    pub listed: Vec<Range<usize>>,
    /// What a reader of the results should know about the file: the column taken, gaps filled, likely splits.
    pub remarks: Vec<String>,
}

/// Which part of the data to use.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// First date, inclusive.
    pub from: Option<String>,
    /// Last date, inclusive.
    pub until: Option<String>,
    /// Only the first so many stocks.
    pub stocks: Option<usize>,
}

/// The 20 stocks of the S&P 500 that ship with the program; see `data/README.md` beside this crate's sources.
static SMALL: &[u8] = include_bytes!("../../../data/sp500_20.csv.gz");
/// 500 US stocks, 2006-2017; see there too.
static LARGE: &[u8] = include_bytes!("../../../data/us500.prices");

impl Prices {
    /// The 500 stocks that ship with the program.
    pub fn built_in() -> Result<Self, DataError> {
        let mut prices = packed::unpack(Path::new("(built-in prices)"), LARGE)?;
        prices.source = "500 US stocks from the Huge Stock Market Dataset (CC0)".into();
        Ok(prices)
    }

    /// The 20 stocks that ship with the program.
    pub fn built_in_small() -> Result<Self, DataError> {
        let file = Path::new("(built-in prices)");
        let mut prices = csv_file::read(file, flate2::read::GzDecoder::new(SMALL), csv_file::Gaps::default())?;
        prices.source = "20 stocks of the S&P 500 from the Python package skfolio (BSD 3-Clause)".into();
        Ok(prices)
    }

    /// Reads a file; see [`read_with`](Self::read_with).
    pub fn read(file: &Path, extra: Option<&Path>) -> Result<Self, DataError> {
        Prices::read_with(file, extra, false, false, unpack::MAX_UNPACKED)
    }

    /// Reads a file: `.csv` or `.csv.gz` in any layout that `docs/portfolio.md` lists, or `.npz`, for which the `extra` file
    /// holds further arrays; unpacked to at most `limit` megabytes. On days without a price between others the last one stands
    /// if `fill`; a stock that lacks any is left out if `drop`.
    pub fn read_with(file: &Path, extra: Option<&Path>, fill: bool, drop: bool, limit: u64) -> Result<Self, DataError> {
        let name = file.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
        if let Some(extra) = extra.filter(|_| !name.ends_with(".npz")) {
            return Err(DataError::ExtraNotNpz { file: extra.to_path_buf() });
        }
        let (bytes, gaps) = (load(file)?, csv_file::Gaps { fill, drop });
        if name.ends_with(".npz") {
            let extra = extra.map(|path| Ok::<_, DataError>((path, load(path)?))).transpose()?;
            return npz::prices(file, &bytes, extra.as_ref().map(|(p, b)| (*p, b.as_slice())), limit);
        }
        if name.ends_with(".gz") {
            let text = unpack::bytes(&bytes, limit)
                .map_err(|source| DataError::Io { file: file.to_path_buf(), reason: source.to_string() })?;
            return csv_file::read(file, text.as_slice(), gaps);
        }
        csv_file::read(file, bytes.as_slice(), gaps)
    }

    /// Daily moves close to the ratios of splits: an unadjusted split looks like a crash.
    pub fn likely_splits(&self) -> Vec<String> {
        const RATIOS: [(f64, &str); 5] = [(2.0, "2:1"), (3.0, "3:1"), (4.0, "4:1"), (5.0, "5:1"), (10.0, "10:1")];
        let mut found = Vec::new();
        for (s, ticker) in self.tickers.iter().enumerate() {
            for t in 1..self.dates.len() {
                let ratio = self.close.get(t, s) / self.close.get(t - 1, s);
                let near = |by: f64| (ratio / by - 1.0).abs() < 0.04 || (ratio * by - 1.0).abs() < 0.04;
                if let Some((_, name)) = RATIOS.into_iter().find(|(by, _)| near(*by)) {
                    found.push(format!(
                        "{ticker} moves by a factor of {ratio:.3} on {}: a split ({name}) that the prices are not adjusted \
                         for? Use adjusted prices",
                        self.dates[t]
                    ));
                }
            }
        }
        let more = found.len().saturating_sub(5);
        found.truncate(5);
        found.extend((more > 0).then(|| format!("{more} more moves like that")));
        found
    }

    /// The part of the data that was asked for.
    pub fn select(&self, selection: &Selection) -> Result<Self, DataError> {
        for date in [&selection.from, &selection.until].into_iter().flatten() {
            if calendar::day_number(date).is_none() {
                return Err(DataError::SelectionDate { value: date.clone() });
            }
        }
        let first = selection.from.as_ref().map_or(0, |from| self.dates.partition_point(|d| d < from));
        let end = selection.until.as_ref().map_or(self.dates.len(), |until| self.dates.partition_point(|d| d <= until));
        let stocks = selection.stocks.unwrap_or(self.tickers.len()).min(self.tickers.len());
        if first >= end || stocks == 0 {
            let (first, last) = (self.dates[0].clone(), self.dates[self.dates.len() - 1].clone());
            return Err(DataError::EmptySelection { first, last, stocks: self.tickers.len() });
        }
        let panel = |p: &Panel| p.select(first..end, stocks);
        Ok(Prices {
            source: self.source.clone(),
            tickers: self.tickers[..stocks].to_vec(),
            dates: self.dates[first..end].to_vec(),
            close: panel(&self.close),
            extra: self.extra.as_ref().map(|e| Extra {
                open: panel(&e.open),
                high: panel(&e.high),
                low: panel(&e.low),
                volume: panel(&e.volume),
            }),
            listed: self.listed[..stocks].iter().map(|r| part(r, &(first..end))).collect(),
            remarks: self.remarks.clone(),
        })
    }

    /// Only these stocks, in that order.
    pub fn of(&self, stocks: &[usize]) -> Self {
        let panel = |p: &Panel| {
            let values = (0..self.dates.len()).flat_map(|t| stocks.iter().map(move |&s| p.get(t, s))).collect();
            Panel::new(stocks.len(), values)
        };
        Prices {
            source: self.source.clone(),
            tickers: stocks.iter().map(|&s| self.tickers[s].clone()).collect(),
            dates: self.dates.clone(),
            close: panel(&self.close),
            extra: self.extra.as_ref().map(|e| Extra {
                open: panel(&e.open),
                high: panel(&e.high),
                low: panel(&e.low),
                volume: panel(&e.volume),
            }),
            listed: stocks.iter().map(|&s| self.listed[s].clone()).collect(),
            remarks: self.remarks.clone(),
        }
    }

    /// Is a stock in the universe of a day: does it have a price that day and on each of the [`WARM_UP`] days before?
    pub fn known(&self, day: usize, stock: usize) -> bool {
        let Range { start, end } = self.listed[stock];
        start + WARM_UP <= day && day < end
    }

    /// The number of the week of a day, Monday to Sunday.
    pub fn week(&self, day: usize) -> i64 {
        // Day 0 of the count, 0000-03-01, was a Wednesday.
        calendar::day_number(&self.dates[day]).map_or(0, |d| (d + 2).div_euclid(7))
    }

    /// The mean over the stocks of the universe of a day.
    pub fn mean_known(&self, values: &Panel, day: usize) -> f64 {
        let known = (0..self.tickers.len()).filter(|&s| self.known(day, s));
        let (sum, count) = known.fold((0.0, 0usize), |(sum, count), s| (sum + values.get(day, s), count + 1));
        sum / count.max(1) as f64
    }

    /// Simple returns: entry (t, s) is `close[t] / close[t - 1] - 1`, and 0 on the first day.
    pub fn returns(&self) -> Panel {
        let n = self.tickers.len();
        let mut values = vec![0.0; n];
        for t in 1..self.dates.len() {
            values.extend((0..n).map(|s| self.close.get(t, s) / self.close.get(t - 1, s) - 1.0));
        }
        Panel::new(n, values)
    }
}

/// The part of a range inside another, counted from the start of that one.
fn part(range: &Range<usize>, of: &Range<usize>) -> Range<usize> {
    let start = range.start.clamp(of.start, of.end);
    start - of.start..range.end.clamp(start, of.end) - of.start
}

fn load(file: &Path) -> Result<Vec<u8>, DataError> {
    std::fs::read(file).map_err(|source| DataError::Io { file: PathBuf::from(file), reason: source.to_string() })
}
