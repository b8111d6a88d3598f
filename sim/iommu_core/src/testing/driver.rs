//! What the double does as a driver.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::{Fw, Leaf, SW_MSI, Stage, Table, TableDouble};
use crate::ops::{Capability, DeviceFault, DomainKind, Gather, PageResponse, Prot, ResvRegion};
use crate::semantics::{AttachOrder, DomainAlloc, NoAccess, SeriesIo};
use crate::uapi::{CacheInvalidateInfo, PasidConfig, PasidTableConfig};
use crate::{Call, Control, Defect, DeviceId, DomainId, Errno, IommuOps, Iova, Paddr};

impl IommuOps for TableDouble {
    type Firmware = Fw;

    fn control(&self) -> &Control {
        &self.control
    }

    fn control_mut(&mut self) -> &mut Control {
        &mut self.control
    }

    fn probe_device(&mut self, device: DeviceId, firmware: &Fw) -> Result<(), Errno> {
        if firmware.instance >= self.instances.len() {
            return Err(Errno::ENODEV);
        }
        self.devices.insert(device, (firmware.clone(), None));
        Ok(())
    }

    fn release_device(&mut self, device: DeviceId) {
        self.devices.remove(&device);
    }

    fn domain_alloc(
        &mut self,
        domain: DomainId,
        kind: DomainKind,
        device: Option<DeviceId>,
    ) -> Result<(), Errno> {
        let modern = self.control.semantics.core.domain_alloc == DomainAlloc::WithDevice;
        if kind == DomainKind::Blocked && !modern {
            return Err(Errno::EINVAL);
        }
        self.control.step("driver:domain_alloc", Errno::ENOMEM)?;
        self.domains.insert(
            domain,
            Table {
                kind,
                nesting: false,
                finalised: None,
                pasid: None,
                aborts: false,
                leaves: BTreeMap::new(),
                seen: BTreeSet::new(),
            },
        );
        if let Some((firmware, _)) = device.and_then(|device| self.devices.get(&device))
            && !matches!(kind, DomainKind::Blocked | DomainKind::Identity)
        {
            self.finalise(domain, firmware.instance);
        }
        Ok(())
    }

    fn domain_free(&mut self, domain: DomainId) {
        self.domains.remove(&domain);
        self.stale.retain(|(owner, _), _| *owner != domain);
    }

    fn attach_dev(
        &mut self,
        domain: DomainId,
        device: DeviceId,
        _old: Option<DomainId>,
    ) -> Result<(), Errno> {
        let rules = self.control.semantics.driver;
        let entry = self.devices.get_mut(&device).ok_or(Errno::ENOENT)?;
        let instance = entry.0.instance;
        if rules.attach_order == AttachOrder::DetachFirst {
            entry.1 = None;
        }
        let table = self.domains.get(&domain).ok_or(Errno::EINVAL)?;
        if !table.seen.contains(&device) {
            self.control.step("driver:attach", Errno::ENOMEM)?;
        }
        let fixed = matches!(table.kind, DomainKind::Blocked | DomainKind::Identity);
        if !fixed {
            self.finalise(domain, instance);
            let (owner, _) = self.domains[&domain].finalised.expect("finalised");
            if owner != instance {
                return Err(rules.other_smmu);
            }
        }
        if let (Some(entry), Some(table)) =
            (self.devices.get_mut(&device), self.domains.get_mut(&domain))
        {
            entry.1 = Some(domain);
            table.seen.insert(device);
        }
        Ok(())
    }

    fn detach_dev(&mut self, _domain: DomainId, device: DeviceId) {
        if let Some(entry) = self.devices.get_mut(&device) {
            entry.1 = None;
        }
    }

    fn map_pages(
        &mut self,
        domain: DomainId,
        iova: Iova,
        paddr: Paddr,
        pgsize: u64,
        pgcount: u64,
        prot: Prot,
        mapped: &mut u64,
    ) -> Result<(), Errno> {
        let aperture = self.aperture(domain);
        if !(prot.contains(Prot::READ) || prot.contains(Prot::WRITE)) {
            if self.control.semantics.driver.no_access == NoAccess::Refuse {
                return Err(Errno::EINVAL);
            }
            *mapped += pgsize * pgcount;
            return Ok(());
        }
        if self.page_sizes & pgsize == 0 {
            return Err(Errno::EINVAL);
        }
        for page in 0..pgcount {
            let at = iova.0 + page * pgsize;
            if !aperture.contains(&(at + pgsize - 1)) {
                return Err(Errno::ERANGE);
            }
            self.control.step("driver:map", Errno::ENOMEM)?;
            let table = self.domains.get_mut(&domain).ok_or(Errno::EINVAL)?;
            let below = table.leaves.range(..at + pgsize).next_back();
            if below.is_some_and(|(start, leaf)| start + leaf.size > at) {
                return Err(Errno::EEXIST);
            }
            table.leaves.insert(
                at,
                Leaf {
                    paddr: paddr.0 + page * pgsize,
                    size: pgsize,
                    prot,
                },
            );
            *mapped += pgsize;
        }
        Ok(())
    }

    fn unmap_pages(
        &mut self,
        domain: DomainId,
        iova: Iova,
        pgsize: u64,
        pgcount: u64,
        gather: &mut Gather,
    ) -> u64 {
        let mut removed = 0;
        for page in 0..pgcount {
            let at = iova.0 + page * pgsize;
            let Some(table) = self.domains.get_mut(&domain) else {
                break;
            };
            let Some(leaf) = table.leaves.get(&at).copied() else {
                break;
            };
            table.leaves.remove(&at);
            self.stale.insert((domain, at), leaf.paddr);
            if let Some(before) = gather.add_page(Iova(at), leaf.size) {
                self.iotlb_sync(domain, &before);
            }
            removed += leaf.size;
            if leaf.size > pgsize {
                break;
            }
        }
        removed
    }

    fn iotlb_sync(&mut self, domain: DomainId, gather: &Gather) {
        if let Some(range) = gather.range() {
            self.stale
                .retain(|(owner, iova), _| *owner != domain || !range.contains(iova));
            self.control.journal.note(|| Call {
                op: "driver:iotlb_sync",
                device: None,
                domain: Some(domain),
                address: *range.start(),
                size: range.end() - range.start() + 1,
                result: Ok(0),
            });
        }
    }

    fn flush_iotlb_all(&mut self, domain: DomainId) {
        self.stale.retain(|(owner, _), _| *owner != domain);
    }

    fn iova_to_phys(&self, domain: DomainId, iova: Iova) -> Option<Paddr> {
        self.leaf(domain, iova).map(|(paddr, _)| paddr)
    }

    fn leaf(&self, domain: DomainId, iova: Iova) -> Option<(Paddr, u64)> {
        let table = self.domains.get(&domain)?;
        let (start, leaf) = table.leaves.range(..=iova.0).next_back()?;
        let offset = iova.0 - start;
        (offset < leaf.size).then(|| (Paddr(leaf.paddr + offset), leaf.size - offset))
    }

    fn pgsize_bitmap(&self, _domain: DomainId) -> u64 {
        self.page_sizes
    }

    fn aperture(&self, domain: DomainId) -> RangeInclusive<u64> {
        match self.domains.get(&domain).and_then(|table| table.finalised) {
            Some((_, Stage::S1)) => 0..=(1 << 48) - 1,
            Some((_, Stage::S2)) => 0..=(1 << 44) - 1,
            None => 0..=u64::MAX,
        }
    }

    fn resv_regions(&self, device: DeviceId) -> Vec<ResvRegion> {
        let mut regions = vec![SW_MSI];
        if let Some((firmware, _)) = self.devices.get(&device) {
            regions.extend(&firmware.resv);
        }
        regions
    }

    fn capable(&self, _device: DeviceId, capability: Capability) -> bool {
        matches!(capability, Capability::NoExec)
    }

    fn enforce_cache_coherency(&mut self, _domain: DomainId) -> bool {
        false
    }

    fn enable_nesting(&mut self, domain: DomainId) -> Result<(), Errno> {
        let table = self.domains.get_mut(&domain).ok_or(Errno::EINVAL)?;
        if table.kind != DomainKind::Unmanaged {
            return Err(Errno::EINVAL);
        }
        if table.finalised.is_some() {
            return Err(Errno::EPERM);
        }
        table.nesting = true;
        Ok(())
    }

    fn is_nesting(&self, domain: DomainId) -> Result<bool, Errno> {
        Ok(self.domains.get(&domain).is_some_and(|table| table.nesting))
    }

    fn attach_pasid_table(
        &mut self,
        domain: DomainId,
        config: &PasidTableConfig,
    ) -> Result<(), Errno> {
        let table = self.domains.get_mut(&domain).ok_or(Errno::EINVAL)?;
        if config.format != 1 || config.version != 1 || config.smmuv3_version != 1 {
            return Err(Errno::EINVAL);
        }
        if table.finalised.is_none() || !table.nesting {
            return Err(Errno::EINVAL);
        }
        match config.config {
            PasidConfig::ABORT => (table.pasid, table.aborts) = (None, true),
            PasidConfig::BYPASS => (table.pasid, table.aborts) = (None, false),
            PasidConfig::TRANSLATE => {
                if table.pasid.is_some() || config.pasid_bits != 0 {
                    return Err(Errno::EINVAL);
                }
                (table.pasid, table.aborts) = (Some(*config), false);
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn detach_pasid_table(&mut self, domain: DomainId) {
        let aborts = self.control.semantics.has(Defect::UnwindAborts)
            || matches!(
                self.control.semantics.io(),
                Some(SeriesIo::V12 | SeriesIo::V13)
            );
        if let Some(table) = self.domains.get_mut(&domain)
            && table.nesting
        {
            (table.pasid, table.aborts) = (None, aborts);
        }
    }

    fn cache_invalidate(
        &mut self,
        domain: DomainId,
        _device: DeviceId,
        _info: &CacheInvalidateInfo,
    ) -> Result<(), Errno> {
        match self.domains.get(&domain) {
            Some(table) if table.nesting => Ok(()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn handle_events<F>(&mut self, mut report: F)
    where
        F: FnMut(DeviceId, &DeviceFault) -> Result<(), Errno>,
    {
        for (device, fault) in std::mem::take(&mut self.raised) {
            self.reported.push(report(device, &fault));
        }
    }

    fn page_response(&mut self, device: DeviceId, response: &PageResponse) -> Result<(), Errno> {
        self.answered.push((device, *response));
        Ok(())
    }
}
