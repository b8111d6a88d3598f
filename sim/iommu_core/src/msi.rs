//! Where a domain maps MSI doorbells: the cookie of `dma-iommu.c`, and the nested kind of the
//! 2020/21 series, in which the guest says where.

use crate::{Iova, Paddr};

/// How a domain finds addresses for MSI doorbells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MsiCookie {
    /// From a base upwards, one granule for each doorbell.
    Linear {
        /// The next free address.
        next: Iova,
        /// Doorbells mapped so far.
        pages: Vec<(Iova, Paddr)>,
    },
    /// Where the guest has mapped its own doorbells (`iommu_dma_bind_guest_msi()`).
    Nested {
        /// Newest first.
        bindings: Vec<MsiBinding>,
    },
}

/// A guest's doorbell mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsiBinding {
    /// Address the guest programs into the device, aligned down to `granule`.
    pub giova: Iova,
    /// Guest physical address it leads to, aligned down to `granule`.
    pub gpa: Iova,
    /// Bytes; 0 as user space may have it.
    pub granule: u64,
    /// Physical doorbell mapped there at stage 2, once the host has composed an MSI.
    pub doorbell: Option<Paddr>,
}
