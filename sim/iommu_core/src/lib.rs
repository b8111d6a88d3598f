//! The OS-neutral IOMMU core: devices, groups, domains, attach and detach, map and unmap.
//!
//! Knows no hardware: a driver implements [`IommuOps`] and the core owns it. Ownership goes one
//! way, core to driver to platform, so a whole machine is one value that can be cloned and compared.
//!
//! What differs between published kernels and patch series is data: [`Semantics`], held with the
//! [`FaultPlan`] and the [`Journal`] in one [`Control`] at the bottom of the machine.

mod bug;
mod errno;
mod faults;
mod ids;
mod journal;
pub mod ops;
pub mod semantics;
pub mod uapi;

pub use bug::KernelBug;
pub use errno::Errno;
pub use faults::{FaultMode, FaultPlan};
pub use ids::{DeviceId, DomainId, GroupId, IdSource, Iova, Paddr};
pub use journal::{Call, Control, Journal, Recording};
pub use ops::IommuOps;
pub use semantics::{Defect, Kernel, Semantics};
