//! The format of the prices that ship with the program: small, and exact to 1e-4.
//!
//! A gzip file that holds a line of tickers, a line of dates, a line of `log close / STEP` before the first day (all
//! separated by commas), and then five streams of 16-bit numbers, each as a plane of low bytes followed by a plane of high bytes, stock by stock and day by day:
//!
//! | stream | number, in steps of `STEP` (volumes: `VOLUME_STEP`) |
//! | --- | --- |
//! | close | change of `log close` since the day before (the first day: since the third line), zigzag |
//! | open | `log open / close`, zigzag |
//! | high | `log high / max(open, close)` |
//! | low | `log min(open, close) / low` |
//! | volume | change of `log volume` since the last known one, zigzag, plus 1; 0 where the volume is unknown |
//!
//! Levels are rounded, not changes, so errors do not add up: every price is off by at most 1e-4 of itself (highs and lows
//! twice that), every volume by 1 %.

use super::{DataError, Extra, Panel, Prices};
use flate2::Compression;
use std::io::{Read, Write};
use std::path::Path;

/// Step of logarithms of prices: half of it is the error.
const STEP: f64 = 2e-4;
/// Step of logarithms of volumes.
const VOLUME_STEP: f64 = 0.02;
/// Streams in the order of the file.
const STREAMS: usize = 5;
/// More bytes than this are no file of ours; reading stops there.
const LARGEST: u64 = 1 << 28;

fn zigzag(v: i64) -> i64 {
    if v >= 0 { 2 * v } else { -2 * v - 1 }
}

fn unzigzag(v: i64) -> i64 {
    if v % 2 == 0 { v / 2 } else { -(v + 1) / 2 }
}

fn steps(ratio: f64, step: f64) -> i64 {
    (ratio.ln() / step).round() as i64
}

/// Packs prices that have ranges and volumes; `None` if they have none, or if a number does not fit 16 bits.
pub fn pack(prices: &Prices) -> Option<Vec<u8>> {
    let extra = prices.extra.as_ref()?;
    let (days, stocks) = (prices.dates.len(), prices.tickers.len());
    let mut streams: [Vec<u16>; STREAMS] = Default::default();
    let mut push = |stream: usize, v: i64| -> Option<()> {
        streams[stream].push(u16::try_from(v).ok()?);
        Some(())
    };
    let first: Vec<i64> = (0..stocks).map(|s| steps(prices.close.get(0, s), STEP)).collect();
    for s in 0..stocks {
        let (mut level, mut volume_level) = (first[s], 0);
        for t in 0..days {
            let (close, open) = (prices.close.get(t, s), extra.open.get(t, s));
            let (high, low, volume) = (extra.high.get(t, s), extra.low.get(t, s), extra.volume.get(t, s));
            let now = steps(close, STEP);
            push(0, zigzag(now - level))?;
            level = now;
            push(1, zigzag(steps(open / close, STEP)))?;
            push(2, steps(high / open.max(close), STEP).max(0))?;
            push(3, steps(open.min(close) / low, STEP).max(0))?;
            if volume > 0.0 {
                let now = steps(volume, VOLUME_STEP);
                push(4, 1 + zigzag(now - volume_level))?;
                volume_level = now;
            } else {
                push(4, 0)?;
            }
        }
    }
    let mut out = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
    let first: Vec<String> = first.iter().map(i64::to_string).collect();
    let head = format!("{}\n{}\n{}\n", prices.tickers.join(","), prices.dates.join(","), first.join(","));
    out.write_all(head.as_bytes()).ok()?;
    for stream in &streams {
        let plane = |shift: u32| stream.iter().map(|v| (v >> shift) as u8).collect::<Vec<u8>>();
        out.write_all(&plane(0)).ok()?;
        out.write_all(&plane(8)).ok()?;
    }
    out.finish().ok()
}

/// Reads a packed file. The sizes follow from what is there: no number in the file says how much to allocate.
pub fn unpack(file: &Path, packed: &[u8]) -> Result<Prices, DataError> {
    let bad = |reason: &str| DataError::Packed { file: file.to_path_buf(), reason: reason.to_owned() };
    let mut bytes = Vec::new();
    let read = flate2::read::GzDecoder::new(packed).take(LARGEST).read_to_end(&mut bytes);
    read.map_err(|e| bad(&format!("cannot be unpacked: {e}")))?;
    let line = |from: usize| -> Option<(&str, usize)> {
        let length = bytes.get(from..)?.iter().position(|&b| b == b'\n')?;
        Some((std::str::from_utf8(&bytes[from..from + length]).ok()?, from + length + 1))
    };
    let (tickers, next) = line(0).ok_or_else(|| bad("there is no line of tickers"))?;
    let (dates, next) = line(next).ok_or_else(|| bad("there is no line of dates"))?;
    let (first, from) = line(next).ok_or_else(|| bad("there is no line of first levels"))?;
    let first: Vec<i64> = first.split(',').filter_map(|v| v.parse::<i32>().ok()).map(i64::from).collect();
    let tickers: Vec<String> = tickers.split(',').map(str::to_owned).collect();
    let dates: Vec<String> = dates.split(',').map(str::to_owned).collect();
    let (stocks, days) = (tickers.len(), dates.len());
    let body = &bytes[from..];
    let size = stocks * days;
    if body.len() != 2 * STREAMS * size || first.len() != stocks {
        return Err(bad(&format!("{} bytes of numbers for {stocks} stocks and {days} days", body.len())));
    }
    let value = |stream: usize, at: usize| {
        let low = body[2 * stream * size + at];
        let high = body[(2 * stream + 1) * size + at];
        i64::from(u16::from_le_bytes([low, high]))
    };
    let mut panels: [Panel; STREAMS] = std::array::from_fn(|_| Panel::new(stocks, vec![0.0; size]));
    for s in 0..stocks {
        let (mut level, mut volume_level) = (first[s], 0);
        for t in 0..days {
            let at = s * days + t;
            level += unzigzag(value(0, at));
            let close = (level as f64 * STEP).exp();
            let open = close * (unzigzag(value(1, at)) as f64 * STEP).exp();
            let high = open.max(close) * (value(2, at) as f64 * STEP).exp();
            let low = open.min(close) * (-value(3, at) as f64 * STEP).exp();
            let volume = match value(4, at) {
                0 => 0.0,
                v => {
                    volume_level += unzigzag(v - 1);
                    (volume_level as f64 * VOLUME_STEP).exp()
                }
            };
            for (panel, value) in panels.iter_mut().zip([close, open, high, low, volume]) {
                panel.set(t, s, value);
            }
        }
    }
    let [close, open, high, low, volume] = panels;
    let source = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let listed = vec![0..days; stocks];
    let extra = Some(Extra { open, high, low, volume });
    Ok(Prices { source, tickers, dates, close, extra, listed, remarks: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices() -> Prices {
        let panel = |f: &dyn Fn(usize, usize) -> f64| {
            Panel::new(2, (0..50).flat_map(|t| (0..2).map(move |s| (t, s))).map(|(t, s)| f(t, s)).collect())
        };
        let close = |t: usize, s: usize| (10.0 + 90.0 * s as f64) * (1.0 + 0.3 * ((t * 7 % 11) as f64 / 11.0));
        Prices {
            source: String::new(),
            tickers: vec!["A".into(), "B".into()],
            dates: (0..50).map(|t| format!("2020-{:02}-{:02}", 1 + t / 28, 1 + t % 28)).collect(),
            close: panel(&close),
            extra: Some(Extra {
                open: panel(&|t, s| close(t, s) * 0.99),
                high: panel(&|t, s| close(t, s) * 1.01),
                low: panel(&|t, s| close(t, s) * 0.97),
                volume: panel(&|t, s| if t % 9 == 4 { 0.0 } else { 1e6 * close(t, s) }),
            }),
            listed: vec![0..50; 2],
            remarks: Vec::new(),
        }
    }

    #[test]
    fn packing_keeps_prices_to_a_ten_thousandth() {
        let before = prices();
        let after = unpack(Path::new("p"), &pack(&before).unwrap()).unwrap();
        assert_eq!((&before.tickers, &before.dates), (&after.tickers, &after.dates));
        let (a, b) = (before.extra.unwrap(), after.extra.unwrap());
        for t in 0..50 {
            for s in 0..2 {
                let off = |x: &Panel, y: &Panel| (x.get(t, s) / y.get(t, s) - 1.0).abs();
                assert!(off(&before.close, &after.close) < 1.001e-4);
                assert!(off(&a.open, &b.open) < 2.001e-4 && off(&a.high, &b.high) < 3.001e-4);
                assert!(off(&a.low, &b.low) < 3.001e-4);
                let (v, w) = (a.volume.get(t, s), b.volume.get(t, s));
                assert!(if v == 0.0 { w == 0.0 } else { (v / w - 1.0).abs() < 0.011 }, "{v} {w}");
            }
        }
    }

    #[test]
    fn broken_files_are_refused() {
        let packed = pack(&prices()).unwrap();
        let repack = |bytes: &[u8]| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        };
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
        for broken in
            [&packed[..packed.len() / 2], &b"no gzip"[..], &repack(b"A,B"), &repack(&bytes[..bytes.len() - 1])]
        {
            assert!(matches!(unpack(Path::new("p"), broken), Err(DataError::Packed { .. })));
        }
    }
}
