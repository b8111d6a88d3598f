//! Answers to a transaction in the terms of a trace.

use std::fmt;

use smmu::Outcome;
use smmu::spec::event::{Event, EventId};
use smmu::transaction::Path;

use super::line::{Recorded, Result};
use super::machine::Seen;
use crate::check::report::differing_fields;

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) result: Result,
    /// Stages that made the output address; 0 if there is none.
    pub(super) stage: u8,
    /// What went into the event queue.
    pub(super) record: Option<[u64; 4]>,
}

impl Answer {
    /// QEMU's, as recorded.
    pub(super) fn recorded(recorded: &Recorded, record: Option<[u64; 4]>) -> Self {
        let stage = match recorded.result {
            Result::Translated { .. } => recorded.stage,
            _ => 0,
        };
        Self {
            result: recorded.result,
            stage,
            record,
        }
    }

    /// The model's. What a cold walk has `seen` gives the leaf's permissions, which an outcome does
    /// not have; a walk that saw none leaves them as recorded.
    pub(super) fn of(
        outcome: &Outcome,
        record: Option<[u64; 4]>,
        seen: &Seen,
        recorded: &Recorded,
    ) -> Self {
        let (result, stage) = match outcome {
            Outcome::Translated(translation) => {
                let leaf = match translation.path {
                    Path::Stage2 => seen.stage2.map(permissions2),
                    _ => seen.stage1.map(permissions1),
                };
                let perm = leaf.unwrap_or(match recorded.result {
                    Result::Translated { perm, .. } => perm,
                    _ => 0,
                });
                let translated = Result::Translated {
                    pa: translation.pa.get(),
                    mask: u64::MAX >> (64 - translation.span_log2.clamp(1, 64)),
                    perm,
                };
                match translation.path {
                    Path::Stage1 => (translated, 1),
                    Path::Stage2 => (translated, 2),
                    Path::Nested => (translated, 3),
                    Path::Bypass | Path::AtsTranslated => (Result::Bypass, 0),
                    Path::Disabled => (Result::Disabled, 0),
                }
            }
            Outcome::Terminated { fault: None, .. } | Outcome::Dropped | Outcome::Refused => {
                (Result::Abort, 0)
            }
            Outcome::Terminated { event, .. } => (fault(event.as_ref()), 0),
            Outcome::Stalled { event, .. } => (fault(Some(event)), 0),
        };
        Self {
            result,
            stage,
            record,
        }
    }

    /// What differs from `actual`, in a few words.
    pub(super) fn difference(&self, actual: &Self) -> String {
        match (self.result, actual.result) {
            (
                Result::Translated { pa, mask, perm },
                Result::Translated {
                    pa: pa_found,
                    mask: mask_found,
                    perm: perm_found,
                },
            ) => {
                let names: Vec<_> = [
                    ("pa", pa == pa_found),
                    ("mask", mask == mask_found),
                    ("perm", perm == perm_found),
                    ("stage", self.stage == actual.stage),
                    ("event", self.record == actual.record),
                ]
                .into_iter()
                .filter_map(|(name, same)| (!same).then_some(name))
                .collect();
                format!("a translation: {} differ", names.join(", "))
            }
            (Result::Fault { event }, Result::Fault { event: found }) if event == found => {
                let name = name(event);
                match (&self.record, &actual.record) {
                    (Some(a), Some(b)) => format!("{name}: {} differ", differing_fields(a, b)),
                    (Some(_), None) => format!("{name}: recorded, not found in the event queue"),
                    _ => format!("{name}: not recorded, found in the event queue"),
                }
            }
            _ => format!("{} expected, {} found", self.summary(), actual.summary()),
        }
    }

    fn summary(&self) -> String {
        match self.result {
            Result::Translated { .. } => "a translation".into(),
            Result::Fault { event: 0 } => "a fault without an event".into(),
            Result::Fault { event } => name(event),
            Result::Abort => "a silent abort".into(),
            Result::Bypass => "a bypass".into(),
            Result::Disabled => "a disabled SMMU".into(),
        }
    }
}

fn fault(event: Option<&Event>) -> Result {
    Result::Fault {
        event: event.map_or(0, |event| event.words()[0] as u8),
    }
}

fn name(event: u8) -> String {
    format!("{:?}", EventId(event))
}

/// Permissions as QEMU keeps them of a stage-1 leaf: AP\[2\] alone.
pub(super) fn permissions1(leaf: u64) -> u8 {
    1 | u8::from(leaf >> 7 & 1 == 0) << 1
}

/// Permissions of a stage-2 leaf: S2AP.
pub(super) fn permissions2(leaf: u64) -> u8 {
    (leaf >> 6 & 3) as u8
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result {
            Result::Translated { pa, mask, perm } => write!(
                f,
                "pa {pa:#x}, mask {mask:#x}, perm {perm}, stage {}",
                self.stage
            )?,
            _ => f.write_str(&self.summary())?,
        }
        if let Some([a, b, c, d]) = self.record {
            write!(f, ", record {a:016x} {b:016x} {c:016x} {d:016x}")?;
        }
        Ok(())
    }
}
