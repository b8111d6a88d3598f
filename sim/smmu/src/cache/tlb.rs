//! A cache of translations or of tables: entries of many sizes, looked up by context and address,
//! removed exactly as commands demand (IHI 0070 §3.17, §4.4).

use super::array::{Array, Tag};
use super::config::Geometry;
use super::context::{Context, WORLDS};
use crate::command::{AsidScope, EntryKind, TlbTag, Tlbi, TlbiAddress, TlbiRegime, TlbiStage};
use crate::command::{InvalidationScope, VmidMask};
use crate::fetch::StreamWorld;
use crate::ids::Vmid;

/// What invalidation must know of an entry besides its tag.
pub(crate) trait Entry: Copy + Default {
    /// log2 of the block or page of the leaf the entry came from, which may be larger than the
    /// entry: it goes with the leaf.
    fn leaf_log2(&self) -> u8;
    /// log2 of the granule of that leaf's table.
    fn granule_log2(&self) -> u8;
    /// Leaf or table.
    fn kind(&self) -> EntryKind;
}

/// Live entries of one size, in one world.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Class {
    world: usize,
    span_log2: u8,
    leaf_log2: u8,
    count: u32,
}

/// What lookups need to know of the entries of one world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Population {
    generation: u32,
    /// Bit n: there are entries of 2^n bytes.
    spans: u64,
    globals: u32,
}

/// The cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tlb<V> {
    array: Array<V>,
    populations: [Population; WORLDS],
    classes: Vec<Class>,
}

/// A place in a [`Tlb`], valid until it changes.
#[derive(Clone, Copy)]
pub(crate) struct Place(usize);

impl<V: Entry> Tlb<V> {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        Self {
            array: Array::new(geometry),
            populations: [Population::default(); WORLDS],
            classes: Vec::new(),
        }
    }

    /// Finds the entry for `input`: of `context`, or of `global` if there is one.
    #[inline(always)]
    pub(crate) fn lookup(
        &mut self,
        context: Context,
        global: Context,
        input: u64,
    ) -> Option<Place> {
        let population = self.populations[context.world_index()?];
        let place = self
            .find(
                context.tagged(population.generation),
                population.spans,
                input,
            )
            .or_else(|| {
                if population.globals == 0 {
                    return None;
                }
                self.find(
                    global.tagged(population.generation),
                    population.spans,
                    input,
                )
            })?;
        self.array.touch(place);
        Some(Place(place))
    }

    #[inline(always)]
    fn find(&self, context: u64, mut spans: u64, input: u64) -> Option<usize> {
        while spans != 0 {
            let page = Tag::page_of(input, spans.trailing_zeros());
            if let Some(place) = self.array.find(Tag { context, page }) {
                return Some(place);
            }
            spans &= spans - 1;
        }
        None
    }

    #[inline(always)]
    pub(crate) fn value(&self, place: Place) -> &V {
        self.array.value(place.0)
    }

    /// The tag of the entry at `place`.
    pub(crate) fn tag(&self, place: Place) -> TlbTag {
        describe(self.array.tag(place.0), self.array.value(place.0))
    }

    pub(crate) fn is_off(&self) -> bool {
        self.array.is_off()
    }

    /// Puts in an entry of 2^`span_log2` bytes around `input`. Gives the tag of an entry that had
    /// to leave.
    pub(crate) fn insert(
        &mut self,
        context: Context,
        input: u64,
        span_log2: u8,
        value: V,
    ) -> Option<TlbTag> {
        let world = context.world_index()?;
        if self.is_off() {
            return None;
        }
        let tag = Tag {
            context: context.tagged(self.populations[world].generation),
            page: Tag::page_of(input, span_log2.into()),
        };
        // An entry put in over itself may come from another leaf.
        if let Some(place) = self.array.find(tag) {
            self.remove(place);
        }
        let populations = self.populations;
        let evicted = self
            .array
            .insert(tag, value, |tag| is_live(&populations, tag));
        self.count(world, span_log2, &value, context, Change::Came);
        evicted.map(|(tag, value)| {
            self.uncount(tag, &value);
            describe(tag, &value)
        })
    }

    fn remove(&mut self, place: usize) {
        let (tag, value) = (self.array.tag(place), *self.array.value(place));
        self.array.remove(place);
        self.uncount(tag, &value);
    }

    fn uncount(&mut self, tag: Tag, value: &V) {
        let context = Context::of_tag(tag.context);
        if let Some(world) = context.world_index() {
            self.count(world, tag.span_log2() as u8, value, context, Change::Went);
        }
    }

    fn count(&mut self, world: usize, span_log2: u8, value: &V, context: Context, change: Change) {
        let leaf_log2 = value.leaf_log2();
        let known = self.classes.iter().position(|class| {
            (class.world, class.span_log2, class.leaf_log2) == (world, span_log2, leaf_log2)
        });
        let index = known.unwrap_or_else(|| {
            self.classes.push(Class {
                world,
                span_log2,
                leaf_log2,
                count: 0,
            });
            self.classes.len() - 1
        });
        change.apply(&mut self.classes[index].count);
        if self.classes[index].count == 0 {
            self.classes.swap_remove(index);
        }
        let population = &mut self.populations[world];
        if context.is_global() {
            change.apply(&mut population.globals);
        }
        population.spans = self
            .classes
            .iter()
            .filter(|class| class.world == world)
            .fold(0, |spans, class| spans | 1 << class.span_log2);
    }

    /// Removes what the command must remove, and nothing else. Gives the number of entries.
    pub(crate) fn invalidate(&mut self, tlbi: &Tlbi, scope: InvalidationScope) -> u64 {
        if self.is_off() {
            return 0;
        }
        if tlbi.address == TlbiAddress::All && tlbi.asid == AsidScope::Any && tlbi.vmid.is_none() {
            return self.invalidate_worlds(tlbi, scope);
        }
        match self.candidates(tlbi, scope) {
            Some(candidates) => self.invalidate_candidates(tlbi, scope, &candidates),
            None => self.invalidate_matching(|tag| tlbi.covers(tag, scope)),
        }
    }

    /// Every entry of whole worlds: their generation is over.
    fn invalidate_worlds(&mut self, tlbi: &Tlbi, scope: InvalidationScope) -> u64 {
        let mut removed = 0;
        for (world, regime) in [StreamWorld::El1, StreamWorld::El2, StreamWorld::El2E2h]
            .into_iter()
            .enumerate()
        {
            if !tlbi.covers_world(regime, scope) {
                continue;
            }
            let live = self.classes.iter().filter(|class| class.world == world);
            let count: u64 = live.map(|class| u64::from(class.count)).sum();
            if count == 0 {
                continue;
            }
            removed += count;
            self.classes.retain(|class| class.world != world);
            let generation = self.populations[world].generation + 1;
            if generation >> Tag::GENERATION_BITS != 0 {
                // Tags of old generations must not come to life again.
                self.forget_world(world);
            }
            self.populations[world] = Population {
                generation: generation & ((1 << Tag::GENERATION_BITS) - 1),
                ..Population::default()
            };
        }
        removed
    }

    fn forget_world(&mut self, world: usize) {
        for place in 0..self.array.len() {
            let context = Context::of_tag(self.array.tag(place).context);
            if context.world_index() == Some(world) {
                self.array.remove(place);
            }
        }
    }

    /// The tags that may have to go, if they can be named and are fewer than the places.
    fn candidates(&self, tlbi: &Tlbi, scope: InvalidationScope) -> Option<Vec<Tag>> {
        let (first, last) = match tlbi.address {
            TlbiAddress::All => return None,
            TlbiAddress::Single { address, .. } => (address, address),
            TlbiAddress::Range { first, last, .. } => (first, last),
        };
        let contexts = contexts(tlbi, scope)?;
        let world = contexts.first()?.world_index()?;
        let generation = self.populations[world].generation;
        let mut tags = Vec::new();
        for class in self.classes.iter().filter(|class| class.world == world) {
            let below = u64::MAX >> (63 - class.leaf_log2.min(63)) >> 1;
            let (start, end) = (first & !below, last | below);
            let pieces = (end - start) >> class.span_log2;
            if pieces > self.array.len() as u64 {
                return None;
            }
            for piece in 0..=pieces {
                let input = start + (piece << class.span_log2);
                let page = Tag::page_of(input, class.span_log2.into());
                tags.extend(contexts.iter().map(|context| Tag {
                    context: context.tagged(generation),
                    page,
                }));
            }
            if tags.len() > self.array.len() {
                return None;
            }
        }
        Some(tags)
    }

    fn invalidate_candidates(
        &mut self,
        tlbi: &Tlbi,
        scope: InvalidationScope,
        tags: &[Tag],
    ) -> u64 {
        let mut removed = 0;
        for &tag in tags {
            if let Some(place) = self.array.find(tag) {
                if tlbi.covers(&describe(tag, self.array.value(place)), scope) {
                    self.remove(place);
                    removed += 1;
                }
            }
        }
        removed
    }

    /// Looks at every entry.
    fn invalidate_matching(&mut self, covers: impl Fn(&TlbTag) -> bool) -> u64 {
        let mut removed = 0;
        for place in 0..self.array.len() {
            let tag = self.array.tag(place);
            if tag != Tag::NONE
                && is_live(&self.populations, tag)
                && covers(&describe(tag, self.array.value(place)))
            {
                self.remove(place);
                removed += 1;
            }
        }
        removed
    }

    /// Every live entry: its tag and value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TlbTag, &V)> {
        self.array
            .iter()
            .filter(|(_, tag, _)| is_live(&self.populations, *tag))
            .map(|(_, tag, value)| (describe(tag, value), value))
    }
}

/// Whether an entry came or went.
#[derive(Clone, Copy)]
enum Change {
    Came,
    Went,
}

impl Change {
    fn apply(self, count: &mut u32) {
        match self {
            Self::Came => *count += 1,
            Self::Went => *count -= 1,
        }
    }
}

fn is_live(populations: &[Population; WORLDS], tag: Tag) -> bool {
    let world = Context::of_tag(tag.context).world_index();
    world.is_some_and(|world| {
        populations[world].generation == Context::generation_of_tag(tag.context)
    })
}

fn describe<V: Entry>(tag: Tag, value: &V) -> TlbTag {
    let context = Context::of_tag(tag.context);
    TlbTag {
        world: context.world(),
        is_ipa: context.is_ipa(),
        vmid: context.vmid(),
        asid: context.asid(),
        input: tag.first(),
        span_log2: tag.span_log2() as u8,
        leaf_log2: value.leaf_log2(),
        granule_log2: value.granule_log2(),
        kind: value.kind(),
    }
}

/// The contexts a command by address is about, if it names them.
fn contexts(tlbi: &Tlbi, scope: InvalidationScope) -> Option<Vec<Context>> {
    let vmid = match tlbi.vmid {
        Some(_) if scope.vmid_mask != VmidMask::EXACT => return None,
        Some(vmid) => vmid,
        None => Vmid::new(0),
    };
    let world = match (tlbi.regime, scope.e2h) {
        (TlbiRegime::El1, _) => StreamWorld::El1,
        (TlbiRegime::El2, false) => StreamWorld::El2,
        (TlbiRegime::El2, true) => StreamWorld::El2E2h,
        (TlbiRegime::AnyEl2, _) => return None,
    };
    match (tlbi.stage, tlbi.asid) {
        (TlbiStage::Stage2, _) => Some(vec![Context::stage2(vmid)]),
        (TlbiStage::Stage1, AsidScope::OrGlobal(asid)) => {
            let global = Context::global(world, vmid, false);
            Some(vec![
                Context::stage1(world, vmid, asid),
                global,
                global.other_aset(),
            ])
        }
        _ => None,
    }
}
