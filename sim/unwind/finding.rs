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
    /// A failed UNMAP leaves a mapping neither in place nor gone.
    HalfUnmapped,
    /// A failed UNMAP does not return what its failing step failed with.
    FailureHidden,
    /// A SYNC that timed out changed what the operation returned.
    TimeoutReturned,
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
            Self::HalfUnmapped => {
                "a failed UNMAP_DMA leaves the machine neither as it was nor without the mapping"
            }
            Self::FailureHidden => {
                "UNMAP_DMA does not return the error of the step that failed in it"
            }
            Self::TimeoutReturned => {
                "a CMD_SYNC that timed out changes what the operation returns: the driver prints it \
                 and goes on"
            }
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
    /// What it failed with.
    pub(super) failure: Option<Errno>,
    pub(super) result: Result<(), Errno>,
    /// What the operation returns where no step fails.
    pub(super) undisturbed: Result<(), Errno>,
    pub(super) before: &'a View,
    /// When the SMMUs have come to the end of their queues.
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

/// A SYNC that hardware does not complete in time.
pub(super) const SYNC: &str = "driver:cmd_sync";

/// Whether a device reaches what no mapping allows until the SMMU comes to the end of its queue:
/// what a timed-out SYNC was to prevent, and no kernel does.
pub(super) fn late(at_once: &View, settled: &View, space: Space) -> bool {
    strays(at_once, space) > strays(settled, space)
}

/// What there is to object to after one operation.
pub(super) fn objections(case: &Case<'_>) -> Vec<Objection> {
    let mut found = Vec::new();
    let (before, after) = (case.before, case.after);
    let strayed = strays(after, case.space) > strays(before, case.space);
    match stale_kind(case) {
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
    found.extend(wrong_result(case));
    if case.result.is_err() {
        found.extend(undone(case));
    } else if is_split(after) && !is_split(before) {
        found.push(Objection::TableMissing);
    }
    found
}

/// What is wrong with the returned error.
fn wrong_result(case: &Case<'_>) -> Option<Objection> {
    let unmapping = case.op.kind() == OpKind::Unmap;
    match case.failed? {
        SYNC if case.result != case.undisturbed => Some(Objection::TimeoutReturned),
        SYNC => None,
        _ if unmapping && case.result.err() != case.failure => Some(Objection::FailureHidden),
        _ => None,
    }
}

/// Whether a failed UNMAP left something between the machine as it was and the machine without the
/// mapping, the two things user space can be told.
fn half_unmapped(case: &Case<'_>) -> bool {
    let Op::Unmap { container, mapping } = case.op else {
        return false;
    };
    let (before, after) = (case.before, case.after);
    let mut without = before.containers.clone();
    without[container]
        .mappings
        .retain(|other| *other != mapping);
    let kept = after.containers == before.containers;
    let gone = after.containers == without;
    let streams = before.streams.iter().zip(&after.streams);
    let agree = streams.into_iter().all(|(old, new)| {
        let pairs = old.cold.iter().zip(&new.cold);
        let reached = pairs
            .into_iter()
            .all(|(old, new)| old == new || !kept && !new.is_memory());
        (old.ste, old.vmid) == (new.ste, new.vmid) && reached
    });
    !(kept || gone) || !agree || before.streams.len() != after.streams.len()
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
        OpKind::Unmap => return half_unmapped(case).then_some(Objection::HalfUnmapped),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwind::{Policy, World, parse_list, semantics};

    const COPY: &str = "vfio:copy_to_user";

    /// A group with a table and both mappings, and the machine once the first is unmapped.
    fn views() -> (View, View) {
        let named = semantics("fixed").unwrap().under(Policy::AllDomains);
        let layout = "0,1".parse().unwrap();
        let mut world = World::new(named.semantics, &layout).unwrap();
        for op in parse_list("attach 0, map 0, map 1, set T").unwrap() {
            world.run(op).unwrap();
        }
        let before = world.view();
        world.run("unmap 1".parse().unwrap()).unwrap();
        (before, world.view())
    }

    fn judged(
        before: &View,
        after: &View,
        failed: &'static str,
        result: Result<(), Errno>,
    ) -> Vec<Objection> {
        objections(&Case {
            op: "unmap 1".parse().unwrap(),
            failed: Some(failed),
            failure: Some(Errno::EFAULT),
            result,
            undisturbed: Ok(()),
            before,
            after,
            space: Space::PerContainer,
        })
    }

    // linux-iommu.md 2.11: copying the answer out comes last, and its error says nothing of the
    // mapping, which is gone; an earlier one leaves it.
    #[test]
    fn a_failed_unmap_leaves_all_of_a_mapping_or_nothing_and_says_what_failed() {
        let (before, without) = views();
        let refused = Err(Errno::EFAULT);
        for after in [&before, &without] {
            assert_eq!(judged(&before, after, COPY, refused), []);
            let hidden = judged(&before, after, COPY, Ok(()));
            assert_eq!(hidden, [Objection::FailureHidden]);
            let other = judged(&before, after, COPY, Err(Errno::EINVAL));
            assert_eq!(other, [Objection::FailureHidden]);
        }
        // Gone from the list, and in the tables all the same.
        let mut listed_only = before.clone();
        listed_only.containers = without.containers.clone();
        listed_only.mapped_pages = without.mapped_pages;
        listed_only.resources = without.resources.clone();
        let found = judged(&before, &listed_only, COPY, refused);
        assert_eq!(found, [Objection::Stray]);
        // In the list, and no longer in the tables.
        let mut unlisted = without.clone();
        unlisted.containers = before.containers.clone();
        unlisted.mapped_pages = before.mapped_pages;
        unlisted.resources = before.resources.clone();
        let found = judged(&before, &unlisted, COPY, refused);
        assert_eq!(found, [Objection::HalfUnmapped]);
        // Pins that are not given back; another mapping that goes along; an STE that changes.
        let mut pinned = without.clone();
        pinned.resources.pins += 1;
        let found = judged(&before, &pinned, COPY, refused);
        assert_eq!(found, [Objection::Books]);
        let mut both = without.clone();
        both.containers[0].mappings.clear();
        let found = judged(&before, &both, COPY, refused);
        assert!(found.contains(&Objection::HalfUnmapped), "{found:?}");
        let mut aborting = without.clone();
        aborting.streams[0].ste = SteState::Abort;
        let found = judged(&before, &aborting, COPY, refused);
        assert_eq!(found, [Objection::HalfUnmapped]);
    }

    // linux-iommu.md 4.8: a timeout is printed; nobody is told, nothing is undone.
    #[test]
    fn a_timed_out_sync_changes_neither_result_nor_outcome() {
        let (before, without) = views();
        assert_eq!(judged(&before, &without, SYNC, Ok(())), []);
        let told = judged(&before, &without, SYNC, Err(Errno::ETIMEDOUT));
        assert_eq!(told, [Objection::TimeoutReturned]);
        // Caches that were never told, although the SMMU has come to the end of its queue.
        let mut stale = without.clone();
        for (new, old) in stale.streams.iter_mut().zip(&before.streams) {
            new.reach = old.reach;
        }
        let found = judged(&before, &stale, SYNC, Ok(()));
        assert_eq!(found, [Objection::StaleMapping]);
        assert!(late(&stale, &without, Space::PerContainer));
        assert!(!late(&without, &without, Space::PerContainer));
    }
}
