//! A VMM's choices, as QEMU made them with the nested-stage series: one container for each address
//! space, a new one where the kernel refuses, SET_PASID_TABLE when the guest writes an STE.

use std::collections::BTreeMap;

use iommu_core::uapi::PasidTableConfig;
use iommu_core::{DeviceId, Errno, GroupId, IommuOps};
use thiserror::Error;
use vfio_type1::api::{IommuType, Mapping};
use vfio_type1::{Pid, Vfio};

use super::Pci;

/// Whether the guest has an SMMU of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtualIommu {
    /// None: every device sees the guest's memory.
    Absent,
    /// One that translates by stage 1 of the host's.
    Nested,
}

/// An address space of the guest: a requester ID behind the virtual SMMU, or all of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpaceId {
    /// Memory as the guest sees it.
    Memory,
    /// Behind the virtual SMMU, by requester ID.
    Requester(u32),
}

/// Why a device is not assigned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VmmError {
    /// Its group is in use elsewhere.
    #[error("group {} used in multiple address spaces", .0.0)]
    SeveralSpaces(GroupId),
    /// The kernel.
    #[error("{0}")]
    Kernel(Errno),
}

impl From<Errno> for VmmError {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

/// What a guest's STE says, as far as the VMM acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestSte {
    /// V=0, or a CD that cannot be read.
    Unusable,
    /// Every transaction is aborted.
    Abort,
    /// Stage 1 is bypassed.
    Bypass,
    /// Stage 1 translates: S1ContextPtr.
    Stage1(u64),
}

/// A group in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenGroup {
    space: SpaceId,
    container: i32,
}

/// A VMM with its guest.
#[derive(Debug)]
pub struct Vmm<'a, O: IommuOps> {
    vfio: &'a mut Vfio<O>,
    pid: Pid,
    virtual_iommu: VirtualIommu,
    /// The guest's buses: where devices are for it.
    guest: Pci,
    memory: Vec<Mapping>,
    groups: BTreeMap<GroupId, OpenGroup>,
    /// Containers of each address space, newest first.
    spaces: BTreeMap<SpaceId, Vec<i32>>,
    /// Vectors bound in each container. By vector number alone: two devices' vector 0 are one.
    vectors: BTreeMap<(i32, u32), u64>,
    messages: Vec<String>,
}

impl<'a, O: IommuOps> Vmm<'a, O> {
    /// A VMM whose guest has these buses and this memory.
    pub fn new(
        vfio: &'a mut Vfio<O>,
        pid: Pid,
        virtual_iommu: VirtualIommu,
        guest: Pci,
        memory: Vec<Mapping>,
    ) -> Self {
        Self {
            vfio,
            pid,
            virtual_iommu,
            guest,
            memory,
            groups: BTreeMap::new(),
            spaces: BTreeMap::new(),
            vectors: BTreeMap::new(),
            messages: Vec::new(),
        }
    }

    /// The host.
    pub fn vfio(&self) -> &Vfio<O> {
        self.vfio
    }

    /// What was printed, oldest first.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// Containers of an address space, newest first.
    pub fn containers(&self, space: SpaceId) -> &[i32] {
        self.spaces.get(&space).map_or(&[], Vec::as_slice)
    }

    /// The container a group is in.
    pub fn container_of(&self, group: GroupId) -> Option<i32> {
        self.groups.get(&group).map(|group| group.container)
    }

    /// The address space of a function of the guest (`pci_device_iommu_address_space()`): that of
    /// its requester ID, so all behind one conventional bridge have one.
    pub fn space(&self, function: usize) -> SpaceId {
        match self.virtual_iommu {
            VirtualIommu::Absent => SpaceId::Memory,
            VirtualIommu::Nested => SpaceId::Requester(self.guest.requester_id(function)),
        }
    }

    /// Assigns a device of the host as a function of the guest (`vfio_get_group()`).
    ///
    /// # Errors
    /// [`VmmError`]; nothing of it is left.
    pub fn assign(&mut self, device: DeviceId, function: usize) -> Result<(), VmmError> {
        let space = self.space(function);
        let device = self.vfio.core().device(device).ok_or(Errno::ENODEV)?;
        let group = device.group;
        if let Some(open) = self.groups.get(&group) {
            return if open.space == space {
                Ok(())
            } else {
                Err(VmmError::SeveralSpaces(group))
            };
        }
        let fd = self.vfio.open_group(self.pid, group)?;
        match self.connect(fd, space) {
            Ok(container) => {
                self.groups.insert(group, OpenGroup { space, container });
                Ok(())
            }
            Err(errno) => {
                self.vfio.close(self.pid, fd)?;
                Err(errno.into())
            }
        }
    }

    /// Finds or makes a container (`vfio_connect_container()`): an old refusal is not looked into.
    fn connect(&mut self, group: i32, space: SpaceId) -> Result<i32, Errno> {
        for container in self.containers(space).to_vec() {
            let mut caller = self.vfio.caller(self.pid);
            if caller.set_container(group, container).is_ok() {
                return Ok(container);
            }
        }
        let container = self.vfio.open_container(self.pid)?;
        let filled = self.fill(group, container);
        if let Err(errno) = filled {
            self.vfio.close(self.pid, container)?;
            return Err(errno);
        }
        self.spaces.entry(space).or_default().insert(0, container);
        Ok(container)
    }

    /// Joins, chooses the backend and maps all of the guest's memory.
    fn fill(&mut self, group: i32, container: i32) -> Result<(), Errno> {
        let kind = match self.virtual_iommu {
            VirtualIommu::Absent => IommuType::Type1V2,
            VirtualIommu::Nested => IommuType::Nesting,
        };
        let memory = self.memory.clone();
        let mut caller = self.vfio.caller(self.pid);
        caller.set_container(group, container)?;
        let mut result = caller.set_iommu(container, kind);
        for mapping in memory {
            result = result.and_then(|()| caller.map(container, mapping));
        }
        if result.is_err() {
            caller.unset_container(group)?;
        }
        result
    }

    /// The guest has invalidated an STE (CFGI_STE): the VMM reads it and tells the kernel. An STE
    /// it cannot use is passed over, and a refusal is only printed.
    pub fn guest_changed_ste(&mut self, device: DeviceId, ste: GuestSte) {
        let table = match ste {
            GuestSte::Unusable => return,
            GuestSte::Abort => PasidTableConfig::abort(),
            GuestSte::Bypass => PasidTableConfig::bypass(),
            GuestSte::Stage1(base_ptr) => PasidTableConfig::translate(base_ptr),
        };
        let group = self.vfio.core().device(device).map(|device| device.group);
        let Some(container) = group.and_then(|group| self.container_of(group)) else {
            return;
        };
        let set = self
            .vfio
            .caller(self.pid)
            .set_pasid_table(container, &table);
        if let Err(errno) = set {
            self.messages
                .push(format!("SET_PASID_TABLE of {:#x}: {errno}", table.base_ptr));
        }
    }

    /// The guest enables a device's MSI vector, whose doorbell it maps at `iova` to `gpa`. Bound
    /// once for each vector number of a container, whoever's vector it is.
    ///
    /// # Errors
    /// The ioctl's.
    pub fn guest_enabled_vector(
        &mut self,
        device: DeviceId,
        vector: u32,
        (iova, gpa): (u64, u64),
    ) -> Result<(), Errno> {
        const DOORBELL: u64 = 4096;
        let group = self.vfio.core().device(device).ok_or(Errno::ENODEV)?.group;
        let container = self.container_of(group).ok_or(Errno::EINVAL)?;
        if self.vectors.contains_key(&(container, vector)) {
            return Ok(());
        }
        let mut caller = self.vfio.caller(self.pid);
        caller.bind_msi(container, iova, gpa, DOORBELL)?;
        self.vectors.insert((container, vector), iova);
        Ok(())
    }
}
