//! Devices: bound to the file, attached to a domain that suits them, and away again
//! (`drivers/iommu/iommufd/device.c`, `hw_pagetable.c`).

use iommu_core::ops::{Capability, DomainKind};
use iommu_core::{DeviceId, DomainId, Errno, GroupId, IommuOps};

use super::{Ioas, Iommufd};
use crate::host::UnsafeInterrupts;
use crate::type1::{Ctx, interrupts_isolated};

/// A domain of an address space, made when no other suits a device and gone with its last
/// (`struct iommufd_hwpt_paging`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hwpt {
    domain: DomainId,
    coherency: Enforced,
}

impl Hwpt {
    /// The domain.
    pub fn domain(&self) -> DomainId {
        self.domain
    }

    /// Whether the IOMMU keeps all its DMA coherent.
    pub(super) fn is_coherent(&self) -> bool {
        self.coherency == Enforced::Yes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enforced {
    No,
    Yes,
}

/// A group with attached devices (`struct iommufd_group`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attached {
    hwpt: DomainId,
    /// In the order they were attached.
    devices: Vec<DeviceId>,
}

/// Takes a device's group for the holder of `token` (`iommufd_device_bind()`).
///
/// # Errors
/// EPERM: interrupts are not isolated, or somebody else has the group. Others: it cannot be taken.
pub(super) fn bind<O: IommuOps>(
    ctx: &mut Ctx<'_, O>,
    token: u64,
    group: GroupId,
    device: DeviceId,
) -> Result<(), Errno> {
    let refused = ctx.host.params.iommufd_unsafe_interrupts == UnsafeInterrupts::Refused;
    if refused && !interrupts_isolated(ctx, group) {
        return Err(Errno::EPERM);
    }
    ctx.core.claim_device_owner(device, token)?;
    let allocated = ctx.step("iommufd:alloc_device", Errno::ENOMEM);
    if allocated.is_err() {
        ctx.core.release_device_owner(device);
    }
    allocated
}

impl Iommufd {
    /// Attaches a bound device to the first domain that takes it, or to a new one
    /// (`iommufd_device_auto_get_domain()`).
    ///
    /// # Errors
    /// ENODEV: there is no address space. EADDRINUSE: what is mapped conflicts with the device's
    /// reserved regions, its IOMMU's aperture or pages. Others: those of filling a domain and the
    /// driver's. All is as before.
    pub(super) fn attach_device<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        group: GroupId,
        device: DeviceId,
    ) -> Result<(), Errno> {
        let ioas = self.ioas.as_ref().ok_or(Errno::ENODEV)?;
        let known: Vec<DomainId> = ioas.domains().collect();
        for domain in known {
            match self.attach_to(ctx, domain, group, device) {
                // The domain is not for this device.
                Err(Errno::EINVAL) => {}
                decided => return decided,
            }
        }
        self.attach_to_new(ctx, group, device)
    }

    /// Makes a domain for the device and maps everything into it (`iommufd_hwpt_paging_alloc()`).
    fn attach_to_new<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        group: GroupId,
        device: DeviceId,
    ) -> Result<(), Errno> {
        ctx.step("iommufd:alloc_hwpt", Errno::ENOMEM)?;
        let domain = ctx.core.domain_alloc(DomainKind::Unmanaged, device)?;
        let capable = Capability::EnforceCacheCoherency;
        let capable = ctx.core.ops().capable(device, capable);
        let coherency = if capable && ctx.core.ops_mut().enforce_cache_coherency(domain) {
            Enforced::Yes
        } else {
            Enforced::No
        };
        if let Err(errno) = self.attach_to(ctx, domain, group, device) {
            ctx.core.domain_free(domain);
            return Err(errno);
        }
        let ioas = self.ioas.as_mut().ok_or(Errno::ENODEV)?;
        if let Err(errno) = ioas.table.add_domain(ctx, domain) {
            self.detach_from(ctx, group, device);
            ctx.core.domain_free(domain);
            return Err(errno);
        }
        ioas.hwpts.push(Hwpt { domain, coherency });
        Ok(())
    }

    /// Attaches the device to this domain: its regions are reserved, and the group is moved with
    /// its first device (`iommufd_hw_pagetable_attach()`).
    fn attach_to<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        domain: DomainId,
        group: GroupId,
        device: DeviceId,
    ) -> Result<(), Errno> {
        let attached = self.groups.get(&group);
        if attached.is_some_and(|attached| attached.hwpt != domain) {
            return Err(Errno::EINVAL);
        }
        let first = attached.is_none();
        let table = &mut self.ioas.as_mut().ok_or(Errno::ENODEV)?.table;
        let doorbells = table.reserve_device(ctx, device)?;
        if first {
            let cookie = match doorbells {
                Some(base) => ctx.core.get_msi_cookie(domain, base),
                None => Ok(()),
            };
            let moved = match cookie {
                // A domain that other groups are in has its cookie.
                Ok(()) | Err(Errno::EEXIST) => ctx.core.attach_group(domain, group),
                Err(errno) => Err(errno),
            };
            if let Err(errno) = moved {
                table.unreserve_device(device);
                return Err(errno);
            }
        }
        let entry = self.groups.entry(group).or_insert(Attached {
            hwpt: domain,
            devices: vec![],
        });
        entry.devices.push(device);
        Ok(())
    }

    /// Takes a device off its domain, and its group with its last device; the domain
    /// (`iommufd_hw_pagetable_detach()`).
    fn detach_from<O: IommuOps>(
        &mut self,
        ctx: &mut Ctx<'_, O>,
        group: GroupId,
        device: DeviceId,
    ) -> Option<DomainId> {
        let attached = self.groups.get_mut(&group)?;
        let domain = attached.hwpt;
        attached.devices.retain(|other| *other != device);
        if attached.devices.is_empty() {
            self.groups.remove(&group);
            ctx.core.detach_group(domain, group);
        }
        if let Some(ioas) = &mut self.ioas {
            ioas.table.unreserve_device(device);
        }
        Some(domain)
    }

    /// Detaches a device; a domain that nobody is left in goes (`iommufd_device_detach()`).
    pub(super) fn detach_device<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>, device: DeviceId) {
        let group = self
            .groups
            .iter()
            .find(|(_, attached)| attached.devices.contains(&device))
            .map(|(group, _)| *group);
        let Some(domain) = group.and_then(|group| self.detach_from(ctx, group, device)) else {
            return;
        };
        let used = self.groups.values().any(|attached| attached.hwpt == domain);
        if let Some(ioas) = self.ioas.as_mut().filter(|_| !used) {
            ioas.drop_domain(ctx, domain);
        }
    }
}

impl Ioas {
    fn drop_domain<O: IommuOps>(&mut self, ctx: &mut Ctx<'_, O>, domain: DomainId) {
        self.hwpts.retain(|hwpt| hwpt.domain != domain);
        self.table.remove_domain(ctx, domain);
        ctx.core.domain_free(domain);
    }

    /// Whether the IOMMUs keep all DMA coherent; so they do while there is none.
    pub(super) fn is_coherent(&self) -> bool {
        self.hwpts.iter().all(Hwpt::is_coherent)
    }
}
