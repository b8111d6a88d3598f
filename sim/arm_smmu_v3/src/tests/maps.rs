//! Mapping and unmapping: refusals, and which commands in which order.

use iommu_core::ops::{Gather, Prot};
use iommu_core::semantics::{FreedTable, NoAccess, SeriesIo};
use iommu_core::{DomainId, Errno, IommuOps, Iova, Kernel, Paddr, Semantics};
use smmu::config::SmmuConfig;

use super::platform::{Done, Machine};
use super::{RW, add, add_device, add_domain, driver, every_semantics, part, posted, with_ats};
use crate::command::Reach;
use crate::{Command, Driver};

// linux-iommu.md P106, 3.4.
#[test]
fn p106_an_address_beyond_the_input_size_is_erange() {
    for (name, semantics) in every_semantics() {
        let mut driver = driver(semantics);
        let device = add_device(&mut driver, 1);
        let domain = add_domain(&mut driver, 1, device);
        driver.attach_dev(domain, device, None).unwrap();
        let before = driver.clone();
        let end = driver.aperture(domain).end() + 1;
        for (iova, paddr) in [(end, 0), (0, 1 << 44)] {
            let mut mapped = 0;
            let result =
                driver.map_pages(domain, Iova(iova), Paddr(paddr), 4096, 1, RW, &mut mapped);
            assert_eq!((result, mapped), (Err(Errno::ERANGE), 0), "{name}");
        }
        assert_eq!(driver, before, "{name}");
    }
}

// linux-iommu.md 3.4.
#[test]
fn mapping_without_access_is_ignored_or_refused() {
    for (name, semantics) in every_semantics() {
        let ignores = semantics.driver.no_access == NoAccess::Ignore;
        let mut driver = driver(semantics);
        let device = add_device(&mut driver, 1);
        let domain = add_domain(&mut driver, 1, device);
        driver.attach_dev(domain, device, None).unwrap();
        let mut mapped = 0;
        let result = driver.map_pages(domain, Iova(0), Paddr(0), 4096, 1, Prot::CACHE, &mut mapped);
        let expected = if ignores { Ok(()) } else { Err(Errno::EINVAL) };
        assert_eq!((result, mapped), (expected, 0), "{name}");
    }
}

/// Opcodes of the commands of one unmap.
fn unmap_commands(driver: &mut Driver<Machine>, domain: DomainId, pages: u64) -> Vec<Command> {
    super::map(driver, domain, 0x10_0000, 0x1_0000_0000, pages);
    driver.platform_mut().done.clear();
    let mut gather = Gather::default();
    driver.unmap_pages(domain, Iova(0x10_0000), 4096, pages, &mut gather);
    driver.iotlb_sync(domain, &gather);
    driver.platform().commands()
}

const S2_IPA: u8 = 0x2a;
const SYNC: u8 = 0x46;
const NH_ALL: u8 = 0x10;
const ATC_INV: u8 = 0x40;

// linux-iommu.md P115, 4.7, D15.
#[test]
fn p115_unmapping_stage_2_under_a_guests_stage_1() {
    let names = |commands: &[Command]| -> Vec<u8> {
        commands.iter().map(|command| command.opcode().0).collect()
    };
    let mut mainline = driver(Semantics::kernel(Kernel::V7_2));
    let device = add(&mut mainline, 1, &with_ats(1));
    let domain = DomainId(1);
    mainline.domain_alloc_nest_parent(domain, device).unwrap();
    mainline.attach_dev(domain, device, None).unwrap();
    let commands = unmap_commands(&mut mainline, domain, 3);
    assert_eq!(
        names(&commands),
        [S2_IPA, SYNC, NH_ALL, SYNC, ATC_INV, SYNC]
    );
    assert!(
        matches!(commands[4], Command::AtcInv { size_log2: 52, .. }),
        "everything"
    );

    for io in SeriesIo::ALL {
        let mut series = driver(posted(io));
        let device = add(&mut series, 1, &with_ats(1));
        series
            .domain_alloc(domain, iommu_core::ops::DomainKind::Unmanaged, None)
            .unwrap();
        series.enable_nesting(domain).unwrap();
        series.attach_dev(domain, device, None).unwrap();
        let commands = unmap_commands(&mut series, domain, 3);
        assert_eq!(names(&commands), [S2_IPA, SYNC, ATC_INV, SYNC], "{io:?}");
        let Command::AtcInv {
            address, size_log2, ..
        } = commands[2]
        else {
            panic!("{commands:?}")
        };
        assert_eq!((address, size_log2), (0x10_0000, 2), "by IPA");
    }
}

// linux-iommu.md 4.7: without range invalidation a table's worth of pages is dropped by VMID.
#[test]
fn p115_7_2_drops_by_tag_what_would_take_too_many_commands() {
    let part = SmmuConfig {
        ril: false,
        ..part()
    };
    let mut driver = super::driver_on(Semantics::kernel(Kernel::V7_2), &[part]);
    let device = add_device(&mut driver, 1);
    let domain = DomainId(1);
    driver.domain_alloc_nest_parent(domain, device).unwrap();
    driver.attach_dev(domain, device, None).unwrap();
    super::map(&mut driver, domain, 0, 0x1_0000_0000, 512);
    driver.platform_mut().done.clear();
    let mut gather = Gather::default();
    driver.unmap_pages(domain, Iova(0), 4096, 512, &mut gather);
    driver.iotlb_sync(domain, &gather);
    let opcodes: Vec<u8> = driver
        .platform()
        .commands()
        .iter()
        .map(|c| c.opcode().0)
        .collect();
    assert_eq!(
        opcodes,
        [0x28, 0x46],
        "S12_VMALL covers the guests' entries"
    );
}

// linux-iommu.md 4.7: a table that is freed is flushed before, leaf=0.
#[test]
fn replacing_a_table_by_a_block_flushes_the_walk_before_it_is_freed() {
    for (name, semantics) in every_semantics() {
        let mut driver = driver(semantics);
        let device = add_device(&mut driver, 1);
        let domain = add_domain(&mut driver, 1, device);
        driver.attach_dev(domain, device, None).unwrap();
        super::map(&mut driver, domain, 0x20_0000, 0x1_0000_0000, 1);
        let mut gather = Gather::default();
        driver.unmap_pages(domain, Iova(0x20_0000), 4096, 1, &mut gather);
        driver.iotlb_sync(domain, &gather);
        driver.platform_mut().done.clear();
        let bytes = driver.table_bytes(domain);
        let mut mapped = 0;
        driver
            .map_pages(
                domain,
                Iova(0x20_0000),
                Paddr(0x4000_0000),
                1 << 21,
                1,
                RW,
                &mut mapped,
            )
            .unwrap();
        assert_eq!(driver.table_bytes(domain), bytes - 4096, "{name}");
        let commands = driver.platform().commands();
        let Command::TlbiNhVa { range, .. } = commands[0] else {
            panic!("{commands:?}")
        };
        assert_eq!(
            (range.reach, range.address),
            (Reach::Walk, 0x20_0000),
            "{name}"
        );
        assert!(commands[1].is_sync(), "{name}");
        // The flush comes between clearing the entry and storing the block.
        let done = &driver.platform().done;
        let first = done
            .iter()
            .position(|d| matches!(d, Done::Command(..)))
            .unwrap();
        assert!(matches!(done[0], Done::Store(_, 0)) && first > 0, "{name}");
        assert!(
            matches!(done.last(), Some(Done::Store(_, block)) if block & 3 == 1),
            "{name}"
        );
    }
}

// linux-iommu.md 4.7; the order is that of the recorded traces of 6.1 and 7.2.
#[test]
fn tables_unmapped_whole_are_flushed_each_and_gathered_in_7_2() {
    for (name, semantics) in every_semantics() {
        let gathers = semantics.driver.freed_table == FreedTable::FlushAndGather;
        let mut driver = driver(semantics);
        let device = add_device(&mut driver, 1);
        let domain = add_domain(&mut driver, 1, device);
        driver.attach_dev(domain, device, None).unwrap();
        for iova in [0x4060_0000, 0x4080_0000] {
            super::map(&mut driver, domain, iova, 0x1_0000_0000 + iova, 512);
        }
        driver.platform_mut().done.clear();
        let mut gather = Gather::default();
        let bytes = driver.unmap_pages(domain, Iova(0x4060_0000), 1 << 21, 2, &mut gather);
        assert_eq!(bytes, 1 << 22, "{name}");
        driver.iotlb_sync(domain, &gather);
        let seen: Vec<(u8, u64, u8)> = driver
            .platform()
            .commands()
            .iter()
            .map(|command| match command {
                Command::TlbiNhVa { range, .. } => (range.ttl, range.address, range.scale),
                _ => (9, 0, 0),
            })
            .collect();
        let walk_ttl = u8::from(
            driver.control().semantics.driver.invalidation_range
                == iommu_core::semantics::InvalidationRange::TtlAlways,
        ) * 3;
        let sync = (9, 0, 0);
        let mut expected = vec![
            (walk_ttl, 0x4060_0000, 9),
            sync,
            (walk_ttl, 0x4080_0000, 9),
            sync,
        ];
        if gathers {
            expected.extend([(2, 0x4060_0000, 10), sync]);
        }
        assert_eq!(seen, expected, "{name}");
    }
}

// linux-iommu.md 4.8, lazy mode: invalidation is left to the flush queue, which drops the ASID.
#[test]
fn lazy_domains_gather_nothing_and_are_flushed_by_asid() {
    for kernel in Kernel::ALL {
        let mut driver = driver(Semantics::kernel(kernel));
        let device = add_device(&mut driver, 1);
        let domain = DomainId(1);
        driver
            .domain_alloc(domain, iommu_core::ops::DomainKind::DmaFq, Some(device))
            .unwrap();
        driver.attach_dev(domain, device, None).unwrap();
        assert_eq!(unmap_commands(&mut driver, domain, 5), []);
        driver.flush_iotlb_all(domain);
        let opcodes: Vec<u8> = driver
            .platform()
            .commands()
            .iter()
            .map(|c| c.opcode().0)
            .collect();
        assert_eq!(opcodes, [0x11, 0x46], "{kernel:?}");
    }
}

#[test]
fn leaves_read_together_are_those_read_one_by_one() {
    const PAGE: u64 = 4096;
    const BLOCK: u64 = 1 << 21;
    let mut driver = driver(Semantics::kernel(Kernel::V7_2));
    let device = add_device(&mut driver, 1);
    let domain = add_domain(&mut driver, 1, device);
    driver.attach_dev(domain, device, None).unwrap();
    // Pages over the ends of two tables, a hole, blocks, and a page right behind them.
    super::map(&mut driver, domain, BLOCK - 70 * PAGE, 0x1_0000_0000, 500);
    super::map(&mut driver, domain, 2 * BLOCK - 9 * PAGE, 0x2_0000_0000, 9);
    let mut mapped = 0;
    let (blocks, paddr) = (Iova(2 * BLOCK), Paddr(0x3_0000_0000));
    driver
        .map_pages(domain, blocks, paddr, BLOCK, 3, RW, &mut mapped)
        .unwrap();
    super::map(&mut driver, domain, 5 * BLOCK, 0x4_0000_0000, 1);
    let mut longest = 0;
    for start in (0..6 * BLOCK).step_by(7 * PAGE as usize) {
        for (start, size) in [(start, PAGE), (start + 0x800, 3 * PAGE), (start, 6 * BLOCK)] {
            let (mut at, end) = (start, start + size);
            let mut together = Vec::new();
            while at < end {
                together.clear();
                driver.leaves(domain, Iova(at), end - at, &mut together);
                longest = longest.max(together.len());
                for &(paddr, length) in &together {
                    let (expected, left) = driver.leaf(domain, Iova(at)).unwrap();
                    assert_eq!((paddr, length), (expected, left.min(end - at)), "{at:#x}");
                    at += length;
                }
                if together.is_empty() {
                    assert_eq!(driver.leaf(domain, Iova(at)), None, "{at:#x}");
                    at = (at & !(PAGE - 1)) + PAGE;
                }
            }
        }
    }
    assert_eq!(longest, 64, "many leaves in one look");
}
