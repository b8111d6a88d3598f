//! The DMA fault region of the nested-stage series: a ring of records user space reads and maps.

use iommu_core::Errno;
use iommu_core::ops::DeviceFault;
use iommu_core::semantics::SeriesVfio;

/// Records in the ring; one fewer can be pending.
pub const ENTRIES: u32 = 512;
/// Bytes of a record (`struct iommu_fault`).
pub const ENTRY_BYTES: u32 = 64;

/// What a full ring and a bogus tail do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingRules {
    /// Defect D26: a tail beyond the head is accepted.
    pub(crate) overshoot: Overshoot,
    /// Defect D23: lost records leave no sign.
    pub(crate) loss: Loss,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overshoot {
    Accepted,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    Silent,
    Counted,
}

/// Type of the region; that of v11 is also that of a CCW region (defect D27).
pub(crate) const fn region_type(version: SeriesVfio) -> u32 {
    match version {
        SeriesVfio::V11 => 2,
        SeriesVfio::V12 | SeriesVfio::V13 => 4,
    }
}

/// The region: a header page, then the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRegion {
    /// Where user space reads next; user space writes it.
    tail: u32,
    /// Where the kernel writes next.
    head: u32,
    /// Records that did not fit, where the version counts them.
    lost: u32,
    records: Vec<[u8; ENTRY_BYTES as usize]>,
    page_size: u64,
}

impl FaultRegion {
    pub(crate) fn new(page_size: u64) -> Self {
        Self {
            tail: 0,
            head: 0,
            lost: 0,
            records: vec![[0; ENTRY_BYTES as usize]; ENTRIES as usize],
            page_size,
        }
    }

    /// Bytes of the region.
    pub fn size(&self) -> u64 {
        self.page_size + u64::from(ENTRIES * ENTRY_BYTES)
    }

    /// Where the kernel writes next, and where user space reads next.
    pub fn positions(&self) -> (u32, u32) {
        (self.head, self.tail)
    }

    /// Room for records, as computed from a tail that may be bogus (`CIRC_SPACE()`).
    fn room(&self) -> u32 {
        self.tail.wrapping_sub(self.head).wrapping_sub(1) & (ENTRIES - 1)
    }

    /// Stores a record.
    ///
    /// # Errors
    /// ENOSPC: no room; the record is lost.
    pub(crate) fn push(&mut self, fault: &DeviceFault, rules: RingRules) -> Result<(), Errno> {
        if self.room() == 0 {
            if rules.loss == Loss::Counted {
                self.lost += 1;
            }
            return Err(Errno::ENOSPC);
        }
        self.records[self.head as usize] = record(fault);
        self.head = (self.head + 1) % ENTRIES;
        Ok(())
    }

    /// Reads up to `length` bytes at `offset`; what lies beyond the end is cut off.
    ///
    /// # Errors
    /// EINVAL: `offset` is beyond the end.
    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, Errno> {
        if offset >= self.size() {
            return Err(Errno::EINVAL);
        }
        let end = offset.saturating_add(length).min(self.size());
        Ok((offset..end).map(|at| self.byte(at)).collect())
    }

    fn byte(&self, at: u64) -> u8 {
        if at >= self.page_size {
            let at = (at - self.page_size) as usize;
            return self.records[at / ENTRY_BYTES as usize][at % ENTRY_BYTES as usize];
        }
        let words = [
            self.tail,
            ENTRY_BYTES,
            ENTRIES,
            self.page_size as u32,
            self.head,
            self.lost,
        ];
        let word = words.get((at / 4) as usize).copied().unwrap_or_default();
        word.to_le_bytes()[(at % 4) as usize]
    }

    /// Writes the tail: nothing else may be written.
    ///
    /// # Errors
    /// EINVAL: not the four bytes at 0; beyond the ring; beyond the head, where that is checked.
    pub(crate) fn write(
        &mut self,
        offset: u64,
        bytes: &[u8],
        rules: RingRules,
    ) -> Result<(), Errno> {
        let (0, Ok(word)) = (offset, <[u8; 4]>::try_from(bytes)) else {
            return Err(Errno::EINVAL);
        };
        let tail = u32::from_le_bytes(word);
        if tail >= ENTRIES {
            return Err(Errno::EINVAL);
        }
        let pending = self.head.wrapping_sub(self.tail) & (ENTRIES - 1);
        let consumed = tail.wrapping_sub(self.tail) & (ENTRIES - 1);
        if rules.overshoot == Overshoot::Refused && consumed > pending {
            return Err(Errno::EINVAL);
        }
        self.tail = tail;
        Ok(())
    }

    /// Whether user space may map `length` bytes at `offset`: records only, not the header.
    ///
    /// # Errors
    /// EINVAL.
    pub fn mmap(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let end = offset.checked_add(length).ok_or(Errno::EINVAL)?;
        if offset < self.page_size || end > self.size() {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

/// `struct iommu_fault`.
fn record(fault: &DeviceFault) -> [u8; ENTRY_BYTES as usize] {
    let mut bytes = [0; ENTRY_BYTES as usize];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    match *fault {
        DeviceFault::Unrecoverable {
            reason,
            flags,
            pasid,
            perm,
            addr,
            fetch_addr,
        } => {
            put(0, &1_u32.to_le_bytes());
            for (at, word) in (8..).step_by(4).zip([reason, flags, pasid, perm]) {
                put(at, &word.to_le_bytes());
            }
            put(24, &addr.to_le_bytes());
            put(32, &fetch_addr.to_le_bytes());
        }
        DeviceFault::PageRequest {
            flags,
            pasid,
            grpid,
            perm,
            addr,
        } => {
            put(0, &2_u32.to_le_bytes());
            for (at, word) in (8..).step_by(4).zip([flags, pasid, grpid, perm]) {
                put(at, &word.to_le_bytes());
            }
            put(24, &addr.to_le_bytes());
        }
    }
    bytes
}
