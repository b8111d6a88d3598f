//! The cache of STEs alone, by StreamID. It is asked when the configuration cache has no entry for a
//! (StreamID, SubstreamID): one STE serves all substreams of its stream, and commands about CDs
//! leave it where it is.

use super::array::{Array, Tag};
use super::config::Geometry;
use crate::command::Command;
use crate::fault::IllegalSte;
use crate::fetch::StreamContext;
use crate::ids::StreamId;

/// An STE, checked and resolved, legal or not.
pub(crate) type Ste = Result<StreamContext, IllegalSte>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held(Ste);

impl Default for Held {
    fn default() -> Self {
        Self(Err(IllegalSte::NotValid))
    }
}

/// The cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SteCache {
    array: Array<Held>,
}

/// Marks a tag as one.
const PRESENT: u64 = 1 << 36;
/// Where a StreamID is, above the 6 bits that the array keeps for sizes.
const STREAM_LSB: u32 = 6;

fn tag(stream: StreamId) -> Tag {
    Tag {
        context: PRESENT,
        page: u64::from(stream.get()) << STREAM_LSB,
    }
}

fn stream_of(tag: Tag) -> StreamId {
    StreamId::new((tag.page >> STREAM_LSB) as u32)
}

impl SteCache {
    pub(super) fn new(geometry: &Geometry) -> Self {
        Self {
            array: Array::new(geometry),
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.array.is_off()
    }

    /// The STE of a stream.
    pub(crate) fn lookup(&mut self, stream: StreamId) -> Option<&Ste> {
        let place = self.array.find(tag(stream))?;
        self.array.touch(place);
        Some(&self.array.value(place).0)
    }

    /// Remembers an STE. Gives back whose had to leave.
    pub(crate) fn insert(&mut self, stream: StreamId, ste: &Ste) -> Option<StreamId> {
        let evicted = self
            .array
            .insert(tag(stream), Held(*ste), |tag| tag != Tag::NONE);
        evicted.map(|(tag, _)| stream_of(tag))
    }

    /// Removes what a `CMD_CFGI_*` names.
    pub(super) fn invalidate(&mut self, command: &Command) -> u64 {
        let mut removed = 0;
        for place in 0..self.array.len() {
            let tag = self.array.tag(place);
            if tag != Tag::NONE && command.covers_ste(stream_of(tag)) {
                self.array.remove(place);
                removed += 1;
            }
        }
        removed
    }

    /// Every STE, set after set.
    pub(super) fn entries(&self) -> impl Iterator<Item = (StreamId, &Ste)> {
        let entries = self.array.iter().filter(|(_, tag, _)| *tag != Tag::NONE);
        entries.map(|(_, tag, held)| (stream_of(tag), &held.0))
    }
}
