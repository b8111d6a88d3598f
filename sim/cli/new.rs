//! `smmu-sim new`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::{Failure, Verdict};
use crate::scenario::{STARTER, schema};

/// Write a scenario file to start from, with comments on every part.
///
/// Writes to standard output, or to FILE, which must not exist yet. With --schema it is the JSON Schema
/// of scenario files, for editors that complete and check TOML.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim new my.toml && smmu-sim run my.toml
  smmu-sim new --schema > scenario.schema.json")]
pub(super) struct New {
    /// File to write [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The schema instead
    #[arg(long)]
    schema: bool,
}

impl New {
    pub(super) fn execute(self, out: &mut impl Write) -> Result<Verdict, Failure> {
        let text = if self.schema {
            schema()
        } else {
            STARTER.to_owned()
        };
        let Some(path) = self.file else {
            write!(out, "{text}")?;
            return Ok(Verdict::Fine);
        };
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| path.display().to_string())?;
        Ok(Verdict::Fine)
    }
}
