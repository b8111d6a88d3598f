//! Reading files: plain, gzip or Zstandard, told apart by their first bytes.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// Magic number of a gzip member (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Magic number of a Zstandard frame (RFC 8878), little-endian.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// The whole file, decompressed.
///
/// # Errors
/// What the file system or the decoder says; the caller adds the file's name.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    decompress(fs::read(path)?)
}

/// The whole file, decompressed, as text.
///
/// # Errors
/// As [`read`], or [`io::ErrorKind::InvalidData`] if it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Whether a file that begins with these bytes is compressed.
pub fn is_compressed(start: &[u8]) -> bool {
    start.starts_with(GZIP) || start.starts_with(ZSTD)
}

/// `bytes`, decompressed if they are compressed.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] or the like if the compressed data are damaged.
pub fn decompress(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    if bytes.starts_with(GZIP) {
        flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut out)?;
    } else if bytes.starts_with(ZSTD) {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let mut frame = ruzstd::decoding::StreamingDecoder::new(&mut rest)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            frame.read_to_end(&mut out)?;
        }
    } else {
        return Ok(bytes);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::decompress;

    #[test]
    fn plain_and_gzip_give_the_same_text() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"stream table").unwrap();
        assert_eq!(decompress(gzip.finish().unwrap()).unwrap(), b"stream table");
        assert_eq!(
            decompress(b"stream table".to_vec()).unwrap(),
            b"stream table"
        );
    }

    #[test]
    fn zstandard_frames_are_decoded() {
        // One raw block holding "STE", no checksum, single segment.
        let frame = [
            0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19, 0, 0, b'S', b'T', b'E',
        ];
        assert_eq!(decompress(frame.to_vec()).unwrap(), b"STE");
    }

    #[test]
    fn damaged_data_are_an_error() {
        assert!(decompress(vec![0x1f, 0x8b, 8, 0, 1]).is_err());
        assert!(decompress(vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19]).is_err());
    }
}
