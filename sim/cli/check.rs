//! `smmu-sim check`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use smmu::cache::CacheConfig;

use super::terminal::Progress;
use super::{Failure, Format, Verdict, caches, write_json};
use crate::check::{CheckOptions, Report, Side, Watch, Window, check_file};
use crate::report::caches::CacheView;

/// Compare the model with recorded answers of other implementations.
///
/// Each file's kind is told by its content: golden scenarios or VFIO sessions (JSON lines), the .json
/// manifest of a snapshot, whose pages and ground truth lie beside it, or the trace of a driver's run
/// (CSV); plain, gzip or Zstandard. Exit code 0 only if nothing differs.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim check golden.jsonl.gz
  smmu-sim check snapshots/*.json --format json
  smmu-sim check dma_trace.csv.zst --cache small --sanitize
  smmu-sim check dma_trace.csv.zst --show-caches caches.html --show-first 500")]
pub(super) struct Check {
    /// Recordings
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Caches of the model that traces are replayed on
    #[arg(long, value_enum, default_value_t = Caches::Infinite)]
    cache: Caches,
    /// Look for the driver's mistakes in traces: stale entries used, and why
    #[arg(long)]
    sanitize: bool,
    /// Compare the driver's part in traces: the commands ours issues for the same operations
    #[arg(long, conflicts_with_all = ["sanitize", "cache"])]
    driver: bool,
    /// The machine VFIO sessions were recorded on, if file names do not tell: k510, k61, k612 or
    /// k72, with _two, _mix, _noits or _iommufd
    #[arg(long, value_name = "LABEL")]
    machine: Option<String>,
    /// Write what the caches held, step by step, over a part of a trace: a page, or text (.txt) or
    /// JSON (.json) by the file's ending, or text before all else (-)
    #[arg(long, value_name = "FILE", conflicts_with = "driver")]
    show_caches: Option<PathBuf>,
    /// The first command or transaction of that part, counted from 1
    #[arg(long, value_name = "N", default_value_t = 1, requires = "show_caches", value_parser = clap::value_parser!(u64).range(1..))]
    show_first: u64,
    /// How many are shown, of the part from there on
    #[arg(long, value_name = "N", default_value_t = 60, requires = "show_caches", value_parser = clap::value_parser!(u64).range(1..=1000))]
    show_count: u64,
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
        let progress = Progress::new();
        let options = CheckOptions {
            caches: self.cache.config(),
            watch: if self.sanitize {
                Watch::Sanitizer
            } else {
                Watch::Off
            },
            side: if self.driver {
                Side::Driver
            } else {
                Side::Device
            },
            machine: self.machine,
            show: self.show_caches.is_some().then_some(Window {
                first: self.show_first,
                count: self.show_count,
            }),
        };
        for (i, file) in self.files.iter().enumerate() {
            let (number, count) = (i + 1, self.files.len());
            progress.say(&format!("{number} of {count}: {}", file.display()));
            check_file(file, &options, &mut report).map_err(anyhow::Error::from)?;
        }
        drop(progress);
        if let Some(path) = &self.show_caches {
            show(path, &report.views, out)?;
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

/// Writes the one view there is.
fn show(path: &Path, views: &[CacheView], out: &mut impl Write) -> anyhow::Result<()> {
    let [view] = views else {
        return Err(anyhow!(
            "--show-caches: {} of the files are traces with such steps, not one",
            views.len()
        ));
    };
    caches::show(path, view, out)
}
