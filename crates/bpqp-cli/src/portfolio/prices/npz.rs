//! Prices from NumPy archives (`numpy.savez`): arrays `tickers`, `dates` and `close` (stock x day), and, in the same or
//! a second archive, `open`, `high`, `low` and `volume` of the same shape.
//!
//! An archive is a zip file of `.npy` files, stored or deflated; a `.npy` file is a short text header and the raw
//! numbers. Only what such price files need is read: little-endian floats and unicode strings, in C order.

use super::{DataError, Extra, Panel, Prices, calendar::day_number};
use std::io::Read;
use std::path::Path;

/// One array: its shape and its entries as text or numbers.
struct Array {
    shape: Vec<usize>,
    data: Data,
}

enum Data {
    Text(Vec<String>),
    Numbers(Vec<f64>),
}

pub(super) fn prices(
    file: &Path,
    bytes: &[u8],
    extra: Option<(&Path, &[u8])>,
    limit: u64,
) -> Result<Prices, DataError> {
    let bad = |reason: String| DataError::Npz { file: file.to_path_buf(), reason };
    let archive = Archive { file, bytes, limit };
    let tickers = archive.text("tickers")?;
    let dates = archive.text("dates")?;
    if let Some(date) = dates.iter().find(|d| day_number(d).is_none()) {
        return Err(bad(format!("dates contains {date:?}: write dates as YYYY-MM-DD")));
    }
    if let Some(pair) = dates.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(bad(format!("date {} comes after {}: sort the days, one of each", pair[1], pair[0])));
    }
    let panel = |archive: &Archive<'_>, name: &str| -> Result<Panel, DataError> {
        let bad = |reason: String| DataError::Npz { file: archive.file.to_path_buf(), reason };
        let array = archive.array(name)?;
        let (stocks, days) = (tickers.len(), dates.len());
        let Data::Numbers(values) = array.data else { return Err(bad(format!("{name} does not hold numbers"))) };
        if array.shape != [stocks, days] || values.is_empty() {
            let found = array.shape;
            return Err(bad(format!("{name} has shape {found:?}, expected stock x day = [{stocks}, {days}]")));
        }
        for (k, &value) in values.iter().enumerate() {
            let good = if name == "volume" { value >= 0.0 } else { value > 0.0 };
            if !(good && value.is_finite()) {
                return Err(DataError::NpzValue {
                    file: archive.file.to_path_buf(),
                    array: name.to_owned(),
                    ticker: tickers[k / days].clone(),
                    date: dates[k % days].clone(),
                    value,
                    advice: "prices must be positive and volumes must not be negative; correct it or leave the stock out",
                });
            }
        }
        let by_day = (0..days).flat_map(|t| (0..stocks).map(move |s| (s, t))).map(|(s, t)| values[s * days + t]);
        Ok(Panel::new(stocks, by_day.collect()))
    };
    let close = panel(&archive, "close")?;
    let second = match extra {
        Some((file, bytes)) => Some(Archive { file, bytes, limit }),
        None => archive.names()?.iter().any(|n| n == "volume").then_some(archive),
    };
    let extra = match second {
        None => None,
        Some(archive) => Some(Extra {
            open: panel(&archive, "open")?,
            high: panel(&archive, "high")?,
            low: panel(&archive, "low")?,
            volume: panel(&archive, "volume")?,
        }),
    };
    let source = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let listed = vec![0..dates.len(); tickers.len()];
    Ok(Prices { source, tickers, dates, close, extra, listed, remarks: Vec::new() })
}

struct Archive<'a> {
    file: &'a Path,
    bytes: &'a [u8],
    /// Megabytes that an array may unpack to.
    limit: u64,
}

/// An entry of the zip directory.
struct Entry {
    name: String,
    method: u16,
    packed: usize,
    offset: usize,
}

impl Archive<'_> {
    fn bad(&self, reason: impl Into<String>) -> DataError {
        DataError::Npz { file: self.file.to_path_buf(), reason: reason.into() }
    }

    /// What a file says of places in it may lie anywhere: sums saturate, and what lies beyond the end is cut off.
    fn slice(&self, at: usize, length: usize) -> Option<&[u8]> {
        self.bytes.get(at..at.saturating_add(length))
    }

    fn u16(&self, at: usize) -> Result<u16, DataError> {
        let bytes = self.slice(at, 2).ok_or_else(|| self.bad("the zip archive is cut off"))?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&self, at: usize) -> Result<usize, DataError> {
        Ok(usize::from(self.u16(at)?) | usize::from(self.u16(at.saturating_add(2))?) << 16)
    }

    fn u64(&self, at: usize) -> Result<usize, DataError> {
        Ok(self.u32(at)? | self.u32(at.saturating_add(4))? << 32)
    }

    /// The central directory of the zip file, which stands at its end.
    fn entries(&self) -> Result<Vec<Entry>, DataError> {
        const END: [u8; 4] = *b"PK\x05\x06";
        let end = self.bytes.windows(4).rposition(|w| w == END).ok_or_else(|| self.bad("not a zip archive"))?;
        let count = self.u16(end + 10)?;
        let mut at = self.u32(end + 16)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let (name, more, comment) = (self.u16(at + 28)?, self.u16(at + 30)?, self.u16(at + 32)?);
            let (name, more, comment) = (usize::from(name), usize::from(more), usize::from(comment));
            let text = self.slice(at + 46, name).ok_or_else(|| self.bad("the directory is cut off"))?;
            let (mut packed, unpacked, mut offset) = (self.u32(at + 20)?, self.u32(at + 24)?, self.u32(at + 42)?);
            // Sizes of all ones stand in the 64-bit extra field (id 1), in this order, only where they do not fit.
            let mut field = at + 46 + name;
            while field < at + 46 + name + more {
                let (id, size) = (self.u16(field)?, usize::from(self.u16(field + 2)?));
                if id == 1 {
                    let mut next = field + 4;
                    if unpacked == 0xffff_ffff {
                        next += 8;
                    }
                    if packed == 0xffff_ffff {
                        packed = self.u64(next)?;
                        next += 8;
                    }
                    if offset == 0xffff_ffff {
                        offset = self.u64(next)?;
                    }
                }
                field += 4 + size;
            }
            let name_text = String::from_utf8_lossy(text).trim_end_matches(".npy").to_owned();
            entries.push(Entry { name: name_text, method: self.u16(at + 10)?, packed, offset });
            at += 46 + name + more + comment;
        }
        Ok(entries)
    }

    fn names(&self) -> Result<Vec<String>, DataError> {
        Ok(self.entries()?.into_iter().map(|e| e.name).collect())
    }

    fn text(&self, name: &str) -> Result<Vec<String>, DataError> {
        match self.array(name)?.data {
            Data::Text(text) => Ok(text),
            Data::Numbers(_) => Err(self.bad(format!("{name} holds numbers, expected text"))),
        }
    }

    fn array(&self, name: &str) -> Result<Array, DataError> {
        let entries = self.entries()?;
        let entry = entries.iter().find(|e| e.name == name).ok_or_else(|| {
            let names: Vec<&str> = entries.iter().map(|e| e.name.as_str()).collect();
            self.bad(format!("no array {name:?}; it holds {names:?}, needed are tickers, dates, close (stock x day)"))
        })?;
        let after = |bytes| entry.offset.saturating_add(bytes);
        let names = usize::from(self.u16(after(26))?) + usize::from(self.u16(after(28))?);
        let packed = self.slice(after(30 + names), entry.packed);
        let packed = packed.ok_or_else(|| self.bad(format!("{name} is cut off")))?;
        match entry.method {
            0 => self.npy(name, packed),
            8 => {
                let mut data = Vec::new();
                let most = self.limit.saturating_mul(1 << 20);
                let unpacker = flate2::read::DeflateDecoder::new(packed);
                let unpacked = unpacker.take(most.saturating_add(1)).read_to_end(&mut data);
                unpacked.map_err(|e| self.bad(format!("{name} cannot be unpacked: {e}")))?;
                if data.len() as u64 > most {
                    let limit = self.limit;
                    return Err(
                        self.bad(format!("{name} unpacks to more than {limit} MB: --max-unpacked MB allows more"))
                    );
                }
                self.npy(name, &data)
            }
            method => {
                Err(self.bad(format!("{name} is packed by method {method}; use numpy.savez or savez_compressed")))
            }
        }
    }

    fn npy(&self, name: &str, data: &[u8]) -> Result<Array, DataError> {
        let bad = |reason: &str| self.bad(format!("array {name}: {reason}"));
        if data.len() < 12 || &data[..6] != b"\x93NUMPY" {
            return Err(bad("not a NumPy array"));
        }
        let (from, length) = match data[6] {
            1 => (10, usize::from(u16::from_le_bytes([data[8], data[9]]))),
            _ => (12, u32::from_le_bytes([data[8], data[9], data[10], data[11]]) as usize),
        };
        let header = data.get(from..from + length).ok_or_else(|| bad("the header is cut off"))?;
        let header = String::from_utf8_lossy(header);
        if header.contains("'fortran_order': True") {
            return Err(bad("Fortran order; save numpy.ascontiguousarray(...)"));
        }
        let after = |key: &str| header.split_once(key).map(|(_, rest)| rest);
        let kind = after("'descr': '").and_then(|r| r.split('\'').next()).ok_or_else(|| bad("no element type"))?;
        let shape = after("'shape': (").and_then(|r| r.split(')').next()).ok_or_else(|| bad("no shape"))?;
        let shape: Result<Vec<usize>, _> =
            shape.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::parse).collect();
        let shape = shape.map_err(|_| bad("the shape is not readable"))?;
        let count = shape.iter().try_fold(1_usize, |all, n| all.checked_mul(*n)).unwrap_or(usize::MAX);
        let body = &data[from + length..];
        let width = match kind {
            "<f4" => 4,
            "<f8" => 8,
            _ => match kind.strip_prefix("<U").map(str::parse::<usize>) {
                Some(Ok(characters)) => characters.saturating_mul(4),
                _ => return Err(bad(&format!("element type {kind}; use float32, float64 or unicode text"))),
            },
        };
        if count.checked_mul(width.max(1)).is_none_or(|bytes| body.len() < bytes) {
            return Err(bad("the data are cut off"));
        }
        let data = match kind {
            "<f4" => Data::Numbers(body.chunks_exact(4).take(count).map(|c| f32_at(c).into()).collect()),
            "<f8" => Data::Numbers(body.chunks_exact(8).take(count).map(f64_at).collect()),
            _ => Data::Text((0..count).map(|k| unicode(&body[k * width..(k + 1) * width])).collect()),
        };
        Ok(Array { shape, data })
    }
}

fn f32_at(c: &[u8]) -> f32 {
    f32::from_le_bytes([c[0], c[1], c[2], c[3]])
}

fn f64_at(c: &[u8]) -> f64 {
    f64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]])
}

/// Four bytes a character, padded with zeros.
fn unicode(bytes: &[u8]) -> String {
    let code = |c: &[u8]| u32::from_le_bytes([c[0], c[1], c[2], c[3]]);
    bytes.chunks_exact(4).map(code).take_while(|&c| c != 0).filter_map(char::from_u32).collect()
}
