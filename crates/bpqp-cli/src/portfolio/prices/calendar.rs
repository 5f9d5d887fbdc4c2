//! ISO dates as day numbers.

/// Days since 0000-03-01 of a valid date `YYYY-MM-DD`.
pub(super) fn day_number(date: &str) -> Option<i64> {
    let bytes = date.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digits = date.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Counting years from March puts the leap day last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    Some(365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1)
}

/// The date of a day number, as `YYYY-MM-DD`.
pub(super) fn iso(day: i64) -> String {
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * m + 2) / 5 + 1, if m < 10 { m + 3 } else { m - 9 });
    let year = year_of_era + 400 * era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// How the dates of a file are written: one form for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DateForm {
    /// Year, month, day.
    Iso,
    /// Month, day, year, as in the United States.
    American,
    /// Day, month, year.
    European,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

impl DateForm {
    /// The form in which all of these are dates; of two such forms the one with the fewest weekends. Daily dates of more
    /// than a few weeks leave no doubt.
    pub(super) fn of(texts: &[&str]) -> Self {
        let doubt = |form: &DateForm| {
            let days = texts.iter().map(|t| form.day(t));
            days.map(|d| d.map_or(1000, |d| usize::from((d + 2).rem_euclid(7) >= 5))).sum::<usize>()
        };
        let forms = [DateForm::Iso, DateForm::American, DateForm::European];
        forms.into_iter().min_by_key(doubt).unwrap_or(DateForm::Iso)
    }

    /// The day number of a date. A time of day and a time zone behind it are left out: the date is that of the exchange.
    pub(super) fn day(self, text: &str) -> Option<i64> {
        let text = text.trim();
        if text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
            let date = format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]);
            return if self == DateForm::Iso { day_number(&date) } else { None };
        }
        let mut parts: Vec<&str> =
            text.split(['-', '/', '.', ' ', ',', 'T']).filter(|p| !p.is_empty()).take(3).collect();
        let month_of = |p: &str| {
            let name = p.get(..3)?.to_ascii_lowercase();
            MONTHS.iter().position(|m| *m == name).map(|k| (k + 1).to_string())
        };
        // A month by name says which of the numbers is which.
        let named = parts.iter().position(|p| p.starts_with(|c: char| c.is_ascii_alphabetic()));
        let month;
        if let Some(at) = named {
            month = month_of(parts.get(at)?)?;
            parts[at] = &month;
        }
        let [a, b, c] = parts[..] else { return None };
        let form = match named {
            Some(0) => DateForm::American,
            Some(1) if a.len() < 4 => DateForm::European,
            _ => self,
        };
        let (year, month, day) = match form {
            DateForm::Iso => (a, b, c),
            DateForm::American => (c, a, b),
            DateForm::European => (c, b, a),
        };
        (year.len() == 4 && month.len() <= 2 && day.len() <= 2)
            .then(|| day_number(&format!("{year}-{month:0>2}-{day:0>2}")))?
    }

    /// What is to be said about it.
    pub(super) fn remark(self) -> Option<String> {
        match self {
            DateForm::Iso => None,
            DateForm::American => Some("dates are read as month, day, year".into()),
            DateForm::European => Some("dates are read as day, month, year".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DateForm, day_number, iso};

    #[test]
    fn counts_days() {
        let span = |a, b| day_number(b).unwrap() - day_number(a).unwrap();
        assert_eq!(span("1999-12-31", "2000-01-01"), 1);
        assert_eq!(span("2000-02-28", "2000-03-01"), 2);
        assert_eq!(span("1900-02-28", "1900-03-01"), 1);
        assert_eq!(span("1990-01-02", "2022-12-28"), 12048);
    }

    #[test]
    fn dates_of_many_forms_are_read() {
        let day = |text: &str| iso(DateForm::of(&[text]).day(text).unwrap());
        for text in ["2020-01-31", "20200131", "2020/01/31", "01/31/2020", "1/31/2020", "31.01.2020", "31-Jan-2020"] {
            assert_eq!(day(text), "2020-01-31", "{text}");
        }
        for text in ["Jan 31, 2020", "2020-01-31 00:00:00-05:00", "2020-01-31T21:00:00Z", "2020-01-31 16:00"] {
            assert_eq!(day(text), "2020-01-31", "{text}");
        }
        // The 13th to the 31st settle it, else the weekends do: 4 and 5 January 2020 were one.
        assert_eq!(DateForm::of(&["02/01/2020", "03/01/2020", "06/01/2020"]), DateForm::European);
        assert_eq!(DateForm::of(&["01/02/2020", "01/03/2020", "01/06/2020"]), DateForm::American);
        for start in [0, 59, 146_096, 146_097, 737_000] {
            assert!((start..start + 800).all(|d| day_number(&iso(d)) == Some(d)));
        }
        assert_eq!(DateForm::Iso.day("yesterday"), None);
        assert_eq!(DateForm::American.day("01/02/20"), None);
    }

    #[test]
    fn refuses_what_is_no_date() {
        for bad in ["2001-02-29", "2001-13-01", "2001-1-01", "01/02/2001", "", "2001-00-10", "2001-04-31", "20x1-04-30"]
        {
            assert_eq!(day_number(bad), None, "{bad}");
        }
    }
}
