//! What the SMMU sees of memory: [`PhysMem`], and the RAM and fault injection that implement it.
//!
//! Every table, structure and queue access of the model goes through [`PhysMem`]; each may abort.
//! [`Ram`] is shared by threads, each with its own [`RamPort`]; [`AbortInjector`] makes chosen
//! accesses fail.

mod dry_run;
mod inject;
mod ram;

pub use dry_run::DryRun;
pub use inject::{AbortInjector, AbortRule};
pub use ram::{PAGE_BYTES, Ram, RamError, RamPort};

use crate::addr::Pa;

/// What an access is for: the structure read or written. Lets a memory, a timing model or a fault
/// plan tell accesses apart without knowing addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessClass {
    /// Level-1 stream table descriptor.
    L1Std,
    /// Stream table entry.
    Ste,
    /// Level-1 context descriptor.
    L1Cd,
    /// Context descriptor.
    Cd,
    /// Stage-1 translation table descriptor, read or hardware update.
    Stage1,
    /// Stage-2 translation table descriptor, read or hardware update.
    Stage2,
    /// Command queue entry.
    CommandQueue,
    /// Event queue entry.
    EventQueue,
    /// PRI queue entry.
    PriQueue,
    /// Message-signalled interrupt.
    Msi,
}

impl AccessClass {
    /// All classes: those of a transaction in the order it meets them, then those of the queues.
    pub const ALL: [Self; 10] = [
        Self::L1Std,
        Self::Ste,
        Self::L1Cd,
        Self::Cd,
        Self::Stage1,
        Self::Stage2,
        Self::CommandQueue,
        Self::EventQueue,
        Self::PriQueue,
        Self::Msi,
    ];
}

/// Memory refused the access: an external abort, seen by the SMMU as F_STE_FETCH, F_CD_FETCH or
/// F_WALK_EABT depending on what it was reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("external abort")]
pub struct BusAbort;

/// Result of one access.
pub type BusResult<T> = Result<T, BusAbort>;

/// One requester's connection to physical memory.
///
/// Addresses are byte addresses; the low three bits are ignored (six for [`read_line`]), as the
/// SMMU only ever makes aligned accesses. Values are the little-endian 64-bit words at that
/// address, whatever the host. `&mut self` lets an implementation count, cache or record; many
/// requesters share memory by each having a port, as [`Ram::port`] gives.
///
/// [`read_line`]: PhysMem::read_line
pub trait PhysMem {
    /// Reads the 64-bit word at `pa`.
    ///
    /// # Errors
    /// [`BusAbort`] if memory refuses.
    fn read64(&mut self, pa: Pa, class: AccessClass) -> BusResult<u64>;

    /// Writes the 64-bit word at `pa`.
    ///
    /// # Errors
    /// [`BusAbort`] if memory refuses; nothing is written then.
    fn write64(&mut self, pa: Pa, value: u64, class: AccessClass) -> BusResult<()>;

    /// Replaces the word at `pa` by `new` if it equals `current`, in one atomic access, and
    /// returns the word found. Hardware updates of descriptors use it (DDI 0487 §D8.5).
    ///
    /// # Errors
    /// [`BusAbort`] if memory refuses; nothing is written then.
    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        class: AccessClass,
    ) -> BusResult<u64>;

    /// Writes the 32-bit word at `pa`, whose low two bits are ignored: a message-signalled
    /// interrupt. The other half of the 64-bit word keeps its value.
    ///
    /// # Errors
    /// [`BusAbort`] if memory refuses; nothing is written then.
    fn write32(&mut self, pa: Pa, value: u32, class: AccessClass) -> BusResult<()> {
        let shift = 8 * (pa.get() & 4);
        let kept = self.read64(pa, class)? & !(0xffff_ffff << shift);
        self.write64(pa, kept | u64::from(value) << shift, class)
    }

    /// Reads the 64-byte structure at `pa`: one STE or CD. Each 64-bit word is read atomically,
    /// the whole is not (IHI 0070 §3.21.3).
    ///
    /// # Errors
    /// [`BusAbort`] if memory refuses any of the eight words.
    fn read_line(&mut self, pa: Pa, class: AccessClass) -> BusResult<[u64; 8]> {
        let pa = pa.align_down(6);
        let mut words = [0; 8];
        for (word, offset) in words.iter_mut().zip((0..).step_by(8)) {
            *word = self.read64(pa.add(offset), class)?;
        }
        Ok(words)
    }
}

impl<M: PhysMem + ?Sized> PhysMem for &mut M {
    #[inline]
    fn read64(&mut self, pa: Pa, class: AccessClass) -> BusResult<u64> {
        (**self).read64(pa, class)
    }

    #[inline]
    fn write64(&mut self, pa: Pa, value: u64, class: AccessClass) -> BusResult<()> {
        (**self).write64(pa, value, class)
    }

    #[inline]
    fn compare_exchange64(
        &mut self,
        pa: Pa,
        current: u64,
        new: u64,
        class: AccessClass,
    ) -> BusResult<u64> {
        (**self).compare_exchange64(pa, current, new, class)
    }

    #[inline]
    fn write32(&mut self, pa: Pa, value: u32, class: AccessClass) -> BusResult<()> {
        (**self).write32(pa, value, class)
    }

    #[inline]
    fn read_line(&mut self, pa: Pa, class: AccessClass) -> BusResult<[u64; 8]> {
        (**self).read_line(pa, class)
    }
}
