//! MAP_DMA: pinning, charging, mapping, and taking it back (`vfio_dma_do_map()`).

use std::collections::BTreeMap;

use iommu_core::ops::Prot;
use iommu_core::semantics::PinFailure;
use iommu_core::{Call, Errno, IommuOps, Iova, Paddr};

use super::{Ctx, Dma, LockCap, Mapped, Tracking, Type1, VaddrState};
use crate::abi::{self, map_flags};
use crate::process::{Capability, Life, Process, Reserved};

impl Type1 {
    /// MAP_DMA. All or nothing.
    ///
    /// # Errors
    /// EINVAL (EOVERFLOW from 7.2 on): flags, alignment, wrap, addresses outside what may be
    /// mapped. EEXIST: overlaps. ENOSPC: too many mappings. EFAULT, ENOMEM: pages cannot be pinned
    /// or charged. With flag VADDR: ENOENT, EINVAL: no such mapping awaits an address.
    pub(super) fn map_dma<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        map: &abi::DmaMap,
    ) -> Result<(), Errno> {
        let (iova, vaddr, size) = (map.iova, map.vaddr, map.size);
        let wrap = ctx.semantics().vfio.wrap;
        let wraps = |start: u64| start.checked_add(size.wrapping_sub(1)).is_none();
        if wrap == Errno::EOVERFLOW {
            if size == 0 {
                return Err(Errno::EINVAL);
            }
            if wraps(iova) || wraps(vaddr) {
                return Err(wrap);
            }
        }
        let prot = prot_of(map.flags);
        let set_vaddr = map.flags & map_flags::VADDR != 0;
        if (prot != Prot::NONE) == set_vaddr {
            return Err(Errno::EINVAL);
        }
        if size == 0 || (size | iova | vaddr) & (self.pgsize() - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        if wraps(iova) || wraps(vaddr) {
            return Err(wrap);
        }
        let found = self.find_dma(iova, size).map(|(iova, _)| iova);
        if set_vaddr {
            return self.replace_vaddr(ctx, map, found);
        }
        if found.is_some() {
            return Err(Errno::EEXIST);
        }
        if self.dma_avail == 0 {
            return Err(Errno::ENOSPC);
        }
        if !self.iova_list.allows(iova, iova + (size - 1)) {
            return Err(Errno::EINVAL);
        }
        ctx.step("vfio:alloc_dma", Errno::ENOMEM)?;
        self.dma_avail -= 1;
        let process = ctx.host.process(ctx.pid);
        let mut dma = Dma {
            size: 0,
            vaddr,
            prot,
            mapped: Mapped::No,
            lock_cap: if process.is_capable(Capability::IpcLock) {
                LockCap::Unlimited
            } else {
                LockCap::Limited
            },
            pid: ctx.pid,
            vaddr_state: VaddrState::Valid,
            locked: 0,
            pinned: BTreeMap::new(),
            bitmap: None,
        };
        let mut result = Ok(());
        if self.domains.is_empty() {
            dma.size = size;
        } else {
            result = self.pin_and_map_all(ctx, &mut dma, iova, size);
            dma.mapped = Mapped::Yes;
        }
        if result.is_ok() && self.tracking == Tracking::On {
            result = dma.alloc_bitmap(ctx, self.pgsize());
        }
        self.dma.insert(iova, dma);
        if result.is_err() {
            self.remove_dma(ctx, iova);
        }
        result
    }

    /// Gives a mapping whose address was withdrawn a new one.
    fn replace_vaddr<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        map: &abi::DmaMap,
        found: Option<u64>,
    ) -> Result<(), Errno> {
        let found = found.ok_or(Errno::ENOENT)?;
        let dma = self.dma.get_mut(&found).expect("found");
        let exact = found == map.iova && dma.size == map.size;
        if dma.vaddr_state == VaddrState::Valid || !exact {
            return Err(Errno::EINVAL);
        }
        dma.change_owner(ctx)?;
        dma.vaddr = map.vaddr;
        dma.vaddr_state = VaddrState::Valid;
        self.vaddr_invalid -= 1;
        Ok(())
    }

    /// Pins and maps run by run; `dma` grows with each (`vfio_pin_map_dma()`).
    fn pin_and_map_all<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        dma: &mut Dma,
        iova: u64,
        size: u64,
    ) -> Result<(), Errno> {
        let page_size = ctx.host.page_size();
        let page_log2 = page_size.trailing_zeros();
        while dma.size < size {
            let at = iova + dma.size;
            let left = (size - dma.size) >> page_log2;
            let (paddr, pages) = dma.pin_pages(ctx, iova, dma.size, left)?;
            let length = pages * page_size;
            if let Err(errno) = self.map_run(ctx, at, paddr, length, dma.prot) {
                dma.unpin_pages(ctx, at, paddr, pages);
                return Err(errno);
            }
            dma.size += length;
        }
        Ok(())
    }

    /// Maps a run in every domain, newest first; on failure those done are unmapped again, most
    /// recent first, and the failing one has undone itself (`vfio_iommu_map()`).
    #[inline]
    fn map_run<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        iova: u64,
        paddr: Paddr,
        length: u64,
        prot: Prot,
    ) -> Result<(), Errno> {
        for (index, domain) in self.domains.iter().enumerate() {
            let prot = prot | domain.prot(ctx);
            let result = ctx.core.map(domain.domain, Iova(iova), paddr, length, prot);
            if let Err(errno) = result {
                for done in self.domains[..index].iter().rev() {
                    ctx.core.unmap(done.domain, Iova(iova), length);
                    note(ctx, "vfio:unwind_map", done.domain, iova, length);
                }
                return Err(errno);
            }
        }
        Ok(())
    }
}

fn note<O: IommuOps>(
    ctx: &mut Ctx<'_, O>,
    op: &'static str,
    domain: iommu_core::DomainId,
    address: u64,
    size: u64,
) {
    ctx.core.ops_mut().control_mut().journal.note(|| Call {
        op,
        device: None,
        domain: Some(domain),
        address,
        size,
        result: Ok(size),
    });
}

/// The rights that flags of MAP_DMA ask for.
pub(crate) fn prot_of(flags: u32) -> Prot {
    let mut prot = Prot::NONE;
    if flags & map_flags::READ != 0 {
        prot = prot | Prot::READ;
    }
    if flags & map_flags::WRITE != 0 {
        prot = prot | Prot::WRITE;
    }
    prot
}

impl Dma {
    /// Pins and charges the next run of at most `pages` pages, `done` bytes into the mapping at
    /// `iova`; where it is and how long (`vfio_pin_pages_remote()`).
    #[inline]
    pub(super) fn pin_pages<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        iova: u64,
        done: u64,
        pages: u64,
    ) -> Result<(Paddr, u64), Errno> {
        ctx.step("vfio:pin_pages", Errno::EFAULT)?;
        let mode = ctx.pin_mode(self.prot);
        let on_failure = ctx.semantics().vfio.pin_failure;
        let owner = ctx.host.process_mut(self.pid);
        if owner.life() == Life::Exited {
            return Err(Errno::ENODEV);
        }
        let run = owner.pin_run(self.vaddr + done, pages, &mode)?;
        if run.then_faults && on_failure == PinFailure::UnpinsRun {
            return Err(Errno::EFAULT);
        }
        if run.reserved == Reserved::No {
            let at = iova + done;
            let already = if self.pinned.is_empty() {
                0
            } else {
                let end = at.saturating_add(run.pages * mode.page_size);
                self.pinned.range(at..end).count() as u64
            };
            self.charge_to(owner, mode.page_size, (run.pages - already) as i64)?;
            ctx.host.pin(run.paddr, run.pages);
        }
        Ok((run.paddr, run.pages))
    }

    /// Unpins a run and takes the charge back (`vfio_unpin_pages_remote()` with accounting).
    pub(super) fn unpin_pages<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        iova: u64,
        paddr: Paddr,
        pages: u64,
    ) {
        let unlocked = ctx.unpin_run(paddr, pages);
        let end = iova.saturating_add(pages * ctx.host.page_size());
        // What is pinned externally stays charged.
        let credited = unlocked.saturating_sub(self.pinned.range(iova..end).count() as u64);
        // Giving back cannot fail unless the process is gone, and then nobody is charged.
        let _ = self.charge(ctx, -(credited as i64));
    }

    /// Charges the owner for `pages` more locked pages, or fewer (`vfio_lock_acct()`).
    ///
    /// # Errors
    /// ENOMEM: beyond RLIMIT_MEMLOCK. ESRCH: the process is gone.
    #[inline]
    pub(super) fn charge<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        pages: i64,
    ) -> Result<(), Errno> {
        let page_size = ctx.host.page_size();
        self.charge_to(ctx.host.process_mut(self.pid), page_size, pages)
    }

    /// The same, with the owner at hand.
    #[inline]
    fn charge_to(&mut self, owner: &mut Process, page_size: u64, pages: i64) -> Result<(), Errno> {
        if pages == 0 {
            return Ok(());
        }
        if owner.life() == Life::Exited {
            return Err(Errno::ESRCH);
        }
        let locked = owner
            .locked_pages
            .checked_add_signed(pages)
            .expect("no more is given back than was charged");
        let is_beyond = || locked.saturating_mul(page_size) > owner.memlock_bytes;
        if pages > 0 && self.lock_cap == LockCap::Limited && is_beyond() {
            return Err(Errno::ENOMEM);
        }
        owner.locked_pages = locked;
        self.locked += pages;
        Ok(())
    }

    /// Moves the charge to the caller (`vfio_change_dma_owner()`).
    fn change_owner<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>) -> Result<(), Errno> {
        if self.pid == ctx.pid {
            return Ok(());
        }
        let pages = self.locked;
        let mut moved = Self {
            pid: ctx.pid,
            lock_cap: if ctx.host.process(ctx.pid).is_capable(Capability::IpcLock) {
                LockCap::Unlimited
            } else {
                LockCap::Limited
            },
            locked: 0,
            ..self.clone()
        };
        moved.charge(ctx, pages)?;
        // The former owner may be gone; then nobody is charged any more.
        let _ = self.charge(ctx, -pages);
        moved.locked = pages;
        *self = moved;
        Ok(())
    }
}
