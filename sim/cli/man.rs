//! `smmu-sim man`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
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
        // `help` shows what the other pages say.
        let mut command = Arguments::command().disable_help_subcommand(true);
        command.build();
        let Some(directory) = self.out else {
            out.write_all(page(&command)?.1.as_bytes())?;
            return Ok(Verdict::Fine);
        };
        let place = || format!("--out {}", directory.display());
        fs::create_dir_all(&directory).with_context(place)?;
        for command in [&command].into_iter().chain(command.get_subcommands()) {
            let (name, text) = page(command)?;
            fs::write(directory.join(name), text).with_context(place)?;
        }
        Ok(Verdict::Fine)
    }
}

/// Name and text of a command's page. The generator has a heading of its own for what follows the
/// options.
fn page(command: &Command) -> io::Result<(String, String)> {
    let page = Page::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let text = text.replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n");
    Ok((page.get_filename(), text))
}
