//! The transactions of a trace: the model's answer beside QEMU's.

use std::collections::{BTreeMap, BTreeSet};

use smmu::addr::Iova;
use smmu::command::{AsidScope, Tlbi, canonical};
use smmu::fetch::resolve_ste;
use smmu::ids::{Asid, Vmid};
use smmu::observe::CacheKind;
use smmu::spec::cd::Cd;
use smmu::spec::event::{Event, EventId};
use smmu::spec::ste::Ste;
use smmu::{Outcome, Transaction};

use super::answer::Answer;
use super::line::{Access, Recorded};
use super::machine::{Recording, Seen};
use super::qemu::{self, Departure, Fetched};
use super::{Replay, TRANSLATIONS};
use crate::check::report::Example;
use crate::report::caches::Looks;

/// A transaction whose event may still follow.
pub(super) struct Pending {
    /// Its line.
    pub(super) number: usize,
    pub(super) recorded: Recorded,
    pub(super) event: Option<[u64; 4]>,
}

/// ASIDs whose translations met global pages, of each VMID.
#[derive(Debug, Default)]
pub(super) struct Globals {
    met: BTreeMap<Vmid, BTreeSet<Asid>>,
    /// Those that TLBI_NH_ASID named since: it spares global entries.
    spared: BTreeSet<(Vmid, Asid)>,
}

impl Globals {
    fn note(&mut self, vmid: Vmid, asid: Asid) {
        self.met.entry(vmid).or_default().insert(asid);
    }

    /// Notes an invalidation.
    pub(super) fn invalidate(&mut self, tlbi: &Tlbi) {
        if let (Some(vmid), AsidScope::Only(asid)) = (tlbi.vmid, tlbi.asid)
            && self.met.get(&vmid).is_some_and(|met| met.contains(&asid))
        {
            self.spared.insert((vmid, asid));
        }
    }

    /// Whether an ASID can meet a global entry that its own tables did not make, or no longer.
    fn reach(&self, vmid: Vmid, asid: Asid) -> bool {
        let met = self.met.get(&vmid);
        self.spared.contains(&(vmid, asid))
            || met.is_some_and(|met| met.iter().any(|other| *other != asid))
    }
}

/// nG of a stage-1 leaf.
const NOT_GLOBAL: u64 = 1 << 11;

/// A transaction with all that is known of it.
struct Case<'a> {
    pending: &'a Pending,
    transaction: Transaction,
    fetched: Fetched,
    /// The model's answer with caches.
    outcome: Outcome,
    /// Its answer by what memory says now, and what it read for it.
    cold: Outcome,
    seen: Seen,
}

impl Replay<'_> {
    /// Puts the pending transaction to the model and compares.
    pub(super) fn conclude(&mut self) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let recorded = &pending.recorded;
        let mut fetched = Fetched::Before;
        if let Some(pa) = self.ste.take() {
            fetched = Fetched::Now;
            self.machine.link(recorded.stream, pa);
        }
        if let Some(address) = pending.event.as_ref().and_then(refused) {
            self.machine.memory.refuse(address);
        }
        let iova = Iova::new(recorded.iova);
        let transaction = match recorded.access {
            Access::Read => Transaction::read(recorded.stream, iova),
            Access::Write => Transaction::write(recorded.stream, iova),
        };
        let before = self.machine.event_prod();
        let is_shown = self
            .shown
            .as_mut()
            .is_some_and(|shown| shown.begins(&self.machine));
        let mut looks = is_shown.then(Looks::default);
        let answered = self.machine.translate(&transaction, &mut looks);
        if let (Some(shown), Some(looks)) = (&mut self.shown, looks) {
            shown.transaction(&self.machine, recorded, &answered.outcome, looks);
        }
        self.summary.count_translation(answered.found);
        let (cold, seen) = self.machine.translate_cold(&transaction);

        let expected = Answer::recorded(recorded, pending.event);
        let actual = Answer::of(&answered.outcome, answered.record, &seen, recorded);
        let case = Case {
            pending: &pending,
            transaction,
            fetched,
            outcome: answered.outcome,
            cold,
            seen,
        };
        self.note_global(&case);
        if expected == actual {
            self.report.agreement(TRANSLATIONS);
        } else {
            let example = || Example {
                place: self.place(&pending),
                expected: expected.to_string(),
                actual: actual.to_string(),
            };
            if let Some(departures) = self.explain(&case, &expected) {
                let example = example();
                for departure in &departures {
                    self.summary.count_departure(departure.name());
                }
                let names = departures.iter().map(|departure| departure.name());
                self.report
                    .departure(TRANSLATIONS, names, || example.clone());
            } else {
                let (kind, example) = (expected.difference(&actual), example());
                self.report.difference(TRANSLATIONS, kind, || example);
            }
        }
        let recording = match pending.event {
            Some(_) => Recording::One,
            None => Recording::None,
        };
        self.machine.settle_events(before, recording);
    }

    fn place(&self, pending: &Pending) -> String {
        let recorded = &pending.recorded;
        let access = match recorded.access {
            Access::Read => "read",
            Access::Write => "write",
        };
        let (path, line) = (self.path.display(), pending.number);
        let (sid, iova) = (recorded.stream.get(), Iova::new(recorded.iova));
        format!("{path}:{line}: sid {sid:#x} {access} {iova}")
    }

    /// The departures of QEMU that make the recorded answer of these tables, if any do.
    fn explain(&self, case: &Case<'_>, expected: &Answer) -> Option<Vec<Departure>> {
        let recorded = &case.pending.recorded;
        let mut departures = Vec::new();
        // Beyond what QEMU makes of global pages, the model must answer by the tables as they are.
        if case.cold != case.outcome {
            if !self.is_global(case) {
                return None;
            }
            departures.push(Departure::Global);
            let record = case.cold.event().map(Event::words);
            if Answer::of(&case.cold, record, &case.seen, recorded) == *expected {
                return Some(departures);
            }
        }
        let account = qemu::account(
            &self.machine,
            &case.transaction,
            recorded,
            case.fetched,
            &case.seen,
        )?;
        if account.departures.is_empty() || !account.explains(expected) {
            return None;
        }
        departures.extend(account.departures);
        Some(departures)
    }

    /// The tags of a transaction's stage-1 translations.
    fn tags(&self, seen: &Seen) -> Option<(Vmid, Asid)> {
        let smmu = self.machine.smmu();
        let ste = Ste::from_words(seen.ste?);
        let stream = resolve_ste(&ste, smmu.config(), smmu.registers().cr2()).ok()?;
        let cd = Cd::from_words(seen.cd?);
        Some((stream.vmid, Asid::new(cd.dw0.asid())))
    }

    /// Notes the tags of a transaction that met a global page.
    fn note_global(&mut self, case: &Case<'_>) {
        let is_global = case.seen.stage1.is_some_and(|leaf| leaf & NOT_GLOBAL == 0);
        if is_global
            && matches!(case.cold, Outcome::Translated(_))
            && let Some((vmid, asid)) = self.tags(&case.seen)
        {
            self.globals.note(vmid, asid);
        }
    }

    /// Whether a global entry of the TLB answered, where one can be that is not of these tables.
    fn is_global(&self, case: &Case<'_>) -> bool {
        let Some((vmid, asid)) = self.tags(&case.seen) else {
            return false;
        };
        if !self.globals.reach(vmid, asid) {
            return false;
        }
        let input = canonical(case.transaction.address.get());
        self.machine
            .smmu()
            .cached_translations()
            .any(|(cache, tag)| {
                cache == CacheKind::Tlb
                    && tag.asid.is_none()
                    && tag.vmid == vmid
                    && (tag.input ^ input) >> tag.span_log2 == 0
            })
    }
}

/// The address an event says memory refused: an abort is told of by the fault it makes, and by
/// nothing else.
pub(super) fn refused(record: &[u64; 4]) -> Option<u64> {
    let [word0, _, word2, word3] = *record;
    match EventId(word0 as u8) {
        EventId::F_STE_FETCH | EventId::F_WALK_EABT => Some(word3),
        // QEMU has it one doubleword early.
        EventId::F_CD_FETCH if word3 == 0 => Some(word2),
        EventId::F_CD_FETCH => Some(word3),
        _ => None,
    }
}
