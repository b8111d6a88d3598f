//! Over `/dev/iommu`: who holds a device, and what opening one asks of what is mapped already.

use iommu_core::MsiIsolation;
use iommu_core::ops::Prot;

use super::iommufd::{IOVA, every_iommufd, joined, map_bytes, open};
use super::*;
use crate::UnsafeInterrupts;
use crate::process::Capability;

// vfio_group_ioctl_unset_container(), vfio_group_fops_release(): an open device holds the iommufd
// and not its group.
#[test]
fn an_open_device_keeps_its_mappings_whatever_is_closed_around_it() {
    for (name, semantics) in every_iommufd() {
        let mut bench = Bench::new(semantics, &[0]);
        let (container, groups) = joined(&mut bench, &[0]);
        let device = open(&mut bench, groups[0], 0).unwrap();
        let vaddr = bench.memory(2);
        bench.map(container, IOVA, vaddr, 2).unwrap();
        bench.call().unset_container(groups[0]).unwrap();
        assert_eq!(open(&mut bench, groups[0], 0), Err(Errno::EINVAL), "{name}");
        bench.call().close(groups[0]).unwrap();
        bench.call().close(container).unwrap();
        let reached = bench.ops().dma(bench.devices[0], IOVA, Prot::WRITE);
        assert!(reached.is_ok(), "{name}");
        assert_eq!(bench.vfio.host().pins().count(), 2, "{name}");
        // The group may be opened, but not given to somebody else.
        let again = bench.open_group(0);
        let other = bench.open_container();
        let refused = bench.call().set_container(again, other);
        assert_eq!(refused, Err(Errno::EPERM), "{name}");
        bench.call().close(device).unwrap();
        assert_eq!(bench.vfio.host().pins().count(), 0, "{name}");
        bench.call().set_container(again, other).unwrap();
        assert!(bench.vfio.iommufds.is_empty(), "{name}");
    }
}

// iommufd_device_bind(): ownership is the device's and counted, on behalf of the file.
#[test]
fn devices_of_one_group_belong_to_one_file() {
    for (name, semantics) in every_iommufd() {
        let config = CoreConfig {
            default_domain: DomainKind::Dma,
            page_size: PAGE,
        };
        let mut core = IommuCore::new(TableDouble::two(semantics), config);
        let first = DeviceConfig::pci("0000:00:08.0");
        let first = core.add_device(first, &Fw::on(0)).unwrap();
        let second = DeviceConfig {
            grouping: iommu_core::Grouping::With(first),
            ..DeviceConfig::pci("0000:00:08.1")
        };
        let second = core.add_device(second, &Fw::on(0)).unwrap();
        let mut vfio = Vfio::new(core, HostConfig::with_page_size(PAGE));
        vfio.bind(first).unwrap();
        vfio.bind(second).unwrap();
        let pid = vfio.spawn();
        let devices = vec![first, second];
        let mut bench = Bench { vfio, pid, devices };
        let (_, groups) = joined(&mut bench, &[0]);
        let mine = open(&mut bench, groups[0], 0).unwrap();
        // The group moves to another file; the device that is open stays where it is.
        bench.call().unset_container(groups[0]).unwrap();
        let other = bench.call().open_iommufd().unwrap();
        bench.call().set_container(groups[0], other).unwrap();
        assert_eq!(open(&mut bench, groups[0], 1), Err(Errno::EPERM), "{name}");
        bench.call().close(mine).unwrap();
        let one = open(&mut bench, groups[0], 0).unwrap();
        let two = open(&mut bench, groups[0], 1).unwrap();
        let at = |bench: &Bench, index: usize| bench.ops().attached(bench.devices[index]);
        assert_eq!(at(&bench, 0), at(&bench, 1), "{name}");
        let shared = at(&bench, 0);
        bench.call().close(one).unwrap();
        assert_eq!(
            at(&bench, 0),
            shared,
            "{name}: the other still uses the domain"
        );
        let group = bench.group_id(0);
        assert!(bench.vfio.core().dma_owner_claimed(group), "{name}");
        bench.call().close(two).unwrap();
        assert!(!bench.vfio.core().dma_owner_claimed(group), "{name}");
        assert_ne!(at(&bench, 0), shared, "{name}");
    }
}

// iommufd_device_bind(): asked when the device is opened, of a parameter of its own.
#[test]
fn interrupts_that_are_not_isolated_keep_a_device_closed() {
    for (name, semantics) in every_iommufd() {
        let config = CoreConfig {
            default_domain: DomainKind::Dma,
            page_size: PAGE,
        };
        let mut core = IommuCore::new(TableDouble::two(semantics), config);
        let device = DeviceConfig {
            msi: MsiIsolation::Shared,
            ..DeviceConfig::pci("0000:00:05.0")
        };
        let devices = vec![core.add_device(device, &Fw::on(0)).unwrap()];
        let mut vfio = Vfio::new(core, HostConfig::with_page_size(PAGE));
        vfio.bind(devices[0]).unwrap();
        let pid = vfio.spawn();
        let mut bench = Bench { vfio, pid, devices };
        let (_, groups) = joined(&mut bench, &[0]);
        let params = &mut bench.vfio.host_mut().params;
        params.unsafe_interrupts = UnsafeInterrupts::Allowed;
        assert_eq!(open(&mut bench, groups[0], 0), Err(Errno::EPERM), "{name}");
        let params = &mut bench.vfio.host_mut().params;
        params.iommufd_unsafe_interrupts = UnsafeInterrupts::Allowed;
        assert!(open(&mut bench, groups[0], 0).is_ok(), "{name}");
    }
}

/// What opening a device says to a mapping made before, and that nothing came of it.
fn opening_over(prepare: impl Fn(&mut Bench, i32), semantics: Semantics, firmware: &[Fw]) -> Errno {
    let mut bench = Bench::with(semantics, firmware);
    let (container, groups) = joined(&mut bench, &[0]);
    let warm = open(&mut bench, groups[0], 0).unwrap();
    bench.call().close(warm).unwrap();
    prepare(&mut bench, container);
    let before = bench.clone();
    let errno = open(&mut bench, groups[0], 0).unwrap_err();
    assert!(bench == before, "{errno}");
    errno
}

// iopt_reserve_iova(), iopt_check_iova_alignment(), pfn_reader_user_pin(), incr_user_locked_vm():
// what was mapped while there was no domain is looked at when there is one.
#[test]
fn what_was_mapped_without_a_device_is_judged_when_one_is_opened() {
    for (name, semantics) in every_iommufd() {
        let firmware = [Fw::on(0)];
        let window = iommu_core::ops::ResvRegion {
            start: iommu_core::Iova(0x800_0000),
            length: 0x10_0000,
            kind: iommu_core::ops::ResvType::SwMsi,
        };
        let reserved = [Fw {
            resv: vec![window],
            ..Fw::on(0)
        }];
        let over = |prepare: &dyn Fn(&mut Bench, i32), firmware: &[Fw]| {
            opening_over(prepare, semantics.clone(), firmware)
        };
        let within = |bench: &mut Bench, container: i32| {
            let vaddr = bench.memory(1);
            bench.map(container, 0x80f_f000, vaddr, 1).unwrap();
        };
        assert_eq!(over(&within, &reserved), Errno::EADDRINUSE, "{name}");
        let beyond = |bench: &mut Bench, container: i32| {
            let vaddr = bench.memory(1);
            bench.map(container, 1 << 60, vaddr, 1).unwrap();
        };
        assert_eq!(over(&beyond, &firmware), Errno::EADDRINUSE, "{name}");
        for (iova, offset, size) in [(IOVA, 0, 1), (IOVA + 1, 0, PAGE), (IOVA, 8, PAGE)] {
            let odd = |bench: &mut Bench, container: i32| {
                let vaddr = bench.memory(2) + offset;
                map_bytes(bench, container, iova, vaddr, size).unwrap();
            };
            assert_eq!(over(&odd, &firmware), Errno::EADDRINUSE, "{name}");
        }
        let missing = |bench: &mut Bench, container: i32| {
            let vaddr = bench.memory(4);
            bench.map(container, IOVA, vaddr, 2).unwrap();
            bench.map(container, 2 * IOVA, vaddr, 4).unwrap();
            let pid = bench.pid;
            let host = bench.vfio.host_mut();
            host.unmap_memory(pid, vaddr + 3 * PAGE, PAGE);
        };
        assert_eq!(over(&missing, &firmware), Errno::EFAULT, "{name}");
        let dear = |bench: &mut Bench, container: i32| {
            let vaddr = bench.memory(8);
            let pid = bench.pid;
            let process = bench.vfio.host_mut().process_mut(pid);
            process.drop_capability(Capability::IpcLock);
            process.set_memlock_bytes(7 * PAGE);
            bench.map(container, IOVA, vaddr, 4).unwrap();
            bench.map(container, 2 * IOVA, vaddr, 4).unwrap();
        };
        assert_eq!(over(&dear, &firmware), Errno::ENOMEM, "{name}");
        let orphaned = |bench: &mut Bench, container: i32| {
            let vaddr = bench.memory(1);
            let parent = bench.pid;
            bench.pid = bench.vfio.fork(parent).unwrap();
            bench.map(container, IOVA, vaddr, 1).unwrap();
            let child = bench.pid;
            bench.vfio.exit(child);
            bench.pid = parent;
        };
        assert_eq!(over(&orphaned, &firmware), Errno::EFAULT, "{name}");
    }
}
