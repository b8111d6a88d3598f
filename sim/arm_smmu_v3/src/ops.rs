//! The driver as the core sees it: [`IommuOps`].

use std::ops::RangeInclusive;

use iommu_core::ops::{
    Capability, DeviceFault, DomainKind, Gather, PageResponse, Prot, ResvRegion, ResvType,
};
use iommu_core::semantics::{AttachOrder, Invalidation};
use iommu_core::uapi::{CacheInvalidateInfo, PasidTableConfig};
use iommu_core::{Control, Defect, DeviceId, DomainId, Errno, IommuOps, Iova, Paddr};

use crate::command::Reach;
use crate::domain::{Domain, KeepVmid, Live, Nesting, Translation};
use crate::maintenance::Maintenance;
use crate::master::{Ats, Master, NO_FWSPEC};
use crate::pgtable::{self, PgtableError};
use crate::platform::Platform;
use crate::range::TlbSpan;
use crate::ste::Stalls;
use crate::{Driver, Firmware, Support, control};

/// Where software maps MSI doorbells (`MSI_IOVA_BASE`, `MSI_IOVA_LENGTH`).
const SW_MSI: ResvRegion = ResvRegion {
    start: Iova(0x800_0000),
    length: 0x10_0000,
    kind: ResvType::SwMsi,
};

/// Most SubstreamID bits a linear CD table is made for (`CTXDESC_LINEAR_CDMAX`).
const LINEAR_CDMAX: u32 = 10;

/// Hands cleared leaves to the core's gather, and flushes what it gives back.
struct CoreGather<'g> {
    gather: &'g mut Gather,
    queued: Queued,
}

/// Whether invalidation is left to a flush queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queued {
    No,
    Yes,
}

impl<P: Platform> pgtable::Gather<Maintenance<'_, P>> for CoreGather<'_> {
    #[inline]
    fn add_page(&mut self, context: &mut Maintenance<'_, P>, iova: u64, size: u64) {
        if self.queued == Queued::Yes {
            return;
        }
        if let Some(before) = self.gather.add_page(Iova(iova), size) {
            sync(context, &before);
        }
    }
}

fn sync<P: Platform>(maintenance: &mut Maintenance<'_, P>, gather: &Gather) {
    if let Some(range) = gather.range() {
        maintenance.range(TlbSpan {
            iova: *range.start(),
            size: range.end().wrapping_sub(*range.start()).wrapping_add(1),
            granule: gather.pgsize(),
            reach: Reach::Leaf,
        });
    }
}

impl<P: Platform> Driver<P> {
    fn old_style(&self) -> bool {
        self.rules().attach_order == AttachOrder::DetachFirst
    }

    /// Makes a stage-2 domain that guests' stage 1 may lie under, for the SMMU of a device (7.2:
    /// `IOMMU_HWPT_ALLOC_NEST_PARENT`).
    ///
    /// # Errors
    /// EOPNOTSUPP without both stages. Those of [`IommuOps::domain_alloc`].
    pub fn domain_alloc_nest_parent(
        &mut self,
        domain: DomainId,
        device: DeviceId,
    ) -> Result<(), Errno> {
        let master = self.masters.get(&device).ok_or(NO_FWSPEC)?;
        let (smmu, ssid_bits) = (master.smmu(), master.ssid_bits);
        let features = &self.instances[smmu.index()].features;
        if !(features.trans_s1 && features.trans_s2) {
            return Err(Errno::EOPNOTSUPP);
        }
        control(&mut self.platform).step("driver:domain_alloc", Errno::ENOMEM)?;
        let mut record = Domain::new(DomainKind::Unmanaged);
        record.nesting = Nesting::Requested;
        self.insert_finalised(domain, record, (smmu, ssid_bits))
    }

    fn insert_finalised(
        &mut self,
        domain: DomainId,
        record: Domain,
        (smmu, ssid_bits): (crate::SmmuId, u32),
    ) -> Result<(), Errno> {
        self.domains.insert(domain, record);
        let finalised = self.finalise(domain, smmu, ssid_bits);
        if finalised.is_err() {
            self.domains.remove(domain);
        }
        finalised
    }

    /// The tables of a domain that has been attached.
    #[inline]
    fn page_tables(&self, domain: DomainId) -> Option<&pgtable::PageTables> {
        self.domains.get(domain)?.live.as_ref()?.tables.as_ref()
    }

    /// Tables and what invalidating them needs, borrowed apart.
    #[inline]
    fn tables(
        &mut self,
        domain: DomainId,
    ) -> Option<(&mut pgtable::PageTables, Maintenance<'_, P>, Queued)> {
        let rules = self.rules();
        let record = self.domains.get_mut(domain)?;
        let queued = if record.kind == DomainKind::DmaFq {
            Queued::Yes
        } else {
            Queued::No
        };
        let live = record.live.as_mut()?;
        let tables = live.tables.as_mut()?;
        let maintenance = Maintenance {
            platform: &mut self.platform,
            instances: &mut self.instances,
            masters: &self.masters,
            tags: &live.tags,
            rules,
            failed: Ok(()),
        };
        Some((tables, maintenance, queued))
    }
}

impl<P: Platform> IommuOps for Driver<P> {
    type Firmware = Firmware;

    fn control(&self) -> &Control {
        self.platform.control()
    }

    fn control_mut(&mut self) -> &mut Control {
        self.platform.control_mut()
    }

    fn probe_device(&mut self, device: DeviceId, firmware: &Firmware) -> Result<(), Errno> {
        let _span =
            tracing::debug_span!(target: "arm_smmu_v3::probe", "probe_device", device = device.0)
                .entered();
        let instance = self.instances.get(firmware.smmu.index());
        let features = &instance.ok_or(Errno::ENODEV)?.features;
        let mut ssid_bits = features.ssid_bits.min(firmware.ssid_bits);
        if !features.two_level_cdtab {
            ssid_bits = ssid_bits.min(LINEAR_CDMAX);
        }
        let stalls = if features.stall_force || features.stalls && firmware.stall == Support::Yes {
            Stalls::On
        } else {
            Stalls::Off
        };
        if firmware.streams.is_empty() {
            return Err(Errno::ENODEV);
        }
        control(&mut self.platform).step("driver:alloc_master", Errno::ENOMEM)?;
        self.insert_streams(firmware.smmu, device, &firmware.streams)?;
        self.masters.insert(
            device,
            Master {
                firmware: firmware.clone(),
                ssid_bits,
                stalls,
                domain: None,
                ats: Ats::Off,
                cdtab: None,
            },
        );
        Ok(())
    }

    fn release_device(&mut self, device: DeviceId) {
        let Some(master) = self.masters.get(&device) else {
            return;
        };
        let (smmu, streams) = (master.smmu(), master.firmware.streams.clone());
        if self.old_style() {
            // A fatal assertion stays in the control.
            let _stopped = self.detach_first(device);
        } else {
            self.block(device);
        }
        self.remove_streams(smmu, device, &streams);
        if let Some(table) = self.masters.remove(&device).and_then(|m| m.cdtab) {
            table.free(&mut self.platform);
        }
        self.stalled.retain(|(stalled, _)| *stalled != device);
    }

    fn domain_alloc(
        &mut self,
        domain: DomainId,
        kind: DomainKind,
        device: Option<DeviceId>,
    ) -> Result<(), Errno> {
        if kind == DomainKind::Blocked && self.old_style() {
            return Err(Errno::EINVAL);
        }
        control(&mut self.platform).step("driver:domain_alloc", Errno::ENOMEM)?;
        let record = Domain::new(kind);
        let translated = !matches!(kind, DomainKind::Blocked | DomainKind::Identity);
        let master = device
            .filter(|_| translated && !self.old_style())
            .and_then(|device| self.masters.get(&device));
        if let Some(master) = master {
            let place = (master.smmu(), master.ssid_bits);
            return self.insert_finalised(domain, record, place);
        }
        self.domains.insert(domain, record);
        Ok(())
    }

    fn domain_alloc_nested(&mut self, domain: DomainId, parent: DomainId) -> Result<(), Errno> {
        control(&mut self.platform).step("driver:domain_alloc", Errno::ENOMEM)?;
        let above = self.domains.get(parent).ok_or(Errno::EINVAL)?;
        let stage2 = above.nested_stage2().ok_or(Errno::EINVAL)?;
        let live = above.live.as_ref().ok_or(Errno::EINVAL)?;
        let mut tags = live.tags.clone();
        tags.devices.clear();
        let mut record = Domain::new(DomainKind::Nested);
        record.nesting = Nesting::Requested;
        record.parent = Some(parent);
        record.live = Some(Live {
            translation: Translation::Stage2(stage2),
            tables: None,
            tags,
        });
        self.domains.insert(domain, record);
        Ok(())
    }

    fn domain_free(&mut self, domain: DomainId) {
        let Some(record) = self.domains.remove(domain) else {
            return;
        };
        let leak = self.has(Defect::VmidLeaks)
            && self.platform.control().semantics.io() != Some(iommu_core::semantics::SeriesIo::V12)
            && !record.stage2_set;
        if let Some(live) = record.live {
            assert!(
                live.tags.devices.is_empty(),
                "{domain:?} is freed with devices attached"
            );
            if record.parent.is_some() {
                return;
            }
            let keep = if leak { KeepVmid::Leak } else { KeepVmid::No };
            self.unfinalise(live, keep);
        }
    }

    fn attach_dev(
        &mut self,
        domain: DomainId,
        device: DeviceId,
        _old: Option<DomainId>,
    ) -> Result<(), Errno> {
        let _span = tracing::debug_span!(target: "arm_smmu_v3::attach", "attach_dev", domain = domain.0, device = device.0).entered();
        if !self.masters.contains_key(&device) {
            return Err(NO_FWSPEC);
        }
        if !self.domains.contains(domain) {
            return Err(Errno::EINVAL);
        }
        let attached = if self.old_style() {
            self.attach_detach_first(domain, device)
        } else {
            self.attach_prepare_commit(domain, device)
        };
        if let Err(errno) = attached {
            tracing::debug!(target: "arm_smmu_v3::attach", %errno, "refused");
        }
        attached
    }

    fn detach_dev(&mut self, domain: DomainId, device: DeviceId) {
        let attached = self
            .masters
            .get(&device)
            .is_some_and(|master| master.domain == Some(domain));
        if !attached {
            return;
        }
        if self.old_style() {
            let _stopped = self.detach_first(device);
        } else {
            self.block(device);
        }
    }

    #[inline]
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
        let Some((tables, mut maintenance, _)) = self.tables(domain) else {
            return Err(Errno::ENODEV);
        };
        let addresses = (iova.get(), paddr.get());
        let done = tables.map_pages(&mut maintenance, addresses, pgsize, pgcount, prot);
        *mapped += done.bytes;
        done.result.map_err(errno)
    }

    #[inline]
    fn unmap_pages(
        &mut self,
        domain: DomainId,
        iova: Iova,
        pgsize: u64,
        pgcount: u64,
        gather: &mut Gather,
    ) -> u64 {
        let Some((tables, mut maintenance, queued)) = self.tables(domain) else {
            return 0;
        };
        let mut gather = CoreGather { gather, queued };
        tables.unmap_pages(&mut maintenance, &mut gather, iova.get(), pgsize, pgcount)
    }

    fn iotlb_sync(&mut self, domain: DomainId, gather: &Gather) {
        if gather.is_empty() {
            return;
        }
        if let Some((_, mut maintenance, _)) = self.tables(domain) {
            sync(&mut maintenance, gather);
        }
    }

    fn flush_iotlb_all(&mut self, domain: DomainId) {
        if let Some((_, mut maintenance, _)) = self.tables(domain) {
            maintenance.all();
        }
    }

    fn iova_to_phys(&self, domain: DomainId, iova: Iova) -> Option<Paddr> {
        self.leaf(domain, iova).map(|(paddr, _)| paddr)
    }

    fn leaf(&self, domain: DomainId, iova: Iova) -> Option<(Paddr, u64)> {
        if self.domains.get(domain)?.kind == DomainKind::Identity {
            return Some((Paddr(iova.get()), u64::MAX - iova.get()));
        }
        let tables = self.page_tables(domain)?;
        let (paddr, left) = tables.leaf(|pa| self.platform.load(pa), iova.get())?;
        Some((Paddr(paddr), left))
    }

    fn leaves(&self, domain: DomainId, iova: Iova, size: u64, leaves: &mut Vec<(Paddr, u64)>) {
        let Some(tables) = self.page_tables(domain) else {
            let whole = self.leaf(domain, iova);
            leaves.extend(whole.map(|(paddr, left)| (paddr, left.min(size))));
            return;
        };
        tables.leaves(
            |pa| self.platform.load(pa),
            |pa, words| self.platform.read_words(pa, words),
            (iova.get(), size),
            |paddr, length| leaves.push((Paddr(paddr), length)),
        );
    }

    fn pgsize_bitmap(&self, domain: DomainId) -> u64 {
        match self.page_tables(domain) {
            Some(tables) => tables.format().pgsize_bitmap(),
            None => self
                .instances
                .iter()
                .fold(0, |all, instance| all | instance.features.pgsize_bitmap),
        }
    }

    fn aperture(&self, domain: DomainId) -> RangeInclusive<u64> {
        let tables = self.page_tables(domain);
        0..=tables.map_or(u64::MAX, |tables| (1 << tables.format().ias()) - 1)
    }

    fn resv_regions(&self, device: DeviceId) -> Vec<ResvRegion> {
        let Some(master) = self.masters.get(&device) else {
            return Vec::new();
        };
        let mut regions = vec![SW_MSI];
        regions.extend(&master.firmware.reserved);
        regions
    }

    fn capable(&self, device: DeviceId, capability: Capability) -> bool {
        let coherent = self
            .masters
            .get(&device)
            .is_some_and(|master| self.instances[master.smmu().index()].features.coherency);
        match capability {
            Capability::CacheCoherency => coherent,
            Capability::EnforceCacheCoherency => {
                let claimed = |master: &Master| master.firmware.coherent == Support::Yes;
                self.enforces_coherency() && self.masters.get(&device).is_some_and(claimed)
            }
            Capability::NoExec | Capability::DeferredFlush => true,
            _ => false,
        }
    }

    fn enforce_cache_coherency(&mut self, domain: DomainId) -> bool {
        let devices = self.attached(domain);
        self.enforces_coherency()
            && devices
                .iter()
                .all(|device| self.masters[device].firmware.coherent == Support::Yes)
    }

    fn enable_nesting(&mut self, domain: DomainId) -> Result<(), Errno> {
        let gone = self.rules().invalidation == Invalidation::Array;
        let record = self.domains.get_mut(domain).ok_or(Errno::EINVAL)?;
        if gone || record.kind != DomainKind::Unmanaged {
            return Err(Errno::EINVAL);
        }
        if record.live.is_some() {
            return Err(Errno::EPERM);
        }
        record.nesting = Nesting::Requested;
        Ok(())
    }

    fn is_nesting(&self, domain: DomainId) -> Result<bool, Errno> {
        let record = self.domains.get(domain).ok_or(Errno::ENODEV)?;
        if record.kind != DomainKind::Unmanaged {
            return Err(Errno::ENODEV);
        }
        Ok(record.nesting == Nesting::Requested)
    }

    fn attach_pasid_table(
        &mut self,
        domain: DomainId,
        config: &PasidTableConfig,
    ) -> Result<(), Errno> {
        let _span = tracing::debug_span!(target: "arm_smmu_v3::nested", "attach_pasid_table", domain = domain.0, base_ptr = config.base_ptr).entered();
        self.set_guest_stage1(domain, config)
    }

    fn detach_pasid_table(&mut self, domain: DomainId) {
        let _span = tracing::debug_span!(target: "arm_smmu_v3::nested", "detach_pasid_table", domain = domain.0).entered();
        // A fatal assertion stays in the control.
        let _stopped = self.clear_guest_stage1(domain);
    }

    fn cache_invalidate(
        &mut self,
        domain: DomainId,
        _device: DeviceId,
        info: &CacheInvalidateInfo,
    ) -> Result<(), Errno> {
        self.invalidate_for_guest(domain, info)
    }

    fn handle_events<F>(&mut self, report: F)
    where
        F: FnMut(DeviceId, &DeviceFault) -> Result<(), Errno>,
    {
        self.run_threads(report);
    }

    fn page_response(&mut self, device: DeviceId, response: &PageResponse) -> Result<(), Errno> {
        self.answer(device, response)
    }
}

fn errno(error: PgtableError) -> Errno {
    match error {
        PgtableError::Invalid => Errno::EINVAL,
        PgtableError::Range => Errno::ERANGE,
        PgtableError::Exists => Errno::EEXIST,
        PgtableError::NoMemory => Errno::ENOMEM,
    }
}
