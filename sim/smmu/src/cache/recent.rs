//! Recent hits: where in the caches the last hit of a page was. A hit found here is the hit the
//! caches would have found, with the look-ups left out; nothing is remembered that they forget.

use super::array::Stamp;
use super::entry::Granted;
use crate::addr::Pa;
use crate::attr::Attributes;
use crate::ids::{StreamId, SubstreamId};
use crate::transaction::Path;

/// Slots: a power of two, small enough to stay in the host's second-level cache.
const SLOTS: usize = 1 << 12;
/// Entries are at least as large, and aligned to their size.
const PAGE_LOG2: u32 = 12;

/// Which TLB holds a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Held {
    /// The TLB looked up by VA.
    #[default]
    ByVa,
    /// The TLB looked up by IPA.
    ByIpa,
}

/// A hit: whose, where it was found, and what it gave. One line of the host's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(align(64))]
pub(crate) struct Slot {
    page: u64,
    who: u64,
    /// Of the hit; older ones are void.
    epoch: u32,
    pub(super) held: Held,
    /// Place in the TLB.
    pub(super) place: u32,
    /// Place in the configuration cache.
    pub(super) configuration: u32,
    /// Of the entry that must still be at `place`.
    pub(super) stamp: Stamp,
    /// First physical address of the 4 KiB page.
    output: u64,
    /// log2 of the smaller of the leaves' blocks or pages.
    pub(crate) span_log2: u8,
    /// Attributes for a transaction with the default ones.
    pub(crate) attributes: Attributes,
    /// What has been let through.
    pub(crate) granted: Granted,
    /// Which stages made the address.
    pub(crate) path: Path,
}

impl Slot {
    /// The physical address of `input`.
    #[inline(always)]
    pub(crate) fn pa(&self, input: u64) -> Pa {
        Pa::new(self.output | input & ((1 << PAGE_LOG2) - 1))
    }
}

/// What a hit gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) pa: Pa,
    pub(crate) span_log2: u8,
    pub(crate) attributes: Attributes,
    pub(crate) granted: Granted,
    pub(crate) path: Path,
}

/// The slots, in pairs: a hit is in the one its address names, or in that one's neighbour. Not part
/// of what the caches hold: equal caches hold equal entries.
#[derive(Debug, Clone)]
pub(super) struct Recent {
    /// Empty if there is nothing to hit.
    slots: Vec<Slot>,
    epoch: u32,
}

impl PartialEq for Recent {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Recent {}

#[inline(always)]
fn who(stream: StreamId, substream: Option<SubstreamId>) -> u64 {
    const SSV: u64 = 1 << 63;
    let substream = substream.map_or(0, |id| SSV | u64::from(id.get()) << 32);
    u64::from(stream.get()) | substream
}

#[inline(always)]
fn index(page: u64, who: u64) -> usize {
    // Neighbouring pages get neighbouring slots; streams are spread.
    let spread = who.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
    (page ^ page >> 12 ^ spread) as usize & (SLOTS - 1)
}

impl Recent {
    pub(super) fn new(holds_nothing: bool) -> Self {
        Self {
            slots: if holds_nothing {
                Vec::new()
            } else {
                vec![Slot::default(); SLOTS]
            },
            epoch: 1,
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // Slots of the first epoch must not come to life again.
            self.slots.fill(Slot::default());
            self.epoch = 1;
        }
    }

    /// The last hit of this page, if nothing has been forgotten since.
    #[inline(always)]
    pub(super) fn find(
        &self,
        stream: StreamId,
        substream: Option<SubstreamId>,
        input: u64,
    ) -> Option<&Slot> {
        let (page, who) = (input >> PAGE_LOG2, who(stream, substream));
        let index = index(page, who);
        let is = |slot: &&Slot| {
            (slot.page ^ page) | (slot.who ^ who) | u64::from(slot.epoch ^ self.epoch) == 0
        };
        let slot = self.slots.get(index).filter(is);
        slot.or_else(|| self.slots.get(index ^ 1).filter(is))
    }

    /// Remembers a hit.
    pub(super) fn note(
        &mut self,
        (stream, substream, input): (StreamId, Option<SubstreamId>, u64),
        (configuration, place): (usize, usize),
        held: Held,
        stamp: Stamp,
        given: &Given,
    ) {
        let (page, who) = (input >> PAGE_LOG2, who(stream, substream));
        let (epoch, index) = (self.epoch, index(page, who));
        let Some(&before) = self.slots.get(index) else {
            return;
        };
        let is_another = before.epoch == epoch && (before.page, before.who) != (page, who);
        if is_another {
            self.slots[index ^ 1] = before;
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Slot {
                page,
                who,
                epoch,
                held,
                place: place as u32,
                configuration: configuration as u32,
                stamp,
                output: given.pa.align_down(PAGE_LOG2).get(),
                span_log2: given.span_log2,
                attributes: given.attributes,
                granted: given.granted,
                path: given.path,
            };
        }
    }
}
