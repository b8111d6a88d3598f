//! A set-associative array of tagged entries.

use super::config::{GROWTH_LIMIT, Geometry, Indexing, Replacement};
use super::replace::Victims;

/// What an entry is known by. A tag of zeros is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tag {
    /// Whose translation, and that it is one: never zero in an entry.
    pub(super) context: u64,
    /// First address, whose low bits hold the log2 of the size.
    pub(super) page: u64,
}

impl Tag {
    /// No entry.
    pub(super) const NONE: Self = Self {
        context: 0,
        page: 0,
    };

    /// Bits of `page` that are the size.
    const SIZE: u64 = 0x3f;

    /// Top bits of `context` that tell generations apart, not translations.
    pub(super) const GENERATION_BITS: u32 = 26;

    /// Equality in one comparison, without a branch between its halves.
    #[inline(always)]
    fn is(self, other: Self) -> bool {
        (self.page ^ other.page) | (self.context ^ other.context) == 0
    }

    #[inline(always)]
    pub(super) fn page_of(input: u64, span_log2: u32) -> u64 {
        let below = 1u64.wrapping_shl(span_log2).wrapping_sub(1);
        input & !below | u64::from(span_log2)
    }

    /// log2 of the entry's size.
    pub(super) fn span_log2(self) -> u32 {
        (self.page & Self::SIZE) as u32
    }

    /// First address.
    pub(super) fn first(self) -> u64 {
        self.page & !Self::SIZE
    }
}

/// Tags and values side by side, set after set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Array<V> {
    geometry: Geometry,
    sets_log2: u32,
    ways: usize,
    tags: Vec<Tag>,
    values: Vec<V>,
    victims: Victims,
    /// Whether the victim depends on what was used.
    learns_uses: bool,
}

impl<V: Copy + Default> Array<V> {
    pub(super) fn new(geometry: &Geometry) -> Self {
        let ways = geometry.set_size() as usize;
        let sets = (geometry.entries as usize).checked_div(ways).unwrap_or(0);
        Self {
            geometry: *geometry,
            sets_log2: sets.checked_ilog2().unwrap_or(0),
            ways,
            tags: vec![Tag::NONE; sets * ways],
            values: vec![V::default(); sets * ways],
            victims: Victims::new(geometry, sets, ways),
            learns_uses: matches!(
                geometry.replacement,
                Replacement::Lru | Replacement::PseudoLru
            ),
        }
    }

    #[inline(always)]
    pub(super) fn is_off(&self) -> bool {
        self.ways == 0
    }

    /// Number of places.
    pub(super) fn len(&self) -> usize {
        self.tags.len()
    }

    #[inline(always)]
    fn set_of(&self, tag: Tag) -> usize {
        match self.geometry.indexing {
            Indexing::Hashed => {
                // Multiplication carries every bit to the top. Two shifts, so that a single set is
                // no shift by 64.
                let identity = tag.context << Tag::GENERATION_BITS;
                let hash = (tag.page ^ tag.page >> 32 ^ identity.swap_bytes())
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (hash >> 1).wrapping_shr(63u32.wrapping_sub(self.sets_log2)) as usize
            }
            Indexing::LowBits => {
                // Tags of no size have their number above the bits of a size.
                let number = tag.page >> tag.span_log2().max(Tag::SIZE.count_ones());
                (number & ((1 << self.sets_log2) - 1)) as usize
            }
        }
    }

    /// The place of the entry with this tag.
    #[inline(always)]
    pub(super) fn find(&self, tag: Tag) -> Option<usize> {
        if self.is_off() {
            return None;
        }
        let start = self.set_of(tag).wrapping_mul(self.ways);
        let set = self.tags.get(start..start.wrapping_add(self.ways))?;
        let way = set.iter().position(|other| other.is(tag))?;
        Some(start.wrapping_add(way))
    }

    /// Notes that the entry at `place` was used.
    #[inline(always)]
    pub(super) fn touch(&mut self, place: usize) {
        if self.learns_uses {
            self.victims.touch(place, self.ways);
        }
    }

    /// Whether `tag` is at `place`.
    #[inline(always)]
    pub(super) fn holds(&self, place: usize, tag: Tag) -> bool {
        self.tags.get(place).is_some_and(|other| other.is(tag))
    }

    #[inline(always)]
    pub(super) fn tag(&self, place: usize) -> Tag {
        self.tags[place]
    }

    #[inline(always)]
    pub(super) fn value(&self, place: usize) -> &V {
        &self.values[place]
    }

    pub(super) fn value_mut(&mut self, place: usize) -> &mut V {
        &mut self.values[place]
    }

    /// Forgets the entry at `place`.
    pub(super) fn remove(&mut self, place: usize) {
        self.tags[place] = Tag::NONE;
    }

    /// Number of entries whose context has `value` in the bits of `mask`.
    pub(super) fn count_contexts(&self, mask: u64, value: u64) -> u64 {
        let meant = self.tags.iter().filter(|tag| tag.context & mask == value);
        meant.count() as u64
    }

    /// The first place from `from` on whose context has `value` in the bits of `mask`.
    pub(super) fn find_context(&self, from: usize, mask: u64, value: u64) -> Option<usize> {
        let rest = self.tags.get(from..)?;
        let found = rest.iter().position(|tag| tag.context & mask == value);
        found.map(|place| from + place)
    }

    /// Every entry, with its place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Tag, &V)> {
        let entries = self.tags.iter().zip(&self.values).enumerate();
        entries.map(|(place, (&tag, value))| (place, tag, value))
    }

    /// Puts an entry in, over the one with the same tag if there is one. Gives back the live entry
    /// that had to leave. Entries that are not `live` are free places.
    pub(super) fn insert(
        &mut self,
        tag: Tag,
        value: V,
        live: impl Fn(Tag) -> bool,
    ) -> Option<(Tag, V)> {
        if self.is_off() {
            return None;
        }
        loop {
            let set = self.set_of(tag);
            let start = set * self.ways;
            let places = start..start + self.ways;
            let same = places.clone().find(|&place| self.tags[place] == tag);
            let free = || places.clone().find(|&place| !live(self.tags[place]));
            if let Some(place) = same.or_else(free) {
                self.put(place, tag, value);
                return None;
            }
            if self.grows() && self.grow(&live) {
                continue;
            }
            let place = start + self.victims.choose(set, self.ways);
            let evicted = (self.tags[place], self.values[place]);
            self.put(place, tag, value);
            return Some(evicted);
        }
    }

    fn put(&mut self, place: usize, tag: Tag, value: V) {
        self.tags[place] = tag;
        self.values[place] = value;
        self.touch(place);
    }

    fn grows(&self) -> bool {
        self.geometry.replacement == Replacement::Infinite && self.len() < GROWTH_LIMIT as usize
    }

    /// Doubles the sets until every entry fits; false if that would be too many.
    fn grow(&mut self, live: &impl Fn(Tag) -> bool) -> bool {
        let mut geometry = self.geometry;
        while geometry.entries < GROWTH_LIMIT {
            geometry.entries *= 2;
            if let Some(bigger) = self.resized(&geometry, live) {
                *self = bigger;
                return true;
            }
        }
        false
    }

    /// The live entries in an array of another size; `None` if some set is too small for them.
    fn resized(&self, geometry: &Geometry, live: &impl Fn(Tag) -> bool) -> Option<Self> {
        let mut bigger = Self::new(geometry);
        for (_, tag, value) in self.iter().filter(|(_, tag, _)| live(*tag)) {
            let start = bigger.set_of(tag) * bigger.ways;
            let place = (start..start + bigger.ways).find(|&p| bigger.tags[p] == Tag::NONE)?;
            bigger.put(place, tag, *value);
        }
        Some(bigger)
    }
}
