//! Bytes of a file as they are needed: plain, gzip or Zstandard, told apart by how it begins.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

/// A stream of decompressed bytes.
pub type Bytes = Box<dyn BufRead>;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Opens a file for streaming.
///
/// # Errors
/// What the file system or the decoder says.
pub fn open(path: &Path) -> io::Result<Bytes> {
    stream(BufReader::with_capacity(1 << 16, File::open(path)?))
}

/// Decompresses a stream, if it is compressed.
///
/// # Errors
/// What the reader or the decoder says.
pub fn stream(mut source: impl BufRead + 'static) -> io::Result<Bytes> {
    let begins = source.fill_buf()?;
    if begins.starts_with(GZIP) {
        let decoder = flate2::bufread::MultiGzDecoder::new(source);
        Ok(Box::new(BufReader::with_capacity(1 << 16, decoder)))
    } else if begins.starts_with(ZSTD) {
        let frames = Frames {
            source: Some(source),
            frame: None,
        };
        Ok(Box::new(BufReader::with_capacity(1 << 16, frames)))
    } else {
        Ok(Box::new(source))
    }
}

/// Bytes in memory as a stream.
///
/// # Errors
/// As [`stream`].
pub fn from_bytes(bytes: Vec<u8>) -> io::Result<Bytes> {
    stream(Cursor::new(bytes))
}

type Frame<R> = ruzstd::decoding::StreamingDecoder<R, ruzstd::decoding::FrameDecoder>;

/// Zstandard frames one after another.
struct Frames<R: Read> {
    source: Option<R>,
    frame: Option<Frame<R>>,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(mut frame) = self.frame.take() {
                let count = frame.read(buffer)?;
                if count > 0 {
                    self.frame = Some(frame);
                    return Ok(count);
                }
                self.source = Some(frame.into_inner());
            }
            let Some(mut source) = self.source.take() else {
                return Ok(0);
            };
            if source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let frame = ruzstd::decoding::StreamingDecoder::new(source)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.frame = Some(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        from_bytes(bytes.to_vec())?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn frames_of_zstandard_are_read_one_after_another() {
        // One raw block holding "STE", no checksum, single segment.
        let frame = [
            0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19, 0, 0, b'S', b'T', b'E',
        ];
        assert_eq!(read(&[frame, frame].concat()).unwrap(), b"STESTE");
        assert_eq!(read(b"plain").unwrap(), b"plain");
        assert!(read(&frame[..9]).is_err());
    }
}
