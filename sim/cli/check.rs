//! `smmu-sim check`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{Failure, Format, Verdict, write_json};
use crate::check::{Report, check_file_as};

/// Compare the model with recorded answers of other implementations.
///
/// Each file's kind is told by its content: golden scenarios or VFIO sessions (JSON lines), or the
/// .json manifest of a snapshot, whose pages and ground truth lie beside it; plain, gzip or
/// Zstandard. Exit code 0
/// only if nothing differs.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Recordings
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The machine VFIO sessions were recorded on, if file names do not tell: k510, k61, k612 or
    /// k72, with _two, _mix or _noits
    #[arg(long, value_name = "LABEL")]
    machine: Option<String>,
}

impl Check {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let mut report = Report::default();
        for file in &self.files {
            check_file_as(file, self.machine.as_deref(), &mut report)
                .map_err(anyhow::Error::from)?;
        }
        match format {
            Format::Text => writeln!(out, "{report}")?,
            Format::Json => write_json(out, &report)?,
        }
        Ok(if report.is_clean() {
            Verdict::Fine
        } else {
            Verdict::Failed
        })
    }
}
