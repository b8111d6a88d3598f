//! The DMA fault response region of the nested-stage series: a ring in which user space answers
//! page requests.

use iommu_core::{Errno, KernelBug};

/// Answers the ring has room for; one fewer can be pending.
pub const RESPONSES: u32 = 512;
/// Bytes of an answer (`struct iommu_page_response`).
pub const RESPONSE_BYTES: u32 = 24;

/// What reading or writing the region runs into once its pages are freed.
pub const FREED_PAGES_USED: KernelBug = KernelBug {
    at: "vfio_pci_dma_fault_response_rw",
    what: "the response region's pages are used after they were freed",
};

/// What mapping the region runs into: the device's pointer to the pages was cleared with them.
pub const NO_PAGES_MAPPED: KernelBug = KernelBug {
    at: "vfio_pci_dma_fault_response_mmap",
    what: "the pages behind a null pointer are mapped into user space",
};

/// What is behind a registered region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// Its pages.
    Held,
    /// Nothing any more: they were freed and the region stayed (defect D24).
    Freed,
}

/// What the pages hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ring {
    /// Where user space writes next; user space sets it.
    head: u32,
    /// Where the kernel reads next.
    tail: u32,
    /// The answers; user space stores them through a mapping.
    records: Vec<u8>,
}

/// The region: a header page, then the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseRegion {
    page_size: u64,
    /// `None`: freed.
    ring: Option<Ring>,
}

impl ResponseRegion {
    pub(crate) fn new(page_size: u64) -> Self {
        let bytes = u64::from(RESPONSES * RESPONSE_BYTES).next_multiple_of(page_size);
        Self {
            page_size,
            ring: Some(Ring {
                head: 0,
                tail: 0,
                records: vec![0; bytes as usize],
            }),
        }
    }

    /// Frees the pages and leaves the region as it is.
    pub(crate) fn free_pages(&mut self) {
        self.ring = None;
    }

    /// What is behind the region.
    pub fn pages(&self) -> Pages {
        match self.ring {
            Some(_) => Pages::Held,
            None => Pages::Freed,
        }
    }

    /// Bytes of the region.
    pub fn size(&self) -> u64 {
        self.page_size + u64::from(RESPONSES * RESPONSE_BYTES).next_multiple_of(self.page_size)
    }

    /// Where user space writes next, and where the kernel reads next; `None` once freed.
    pub fn positions(&self) -> Option<(u32, u32)> {
        self.ring.as_ref().map(|ring| (ring.head, ring.tail))
    }

    /// Reads up to `length` bytes at `offset`; what lies beyond the end is cut off.
    ///
    /// # Errors
    /// EINVAL: `offset` is beyond the end. The inner error: [`FREED_PAGES_USED`].
    pub(crate) fn read(
        &self,
        offset: u64,
        length: u64,
    ) -> Result<Result<Vec<u8>, KernelBug>, Errno> {
        if offset >= self.size() {
            return Err(Errno::EINVAL);
        }
        let Some(ring) = &self.ring else {
            return Ok(Err(FREED_PAGES_USED));
        };
        let header = [
            ring.head,
            RESPONSE_BYTES,
            RESPONSES,
            self.page_size as u32,
            ring.tail,
        ];
        let byte = |at: u64| {
            if let Some(at) = at.checked_sub(self.page_size) {
                return ring.records[at as usize];
            }
            let word = header.get((at / 4) as usize).copied().unwrap_or_default();
            word.to_le_bytes()[(at % 4) as usize]
        };
        let end = offset.saturating_add(length).min(self.size());
        Ok(Ok((offset..end).map(byte).collect()))
    }

    /// Writes the head: nothing else may be written. Like the tail of the fault region it is not
    /// compared with the other end.
    ///
    /// # Errors
    /// EINVAL: not the four bytes at 0; beyond the ring. The inner error: [`FREED_PAGES_USED`].
    pub(crate) fn write(
        &mut self,
        offset: u64,
        bytes: &[u8],
    ) -> Result<Result<(), KernelBug>, Errno> {
        let (0, Ok(word)) = (offset, <[u8; 4]>::try_from(bytes)) else {
            return Err(Errno::EINVAL);
        };
        // The limit the head is compared with lies in the pages too.
        let Some(ring) = &mut self.ring else {
            return Ok(Err(FREED_PAGES_USED));
        };
        let head = u32::from_le_bytes(word);
        if head >= RESPONSES {
            return Err(Errno::EINVAL);
        }
        ring.head = head;
        Ok(Ok(()))
    }

    /// Whether user space may map `length` bytes at `offset`: answers only, not the header.
    ///
    /// # Errors
    /// EINVAL. The inner error: [`NO_PAGES_MAPPED`].
    pub(crate) fn mmap(&self, offset: u64, length: u64) -> Result<Result<(), KernelBug>, Errno> {
        let end = offset.checked_add(length).ok_or(Errno::EINVAL)?;
        if offset < self.page_size || end > self.size() {
            return Err(Errno::EINVAL);
        }
        Ok(match self.pages() {
            Pages::Held => Ok(()),
            Pages::Freed => Err(NO_PAGES_MAPPED),
        })
    }

    /// User space stores `bytes` through its mapping; [`mmap`](Self::mmap) has allowed the range.
    pub(crate) fn store(&mut self, offset: u64, bytes: &[u8]) {
        if let Some(ring) = &mut self.ring {
            let at = (offset - self.page_size) as usize;
            ring.records[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Takes the oldest answer from the ring.
    pub(crate) fn pop(&mut self) -> Option<[u8; RESPONSE_BYTES as usize]> {
        let ring = self.ring.as_mut()?;
        if ring.head == ring.tail {
            return None;
        }
        let at = (ring.tail * RESPONSE_BYTES) as usize;
        ring.tail = (ring.tail + 1) % RESPONSES;
        let record = &ring.records[at..at + RESPONSE_BYTES as usize];
        Some(record.try_into().expect("a record's bytes"))
    }
}
