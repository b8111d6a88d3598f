//! The OS-neutral IOMMU core: devices, groups, domains, attach and detach, map and unmap.
//!
//! Knows no hardware: a driver implements [`IommuOps`] and the core owns it. Ownership goes one
//! way, core to driver to platform, so a whole machine is one value that can be cloned and compared.
//!
//! What differs between published kernels and patch series is data: [`Semantics`], held with the
//! [`FaultPlan`] and the [`Journal`] in one [`Control`] at the bottom of the machine.

//!
//! [`testing`] has a driver without hardware. Two devices in a domain, by the rules of a kernel:
//!
//! ```
//! use iommu_core::ops::{DomainKind, Prot};
//! use iommu_core::testing::{Fw, TableDouble};
//! use iommu_core::{CoreConfig, DeviceConfig, IommuCore, Iova, Kernel, Paddr, Semantics};
//!
//! let driver = TableDouble::two(Semantics::kernel(Kernel::V6_12));
//! let config = CoreConfig { default_domain: DomainKind::Dma, page_size: 4096 };
//! let mut core = IommuCore::new(driver, config);
//! let [first, second] = ["0000:00:05.0", "0000:00:06.0"]
//!     .map(|name| core.add_device(DeviceConfig::pci(name), &Fw::on(0)));
//! let (first, second) = (first?, second?);
//!
//! let domain = core.domain_alloc(DomainKind::Unmanaged, first)?;
//! for device in [first, second] {
//!     let group = core.device(device).ok_or("gone")?.group;
//!     core.attach_group(domain, group)?;
//! }
//! core.map(domain, Iova(0x10_0000), Paddr(0x8000_0000), 0x2000, Prot::READ)?;
//! assert_eq!(core.unmap(domain, Iova(0x10_0000), 0x2000), 0x2000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attach;
mod bug;
mod core;
mod device;
mod errno;
mod faults;
mod id_map;
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
pub use id_map::IdMap;
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
