//! What one walk or configuration fetch does, recorded as it runs at one instant and then charged
//! step by step.
//!
//! The walker is the one of the functional model. It reads memory when its slot is acquired; what it
//! read, which caches it asked and what it learned are steps, played back in simulated time. What it
//! learned enters the shared caches only when its step is reached; until then only the walk itself
//! knows it.

use std::cell::RefCell;

use super::config::Probes;
use super::scheduler::Cycle;
use super::statistics::TcuCounts;
use crate::addr::{Ipa, Pa};
use crate::cache::{CacheView, Caches, Context, ContiguousHint, IpaEntry, WalkEntry, ipa_entry};
use crate::observe::{Access, Action, CacheEvent, Observer, Structure};
use crate::perm::ACCESS_FLAG;
use crate::walk::params::TableParams;
use crate::walk::{Lookaside, Stage2, Stage2Leaf, TableFound};

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A read of memory.
    Read { pa: Pa, structure: Structure },
    /// A hardware update of a descriptor.
    Update { pa: Pa },
    /// The walk of one stage begins.
    Begin,
    /// A look into the walk caches, the stage-2 TLB or both.
    Probe { cycles: Cycle },
    /// Something learned enters the caches.
    Fill(u32),
}

/// Something learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// A Table descriptor.
    Table {
        stage: WalkStage,
        context: Context,
        input: u64,
        entry: WalkEntry,
    },
    /// A final stage-2 translation.
    Leaf {
        context: Context,
        ipa: u64,
        entry: IpaEntry,
    },
}

/// A stage, as an index of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalkStage {
    One = 0,
    Two = 1,
}

/// Levels, as indexes of tables: −1 first.
pub(super) fn level_index(level: i8) -> usize {
    (level + 1) as usize
}

/// Sees accesses and puts them on the tape.
pub(super) struct Recorder<'t> {
    pub(super) tape: &'t RefCell<Vec<Step>>,
}

impl Observer for Recorder<'_> {
    #[inline]
    fn access(&mut self, access: &Access<'_>) {
        let Access { structure, pa, .. } = *access;
        self.tape.borrow_mut().push(match access.action {
            Action::Read(_) | Action::ReadStructure(_) | Action::AbortedRead => {
                Step::Read { pa, structure }
            }
            Action::Update { .. } | Action::AbortedUpdate => Step::Update { pa },
        });
    }
}

/// What probes cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProbeCosts {
    pub(super) probes: Probes,
    pub(super) begin_cycles: Cycle,
    /// Whether there are walk caches, by stage.
    pub(super) walk_caches: [bool; 2],
    pub(super) walk_cycles: Cycle,
    pub(super) stage2_cycles: Cycle,
}

/// The TCU's caches as one walk sees them in time: probes are steps, fills are put off.
pub(super) struct TimedView<'a, 't> {
    pub(super) view: CacheView<'a>,
    pub(super) tape: &'t RefCell<Vec<Step>>,
    pub(super) fills: &'t mut Vec<Fill>,
    pub(super) counts: &'t mut TcuCounts,
    pub(super) costs: ProbeCosts,
    /// A look into the stage-2 TLB that coincides with the next one into the walk caches.
    pub(super) pending_cycles: Cycle,
}

impl<'a, 't> TimedView<'a, 't> {
    /// A view for translations of these contexts, by VA and by IPA.
    #[inline(always)]
    pub(super) fn new(
        caches: &'a mut Caches,
        (stage1_context, stage2_context): (Context, Context),
        (tape, fills): (&'t RefCell<Vec<Step>>, &'t mut Vec<Fill>),
        (counts, costs): (&'t mut TcuCounts, ProbeCosts),
    ) -> Self {
        Self {
            view: CacheView {
                walk: &mut caches.walk,
                stage2: &mut caches.stage2,
                contiguous: ContiguousHint::Used,
                stage1_context,
                stage2_context,
                events: None,
            },
            tape,
            fills,
            counts,
            costs,
            pending_cycles: 0,
        }
    }

    fn step(&mut self, step: Step) {
        self.tape.borrow_mut().push(step);
    }

    fn learn(&mut self, fill: Fill) {
        let place = self.fills.len() as u32;
        self.fills.push(fill);
        self.step(Step::Fill(place));
    }

    /// The deepest table this walk has itself learned for `input`.
    fn own_table(&self, stage: WalkStage, wanted: Context, at: u64) -> Option<TableFound> {
        let learned = self.fills.iter().filter_map(|fill| match fill {
            Fill::Table {
                stage: of,
                context,
                input,
                entry,
            } if *of == stage && *context == wanted && (input ^ at) >> entry.lsb == 0 => {
                Some(TableFound {
                    next: entry.next,
                    hierarchical: entry.hierarchical,
                    level: entry.level,
                })
            }
            _ => None,
        });
        learned.max_by_key(|found| found.level)
    }

    fn table(&mut self, stage: WalkStage, input: u64) -> Option<TableFound> {
        if self.costs.begin_cycles != 0 {
            self.step(Step::Begin);
        }
        let probed = self.costs.walk_caches[stage as usize];
        let found = if probed {
            let (context, shared) = match stage {
                WalkStage::One => (self.view.stage1_context, self.view.stage1_table(input)),
                WalkStage::Two => (self.view.stage2_context, self.view.stage2_table(input)),
            };
            let own = self.own_table(stage, context, input);
            let found = match (own, shared) {
                (Some(own), Some(shared)) if own.level < shared.level => Some(shared),
                (own, shared) => own.or(shared),
            };
            self.counts.walk_cache_lookups_count[stage as usize] += 1;
            if let Some(found) = &found {
                let level = level_index(found.level);
                self.counts.walk_cache_hits_count[stage as usize][level] += 1;
            }
            found
        } else {
            None
        };
        let walk_cycles = match (probed, self.costs.probes) {
            (false, _) => 0,
            (true, Probes::Parallel) => self.costs.walk_cycles,
            (true, Probes::Serial) => {
                let level = found.map(|found| found.level);
                let looks = self.view.walk.looks(stage as usize, level);
                self.costs.walk_cycles * Cycle::from(looks)
            }
        };
        let pending = std::mem::take(&mut self.pending_cycles);
        let cycles = walk_cycles.max(pending);
        if cycles != 0 {
            self.step(Step::Probe { cycles });
        }
        found
    }

    fn fill_table(
        &mut self,
        stage: WalkStage,
        (context, input, lsb): (Context, u64, u8),
        tables: &TableParams,
        found: TableFound,
    ) {
        if !self.costs.walk_caches[stage as usize] {
            return;
        }
        self.learn(Fill::Table {
            stage,
            context,
            input,
            entry: WalkEntry {
                next: found.next,
                hierarchical: found.hierarchical,
                level: found.level,
                lsb,
                granule_log2: tables.granule_log2(),
            },
        });
    }
}

impl Lookaside for TimedView<'_, '_> {
    #[inline]
    fn stage1_table(&mut self, input: u64) -> Option<TableFound> {
        self.table(WalkStage::One, input)
    }

    #[inline]
    fn fill_stage1_table(&mut self, input: u64, lsb: u8, tables: &TableParams, found: TableFound) {
        let key = (self.view.stage1_context, input, lsb);
        self.fill_table(WalkStage::One, key, tables, found);
    }

    #[inline]
    fn stage2_table(&mut self, ipa: u64) -> Option<TableFound> {
        self.table(WalkStage::Two, ipa)
    }

    #[inline]
    fn fill_stage2_table(&mut self, ipa: u64, lsb: u8, tables: &TableParams, found: TableFound) {
        let key = (self.view.stage2_context, ipa, lsb);
        self.fill_table(WalkStage::Two, key, tables, found);
    }

    fn stage2(&mut self, ipa: Ipa) -> Option<Stage2Leaf> {
        if self.view.stage2.is_off() {
            return None;
        }
        self.counts.stage2_tlb_lookups_count += 1;
        let wanted = self.view.stage2_context;
        let own = self.fills.iter().find_map(|fill| match fill {
            Fill::Leaf {
                context,
                ipa: at,
                entry,
            } if *context == wanted && (at ^ ipa.get()) >> entry.stage2.leaf_log2 == 0 => {
                Some(entry.leaf(ipa))
            }
            _ => None,
        });
        let found = own.or_else(|| self.view.stage2(ipa));
        let cycles = self.costs.stage2_cycles;
        if found.is_none() {
            self.counts.stage2_tlb_misses_count += 1;
            if self.costs.probes == Probes::Parallel {
                self.pending_cycles = cycles;
                return None;
            }
        }
        if cycles != 0 {
            self.step(Step::Probe { cycles });
        }
        found
    }

    fn fill_stage2(&mut self, s2: &Stage2, ipa: Ipa, leaf: &Stage2Leaf) {
        if self.view.stage2.is_off() || leaf.descriptor & ACCESS_FLAG == 0 {
            return;
        }
        self.learn(Fill::Leaf {
            context: self.view.stage2_context,
            ipa: ipa.get(),
            entry: ipa_entry(s2, ipa.get(), leaf, self.view.contiguous),
        });
    }

    fn enter_stage2(&mut self, context: Context) {
        self.view.stage2_context = context;
    }

    fn report(&mut self, _see: impl FnMut(&CacheEvent)) {}
}
