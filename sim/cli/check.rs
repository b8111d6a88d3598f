//! `smmu-sim check`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use smmu::cache::CacheConfig;

use super::terminal::Progress;
use super::{Failure, Format, Verdict, write_json};
use crate::check::{Report, check_file};

/// Compare the model with recorded answers of other implementations.
///
/// Each file's kind is told by its content: golden scenarios (JSON lines), the .json manifest of a
/// snapshot, whose pages and ground truth lie beside it, or the trace of a driver's run (CSV); plain,
/// gzip or Zstandard. Exit code 0 only if nothing differs.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim check golden.jsonl.gz
  smmu-sim check snapshots/*.json --format json")]
pub(super) struct Check {
    /// Recordings
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Caches of the model that traces are replayed on
    #[arg(long, value_enum, default_value_t = Caches::Infinite)]
    cache: Caches,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Caches {
    /// Every transaction reads its configuration and walks its tables
    None,
    /// A few entries of everything: evictions all the time
    Small,
    /// Everything is remembered until invalidated
    Infinite,
}

impl Caches {
    fn config(self) -> CacheConfig {
        match self {
            Self::None => CacheConfig::OFF,
            Self::Small => CacheConfig::SMALL,
            Self::Infinite => CacheConfig::INFINITE,
        }
    }
}

impl Check {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let mut report = Report::default();
        let (caches, progress) = (self.cache.config(), Progress::new());
        for (i, file) in self.files.iter().enumerate() {
            let (number, count) = (i + 1, self.files.len());
            progress.say(&format!("{number} of {count}: {}", file.display()));
            check_file(file, &caches, &mut report).map_err(anyhow::Error::from)?;
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
