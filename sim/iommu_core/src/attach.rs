//! Attaching groups to domains, and each kernel's way of taking it back.

use crate::core::IommuCore;
use crate::device::Owner;
use crate::semantics::{AttachUnwind, Ownership};
use crate::{DeviceId, DomainId, Errno, GroupId, IommuOps};

impl<O: IommuOps> IommuCore<O> {
    pub(crate) fn attach_device_to(
        &mut self,
        domain: DomainId,
        device: DeviceId,
        old: Option<DomainId>,
    ) -> Result<(), Errno> {
        let result = self
            .step("iommu:attach_dev", Errno::EINVAL)
            .and_then(|()| self.ops.attach_dev(domain, device, old));
        self.note("iommu:attach_dev", Some(device), Some(domain), result);
        result
    }

    /// Attaches every device of the group to `domain` (`iommu_attach_group()`).
    ///
    /// # Errors
    /// EBUSY: the group is neither on its default nor on its blocking domain. Others: the
    /// driver's; which devices are where then depends on the kernel ([`AttachUnwind`]).
    pub fn attach_group(&mut self, domain: DomainId, group: GroupId) -> Result<(), Errno> {
        let entry = &self.groups[&group];
        let idle = entry.domain.is_none()
            || entry.domain == entry.default_domain
            || entry.domain == entry.blocking_domain;
        if !idle {
            return Err(Errno::EBUSY);
        }
        self.set_domain(group, domain)
    }

    /// Moves the group from where it is to `domain` without a stop in between
    /// (`iommu_group_replace_domain()`, 6.2 and later).
    ///
    /// # Errors
    /// The driver's; the group stays where it was.
    pub fn replace_group(&mut self, domain: DomainId, group: GroupId) -> Result<(), Errno> {
        self.set_domain(group, domain)
    }

    /// Detaches the group: to its blocking domain while owned, else to its default domain, else to
    /// nothing (`iommu_detach_group()`).
    pub fn detach_group(&mut self, domain: DomainId, group: GroupId) {
        let entry = &self.groups[&group];
        let owned = matches!(entry.owner, Owner::User { .. })
            && self.ops.control().semantics.core.ownership == Ownership::Claimed;
        let target = if owned {
            entry.blocking_domain
        } else {
            entry.default_domain
        };
        self.note("iommu:detach_group", None, Some(domain), Ok(()));
        if let Some(target) = target {
            self.set_domain_must_succeed(group, target);
        } else {
            for device in entry_devices(self, group) {
                self.ops.detach_dev(domain, device);
            }
            self.group_mut(group).domain = None;
        }
    }

    /// Attaches a device that is alone in its group (`iommu_attach_device()`).
    ///
    /// # Errors
    /// EINVAL: it is not alone. Otherwise as [`attach_group`](Self::attach_group).
    pub fn attach_device(&mut self, domain: DomainId, device: DeviceId) -> Result<(), Errno> {
        let group = self.devices.get(&device).ok_or(Errno::ENODEV)?.group;
        if self.groups[&group].devices.len() != 1 {
            return Err(Errno::EINVAL);
        }
        self.attach_group(domain, group)
    }

    pub(crate) fn set_domain(&mut self, group: GroupId, domain: DomainId) -> Result<(), Errno> {
        let old = self.groups[&group].domain;
        if old == Some(domain) {
            return Ok(());
        }
        let devices = entry_devices(self, group);
        for (index, device) in devices.iter().enumerate() {
            let Err(errno) = self.attach_device_to(domain, *device, old) else {
                continue;
            };
            let back = match self.ops.control().semantics.core.attach_unwind {
                AttachUnwind::Stay => &[],
                AttachUnwind::AllBack => &devices[..],
                AttachUnwind::EarlierBack => &devices[..index],
            };
            if let Some(old) = old {
                for device in back {
                    self.attach_back(old, *device, domain);
                }
            }
            return Err(errno);
        }
        self.group_mut(group).domain = Some(domain);
        Ok(())
    }

    /// Puts a device back where it was. The kernel warns if that fails; here the journal has it.
    fn attach_back(&mut self, old: DomainId, device: DeviceId, from: DomainId) {
        let result = self.ops.attach_dev(old, device, Some(from));
        self.note("iommu:attach_back", Some(device), Some(old), result);
    }

    /// Moves a group where it has been before, which a driver must not refuse. If it does, kernels
    /// up to 6.1 stop and leave the group where it was on paper; later ones go on with the other
    /// devices and block the failing one.
    pub(crate) fn set_domain_must_succeed(&mut self, group: GroupId, domain: DomainId) {
        let old = self.groups[&group].domain;
        if old == Some(domain) {
            return;
        }
        let goes_on = self.ops.control().semantics.core.attach_unwind == AttachUnwind::EarlierBack;
        for device in entry_devices(self, group) {
            let result = self.ops.attach_dev(domain, device, old);
            self.note("iommu:attach_dev", Some(device), Some(domain), result);
            if result.is_ok() {
                continue;
            }
            if !goes_on {
                return;
            }
            if let Some(blocking) = self.groups[&group].blocking_domain {
                let result = self.ops.attach_dev(blocking, device, old);
                self.note("iommu:block_dev", Some(device), Some(blocking), result);
            }
        }
        self.group_mut(group).domain = Some(domain);
    }
}

fn entry_devices<O: IommuOps>(core: &IommuCore<O>, group: GroupId) -> Vec<DeviceId> {
    core.groups[&group].devices.clone()
}
