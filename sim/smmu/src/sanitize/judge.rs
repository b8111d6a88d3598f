//! The judgement of one transaction, and what becomes a finding.

use super::answer::{configured, same_answer, staleness};
use super::finding::{Exposure, Finding, Issued, Kind, Staleness};
use super::leaf::Leaves;
use super::shadow::{Now, Run, Shadow, Used, covers};
use super::trail::{Both, Trail};
use super::{Hints, Sanitizer};
use crate::addr::Pa;
use crate::command::Command;
use crate::fetch::Configuration;
use crate::mem::{DryRun, PhysMem};
use crate::observe::Observer;
use crate::transaction::{Outcome, Transaction};

/// What memory says of a transaction.
pub(super) struct Cold {
    pub(super) outcome: Outcome,
    pub(super) configuration: Option<Configuration>,
    pub(super) leaves: Leaves,
    dirtied: Vec<Pa>,
}

/// Which of the shadows an entry is looked for in.
#[derive(Clone, Copy)]
pub(super) enum Which {
    Late,
    Prompt,
}

/// Circumstances of a finding.
pub(super) struct Scene<'a> {
    pub(super) exposure: Exposure,
    pub(super) transaction: Option<&'a Transaction>,
    pub(super) command: Option<&'a Command>,
    pub(super) answer: Option<Outcome>,
    pub(super) memory_says: Option<Outcome>,
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

    pub(super) fn shadow(&mut self, which: Which) -> &mut Shadow {
        match (which, &mut self.prompt) {
            (Which::Prompt, Some(prompt)) => prompt,
            _ => &mut self.late,
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
        if let Some(used) = cached {
            let configured = match &run.configuration {
                Some(entry) => configured(&self.smmu.part, mem, transaction, entry),
                // What the STE led to could not be read: the answer was the configuration's.
                None => run.outcome,
            };
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
    pub(super) fn report<M: PhysMem + ?Sized>(
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
