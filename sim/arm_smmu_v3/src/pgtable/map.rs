//! Mapping pages (`arm_lpae_map_pages`).

use iommu_core::ops::Prot;
use iommu_core::semantics::NoAccess;
use smmu::addr::Pa;

use super::format::{Format, SW_SYNC};
use super::{
    Hint, LAST_LEVEL, NoGather, PageTables, PgtableError, TYPE, TYPE_TABLE, TableContext, is_leaf,
};

/// What a call mapped, and why it stopped if it did. A refusal may follow progress: the caller
/// rolls back (`__iommu_map`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// Bytes mapped.
    pub bytes: u64,
    /// Success, or the refusal.
    pub result: Result<(), PgtableError>,
}

impl Mapped {
    fn refused(error: PgtableError) -> Self {
        Self {
            bytes: 0,
            result: Err(error),
        }
    }
}

/// What makes a mapping worth having.
const ACCESS: Prot = Prot(Prot::READ.0 | Prot::WRITE.0);

/// Entries read or stored at once.
const RUN: usize = 64;

impl PageTables {
    /// Maps up to `pgcount` pages of `pgsize` bytes from `iova` to `paddr`, as far as one table
    /// reaches. The caller repeats for the rest.
    #[inline]
    pub fn map_pages<C: TableContext>(
        &mut self,
        context: &mut C,
        (iova, paddr): (u64, u64),
        pgsize: u64,
        pgcount: u64,
        prot: Prot,
    ) -> Mapped {
        if prot.0 & ACCESS.0 == 0 && self.format.rules().no_access == NoAccess::Ignore {
            return Mapped {
                bytes: 0,
                result: Ok(()),
            };
        }
        if !pgsize.is_power_of_two() || self.format.pgsize_bitmap() & pgsize == 0 {
            return Mapped::refused(PgtableError::Invalid);
        }
        if iova >> self.format.ias() != 0 || paddr >> self.format.oas() != 0 {
            return Mapped::refused(PgtableError::Range);
        }
        if prot.0 & ACCESS.0 == 0 {
            return Mapped::refused(PgtableError::Invalid);
        }
        let (table, level) = match self.table_for(context, iova, pgsize) {
            Ok(found) => found,
            Err(error) => return Mapped::refused(error),
        };
        let count = pgcount.min(self.format.entries_left(iova, level));
        let result = self.init_leaves(context, (iova, paddr), prot, (table, level), count);
        Mapped {
            bytes: if result.is_ok() { count * pgsize } else { 0 },
            result,
        }
    }

    /// The table that holds leaves of `pgsize` bytes for `iova`, made if need be, and its level.
    #[inline]
    fn table_for<C: TableContext>(
        &mut self,
        context: &mut C,
        iova: u64,
        pgsize: u64,
    ) -> Result<(Pa, u8), PgtableError> {
        let last = pgsize == 1 << self.format.granule_log2();
        let tag = iova >> self.format.span_log2(LAST_LEVEL - 1);
        if last && self.hint.tag == tag {
            return Ok((self.hint.table, LAST_LEVEL));
        }
        let (table, level) = self.descend(context, iova, pgsize)?;
        if last {
            self.hint = Hint { tag, table };
        }
        Ok((table, level))
    }

    /// Walks from the start table, installing what is missing (`__arm_lpae_map`).
    fn descend<C: TableContext>(
        &mut self,
        context: &mut C,
        iova: u64,
        pgsize: u64,
    ) -> Result<(Pa, u8), PgtableError> {
        let mut table = self.root;
        for level in self.format.start_level()..=LAST_LEVEL {
            if 1 << self.format.span_log2(level) == pgsize {
                return Ok((table, level));
            }
            if level == LAST_LEVEL {
                break;
            }
            let at = self.format.entry(table, iova, level);
            let pte = context.load(at);
            table = if pte == 0 {
                self.install_table(context, at)?
            } else if is_leaf(pte, level) {
                return Err(PgtableError::Exists);
            } else {
                if !self.format.coherent() && pte & SW_SYNC == 0 {
                    context.store(at, pte | SW_SYNC);
                }
                self.format.address(pte)
            };
        }
        // The page size is in the bitmap but above what the start table expresses.
        Err(PgtableError::Invalid)
    }

    /// Allocates a table and points the entry at `at` to it (`arm_lpae_install_table`).
    fn install_table<C: TableContext>(
        &mut self,
        context: &mut C,
        at: Pa,
    ) -> Result<Pa, PgtableError> {
        let bytes = 1 << self.format.granule_log2();
        let table = context.alloc(bytes).ok_or(PgtableError::NoMemory)?;
        self.table_bytes += bytes;
        let pte = Format::table_entry(table);
        context.store(at, pte);
        if !self.format.coherent() {
            context.store(at, pte | SW_SYNC);
        }
        Ok(table)
    }

    /// Stores `count` leaves (`arm_lpae_init_pte`). A leaf in the way refuses all of them; a
    /// table in the way is emptied, flushed and freed first.
    #[inline]
    fn init_leaves<C: TableContext>(
        &mut self,
        context: &mut C,
        (iova, paddr): (u64, u64),
        prot: Prot,
        (table, level): (Pa, u8),
        count: u64,
    ) -> Result<(), PgtableError> {
        let at = self.format.entry(table, iova, level);
        let bits = self.format.leaf_bits(prot, level);
        if count == 1 {
            let leaf = bits | Format::address_bits(paddr);
            let old = context.fill(at, leaf);
            if old != 0 {
                self.make_way(context, iova, (at, level), old)?;
                context.store(at, leaf);
            }
            return Ok(());
        }
        let step = 1 << self.format.span_log2(level);
        let mut words = [0; RUN];
        for first in (0..count).step_by(RUN) {
            let run = &mut words[..(count - first).min(RUN as u64) as usize];
            context.read_words(at.add(first * 8), run);
            for (offset, &old) in (first..).zip(run.iter()) {
                if old != 0 {
                    let at = at.add(offset * 8);
                    self.make_way(context, iova + offset * step, (at, level), old)?;
                }
            }
        }
        for first in (0..count).step_by(RUN) {
            let run = &mut words[..(count - first).min(RUN as u64) as usize];
            for (offset, word) in (first..).zip(run.iter_mut()) {
                *word = bits | Format::address_bits(paddr + offset * step);
            }
            context.write_words(at.add(first * 8), run);
        }
        Ok(())
    }

    /// Clears an entry that a leaf is to replace.
    #[cold]
    fn make_way<C: TableContext>(
        &mut self,
        context: &mut C,
        iova: u64,
        (at, level): (Pa, u8),
        old: u64,
    ) -> Result<(), PgtableError> {
        if is_leaf(old, level) {
            return Err(PgtableError::Exists);
        }
        if old & TYPE == TYPE_TABLE {
            self.clear_entries(context, &mut NoGather, iova, (at, level), 1);
        }
        Ok(())
    }
}
