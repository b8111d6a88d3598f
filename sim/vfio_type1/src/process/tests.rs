//! What can be pinned, and where it lies.

use super::*;

const PAGE: u64 = 0x1000;

fn process() -> Process {
    Process {
        fds: BTreeMap::new(),
        regions: BTreeMap::new(),
        capabilities: vec![],
        life: Life::Running,
        locked_pages: 0,
        pinned_pages: 0,
        memlock_bytes: 0,
        mmap_top: 0x10_0000_0000,
        kernel_stack: KernelStack::new(),
    }
}

fn mode(write: PinWrite) -> PinMode {
    PinMode {
        write,
        read_only: ReadOnlyPin::ZeroPage,
        zero_frame: 0x5000,
        page_size: PAGE,
    }
}

#[test]
fn scattered_pages_use_every_frame_once_and_never_adjoin() {
    for pages in [1, 2, 3, 7, 8] {
        let mut process = process();
        let config = RegionConfig::ordinary(pages * PAGE);
        let at = process.insert_region(&config, 0, PAGE, PAGE).unwrap();
        let frames = process.frames(at, pages * PAGE, PAGE);
        let mut sorted: Vec<_> = frames.iter().flatten().map(|frame| frame.0).collect();
        assert!(pages < 3 || sorted.windows(2).all(|w| w[1] != w[0] + PAGE));
        sorted.sort_unstable();
        let span = pages.next_multiple_of(2);
        assert!(sorted.windows(2).all(|w| w[0] < w[1]));
        assert!(sorted.iter().all(|frame| *frame < span * PAGE));
    }
}

#[test]
fn a_run_ends_where_memory_ends_and_says_so() {
    let mut process = process();
    let config = RegionConfig {
        placement: Placement::Contiguous,
        ..RegionConfig::ordinary(4 * PAGE)
    };
    let at = process.insert_region(&config, 0x10000, PAGE, PAGE).unwrap();
    let run = process.pin_run(at + PAGE, 8, &mode(PinWrite::Yes)).unwrap();
    assert_eq!(
        (run.paddr.0, run.pages, run.then_faults),
        (0x11000, 3, true)
    );
    let run = process.pin_run(at, 2, &mode(PinWrite::Yes)).unwrap();
    assert_eq!((run.pages, run.then_faults), (2, false));
    process.unmap_memory(at + PAGE, PAGE, PAGE);
    let run = process.pin_run(at, 4, &mode(PinWrite::Yes)).unwrap();
    assert_eq!((run.pages, run.then_faults), (1, true));
    assert_eq!(
        process.pin_run(at + PAGE, 1, &mode(PinWrite::Yes)),
        Err(Errno::EFAULT)
    );
}

#[test]
fn untouched_private_memory_pins_the_zero_page_for_reading_until_it_is_written() {
    let mut process = process();
    let config = RegionConfig {
        population: Population::Untouched,
        ..RegionConfig::ordinary(2 * PAGE)
    };
    let at = process.insert_region(&config, 0x10000, PAGE, PAGE).unwrap();
    let run = process.pin_run(at, 1, &mode(PinWrite::No)).unwrap();
    assert_eq!((run.paddr.0, run.reserved), (0x5000, Reserved::Yes));
    assert_eq!(process.frames(at, PAGE, PAGE), [None]);
    process.touch(at, PAGE, Access::Write).unwrap();
    let run = process.pin_run(at, 1, &mode(PinWrite::No)).unwrap();
    assert_eq!((run.paddr.0, run.reserved), (0x10000, Reserved::No));
    process.pin_run(at + PAGE, 1, &mode(PinWrite::Yes)).unwrap();
    assert!(
        process
            .frames(at, 2 * PAGE, PAGE)
            .iter()
            .all(Option::is_some)
    );
}
