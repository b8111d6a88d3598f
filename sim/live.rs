//! Machines that run or ran: a QEMU read over QMP, an ELF core with a file of registers.
//!
//! Nothing here writes to a machine, and nothing waits without end.

mod elf;
mod qemu;
mod qmp;
mod register_file;

use std::io;
use std::path::{Path, PathBuf};

use smmu::config::SmmuConfig;
use thiserror::Error;

use crate::machine::{Memory, RegisterError, Registers, State};

pub use elf::{Core, CoreError};
pub use qemu::{Qemu, QemuError};
pub use qmp::{Qmp, QmpError, Socket};
pub use register_file::{
    RegisterFileError, parse as parse_registers, to_text as registers_to_text,
};

/// Why a core or a machine that runs cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LiveError {
    /// A file cannot be read.
    #[error("{}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A core is not one, or is damaged.
    #[error("{}", path.display())]
    Core {
        /// Which.
        path: PathBuf,
        /// Why.
        source: CoreError,
    },
    /// A file of registers is not what it should be.
    #[error("{}", path.display())]
    RegisterFile {
        /// Which.
        path: PathBuf,
        /// Where in it and why.
        source: RegisterFileError,
    },
    /// A QEMU cannot be asked.
    #[error("--qmp {socket}")]
    Qemu {
        /// Its socket.
        socket: Socket,
        /// Why.
        source: QemuError,
    },
}

/// Registers without which a translation through a core would be a guess.
const DECISIVE: [&str; 3] = ["CR0", "STRTAB_BASE", "STRTAB_BASE_CFG"];

/// Registers without which there is no part.
const IDENTIFYING: [&str; 5] = ["IDR0", "IDR1", "IDR3", "IDR5", "AIDR"];

/// The machine whose memory is in the core at `core` and whose registers are in the file
/// `registers`; `part` identifies the SMMU where that file does not.
///
/// # Errors
/// [`LiveError`] naming the file and the field.
pub fn core_state(
    core: &Path,
    registers: &Path,
    part: Option<&SmmuConfig>,
) -> Result<State, LiveError> {
    let memory = Core::open(core)?;
    Ok(State {
        smmus: read_registers(registers, part)?,
        memory: Memory::new(memory),
    })
}

fn read_registers(
    path: &Path,
    part: Option<&SmmuConfig>,
) -> Result<Vec<(String, Registers)>, LiveError> {
    let text = crate::input::read_text(path).map_err(|source| LiveError::Read {
        path: path.into(),
        source,
    })?;
    let wrong = |source| LiveError::RegisterFile {
        path: path.into(),
        source,
    };
    let files = parse_registers(&text).map_err(wrong)?;
    let mut smmus = Vec::new();
    for (index, values) in files.into_iter().enumerate() {
        let mut registers = part.map(Registers::of_part).unwrap_or_default();
        registers.extend(&values);
        registers
            .require(&IDENTIFYING)
            .and_then(|()| registers.require(&DECISIVE))
            .map_err(|source: RegisterError| wrong(RegisterFileError::Smmu { index, source }))?;
        smmus.push((format!("{}: SMMU {index}", path.display()), registers));
    }
    Ok(smmus)
}

/// The machine behind the QMP socket: every SMMU its memory map shows, or the one whose registers
/// are at `smmu_base`.
///
/// # Errors
/// [`LiveError::Qemu`] naming the socket and what was asked.
pub fn qemu_state(socket: &Socket, smmu_base: Option<u64>) -> Result<State, LiveError> {
    let wrong = |source| LiveError::Qemu {
        socket: socket.clone(),
        source,
    };
    let mut qemu = Qemu::connect(socket).map_err(wrong)?;
    let bases = match smmu_base {
        Some(base) => vec![base],
        None => qemu.smmu_bases().map_err(wrong)?,
    };
    let mut smmus = Vec::new();
    for base in bases {
        let registers = qemu.registers(base).map_err(wrong)?;
        smmus.push((format!("--qmp {socket}: SMMU at {base:#x}"), registers));
    }
    Ok(State {
        smmus,
        memory: Memory::new(qemu),
    })
}
