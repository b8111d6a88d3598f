//! One workload out of many kinds: opened by how it begins, read until its end or its first error.

use std::fs;
use std::io::BufRead;
use std::path::Path;

use smmu::mem::Ram;
use smmu::timing::{Completed, Operation, Workload};

use super::binary::{self, BinaryReader};
use super::driven::Driven;
use super::error::{Problem, WorkloadError};
use super::generator::Generator;
use super::input::{self, Bytes};
use super::qemu::{self, QemuReader};
use super::recorded::{self, Comparison, RecordedReader};
use super::text::{self, TextReader};
use super::world::World;

/// The formats of trace files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `smmu-trace-1`.
    Text,
    /// `SMMUTRC1`.
    Binary,
    /// `smmu-dma-trace-1`.
    Recorded,
    /// QEMU's trace log.
    Qemu,
}

impl Format {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Recorded => "recorded",
            Self::Qemu => "QEMU log",
        }
    }
}

/// Bytes looked at to tell formats apart.
const BEGIN: usize = 4096;

/// Opens a trace and tells its format.
///
/// # Errors
/// [`WorkloadError::Read`] or [`WorkloadError::Format`].
pub fn open(path: &Path) -> Result<(Format, Bytes), WorkloadError> {
    let read = |source| WorkloadError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = input::open(path).map_err(read)?;
    let begins = bytes.fill_buf().map_err(read)?;
    let begins = &begins[..begins.len().min(BEGIN)];
    let text = String::from_utf8_lossy(begins);
    let format = if begins.starts_with(binary::MAGIC) {
        Format::Binary
    } else if text.starts_with(text::FIRST_LINE) {
        Format::Text
    } else if text.starts_with(recorded::FIRST_LINE) {
        Format::Recorded
    } else if text.contains(qemu::MARK) {
        Format::Qemu
    } else {
        return Err(WorkloadError::Format {
            path: path.to_owned(),
            begins: text.chars().take(30).collect(),
        });
    };
    Ok((format, bytes))
}

#[derive(Debug)]
enum Kind<'a> {
    Text(TextReader),
    Binary(BinaryReader),
    Recorded(Box<RecordedReader<'a>>),
    Qemu(QemuReader),
    Generated(Box<Generator>),
    Driven(Box<Driven>),
}

/// A workload, until its end or its first error.
#[derive(Debug)]
pub struct Source<'a> {
    kind: Kind<'a>,
    /// Maps pages as they are first seen.
    world: Option<World<'a>>,
    /// An operation read ahead.
    ahead: Option<Operation>,
    error: Option<WorkloadError>,
    transactions: u64,
}

impl<'a> Source<'a> {
    fn of(kind: Kind<'a>) -> Self {
        Self {
            kind,
            world: None,
            ahead: None,
            error: None,
            transactions: 0,
        }
    }

    /// A generated workload.
    pub fn generated(generator: Generator) -> Self {
        Self::of(Kind::Generated(Box::new(generator)))
    }

    /// A workload with a driver in it.
    pub fn driven(driven: Driven) -> Self {
        Self::of(Kind::Driven(Box::new(driven)))
    }

    /// A trace of a format, from its bytes; `ram` is the memory the machine will
    /// use, `shadow` empty memory for the reader's own use.
    pub fn trace(
        path: &Path,
        format: Format,
        bytes: Bytes,
        (ram, shadow): (&'a Ram, &'a Ram),
    ) -> Self {
        Self::of(match format {
            Format::Text => Kind::Text(TextReader::new(path, bytes)),
            Format::Binary => Kind::Binary(BinaryReader::new(path, bytes)),
            Format::Recorded => {
                let reader = RecordedReader::new(path, bytes, ram, shadow);
                Kind::Recorded(Box::new(reader.with_known(known(path))))
            }
            Format::Qemu => Kind::Qemu(QemuReader::new(path, bytes)),
        })
    }

    /// The same on a world that maps pages as transactions first touch them.
    #[must_use]
    pub fn on(mut self, world: World<'a>) -> Self {
        self.world = Some(world);
        self
    }

    /// The same, its transactions passed on and not answered.
    #[must_use]
    pub fn unanswered(mut self) -> Self {
        if let Kind::Recorded(reader) = self.kind {
            self.kind = Kind::Recorded(Box::new(reader.unanswered()));
        }
        self
    }

    /// Whether the trace sets up the SMMU itself: it begins with a register write.
    pub fn sets_up(&mut self) -> bool {
        if matches!(self.kind, Kind::Recorded(_)) {
            return true;
        }
        self.ahead = self.read_or_remember();
        matches!(self.ahead, Some(Operation::Register { .. }))
    }

    /// Why the workload ended early, if it did.
    pub fn error(self) -> Option<WorkloadError> {
        self.error
    }

    /// How answers compare with recorded ones.
    pub fn comparison(&self) -> Option<&Comparison> {
        match &self.kind {
            Kind::Recorded(reader) => Some(reader.comparison()),
            _ => None,
        }
    }

    /// Transactions issued, and how many there will be, where that is known.
    pub fn progress(&self) -> (u64, Option<u64>) {
        match &self.kind {
            Kind::Generated(generator) => {
                let (done, all) = generator.progress();
                (done, Some(all))
            }
            Kind::Driven(driven) => {
                let (done, all) = driven.progress();
                (done, Some(all))
            }
            _ => (self.transactions, None),
        }
    }

    fn read(&mut self) -> Result<Option<Operation>, WorkloadError> {
        match &mut self.kind {
            Kind::Text(reader) => reader.read(),
            Kind::Binary(reader) => reader.read(),
            Kind::Recorded(reader) => reader.read(),
            Kind::Qemu(reader) => reader.read(),
            Kind::Generated(generator) => Ok(generator.next()),
            Kind::Driven(driven) => driven.read(),
        }
    }

    fn read_or_remember(&mut self) -> Option<Operation> {
        if self.error.is_some() {
            return None;
        }
        self.read().unwrap_or_else(|error| {
            self.error = Some(error);
            None
        })
    }

    /// Maps what the operation needs.
    fn prepare(&mut self, operation: &Operation) -> Result<(), WorkloadError> {
        let (Some(world), Operation::Arrive(arrival)) = (&mut self.world, operation) else {
            return Ok(());
        };
        let stream = arrival.transaction.stream.get();
        if stream >= world.streams() {
            return Err(WorkloadError::World {
                what: Problem::new(
                    "stream",
                    format!("{stream:#x}"),
                    "less than machine.streams",
                )
                .to_string(),
            });
        }
        world.map(stream, arrival.transaction.address.get())?;
        Ok(())
    }
}

/// Transactions that the recording machine is known to answer wrongly: the first column of the file
/// beside the trace.
fn known(path: &Path) -> Vec<u64> {
    let name = path.file_name().and_then(|name| name.to_str());
    let stem = name.and_then(|name| name.split(".csv").next());
    let Some(stem) = stem else {
        return Vec::new();
    };
    let beside = path.with_file_name(format!("{stem}.quirks.tsv"));
    let text = fs::read_to_string(beside).unwrap_or_default();
    let mut known: Vec<u64> = text
        .lines()
        .filter_map(|line| line.split('\t').next()?.parse().ok())
        .collect();
    known.sort_unstable();
    known
}

impl Workload for Source<'_> {
    fn next_operation(&mut self) -> Option<Operation> {
        let operation = match self.ahead.take() {
            Some(operation) => operation,
            None => self.read_or_remember()?,
        };
        if let Err(error) = self.prepare(&operation) {
            self.error = Some(error);
            return None;
        }
        if let Operation::Arrive(_) = operation {
            self.transactions += 1;
        }
        Some(operation)
    }

    fn completed(&mut self, completed: &Completed<'_>) {
        if let Kind::Recorded(reader) = &mut self.kind {
            reader.completed(completed);
        }
    }
}
