//! The VFIO type1 user API: containers, groups, devices, ioctls as bytes. Sees [`iommu_core`] only.
//!
//! [`Vfio`] owns the IOMMU core and a [`Host`] of simulated processes. Everything user space does
//! goes through [`Vfio::ioctl`] and a few system calls, with the errors of the kernel whose
//! [`Semantics`](iommu_core::Semantics) the machine carries; [`api`] is a typed layer above.

//!
//! ```
//! use iommu_core::ops::DomainKind;
//! use iommu_core::testing::{Fw, TableDouble};
//! use iommu_core::{CoreConfig, DeviceConfig, IommuCore, Kernel, Semantics};
//! use vfio_type1::api::{IommuType, Mapping, Rights};
//! use vfio_type1::{HostConfig, RegionConfig, Vfio};
//!
//! // A machine: one device, bound to VFIO, over a driver without hardware.
//! let driver = TableDouble::two(Semantics::kernel(Kernel::V6_12));
//! let config = CoreConfig { default_domain: DomainKind::Dma, page_size: 4096 };
//! let mut core = IommuCore::new(driver, config);
//! let device = core.add_device(DeviceConfig::pci("0000:00:05.0"), &Fw::on(0))?;
//! let group = core.device(device).ok_or("gone")?.group;
//! let mut vfio = Vfio::new(core, HostConfig::with_page_size(4096));
//! vfio.bind(device)?;
//!
//! // A process: a container with the device's group, and memory that devices may use.
//! let pid = vfio.spawn();
//! let region = RegionConfig::ordinary(0x4000);
//! let vaddr = vfio.host_mut().map_memory(pid, &region, 4096)?;
//! let mut process = vfio.caller(pid);
//! let (container, group) = (process.open_container()?, process.open_group(group)?);
//! process.set_container(group, container)?;
//! process.set_iommu(container, IommuType::Type1V2)?;
//! let mapping = Mapping { iova: 0x10_0000, vaddr, size: 0x4000, rights: Rights::ReadWrite };
//! process.map(container, mapping)?;
//! assert_eq!(vfio.host().pins().count(), 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod abi;
pub mod api;
mod container;
mod device;
mod device_file;
mod device_region;
mod fault_region;
mod group;
mod host;
mod iommufd;
mod process;
mod response_region;
mod type1;
mod vfio;

pub use container::{Container, ContainerId};
pub use device::Binding;
pub use fault_region::{ENTRIES, ENTRY_BYTES, FaultRegion};
pub use group::VfioGroup;
pub use host::{FileId, Host, HostConfig, ModuleParams, PinTracking, Pins, UnsafeInterrupts};
pub use iommufd::{Accounting, Area, Hwpt, IoPageTable, Ioas, Iommufd, IommufdId, LargePages};
pub use process::{
    Access, Capability, Life, Pid, Placement, Population, Process, Region, RegionConfig, Sharing,
};
pub use response_region::{
    FREED_PAGES_USED, NO_PAGES_MAPPED, Pages, RESPONSE_BYTES, RESPONSES, ResponseRegion,
};
pub use type1::{
    BIND, Dma, GroupKind, IovaList, IovaRange, Mapped, Nesting, SET, SeriesNumbers, Type1, UNBIND,
    UNSET, VaddrState, Version,
};
pub use vfio::Vfio;

#[cfg(test)]
mod tests;
