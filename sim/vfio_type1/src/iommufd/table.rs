//! What is mapped in an address space and what may be: areas, reserved ranges, domains
//! (`struct io_pagetable`).

use std::collections::BTreeMap;

use iommu_core::ops::{Prot, ResvType};
use iommu_core::semantics::Iommufd as Rules;
use iommu_core::{DeviceId, DomainId, Errno, IommuOps, Iova};

use super::area::{Accounting, Area};
use crate::process::Capability;
use crate::type1::Ctx;

/// Whether domains may use pages larger than the CPU's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LargePages {
    /// They may: an area goes as a whole (`VFIO_TYPE1v2_IOMMU`).
    #[default]
    Allowed,
    /// They may not, so that any page can go alone (`VFIO_TYPE1_IOMMU`).
    Forbidden,
}

/// For whom a range is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReservedFor {
    /// A device's own regions.
    Device(DeviceId),
    /// What lies outside a domain's aperture.
    Domain(DomainId),
}

/// A range nothing may be mapped in; both ends belong to it (`struct iopt_reserved`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reserved {
    first: u64,
    last: u64,
    owner: ReservedFor,
}

/// `struct io_pagetable`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoPageTable {
    /// By address, never overlapping.
    areas: BTreeMap<u64, Area>,
    reserved: Vec<Reserved>,
    /// The first holds the pages; a domain that goes is replaced by the last.
    domains: Vec<DomainId>,
    /// What addresses and lengths must be multiples of, in bytes.
    alignment: u64,
    large: LargePages,
}

impl Default for IoPageTable {
    fn default() -> Self {
        Self {
            areas: BTreeMap::new(),
            reserved: vec![],
            domains: vec![],
            alignment: 1,
            large: LargePages::Allowed,
        }
    }
}

impl IoPageTable {
    /// Areas by address.
    pub fn areas(&self) -> impl Iterator<Item = (u64, &Area)> {
        self.areas.iter().map(|(iova, area)| (*iova, area))
    }

    /// Domains that hold every area.
    pub fn domains(&self) -> &[DomainId] {
        &self.domains
    }

    /// What addresses and lengths must be multiples of, in bytes.
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// Whether large pages may be used.
    pub fn large_pages(&self) -> LargePages {
        self.large
    }

    /// Where something may be mapped: what no reserved range covers, both ends included.
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        let mut reserved: Vec<(u64, u64)> = self
            .reserved
            .iter()
            .map(|range| (range.first, range.last))
            .collect();
        reserved.sort_unstable();
        let mut free = Vec::new();
        let mut next = Some(0);
        for (first, last) in reserved {
            let Some(start) = next else { break };
            if first > start {
                free.push((start, first - 1));
            }
            next = last.checked_add(1).map(|after| after.max(start));
        }
        free.extend(next.map(|start| (start, u64::MAX)));
        free
    }

    /// The lowest area that meets `[first, last]`.
    fn first_area(&self, first: u64, last: u64) -> Option<u64> {
        let before = self.areas.range(..first).next_back();
        let across = before.filter(|(iova, area)| **iova + (area.length - 1) >= first);
        across
            .or_else(|| self.areas.range(first..=last).next())
            .map(|(iova, _)| *iova)
    }

    fn is_aligned(&self, value: u64) -> bool {
        value & (self.alignment - 1) == 0
    }

    /// Maps user memory; pins it if there is a domain. All or nothing (`iopt_map_user_pages()`).
    ///
    /// # Errors
    /// EOVERFLOW: user addresses or addresses wrap. EINVAL: length 0 or nearly 2^64, alignment,
    /// reserved. EEXIST: something is mapped there. EFAULT, ENOMEM: pages cannot be pinned or
    /// charged. Others: the driver's.
    pub(super) fn map<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        iova: u64,
        vaddr: u64,
        length: u64,
        prot: Prot,
    ) -> Result<(), Errno> {
        let wraps = vaddr.checked_add(length).is_none();
        let impossible = length == 0 || length > u64::MAX - ctx.host.page_size();
        if wraps && ctx.semantics().vfio.iommufd == Rules::WrapFirst {
            return Err(Errno::EOVERFLOW);
        }
        if impossible {
            return Err(Errno::EINVAL);
        }
        if wraps {
            return Err(Errno::EOVERFLOW);
        }
        ctx.step("iommufd:alloc_pages", Errno::ENOMEM)?;
        ctx.step("iommufd:alloc_area", Errno::ENOMEM)?;
        if !self.is_aligned(length) || !self.is_aligned(iova) {
            return Err(Errno::EINVAL);
        }
        let last = iova.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?;
        if self.meets_reserved(iova, last) {
            return Err(Errno::EINVAL);
        }
        if self.first_area(iova, last).is_some() {
            return Err(Errno::EEXIST);
        }
        if !self.is_aligned(vaddr) {
            return Err(Errno::EINVAL);
        }
        let unlimited = ctx.host.process(ctx.pid).is_capable(Capability::IpcLock);
        let mut area = Area {
            length,
            vaddr,
            prot,
            pid: ctx.pid,
            accounting: if unlimited {
                Accounting::Unlimited
            } else {
                Accounting::User
            },
            storage: None,
        };
        if !self.domains.is_empty() {
            area.fill(ctx, iova, &self.domains, self.large)?;
        }
        self.areas.insert(iova, area);
        Ok(())
    }

    /// Unmaps the areas of a range, lowest first: how many bytes went, and ENOENT if that stopped at
    /// an area that reaches beyond the range (`iopt_unmap_iova_range()`).
    pub(super) fn unmap<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        first: u64,
        last: u64,
    ) -> (u64, Result<(), Errno>) {
        let mut bytes = 0;
        while let Some(iova) = self.first_area(first, last) {
            let length = self.areas[&iova].length;
            if iova < first || iova + (length - 1) > last {
                return (bytes, Err(Errno::ENOENT));
            }
            let mut area = self.areas.remove(&iova).expect("found");
            area.unfill(ctx, iova, &self.domains);
            bytes += length;
        }
        (bytes, Ok(()))
    }

    /// Cuts areas so that one ends with each of these addresses (`iopt_cut_iova()`).
    ///
    /// # Errors
    /// EINVAL: not where a page ends. ENOMEM. Cuts before the failing one stay.
    pub(super) fn cut<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        lasts: &[u64],
    ) -> Result<(), Errno> {
        for last in lasts {
            let Some(iova) = self.first_area(*last, *last) else {
                continue;
            };
            let area = &self.areas[&iova];
            // An address that begins an area is passed over like one that ends it, although its
            // first byte could not be cut off.
            if *last == iova || *last == iova + (area.length - 1) {
                continue;
            }
            let kept = last - iova + 1;
            if !self.is_aligned(last + 1) || !self.is_aligned(area.vaddr + kept) {
                return Err(Errno::EINVAL);
            }
            ctx.step("iommufd:split_area", Errno::ENOMEM)?;
            let area = self.areas.get_mut(&iova).expect("found");
            let rest = Area {
                length: area.length - kept,
                vaddr: area.vaddr + kept,
                ..area.clone()
            };
            area.length = kept;
            self.areas.insert(last + 1, rest);
        }
        Ok(())
    }

    /// Every area is to consist of single pages from now on (`iopt_disable_large_pages()`).
    ///
    /// # Errors
    /// EINVAL: there are areas in domains already. EADDRINUSE: an area that is not of whole pages.
    pub(super) fn forbid_large_pages<O: IommuOps>(
        &mut self,
        ctx: &Ctx<'_, O>,
    ) -> Result<(), Errno> {
        if self.large == LargePages::Forbidden {
            return Ok(());
        }
        if !self.domains.is_empty() && !self.areas.is_empty() {
            return Err(Errno::EINVAL);
        }
        let alignment = ctx.host.page_size().max(self.alignment);
        self.check_alignment(alignment)?;
        self.large = LargePages::Forbidden;
        self.alignment = alignment;
        Ok(())
    }

    /// Whether all areas would be allowed under this alignment.
    fn check_alignment(&self, alignment: u64) -> Result<(), Errno> {
        let mask = alignment - 1;
        let fits = |(iova, area): (&u64, &Area)| (iova | area.length | area.vaddr) & mask == 0;
        if alignment <= self.alignment || self.areas.iter().all(fits) {
            Ok(())
        } else {
            Err(Errno::EADDRINUSE)
        }
    }

    fn meets_reserved(&self, first: u64, last: u64) -> bool {
        self.reserved
            .iter()
            .any(|range| range.first <= last && first <= range.last)
    }

    fn reserve(&mut self, first: u64, last: u64, owner: ReservedFor) -> Result<(), Errno> {
        if self.first_area(first, last).is_some() {
            return Err(Errno::EADDRINUSE);
        }
        self.reserved.push(Reserved { first, last, owner });
        Ok(())
    }

    fn unreserve(&mut self, owner: ReservedFor) {
        self.reserved.retain(|range| range.owner != owner);
    }

    /// Reserves a device's regions, or none; where software maps its doorbells, if it has to
    /// (`iopt_table_enforce_dev_resv_regions()`).
    ///
    /// # Errors
    /// EADDRINUSE: something is mapped there. ENOMEM.
    pub(super) fn reserve_device<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        device: DeviceId,
    ) -> Result<Option<Iova>, Errno> {
        ctx.step("iommufd:reserve_iova", Errno::ENOMEM)?;
        let mut doorbells = None;
        for region in ctx.core.ops().resv_regions(device) {
            if region.kind == ResvType::DirectRelaxable {
                continue;
            }
            if region.kind == ResvType::SwMsi {
                doorbells = Some(region.start);
            }
            let owner = ReservedFor::Device(device);
            if let Err(errno) = self.reserve(region.start.0, region.end().0, owner) {
                self.unreserve(owner);
                return Err(errno);
            }
        }
        Ok(doorbells)
    }

    /// A device's regions are free again.
    pub(super) fn unreserve_device(&mut self, device: DeviceId) {
        self.unreserve(ReservedFor::Device(device));
    }

    /// A domain comes: everything is mapped into it, or nothing changes
    /// (`iopt_table_add_domain()`).
    ///
    /// # Errors
    /// EINVAL: its pages are larger than the CPU's. EADDRINUSE: an area lies outside its aperture
    /// or is not of whole pages of it. EFAULT, ENOMEM: pages cannot be pinned or charged. Others:
    /// the driver's.
    pub(super) fn add_domain<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        domain: DomainId,
    ) -> Result<(), Errno> {
        let alignment = smallest_page(ctx, domain).max(self.alignment);
        if alignment > ctx.host.page_size() {
            return Err(Errno::EINVAL);
        }
        self.check_alignment(alignment)?;
        let added = self
            .reserve_outside(ctx, domain)
            .and_then(|()| ctx.step("iommufd:add_domain", Errno::ENOMEM))
            .and_then(|()| self.fill_domain(ctx, domain));
        if let Err(errno) = added {
            self.unreserve(ReservedFor::Domain(domain));
            return Err(errno);
        }
        self.alignment = alignment;
        self.domains.push(domain);
        Ok(())
    }

    fn reserve_outside<O: IommuOps>(
        &mut self,
        ctx: &Ctx<'_, O>,
        domain: DomainId,
    ) -> Result<(), Errno> {
        let aperture = ctx.core.ops().aperture(domain);
        let owner = ReservedFor::Domain(domain);
        if let Some(last) = aperture.start().checked_sub(1) {
            self.reserve(0, last, owner)?;
        }
        if let Some(first) = aperture.end().checked_add(1) {
            self.reserve(first, u64::MAX, owner)?;
        }
        Ok(())
    }

    /// Maps every area into a domain that is not in the list yet, or none (`iopt_fill_domain()`).
    fn fill_domain<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        domain: DomainId,
    ) -> Result<(), Errno> {
        let entries: Vec<u64> = self.areas.keys().copied().collect();
        for (index, iova) in entries.iter().enumerate() {
            let area = self.areas.get_mut(iova).expect("listed");
            let filled = match area.storage {
                Some(storage) => area.copy_to(ctx, *iova, storage, domain, self.large),
                None => area.fill(ctx, *iova, &[domain], self.large),
            };
            if let Err(errno) = filled {
                for iova in &entries[..index] {
                    self.leave_domain(ctx, *iova, domain);
                }
                return Err(errno);
            }
        }
        Ok(())
    }

    /// An area leaves a domain that is not in the list; pages that no other domain holds are
    /// unpinned.
    fn leave_domain<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>, iova: u64, domain: DomainId) {
        let area = self.areas.get_mut(&iova).expect("listed");
        match self.domains.first() {
            Some(other) => {
                if area.storage == Some(domain) {
                    area.storage = Some(*other);
                }
                ctx.core.unmap(domain, Iova(iova), area.length);
            }
            None => area.unfill(ctx, iova, &[]),
        }
    }

    /// A domain goes: what it mapped is unmapped, and with the last one nothing is pinned any more
    /// (`iopt_table_remove_domain()`).
    pub(super) fn remove_domain<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>, domain: DomainId) {
        let Some(index) = self.domains.iter().position(|other| *other == domain) else {
            return;
        };
        self.domains.swap_remove(index);
        let entries: Vec<u64> = self.areas.keys().copied().collect();
        for iova in entries {
            self.leave_domain(ctx, iova, domain);
        }
        self.unreserve(ReservedFor::Domain(domain));
        let own = match self.large {
            LargePages::Allowed => 1,
            LargePages::Forbidden => ctx.host.page_size(),
        };
        let pages = self.domains.iter().map(|other| smallest_page(ctx, *other));
        self.alignment = pages.fold(own, u64::max);
    }
}

fn smallest_page<O: IommuOps>(ctx: &Ctx<'_, O>, domain: DomainId) -> u64 {
    1 << ctx.core.ops().pgsize_bitmap(domain).trailing_zeros()
}
