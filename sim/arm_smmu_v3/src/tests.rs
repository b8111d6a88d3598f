//! Tests of the driver against the device model's registers and walks.

mod attach;
mod entry;
mod failures;
mod invalidate;
mod lifecycle;
mod maintenance;
mod maps;
mod platform;
mod recorded;
mod series;
mod tables;

use iommu_core::ops::{DomainKind, Prot};
use iommu_core::semantics::{SeriesIo, SeriesVfio};
use iommu_core::uapi::{PASID_FORMAT_SMMUV3, PasidConfig, PasidTableConfig};
use iommu_core::{DeviceId, DomainId, IommuOps, Iova, Kernel, Paddr, Semantics};
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;

use crate::{Driver, Firmware, Params, SmmuId, Support};
use platform::Machine;

const S0: SmmuId = SmmuId(0);
const RW: Prot = Prot(Prot::READ.0 | Prot::WRITE.0);

/// A part with both stages and ATS.
fn part() -> SmmuConfig {
    SmmuConfig {
        ats: true,
        ..SmmuConfig::qemu_11()
    }
}

fn driver_on(semantics: Semantics, parts: &[SmmuConfig]) -> Driver<Machine> {
    let machine = Machine::new(semantics, parts);
    let mut driver = Driver::probe(machine, Params::default(), parts.len() as u32).unwrap();
    driver.platform_mut().done.clear();
    driver
}

fn driver(semantics: Semantics) -> Driver<Machine> {
    driver_on(semantics, &[part()])
}

fn posted(io: SeriesIo) -> Semantics {
    Semantics::posted_pair(SeriesVfio::V13, io)
}

/// Every semantics there is, with a name.
fn every_semantics() -> Vec<(String, Semantics)> {
    Kernel::ALL
        .iter()
        .map(|kernel| (format!("{kernel:?}"), Semantics::kernel(*kernel)))
        .chain(
            SeriesIo::ALL
                .iter()
                .map(|io| (format!("IO {io:?}"), posted(*io))),
        )
        .chain([("fixed".to_owned(), Semantics::fixed())])
        .collect()
}

/// Adds device `n` with StreamID `8 * n` behind SMMU 0.
fn add_device(driver: &mut Driver<Machine>, n: u32) -> DeviceId {
    add(driver, n, &Firmware::new(S0, sid(n)))
}

fn add(driver: &mut Driver<Machine>, n: u32, firmware: &Firmware) -> DeviceId {
    let device = DeviceId(n);
    driver.probe_device(device, firmware).unwrap();
    device
}

fn with_ats(n: u32) -> Firmware {
    Firmware {
        ats: Support::Yes,
        ..Firmware::new(S0, sid(n))
    }
}

fn sid(n: u32) -> StreamId {
    StreamId::new(8 * n)
}

/// Makes domain `n`; kernels that finalise at allocation do so for `device`.
fn add_domain(driver: &mut Driver<Machine>, n: u32, device: DeviceId) -> DomainId {
    let domain = DomainId(n);
    driver
        .domain_alloc(domain, DomainKind::Unmanaged, Some(device))
        .unwrap();
    domain
}

fn map(driver: &mut Driver<Machine>, domain: DomainId, iova: u64, paddr: u64, pages: u64) {
    let mut mapped = 0;
    while mapped < pages * 4096 {
        driver
            .map_pages(
                domain,
                Iova(iova + mapped),
                Paddr(paddr + mapped),
                4096,
                pages - mapped / 4096,
                RW,
                &mut mapped,
            )
            .unwrap();
    }
}

/// A driver with one device attached to a nested domain.
fn nested(semantics: Semantics) -> (Driver<Machine>, DeviceId, DomainId) {
    let mut driver = driver(semantics);
    let device = add_device(&mut driver, 1);
    let domain = DomainId(1);
    driver
        .domain_alloc(domain, DomainKind::Unmanaged, None)
        .unwrap();
    driver.enable_nesting(domain).unwrap();
    driver.attach_dev(domain, device, None).unwrap();
    driver.platform_mut().done.clear();
    (driver, device, domain)
}

fn config(config: PasidConfig, base_ptr: u64) -> PasidTableConfig {
    PasidTableConfig {
        version: 1,
        format: PASID_FORMAT_SMMUV3,
        base_ptr,
        pasid_bits: 0,
        config,
        smmuv3_version: 1,
        s1fmt: 0,
        s1dss: 2,
    }
}

/// SET(T).
fn translate(base_ptr: u64) -> PasidTableConfig {
    config(PasidConfig::TRANSLATE, base_ptr)
}

fn ste(driver: &Driver<Machine>, n: u32) -> [u64; 8] {
    let pa = driver.ste_pa(S0, sid(n)).unwrap();
    driver.platform().entry(pa)
}

/// STE.Config.
fn ste_config(driver: &Driver<Machine>, n: u32) -> u64 {
    ste(driver, n)[0] >> 1 & 7
}
