//! P87–P100: mapping, unmapping, charging, dirty pages.

use iommu_core::semantics::UserVaddr;
use iommu_core::testing::Stage;
use iommu_core::{Errno, FaultMode, Paddr};
use zerocopy::IntoBytes;

use super::*;
use crate::abi::{self, dirty_flags, info, unmap_flags};
use crate::{Access, Capability, Population};

/// A container with one group.
fn single(semantics: Semantics, kind: IommuType) -> (Bench, i32) {
    let mut bench = Bench::new(semantics, &[0]);
    let (container, _) = bench.container(kind, &[0]);
    (bench, container)
}

fn unmap_with(bench: &mut Bench, fd: i32, flags: u32, iova: u64, size: u64) -> Result<u64, Errno> {
    let unmap = abi::DmaUnmap {
        argsz: 24,
        flags,
        iova,
        size,
    };
    let mut user = UserBuffer::new(unmap.as_bytes().to_vec());
    let at = user.at.0;
    bench
        .vfio
        .ioctl(bench.pid, fd, abi::IOMMU_UNMAP_DMA, at, &mut user)?;
    Ok(abi::read::<abi::DmaUnmap>(&user.bytes).size)
}

#[test]
fn p87_nesting_containers_map_stage_2_and_others_stage_1() {
    for (name, semantics) in every_series() {
        for (kind, stage) in [
            (IommuType::Nesting, Stage::S2),
            (IommuType::Type1V2, Stage::S1),
        ] {
            let (bench, container) = single(semantics.clone(), kind);
            let domain = bench.domains(container)[0];
            assert_eq!(bench.ops().stage(domain), Some(stage), "{name}");
        }
    }
}

#[test]
fn p88_a_domain_that_fails_to_map_has_the_newer_ones_unmapped_most_recent_first() {
    for (name, semantics) in every_semantics() {
        let mut ready = Bench::new(semantics, &[0, 1, 2]);
        let (container, _) = ready.container(IommuType::Type1V2, &[0, 1, 2]);
        let domains = ready.domains(container);
        let vaddr = ready.memory(1);
        ready.record();
        for done in 0..3 {
            let mut bench = ready.clone();
            bench.fail(FaultMode::NthOf {
                name: "driver:map",
                n: done,
                errno: None,
            });
            let result = bench.map(container, 0x10_0000, vaddr, 1);
            assert_eq!(result, Err(Errno::ENOMEM), "{name}");
            let unwound = bench.recorded("vfio:unwind_map");
            let expected = domains[..done as usize].iter().rev();
            let expected: Vec<_> = expected.map(|domain| (*domain, Ok(PAGE))).collect();
            assert_eq!(unwound, expected, "{name}: {done}");
            for domain in &domains {
                assert_eq!(bench.ops().mappings(*domain), [], "{name}");
            }
        }
    }
}

#[test]
fn p89_a_mapping_that_fails_at_any_step_leaves_nothing() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0, 1]);
        let start = [8, 0, 0, 0, 1, 0, 0, 0];
        bench
            .raw(container, abi::IOMMU_DIRTY_PAGES, &start)
            .unwrap();
        let vaddr = bench.memory(5);
        let mut rehearsal = bench.clone();
        rehearsal.fail(FaultMode::Count);
        rehearsal.map(container, 0x10_0000, vaddr, 5).unwrap();
        let steps = rehearsal.ops().control().faults.count();
        // Copy, entry, pins, maps in two domains, bitmap.
        assert!(steps > 20, "{name}: {steps}");
        for n in 0..steps {
            let mut attempt = bench.clone();
            attempt.fail(FaultMode::Nth { n, errno: None });
            let result = attempt.map(container, 0x10_0000, vaddr, 5);
            let step = attempt.ops().control().faults.fired();
            assert!(result.is_err(), "{name}: {step:?}");
            assert_eq!(attempt, bench, "{name}: {step:?}");
        }
    }
}

#[test]
fn p90_p91_overlap_comes_before_the_limit_and_the_limit_before_the_range() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0]);
        bench.vfio.host_mut().params.dma_entry_limit = 1;
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        let vaddr = bench.memory(4);
        // In the MSI window, which may not be mapped.
        let invalid = 0x800_0000;
        assert_eq!(
            bench.map(container, invalid, vaddr, 1),
            Err(Errno::EINVAL),
            "{name}"
        );
        bench.map(container, 0x10_0000, vaddr, 1).unwrap();
        assert_eq!(
            bench.map(container, 0x10_0000, vaddr, 1),
            Err(Errno::EEXIST),
            "{name}"
        );
        assert_eq!(
            bench.map(container, invalid, vaddr, 1),
            Err(Errno::ENOSPC),
            "{name}"
        );
    }
}

#[test]
fn p92_one_page_beyond_the_limit_is_refused_with_nothing_charged() {
    for (name, semantics) in every_semantics() {
        let (mut bench, container) = single(semantics, IommuType::Type1V2);
        let pid = bench.pid;
        let process = bench.vfio.host_mut().process_mut(pid);
        process.set_memlock_bytes(4 * PAGE);
        process.drop_capability(Capability::IpcLock);
        let vaddr = bench.memory(5);
        assert_eq!(
            bench.map(container, 0x10_0000, vaddr, 5),
            Err(Errno::ENOMEM),
            "{name}"
        );
        assert_eq!(
            (bench.locked(), bench.vfio.host().pins().count()),
            (0, 0),
            "{name}"
        );
        assert_eq!(bench.map(container, 0x10_0000, vaddr, 4), Ok(()), "{name}");
        assert_eq!(bench.locked(), 4, "{name}");
    }
}

#[test]
fn p93_cutting_a_mapping_is_refused_in_v2_and_takes_all_or_nothing_in_v1() {
    for (name, semantics) in every_semantics() {
        for kind in [IommuType::Type1V2, IommuType::Type1] {
            let (mut bench, container) = single(semantics.clone(), kind);
            let vaddr = bench.memory(4);
            bench.map(container, 0x10_0000, vaddr, 4).unwrap();
            let inside = bench.call().unmap(container, 0x10_1000, PAGE);
            let start = bench.clone().call().unmap(container, 0x10_0000, PAGE);
            if kind == IommuType::Type1V2 {
                assert_eq!(
                    (inside, start),
                    (Err(Errno::EINVAL), Err(Errno::EINVAL)),
                    "{name}"
                );
            } else {
                assert_eq!((inside, start), (Ok(0), Ok(4 * PAGE)), "{name}");
            }
            assert_eq!(bench.locked(), 4, "{name}");
        }
    }
}

#[test]
fn p94_unmapping_nothing_succeeds_with_size_0() {
    for (name, semantics) in every_semantics() {
        let (mut bench, container) = single(semantics, IommuType::Type1V2);
        assert_eq!(
            bench.call().unmap(container, 0x10_0000, PAGE),
            Ok(0),
            "{name}"
        );
    }
}

/// The order of the journal says it: between the driver's invalidation and the unpinning nothing
/// is left that reaches a page.
#[test]
fn p95_no_page_is_unpinned_while_a_table_or_a_cache_leads_to_it() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0, 1]);
        // More than the 512 runs after which the kernel synchronises.
        let pages = 1100;
        let vaddr = bench.memory(pages);
        bench.map(container, 0x10_0000, vaddr, pages).unwrap();
        let frames: Vec<Paddr> = bench.vfio.host().pins().frames().map(|(f, _)| f).collect();
        assert!(
            frames.iter().all(|frame| bench.ops().reaches(frame.0)),
            "{name}"
        );
        bench.record();
        bench
            .call()
            .unmap(container, 0x10_0000, pages * PAGE)
            .unwrap();
        let mut synced: Vec<(u64, u64)> = Vec::new();
        let newest = bench.vfio.core().ops().control().journal.calls();
        let mut unpinned = 0;
        for call in newest {
            match call.op {
                "driver:iotlb_sync" => synced.push((call.address, call.size)),
                "vfio:unpin" => {
                    unpinned += call.size;
                    // Pages are unpinned in address order, so those of the newest domain that
                    // are synchronised must be at least as many.
                    let done: u64 = synced
                        .iter()
                        .rev()
                        .take_while(|(address, _)| *address >= 0x10_0000)
                        .map(|(_, size)| size / PAGE)
                        .sum();
                    assert!(done >= unpinned, "{name}");
                }
                _ => {}
            }
        }
        assert_eq!(unpinned, pages, "{name}");
        assert!(
            frames.iter().all(|frame| !bench.ops().reaches(frame.0)),
            "{name}"
        );
    }
}

#[test]
fn p96_the_newest_domain_is_unmapped_last() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0, 1]);
        let domains = bench.domains(container);
        let vaddr = bench.memory(2);
        bench.map(container, 0x10_0000, vaddr, 2).unwrap();
        bench.record();
        bench.call().unmap(container, 0x10_0000, 2 * PAGE).unwrap();
        let order: Vec<_> = bench.recorded("driver:iotlb_sync");
        let order: Vec<_> = order.iter().map(|(domain, _)| *domain).collect();
        assert_eq!(order, [domains[1], domains[0]], "{name}");
    }
}

#[test]
fn p97_unmapping_all_takes_no_range_and_withdrawing_twice_undoes_this_call() {
    for (name, semantics) in every_semantics() {
        let fixed = semantics.vfio.user_vaddr == UserVaddr::Fixed;
        let (mut bench, container) = single(semantics, IommuType::Type1V2);
        let vaddr = bench.memory(2);
        bench.map(container, 0x10_0000, vaddr, 1).unwrap();
        bench.map(container, 0x20_0000, vaddr + PAGE, 1).unwrap();
        if fixed {
            let all = unmap_with(&mut bench, container, unmap_flags::ALL, 0, 0);
            assert_eq!(all, Err(Errno::EINVAL), "{name}: no such flag");
            continue;
        }
        let sized = unmap_with(&mut bench, container, unmap_flags::ALL, 0, PAGE);
        assert_eq!(sized, Err(Errno::EINVAL), "{name}");
        let withdraw = unmap_flags::VADDR;
        let first = unmap_with(&mut bench, container, withdraw, 0x20_0000, PAGE);
        assert_eq!(first, Ok(PAGE), "{name}");
        let before = bench.clone();
        let both = unmap_with(&mut bench, container, withdraw, 0x10_0000, 0x20_0000);
        assert_eq!(both, Err(Errno::EINVAL), "{name}");
        assert_eq!(bench, before, "{name}");
        let all = unmap_with(&mut bench, container, unmap_flags::ALL, 0, 0);
        assert_eq!(all, Ok(2 * PAGE), "{name}");
        assert_eq!(bench.locked(), 0, "{name}");
    }
}

#[test]
fn p98_two_containers_charge_twice_and_two_domains_once() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (one, _) = bench.container(IommuType::Type1V2, &[0]);
        let (two, _) = bench.container(IommuType::Type1V2, &[1]);
        let vaddr = bench.memory(3);
        bench.map(one, 0x10_0000, vaddr, 3).unwrap();
        bench.map(two, 0x10_0000, vaddr, 3).unwrap();
        assert_eq!(
            (bench.locked(), bench.vfio.host().pins().count()),
            (6, 6),
            "{name}"
        );
        let mut both = Bench::new(bench.ops().control().semantics.clone(), &[0, 1]);
        let (container, _) = both.container(IommuType::Type1V2, &[0, 1]);
        let vaddr = both.memory(3);
        both.map(container, 0x10_0000, vaddr, 3).unwrap();
        assert_eq!(
            (both.locked(), both.vfio.host().pins().count()),
            (3, 3),
            "{name}"
        );
    }
}

fn get_bitmap(bench: &mut Bench, container: i32, iova: u64, pages: u64) -> u64 {
    let mut bytes = abi::DirtyBitmap {
        argsz: 48,
        flags: dirty_flags::GET_BITMAP,
    }
    .as_bytes()
    .to_vec();
    let range = abi::DirtyRange {
        iova,
        size: pages * PAGE,
        bitmap: abi::Bitmap {
            pgsize: PAGE,
            size: 8,
            data: UserBuffer::AT.0 + 48,
        },
    };
    bytes.extend_from_slice(range.as_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let mut user = UserBuffer::new(bytes);
    let at = user.at.0;
    bench
        .vfio
        .ioctl(bench.pid, container, abi::IOMMU_DIRTY_PAGES, at, &mut user)
        .unwrap();
    u64::from_le_bytes(user.bytes[48..].try_into().unwrap())
}

#[test]
fn p99_a_group_that_never_pinned_makes_all_dirty_and_without_it_only_pinned_pages_are() {
    for (name, semantics) in every_semantics() {
        let mut bench = Bench::new(semantics, &[0, 0]);
        bench.vfio.unbind(bench.devices[1]).unwrap();
        bench.vfio.bind_emulated(bench.devices[1]).unwrap();
        let (container, groups) = bench.container(IommuType::Type1V2, &[0, 1]);
        let vaddr = bench.memory(8);
        bench.map(container, 0x10_0000, vaddr, 8).unwrap();
        let start = [8, 0, 0, 0, 1, 0, 0, 0];
        bench
            .raw(container, abi::IOMMU_DIRTY_PAGES, &start)
            .unwrap();
        assert_eq!(
            get_bitmap(&mut bench, container, 0x10_0000, 8),
            0xff,
            "{name}"
        );
        let mdev = bench.devices[1];
        let pinned = [0x10_2000, 0x10_5000];
        bench
            .vfio
            .pin_pages(mdev, &pinned, iommu_core::ops::Prot::READ)
            .unwrap();
        assert_eq!(bench.locked(), 8, "{name}: charged for the mapping already");
        assert_eq!(
            get_bitmap(&mut bench, container, 0x10_0000, 8),
            0xff,
            "{name}"
        );
        // The group with an IOMMU leaves: one last time everything may be dirty.
        bench.call().unset_container(groups[0]).unwrap();
        assert_eq!(
            get_bitmap(&mut bench, container, 0x10_0000, 8),
            0xff,
            "{name}"
        );
        assert_eq!(
            get_bitmap(&mut bench, container, 0x10_0000, 8),
            0b10_0100,
            "{name}"
        );
        assert_eq!(bench.locked(), 2, "{name}: the pinned pages alone");
        bench.vfio.unpin_pages(mdev, &pinned);
        assert_eq!(
            (bench.locked(), bench.vfio.host().pins().count()),
            (0, 0),
            "{name}"
        );
    }
}

#[test]
fn p100_a_short_get_info_says_how_much_is_needed_and_writes_no_capability() {
    for (name, semantics) in every_semantics() {
        let (mut bench, container) = single(semantics, IommuType::Type1V2);
        let mut bytes = vec![0xa5; 256];
        bytes[..4].copy_from_slice(&16_u32.to_le_bytes());
        let mut user = UserBuffer::new(bytes);
        let at = user.at.0;
        bench
            .vfio
            .ioctl(bench.pid, container, abi::IOMMU_GET_INFO, at, &mut user)
            .unwrap();
        let answer: abi::Type1Info = abi::read(&user.bytes);
        assert_eq!(answer.flags, info::PGSIZES | info::CAPS, "{name}");
        assert_eq!(answer.iova_pgsizes, 0x4020_1000, "{name}");
        assert!(answer.argsz == 116 || answer.argsz == 120, "{name}");
        assert!(user.bytes[16..].iter().all(|byte| *byte == 0xa5), "{name}");
    }
}

#[test]
fn a_page_that_cannot_be_pinned_is_efault_wherever_it_lies() {
    for (name, semantics) in every_semantics() {
        for bad in 0..6 {
            let (mut bench, container) = single(semantics.clone(), IommuType::Type1V2);
            let vaddr = bench.memory(6);
            let pid = bench.pid;
            bench
                .vfio
                .host_mut()
                .protect_memory(pid, vaddr + bad * PAGE, PAGE, Access::Read);
            let before = bench.clone();
            let result = bench.map(container, 0x10_0000, vaddr, 6);
            assert_eq!(result, Err(Errno::EFAULT), "{name}: page {bad}");
            assert_eq!(bench, before, "{name}: page {bad}");
        }
    }
}

#[test]
fn untouched_memory_mapped_for_reading_is_charged_from_6_12_on() {
    for (name, semantics) in every_kernel() {
        use iommu_core::semantics::ReadOnlyPin;
        let own = semantics.vfio.read_only_pin == ReadOnlyPin::OwnPage;
        let (mut bench, container) = single(semantics, IommuType::Type1V2);
        let pid = bench.pid;
        let config = RegionConfig {
            population: Population::Untouched,
            ..RegionConfig::ordinary(4 * PAGE)
        };
        let vaddr = bench
            .vfio
            .host_mut()
            .map_memory(pid, &config, PAGE)
            .unwrap();
        let mapping = Mapping {
            iova: 0x10_0000,
            vaddr,
            size: 4 * PAGE,
            rights: Rights::Read,
        };
        bench.call().map(container, mapping).unwrap();
        assert_eq!(bench.locked(), if own { 4 } else { 0 }, "{name}");
    }
}

// linux-iommu.md 2.7: before 7.2 the end of a range that reaches the last byte wraps.
#[test]
fn unmapping_up_to_the_last_byte_reaches_it_from_7_2_on() {
    for (name, semantics) in every_semantics() {
        let wraps = semantics.vfio.wrap != Errno::EOVERFLOW;
        let mut bench = Bench::new(semantics, &[0]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        let vaddr = bench.memory(1);
        bench.map(container, 0x10_0000, vaddr, 1).unwrap();
        let size = u64::MAX - 0x10_0000 + 1;
        let unmapped = bench.call().unmap(container, 0x10_0000, size);
        assert_eq!(unmapped, Ok(if wraps { 0 } else { PAGE }), "{name}");
    }
}
