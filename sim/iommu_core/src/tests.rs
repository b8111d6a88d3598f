//! P101–P106 and what else can be said of the core alone, over the driver without hardware.

use crate::ops::{DomainKind, IommuOps, Prot};
use crate::semantics::{AttachOrder, AttachUnwind, MapShape, Ownership, SeriesIo, SeriesVfio};
use crate::testing::{Fw, TableDouble};
use crate::{
    CoreConfig, DeviceConfig, DeviceId, DomainId, Errno, FaultMode, GroupId, Grouping, IommuCore,
    Iova, Kernel, Paddr, Recording, Semantics,
};

const PAGE: u64 = 0x1000;
const RW: Prot = Prot(3);

fn core(semantics: Semantics) -> IommuCore<TableDouble> {
    let config = CoreConfig {
        default_domain: DomainKind::Dma,
        page_size: PAGE,
    };
    IommuCore::new(TableDouble::two(semantics), config)
}

fn every_semantics() -> Vec<(String, Semantics)> {
    let kernels = Kernel::ALL.map(|kernel| (format!("{kernel:?}"), Semantics::kernel(kernel)));
    let series = SeriesIo::ALL.map(|io| {
        let semantics = Semantics::posted_pair(SeriesVfio::V13, io);
        (format!("IO {io:?}"), semantics)
    });
    kernels
        .into_iter()
        .chain(series)
        .chain([("fixed".to_owned(), Semantics::fixed())])
        .collect()
}

/// A group of `count` devices behind instance 0.
fn group_of(core: &mut IommuCore<TableDouble>, count: usize) -> (GroupId, Vec<DeviceId>) {
    let mut devices: Vec<DeviceId> = Vec::new();
    for index in 0..count {
        let config = DeviceConfig {
            grouping: devices
                .first()
                .map_or(Grouping::Own, |first| Grouping::With(*first)),
            ..DeviceConfig::pci(&format!("0000:00:08.{index}"))
        };
        devices.push(core.add_device(config, &Fw::on(0)).unwrap());
    }
    let group = core.device(devices[0]).unwrap().group;
    (group, devices)
}

fn unmanaged(core: &mut IommuCore<TableDouble>, device: DeviceId) -> DomainId {
    core.domain_alloc(DomainKind::Unmanaged, device).unwrap()
}

fn fail_nth(core: &mut IommuCore<TableDouble>, name: &'static str, n: u64) {
    core.ops_mut().control_mut().faults.set(FaultMode::NthOf {
        name,
        n,
        errno: Some(Errno::ENOSPC),
    });
}

#[test]
fn p101_a_group_attach_that_fails_part_way_is_taken_back_as_each_kernel_does() {
    for (name, semantics) in every_semantics() {
        let unwind = semantics.core.attach_unwind;
        let order = semantics.driver.attach_order;
        let mut core = core(semantics);
        let (group, devices) = group_of(&mut core, 2);
        let old = core.group(group).unwrap().domain;
        let domain = unmanaged(&mut core, devices[0]);
        core.ops_mut().control_mut().journal.set(Recording::On);
        fail_nth(&mut core, "driver:attach", 1);
        assert_eq!(
            core.attach_group(domain, group),
            Err(Errno::ENOSPC),
            "{name}"
        );
        assert_eq!(core.group(group).unwrap().domain, old, "{name}");
        let now = |index: usize| core.ops().attached(devices[index]);
        let detached = if order == AttachOrder::DetachFirst {
            None
        } else {
            old
        };
        let reattached: Vec<_> = core
            .ops()
            .control()
            .journal
            .calls()
            .iter()
            .filter(|call| call.op == "iommu:attach_back")
            .map(|call| call.device.unwrap())
            .collect();
        match unwind {
            AttachUnwind::Stay => {
                assert_eq!((now(0), now(1)), (Some(domain), detached), "{name}");
                assert!(reattached.is_empty(), "{name}");
            }
            AttachUnwind::AllBack => {
                assert_eq!((now(0), now(1)), (old, old), "{name}");
                assert_eq!(reattached, devices, "{name}");
            }
            AttachUnwind::EarlierBack => {
                assert_eq!((now(0), now(1)), (old, detached), "{name}");
                assert_eq!(reattached, devices[..1], "{name}");
            }
        }
    }
}

#[test]
fn p102_a_group_that_is_attached_elsewhere_is_busy() {
    for (name, semantics) in every_semantics() {
        let mut core = core(semantics);
        let (group, devices) = group_of(&mut core, 1);
        let first = unmanaged(&mut core, devices[0]);
        let second = unmanaged(&mut core, devices[0]);
        core.attach_group(first, group).unwrap();
        assert_eq!(
            core.attach_group(second, group),
            Err(Errno::EBUSY),
            "{name}"
        );
        core.detach_group(first, group);
        assert_eq!(core.attach_group(second, group), Ok(()), "{name}");
    }
}

#[test]
fn p103_an_owned_group_refuses_other_owners_and_kernel_drivers() {
    for (name, semantics) in every_semantics() {
        let owned = semantics.core.ownership == Ownership::Claimed;
        let mut core = core(semantics);
        let (group, devices) = group_of(&mut core, 2);
        core.use_default_domain(devices[0]).unwrap();
        let claimed = core.claim_dma_owner(group, 1);
        assert_eq!(claimed.is_err(), owned, "{name}: a kernel driver has it");
        core.unuse_default_domain(devices[0]);
        core.claim_dma_owner(group, 1).unwrap();
        if !owned {
            continue;
        }
        assert_eq!(core.claim_dma_owner(group, 2), Err(Errno::EPERM), "{name}");
        assert_eq!(
            core.use_default_domain(devices[1]),
            Err(Errno::EBUSY),
            "{name}"
        );
        let blocked = core.ops().dma(devices[0], 0, Prot::READ);
        assert!(blocked.is_err(), "{name}");
        core.release_dma_owner(group);
        assert_eq!(core.use_default_domain(devices[1]), Ok(()), "{name}");
    }
}

// iommu_device_claim_dma_owner(), iommu_device_release_dma_owner().
#[test]
fn devices_of_a_group_are_claimed_one_by_one_on_behalf_of_one_owner() {
    for (name, semantics) in every_semantics() {
        if semantics.core.ownership == Ownership::None {
            continue;
        }
        let mut core = core(semantics);
        let (group, devices) = group_of(&mut core, 2);
        core.claim_device_owner(devices[0], 7).unwrap();
        let other = core.claim_device_owner(devices[1], 8);
        assert_eq!(other, Err(Errno::EPERM), "{name}");
        assert_eq!(core.claim_dma_owner(group, 7), Err(Errno::EPERM), "{name}");
        core.claim_device_owner(devices[1], 7).unwrap();
        core.release_device_owner(devices[0]);
        assert!(core.dma_owner_claimed(group), "{name}");
        let default = core.group(group).unwrap().default_domain;
        assert_ne!(core.group(group).unwrap().domain, default, "{name}");
        core.release_device_owner(devices[1]);
        assert!(!core.dma_owner_claimed(group), "{name}");
        assert_eq!(core.group(group).unwrap().domain, default, "{name}");
        core.claim_device_owner(devices[1], 8).unwrap();
    }
}

#[test]
fn p104_large_pages_are_used_where_they_fit_and_a_failure_on_the_last_removes_the_first() {
    const LARGE: u64 = 1 << 21;
    for (name, semantics) in every_semantics() {
        let shape = semantics.core.map_shape;
        let mut core = core(semantics);
        let (group, devices) = group_of(&mut core, 1);
        let domain = unmanaged(&mut core, devices[0]);
        core.attach_group(domain, group).unwrap();
        let size = LARGE + PAGE;
        core.map(domain, Iova(LARGE), Paddr(1 << 30), size, RW)
            .unwrap();
        assert_eq!(
            core.ops().mappings(domain),
            [
                (LARGE, 1 << 30, LARGE),
                (2 * LARGE, (1 << 30) + LARGE, PAGE)
            ],
            "{name}"
        );
        assert_eq!(core.unmap(domain, Iova(LARGE), size), size, "{name}");
        fail_nth(&mut core, "driver:map", 1);
        let failed = core.map(domain, Iova(LARGE), Paddr(1 << 30), size, RW);
        assert_eq!(failed, Err(Errno::ENOSPC), "{name}");
        assert_eq!(core.ops().mappings(domain), [], "{name}");
        // Three equal pages are one call to the driver, or three.
        core.ops_mut().control_mut().faults.set(FaultMode::Count);
        core.map(domain, Iova(0), Paddr(PAGE), 3 * PAGE, RW)
            .unwrap();
        let steps = core.ops().control().faults.steps();
        let calls = steps.iter().filter(|step| **step == "iommu:map_pages");
        let expected = match shape {
            MapShape::OnePage => 3,
            MapShape::EqualPages => 1,
        };
        assert_eq!(calls.count(), expected, "{name}");
    }
}

#[test]
fn p105_unmapping_stops_at_a_hole() {
    for (name, semantics) in every_semantics() {
        let mut core = core(semantics);
        let (group, devices) = group_of(&mut core, 1);
        let domain = unmanaged(&mut core, devices[0]);
        core.attach_group(domain, group).unwrap();
        for page in [0, 1, 3] {
            let at = Iova(0x10_0000 + page * PAGE);
            core.map(domain, at, Paddr(page << 20), PAGE, RW).unwrap();
        }
        let removed = core.unmap(domain, Iova(0x10_0000), 4 * PAGE);
        assert_eq!(removed, 2 * PAGE, "{name}");
        assert_eq!(core.ops().mappings(domain).len(), 1, "{name}");
    }
}

#[test]
fn p106_an_address_beyond_the_input_size_is_erange_and_changes_nothing() {
    for (name, semantics) in every_semantics() {
        let mut core = core(semantics);
        let (group, devices) = group_of(&mut core, 1);
        let domain = unmanaged(&mut core, devices[0]);
        core.attach_group(domain, group).unwrap();
        let before = core.clone();
        let last = (1 << 48) - PAGE;
        let across = core.map(domain, Iova(last), Paddr(0), 2 * PAGE, RW);
        assert_eq!(across, Err(Errno::ERANGE), "{name}");
        // The page that fitted was taken out again and the caches were told.
        assert_eq!(core, before, "{name}");
        assert_eq!(
            core.map(domain, Iova(last), Paddr(0), PAGE, RW),
            Ok(()),
            "{name}"
        );
    }
}

#[test]
fn mapping_refuses_what_is_misaligned_or_no_paging_domain() {
    for (name, semantics) in every_semantics() {
        let mut core = core(semantics);
        let (_, devices) = group_of(&mut core, 1);
        let domain = unmanaged(&mut core, devices[0]);
        for (iova, paddr, size) in [(1, 0, PAGE), (0, 8, PAGE), (0, 0, PAGE / 2)] {
            let refused = core.map(domain, Iova(iova), Paddr(paddr), size, RW);
            assert_eq!(refused, Err(Errno::EINVAL), "{name}");
            assert_eq!(core.unmap(domain, Iova(iova), size | iova), 0, "{name}");
        }
        let identity = core.domain_alloc(DomainKind::Identity, devices[0]).unwrap();
        let refused = core.map(identity, Iova(0), Paddr(0), PAGE, RW);
        assert_eq!(refused, Err(Errno::EINVAL), "{name}");
    }
}

#[test]
fn a_device_alone_may_be_attached_by_itself_and_one_of_two_may_not() {
    for (name, semantics) in every_semantics() {
        let mut core = core(semantics);
        let (_, pair) = group_of(&mut core, 2);
        let domain = unmanaged(&mut core, pair[0]);
        assert_eq!(
            core.attach_device(domain, pair[0]),
            Err(Errno::EINVAL),
            "{name}"
        );
        let (_, single) = group_of(&mut core, 1);
        assert_eq!(core.attach_device(domain, single[0]), Ok(()), "{name}");
        let gone = core.attach_device(domain, DeviceId(999));
        assert_eq!(gone, Err(Errno::ENODEV), "{name}");
    }
}

#[test]
fn a_device_whose_probe_or_first_attach_fails_leaves_nothing() {
    for (name, semantics) in every_semantics() {
        let mut core = core(semantics);
        group_of(&mut core, 1);
        let before = core.clone();
        let mut rehearsal = core.clone();
        let control = rehearsal.ops_mut().control_mut();
        control.faults.set(FaultMode::Count);
        group_of(&mut rehearsal, 1);
        for n in 0..rehearsal.ops().control().faults.count() {
            let control = core.ops_mut().control_mut();
            control.faults.set(FaultMode::Nth { n, errno: None });
            let result = core.add_device(DeviceConfig::pci("0000:00:09.0"), &Fw::on(0));
            assert!(result.is_err(), "{name}: step {n}");
            assert_eq!(core, before, "{name}: step {n}");
        }
    }
}

#[test]
fn a_removed_device_takes_its_group_and_domains_along() {
    for (name, semantics) in every_semantics() {
        let mut core = core(semantics);
        let before = core.clone();
        let (group, devices) = group_of(&mut core, 2);
        core.claim_dma_owner(group, 1).unwrap();
        core.release_dma_owner(group);
        for device in devices {
            core.remove_device(device);
        }
        assert_eq!(core, before, "{name}");
    }
}
