//! A device behind an SMMU (`struct arm_smmu_master`), and what firmware says about it.

use iommu_core::ops::ResvRegion;
use iommu_core::{DomainId, Errno};
use smmu::ids::StreamId;

use crate::cd::CdTable;
use crate::platform::SmmuId;
use crate::ste::Stalls;

/// Whether a device can do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Support {
    /// It cannot.
    #[default]
    No,
    /// It can.
    Yes,
}

/// What firmware and configuration space say about a device (`struct iommu_fwspec`, PCI
/// capabilities).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// The SMMU it is behind.
    pub smmu: SmmuId,
    /// Its StreamIDs; a bridged PCI device may name one twice.
    pub streams: Vec<StreamId>,
    /// Bits of the SubstreamIDs it can use.
    pub ssid_bits: u32,
    /// PCI ATS, and a root complex that serves it.
    pub ats: Support,
    /// Its faulting transactions may stall (`dma-can-stall`).
    pub stall: Support,
    /// Its accesses snoop the caches whatever their attributes.
    pub coherent: Support,
    /// Reserved regions beside the driver's own MSI window.
    pub reserved: Vec<ResvRegion>,
    /// The interrupt domain that composes its MSIs.
    pub msi_domain: u32,
}

impl Firmware {
    /// A PCI function with one StreamID and nothing special.
    pub fn new(smmu: SmmuId, stream: StreamId) -> Self {
        Self {
            smmu,
            streams: vec![stream],
            ssid_bits: 0,
            ats: Support::No,
            stall: Support::No,
            coherent: Support::Yes,
            reserved: Vec::new(),
            msi_domain: 0,
        }
    }
}

/// A device the driver has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Master {
    pub(crate) firmware: Firmware,
    pub(crate) ssid_bits: u32,
    pub(crate) stalls: Stalls,
    pub(crate) domain: Option<DomainId>,
    pub(crate) ats: Ats,
    /// From 6.8 on a device has its own context descriptors; before, the domain has them.
    pub(crate) cdtab: Option<CdTable>,
}

/// Whether the driver has switched on ATS for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ats {
    Off,
    On,
}

impl Master {
    pub(crate) fn smmu(&self) -> SmmuId {
        self.firmware.smmu
    }

    /// StreamIDs in order, each once (`arm_smmu_install_ste_for_dev` skips repeated ones).
    pub(crate) fn distinct_streams(&self) -> impl Iterator<Item = StreamId> {
        let streams = &self.firmware.streams;
        streams
            .iter()
            .enumerate()
            .filter(|(at, sid)| !streams[..*at].contains(sid))
            .map(|(_, sid)| *sid)
    }

    /// All StreamIDs, in order, with repetitions.
    pub(crate) fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.firmware.streams.iter().copied()
    }
}

/// Error of a device firmware does not describe well.
pub(crate) const NO_FWSPEC: Errno = Errno::ENOENT;
