//! P65–P68: the fault ring and its file. P69 and P70 are the driver's: which events reach it.

use iommu_core::ops::DeviceFault;
use iommu_core::{Defect, Errno};

use super::*;
use crate::abi;

const REGION: u64 = 9 << 40;

/// An open device of a nesting container.
pub(super) fn open_nested(semantics: Semantics) -> (Bench, i32) {
    let mut bench = Bench::new(semantics, &[0]);
    let (_, groups) = bench.container(IommuType::Nesting, &[0]);
    let device = bench.call().open_device(groups[0], "0000:00:00.0").unwrap();
    (bench, device)
}

fn fault(addr: u64) -> DeviceFault {
    DeviceFault::Unrecoverable {
        reason: 5,
        flags: 2,
        pasid: 0,
        perm: 1,
        addr,
        fetch_addr: 0,
    }
}

fn deliver(bench: &mut Bench, addr: u64) -> Result<(), Errno> {
    let device = bench.devices[0];
    bench.vfio.core_mut().ops_mut().raise(device, fault(addr));
    bench.vfio.run_event_threads();
    bench
        .vfio
        .core_mut()
        .ops_mut()
        .take_reported()
        .pop()
        .unwrap()
}

fn set_eventfd(bench: &mut Bench, fd: i32) {
    let words = [24_u32, 1 << 5 | 1 << 2, 5, 0, 1, 1];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bench.raw(fd, abi::DEVICE_SET_IRQS, &bytes).unwrap();
}

#[test]
fn p65_the_512th_record_does_not_fit_and_nobody_is_told() {
    for (name, semantics) in every_series() {
        let (mut bench, fd) = open_nested(semantics);
        set_eventfd(&mut bench, fd);
        for addr in 0..511 {
            assert_eq!(deliver(&mut bench, addr), Ok(()), "{name}");
        }
        let device = bench.devices[0];
        assert_eq!(bench.vfio.fault_signals(device), Some(511), "{name}");
        assert_eq!(deliver(&mut bench, 511), Err(Errno::ENOSPC), "{name}");
        let region = bench.vfio.fault_region(device).unwrap();
        assert_eq!(region.positions(), (511, 0), "{name}");
        assert_eq!(bench.vfio.fault_signals(device), Some(511), "{name}");
        let lost = bench.vfio.pread(bench.pid, fd, REGION + 20, 4).unwrap();
        let expected = u8::from(!bench.has(Defect::FaultQueueDrops));
        assert_eq!(lost, [expected, 0, 0, 0], "{name}");
        // Records are where the header says, in order.
        let record = bench.vfio.pread(bench.pid, fd, REGION + PAGE + 64 * 7, 64);
        assert_eq!(record.unwrap()[24], 7, "{name}");
    }
}

#[test]
fn p66_only_the_tail_may_be_written_and_only_within_the_ring() {
    for (name, semantics) in every_series() {
        let (mut bench, fd) = open_nested(semantics);
        deliver(&mut bench, 0).unwrap();
        let pid = bench.pid;
        let wrong: [(u64, &[u8]); 3] = [
            (0, &[0, 2, 0, 0]),
            (0, &[1, 0, 0, 0, 0, 0, 0, 0]),
            (4, &[1, 0, 0, 0]),
        ];
        for (offset, bytes) in wrong {
            let result = bench.vfio.pwrite(pid, fd, REGION + offset, bytes);
            assert_eq!(result, Err(Errno::EINVAL), "{name}");
        }
        let region = bench.vfio.fault_region(bench.devices[0]).unwrap();
        assert_eq!(region.positions(), (1, 0), "{name}");
        let fine = bench.vfio.pwrite(pid, fd, REGION, &[1, 0, 0, 0]);
        assert_eq!(fine, Ok(()), "{name}");
    }
}

#[test]
fn p67_the_records_can_be_mapped_and_the_header_cannot() {
    for (name, semantics) in every_series() {
        let (mut bench, fd) = open_nested(semantics);
        let mut map = |offset, length| {
            bench
                .vfio
                .mmap_device(bench.pid, fd, REGION + offset, length)
        };
        assert_eq!(map(0, PAGE), Err(Errno::EINVAL), "{name}");
        assert_eq!(map(PAGE, 8 * PAGE), Ok(()), "{name}");
        assert_eq!(map(PAGE, 9 * PAGE), Err(Errno::EINVAL), "{name}");
    }
}

#[test]
fn p68_a_tail_beyond_the_head_is_accepted_as_posted() {
    for (name, semantics) in every_series() {
        let (mut bench, fd) = open_nested(semantics);
        deliver(&mut bench, 0).unwrap();
        let pid = bench.pid;
        let result = bench.vfio.pwrite(pid, fd, REGION, &[3, 0, 0, 0]);
        if !bench.has(Defect::TailOvershoot) {
            assert_eq!(result, Err(Errno::EINVAL), "{name}");
            continue;
        }
        assert_eq!(result, Ok(()), "{name}");
        // Room is computed from the bogus tail: one record, then none.
        assert_eq!(deliver(&mut bench, 1), Ok(()), "{name}");
        assert_eq!(deliver(&mut bench, 2), Err(Errno::ENOSPC), "{name}");
    }
}

#[test]
fn a_nested_device_has_two_regions_and_one_interrupt_more() {
    for (name, semantics) in every_series() {
        let (mut bench, fd) = open_nested(semantics);
        let mut user = UserBuffer::new(vec![16; 16]);
        let at = user.at.0;
        let cmd = abi::DEVICE_GET_INFO;
        user.bytes[1..4].fill(0);
        bench.vfio.ioctl(bench.pid, fd, cmd, at, &mut user).unwrap();
        let info: abi::DeviceInfo = abi::read(&user.bytes);
        assert_eq!((info.num_regions, info.num_irqs), (11, 6), "{name}");
        // Region 9 says what it is, if there is room.
        let mut bytes = vec![0; 256];
        (bytes[0], bytes[8]) = (255, 9);
        let mut user = UserBuffer::new(bytes);
        let cmd = abi::DEVICE_GET_REGION_INFO;
        bench.vfio.ioctl(bench.pid, fd, cmd, at, &mut user).unwrap();
        let region: abi::RegionInfo = abi::read(&user.bytes);
        assert_eq!((region.size, region.offset), (9 * PAGE, REGION), "{name}");
        let kind = if bench.has(Defect::RegionIdsCollide) {
            2
        } else {
            4
        };
        assert_eq!(user.bytes[region.cap_offset as usize + 8], kind, "{name}");
        // Too little room: how much is needed, and no capability.
        let mut user = UserBuffer::new(vec![0; 32]);
        (user.bytes[0], user.bytes[8]) = (32, 9);
        bench.vfio.ioctl(bench.pid, fd, cmd, at, &mut user).unwrap();
        let region: abi::RegionInfo = abi::read(&user.bytes);
        assert!(region.argsz > 32 && region.cap_offset == 0, "{name}");
    }
    // Without nesting there is nothing of it.
    let mut bench = Bench::new(Semantics::fixed(), &[0]);
    let (_, groups) = bench.container(IommuType::Type1V2, &[0]);
    let fd = bench.call().open_device(groups[0], "0000:00:00.0").unwrap();
    assert_eq!(bench.vfio.fault_region(bench.devices[0]), None);
    let read = bench.vfio.pread(bench.pid, fd, REGION, 4);
    assert_eq!(read, Err(Errno::EINVAL));
}

#[test]
fn the_fault_interrupt_takes_one_eventfd_by_trigger_and_nothing_else() {
    for (name, semantics) in every_series() {
        let (mut bench, fd) = open_nested(semantics);
        // argsz, flags, index, start, count, eventfd.
        let cases: [([u32; 6], Result<u64, Errno>); 6] = [
            ([24, 1 << 5 | 1 << 2, 5, 0, 1, 1], Ok(0)),
            ([24, 1 << 5 | 1, 5, 0, 0, 0], Ok(0)),
            ([24, 1 << 3 | 1 << 2, 5, 0, 1, 1], Err(Errno::ENOTTY)),
            ([24, 1 << 5 | 1 << 2, 5, 1, 1, 1], Err(Errno::EINVAL)),
            ([24, 1 << 5 | 1 << 2, 5, 0, 2, 1], Err(Errno::EINVAL)),
            ([24, 1 << 5 | 1 << 2, 6, 0, 1, 1], Err(Errno::EINVAL)),
        ];
        for (words, expected) in cases {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let result = bench.raw(fd, abi::DEVICE_SET_IRQS, &bytes);
            assert_eq!(result, expected, "{name}: {words:?}");
        }
    }
}
