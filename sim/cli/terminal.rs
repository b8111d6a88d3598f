//! Manners at the terminal: colour, logs, progress and complaints; all but colour on stderr.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{ArgAction, Args, ColorChoice};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::style::{BAD, FAINT};

/// Variable with the filter of what is logged; wins over `-v` and `-q`.
const LOG_VARIABLE: &str = "SMMU_SIM_LOG";

/// Options that all commands share.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// When output is coloured
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto, help_heading = "Output")]
    color: ColorChoice,
    /// Say more on standard error; up to three times
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet", help_heading = "Output")]
    verbose: u8,
    /// Say nothing on standard error but errors
    #[arg(short, long, global = true, help_heading = "Output")]
    quiet: bool,
}

impl Options {
    /// Sets up colour and logs for the rest of the process.
    pub(super) fn apply(&self) -> anyhow::Result<()> {
        match self.color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        let level = match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::ERROR,
            (_, 0) => LevelFilter::WARN,
            (_, 1) => LevelFilter::INFO,
            (_, 2) => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let filter = match std::env::var_os(LOG_VARIABLE) {
            Some(filter) if !filter.is_empty() => filter
                .to_str()
                .ok_or_else(|| anyhow!("not text"))
                .and_then(|filter| Ok(EnvFilter::builder().parse(filter)?))
                .with_context(|| format!("{LOG_VARIABLE}={}", filter.display()))?,
            _ => EnvFilter::default().add_directive(level.into()),
        };
        let ansi = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(ansi)
            // A run is named by its arguments: its log is the same each time.
            .without_time()
            // It would complain on stderr that stderr is gone.
            .log_internal_errors(false)
            .try_init()
            .map_err(|error| anyhow!(error))
    }
}

/// What `--color` says, found before the arguments are parsed: help and errors of the parser are
/// coloured alike.
pub(super) fn colour_asked_for(words: &[OsString]) -> ColorChoice {
    let words: Vec<_> = words.iter().filter_map(|word| word.to_str()).collect();
    let separate = words
        .windows(2)
        .find_map(|pair| (pair[0] == "--color").then_some(pair[1]));
    let joined = words.iter().find_map(|word| word.strip_prefix("--color="));
    match separate.or(joined) {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

/// Says why the command ends, and how it ends: exit code 2.
pub(super) fn complain(message: &str) -> ExitCode {
    // If nobody listens on stderr, the exit code still tells.
    let _ = writeln!(anstream::stderr(), "{BAD}smmu-sim{BAD:#}: {message}");
    ExitCode::from(2)
}

/// A line on stderr that says what is being done, replaced by the next and gone at the end. Shown
/// only on a terminal, and only if neither `-q` nor `-v` is given.
#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        let wanted = LevelFilter::current() == LevelFilter::WARN;
        Self {
            shown: wanted && io::stderr().is_terminal(),
        }
    }

    /// Shows `what` in place of what was shown before.
    pub(super) fn say(&self, what: &str) {
        if self.shown {
            let mut stderr = anstream::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K{FAINT}{what}{FAINT:#}");
            let _ = stderr.flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
