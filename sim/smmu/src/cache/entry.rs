//! What the caches hold: translations and tables as walks found them.

use super::tlb::Entry;
use crate::attr::{Attributes, Stage2Attributes};
use crate::command::EntryKind;

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
