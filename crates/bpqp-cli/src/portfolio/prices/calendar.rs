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

#[cfg(test)]
mod tests {
    use super::day_number;

    #[test]
    fn counts_days() {
        let span = |a, b| day_number(b).unwrap() - day_number(a).unwrap();
        assert_eq!(span("1999-12-31", "2000-01-01"), 1);
        assert_eq!(span("2000-02-28", "2000-03-01"), 2);
        assert_eq!(span("1900-02-28", "1900-03-01"), 1);
        assert_eq!(span("1990-01-02", "2022-12-28"), 12048);
    }

    #[test]
    fn refuses_what_is_no_date() {
        for bad in ["2001-02-29", "2001-13-01", "2001-1-01", "01/02/2001", "", "2001-00-10", "2001-04-31", "20x1-04-30"]
        {
            assert_eq!(day_number(bad), None, "{bad}");
        }
    }
}
