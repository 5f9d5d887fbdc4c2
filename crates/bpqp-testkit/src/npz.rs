//! Reads the `.npz` files of the data collections: a zip archive of little-endian `.npy` arrays.

use flate2::read::DeflateDecoder;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// A numeric array; integers are converted.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Its shape, empty for a scalar.
    pub shape: Vec<usize>,
    /// Its entries in row-major order.
    pub values: Vec<f64>,
}

/// The numeric arrays of an archive, by name.
pub type Npz = BTreeMap<String, Array>;

/// Reads a file; the error says what is wrong with it.
pub fn read(path: &Path) -> Result<Npz, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

fn number(bytes: &[u8], at: usize, width: usize) -> Result<usize, String> {
    let field = bytes.get(at..at + width).ok_or("the file ends early")?;
    Ok(field.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
}

fn parse(bytes: &[u8]) -> Result<Npz, String> {
    // the central directory, found from the end, has the sizes that local headers may leave out
    let end = (0..bytes.len().saturating_sub(21)).rev().find(|&i| bytes[i..].starts_with(b"PK\x05\x06"));
    let end = end.ok_or("not a zip archive")?;
    let (count, mut at) = (number(bytes, end + 10, 2)?, number(bytes, end + 16, 4)?);
    let mut arrays = Npz::new();
    for _ in 0..count {
        if !bytes.get(at..).is_some_and(|b| b.starts_with(b"PK\x01\x02")) {
            return Err("the central directory is damaged".into());
        }
        let method = number(bytes, at + 10, 2)?;
        let (packed, size) = (number(bytes, at + 20, 4)?, number(bytes, at + 24, 4)?);
        let lengths: Vec<usize> = (0..3).map(|k| number(bytes, at + 28 + 2 * k, 2)).collect::<Result<_, _>>()?;
        let local = number(bytes, at + 42, 4)?;
        let name = bytes.get(at + 46..at + 46 + lengths[0]).ok_or("the file ends early")?;
        let name = String::from_utf8_lossy(name).trim_end_matches(".npy").to_owned();
        at += 46 + lengths.iter().sum::<usize>();

        let start = local + 30 + number(bytes, local + 26, 2)? + number(bytes, local + 28, 2)?;
        let content = bytes.get(start..start + packed).ok_or("the file ends early")?;
        let mut plain = Vec::with_capacity(size);
        match method {
            0 => plain.extend_from_slice(content),
            8 => drop(DeflateDecoder::new(content).read_to_end(&mut plain).map_err(|e| format!("{name}: {e}"))?),
            _ => return Err(format!("{name} is compressed with method {method}, expected stored or deflate")),
        }
        if let Some(array) = npy(&plain).map_err(|e| format!("{name}: {e}"))? {
            arrays.insert(name, array);
        }
    }
    Ok(arrays)
}

/// One array; `None` if it holds no numbers.
fn npy(bytes: &[u8]) -> Result<Option<Array>, String> {
    if !bytes.starts_with(b"\x93NUMPY") {
        return Err("not an npy array".into());
    }
    let width = if bytes.get(6) == Some(&1) { 2 } else { 4 };
    let start = 8 + width + number(bytes, 8, width)?;
    let header = String::from_utf8_lossy(bytes.get(8 + width..start).ok_or("the file ends early")?).into_owned();
    let field = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start_matches([':', ' ', '\'']));
    let dtype = field("'descr'").and_then(|r| r.split('\'').next()).ok_or("no dtype in the header")?;
    let shape = field("'shape'").and_then(|r| r.split(['(', ')']).nth(1)).ok_or("no shape in the header")?;
    let shape: Vec<usize> = shape.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    let decode: fn(&[u8]) -> f64 = match dtype {
        "<f8" => |b| f64::from_le_bytes(b.try_into().expect("8 bytes")),
        "<f4" => |b| f32::from_le_bytes(b.try_into().expect("4 bytes")).into(),
        "<i8" => |b| i64::from_le_bytes(b.try_into().expect("8 bytes")) as f64,
        "<i4" => |b| i32::from_le_bytes(b.try_into().expect("4 bytes")).into(),
        _ => return Ok(None),
    };
    let size = if dtype.ends_with('8') { 8 } else { 4 };
    let values: Vec<f64> = bytes[start..].chunks_exact(size).map(decode).collect();
    if values.len() != shape.iter().product::<usize>() {
        return Err(format!("{} values for shape {shape:?}", values.len()));
    }
    if !header.contains("'fortran_order': True") || shape.len() < 2 {
        return Ok(Some(Array { shape, values }));
    }
    if shape.len() != 2 {
        return Err(format!("column-major array of shape {shape:?}"));
    }
    let (rows, cols) = (shape[0], shape[1]);
    let values = (0..rows * cols).map(|k| values[k % cols * rows + k / cols]).collect();
    Ok(Some(Array { shape, values }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dtype: &str, order: &str, shape: &str, body: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}");
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn arrays_are_read_in_row_major_order() {
        let body: Vec<u8> = [1_i32, 2, 3, 4, 5, 6].iter().flat_map(|v| v.to_le_bytes()).collect();
        let c = npy(&array("<i4", "False", "(2, 3)", &body)).expect("valid").expect("numeric");
        assert_eq!((c.shape, c.values), (vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let f = npy(&array("<i4", "True", "(2, 3)", &body)).expect("valid").expect("numeric");
        assert_eq!(f.values, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
        let scalar = npy(&array("<f8", "False", "()", &2.5_f64.to_le_bytes())).expect("valid").expect("numeric");
        assert_eq!((scalar.shape.len(), scalar.values), (0, vec![2.5]));
    }

    #[test]
    fn damaged_files_are_errors_and_text_is_skipped() {
        assert!(parse(b"nothing that resembles an archive").is_err());
        assert!(npy(&array("<f8", "False", "(2,)", &[0; 8])).is_err());
        assert_eq!(npy(&array("<U3", "False", "(1,)", &[0; 12])), Ok(None));
    }
}
