//! What a container over `/dev/iommu` answers where type1 answers otherwise.

use iommu_core::ops::Prot;
use zerocopy::IntoBytes;

use super::*;
use crate::abi::{self, map_flags, unmap_flags};

pub(super) const IOVA: u64 = 0x10_0000;

/// A container over `/dev/iommu` that the groups of these devices have joined, and their files.
pub(super) fn joined(bench: &mut Bench, indexes: &[usize]) -> (i32, Vec<i32>) {
    let container = bench.call().open_iommufd().unwrap();
    let groups = indexes.iter().map(|index| {
        let group = bench.open_group(*index);
        bench.call().set_container(group, container).unwrap();
        group
    });
    let groups = groups.collect();
    (container, groups)
}

pub(super) fn open(bench: &mut Bench, group: i32, index: usize) -> Result<i32, Errno> {
    let device = bench.vfio.core().device(bench.devices[index]).unwrap();
    let name = device.name.clone();
    bench.call().open_device(group, &name)
}

/// MAP_DMA in bytes instead of pages.
pub(super) fn map_bytes(
    bench: &mut Bench,
    container: i32,
    iova: u64,
    vaddr: u64,
    size: u64,
) -> Result<(), Errno> {
    let mapping = Mapping {
        iova,
        vaddr,
        size,
        rights: Rights::ReadWrite,
    };
    bench.call().map(container, mapping)
}

fn latest() -> Semantics {
    Semantics::kernel(Kernel::V7_2)
}

/// Kernels that have the file.
pub(super) fn every_iommufd() -> Vec<(String, Semantics)> {
    use iommu_core::semantics::Iommufd;
    let mut all = every_semantics();
    all.retain(|(_, semantics)| semantics.vfio.iommufd != Iommufd::Absent);
    all
}

#[test]
fn the_file_exists_from_6_2_on() {
    for (name, semantics) in every_semantics() {
        let present = every_iommufd().iter().any(|(other, _)| *other == name);
        let result = Bench::new(semantics, &[0]).call().open_iommufd();
        let expected = if present { Ok(3) } else { Err(Errno::ENOENT) };
        assert_eq!(result, expected, "{name}");
    }
    assert_eq!(every_iommufd().len(), 2);
}

// iopt_alloc_user_pages(): the order of two checks was exchanged after 6.12.
#[test]
fn a_length_beyond_all_memory_is_einval_or_eoverflow_by_version() {
    let length = 0_u64.wrapping_sub(PAGE);
    for (kernel, wrapping) in [
        (Kernel::V6_12, Errno::EINVAL),
        (Kernel::V7_2, Errno::EOVERFLOW),
    ] {
        let mut bench = Bench::new(Semantics::kernel(kernel), &[0]);
        let (container, _) = joined(&mut bench, &[0]);
        let mut map = |vaddr, size| map_bytes(&mut bench, container, 0, vaddr, size);
        assert_eq!(map(PAGE, length), Err(wrapping), "{kernel:?}");
        assert_eq!(map(0, length), Err(Errno::EINVAL), "{kernel:?}");
        assert_eq!(map(0, 0), Err(Errno::EINVAL), "{kernel:?}");
        assert_eq!(map(length, PAGE), Err(Errno::EOVERFLOW), "{kernel:?}");
    }
}

// get_compat_ioas(): before a group joins there is no address space.
#[test]
fn without_a_group_there_is_nothing_to_work_on() {
    for (name, semantics) in every_iommufd() {
        let mut bench = Bench::new(semantics, &[0]);
        let container = bench.call().open_iommufd().unwrap();
        let vaddr = bench.memory(1);
        let type1 = bench.call().set_iommu(container, IommuType::Type1);
        assert_eq!(type1, Err(Errno::ENODEV), "{name}");
        let nesting = bench.call().set_iommu(container, IommuType::Nesting);
        assert_eq!(nesting, Err(Errno::EINVAL), "{name}");
        assert_eq!(bench.map(container, IOVA, vaddr, 1), Err(Errno::ENODEV));
        let unmap = bench.call().unmap(container, IOVA, PAGE);
        assert_eq!(unmap, Err(Errno::ENODEV), "{name}");
        // Once one did, the space stays, and what is mapped in it.
        let group = bench.open_group(0);
        bench.call().set_container(group, container).unwrap();
        bench.map(container, IOVA, vaddr, 1).unwrap();
        bench.call().close(group).unwrap();
        assert_eq!(
            bench.call().unmap(container, IOVA, PAGE),
            Ok(PAGE),
            "{name}"
        );
    }
}

// iopt_disable_large_pages(): version 1 is a promise about areas to come.
#[test]
fn version_1_can_be_chosen_while_nothing_is_in_a_domain() {
    for (name, semantics) in every_iommufd() {
        let mut bench = Bench::new(semantics, &[0]);
        let (container, groups) = joined(&mut bench, &[0]);
        let vaddr = bench.memory(4);
        let device = open(&mut bench, groups[0], 0).unwrap();
        bench.map(container, IOVA, vaddr, 4).unwrap();
        let late = bench.call().set_iommu(container, IommuType::Type1);
        assert_eq!(late, Err(Errno::EINVAL), "{name}");
        bench.call().close(device).unwrap();
        map_bytes(&mut bench, container, 2 * IOVA, vaddr, 1).unwrap();
        let odd = bench.call().set_iommu(container, IommuType::Type1);
        assert_eq!(odd, Err(Errno::EADDRINUSE), "{name}");
        bench.call().unmap(container, 2 * IOVA, PAGE).unwrap();
        for kind in [IommuType::Type1, IommuType::Type1V2, IommuType::Type1] {
            bench.call().set_iommu(container, kind).unwrap();
        }
        // It stays chosen.
        assert_eq!(bench.call().unmap(container, IOVA + PAGE, PAGE), Ok(PAGE));
        let odd = map_bytes(&mut bench, container, 2 * IOVA, vaddr, 1);
        assert_eq!(odd, Err(Errno::EINVAL), "{name}");
    }
}

// iopt_area_split(): the cut must lie between pages, and an address that begins an area cuts
// nothing.
#[test]
fn version_1_refuses_a_cut_within_a_page() {
    let mut bench = Bench::new(latest(), &[0]);
    let (container, _) = joined(&mut bench, &[0]);
    bench.call().set_iommu(container, IommuType::Type1).unwrap();
    let vaddr = bench.memory(4);
    bench.map(container, IOVA, vaddr, 4).unwrap();
    let mut unmap = |iova, size| {
        let unmap = abi::DmaUnmap {
            argsz: 24,
            flags: 0,
            iova,
            size,
        };
        let mut user = UserBuffer::new(unmap.as_bytes().to_vec());
        let (pid, at) = (bench.pid, user.at.0);
        let result = bench
            .vfio
            .ioctl(pid, container, abi::IOMMU_UNMAP_DMA, at, &mut user);
        (result, abi::read::<abi::DmaUnmap>(&user.bytes).size)
    };
    assert_eq!(
        unmap(IOVA, 2 * PAGE + 8),
        (Err(Errno::EINVAL), 2 * PAGE + 8)
    );
    assert_eq!(unmap(IOVA + 8, 8 * PAGE), (Err(Errno::EINVAL), 8 * PAGE));
    assert_eq!(unmap(IOVA, 1), (Err(Errno::ENOENT), 0));
    assert_eq!(unmap(IOVA + 1, 8 * PAGE), (Err(Errno::ENOENT), 0));
    assert_eq!(unmap(IOVA, 0), (Err(Errno::EINVAL), 0));
    let wraps = 0_u64.wrapping_sub(PAGE);
    assert_eq!(unmap(IOVA + PAGE, wraps), (Err(Errno::EOVERFLOW), 0));
    assert_eq!(unmap(IOVA, 8 * PAGE), (Ok(0), 4 * PAGE));
}

// iopt_area_index_to_iova(), batch_to_domain(): where the IOMMU's pages are smaller than the
// CPU's, an area may begin and end within a page, which is pinned once.
#[test]
fn parts_of_large_pages_are_mapped_where_the_iommu_has_smaller_ones() {
    const CPU_PAGE: u64 = 0x1_0000;
    let config = CoreConfig {
        default_domain: DomainKind::Dma,
        page_size: CPU_PAGE,
    };
    let sizes = 1 << 12 | 1 << 21 | 1 << 30;
    let double = TableDouble::new(latest(), &[Stages::Both, Stages::Both], sizes);
    let mut core = IommuCore::new(double, config);
    let devices: Vec<DeviceId> = (0..2)
        .map(|index| {
            let device = DeviceConfig::pci(&format!("0000:00:0{index}.0"));
            core.add_device(device, &Fw::on(index)).unwrap()
        })
        .collect();
    let mut vfio = Vfio::new(core, HostConfig::with_page_size(CPU_PAGE));
    for device in &devices {
        vfio.bind(*device).unwrap();
    }
    vfio.host_mut().track_pins(PinTracking::EachFrame);
    let pid = vfio.spawn();
    let mut bench = Bench { vfio, pid, devices };
    let (container, groups) = joined(&mut bench, &[0, 1]);
    let config = RegionConfig::ordinary(8 * CPU_PAGE);
    let host = bench.vfio.host_mut();
    let vaddr = host.map_memory(pid, &config, CPU_PAGE).unwrap();
    let frames = host.process(pid).frames(vaddr, 8 * CPU_PAGE, CPU_PAGE);
    let (first, last) = (CPU_PAGE - 0x3000, 6 * CPU_PAGE + 0x2000);
    let (start, size) = (vaddr + first, last - first);
    // Before there is a domain, with one, and with two.
    for (iova, index) in [(IOVA, 0), (0x100_0000, 1)] {
        map_bytes(&mut bench, container, iova, start, size).unwrap();
        open(&mut bench, groups[index], index).unwrap();
    }
    map_bytes(&mut bench, container, 0x200_0000, start, size).unwrap();
    assert_eq!(bench.vfio.host().pins().count(), 3 * 7);
    assert_eq!(bench.vfio.host().process(pid).pinned_pages(), 3 * 7);
    for iova in [IOVA, 0x100_0000, 0x200_0000] {
        for at in (0..size).step_by(0x1000) {
            let frame = frames[((first + at) / CPU_PAGE) as usize].unwrap();
            let expected = frame.add((first + at) % CPU_PAGE);
            for device in &bench.devices {
                let reached = bench.ops().dma(*device, iova + at, Prot::WRITE);
                assert_eq!(reached, Ok(expected), "{iova:#x} + {at:#x}");
            }
        }
    }
    let removed = bench.call().unmap(container, 0, 1 << 40).unwrap();
    assert_eq!(removed, 3 * size);
    assert_eq!(bench.vfio.host().pins().frames().count(), 0);
    assert_eq!(bench.vfio.host().process(pid).pinned_pages(), 0);
}

// iommufd_vfio_map_dma(), iommufd_vfio_unmap_dma(): no address is withdrawn, no page reported dirty.
#[test]
fn flags_and_ioctls_of_type1_alone_are_refused() {
    let mut bench = Bench::new(latest(), &[0]);
    let (container, _) = joined(&mut bench, &[0]);
    let vaddr = bench.memory(1);
    for flags in [map_flags::VADDR, 8, 1 << 31] {
        let map = abi::DmaMap {
            argsz: 32,
            flags,
            vaddr,
            iova: IOVA,
            size: PAGE,
        };
        let result = bench.raw(container, abi::IOMMU_MAP_DMA, map.as_bytes());
        assert_eq!(result, Err(Errno::EINVAL), "{flags}");
    }
    for flags in [unmap_flags::GET_DIRTY_BITMAP, unmap_flags::VADDR, 8] {
        let unmap = abi::DmaUnmap {
            argsz: 48,
            flags,
            iova: IOVA,
            size: PAGE,
        };
        let result = bench.raw(container, abi::IOMMU_UNMAP_DMA, unmap.as_bytes());
        assert_eq!(result, Err(Errno::EINVAL), "{flags}");
    }
    let dirty = bench.raw(container, abi::IOMMU_DIRTY_PAGES, &[8, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(dirty, Err(Errno::ENOTTY));
}

// iommufd_fops_ioctl(): what comes before the ioctl itself.
#[test]
fn ioctls_of_iommufd_itself_are_refused_as_far_as_they_are_known() {
    let mut bench = Bench::new(latest(), &[0]);
    let container = bench.call().open_iommufd().unwrap();
    let size = |size: u32| size.to_le_bytes();
    for (cmd, bytes, expected) in [
        (0x3b85, &[][..], Errno::EFAULT),
        (0x1285, &[][..], Errno::EFAULT),
        (0x1285, &size(40)[..], Errno::ENOTTY),
        (0x3b85, &size(39)[..], Errno::EINVAL),
        (0x3b85, &size(40)[..], Errno::EOPNOTSUPP),
        (0x3b95, &[][..], Errno::ENOTTY),
        (0x3b7f, &[][..], Errno::ENOTTY),
    ] {
        assert_eq!(bench.raw(container, cmd, bytes), Err(expected), "{cmd:#x}");
    }
}

// iommufd_vfio_iommu_get_info(): capabilities are written as far as they fit, and pointed at if
// all do.
#[test]
fn capabilities_appear_with_the_room_for_them() {
    // Below and above the window for doorbells: two ranges.
    const TOTAL: usize = 24 + 16 + 16 + 2 * 16;
    let mut bench = Bench::new(latest(), &[0]);
    let (container, groups) = joined(&mut bench, &[0]);
    open(&mut bench, groups[0], 0).unwrap();
    for room in 16..TOTAL + 8 {
        let mut bytes = vec![0xa5; TOTAL + 8];
        bytes[..4].copy_from_slice(&(room as u32).to_le_bytes());
        let mut user = UserBuffer::new(bytes);
        let (pid, at) = (bench.pid, user.at.0);
        let cmd = abi::IOMMU_GET_INFO;
        bench
            .vfio
            .ioctl(pid, container, cmd, at, &mut user)
            .unwrap();
        let word = |at: usize| u32::from_le_bytes(user.bytes[at..at + 4].try_into().unwrap());
        let unless = |written: bool, value: u32| if written { value } else { 0xa5a5_a5a5 };
        let all = room >= TOTAL;
        assert_eq!(word(0), TOTAL as u32, "{room}");
        let offset = unless(room >= 20, if all { 24 } else { 0 });
        assert!(room < 20 || word(16) == offset, "{room}: offset");
        assert_eq!(word(32), unless(room >= 36, u32::MAX), "{room}: avail");
        let next = if room >= 40 { 40 } else { 0 };
        assert_eq!(word(28), unless(room >= 36, next), "{room}: next");
        assert_eq!(word(40), unless(all, 1 << 16 | 1), "{room}: head");
        assert_eq!(word(48), unless(all, 2), "{room}: count");
        assert_eq!(word(56), unless(room >= 72, 0), "{room}: first range");
        assert_eq!(word(72), unless(all, 0x810_0000), "{room}: second range");
    }
}

#[test]
fn groups_of_mediated_devices_cannot_join() {
    let mut bench = Bench::new(latest(), &[0]);
    bench.vfio.unbind(bench.devices[0]).unwrap();
    bench.vfio.bind_emulated(bench.devices[0]).unwrap();
    let container = bench.call().open_iommufd().unwrap();
    let group = bench.open_group(0);
    let result = bench.call().set_container(group, container);
    assert_eq!(result, Err(Errno::EINVAL));
}
