//! The text trace format, `smmu-trace-1` (docs/src/reference/traces.md): one operation a line.

use std::io::Write;
use std::path::Path;

use smmu::Transaction;
use smmu::addr::{Iova, Pa};
use smmu::ids::{StreamId, SubstreamId};
use smmu::regfile::Width;
use smmu::timing::{Arrival, Operation};
use smmu::transaction::AccessKind;

use super::error::{Problem, WorkloadError};
use super::fields::{Fields, Lines, Radix};
use super::input::Bytes;

/// How a text trace begins.
pub const FIRST_LINE: &str = "# smmu-trace-1";

/// Reads a text trace.
#[derive(Debug)]
pub struct TextReader {
    lines: Lines,
}

impl TextReader {
    /// Reads operations from `bytes`; `path` is for messages.
    pub fn new(path: &Path, bytes: Bytes) -> Self {
        Self {
            lines: Lines::new(path, bytes),
        }
    }

    /// The next operation.
    ///
    /// # Errors
    /// [`WorkloadError`] naming the line and the field.
    pub fn read(&mut self) -> Result<Option<Operation>, WorkloadError> {
        loop {
            let Some(line) = self.lines.next()? else {
                return Ok(None);
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            return match parse(line) {
                Ok(operation) => Ok(Some(operation)),
                Err(problem) => Err(self.lines.wrong(problem)),
            };
        }
    }
}

fn parse(line: &str) -> Result<Operation, Problem> {
    let mut fields = Fields::new(line.split_ascii_whitespace(), Radix::Prefixed);
    let operation = match fields.word("operation")? {
        "T" => transaction(&mut fields)?,
        "C" => {
            let low = fields.number("low word", u64::MAX)?;
            Operation::Command([low, fields.number("high word", u64::MAX)?])
        }
        "S" => Operation::Store {
            pa: Pa::new(fields.number("address", u64::MAX)?),
            value: fields.number("value", u64::MAX)?,
        },
        "R" => {
            let offset = fields.number("offset", 0xffff_ffff)? as u32;
            let value = fields.number("value", u64::MAX)?;
            let width = match fields.word("width")? {
                "4" => Width::W32,
                "8" => Width::W64,
                other => return Err(Problem::new("width", other, "4 or 8")),
            };
            Operation::Register {
                offset,
                width,
                value,
            }
        }
        "A" => Operation::AwaitTransaction(fields.number("transaction", u64::MAX)?),
        "W" => Operation::AwaitCommands,
        "F" => Operation::Fence,
        other => {
            let allowed = "T transaction, C command, S store, R register, A or W or F wait";
            return Err(Problem::new("operation", other, allowed));
        }
    };
    fields.end()?;
    Ok(operation)
}

fn transaction<'a>(
    fields: &mut Fields<'a, impl Iterator<Item = &'a str>>,
) -> Result<Operation, Problem> {
    let not_before = fields.number("time", u64::MAX >> 1)?;
    let stream = StreamId::new(fields.number("stream", 0xffff_ffff)? as u32);
    let substream = match fields.word("substream")? {
        "-" => None,
        word => Some(SubstreamId::new(
            fields.parse("substream", word, 0xf_ffff)? as u32
        )),
    };
    let kind = match fields.word("access")? {
        "r" => AccessKind::Read,
        "w" => AccessKind::Write,
        "a" => AccessKind::Atomic,
        other => return Err(Problem::new("access", other, "r, w or a")),
    };
    let address = Iova::new(fields.number("address", u64::MAX)?);
    let bytes = fields.number("bytes", 0xffff_ffff)? as u32;
    let mut transaction = Transaction::new(stream, address, kind);
    transaction.substream = substream;
    Ok(Operation::Arrive(Arrival {
        transaction,
        bytes,
        not_before,
    }))
}

/// Writes operations as text.
///
/// # Errors
/// What the writer says.
pub fn write(out: &mut impl Write, operation: &Operation) -> std::io::Result<()> {
    match operation {
        Operation::Arrive(arrival) => {
            let Transaction {
                stream,
                substream,
                address,
                kind,
                ..
            } = arrival.transaction;
            let access = match kind {
                AccessKind::Atomic => 'a',
                kind if kind.is_write() => 'w',
                _ => 'r',
            };
            let substream = substream.map_or("-".to_owned(), |id| id.get().to_string());
            let Arrival {
                bytes, not_before, ..
            } = arrival;
            writeln!(
                out,
                "T {not_before} {stream} {substream} {access} {address} {bytes}"
            )
        }
        Operation::Command([low, high]) => writeln!(out, "C {low:#x} {high:#x}"),
        Operation::Store { pa, value } => writeln!(out, "S {pa} {value:#x}"),
        Operation::Register {
            offset,
            width,
            value,
        } => {
            let width = if *width == Width::W64 { 8 } else { 4 };
            writeln!(out, "R {offset:#x} {value:#x} {width}")
        }
        Operation::AwaitTransaction(index) => writeln!(out, "A {index}"),
        Operation::AwaitCommands => writeln!(out, "W"),
        Operation::Fence => writeln!(out, "F"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{FIRST_LINE, TextReader, write};
    use crate::workload::input::from_bytes;

    fn reader(text: &str) -> TextReader {
        TextReader::new(Path::new("t.trace"), from_bytes(text.into()).unwrap())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = "T 5 0x8 - r 0x7f0000001000 64\nT 0 0x8 3 w 0x0 0\nT 0 0x0 - a 0x8 8\n\
            C 0x12 0x1000\nS 0x40000000 0x3\nR 0x80 0x4000000042c54000 8\nR 0x20 0x1 4\nA 7\nW\nF\n";
        let mut reader = reader(&format!("{FIRST_LINE}\n\n# comment\n{text}"));
        let mut out = Vec::new();
        while let Some(operation) = reader.read().unwrap() {
            write(&mut out, &operation).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn a_wrong_line_is_named_with_its_field_and_what_is_allowed() {
        for (line, message) in [
            ("T 0 8 - x 0 4", "t.trace:3: access \"x\": r, w or a"),
            (
                "T 0 8 0x100000 r 0 4",
                "t.trace:3: substream \"0x100000\": at most 20 bits",
            ),
            ("T 0 8 - r 0", "t.trace:3: bytes \"\": missing"),
            (
                "T 0 8 - r 12q 4",
                "t.trace:3: address \"12q\": a decimal number, or a hexadecimal one with 0x",
            ),
            ("F now", "t.trace:3: end of line \"now\": nothing more"),
            (
                "Q",
                "t.trace:3: operation \"Q\": T transaction, C command, S store, R register, A or W or F wait",
            ),
        ] {
            let mut reader = reader(&format!("{FIRST_LINE}\nF\n{line}\n"));
            reader.read().unwrap();
            assert_eq!(reader.read().unwrap_err().to_string(), message);
        }
        let long = "T".repeat(5000);
        assert!(
            reader(&long)
                .read()
                .unwrap_err()
                .to_string()
                .contains("4095")
        );
        assert!(reader("\u{0}\u{1}").read().is_err());
    }
}
