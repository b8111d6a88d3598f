//! Devices: which driver has them, and the files GROUP_GET_DEVICE_FD gives.

use iommu_core::ops::Prot;
use iommu_core::{DeviceId, Errno, GroupId, IommuOps, Paddr};

use crate::container::ContainerId;
use crate::device_region::Regions;
use crate::group::{Joined, VfioGroup};
use crate::host::FileId;
use crate::iommufd::IommufdId;
use crate::process::{NOBODY, Pid};
use crate::type1::GroupKind;
use crate::vfio::Vfio;

/// The driver that has a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// VFIO's.
    Vfio,
    /// One of the host's, which does DMA through the default domain.
    Host(String),
}

/// A device bound to VFIO, or to a driver of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VfioDevice {
    pub(crate) binding: Binding,
    /// Open device files.
    pub(crate) open: u32,
    /// The iommufd it is bound to, while open.
    pub(crate) iommufd: Option<IommufdId>,
    /// The series' regions, while open and nested.
    pub(crate) regions: Option<Regions>,
    /// Signals of the fault interrupt, once an eventfd is connected.
    pub(crate) signals: Option<u64>,
}

impl<O: IommuOps> Vfio<O> {
    /// Binds a device to VFIO; its group gets a file if it has none.
    ///
    /// # Errors
    /// EBUSY: another driver has it. ENODEV: unknown.
    pub fn bind(&mut self, device: DeviceId) -> Result<(), Errno> {
        self.bind_as(device, GroupKind::Iommu)
    }

    /// Binds a mediated device, whose driver pins the pages it uses.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_emulated(&mut self, device: DeviceId) -> Result<(), Errno> {
        self.bind_as(device, GroupKind::Emulated)
    }

    fn bind_as(&mut self, device: DeviceId, kind: GroupKind) -> Result<(), Errno> {
        let group = self.core.device(device).ok_or(Errno::ENODEV)?.group;
        if self.devices.contains_key(&device) {
            return Err(Errno::EBUSY);
        }
        self.devices.insert(
            device,
            VfioDevice {
                binding: Binding::Vfio,
                open: 0,
                iommufd: None,
                regions: None,
                signals: None,
            },
        );
        self.groups.entry(group).or_insert(VfioGroup {
            kind,
            joined: None,
            users: 0,
            opened: None,
        });
        Ok(())
    }

    /// Binds a device to a driver of the host.
    ///
    /// # Errors
    /// EBUSY: another driver has it, or user space owns the group. ENODEV: unknown.
    pub fn bind_host(&mut self, device: DeviceId, driver: &str) -> Result<(), Errno> {
        self.core.device(device).ok_or(Errno::ENODEV)?;
        if self.devices.contains_key(&device) {
            return Err(Errno::EBUSY);
        }
        self.core.use_default_domain(device)?;
        self.devices.insert(
            device,
            VfioDevice {
                binding: Binding::Host(driver.to_owned()),
                open: 0,
                iommufd: None,
                regions: None,
                signals: None,
            },
        );
        Ok(())
    }

    /// Takes a device from its driver; an open one is closed by its user first.
    ///
    /// # Errors
    /// EBUSY: it is open. ENODEV: no driver has it.
    pub fn unbind(&mut self, device: DeviceId) -> Result<(), Errno> {
        let entry = self.devices.get(&device).ok_or(Errno::ENODEV)?;
        if entry.open > 0 {
            return Err(Errno::EBUSY);
        }
        let was_host = matches!(entry.binding, Binding::Host(_));
        self.devices.remove(&device);
        if was_host {
            self.core.unuse_default_domain(device);
        } else if let Some(group) = self.core.device(device).map(|device| device.group) {
            self.drop_group_if_unbound(group);
        }
        Ok(())
    }

    /// The driver that has a device.
    pub fn binding(&self, device: DeviceId) -> Option<&Binding> {
        self.devices.get(&device).map(|entry| &entry.binding)
    }

    /// Pins pages for a device without IOMMU, by the addresses it uses; where they are.
    ///
    /// # Errors
    /// EINVAL: the device's group is in no container with a backend. Others as
    /// `vfio_pin_pages()`.
    pub fn pin_pages(
        &mut self,
        device: DeviceId,
        iovas: &[u64],
        prot: Prot,
    ) -> Result<Vec<Paddr>, Errno> {
        let container = self.container_of(device).ok_or(Errno::EINVAL)?;
        self.with_backend(container, |vfio, backend| {
            backend.pin_external(&mut vfio.ctx(NOBODY), iovas, prot)
        })
        .unwrap_or(Err(Errno::EINVAL))
    }

    /// Unpins what [`pin_pages`](Self::pin_pages) pinned.
    pub fn unpin_pages(&mut self, device: DeviceId, iovas: &[u64]) {
        if let Some(container) = self.container_of(device) {
            self.with_backend(container, |vfio, backend| {
                backend.unpin_external(&mut vfio.ctx(NOBODY), iovas);
            });
        }
    }

    fn container_of(&self, device: DeviceId) -> Option<ContainerId> {
        let group = self.core.device(device)?.group;
        match self.groups.get(&group)?.joined? {
            Joined::Container(container) => Some(container),
            // Devices without IOMMU cannot join one.
            Joined::Iommufd(_) => None,
        }
    }

    /// A group's file goes with its last VFIO device, once nobody has it open.
    pub(crate) fn drop_group_if_unbound(&mut self, group: GroupId) {
        let Some(entry) = self.groups.get(&group) else {
            return;
        };
        let devices = self.core.group(group).map(|group| group.devices.clone());
        let bound = devices
            .unwrap_or_default()
            .iter()
            .any(|device| self.binding(*device) == Some(&Binding::Vfio));
        if !bound && entry.opened.is_none() && entry.joined.is_none() {
            self.groups.remove(&group);
        }
    }

    pub(crate) fn open_device(&mut self, pid: Pid, device: DeviceId) -> Result<(), Errno> {
        self.ctx(pid).step("vfio:open_device", Errno::EIO)?;
        let first = self.devices.get(&device).ok_or(Errno::ENODEV)?.open == 0;
        let regions = if first {
            self.make_regions(pid, device)?
        } else {
            None
        };
        let entry = self.devices.get_mut(&device).ok_or(Errno::ENODEV)?;
        if first {
            entry.regions = regions;
        }
        entry.open += 1;
        Ok(())
    }

    /// One open file of the device fewer; whether that was the last.
    pub(crate) fn close_device(&mut self, device: DeviceId) -> bool {
        let Some(entry) = self.devices.get_mut(&device) else {
            return false;
        };
        entry.open -= 1;
        if entry.open > 0 {
            return false;
        }
        entry.signals = None;
        if let Some(regions) = entry.regions.take() {
            self.free_regions(&regions);
        }
        true
    }

    pub(crate) fn release_device_file(&mut self, device: DeviceId, group_file: Option<FileId>) {
        if self.close_device(device) {
            self.leave_iommufd(device);
        }
        let Some(group_file) = group_file else {
            return;
        };
        if let Some(group) = self.core.device(device).map(|device| device.group) {
            self.group_mut(group).users -= 1;
        }
        self.put(group_file);
    }
}
