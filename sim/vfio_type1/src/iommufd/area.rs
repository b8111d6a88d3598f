//! A mapping, and its way into domains and out: pinning, charging, reading pages back
//! (`drivers/iommu/iommufd/pages.c`).
//!
//! The kernel keeps pages apart from the areas that use them, as an area can be copied elsewhere.
//! Here none can, so no two areas share a page and each has its pages itself.

use iommu_core::ops::Prot;
use iommu_core::{DomainId, Errno, IommuOps, Iova, Paddr};

use super::table::LargePages;
use crate::process::{Life, Pid, Reserved};
use crate::type1::Ctx;

/// Runs of pages on their way from memory to domains at one time: what 64 KiB hold
/// (`TEMP_MEMORY_LIMIT`, `struct pfn_batch`).
const BATCH_RUNS: usize = 65536 / 12;

/// Who answers for pinned pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounting {
    /// Nobody: whoever mapped has CAP_IPC_LOCK.
    Unlimited,
    /// The user, within the RLIMIT_MEMLOCK of the process that mapped.
    User,
}

/// One mapping (`struct iopt_area`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// Bytes; never 0, and a page less than 2^64 at most.
    pub(super) length: u64,
    /// User address of the first byte.
    pub(super) vaddr: u64,
    pub(super) prot: Prot,
    /// Whose memory it is.
    pub(super) pid: Pid,
    pub(super) accounting: Accounting,
    /// The domain its pages are read back from; none if they are not pinned.
    pub(super) storage: Option<DomainId>,
}

impl Area {
    /// Bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Address in the process.
    pub fn vaddr(&self) -> u64 {
        self.vaddr
    }

    /// What devices may do.
    pub fn prot(&self) -> Prot {
        self.prot
    }

    /// Whether its pages are pinned: while there is any domain.
    pub fn is_pinned(&self) -> bool {
        self.storage.is_some()
    }

    /// Pages it touches.
    pub fn pages(&self, page_size: u64) -> u64 {
        self.pages_before(self.length, page_size)
    }

    /// Bytes of the first page that lie before it.
    fn offset(&self, page_size: u64) -> u64 {
        self.vaddr & (page_size - 1)
    }

    /// Pages that begin within the first `bytes` bytes; the first begins with the area.
    fn pages_before(&self, bytes: u64, page_size: u64) -> u64 {
        if bytes == 0 {
            return 0;
        }
        let last = bytes - 1;
        let offset = self.offset(page_size);
        // Neither sum can wrap: a user address and a length do not.
        (last / page_size) + (last % page_size + offset) / page_size + 1
    }

    /// Pins the pages and puts them into every domain, or nothing: no domain changes, nothing
    /// stays pinned or charged. `domains` is not empty (`iopt_area_fill_domains()`).
    pub(super) fn fill<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        iova: u64,
        domains: &[DomainId],
        large: LargePages,
    ) -> Result<(), Errno> {
        let mut done = 0;
        let mut batch = Vec::new();
        while done < self.length {
            let step = self
                .pin_batch(ctx, done, &mut batch)
                .map_err(|errno| (errno, 0))
                .and_then(|()| self.map_batch_everywhere(ctx, iova, done, domains, &batch, large));
            if let Err((errno, ahead)) = step {
                // Domains before the failing one have this batch already. No page is unpinned
                // while a table leads to it.
                for domain in &domains[..ahead] {
                    ctx.core.unmap(*domain, Iova(iova + done), bytes(&batch));
                }
                unpin_batch(ctx, &batch);
                self.take_back(ctx, iova, done, domains);
                return Err(errno);
            }
            done += bytes(&batch);
        }
        let pages = self.pages(ctx.host.page_size());
        let charged = ctx
            .step("iommufd:charge", Errno::ENOMEM)
            .and_then(|()| ctx.host.charge_pinned(self.pid, self.accounting, pages));
        if let Err(errno) = charged {
            self.take_back(ctx, iova, done, domains);
            return Err(errno);
        }
        self.storage = domains.first().copied();
        Ok(())
    }

    /// Takes the first `length` bytes out of all domains and unpins them; nobody was charged yet.
    fn take_back<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        iova: u64,
        length: u64,
        domains: &[DomainId],
    ) {
        let Some((last, others)) = domains.split_last().filter(|_| length > 0) else {
            return;
        };
        for domain in others {
            ctx.core.unmap(*domain, Iova(iova), length);
        }
        self.unmap_unpin(ctx, *last, iova, length);
    }

    /// Pins as many of the pages `done` bytes into the area as make a batch, or none
    /// (`pfn_reader_next()`).
    fn pin_batch<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        done: u64,
        batch: &mut Vec<(Paddr, u64)>,
    ) -> Result<(), Errno> {
        batch.clear();
        let mut at = done;
        while at < self.length && batch.len() < BATCH_RUNS {
            match self.pin_run(ctx, at) {
                Ok((paddr, length)) => {
                    batch.push((paddr, length));
                    at += length;
                }
                Err(errno) => {
                    unpin_batch(ctx, batch);
                    batch.clear();
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    /// Pins the next run of pages, `done` bytes into the area: where the bytes are and how many
    /// (`pfn_reader_user_pin()`).
    fn pin_run<O: IommuOps>(&self, ctx: &mut Ctx<'_, O>, done: u64) -> Result<(Paddr, u64), Errno> {
        ctx.step("iommufd:pin_pages", Errno::EFAULT)?;
        let page_size = ctx.host.page_size();
        let mode = ctx.pin_mode(self.prot);
        let into_page = (self.vaddr + done) & (page_size - 1);
        let pages = self.pages(page_size) - self.pages_before(done, page_size);
        let owner = ctx.host.process_mut(self.pid);
        if owner.life() == Life::Exited {
            return Err(Errno::EFAULT);
        }
        let run = owner.pin_run(self.vaddr + done - into_page, pages, &mode)?;
        if run.reserved == Reserved::Yes {
            // No page of memory: a device's registers.
            return Err(Errno::EFAULT);
        }
        ctx.host.pin(run.paddr, run.pages);
        let length = (run.pages * page_size - into_page).min(self.length - done);
        Ok((run.paddr.add(into_page), length))
    }

    /// Maps a batch in every domain; on failure, how many domains before the failing one have it.
    fn map_batch_everywhere<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        iova: u64,
        done: u64,
        domains: &[DomainId],
        batch: &[(Paddr, u64)],
        large: LargePages,
    ) -> Result<(), (Errno, usize)> {
        for (index, domain) in domains.iter().enumerate() {
            self.map_batch(ctx, *domain, iova + done, batch, large)
                .map_err(|errno| (errno, index))?;
        }
        Ok(())
    }

    /// Maps a batch in one domain, all or nothing (`batch_to_domain()`).
    fn map_batch<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        domain: DomainId,
        iova: u64,
        batch: &[(Paddr, u64)],
        large: LargePages,
    ) -> Result<(), Errno> {
        let prot = self.prot | Prot::CACHE;
        let mut done = 0;
        for (paddr, length) in batch {
            let piece = match large {
                LargePages::Allowed => *length,
                LargePages::Forbidden => ctx.host.page_size(),
            };
            let mut within = 0;
            while within < *length {
                let size = piece.min(*length - within);
                let at = Iova(iova + done);
                if let Err(errno) = ctx.core.map(domain, at, paddr.add(within), size, prot) {
                    if done > 0 {
                        ctx.core.unmap(domain, Iova(iova), done);
                    }
                    return Err(errno);
                }
                within += size;
                done += size;
            }
        }
        Ok(())
    }

    /// Maps what is pinned already into another domain, or nothing (`iopt_area_fill_domain()`).
    pub(super) fn copy_to<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        iova: u64,
        storage: DomainId,
        domain: DomainId,
        large: LargePages,
    ) -> Result<(), Errno> {
        let mut done = 0;
        let mut batch = Vec::new();
        while done < self.length {
            read_back(ctx, storage, iova + done, self.length - done, &mut batch);
            let length = bytes(&batch);
            if length == 0 {
                // A hole, which there should not be.
                done += ctx.host.page_size();
                continue;
            }
            if let Err(errno) = self.map_batch(ctx, domain, iova + done, &batch, large) {
                if done > 0 {
                    ctx.core.unmap(domain, Iova(iova), done);
                }
                return Err(errno);
            }
            done += length;
        }
        Ok(())
    }

    /// Takes the area out of every domain, unpins it and gives its charge back
    /// (`iopt_area_unfill_domains()`).
    pub(super) fn unfill<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        iova: u64,
        domains: &[DomainId],
    ) {
        let Some(storage) = self.storage.take() else {
            return;
        };
        for domain in domains.iter().filter(|domain| **domain != storage) {
            ctx.core.unmap(*domain, Iova(iova), self.length);
        }
        self.unmap_unpin(ctx, storage, iova, self.length);
        let pages = self.pages(ctx.host.page_size());
        ctx.host.uncharge_pinned(self.pid, self.accounting, pages);
    }

    /// Takes the first `length` bytes out of a domain and unpins their pages, batch by batch.
    fn unmap_unpin<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        domain: DomainId,
        iova: u64,
        length: u64,
    ) {
        let page_size = ctx.host.page_size();
        let mut done = 0;
        let mut batch = Vec::new();
        while done < length {
            read_back(ctx, domain, iova + done, length - done, &mut batch);
            let size = bytes(&batch);
            if size == 0 {
                done += page_size;
                continue;
            }
            ctx.core.unmap(domain, Iova(iova + done), size);
            for (paddr, size) in batch.drain(..) {
                // A page is unpinned with the part it begins in.
                let before = self.pages_before(done, page_size);
                let pages = self.pages_before(done + size, page_size) - before;
                let into_page = (self.vaddr + done) & (page_size - 1);
                let first = if done == 0 || into_page == 0 {
                    paddr.0 - into_page
                } else {
                    paddr.0 - into_page + page_size
                };
                ctx.unpin_run(Paddr(first), pages);
                done += size;
            }
        }
    }
}

/// What the tables of a domain hold from `iova` on, as physically contiguous runs
/// (`batch_from_domain()`); nothing only if nothing is mapped there.
fn read_back<O: IommuOps>(
    ctx: &Ctx<'_, O>,
    domain: DomainId,
    iova: u64,
    size: u64,
    batch: &mut Vec<(Paddr, u64)>,
) {
    batch.clear();
    ctx.core.ops().leaves(domain, Iova(iova), size, batch);
    batch.dedup_by(|next, run| {
        let follows = run.0.add(run.1) == next.0;
        if follows {
            run.1 += next.1;
        }
        follows
    });
}

fn bytes(batch: &[(Paddr, u64)]) -> u64 {
    batch.iter().map(|(_, length)| length).sum()
}

/// Unpins a batch that came from memory: all its runs but the last end with a page.
fn unpin_batch<O: IommuOps>(ctx: &mut Ctx<'_, O>, batch: &[(Paddr, u64)]) {
    let page_size = ctx.host.page_size();
    for (paddr, length) in batch {
        let into_page = paddr.0 & (page_size - 1);
        let pages = (into_page + length).div_ceil(page_size);
        ctx.unpin_run(Paddr(paddr.0 - into_page), pages);
    }
}
