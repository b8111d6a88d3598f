//! Entries that are live and should not be: made from other tables under the same tag, or replaced in
//! memory by other valid descriptors without break-before-make.

use super::Sanitizer;
use super::finding::{Exposure, Kind};
use super::judge::{Cold, Scene, Which};
use super::leaf::Leaves;
use super::shadow::{Origin, Run, Used, legal};
use super::trail::Trail;
use crate::command::Command;
use crate::fetch::{Configuration, Stage1Use};
use crate::mem::{DryRun, PhysMem};
use crate::observe::CacheKind;
use crate::transaction::Transaction;
use crate::translate::Programmed;
use crate::walk::params::TableParams;

impl Sanitizer {
    /// Entries in use that were made from other tables than those of the configuration in use.
    pub(super) fn find_reuse<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        run: &Run,
        scene: &Scene<'_>,
    ) -> bool {
        let Some(current) = run.configuration.as_ref().and_then(legal) else {
            return false;
        };
        let translations = run.hits.iter().filter(|used| !used.is_configuration());
        let found = translations.copied().find_map(|used| {
            let origin = self.shadow(Which::Prompt).origin(&used)?;
            let kind = reuse(origin, &current, transaction)?;
            Some((used, kind))
        });
        if let Some((used, kind)) = found {
            self.report(mem, kind, Which::Prompt, Some(used), scene);
        }
        found.is_some()
    }

    /// Live entries that memory has replaced by other valid ones: those used, and those that a new
    /// entry covers.
    pub(super) fn find_live_changes<M: PhysMem + ?Sized>(
        &mut self,
        mem: &mut M,
        transaction: &Transaction,
        cold: &Cold,
        late: &Run,
    ) {
        let mut found = Vec::new();
        let config = &self.smmu.part.config;
        if let Some(current) = &cold.configuration {
            for used in late.hits.iter().filter(|used| !used.is_configuration()) {
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
}

impl Origin {
    fn used(&self) -> Used {
        Used {
            cache: self.cache,
            tag: self.tag,
        }
    }

    /// What its tables say now of the transaction that made it.
    fn leaves_now<M: PhysMem + ?Sized>(&self, part: &Programmed, mem: &mut M) -> Option<Leaves> {
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
    if matches!(origin.cache, CacheKind::Configuration | CacheKind::Ste) {
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
            tables.as_ref().map(TableParams::base)
        }
        Stage1Use::Off | Stage1Use::Bypassed => None,
    };
    (stage1(made) != stage1(current)).then_some(Kind::AsidReused)
}
