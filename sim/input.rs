//! Reading files: plain, gzip or Zstandard, told apart by their first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// Magic number of a gzip member (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Magic number of a Zstandard frame (RFC 8878), little-endian.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// The file as a stream, decompressed on the way.
///
/// # Errors
/// What the file system or the decoder says; the caller adds the file's name.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    decoder(File::open(path)?)
}

/// The whole file, decompressed.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
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
    if !is_compressed(&bytes) {
        return Ok(bytes);
    }
    let mut out = Vec::new();
    decoder(Cursor::new(bytes))?.read_to_end(&mut out)?;
    Ok(out)
}

/// `source`, decompressed if it is compressed.
fn decoder(mut source: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut magic = Vec::new();
    source
        .by_ref()
        .take(ZSTD.len() as u64)
        .read_to_end(&mut magic)?;
    let (gzip, zstd) = (magic.starts_with(GZIP), magic.starts_with(ZSTD));
    let whole = BufReader::new(Cursor::new(magic).chain(source));
    Ok(if gzip {
        Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(whole)))
    } else if zstd {
        Box::new(BufReader::new(Frames(Some(frame(whole)?))))
    } else {
        Box::new(whole)
    })
}

/// Zstandard frames one after another. `None` once the source has ended or failed.
struct Frames<R: Read>(Option<StreamingDecoder<R, FrameDecoder>>);

fn frame<R: Read>(source: R) -> io::Result<StreamingDecoder<R, FrameDecoder>> {
    StreamingDecoder::new(source).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(mut decoder) = self.0.take() {
            let count = decoder.read(buffer)?;
            if count != 0 || buffer.is_empty() {
                self.0 = Some(decoder);
                return Ok(count);
            }
            let mut source = decoder.into_inner();
            if !source.fill_buf()?.is_empty() {
                self.0 = Some(frame(source)?);
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor, Read as _, Write as _};

    use super::decoder;

    fn decompress(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decoder(Cursor::new(bytes))?.read_to_end(&mut out)?;
        Ok(out)
    }

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
        assert_eq!(decompress([frame, frame].concat()).unwrap(), b"STESTE");
    }

    #[test]
    fn damaged_data_are_an_error() {
        assert!(decompress(vec![0x1f, 0x8b, 8, 0, 1]).is_err());
        assert!(decompress(vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19]).is_err());
    }
}
