//! Hourly loads and temperatures, and what a forecast of a day may know.

use super::program::{Day, HOURS};
use crate::unpack;
use flate2::read::GzDecoder;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The loads of PJM that ship with the program.
const BUILT_IN: &[u8] = include_bytes!("../../data/pjm_2011_2016.csv.gz");
/// The megabytes of text that are read at most: a century of days takes a tenth of it.
const MOST: u64 = 256;
/// Fewer values of a day than this are too few to fill the gaps between them.
const ENOUGH: usize = HOURS / 2;

/// Why loads were refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DataError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {reason}", file = .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A line that is not a day.
    #[error("{file}, line {line}: {reason}; expected date,load_00,...,load_23,temperature_00,...,temperature_23", file = .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// From 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// Nothing could be learned or tested.
    #[error(
        "--test-from {date}: {before} days before it and {after} from it on are too few: {MINIMUM} are needed on each side"
    )]
    Few {
        /// The first day of the test.
        date: String,
        /// Days before it.
        before: usize,
        /// Days from it on.
        after: usize,
    },
}

/// Days on each side of the start of the test, at least.
const MINIMUM: usize = 60;

/// Days with everything that a forecast may know the evening before, and the load that came.
#[derive(Debug, Clone)]
pub struct Days {
    /// Where they come from.
    pub source: String,
    /// Days, `YYYY-MM-DD`.
    pub dates: Vec<String>,
    /// What is known of each day.
    pub features: Vec<Vec<f64>>,
    /// Its load.
    pub loads: Vec<Day>,
}

struct Hourly {
    load: Day,
    temperature: Day,
}

impl Days {
    /// The loads of PJM, 2011 to 2016.
    pub fn built_in() -> Result<Self, DataError> {
        Self::parse(Path::new("PJM loads 2011-2016"), GzDecoder::new(BUILT_IN))
    }

    /// A user's own file, `.csv` or `.csv.gz`, in the layout of the one that ships.
    pub fn read(file: &Path) -> Result<Self, DataError> {
        let bad = |reason: String| DataError::Io { file: file.to_path_buf(), reason };
        let mut bytes = Vec::new();
        let open = File::open(file).and_then(|open| open.take((MOST << 20) + 1).read_to_end(&mut bytes));
        open.map_err(|e| bad(e.to_string()))?;
        // a part of the days would be other data
        if bytes.len() as u64 > MOST << 20 {
            return Err(bad(format!("more than {MOST} MB")));
        }
        if file.extension().is_some_and(|end| end == "gz") {
            bytes = unpack::bytes(&bytes, MOST).map_err(|e| bad(e.to_string()))?;
        }
        Self::parse(file, bytes.as_slice())
    }

    fn parse(file: &Path, text: impl Read) -> Result<Self, DataError> {
        let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(text);
        let mut days: HashMap<i64, Hourly> = HashMap::new();
        let mut order: Vec<(i64, String)> = Vec::new();
        let mut record = csv::StringRecord::new();
        loop {
            let next = rows.read_record(&mut record).map_err(|e| match e.kind() {
                csv::ErrorKind::Io(io) => DataError::Io { file: file.to_path_buf(), reason: io.to_string() },
                _ => {
                    let line = e.position().map_or(0, csv::Position::line);
                    DataError::Line { file: file.to_path_buf(), line, reason: "not text in UTF-8".into() }
                }
            });
            if !next? {
                break;
            }
            let line = record.position().map_or(0, csv::Position::line);
            let bad = |reason: String| DataError::Line { file: file.to_path_buf(), line, reason };
            if record.len() != 1 + 2 * HOURS {
                return Err(bad(format!("{} columns", record.len())));
            }
            let date = record[0].trim();
            let number = day_number(date).ok_or_else(|| bad(format!("{date:?} is not a date like 2011-12-31")))?;
            let values = |from: usize| -> Result<Option<Day>, DataError> {
                let mut day = [f64::NAN; HOURS];
                for (h, value) in day.iter_mut().enumerate() {
                    let cell = record[from + h].trim();
                    if !cell.is_empty() {
                        let parsed = cell.parse().ok().filter(|v: &f64| v.is_finite());
                        *value =
                            parsed.ok_or_else(|| bad(format!("column {}: {cell:?} is not a number", from + h + 1)))?;
                    }
                }
                Ok(fill(day))
            };
            let (load, temperature) = (values(1)?, values(1 + HOURS)?);
            if order.last().is_some_and(|(last, _)| *last >= number) {
                return Err(bad(format!("{date} does not come after the line before: sort the days, one line each")));
            }
            order.push((number, date.to_owned()));
            if let (Some(load), Some(temperature)) = (load, temperature) {
                days.insert(number, Hourly { load, temperature });
            }
        }
        let source = file.file_name().map_or_else(|| "loads".into(), |name| name.to_string_lossy().into_owned());
        let mut out = Days { source, dates: Vec::new(), features: Vec::new(), loads: Vec::new() };
        for (number, date) in order {
            let known = (days.get(&number), days.get(&(number - 1)), days.get(&(number - 7)));
            if let (Some(today), Some(yesterday), Some(week)) = known {
                out.features.push(features(number, &date, today, yesterday, week));
                out.loads.push(today.load);
                out.dates.push(date);
            }
        }
        Ok(out)
    }

    /// The number of days before the test, if there are enough on both sides.
    pub fn before(&self, test_from: &str) -> Result<usize, DataError> {
        let before = self.dates.iter().filter(|date| date.as_str() < test_from).count();
        let after = self.dates.len() - before;
        match before.min(after) >= MINIMUM {
            true => Ok(before),
            false => Err(DataError::Few { date: test_from.to_owned(), before, after }),
        }
    }
}

/// The day with its gaps filled by straight lines between neighbours, the nearest value at the ends; `None` with too many gaps.
fn fill(mut day: Day) -> Option<Day> {
    let known: Vec<usize> = (0..HOURS).filter(|&h| !day[h].is_nan()).collect();
    if known.len() < ENOUGH {
        return None;
    }
    for h in 0..HOURS {
        if day[h].is_nan() {
            let after = known.iter().copied().find(|&k| k > h);
            let before = known.iter().copied().rev().find(|&k| k < h);
            day[h] = match (before, after) {
                (Some(a), Some(b)) => day[a] + (day[b] - day[a]) * (h - a) as f64 / (b - a) as f64,
                (Some(k), None) | (None, Some(k)) => day[k],
                (None, None) => return None,
            };
        }
    }
    Some(day)
}

/// Loads of the day before and of a week before; temperatures of the day before, of the day (where a plant has its forecast)
/// and their squares; weekday, holiday, season.
fn features(number: i64, date: &str, today: &Hourly, yesterday: &Hourly, week: &Hourly) -> Vec<f64> {
    let mut out = Vec::with_capacity(5 * HOURS + 10);
    for part in [&yesterday.load, &week.load, &yesterday.temperature, &today.temperature] {
        out.extend(part);
    }
    out.extend(today.temperature.map(|t| t * t));
    let weekday = weekday(number);
    out.extend((0..7).map(|k| f64::from(k == weekday)));
    out.push(f64::from(is_holiday(date, weekday)));
    let first = day_number(&format!("{}-01-01", &date[..4])).unwrap_or(number);
    let phase = std::f64::consts::TAU * (number - first + 1) as f64 / 365.25;
    out.extend([phase.sin(), phase.cos()]);
    out
}

/// Days since 1970-01-01; `None` for what is not a date like 2011-12-31.
pub fn day_number(date: &str) -> Option<i64> {
    let bytes = date.as_bytes();
    let shape = bytes.len() == 10
        && bytes.iter().enumerate().all(|(k, b)| if k == 4 || k == 7 { *b == b'-' } else { b.is_ascii_digit() });
    if !shape {
        return None;
    }
    let (year, month, day): (i64, i64, i64) =
        (date[..4].parse().ok()?, date[5..7].parse().ok()?, date[8..].parse().ok()?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Years from March, so that the leap day comes last (Hinnant, days_from_civil).
    let year = if month <= 2 { year - 1 } else { year };
    let (era, within) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + within * 365 + within / 4 - within / 100 + of_year - 719_468)
}

/// 0 is Monday.
fn weekday(number: i64) -> i64 {
    (number + 3).rem_euclid(7)
}

/// Days on which the United States rest: New Year, Memorial, Independence, Labor Day, Thanksgiving, Christmas and its eve.
fn is_holiday(date: &str, weekday: i64) -> bool {
    let number = |range: std::ops::Range<usize>| date[range].parse::<u32>().unwrap_or(0);
    let fixed = matches!((number(5..7), number(8..10)), (1, 1) | (7, 4) | (12, 24 | 25));
    fixed || matches!((number(5..7), number(8..10), weekday), (5, 25..=31, 0) | (9, 1..=7, 0) | (11, 22..=28, 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_that_ship_are_those_of_the_study() {
        let days = Days::built_in().unwrap();
        let before = days.before("2015-01-01").unwrap();
        assert_eq!(days.features[0].len(), 130);
        assert_eq!((before, days.dates.len() - before), (1452, 636));
        assert!(days.loads.iter().flatten().all(|load| (1.0..3.1).contains(load)));
    }

    #[test]
    fn the_calendar_is_right() {
        assert_eq!(day_number("1970-01-01"), Some(0));
        assert_eq!(day_number("2000-03-01"), Some(11_017));
        assert_eq!(day_number("2016-02-29"), Some(16_860));
        assert_eq!(day_number("2015-02-29"), None);
        assert_eq!(weekday(day_number("2026-11-29").unwrap()), 6);
        for date in ["2012-11-22", "2014-05-26", "2015-09-07", "2016-07-04"] {
            assert!(is_holiday(date, weekday(day_number(date).unwrap())), "{date}");
        }
        assert!(!is_holiday("2012-11-29", 3));
    }

    #[test]
    fn gaps_are_filled_with_straight_lines() {
        let mut day: Day = std::array::from_fn(|h| h as f64);
        for h in [0, 5, 6, 23] {
            day[h] = f64::NAN;
        }
        let filled = fill(day).unwrap();
        assert_eq!((filled[0], filled[5], filled[6], filled[23]), (1.0, 5.0, 6.0, 22.0));
        assert_eq!(fill(std::array::from_fn(|h| if h < 10 { 1.0 } else { f64::NAN })), None);
    }

    #[test]
    fn all_members_of_a_packed_file_are_read() {
        use std::io::Write as _;
        let packed = |text: &str| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(text.as_bytes()).and_then(|()| out.finish()).unwrap()
        };
        let days = |range: std::ops::Range<i32>| {
            range.map(|day| format!("2015-01-{day:02}{}\n", ",1".repeat(2 * HOURS))).collect::<String>()
        };
        let file = std::env::temp_dir().join(format!("bpqp-loads-{}.csv.gz", std::process::id()));
        std::fs::write(&file, [packed(&format!("date\n{}", days(1..10))), packed(&days(10..20))].concat()).unwrap();
        let read = Days::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read.dates.last().map(String::as_str), Some("2015-01-19"));
    }

    #[test]
    fn later_days_move_no_feature() {
        let text = |bump: f64| {
            let mut text = String::from("date,...\n");
            for day in 1..=28 {
                let load = 1.0 + f64::from(day) * 0.01 + if day > 20 { bump } else { 0.0 };
                text += &format!("2015-01-{day:02}{}\n", format!(",{load}").repeat(2 * HOURS));
            }
            text
        };
        let days = [0.0, 5.0].map(|bump| Days::parse(Path::new("x"), text(bump).as_bytes()));
        let [a, b] = days.map(Result::unwrap);
        let same = a.dates.iter().position(|date| date == "2015-01-21").unwrap();
        assert!(same > 10);
        assert_eq!(a.features[..same], b.features[..same]);
        assert_ne!(a.features[same + 1], b.features[same + 1]);
    }

    #[test]
    fn lines_that_are_no_days_are_refused_with_their_number() {
        let row = |date: &str, cell: &str| format!("{date}{}{cell}\n", ",1".repeat(2 * HOURS - 1) + ",");
        let cases = [
            (row("2015-01-01", "x"), "line 2: column 49: \"x\" is not a number"),
            (row("2015-13-01", "1"), "line 2: \"2015-13-01\" is not a date"),
            (row("2015-01-02", "1") + &row("2015-01-02", "1"), "line 3: 2015-01-02 does not come after"),
            ("2015-01-01,1\n".to_owned(), "line 2: 2 columns; expected date,load_00"),
        ];
        for (text, words) in cases {
            let error = Days::parse(Path::new("x.csv"), ("header\n".to_owned() + &text).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
