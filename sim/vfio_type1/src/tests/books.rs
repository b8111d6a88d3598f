//! Books over more than one operation: who is charged, for what, and what is withdrawn.

use iommu_core::ops::Prot;
use iommu_core::semantics::{LateAttachFailure, UserVaddr};
use zerocopy::IntoBytes;

use super::*;
use crate::abi::{self, map_flags, unmap_flags};

/// UNMAP_DMA with the VADDR flag.
fn withdraw(bench: &mut Bench, container: i32, iova: u64, pages: u64) {
    let unmap = abi::DmaUnmap {
        argsz: 24,
        flags: unmap_flags::VADDR,
        iova,
        size: pages * PAGE,
    };
    bench
        .raw(container, abi::IOMMU_UNMAP_DMA, unmap.as_bytes())
        .unwrap();
}

// linux-iommu.md P83: counted per mapping, so the count goes with the mapping.
#[test]
fn a_withdrawn_mapping_that_is_removed_keeps_no_group_out() {
    for (name, semantics) in every_semantics() {
        if semantics.vfio.user_vaddr == UserVaddr::Fixed {
            continue;
        }
        let mut bench = Bench::new(semantics, &[0, 1]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        let vaddr = bench.memory(1);
        bench.map(container, 0x10_0000, vaddr, 1).unwrap();
        withdraw(&mut bench, container, 0x10_0000, 1);
        bench.call().unmap(container, 0x10_0000, PAGE).unwrap();
        let group = bench.open_group(1);
        let result = bench.call().set_container(group, container);
        assert_eq!(result, Ok(()), "{name}");
    }
}

// vfio_change_dma_owner().
#[test]
fn who_gives_a_mapping_its_new_address_is_charged_in_place_of_the_former_owner() {
    for (name, semantics) in every_semantics() {
        if semantics.vfio.user_vaddr == UserVaddr::Fixed {
            continue;
        }
        let mut bench = Bench::new(semantics, &[0]);
        let (container, _) = bench.container(IommuType::Type1V2, &[0]);
        let vaddr = bench.memory(3);
        bench.map(container, 0x10_0000, vaddr, 3).unwrap();
        withdraw(&mut bench, container, 0x10_0000, 3);
        let parent = bench.pid;
        bench.pid = bench.vfio.fork(parent).unwrap();
        assert_eq!(bench.locked(), 0, "{name}");
        let map = abi::DmaMap {
            argsz: 32,
            flags: map_flags::VADDR,
            vaddr,
            iova: 0x10_0000,
            size: 3 * PAGE,
        };
        bench
            .raw(container, abi::IOMMU_MAP_DMA, map.as_bytes())
            .unwrap();
        let charged = |bench: &Bench, pid| bench.vfio.host().process(pid).locked_pages();
        let books = (charged(&bench, parent), charged(&bench, bench.pid));
        assert_eq!(books, (0, 3), "{name}");
    }
}

/// A container whose only group is emulated, with 8 pages mapped and two of them pinned by it.
fn pinned_by_an_emulated_device(semantics: Semantics) -> (Bench, i32) {
    let mut bench = Bench::new(semantics, &[0, 0]);
    bench.vfio.unbind(bench.devices[1]).unwrap();
    bench.vfio.bind_emulated(bench.devices[1]).unwrap();
    let (container, _) = bench.container(IommuType::Type1V2, &[1]);
    let vaddr = bench.memory(8);
    bench.map(container, 0x10_0000, vaddr, 8).unwrap();
    let pinned = [0x10_2000, 0x10_5000];
    let device = bench.devices[1];
    bench.vfio.pin_pages(device, &pinned, Prot::READ).unwrap();
    (bench, container)
}

// vfio_pin_pages_remote(), vfio_unpin_pages_remote(): a page that is pinned externally is charged
// once.
#[test]
fn a_page_that_an_emulated_device_has_pinned_is_charged_once() {
    for (name, semantics) in every_semantics() {
        let (mut bench, container) = pinned_by_an_emulated_device(semantics);
        assert_eq!(bench.locked(), 2, "{name}");
        let group = bench.open_group(0);
        bench.call().set_container(group, container).unwrap();
        assert_eq!(bench.locked(), 8, "{name}");
    }
}

// linux-iommu.md 2.5, steps 20 and 21: `out_detach` of vfio_iommu_type1_attach_group() does not
// undo the replay.
#[test]
fn an_attach_that_fails_after_replay_keeps_its_pins_but_in_the_fixed_semantics() {
    for (name, semantics) in every_semantics() {
        let (mut before, container) = pinned_by_an_emulated_device(semantics.clone());
        let group = before.open_group(0);
        let pins = |bench: &Bench| (bench.locked(), bench.vfio.host().pins().count());
        let mut rehearsal = before.clone();
        rehearsal.fail(FaultMode::Count);
        rehearsal.call().set_container(group, container).unwrap();
        let mut late_failures = 0;
        for n in 0..rehearsal.ops().control().faults.count() {
            let mut attempt = before.clone();
            attempt.fail(FaultMode::Nth { n, errno: None });
            if attempt.call().set_container(group, container).is_err() {
                let step = attempt.ops().control().faults.fired().unwrap();
                let late = step == "iommu:msi_cookie";
                late_failures += usize::from(late);
                let kept =
                    late && semantics.vfio.late_attach_failure == LateAttachFailure::KeepsPins;
                let expected = if kept {
                    pins(&rehearsal)
                } else {
                    pins(&before)
                };
                assert_eq!(pins(&attempt), expected, "{name}: {step:?}");
            }
        }
        assert_eq!(late_failures, 1, "{name}");
    }
}
