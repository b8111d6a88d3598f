//! Containers over `/dev/iommu`: iommufd, as far as its layer for programs that know type1 uses it
//! (`drivers/iommu/iommufd`).
//!
//! Such a file has one I/O address space, made when the first group joins. A group that joins only
//! holds the file; a device is bound and attached when it is opened. Until then nothing is pinned,
//! and any address may be mapped.

mod area;
mod attach;
mod info;
mod ioctl;
mod table;

use std::collections::BTreeMap;

use iommu_core::semantics::Iommufd as Rules;
use iommu_core::{DeviceId, DomainId, Errno, GroupId, IommuOps};

pub use area::{Accounting, Area};
pub use attach::Hwpt;
pub use table::{IoPageTable, LargePages};

use crate::group::Joined;
use crate::process::{NOBODY, Pid};
use crate::type1::GroupKind;
use crate::vfio::{FileKind, Vfio};
use attach::Attached;

/// An open `/dev/iommu`. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IommufdId(pub u32);

impl IommufdId {
    /// On whose behalf groups are owned; no group is owned under this token otherwise.
    fn token(self) -> u64 {
        1 << 32 | u64::from(self.0)
    }
}

/// What is behind an open `/dev/iommu` (`struct iommufd_ctx`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Iommufd {
    /// Its file, groups that joined, and devices bound.
    refs: u32,
    ioas: Option<Ioas>,
    /// Groups with attached devices (`struct iommufd_group`).
    groups: BTreeMap<GroupId, Attached>,
}

/// An I/O address space (`struct iommufd_ioas`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ioas {
    table: IoPageTable,
    /// Oldest first.
    hwpts: Vec<Hwpt>,
}

impl Iommufd {
    /// The address space, once a group has joined.
    pub fn ioas(&self) -> Option<&Ioas> {
        self.ioas.as_ref()
    }
}

impl Ioas {
    /// What is mapped, and what may be.
    pub fn table(&self) -> &IoPageTable {
        &self.table
    }

    /// Domains that devices are attached to, oldest first.
    pub fn domains(&self) -> impl Iterator<Item = DomainId> {
        self.hwpts.iter().map(Hwpt::domain)
    }
}

impl<O: IommuOps> Vfio<O> {
    /// Opens `/dev/iommu`.
    ///
    /// # Errors
    /// ENOENT: this kernel has none. ENOMEM.
    pub fn open_iommufd(&mut self, pid: Pid) -> Result<i32, Errno> {
        if self.core.ops().control().semantics.vfio.iommufd == Rules::Absent {
            return Err(Errno::ENOENT);
        }
        self.ctx(pid).step("iommufd:open", Errno::ENOMEM)?;
        let id = IommufdId(self.ids.fresh());
        self.iommufds.insert(
            id,
            Iommufd {
                refs: 1,
                ..Iommufd::default()
            },
        );
        let file = self.new_file(FileKind::Iommufd(id));
        Ok(self.install(pid, file))
    }

    /// What is behind a descriptor of `/dev/iommu`.
    pub fn iommufd(&self, pid: Pid, fd: i32) -> Option<&Iommufd> {
        match self.kind_of(pid, fd).ok()?.1 {
            FileKind::Iommufd(id) => self.iommufds.get(&id),
            FileKind::Foreign
            | FileKind::Container(_)
            | FileKind::Group(_)
            | FileKind::Device(..) => None,
        }
    }

    fn hold_iommufd(&mut self, id: IommufdId) {
        self.iommufds.get_mut(&id).expect("it is open").refs += 1;
    }

    /// One user fewer. With the last the file goes, and its mappings, which no device uses any
    /// more (`iommufd_fops_release()`).
    pub(crate) fn put_iommufd(&mut self, id: IommufdId) {
        let iommufd = self.iommufds.get_mut(&id).expect("it is open");
        iommufd.refs -= 1;
        if iommufd.refs == 0 {
            debug_assert!(iommufd.groups.is_empty(), "a bound device holds the file");
            self.iommufds.remove(&id);
        }
    }

    /// Runs `work` with one iommufd taken out of the machine, so that it can use all the rest.
    fn with_iommufd<R>(
        &mut self,
        id: IommufdId,
        work: impl FnOnce(&mut Self, &mut Iommufd) -> R,
    ) -> R {
        let mut iommufd = self.iommufds.remove(&id).expect("it is open");
        let result = work(self, &mut iommufd);
        self.iommufds.insert(id, iommufd);
        result
    }

    /// A group joins: the address space comes into being if there is none
    /// (`iommufd_vfio_compat_ioas_create()`). Groups of mediated devices cannot here: how they would
    /// get at pages is not modelled.
    pub(crate) fn join_iommufd(
        &mut self,
        pid: Pid,
        group: GroupId,
        id: IommufdId,
    ) -> Result<(), Errno> {
        if self.groups[&group].kind == GroupKind::Emulated {
            return Err(Errno::EINVAL);
        }
        self.with_iommufd(id, |vfio, iommufd| {
            vfio.ctx(pid).step("iommufd:alloc_ioas", Errno::ENOMEM)?;
            iommufd.ioas.get_or_insert_default();
            Ok(())
        })?;
        self.hold_iommufd(id);
        self.group_mut(group).joined = Some(Joined::Iommufd(id));
        Ok(())
    }

    /// The first open of a device in a group that joined an iommufd: it is bound, opened and
    /// attached, or nothing (`vfio_df_group_open()`).
    pub(crate) fn open_over_iommufd(
        &mut self,
        pid: Pid,
        id: IommufdId,
        device: DeviceId,
    ) -> Result<(), Errno> {
        if self
            .devices
            .get(&device)
            .is_some_and(|entry| entry.open > 0)
        {
            return self.open_device(pid, device);
        }
        let group = self.core.device(device).ok_or(Errno::ENODEV)?.group;
        attach::bind(&mut self.ctx(pid), id.token(), group, device)?;
        let opened = self.open_device(pid, device).and_then(|()| {
            let attached = self.with_iommufd(id, |vfio, iommufd| {
                iommufd.attach_device(&mut vfio.ctx(pid), group, device)
            });
            if attached.is_err() {
                self.close_device(device);
            }
            attached
        });
        if let Err(errno) = opened {
            self.core.release_device_owner(device);
            return Err(errno);
        }
        self.hold_iommufd(id);
        if let Some(entry) = self.devices.get_mut(&device) {
            entry.iommufd = Some(id);
        }
        Ok(())
    }

    /// The last file of a device is closed: it is detached and unbound
    /// (`vfio_iommufd_physical_unbind()`).
    pub(crate) fn leave_iommufd(&mut self, device: DeviceId) {
        let bound = self
            .devices
            .get_mut(&device)
            .map(|entry| entry.iommufd.take());
        let Some(id) = bound.flatten() else {
            return;
        };
        // Unpinning needs no caller: charges go to whoever mapped.
        self.with_iommufd(id, |vfio, iommufd| {
            iommufd.detach_device(&mut vfio.ctx(NOBODY), device);
        });
        self.core.release_device_owner(device);
        self.put_iommufd(id);
    }
}
