//! Snapshots of real machines: the `.json` manifest and the files beside it
//! (format `smmu-snapshot-1`, described in `docs/src/reference/formats.md`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use smmu::Smmu;
use smmu::addr::Pa;
use smmu::mem::{PAGE_BYTES, Ram, RamError};
use thiserror::Error;

use crate::input;
use crate::machine::{RegisterError, Registers};

/// The value of `format` in a manifest.
pub const FORMAT: &str = "smmu-snapshot-1";

/// Why a snapshot cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// A file cannot be read.
    #[error("{}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest is not what it should be.
    #[error("{}", path.display())]
    Json {
        /// Which.
        path: PathBuf,
        /// Where in it and why.
        source: serde_json::Error,
    },
    /// Manifest and files do not fit, or a value is out of range.
    #[error("{}: {what}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The registers make no SMMU.
    #[error("{}: smmus[{index}].regs", path.display())]
    Registers {
        /// The manifest.
        path: PathBuf,
        /// Which SMMU.
        index: usize,
        /// Why.
        source: RegisterError,
    },
    /// The RAM layout is impossible.
    #[error("{}: ram", path.display())]
    Ram {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: RamError,
    },
}

/// A number written as a hexadecimal string with 0x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hex(u64);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a 0x… number")))
    }
}

#[derive(Debug, Deserialize)]
struct Manifest {
    format: String,
    ram: Vec<RamRange>,
    smmus: Vec<SmmuState>,
    page_runs: Vec<(Hex, u64)>,
}

#[derive(Debug, Deserialize)]
struct RamRange {
    base: Hex,
    size: Hex,
}

#[derive(Debug, Deserialize)]
struct SmmuState {
    regs: BTreeMap<String, Hex>,
}

/// A machine as it stood: its SMMUs with their registers, and the memory they reach.
#[derive(Debug)]
pub struct Snapshot {
    /// The SMMUs, in the order of the manifest.
    pub smmus: Vec<Smmu>,
    /// Their registers.
    pub registers: Vec<Registers>,
    /// Memory. Pages the snapshot does not hold read as zero; a correct walk never needs them.
    pub ram: Ram,
    stem: PathBuf,
}

impl Snapshot {
    /// Loads the manifest at `path` and the pages beside it.
    ///
    /// # Errors
    /// [`SnapshotError`] naming the file and the field.
    pub fn load(path: &Path) -> Result<Self, SnapshotError> {
        let text = input::read(path).map_err(|source| read_error(path, source))?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|source| SnapshotError::Json {
                path: path.into(),
                source,
            })?;
        let invalid = |what: String| SnapshotError::Invalid {
            path: path.into(),
            what,
        };
        if manifest.format != FORMAT {
            return Err(invalid(format!(
                "format is {:?}, not {FORMAT:?}",
                manifest.format
            )));
        }
        let mut smmus = Vec::new();
        let mut all_registers = Vec::new();
        for (index, state) in manifest.smmus.iter().enumerate() {
            let registers = registers(path, index, state)?;
            let smmu = registers.smmu();
            smmus.push(smmu.map_err(|source| registers_error(path, index, source))?);
            all_registers.push(registers);
        }

        let regions: Vec<_> = manifest.ram.iter().map(|r| (r.base.0, r.size.0)).collect();
        let ram = Ram::with_regions(&regions).map_err(|source| SnapshotError::Ram {
            path: path.into(),
            source,
        })?;
        let stem = path.with_extension("");
        let pages_path = beside(&stem, "pages.zst")
            .ok_or_else(|| invalid("the .pages.zst file is not beside the manifest".into()))?;
        let pages = input::read(&pages_path).map_err(|source| read_error(&pages_path, source))?;
        let mut rest = pages.as_slice();
        for &(Hex(start), count) in &manifest.page_runs {
            let bytes = count
                .checked_mul(PAGE_BYTES)
                .and_then(|bytes| usize::try_from(bytes).ok())
                .filter(|&bytes| bytes <= rest.len());
            let Some(bytes) = bytes else {
                return Err(SnapshotError::Invalid {
                    path: pages_path,
                    what: format!("ends before the {count} pages of the run at {start:#x}"),
                });
            };
            let (run, later) = rest.split_at(bytes);
            ram.load(Pa::new(start), run)
                .map_err(|_| invalid(format!("page_runs: {start:#x} lies outside ram")))?;
            rest = later;
        }
        if !rest.is_empty() {
            let what = format!("{} bytes more than page_runs account for", rest.len());
            return Err(SnapshotError::Invalid {
                path: pages_path,
                what,
            });
        }
        Ok(Self {
            smmus,
            registers: all_registers,
            ram,
            stem,
        })
    }

    /// The file `<run>.<point>.<suffix>` beside the manifest, plain or compressed, if there is one.
    pub fn beside(&self, suffix: &str) -> Option<PathBuf> {
        beside(&self.stem, suffix)
    }
}

fn read_error(path: &Path, source: io::Error) -> SnapshotError {
    SnapshotError::Read {
        path: path.into(),
        source,
    }
}

/// `stem.suffix`, or the same without or with another compression.
fn beside(stem: &Path, suffix: &str) -> Option<PathBuf> {
    let plain = suffix.trim_end_matches(".zst");
    ["", ".zst", ".gz"].into_iter().find_map(|compression| {
        let mut name = stem.file_name()?.to_os_string();
        name.push(format!(".{plain}{compression}"));
        let path = stem.with_file_name(name);
        path.is_file().then_some(path)
    })
}

/// The registers that a manifest lists, as far as the model has them.
fn registers(path: &Path, index: usize, state: &SmmuState) -> Result<Registers, SnapshotError> {
    let mut registers = Registers::default();
    for (name, value) in &state.regs {
        match registers.set(name, value.0) {
            Ok(()) | Err(RegisterError::Unknown { .. }) => {}
            Err(source) => return Err(registers_error(path, index, source)),
        }
    }
    Ok(registers)
}

fn registers_error(path: &Path, index: usize, source: RegisterError) -> SnapshotError {
    SnapshotError::Registers {
        path: path.into(),
        index,
        source,
    }
}
