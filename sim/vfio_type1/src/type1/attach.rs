//! A group joins the container (`vfio_iommu_type1_attach_group()`).

use iommu_core::ops::{Capability, DomainKind, Prot, ResvRegion, ResvType};
use iommu_core::semantics::{Coherency, FineSuperpages, LateAttachFailure};
use iommu_core::{Defect, DomainId, Errno, GroupId, IommuOps, Iova, MsiIsolation, Paddr};

use super::{
    Coherent, Ctx, DirtyScope, FineGrained, GroupKind, IovaList, Mapped, Member, Nesting, Type1,
    Type1Domain,
};
use crate::host::UnsafeInterrupts;

impl Type1 {
    /// A group joins: it gets a domain of its own or shares one.
    ///
    /// # Errors
    /// EBUSY: a user address is withdrawn. EINVAL: already here; several buses; aperture or
    /// reserved regions conflict. EPERM: interrupts are not isolated. ENOMEM, EIO, and the
    /// driver's. The container is as before.
    pub(crate) fn attach_group<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        group: GroupId,
        kind: GroupKind,
    ) -> Result<(), Errno> {
        if self.vaddr_invalid > 0 {
            return Err(Errno::EBUSY);
        }
        if self.holds(group) {
            return Err(Errno::EINVAL);
        }
        ctx.step("vfio:alloc_group", Errno::ENOMEM)?;
        if kind == GroupKind::Emulated {
            self.emulated.insert(
                0,
                Member {
                    group,
                    scope: DirtyScope::PinnedOnly,
                },
            );
            return Ok(());
        }
        ctx.step("vfio:alloc_domain", Errno::ENOMEM)?;
        let devices = &ctx.core.group(group).ok_or(Errno::ENODEV)?.devices;
        let bus = |device| ctx.core.device(device).map(|device| device.bus);
        let first = *devices.first().ok_or(Errno::ENODEV)?;
        if devices.iter().any(|device| bus(*device) != bus(first)) {
            return Err(Errno::EINVAL);
        }
        let domain = ctx
            .core
            .domain_alloc(DomainKind::Unmanaged, first)
            .map_err(|errno| ctx.semantics().vfio.domain_alloc_failure.unwrap_or(errno))?;
        let joined = self.join(ctx, group, domain);
        match joined {
            Ok(iova_list) => {
                self.iova_list = iova_list;
                self.non_pinned_groups += 1;
                Ok(())
            }
            Err(Unwind { errno, attached }) => {
                if attached == Attached::Yes {
                    ctx.core.detach_group(domain, group);
                }
                ctx.core.domain_free(domain);
                Err(errno)
            }
        }
    }

    fn holds(&self, group: GroupId) -> bool {
        self.domains
            .iter()
            .flat_map(|domain| &domain.members)
            .chain(&self.emulated)
            .any(|member| member.group == group)
    }

    /// Attaches the group to `domain`, checks it and finds its place; the list of addresses that
    /// results.
    fn join<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        group: GroupId,
        domain: DomainId,
    ) -> Result<IovaList, Unwind> {
        let free = |errno| Unwind {
            errno,
            attached: Attached::No,
        };
        let detach = |errno| Unwind {
            errno,
            attached: Attached::Yes,
        };
        if self.nesting == Nesting::On {
            ctx.core.ops_mut().enable_nesting(domain).map_err(free)?;
        }
        ctx.core.attach_group(domain, group).map_err(free)?;

        let aperture = ctx.core.ops().aperture(domain);
        if self.aperture_conflicts(*aperture.start(), *aperture.end()) {
            return Err(detach(Errno::EINVAL));
        }
        let regions = ctx.core.group_resv_regions(group).map_err(detach)?;
        if self.reserved_conflicts(&regions) {
            return Err(detach(Errno::EINVAL));
        }
        ctx.step("vfio:copy_iova_list", Errno::ENOMEM)
            .map_err(detach)?;
        let mut iova_list = self.iova_list.clone();
        iova_list.resize(*aperture.start(), *aperture.end());
        ctx.step("vfio:exclude_reserved", Errno::ENOMEM)
            .map_err(detach)?;
        iova_list.exclude(&regions).map_err(detach)?;

        let unsafe_refused = ctx.host.params.unsafe_interrupts == UnsafeInterrupts::Refused;
        if unsafe_refused && !interrupts_isolated(ctx, group) {
            return Err(detach(Errno::EPERM));
        }
        let coherent = coherency(ctx, group, domain);
        let member = Member {
            group,
            scope: DirtyScope::Everything,
        };
        if self.share(ctx, member, domain, coherent)? {
            return Ok(iova_list);
        }
        let mut new = Type1Domain {
            domain,
            members: vec![member],
            fine: probe_superpages(ctx, domain, &iova_list),
            coherent,
            pasid: None,
        };
        self.replay(ctx, &new).map_err(detach)?;
        let late_failure = ctx.semantics().vfio.late_attach_failure;
        if late_failure == LateAttachFailure::KeepsPins {
            self.all_are_mapped();
        }
        if let Err(errno) = self.finish(ctx, &mut new, &regions) {
            if late_failure == LateAttachFailure::Unpins {
                self.unreplay(ctx, &new, self.dma.len());
            }
            return Err(detach(errno));
        }
        self.all_are_mapped();
        self.domains.insert(0, new);
        self.update_pgsize_bitmap(ctx);
        Ok(iova_list)
    }

    /// The steps after replay: MSI addresses, and the guest's table for a domain that comes late.
    fn finish<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        new: &mut Type1Domain,
        regions: &[ResvRegion],
    ) -> Result<(), Errno> {
        if let Some(base) = sw_msi_base(regions) {
            match ctx.core.get_msi_cookie(new.domain, base) {
                Ok(()) | Err(Errno::ENODEV) => {}
                Err(errno) => return Err(errno),
            }
        }
        if let Some(config) = self.pasid
            && !ctx.semantics().has(Defect::LaterDomainsMissTable)
        {
            ctx.core.attach_pasid_table(new.domain, &config)?;
            new.pasid = Some(config);
        }
        Ok(())
    }

    /// Tries to put the group into a domain the container has, newest first; whether it succeeded.
    /// The group is back on `domain` otherwise.
    fn share<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        member: Member,
        domain: DomainId,
        coherent: Coherent,
    ) -> Result<bool, Unwind> {
        for existing in &mut self.domains {
            if existing.coherent != coherent {
                continue;
            }
            ctx.core.detach_group(domain, member.group);
            if ctx.core.attach_group(existing.domain, member.group).is_ok() {
                existing.members.insert(0, member);
                ctx.core.domain_free(domain);
                return Ok(true);
            }
            ctx.core
                .attach_group(domain, member.group)
                .map_err(|errno| Unwind {
                    errno,
                    attached: Attached::No,
                })?;
        }
        Ok(false)
    }

    /// `vfio_iommu_aper_conflict()`.
    fn aperture_conflicts(&self, start: u64, end: u64) -> bool {
        let Some(bounds) = self.iova_list.bounds() else {
            return false;
        };
        if start > bounds.end || end < bounds.start {
            return true;
        }
        let below =
            start > bounds.start && self.find_dma(bounds.start, start - bounds.start).is_some();
        let above = end < bounds.end && self.find_dma(end + 1, bounds.end - end).is_some();
        below || above
    }

    /// `vfio_iommu_resv_conflict()`.
    fn reserved_conflicts(&self, regions: &[ResvRegion]) -> bool {
        regions.iter().any(|region| {
            region.kind != ResvType::DirectRelaxable
                && self.find_dma(region.start.0, region.length).is_some()
        })
    }

    /// Maps everything the container maps into a new domain, pinning what was not pinned
    /// (`vfio_iommu_replay()`).
    fn replay<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        new: &Type1Domain,
    ) -> Result<(), Errno> {
        let entries: Vec<u64> = self.dma.keys().copied().collect();
        for (index, iova) in entries.iter().enumerate() {
            if let Err(errno) = self.replay_one(ctx, new, *iova) {
                self.unreplay(ctx, new, index);
                return Err(errno);
            }
        }
        Ok(())
    }

    /// Takes the `count` lowest mappings out of `new` again, the last first.
    fn unreplay<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>, new: &Type1Domain, count: usize) {
        let replayed: Vec<(u64, u64)> = self
            .dma
            .iter()
            .take(count)
            .map(|(iova, dma)| (*iova, dma.size))
            .collect();
        for (iova, size) in replayed.into_iter().rev() {
            self.unreplay_one(ctx, new, iova, size);
        }
    }

    /// Every mapping is in the domains of the container now.
    fn all_are_mapped(&mut self) {
        for dma in self.dma.values_mut() {
            dma.mapped = Mapped::Yes;
        }
    }

    /// Replays one mapping, or nothing of it.
    fn replay_one<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        new: &Type1Domain,
        iova: u64,
    ) -> Result<(), Errno> {
        let (size, prot, mapped) = {
            let dma = &self.dma[&iova];
            (dma.size, dma.prot | new.prot(ctx), dma.mapped)
        };
        let mut done = 0;
        while done < size {
            let at = iova + done;
            let step = match mapped {
                Mapped::Yes => self.copy_run(ctx, new, at, size - done, prot),
                Mapped::No => self.pin_and_map(ctx, new, iova, done, prot),
            };
            match step {
                Ok(length) => done += length,
                Err(errno) => {
                    self.unreplay_one(ctx, new, iova, done);
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    /// Pins the next run of a mapping and puts it into `new` alone.
    fn pin_and_map<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        new: &Type1Domain,
        iova: u64,
        done: u64,
        prot: Prot,
    ) -> Result<u64, Errno> {
        let page_size = ctx.host.page_size();
        let dma = self.dma.get_mut(&iova).expect("the mapping exists");
        let (paddr, pages) = dma.pin_pages(ctx, iova, done, (dma.size - done) / page_size)?;
        let length = pages * page_size;
        let mapped = ctx
            .core
            .map(new.domain, Iova(iova + done), paddr, length, prot);
        if let Err(errno) = mapped {
            dma.unpin_pages(ctx, iova + done, paddr, pages);
            return Err(errno);
        }
        Ok(length)
    }

    /// Takes the first `size` bytes of a replayed mapping out of `new`; what was pinned for it is
    /// unpinned.
    fn unreplay_one<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        new: &Type1Domain,
        iova: u64,
        size: u64,
    ) {
        if self.dma[&iova].mapped == Mapped::Yes {
            ctx.core.unmap(new.domain, Iova(iova), size);
            return;
        }
        let page_size = ctx.host.page_size();
        let mut done = 0;
        while done < size {
            let at = iova + done;
            let Some((paddr, length)) = run_in(ctx, new.domain, at, size - done) else {
                done += page_size;
                continue;
            };
            ctx.core.unmap(new.domain, Iova(at), length);
            let dma = self.dma.get_mut(&iova).expect("the mapping exists");
            dma.unpin_pages(ctx, at, paddr, length / page_size);
            done += length;
        }
    }

    /// Maps into `new` the run that the first domain has at `iova`; its length. A hole, which
    /// there should not be, is skipped page by page.
    fn copy_run<O: IommuOps>(
        &self,
        ctx: &mut Ctx<'_, O>,
        new: &Type1Domain,
        iova: u64,
        size: u64,
        prot: Prot,
    ) -> Result<u64, Errno> {
        let first = self.domains.first().ok_or(Errno::EINVAL)?.domain;
        let Some((paddr, length)) = run_in(ctx, first, iova, size) else {
            return Ok(ctx.host.page_size());
        };
        ctx.core
            .map(new.domain, Iova(iova), paddr, length, prot)
            .map(|()| length)
    }
}

/// The physically contiguous run at `iova` in a domain, of at most `size` bytes.
fn run_in<O: IommuOps>(
    ctx: &Ctx<'_, O>,
    domain: DomainId,
    iova: u64,
    size: u64,
) -> Option<(Paddr, u64)> {
    let ops = ctx.core.ops();
    let (paddr, mut length) = ops.leaf(domain, Iova(iova))?;
    while length < size {
        match ops.leaf(domain, Iova(iova + length)) {
            Some((next, more)) if next == paddr.add(length) => length += more,
            _ => break,
        }
    }
    Some((paddr, length.min(size)))
}

impl Type1Domain {
    /// What every mapping in this domain has beside its own rights.
    pub(super) fn prot<O: IommuOps>(&self, ctx: &Ctx<'_, O>) -> Prot {
        match (ctx.semantics().vfio.coherency, self.coherent) {
            (Coherency::BusCapability, Coherent::No) => Prot::NONE,
            (Coherency::BusCapability, Coherent::Yes) | (Coherency::DomainOp, _) => Prot::CACHE,
        }
    }
}

/// How far a failed attach had come.
struct Unwind {
    errno: Errno,
    attached: Attached,
}

#[derive(PartialEq, Eq)]
enum Attached {
    No,
    Yes,
}

/// Where software maps doorbells, unless hardware has a window of its own
/// (`vfio_iommu_has_sw_msi()`).
fn sw_msi_base(regions: &[ResvRegion]) -> Option<Iova> {
    if regions.iter().any(|region| region.kind == ResvType::Msi) {
        return None;
    }
    regions
        .iter()
        .find(|region| region.kind == ResvType::SwMsi)
        .map(|region| region.start)
}

/// Whether the interrupts of all devices of the group are told from others'.
pub(crate) fn interrupts_isolated<O: IommuOps>(ctx: &Ctx<'_, O>, group: GroupId) -> bool {
    let devices = ctx.core.group(group).map(|group| group.devices.clone());
    devices.unwrap_or_default().iter().all(|device| {
        let isolated = ctx
            .core
            .device(*device)
            .is_some_and(|device| device.msi == MsiIsolation::Isolated);
        isolated
            || ctx
                .core
                .ops()
                .capable(*device, Capability::InterruptRemapping)
    })
}

fn coherency<O: IommuOps>(ctx: &mut Ctx<'_, O>, group: GroupId, domain: DomainId) -> Coherent {
    let coherent = match ctx.semantics().vfio.coherency {
        Coherency::BusCapability => {
            let device = ctx.core.group(group).map(|group| group.devices[0]);
            device.is_some_and(|device| ctx.core.ops().capable(device, Capability::CacheCoherency))
        }
        Coherency::DomainOp => ctx.core.ops_mut().enforce_cache_coherency(domain),
    };
    if coherent {
        Coherent::Yes
    } else {
        Coherent::No
    }
}

/// Whether the IOMMU removes a single page of two mapped together (`vfio_test_domain_fgsp()`).
fn probe_superpages<O: IommuOps>(
    ctx: &mut Ctx<'_, O>,
    domain: DomainId,
    iova_list: &IovaList,
) -> FineGrained {
    let page_size = ctx.host.page_size();
    let start = match ctx.semantics().vfio.fine_superpages {
        FineSuperpages::NotProbed => return FineGrained::No,
        FineSuperpages::AtZero => 0,
        FineSuperpages::AtFirstFree => {
            let place = iova_list.ranges().iter().find_map(|range| {
                let start = range.start.checked_next_multiple_of(2 * page_size)?;
                let last = start.checked_add(2 * page_size - 1)?;
                (start >= range.start && last <= range.end).then_some(start)
            });
            match place {
                Some(start) => start,
                None => return FineGrained::No,
            }
        }
    };
    let prot = Prot::READ | Prot::WRITE | Prot::CACHE;
    let page = ctx.host.zero_frame();
    if ctx
        .core
        .map(domain, Iova(start), page, 2 * page_size, prot)
        .is_err()
    {
        return FineGrained::No;
    }
    let removed = ctx.core.unmap(domain, Iova(start), page_size);
    if removed == page_size {
        ctx.core.unmap(domain, Iova(start + page_size), page_size);
        FineGrained::No
    } else {
        FineGrained::Yes
    }
}
