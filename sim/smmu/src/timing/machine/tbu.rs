//! A translation buffer unit: ports, TLBs, and misses on their way.

use super::super::config::{HazardMerge, TimingConfig};
use super::super::resource::{Pipe, Slots};
use super::super::scheduler::Sleeper;
use super::super::statistics::TbuCounts;
use super::flight::Lesson;
use super::shape;
use crate::addr::{Ipa, Pa};
use crate::attr::Attributes;
use crate::cache::{
    By, ConfigurationCache, ConfigurationEntry, Context, ContiguousHint, Geometry, IpaEntry,
    Replacement, Tlb, VaEntry, ipa_entry,
};
use crate::command::{Command, InvalidationScope, TlbTag};
use crate::fetch::{Stage1Use, StreamAction, StreamContext};
use crate::ids::{StreamId, SubstreamId};
use crate::mem::PhysMem;
use crate::observe::CacheEvent;
use crate::perm::{ACCESS_FLAG, Request};
use crate::transaction::{Outcome, Path, Transaction, Translation};
use crate::translate::hit::StageKey;
use crate::translate::{Programmed, silent_abort};
use crate::walk::params::TableParams;
use crate::walk::{Lookaside, Stage2, Stage2Leaf, TableFound, Walked, Walker};

/// One TLB of a TBU: translations by VA, and by IPA for streams without a stage 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TbuTlb {
    va: Tlb<VaEntry>,
    ipa: Tlb<IpaEntry>,
}

impl TbuTlb {
    fn new(geometry: &Geometry) -> Self {
        Self {
            va: Tlb::new(geometry),
            ipa: Tlb::new(geometry),
        }
    }

    pub(super) fn is_off(&self) -> bool {
        self.va.is_off()
    }

    /// The outcome, if the TLB and the configuration suffice to say it.
    #[inline]
    pub(super) fn answer<M: PhysMem + ?Sized>(
        &mut self,
        part: &Programmed,
        configuration: &ConfigurationEntry,
        mem: &mut M,
        transaction: &Transaction,
    ) -> Option<(Outcome, Way)> {
        match self.plain(part, configuration, transaction) {
            Plain::LetThrough(translation) => {
                return Some((Outcome::Translated(translation), Way::Tlb));
            }
            Plain::Absent => return None,
            Plain::Undecided => {}
        }
        let stream = configuration.stream.as_ref().ok()?;
        let stage1 = configuration.stage1.as_ref().ok()?;
        if let Stage1Use::Translates(s1) = stage1 {
            let request = stream.request(transaction);
            let key = StageKey::new(s1, transaction, request)?;
            let place = self
                .va
                .lookup(configuration.context, configuration.global, key.input)?;
            let through = self
                .va
                .value(place)
                .through(stream, s1, transaction, request)?;
            let outcome = match through {
                Ok((walked, path)) => {
                    if walked.kind == request.kind {
                        self.va.value_mut(place).granted.note(request);
                    }
                    Outcome::Translated(part.output(walked, request, path))
                }
                Err(raised) => part.faulted(raised, transaction, &request),
            };
            return Some((outcome, Way::Tlb));
        }
        if stream.action == StreamAction::Abort {
            return Some((silent_abort(transaction), Way::Nothing));
        }
        let request = stream.request(transaction);
        let mut known = Known(None);
        let way = if stream.s2.is_some() {
            let context = configuration.stage2;
            let input = transaction.address.get();
            let place = self.ipa.lookup(context, context, input)?;
            known.0 = Some(self.ipa.value(place).leaf(Ipa::new(input)));
            Way::Tlb
        } else {
            Way::Nothing
        };
        let mut walker = Walker {
            mem,
            observer: &mut (),
            cache: known,
        };
        let through = part.walk(&mut walker, stream, stage1, transaction, request);
        Some((part.outcome(through, transaction, request), way))
    }

    /// A plain access, if it is known that the entry lets it through or that there is none.
    #[inline]
    fn plain(
        &mut self,
        part: &Programmed,
        configuration: &ConfigurationEntry,
        transaction: &Transaction,
    ) -> Plain {
        if transaction.attributes != Attributes::DEFAULT {
            return Plain::Undecided;
        }
        let nested = match configuration.shortcut.by {
            By::Va => false,
            By::NestedVa => true,
            By::Ipa | By::Nothing => return Plain::Undecided,
        };
        let input = transaction.address.get();
        let half = (input >> 55 & 1) as usize;
        if !configuration.shortcut.open[half] || configuration.shortcut.tbi[half] {
            return Plain::Undecided;
        }
        let request = Request::of(transaction);
        // Without TBI an address is what it is looked up by, here as below.
        let (context, global) = (configuration.context, configuration.global);
        let Some(place) = self.va.lookup(context, global, input) else {
            return Plain::Absent;
        };
        let found = self.va.value(place);
        if found.stage2.is_some() != nested || !found.granted.covers(request) {
            return Plain::Undecided;
        }
        let walked = Walked {
            pa: Pa::new(found.output | found.offset(input)),
            attributes: found.combined,
            span_log2: found.span_log2,
            kind: request.kind,
        };
        let path = if nested { Path::Nested } else { Path::Stage1 };
        Plain::LetThrough(part.output(walked, request, path))
    }

    /// What the entry for a transaction could teach another TLB.
    fn lesson(&mut self, configuration: &ConfigurationEntry, transaction: &Transaction) -> Lesson {
        let input = transaction.address.get();
        let Ok(Stage1Use::Translates(s1)) = &configuration.stage1 else {
            return self.lesson_by_ipa(configuration.stage2, input);
        };
        let input = s1.half(input).key(input);
        let (context, global) = (configuration.context, configuration.global);
        match self.va.lookup(context, global, input) {
            Some(place) => {
                let entry = *self.va.value(place);
                let context = if entry.is_global() { global } else { context };
                Lesson::Va {
                    context,
                    input,
                    size_log2: entry.entry_log2,
                    entry,
                }
            }
            None => Lesson::Nothing,
        }
    }

    /// The outcome of a translated transaction whose address is intermediate, if an entry holds it.
    pub(super) fn second_stage<M: PhysMem + ?Sized>(
        &mut self,
        part: &Programmed,
        (context, stream): (Context, &StreamContext),
        mem: &mut M,
        transaction: &Transaction,
    ) -> Option<Outcome> {
        let input = transaction.address.get();
        let place = self.ipa.lookup(context, context, input)?;
        let leaf = self.ipa.value(place).leaf(Ipa::new(input));
        let mut walker = Walker {
            mem,
            observer: &mut (),
            cache: Known(Some(leaf)),
        };
        Some(part.second_stage(&mut walker, transaction, stream).0)
    }

    /// What the entry for an intermediate address could teach another TLB.
    fn lesson_by_ipa(&mut self, context: Context, input: u64) -> Lesson {
        match self.ipa.lookup(context, context, input) {
            Some(place) => {
                let entry = *self.ipa.value(place);
                Lesson::Ipa {
                    context,
                    input,
                    size_log2: entry.stage2.leaf_log2,
                    entry,
                }
            }
            None => Lesson::Nothing,
        }
    }

    /// Keeps what an answer taught. Gives the tags of what had to leave.
    pub(super) fn learn(&mut self, lesson: &Lesson) -> Option<TlbTag> {
        match *lesson {
            Lesson::Nothing => None,
            Lesson::Va {
                context,
                input,
                size_log2,
                entry,
            } => self.va.insert(context, input, size_log2, entry),
            Lesson::Ipa {
                context,
                input,
                size_log2,
                entry,
            } => self.ipa.insert(context, input, size_log2, entry),
        }
    }

    fn invalidate(&mut self, command: &Command, scope: InvalidationScope) -> u64 {
        match command {
            Command::Tlbi(tlbi) => {
                self.va.invalidate(tlbi, scope) + self.ipa.invalidate(tlbi, scope)
            }
            _ => 0,
        }
    }
}

/// What is known of a plain access.
enum Plain {
    /// The entry has let such an access through before.
    LetThrough(Translation),
    /// There is no entry.
    Absent,
    /// It takes more to say.
    Undecided,
}

/// How a TBU could answer by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By a TLB entry.
    Tlb,
    /// Nothing translates the stream.
    Nothing,
}

/// What a stage-2 walk teaches.
pub(super) fn ipa_lesson(s2: &Stage2, context: Context, input: u64, leaf: &Stage2Leaf) -> Lesson {
    if leaf.descriptor & ACCESS_FLAG == 0 {
        return Lesson::Nothing;
    }
    let entry = ipa_entry(s2, input, leaf, ContiguousHint::Used);
    Lesson::Ipa {
        context,
        input,
        size_log2: entry.stage2.leaf_log2,
        entry,
    }
}

/// A walker's view of one stage-2 translation and nothing else.
struct Known(Option<Stage2Leaf>);

impl Lookaside for Known {
    fn stage1_table(&mut self, _: u64) -> Option<TableFound> {
        None
    }
    fn fill_stage1_table(&mut self, _: u64, _: u8, _: &TableParams, _: TableFound) {}
    fn stage2_table(&mut self, _: u64) -> Option<TableFound> {
        None
    }
    fn fill_stage2_table(&mut self, _: u64, _: u8, _: &TableParams, _: TableFound) {}
    fn stage2(&mut self, _: Ipa) -> Option<Stage2Leaf> {
        self.0
    }
    fn fill_stage2(&mut self, _: &Stage2, _: Ipa, _: &Stage2Leaf) {}
    fn enter_stage2(&mut self, _: Context) {}
    fn report(&mut self, _: impl FnMut(&CacheEvent)) {}
}

/// A miss that later ones can wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Miss {
    stream: StreamId,
    substream: Option<SubstreamId>,
    page: u64,
    is_used: bool,
    waiters: Vec<Sleeper>,
}

/// Pages that misses are compared by: the smallest granule.
const PAGE_LOG2: u32 = 12;

/// What becomes of a miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hazard {
    /// It waits for another.
    Waits,
    /// Others can wait for it, under this number.
    Leads(u32),
    /// It goes alone.
    Alone,
}

/// The configurations a TBU knows: in sets of four where that comes out even.
fn configurations(entries: u32) -> Geometry {
    let ways = if entries.is_multiple_of(4) && (entries / 4).is_power_of_two() {
        4
    } else {
        0
    };
    Geometry::new(entries, ways, Replacement::RoundRobin)
}

/// The unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tbu {
    pub(super) slots: Slots,
    pub(super) port: Pipe,
    pub(super) micro_pipe: Pipe,
    pub(super) main_pipe: Pipe,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) output: Pipe,
    pub(super) micro: TbuTlb,
    pub(super) main: TbuTlb,
    pub(super) configurations: ConfigurationCache,
    misses: Vec<Miss>,
    used_misses: u32,
    pub(super) counts: TbuCounts,
}

impl Tbu {
    pub(super) fn new(config: &TimingConfig) -> Self {
        let micro = &config.micro_tlb;
        let main = &config.main_tlb;
        let seed = config.memory.seed;
        let configurations = configurations(config.tbu.configurations);
        let merged = match config.hazard.merge {
            HazardMerge::Translation => config.hazard.entries,
            HazardMerge::Off => 0,
        };
        let free = Miss {
            stream: StreamId::new(0),
            substream: None,
            page: 0,
            is_used: false,
            waiters: Vec::new(),
        };
        Self {
            slots: Slots::new(config.tbu.slots),
            port: Pipe::new(1),
            micro_pipe: Pipe::new(micro.lookups),
            main_pipe: Pipe::new(main.lookups),
            up: Pipe::new(1),
            down: Pipe::new(1),
            output: Pipe::new(1),
            micro: TbuTlb::new(&shape(
                micro.entries,
                micro.ways,
                micro.policy,
                micro.index,
                seed,
            )),
            main: TbuTlb::new(&shape(
                main.entries,
                main.ways,
                main.policy,
                main.index,
                seed,
            )),
            configurations: ConfigurationCache::new(&configurations),
            misses: vec![free; merged as usize],
            used_misses: 0,
            counts: TbuCounts::default(),
        }
    }

    /// Lets a miss wait for one of the same page, or be waited for.
    pub(super) fn miss(&mut self, sleeper: Sleeper, transaction: &Transaction) -> Hazard {
        let page = transaction.address.get() >> PAGE_LOG2;
        let (stream, substream) = (transaction.stream, transaction.substream);
        let mut free = None;
        for (place, miss) in self.misses.iter_mut().enumerate() {
            if !miss.is_used {
                free = free.or(Some(place));
            } else if miss.page == page && miss.stream == stream && miss.substream == substream {
                miss.waiters.push(sleeper);
                return Hazard::Waits;
            }
        }
        let Some(place) = free else {
            return Hazard::Alone;
        };
        let miss = &mut self.misses[place];
        miss.stream = stream;
        miss.substream = substream;
        miss.page = page;
        miss.is_used = true;
        self.used_misses += 1;
        Hazard::Leads(place as u32)
    }

    /// A hit of the main TLB goes into the micro TLB.
    pub(super) fn promote(&mut self, transaction: &Transaction) {
        if self.micro.is_off() {
            return;
        }
        let known = self
            .configurations
            .lookup(transaction.stream, transaction.substream);
        if let Some(known) = known {
            let lesson = self.main.lesson(known, transaction);
            self.micro.learn(&lesson);
        }
    }

    /// A hit of the main TLB by an intermediate address goes into the micro TLB.
    pub(super) fn promote_ipa(&mut self, context: Context, input: u64) {
        if !self.micro.is_off() && !self.main.is_off() {
            let lesson = self.main.lesson_by_ipa(context, input);
            self.micro.learn(&lesson);
        }
    }

    /// Ends a miss: those who waited for it, in the order they came, are moved to `woken`.
    pub(super) fn answered(&mut self, place: u32, woken: &mut Vec<Sleeper>) {
        let miss = &mut self.misses[place as usize];
        miss.is_used = false;
        self.used_misses -= 1;
        woken.append(&mut miss.waiters);
    }

    /// Carries out an invalidation. Gives the number of entries that went.
    pub(super) fn invalidate(&mut self, command: &Command, scope: InvalidationScope) -> u64 {
        let removed = self.micro.invalidate(command, scope)
            + self.main.invalidate(command, scope)
            + self.configurations.invalidate(command);
        self.counts.invalidated_count += removed;
        removed
    }
}
