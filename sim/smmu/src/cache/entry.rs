//! What the caches hold: translations and tables as walks found them.

use super::tlb::Entry;
use crate::addr::{Ipa, Pa};
use crate::attr::{Attributes, Stage2Attributes};
use crate::command::EntryKind;
use crate::perm::Request;
use crate::transaction::{AccessKind, InstructionOrData, Privilege};
use crate::walk::Stage2Leaf;

/// Stage 1 of a translation, as its leaf descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stage1Part {
    /// The leaf descriptor.
    pub(crate) descriptor: u64,
    /// Hierarchical restrictions of the Table descriptors passed.
    pub(crate) hierarchical: u64,
    /// Level of the leaf.
    pub(crate) level: i8,
    /// log2 of the leaf's block or page, or of its contiguous region.
    pub(crate) leaf_log2: u8,
    /// log2 of the granule.
    pub(crate) granule_log2: u8,
    /// Memory attributes of the page.
    pub(crate) attributes: Attributes,
}

/// Stage 2 of a translation, as its leaf descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stage2Part {
    /// The leaf descriptor.
    pub(crate) descriptor: u64,
    /// Level of the leaf.
    pub(crate) level: i8,
    /// log2 of the leaf's block or page, or of its contiguous region.
    pub(crate) leaf_log2: u8,
    /// log2 of the granule.
    pub(crate) granule_log2: u8,
    /// Memory attributes of the page.
    pub(crate) attributes: Stage2Attributes,
}

/// The plain requests that an entry has let through since it was made: they need not be judged
/// again, and a hit is a look-up and little else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Granted(u8);

impl Granted {
    /// Which of the plain requests this is; `None` for the special ones.
    #[inline(always)]
    fn bit(kind: AccessKind, ind: InstructionOrData, pnu: Privilege) -> Option<u8> {
        let privileged = u8::from(pnu == Privilege::Privileged);
        match (kind, ind) {
            (AccessKind::Read, InstructionOrData::Data) => Some(1 << privileged),
            (AccessKind::Read, InstructionOrData::Instruction) => Some(4 << privileged),
            (AccessKind::Write, InstructionOrData::Data) => Some(16 << privileged),
            _ => None,
        }
    }

    /// Whether such a request has been let through.
    #[inline(always)]
    pub(crate) fn covers(self, request: Request) -> bool {
        Self::bit(request.kind, request.ind, request.pnu).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Notes that a request went through as it was.
    pub(crate) fn note(&mut self, request: Request) {
        self.0 |= Self::bit(request.kind, request.ind, request.pnu).unwrap_or(0);
    }
}

/// A translation looked up by VA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct VaEntry {
    /// First output address: a PA, or an IPA where stage 2 is looked up separately.
    pub(crate) output: u64,
    /// First intermediate address.
    pub(crate) ipa: u64,
    /// log2 of the entry's size.
    pub(crate) entry_log2: u8,
    /// log2 of the smaller of the leaves' blocks or pages.
    pub(crate) span_log2: u8,
    /// Stage 1.
    pub(crate) stage1: Stage1Part,
    /// Stage 2, if the entry holds both stages.
    pub(crate) stage2: Option<Stage2Part>,
    /// Attributes of both stages for a transaction whose own take nothing away.
    pub(crate) combined: Attributes,
    /// What has been let through.
    pub(crate) granted: Granted,
}

/// A translation looked up by IPA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct IpaEntry {
    /// First physical address.
    pub(crate) output: u64,
    /// log2 of the leaf's block or page.
    pub(crate) span_log2: u8,
    /// The leaf.
    pub(crate) stage2: Stage2Part,
    /// Attributes for a transaction with the default ones.
    pub(crate) combined: Attributes,
    /// What has been let through.
    pub(crate) granted: Granted,
}

impl VaEntry {
    /// Whether the leaf says that all ASIDs share the translation (nG=0).
    pub(crate) fn is_global(&self) -> bool {
        self.stage1.descriptor & NOT_GLOBAL == 0
    }
}

/// nG of a stage-1 leaf.
pub(crate) const NOT_GLOBAL: u64 = 1 << 11;

impl IpaEntry {
    /// What a walk would have found for `ipa`, permissions not yet asked.
    #[inline(always)]
    pub(crate) fn leaf(&self, ipa: Ipa) -> Stage2Leaf {
        let below = (1u64 << self.stage2.leaf_log2) - 1;
        Stage2Leaf {
            pa: Pa::new(self.output | ipa.get() & below),
            descriptor: self.stage2.descriptor,
            span_log2: self.span_log2,
            kind: AccessKind::Read,
            level: self.stage2.level,
            granule_log2: self.stage2.granule_log2,
        }
    }
}

/// A Table descriptor some walk passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WalkEntry {
    /// Address of the next table.
    pub(crate) next: u64,
    /// Hierarchical restrictions up to and including this descriptor.
    pub(crate) hierarchical: u64,
    /// Level of the descriptor.
    pub(crate) level: i8,
    /// log2 of the input range of the descriptor.
    pub(crate) lsb: u8,
    /// log2 of the granule.
    pub(crate) granule_log2: u8,
}

impl Entry for VaEntry {
    fn leaf_log2(&self) -> u8 {
        self.stage1.leaf_log2
    }
    fn granule_log2(&self) -> u8 {
        self.stage1.granule_log2
    }
    fn kind(&self) -> EntryKind {
        EntryKind::Leaf {
            level: self.stage1.level,
        }
    }
}

impl Entry for IpaEntry {
    fn leaf_log2(&self) -> u8 {
        self.stage2.leaf_log2
    }
    fn granule_log2(&self) -> u8 {
        self.stage2.granule_log2
    }
    fn kind(&self) -> EntryKind {
        EntryKind::Leaf {
            level: self.stage2.level,
        }
    }
}

impl Entry for WalkEntry {
    fn leaf_log2(&self) -> u8 {
        self.lsb
    }
    fn granule_log2(&self) -> u8 {
        self.granule_log2
    }
    fn kind(&self) -> EntryKind {
        EntryKind::Table { level: self.level }
    }
}
