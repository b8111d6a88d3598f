//! The command line: arguments, output, exit codes. Data go to stdout, messages to stderr.
//!
//! Exit code 0: fine. 1: a check or an expectation failed. 2: bad input or usage.

mod caches;
mod check;
mod completions;
mod convert;
mod decode;
mod experiment;
mod man;
mod new;
mod registers;
mod regs;
mod run;
mod simulate;
mod source;
mod terminal;
mod type1;
mod unwind;
mod validate;
mod walk;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

/// Reference software model of the Arm SMMUv3.
///
/// Translates device addresses through bit-exact stream tables, context descriptors and page
/// tables, and shows every memory access on the way.
#[derive(Debug, Parser)]
#[command(
    version,
    name = "smmu-sim",
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Start with `smmu-sim run`. Each command explains itself: `smmu-sim walk --help`.",
    after_long_help = AFTER_LONG_HELP
)]
struct Arguments {
    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    format: Format,
    #[command(flatten)]
    terminal: terminal::Options,
    #[command(subcommand)]
    command: Command,
}

const AFTER_LONG_HELP: &str = "\
Examples:
  smmu-sim run                                    a nested walk and a fault, explained
  smmu-sim new my.toml && smmu-sim run my.toml    a scenario of your own
  smmu-sim walk --qmp vm.sock --sid 8 ffff0000    a translation of a QEMU that runs
  smmu-sim decode event < dmesg.txt               the faults in a kernel log
  smmu-sim completions bash > /etc/bash_completion.d/smmu-sim

Exit codes:
  0  the command did what was asked; a fault of a translation is an answer, not a failure
  1  a comparison or an expectation failed
  2  bad usage or bad input; the message names the option, file, line or field

Environment:
  SMMU_SIM_LOG  what is logged on standard error, for example debug or smmu_sim::live=trace
  NO_COLOR      if set and not empty: no colour, as --color never";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenario files like tests; without one, show the main job: a nested translation
    Run(run::Run),
    /// Write a scenario file to start from
    New(new::New),
    /// Translate transactions through a snapshot, an image, a core or a QEMU that runs
    Walk(walk::Walk),
    /// Show an SMMU's registers, in a form that walk reads
    Registers(registers::ShowRegisters),
    /// Print the register table of the model
    Regs(regs::Regs),
    /// Decode raw words, as kernel logs print them, into named fields
    Decode(decode::Decode),
    /// Compare the model with recorded answers of other implementations
    Check(check::Check),
    /// Write a shell's completion script
    Completions(completions::Completions),
    /// Write manual pages
    Man(man::Man),
    /// Run a DMA trace or a generated workload through the timed machine
    Simulate(simulate::Simulate),
    /// Write a DMA trace in another format
    Convert(convert::Convert),
    /// Compare the timed machine with published measurements and closed forms
    Validate(validate::Validate),
    /// Play VFIO scripts on the model of the kernel
    Type1(type1::Type1),
    /// Try attach, detach and SET_PASID_TABLE in every order, failing at every step
    Unwind(unwind::Unwind),
    /// Answer a question by running the model over a grid
    Experiment(experiment::Experiment),
}

/// Why a command ends early.
#[derive(Debug)]
enum Failure {
    /// Bad input: exit code 2.
    Input(anyhow::Error),
    /// Standard output could not be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Input(error)
    }
}

/// Whether what was asked for turned out as it should.
enum Verdict {
    Fine,
    Failed,
}

/// Runs the command this process was started as.
pub fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let colour = terminal::colour_asked_for(&words);
    let command = Arguments::command().color(colour);
    let arguments = command
        .try_get_matches_from(&words)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are what was asked for; a reader that goes away is no error.
            let asked_for = !error.use_stderr();
            return match error.print() {
                Ok(()) if asked_for => ExitCode::SUCCESS,
                Err(_) if asked_for => ExitCode::SUCCESS,
                _ => ExitCode::from(2),
            };
        }
    };
    let result = arguments
        .terminal
        .apply()
        .map_err(Failure::Input)
        .and_then(|()| {
            let mut out = io::BufWriter::new(anstream::stdout().lock());
            let verdict = execute(arguments.command, arguments.format, &mut out)?;
            out.flush()?;
            Ok(verdict)
        });
    match result {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => terminal::complain(&format!("standard output: {error}")),
        Err(Failure::Input(error)) => terminal::complain(&format!("{error:#}")),
    }
}

fn execute(command: Command, format: Format, out: &mut impl Write) -> Result<Verdict, Failure> {
    match command {
        Command::Run(run) => run.execute(format, out),
        Command::New(new) => new.execute(out),
        Command::Walk(walk) => walk.execute(format, out),
        Command::Registers(registers) => registers.execute(format, out),
        Command::Regs(regs) => regs.execute(format, out),
        Command::Decode(decode) => decode.execute(format, out),
        Command::Check(check) => check.execute(format, out),
        Command::Type1(type1) => type1.execute(out),
        Command::Unwind(unwind) => unwind.execute(format, out),
        Command::Experiment(experiment) => experiment.execute(format, out),
        Command::Simulate(simulate) => simulate.execute(format, out),
        Command::Convert(convert) => convert.execute(format, out),
        Command::Validate(validate) => validate.execute(format, out),
        Command::Completions(completions) => completions.execute(out),
        Command::Man(man) => man.execute(out),
    }
}

/// Writes `value` as indented JSON and a line end.
fn write_json(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value)
        .map_err(|error| Failure::Output(error.into()))?;
    writeln!(out)?;
    Ok(())
}
