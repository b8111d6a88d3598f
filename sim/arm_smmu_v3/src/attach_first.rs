//! Attaching as 5.10 and 6.1 do it: the device is detached from its old domain before the new one
//! is looked at, and stays so if that does not work out.

use iommu_core::{Defect, DeviceId, DomainId, Errno};
use smmu::ids::SubstreamId;

use crate::command::Reach;
use crate::domain::{GuestStage1, Live, Nesting, Translation};
use crate::entry::Entry;
use crate::maintenance::{AtcSpan, Tags};
use crate::master::{Ats, Support};
use crate::platform::{AtsState, Platform};
use crate::write_first::Wanted;
use crate::{Command, Driver, control};

impl<P: Platform> Driver<P> {
    /// Attaches (`arm_smmu_attach_dev`).
    pub(crate) fn attach_detach_first(
        &mut self,
        domain: DomainId,
        device: DeviceId,
    ) -> Result<(), Errno> {
        self.detach_first(device)?;
        let smmu = self.masters[&device].smmu();
        if self.domains[domain].live.is_none() {
            let ssid_bits = self.masters[&device].ssid_bits;
            self.finalise(domain, smmu, ssid_bits)?;
        }
        self.check_fit(domain, device)?;
        let bypass = matches!(
            self.domains[domain].live,
            Some(Live {
                translation: Translation::Bypass,
                ..
            })
        );
        let wanted = if self.ats_supported(device) && !bypass {
            Ats::On
        } else {
            Ats::Off
        };
        if let Some(master) = self.masters.get_mut(&device) {
            master.domain = Some(domain);
            master.ats = wanted;
        }
        self.write_stes_first(device)?;
        self.enter(domain, device);
        if wanted == Ats::On {
            self.atc_inv_domain(domain);
            self.set_pci_ats(device, AtsState::Enabled);
        }
        Ok(())
    }

    fn ats_supported(&self, device: DeviceId) -> bool {
        let master = &self.masters[&device];
        self.instances[master.smmu().index()].features.ats && master.firmware.ats == Support::Yes
    }

    /// Invalidates the whole ATC of every device of a domain.
    fn atc_inv_domain(&mut self, domain: DomainId) {
        let tags = self
            .domains
            .get(domain)
            .and_then(|domain| domain.live.as_ref())
            .map(|live| live.tags.clone());
        if let Some(tags) = tags {
            self.maintenance(&tags).atc_domain(AtcSpan::All);
        }
    }

    /// Detaches a device from its domain, if it has one (`arm_smmu_detach_dev`).
    ///
    /// # Errors
    /// A fatal assertion at the STE write.
    pub(crate) fn detach_first(&mut self, device: DeviceId) -> Result<(), Errno> {
        let master = &self.masters[&device];
        let Some(domain) = master.domain else {
            return Ok(());
        };
        if master.ats == Ats::On {
            self.set_pci_ats(device, AtsState::Disabled);
            self.atc_inv_master(device);
        }
        for domain in [Some(domain), self.domains[domain].parent] {
            if let Some(live) = domain.and_then(|domain| self.live_mut(domain)) {
                live.tags.devices.retain(|other| *other != device);
            }
        }
        if let Some(master) = self.masters.get_mut(&device) {
            master.domain = None;
            master.ats = Ats::Off;
        }
        self.write_stes_first(device)
    }

    /// Writes the STEs of a device as its domain, or its lack of one, wants them.
    ///
    /// # Errors
    /// A fatal assertion.
    pub(crate) fn write_stes_first(&mut self, device: DeviceId) -> Result<(), Errno> {
        let wanted = self.wanted(device);
        let master = &self.masters[&device];
        let smmu = master.smmu();
        let streams: Vec<_> = master.distinct_streams().collect();
        for sid in streams {
            let instance = &self.instances[smmu.index()];
            if let Some(pa) = instance.strtab.ste(&self.platform, sid) {
                self.write_ste_first(smmu, sid, pa, &wanted)?;
            }
        }
        if wanted.stage2.is_some()
            && let Some(domain) = self.masters[&device].domain
            && let Some(domain) = self.domains.get_mut(domain)
        {
            domain.stage2_set = true;
        }
        Ok(())
    }

    /// What the STEs of a device are to say.
    fn wanted(&self, device: DeviceId) -> Wanted {
        let master = &self.masters[&device];
        let mut wanted = Wanted {
            attached: master.domain.is_some(),
            nesting: Nesting::No,
            abort: false,
            stage1: None,
            stage2: None,
            ats: master.ats,
            stalls: master.stalls,
        };
        let Some(domain) = master.domain.and_then(|domain| self.domains.get(domain)) else {
            return wanted;
        };
        wanted.nesting = domain.nesting;
        match domain.live.as_ref().map(|live| &live.translation) {
            Some(Translation::Stage1 { cdtab, .. }) => {
                wanted.stage1 = cdtab.map(|table| table.entry());
            }
            Some(Translation::Stage2(stage2)) => {
                wanted.stage2 = Some(*stage2);
                if domain.nesting == Nesting::Requested {
                    let GuestStage1 { table, abort } = domain.guest;
                    wanted.abort = abort;
                    wanted.stage1 = table;
                }
            }
            Some(Translation::Bypass) | None => {}
        }
        wanted
    }

    /// Whether a device may join a finalised domain.
    ///
    /// # Errors
    /// The domain's SMMU is another, or EINVAL.
    pub(crate) fn check_fit(&mut self, domain: DomainId, device: DeviceId) -> Result<(), Errno> {
        let master = &self.masters[&device];
        let record = &self.domains[domain];
        let Some(live) = &record.live else {
            return Ok(());
        };
        if live.translation == Translation::Bypass {
            return Ok(());
        }
        if live.tags.smmu != master.smmu() {
            return Err(self.rules().other_smmu);
        }
        if let Translation::Stage1 {
            cdtab: Some(table), ..
        } = &live.translation
        {
            let first = live.tags.devices.first().map(|first| &self.masters[first]);
            // 6.1 compares stalling with what the first device made of the domain.
            let stalls_differ = first.is_some_and(|first| first.stalls != master.stalls);
            if table.ssid_bits() != master.ssid_bits || stalls_differ {
                return Err(Errno::EINVAL);
            }
        }
        if record.nesting == Nesting::Requested
            && self.platform.control().semantics.series.is_some()
        {
            self.check_nested_msi(live, device)?;
            // Firmware decides it, so no machine can show it for a device that fits: a step.
            control(&mut self.platform).step("driver:nested_msi", Errno::EINVAL)?;
        }
        Ok(())
    }

    /// The series refuses devices whose MSIs a guest could not bind.
    fn check_nested_msi(&self, live: &Live, device: DeviceId) -> Result<(), Errno> {
        use iommu_core::ops::ResvType;
        use iommu_core::semantics::SeriesIo;
        let master = &self.masters[&device];
        let shares_checked = self.platform.control().semantics.io() != Some(SeriesIo::V16);
        let other_domain = live
            .tags
            .devices
            .iter()
            .any(|other| self.masters[other].firmware.msi_domain != master.firmware.msi_domain);
        let hardware_msi = master
            .firmware
            .reserved
            .iter()
            .any(|region| region.kind == ResvType::Msi);
        if shares_checked && other_domain || hardware_msi {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Writes CD 0 of a domain that has its own CDs (`arm_smmu_write_ctx_desc`): all but the
    /// first doubleword, then the first.
    pub(crate) fn write_domain_cd(&mut self, table: &crate::cd::CdTable, tags: &Tags, cd: &Entry) {
        let ssid = SubstreamId::new(0);
        let Some(pa) = table.cd(&self.platform, ssid) else {
            return;
        };
        for (offset, &word) in (8..).step_by(8).zip(&cd[1..4]) {
            self.platform.store(pa.add(offset), word);
        }
        self.sync_domain_cd(tags, ssid, Reach::Leaf);
        self.platform.store(pa, cd[0]);
        self.sync_domain_cd(tags, ssid, Reach::Leaf);
    }

    /// CFGI_CD for every stream of every device of the domain, perhaps none, and a SYNC.
    pub(crate) fn sync_domain_cd(&mut self, tags: &Tags, ssid: SubstreamId, reach: Reach) {
        let commands: Vec<Command> = tags
            .devices
            .iter()
            .flat_map(|device| self.masters[device].streams())
            .map(|sid| Command::CfgiCd { sid, ssid, reach })
            .collect();
        let instance = &mut self.instances[tags.smmu.index()];
        let _logged = instance.issue_sync(&mut self.platform, &commands);
    }

    /// Whether a defect of the series is present.
    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.platform.control().semantics.has(defect)
    }
}
