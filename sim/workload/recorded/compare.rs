//! Answers against recorded ones, and where the recording machine departs from the architecture.

use smmu::Outcome;
use smmu::addr::Pa;
use smmu::fault::{Cause, Stage};
use smmu::mem::{AccessClass, PhysMem};
use smmu::observe::{Access, Observer};
use smmu::spec::event::{Event, EventId};
use smmu::transaction::Path as Way;

/// What the recording says became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Translated(Pa),
    /// With the event recorded, if one was.
    Fault(Option<EventId>),
    Abort,
    Bypass,
    Disabled,
}

/// A transaction on its way, and what is expected of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) index: u64,
    pub(super) page: u64,
    pub(super) line: u64,
    pub(super) answer: Answer,
    pub(super) event: Option<[u64; 4]>,
}

/// One answer that differs from the recorded one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Line of the transaction.
    pub line: u64,
    /// What was recorded.
    pub recorded: String,
    /// What the model answers.
    pub model: String,
}

/// How the model's answers compare with the recorded ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Answers that are equal.
    pub equal_count: u64,
    /// Answers that differ.
    pub different_count: u64,
    /// Answers that differ because the recording machine is known to depart from the architecture
    /// there.
    pub known_count: u64,
    /// Answers that a walk at that moment would have given, but an entry cached before does not.
    /// The recording machine takes every entry as belonging to its ASID; where its software marks
    /// pages as global, entries of other address spaces answer.
    pub cached_count: u64,
    /// Answers for which the model reads memory that the recording does not define.
    pub undefined_count: u64,
    /// The first few that differ and are not known.
    pub differences: Vec<Difference>,
}

/// Looks for reads of words that were never recorded.
pub(super) struct Undefined<'a, M> {
    pub(super) defined: &'a mut M,
    pub(super) found: bool,
}

impl<M: PhysMem> Observer for Undefined<'_, M> {
    fn access(&mut self, access: &Access<'_>) {
        let known = self.defined.read64(access.pa, AccessClass::Stage1);
        self.found |= known != Ok(1);
    }
}

/// Whether the recording machine is known to depart from the architecture in this way
/// (docs/src/guide/check.md): it records no event for an address beyond the intermediate size of a
/// stream without a stage 1; it raises what a table's APTable forbids before it reads the leaf; and
/// of several faults of one leaf it raises the Access flag's, then the permission's, then that of
/// the address.
pub(super) fn departs(answer: Answer, outcome: &Outcome) -> bool {
    let Some(fault) = outcome.fault() else {
        return false;
    };
    let at_stage1 = fault
        .cause
        .site()
        .is_some_and(|site| site.stage == Stage::Stage1);
    let recorded = match answer {
        Answer::Fault(recorded) if at_stage1 => recorded,
        _ => return false,
    };
    match (recorded, fault.cause) {
        (None | Some(EventId::F_ACCESS), Cause::AddressSize(_)) => true,
        (Some(EventId::F_PERMISSION), cause) => matches!(
            cause,
            Cause::Access(_) | Cause::AddressSize(_) | Cause::Translation(_)
        ),
        _ => false,
    }
}

pub(super) fn agrees(expected: &Expected, outcome: &Outcome) -> bool {
    match (expected.answer, outcome) {
        (Answer::Translated(pa), Outcome::Translated(translation)) => translation.pa == pa,
        (Answer::Bypass, Outcome::Translated(translation)) => translation.path == Way::Bypass,
        (Answer::Disabled, Outcome::Translated(translation)) => translation.path == Way::Disabled,
        (Answer::Abort, Outcome::Terminated { event, .. }) => event.is_none(),
        (Answer::Fault(recorded), Outcome::Terminated { event, .. }) => {
            let ours = event.as_ref().map(|event| event.dw0.r#type());
            ours == recorded && same_input(expected.event, event.as_ref())
        }
        _ => false,
    }
}

/// Whether two records are about the same stream and address: the rest is where the recording
/// machine departs from the architecture (docs/src/guide/check.md).
pub(super) fn same_input(recorded: Option<[u64; 4]>, ours: Option<&Event>) -> bool {
    match (recorded, ours) {
        (Some(words), Some(event)) => {
            let ours = event.words();
            words[0] >> 32 == ours[0] >> 32 && words[2] == ours[2]
        }
        _ => true,
    }
}
