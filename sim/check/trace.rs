//! Traces of real drivers at work: every register write, command and translation of a run, from
//! reset on (`dma_trace_*.csv`), driven through the model.
//!
//! Registers and commands drive the model; memory holds what QEMU read of it; each transaction's
//! answer and each event record must be QEMU's. Where they differ, [`qemu`] says what QEMU makes of
//! the same tables, and by which of its known departures from the architecture.

mod answer;
mod commands;
mod line;
mod machine;
mod qemu;

use std::io::{BufRead, Read};
use std::path::Path;

use smmu::addr::Iova;
use smmu::cache::CacheConfig;
use smmu::spec::cmd::CmdOp;
use smmu::spec::event::EventId;
use smmu::Transaction;

use self::answer::Answer;
use self::commands::{Doorbell, MOST_COMMANDS};
use self::line::{Consumed, Line, Recorded};
use self::machine::{Machine, Recording};
use self::qemu::Fetched;
use super::report::{Example, TraceSummary};
use super::{CheckError, Report};

/// Longest line there is: a transaction's is under 100 bytes, an STE's under 200.
const LONGEST_LINE: u64 = 1024;

const TRANSLATIONS: &str = "transactions of QEMU";
const COMMANDS: &str = "commands of the driver";

/// Whether a file that begins with these bytes is a trace.
pub(super) fn is_trace(start: &[u8]) -> bool {
    start.starts_with(b"# smmu-dma-trace-1")
        || matches!(start, [b'R' | b'C' | b'S' | b'D' | b'M' | b'T' | b'K', b',', ..])
}

/// Replays the trace in `reader` and compares all it tells.
pub(super) fn check(
    path: &Path,
    mut reader: impl BufRead,
    caches: &CacheConfig,
    report: &mut Report,
) -> Result<(), CheckError> {
    let machine = Machine::new(caches).map_err(|error| CheckError::UnknownKind {
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
        summary: TraceSummary::new(path),
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
    }
    replay.conclude();
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

/// A transaction whose event may still follow.
struct Pending {
    number: usize,
    recorded: Recorded,
    event: Option<[u64; 4]>,
}

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
    summary: TraceSummary,
}

impl Replay<'_> {
    fn error(&self, what: String) -> CheckError {
        CheckError::Line {
            path: self.path.into(),
            line: self.number,
            what,
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

    /// Puts the pending transaction to the model and compares.
    fn conclude(&mut self) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let recorded = &pending.recorded;
        let mut fetched = Fetched::Before;
        if let Some(pa) = self.ste.take() {
            fetched = Fetched::Now;
            self.machine.link(recorded.stream, pa);
        }
        self.learn_refusals(&pending);
        let iova = Iova::new(recorded.iova);
        let transaction = match recorded.access {
            line::Access::Read => Transaction::read(recorded.stream, iova),
            line::Access::Write => Transaction::write(recorded.stream, iova),
        };
        let before = self.machine.event_prod();
        let answered = self.machine.translate(&transaction);
        self.summary.count_translation(answered.found);

        let (cold, seen) = self.machine.translate_cold(&transaction);
        let expected = Answer::recorded(recorded, pending.event);
        let actual = Answer::of(&answered.outcome, answered.record, &seen, recorded);
        if expected == actual {
            self.report.agreement(TRANSLATIONS);
        } else {
            // A departure is QEMU's only if the model answers by the tables as they are.
            let account = (cold == answered.outcome)
                .then(|| qemu::account(&self.machine, &transaction, recorded, fetched, &seen))
                .flatten()
                .filter(|account| !account.departures.is_empty())
                .filter(|account| account.explains(&expected));
            let path = self.path;
            let example = || {
                let access = match recorded.access {
                    line::Access::Read => "read",
                    line::Access::Write => "write",
                };
                let sid = recorded.stream.get();
                Example {
                    place: format!(
                        "{}:{}: sid {sid:#x} {access} {iova}",
                        path.display(),
                        pending.number
                    ),
                    expected: expected.to_string(),
                    actual: actual.to_string(),
                }
            };
            match account {
                Some(account) => {
                    for departure in &account.departures {
                        self.summary.count_departure(departure.name());
                    }
                    let names = account.departures.iter().map(|d| d.name());
                    self.report.departure(TRANSLATIONS, names, example);
                }
                None => {
                    let kind = expected.difference(&actual);
                    self.report.difference(TRANSLATIONS, kind, example);
                }
            }
        }
        let recording = match pending.event {
            Some(_) => Recording::One,
            None => Recording::None,
        };
        self.machine.settle_events(before, recording);
    }

    /// An abort of memory is told of by the fault it makes, and by nothing else.
    fn learn_refusals(&mut self, pending: &Pending) {
        let Some([word0, _, word2, word3]) = pending.event else {
            return;
        };
        let address = match EventId(word0 as u8) {
            EventId::F_STE_FETCH | EventId::F_WALK_EABT => word3,
            // QEMU has it in either place.
            EventId::F_CD_FETCH if word3 == 0 => word2,
            EventId::F_CD_FETCH => word3,
            _ => return,
        };
        self.machine.memory.refuse(address);
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
