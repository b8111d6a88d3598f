//! A driver on a board, and what its tests ask for.

use arm_smmu_v3::{Driver, Firmware, Params, SmmuId, Support};
use iommu_core::ops::{DomainKind, Gather, Prot};
use iommu_core::semantics::{SeriesIo, SeriesVfio};
use iommu_core::{Control, DeviceId, DomainId, IommuOps, Iova, Kernel, Paddr, Semantics};
use smmu::config::SmmuConfig;
use smmu::ids::StreamId;
use smmu::{Outcome, Transaction};
use smmu_sim::board::{Board, BoardConfig};

pub(super) const SMMU: SmmuId = SmmuId(0);
pub(super) const RW: Prot = Prot(Prot::READ.0 | Prot::WRITE.0);

/// Where guests' memory is.
pub(super) const GUEST: (u64, u64) = (1 << 32, 1 << 30);

/// A part with both stages and ATS.
pub(super) fn part() -> SmmuConfig {
    SmmuConfig {
        ats: true,
        ..SmmuConfig::qemu_11()
    }
}

pub(super) fn driver(semantics: Semantics) -> Driver<Board> {
    let config = BoardConfig {
        ram: vec![GUEST],
        ..BoardConfig::new(vec![part()])
    };
    let board = Board::new(Control::new(semantics), &config).unwrap();
    Driver::probe(board, Params::default(), 1).unwrap()
}

pub(super) fn sid(n: u32) -> StreamId {
    StreamId::new(8 * n)
}

pub(super) fn add_device(driver: &mut Driver<Board>, n: u32, ats: Support) -> DeviceId {
    let firmware = Firmware {
        ats,
        ..Firmware::new(SMMU, sid(n))
    };
    driver.probe_device(DeviceId(n), &firmware).unwrap();
    DeviceId(n)
}

pub(super) fn add_domain(driver: &mut Driver<Board>, n: u32, device: DeviceId) -> DomainId {
    driver
        .domain_alloc(DomainId(n), DomainKind::Unmanaged, Some(device))
        .unwrap();
    DomainId(n)
}

/// A device attached to a domain under a guest's stage 1, whose addresses are those of memory.
pub(super) fn nested(semantics: Semantics, ats: Support) -> (Driver<Board>, DomainId) {
    let mut driver = driver(semantics);
    let device = add_device(&mut driver, 1, ats);
    let domain = DomainId(1);
    if driver.control().semantics.series.is_some() {
        driver
            .domain_alloc(domain, DomainKind::Unmanaged, None)
            .unwrap();
        driver.enable_nesting(domain).unwrap();
    } else {
        driver.domain_alloc_nest_parent(domain, device).unwrap();
    }
    driver.attach_dev(domain, device, None).unwrap();
    map(&mut driver, domain, GUEST.0, GUEST.0, 1 << 21, 1 << 21);
    (driver, domain)
}

pub(super) fn map(
    driver: &mut Driver<Board>,
    domain: DomainId,
    iova: u64,
    paddr: u64,
    size: u64,
    pgsize: u64,
) {
    let mut mapped = 0;
    while mapped < size {
        driver
            .map_pages(
                domain,
                Iova(iova + mapped),
                Paddr(paddr + mapped),
                pgsize,
                (size - mapped) / pgsize,
                RW,
                &mut mapped,
            )
            .unwrap();
    }
}

pub(super) fn unmap(driver: &mut Driver<Board>, domain: DomainId, iova: u64, pgsize: u64, n: u64) {
    let mut gather = Gather::default();
    driver.unmap_pages(domain, Iova(iova), pgsize, n, &mut gather);
    driver.iotlb_sync(domain, &gather);
}

/// Where a device's read goes, through all caches.
pub(super) fn read(driver: &mut Driver<Board>, n: u32, iova: u64) -> Option<u64> {
    let transaction = Transaction::read(sid(n), smmu::addr::Iova::new(iova));
    reached(&driver.platform_mut().access(SMMU, &transaction))
}

/// Where it would go if nothing were cached.
pub(super) fn read_cold(driver: &Driver<Board>, n: u32, iova: u64) -> Option<u64> {
    let transaction = Transaction::read(sid(n), smmu::addr::Iova::new(iova));
    let board = driver.platform();
    let mut port = board.ram().port();
    let smmu = board.smmu(SMMU);
    reached(&smmu.translate_cold(&mut port, &transaction, &mut ()))
}

fn reached(outcome: &Outcome) -> Option<u64> {
    outcome.pa().map(smmu::addr::Pa::get)
}

pub(super) fn every_semantics() -> Vec<Semantics> {
    let kernels = Kernel::ALL.iter().map(|kernel| Semantics::kernel(*kernel));
    let series = SeriesIo::ALL
        .iter()
        .map(|io| Semantics::posted_pair(SeriesVfio::V13, *io));
    kernels.chain(series).chain([Semantics::fixed()]).collect()
}
