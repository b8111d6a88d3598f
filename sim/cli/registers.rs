//! `smmu-sim registers`.

use std::io::Write;

use clap::Args;
use serde_json::{Map, Value};

use super::source::SourceOptions;
use super::{Failure, Format, Verdict, write_json};
use crate::live::registers_to_text;
use crate::machine::MachineError;

/// Show an SMMU's registers: of a snapshot, a core's register file or a QEMU that runs.
///
/// The output, text or JSON, is a file that `walk --regs` takes: with a core dumped at the same
/// time it lets a machine be looked at when it is gone.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim registers --qmp vm.sock > smmu.regs
  smmu-sim registers --qmp vm.sock --format json
  smmu-sim registers --snapshot machine.json --smmu 1")]
pub(super) struct ShowRegisters {
    #[command(flatten)]
    source: SourceOptions,
}

impl ShowRegisters {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let (place, registers) = self.registers().map_err(anyhow::Error::from)?;
        match format {
            Format::Text => write!(out, "# {place}\n{}", registers_to_text(&registers))?,
            Format::Json => {
                let values = registers.iter();
                let object: Map<_, _> = values
                    .map(|(name, value)| (name.into(), Value::String(format!("{value:#x}"))))
                    .collect();
                write_json(out, &object)?;
            }
        }
        Ok(Verdict::Fine)
    }

    fn registers(&self) -> Result<(String, crate::machine::Registers), MachineError> {
        let mut smmus = self.source.state()?.smmus;
        let (index, count) = (self.source.smmu, smmus.len());
        if index >= count {
            return Err(MachineError::NoSuchSmmu { index, count });
        }
        let (place, mut registers) = smmus.swap_remove(index);
        registers.extend(&self.source.changes()?);
        Ok((place, registers))
    }
}
