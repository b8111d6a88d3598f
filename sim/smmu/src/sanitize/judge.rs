//! The judgement of one transaction, and of what a command comes too late for.

use super::finding::{Exposure, Finding, Issued, Kind, Staleness};
use super::leaf::Leaves;
use super::shadow::{Now, Origin, Run, Shadow, Used, covers, legal};
use super::trail::{Both, Trail};
use super::{Hints, Sanitizer};
use crate::addr::Pa;
use crate::cache::ConfigurationEntry;
use crate::command::Command;
use crate::fault::{Cause, Fault, Raised};
use crate::fetch::{Configuration, Stage1Use, StreamAction};
use crate::mem::{DryRun, PhysMem};
use crate::observe::{CacheKind, Observer};
use crate::perm::Request;
use crate::transaction::{Outcome, Transaction, Translation};
use crate::translate::{Part, silent_abort};

/// What memory says of a transaction.
struct Cold {
    outcome: Outcome,
    configuration: Option<Configuration>,
    leaves: Leaves,
    dirtied: Vec<Pa>,
}

/// Which of the shadows an entry is looked for in.
#[derive(Clone, Copy)]
enum Which {
    Late,
    Prompt,
}

/// Circumstances of a finding.
struct Scene<'a> {
    exposure: Exposure,
    transaction: Option<&'a Transaction>,
    command: Option<&'a Command>,
    answer: Option<Outcome>,
    memory_says: Option<Outcome>,
}

impl Sanitizer {
    /// Translates by memory, by the shadows and by the device, and reports what differs.
    pub(super) fn judge<M: PhysMem + ?Sized, O: Observer + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        observer: &mut O,
    ) -> Outcome {
        self.part_shadows();
        let now = Now {
            moment: self.moment,
            commands: self.statistics.commands,
        };
        let cold = self.cold(mem, transaction);
        let part = &self.smmu.part;
        let late = self.late.run(part, mem, transaction, now);
        let prompt = self
            .prompt
            .as_mut()
            .map(|prompt| prompt.run(part, mem, transaction, now));
        let mut trail = Trail::default();
        let caches = &mut self.smmu.caches;
        let outcome = part.translate(caches, mem, transaction, &mut Both(observer, &mut trail));
        let device = Run::new(caches, outcome, transaction, &trail);

        let shadow = prompt.as_ref().unwrap_or(&late);
        let is_wrong = |run: &Run| !same_answer(&run.outcome, &cold.outcome);
        let exposure = if is_wrong(&device) {
            Exposure::Device
        } else {
            Exposure::Possible
        };
        let scene = |run: &Run| Scene {
            exposure,
            transaction: Some(transaction),
            command: None,
            answer: Some(run.outcome),
            memory_says: Some(cold.outcome),
        };
        self.find_live_changes(mem, transaction, &cold, &late);
        let reused = self.find_reuse(mem, transaction, shadow, &scene(shadow));
        if reused {
            return outcome;
        }
        if is_wrong(shadow) {
            self.explain(mem, transaction, shadow, &cold, &scene(shadow));
        } else if is_wrong(&device) {
            self.explain(mem, transaction, &device, &cold, &scene(&device));
        } else if is_wrong(&late) {
            let entry = self.unsynced_entry(mem, &late);
            let kind = Kind::UnsyncedInvalidation;
            self.report(mem, kind, Which::Late, entry, &scene(&late));
        }
        let is_unmarked = |run: &Run| {
            let marked = |pa: &Pa| run.dirtied.contains(pa);
            !is_wrong(run) && !cold.dirtied.iter().all(marked)
        };
        let unmarked = [(&device, Exposure::Device), (shadow, Exposure::Possible)];
        if let Some((run, exposure)) = unmarked.into_iter().find(|(run, _)| is_unmarked(run)) {
            let entry = self.stale_entry(mem, run);
            let kind = Kind::StaleTranslation(Staleness::DirtyState);
            let scene = Scene {
                exposure,
                ..scene(run)
            };
            self.report(mem, kind, Which::Prompt, entry, &scene);
        }
        outcome
    }

    /// What memory says, and a look at the structures that say it.
    fn cold<M: PhysMem + ?Sized>(&mut self, mem: &mut M, transaction: &Transaction) -> Cold {
        let mut trail = Trail::default();
        let (stream, substream) = (transaction.stream, transaction.substream);
        let part = &self.smmu.part;
        let mem = &mut DryRun::new(mem);
        let configuration = part.configuration(mem, stream, substream, &mut trail);
        self.observe((stream, substream), &trail, (Some(transaction), None));
        let part = &self.smmu.part;
        let Some(configuration) = configuration else {
            return Cold {
                outcome: part.translate_cold(mem, transaction, &mut ()),
                configuration,
                leaves: Leaves::default(),
                dirtied: Vec::new(),
            };
        };
        let mut trail = Trail::default();
        let outcome = part.translate_configured(&configuration, mem, transaction, &mut trail);
        Cold {
            outcome,
            leaves: Leaves::of(&configuration, transaction, trail.words()),
            configuration: Some(configuration),
            dirtied: trail.dirtied,
        }
    }

    fn shadow(&mut self, which: Which) -> &mut Shadow {
        match (which, &mut self.prompt) {
            (Which::Prompt, Some(prompt)) => prompt,
            _ => &mut self.late,
        }
    }

    /// Entries in use that were made from other tables than those of the configuration in use.
    fn find_reuse<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        run: &Run,
        scene: &Scene<'_>,
    ) -> bool {
        let Some(current) = run.configuration.as_ref().and_then(legal) else {
            return false;
        };
        let found = run.hits.iter().find_map(|used| {
            let origin = self.shadow(Which::Prompt).origin(used)?;
            let kind = reuse(origin, &current, transaction)?;
            Some((*used, kind))
        });
        if let Some((used, kind)) = found {
            self.report(mem, kind, Which::Prompt, Some(used), scene);
        }
        found.is_some()
    }

    /// Live entries that memory has replaced by other valid ones: those used, and those that a new
    /// entry covers.
    fn find_live_changes<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        cold: &Cold,
        late: &Run,
    ) {
        let mut found = Vec::new();
        let config = &self.smmu.part.config;
        if let Some(current) = &cold.configuration {
            for used in &late.hits {
                let Some(origin) = self.late.origin(used) else {
                    continue;
                };
                let is_input = match used.cache {
                    CacheKind::Tlb => true,
                    CacheKind::Stage2Tlb => {
                        let input = cold.leaves.stage2.map(|leaf| leaf.input);
                        input.is_some_and(|input| origin.translates(input))
                    }
                    _ => false,
                };
                if is_input && reuse(origin, current, transaction).is_none() {
                    let rule = origin.leaves.broken_by(&cold.leaves, config);
                    found.extend(rule.map(|rule| (*used, rule)));
                }
            }
        }
        for used in &late.fills {
            let Some(new) = self.late.origin(used) else {
                continue;
            };
            let Some(current) = &new.configuration else {
                continue;
            };
            let conflict = self.late.within(used).find_map(|origin| {
                let rule = origin.leaves.broken_by(&new.leaves, config)?;
                let tables_differ = reuse(origin, current, &origin.creator.transaction).is_some();
                (!tables_differ).then_some((origin.used(), rule))
            });
            found.extend(conflict);
        }
        for (used, rule) in found {
            let scene = Scene {
                exposure: Exposure::Possible,
                transaction: Some(transaction),
                command: None,
                answer: None,
                memory_says: Some(cold.outcome),
            };
            let kind = Kind::BreakBeforeMake(rule);
            self.report(mem, kind, Which::Late, Some(used), &scene);
        }
    }

    /// Entries that a TLB invalidation removes when memory has replaced them already.
    pub(super) fn find_unbroken<M: PhysMem + ?Sized>(&mut self, mem: &mut M, command: &Command) {
        let part = &self.smmu.part;
        let scope = part.regs.invalidation_scope();
        let found: Vec<_> = self
            .late
            .covered(command, scope)
            .filter(|origin| matches!(origin.cache, CacheKind::Tlb | CacheKind::Stage2Tlb))
            .filter_map(|origin| {
                let now = origin.leaves_now(part, mem)?;
                let rule = origin.leaves.broken_by(&now, &part.config)?;
                Some((origin.used(), Kind::BreakBeforeMake(rule)))
            })
            .collect();
        for (used, kind) in found {
            let scene = Scene {
                exposure: Exposure::Possible,
                transaction: None,
                command: Some(command),
                answer: None,
                memory_says: None,
            };
            self.report(mem, kind, Which::Late, Some(used), &scene);
        }
    }

    /// A wrong answer: the configuration's fault, or a translation's, or both.
    fn explain<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        run: &Run,
        cold: &Cold,
        scene: &Scene<'_>,
    ) {
        let mut expected = cold.outcome;
        let cached = run.hits.iter().find(|used| used.is_configuration());
        if let (Some(used), Some(entry)) = (cached, &run.configuration) {
            let configured = configured(&self.smmu.part, mem, transaction, entry);
            if !same_answer(&configured, &cold.outcome) {
                expected = configured;
                let kind = Kind::StaleConfiguration;
                self.report(mem, kind, Which::Prompt, Some(*used), scene);
            }
        }
        if !same_answer(&run.outcome, &expected) {
            let entry = self.stale_entry(mem, run);
            let kind = Kind::StaleTranslation(staleness(&run.outcome, &expected));
            self.report(mem, kind, Which::Prompt, entry, scene);
        }
    }

    /// The first translation in use whose words have changed, else the last one.
    fn stale_entry<M: PhysMem + ?Sized>(&mut self, mem: &mut M, run: &Run) -> Option<Used> {
        let shadow = self.shadow(Which::Prompt);
        let translations = || run.hits.iter().filter(|used| !used.is_configuration());
        let changed = |used: &&Used| {
            let origin = shadow.origin(used);
            origin.is_some_and(|origin| !origin.changes(mem).is_empty())
        };
        translations()
            .find(changed)
            .or_else(|| translations().next_back())
            .copied()
    }

    /// The first entry in use that waits to be removed, preferably one whose words have changed.
    fn unsynced_entry<M: PhysMem + ?Sized>(&self, mem: &mut M, late: &Run) -> Option<Used> {
        let scope = self.smmu.part.regs.invalidation_scope();
        let waits = |used: &&Used| {
            let mut unsynced = self.unsynced.iter();
            unsynced.any(|issued| covers(&issued.command, &used.tag, scope))
        };
        let waiting: Vec<&Used> = late.hits.iter().filter(waits).collect();
        let changed = |used: &&&Used| {
            let origin = self.late.origin(used);
            origin.is_some_and(|origin| !origin.changes(mem).is_empty())
        };
        let found = waiting.iter().find(changed).or(waiting.first());
        found.map(|used| **used)
    }

    /// An invalidation that removed nothing, and could not have.
    pub(super) fn judge_need(&mut self, issued: Issued, removed: u64) {
        let could_have = removed > 0 || issued.removed > 0 || self.late.has_evicted;
        if could_have || self.config.hints == Hints::Off {
            return;
        }
        self.publish(Finding {
            kind: Kind::NeedlessInvalidation,
            exposure: Exposure::Possible,
            moment: issued.moment,
            transaction: None,
            command: Some(issued.command),
            entry: None,
            creator: None,
            answer: None,
            memory_says: None,
            changes: Vec::new(),
            commands: Vec::new(),
            forgotten: 0,
        });
    }

    /// Reports a kind of mistake with an entry, once.
    fn report<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        kind: Kind,
        which: Which,
        used: Option<Used>,
        scene: &Scene<'_>,
    ) {
        if let Some(used) = &used
            && !self.shadow(which).report_once(used, kind)
        {
            self.statistics.found += 1;
            return;
        }
        let moment = self.moment;
        let origin = used.and_then(|used| self.shadow(which).origin(&used).cloned());
        let changes = origin
            .as_ref()
            .map(|origin| origin.changes(mem))
            .unwrap_or_default();
        let (commands, forgotten) = match &origin {
            Some(origin) => self.commands_since(origin.creator.moment, origin.commands_before),
            None => (Vec::new(), 0),
        };
        self.publish(Finding {
            kind,
            exposure: scene.exposure,
            moment,
            transaction: scene.transaction.copied(),
            command: scene.command.copied(),
            entry: used.map(|used| (used.cache, used.tag)),
            creator: origin.map(|origin| origin.creator),
            answer: scene.answer,
            memory_says: scene.memory_says,
            changes,
            commands,
            forgotten,
        });
    }

    /// Commands consumed after `moment`, when there had been `before`, and how many of them are no
    /// longer known.
    pub(super) fn commands_since(&self, moment: u64, before: u64) -> (Vec<Issued>, u64) {
        let later = self.history.iter().filter(|issued| issued.moment > moment);
        let known: Vec<Issued> = later.copied().collect();
        let forgotten = self.statistics.commands - before - known.len() as u64;
        (known, forgotten)
    }

    /// Keeps a finding, if there is room.
    pub(super) fn publish(&mut self, finding: Finding) {
        self.statistics.found += 1;
        if self.findings.len() < self.config.findings {
            self.findings.push(finding);
        } else {
            self.statistics.dropped += 1;
        }
    }
}

impl Origin {
    fn used(&self) -> Used {
        Used {
            cache: self.cache,
            tag: self.tag,
        }
    }

    /// What its tables say now of the transaction that made it.
    fn leaves_now<M: PhysMem + ?Sized>(&self, part: &Part, mem: &mut M) -> Option<Leaves> {
        let configuration = self.configuration.as_ref()?;
        let transaction = &self.creator.transaction;
        let mut trail = Trail::default();
        let mem = &mut DryRun::new(mem);
        part.translate_configured(configuration, mem, transaction, &mut trail);
        Some(Leaves::of(configuration, transaction, trail.words()))
    }
}

/// Whether an entry was made from other tables than those that `current` names for its tag.
fn reuse(origin: &Origin, current: &Configuration, transaction: &Transaction) -> Option<Kind> {
    if origin.cache == CacheKind::Configuration {
        return None;
    }
    let made = origin.configuration.as_ref()?;
    let stage2 = |configuration: &Configuration| configuration.stream.s2.map(|s2| s2.tables.base());
    if stage2(made) != stage2(current) {
        return Some(Kind::VmidReused);
    }
    if matches!(origin.cache, CacheKind::Stage2Tlb | CacheKind::Stage2Walk) {
        return None;
    }
    let stage1 = |configuration: &Configuration| match &configuration.stage1 {
        Stage1Use::Translates(s1) => {
            let tables = &s1.half(transaction.address.get()).tables;
            tables.as_ref().map(|tables| tables.base())
        }
        Stage1Use::Off | Stage1Use::Bypassed => None,
    };
    (stage1(made) != stage1(current)).then_some(Kind::AsidReused)
}

/// What memory makes of a transaction whose configuration comes from a cache.
fn configured<M: PhysMem + ?Sized>(
    part: &Part,
    mem: &mut M,
    transaction: &Transaction,
    entry: &ConfigurationEntry,
) -> Outcome {
    let stream = match &entry.stream {
        Ok(stream) => stream,
        Err(illegal) => {
            let raised = Raised::always(Cause::BadSte(*illegal));
            return part.faulted(raised, transaction, &Request::TABLE_READ);
        }
    };
    if stream.action == StreamAction::Abort {
        return silent_abort(transaction);
    }
    match &entry.stage1 {
        Err(illegal) => {
            let raised = Raised::always(Cause::BadCd(*illegal));
            part.faulted(raised, transaction, &stream.request(transaction))
        }
        Ok(stage1) => {
            let configuration = Configuration {
                stream: *stream,
                stage1: *stage1,
            };
            let mem = &mut DryRun::new(mem);
            part.translate_configured(&configuration, mem, transaction, &mut ())
        }
    }
}

/// Whether two outcomes are the same to device and software. The size of the block or page is
/// known to neither.
fn same_answer(a: &Outcome, b: &Outcome) -> bool {
    let record = |fault: &Option<Fault>| fault.map(|fault| fault.record());
    match (a, b) {
        (Outcome::Translated(a), Outcome::Translated(b)) => {
            let span_log2 = 0;
            Translation { span_log2, ..*a } == Translation { span_log2, ..*b }
        }
        (
            Outcome::Terminated {
                response: a,
                fault: fault_a,
                event: event_a,
            },
            Outcome::Terminated {
                response: b,
                fault: fault_b,
                event: event_b,
            },
        ) => a == b && event_a == event_b && record(fault_a) == record(fault_b),
        (Outcome::Stalled { event: a, .. }, Outcome::Stalled { event: b, .. }) => a == b,
        _ => a == b,
    }
}

/// How memory differs from what was used.
fn staleness(used: &Outcome, memory: &Outcome) -> Staleness {
    let cause = |outcome: &Outcome| outcome.fault().map(|fault| fault.cause);
    match (used, memory) {
        (Outcome::Translated(used), Outcome::Translated(memory)) => {
            if used.pa == memory.pa {
                Staleness::Attributes
            } else {
                Staleness::Remapped
            }
        }
        (_, Outcome::Translated(_)) => match cause(used) {
            Some(Cause::Permission { .. }) => Staleness::PermissionExtended,
            _ => Staleness::Remapped,
        },
        _ => match cause(memory) {
            Some(Cause::Permission { .. }) => Staleness::PermissionReduced,
            Some(Cause::Access(_)) => Staleness::AccessFlag,
            _ => Staleness::Unmapped,
        },
    }
}
