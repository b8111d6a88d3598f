//! Builders of the tables software makes: page tables, CDs, STEs. For tests, examples, benches and
//! the driver. They share `spec` types with the walker and nothing else.

mod page_table;
mod structures;

pub use page_table::{Geometry, Leaf, MapError, PageTable};
pub use structures::{CdBuilder, LinearStreamTable, SteBuilder};

use crate::addr::Pa;
use crate::mem::{AccessClass, BusAbort, BusResult, PhysMem};

/// Where a builder puts tables: aligned blocks of memory, each used once.
pub trait FrameSource {
    /// An unused block of `1 << log2` bytes, aligned to its size; `None` when there are no more.
    fn take(&mut self, log2: u32) -> Option<u64>;
}

/// Hands out memory from `next` up to `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bump {
    next: u64,
    end: u64,
}

impl Bump {
    /// The bytes from `start` up to, not including, `end`.
    pub fn new(start: u64, end: u64) -> Self {
        Self { next: start, end }
    }

    /// Where what is left begins.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
}

impl FrameSource for Bump {
    fn take(&mut self, log2: u32) -> Option<u64> {
        let size = 1u64.checked_shl(log2)?;
        let base = self.next.checked_next_multiple_of(size)?;
        let next = base.checked_add(size)?;
        (next <= self.end).then(|| {
            self.next = next;
            base
        })
    }
}

/// Memory as a table builder addresses it: physical, or intermediate through a stage 2.
pub trait TableMemory {
    /// Reads the word at `address`.
    ///
    /// # Errors
    /// [`BusAbort`] if there is no memory.
    fn get(&mut self, address: u64) -> BusResult<u64>;

    /// Writes the word at `address`.
    ///
    /// # Errors
    /// [`BusAbort`] if there is no memory.
    fn set(&mut self, address: u64, value: u64) -> BusResult<()>;
}

/// Physical memory, addressed directly.
#[derive(Debug)]
pub struct Physical<M>(pub M);

impl<M: PhysMem> TableMemory for Physical<M> {
    fn get(&mut self, address: u64) -> BusResult<u64> {
        self.0.read64(Pa::new(address), AccessClass::Stage1)
    }

    fn set(&mut self, address: u64, value: u64) -> BusResult<()> {
        self.0.write64(Pa::new(address), value, AccessClass::Stage1)
    }
}

/// A guest's memory: IPAs, put where `to_pa` says.
#[derive(Debug)]
pub struct Intermediate<M, F> {
    /// Physical memory.
    pub memory: M,
    /// Where an IPA is; `None` if nowhere.
    pub to_pa: F,
}

impl<M: PhysMem, F: Fn(u64) -> Option<u64>> TableMemory for Intermediate<M, F> {
    fn get(&mut self, address: u64) -> BusResult<u64> {
        let pa = (self.to_pa)(address).ok_or(BusAbort)?;
        self.memory.read64(Pa::new(pa), AccessClass::Stage1)
    }

    fn set(&mut self, address: u64, value: u64) -> BusResult<()> {
        let pa = (self.to_pa)(address).ok_or(BusAbort)?;
        self.memory.write64(Pa::new(pa), value, AccessClass::Stage1)
    }
}
