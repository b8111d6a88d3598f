//! The IOMMU half of the nested-stage series: a guest's stage 1 below our stage 2
//! (`arm_smmu_attach_pasid_table`), and its invalidations (`arm_smmu_cache_invalidate`).

use iommu_core::semantics::{AttachOrder, SeriesIo};
use iommu_core::uapi::{
    CacheInvalidateInfo, InvalidateScope, PASID_FORMAT_SMMUV3, PasidConfig, PasidTableConfig,
};
use iommu_core::{Defect, DeviceId, DomainId, Errno};
use smmu::addr::Pa;
use smmu::ids::{Asid, Vmid};

use crate::command::Reach;
use crate::domain::{GuestStage1, Nesting};
use crate::maintenance::{AtcSpan, Tags};
use crate::master::Ats;
use crate::platform::Platform;
use crate::range::TlbSpan;
use crate::ste::{Eats, Stage1Entry, abort_ste, nested_ste, stage2_ste};
use crate::{Command, Driver, control};

/// `IOMMU_CACHE_INV_TYPE_*`.
const TYPE_IOTLB: u8 = 1;
const TYPE_DEV_IOTLB: u8 = 1 << 1;
const TYPE_PASID: u8 = 1 << 2;

/// `IOMMU_INV_PASID_FLAGS_*` and `IOMMU_INV_ADDR_FLAGS_*`.
const FLAG_PASID: u32 = 1;
const FLAG_ARCHID: u32 = 1 << 1;
const FLAG_LEAF: u32 = 1 << 2;

/// What an STE says of a guest's CDs. S1Fmt counts where there are several, as up to IO14.
fn guest_stage1(config: &PasidTableConfig) -> Stage1Entry {
    Stage1Entry {
        context_ptr: Pa::new(config.base_ptr),
        s1fmt: if config.pasid_bits == 0 {
            0
        } else {
            config.s1fmt & 3
        },
        s1cdmax: config.pasid_bits & 31,
    }
}

/// What a guest asks to have invalidated, in the driver's terms.
enum GuestScope {
    All,
    Asid(Asid),
    Range(Asid, u64, u64, u64, Reach),
}

impl<P: Platform> Driver<P> {
    /// The VMID and tags of a finalised nested domain.
    fn nested(&self, domain: DomainId) -> Result<(Vmid, Tags), Errno> {
        let record = self.domains.get(domain).ok_or(Errno::EINVAL)?;
        let stage2 = record.nested_stage2().ok_or(Errno::EINVAL)?;
        let live = record.live.as_ref().ok_or(Errno::EINVAL)?;
        Ok((stage2.vmid, live.tags.clone()))
    }

    /// Installs a guest's stage 1, or bypasses or aborts it.
    pub(crate) fn set_guest_stage1(
        &mut self,
        domain: DomainId,
        config: &PasidTableConfig,
    ) -> Result<(), Errno> {
        let Some(io) = self.platform.control().semantics.io() else {
            return Err(Errno::ENODEV);
        };
        if config.format != PASID_FORMAT_SMMUV3 || config.version != 1 || config.smmuv3_version != 1
        {
            return Err(Errno::EINVAL);
        }
        let (vmid, tags) = self.nested(domain)?;
        let before = self.domains[domain].guest;
        let after = match config.config {
            PasidConfig::ABORT => GuestStage1 {
                table: None,
                abort: true,
            },
            PasidConfig::BYPASS => GuestStage1::default(),
            PasidConfig::TRANSLATE => {
                if before.table.is_some() {
                    return Err(Errno::EINVAL);
                }
                self.check_table(config, &tags, io)?;
                if io == SeriesIo::V12 {
                    control(&mut self.platform).step("driver:alloc_s1_cfg", Errno::ENOMEM)?;
                }
                GuestStage1 {
                    table: Some(guest_stage1(config)),
                    abort: false,
                }
            }
            _ => return Err(Errno::EINVAL),
        };
        self.change_guest_stage1(domain, vmid, &tags, after)
    }

    /// What is checked of a guest's table.
    fn check_table(
        &self,
        config: &PasidTableConfig,
        tags: &Tags,
        io: SeriesIo,
    ) -> Result<(), Errno> {
        // IO12 to IO14 let a table have as many CDs as every master has SubstreamIDs.
        let multi = io <= SeriesIo::V14;
        let fits = tags
            .devices
            .iter()
            .all(|device| u32::from(config.pasid_bits) <= self.masters[device].ssid_bits);
        if config.pasid_bits != 0 && !(multi && fits) {
            return Err(Errno::EINVAL);
        }
        let features = &self.instances[tags.smmu.index()].features;
        if config.pasid_bits != 0 && config.s1fmt != 0 && !features.two_level_cdtab {
            return Err(Errno::EINVAL);
        }
        let aligned = config.base_ptr.is_multiple_of(64) && config.base_ptr >> features.ias == 0;
        if !self.has(Defect::BasePtrUnchecked) && !aligned {
            return Err(Errno::EINVAL);
        }
        // One linear table; S1DSS has no fourth meaning.
        if !self.has(Defect::FieldsUnchecked) && (config.s1fmt != 0 || config.s1dss > 2) {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Takes a guest's stage 1 away (`arm_smmu_detach_pasid_table`).
    pub(crate) fn clear_guest_stage1(&mut self, domain: DomainId) -> Result<(), Errno> {
        let Ok((vmid, tags)) = self.nested(domain) else {
            return Ok(());
        };
        let after = GuestStage1 {
            table: None,
            abort: self.has(Defect::UnwindAborts),
        };
        self.change_guest_stage1(domain, vmid, &tags, after)
    }

    /// Rewrites the STEs of every device, newest first.
    fn change_guest_stage1(
        &mut self,
        domain: DomainId,
        vmid: Vmid,
        tags: &Tags,
        after: GuestStage1,
    ) -> Result<(), Errno> {
        if let Some(record) = self.domains.get_mut(domain) {
            record.guest = after;
        }
        for &device in &tags.devices {
            if self.rules().attach_order == AttachOrder::DetachFirst {
                self.write_stes_first(device)?;
            } else {
                self.install_nested_ste(domain, device);
            }
        }
        if !self.has(Defect::NoInvalidationOnSet) {
            let mut maintenance = self.maintenance(tags);
            maintenance.issue(&[Command::TlbiNhAll { vmid }]);
            maintenance.atc_domain(AtcSpan::All);
        }
        Ok(())
    }

    fn install_nested_ste(&mut self, domain: DomainId, device: DeviceId) {
        let record = &self.domains[domain];
        let Some(stage2) = record.nested_stage2() else {
            return;
        };
        let guest = record.guest;
        let master = &self.masters[&device];
        let features = &self.instances[master.smmu().index()].features;
        let eats = match master.ats {
            Ats::On => Eats::Trans,
            Ats::Off => Eats::Abort,
        };
        let ste = match guest {
            GuestStage1 { abort: true, .. } => abort_ste(),
            GuestStage1 {
                table: Some(table), ..
            } => nested_ste(features, &table, &stage2, eats),
            GuestStage1 { table: None, .. } => stage2_ste(features, &stage2, eats),
        };
        self.install_ste(device, &ste);
    }

    /// A guest's invalidation.
    pub(crate) fn invalidate_for_guest(
        &mut self,
        domain: DomainId,
        info: &CacheInvalidateInfo,
    ) -> Result<(), Errno> {
        let Some(io) = self.platform.control().semantics.io() else {
            return Err(Errno::ENODEV);
        };
        let (vmid, tags) = self.nested(domain)?;
        debug_assert!(self.domains[domain].nesting == Nesting::Requested);
        match io {
            SeriesIo::V12 | SeriesIo::V13 => self.invalidate_12(vmid, &tags, info),
            SeriesIo::V14 | SeriesIo::V15 | SeriesIo::V16 => {
                self.invalidate_14(vmid, &tags, info, io)
            }
        }
    }

    /// IO12 and IO13.
    fn invalidate_12(
        &mut self,
        vmid: Vmid,
        tags: &Tags,
        info: &CacheInvalidateInfo,
    ) -> Result<(), Errno> {
        let mut done = false;
        if info.cache & TYPE_IOTLB != 0 {
            match info.scope {
                InvalidateScope::Pasid { flags, archid, .. } => {
                    if flags & FLAG_ARCHID == 0 || flags & FLAG_PASID != 0 {
                        return Err(Errno::EINVAL);
                    }
                    if !self.has(Defect::AsidInvalidationLost) {
                        let asid = Asid::new(archid as u16);
                        self.maintenance(tags)
                            .issue(&[Command::TlbiNhAsid { asid, vmid }]);
                    }
                    self.maintenance(tags).atc_domain(AtcSpan::All);
                }
                InvalidateScope::Addr {
                    flags,
                    archid,
                    addr,
                    granule_size,
                    nb_granules,
                    ..
                } => {
                    if flags & FLAG_ARCHID == 0 || flags & FLAG_PASID != 0 {
                        return Err(Errno::EINVAL);
                    }
                    let size = nb_granules.wrapping_mul(granule_size);
                    let asid = Asid::new(archid as u16);
                    self.guest_range(tags, (vmid, asid), (addr, size, granule_size), flags)?;
                    self.maintenance(tags).issue(&[]);
                    self.maintenance(tags)
                        .atc_domain(AtcSpan::Of { iova: addr, size });
                }
                InvalidateScope::Domain => return Err(Errno::EINVAL),
            }
            done = true;
        }
        let beside = info.cache & (TYPE_PASID | TYPE_DEV_IOTLB) != 0;
        if done && beside && !self.has(Defect::ErrorAfterSideEffect) {
            return Ok(());
        }
        if done && !beside {
            return Ok(());
        }
        match info.scope {
            InvalidateScope::Pasid { pasid, .. } if !done && info.cache & TYPE_PASID != 0 => {
                let ssid = smmu::ids::SubstreamId::new(pasid as u32 & 0xf_ffff);
                let commands: Vec<Command> = tags
                    .devices
                    .iter()
                    .flat_map(|device| self.masters[device].streams())
                    .map(|sid| Command::CfgiCd {
                        sid,
                        ssid,
                        reach: Reach::Leaf,
                    })
                    .collect();
                self.maintenance(tags).issue(&commands);
                Ok(())
            }
            _ => Err(Errno::ENOENT),
        }
    }

    /// IO14 to IO16.
    fn invalidate_14(
        &mut self,
        vmid: Vmid,
        tags: &Tags,
        info: &CacheInvalidateInfo,
        io: SeriesIo,
    ) -> Result<(), Errno> {
        if info.cache & (TYPE_PASID | TYPE_DEV_IOTLB) != 0 {
            return Err(Errno::ENOENT);
        }
        if info.cache & TYPE_IOTLB == 0 {
            return Err(Errno::EINVAL);
        }
        match guest_scope(info)? {
            GuestScope::All => {
                let command = if self.has(Defect::GlobalInvalidationUnscoped) {
                    Command::TlbiNsnhAll
                } else {
                    Command::TlbiNhAll { vmid }
                };
                self.maintenance(tags).issue(&[command]);
                if !self.has(Defect::GlobalInvalidationUnscoped) {
                    self.maintenance(tags).atc_domain(AtcSpan::All);
                }
            }
            GuestScope::Asid(asid) => {
                self.maintenance(tags)
                    .issue(&[Command::TlbiNhAsid { asid, vmid }]);
                self.maintenance(tags).atc_domain(AtcSpan::All);
            }
            GuestScope::Range(asid, addr, granule, count, reach) => {
                let (granule, size) = self.guest_granule(tags, granule, count, io)?;
                let flags = if reach == Reach::Leaf { FLAG_LEAF } else { 0 };
                self.guest_range(tags, (vmid, asid), (addr, size, granule), flags)?;
                if size != 0 {
                    self.maintenance(tags)
                        .atc_domain(AtcSpan::Of { iova: addr, size });
                }
                if io == SeriesIo::V14 {
                    self.maintenance(tags).issue(&[]);
                }
            }
        }
        Ok(())
    }

    /// Checks a guest's granule and gives it and the bytes to invalidate.
    fn guest_granule(
        &self,
        tags: &Tags,
        granule: u64,
        count: u64,
        io: SeriesIo,
    ) -> Result<(u64, u64), Errno> {
        let features = &self.instances[tags.smmu.index()].features;
        let known = features.pgsize_bitmap & granule != 0;
        let size = count.wrapping_mul(granule);
        if !self.has(Defect::GranuleUnchecked) {
            let fits = count.checked_mul(granule).is_some_and(|size| size != 0);
            if !granule.is_power_of_two() || !known || !fits {
                return Err(Errno::EINVAL);
            }
        }
        if io == SeriesIo::V15 {
            // The kernel takes the lowest set bit before it tests: granule 0 counts as none.
            if !granule.is_power_of_two() {
                return Err(Errno::EINVAL);
            }
            if !features.range_inv && !known {
                let page_log2 = features.pgsize_bitmap.trailing_zeros();
                let shifted = if self.has(Defect::SizeShifted) {
                    size >> page_log2
                } else {
                    size
                };
                return Ok((1 << page_log2, shifted));
            }
        }
        Ok((granule, size))
    }

    /// Invalidates addresses of a guest's address space; a size of 0 is nothing.
    fn guest_range(
        &mut self,
        tags: &Tags,
        tag: (Vmid, Asid),
        (iova, size, granule): (u64, u64, u64),
        flags: u32,
    ) -> Result<(), Errno> {
        if size == 0 {
            return Ok(());
        }
        let reach = if flags & FLAG_LEAF != 0 {
            Reach::Leaf
        } else {
            Reach::Walk
        };
        let el2 = self.platform.control().semantics.io() == Some(SeriesIo::V14)
            && self.instances[tags.smmu.index()].features.e2h;
        let span = TlbSpan {
            iova,
            size,
            granule,
            reach,
        };
        let page_log2 = if self.has(Defect::HostGranuleNamed) {
            tags.page_log2
        } else {
            guest_page_log2(granule).unwrap_or(tags.page_log2)
        };
        let mut maintenance = self.maintenance(tags);
        maintenance.guest_range(tag, (span, page_log2), el2);
        // A timeout is printed; a loop without end is not survived.
        let failed = maintenance.failed;
        match (failed, self.platform.control().bug) {
            (Err(errno), Some(_)) => Err(errno),
            _ => Ok(()),
        }
    }
}

/// log2 of the smallest page of the tables that have pages or blocks of this size.
fn guest_page_log2(size: u64) -> Option<u32> {
    if !size.is_power_of_two() {
        return None;
    }
    match size.ilog2() {
        12 | 21 | 30 => Some(12),
        14 | 25 => Some(14),
        16 | 29 | 42 => Some(16),
        _ => None,
    }
}

/// IO14 and later: what a request means.
fn guest_scope(info: &CacheInvalidateInfo) -> Result<GuestScope, Errno> {
    match info.scope {
        InvalidateScope::Domain => Ok(GuestScope::All),
        InvalidateScope::Pasid { flags, archid, .. } => {
            if flags & FLAG_PASID != 0 {
                return Err(Errno::ENOENT);
            }
            if flags & FLAG_ARCHID == 0 {
                return Err(Errno::EINVAL);
            }
            Ok(GuestScope::Asid(Asid::new(archid as u16)))
        }
        InvalidateScope::Addr {
            flags,
            archid,
            addr,
            granule_size,
            nb_granules,
            ..
        } => {
            if flags & FLAG_PASID != 0 {
                return Err(Errno::ENOENT);
            }
            if flags & FLAG_ARCHID == 0 {
                return Ok(GuestScope::All);
            }
            let reach = if flags & FLAG_LEAF != 0 {
                Reach::Leaf
            } else {
                Reach::Walk
            };
            Ok(GuestScope::Range(
                Asid::new(archid as u16),
                addr,
                granule_size,
                nb_granules,
                reach,
            ))
        }
    }
}
