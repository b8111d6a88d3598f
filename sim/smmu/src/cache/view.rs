//! The caches as one walk sees them: with the contexts of its stream.

use super::entry::{IpaEntry, Stage2Part, WalkEntry};
use super::{ConfigurationEntry, Context, ContiguousHint, Place, Tlb, WalkCaches};
use crate::addr::{Ipa, Pa};
use crate::observe::{CacheEvent, CacheKind, CacheTag};
use crate::perm::ACCESS_FLAG;
use crate::transaction::AccessKind;
use crate::walk::params::{TableParams, contiguous_log2};
use crate::walk::{Lookaside, Stage2, Stage2Leaf, TableFound};

/// Caches and contexts of one walk.
pub(crate) struct CacheView<'a> {
    pub(crate) walk: &'a mut WalkCaches,
    pub(crate) stage2: &'a mut Tlb<IpaEntry>,
    pub(crate) contiguous: ContiguousHint,
    /// Tables of stage 1; those of its leaves are of no concern to walks.
    pub(crate) stage1_context: Context,
    pub(crate) stage2_context: Context,
    /// What has happened since the last report; `None` if nobody watches.
    pub(crate) events: Option<Vec<CacheEvent>>,
}

/// A stage whose tables are cached.
#[derive(Clone, Copy)]
enum Stage {
    One,
    Two,
}

impl Stage {
    fn kind(self) -> CacheKind {
        match self {
            Self::One => CacheKind::Stage1Walk,
            Self::Two => CacheKind::Stage2Walk,
        }
    }
}

impl CacheView<'_> {
    /// The contexts of a stream whose configuration is known.
    pub(crate) fn enter(&mut self, entry: &ConfigurationEntry) {
        self.stage1_context = entry.context;
        self.stage2_context = entry.stage2;
    }

    fn hit<V: super::tlb::Entry>(
        events: &mut Option<Vec<CacheEvent>>,
        cache: CacheKind,
        tlb: &Tlb<V>,
        place: Option<Place>,
    ) {
        if let Some(events) = events {
            events.push(match place {
                Some(place) => CacheEvent::Hit {
                    cache,
                    entry: CacheTag::Translation(tlb.tag(place)),
                },
                None => CacheEvent::Miss { cache },
            });
        }
    }

    /// Puts an entry in and tells so.
    pub(crate) fn fill<V: super::tlb::Entry>(
        events: &mut Option<Vec<CacheEvent>>,
        cache: CacheKind,
        tlb: &mut Tlb<V>,
        (context, input, span_log2): (Context, u64, u8),
        value: V,
    ) {
        if tlb.is_off() {
            return;
        }
        let evicted = tlb.insert(context, input, span_log2, value);
        if let Some(events) = events {
            let place = tlb.lookup(context, context, input);
            events.extend(place.map(|place| CacheEvent::Fill {
                cache,
                entry: CacheTag::Translation(tlb.tag(place)),
                evicted: evicted.map(CacheTag::Translation),
            }));
        }
    }

    fn table(&mut self, stage: Stage, context: Context, input: u64) -> Option<TableFound> {
        let WalkCaches { caches, by_level } = &mut *self.walk;
        let mut last = None;
        // Deepest level first; levels that share a cache are one look.
        for &index in by_level[stage as usize].iter().rev() {
            if last == Some(index) || caches[index].is_off() {
                continue;
            }
            last = Some(index);
            let place = caches[index].lookup(context, context, input);
            Self::hit(&mut self.events, stage.kind(), &caches[index], place);
            if let Some(place) = place {
                let entry = caches[index].value(place);
                return Some(TableFound {
                    next: entry.next,
                    hierarchical: entry.hierarchical,
                    level: entry.level,
                });
            }
        }
        None
    }

    fn fill_table(
        &mut self,
        stage: Stage,
        (context, input, lsb): (Context, u64, u8),
        tables: &TableParams,
        found: TableFound,
    ) {
        let WalkCaches { caches, by_level } = &mut *self.walk;
        let index = by_level[stage as usize][(found.level + 1) as usize];
        let entry = WalkEntry {
            next: found.next,
            hierarchical: found.hierarchical,
            level: found.level,
            lsb,
            granule_log2: tables.granule_log2(),
        };
        let key = (context, input, lsb);
        Self::fill(
            &mut self.events,
            stage.kind(),
            &mut caches[index],
            key,
            entry,
        );
    }
}

impl Lookaside for CacheView<'_> {
    fn stage1_table(&mut self, input: u64) -> Option<TableFound> {
        self.table(Stage::One, self.stage1_context, input)
    }

    fn fill_stage1_table(&mut self, input: u64, lsb: u8, tables: &TableParams, found: TableFound) {
        let key = (self.stage1_context, input, lsb);
        self.fill_table(Stage::One, key, tables, found);
    }

    fn stage2_table(&mut self, ipa: u64) -> Option<TableFound> {
        self.table(Stage::Two, self.stage2_context, ipa)
    }

    fn fill_stage2_table(&mut self, ipa: u64, lsb: u8, tables: &TableParams, found: TableFound) {
        let key = (self.stage2_context, ipa, lsb);
        self.fill_table(Stage::Two, key, tables, found);
    }

    #[inline(always)]
    fn stage2(&mut self, ipa: Ipa) -> Option<Stage2Leaf> {
        if self.stage2.is_off() {
            return None;
        }
        let context = self.stage2_context;
        let place = self.stage2.lookup(context, context, ipa.get());
        Self::hit(&mut self.events, CacheKind::Stage2Tlb, self.stage2, place);
        let entry = self.stage2.value(place?);
        let below = (1u64 << entry.stage2.leaf_log2) - 1;
        Some(Stage2Leaf {
            pa: Pa::new(entry.output | ipa.get() & below),
            descriptor: entry.stage2.descriptor,
            span_log2: entry.span_log2,
            kind: AccessKind::Read,
            level: entry.stage2.level,
            granule_log2: entry.stage2.granule_log2,
        })
    }

    fn fill_stage2(&mut self, s2: &Stage2, ipa: Ipa, leaf: &Stage2Leaf) {
        if self.stage2.is_off() || leaf.descriptor & ACCESS_FLAG == 0 {
            return;
        }
        let part = stage2_part(s2, ipa.get(), leaf, self.contiguous);
        let below = (1u64 << part.leaf_log2) - 1;
        let entry = IpaEntry {
            output: leaf.pa.get() & !below,
            span_log2: leaf.span_log2,
            stage2: part,
        };
        let key = (self.stage2_context, ipa.get(), part.leaf_log2);
        Self::fill(
            &mut self.events,
            CacheKind::Stage2Tlb,
            self.stage2,
            key,
            entry,
        );
    }

    fn report(&mut self, see: impl FnMut(&CacheEvent)) {
        if let Some(events) = &mut self.events {
            events.iter().for_each(see);
            events.clear();
        }
    }
}

/// What a cache keeps of a stage-2 leaf.
pub(crate) fn stage2_part(
    s2: &Stage2,
    ipa: u64,
    leaf: &Stage2Leaf,
    contiguous: ContiguousHint,
) -> Stage2Part {
    Stage2Part {
        descriptor: leaf.descriptor,
        level: leaf.level,
        leaf_log2: entry_log2(
            contiguous,
            (leaf.granule_log2, leaf.level, leaf.span_log2),
            leaf.descriptor,
            (ipa, leaf.pa.get()),
        ),
        granule_log2: leaf.granule_log2,
        attributes: s2.attributes(leaf.descriptor),
    }
}

/// log2 of what one entry can hold of a leaf: its block or page, or its whole contiguous region if
/// its addresses are aligned as those of a region must be.
pub(crate) fn entry_log2(
    hint: ContiguousHint,
    (granule_log2, level, span_log2): (u8, i8, u8),
    descriptor: u64,
    (input, output): (u64, u64),
) -> u8 {
    const CONTIGUOUS: u64 = 1 << 52;
    if hint == ContiguousHint::Ignored || descriptor & CONTIGUOUS == 0 {
        return span_log2;
    }
    let region = span_log2 + contiguous_log2(granule_log2, level);
    let inside = (1u64 << region) - 1;
    if (input ^ output) & inside == 0 {
        region
    } else {
        span_log2
    }
}
