//! The whole of VFIO on one machine: files, containers, groups, devices, over the IOMMU core.

use std::collections::BTreeMap;

use iommu_core::{DeviceId, Errno, GroupId, IdSource, IommuCore, IommuOps, UserMemory, UserPtr};

use crate::container::{Container, ContainerId};
use crate::device::VfioDevice;
use crate::group::VfioGroup;
use crate::host::{FileId, Host, HostConfig};
use crate::iommufd::{Iommufd, IommufdId};
use crate::process::{Life, Pid};
use crate::type1::Ctx;

/// What an open file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// Nothing of VFIO's: a terminal, say.
    Foreign,
    /// `/dev/vfio/vfio`.
    Container(ContainerId),
    /// `/dev/iommu`.
    Iommufd(IommufdId),
    /// `/dev/vfio/N`.
    Group(GroupId),
    /// What GROUP_GET_DEVICE_FD gave; in a type1 container it holds the group's file open.
    Device(DeviceId, Option<FileId>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) kind: FileKind,
    /// Descriptors, and devices that hold it.
    refs: u32,
}

/// VFIO over an IOMMU core, which it owns, and a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Vfio<O: IommuOps> {
    pub(crate) core: IommuCore<O>,
    pub(crate) host: Host,
    pub(crate) files: BTreeMap<FileId, File>,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    pub(crate) iommufds: BTreeMap<IommufdId, Iommufd>,
    pub(crate) groups: BTreeMap<GroupId, VfioGroup>,
    pub(crate) devices: BTreeMap<DeviceId, VfioDevice>,
    pub(crate) ids: IdSource,
    /// Work items nobody can free any more (defect D24).
    pub(crate) leaked_work: u64,
}

impl<O: IommuOps> Vfio<O> {
    /// VFIO on a machine whose devices the core knows already; none is bound to VFIO yet.
    pub fn new(core: IommuCore<O>, host: HostConfig) -> Self {
        Self {
            core,
            host: Host::new(host),
            files: BTreeMap::new(),
            containers: BTreeMap::new(),
            iommufds: BTreeMap::new(),
            groups: BTreeMap::new(),
            devices: BTreeMap::new(),
            ids: IdSource::default(),
            leaked_work: 0,
        }
    }

    /// The IOMMU core.
    pub fn core(&self) -> &IommuCore<O> {
        &self.core
    }

    /// The IOMMU core.
    pub fn core_mut(&mut self) -> &mut IommuCore<O> {
        &mut self.core
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host.
    pub fn host_mut(&mut self) -> &mut Host {
        &mut self.host
    }

    pub(crate) fn ctx(&mut self, pid: Pid) -> Ctx<'_, O> {
        Ctx {
            core: &mut self.core,
            host: &mut self.host,
            pid,
        }
    }

    /// A new process with three descriptors that are not VFIO's, as programs have.
    pub fn spawn(&mut self) -> Pid {
        let pid = self.host.spawn();
        let terminal = self.new_file(FileKind::Foreign);
        for _ in 0..3 {
            self.hold(terminal);
            self.install(pid, terminal);
        }
        self.put(terminal);
        pid
    }

    /// Forks a process: the child shares its files and has a copy of its memory.
    ///
    /// # Errors
    /// ENOMEM: no frames for the copy.
    pub fn fork(&mut self, parent: Pid) -> Result<Pid, Errno> {
        let child = self.host.fork(parent)?;
        let files: Vec<FileId> = self.host.process(child).fds.values().copied().collect();
        for file in files {
            self.hold(file);
        }
        Ok(child)
    }

    /// Ends a process: its files are closed, its memory goes. What of it is pinned stays pinned.
    pub fn exit(&mut self, pid: Pid) {
        let fds: Vec<i32> = self.host.process(pid).descriptors().collect();
        for fd in fds {
            // Each descriptor was listed a moment ago.
            let _ = self.close(pid, fd);
        }
        let process = self.host.process_mut(pid);
        process.life = Life::Exited;
        process.regions.clear();
        process.locked_pages = 0;
    }

    pub(crate) fn new_file(&mut self, kind: FileKind) -> FileId {
        let id = FileId(self.ids.fresh());
        self.files.insert(id, File { kind, refs: 1 });
        id
    }

    pub(crate) fn hold(&mut self, file: FileId) {
        self.files.get_mut(&file).expect("the file is open").refs += 1;
    }

    /// Gives an open file the lowest free descriptor.
    pub(crate) fn install(&mut self, pid: Pid, file: FileId) -> i32 {
        let process = self.host.process_mut(pid);
        let fd = process.free_fd();
        process.fds.insert(fd, file);
        fd
    }

    /// A second descriptor for the same open file.
    ///
    /// # Errors
    /// EBADF.
    pub fn dup(&mut self, pid: Pid, fd: i32) -> Result<i32, Errno> {
        let file = self.host.process(pid).file(fd).ok_or(Errno::EBADF)?;
        self.hold(file);
        Ok(self.install(pid, file))
    }

    /// Closes a descriptor; the file is released with its last user.
    ///
    /// # Errors
    /// EBADF.
    pub fn close(&mut self, pid: Pid, fd: i32) -> Result<(), Errno> {
        let process = self.host.process_mut(pid);
        let file = process.fds.remove(&fd).ok_or(Errno::EBADF)?;
        self.put(file);
        Ok(())
    }

    pub(crate) fn put(&mut self, id: FileId) {
        let file = self.files.get_mut(&id).expect("the file is open");
        file.refs -= 1;
        if file.refs > 0 {
            return;
        }
        let kind = file.kind;
        self.files.remove(&id);
        match kind {
            FileKind::Foreign => {}
            FileKind::Container(container) => self.put_container(container),
            FileKind::Iommufd(iommufd) => self.put_iommufd(iommufd),
            FileKind::Group(group) => self.release_group_file(group),
            FileKind::Device(device, group_file) => self.release_device_file(device, group_file),
        }
    }

    pub(crate) fn kind_of(&self, pid: Pid, fd: i32) -> Result<(FileId, FileKind), Errno> {
        let id = self.host.process(pid).file(fd).ok_or(Errno::EBADF)?;
        Ok((id, self.files[&id].kind))
    }

    /// An ioctl; `arg` is a number or an address in `user`.
    ///
    /// # Errors
    /// EBADF: no such descriptor. ENOTTY: not an ioctl of this file. Others: each ioctl's.
    pub fn ioctl(
        &mut self,
        pid: Pid,
        fd: i32,
        cmd: u32,
        arg: u64,
        user: &mut impl UserMemory,
    ) -> Result<u64, Errno> {
        let arg = UserPtr(arg);
        let (id, kind) = self.kind_of(pid, fd)?;
        match kind {
            FileKind::Foreign => Err(Errno::ENOTTY),
            FileKind::Container(container) => self.container_ioctl(pid, container, cmd, arg, user),
            FileKind::Iommufd(iommufd) => self.iommufd_ioctl(pid, iommufd, cmd, arg, user),
            FileKind::Group(group) => self.group_ioctl(pid, group, id, cmd, arg, user),
            FileKind::Device(device, _) => self.device_ioctl(pid, device, cmd, arg, user),
        }
    }
}
