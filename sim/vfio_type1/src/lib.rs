//! The VFIO type1 user API: containers, groups, devices, ioctls as bytes. Sees [`iommu_core`] only.
//!
//! [`Vfio`] owns the IOMMU core and a [`Host`] of simulated processes. Everything user space does
//! goes through [`Vfio::ioctl`] and a few system calls, with the errors of the kernel whose
//! [`Semantics`](iommu_core::Semantics) the machine carries; [`api`] is a typed layer above.

pub mod abi;
pub mod api;
mod container;
mod device;
mod device_file;
mod fault_region;
mod group;
mod host;
mod process;
mod type1;
mod vfio;

pub use container::{Container, ContainerId};
pub use device::Binding;
pub use fault_region::{ENTRIES, ENTRY_BYTES, FaultRegion};
pub use group::VfioGroup;
pub use host::{FileId, Host, HostConfig, ModuleParams, PinTracking, Pins, UnsafeInterrupts};
pub use process::{
    Access, Capability, Life, Pid, Placement, Population, Process, Region, RegionConfig, Sharing,
};
pub use type1::{
    BIND, Dma, GroupKind, IovaList, IovaRange, Mapped, Nesting, SET, SeriesNumbers, Type1, UNBIND,
    UNSET, VaddrState, Version,
};
pub use vfio::Vfio;

#[cfg(test)]
mod tests;
