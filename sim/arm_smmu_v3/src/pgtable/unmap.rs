//! Unmapping pages (`arm_lpae_unmap_pages`): leaves are cleared and gathered, tables below a
//! cleared entry are flushed and freed at once, and part of a block splits it or is refused.

use iommu_core::semantics::{BlockSplit, FreedTable};
use smmu::addr::Pa;

use super::format::Format;
use super::{Gather, Hint, LAST_LEVEL, PageTables, RUN, TableContext, is_leaf};

impl PageTables {
    /// Unmaps up to `pgcount` pages of `pgsize` bytes from `iova`, as far as one table reaches,
    /// and returns the bytes unmapped; 0 where nothing is mapped or the size is none of the
    /// format's.
    #[inline]
    pub fn unmap_pages<C: TableContext, G: Gather<C>>(
        &mut self,
        context: &mut C,
        gather: &mut G,
        iova: u64,
        pgsize: u64,
        pgcount: u64,
    ) -> u64 {
        let valid = pgsize.is_power_of_two() && self.format.pgsize_bitmap() & pgsize != 0;
        if !valid || pgcount == 0 || iova >> self.format.ias() != 0 {
            return 0;
        }
        let last = pgsize == 1 << self.format.granule_log2();
        let tag = iova >> self.format.span_log2(LAST_LEVEL - 1);
        if last && self.hint.tag == tag {
            let at = self.format.entry(self.hint.table, iova, LAST_LEVEL);
            let count = pgcount.min(self.format.entries_left(iova, LAST_LEVEL));
            return self.clear_entries(context, gather, iova, (at, LAST_LEVEL), count);
        }
        let mut table = self.root;
        for level in self.format.start_level()..=LAST_LEVEL {
            let at = self.format.entry(table, iova, level);
            if 1 << self.format.span_log2(level) == pgsize {
                if last {
                    self.hint = Hint { tag, table };
                }
                let count = pgcount.min(self.format.entries_left(iova, level));
                return self.clear_entries(context, gather, iova, (at, level), count);
            }
            let pte = context.load(at);
            if pte == 0 {
                return 0;
            }
            if is_leaf(pte, level) {
                return match self.format.rules().block_split {
                    BlockSplit::Split => {
                        self.split(context, gather, (iova, pgsize, pgcount), pte, (at, level))
                    }
                    BlockSplit::Refuse => 0,
                };
            }
            table = self.format.address(pte);
        }
        0
    }

    /// Clears `count` entries from that at `at` until one is empty; returns the bytes cleared.
    #[inline]
    pub(super) fn clear_entries<C: TableContext, G: Gather<C>>(
        &mut self,
        context: &mut C,
        gather: &mut G,
        iova: u64,
        (at, level): (Pa, u8),
        count: u64,
    ) -> u64 {
        let size = 1 << self.format.span_log2(level);
        let gather_tables = self.format.rules().freed_table == FreedTable::FlushAndGather;
        if count == 1 {
            let pte = context.load(at);
            if pte == 0 {
                return 0;
            }
            context.store(at, 0);
            let leaf = is_leaf(pte, level);
            if !leaf {
                self.free_below(context, (iova, size), level, pte);
            }
            if leaf || gather_tables {
                gather.add_page(context, iova, size);
            }
            return size;
        }
        let mut words = [0; RUN];
        let mut done = 0;
        while done < count {
            let run = &mut words[..(count - done).min(RUN as u64) as usize];
            context.read_words(at.add(done * 8), run);
            let valid = run.iter().position(|&pte| pte == 0).unwrap_or(run.len());
            context.write_words(at.add(done * 8), &[0; RUN][..valid]);
            for &pte in &run[..valid] {
                let at = iova + done * size;
                if !is_leaf(pte, level) {
                    self.free_below(context, (at, size), level, pte);
                } else if !gather_tables {
                    gather.add_page(context, at, size);
                }
                done += 1;
            }
            if valid < run.len() {
                break;
            }
        }
        if gather_tables {
            // 7.2 gathers when all tables are gone.
            for page in 0..done {
                gather.add_page(context, iova + page * size, size);
            }
        }
        done * size
    }

    /// Flushes walks through a cleared entry, then frees what was below.
    #[cold]
    fn free_below<C: TableContext>(
        &mut self,
        context: &mut C,
        (iova, size): (u64, u64),
        level: u8,
        pte: u64,
    ) {
        context.flush_walk(iova, size, 1 << self.format.granule_log2());
        self.free_table(context, level + 1, self.format.address(pte));
    }

    /// Puts a table of smaller leaves, without the part to unmap, in a block's place
    /// (`arm_lpae_split_blk_unmap`). Returns the bytes unmapped: none if memory is out.
    fn split<C: TableContext, G: Gather<C>>(
        &mut self,
        context: &mut C,
        gather: &mut G,
        (iova, pgsize, pgcount): (u64, u64, u64),
        block: u64,
        (at, level): (Pa, u8),
    ) -> u64 {
        let bytes = 1 << self.format.granule_log2();
        let Some(table) = context.alloc(bytes) else {
            return 0;
        };
        self.table_bytes += bytes;
        let below = level + 1;
        let size = 1 << self.format.span_log2(below);
        let (first, left) = if size == pgsize {
            let first = self.format.index(iova, below);
            (first, pgcount.min(self.format.entries_left(iova, below)))
        } else {
            (0, 0)
        };
        // A page differs from a block in its type; all else is inherited.
        let kind = if below == LAST_LEVEL { 2 } else { 0 };
        let bits = self.format.leaf_bits_of(block) | kind;
        let base = self.format.address(block).get();
        for entry in (0..bytes / 8).filter(|entry| !(first..first + left).contains(entry)) {
            let address = Format::address_bits(base + entry * size);
            context.store(table.add(entry * 8), bits | address);
        }
        context.store(at, Format::table_entry(table));
        if left == 0 {
            return self.unmap_pages(context, gather, iova, pgsize, pgcount);
        }
        for page in 0..left {
            gather.add_page(context, iova + page * size, size);
        }
        left * size
    }
}
