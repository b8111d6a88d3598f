//! Mapping and unmapping: which page sizes are used, what is taken back on failure.

use crate::core::IommuCore;
use crate::ops::{DomainKind, Gather, Prot};
use crate::semantics::MapShape;
use crate::{DomainId, Errno, IommuOps, Iova, Paddr};

/// The page size to use next and how many pages of it (`iommu_pgsize()`).
///
/// The largest size that fits `size` and the common alignment of both addresses; as many of them
/// as fit, unless a larger size becomes possible on the way.
pub fn pgsize(bitmap: u64, iova: u64, paddr: u64, size: u64) -> (u64, u64) {
    let merge = iova | paddr;
    let mut sizes = bitmap & mask_to(size.ilog2());
    if merge != 0 {
        sizes &= mask_to(merge.trailing_zeros());
    }
    debug_assert!(sizes != 0, "alignment was checked");
    let index = sizes.ilog2();
    let pgsize = 1 << index;
    let larger = bitmap & !mask_to(index);
    let mut size = size;
    if larger != 0 {
        let next = 1_u64 << larger.trailing_zeros();
        if (iova ^ paddr) & (next - 1) == 0 {
            let offset = next - (merge & (next - 1));
            if offset.checked_add(next).is_some_and(|end| end <= size) {
                size = offset;
            }
        }
    }
    (pgsize, size >> index)
}

/// Bits 0 to `top`.
const fn mask_to(top: u32) -> u64 {
    u64::MAX >> (63 - top)
}

impl<O: IommuOps> IommuCore<O> {
    /// Whether pages can be mapped in `domain`, and their sizes.
    #[inline]
    fn paging(&self, domain: DomainId) -> Result<u64, Errno> {
        match self.domains.get(domain).map(|domain| domain.kind) {
            Some(DomainKind::Unmanaged | DomainKind::Dma | DomainKind::DmaFq) => {}
            Some(DomainKind::Blocked | DomainKind::Identity | DomainKind::Nested) | None => {
                return Err(Errno::EINVAL);
            }
        }
        match self.ops.pgsize_bitmap(domain) {
            0 => Err(Errno::ENODEV),
            bitmap => Ok(bitmap),
        }
    }

    fn shape(&self, pages: (u64, u64)) -> (u64, u64) {
        match self.ops.control().semantics.core.map_shape {
            MapShape::OnePage => (pages.0, 1),
            MapShape::EqualPages => pages,
        }
    }

    /// Maps `size` bytes (`iommu_map()`). All or nothing.
    ///
    /// # Errors
    /// EINVAL: not a paging domain, or misaligned. ENODEV: no page sizes. Others: the driver's,
    /// after everything mapped by this call was unmapped.
    #[inline]
    pub fn map(
        &mut self,
        domain: DomainId,
        iova: Iova,
        paddr: Paddr,
        size: u64,
        prot: Prot,
    ) -> Result<(), Errno> {
        let bitmap = self.paging(domain)?;
        let smallest = 1_u64 << bitmap.trailing_zeros();
        if (iova.0 | paddr.0 | size) & (smallest - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        let mut done = 0;
        while done < size {
            let (at, to) = (iova.add(done), paddr.add(done));
            let (pgsize, count) = if size - done == smallest {
                (smallest, 1)
            } else {
                self.shape(pgsize(bitmap, at.0, to.0, size - done))
            };
            let result = self
                .ops
                .control_mut()
                .step("iommu:map_pages", Errno::ENOMEM)
                .and_then(|()| {
                    self.ops
                        .map_pages(domain, at, to, pgsize, count, prot, &mut done)
                });
            if let Err(errno) = result {
                if done > 0 {
                    self.unmap(domain, iova, done);
                }
                return Err(errno);
            }
        }
        Ok(())
    }

    /// Unmaps `size` bytes and waits for the caches; bytes removed, up to the first hole
    /// (`iommu_unmap()`).
    pub fn unmap(&mut self, domain: DomainId, iova: Iova, size: u64) -> u64 {
        let mut gather = Gather::default();
        let removed = self.unmap_fast(domain, iova, size, &mut gather);
        self.iotlb_sync(domain, &mut gather);
        removed
    }

    /// Unmaps `size` bytes and leaves the caches to a later [`iotlb_sync`](Self::iotlb_sync);
    /// bytes removed, up to the first hole (`iommu_unmap_fast()`).
    #[inline]
    pub fn unmap_fast(
        &mut self,
        domain: DomainId,
        iova: Iova,
        size: u64,
        gather: &mut Gather,
    ) -> u64 {
        let Ok(bitmap) = self.paging(domain) else {
            return 0;
        };
        let smallest = 1_u64 << bitmap.trailing_zeros();
        if (iova.0 | size) & (smallest - 1) != 0 {
            return 0;
        }
        let mut done = 0;
        while done < size {
            let at = iova.add(done);
            let (pgsize, count) = if size - done == smallest {
                (smallest, 1)
            } else {
                self.shape(pgsize(bitmap, at.0, at.0, size - done))
            };
            let removed = self.ops.unmap_pages(domain, at, pgsize, count, gather);
            if removed == 0 {
                break;
            }
            done += removed;
        }
        done
    }

    /// Invalidates what was gathered, and empties the gather.
    #[inline]
    pub fn iotlb_sync(&mut self, domain: DomainId, gather: &mut Gather) {
        self.ops.iotlb_sync(domain, gather);
        *gather = Gather::default();
    }
}

#[cfg(test)]
mod tests {
    use super::pgsize;

    const SIZES: u64 = 1 << 12 | 1 << 21 | 1 << 30;

    #[test]
    fn a_larger_page_is_reached_by_smaller_ones_if_the_addresses_are_congruent() {
        let near = (1 << 21) - 0x2000;
        assert_eq!(pgsize(SIZES, near, near, 1 << 22), (0x1000, 2));
        assert_eq!(pgsize(SIZES, 0, 0, (1 << 21) + 0x1000), (1 << 21, 1));
        // Congruent modulo 4 KiB only: no larger page ever.
        assert_eq!(
            pgsize(SIZES, near, near + 0x1000, 1 << 22),
            (0x1000, 1 << 10)
        );
        assert_eq!(pgsize(SIZES, 0x1000, 0x3000, 0x3000), (0x1000, 3));
        assert_eq!(pgsize(SIZES, 0, 0, 1 << 31), (1 << 30, 2));
    }
}
