//! The configuration cache: one entry holds what STE and CD mean for a (StreamID, SubstreamID).

use super::array::{Array, Tag};
use super::config::Geometry;
use super::context::Context;
use crate::command::Command;
use crate::fault::{IllegalCd, IllegalSte};
use crate::fetch::{Stage1Use, StreamContext};
use crate::ids::{StreamId, SubstreamId};

/// STE and CD, checked and resolved, legal or not, and what their translations are tagged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConfigurationEntry {
    /// The STE.
    pub(crate) stream: Result<StreamContext, IllegalSte>,
    /// The CD.
    pub(crate) stage1: Result<Stage1Use, IllegalCd>,
    /// Non-global translations by VA.
    pub(crate) context: Context,
    /// Global ones.
    pub(crate) global: Context,
    /// Translations by IPA.
    pub(crate) stage2: Context,
}

impl Default for ConfigurationEntry {
    fn default() -> Self {
        Self {
            stream: Err(IllegalSte::NotValid),
            stage1: Ok(Stage1Use::Off),
            context: Context::default(),
            global: Context::default(),
            stage2: Context::default(),
        }
    }
}

impl ConfigurationEntry {
    /// An illegal STE.
    pub(crate) fn illegal(illegal: IllegalSte) -> Self {
        Self {
            stream: Err(illegal),
            ..Self::default()
        }
    }

    /// A legal STE, with what its CD says.
    pub(crate) fn new(stream: StreamContext, stage1: Result<Stage1Use, IllegalCd>) -> Self {
        let (world, vmid) = (stream.world, stream.vmid);
        let (context, global) = match &stage1 {
            Ok(Stage1Use::Translates(s1)) => {
                let global = Context::global(world, vmid, s1.regime.has_unprivileged && s1.aset);
                let context = if s1.regime.has_unprivileged {
                    Context::stage1(world, vmid, s1.asid)
                } else {
                    // Any-EL2 has no ASIDs: all its translations are global.
                    global
                };
                (context, global)
            }
            _ => (Context::default(), Context::default()),
        };
        let stage2 = match &stream.s2 {
            Some(s2) => Context::stage2(s2.vmid),
            None => Context::default(),
        };
        Self {
            stream: Ok(stream),
            stage1,
            context,
            global,
            stage2,
        }
    }
}

/// The cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigurationCache {
    array: Array<ConfigurationEntry>,
}

/// Marks a tag as one.
const PRESENT: u64 = 1 << 36;
/// SSV, above the 20 bits of a SubstreamID and the 6 that the array keeps for sizes.
const SSV: u64 = 1 << 26;
const SUBSTREAM_LSB: u32 = 6;

#[inline(always)]
fn tag(stream: StreamId, substream: Option<SubstreamId>) -> Tag {
    Tag {
        context: PRESENT | u64::from(stream.get()),
        page: substream.map_or(0, |id| SSV | u64::from(id.get()) << SUBSTREAM_LSB),
    }
}

fn stream_of(tag: Tag) -> StreamId {
    StreamId::new(tag.context as u32)
}

fn substream_of(tag: Tag) -> Option<SubstreamId> {
    let id = (tag.page & (SSV - 1)) >> SUBSTREAM_LSB;
    (tag.page & SSV != 0).then(|| SubstreamId::new(id as u32))
}

impl ConfigurationCache {
    pub(super) fn new(geometry: &Geometry) -> Self {
        Self {
            array: Array::new(geometry),
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.array.is_off()
    }

    /// The entry for a stream and substream.
    #[inline(always)]
    pub(crate) fn lookup(
        &mut self,
        stream: StreamId,
        substream: Option<SubstreamId>,
    ) -> Option<&ConfigurationEntry> {
        // A SubstreamID wider than any part's would look like another.
        if substream.is_some_and(|id| id.get() >> 20 != 0) {
            return None;
        }
        let place = self.array.find(tag(stream, substream))?;
        self.array.touch(place);
        Some(self.array.value(place))
    }

    /// Remembers an entry. Gives back whose entry had to leave.
    pub(crate) fn insert(
        &mut self,
        stream: StreamId,
        substream: Option<SubstreamId>,
        entry: ConfigurationEntry,
    ) -> Option<(StreamId, Option<SubstreamId>)> {
        let evicted = self
            .array
            .insert(tag(stream, substream), entry, |tag| tag != Tag::NONE);
        evicted.map(|(tag, _)| (stream_of(tag), substream_of(tag)))
    }

    /// Removes what a `CMD_CFGI_*` names. A transaction without a SubstreamID uses CD 0.
    pub(super) fn invalidate(&mut self, command: &Command) -> u64 {
        let mut removed = 0;
        for place in 0..self.array.len() {
            let tag = self.array.tag(place);
            if tag == Tag::NONE {
                continue;
            }
            let index = substream_of(tag).unwrap_or(SubstreamId::new(0));
            if command.covers_cd(stream_of(tag), index) {
                self.array.remove(place);
                removed += 1;
            }
        }
        removed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, Option<SubstreamId>)> + '_ {
        self.array
            .iter()
            .filter(|(_, tag, _)| *tag != Tag::NONE)
            .map(|(_, tag, _)| (stream_of(tag), substream_of(tag)))
    }
}
