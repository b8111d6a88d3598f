//! The OS-neutral IOMMU core: devices, groups, domains, attach and detach, map and unmap.
//!
//! Knows no hardware: a driver implements [`IommuOps`] and the core owns it. Ownership goes one
//! way, core to driver to platform, so a whole machine is one value that can be cloned and compared.
//!
//! What differs between published kernels and patch series is data: [`Semantics`], held with the
//! [`FaultPlan`] and the [`Journal`] in one [`Control`] at the bottom of the machine.

mod attach;
mod bug;
mod core;
mod device;
mod errno;
mod faults;
mod ids;
mod journal;
mod mapping;
mod msi;
mod nested;
pub mod ops;
mod resv;
pub mod semantics;
pub mod testing;
pub mod uapi;
mod user;

pub use self::core::{CoreConfig, IommuCore};
pub use bug::KernelBug;
pub use device::{Bus, Device, DeviceConfig, Group, Grouping, MsiIsolation};
pub use errno::Errno;
pub use faults::{FaultMode, FaultPlan};
pub use ids::{DeviceId, DomainId, GroupId, IdSource, Iova, Paddr};
pub use journal::{Call, Control, Failure, Journal, Recording};
pub use mapping::pgsize;
pub use msi::{MsiBinding, MsiCookie};
pub use ops::IommuOps;
pub use resv::insert_resv_region;
pub use semantics::{Defect, Kernel, Semantics};
pub use user::{TASK_SIZE, UserBuffer, UserMemory, UserPtr};

#[cfg(test)]
mod tests;
