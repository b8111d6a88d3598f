//! What a device's access leads to: the one question the player asks of the machine below the
//! kernel.

use iommu_core::ops::Prot;
use iommu_core::testing::TableDouble;
use iommu_core::{DeviceId, IommuOps, Paddr};

/// A device as the hardware sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The kernel's handle.
    pub device: DeviceId,
    /// Index of the SMMU it is behind.
    pub smmu: u32,
    /// The StreamID its transactions carry.
    pub stream: u32,
}

/// A driver and the hardware it drives, as a device sees them.
pub trait Bus: IommuOps {
    /// Where a device's access to `iova` goes; `None` if it is refused. `wanted` is
    /// [`Prot::READ`] or [`Prot::WRITE`].
    fn access(&mut self, endpoint: &Endpoint, iova: u64, wanted: Prot) -> Option<Paddr>;
}

impl Bus for TableDouble {
    fn access(&mut self, endpoint: &Endpoint, iova: u64, wanted: Prot) -> Option<Paddr> {
        self.dma(endpoint.device, iova, wanted).ok()
    }
}
