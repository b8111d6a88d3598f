//! What an exploration objects to, and why.

use iommu_core::semantics::Defect;
use iommu_core::{Errno, KernelBug};

use super::guest::RANGES;
use super::op::{Op, OpKind};
use super::view::{Resources, SteState, View};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objection {
    /// The kernel stopped at an assertion.
    KernelBug(KernelBug),
    /// A stream reaches memory that no mapping allows.
    Stray,
    /// Pins or charges are not the sum of the mappings.
    Books,
    /// A failed SET, UNSET or replace aborts devices that it did not find aborting.
    SetAborts,
    /// A failed SET, UNSET or replace leaves domains with another stage 1 than it found.
    SetNotUndone,
    /// A failed operation leaves a device attached to nothing.
    LeftDetached,
    /// A failed operation leaves something else changed.
    NotUndone,
    /// Domains of one container differ in their stage 1.
    TableMissing,
    /// A cached translation of the former table is still used.
    StaleTable,
    /// A cached translation of an unmapped page is still used.
    StaleMapping,
    /// An identifier is still taken after everybody left.
    IdentifierLeak,
    /// Something else is left after everybody left.
    Leak,
}

impl Objection {
    /// The numbered defect it is a sign of, if there is one.
    pub const fn defect(self) -> Option<Defect> {
        match self {
            Self::SetNotUndone => Some(Defect::FailedSetDetaches),
            Self::SetAborts => Some(Defect::UnwindAborts),
            Self::TableMissing => Some(Defect::LaterDomainsMissTable),
            Self::StaleTable => Some(Defect::NoInvalidationOnSet),
            Self::StaleMapping => Some(Defect::CombinedEntriesStay),
            Self::IdentifierLeak => Some(Defect::VmidLeaks),
            Self::LeftDetached => Some(Defect::FailedAttachDetaches),
            _ => None,
        }
    }

    /// In a reviewer's words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::KernelBug(bug) => bug.what,
            Self::Stray => "a device reaches memory that no mapping of its container allows",
            Self::Books => "pins and locked memory are not the sum of the mappings",
            Self::SetAborts => {
                "the unwind of a failed SET_PASID_TABLE leaves domains aborting that were not: \
                 detach_pasid_table() sets abort, it does not restore"
            }
            Self::SetNotUndone => {
                "a failed SET_PASID_TABLE leaves the domains before the failing one detached, not as \
                 they were: the unwind calls detach_pasid_table() whatever they had before"
            }
            Self::LeftDetached => {
                "a failed attach leaves the device attached to nothing: the driver detaches from the \
                 old domain before it looks at the new one"
            }
            Self::NotUndone => "a failed operation leaves the machine changed",
            Self::TableMissing => {
                "a group that joins after SET_PASID_TABLE gets a domain without the table: nothing in \
                 the container remembers it, so one guest has two states"
            }
            Self::StaleTable => {
                "after SET_PASID_TABLE or its undoing the device still goes by the former table: STEs \
                 are rewritten with CFGI_STE, but no TLBI and no ATC_INV follows"
            }
            Self::StaleMapping => {
                "after UNMAP_DMA the device still reaches the page: stage 2 is invalidated by IPA, and \
                 entries that combine both stages stay"
            }
            Self::IdentifierLeak => {
                "a VMID or ASID is still allocated after every group has left: a domain is freed that \
                 was finalised but never reached an STE"
            }
            Self::Leak => "something is left after every group has left",
        }
    }
}

/// What is compared.
pub(super) struct Case<'a> {
    pub(super) op: Op,
    /// The step that was made to fail.
    pub(super) failed: Option<&'static str>,
    pub(super) result: Result<(), Errno>,
    pub(super) before: &'a View,
    pub(super) after: &'a View,
    /// Whether containers share one stage 2.
    pub(super) space: Space,
}

/// Whether mappings of one container serve all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    PerContainer,
    Shared,
}

/// A SYNC that hardware does not complete.
const SYNC: &str = "driver:cmd_sync";

/// What there is to object to after one operation.
pub(super) fn objections(case: &Case<'_>) -> Vec<Objection> {
    let mut found = Vec::new();
    let (before, after) = (case.before, case.after);
    let waited = case.failed != Some(SYNC);
    let strayed = strays(after, case.space) > strays(before, case.space);
    match stale_kind(case) {
        // Hardware that does not answer a SYNC may hold on to anything.
        Some(_) if !waited => {}
        Some(stale) => found.push(stale),
        // What a former table left behind may come to lead astray later.
        None if strayed && stale(before) > 0 => found.push(Objection::StaleTable),
        None if strayed => found.push(Objection::Stray),
        None => {}
    }
    let resources = &after.resources;
    if (resources.pins, resources.locked_pages) != (after.mapped_pages, after.mapped_pages) {
        found.push(Objection::Books);
    }
    if case.result.is_err() {
        found.extend(undone(case));
    } else if is_split(after) && !is_split(before) {
        found.push(Objection::TableMissing);
    }
    found
}

/// Streams that reach, through caches, what no mapping allows, counted by probe.
fn strays(view: &View, space: Space) -> usize {
    let mut count = 0;
    for stream in &view.streams {
        let container = view.container_of(stream.group);
        let mappings: Vec<usize> = match (container, space) {
            (None, _) => vec![],
            (Some(_), Space::Shared) => {
                let all = view.containers.iter();
                all.flat_map(|container| container.mappings.clone())
                    .collect()
            }
            (Some(container), Space::PerContainer) => view.containers[container].mappings.clone(),
        };
        for reach in stream.reach {
            let allowed = match reach {
                super::view::Reach::Page(page) => mappings.iter().any(|mapping| {
                    let range = RANGES[*mapping];
                    (range.first..range.first + range.pages).contains(&page)
                }),
                super::view::Reach::Elsewhere(_) => false,
                _ => true,
            };
            count += usize::from(!allowed);
        }
    }
    count
}

/// Probes that reach memory by caches alone.
fn stale(view: &View) -> usize {
    let streams = view.streams.iter();
    let pairs = streams.flat_map(|stream| stream.reach.into_iter().zip(stream.cold));
    pairs
        .filter(|(warm, cold)| warm != cold && warm.is_memory())
        .count()
}

/// What is newly reached by caches alone.
fn stale_kind(case: &Case<'_>) -> Option<Objection> {
    if stale(case.after) <= stale(case.before) {
        return None;
    }
    Some(match case.op.kind() {
        OpKind::Map | OpKind::Unmap => Objection::StaleMapping,
        _ => Objection::StaleTable,
    })
}

/// What a failed operation left changed.
fn undone(case: &Case<'_>) -> Option<Objection> {
    let (before, after) = (case.before, case.after);
    match case.op.kind() {
        // Two ioctls: what the first did stays done.
        OpKind::Replace if case.space == Space::PerContainer => return None,
        // Documented: mappings may be gone although an error is returned.
        OpKind::Unmap => return None,
        _ => {}
    }
    let changed = before
        .streams
        .iter()
        .zip(&after.streams)
        .filter(|(old, new)| (old.ste, old.vmid.is_some()) != (new.ste, new.vmid.is_some()));
    let mut changed: Vec<(SteState, SteState)> =
        changed.map(|(old, new)| (old.ste, new.ste)).collect();
    changed.sort_unstable();
    let setting = matches!(
        case.op.kind(),
        OpKind::Set | OpKind::Unset | OpKind::Replace
    );
    if let Some((_, new)) = changed.first() {
        let aborts =
            |(old, new): &(SteState, SteState)| *new == SteState::Abort && *old != SteState::Abort;
        return Some(match (setting, *new) {
            (true, _) if changed.iter().any(aborts) => Objection::SetAborts,
            (true, _) => Objection::SetNotUndone,
            (false, SteState::Abort | SteState::Bypass | SteState::Invalid) => {
                Objection::LeftDetached
            }
            (false, _) => Objection::NotUndone,
        });
    }
    let same = before.containers == after.containers
        && before.resources.pins == after.resources.pins
        && before.resources.locked_pages == after.resources.locked_pages
        && before.streams.len() == after.streams.len();
    (!same).then_some(Objection::NotUndone)
}

/// Whether domains of one container differ in their stage 1.
fn is_split(view: &View) -> bool {
    view.containers.iter().any(|container| {
        let mut states: Vec<SteState> = container
            .domains
            .iter()
            .flat_map(|domain| domain.states.clone())
            .collect();
        states.sort_unstable();
        states.dedup();
        states.len() > 1
    })
}

/// What is left when it should not be.
pub(super) fn leaks(pristine: &Resources, left: &Resources) -> Option<Objection> {
    if left.vmids > pristine.vmids || left.asids > pristine.asids {
        return Some(Objection::IdentifierLeak);
    }
    (left != pristine).then_some(Objection::Leak)
}
