//! The command line: arguments, output, exit codes. Data go to stdout, messages to stderr.
//!
//! Exit code 0: fine. 1: a check or an expectation failed. 2: bad input or usage.

#![expect(
    clippy::print_stderr,
    reason = "error messages of the command belong on stderr"
)]

mod check;
mod decode;
mod experiment;
mod run;
mod type1;
mod unwind;
mod walk;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Reference software model of the Arm SMMUv3.
///
/// Translates device addresses through bit-exact stream tables, context descriptors and page
/// tables, and shows every memory access on the way.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the main job: a nested translation step by step, then a fault
    Run(run::Run),
    /// Translate transactions through a snapshot or a memory image
    Walk(walk::Walk),
    /// Decode raw words, as kernel logs print them, into named fields
    Decode(decode::Decode),
    /// Compare the model with recorded answers of other implementations
    Check(check::Check),
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
    let arguments = match Arguments::try_parse() {
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
    let mut out = io::BufWriter::new(io::stdout().lock());
    let format = arguments.format;
    let result = match arguments.command {
        Command::Run(run) => run.execute(format, &mut out),
        Command::Walk(walk) => walk.execute(format, &mut out),
        Command::Decode(decode) => decode.execute(format, &mut out),
        Command::Check(check) => check.execute(format, &mut out),
        Command::Type1(type1) => type1.execute(&mut out),
        Command::Unwind(unwind) => unwind.execute(format, &mut out),
        Command::Experiment(experiment) => experiment.execute(format, &mut out),
    };
    let result = result.and_then(|verdict| out.flush().map(|()| verdict).map_err(Failure::from));
    match result {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => {
            eprintln!("smmu-sim: standard output: {error}");
            ExitCode::from(2)
        }
        Err(Failure::Input(error)) => {
            eprintln!("smmu-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Writes `value` as indented JSON and a line end.
fn write_json(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value)
        .map_err(|error| Failure::Output(error.into()))?;
    writeln!(out)?;
    Ok(())
}
