//! P49 to P57, the driver's part: a guest's invalidations in each version of the IOMMU half.

use iommu_core::semantics::SeriesIo;
use iommu_core::uapi::{CacheInvalidateInfo, InvalidateScope};
use iommu_core::{DeviceId, DomainId, Errno, IommuOps, KernelBug, Semantics};
use smmu::config::SmmuConfig;
use smmu::ids::{Asid, Vmid};

use super::platform::Machine;
use super::{add_device, driver_on, every_semantics, nested, part, posted};
use crate::{Command, Driver};

const IOTLB: u8 = 1;
const DEV_IOTLB: u8 = 2;
const ARCHID: u32 = 2;
const SYNC: Command = Command::Sync { msi: None };

fn pasid() -> InvalidateScope {
    InvalidateScope::Pasid {
        flags: ARCHID,
        archid: 9,
        pasid: 0,
    }
}

fn addr(granule_size: u64, nb_granules: u64) -> InvalidateScope {
    InvalidateScope::Addr {
        flags: ARCHID,
        archid: 9,
        pasid: 0,
        addr: 0x4000_0000,
        granule_size,
        nb_granules,
    }
}

/// The answer of the driver and the commands it issued.
fn ask(
    driver: &mut Driver<Machine>,
    cache: u8,
    scope: InvalidateScope,
) -> (Result<(), Errno>, Vec<Command>) {
    driver.platform_mut().done.clear();
    let info = CacheInvalidateInfo { cache, scope };
    let answer = driver.cache_invalidate(DomainId(1), DeviceId(1), &info);
    (answer, driver.platform().commands())
}

fn tlbis(commands: &[Command]) -> usize {
    let tlbi = |command: &&Command| (0x10..0x40).contains(&command.opcode().0);
    commands.iter().filter(tlbi).count()
}

// linux-iommu.md P49, 1.8, D10.
#[test]
fn p49_nh_asid_is_lost_in_io12_and_io13() {
    for io in SeriesIo::ALL {
        let (mut driver, ..) = nested(posted(io));
        let (answer, commands) = ask(&mut driver, IOTLB, pasid());
        assert_eq!(answer, Ok(()));
        let nh_asid = Command::TlbiNhAsid {
            asid: Asid::new(9),
            vmid: Vmid::new(1),
        };
        if io <= SeriesIo::V13 {
            assert_eq!(commands, [], "{io:?}");
        } else {
            assert_eq!(commands, [nh_asid, SYNC], "{io:?}");
        }
    }
}

// linux-iommu.md P50, 1.8, D11.
#[test]
fn p50_enoent_comes_after_the_flush_in_io12_and_io13() {
    for io in SeriesIo::ALL {
        let (mut driver, ..) = nested(posted(io));
        let (answer, commands) = ask(&mut driver, IOTLB | DEV_IOTLB, addr(4096, 4));
        assert_eq!(answer, Err(Errno::ENOENT), "{io:?}");
        assert_eq!(tlbis(&commands) > 0, io <= SeriesIo::V13, "{io:?}");
    }
}

// linux-iommu.md P52, 1.8, D14.
#[test]
fn p52_granules_are_checked_from_io16_on() {
    for granule in [3000, 0, 8192] {
        for semantics in [posted(SeriesIo::V16), Semantics::fixed()] {
            let (mut driver, ..) = nested(semantics);
            let (answer, commands) = ask(&mut driver, IOTLB, addr(granule, 1));
            assert_eq!(
                (answer, commands),
                (Err(Errno::EINVAL), vec![]),
                "{granule}"
            );
        }
    }
    // Before, less than a page never ends.
    let (mut driver, ..) = nested(posted(SeriesIo::V14));
    let (answer, _) = ask(&mut driver, IOTLB, addr(3000, 1));
    assert_eq!(answer, Err(KernelBug::ERRNO));
    assert!(driver.control().bug.is_some());
}

// linux-iommu.md P53, 1.8.
#[test]
fn p53_no_granules_are_refused_from_io16_on_and_nothing_before() {
    for io in SeriesIo::ALL {
        let (mut driver, ..) = nested(posted(io));
        let (answer, commands) = ask(&mut driver, IOTLB, addr(4096, 0));
        let expected = if io == SeriesIo::V16 {
            Err(Errno::EINVAL)
        } else {
            Ok(())
        };
        assert_eq!(answer, expected, "{io:?}");
        assert_eq!(tlbis(&commands), 0, "{io:?}");
    }
}

// linux-iommu.md P54, 1.8, D13: the whole size as one granule, as QEMU asked; a size that is none
// of the part's pages.
#[test]
fn p54_without_ranges_io15_invalidates_too_little() {
    let part = SmmuConfig {
        ril: false,
        ..part()
    };
    let size = 4 << 20;
    for (io, commands) in [
        // One address.
        (SeriesIo::V14, 1),
        // 4 MiB >> 12 bytes: one page.
        (SeriesIo::V15, 1),
    ] {
        let mut driver = driver_on(posted(io), std::slice::from_ref(&part));
        let device = add_device(&mut driver, 1);
        let domain = DomainId(1);
        driver
            .domain_alloc(domain, iommu_core::ops::DomainKind::Unmanaged, None)
            .unwrap();
        driver.enable_nesting(domain).unwrap();
        driver.attach_dev(domain, device, None).unwrap();
        let (answer, issued) = ask(&mut driver, IOTLB, addr(size, 1));
        assert_eq!(answer, Ok(()), "{io:?}");
        assert_eq!(tlbis(&issued), commands, "{io:?}");
    }
}

// linux-iommu.md P57, 1.8.
#[test]
fn p57_a_domain_that_does_not_nest_is_refused() {
    for (name, semantics) in every_semantics() {
        if semantics.series.is_none() {
            continue;
        }
        let mut driver = super::driver(semantics);
        let device = add_device(&mut driver, 1);
        let domain = super::add_domain(&mut driver, 1, device);
        driver.attach_dev(domain, device, None).unwrap();
        for scope in [pasid(), addr(4096, 1), InvalidateScope::Domain] {
            let answer = ask(&mut driver, IOTLB, scope);
            assert_eq!(answer, (Err(Errno::EINVAL), vec![]), "{name}");
        }
    }
}

// linux-iommu.md 1.8: the range is the guest's, by its ASID under our VMID.
#[test]
fn a_guests_range_goes_out_with_its_asid_and_our_vmid() {
    for (name, semantics) in every_semantics() {
        if semantics.series.is_none() {
            continue;
        }
        let (mut driver, ..) = nested(semantics);
        let (answer, commands) = ask(&mut driver, IOTLB, addr(4096, 32));
        assert_eq!(answer, Ok(()), "{name}");
        let Command::TlbiNhVa { asid, vmid, range } = commands[0] else {
            panic!("{name}: {commands:?}")
        };
        assert_eq!((asid.get(), vmid.get()), (9, 1), "{name}");
        assert_eq!((range.address, range.num, range.scale), (0x4000_0000, 0, 5));
        assert!(commands[1].is_sync(), "{name}");
    }
}

// `__arm_smmu_tlb_inv_range` (5.10) takes TG from the domain that is invalidated, and that is the
// host's stage 2; an entry of another granule need not go (IHI 0070 §4.4.1.1, TG).
#[test]
fn a_guests_range_names_the_guests_granule() {
    for (granule, tg, ttl, pages_log2) in [
        (1 << 12, 1, 3, 0),
        (1 << 21, 1, 2, 9),
        (1 << 14, 2, 3, 0),
        (1 << 25, 2, 2, 11),
        (1 << 16, 3, 3, 0),
        (1 << 29, 3, 2, 13),
    ] {
        let (mut driver, ..) = nested(Semantics::fixed());
        let (answer, commands) = ask(&mut driver, IOTLB, addr(granule, 4));
        assert_eq!(answer, Ok(()));
        let Command::TlbiNhVa { range, .. } = commands[0] else {
            panic!("{granule:#x}: {commands:?}")
        };
        assert_eq!((range.tg, range.ttl), (tg, ttl), "{granule:#x}");
        assert_eq!(
            (range.num, range.scale),
            (0, pages_log2 + 2),
            "{granule:#x}"
        );
    }
    // As posted: pages of 64 KiB go out as pages of 4 KiB.
    let (mut driver, ..) = nested(posted(SeriesIo::V16));
    let (_, commands) = ask(&mut driver, IOTLB, addr(1 << 16, 1));
    assert!(matches!(commands[0], Command::TlbiNhVa { range, .. } if range.tg == 1));
}
