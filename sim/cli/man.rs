//! `smmu-sim man`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;

use super::{Arguments, Failure, Verdict};

/// Write manual pages: the main one to standard output, or all of them to a directory.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim man | man -l -                       read the main page
  smmu-sim man --out ~/.local/share/man/man1    install smmu-sim.1, smmu-sim-walk.1, …")]
pub(super) struct Man {
    /// Directory for smmu-sim.1 and a page for each command; made if need be
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    pub(super) fn execute(self, out: &mut impl Write) -> Result<Verdict, Failure> {
        let mut command = Arguments::command();
        let Some(directory) = self.out else {
            Page::new(command).render(out)?;
            return Ok(Verdict::Fine);
        };
        let place = || format!("--out {}", directory.display());
        fs::create_dir_all(&directory).with_context(place)?;
        command.build();
        clap_mangen::generate_to(command, &directory).with_context(place)?;
        Ok(Verdict::Fine)
    }
}
