//! `smmu-sim completions`.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Arguments, Failure, Verdict};

/// Write a shell's completion script to standard output.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  smmu-sim completions bash > ~/.local/share/bash-completion/completions/smmu-sim
  smmu-sim completions zsh > ~/.zfunc/_smmu-sim
  smmu-sim completions fish > ~/.config/fish/completions/smmu-sim.fish")]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(self, out: &mut impl Write) -> Result<Verdict, Failure> {
        // The generator panics if it cannot write; a buffer can always be written.
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "smmu-sim",
            &mut script,
        );
        out.write_all(&script)?;
        Ok(Verdict::Fine)
    }
}
