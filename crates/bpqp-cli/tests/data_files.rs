//! Prices from files: what is read, and what is refused with file, line, column and value.

use bpqp_cli::portfolio::prices::{DataError, Prices, Selection};
use std::io::Write;
use std::path::PathBuf;

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bpqp-data-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn refused(name: &str, text: &str) -> (DataError, String) {
    let error = Prices::read(&file(name, text.as_bytes()), None).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(name), "{text}");
    (error, text)
}

#[test]
fn the_built_in_prices_are_those_of_their_source() {
    let prices = Prices::built_in().unwrap();
    assert_eq!((prices.tickers.len(), prices.dates.len()), (20, 8313));
    assert_eq!((prices.tickers[0].as_str(), prices.tickers[19].as_str()), ("AAPL", "XOM"));
    assert_eq!((prices.dates[0].as_str(), prices.dates[8312].as_str()), ("1990-01-02", "2022-12-28"));
    assert_eq!((prices.close.get(0, 0), prices.close.get(8312, 19)), (0.264, 106.627));
}

#[test]
fn wide_and_long_files_hold_the_same_prices() {
    let wide = "date,A,B\n2020-01-02,10,20\n2020-01-03,11,19.5\n2020-01-06,12,21\n";
    let long = "Date,Ticker,Open,High,Low,Close,Volume\n\
        2020-01-02,A,9,11,8,10,100\n2020-01-03,A,10,12,9,11,0\n2020-01-06,A,11,13,10,12,300\n\
        2020-01-02,B,19,21,18,20,5\n2020-01-03,B,20,21,19,19.5,6\n2020-01-06,B,20,22,19,21,7\n";
    let wide = Prices::read(&file("wide.csv", wide.as_bytes()), None).unwrap();
    let long = Prices::read(&file("long.csv", long.as_bytes()), None).unwrap();
    assert_eq!((&wide.tickers, &wide.dates, &wide.close), (&long.tickers, &long.dates, &long.close));
    assert_eq!(wide.extra, None);
    let extra = long.extra.unwrap();
    assert_eq!((extra.open.get(1, 0), extra.volume.get(2, 1)), (10.0, 7.0));
    assert_eq!(wide.returns().get(1, 0), 11.0 / 10.0 - 1.0);
}

#[test]
fn compressed_files_are_read() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(b"date,A,B\n2020-01-02,1,2\n2020-01-03,3,4\n").unwrap();
    let prices = Prices::read(&file("p.csv.gz", &packed.finish().unwrap()), None).unwrap();
    assert_eq!(prices.close.day(1), [3.0, 4.0]);
}

#[test]
fn gaps_name_the_stock_the_day_and_how_many() {
    let (error, text) = refused("gap.csv", "date,A,B\n2020-01-02,1,2\n2020-01-03,1,\n2020-01-06,1,NaN\n");
    assert!(matches!(error, DataError::Gap { line: 3, count: 2, days: 3, .. }), "{error:?}");
    assert!(
        text.contains("line 3: B has no price on 2020-01-03 (2 of its 3 days") && text.contains("fill the gap"),
        "{text}"
    );
    let (error, _) = refused(
        "gap_long.csv",
        "date,ticker,close\n2020-01-02,A,1\n2020-01-03,A,2\n2020-01-02,B,1\n2020-01-06,A,2\n2020-01-06,B,2\n",
    );
    let DataError::Gap { ticker, date, count, .. } = error else { panic!("{error:?}") };
    assert_eq!((ticker.as_str(), date.as_str(), count), ("B", "2020-01-03", 1));
    let (error, text) = refused("hole.csv", "date,A\n2020-01-02,1\n2020-03-02,2\n");
    assert!(matches!(error, DataError::Hole { line: 3, days: 60, .. }), "{error:?} {text}");
}

#[test]
fn dates_must_be_dates_in_order_one_row_each() {
    let (error, text) = refused("dup.csv", "date,A\n2020-01-02,1\n2020-01-03,1\n2020-01-03,2\n");
    assert!(matches!(error, DataError::Duplicate { line: 4, first: 3, .. }), "{error:?}");
    assert!(text.contains("2020-01-03") && text.contains("keep one row per day"), "{text}");
    let (error, text) = refused("unsorted.csv", "date,A\n2020-01-03,1\n2020-01-02,1\n");
    assert!(matches!(error, DataError::Unsorted { line: 3, .. }), "{error:?}");
    assert!(text.contains("comes after 2020-01-03: sort"), "{text}");
    let (error, text) = refused("date.csv", "date,A\n2020-01-02,1\n03/01/2020,1\n");
    assert!(matches!(error, DataError::Date { line: 3, .. }), "{error:?}");
    assert!(text.contains("column date") && text.contains("03/01/2020") && text.contains("YYYY-MM-DD"), "{text}");
}

#[test]
fn prices_must_be_positive_numbers() {
    let (error, text) = refused("zero.csv", "date,A,B\n2020-01-02,1,2\n2020-01-03,1,0\n");
    assert!(matches!(error, DataError::NotPositive { line: 3, value: 0.0, .. }), "{error:?}");
    assert!(text.contains("column B: 0 is not a positive price"), "{text}");
    let (error, _) = refused("negative.csv", "date,A\n2020-01-02,-1.5\n");
    assert!(matches!(error, DataError::NotPositive { value: -1.5, .. }), "{error:?}");
    let (error, text) = refused("word.csv", "date,A\n2020-01-02,1\n2020-01-03,1.2.3\n");
    assert!(matches!(error, DataError::NotANumber { line: 3, .. }), "{error:?}");
    assert!(text.contains("column A") && text.contains("\"1.2.3\""), "{text}");
    let (error, _) = refused("infinite.csv", "date,A\n2020-01-02,inf\n");
    assert!(matches!(error, DataError::NotANumber { .. }), "{error:?}");
}

#[test]
fn shapeless_files_are_refused() {
    assert!(matches!(refused("head.csv", "A,B\n1,2\n").0, DataError::Header { .. }));
    assert!(matches!(refused("twice.csv", "date,A,A\n2020-01-02,1,2\n").0, DataError::Header { .. }));
    assert!(matches!(refused("empty.csv", "date,A\n").0, DataError::Row { .. }));
    let (error, text) = refused("short.csv", "date,A,B\n2020-01-02,1,2\n2020-01-03,1\n");
    assert!(matches!(error, DataError::Row { line: 3, .. }), "{error:?}");
    assert!(text.contains("2 fields, but the first line names 3"), "{text}");
    let missing = Prices::read(&PathBuf::from("no-such-folder/prices.csv"), None).unwrap_err();
    assert!(matches!(missing, DataError::Io { .. }));
}

#[test]
fn a_selection_takes_days_and_stocks_and_says_when_nothing_is_left() {
    let prices = Prices::built_in().unwrap();
    let selection = Selection { from: Some("2000-01-01".into()), until: Some("2000-12-31".into()), stocks: Some(3) };
    let part = prices.select(&selection).unwrap();
    assert_eq!((part.dates[0].as_str(), part.tickers.len(), part.dates.len()), ("2000-01-03", 3, 252));
    let day = prices.dates.iter().position(|d| d == "2000-01-03").unwrap();
    assert_eq!(part.close.get(0, 2), prices.close.get(day, 2));
    let late = Selection { from: Some("2030-01-01".into()), ..Selection::default() };
    let text = prices.select(&late).unwrap_err().to_string();
    assert!(text.contains("1990-01-02 to 2022-12-28"), "{text}");
    let bad = Selection { until: Some("2020".into()), ..Selection::default() };
    assert!(matches!(prices.select(&bad), Err(DataError::SelectionDate { .. })));
}

/// The large real data set lies beside the repository.
fn large() -> Option<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = here.ancestors().map(|a| a.join("../shared/data/stocks")).find(|p| p.is_dir());
    if folder.is_none() {
        assert!(std::env::var_os("CI").is_none(), "../shared/data/stocks is missing, and CI is set");
        eprintln!("skipped: ../shared/data/stocks is missing");
    }
    folder
}

#[test]
fn the_large_archive_is_read() {
    let Some(folder) = large() else { return };
    let (close, extra) = (folder.join("us500_close.npz"), folder.join("us500_ohlv.npz"));
    let prices = Prices::read(&close, Some(&extra)).unwrap();
    assert_eq!((prices.tickers.len(), prices.dates.len()), (500, 2986));
    assert_eq!((prices.dates[0].as_str(), prices.dates[2985].as_str()), ("2006-01-03", "2017-11-10"));
    let extra = prices.extra.as_ref().unwrap();
    for (day, stock) in [(0, 0), (1500, 250), (2985, 499)] {
        assert!(extra.low.get(day, stock) <= prices.close.get(day, stock));
        assert!(extra.high.get(day, stock) >= prices.close.get(day, stock));
    }
    // Stocks come in order of liquidity: the first trades more dollars than the last.
    let dollars = |s: usize| extra.volume.get(0, s) * prices.close.get(0, s);
    assert!(dollars(0) > 10.0 * dollars(499));
}

#[test]
fn broken_archives_are_refused() {
    for (name, bytes) in [("a.npz", &b"not a zip"[..]), ("b.npz", &b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..])] {
        let error = Prices::read(&file(name, bytes), None).unwrap_err();
        assert!(matches!(error, DataError::Npz { .. }), "{error:?}");
    }
    let csv = file("c.csv", b"date,A\n2020-01-02,1\n");
    assert!(matches!(Prices::read(&csv, Some(&csv)), Err(DataError::ExtraNotNpz { .. })));
}
