//! A range of a process's memory, and where its frames lie.

use std::collections::BTreeMap;

use super::{Access, Placement, Sharing};

/// A range of a process's addresses (a VMA).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Pages.
    pub(super) pages: u64,
    pub(super) access: Access,
    pub(super) sharing: Sharing,
    pub(super) placement: Placement,
    /// First frame of the backing.
    pub(super) base: u64,
    /// Pages of the whole backing.
    pub(super) backing_pages: u64,
    /// Index within the backing of the first page.
    pub(super) offset: u64,
    /// Pages that do not exist yet, as ranges of backing indexes: start to end (exclusive).
    pub(super) missing: BTreeMap<u64, u64>,
}

impl Region {
    /// Frame of the page of this backing index.
    #[inline]
    pub(super) fn frame(&self, index: u64, page_size: u64) -> u64 {
        let slot = match self.placement {
            Placement::Contiguous => index,
            // Even pages in the lower half, odd ones in the upper.
            Placement::Scattered => (index & 1) * self.backing_pages.div_ceil(2) + index / 2,
        };
        self.base + slot * page_size
    }

    pub(super) fn is_missing(&self, index: u64) -> bool {
        self.missing
            .range(..=index)
            .next_back()
            .is_some_and(|(_, end)| index < *end)
    }

    /// A page comes into being.
    pub(super) fn populate(&mut self, index: u64) {
        let Some((start, end)) = self
            .missing
            .range(..=index)
            .next_back()
            .map(|(start, end)| (*start, *end))
        else {
            return;
        };
        if index >= end {
            return;
        }
        self.missing.remove(&start);
        if start < index {
            self.missing.insert(start, index);
        }
        if index + 1 < end {
            self.missing.insert(index + 1, end);
        }
    }
}
