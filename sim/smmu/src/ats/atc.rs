//! An endpoint's address translation cache: what it was told, and what it must forget.

use std::collections::BTreeMap;

use super::AtsTranslation;
use crate::command::AtcInvalidation;
use crate::ids::{StreamId, SubstreamId};

/// A translation an endpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtcEntry {
    /// First input address.
    pub input: u64,
    /// What it was told.
    pub translation: AtsTranslation,
}

impl AtcEntry {
    /// The translated address of `input`, which the entry covers.
    pub fn translate(&self, input: u64) -> u64 {
        self.translation.address | input & ((1 << self.translation.size_log2) - 1)
    }

    fn last(&self) -> u64 {
        self.input | ((1 << self.translation.size_log2) - 1)
    }
}

/// The cache of one endpoint. Holds at most `capacity` translations and forgets the one with the
/// lowest address when it is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Atc {
    stream: StreamId,
    capacity: usize,
    /// By PASID and first address. Entries of one PASID do not overlap.
    entries: BTreeMap<(Option<SubstreamId>, u64), AtcEntry>,
}

impl Atc {
    /// An empty cache of the endpoint `stream`.
    pub fn new(stream: StreamId, capacity: usize) -> Self {
        Self {
            stream,
            capacity,
            entries: BTreeMap::new(),
        }
    }

    /// Number of translations held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Remembers a translation of `input`, unless it grants nothing.
    pub fn insert(
        &mut self,
        substream: Option<SubstreamId>,
        input: u64,
        translation: AtsTranslation,
    ) {
        if !(translation.read || translation.write || translation.execute) || self.capacity == 0 {
            return;
        }
        let first = input >> translation.size_log2 << translation.size_log2;
        let last = first | ((1 << translation.size_log2) - 1);
        self.forget(|pasid| pasid == substream, first, last);
        if self.entries.len() >= self.capacity {
            self.entries.pop_first();
        }
        let entry = AtcEntry {
            input: first,
            translation,
        };
        self.entries.insert((substream, first), entry);
    }

    /// The translation held for `input`.
    pub fn lookup(&self, substream: Option<SubstreamId>, input: u64) -> Option<AtcEntry> {
        let below = self.entries.range(..=(substream, input)).next_back();
        let ((pasid, _), entry) = below?;
        (*pasid == substream && input <= entry.last()).then_some(*entry)
    }

    /// Forgets what an invalidation names (PCIe ATS §3): all PASIDs if it is global, entries of any
    /// size that meet its range. Gives the number of entries.
    pub fn invalidate(&mut self, invalidation: &AtcInvalidation) -> usize {
        if invalidation.stream != self.stream {
            return 0;
        }
        let below = 1u64
            .checked_shl(invalidation.size_log2.into())
            .map_or(u64::MAX, |size| size - 1);
        let (first, last) = (invalidation.address, invalidation.address | below);
        let (global, named) = (invalidation.global, invalidation.substream);
        self.forget(|pasid| global || pasid == named, first, last)
    }

    fn forget(
        &mut self,
        meant: impl Fn(Option<SubstreamId>) -> bool,
        first: u64,
        last: u64,
    ) -> usize {
        let before = self.entries.len();
        self.entries.retain(|(pasid, input), entry| {
            !(meant(*pasid) && *input <= last && first <= entry.last())
        });
        before - self.entries.len()
    }
}
