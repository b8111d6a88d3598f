//! The configuration cache: one entry holds what STE and CD mean for a (StreamID, SubstreamID).

use super::array::{Array, Tag};
use super::config::Geometry;
use super::context::Context;
use crate::attr::Overrides;
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
    /// How plain hits are found.
    pub(crate) shortcut: Shortcut,
}

/// By what translations of a stream are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum By {
    /// Nothing: no stage translates, or the STE changes what a transaction asks for.
    #[default]
    Nothing,
    /// VA, without a stage 2.
    Va,
    /// VA, with a stage 2.
    NestedVa,
    /// IPA.
    Ipa,
}

/// What a hit needs of an STE and CD that leave transactions as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shortcut {
    pub(crate) by: By,
    /// TBI of each half.
    pub(crate) tbi: [bool; 2],
    /// Whether any access may use the half: neither EPD nor E0PD.
    pub(crate) open: [bool; 2],
}

impl Shortcut {
    fn new(stream: &StreamContext, stage1: &Result<Stage1Use, IllegalCd>) -> Self {
        let alters = stream.overrides != Overrides::default()
            || stream.privcfg.is_some()
            || stream.instcfg.is_some();
        match stage1 {
            _ if alters => Self::default(),
            Ok(Stage1Use::Translates(s1)) => Self {
                by: if stream.s2.is_some() {
                    By::NestedVa
                } else {
                    By::Va
                },
                tbi: s1.halves.map(|half| half.tbi),
                open: s1.halves.map(|half| half.tables.is_some() && !half.e0pd),
            },
            Ok(Stage1Use::Off | Stage1Use::Bypassed) if stream.s2.is_some() => Self {
                by: By::Ipa,
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

impl Default for ConfigurationEntry {
    fn default() -> Self {
        Self {
            stream: Err(IllegalSte::NotValid),
            stage1: Ok(Stage1Use::Off),
            context: Context::default(),
            global: Context::default(),
            stage2: Context::default(),
            shortcut: Shortcut::default(),
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
            shortcut: Shortcut::new(&stream, &stage1),
            stream: Ok(stream),
            stage1,
            context,
            global,
            stage2,
        }
    }

    /// Whether a CD is part of it.
    fn has_cd(&self) -> bool {
        matches!(self.stage1, Ok(Stage1Use::Translates(_)) | Err(_))
    }
}

/// The cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigurationCache {
    array: Array<ConfigurationEntry>,
}

/// Marks a tag as one.
const PRESENT: u64 = 1 << 36;
/// Where a StreamID is, above the 6 bits that the array keeps for sizes.
const STREAM_LSB: u32 = 6;
/// Where a SubstreamID is: 20 bits.
const SUBSTREAM_LSB: u32 = 38;
const SSV: u64 = 1 << 58;

/// All of it in `page`, StreamID lowest: it chooses the set.
#[inline(always)]
fn tag(stream: StreamId, substream: Option<SubstreamId>) -> Tag {
    let substream = substream.map_or(0, |id| SSV | u64::from(id.get()) << SUBSTREAM_LSB);
    Tag {
        context: PRESENT,
        page: u64::from(stream.get()) << STREAM_LSB | substream,
    }
}

fn stream_of(tag: Tag) -> StreamId {
    StreamId::new((tag.page >> STREAM_LSB) as u32)
}

fn substream_of(tag: Tag) -> Option<SubstreamId> {
    let id = (tag.page & (SSV - 1)) >> SUBSTREAM_LSB;
    (tag.page & SSV != 0).then(|| SubstreamId::new(id as u32))
}

/// A SubstreamID wider than any part's would look like another.
#[inline(always)]
fn is_too_wide(substream: Option<SubstreamId>) -> bool {
    substream.is_some_and(|id| id.get() >> 20 != 0)
}

impl ConfigurationCache {
    pub(crate) fn new(geometry: &Geometry) -> Self {
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
        if is_too_wide(substream) {
            return None;
        }
        let place = self.array.find(tag(stream, substream))?;
        self.array.touch(place);
        Some(self.array.value(place))
    }

    /// The place of the entry for a stream and substream.
    pub(super) fn locate(&self, stream: StreamId, substream: Option<SubstreamId>) -> Option<usize> {
        self.array.find(tag(stream, substream))
    }

    /// Notes a use of the entry at `place`.
    #[inline(always)]
    pub(super) fn touch(&mut self, place: u32) {
        self.array.touch(place as usize);
    }

    /// Remembers an entry. Gives back whose entry had to leave.
    #[expect(
        clippy::large_types_passed_by_value,
        reason = "it moves into its place"
    )]
    pub(crate) fn insert(
        &mut self,
        stream: StreamId,
        substream: Option<SubstreamId>,
        entry: ConfigurationEntry,
    ) -> Option<(StreamId, Option<SubstreamId>)> {
        if is_too_wide(substream) {
            return None;
        }
        let evicted = self
            .array
            .insert(tag(stream, substream), entry, |tag| tag != Tag::NONE);
        evicted.map(|(tag, _)| (stream_of(tag), substream_of(tag)))
    }

    /// Removes what a `CMD_CFGI_*` names. A transaction without a SubstreamID uses CD 0.
    pub(crate) fn invalidate(&mut self, command: &Command) -> u64 {
        let mut removed = 0;
        for place in 0..self.array.len() {
            let tag = self.array.tag(place);
            if tag == Tag::NONE {
                continue;
            }
            let index = substream_of(tag).unwrap_or(SubstreamId::new(0));
            let covered = if self.array.value(place).has_cd() {
                command.covers_cd(stream_of(tag), index)
            } else {
                command.covers_ste(stream_of(tag))
            };
            if covered {
                self.array.remove(place);
                removed += 1;
            }
        }
        removed
    }

    /// Every entry, set after set.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (StreamId, Option<SubstreamId>, &ConfigurationEntry)> {
        let entries = self.array.iter().filter(|(_, tag, _)| *tag != Tag::NONE);
        entries.map(|(_, tag, entry)| (stream_of(tag), substream_of(tag), entry))
    }
}
