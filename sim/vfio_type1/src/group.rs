//! Groups: the files `/dev/vfio/N`, joining and leaving containers, opening devices.

use iommu_core::semantics::GroupLayer;
use iommu_core::{DeviceId, Errno, GroupId, IommuOps, UserMemory, UserPtr};
use zerocopy::IntoBytes;

use crate::abi::{self, group_flags};
use crate::container::ContainerId;
use crate::device::Binding;
use crate::host::FileId;
use crate::iommufd::IommufdId;
use crate::process::{NOBODY, Pid};
use crate::type1::GroupKind;
use crate::vfio::{FileKind, Vfio};

/// What a group has joined by GROUP_SET_CONTAINER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// A container: type1.
    Container(ContainerId),
    /// `/dev/iommu`.
    Iommufd(IommufdId),
}

/// A group as VFIO sees it (`struct vfio_group`); it exists while one of its devices is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VfioGroup {
    pub(crate) kind: GroupKind,
    pub(crate) joined: Option<Joined>,
    /// The group itself while in a type1 container, and each open device.
    pub(crate) users: u32,
    pub(crate) opened: Option<FileId>,
}

impl<O: IommuOps> Vfio<O> {
    /// Opens a group's file.
    ///
    /// # Errors
    /// ENOENT: no device of the group is bound to VFIO. EBUSY: open already.
    pub fn open_group(&mut self, pid: Pid, group: GroupId) -> Result<i32, Errno> {
        let entry = self.groups.get(&group).ok_or(Errno::ENOENT)?;
        if entry.opened.is_some() || entry.joined.is_some() {
            return Err(Errno::EBUSY);
        }
        let file = self.new_file(FileKind::Group(group));
        self.group_mut(group).opened = Some(file);
        Ok(self.install(pid, file))
    }

    /// A group as VFIO sees it.
    pub fn group(&self, group: GroupId) -> Option<&VfioGroup> {
        self.groups.get(&group)
    }

    pub(crate) fn group_mut(&mut self, group: GroupId) -> &mut VfioGroup {
        self.groups.get_mut(&group).expect("the group exists")
    }

    fn layer(&self) -> GroupLayer {
        self.core.ops().control().semantics.vfio.group_layer
    }

    pub(crate) fn group_ioctl(
        &mut self,
        pid: Pid,
        group: GroupId,
        file: FileId,
        cmd: u32,
        arg: UserPtr,
        user: &mut impl UserMemory,
    ) -> Result<u64, Errno> {
        match cmd {
            abi::GROUP_GET_STATUS => self.group_status(pid, group, arg, user),
            abi::GROUP_SET_CONTAINER => {
                let mut fd = [0; 4];
                self.ctx(pid).copy_in(user, arg, &mut fd)?;
                self.set_container(pid, group, i32::from_le_bytes(fd))
            }
            abi::GROUP_UNSET_CONTAINER => self.unset_container(pid, group),
            abi::GROUP_GET_DEVICE_FD => {
                let name = self.copy_name(pid, arg, user)?;
                self.get_device_fd(pid, group, file, &name)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    /// A string of user space, up to its zero byte or a page.
    fn copy_name(
        &mut self,
        pid: Pid,
        arg: UserPtr,
        user: &mut impl UserMemory,
    ) -> Result<String, Errno> {
        let mut name = Vec::new();
        for at in 0..self.host.page_size() {
            let mut byte = [0];
            self.ctx(pid).copy_in(user, arg.add(at), &mut byte)?;
            if byte[0] == 0 {
                return String::from_utf8(name).map_err(|_| Errno::ENODEV);
            }
            name.push(byte[0]);
        }
        Err(Errno::EINVAL)
    }

    fn group_status(
        &mut self,
        pid: Pid,
        group: GroupId,
        arg: UserPtr,
        user: &mut impl UserMemory,
    ) -> Result<u64, Errno> {
        let mut status: abi::GroupStatus = self.ctx(pid).read_in(user, arg)?;
        if (status.argsz as usize) < size_of_val(&status) {
            return Err(Errno::EINVAL);
        }
        status.flags = 0;
        let in_container = self.groups[&group].joined.is_some();
        if in_container {
            status.flags |= group_flags::CONTAINER_SET;
        }
        let viable = match self.layer() {
            GroupLayer::Viability => self.is_viable(group),
            GroupLayer::Ownership | GroupLayer::DeviceFiles => {
                in_container || !self.core.dma_owner_claimed(group)
            }
        };
        if viable {
            status.flags |= group_flags::VIABLE;
        }
        self.ctx(pid).copy_out(user, arg, status.as_bytes())?;
        Ok(0)
    }

    /// Whether no device of the group is used by the host (`vfio_group_viable()`, 5.10).
    fn is_viable(&self, group: GroupId) -> bool {
        let devices = self.core.group(group).map(|group| group.devices.clone());
        devices
            .unwrap_or_default()
            .iter()
            .all(|device| !matches!(self.binding(*device), Some(Binding::Host(_))))
    }

    /// Joins the container behind `fd`.
    fn set_container(&mut self, pid: Pid, group: GroupId, fd: i32) -> Result<u64, Errno> {
        let layer = self.layer();
        let oldest = layer == GroupLayer::Viability;
        if oldest && fd < 0 {
            return Err(Errno::EINVAL);
        }
        let taken = self.groups[&group].joined.is_some();
        if oldest && taken {
            return Err(Errno::EINVAL);
        }
        let (_, kind) = self.kind_of(pid, fd)?;
        if taken {
            return Err(Errno::EINVAL);
        }
        match kind {
            FileKind::Container(container) => self.join_container(pid, group, container)?,
            FileKind::Iommufd(iommufd) => self.join_iommufd(pid, group, iommufd)?,
            FileKind::Foreign | FileKind::Group(_) | FileKind::Device(..) => {
                return Err(match layer {
                    GroupLayer::DeviceFiles => Errno::EBADFD,
                    GroupLayer::Viability | GroupLayer::Ownership => Errno::EINVAL,
                });
            }
        }
        Ok(0)
    }

    fn join_container(
        &mut self,
        pid: Pid,
        group: GroupId,
        container: ContainerId,
    ) -> Result<(), Errno> {
        let kind = self.groups[&group].kind;
        if kind == GroupKind::Iommu {
            self.core.claim_dma_owner(group, u64::from(group.0))?;
        }
        let attached = self.with_backend(container, |vfio, backend| {
            let mut ctx = vfio.ctx(pid);
            if let Some(errno) = backend.refuses_later_group(&ctx) {
                return Err(errno);
            }
            backend.attach_group(&mut ctx, group, kind)
        });
        if let Some(Err(errno)) = attached {
            if kind == GroupKind::Iommu {
                self.core.release_dma_owner(group);
            }
            return Err(errno);
        }
        let entry = self.group_mut(group);
        entry.joined = Some(Joined::Container(container));
        entry.users = 1;
        self.container_mut(container).groups.insert(0, group);
        self.hold_container(container);
        Ok(())
    }

    fn unset_container(&mut self, pid: Pid, group: GroupId) -> Result<u64, Errno> {
        let entry = &self.groups[&group];
        match entry.joined {
            None => return Err(Errno::EINVAL),
            Some(Joined::Container(_)) if entry.users != 1 => return Err(Errno::EBUSY),
            // Open devices stay attached: they hold the iommufd, not the group.
            Some(Joined::Container(_) | Joined::Iommufd(_)) => {}
        }
        self.leave(pid, group);
        Ok(0)
    }

    fn leave(&mut self, pid: Pid, group: GroupId) {
        match self.group_mut(group).joined.take() {
            None => {}
            Some(Joined::Container(container)) => self.leave_container(pid, group, container),
            Some(Joined::Iommufd(iommufd)) => self.put_iommufd(iommufd),
        }
    }

    fn leave_container(&mut self, pid: Pid, group: GroupId, container: ContainerId) {
        self.group_mut(group).users = 0;
        self.with_backend(container, |vfio, backend| {
            backend.detach_group(&mut vfio.ctx(pid), group);
        });
        if self.groups[&group].kind == GroupKind::Iommu {
            self.core.release_dma_owner(group);
        }
        self.container_mut(container)
            .groups
            .retain(|other| *other != group);
        if self.container_mut(container).groups.is_empty() {
            self.release_backend(pid, container);
        }
        self.put_container(container);
    }

    /// The group's file is gone, and so is every device file that was opened by way of a type1
    /// container, as those hold it.
    pub(crate) fn release_group_file(&mut self, group: GroupId) {
        // Releasing pins and tables needs no caller; charges go to whoever mapped.
        self.leave(NOBODY, group);
        if let Some(entry) = self.groups.get_mut(&group) {
            entry.opened = None;
        }
        self.drop_group_if_unbound(group);
    }

    fn get_device_fd(
        &mut self,
        pid: Pid,
        group: GroupId,
        group_file: FileId,
        name: &str,
    ) -> Result<u64, Errno> {
        let usable = |vfio: &Self| match vfio.groups[&group].joined {
            None => false,
            Some(Joined::Container(id)) => vfio.containers[&id].backend.is_some(),
            Some(Joined::Iommufd(_)) => true,
        };
        if self.layer() == GroupLayer::Viability && (!usable(self) || !self.is_viable(group)) {
            return Err(Errno::EINVAL);
        }
        let device = self.device_named(group, name).ok_or(Errno::ENODEV)?;
        if !usable(self) {
            return Err(Errno::EINVAL);
        }
        let held = if let Some(Joined::Iommufd(iommufd)) = self.groups[&group].joined {
            self.open_over_iommufd(pid, iommufd, device)?;
            None
        } else {
            self.open_device(pid, device)?;
            self.group_mut(group).users += 1;
            self.hold(group_file);
            Some(group_file)
        };
        let file = self.new_file(FileKind::Device(device, held));
        Ok(self.install(pid, file) as u64)
    }

    fn device_named(&self, group: GroupId, name: &str) -> Option<DeviceId> {
        let devices = &self.core.group(group)?.devices;
        devices.iter().copied().find(|device| {
            self.binding(*device) == Some(&Binding::Vfio)
                && self.core.device(*device).is_some_and(|d| d.name == name)
        })
    }
}
