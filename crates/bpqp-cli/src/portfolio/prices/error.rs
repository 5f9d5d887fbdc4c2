//! What is wrong with a file of prices: file, line, column, value, and what to do.

use std::path::PathBuf;

/// Why prices were refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {reason}", file = file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The first line does not say what the columns are.
    #[error("{file}, line 1: {reason}; expected `date,TICKER1,TICKER2,...` (closing prices, one column per stock), `date,ticker,open,high,low,close,volume` (one row per stock and day), or a file of yfinance", file = file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A row that is not well-formed.
    #[error("{file}, line {line}: {reason}", file = file.display())]
    Row {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A date that is not one.
    #[error("{file}, line {line}, column {column}: {value:?} is not a date like the others of the column: write dates as YYYY-MM-DD", file = file.display())]
    Date {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// What stands there.
        value: String,
    },
    /// The same date twice.
    #[error("{file}, line {line}: date {date} of {what} was there already (line {first}): keep one row per day", file = file.display())]
    Duplicate {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The date.
        date: String,
        /// Of which stock, or of all.
        what: String,
        /// Where it was first.
        first: u64,
    },
    /// Not a number.
    #[error("{file}, line {line}, column {column}: {value:?} is not a number: use plain decimals such as 12.34", file = file.display())]
    NotANumber {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// What stands there.
        value: String,
    },
    /// A price that is zero or negative, or a negative volume.
    #[error("{file}, line {line}, column {column}: {value} is not {needed}: correct it, or leave the stock out", file = file.display())]
    NotPositive {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column's name.
        column: String,
        /// The number.
        value: f64,
        /// What it should be.
        needed: &'static str,
    },
    /// A stock without a price on a day on which others have one.
    #[error("{file}, line {line}: {ticker} has no price on {date} ({count} of its {days} days are missing): --fill carries the last price over gaps, --drop-incomplete leaves such stocks out", file = file.display())]
    Gap {
        /// The file.
        file: PathBuf,
        /// The line where it should be.
        line: u64,
        /// The stock.
        ticker: String,
        /// The first day without a price.
        date: String,
        /// How many days it lacks.
        count: usize,
        /// How many days there are.
        days: usize,
    },
    /// Many days without any price.
    #[error("{file}, line {line}: no prices between {from} and {to} ({days} days): the program needs daily prices; fill the hole or use --from or --until with a file that has none", file = file.display())]
    Hole {
        /// The file.
        file: PathBuf,
        /// The line of the later date.
        line: u64,
        /// The last date before the hole.
        from: String,
        /// The first date after it.
        to: String,
        /// Its length in days.
        days: i64,
    },
    /// Not enough data to learn from.
    #[error(
        "{days} days of {stocks} stocks are too little: {needed} days and 2 stocks are the least for so many test periods (240 days feed the risk model, the rest trains, validates and tests); use a longer file, or --folds 1"
    )]
    TooLittle {
        /// Days after selection.
        days: usize,
        /// Stocks after selection.
        stocks: usize,
        /// Days needed.
        needed: usize,
    },
    /// A selection that leaves nothing.
    #[error("--from, --until and --stocks leave nothing: the data run from {first} to {last} with {stocks} stocks")]
    EmptySelection {
        /// First date of the data.
        first: String,
        /// Last date of the data.
        last: String,
        /// Number of stocks.
        stocks: usize,
    },
    /// A date on the command line that is not one.
    #[error("--from or --until {value:?} is not a date: write YYYY-MM-DD")]
    SelectionDate {
        /// What was given.
        value: String,
    },
    /// A file of packed prices that is not one.
    #[error("{file}: {reason}: not a file of packed prices, or a broken one", file = file.display())]
    Packed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Something wrong inside an archive of arrays.
    #[error("{file}: {reason}", file = file.display())]
    Npz {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A value inside an archive of arrays.
    #[error("{file}: {array}[{ticker}, {date}] is {value}: {advice}", file = file.display())]
    NpzValue {
        /// The file.
        file: PathBuf,
        /// The array.
        array: String,
        /// The stock.
        ticker: String,
        /// The day.
        date: String,
        /// The number.
        value: f64,
        /// What to do.
        advice: &'static str,
    },
    /// Further arrays beside a file that is no archive.
    #[error("--extra {file} goes with an .npz file only: a CSV has its volumes in the long form date,ticker,open,high,low,close,volume", file = file.display())]
    ExtraNotNpz {
        /// The file.
        file: PathBuf,
    },
}
