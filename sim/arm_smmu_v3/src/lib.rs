//! The Linux SMMUv3 driver: the only crate that sees both [`iommu_core`] and the hardware.
//!
//! [`Driver`] implements [`iommu_core::IommuOps`] on a [`Platform`]. What it does reaches an SMMU
//! only as MMIO, stores to memory and commands. What it remembers is what the kernel's structures
//! hold besides: where tables are and which identifiers are taken; what tables, STEs and CDs say
//! is read from memory.
//!
//! A whole machine is `smmu_sim::linux::LinuxMachine`. What the driver does can also be asked of its
//! parts, such as the words of a command:
//!
//! ```
//! use arm_smmu_v3::Command;
//! use smmu::ids::{Asid, Vmid};
//!
//! let command = Command::TlbiNhAsid { asid: Asid::new(5), vmid: Vmid::new(0) };
//! assert_eq!(command.words(), [0x0005_0000_0000_0011, 0]);
//! assert_eq!(Command::from_words(command.words()), Some(command));
//! ```
//!
//! Reading order: [`platform`], [`probe`], [`command`] and `cmdq`, [`pgtable`], [`ste`] and
//! [`entry`], `domain`, the two ways to attach (`attach_first`, `attach`), `maintenance`, `nested`.

mod attach;
mod attach_first;
mod cd;
mod cmdq;
pub mod command;
mod domain;
pub mod entry;
mod event;
mod faults;
mod gerror;
mod id_set;
mod instance;
mod maintenance;
mod master;
mod nested;
mod ops;
pub mod pgtable;
pub mod platform;
pub mod probe;
pub mod range;
mod regs;
pub mod ste;
mod streams;
mod strtab;
mod write_first;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use iommu_core::semantics::{AttachOrder, DriverRules, Invalidation};
use iommu_core::{Control, DeviceId, DomainId, Errno, IdMap};
use smmu::addr::Pa;
use smmu::ids::StreamId;

pub use cmdq::BATCH;
pub use command::Command;
pub use faults::Printed;
pub use gerror::GlobalError;
pub use maintenance::Tag;
pub use master::{Firmware, Support};
pub use platform::{AtsState, Platform, SmmuId};
pub use probe::{Features, Params};

use domain::{Domain, Live};
use id_set::IdSet;
use instance::Instance;
use maintenance::{Maintenance, Tags};
use master::Master;

/// The driver, with everything it drives and the platform it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver<P> {
    platform: P,
    params: Params,
    instances: Vec<Instance>,
    masters: BTreeMap<DeviceId, Master>,
    domains: IdMap<DomainId, Domain>,
    /// ASIDs are given out over all SMMUs.
    asids: IdSet,
    /// Stalled transactions somebody was told about.
    stalled: Vec<(DeviceId, u16)>,
    printed: Vec<Printed>,
}

impl<P: Platform> Driver<P> {
    /// Probes and resets SMMUs 0 to `smmus` - 1 of a machine.
    ///
    /// # Errors
    /// ENXIO: a part the driver cannot use. ENOMEM, ETIMEDOUT.
    pub fn probe(platform: P, params: Params, smmus: u32) -> Result<Self, Errno> {
        let mut driver = Self {
            platform,
            params,
            instances: Vec::new(),
            masters: BTreeMap::new(),
            domains: IdMap::default(),
            asids: IdSet::default(),
            stalled: Vec::new(),
            printed: Vec::new(),
        };
        for id in 0..smmus {
            let instance = Instance::probe(&mut driver.platform, SmmuId(id), &driver.params)?;
            driver.instances.push(instance);
        }
        Ok(driver)
    }

    /// The machine below.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// The machine below.
    pub fn platform_mut(&mut self) -> &mut P {
        &mut self.platform
    }

    /// What an SMMU can do.
    pub fn features(&self, smmu: SmmuId) -> Option<&Features> {
        self.instances.get(smmu.index()).map(|i| &i.features)
    }

    /// Where the STE of a stream is; `None` if there is none yet.
    pub fn ste_pa(&self, smmu: SmmuId, stream: StreamId) -> Option<Pa> {
        let instance = self.instances.get(smmu.index())?;
        instance.strtab.ste(&self.platform, stream)
    }

    /// Which device a stream belongs to, by the driver's own tree.
    pub fn stream_owner(&self, smmu: SmmuId, stream: StreamId) -> Option<DeviceId> {
        let instance = self.instances.get(smmu.index())?;
        instance.streams.get(&stream).copied()
    }

    /// VMIDs in use on an SMMU.
    pub fn vmids_in_use(&self, smmu: SmmuId) -> u32 {
        self.instances
            .get(smmu.index())
            .map_or(0, |instance| instance.vmids.len())
    }

    /// ASIDs in use.
    pub fn asids_in_use(&self) -> u32 {
        self.asids.len()
    }

    /// Bytes of a domain's page tables.
    pub fn table_bytes(&self, domain: DomainId) -> u64 {
        self.domains
            .get(domain)
            .and_then(|domain| domain.live.as_ref()?.tables.as_ref())
            .map_or(0, pgtable::PageTables::table_bytes)
    }

    /// Devices attached to a domain, newest first.
    pub fn attached(&self, domain: DomainId) -> &[DeviceId] {
        self.domains
            .get(domain)
            .and_then(|domain| domain.live.as_ref())
            .map_or(&[], |live| &live.tags.devices)
    }

    /// What the driver printed instead of reporting it, oldest first.
    pub fn printed(&self) -> &[Printed] {
        &self.printed
    }

    fn rules(&self) -> DriverRules {
        self.platform.control().semantics.driver
    }

    /// Whether the driver knows of masters whose DMA can be made coherent whatever they ask for
    /// (since 6.13; invalidations came to be an array later, so of the versions here 7.2 alone).
    fn enforces_coherency(&self) -> bool {
        self.rules().invalidation == Invalidation::Array
    }

    /// Whether CD tables belong to domains rather than devices.
    fn domains_have_cds(&self) -> bool {
        self.rules().attach_order == AttachOrder::DetachFirst
    }

    fn live_mut(&mut self, domain: DomainId) -> Option<&mut Live> {
        self.domains.get_mut(domain)?.live.as_mut()
    }

    /// What invalidating needs, for a domain with these tags.
    fn maintenance<'a>(&'a mut self, tags: &'a Tags) -> Maintenance<'a, P> {
        let rules = self.rules();
        Maintenance {
            platform: &mut self.platform,
            instances: &mut self.instances,
            masters: &self.masters,
            tags,
            rules,
            failed: Ok(()),
        }
    }
}

/// What fails, and what is kept of calls.
fn control<P: Platform>(platform: &mut P) -> &mut Control {
    platform.control_mut()
}
