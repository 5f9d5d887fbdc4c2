//! Files packed with gzip: all their members, and no more than a limit.

use crate::problem_file::FileError;
use flate2::read::MultiGzDecoder;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

/// Megabytes that a packed file may unpack to, unless the user allows more: 3 MB of gzip can hold 3 GB of zeros.
pub const MAX_UNPACKED: u64 = 512;

/// The text of a file, unpacked to at most `limit` megabytes if its name ends in `.gz`.
pub fn read(file: &Path, limit: u64) -> Result<String, FileError> {
    let packed = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    let text = match packed {
        true => std::fs::read(file).and_then(|bytes| text(&bytes, limit)),
        false => std::fs::read_to_string(file),
    };
    text.map_err(|e| FileError::new(file, e))
}

/// The text of all members of a gzip file, at most `limit` megabytes.
pub fn text(packed: &[u8], limit: u64) -> Result<String, Error> {
    String::from_utf8(bytes(packed, limit)?).map_err(|e| Error::new(ErrorKind::InvalidData, e))
}

/// Its bytes.
pub fn bytes(packed: &[u8], limit: u64) -> Result<Vec<u8>, Error> {
    let most = limit.saturating_mul(1 << 20);
    let mut out = Vec::new();
    MultiGzDecoder::new(packed).take(most.saturating_add(1)).read_to_end(&mut out)?;
    if out.len() as u64 > most {
        return Err(Error::other(format!("unpacks to more than {limit} MB: --max-unpacked MB allows more")));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write as _;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(bytes).expect("to memory");
        out.finish().expect("to memory")
    }

    #[test]
    fn every_member_is_read_up_to_the_limit() {
        let both = [packed(b"one "), packed(b"two")].concat();
        assert_eq!(text(&both, 1).expect("valid"), "one two");
        assert!(text(&both[..both.len() - 3], 1).is_err());
        assert!(text(&[&both[..], b"more"].concat(), 1).is_err());
        let zeros = packed(&vec![b'0'; 1 << 20]);
        assert_eq!(text(&zeros, 1).expect("just fits").len(), 1 << 20);
        let error = text(&[zeros, packed(b"0")].concat(), 1).expect_err("too much").to_string();
        assert!(error.contains("more than 1 MB: --max-unpacked"), "{error}");
    }
}
