//! `smmu-sim check`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::terminal::Progress;
use super::{Failure, Format, Verdict, write_json};
use crate::check::{Report, check_file};

/// Compare the model with recorded answers of other implementations.
///
/// Each file's kind is told by its content: golden scenarios (JSON lines) or the .json manifest of
/// a snapshot, whose pages and ground truth lie beside it; plain, gzip or Zstandard. Exit code 0
/// only if nothing differs.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim check golden.jsonl.gz
  smmu-sim check snapshots/*.json --format json")]
pub(super) struct Check {
    /// Recordings
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Check {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let mut report = Report::default();
        let progress = Progress::new();
        for (i, file) in self.files.iter().enumerate() {
            let (number, count) = (i + 1, self.files.len());
            progress.say(&format!("{number} of {count}: {}", file.display()));
            check_file(file, &mut report).map_err(anyhow::Error::from)?;
        }
        drop(progress);
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
