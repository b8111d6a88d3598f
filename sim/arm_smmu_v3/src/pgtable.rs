//! LPAE page tables as `io-pgtable-arm` builds them: which table is allocated when, which entry is
//! overwritten, what is flushed at once and what is gathered.
//!
//! Tables live in simulated memory only. What the driver keeps is where the start table is and,
//! as a shortcut, where the last-level table it touched last is.

mod format;
mod leaf;
mod map;
mod unmap;

use smmu::addr::Pa;
use thiserror::Error;

pub use format::{Format, FormatError, MAIR, Stage};
pub use map::Mapped;

/// What page tables stand on: memory to keep them in and TLB maintenance that cannot wait.
pub trait TableContext {
    /// Reads consecutive words of a table.
    fn read_words(&mut self, pa: Pa, words: &mut [u64]);
    /// Stores consecutive words of a table, ascending.
    fn write_words(&mut self, pa: Pa, words: &[u64]);
    /// Reads one entry.
    fn load(&mut self, pa: Pa) -> u64;
    /// Stores one entry.
    fn store(&mut self, pa: Pa, value: u64);
    /// Stores an entry where there is none; what was there.
    fn fill(&mut self, pa: Pa, value: u64) -> u64;
    /// Allocates a zeroed table, aligned to its size; `None` if memory is out.
    fn alloc(&mut self, bytes: u64) -> Option<Pa>;
    /// Frees what [`Self::alloc`] gave.
    fn free(&mut self, pa: Pa, bytes: u64);
    /// `tlb_flush_walk`: a table that translated `[iova, iova + size)` is about to be freed.
    fn flush_walk(&mut self, iova: u64, size: u64, granule: u64);
}

/// Pages whose TLB maintenance is put off: `struct iommu_iotlb_gather` seen from the tables.
pub trait Gather<C> {
    /// `io_pgtable_tlb_add_page`: the leaf at `iova`, `size` bytes, has been cleared.
    fn add_page(&mut self, context: &mut C, iova: u64, size: u64);
}

/// Nobody gathers: what map does when it overwrites a table.
#[derive(Debug)]
pub struct NoGather;

impl<C> Gather<C> for NoGather {
    fn add_page(&mut self, _context: &mut C, _iova: u64, _size: u64) {}
}

/// Why a mapping is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PgtableError {
    /// The page size is none of the format's, or access is missing where it is required.
    #[error("unsupported page size or access")]
    Invalid,
    /// Input or output address beyond what the tables express.
    #[error("address out of range")]
    Range,
    /// A leaf is there already.
    #[error("already mapped")]
    Exists,
    /// No memory for a table.
    #[error("no memory for a table")]
    NoMemory,
}

/// Where the last-level table used last is. A shortcut, not state: equal to any other.
#[derive(Debug, Clone, Copy)]
struct Hint {
    /// Input address divided by what the table spans.
    tag: u64,
    table: Pa,
}

impl Hint {
    const NONE: Self = Self {
        tag: u64::MAX,
        table: Pa::new(0),
    };
}

impl PartialEq for Hint {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Hint {}

/// One set of page tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageTables {
    format: Format,
    root: Pa,
    hint: Hint,
    /// Bytes of all tables, the start table included.
    table_bytes: u64,
}

impl PageTables {
    /// Allocates the start table.
    ///
    /// # Errors
    /// [`PgtableError::NoMemory`].
    pub fn new<C: TableContext>(context: &mut C, format: Format) -> Result<Self, PgtableError> {
        let bytes = format.start_table_bytes();
        let root = context.alloc(bytes).ok_or(PgtableError::NoMemory)?;
        Ok(Self {
            format,
            root,
            hint: Hint::NONE,
            table_bytes: bytes,
        })
    }

    /// Shape and rules.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Where the start table is: TTB0 or S2TTB.
    pub fn root(&self) -> Pa {
        self.root
    }

    /// Bytes of all tables.
    pub fn table_bytes(&self) -> u64 {
        self.table_bytes
    }

    /// Frees every table. The caller has flushed the TLB.
    pub fn free<C: TableContext>(mut self, context: &mut C) {
        let root = self.root;
        self.free_table(context, self.format.start_level(), root);
    }

    /// Frees a table and all below it (`__arm_lpae_free_pgtable`).
    fn free_table<C: TableContext>(&mut self, context: &mut C, level: u8, table: Pa) {
        let bytes = self.format.table_bytes(level);
        if level < LAST_LEVEL {
            for entry in 0..bytes / 8 {
                let pte = context.load(table.add(entry * 8));
                if pte != 0 && !is_leaf(pte, level) {
                    self.free_table(context, level + 1, self.format.address(pte));
                }
            }
        }
        context.free(table, bytes);
        self.table_bytes -= bytes;
        self.hint = Hint::NONE;
    }
}

/// Deepest level of a walk.
const LAST_LEVEL: u8 = 3;

/// Entries read or stored at once.
const RUN: usize = 64;

const TYPE: u64 = 3;
const TYPE_BLOCK: u64 = 1;
const TYPE_TABLE: u64 = 3;
const TYPE_PAGE: u64 = 3;

/// Whether a valid entry is a leaf: a page at the last level, a block elsewhere.
fn is_leaf(pte: u64, level: u8) -> bool {
    let leaf = if level == LAST_LEVEL {
        TYPE_PAGE
    } else {
        TYPE_BLOCK
    };
    pte & TYPE == leaf
}
