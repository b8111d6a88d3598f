//! The options that say where a machine's registers and memory come from, shared by commands.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgGroup, Args, Command};
use smmu::config::{self, PARTS, Part, SmmuConfig};

use crate::live::Socket;
use crate::machine::{Machine, MachineError, RegisterError, Registers, Source, State, hex};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true).multiple(false))]
pub(super) struct SourceOptions {
    /// Snapshot manifest (.json)
    #[arg(long, value_name = "FILE", group = "source", help_heading = "Machine")]
    snapshot: Option<PathBuf>,
    /// Raw memory image and where it lies; may be repeated
    #[arg(
        long,
        value_name = "FILE@ADDRESS",
        group = "source",
        help_heading = "Machine"
    )]
    image: Vec<String>,
    /// ELF core of the machine's memory, as QEMU's dump-guest-memory writes it
    #[arg(
        long,
        value_name = "FILE",
        group = "source",
        requires = "regs",
        help_heading = "Machine"
    )]
    core: Option<PathBuf>,
    /// QMP socket of a QEMU that runs: a path, or tcp:HOST:PORT
    #[arg(
        long,
        value_name = "SOCKET",
        group = "source",
        help_heading = "Machine"
    )]
    qmp: Option<Socket>,
    /// Register values that belong to the core: text or JSON
    #[arg(long, value_name = "FILE", requires = "core", help_heading = "Machine")]
    regs: Option<PathBuf>,
    /// Where the QEMU's SMMU is, instead of all that its memory map shows
    #[arg(
        long,
        value_name = "HEX",
        value_parser = parse_u64,
        requires = "qmp",
        help_heading = "Machine"
    )]
    smmu_base: Option<u64>,
    /// Which of the machine's SMMUs
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Machine")]
    pub(super) smmu: usize,
    /// Register value, for example STRTAB_BASE=0x40000000, in place of what the machine has; may be
    /// repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Machine")]
    reg: Vec<String>,
    /// The part behind images or a core, where no register value says otherwise [default for
    /// images: full]
    #[arg(
        long,
        value_parser = parts(),
        conflicts_with_all = ["snapshot", "qmp"],
        help_heading = "Machine"
    )]
    part: Option<SmmuConfig>,
}

/// Parses the name of a part, or of a file that describes one.
pub(super) fn parts() -> impl TypedValueParser<Value = SmmuConfig> {
    PartParser
}

#[derive(Clone)]
struct PartParser;

/// The names of parts, as completions and help list them.
fn part_names() -> impl Iterator<Item = PossibleValue> {
    PARTS.iter().map(|(name, _)| {
        let description = config::part(name).map(|part| part.description);
        PossibleValue::new(*name).help(description.unwrap_or_default())
    })
}

impl TypedValueParser for PartParser {
    type Value = SmmuConfig;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<SmmuConfig, clap::Error> {
        let path = Path::new(value);
        if path.extension().is_none_or(|extension| extension != "toml") {
            let names = PossibleValuesParser::new(part_names());
            let name = names.parse_ref(command, argument, value)?;
            let part = config::part(&name).expect("the name is one of the list");
            return Ok(part.features);
        }
        let refused = |error: String| {
            let message = format!("--part {}: {error}\n", path.display());
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        };
        let text = fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        Part::parse(&text)
            .map(|part| part.features)
            .map_err(|error| refused(error.to_string()))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(part_names()))
    }
}

/// A hexadecimal number of at most 64 bits.
pub(super) fn parse_u64(text: &str) -> Result<u64, String> {
    hex(text).ok_or_else(|| "not a hexadecimal number of at most 64 bits".into())
}

impl SourceOptions {
    /// What the source knows, unchanged.
    pub(super) fn state(&self) -> Result<State, MachineError> {
        let source = match self {
            Self {
                snapshot: Some(path),
                ..
            } => Source::Snapshot(path.clone()),
            Self {
                core: Some(core),
                regs: Some(registers),
                ..
            } => Source::Core {
                core: core.clone(),
                registers: registers.clone(),
                part: self.part.clone(),
            },
            Self {
                qmp: Some(socket), ..
            } => Source::Qemu {
                socket: socket.clone(),
                smmu_base: self.smmu_base,
            },
            _ => Source::Images {
                images: self.image.clone(),
                part: self.part.clone().unwrap_or_else(SmmuConfig::full),
            },
        };
        source.read()
    }

    /// The registers that `--reg` sets.
    pub(super) fn changes(&self) -> Result<Registers, MachineError> {
        let mut registers = Registers::default();
        for argument in &self.reg {
            let wrong = |source: RegisterError| MachineError::Registers {
                place: format!("--reg {argument:?}"),
                source,
            };
            let (name, value) = argument
                .split_once('=')
                .and_then(|(name, value)| Some((name, hex(value)?)))
                .ok_or_else(|| MachineError::Register(argument.clone()))?;
            registers.set(name, value).map_err(wrong)?;
        }
        Ok(registers)
    }

    /// The machine, changed as asked.
    pub(super) fn machine(&self) -> Result<Machine, MachineError> {
        Machine::restore(self.state()?, &self.changes()?)
    }
}
