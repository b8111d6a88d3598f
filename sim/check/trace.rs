//! Traces of real drivers at work: every register write, command and translation of a run, from
//! reset on (`dma_trace_*.csv`), driven through the model.
//!
//! Registers and commands drive the model; memory holds what QEMU read of it; each transaction's
//! answer and each event record must be QEMU's. Where they differ, [`qemu`] says what QEMU makes of
//! the same tables, and by which of its known departures from the architecture.

mod answer;
mod commands;
mod device;
mod line;
mod machine;
mod qemu;
mod shown;
mod transactions;

use std::io::{BufRead, Read};
use std::path::Path;

use smmu::spec::cmd::CmdOp;

pub use self::device::Watch;
pub use self::shown::Window;

use self::commands::{Doorbell, MOST_COMMANDS};
use self::line::{Consumed, Line};
use self::machine::Machine;
use self::shown::Shown;
use self::transactions::{Globals, Pending};
use super::report::{Example, TraceSummary};
use super::{CheckError, CheckOptions, Report};

/// Longest line there is: a transaction's is under 100 bytes, an STE's under 200.
const LONGEST_LINE: u64 = 1024;

/// Who gave the answers that count.
const TRANSLATIONS: &str = "QEMU, to transactions";
const COMMANDS: &str = "QEMU, to commands";

/// Bytes that tell a trace from other files.
pub(super) const START: u64 = 32;

/// Whether a file that begins with these bytes is a trace.
pub(super) fn is_trace(start: &[u8]) -> bool {
    start.starts_with(b"# smmu-dma-trace-1")
        || matches!(
            start,
            [b'R' | b'C' | b'S' | b'D' | b'M' | b'T' | b'K', b',', ..]
        )
}

/// Replays the trace in `reader` and compares all it tells.
pub(super) fn check(
    path: &Path,
    mut reader: impl BufRead,
    options: &CheckOptions,
    report: &mut Report,
) -> Result<(), CheckError> {
    let machine =
        Machine::new(&options.caches, options.watch).map_err(|error| CheckError::UnknownKind {
            path: path.into(),
            what: error.to_string(),
        })?;
    let mut replay = Replay {
        path,
        number: 0,
        machine,
        report,
        pending: None,
        commands: Vec::new(),
        ste: None,
        globals: Globals::default(),
        summary: TraceSummary::new(path),
        shown: options.show.map(|window| {
            let name = path.file_name().unwrap_or(path.as_os_str());
            Shown::new(window, format!("Caches over {}", name.display()))
        }),
    };
    let mut text = Vec::new();
    loop {
        replay.number += 1;
        text.clear();
        reader
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut text)
            .map_err(|source| CheckError::Read {
                path: path.into(),
                source,
            })?;
        if text.is_empty() {
            break;
        }
        let line = parse(&text).and_then(|line| line.map_or(Ok(()), |line| replay.line(&line)));
        line.map_err(|what| replay.error(what))?;
        replay.collect_findings();
    }
    replay.conclude();
    replay.run_commands(Doorbell::Early);
    replay.collect_findings();
    let view = replay.shown.and_then(Shown::finish);
    replay.report.views.extend(view);
    replay.report.traces.push(replay.summary);
    Ok(())
}

fn parse(text: &[u8]) -> Result<Option<Line>, String> {
    if text.len() as u64 == LONGEST_LINE && text.last() != Some(&b'\n') {
        return Err(format!("longer than {LONGEST_LINE} bytes"));
    }
    let text = std::str::from_utf8(text).map_err(|_| "not text".to_owned())?;
    Line::parse(text)
}

/// A trace on its way through the model.
struct Replay<'a> {
    path: &'a Path,
    /// Line, from 1.
    number: usize,
    machine: Machine,
    report: &'a mut Report,
    pending: Option<Pending>,
    /// Commands that QEMU consumed within a register write not told of yet.
    commands: Vec<Consumed>,
    /// Where the next transaction's STE is.
    ste: Option<u64>,
    globals: Globals,
    summary: TraceSummary,
    shown: Option<Shown>,
}

impl Replay<'_> {
    fn error(&self, what: String) -> CheckError {
        CheckError::Line {
            path: self.path.into(),
            line: self.number,
            what,
        }
    }

    /// What the sanitizer says of the driver.
    fn collect_findings(&mut self) {
        for finding in self.machine.take_findings() {
            let name = match finding.kind.detail() {
                Some(detail) => format!("{}/{detail}", finding.kind.name()),
                None => finding.kind.name().to_owned(),
            };
            let place = format!("{}:{}", self.path.display(), self.number);
            if let Some(shown) = &mut self.shown {
                shown.found(&finding);
            }
            self.summary
                .count_finding(name, || format!("{place}: {finding}"));
        }
    }

    fn line(&mut self, line: &Line) -> Result<(), String> {
        if let Line::Event(words) = line {
            return match &mut self.pending {
                Some(pending) if pending.event.is_none() => {
                    pending.event = Some(*words);
                    Ok(())
                }
                Some(_) => Err("E: the transaction before it has a record already".into()),
                None => Err("E: no T line before it".into()),
            };
        }
        self.conclude();
        if !matches!(line, Line::Command(_) | Line::Register(_)) {
            // A transaction of another thread while commands are consumed.
            self.run_commands(Doorbell::Early);
        }
        match line {
            Line::Register(write) => {
                self.machine.write_register(write);
                self.run_commands(Doorbell::Rung);
            }
            Line::Command(command) => {
                self.machine.queue_command(command);
                self.commands.push(*command);
                self.summary.count_command(CmdOp(command.words[0] as u8));
                if self.commands.len() > MOST_COMMANDS {
                    return Err(format!("C: more than {MOST_COMMANDS} without an R line"));
                }
            }
            Line::Ste(fetched) => {
                self.machine.fetched(fetched);
                self.ste = Some(fetched.pa);
            }
            Line::Cd(fetched) => self.machine.fetched(fetched),
            Line::Descriptor { pa, value } => self.machine.memory.store(*pa, &[*value]),
            Line::Translation(recorded) => {
                self.pending = Some(Pending {
                    number: self.number,
                    recorded: *recorded,
                    event: None,
                });
            }
            Line::Error => {
                let example = self.example("an error of QEMU's".into(), "none".into());
                let kind = "a global error expected".into();
                self.report.difference(COMMANDS, kind, || example);
            }
            Line::Event(_) | Line::Mark => {}
        }
        Ok(())
    }

    /// An example at the line being read.
    fn example(&self, expected: String, actual: String) -> Example {
        Example {
            place: format!("{}:{}", self.path.display(), self.number),
            expected,
            actual,
        }
    }
}
