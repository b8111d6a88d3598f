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

    /// Equal for equal tags, and for few others.
    #[inline(always)]
    fn mark(self) -> u16 {
        let both = self.page ^ self.context.rotate_left(32);
        (both.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16
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

/// Tells an entry from every other that was ever at its place; 0 is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp(u64);

/// When each entry was put in. Not part of what a cache holds: equal caches hold equal entries.
#[derive(Debug, Clone)]
struct Stamps {
    of: Vec<Stamp>,
    last: Stamp,
}

impl PartialEq for Stamps {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Stamps {}

/// At least as many places as hold no live entry; 0 if every place holds one. A bound, not part of
/// what a cache holds.
#[derive(Debug, Clone, Copy)]
struct Free(u64);

impl PartialEq for Free {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Free {}

/// Ways from which on a set is searched by marks.
const MARKED_WAYS: usize = 16;
/// Marks that are compared at once.
const CHUNK: usize = 8;

/// Tags and values side by side, set after set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Array<V> {
    geometry: Geometry,
    sets_log2: u32,
    ways: usize,
    tags: Vec<Tag>,
    /// 16 bits of a hash of each tag, where sets are large: most places are passed over by them.
    marks: Vec<u16>,
    free: Free,
    values: Vec<V>,
    stamps: Stamps,
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
            marks: if ways >= MARKED_WAYS {
                vec![Tag::NONE.mark(); sets * ways]
            } else {
                Vec::new()
            },
            free: Free((sets * ways) as u64),
            values: vec![V::default(); sets * ways],
            stamps: Stamps {
                of: vec![Stamp::default(); sets * ways],
                last: Stamp::default(),
            },
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
        if self.ways >= MARKED_WAYS {
            return self.find_marked(start, tag);
        }
        let set = self.tags.get(start..start.wrapping_add(self.ways))?;
        let way = set.iter().position(|other| other.is(tag))?;
        Some(start.wrapping_add(way))
    }

    /// The same in the large set from place `start` on.
    fn find_marked(&self, start: usize, tag: Tag) -> Option<usize> {
        let end = start.wrapping_add(self.ways);
        let tags = self.tags.get(start..end)?;
        let (chunks, rest) = self.marks.get(start..end)?.as_chunks::<CHUNK>();
        let mark = tag.mark();
        let mut first = 0;
        for chunk in chunks {
            // Without an early end, so that few instructions compare all.
            let same = |any, other: &u16| any | u16::from(*other == mark);
            if chunk.iter().fold(0, same) != 0 {
                let tags = &tags[first..][..CHUNK];
                if let Some(way) = tags.iter().position(|other| other.is(tag)) {
                    return Some(start.wrapping_add(first + way));
                }
            }
            first += CHUNK;
        }
        if rest.is_empty() {
            return None;
        }
        let way = tags[first..].iter().position(|other| other.is(tag))?;
        Some(start.wrapping_add(first + way))
    }

    /// Notes that the entry at `place` was used.
    #[inline(always)]
    pub(super) fn touch(&mut self, place: usize) {
        if self.learns_uses {
            self.victims.touch(place, self.ways);
        }
    }

    /// Whether the entry at `place` is the one that was put there with this stamp.
    #[inline(always)]
    pub(super) fn holds(&self, place: usize, stamp: Stamp) -> bool {
        self.stamps.of.get(place) == Some(&stamp)
    }

    /// The stamp of the entry at `place`.
    pub(super) fn stamp(&self, place: usize) -> Stamp {
        self.stamps.of[place]
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
        if let Some(mark) = self.marks.get_mut(place) {
            *mark = Tag::NONE.mark();
        }
        self.stamps.of[place] = Stamp::default();
        self.free.0 += 1;
    }

    /// Notes that `count` entries are no longer live.
    pub(super) fn note_dead(&mut self, count: u64) {
        self.free.0 += count;
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
        if let Some(place) = self.find(tag) {
            self.put(place, tag, value);
            return None;
        }
        self.insert_new(tag, value, live)
    }

    /// The same if it is known that no place has the tag.
    pub(super) fn insert_new(
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
            if self.free.0 != 0
                && let Some(way) = self.tags[start..][..self.ways]
                    .iter()
                    .position(|&tag| !live(tag))
            {
                self.free.0 -= 1;
                self.put(start + way, tag, value);
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
        if let Some(mark) = self.marks.get_mut(place) {
            *mark = tag.mark();
        }
        self.values[place] = value;
        self.stamps.last.0 += 1;
        self.stamps.of[place] = self.stamps.last;
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
        bigger.stamps.last = self.stamps.last;
        for (_, tag, value) in self.iter().filter(|(_, tag, _)| live(*tag)) {
            let start = bigger.set_of(tag) * bigger.ways;
            let place = (start..start + bigger.ways).find(|&p| bigger.tags[p] == Tag::NONE)?;
            bigger.free.0 -= 1;
            bigger.put(place, tag, *value);
        }
        Some(bigger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round robin in one set: the tag's own place, else the first that is free, else the next victim.
    #[derive(Default)]
    struct Model {
        places: Vec<Option<(Tag, u32)>>,
        next: usize,
    }

    impl Model {
        fn insert(&mut self, tag: Tag, value: u32) -> Option<(Tag, u32)> {
            let holds = |place: &Option<(Tag, u32)>| place.is_some_and(|(other, _)| other == tag);
            let same = self.places.iter().position(holds);
            let free = self.places.iter().position(Option::is_none);
            let place = same.or(free).unwrap_or_else(|| {
                let victim = self.next;
                self.next = (victim + 1) % self.places.len();
                victim
            });
            let before = self.places[place].replace((tag, value));
            before.filter(|_| same.is_none())
        }
    }

    #[test]
    fn sets_of_any_size_hold_and_give_up_what_a_list_would() {
        // Below, at and above the size from which marks are compared, and beside whole chunks.
        for ways in [1, 4, 15, 16, 20, 32, 41] {
            let mut array = Array::new(&Geometry::new(ways, 0, Replacement::RoundRobin));
            let mut model = Model {
                places: vec![None; ways as usize],
                next: 0,
            };
            let mut random = 1u64;
            for value in 0..20_000u32 {
                random = random
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                let number = (random >> 33) % (3 * u64::from(ways) / 2 + 1);
                let tag = Tag {
                    context: 1 << 37 | number & 3,
                    page: Tag::page_of(number << 12, 12),
                };
                let held = model
                    .places
                    .iter()
                    .position(|place| place.is_some_and(|(other, _)| other == tag));
                assert_eq!(array.find(tag), held, "{ways}");
                if let Some(place) = held
                    && random >> 60 < 4
                {
                    array.remove(place);
                    model.places[place] = None;
                    continue;
                }
                let evicted = array.insert(tag, value, |tag| tag != Tag::NONE);
                assert_eq!(evicted, model.insert(tag, value), "{ways}");
            }
        }
    }
}
