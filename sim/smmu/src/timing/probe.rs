//! Who watches a run: each piece of work with its beginning and end in simulated time.

use super::scheduler::Cycle;

/// Where a piece of work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Track {
    /// A transaction, from arrival to departure.
    Stream(u32),
    /// A step of a transaction.
    Steps(u32),
    /// A page table walk.
    WalkSlot(u32),
    /// A configuration fetch.
    ConfigurationSlot(u32),
    /// Messages of a TBU to the TCU.
    LinkUp(u32),
    /// Messages of the TCU to a TBU.
    LinkDown(u32),
    /// Messages of a TBU's devices with ATS to the SMMU.
    AtsUp(u32),
    /// Messages of the SMMU to a TBU's devices with ATS.
    AtsDown(u32),
    /// An ATC invalidation, from the SMMU to the device and back.
    Invalidation(u32),
    /// Accesses of a memory channel.
    Memory(u32),
    /// The command queue.
    Commands,
}

/// A piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Where.
    pub track: Track,
    /// What.
    pub name: &'static str,
    /// When it began.
    pub begin: Cycle,
    /// When it was over.
    pub end: Cycle,
    /// Which transaction it was for, counted from 0; of commands and ATC invalidations, which command.
    pub index: u64,
    /// The input address, the physical address, or whatever else it was about.
    pub address: u64,
}

/// Sees every piece of work when its end is known.
pub trait Probe {
    /// Whether [`Self::slice`] wants to be called.
    #[inline(always)]
    fn watches(&self) -> bool {
        true
    }

    /// Called once for each piece.
    fn slice(&mut self, slice: &Slice);
}

/// Sees nothing; compiles to nothing.
impl Probe for () {
    #[inline(always)]
    fn watches(&self) -> bool {
        false
    }

    #[inline(always)]
    fn slice(&mut self, _slice: &Slice) {}
}
