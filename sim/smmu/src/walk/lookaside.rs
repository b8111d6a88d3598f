//! What a walk may know without reading memory: the walker's side of the caches.

use super::params::TableParams;
use super::{Stage2, Stage2Leaf};
use crate::addr::Ipa;
use crate::observe::CacheEvent;

/// The next table of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableFound {
    /// Its address.
    pub(crate) next: u64,
    /// Hierarchical restrictions of the Table descriptors up to it.
    pub(crate) hierarchical: u64,
    /// Level of the descriptor that points to it.
    pub(crate) level: i8,
}

/// Tables and stage-2 translations of one transaction's contexts.
pub(crate) trait Lookaside {
    /// The deepest table known for `input`.
    fn stage1_table(&mut self, input: u64) -> Option<TableFound>;
    /// Remembers a Table descriptor of `tables` that resolves `input` down to `lsb`.
    fn fill_stage1_table(&mut self, input: u64, lsb: u8, tables: &TableParams, found: TableFound);
    /// The deepest stage-2 table known for `ipa`.
    fn stage2_table(&mut self, ipa: u64) -> Option<TableFound>;
    /// Remembers a stage-2 Table descriptor.
    fn fill_stage2_table(&mut self, ipa: u64, lsb: u8, tables: &TableParams, found: TableFound);
    /// The translation of `ipa`, permissions not yet asked.
    fn stage2(&mut self, ipa: Ipa) -> Option<Stage2Leaf>;
    /// Remembers the translation of `ipa`.
    fn fill_stage2(&mut self, s2: &Stage2, ipa: Ipa, leaf: &Stage2Leaf);
    /// Shows what has happened since the last report, if somebody watches.
    fn report(&mut self, see: impl FnMut(&CacheEvent));
}

/// Knows nothing; compiles to nothing.
impl Lookaside for () {
    #[inline(always)]
    fn stage1_table(&mut self, _input: u64) -> Option<TableFound> {
        None
    }
    #[inline(always)]
    fn fill_stage1_table(&mut self, _: u64, _: u8, _: &TableParams, _: TableFound) {}
    #[inline(always)]
    fn stage2_table(&mut self, _ipa: u64) -> Option<TableFound> {
        None
    }
    #[inline(always)]
    fn fill_stage2_table(&mut self, _: u64, _: u8, _: &TableParams, _: TableFound) {}
    #[inline(always)]
    fn stage2(&mut self, _ipa: Ipa) -> Option<Stage2Leaf> {
        None
    }
    #[inline(always)]
    fn fill_stage2(&mut self, _: &Stage2, _: Ipa, _: &Stage2Leaf) {}
    #[inline(always)]
    fn report(&mut self, _: impl FnMut(&CacheEvent)) {}
}
