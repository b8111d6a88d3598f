//! A cache of translations or of tables: entries of many sizes, looked up by context and address,
//! removed exactly as commands demand (IHI 0070 §3.17, §4.4).

use super::array::{Array, Stamp, Tag};
use super::config::Geometry;
use super::context::{Context, Meant, WORLDS};
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

/// The entries of one world, counted by size.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Population {
    /// Bit n: there are entries of 2^n bytes.
    spans: u64,
    globals: u32,
    counts: [u32; 64],
    /// Bit n: some entry of this size came from a leaf of 2^n bytes since there was last none of
    /// this size.
    leaves: [u64; 64],
}

impl Population {
    const NONE: Self = Self {
        spans: 0,
        globals: 0,
        counts: [0; 64],
        leaves: [0; 64],
    };

    fn total(&self) -> u64 {
        self.counts.iter().map(|&count| u64::from(count)).sum()
    }

    fn came(&mut self, context: Context, span_log2: u8, leaf_log2: u8) {
        let size = usize::from(span_log2 & 63);
        self.globals += u32::from(context.is_global());
        self.counts[size] += 1;
        self.spans |= 1 << size;
        self.leaves[size] |= 1 << (leaf_log2 & 63);
    }

    fn went(&mut self, tag: Tag) {
        let size = (tag.span_log2() & 63) as usize;
        self.globals -= u32::from(Context::of_tag(tag.context).is_global());
        self.counts[size] -= 1;
        if self.counts[size] == 0 {
            self.spans &= !(1 << size);
            self.leaves[size] = 0;
        }
    }

    /// Sizes of entries, each with a size of leaves they come from.
    fn classes(&self) -> impl Iterator<Item = (u32, u32)> {
        bits(self.spans)
            .flat_map(|span| bits(self.leaves[span as usize]).map(move |leaf| (span, leaf)))
    }
}

/// Positions of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let lowest = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (lowest < 64).then_some(lowest)
    })
}

/// The cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tlb<V> {
    array: Array<V>,
    populations: [Population; WORLDS],
    /// Entries of older generations of their world are dead.
    generations: [u32; WORLDS],
}

/// A place in a [`Tlb`], valid until it changes.
#[derive(Clone, Copy)]
pub(crate) struct Place(usize);

impl<V: Entry> Tlb<V> {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        Self {
            array: Array::new(geometry),
            populations: [Population::NONE; WORLDS],
            generations: [0; WORLDS],
        }
    }

    /// Whether the entry with this stamp is still at `place`, if its world's entries still live.
    #[inline(always)]
    pub(super) fn still_holds(&self, place: u32, stamp: Stamp) -> bool {
        self.array.holds(place as usize, stamp)
    }

    /// Notes a use of the entry at `place`.
    #[inline(always)]
    pub(super) fn touch(&mut self, place: u32) {
        self.array.touch(place as usize);
    }

    /// Where an entry is and its stamp, for [`super::recent`].
    pub(super) fn locate(&self, place: Place) -> (usize, Stamp) {
        (place.0, self.array.stamp(place.0))
    }

    /// Finds the entry for `input`: of `context`, or of `global` if there is one.
    #[inline(always)]
    pub(crate) fn lookup(
        &mut self,
        context: Context,
        global: Context,
        input: u64,
    ) -> Option<Place> {
        let world = context.world_index();
        let generation = self.generations[world];
        let Population { spans, globals, .. } = self.populations[world];
        let mut found = self.find(context.tagged(generation), spans, input);
        if found.is_none() && globals != 0 {
            found = self.find(global.tagged(generation), spans, input);
        }
        let place = found?;
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
            spans &= spans.wrapping_sub(1);
        }
        None
    }

    #[inline(always)]
    pub(crate) fn value(&self, place: Place) -> &V {
        self.array.value(place.0)
    }

    pub(crate) fn value_mut(&mut self, place: Place) -> &mut V {
        self.array.value_mut(place.0)
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
        if self.is_off() || !context.is_present() {
            return None;
        }
        let world = context.world_index();
        let tag = Tag {
            context: context.tagged(self.generations[world]),
            page: Tag::page_of(input, span_log2.into()),
        };
        // An entry put in over itself may come from another leaf.
        if let Some(place) = self.array.find(tag) {
            self.remove(place);
        }
        let generations = self.generations;
        let evicted = self
            .array
            .insert_new(tag, value, |tag| is_live(generations, tag));
        self.populations[world].came(context, span_log2, value.leaf_log2());
        evicted.map(|(tag, value)| {
            self.uncount(tag);
            describe(tag, &value)
        })
    }

    fn remove(&mut self, place: usize) {
        let tag = self.array.tag(place);
        self.array.remove(place);
        self.uncount(tag);
    }

    fn uncount(&mut self, tag: Tag) {
        let world = Context::of_tag(tag.context).world_index();
        self.populations[world].went(tag);
    }

    /// Removes what the command must remove, and nothing else. Gives the number of entries.
    pub(crate) fn invalidate(&mut self, tlbi: &Tlbi, scope: InvalidationScope) -> u64 {
        if self.is_off() {
            return 0;
        }
        if tlbi.address == TlbiAddress::All && tlbi.asid == AsidScope::Any && tlbi.vmid.is_none() {
            return self.invalidate_worlds(tlbi, scope);
        }
        if tlbi.address == TlbiAddress::All {
            return Context::meant_by(tlbi, scope).map_or(0, |meant| self.invalidate_meant(meant));
        }
        match self.candidates(tlbi, scope) {
            Some(candidates) => self.invalidate_candidates(tlbi, scope, &candidates),
            None => self.invalidate_matching(|tag| tlbi.covers(tag, scope)),
        }
    }

    /// Every entry of the worlds a command is about.
    fn invalidate_worlds(&mut self, tlbi: &Tlbi, scope: InvalidationScope) -> u64 {
        [StreamWorld::El1, StreamWorld::El2, StreamWorld::El2E2h]
            .into_iter()
            .enumerate()
            .filter(|(_, world)| tlbi.covers_world(*world, scope))
            .map(|(world, _)| self.end_generation(world))
            .sum()
    }

    /// Removes every entry of a world by making their generation an old one.
    fn end_generation(&mut self, world: usize) -> u64 {
        let removed = self.populations[world].total();
        if removed == 0 {
            return 0;
        }
        self.populations[world] = Population::NONE;
        self.array.note_dead(removed);
        self.generations[world] += 1;
        if self.generations[world] >> Tag::GENERATION_BITS != 0 {
            // Tags of old generations must not come to life again.
            self.forget_world(world);
            self.generations[world] = 0;
        }
        removed
    }

    /// Every entry of some context, whatever its address.
    fn invalidate_meant(&mut self, meant: Meant) -> u64 {
        let world = meant.world_index();
        let (mask, value) = meant.of_generation(self.generations[world]);
        let count = self.array.count_contexts(mask, value);
        if count == self.populations[world].total() {
            return self.end_generation(world);
        }
        let mut from = 0;
        for _ in 0..count {
            let Some(place) = self.array.find_context(from, mask, value) else {
                break;
            };
            self.remove(place);
            from = place + 1;
        }
        count
    }

    fn forget_world(&mut self, world: usize) {
        for place in 0..self.array.len() {
            let context = Context::of_tag(self.array.tag(place).context);
            if context.is_present() && context.world_index() == world {
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
        let world = contexts.first()?.world_index();
        let generation = self.generations[world];
        let mut tags = Vec::new();
        for (span_log2, leaf_log2) in self.populations[world].classes() {
            let below = (1u64 << leaf_log2) - 1;
            let (start, end) = (first & !below, last | below);
            let pieces = (end - start) >> span_log2;
            if pieces > self.array.len() as u64 {
                return None;
            }
            for piece in 0..=pieces {
                let input = start + (piece << span_log2);
                let page = Tag::page_of(input, span_log2);
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
            if let Some(place) = self.array.find(tag)
                && tlbi.covers(&describe(tag, self.array.value(place)), scope)
            {
                self.remove(place);
                removed += 1;
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
                && is_live(self.generations, tag)
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
            .filter(|(_, tag, _)| is_live(self.generations, *tag))
            .map(|(_, tag, value)| (describe(tag, value), value))
    }
}

fn is_live(generations: [u32; WORLDS], tag: Tag) -> bool {
    let context = Context::of_tag(tag.context);
    let generation = generations[context.world_index()];
    context.is_present() && generation == Context::generation_of_tag(tag.context)
}

/// The tag of an entry that is not in a cache yet.
pub(crate) fn tag_of<V: Entry>(context: Context, input: u64, span_log2: u8, value: &V) -> TlbTag {
    let tag = Tag {
        context: context.tagged(0),
        page: Tag::page_of(input, span_log2.into()),
    };
    describe(tag, value)
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
