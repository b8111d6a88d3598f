//! A machine that runs Linux: SMMUs and memory, the driver, VFIO over it, and one process.
//!
//! ```
//! use smmu_sim::prelude::*;
//!
//! let (near, far) = (PciAddress::new(0, 5, 0), PciAddress::new(0, 6, 0));
//! let builder = LinuxMachine::builder(Semantics::fixed()).device(near, SmmuId(0)).device(far, SmmuId(1));
//! let mut machine = builder.build()?;
//! let container = machine.open_container()?;
//! for device in [near, far] {
//!     machine.attach(device, container)?;
//! }
//! let buffer = machine.allocate(0x4000)?;
//! machine.map(container, Iova::new(0x10_0000), buffer, 0x4000)?;
//! // One container, a domain for each SMMU, the same memory behind both.
//! let reached = [near, far].map(|device| machine.read(device, Iova::new(0x10_2010)).pa());
//! assert_eq!(reached, [machine.frame(buffer + 0x2010); 2]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All below it stays open: [`LinuxMachine::vfio`] for ioctls as bytes, files and processes, its core
//! for domains and groups, the driver and the [`Board`] for registers, memory and caches.

mod builder;

use std::collections::BTreeMap;

use arm_smmu_v3::{Driver, Platform, SmmuId};
use iommu_core::semantics::NestingType;
use iommu_core::uapi::PasidTableConfig;
use iommu_core::{Call, Control, DeviceId, Errno, FaultMode, GroupId, IommuOps, Recording};
use smmu::addr::{Iova, Pa};
use smmu::ids::StreamId;
use smmu::spec::ste::Ste;
use smmu::{Outcome, Transaction};
use vfio_type1::api::{Caller, IommuType, Mapping, Rights};
use vfio_type1::{Pid, Placement, RegionConfig, Vfio};

use builder::Wanted;
pub use builder::{LinuxBuilder, LinuxError};

use crate::board::Board;
use crate::topology::PciAddress;

/// An open `/dev/vfio/vfio`: the descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerFd(pub i32);

/// A device: where it is, for the IOMMU core and for hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The core's handle.
    pub device: DeviceId,
    /// The SMMU it is behind.
    pub smmu: SmmuId,
    /// Its StreamID: the PCI requester ID.
    pub stream: StreamId,
}

/// The machine, and a process whose system calls the methods make.
///
/// Plain data: a clone goes its own way, and two machines can be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct LinuxMachine<P: Platform = Board> {
    /// VFIO over the IOMMU core, over the driver, over the hardware.
    pub vfio: Vfio<Driver<P>>,
    /// The process.
    pub pid: Pid,
    devices: BTreeMap<PciAddress, Place>,
    /// Devices that are not plugged in yet.
    absent: BTreeMap<PciAddress, Wanted>,
    groups: BTreeMap<GroupId, i32>,
}

impl LinuxMachine {
    /// Begins a machine with this version of the software.
    pub fn builder(semantics: iommu_core::Semantics) -> LinuxBuilder {
        LinuxBuilder::new(semantics)
    }

    /// The hardware.
    pub fn board(&self) -> &Board {
        self.vfio.core().ops().platform()
    }

    /// The hardware.
    pub fn board_mut(&mut self) -> &mut Board {
        self.vfio.core_mut().ops_mut().platform_mut()
    }

    /// A device reads, through the caches of its SMMU.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn read(&mut self, device: PciAddress, address: Iova) -> Outcome {
        let Place { smmu, stream, .. } = self.place(device);
        let transaction = Transaction::read(stream, address);
        self.board_mut().access(smmu, &transaction)
    }

    /// A device writes, through the caches of its SMMU.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn write(&mut self, device: PciAddress, address: Iova) -> Outcome {
        let Place { smmu, stream, .. } = self.place(device);
        let transaction = Transaction::write(stream, address);
        self.board_mut().access(smmu, &transaction)
    }
}

impl<P: Platform> LinuxMachine<P> {
    /// The devices, by address.
    pub fn devices(&self) -> impl Iterator<Item = (PciAddress, Place)> {
        self.devices
            .iter()
            .map(|(address, place)| (*address, *place))
    }

    /// Where a device is.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn place(&self, device: PciAddress) -> Place {
        match self.devices.get(&device) {
            Some(place) => *place,
            None => panic!("there is no device {device}"),
        }
    }

    /// Plugs in a device that was [`absent`](LinuxBuilder::absent) at boot and binds it to VFIO.
    ///
    /// # Errors
    /// ENODEV: none waits there, or the one it shares its group with is not there. Others: what its
    /// probe is refused with; it can be tried again.
    pub fn plug(&mut self, device: PciAddress) -> Result<(), Errno> {
        let wanted = self.absent.get(&device).ok_or(Errno::ENODEV)?;
        let place = wanted.add(self.vfio.core_mut(), &self.devices);
        let place = place.map_err(|error| error.errno())?;
        self.absent.remove(&device);
        self.devices.insert(device, place);
        self.vfio.bind(place.device)
    }

    /// A device's STE, as it is in memory; `None` if the driver has no table there yet.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn ste(&self, device: PciAddress) -> Option<Ste> {
        let Place { smmu, stream, .. } = self.place(device);
        let driver = self.vfio.core().ops();
        let mut words = [0; 8];
        driver
            .platform()
            .read_words(driver.ste_pa(smmu, stream)?, &mut words);
        Some(Ste::from_words(words))
    }

    /// Semantics, fault plan and journal.
    pub fn control(&self) -> &Control {
        self.vfio.core().ops().control()
    }

    /// From now on steps of the software fail as `mode` says.
    pub fn fail(&mut self, mode: FaultMode) {
        self.control_mut().faults.set(mode);
    }

    /// Keeps the calls across layers from now on, or no longer.
    pub fn record(&mut self, recording: Recording) {
        self.control_mut().journal.set(recording);
    }

    /// Takes the calls kept, oldest first.
    pub fn take_calls(&mut self) -> Vec<Call> {
        self.control_mut().journal.take()
    }

    fn control_mut(&mut self) -> &mut Control {
        self.vfio.core_mut().ops_mut().platform_mut().control_mut()
    }

    /// The process, to make any call.
    pub fn caller(&mut self) -> Caller<'_, Driver<P>> {
        self.vfio.caller(self.pid)
    }

    /// Opens a container.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn open_container(&mut self) -> Result<ContainerFd, Errno> {
        self.caller().open_container().map(ContainerFd)
    }

    /// The descriptor of a device's group, opened when first asked for.
    ///
    /// # Errors
    /// As opening `/dev/vfio/N`.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn group(&mut self, device: PciAddress) -> Result<i32, Errno> {
        let device = self.place(device).device;
        let core = self.vfio.core();
        let group = core.device(device).ok_or(Errno::ENODEV)?.group;
        if let Some(fd) = self.groups.get(&group) {
            return Ok(*fd);
        }
        let fd = self.caller().open_group(group)?;
        self.groups.insert(group, fd);
        Ok(fd)
    }

    /// SET_CONTAINER with a device's group, and SET_IOMMU for the first: the type that nests where
    /// the kernel has one that works. If that fails, the group is taken out again, as a VMM does.
    ///
    /// # Errors
    /// The ioctl's.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn attach(&mut self, device: PciAddress, container: ContainerFd) -> Result<(), Errno> {
        let group = self.group(device)?;
        self.caller().set_container(group, container.0)?;
        let backend = self.vfio.container(self.pid, container.0);
        if backend.is_some_and(|container| container.type1().is_some()) {
            return Ok(());
        }
        let kind = match self.control().semantics.vfio.nesting {
            NestingType::Works => IommuType::Nesting,
            NestingType::Advertised | NestingType::Gone => IommuType::Type1V2,
        };
        let set = self.caller().set_iommu(container.0, kind);
        if set.is_err() {
            self.caller().unset_container(group)?;
        }
        set
    }

    /// UNSET_CONTAINER for a device's group.
    ///
    /// # Errors
    /// The ioctl's.
    ///
    /// # Panics
    /// If there is no such device.
    pub fn detach(&mut self, device: PciAddress) -> Result<(), Errno> {
        let group = self.group(device)?;
        self.caller().unset_container(group)
    }

    /// Gives the process memory and returns its virtual address. Frames follow each other.
    ///
    /// # Errors
    /// EINVAL: not whole pages. ENOMEM.
    pub fn allocate(&mut self, bytes: u64) -> Result<u64, Errno> {
        let region = RegionConfig {
            placement: Placement::Contiguous,
            ..RegionConfig::ordinary(bytes)
        };
        let pid = self.pid;
        let host = self.vfio.host_mut();
        let page = host.page_size();
        host.map_memory(pid, &region, page)
    }

    /// Where a virtual address of the process is, if its page exists.
    pub fn frame(&self, vaddr: u64) -> Option<Pa> {
        let host = self.vfio.host();
        let page = host.page_size();
        let start = vaddr & !(page - 1);
        let frames = host.process(self.pid).frames(start, page, page);
        let frame = frames.into_iter().next().flatten()?;
        Some(Pa::new(frame.0 + (vaddr - start)))
    }

    /// MAP_DMA: devices of the container may read and write `bytes` at `vaddr`.
    ///
    /// # Errors
    /// The ioctl's.
    pub fn map(
        &mut self,
        container: ContainerFd,
        iova: Iova,
        vaddr: u64,
        bytes: u64,
    ) -> Result<(), Errno> {
        let mapping = Mapping {
            iova: iova.get(),
            vaddr,
            size: bytes,
            rights: Rights::ReadWrite,
        };
        self.caller().map(container.0, mapping)
    }

    /// UNMAP_DMA; bytes unmapped.
    ///
    /// # Errors
    /// The ioctl's.
    pub fn unmap(&mut self, container: ContainerFd, iova: Iova, bytes: u64) -> Result<u64, Errno> {
        self.caller().unmap(container.0, iova.get(), bytes)
    }

    /// SET_PASID_TABLE: what a guest wants stage 1 to be.
    ///
    /// # Errors
    /// ENOTTY: the series is not applied. Others: the ioctl's.
    pub fn set_pasid_table(
        &mut self,
        container: ContainerFd,
        config: &PasidTableConfig,
    ) -> Result<(), Errno> {
        self.caller().set_pasid_table(container.0, config)
    }

    /// SET_PASID_TABLE with flag UNSET: stage 1 is the host's business again.
    ///
    /// # Errors
    /// ENOTTY: the series is not applied. Others: the ioctl's.
    pub fn unset_pasid_table(&mut self, container: ContainerFd) -> Result<(), Errno> {
        self.caller().unset_pasid_table(container.0)
    }
}
