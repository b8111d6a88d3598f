//! `smmu-sim simulate`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use clap::Args;

use super::{Failure, Format, Verdict, write_json};
use crate::simulate::output::{self, Pending};
use crate::simulate::perfetto::Perfetto;
use crate::simulate::run::{self, Ending, FunctionalResult, Input, RunResult, Watch};
use crate::simulate::settings::RunSettings;
use crate::simulate::timeline::{Both, Timeline};
use crate::simulate::{json, study, table};

/// Run a DMA trace or a generated workload through the timed machine: latency, throughput, misses,
/// and who waited for what.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim simulate driver --set workload.flush=lazy
  smmu-sim simulate dma_trace.csv.zst --config mmu-600 --out results
  smmu-sim simulate random --set tcu.walk_slots=8 --format json
  smmu-sim simulate --study --out study")]
pub(super) struct Simulate {
    /// A trace (text, binary, recorded or QEMU log, plain or compressed), a workload file (.toml),
    /// or a pattern: stride, random, zipf, driver, tenants
    #[arg(value_name = "TRACE|WORKLOAD", required_unless_present_any = ["show_config", "study"])]
    input: Option<String>,
    /// A preset (default, mmu-600, mmu-700, gem5, intel-vtd) or a file; several apply in order
    #[arg(long, value_name = "PRESET|FILE", default_value = "default")]
    config: Vec<String>,
    /// One setting, such as tcu.walk_slots=8; several may be given
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Where results go: result.json, streams.csv, latencies.csv, report.html, settings.toml
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write trace.json for ui.perfetto.dev, of the first N transactions, and timeline.html of the
    /// first 64 of them
    #[arg(long, value_name = "N", requires = "out")]
    trace_first: Option<u64>,
    /// Run the workload through the functional model as well, and compare
    #[arg(long)]
    check: bool,
    /// Print every setting as it is resolved, with unit, default and reason, and end
    #[arg(long)]
    show_config: bool,
    /// Compare invalidation modes, page sizes and stages on one driver's ring of buffers; with --out, write
    /// the book's table and plots
    #[arg(long, conflicts_with_all = ["input", "trace_first", "check"])]
    study: bool,
}

/// Shows how far a run is, on a terminal.
struct Progress {
    shown: bool,
    wanted: bool,
    looks: u32,
}

/// Looks between two lines of progress.
const LOOKS: u32 = 16;

impl Watch for Progress {
    fn progress(&mut self, done: u64, all: Option<u64>) {
        self.looks += 1;
        if !self.wanted || !self.looks.is_multiple_of(LOOKS) {
            return;
        }
        self.shown = true;
        let mut err = std::io::stderr();
        let _ = match all {
            Some(all) if all > 0 => {
                let part = (done * 40 / all).min(40) as usize;
                let bar = "#".repeat(part) + &".".repeat(40 - part);
                write!(err, "\r[{bar}] {done} of {all} ")
            }
            _ => write!(err, "\r{done} transactions "),
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{:70}\r", "");
        }
    }
}

impl Simulate {
    pub(super) fn execute(self, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
        let mut settings = RunSettings::default();
        for config in &self.config {
            settings.apply(config).map_err(anyhow::Error::from)?;
        }
        let input = match &self.input {
            Some(name) => run::input_of(name, &mut settings).map_err(anyhow::Error::from)?,
            None => Input::Generated,
        };
        for argument in &self.settings {
            settings
                .apply_argument(argument)
                .map_err(anyhow::Error::from)?;
        }
        if self.show_config {
            write!(out, "{}", settings.to_toml())?;
            return Ok(Verdict::Fine);
        }
        if self.study {
            return self.study(&settings, out);
        }
        let name = self.input.as_deref().unwrap_or_default();
        let stop = Arc::new(AtomicBool::new(false));
        let on_signal = Arc::clone(&stop);
        // A second handler in one process is refused: then the first one serves.
        let _ = ctrlc::set_handler(move || on_signal.store(true, Ordering::Relaxed));
        let mut progress = Progress {
            shown: false,
            wanted: format == Format::Text && std::io::stderr().is_terminal(),
            looks: 0,
        };
        let functional = if self.check {
            let caches = smmu::cache::CacheConfig::INFINITE;
            Some(run::functional(&settings, &input, &caches).map_err(anyhow::Error::from)?)
        } else {
            None
        };
        let result = self.timed(&settings, &input, (&stop, &mut progress))?;
        drop(progress);
        if let Some(directory) = &self.out {
            output::write(directory, name, &settings, &result, functional.as_ref())
                .with_context(|| directory.display().to_string())?;
        }
        match format {
            Format::Text => write!(out, "{}", table::table(&result))?,
            Format::Json => {
                let value = json::result(name, &settings, &result, functional.as_ref());
                write_json(out, &value)?;
            }
        }
        Ok(verdict(&result, functional.as_ref()))
    }

    fn study(&self, settings: &RunSettings, out: &mut impl Write) -> Result<Verdict, Failure> {
        let points = study::run(settings).map_err(anyhow::Error::from)?;
        let table = study::table(&points);
        if let Some(directory) = &self.out {
            let context = || directory.display().to_string();
            std::fs::create_dir_all(directory).with_context(context)?;
            let table = ("table.txt", table.clone());
            for (name, text) in study::plots(&points).into_iter().chain([table]) {
                let mut file = Pending::new(&directory.join(name)).with_context(context)?;
                file.out.write_all(text.as_bytes()).with_context(context)?;
                file.finish().with_context(context)?;
            }
        }
        write!(out, "{table}")?;
        Ok(Verdict::Fine)
    }

    fn timed(
        &self,
        settings: &RunSettings,
        input: &Input,
        outside: (&AtomicBool, &mut Progress),
    ) -> Result<RunResult, Failure> {
        let (Some(first), Some(directory)) = (self.trace_first, &self.out) else {
            let result = run::timed(settings, input, (), outside);
            return Ok(result.map_err(anyhow::Error::from)?);
        };
        let path = directory.join("trace.json");
        let context = || path.display().to_string();
        std::fs::create_dir_all(directory).with_context(context)?;
        let mut file = Pending::new(&path).with_context(context)?;
        let perfetto = Perfetto::new(&mut file.out, first).with_context(context)?;
        let probe = Both(perfetto, Timeline::new(first));
        let result = run::timed(settings, input, probe, outside).map_err(anyhow::Error::from)?;
        let RunResult {
            report,
            ending,
            digest,
            comparison,
            probe,
        } = result;
        let Both(perfetto, timeline) = probe;
        perfetto.finish().with_context(context)?;
        file.finish().with_context(context)?;
        let path = directory.join("timeline.html");
        let context = || path.display().to_string();
        let mut file = Pending::new(&path).with_context(context)?;
        let page = timeline.to_html(self.input.as_deref().unwrap_or_default());
        file.out.write_all(page.as_bytes()).with_context(context)?;
        file.finish().with_context(context)?;
        Ok(RunResult {
            report,
            ending,
            digest,
            comparison,
            probe: (),
        })
    }
}

/// Fails if answers differ from recorded ones, or the two models disagree.
fn verdict(result: &RunResult, functional: Option<&FunctionalResult>) -> Verdict {
    let differs = |comparison: &Option<crate::workload::recorded::Comparison>| {
        comparison
            .as_ref()
            .is_some_and(|comparison| comparison.different_count != 0)
    };
    let complete = result.ending == Ending::Complete;
    // A recording's software can leave more than one answer right; its own comparison tells.
    let comparable = complete && result.comparison.is_none();
    let counted =
        functional.is_none_or(|functional| !comparable || functional.digest == result.digest);
    let failed = differs(&result.comparison)
        || functional.is_some_and(|functional| differs(&functional.comparison))
        || !counted;
    if failed {
        Verdict::Failed
    } else {
        Verdict::Fine
    }
}
