//! `smmu-sim convert`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};

use super::{Failure, Format, Verdict, write_json};
use crate::simulate::output::Pending;
use crate::workload::convert::{ConvertError, Converted, Target, convert};

/// Write a DMA trace in another format: a QEMU log, a recording, text or binary, as text or binary.
///
/// The trace is read as it is written; its length does not matter. OUT appears when it is whole.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim convert qemu.log dma.trace
  smmu-sim convert dma.trace dma.smmutrc
  smmu-sim convert dma_trace.csv.zst - --to text | head")]
pub(super) struct Convert {
    /// A trace in any format, plain, gzip or Zstandard
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The file to write, or - for standard output
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// The format to write; otherwise what OUT ends in says: .trace and .txt text, .smmutrc and
    /// .bin binary
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Option<To>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// One operation a line
    Text,
    /// A few bytes an operation
    Binary,
}

impl Convert {
    fn target(&self) -> anyhow::Result<Target> {
        let extension = self.output.extension().and_then(|end| end.to_str());
        match (self.to, extension) {
            (Some(To::Text), _) | (None, Some("trace" | "txt")) => Ok(Target::Text),
            (Some(To::Binary), _) | (None, Some("smmutrc" | "bin")) => Ok(Target::Binary),
            (None, _) => Err(anyhow!(
                "{}: say with --to whether it shall be text or binary",
                self.output.display()
            )),
        }
    }

    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let target = self.target()?;
        if self.output == Path::new("-") {
            return match convert(&self.input, target, out) {
                Ok(_) => Ok(Verdict::Fine),
                Err(ConvertError::Output(error)) => Err(Failure::Output(error)),
                Err(error) => Err(anyhow::Error::from(error).into()),
            };
        }
        let context = || self.output.display().to_string();
        let mut file = Pending::new(&self.output).with_context(context)?;
        let converted = match convert(&self.input, target, &mut file.out) {
            Ok(converted) => converted,
            Err(error) => {
                file.discard();
                let error = anyhow::Error::from(error);
                return Err(error.into());
            }
        };
        file.finish().with_context(context)?;
        match format {
            Format::Json => write_json(out, &converted)?,
            Format::Text => {
                let Converted {
                    from,
                    operations_count,
                    transactions_count,
                    commands_count,
                } = converted;
                writeln!(
                    out,
                    "{operations_count} operations of a {from} trace: {transactions_count} transactions, {commands_count} commands"
                )?;
            }
        }
        Ok(Verdict::Fine)
    }
}
