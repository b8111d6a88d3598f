//! A guest's stage 1 over our stage 2 on the device model: what caches keep when the series
//! changes tables, unmaps or invalidates (P27, P51, P115).

use arm_smmu_v3::{Driver, Support};
use iommu_core::semantics::{SeriesIo, SeriesVfio};
use iommu_core::uapi::{
    CacheInvalidateInfo, InvalidateScope, PASID_FORMAT_SMMUV3, PasidConfig, PasidTableConfig,
};
use iommu_core::{Defect, DeviceId, DomainId, IommuOps, Semantics};
use smmu::addr::Pa;
use smmu::mem::{AccessClass, PhysMem};
use smmu_sim::board::Board;

use super::board::{GUEST, SMMU, nested, read, read_cold, unmap};

/// Where a guest's CD and tables are, and where its page leads.
#[derive(Clone, Copy)]
struct Guest {
    cd: u64,
    tables: u64,
    page: u64,
    asid: u64,
}

const FIRST: Guest = Guest {
    cd: GUEST.0,
    tables: GUEST.0 + 0x1_0000,
    page: GUEST.0 + 0x10_0000,
    asid: 5,
};
const SECOND: Guest = Guest {
    cd: GUEST.0 + 0x1000,
    tables: GUEST.0 + 0x2_0000,
    page: GUEST.0 + 0x11_0000,
    asid: 5,
};

/// The guest's address of its page.
const VA: u64 = 0x40_0000;

/// Puts a guest's CD and a walk of three levels of 4 KiB tables into memory, by hand: T0SZ=25,
/// 4 KiB, 44-bit IPS, AA64, A, R, ASET.
fn build(driver: &mut Driver<Board>, guest: Guest) {
    let board = driver.platform();
    let mut port = board.ram().port();
    let mut word = |pa: u64, value: u64| {
        port.write64(Pa::new(pa), value, AccessClass::Stage1)
            .unwrap();
    };
    let cd = 0x19
        | 1 << 8
        | 1 << 10
        | 3 << 12
        | 1 << 30
        | 1 << 31
        | 4 << 32
        | 1 << 41
        | 1 << 45
        | 1 << 46
        | 1 << 47
        | guest.asid << 48;
    word(guest.cd, cd);
    word(guest.cd + 8, guest.tables);
    word(guest.cd + 24, 0xff);
    let [l1, l2, l3] = [0, 0x1000, 0x2000].map(|offset| guest.tables + offset);
    word(l1 + (VA >> 30) * 8, l2 | 3);
    word(l2 + (VA >> 21 & 0x1ff) * 8, l3 | 3);
    // Access flag, inner shareable, EL0 access, nG.
    word(l3 + (VA >> 12 & 0x1ff) * 8, guest.page | 0xf43);
}

fn set(driver: &mut Driver<Board>, config: PasidConfig, base_ptr: u64) {
    let table = PasidTableConfig {
        version: 1,
        format: PASID_FORMAT_SMMUV3,
        base_ptr,
        pasid_bits: 0,
        config,
        smmuv3_version: 1,
        s1fmt: 0,
        s1dss: 2,
    };
    driver.attach_pasid_table(DomainId(1), &table).unwrap();
}

fn posted(io: SeriesIo) -> Semantics {
    Semantics::posted_pair(SeriesVfio::V13, io)
}

/// A guest with its first table set and used once.
fn running(semantics: Semantics) -> Driver<Board> {
    let (mut driver, _) = nested(semantics, Support::No);
    build(&mut driver, FIRST);
    build(&mut driver, SECOND);
    set(&mut driver, PasidConfig::TRANSLATE, FIRST.cd);
    assert_eq!(read(&mut driver, 1, VA), Some(FIRST.page));
    driver
}

// linux-iommu.md P27, 1.6, D16.
#[test]
fn p27_after_a_replacement_the_old_tables_entry_is_still_hit() {
    for (semantics, stale) in [
        (posted(SeriesIo::V14), true),
        (posted(SeriesIo::V15), true),
        (posted(SeriesIo::V16), true),
        (Semantics::fixed(), false),
    ] {
        assert_eq!(semantics.has(Defect::NoInvalidationOnSet), stale);
        let mut driver = running(semantics);
        set(&mut driver, PasidConfig::BYPASS, 0);
        set(&mut driver, PasidConfig::TRANSLATE, SECOND.cd);
        assert_eq!(read_cold(&driver, 1, VA), Some(SECOND.page));
        let expected = if stale { FIRST.page } else { SECOND.page };
        assert_eq!(read(&mut driver, 1, VA), Some(expected));
        // The guest's own invalidation helps.
        let scope = InvalidateScope::Pasid {
            flags: 2,
            archid: 5,
            pasid: 0,
        };
        let info = CacheInvalidateInfo { cache: 1, scope };
        driver
            .cache_invalidate(DomainId(1), DeviceId(1), &info)
            .unwrap();
        assert_eq!(read(&mut driver, 1, VA), Some(SECOND.page));
    }
}

// linux-iommu.md P115, D15: what a nested TLB entry keeps of an unmapped stage-2 page.
#[test]
fn p115_combined_entries_outlive_the_unmap_of_stage_2_in_the_series() {
    for (semantics, stale) in [
        (posted(SeriesIo::V13), true),
        (posted(SeriesIo::V16), true),
        (Semantics::fixed(), false),
    ] {
        let mut driver = running(semantics);
        unmap(&mut driver, DomainId(1), GUEST.0, 1 << 21, 1);
        assert_eq!(read_cold(&driver, 1, VA), None);
        assert_eq!(read(&mut driver, 1, VA).is_some(), stale);
    }
}

// linux-iommu.md P51, D12: a guest's global invalidation and another VM.
#[test]
fn p51_a_guests_global_invalidation_drops_other_vms_entries() {
    for (semantics, others_dropped) in [
        (posted(SeriesIo::V14), true),
        (posted(SeriesIo::V15), true),
        (Semantics::fixed(), false),
    ] {
        let mut driver = running(semantics);
        let other = super::board::add_device(&mut driver, 2, Support::No);
        let domain = DomainId(2);
        driver
            .domain_alloc(domain, iommu_core::ops::DomainKind::Unmanaged, None)
            .unwrap();
        driver.enable_nesting(domain).unwrap();
        driver.attach_dev(domain, other, None).unwrap();
        super::board::map(&mut driver, domain, GUEST.0, GUEST.0, 1 << 21, 1 << 21);
        assert!(read(&mut driver, 2, GUEST.0).is_some());
        let vmids = |driver: &Driver<Board>| {
            let smmu = driver.platform().smmu(SMMU);
            let mut vmids: Vec<u16> = smmu
                .cached_translations()
                .map(|(_, tag)| tag.vmid.get())
                .collect();
            vmids.sort_unstable();
            vmids.dedup();
            vmids
        };
        assert_eq!(vmids(&driver), [1, 2]);
        let info = CacheInvalidateInfo {
            cache: 1,
            scope: InvalidateScope::Domain,
        };
        driver
            .cache_invalidate(DomainId(1), DeviceId(1), &info)
            .unwrap();
        let left = vmids(&driver);
        assert_eq!(left.contains(&2), !others_dropped, "{left:?}");
    }
}

// IHI 0070 §7.1: an endpoint that does not answer; linux-iommu.md 4.8: CONS stays at the SYNC.
#[test]
fn p116_an_unanswered_atc_invalidation_is_a_timeout_not_a_hang() {
    let mut driver = super::board::driver(Semantics::kernel(iommu_core::Kernel::V7_2));
    let device = super::board::add_device(&mut driver, 1, Support::Yes);
    let domain = super::board::add_domain(&mut driver, 1, device);
    driver.attach_dev(domain, device, None).unwrap();
    super::board::map(&mut driver, domain, 0, GUEST.0, 4096, 4096);
    driver.platform_mut().mute_endpoints(SMMU);
    unmap(&mut driver, domain, 0, 4096, 1);
    assert_eq!(read_cold(&driver, 1, 0), None);
    assert_eq!(driver.control().bug, None);
}
