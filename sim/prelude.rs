//! What most programs need: `use smmu_sim::prelude::*;`.
//!
//! All of [`smmu::prelude`] for hardware alone, and beside it what a machine that runs Linux takes.
//! Addresses are the hardware's types.

pub use smmu::prelude::*;

pub use crate::explain::{Explained, explain};
pub use crate::linux::{ContainerFd, LinuxMachine};
pub use crate::topology::PciAddress;
pub use arm_smmu_v3::{Platform, SmmuId};
pub use iommu_core::semantics::SeriesVfio;
pub use iommu_core::uapi::PasidTableConfig;
pub use iommu_core::{Errno, FaultMode, Kernel, Recording, Semantics};
