//! The devices of the recorded machine, as far as scripts see them: one that writes a pattern and
//! reads words (QEMU's `iommu-testdev`), one with a buffer of its own (`edu`).

use std::collections::BTreeMap;

use iommu_core::Paddr;
use iommu_core::ops::Prot;

use super::bus::{Bus, Endpoint};

/// Bytes of an `edu` device's buffer.
const EDU_BUFFER: usize = 4096;
/// Addresses an `edu` device can use (`dma_mask`).
const EDU_MASK: u64 = (1 << 28) - 1;
/// What the test device writes.
const PATTERN: [u8; 4] = 0x1234_5678_u32.to_le_bytes();

/// Contents of memory that programs and devices have written; all else is zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Contents {
    pages: BTreeMap<u64, Vec<u8>>,
}

const CHUNK: u64 = 4096;

impl Contents {
    pub(super) fn write(&mut self, paddr: Paddr, bytes: &[u8]) {
        for (offset, byte) in (0..).zip(bytes) {
            let at = paddr.0 + offset;
            let page = self
                .pages
                .entry(at / CHUNK)
                .or_insert_with(|| vec![0; CHUNK as usize]);
            page[(at % CHUNK) as usize] = *byte;
        }
    }

    pub(super) fn read(&self, paddr: Paddr, bytes: &mut [u8]) {
        for (offset, byte) in (0..).zip(bytes) {
            let at = paddr.0 + offset;
            let page = self.pages.get(&(at / CHUNK));
            *byte = page.map_or(0, |page| page[(at % CHUNK) as usize]);
        }
    }

    /// A page of `size` bytes is zero again.
    pub(super) fn clear(&mut self, paddr: Paddr, size: u64) {
        for chunk in paddr.0 / CHUNK..(paddr.0 + size) / CHUNK {
            self.pages.remove(&chunk);
        }
    }

    /// The page of `size` bytes, if anything was ever written there.
    pub(super) fn is_blank(&self, paddr: Paddr, size: u64) -> bool {
        let chunks = paddr.0 / CHUNK..(paddr.0 + size).div_ceil(CHUNK);
        self.pages.range(chunks).next().is_none()
    }
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Model {
    /// QEMU's `iommu-testdev`.
    Tester,
    /// QEMU's `edu`, with its buffer.
    Edu(Vec<u8>),
    /// Something scripts make no DMA with.
    Other,
}

impl Model {
    pub(super) fn edu() -> Self {
        Self::Edu(vec![0; EDU_BUFFER])
    }
}

/// Whether a transfer went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    Whole,
    /// Some of it was refused; the rest was done all the same.
    Refused,
}

/// A device at work.
pub(super) struct Dma<'a, B> {
    pub(super) bus: &'a mut B,
    pub(super) contents: &'a mut Contents,
    pub(super) endpoint: Endpoint,
    pub(super) page_size: u64,
}

impl<B: Bus> Dma<'_, B> {
    /// Does `work` for each piece of the transfer that lies in one page, refused ones skipped.
    fn pieces(
        &mut self,
        iova: u64,
        length: u64,
        wanted: Prot,
        mut work: impl FnMut(&mut Contents, Paddr, std::ops::Range<usize>),
    ) -> Transfer {
        let mut transfer = Transfer::Whole;
        let mut done = 0;
        while done < length {
            let at = iova.wrapping_add(done);
            let step = (self.page_size - at % self.page_size).min(length - done);
            match self.bus.access(&self.endpoint, at, wanted) {
                Some(paddr) => {
                    let range = done as usize..(done + step) as usize;
                    work(self.contents, paddr, range);
                }
                None => transfer = Transfer::Refused,
            }
            done += step;
        }
        transfer
    }

    pub(super) fn write(&mut self, iova: u64, bytes: &[u8]) -> Transfer {
        let length = bytes.len() as u64;
        self.pieces(iova, length, Prot::WRITE, |contents, paddr, range| {
            contents.write(paddr, &bytes[range]);
        })
    }

    /// Writes the test device's pattern, `length` bytes of it.
    pub(super) fn write_pattern(&mut self, iova: u64, length: u64) -> Transfer {
        self.pieces(iova, length, Prot::WRITE, |contents, paddr, range| {
            let bytes: Vec<u8> = range.map(|at| PATTERN[at % PATTERN.len()]).collect();
            contents.write(paddr, &bytes);
        })
    }

    /// Reads `length` bytes; the first of them.
    pub(super) fn read_word(&mut self, iova: u64, length: u64) -> (Transfer, u32) {
        let mut word = [0; 4];
        let transfer = self.pieces(iova, length, Prot::READ, |contents, paddr, range| {
            if let Some(bytes) = word.get_mut(range.start..range.end.min(4)) {
                contents.read(paddr, bytes);
            }
        });
        (transfer, u32::from_le_bytes(word))
    }

    pub(super) fn read(&mut self, iova: u64, bytes: &mut [u8]) -> Transfer {
        let length = bytes.len() as u64;
        self.pieces(iova, length, Prot::READ, |contents, paddr, range| {
            contents.read(paddr, &mut bytes[range]);
        })
    }
}

/// Where an `edu` device's access really goes.
pub(super) fn edu_address(iova: u64) -> u64 {
    iova & EDU_MASK
}
