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
    let prices = Prices::built_in_small().unwrap();
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

/// Days that follow each other, weekends left out.
fn days(count: usize) -> Vec<String> {
    let prices = Prices::built_in_small().unwrap();
    prices.dates[..count].to_vec()
}

fn read(name: &str, text: &str) -> Prices {
    Prices::read(&file(name, text.as_bytes()), None).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn layouts_as_users_have_them_hold_the_same_prices() {
    let dates = ["2020-01-30", "2020-01-31", "2020-02-03"];
    let iso = |row: fn(&str, usize) -> String| (0..3).map(|t| row(dates[t], t)).collect::<String>();
    let wide = read("wide10.csv", &format!("Date,A,B\n{}", iso(|d, t| format!("{d},{},{}.5\n", 10 + t, 20 + t))));
    let layouts: [(&str, String); 10] = [
        (
            "long.csv",
            format!("date,symbol,adj_close\n{}", iso(|d, t| format!("{d},A,{}\n{d},B,{}.5\n", 10 + t, 20 + t))),
        ),
        ("semicolons.csv", format!("Date;A;B\n{}", iso(|d, t| format!("{d};{},0;{},5\n", 10 + t, 20 + t)))),
        ("tabs.csv", format!("date\tA\tB\n{}", iso(|d, t| format!("{d}\t{}\t{}.5\n", 10 + t, 20 + t)))),
        ("newest.csv", "date,A,B\n2020-02-03,12,22.5\n2020-01-31,11,21.5\n2020-01-30,10,20.5\n".into()),
        ("american.csv", "Date,A,B\n01/30/2020,10,20.5\n1/31/2020,11,21.5\n02/03/2020,12,22.5\n".into()),
        ("european.csv", "Date;A;B\n30.01.2020;10;20,5\n31.01.2020;11;21,5\n03.02.2020;12;22,5\n".into()),
        ("zones.csv", format!("Datetime,A,B\n{}", iso(|d, t| format!("{d} 00:00:00-05:00,{},{}.5\n", 10 + t, 20 + t)))),
        ("compact.csv", "\u{feff}date,A,B\n20200130,10,20.5\n20200131,11,21.5\n20200203,12,22.5\n".into()),
        (
            "yfinance.csv",
            format!(
                "Price,Adj Close,Adj Close,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume\n\
                 Ticker,A,B,A,B,A,B,A,B,A,B,A,B\nDate,,,,,,,,,,,,\n{}",
                iso(|d, t| format!("{d},{},{}.5,{},41,22,42,18,40,20,41,100,7\n", 10 + t, 20 + t, 20 + 2 * t))
            ),
        ),
        (
            "tickers_first.csv",
            format!(
                "Ticker,A,A,B,B\nPrice,Open,Close,Open,Close\nDate,,,,\n{}",
                iso(|d, t| format!("{d},9,{},19,{}.5\n", 10 + t, 20 + t))
            ),
        ),
    ];
    for (name, text) in layouts {
        let prices = read(name, &text);
        assert_eq!(
            (&prices.tickers, &prices.dates, &prices.close),
            (&wide.tickers, &wide.dates, &wide.close),
            "{name}"
        );
    }
    // One stock alone as a download of one has it, under the name of its file.
    let one = read("AAPL.csv", "Date,Open,High,Low,Close,Adj Close,Volume\n2020-01-30,19,22,18,20,10,100\n");
    assert_eq!((one.tickers[0].as_str(), one.close.get(0, 0)), ("AAPL", 10.0));
}

#[test]
fn adjusted_prices_are_preferred_and_said_so_and_ranges_follow_them() {
    let text = "date,ticker,open,high,low,close,adj close,volume\n\
        2020-01-30,A,38,42,36,40,10,100\n2020-01-31,A,10,11,9,10,10,400\n";
    let prices = read("adjusted.csv", text);
    assert_eq!(prices.close.stock(0), [10.0, 10.0]);
    let extra = prices.extra.as_ref().unwrap();
    assert_eq!((extra.open.get(0, 0), extra.high.get(0, 0), extra.volume.get(0, 0)), (9.5, 10.5, 400.0));
    assert!(prices.remarks.iter().any(|r| r.contains("`Adj Close` is used, not `Close`")), "{:?}", prices.remarks);
}

#[test]
fn an_unadjusted_split_is_reported() {
    let mut text = String::from("date,A,B\n");
    for (t, day) in days(20).iter().enumerate() {
        let a = if t < 10 { 40.0 } else { 10.1 } + 0.01 * t as f64;
        text += &format!("{day},{a},{}\n", 20.0 + 0.1 * t as f64);
    }
    let found = read("split.csv", &text).likely_splits();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("A moves by a factor of 0.25") && found[0].contains("4:1"), "{found:?}");
}

#[test]
fn gaps_are_refused_filled_or_dropped_as_the_user_says() {
    let text = "date,A,B\n2020-01-02,1,2\n2020-01-03,1,\n2020-01-06,1,NaN\n2020-01-07,1,3\n";
    let (error, words) = refused("gap.csv", text);
    assert!(matches!(error, DataError::Gap { line: 3, count: 2, days: 4, .. }), "{error:?}");
    assert!(words.contains("B has no price on 2020-01-03 (2 of its 4 days") && words.contains("--fill"), "{words}");
    let path = file("gap.csv", text.as_bytes());
    let filled = Prices::read_with(&path, None, true, false, 512).unwrap();
    assert_eq!(filled.close.stock(1), [2.0, 2.0, 2.0, 3.0]);
    assert!(filled.remarks.iter().any(|r| r.contains("carried")), "{:?}", filled.remarks);
    let dropped = Prices::read_with(&path, None, false, true, 512).unwrap();
    assert_eq!(dropped.tickers, ["A"]);
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
fn a_late_listing_enters_the_universe_after_its_first_year() {
    let mut text = String::from("date,A,B,C\n");
    for (t, day) in days(400).iter().enumerate() {
        let price = |k: f64| 10.0 + f64::sin(k * t as f64);
        let (late, early) = (if t < 100 { String::new() } else { price(0.7).to_string() }, price(0.3));
        let ends = if t < 390 { price(0.5).to_string() } else { String::new() };
        text += &format!("{day},{early},{late},{ends}\n");
    }
    let prices = read("late.csv", &text);
    assert_eq!(prices.listed, [0..400, 100..400, 0..390]);
    assert!(prices.remarks.iter().any(|r| r.contains("not listed on all days: B")), "{:?}", prices.remarks);
    assert!(!prices.known(339, 1) && prices.known(340, 1) && prices.known(389, 2) && !prices.known(390, 2));
    let part = prices.select(&Selection { from: Some(prices.dates[50].clone()), ..Selection::default() }).unwrap();
    assert_eq!(part.listed, [0..350, 50..350, 0..340]);
}

#[test]
fn dates_must_be_dates_one_row_each() {
    let (error, text) = refused("dup.csv", "date,A\n2020-01-02,1\n2020-01-03,1\n2020-01-03,2\n");
    assert!(matches!(error, DataError::Duplicate { line: 4, first: 3, .. }), "{error:?}");
    assert!(text.contains("2020-01-03") && text.contains("keep one row per day"), "{text}");
    let (error, text) = refused("date.csv", "date,A\n2020-01-02,1\n2020-01-03,1\n03/01/2020,1\n");
    assert!(matches!(error, DataError::Date { line: 4, .. }), "{error:?}");
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
    assert!(matches!(refused("nothing.csv", "").0, DataError::Header { .. }));
    let (error, text) = refused("short.csv", "date,A,B\n2020-01-02,1,2\n2020-01-03,1\n");
    assert!(matches!(error, DataError::Row { line: 3, .. }), "{error:?}");
    assert!(text.contains("2 fields, but the first line names 3"), "{text}");
    let missing = Prices::read(&PathBuf::from("no-such-folder/prices.csv"), None).unwrap_err();
    assert!(matches!(missing, DataError::Io { .. }));
}

#[test]
fn a_selection_takes_days_and_stocks_and_says_when_nothing_is_left() {
    let prices = Prices::built_in_small().unwrap();
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
    // What ships is the same to the steps of its format.
    let packed = Prices::built_in().unwrap();
    assert_eq!((&packed.tickers, &packed.dates), (&prices.tickers, &prices.dates));
    let shipped = packed.extra.as_ref().unwrap();
    for t in 0..prices.dates.len() {
        for s in 0..500 {
            let off = |a: f64, b: f64| (a / b - 1.0).abs();
            assert!(off(packed.close.get(t, s), prices.close.get(t, s)) < 1.001e-4);
            assert!(off(shipped.low.get(t, s), extra.low.get(t, s)) < 3.001e-4);
            let (v, w) = (extra.volume.get(t, s), shipped.volume.get(t, s));
            assert!(if v == 0.0 { w == 0.0 } else { off(w, v) < 0.011 });
        }
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
