//! QEMU's trace log (`-trace 'smmuv3_*'`), read directly: translations and invalidations.
//!
//! The log has no tables, so addresses are mapped as they are first seen.

use std::path::Path;

use smmu::Transaction;
use smmu::addr::Iova;
use smmu::ids::StreamId;
use smmu::timing::{Arrival, Operation};
use smmu::transaction::AccessKind;

use super::error::{Problem, WorkloadError};
use super::fields::Lines;
use super::input::Bytes;

/// What every line of use contains.
pub const MARK: &str = "smmuv3_";

/// Reads a QEMU trace log.
#[derive(Debug)]
pub struct QemuReader {
    lines: Lines,
}

impl QemuReader {
    /// Reads operations from `bytes`; `path` is for messages.
    pub fn new(path: &Path, bytes: Bytes) -> Self {
        Self {
            lines: Lines::new(path, bytes),
        }
    }

    /// The next operation. Lines about other events are passed over.
    ///
    /// # Errors
    /// [`WorkloadError`] naming the line and the field.
    pub fn read(&mut self) -> Result<Option<Operation>, WorkloadError> {
        loop {
            let Some(line) = self.lines.next()? else {
                return Ok(None);
            };
            // With a log prefix the event follows "pid@seconds:".
            let Some(at) = line.find(MARK) else {
                continue;
            };
            let (event, rest) = line[at..].split_once(' ').unwrap_or((&line[at..], ""));
            let parsed = match event {
                "smmuv3_translate_success" | "smmuv3_translate_bypass" => transaction(rest),
                "smmuv3_range_inval" => invalidation(rest),
                "smmuv3_cmdq_tlbi_nh" => Ok(Some(Operation::Command([TLBI_NSNH_ALL, 0]))),
                "smmuv3_cmdq_tlbi_nsnh" => Ok(Some(Operation::Command([TLBI_NSNH_ALL, 0]))),
                _ => continue,
            };
            match parsed {
                Ok(Some(operation)) => return Ok(Some(operation)),
                Ok(None) => {}
                Err(problem) => return Err(self.lines.wrong(problem)),
            }
        }
    }
}

/// CMD_TLBI_NSNH_ALL (IHI 0070 §4.4).
const TLBI_NSNH_ALL: u64 = 0x30;

/// The number after `name`, which `=` or `:` follows.
fn number(line: &str, name: &'static str) -> Result<u64, Problem> {
    let missing = || Problem::new(name, line, "NAME=NUMBER");
    let at = line
        .match_indices(name)
        .map(|(at, _)| at + name.len())
        .find(|&at| line[at..].starts_with(['=', ':']))
        .ok_or_else(missing)?;
    let digits: &str = line[at + 1..]
        .split(|c: char| !c.is_ascii_alphanumeric())
        .next()
        .unwrap_or_default();
    let parsed = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    parsed.map_err(|_| {
        Problem::new(
            name,
            digits,
            "a decimal number, or a hexadecimal one with 0x",
        )
    })
}

fn transaction(line: &str) -> Result<Option<Operation>, Problem> {
    let sid = number(line, "sid")?;
    let stream = u32::try_from(sid)
        .map_err(|_| Problem::new("sid", format!("{sid:#x}"), "at most 32 bits"))?;
    let address = Iova::new(number(line, "iova")?);
    // perm says what the page allows or, in old versions, what was asked for: bit 0 read, bit 1
    // write.
    let write = match number(line, "perm").or_else(|_| number(line, "is_write").map(|w| w << 1)) {
        Ok(perm) => perm & 3 == 2,
        Err(_) => false,
    };
    let kind = if write {
        AccessKind::Write
    } else {
        AccessKind::Read
    };
    Ok(Some(Operation::Arrive(Arrival {
        transaction: Transaction::new(StreamId::new(stream), address, kind),
        bytes: 0,
        not_before: 0,
    })))
}

/// The whole TLB is forgotten for each page range: tags of the log's machine mean nothing to ours.
fn invalidation(line: &str) -> Result<Option<Operation>, Problem> {
    number(line, "addr")?;
    Ok(Some(Operation::Command([TLBI_NSNH_ALL, 0])))
}
