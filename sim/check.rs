//! Recorded answers of other implementations, compared with the model's, field by field.

mod driver;
mod golden;
mod report;
mod trace;
mod truth;
mod type1;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use smmu::Outcome;
use smmu::cache::CacheConfig;
use thiserror::Error;

pub use report::{Report, TraceSummary};
pub use trace::{Watch, Window};

use crate::input;
use crate::snapshot::{self, Snapshot, SnapshotError};

/// Whose part in a trace is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The device's: the recorded driver drives our device.
    Device,
    /// The driver's: our driver does what the recorded one did, and issues its commands.
    Driver,
}

/// How recordings are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOptions {
    /// Caches of the device that traces are replayed on.
    pub caches: CacheConfig,
    /// Whether the recorded driver's mistakes are looked for.
    pub watch: Watch,
    /// Whose part in traces is compared.
    pub side: Side,
    /// The machine VFIO sessions were recorded on, in the words of their names (`k61_two`), if
    /// names do not tell.
    pub machine: Option<String>,
    /// The part of each trace whose caches are to be shown.
    pub show: Option<Window>,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            caches: CacheConfig::INFINITE,
            watch: Watch::Off,
            side: Side::Device,
            machine: None,
            show: None,
        }
    }
}

/// Why a recording cannot be checked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A file cannot be read.
    #[error("{}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Nothing in the file says what kind of recording it is.
    #[error("{}: {what}", path.display())]
    UnknownKind {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        what: String,
    },
    /// A snapshot is damaged.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// Compares every case in the file at `path`, whose kind is told by its content. Traces are replayed
/// as `options` say; the other kinds of the device ask each question of a cold one.
///
/// # Errors
/// [`CheckError`] if the file cannot be read or understood; a disagreement is not an error.
pub fn check_file(
    path: &Path,
    options: &CheckOptions,
    report: &mut Report,
) -> Result<(), CheckError> {
    let read = |source| CheckError::Read {
        path: path.into(),
        source,
    };
    let mut reader = input::open(path).map_err(read)?;
    let mut bytes = Vec::new();
    let mut start = reader.by_ref().take(trace::START);
    start.read_to_end(&mut bytes).map_err(read)?;
    if trace::is_trace(&bytes) && options.side == Side::Device {
        return trace::check(path, bytes.chain(reader), options, report);
    }
    reader.read_to_end(&mut bytes).map_err(read)?;
    let unknown = |what: &str| CheckError::UnknownKind {
        path: path.into(),
        what: what.into(),
    };
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| unknown("not text: give the .json manifest of a snapshot, not its pages"))?;
    let first = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    if first.starts_with(driver::FORMAT) {
        return driver::check(path, text, report);
    }
    if first.starts_with("smmu,sid,iova,rw,") {
        return Err(unknown(
            "rows of a snapshot: give its .json manifest instead",
        ));
    }
    if type1::is_recording(first) {
        return type1::check(path, text, options.machine.as_deref(), report);
    }
    if first.trim_start().starts_with('{') && first.contains("\"scenario\"") {
        return golden::check(path, text, report);
    }
    if text.trim_start().starts_with('{') && text.contains(snapshot::FORMAT) {
        let snapshot = Snapshot::load(path)?;
        return truth::check(path, &snapshot, report);
    }
    Err(unknown(
        "neither golden scenarios (JSON lines with \"scenario\") nor a VFIO session (JSON lines, \
         the first with \"meta\" and \"script\") nor a driver's trace (\"# smmu-dma-trace-1\") nor a \
         snapshot manifest (\"format\": \"smmu-snapshot-1\")",
    ))
}

/// An answer, in the terms all recordings share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// Output address, if the transaction goes on.
    pub(crate) pa: Option<u64>,
    /// Words of the event record, if one is recorded.
    pub(crate) event: Option<[u64; 4]>,
}

impl Answer {
    fn of(outcome: &Outcome) -> Self {
        Self {
            pa: outcome.pa().map(smmu::addr::Pa::get),
            event: outcome.event().map(smmu::spec::event::Event::words),
        }
    }
}
