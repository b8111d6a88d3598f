//! What the driver stands on ([`Platform`]): registers, memory, time, PCI. Everything the driver
//! does to an SMMU goes through here as MMIO, stores and commands, so a machine that implements it
//! sees all there is to see.

use std::fmt;

use iommu_core::{Control, Errno};
use smmu::addr::Pa;
use smmu::ids::StreamId;
pub use smmu::regfile::Width;

use crate::Command;

/// One SMMU instance of the machine, by its position among them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SmmuId(pub u32);

impl SmmuId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for SmmuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "smmu{}", self.0)
    }
}

/// State of PCI ATS in a device's configuration space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtsState {
    /// The device does not use ATS.
    #[default]
    Disabled,
    /// The device may ask for translations and cache them.
    Enabled,
}

/// The machine under the driver.
pub trait Platform: Clone + PartialEq + fmt::Debug {
    /// Semantics, fault plan and journal of the machine.
    fn control(&self) -> &Control;

    /// Semantics, fault plan and journal of the machine.
    fn control_mut(&mut self) -> &mut Control;

    /// Reads a register; `offset` in bytes from the base of page 0.
    fn mmio_read(&mut self, smmu: SmmuId, offset: u32, width: Width) -> u64;

    /// Writes a register; `offset` in bytes from the base of page 0.
    fn mmio_write(&mut self, smmu: SmmuId, offset: u32, width: Width, value: u64);

    /// Lets time pass for an SMMU (`cpu_relax()` of a polling loop): it consumes commands until it
    /// has none left or has to stop.
    fn relax(&mut self, smmu: SmmuId);

    /// Allocates `bytes` of zeroed memory, aligned to their size rounded up to a power of two;
    /// `None` if memory is out.
    fn alloc(&mut self, bytes: u64) -> Option<Pa>;

    /// Frees what [`Self::alloc`] gave; `bytes` as then.
    fn free(&mut self, pa: Pa, bytes: u64);

    /// Reads a 64-bit word.
    fn load(&self, pa: Pa) -> u64;

    /// Stores a 64-bit word.
    fn store(&mut self, pa: Pa, value: u64);

    /// Stores a 64-bit word where there is zero; what was there.
    fn fill(&mut self, pa: Pa, value: u64) -> u64 {
        let old = self.load(pa);
        if old == 0 {
            self.store(pa, value);
        }
        old
    }

    /// Reads consecutive 64-bit words.
    fn read_words(&self, pa: Pa, words: &mut [u64]) {
        for (offset, word) in (0..).step_by(8).zip(words) {
            *word = self.load(pa.add(offset));
        }
    }

    /// Stores consecutive 64-bit words, ascending.
    fn write_words(&mut self, pa: Pa, words: &[u64]) {
        for (offset, &word) in (0..).step_by(8).zip(words) {
            self.store(pa.add(offset), word);
        }
    }

    /// Switches PCI ATS of the function with this StreamID (`pci_enable_ats()`,
    /// `pci_disable_ats()`).
    ///
    /// # Errors
    /// What the device's configuration space refuses with.
    fn set_ats(&mut self, smmu: SmmuId, stream: StreamId, state: AtsState) -> Result<(), Errno>;

    /// Called for each command the driver puts into a queue, in order.
    fn issued(&mut self, smmu: SmmuId, command: Command);
}
