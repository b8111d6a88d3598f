//! A machine to walk through: SMMUs with their registers, and memory; from a snapshot or from raw
//! memory images and register values.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use smmu::Smmu;
use smmu::addr::Pa;
use smmu::config::{self, ConfigError, IdRegisters, PARTS, Part, PartError, SmmuConfig};
use smmu::mem::{PAGE_BYTES, Ram, RamError};
use smmu::regfile::{Width, register_names, register_offset, register_width};
use thiserror::Error;

use crate::input;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::suggest;

/// SMMUs and the memory they reach.
#[derive(Debug)]
pub struct Machine {
    /// The SMMUs.
    pub smmus: Vec<Smmu>,
    /// Memory; addresses outside it abort.
    pub ram: Ram,
}

/// Why a machine cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MachineError {
    /// An image cannot be read.
    #[error("{}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image argument is not `FILE@ADDRESS`.
    #[error("--image {0:?}: expected FILE@ADDRESS with a page-aligned hexadecimal address")]
    Image(String),
    /// A register argument is not `NAME=VALUE`.
    #[error("--reg {0:?}: expected NAME=VALUE with a hexadecimal value")]
    Register(String),
    /// There is no such register.
    #[error("--reg {argument:?}: there is no register {name}{}", suggest::hint(suggestion.as_deref()))]
    UnknownRegister {
        /// The argument.
        argument: String,
        /// The name in it.
        name: String,
        /// A register of a similar name.
        suggestion: Option<String>,
    },
    /// A value is too large for its register.
    #[error("--reg {argument:?}: the value does not fit the register's 32 bits")]
    RegisterValue {
        /// The argument.
        argument: String,
    },
    /// There is no such part.
    #[error("--part {name:?}: not one of {}{}", known.join(", "), suggest::hint(suggestion.as_deref()))]
    UnknownPart {
        /// The name.
        name: String,
        /// The parts there are.
        known: Vec<&'static str>,
        /// A part of a similar name.
        suggestion: Option<String>,
    },
    /// The file of a part cannot be read.
    #[error("{name}: {error}")]
    ReadPart {
        /// The file.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// The file of a part is no part.
    #[error("{name}: {error}")]
    PartFile {
        /// The file.
        name: String,
        /// Why.
        error: PartError,
    },
    /// The ID registers given describe a part that cannot be modelled.
    #[error("--reg")]
    Part(#[from] ConfigError),
    /// Images overlap or leave the address space.
    #[error("--image")]
    Ram(#[from] RamError),
    /// A snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// The part called `name`: an embedded one, or that of a file whose name ends in `.toml`.
///
/// # Errors
/// [`MachineError::UnknownPart`] with the names there are, [`MachineError::PartFile`] with the line
/// or rule.
pub fn part(name: &str) -> Result<Part, MachineError> {
    if Path::new(name).extension().is_some_and(|e| e == "toml") {
        let file = |error| MachineError::PartFile {
            name: name.into(),
            error,
        };
        let text = fs::read_to_string(name).map_err(|error| MachineError::ReadPart {
            name: name.into(),
            error,
        })?;
        return Part::parse(&text).map_err(file);
    }
    let known = || PARTS.iter().map(|(name, _)| *name);
    config::part(name).ok_or_else(|| MachineError::UnknownPart {
        name: name.into(),
        known: known().collect(),
        suggestion: suggest::nearest(name, known()),
    })
}

impl Machine {
    /// The machine a snapshot holds.
    ///
    /// # Errors
    /// [`MachineError::Snapshot`] naming the file and the field.
    pub fn from_snapshot(path: &Path) -> Result<Self, MachineError> {
        let Snapshot { smmus, ram, .. } = Snapshot::load(path)?;
        Ok(Self { smmus, ram })
    }

    /// A machine with one SMMU of the given part and the memory of the images (`FILE@ADDRESS`), its
    /// registers written as given (`NAME=VALUE`) in order, SMMUEN last. ID registers among them
    /// replace the part.
    ///
    /// # Errors
    /// [`MachineError`] naming the argument.
    pub fn from_images(
        part: &SmmuConfig,
        images: &[String],
        registers: &[String],
    ) -> Result<Self, MachineError> {
        let mut ids = part.id_registers();
        let mut writes = Vec::new();
        for argument in registers {
            let (name, value) = register_argument(argument)?;
            let word = u32::try_from(value).map_err(|_| MachineError::RegisterValue {
                argument: argument.clone(),
            });
            match id_register(&mut ids, name) {
                Some(id) => *id = word?,
                None => writes.push((argument, name, value)),
            }
        }
        let mut smmu = Smmu::new(SmmuConfig::from_id_registers(ids)?)?;
        // SMMUEN guards the others.
        writes.sort_by_key(|(_, name, _)| name.eq_ignore_ascii_case("CR0"));
        for (argument, name, value) in writes {
            let Some(offset) = register_offset(name) else {
                return Err(MachineError::UnknownRegister {
                    argument: argument.clone(),
                    name: name.into(),
                    suggestion: suggest::nearest(name, register_names()),
                });
            };
            let width = register_width(offset).unwrap_or(Width::W32);
            if width == Width::W32 && value >> 32 != 0 {
                return Err(MachineError::RegisterValue {
                    argument: argument.clone(),
                });
            }
            let update = if name.eq_ignore_ascii_case("GBPA") {
                1 << 31
            } else {
                0
            };
            smmu.mmio_write(offset, width, value | update);
        }
        Ok(Self {
            smmus: vec![smmu],
            ram: load_images(images)?,
        })
    }
}

fn load_images(images: &[String]) -> Result<Ram, MachineError> {
    let mut loaded = Vec::new();
    for argument in images {
        let malformed = || MachineError::Image(argument.clone());
        let (path, address) = argument.rsplit_once('@').ok_or_else(malformed)?;
        let address = hex(address)
            .filter(|a| a % PAGE_BYTES == 0)
            .ok_or_else(malformed)?;
        let path = Path::new(path);
        let bytes = input::read(path).map_err(|source| MachineError::Read {
            path: path.into(),
            source,
        })?;
        loaded.push((address, bytes));
    }
    let regions: Vec<_> = loaded
        .iter()
        .map(|(base, bytes)| (*base, (bytes.len() as u64).next_multiple_of(PAGE_BYTES)))
        .collect();
    let ram = Ram::with_regions(&regions)?;
    for (base, bytes) in &loaded {
        ram.load(Pa::new(*base), bytes)
            .expect("its region holds the image");
    }
    Ok(ram)
}

fn register_argument(argument: &str) -> Result<(&str, u64), MachineError> {
    argument
        .split_once('=')
        .and_then(|(name, value)| Some((name.strip_prefix("SMMU_").unwrap_or(name), hex(value)?)))
        .ok_or_else(|| MachineError::Register(argument.into()))
}

fn id_register<'a>(ids: &'a mut IdRegisters, name: &str) -> Option<&'a mut u32> {
    match name.to_ascii_uppercase().as_str() {
        "IDR0" => Some(&mut ids.idr0),
        "IDR1" => Some(&mut ids.idr1),
        "IDR2" => Some(&mut ids.idr2),
        "IDR3" => Some(&mut ids.idr3),
        "IDR5" => Some(&mut ids.idr5),
        "AIDR" => Some(&mut ids.aidr),
        _ => None,
    }
}

/// A hexadecimal number with or without 0x; underscores are allowed.
pub fn hex(text: &str) -> Option<u64> {
    let digits = text.trim().replace('_', "");
    let digits = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
        .unwrap_or(&digits);
    u64::from_str_radix(digits, 16).ok()
}
