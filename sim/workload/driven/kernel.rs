//! A kernel whose devices use the DMA API, on a host or in a guest: booted, and what the API does with
//! a buffer.

use std::fmt::Debug;

use arm_smmu_v3::{Driver, Firmware, Params, SmmuId, Support};
use iommu_core::ops::{DomainKind, Gather, IommuOps, Prot};
use iommu_core::{
    CoreConfig, DeviceConfig, DeviceId, DomainId, Errno, Grouping, IommuCore, Iova, Paddr,
};
use smmu::ids::StreamId;

use super::told::{Tells, Told};
use super::{WorkloadError, wrong};
use crate::workload::generator::Flush;
use crate::workload::world::{MachineSection, Sharing};

/// What devices' drivers ask of the kernel, and the machine below it.
pub(super) trait DmaApi: Debug {
    /// Maps a buffer of `bytes`.
    ///
    /// # Errors
    /// The kernel's, or what went wrong below it.
    fn map(&mut self, domain: DomainId, iova: u64, at: u64, bytes: u64) -> Result<(), Errno>;

    /// Unmaps a buffer, and waits until no device can reach it.
    ///
    /// # Errors
    /// What went wrong below.
    fn unmap(&mut self, domain: DomainId, iova: u64, bytes: u64) -> Result<(), Errno>;

    /// Unmaps a buffer, to be invalidated later.
    ///
    /// # Errors
    /// What went wrong below.
    fn unmap_deferred(&mut self, domain: DomainId, iova: u64, bytes: u64) -> Result<(), Errno>;

    /// Invalidates all of a domain.
    ///
    /// # Errors
    /// What went wrong below.
    fn flush(&mut self, domain: DomainId) -> Result<(), Errno>;

    /// The board.
    fn told(&mut self) -> &mut Told;
}

impl<P: Tells> DmaApi for IommuCore<Driver<P>> {
    fn map(&mut self, domain: DomainId, iova: u64, at: u64, bytes: u64) -> Result<(), Errno> {
        let prot = Prot::READ | Prot::WRITE;
        IommuCore::map(self, domain, Iova(iova), Paddr(at), bytes, prot)?;
        self.ops().platform().trouble()
    }

    fn unmap(&mut self, domain: DomainId, iova: u64, bytes: u64) -> Result<(), Errno> {
        IommuCore::unmap(self, domain, Iova(iova), bytes);
        self.ops().platform().trouble()
    }

    fn unmap_deferred(&mut self, domain: DomainId, iova: u64, bytes: u64) -> Result<(), Errno> {
        let mut gather = Gather::default();
        self.unmap_fast(domain, Iova(iova), bytes, &mut gather);
        self.ops().platform().trouble()
    }

    fn flush(&mut self, domain: DomainId) -> Result<(), Errno> {
        self.ops_mut().flush_iotlb_all(domain);
        self.ops().platform().trouble()
    }

    fn told(&mut self) -> &mut Told {
        self.ops_mut().platform_mut().told()
    }
}

/// Boots a kernel and gives the domain of each stream's device.
///
/// # Errors
/// [`WorkloadError::World`] with what the kernel says.
pub(super) fn boot<P: Tells + 'static>(
    platform: P,
    machine: &MachineSection,
    flush: Flush,
    ats: Support,
) -> Result<(Box<dyn DmaApi>, Vec<DomainId>), WorkloadError> {
    let page = 1 << machine.granule.log2();
    let params = Params {
        cpu_page: page,
        va_bits: machine.input_bits.min(48),
        ..Params::default()
    };
    let driver = Driver::probe(platform, params, 1).map_err(wrong)?;
    let config = CoreConfig {
        default_domain: match flush {
            Flush::Strict | Flush::Never => DomainKind::Dma,
            Flush::Lazy => DomainKind::DmaFq,
        },
        page_size: page,
    };
    let mut core = IommuCore::new(driver, config);
    let mut devices: Vec<DeviceId> = Vec::new();
    for stream in 0..machine.streams {
        let grouping = match (machine.sharing, devices.first()) {
            (Sharing::Shared, Some(first)) => Grouping::With(*first),
            _ => Grouping::Own,
        };
        let device = DeviceConfig {
            grouping,
            ..DeviceConfig::pci(&format!("stream {stream}"))
        };
        let firmware = Firmware {
            ats,
            ..Firmware::new(SmmuId(0), StreamId::new(stream))
        };
        devices.push(core.add_device(device, &firmware).map_err(wrong)?);
    }
    core.ops().platform().trouble().map_err(wrong)?;
    let domain = |device: &DeviceId| {
        let group = core.device(*device)?.group;
        core.group(group)?.default_domain
    };
    let domains: Option<Vec<DomainId>> = devices.iter().map(domain).collect();
    let domains = domains.ok_or_else(|| wrong(Errno::ENODEV))?;
    Ok((Box::new(core), domains))
}
