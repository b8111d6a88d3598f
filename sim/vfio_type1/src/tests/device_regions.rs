//! The response region (linux-iommu.md 1.11, D24, D27) and what GET_IRQ_INFO lets out (D25).

use iommu_core::ops::PageResponse;
use iommu_core::{Defect, Errno, KernelBug};

use super::fault_ring::open_nested;
use super::*;
use crate::{FREED_PAGES_USED, NO_PAGES_MAPPED, Pages, abi};

const RESPONSES: u64 = 10 << 40;
const NAME: &str = "0000:00:00.0";

/// A device ioctl on this many bytes, `argsz` among them, about `index`; what comes back.
fn ask(bench: &mut Bench, fd: i32, cmd: u32, argsz: u32, index: u32) -> Vec<u8> {
    let mut user = UserBuffer::new(vec![0xee; 256]);
    user.bytes[..4].copy_from_slice(&argsz.to_le_bytes());
    user.bytes[8..12].copy_from_slice(&index.to_le_bytes());
    let at = user.at.0;
    bench.vfio.ioctl(bench.pid, fd, cmd, at, &mut user).unwrap();
    user.bytes
}

fn answer(version: u32, grpid: u32, code: u32) -> Vec<u8> {
    [24, version, 0, 0, grpid, code]
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect()
}

// linux-iommu.md 1.11: 512 entries of 24 bytes behind a header page; type, subtype and capability.
#[test]
fn the_response_region_says_what_it_is() {
    for (name, semantics) in every_series() {
        let (mut bench, fd) = open_nested(semantics);
        let bytes = ask(&mut bench, fd, abi::DEVICE_GET_REGION_INFO, 255, 10);
        let info: abi::RegionInfo = abi::read(&bytes);
        assert_eq!((info.size, info.offset), (4 * PAGE, RESPONSES), "{name}");
        let mut capabilities = vec![];
        let mut at = info.cap_offset as usize;
        while at != 0 {
            let header: abi::CapHeader = abi::read(&bytes[at..]);
            capabilities.push(header.id);
            if header.id == 2 {
                assert_eq!(bytes[at + 12], 2, "{name}: subtype");
            }
            at = header.next as usize;
        }
        let collides = bench.has(Defect::RegionIdsCollide);
        assert_eq!(capabilities, [2, 1, if collides { 6 } else { 7 }], "{name}");
        let header = bench.vfio.pread(bench.pid, fd, RESPONSES, 20).unwrap();
        let words: Vec<u32> = header
            .chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(words, [0, 24, 512, PAGE as u32, 0], "{name}");
    }
}

// linux-iommu.md 1.11: the write of head sends every answer on and ignores what becomes of it.
#[test]
fn writing_the_head_hands_each_new_answer_to_the_driver_once() {
    for (name, semantics) in every_series() {
        let (mut bench, fd) = open_nested(semantics);
        let (pid, device) = (bench.pid, bench.devices[0]);
        let answers = [answer(1, 7, 0), answer(2, 8, 0), answer(1, 9, 1)].concat();
        let stored = bench
            .vfio
            .store_responses(pid, fd, RESPONSES + PAGE, &answers);
        assert_eq!(stored, Ok(()), "{name}");
        assert_eq!(bench.vfio.core_mut().ops_mut().take_answered(), []);
        for (head, expected) in [(2_u32, vec![(7, 0)]), (3, vec![(9, 1)]), (3, vec![])] {
            let head = head.to_le_bytes();
            let written = bench.vfio.pwrite(pid, fd, RESPONSES, &head);
            assert_eq!(written, Ok(()), "{name}");
            // The answer of an unknown version is dropped without a word.
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(grpid, code)| {
                    let response = PageResponse {
                        pasid: 0,
                        grpid,
                        code,
                    };
                    (device, response)
                })
                .collect();
            let answered = bench.vfio.core_mut().ops_mut().take_answered();
            assert_eq!(answered, expected, "{name}");
        }
        let region = bench.vfio.response_region(device).unwrap();
        assert_eq!(region.positions(), Some((3, 3)), "{name}");
        // Only the head, only within the ring; the header cannot be mapped.
        for (offset, bytes) in [(0, &[0, 2, 0, 0][..]), (4, &[1, 0, 0, 0]), (0, &[1; 8])] {
            let written = bench.vfio.pwrite(pid, fd, RESPONSES + offset, bytes);
            assert_eq!(written, Err(Errno::EINVAL), "{name}");
        }
        for (offset, expected) in [
            (0, Err(Errno::EINVAL)),
            (PAGE, Ok(())),
            (4 * PAGE, Err(Errno::EINVAL)),
        ] {
            let mapped = bench.vfio.mmap_device(pid, fd, RESPONSES + offset, PAGE);
            assert_eq!(mapped, expected, "{name}: {offset:#x}");
        }
    }
}

fn nested_group(semantics: Semantics) -> (Bench, i32) {
    let mut bench = Bench::new(semantics, &[0]);
    let (_, groups) = bench.container(IommuType::Nesting, &[0]);
    (bench, groups[0])
}

fn fail_at(bench: &mut Bench, name: &'static str) {
    bench.fail(FaultMode::NthOf {
        name,
        n: 0,
        errno: None,
    });
}

// linux-iommu.md D24: no memory for the work item, and yet the device opens.
#[test]
fn d24_a_response_region_without_its_work_item_has_freed_pages() {
    for (name, semantics) in every_series() {
        let (mut bench, group) = nested_group(semantics);
        let before = bench.clone();
        fail_at(&mut bench, "vfio:alloc_response_work");
        let opened = bench.call().open_device(group, NAME);
        if !bench.has(Defect::RegionErrorPaths) {
            assert_eq!(opened, Err(Errno::ENOMEM), "{name}");
            assert_eq!(bench, before, "{name}: nothing is left");
            continue;
        }
        let fd = opened.unwrap();
        let (pid, device) = (bench.pid, bench.devices[0]);
        let region = bench.vfio.response_region(device).unwrap();
        assert_eq!(region.pages(), Pages::Freed, "{name}");
        // It is advertised like any other.
        let bytes = ask(&mut bench, fd, abi::DEVICE_GET_REGION_INFO, 255, 10);
        let info: abi::RegionInfo = abi::read(&bytes);
        assert_eq!(info.size, 4 * PAGE, "{name}");
        assert_eq!(bench.ops().control().bug, None, "{name}");
        // What is refused before the pages are looked at still is.
        let beyond = bench.vfio.pread(pid, fd, RESPONSES + 4 * PAGE, 4);
        assert_eq!(beyond, Err(Errno::EINVAL), "{name}");
        for (touch, bug) in [
            (touch_by_reading as Touch, FREED_PAGES_USED),
            (touch_by_writing, FREED_PAGES_USED),
            (touch_by_mapping, NO_PAGES_MAPPED),
        ] {
            let mut bench = bench.clone();
            assert_eq!(touch(&mut bench, fd), Err(KernelBug::ERRNO), "{name}");
            assert_eq!(bench.ops().control().bug, Some(bug), "{name}");
        }
    }
}

type Touch = fn(&mut Bench, i32) -> Result<(), Errno>;

fn touch_by_reading(bench: &mut Bench, fd: i32) -> Result<(), Errno> {
    bench.vfio.pread(bench.pid, fd, RESPONSES, 4).map(drop)
}

fn touch_by_writing(bench: &mut Bench, fd: i32) -> Result<(), Errno> {
    bench.vfio.pwrite(bench.pid, fd, RESPONSES, &[0; 4])
}

fn touch_by_mapping(bench: &mut Bench, fd: i32) -> Result<(), Errno> {
    let at = RESPONSES + PAGE;
    bench.vfio.mmap_device(bench.pid, fd, at, PAGE)
}

// linux-iommu.md D24: the other error paths; the open fails, and the work item is lost.
#[test]
fn d24_the_work_item_of_a_response_region_is_never_freed() {
    for (name, semantics) in every_series() {
        let (mut bench, group) = nested_group(semantics);
        let leaks = u64::from(bench.has(Defect::RegionErrorPaths));
        let before = bench.clone();
        for (step, lost) in [
            ("vfio:alloc_fault_region", 0),
            ("vfio:alloc_response_region", 0),
            ("vfio:create_response_queue", leaks),
        ] {
            let mut bench = bench.clone();
            fail_at(&mut bench, step);
            let opened = bench.call().open_device(group, NAME);
            assert_eq!(opened, Err(Errno::ENOMEM), "{name}: {step}");
            assert_eq!(bench.vfio.leaked_work_items(), lost, "{name}: {step}");
            assert_eq!(bench == before, lost == 0, "{name}: {step}");
            assert_eq!(bench.vfio.response_region(bench.devices[0]), None);
        }
        for rounds in 1..=3 {
            let fd = bench.call().open_device(group, NAME).unwrap();
            bench.vfio.close(bench.pid, fd).unwrap();
            assert_eq!(bench.vfio.leaked_work_items(), rounds * leaks, "{name}");
        }
        assert_eq!(bench == before, leaks == 0, "{name}");
    }
}

fn irq_info(bench: &mut Bench, fd: i32, argsz: u32, index: u32) -> [u8; 4] {
    let bytes = ask(bench, fd, abi::DEVICE_GET_IRQ_INFO, argsz, index);
    bytes[16..20].try_into().unwrap()
}

// linux-iommu.md D25: what the ioctl before had where cap_offset is.
#[test]
fn d25_an_interrupt_without_capabilities_shows_four_bytes_of_stack() {
    for (name, semantics) in every_series() {
        let (mut bench, fd) = open_nested(semantics);
        let leaks = bench.has(Defect::IrqInfoUninitialised);
        let shown = |stale: u32| if leaks { stale } else { 0 }.to_le_bytes();
        // A size: GET_REGION_INFO has it there.
        ask(&mut bench, fd, abi::DEVICE_GET_REGION_INFO, 32, 9);
        let size = 9 * PAGE as u32;
        assert_eq!(irq_info(&mut bench, fd, 20, 0), shown(size), "{name}");
        // It was copied out and lies there still.
        assert_eq!(irq_info(&mut bench, fd, 20, 4), shown(size), "{name}");
        // An address: MAP_DMA has it there, for another file of the process.
        let memory = bench.memory(1);
        let other = bench.open_container();
        let refused = bench.map(other, 0x1234_5000, memory, 1);
        assert!(refused.is_err(), "{name}: no backend reads nothing");
        assert_eq!(irq_info(&mut bench, fd, 20, 0), shown(size), "{name}");
        let container = bench.vfio.host().process(bench.pid).descriptors().nth(3);
        bench
            .map(container.unwrap(), 0x1234_5000, memory, 1)
            .unwrap();
        let leaked = irq_info(&mut bench, fd, 20, 0);
        assert_eq!(leaked, shown(0x1234_5000), "{name}");
        // Another process has another stack.
        let other = bench.vfio.fork(bench.pid).unwrap();
        let first = std::mem::replace(&mut bench.pid, other);
        assert_eq!(irq_info(&mut bench, fd, 20, 0), [0; 4], "{name}");
        bench.pid = first;
        // Too small for it, or with capabilities, nothing comes out that should not.
        assert_eq!(irq_info(&mut bench, fd, 16, 0), [0xee; 4], "{name}");
        let offset = irq_info(&mut bench, fd, 255, 5);
        assert_eq!(offset, 20_u32.to_le_bytes(), "{name}");
        assert_eq!(irq_info(&mut bench, fd, 20, 5), [0; 4], "{name}");
    }
    // Without the series the structure has four words only.
    for (name, semantics) in every_kernel() {
        let mut bench = Bench::new(semantics, &[0]);
        let (_, groups) = bench.container(IommuType::Type1V2, &[0]);
        let fd = bench.call().open_device(groups[0], NAME).unwrap();
        assert_eq!(irq_info(&mut bench, fd, 20, 0), [0xee; 4], "{name}");
    }
}
