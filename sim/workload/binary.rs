//! The binary trace format, `SMMUTRC1` (docs/src/reference/traces.md): the operations of the text
//! format in a few bytes each.
//!
//! After the eight magic bytes come records: a byte whose low four bits say which operation, then
//! its numbers as LEB128. Addresses of transactions are differences to the one before.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

use smmu::Transaction;
use smmu::addr::{Iova, Pa};
use smmu::ids::{StreamId, SubstreamId};
use smmu::regfile::Width;
use smmu::timing::{Arrival, Operation};
use smmu::transaction::AccessKind;

use super::error::{Problem, WorkloadError};
use super::input::Bytes;

/// How a binary trace begins.
pub const MAGIC: &[u8; 8] = b"SMMUTRC1";

const TRANSACTION: u8 = 1;
const COMMAND: u8 = 2;
const STORE: u8 = 3;
const REGISTER: u8 = 4;
const AWAIT_TRANSACTION: u8 = 5;
const AWAIT_COMMANDS: u8 = 6;
const FENCE: u8 = 7;

/// Bits of the first byte of a transaction.
const WRITE: u8 = 0x10;
const ATOMIC: u8 = 0x20;
const SUBSTREAM: u8 = 0x40;
const SAME: u8 = 0x80;

/// Bit of the first byte of a register write.
const WIDE: u8 = 0x10;

/// What the transaction before had, for differences.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    stream: u32,
    bytes: u32,
    address: u64,
    time: u64,
}

/// Reads a binary trace.
pub struct BinaryReader {
    path: PathBuf,
    bytes: Bytes,
    offset: u64,
    record: u64,
    before: Before,
}

impl std::fmt::Debug for BinaryReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, offset, .. } = self;
        f.debug_struct("BinaryReader")
            .field("path", path)
            .field("offset", offset)
            .finish_non_exhaustive()
    }
}

enum Trouble {
    Io(io::Error),
    Wrong(Problem),
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::Wrong(problem)
    }
}

impl BinaryReader {
    /// Reads operations from `bytes`, which begin with [`MAGIC`]; `path` is for messages.
    pub fn new(path: &Path, mut bytes: Bytes) -> Self {
        bytes.consume(MAGIC.len());
        Self {
            path: path.to_owned(),
            bytes,
            offset: MAGIC.len() as u64,
            record: 0,
            before: Before::default(),
        }
    }

    /// The next operation.
    ///
    /// # Errors
    /// [`WorkloadError`] naming the byte where the record begins.
    pub fn read(&mut self) -> Result<Option<Operation>, WorkloadError> {
        self.record = self.offset;
        self.operation().map_err(|trouble| {
            let path = self.path.clone();
            match trouble {
                Trouble::Io(source) => WorkloadError::Read { path, source },
                Trouble::Wrong(problem) => WorkloadError::Record {
                    path,
                    offset: self.record,
                    problem,
                },
            }
        })
    }

    fn byte(&mut self) -> Result<Option<u8>, Trouble> {
        let buffer = self.bytes.fill_buf().map_err(Trouble::Io)?;
        let Some(&byte) = buffer.first() else {
            return Ok(None);
        };
        self.bytes.consume(1);
        self.offset += 1;
        Ok(Some(byte))
    }

    fn number(&mut self, field: &'static str, most: u64) -> Result<u64, Trouble> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.byte()? else {
                return Err(Problem::new(field, "", "the file ends inside a record").into());
            };
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return if number <= most {
                    Ok(number)
                } else {
                    Err(Problem::new(field, format!("{number:#x}"), "a smaller number").into())
                };
            }
        }
        Err(Problem::new(field, "more than 64 bits", "at most 64 bits").into())
    }

    fn operation(&mut self) -> Result<Option<Operation>, Trouble> {
        let Some(first) = self.byte()? else {
            return Ok(None);
        };
        Ok(Some(match first & 0xf {
            TRANSACTION => self.transaction(first)?,
            COMMAND => {
                let low = self.number("low word", u64::MAX)?;
                Operation::Command([low, self.number("high word", u64::MAX)?])
            }
            STORE => Operation::Store {
                pa: Pa::new(self.number("address", u64::MAX)?),
                value: self.number("value", u64::MAX)?,
            },
            REGISTER => Operation::Register {
                width: if first & WIDE != 0 {
                    Width::W64
                } else {
                    Width::W32
                },
                offset: self.number("offset", u32::MAX.into())? as u32,
                value: self.number("value", u64::MAX)?,
            },
            AWAIT_TRANSACTION => Operation::AwaitTransaction(self.number("transaction", u64::MAX)?),
            AWAIT_COMMANDS => Operation::AwaitCommands,
            FENCE => Operation::Fence,
            _ => {
                let found = format!("{first:#04x}");
                return Err(Problem::new("operation", found, "1 to 7 in the low four bits").into());
            }
        }))
    }

    fn transaction(&mut self, first: u8) -> Result<Operation, Trouble> {
        if first & SAME == 0 {
            self.before.stream = self.number("stream", u32::MAX.into())? as u32;
            self.before.bytes = self.number("bytes", u32::MAX.into())? as u32;
        }
        let substream = if first & SUBSTREAM != 0 {
            Some(SubstreamId::new(self.number("substream", 0xf_ffff)? as u32))
        } else {
            None
        };
        let step = self.number("address", u64::MAX)?;
        let time = self.number("time", u64::MAX >> 1)?;
        let Before {
            stream,
            bytes,
            address,
            time: before,
        } = self.before;
        let address = address.wrapping_add(unfold(step));
        let not_before = before.checked_add(time).filter(|time| time >> 63 == 0);
        let not_before = not_before
            .ok_or_else(|| Problem::new("time", format!("+{time}"), "less than 2^63 in all"))?;
        (self.before.address, self.before.time) = (address, not_before);
        let kind = match first & (WRITE | ATOMIC) {
            0 => AccessKind::Read,
            WRITE => AccessKind::Write,
            ATOMIC => AccessKind::Atomic,
            _ => {
                let found = format!("{first:#04x}");
                return Err(Problem::new("access", found, "read, write or atomic").into());
            }
        };
        let mut transaction = Transaction::new(StreamId::new(stream), Iova::new(address), kind);
        transaction.substream = substream;
        Ok(Operation::Arrive(Arrival {
            transaction,
            bytes,
            not_before,
        }))
    }
}

/// Signed differences as unsigned numbers, small ones small.
fn fold(step: u64) -> u64 {
    step << 1 ^ ((step as i64) >> 63) as u64
}

fn unfold(folded: u64) -> u64 {
    folded >> 1 ^ (folded & 1).wrapping_neg()
}

/// Writes a binary trace.
#[derive(Debug)]
pub struct BinaryWriter<W> {
    out: W,
    before: Before,
}

impl<W: Write> BinaryWriter<W> {
    /// Begins a trace.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        let before = Before::default();
        Ok(Self { out, before })
    }

    fn number(&mut self, mut number: u64) -> io::Result<()> {
        while number >= 0x80 {
            self.out.write_all(&[number as u8 | 0x80])?;
            number >>= 7;
        }
        self.out.write_all(&[number as u8])
    }

    /// Writes one operation. Times that go back are written as the time before.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&mut self, operation: &Operation) -> io::Result<()> {
        match operation {
            Operation::Arrive(arrival) => self.transaction(arrival),
            Operation::Command([low, high]) => self.record(COMMAND, &[*low, *high]),
            Operation::Store { pa, value } => self.record(STORE, &[pa.get(), *value]),
            Operation::Register {
                offset,
                width,
                value,
            } => {
                let wide = if *width == Width::W64 { WIDE } else { 0 };
                self.record(REGISTER | wide, &[u64::from(*offset), *value])
            }
            Operation::AwaitTransaction(index) => self.record(AWAIT_TRANSACTION, &[*index]),
            Operation::AwaitCommands => self.record(AWAIT_COMMANDS, &[]),
            Operation::Fence => self.record(FENCE, &[]),
        }
    }

    fn record(&mut self, first: u8, numbers: &[u64]) -> io::Result<()> {
        self.out.write_all(&[first])?;
        numbers.iter().try_for_each(|&number| self.number(number))
    }

    fn transaction(&mut self, arrival: &Arrival) -> io::Result<()> {
        let Arrival {
            transaction,
            bytes,
            not_before,
        } = arrival;
        let before = self.before;
        let stream = transaction.stream.get();
        let same = stream == before.stream && *bytes == before.bytes;
        let kind = match transaction.kind {
            AccessKind::Atomic => ATOMIC,
            kind if kind.is_write() => WRITE,
            _ => 0,
        };
        let present = if transaction.substream.is_some() {
            SUBSTREAM
        } else {
            0
        };
        let first = TRANSACTION | kind | present | if same { SAME } else { 0 };
        self.out.write_all(&[first])?;
        if !same {
            self.number(stream.into())?;
            self.number((*bytes).into())?;
        }
        if let Some(substream) = transaction.substream {
            self.number(substream.get().into())?;
        }
        let address = transaction.address.get();
        let time = (*not_before).max(before.time);
        self.number(fold(address.wrapping_sub(before.address)))?;
        self.number(time - before.time)?;
        self.before = Before {
            stream,
            bytes: *bytes,
            address,
            time,
        };
        Ok(())
    }

    /// Ends the trace.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::workload::input::from_bytes;
    use crate::workload::random::Random;

    fn operations(count: usize) -> Vec<Operation> {
        let mut random = Random::new(7);
        let mut time = 0;
        (0..count)
            .map(|_| match random.below(10) {
                0 => Operation::Command([random.bits(), random.bits()]),
                1 => Operation::Store {
                    pa: Pa::new(random.bits()),
                    value: random.bits(),
                },
                2 => Operation::Register {
                    offset: random.bits() as u32,
                    width: if random.below(2) == 0 {
                        Width::W32
                    } else {
                        Width::W64
                    },
                    value: random.bits(),
                },
                3 => Operation::AwaitTransaction(random.below(1000)),
                4 => Operation::AwaitCommands,
                5 => Operation::Fence,
                _ => {
                    let kinds = [AccessKind::Read, AccessKind::Write, AccessKind::Atomic];
                    let kind = kinds[random.below(3) as usize];
                    let stream = StreamId::new(random.below(3) as u32);
                    let mut transaction = Transaction::new(stream, Iova::new(random.bits()), kind);
                    if random.below(2) == 0 {
                        transaction.substream =
                            Some(SubstreamId::new(random.below(1 << 20) as u32));
                    }
                    time += random.below(300);
                    Operation::Arrive(Arrival {
                        transaction,
                        bytes: 64,
                        not_before: time,
                    })
                }
            })
            .collect()
    }

    fn written(operations: &[Operation]) -> Vec<u8> {
        let mut writer = BinaryWriter::new(Vec::new()).unwrap();
        for operation in operations {
            writer.write(operation).unwrap();
        }
        writer.finish().unwrap()
    }

    fn reader(bytes: Vec<u8>) -> BinaryReader {
        BinaryReader::new(Path::new("t.bin"), from_bytes(bytes).unwrap())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let operations = operations(2000);
        let mut reader = reader(written(&operations));
        for operation in &operations {
            assert_eq!(reader.read().unwrap().as_ref(), Some(operation));
        }
        assert_eq!(reader.read().unwrap(), None);
    }

    #[test]
    fn a_trace_cut_anywhere_or_damaged_ends_or_says_where() {
        let bytes = written(&operations(60));
        for length in MAGIC.len()..bytes.len() {
            let mut reader = reader(bytes[..length].to_vec());
            while let Ok(Some(_)) = reader.read() {}
        }
        let mut random = Random::new(3);
        for _ in 0..2000 {
            let mut bytes = bytes.clone();
            let at = MAGIC.len() as u64 + random.below((bytes.len() - MAGIC.len()) as u64);
            bytes[at as usize] = random.bits() as u8;
            let mut reader = reader(bytes);
            while let Ok(Some(_)) = reader.read() {}
        }
        let error = reader([MAGIC.as_slice(), &[0]].concat())
            .read()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "t.bin: byte 8: operation \"0x00\": 1 to 7 in the low four bits"
        );
    }
}
