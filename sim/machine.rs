//! A machine to walk through: SMMUs with their registers, and memory, from one of several sources.
//!
//! A [`Source`] yields a [`State`]: register values for each SMMU ([`Registers`]) and memory by the
//! page ([`Pages`]). [`Machine::restore`] makes SMMUs of the values. A new source is a variant of
//! [`Source`] and something that implements [`Pages`], nothing else.

mod images;
mod memory;
mod registers;

use std::io;
use std::path::PathBuf;

use smmu::config::SmmuConfig;
use smmu::mem::RamError;
use smmu::{Smmu, Transaction};
use thiserror::Error;

pub use memory::{Memory, PAGE_WORDS, Page, Pages, ReadError};
pub use registers::{RegisterError, Registers};

use crate::explain::{Explained, explain};
use crate::live::{self, LiveError};
use crate::snapshot::{Snapshot, SnapshotError};

/// Where a machine's registers and memory come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A snapshot: its manifest.
    Snapshot(PathBuf),
    /// Raw memory images, each `FILE@ADDRESS`, behind an SMMU of this part.
    Images {
        /// The images.
        images: Vec<String>,
        /// The part.
        part: SmmuConfig,
    },
    /// An ELF core of a machine's memory.
    Core {
        /// The core.
        core: PathBuf,
        /// Register values.
        registers: PathBuf,
        /// What identifies the part, if the register values do not.
        part: Option<SmmuConfig>,
    },
    /// A QEMU that runs.
    Qemu {
        /// Its QMP socket.
        socket: live::Socket,
        /// Where the SMMU's registers are; `None` for all that QEMU's memory map shows.
        smmu_base: Option<u64>,
    },
}

/// What a source knows of a machine.
#[derive(Debug)]
pub struct State {
    /// Registers of each SMMU, and where they were read, for messages.
    pub smmus: Vec<(String, Registers)>,
    /// Memory.
    pub memory: Memory,
}

impl Source {
    /// Reads the registers, and memory as far as it is not read when needed.
    ///
    /// # Errors
    /// [`MachineError`] naming the file, argument or field.
    pub fn read(&self) -> Result<State, MachineError> {
        Ok(match self {
            Self::Snapshot(path) => {
                let snapshot = Snapshot::load(path)?;
                let place = |index| format!("{}: smmus[{index}]", path.display());
                let registers = (0..).zip(snapshot.registers);
                State {
                    smmus: registers.map(|(i, r)| (place(i), r)).collect(),
                    memory: Memory::new(snapshot.ram),
                }
            }
            Self::Images { images, part } => State {
                smmus: vec![("--reg".into(), Registers::of_part(part))],
                memory: Memory::new(images::load(images)?),
            },
            Self::Core {
                core,
                registers,
                part,
            } => live::core_state(core, registers, part.as_ref())?,
            Self::Qemu { socket, smmu_base } => live::qemu_state(socket, *smmu_base)?,
        })
    }
}

/// SMMUs and the memory they reach.
#[derive(Debug)]
pub struct Machine {
    /// The SMMUs.
    pub smmus: Vec<Smmu>,
    /// Memory; where there is none, accesses abort.
    pub memory: Memory,
}

impl Machine {
    /// The machine that was in `state`, the registers in `changes` set on every SMMU.
    ///
    /// # Errors
    /// [`MachineError::Registers`] if a part cannot be modelled.
    pub fn restore(state: State, changes: &Registers) -> Result<Self, MachineError> {
        let restore = |(place, mut registers): (String, Registers)| {
            registers.extend(changes);
            registers
                .smmu()
                .map_err(|source| MachineError::Registers { place, source })
        };
        Ok(Self {
            smmus: state
                .smmus
                .into_iter()
                .map(restore)
                .collect::<Result<_, _>>()?,
            memory: state.memory,
        })
    }

    /// Translates `transaction` through the SMMU numbered `smmu` and keeps every access.
    ///
    /// # Errors
    /// [`MachineError::NoSuchSmmu`], or [`MachineError::Memory`] if memory that is there cannot be
    /// read; that is no fault of the transaction.
    pub fn explain(
        &mut self,
        smmu: usize,
        transaction: &Transaction,
    ) -> Result<Explained, MachineError> {
        let count = self.smmus.len();
        let smmu = self
            .smmus
            .get(smmu)
            .ok_or(MachineError::NoSuchSmmu { index: smmu, count })?;
        let explained = explain(smmu, &mut self.memory, transaction);
        self.memory.check()?;
        Ok(explained)
    }
}

/// Why a machine cannot be made or read.
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
    /// Images overlap or leave the address space.
    #[error("--image")]
    Ram(#[from] RamError),
    /// Registers make no SMMU.
    #[error("{place}")]
    Registers {
        /// Where they were read.
        place: String,
        /// Why.
        source: RegisterError,
    },
    /// A snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A core or a machine that runs cannot be read.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// Memory that is there cannot be read.
    #[error(transparent)]
    Memory(#[from] ReadError),
    /// The machine has fewer SMMUs.
    #[error("--smmu {index}: the number of SMMUs is {count}")]
    NoSuchSmmu {
        /// Which was asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
}

/// A hexadecimal number with or without 0x; underscores are allowed.
pub fn hex(text: &str) -> Option<u64> {
    let digits = text.trim().replace('_', "");
    let digits = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
        .unwrap_or(&digits);
    // A sign is no digit, though from_str_radix takes one.
    let all_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all_digits.then(|| u64::from_str_radix(digits, 16).ok())?
}
