//! Attaching as 6.9 and later do it (`arm_smmu_attach_prepare`, `arm_smmu_attach_commit`):
//! everything that can fail comes before anything the hardware sees.

use iommu_core::ops::DomainKind;
use iommu_core::{Defect, DeviceId, DomainId, Errno};
use smmu::ids::SubstreamId;

use crate::cd::{CdTable, Leaf};
use crate::command::Reach;
use crate::domain::{Live, Nesting, Translation};
use crate::entry::{Entry, write_entry};
use crate::maintenance::{AtcSpan, Tag, atc_inv};
use crate::master::{Ats, Master, Support};
use crate::platform::{AtsState, Platform};
use crate::probe::Prefetch;
use crate::ste::{Eats, SteKind, abort_ste, bypass_ste, cdtable_ste, nested_ste, stage2_ste};
use crate::{Command, Driver, control};
use iommu_core::semantics::{EntryWriter, Invalidation};

/// A device's CD 0: transactions without SubstreamID.
const NO_PASID: SubstreamId = SubstreamId::new(0);

/// What attaching writes, in which order.
enum Target {
    /// An STE only; CD 0 is cleared afterwards.
    Ste(Entry),
    /// CD 0, then the STE.
    CdThenSte(Entry, Entry),
}

impl<P: Platform> Driver<P> {
    /// Attaches; the old attachment is intact on failure.
    pub(crate) fn attach_prepare_commit(
        &mut self,
        domain: DomainId,
        device: DeviceId,
    ) -> Result<(), Errno> {
        let smmu = self.masters[&device].smmu();
        let fresh = self.domains[domain].live.is_none();
        if fresh {
            let ssid_bits = self.masters[&device].ssid_bits;
            self.finalise(domain, smmu, ssid_bits)?;
        }
        let attached = self.attach_finalised(domain, device);
        // The series' own answer to D19: what this call finalised it takes back.
        if attached.is_err()
            && fresh
            && self.platform.control().semantics.series.is_some()
            && !self.has(Defect::VmidLeaks)
            && let Some(live) = self.domains.get_mut(domain).and_then(|d| d.live.take())
        {
            self.unfinalise(live, crate::domain::KeepVmid::No);
        }
        attached
    }

    fn attach_finalised(&mut self, domain: DomainId, device: DeviceId) -> Result<(), Errno> {
        self.check_fit(domain, device)?;
        let translates = self.translates(domain);
        let target = self.target(domain, device)?;
        // Prepare: the last step that can fail, then the new domain begins to invalidate for the
        // device.
        if translates && self.rules().invalidation == Invalidation::Array {
            control(&mut self.platform).step("driver:invs_merge", Errno::ENOMEM)?;
        }
        let old = self.masters[&device].domain;
        let had = self.masters[&device].ats;
        let wanted = self.ats_wanted(domain, device);
        if translates {
            self.enter(domain, device);
        }
        if wanted == Ats::Off && had == Ats::On {
            self.set_pci_ats(device, AtsState::Disabled);
        }
        self.install(device, &target);
        if self.is_stage2(domain)
            && let Some(record) = self.domains.get_mut(domain)
        {
            record.stage2_set = true;
        }
        // Commit.
        match (had, wanted) {
            (Ats::Off, Ats::On) => {
                self.atc_inv_master(device);
                self.set_pci_ats(device, AtsState::Enabled);
            }
            (Ats::On, _) => self.atc_inv_master(device),
            (Ats::Off, Ats::Off) => {}
        }
        if let Some(master) = self.masters.get_mut(&device) {
            master.ats = wanted;
            master.domain = Some(domain);
        }
        if let Some(old) = old {
            self.leave(old, device);
        }
        if let Target::Ste(_) = target
            && !self.is_stage2(domain)
        {
            self.clear_cd(device);
        }
        Ok(())
    }

    /// Whether a domain's devices get translations.
    fn translates(&self, domain: DomainId) -> bool {
        self.domains[domain]
            .live
            .as_ref()
            .is_some_and(|live| live.translation != Translation::Bypass)
    }

    fn is_stage2(&self, domain: DomainId) -> bool {
        matches!(
            self.domains[domain].live,
            Some(Live {
                translation: Translation::Stage2(_),
                ..
            })
        )
    }

    /// ATS is used where supported and something is translated.
    fn ats_wanted(&self, domain: DomainId, device: DeviceId) -> Ats {
        let master = &self.masters[&device];
        let supported = self.instances[master.smmu().index()].features.ats
            && master.firmware.ats == Support::Yes;
        if supported && self.translates(domain) && !self.domains[domain].guest.abort {
            Ats::On
        } else {
            Ats::Off
        }
    }

    /// What the entries of a device in `domain` are to hold. Allocates the device's CD table.
    fn target(&mut self, domain: DomainId, device: DeviceId) -> Result<Target, Errno> {
        let smmu = self.masters[&device].smmu();
        let features = self.instances[smmu.index()].features.clone();
        let eats = match self.ats_wanted(domain, device) {
            Ats::On => Eats::Trans,
            Ats::Off => Eats::Abort,
        };
        let stalls = self.masters[&device].stalls;
        let record = &self.domains[domain];
        let (kind, guest, nesting) = (record.kind, record.guest, record.nesting);
        let translation = record.live.as_ref().map(|live| live.translation.clone());
        Ok(match translation {
            Some(Translation::Stage1 { cd, .. }) => {
                let table = self.device_cdtab(device)?;
                let ste = cdtable_ste(&features, &table.entry(), eats, stalls);
                Target::CdThenSte(cd, ste)
            }
            Some(Translation::Stage2(stage2)) => {
                let ste = match (nesting, guest.abort, guest.table) {
                    (Nesting::Requested, true, _) => abort_ste(),
                    (Nesting::Requested, false, Some(table)) => {
                        nested_ste(&features, &table, &stage2, eats)
                    }
                    _ => stage2_ste(&features, &stage2, eats),
                };
                Target::Ste(ste)
            }
            _ if kind == DomainKind::Identity => Target::Ste(bypass_ste(&features)),
            _ => Target::Ste(abort_ste()),
        })
    }

    /// The device's CD table with a leaf for CD 0, made at its first stage-1 attach.
    fn device_cdtab(&mut self, device: DeviceId) -> Result<CdTable, Errno> {
        let master = &self.masters[&device];
        let smmu = master.smmu();
        let features = self.instances[smmu.index()].features.clone();
        let table = if let Some(table) = master.cdtab {
            table
        } else {
            let table = CdTable::new(&mut self.platform, &features, master.ssid_bits)?;
            if let Some(master) = self.masters.get_mut(&device) {
                master.cdtab = Some(table);
            }
            table
        };
        if table.prepare(&mut self.platform, NO_PASID)? == Leaf::Made {
            self.sync_device_cd(device, Reach::Walk);
        }
        Ok(table)
    }

    /// Stage-2 domains, and the entries of what has none.
    fn install(&mut self, device: DeviceId, target: &Target) {
        match target {
            Target::CdThenSte(cd, ste) => {
                self.write_device_cd(device, cd);
                self.install_ste(device, ste);
            }
            Target::Ste(ste) => {
                self.install_ste(device, ste);
                let config = ste[0] >> 1 & 7;
                if config == 6 || config == 7 {
                    self.clear_cd(device);
                }
            }
        }
    }

    /// Writes CD 0 of a device (`arm_smmu_write_cd_entry`).
    fn write_device_cd(&mut self, device: DeviceId, cd: &Entry) {
        let master = &self.masters[&device];
        let Some(pa) = master
            .cdtab
            .and_then(|table| table.cd(&self.platform, NO_PASID))
        else {
            return;
        };
        let commands = cfgi_cd(master, Reach::Leaf);
        let instance = &mut self.instances[master.firmware.smmu.index()];
        write_entry(&mut self.platform, pa, cd, &crate::cd::CdKind, |platform| {
            // A timeout is the kernel's to print; the update goes on.
            let _logged = instance.issue_sync(platform, &commands);
        });
    }

    fn sync_device_cd(&mut self, device: DeviceId, reach: Reach) {
        let master = &self.masters[&device];
        let commands = cfgi_cd(master, reach);
        let instance = &mut self.instances[master.firmware.smmu.index()];
        let _logged = instance.issue_sync(&mut self.platform, &commands);
    }

    /// Clears CD 0 of a device, if it has one (`arm_smmu_clear_cd`).
    fn clear_cd(&mut self, device: DeviceId) {
        self.write_device_cd(device, &[0; 8]);
    }

    /// Writes the STE of each of a device's streams (`arm_smmu_install_ste_for_dev`).
    pub(crate) fn install_ste(&mut self, device: DeviceId, ste: &Entry) {
        let kind = match self.rules().entry_writer {
            EntryWriter::HitlessSafeBits => SteKind::SafeBits,
            EntryWriter::Hitless | EntryWriter::BreakFirst => SteKind::Strict,
        };
        let prefetch = self.params.prefetch == Prefetch::Send;
        let master = &self.masters[&device];
        let smmu = master.smmu();
        let instance = &mut self.instances[smmu.index()];
        for sid in master.distinct_streams() {
            let Some(pa) = instance.strtab.ste(&self.platform, sid) else {
                continue;
            };
            let sync = Command::CfgiSte {
                sid,
                reach: Reach::Leaf,
            };
            tracing::debug!(target: "arm_smmu_v3::ste", smmu = smmu.0, sid = sid.get(), config = ste[0] >> 1 & 7, "write STE");
            write_entry(&mut self.platform, pa, ste, &kind, |platform| {
                let _logged = instance.issue_sync(platform, &[sync]);
            });
            if prefetch {
                let hint = [Command::PrefetchConfig { sid }];
                let _logged =
                    instance
                        .cmdq
                        .issue(&mut self.platform, smmu, &hint, crate::cmdq::Wait::No);
            }
        }
    }

    /// Invalidates the whole ATC of a device and waits (`arm_smmu_atc_inv_master`).
    pub(crate) fn atc_inv_master(&mut self, device: DeviceId) {
        let master = &self.masters[&device];
        let commands: Vec<Command> = master
            .streams()
            .map(|sid| atc_inv(sid, AtcSpan::All))
            .collect();
        let instance = &mut self.instances[master.firmware.smmu.index()];
        let _logged = instance.issue_sync(&mut self.platform, &commands);
    }

    pub(crate) fn set_pci_ats(&mut self, device: DeviceId, state: AtsState) {
        let master = &self.masters[&device];
        let (smmu, sid) = (master.smmu(), master.firmware.streams[0]);
        if let Err(errno) = self.platform.set_ats(smmu, sid, state) {
            tracing::warn!(target: "arm_smmu_v3::ats", smmu = smmu.0, sid = sid.get(), %errno, "failed to enable ATS");
        }
    }

    /// A domain invalidates for a device from now on, and so does the one whose stage 2 it uses.
    pub(crate) fn enter(&mut self, domain: DomainId, device: DeviceId) {
        for domain in [Some(domain), self.domains[domain].parent] {
            if let Some(live) = domain.and_then(|domain| self.live_mut(domain)) {
                live.tags.devices.insert(0, device);
            }
        }
    }

    /// The old domain stops invalidating for a device; the last one to leave has the domain's tag
    /// flushed in 7.2 (`arm_smmu_remove_master_domain`).
    fn leave(&mut self, domain: DomainId, device: DeviceId) {
        let parent = self.domains.get(domain).and_then(|domain| domain.parent);
        if let Some(parent) = parent {
            self.leave(parent, device);
        }
        let by_array = self.rules().invalidation == Invalidation::Array;
        let Some(live) = self.live_mut(domain) else {
            return;
        };
        let Some(at) = live.tags.devices.iter().rposition(|other| *other == device) else {
            return;
        };
        live.tags.devices.remove(at);
        let last = live.tags.devices.is_empty();
        let tags = live.tags.clone();
        if let (true, true, Some(tag)) = (by_array, last, tags.tag) {
            let mut maintenance = self.maintenance(&tags);
            maintenance.tag(tag);
        }
    }

    /// Puts a device back to what an unattached one gets (`arm_smmu_attach_dev_blocked` at
    /// release).
    pub(crate) fn block(&mut self, device: DeviceId) {
        let had = self.masters[&device].ats;
        if had == Ats::On {
            self.set_pci_ats(device, AtsState::Disabled);
        }
        let initial = self.instances[self.masters[&device].smmu().index()].initial;
        self.install_ste(device, &initial);
        if had == Ats::On {
            self.atc_inv_master(device);
        }
        let old = self.masters.get_mut(&device).and_then(|master| {
            master.ats = Ats::Off;
            master.domain.take()
        });
        if let Some(old) = old {
            self.leave(old, device);
        }
        self.clear_cd(device);
    }

    /// A tag of a live domain, for tests and reports.
    pub fn tag(&self, domain: DomainId) -> Option<Tag> {
        self.domains.get(domain)?.live.as_ref()?.tags.tag
    }
}

/// CFGI_CD of CD 0 for each stream of a device.
fn cfgi_cd(master: &Master, reach: Reach) -> Vec<Command> {
    let streams = master.streams();
    streams
        .map(|sid| Command::CfgiCd {
            sid,
            ssid: NO_PASID,
            reach,
        })
        .collect()
}
