//! The core itself: who is attached where. Addresses are [`mapping`](crate::mapping)'s.

use std::collections::BTreeMap;

use crate::device::{Device, DeviceConfig, Domain, Group, Grouping, Owner};
use crate::id_map::IdMap;
use crate::ops::{DomainKind, ResvRegion};
use crate::resv::insert_resv_region;
use crate::semantics::{DomainAlloc, Ownership};
use crate::{Call, DeviceId, DomainId, Errno, GroupId, IdSource, IommuOps};

/// What a machine chooses about the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreConfig {
    /// Kind of each group's default domain.
    pub default_domain: DomainKind,
    /// Bytes of a CPU page: the granule of MSI doorbells.
    pub page_size: u64,
}

/// The IOMMU core over a driver, which it owns.
#[derive(Debug, Clone, PartialEq)]
pub struct IommuCore<O: IommuOps> {
    pub(crate) ops: O,
    pub(crate) config: CoreConfig,
    pub(crate) devices: BTreeMap<DeviceId, Device>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    pub(crate) domains: IdMap<DomainId, Domain>,
    ids: IdSource,
}

impl<O: IommuOps> IommuCore<O> {
    /// A core without devices.
    pub fn new(ops: O, config: CoreConfig) -> Self {
        Self {
            ops,
            config,
            devices: BTreeMap::new(),
            groups: BTreeMap::new(),
            domains: IdMap::default(),
            ids: IdSource::default(),
        }
    }

    /// The driver.
    pub fn ops(&self) -> &O {
        &self.ops
    }

    /// The driver.
    pub fn ops_mut(&mut self) -> &mut O {
        &mut self.ops
    }

    /// What the machine chose.
    pub fn config(&self) -> &CoreConfig {
        &self.config
    }

    /// The device of this handle.
    pub fn device(&self, device: DeviceId) -> Option<&Device> {
        self.devices.get(&device)
    }

    /// All devices, in the order they were added.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, &Device)> {
        self.devices.iter().map(|(id, device)| (*id, device))
    }

    /// The group of this handle.
    pub fn group(&self, group: GroupId) -> Option<&Group> {
        self.groups.get(&group)
    }

    /// All groups, in the order they came to be.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.groups.iter().map(|(id, group)| (*id, group))
    }

    /// Domains in existence, default and blocking ones included.
    pub fn domains(&self) -> impl Iterator<Item = (DomainId, DomainKind)> {
        self.domains.iter().map(|(id, domain)| (id, domain.kind))
    }

    pub(crate) fn step(&mut self, name: &'static str, natural: Errno) -> Result<(), Errno> {
        self.ops.control_mut().step(name, natural)
    }

    pub(crate) fn note(
        &mut self,
        op: &'static str,
        device: Option<DeviceId>,
        domain: Option<DomainId>,
        result: Result<(), Errno>,
    ) {
        self.ops.control_mut().journal.note(|| Call {
            op,
            device,
            domain,
            address: 0,
            size: 0,
            result: result.map(|()| 0),
        });
    }

    /// A device appears: it is probed, put into a group and attached to the group's domain, or to
    /// a new default domain if it is the first.
    ///
    /// # Errors
    /// Those of the driver's probe, domain allocation and attach; nothing of the device is left.
    ///
    /// # Panics
    /// If the configuration names a companion that does not exist.
    pub fn add_device(
        &mut self,
        config: DeviceConfig,
        firmware: &O::Firmware,
    ) -> Result<DeviceId, Errno> {
        let device = DeviceId(self.ids.fresh());
        self.step("iommu:probe_device", Errno::ENODEV)?;
        self.ops.probe_device(device, firmware)?;
        let group = match config.grouping {
            Grouping::With(other) => self.devices[&other].group,
            Grouping::Own => {
                let group = GroupId(self.ids.fresh());
                self.groups.insert(group, Group::default());
                group
            }
        };
        self.devices.insert(
            device,
            Device {
                name: config.name,
                bus: config.bus,
                group,
                msi: config.msi,
            },
        );
        self.group_mut(group).devices.push(device);
        let result = self.settle(device, group);
        if let Err(errno) = result {
            self.forget_device(device);
            return Err(errno);
        }
        Ok(device)
    }

    /// Attaches a new device to where its group is.
    fn settle(&mut self, device: DeviceId, group: GroupId) -> Result<(), Errno> {
        if self.groups[&group].default_domain.is_none() {
            let kind = self.config.default_domain;
            let domain = self.domain_alloc(kind, device)?;
            let entry = self.group_mut(group);
            entry.default_domain = Some(domain);
            entry.domain = Some(domain);
        }
        let Some(domain) = self.groups[&group].domain else {
            return Ok(());
        };
        self.attach_device_to(domain, device, None)
    }

    /// A device goes: it is detached and released, and its group with it if it was the last.
    pub fn remove_device(&mut self, device: DeviceId) {
        self.forget_device(device);
    }

    fn forget_device(&mut self, device: DeviceId) {
        let Some(Device { group, .. }) = self.devices.get(&device) else {
            return;
        };
        let group = *group;
        self.ops.release_device(device);
        self.devices.remove(&device);
        let entry = self.group_mut(group);
        entry.devices.retain(|other| *other != device);
        if entry.devices.is_empty() {
            let (default, blocking) = (entry.default_domain, entry.blocking_domain);
            self.groups.remove(&group);
            for domain in [default, blocking].into_iter().flatten() {
                self.domain_free(domain);
            }
        }
    }

    pub(crate) fn group_mut(&mut self, group: GroupId) -> &mut Group {
        self.groups.get_mut(&group).expect("the group exists")
    }

    /// Makes a domain of `kind`; `device` is one it is meant for.
    ///
    /// # Errors
    /// ENOMEM, or the driver's refusal of the kind.
    pub fn domain_alloc(&mut self, kind: DomainKind, device: DeviceId) -> Result<DomainId, Errno> {
        self.step("iommu:domain_alloc", Errno::ENOMEM)?;
        let domain = DomainId(self.ids.fresh());
        let device = match self.ops.control().semantics.core.domain_alloc {
            DomainAlloc::AtFirstAttach => None,
            DomainAlloc::WithDevice => Some(device),
        };
        let result = self.ops.domain_alloc(domain, kind, device);
        self.note("iommu:domain_alloc", device, Some(domain), result);
        result?;
        self.domains.insert(domain, Domain { kind, cookie: None });
        Ok(domain)
    }

    /// Makes a domain for a guest's stage 1 over the stage 2 of `parent`.
    ///
    /// # Errors
    /// The driver's.
    pub fn domain_alloc_nested(&mut self, parent: DomainId) -> Result<DomainId, Errno> {
        self.step("iommu:domain_alloc", Errno::ENOMEM)?;
        let domain = DomainId(self.ids.fresh());
        let result = self.ops.domain_alloc_nested(domain, parent);
        self.note("iommu:domain_alloc_nested", None, Some(domain), result);
        result?;
        let kind = DomainKind::Nested;
        self.domains.insert(domain, Domain { kind, cookie: None });
        Ok(domain)
    }

    /// Frees a domain to which nothing is attached; a nested MSI cookie's doorbells are unmapped
    /// first (`iommu_domain_free()`, `iommu_put_dma_cookie()`).
    pub fn domain_free(&mut self, domain: DomainId) {
        self.put_msi_cookie(domain);
        self.ops.domain_free(domain);
        self.domains.remove(domain);
        self.note("iommu:domain_free", None, Some(domain), Ok(()));
    }

    /// Regions no device of the group may use, merged and sorted
    /// (`iommu_get_group_resv_regions()`).
    ///
    /// # Errors
    /// ENOMEM.
    pub fn group_resv_regions(&mut self, group: GroupId) -> Result<Vec<ResvRegion>, Errno> {
        self.step("iommu:resv_regions", Errno::ENOMEM)?;
        let mut merged = Vec::new();
        for device in &self.groups[&group].devices {
            for region in self.ops.resv_regions(*device) {
                insert_resv_region(region, &mut merged);
            }
        }
        Ok(merged)
    }

    /// A kernel driver starts to use the group's default domain
    /// (`iommu_device_use_default_domain()`).
    ///
    /// # Errors
    /// EBUSY: user space owns the group, or it is not on its default domain.
    pub fn use_default_domain(&mut self, device: DeviceId) -> Result<(), Errno> {
        let group = self.devices[&device].group;
        let entry = self.group_mut(group);
        entry.owner = match entry.owner {
            Owner::User { .. } => return Err(Errno::EBUSY),
            _ if entry.domain != entry.default_domain => return Err(Errno::EBUSY),
            Owner::Nobody => Owner::Drivers(1),
            Owner::Drivers(count) => Owner::Drivers(count + 1),
        };
        Ok(())
    }

    /// The kernel driver is gone.
    pub fn unuse_default_domain(&mut self, device: DeviceId) {
        let group = self.devices[&device].group;
        let entry = self.group_mut(group);
        entry.owner = match entry.owner {
            Owner::Drivers(count) if count > 1 => Owner::Drivers(count - 1),
            Owner::Drivers(_) => Owner::Nobody,
            other => other,
        };
    }

    /// Whether user space or a kernel driver uses the group (`iommu_group_dma_owner_claimed()`).
    pub fn dma_owner_claimed(&self, group: GroupId) -> bool {
        self.groups
            .get(&group)
            .is_some_and(|group| group.owner != Owner::Nobody)
    }

    /// Takes the group for user space; it is blocked until attached
    /// (`iommu_group_claim_dma_owner()`). 5.10 has no such thing: nothing happens.
    ///
    /// # Errors
    /// EPERM: somebody has it. EBUSY: it is not on its default domain. Others: no blocking domain
    /// can be had or attached.
    pub fn claim_dma_owner(&mut self, group: GroupId, token: u64) -> Result<(), Errno> {
        if self.ops.control().semantics.core.ownership == Ownership::None {
            return Ok(());
        }
        let entry = &self.groups[&group];
        if entry.owner != Owner::Nobody {
            return Err(Errno::EPERM);
        }
        if entry.domain.is_some() && entry.domain != entry.default_domain {
            return Err(Errno::EBUSY);
        }
        let blocking = self.blocking_domain(group)?;
        self.set_domain(group, blocking)?;
        self.group_mut(group).owner = Owner::User { token, claims: 1 };
        Ok(())
    }

    /// Gives the group back to the kernel: its default domain
    /// (`iommu_group_release_dma_owner()`).
    pub fn release_dma_owner(&mut self, group: GroupId) {
        if self.ops.control().semantics.core.ownership == Ownership::None {
            return;
        }
        let entry = self.group_mut(group);
        entry.owner = Owner::Nobody;
        if let Some(default) = entry.default_domain {
            self.set_domain_must_succeed(group, default);
        }
    }

    /// Takes the group of `device` for user space; on behalf of who has it already, once more
    /// (`iommu_device_claim_dma_owner()`).
    ///
    /// # Errors
    /// ENODEV: unknown. Otherwise as [`claim_dma_owner`](Self::claim_dma_owner).
    pub fn claim_device_owner(&mut self, device: DeviceId, token: u64) -> Result<(), Errno> {
        let group = self.devices.get(&device).ok_or(Errno::ENODEV)?.group;
        if let Owner::User {
            token: holder,
            claims,
        } = &mut self.group_mut(group).owner
            && *holder == token
        {
            *claims += 1;
            return Ok(());
        }
        self.claim_dma_owner(group, token)
    }

    /// Takes one claim on the group of `device` back; with the last the group returns to the
    /// kernel (`iommu_device_release_dma_owner()`).
    pub fn release_device_owner(&mut self, device: DeviceId) {
        let Some(group) = self.devices.get(&device).map(|device| device.group) else {
            return;
        };
        match &mut self.group_mut(group).owner {
            Owner::User { claims, .. } if *claims > 1 => *claims -= 1,
            Owner::User { .. } | Owner::Drivers(_) | Owner::Nobody => {
                self.release_dma_owner(group);
            }
        }
    }

    /// The group's blocking domain: the driver's, or an empty one of the ordinary kind.
    fn blocking_domain(&mut self, group: GroupId) -> Result<DomainId, Errno> {
        let entry = &self.groups[&group];
        if let Some(domain) = entry.blocking_domain {
            return Ok(domain);
        }
        let first = entry.devices[0];
        let domain = match self.domain_alloc(DomainKind::Blocked, first) {
            Ok(domain) => domain,
            // A driver without a blocking domain.
            Err(_) => self
                .domain_alloc(DomainKind::Unmanaged, first)
                .map_err(|_| Errno::EINVAL)?,
        };
        self.group_mut(group).blocking_domain = Some(domain);
        Ok(domain)
    }
}
