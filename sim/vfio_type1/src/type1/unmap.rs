//! UNMAP_DMA: what is removed, and in which order tables, caches and pins follow
//! (`vfio_dma_do_unmap()`, `vfio_unmap_unpin()`).

use iommu_core::ops::Gather;
use iommu_core::semantics::RegionSearch;
use iommu_core::{DomainId, Errno, IommuOps, Iova, Paddr, UserMemory};

use super::{Ctx, Dma, FineGrained, Mapped, Tracking, Type1, Type1Domain, VaddrState, Version};
use crate::abi::{self, unmap_flags};

/// Runs unmapped before the caches are invalidated and the pages unpinned
/// (`VFIO_IOMMU_TLB_SYNC_MAX`).
const TLB_SYNC_MAX: usize = 512;

/// What an UNMAP is about: the range, last address inclusive.
struct Range {
    first: u64,
    last: u64,
    all: bool,
}

impl Type1 {
    /// UNMAP_DMA; bytes unmapped.
    ///
    /// # Errors
    /// EINVAL (EOVERFLOW from 7.2 on): alignment, size, wrap; a mapping would be cut (v2); an
    /// address is withdrawn already. EBUSY: VADDR with groups without IOMMU. EFAULT: the bitmap
    /// cannot be written; mappings before it are gone.
    pub(super) fn unmap_dma<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        user: &mut impl UserMemory,
        unmap: &abi::DmaUnmap,
        bitmap: &abi::Bitmap,
    ) -> Result<u64, Errno> {
        let withdraw = unmap.flags & unmap_flags::VADDR != 0;
        let dirty = unmap.flags & unmap_flags::GET_DIRTY_BITMAP != 0;
        if withdraw && !self.emulated.is_empty() {
            return Err(Errno::EBUSY);
        }
        let Some(range) = self.unmap_range(ctx, unmap)? else {
            return Ok(0);
        };
        let pgsize = self.pgsize();
        if dirty && (self.tracking == Tracking::Off || bitmap.pgsize != pgsize) {
            return Err(Errno::EINVAL);
        }
        if self.version == Version::V2 && !range.all && self.bisects(range.first, range.last) {
            return Err(Errno::EINVAL);
        }
        if withdraw {
            return self.withdraw_vaddr(&range);
        }
        let mut unmapped = 0;
        for iova in self.overlapping(&range) {
            if self.version == Version::V1 && range.first > iova {
                break;
            }
            if ctx.semantics().vfio.region_search == RegionSearch::AnyOverlap
                && self.dma[&iova].pid != ctx.pid
            {
                break;
            }
            if dirty {
                self.report_dirty(ctx, user, bitmap.data, iova, range.first)?;
            }
            unmapped += self.dma[&iova].size;
            self.remove_dma(ctx, iova);
        }
        Ok(unmapped)
    }

    /// Checks the range; `None` if it meets nothing whatever is mapped.
    fn unmap_range<O: IommuOps>(
        &self,
        ctx: &Ctx<'_, O>,
        unmap: &abi::DmaUnmap,
    ) -> Result<Option<Range>, Errno> {
        let (first, size) = (unmap.iova, unmap.size);
        let mask = self.pgsize() - 1;
        let wrap = ctx.semantics().vfio.wrap;
        let all = unmap.flags & unmap_flags::ALL != 0;
        if first & mask != 0 {
            return Err(Errno::EINVAL);
        }
        if all {
            return if first == 0 && size == 0 {
                Ok(Some(Range {
                    first: 0,
                    last: u64::MAX,
                    all: true,
                }))
            } else {
                Err(Errno::EINVAL)
            };
        }
        if size == 0 || size & mask != 0 {
            return Err(Errno::EINVAL);
        }
        let last = first.checked_add(size - 1).ok_or(wrap)?;
        // Before 7.2 the end of such a range wraps to 0, and nothing lies below 0.
        if last == u64::MAX && wrap != Errno::EOVERFLOW {
            return Ok(None);
        }
        Ok(Some(Range {
            first,
            last,
            all: false,
        }))
    }

    /// Whether a mapping lies across either end of the range.
    pub(super) fn bisects(&self, first: u64, last: u64) -> bool {
        let starts_before = self
            .find_dma(first, 1)
            .is_some_and(|(iova, _)| iova != first);
        let ends_after = self
            .find_dma(last, 0)
            .is_some_and(|(iova, dma)| iova + (dma.size - 1) != last);
        starts_before || ends_after
    }

    /// Mappings that meet the range, in the order they are removed. 5.10 takes the first its tree
    /// search comes upon and starts again; the outcome is the same except that v1 then may stop at
    /// a mapping that begins before the range.
    fn overlapping(&self, range: &Range) -> Vec<u64> {
        let before = self.across(range.first);
        let within = self
            .dma
            .range(range.first..=range.last)
            .map(|(iova, _)| *iova);
        before.into_iter().chain(within).collect()
    }

    /// The mapping that begins before `first` and reaches it.
    fn across(&self, first: u64) -> Option<u64> {
        let (iova, dma) = self.dma.range(..first).next_back()?;
        (iova + (dma.size - 1) >= first).then_some(*iova)
    }

    /// Withdraws the user addresses of the range; meeting one withdrawn already takes back those
    /// of this call.
    fn withdraw_vaddr(&mut self, range: &Range) -> Result<u64, Errno> {
        let before = self.across(range.first);
        // As in unmapping, v1 stops at a mapping that begins before the range.
        if before.is_some() && self.version == Version::V1 {
            return Ok(0);
        }
        let start = before.unwrap_or(range.first);
        let entries = || start..=range.last;
        let withdrawn = |dma: &Dma| dma.vaddr_state == VaddrState::Withdrawn;
        if self.dma.range(entries()).any(|(_, dma)| withdrawn(dma)) {
            return Err(Errno::EINVAL);
        }
        let mut unmapped = 0;
        for (_, dma) in self.dma.range_mut(entries()) {
            dma.vaddr_state = VaddrState::Withdrawn;
            self.vaddr_invalid += 1;
            unmapped += dma.size;
        }
        Ok(unmapped)
    }

    /// Removes a mapping: domains, pins, charge, entry (`vfio_remove_dma()`).
    pub(super) fn remove_dma<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>, iova: u64) {
        self.unmap_unpin(ctx, iova);
        let mut dma = self.dma.remove(&iova).expect("the mapping exists");
        // Giving back cannot fail unless the process is gone, and then nobody is charged.
        let _ = dma.charge(ctx, -dma.locked);
        if dma.vaddr_state == VaddrState::Withdrawn {
            self.vaddr_invalid -= 1;
        }
        for pin in dma.pinned.values() {
            for _ in 0..pin.count {
                ctx.host.unpin(pin.paddr, 1);
            }
        }
        self.dma_avail += 1;
    }

    /// Takes a mapping out of every domain and unpins it; how many of its pages were counted. At no moment
    /// is a page unpinned that a table or a cache still leads to: the domains after the first are
    /// emptied in full, then the first run by run, and pages follow only after the caches were
    /// told.
    pub(super) fn unmap_unpin<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>, iova: u64) -> u64 {
        let size = self.dma[&iova].size;
        let Some((first, others)) = self.domains.split_first() else {
            return 0;
        };
        let dma = &self.dma[&iova];
        if size == 0 || dma.mapped == Mapped::No {
            return 0;
        }
        for other in others {
            ctx.core.unmap(other.domain, Iova(iova), size);
        }
        let page_size = ctx.host.page_size();
        let mut gather = Gather::default();
        let mut removed: Vec<(Paddr, u64)> = Vec::with_capacity(TLB_SYNC_MAX);
        let mut unlocked = 0;
        let mut runs = Runs::new(first, iova, iova + size, page_size);
        while let Some((at, paddr, length)) = runs.next(ctx) {
            let mut done = ctx
                .core
                .unmap_fast(first.domain, Iova(at), length, &mut gather);
            if done > 0 {
                removed.push((paddr, done));
            }
            if removed.len() >= TLB_SYNC_MAX || done == 0 {
                unlocked += sync_unpin(ctx, first.domain, &mut gather, &mut removed);
            }
            if done == 0 {
                done = ctx.core.unmap(first.domain, Iova(at), length);
                if done == 0 {
                    break;
                }
                unlocked += ctx.unpin_run(paddr, done / page_size);
            }
            runs.passed(at, length, done);
        }
        unlocked += sync_unpin(ctx, first.domain, &mut gather, &mut removed);
        let dma = self.dma.get_mut(&iova).expect("the mapping exists");
        dma.mapped = Mapped::No;
        unlocked
    }
}

/// The physically contiguous runs of a range of a domain, in order, as the tables have them; pages
/// that lead nowhere, at which the kernel warns, are passed over.
struct Runs {
    domain: DomainId,
    fine: FineGrained,
    page_size: u64,
    at: u64,
    end: u64,
    /// Leaf entries from `at` on that were read ahead, and which of them come next.
    ahead: Vec<(Paddr, u64)>,
    next: usize,
}

impl Runs {
    fn new(domain: &Type1Domain, at: u64, end: u64, page_size: u64) -> Self {
        Self {
            domain: domain.domain,
            fine: domain.fine,
            page_size,
            at,
            end,
            ahead: Vec::new(),
            next: 0,
        }
    }

    /// The leaf entry at `at`, which is where reading ahead has come to.
    #[inline]
    fn leaf<O: IommuOps>(&mut self, ctx: &Ctx<'_, O>, at: u64) -> Option<(Paddr, u64)> {
        if self.next == self.ahead.len() {
            self.ahead.clear();
            self.next = 0;
            let ops = ctx.core.ops();
            ops.leaves(self.domain, Iova(at), self.end - at, &mut self.ahead);
        }
        self.ahead.get(self.next).copied()
    }

    /// Address, physical address and length of the next run.
    #[inline]
    fn next<O: IommuOps>(&mut self, ctx: &Ctx<'_, O>) -> Option<(u64, Paddr, u64)> {
        while self.at < self.end {
            let at = self.at;
            let Some((paddr, mut length)) = self.leaf(ctx, at) else {
                self.at += self.page_size;
                continue;
            };
            if self.fine == FineGrained::Yes {
                // Page by page: what is left of the entry comes next.
                if let Some(entry) = self.ahead.get_mut(self.next) {
                    *entry = (paddr.add(self.page_size), length - self.page_size);
                    self.next += usize::from(length == self.page_size);
                }
                return Some((at, paddr, self.page_size));
            }
            self.next += 1;
            while at + length < self.end {
                match self.leaf(ctx, at + length) {
                    Some((next, more)) if next == paddr.add(length) => {
                        length += more;
                        self.next += 1;
                    }
                    _ => break,
                }
            }
            return Some((at, paddr, length));
        }
        None
    }

    /// `done` bytes of the run of `length` bytes at `at` are unmapped. If that is not the run as it
    /// was seen, what was read ahead is stale.
    #[inline]
    fn passed(&mut self, at: u64, length: u64, done: u64) {
        self.at = at + done;
        if done != length {
            self.ahead.clear();
            self.next = 0;
        }
    }
}

/// Tells the caches, then unpins (`vfio_sync_unpin()`).
fn sync_unpin<O: IommuOps>(
    ctx: &mut Ctx<'_, O>,
    domain: DomainId,
    gather: &mut Gather,
    removed: &mut Vec<(Paddr, u64)>,
) -> u64 {
    if removed.is_empty() {
        return 0;
    }
    ctx.core.iotlb_sync(domain, gather);
    let page_log2 = ctx.host.page_size().trailing_zeros();
    removed
        .drain(..)
        .map(|(paddr, length)| ctx.unpin_run(paddr, length >> page_log2))
        .sum()
}
