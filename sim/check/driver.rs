//! Commands a real driver issued, recorded while it worked (`dma_trace_*.csv`), compared with the
//! commands our driver issues for the same operations.
//!
//! A trace holds commands, not operations, so what was being done is read off the commands: which
//! structures were written for which stream, which addresses were unmapped from which ASID or
//! VMID. Our driver then does that and must issue the same commands, the SYNCs included, in the
//! same order. ASIDs and VMIDs are those of the recording up to renaming.

mod operation;
mod replay;

use std::path::Path;

use arm_smmu_v3::Command;
use iommu_core::Kernel;
use smmu::config::{IdRegisters, SmmuConfig};

use super::{CheckError, Report};
use operation::Operation;
use replay::Replay;

/// First line of a trace.
pub(super) const FORMAT: &str = "# smmu-dma-trace-1";

/// The kernel, page size in bytes and part of a run, told by the recording's name.
fn setting(name: &str) -> Option<(Kernel, u64, SmmuConfig)> {
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let has = |word| words.contains(&word);
    let kernel = if has("k61") {
        Kernel::V6_1
    } else if has("k612") {
        Kernel::V6_12
    } else if has("k72") {
        Kernel::V7_2
    } else {
        return None;
    };
    let page = if has("16k") { 1 << 14 } else { 1 << 12 };
    let stages = match (has("s1only"), has("s2only")) {
        (true, _) => 2,
        (_, true) => 1,
        _ => 3,
    };
    let part = IdRegisters {
        idr0: 0x0d44_1018 | stages,
        idr1: 0x0273_0010,
        idr2: 0,
        idr3: 0x1414,
        idr5: 0x74,
        aidr: 1,
    };
    Some((kernel, page, SmmuConfig::from_id_registers(part).ok()?))
}

/// Compares every operation that the trace at `path` shows.
///
/// # Errors
/// [`CheckError`] if a line is not what it should be, or the name tells no kernel.
pub(super) fn check(path: &Path, text: &str, report: &mut Report) -> Result<(), CheckError> {
    let unknown = |what: &str| CheckError::UnknownKind {
        path: path.into(),
        what: what.into(),
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let (kernel, page, part) = name.and_then(setting).ok_or_else(|| {
        unknown("the name of a driver's trace tells the kernel: k61, k612, k72, with _16k, _s2only")
    })?;
    let commands = commands(path, text)?;
    let mut replay = Replay::new(kernel, page, part)
        .map_err(|errno| unknown(&format!("our driver does not start: {errno}")))?;
    let source = match kernel {
        Kernel::V5_10 => "the driver of 5.10",
        Kernel::V6_1 => "the driver of 6.1",
        Kernel::V6_12 => "the driver of 6.12",
        Kernel::V7_2 => "the driver of 7.2",
    };
    // Commands not compared yet; an operation need not be contiguous.
    let mut left: Vec<(usize, Command)> = commands.into_iter().enumerate().rev().collect();
    while !left.is_empty() {
        let seen = left.len().min(LOOK_AHEAD);
        let ahead: Vec<(usize, Command)> = left.split_off(left.len() - seen);
        let ahead: Vec<(usize, Command)> = ahead.into_iter().rev().collect();
        let commands: Vec<Command> = ahead.iter().map(|(_, command)| *command).collect();
        let (operation, used) = Operation::read(&commands, replay.style());
        let recorded: Vec<Command> = used.iter().map(|&at| commands[at]).collect();
        let issued = replay.play(&operation, &recorded);
        report.text(
            source,
            &texts(&recorded),
            &texts(&issued),
            || format!("{}: other commands", operation.name()),
            || format!("{}: command {}, {operation}", path.display(), ahead[0].0),
        );
        let mut used = used.into_iter().peekable();
        let rest = ahead
            .into_iter()
            .enumerate()
            .filter(|(at, _)| used.next_if_eq(at).is_none())
            .map(|(_, command)| command);
        let rest: Vec<(usize, Command)> = rest.collect();
        left.extend(rest.into_iter().rev());
    }
    Ok(())
}

/// Commands an operation can be told by, a long unmap's included.
const LOOK_AHEAD: usize = 256;

fn texts(commands: &[Command]) -> String {
    let texts: Vec<String> = commands.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// The commands of a trace (`C,slot,word,word`, in hexadecimal).
fn commands(path: &Path, text: &str) -> Result<Vec<Command>, CheckError> {
    let mut commands = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(fields) = line.strip_prefix("C,") else {
            continue;
        };
        let bad = |what: &str| CheckError::Line {
            path: path.into(),
            line: number,
            what: what.into(),
        };
        let mut words = fields
            .split(',')
            .skip(1)
            .map(|word| u64::from_str_radix(word.trim(), 16));
        let (Some(Ok(first)), Some(Ok(second))) = (words.next(), words.next()) else {
            return Err(bad("expected C,slot,word,word in hexadecimal"));
        };
        let command = Command::from_words([first, second])
            .ok_or_else(|| bad("no command a Linux driver issues"))?;
        commands.push(command);
    }
    Ok(commands)
}
