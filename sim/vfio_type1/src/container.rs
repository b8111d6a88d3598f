//! Containers: the file `/dev/vfio/vfio`, the backend behind it, the groups in it
//! (`drivers/vfio/container.c`, in 5.10 `vfio.c`).

use iommu_core::semantics::{NestingType, Semantics};
use iommu_core::{Errno, GroupId, IommuOps, UserMemory, UserPtr};

use crate::abi;
use crate::process::Pid;
use crate::type1::Type1;
use crate::vfio::{FileKind, Vfio};

/// A container. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub u32);

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// Newest first.
    pub(crate) groups: Vec<GroupId>,
    pub(crate) backend: Option<Type1>,
    /// Its file, and its groups.
    refs: u32,
}

impl Container {
    /// Groups in it, newest first.
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    /// The type1 backend, once chosen.
    pub fn type1(&self) -> Option<&Type1> {
        self.backend.as_ref()
    }
}

impl<O: IommuOps> Vfio<O> {
    /// Opens a new container.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn open_container(&mut self, pid: Pid) -> Result<i32, Errno> {
        self.ctx(pid).step("vfio:alloc_container", Errno::ENOMEM)?;
        let id = ContainerId(self.ids.fresh());
        self.containers.insert(
            id,
            Container {
                refs: 1,
                ..Container::default()
            },
        );
        let file = self.new_file(FileKind::Container(id));
        Ok(self.install(pid, file))
    }

    /// The container behind a descriptor.
    pub fn container(&self, pid: Pid, fd: i32) -> Option<&Container> {
        match self.kind_of(pid, fd).ok()?.1 {
            FileKind::Container(id) => self.containers.get(&id),
            _ => None,
        }
    }

    pub(crate) fn hold_container(&mut self, id: ContainerId) {
        self.container_mut(id).refs += 1;
    }

    pub(crate) fn put_container(&mut self, id: ContainerId) {
        let container = self.container_mut(id);
        container.refs -= 1;
        if container.refs == 0 {
            self.containers.remove(&id);
        }
    }

    pub(crate) fn container_mut(&mut self, id: ContainerId) -> &mut Container {
        self.containers.get_mut(&id).expect("the container exists")
    }

    /// Runs `work` with the backend taken out of its container, so that it can use all the rest.
    pub(crate) fn with_backend<R>(
        &mut self,
        id: ContainerId,
        work: impl FnOnce(&mut Self, &mut Type1) -> R,
    ) -> Option<R> {
        let mut backend = self.container_mut(id).backend.take()?;
        let result = work(self, &mut backend);
        self.container_mut(id).backend = Some(backend);
        Some(result)
    }

    pub(crate) fn container_ioctl(
        &mut self,
        pid: Pid,
        id: ContainerId,
        cmd: u32,
        arg: UserPtr,
        user: &mut impl UserMemory,
    ) -> Result<u64, Errno> {
        match cmd {
            abi::GET_API_VERSION => Ok(abi::API_VERSION),
            abi::CHECK_EXTENSION => Ok(self.check_extension(id, arg.0)),
            abi::SET_IOMMU => self.set_iommu(pid, id, arg.0),
            _ => {
                let result = self.with_backend(id, |vfio, backend| {
                    backend.ioctl(&mut vfio.ctx(pid), user, cmd, arg)
                });
                result.unwrap_or(Err(Errno::EINVAL))
            }
        }
    }

    fn check_extension(&self, id: ContainerId, arg: u64) -> u64 {
        let backend = self.containers[&id].backend.as_ref();
        Type1::check_extension(backend, &self.core.ops().control().semantics, arg)
    }

    /// Chooses the backend and attaches the container's groups to it, newest first; on failure
    /// those done are detached, most recent first, and the container has no backend.
    fn set_iommu(&mut self, pid: Pid, id: ContainerId, arg: u64) -> Result<u64, Errno> {
        let container = &self.containers[&id];
        if container.groups.is_empty() || container.backend.is_some() {
            return Err(Errno::EINVAL);
        }
        let groups = container.groups.clone();
        let semantics = &self.core.ops().control().semantics;
        if !is_offered(semantics, arg) {
            return Err(Errno::ENODEV);
        }
        let mut backend = Type1::open(&mut self.ctx(pid), arg)?;
        for (index, group) in groups.iter().enumerate() {
            let kind = self.groups[group].kind;
            if let Err(errno) = backend.attach_group(&mut self.ctx(pid), *group, kind) {
                for done in groups[..index].iter().rev() {
                    backend.detach_group(&mut self.ctx(pid), *done);
                }
                backend.release(&mut self.ctx(pid));
                return Err(errno);
            }
        }
        self.container_mut(id).backend = Some(backend);
        Ok(0)
    }

    /// The last group is gone: the backend goes, and SET_IOMMU may be called again.
    pub(crate) fn release_backend(&mut self, pid: Pid, id: ContainerId) {
        if let Some(backend) = self.container_mut(id).backend.take() {
            backend.release(&mut self.ctx(pid));
        }
    }
}

/// Whether any backend answers for SET_IOMMU's `arg` when asked without one being open.
fn is_offered(semantics: &Semantics, arg: u64) -> bool {
    debug_assert!(
        semantics.vfio.nesting != NestingType::Gone || arg != 6 || {
            Type1::check_extension(None, semantics, 6) == 0
        }
    );
    Type1::check_extension(None, semantics, arg) > 0
}
