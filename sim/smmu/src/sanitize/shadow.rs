//! Caches beside the device, and where each of their entries comes from.

use std::collections::BTreeMap;

use super::finding::{Change, Creator, Kind};
use super::leaf::Leaves;
use super::trail::{DIRTY, Step, Trail, Word};
use crate::addr::Pa;
use crate::cache::{CacheConfig, Caches, ConfigurationEntry, TlbStructure};
use crate::command::{Command, InvalidationScope, TlbTag};
use crate::fetch::{Configuration, Stage1Use, StreamWorld};
use crate::ids::{Asid, StreamId, SubstreamId, Vmid};
use crate::mem::{DryRun, PhysMem};
use crate::observe::{CacheEvent, CacheKind, CacheTag, Purpose, Structure};
use crate::perm::ACCESS_FLAG;
use crate::transaction::{Outcome, Transaction};
use crate::translate::Programmed;

/// What tells entries of one cache apart. Ordered by context, then by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Configuration(StreamId, Option<SubstreamId>),
    Ste(StreamId),
    Translation {
        context: TlbContext,
        input: u64,
        span_log2: u8,
    },
}

/// Whose translation an entry is, and of what kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TlbContext {
    cache: CacheKind,
    world: StreamWorld,
    vmid: Vmid,
    asid: Option<Asid>,
}

impl Key {
    fn new(cache: CacheKind, tag: &CacheTag) -> Self {
        match *tag {
            CacheTag::Configuration { stream, substream } => Self::Configuration(stream, substream),
            CacheTag::Ste { stream } => Self::Ste(stream),
            CacheTag::Translation(tag) => Self::Translation {
                context: TlbContext {
                    cache,
                    world: tag.world,
                    vmid: tag.vmid,
                    asid: tag.asid,
                },
                input: tag.input,
                span_log2: tag.span_log2,
            },
        }
    }
}

/// Where an entry comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) cache: CacheKind,
    pub(super) tag: CacheTag,
    pub(super) creator: Creator,
    /// Commands consumed before it was made.
    pub(super) commands_before: u64,
    /// The configuration that was in use.
    pub(super) configuration: Option<Configuration>,
    /// What was read for it.
    pub(super) words: Vec<Word>,
    pub(super) leaves: Leaves,
    /// What has been reported of it.
    pub(super) reported: Vec<Kind>,
}

/// An entry that a translation used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) cache: CacheKind,
    pub(super) tag: CacheTag,
}

impl Used {
    pub(super) fn key(&self) -> Key {
        Key::new(self.cache, &self.tag)
    }

    pub(super) fn is_configuration(&self) -> bool {
        matches!(self.cache, CacheKind::Configuration | CacheKind::Ste)
    }
}

/// A translation by caches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) outcome: Outcome,
    pub(super) hits: Vec<Used>,
    pub(super) fills: Vec<Used>,
    /// The configuration in use, if it could be had.
    pub(super) configuration: Option<ConfigurationEntry>,
    /// Descriptors it would mark dirty.
    pub(super) dirtied: Vec<Pa>,
}

/// The moment of a transaction.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) moment: u64,
    pub(super) commands: u64,
}

/// Caches and the origin of what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shadow {
    caches: Caches,
    origins: BTreeMap<Key, Origin>,
    /// An entry has made room for another.
    pub(super) has_evicted: bool,
}

impl Shadow {
    pub(super) fn new(config: &CacheConfig) -> Self {
        Self {
            caches: Caches::new(config),
            origins: BTreeMap::new(),
            has_evicted: false,
        }
    }

    pub(super) fn origin(&self, used: &Used) -> Option<&Origin> {
        self.origins.get(&used.key())
    }

    /// Notes that `kind` is reported of an entry; false if it was before.
    pub(super) fn report_once(&mut self, used: &Used, kind: Kind) -> bool {
        match self.origins.get_mut(&used.key()) {
            Some(origin) if origin.reported.contains(&kind) => false,
            Some(origin) => {
                origin.reported.push(kind);
                true
            }
            None => true,
        }
    }

    /// Entries that a command removes.
    pub(super) fn covered(
        &self,
        command: &Command,
        scope: InvalidationScope,
    ) -> impl Iterator<Item = &Origin> {
        self.origins
            .values()
            .filter(move |origin| covers(command, &origin.tag, scope))
    }

    /// Other live entries of the same context that translate some of the same addresses, if they
    /// are smaller: a lookup would have found a larger one.
    pub(super) fn within(&self, used: &Used) -> impl Iterator<Item = &Origin> {
        let own = used.key();
        let range = match own {
            Key::Translation {
                context,
                input,
                span_log2,
            } => {
                let last = 1u64
                    .checked_shl(span_log2.into())
                    .map_or(u64::MAX, |size| input | (size - 1));
                let bound = |input, span_log2| Key::Translation {
                    context,
                    input,
                    span_log2,
                };
                bound(input, 0)..=bound(last, u8::MAX)
            }
            Key::Configuration(..) | Key::Ste(_) => own..=own,
        };
        self.origins
            .range(range)
            .filter(move |(key, _)| **key != own)
            .map(|(_, origin)| origin)
    }

    /// Removes what an invalidation names; gives the number of entries.
    pub(super) fn invalidate(&mut self, command: &Command, scope: InvalidationScope) -> u64 {
        let removed = self.caches.invalidate(command, scope);
        if removed > 0 {
            self.origins
                .retain(|_, origin| !covers(command, &origin.tag, scope));
        }
        removed
    }

    /// Translates by what the caches hold, changing nothing but them.
    pub(super) fn run<M: PhysMem + ?Sized>(
        &mut self,
        part: &Programmed,
        mem: &mut M,
        transaction: &Transaction,
        now: Now,
    ) -> Run {
        let mut trail = Trail::default();
        let mut mem = DryRun::new(mem);
        let outcome = part.translate(&mut self.caches, &mut mem, transaction, &mut trail);
        let run = Run::new(&mut self.caches, outcome, transaction, &trail);
        if !run.fills.is_empty() {
            self.learn(transaction, now, &run, &trail);
        }
        run
    }

    /// Remembers where the new entries come from.
    fn learn(&mut self, transaction: &Transaction, now: Now, run: &Run, trail: &Trail) {
        let configuration = run.configuration.as_ref().and_then(legal);
        let separate = self.caches.config.structure == TlbStructure::Separate;
        let mut words: Vec<Word> = Vec::new();
        // Where the stage-2 walk at hand began.
        let mut segment = 0;
        for step in &trail.steps {
            if let Step::Cache(CacheEvent::Hit { cache, .. } | CacheEvent::Miss { cache }) = step
                && *cache == CacheKind::Stage2Tlb
            {
                segment = words.len();
            }
            match step {
                Step::Read(word) => words.push(*word),
                Step::Cache(CacheEvent::Miss { .. }) => {}
                Step::Cache(CacheEvent::Hit { cache, entry }) => {
                    // What is known by an entry was read when it was made.
                    if let Some(origin) = self.origins.get(&Key::new(*cache, entry)) {
                        words.extend(origin.words.iter().map(|word| Word {
                            purpose: if *cache == CacheKind::Stage2Tlb {
                                Purpose::Input
                            } else {
                                word.purpose
                            },
                            ..*word
                        }));
                    }
                }
                Step::Cache(CacheEvent::Fill {
                    cache,
                    entry,
                    evicted,
                }) => {
                    if let Some(evicted) = evicted {
                        self.has_evicted = true;
                        self.origins.remove(&Key::new(*cache, evicted));
                    }
                    let from = match cache {
                        CacheKind::Stage2Tlb | CacheKind::Stage2Walk => segment,
                        _ => 0,
                    };
                    let words: Vec<Word> = words[from..]
                        .iter()
                        .filter(|word| is_of(word, *cache))
                        .copied()
                        .collect();
                    let mut leaves = Leaves::default();
                    if let (Some(configuration), CacheKind::Tlb | CacheKind::Stage2Tlb) =
                        (&configuration, cache)
                    {
                        leaves = Leaves::of(configuration, transaction, words.iter());
                        if separate && *cache == CacheKind::Tlb {
                            leaves.stage2 = None;
                        }
                    }
                    let origin = Origin {
                        cache: *cache,
                        tag: *entry,
                        creator: Creator {
                            moment: now.moment,
                            transaction: *transaction,
                        },
                        commands_before: now.commands,
                        configuration,
                        words,
                        leaves,
                        reported: Vec::new(),
                    };
                    self.origins.insert(Key::new(*cache, entry), origin);
                }
            }
        }
    }
}

/// Whether a word matters to entries of `cache`.
fn is_of(word: &Word, cache: CacheKind) -> bool {
    let of_configuration = matches!(word.purpose, Purpose::L1Cd | Purpose::Cd)
        || matches!(
            word.structure,
            Structure::L1Std | Structure::Ste | Structure::L1Cd | Structure::Cd
        );
    match cache {
        CacheKind::Configuration => of_configuration,
        CacheKind::Ste => matches!(word.structure, Structure::L1Std | Structure::Ste),
        CacheKind::Tlb | CacheKind::Stage1Walk => !of_configuration,
        CacheKind::Stage2Tlb | CacheKind::Stage2Walk => {
            matches!(word.structure, Structure::Stage2(_))
        }
    }
}

impl Run {
    /// What a translation by `caches` gave and used.
    pub(super) fn new(
        caches: &mut Caches,
        outcome: Outcome,
        transaction: &Transaction,
        trail: &Trail,
    ) -> Self {
        let events = || {
            trail.steps.iter().filter_map(|step| match step {
                Step::Cache(event) => Some(event),
                Step::Read(_) => None,
            })
        };
        let hits = events().filter_map(|event| match *event {
            CacheEvent::Hit { cache, entry } => Some(Used { cache, tag: entry }),
            _ => None,
        });
        let fills = events().filter_map(|event| match *event {
            CacheEvent::Fill { cache, entry, .. } => Some(Used { cache, tag: entry }),
            _ => None,
        });
        Self {
            outcome,
            hits: hits.collect(),
            fills: fills.collect(),
            configuration: caches
                .configuration
                .lookup(transaction.stream, transaction.substream)
                .copied(),
            dirtied: trail.dirtied.clone(),
        }
    }
}

/// A configuration that translates.
pub(super) fn legal(entry: &ConfigurationEntry) -> Option<Configuration> {
    match (&entry.stream, &entry.stage1) {
        (Ok(stream), Ok(stage1)) => Some(Configuration {
            stream: *stream,
            stage1: *stage1,
        }),
        _ => None,
    }
}

/// Whether an invalidation removes the entry with this tag.
pub(super) fn covers(command: &Command, tag: &CacheTag, scope: InvalidationScope) -> bool {
    match (command, tag) {
        (Command::Tlbi(tlbi), CacheTag::Translation(tag)) => tlbi.covers(tag, scope),
        (_, CacheTag::Configuration { stream, substream }) => {
            command.covers_cd(*stream, substream.unwrap_or(SubstreamId::new(0)))
        }
        (_, CacheTag::Ste { stream }) => command.covers_ste(*stream),
        _ => false,
    }
}

impl Origin {
    /// Whether the entry translates `input`.
    pub(super) fn translates(&self, input: u64) -> bool {
        match self.tag {
            CacheTag::Translation(TlbTag {
                input: first,
                span_log2,
                ..
            }) => (input ^ first).checked_shr(span_log2.into()).unwrap_or(0) == 0,
            CacheTag::Configuration { .. } | CacheTag::Ste { .. } => false,
        }
    }

    /// Words that memory no longer holds, but for what hardware and software keep there for
    /// themselves.
    pub(super) fn changes<M: PhysMem + ?Sized>(&self, mem: &mut M) -> Vec<Change> {
        let configuration = self.configuration.as_ref();
        self.words
            .iter()
            .filter_map(|word| {
                let found = mem.read64(word.pa, word.structure.class()).ok();
                let is = found.map(|found| {
                    if is_big_endian(configuration, &self.creator.transaction, word.structure) {
                        found.swap_bytes()
                    } else {
                        found
                    }
                });
                let differs = is.is_none_or(|is| (is ^ word.value) & !ignored(word, is) != 0);
                differs.then_some(Change {
                    structure: word.structure,
                    pa: word.pa,
                    was: word.value,
                    is,
                })
            })
            .collect()
    }
}

/// Bits of a descriptor whose change means nothing: those for software, the Access flag set, and the
/// page marked dirty where hardware manages dirty state.
fn ignored(word: &Word, is: u64) -> u64 {
    const SOFTWARE: u64 = 0xf << 55;
    const DBM: u64 = 1 << 51;
    let dirty = match word.structure {
        // AP[2] goes to 0, S2AP[1] to 1.
        Structure::Stage1(_) => word.value & !is & DIRTY,
        Structure::Stage2(_) => is & !word.value & DIRTY,
        _ => return 0,
    };
    if word.value & is & 1 == 0 {
        return 0;
    }
    let managed = word.value & is & DBM != 0;
    SOFTWARE | is & !word.value & ACCESS_FLAG | if managed { dirty } else { 0 }
}

fn is_big_endian(
    configuration: Option<&Configuration>,
    transaction: &Transaction,
    structure: Structure,
) -> bool {
    let Some(configuration) = configuration else {
        return false;
    };
    let tables = match (structure, &configuration.stage1) {
        (Structure::Stage1(_), Stage1Use::Translates(s1)) => {
            s1.half(transaction.address.get()).tables
        }
        (Structure::Stage2(_), _) => configuration.stream.s2.map(|s2| s2.tables),
        _ => None,
    };
    tables.is_some_and(|tables| tables.is_big_endian())
}
