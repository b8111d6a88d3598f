//! Fields of a line: taken one after another, each complaint naming the field.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use super::error::{Problem, WorkloadError};
use super::input::Bytes;

/// Longest line of any text format; a longer one is not text.
const LONGEST_LINE: u64 = 4096;

/// Lines of a file, counted.
pub(super) struct Lines {
    path: PathBuf,
    bytes: Bytes,
    number: u64,
    line: Vec<u8>,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, number, .. } = self;
        f.debug_struct("Lines")
            .field("path", path)
            .field("number", number)
            .finish_non_exhaustive()
    }
}

impl Lines {
    pub(super) fn new(path: &Path, bytes: Bytes) -> Self {
        Self {
            path: path.to_owned(),
            bytes,
            number: 0,
            line: Vec::new(),
        }
    }

    /// The next line, without its end; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<&str>, WorkloadError> {
        self.line.clear();
        self.number += 1;
        let mut limited = io::Read::take(&mut self.bytes, LONGEST_LINE);
        let count = match limited.read_until(b'\n', &mut self.line) {
            Ok(count) => count,
            Err(source) => {
                let path = self.path.clone();
                return Err(WorkloadError::Read { path, source });
            }
        };
        if count == 0 {
            return Ok(None);
        }
        let ends = self.line.last() == Some(&b'\n');
        if ends {
            self.line.pop();
        } else if count as u64 == LONGEST_LINE {
            let begin = String::from_utf8_lossy(&self.line[..40]).into_owned();
            return Err(self.wrong(Problem::new("line", begin, "at most 4095 bytes")));
        }
        if std::str::from_utf8(&self.line).is_err() {
            let begin = String::from_utf8_lossy(&self.line).into_owned();
            return Err(self.wrong(Problem::new("line", begin, "text in UTF-8")));
        }
        Ok(std::str::from_utf8(&self.line).ok())
    }

    /// A complaint about the line read last.
    pub(super) fn wrong(&self, problem: Problem) -> WorkloadError {
        WorkloadError::Line {
            path: self.path.clone(),
            line: self.number,
            problem,
        }
    }
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Radix {
    /// Hexadecimal without 0x.
    Hex,
    /// Hexadecimal with 0x, or decimal.
    Prefixed,
}

/// The fields of one line.
pub(super) struct Fields<'a, I> {
    rest: I,
    radix: Radix,
    _line: std::marker::PhantomData<&'a str>,
}

impl<'a, I: Iterator<Item = &'a str>> Fields<'a, I> {
    pub(super) fn new(fields: I, radix: Radix) -> Self {
        Self {
            rest: fields,
            radix,
            _line: std::marker::PhantomData,
        }
    }

    /// The next field, which must be there.
    pub(super) fn word(&mut self, field: &'static str) -> Result<&'a str, Problem> {
        let word = self.rest.next();
        word.ok_or_else(|| Problem::new(field, "", "missing"))
    }

    /// The next field if there is one.
    pub(super) fn optional(&mut self) -> Option<&'a str> {
        self.rest.next()
    }

    /// A number up to `most`.
    pub(super) fn number(&mut self, field: &'static str, most: u64) -> Result<u64, Problem> {
        let word = self.word(field)?;
        self.parse(field, word, most)
    }

    pub(super) fn parse(&self, field: &'static str, word: &str, most: u64) -> Result<u64, Problem> {
        let number = match (self.radix, word.strip_prefix("0x")) {
            (Radix::Hex, _) => u64::from_str_radix(word, 16),
            (Radix::Prefixed, Some(digits)) => u64::from_str_radix(digits, 16),
            (Radix::Prefixed, None) => word.parse(),
        };
        let allowed = match self.radix {
            Radix::Hex => "a hexadecimal number without 0x",
            Radix::Prefixed => "a decimal number, or a hexadecimal one with 0x",
        };
        let number = number.map_err(|_| Problem::new(field, word, allowed))?;
        if number > most {
            let allowed = match most {
                0xf_ffff => "at most 20 bits",
                0xffff => "at most 16 bits",
                0xffff_ffff => "at most 32 bits",
                _ => "a smaller number",
            };
            return Err(Problem::new(field, word, allowed));
        }
        Ok(number)
    }

    /// Nothing more on the line.
    pub(super) fn end(mut self) -> Result<(), Problem> {
        match self.rest.next() {
            None => Ok(()),
            Some(word) => Err(Problem::new("end of line", word, "nothing more")),
        }
    }
}
