//! A device's address translation cache as an array of entries, for the timed machine. What it must
//! hold and forget is what [`crate::ats::Atc`] holds and forgets; which entry makes room is its own.

use super::array::{Array, Tag};
use super::config::Geometry;
use crate::ats::AtsTranslation;
use crate::command::AtcInvalidation;
use crate::ids::SubstreamId;

/// The cache of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AtcArray {
    array: Array<Option<AtsTranslation>>,
    /// Entries by log2 of their size.
    counts: [u32; 64],
    /// Bit n: there are entries of 2^n bytes.
    sizes: u64,
}

/// A tag's context: never 0.
fn context(substream: Option<SubstreamId>) -> u64 {
    substream.map_or(1, |id| 2 + u64::from(id.get()))
}

fn substream(tag: Tag) -> Option<SubstreamId> {
    (tag.context != 1).then(|| SubstreamId::new((tag.context - 2) as u32))
}

impl AtcArray {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        Self {
            array: Array::new(geometry),
            counts: [0; 64],
            sizes: 0,
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.array.is_off()
    }

    /// The translation held for `input`.
    pub(crate) fn lookup(
        &mut self,
        substream: Option<SubstreamId>,
        input: u64,
    ) -> Option<AtsTranslation> {
        let context = context(substream);
        let mut sizes = self.sizes;
        while sizes != 0 {
            let page = Tag::page_of(input, sizes.trailing_zeros());
            if let Some(place) = self.array.find(Tag { context, page }) {
                self.array.touch(place);
                return *self.array.value(place);
            }
            sizes &= sizes.wrapping_sub(1);
        }
        None
    }

    /// Remembers a translation of `input`, unless it grants nothing. Entries of one PASID do not
    /// overlap.
    pub(crate) fn insert(
        &mut self,
        substream: Option<SubstreamId>,
        input: u64,
        translation: AtsTranslation,
    ) {
        if self.is_off() || !translation.grants() {
            return;
        }
        let size = u32::from(translation.size_log2);
        let own = context(substream);
        self.remove(|tag| {
            tag.context == own && (tag.first() ^ input) >> size.max(tag.span_log2()) == 0
        });
        let tag = Tag {
            context: own,
            page: Tag::page_of(input, size),
        };
        let evicted = self
            .array
            .insert(tag, Some(translation), |tag| tag != Tag::NONE);
        if let Some((tag, _)) = evicted {
            self.went(tag);
        }
        self.counts[size as usize] += 1;
        self.sizes |= 1 << size;
    }

    /// Forgets what an invalidation names: all PASIDs if it is global, entries of any size that meet
    /// its range. Gives the number of entries.
    pub(crate) fn invalidate(&mut self, invalidation: &AtcInvalidation) -> u64 {
        self.remove(|tag| invalidation.meets(substream(tag), tag.first(), tag.span_log2() as u8))
    }

    fn remove(&mut self, meant: impl Fn(Tag) -> bool) -> u64 {
        if self.sizes == 0 {
            return 0;
        }
        let mut removed = 0;
        for place in 0..self.array.len() {
            let tag = self.array.tag(place);
            if tag != Tag::NONE && meant(tag) {
                self.array.remove(place);
                self.went(tag);
                removed += 1;
            }
        }
        removed
    }

    fn went(&mut self, tag: Tag) {
        let size = tag.span_log2() as usize;
        self.counts[size] -= 1;
        if self.counts[size] == 0 {
            self.sizes &= !(1 << size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ats::Atc;
    use crate::cache::Replacement;
    use crate::ids::StreamId;

    /// PCIe ATS §3: both caches of an endpoint hold and forget the same, as long as nothing has to
    /// make room.
    #[test]
    fn the_array_holds_and_forgets_what_the_functional_cache_does() {
        let stream = StreamId::new(7);
        let mut functional = Atc::new(stream, 1 << 12);
        let geometry = Geometry::new(1 << 12, 0, Replacement::Lru);
        let mut array = AtcArray::new(&geometry);
        let mut random = 1u64;
        let mut next = move |below: u64| {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        for _ in 0..20_000 {
            let substream =
                [None, Some(SubstreamId::new(0)), Some(SubstreamId::new(1))][next(3) as usize];
            let input = next(1 << 12) << 12 | next(1 << 12);
            let size_log2 = [12, 12, 14, 16, 21][next(5) as usize];
            match next(4) {
                0 => {
                    // As commands are decoded: aligned to the size, of which 64 is everything.
                    let (address, size_log2) = match next(200) {
                        0 => (0, 64),
                        _ => (input >> size_log2 << size_log2, size_log2),
                    };
                    let invalidation = AtcInvalidation {
                        stream,
                        substream,
                        global: next(8) == 0,
                        address,
                        size_log2,
                    };
                    let forgotten = functional.invalidate(&invalidation);
                    assert_eq!(array.invalidate(&invalidation), forgotten as u64);
                }
                1 | 2 => {
                    let translation = AtsTranslation {
                        address: next(1 << 20) << size_log2,
                        size_log2,
                        read: next(4) != 0,
                        write: next(2) != 0,
                        execute: false,
                        privileged: false,
                    };
                    functional.insert(substream, input, translation);
                    array.insert(substream, input, translation);
                }
                _ => {
                    let held = functional.lookup(substream, input);
                    let held = held.map(|entry| entry.translation);
                    assert_eq!(array.lookup(substream, input), held);
                }
            }
            assert_eq!(
                u64::from(array.counts.iter().sum::<u32>()),
                functional.len() as u64
            );
        }
    }
}
