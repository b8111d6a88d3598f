//! What a container over `/dev/iommu` maps: random sequences against a plain list of areas, and
//! every failure of every step.

use iommu_core::FaultMode;
use iommu_core::ops::Prot;
use zerocopy::IntoBytes;

use super::*;
use crate::abi;
use crate::process::Capability;
use crate::{Accounting, LargePages};

/// Pages of address space that sequences use.
const SPACE: u64 = 48;
const BASE: u64 = 0x40_0000;

/// A mapping as a reader of the rules would list it, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    first: u64,
    pages: u64,
    vaddr: u64,
}

impl Listed {
    fn end(&self) -> u64 {
        self.first + self.pages
    }

    fn meets(&self, first: u64, end: u64) -> bool {
        self.first < end && first < self.end()
    }
}

/// Devices 0 and 1 are behind one IOMMU, device 2 behind another; all in one container.
#[derive(Debug, Clone, PartialEq)]
struct World {
    bench: Bench,
    container: i32,
    groups: Vec<i32>,
    open: [Option<i32>; 3],
    kind: IommuType,
    vaddr: u64,
    list: Vec<Listed>,
}

impl World {
    fn new(kernel: Kernel, kind: IommuType, accounting: Accounting) -> Self {
        let mut bench = Bench::new(Semantics::kernel(kernel), &[0, 0, 1]);
        if accounting == Accounting::User {
            let process = bench.vfio.host_mut().process_mut(bench.pid);
            process.drop_capability(Capability::IpcLock);
            process.set_memlock_bytes(1000 * PAGE);
        }
        let container = bench.call().open_iommufd().unwrap();
        let groups: Vec<i32> = (0..3).map(|index| bench.open_group(index)).collect();
        for group in &groups {
            bench.call().set_container(*group, container).unwrap();
        }
        bench.call().set_iommu(container, kind).unwrap();
        let vaddr = bench.memory(SPACE);
        let mut world = Self {
            bench,
            container,
            groups,
            open: [None; 3],
            kind,
            vaddr,
            list: vec![],
        };
        // Blocking domains are made at the first claim and kept: have them from the start.
        for device in 0..3 {
            world.toggle(device).unwrap();
            world.toggle(device).unwrap();
        }
        world
    }

    /// Opens the device, or closes it.
    fn toggle(&mut self, device: usize) -> Result<(), Errno> {
        if let Some(fd) = self.open[device].take() {
            return self.bench.call().close(fd);
        }
        let name = format!("0000:00:{device:02x}.0");
        let fd = self.bench.call().open_device(self.groups[device], &name)?;
        self.open[device] = Some(fd);
        Ok(())
    }

    fn map(&mut self, first: u64, pages: u64, page: u64) -> Result<(), Errno> {
        let vaddr = self.vaddr + page * PAGE;
        self.bench
            .map(self.container, BASE + first * PAGE, vaddr, pages)
    }

    /// UNMAP_DMA: what it returned, and the bytes it says it removed.
    fn unmap(&mut self, first: u64, pages: u64) -> (Result<(), Errno>, u64) {
        let unmap = abi::DmaUnmap {
            argsz: 24,
            flags: 0,
            iova: BASE + first * PAGE,
            size: pages * PAGE,
        };
        let mut user = UserBuffer::new(unmap.as_bytes().to_vec());
        let at = user.at.0;
        let (pid, fd) = (self.bench.pid, self.container);
        let result = self
            .bench
            .vfio
            .ioctl(pid, fd, abi::IOMMU_UNMAP_DMA, at, &mut user);
        let after: abi::DmaUnmap = abi::read(&user.bytes);
        (result.map(drop), after.size)
    }

    /// What the list says of mapping, and the list after it.
    fn expect_map(&mut self, first: u64, pages: u64, page: u64) -> Result<(), Errno> {
        if self
            .list
            .iter()
            .any(|area| area.meets(first, first + pages))
        {
            return Err(Errno::EEXIST);
        }
        self.list.push(Listed {
            first,
            pages,
            vaddr: self.vaddr + page * PAGE,
        });
        self.list.sort_by_key(|area| area.first);
        Ok(())
    }

    /// What the list says of unmapping. Version 1 cuts at both ends; version 2 goes area by area
    /// until one reaches beyond the range.
    fn expect_unmap(&mut self, first: u64, pages: u64) -> (Result<(), Errno>, u64) {
        let end = first + pages;
        if self.kind == IommuType::Type1 {
            for at in [first, end] {
                if let Some(area) = self.list.iter_mut().find(|a| a.first < at && at < a.end()) {
                    let rest = Listed {
                        first: at,
                        pages: area.end() - at,
                        vaddr: area.vaddr + (at - area.first) * PAGE,
                    };
                    area.pages = at - area.first;
                    self.list.push(rest);
                }
            }
            self.list.sort_by_key(|area| area.first);
        }
        let mut removed = 0;
        while let Some(index) = self.list.iter().position(|area| area.meets(first, end)) {
            let area = self.list[index];
            if area.first < first || area.end() > end {
                return (Err(Errno::ENOENT), removed);
            }
            removed += area.pages * PAGE;
            self.list.remove(index);
        }
        (Ok(()), removed)
    }

    /// Every page is reached by every open device exactly as the list says; pins, counts and
    /// charges are the list's pages while a device is open, else none.
    fn check(&self, told: &dyn std::fmt::Debug) {
        let bench = &self.bench;
        let open: Vec<usize> = (0..3).filter(|index| self.open[*index].is_some()).collect();
        let process = bench.vfio.host().process(bench.pid);
        let mapped: u64 = self.list.iter().map(|area| area.pages).sum();
        let pinned = if open.is_empty() { 0 } else { mapped };
        assert_eq!(bench.vfio.host().pins().count(), pinned, "{told:?}");
        assert_eq!(process.pinned_pages(), pinned, "{told:?}");
        let limited = !process.is_capable(Capability::IpcLock);
        let charged = if limited { pinned } else { 0 };
        assert_eq!(bench.vfio.host().user_locked_pages(), charged, "{told:?}");
        assert_eq!(process.locked_pages(), 0, "{told:?}");
        let frames = process.frames(self.vaddr, SPACE * PAGE, PAGE);
        let mut pins: Vec<u64> = vec![0; SPACE as usize];
        for page in 0..SPACE {
            let area = self.list.iter().find(|area| area.meets(page, page + 1));
            let index = area.map(|area| (area.vaddr - self.vaddr) / PAGE + (page - area.first));
            if let Some(index) = index {
                pins[index as usize] += u64::from(!open.is_empty());
            }
            let expected = index.and_then(|index| frames[index as usize]);
            for device in &open {
                let iova = BASE + page * PAGE;
                let reached = bench.ops().dma(bench.devices[*device], iova, Prot::WRITE);
                assert_eq!(
                    reached.ok(),
                    expected,
                    "{told:?}: device {device} page {page}"
                );
            }
        }
        for (frame, count) in frames.iter().zip(pins) {
            let frame = frame.unwrap();
            assert_eq!(bench.vfio.host().pins().of(frame), count, "{told:?}");
        }
        let view = bench.vfio.iommufd(bench.pid, self.container).unwrap();
        let areas: Vec<(u64, u64, u64)> = view
            .ioas()
            .unwrap()
            .table()
            .areas()
            .map(|(iova, area)| ((iova - BASE) / PAGE, area.length() / PAGE, area.vaddr()))
            .collect();
        let list: Vec<_> = self
            .list
            .iter()
            .map(|area| (area.first, area.pages, area.vaddr))
            .collect();
        assert_eq!(areas, list, "{told:?}");
    }
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Each kind of container, kernel and accounting.
fn worlds() -> Vec<World> {
    let mut all = Vec::new();
    for kernel in [Kernel::V6_12, Kernel::V7_2] {
        for kind in [IommuType::Type1, IommuType::Type1V2] {
            for accounting in [Accounting::Unlimited, Accounting::User] {
                all.push(World::new(kernel, kind, accounting));
            }
        }
    }
    all
}

// iopt_map_user_pages(), iopt_cut_iova(), iopt_unmap_iova(), iopt_fill_domain(),
// iopt_unfill_domain().
#[test]
fn random_sequences_agree_with_a_plain_list_of_areas() {
    for (seed, mut world) in (0..).zip(worlds().into_iter().cycle().take(24)) {
        let mut dice = Dice(seed);
        for turn in 0..120 {
            let first = dice.below(SPACE - 8);
            let pages = 1 + dice.below(8);
            let told = (seed, turn, first, pages);
            match dice.below(8) {
                0..=3 => {
                    let page = dice.below(SPACE - 8);
                    let expected = world.expect_map(first, pages, page);
                    assert_eq!(world.map(first, pages, page), expected, "{told:?}");
                }
                4..=6 => {
                    let pages = pages + dice.below(8) * dice.below(2);
                    let expected = world.expect_unmap(first, pages);
                    assert_eq!(world.unmap(first, pages), expected, "{told:?}");
                }
                _ => world.toggle(dice.below(3) as usize).unwrap(),
            }
            world.check(&told);
        }
        for fd in world.open.into_iter().flatten() {
            world.bench.call().close(fd).unwrap();
        }
        for fd in world.groups.iter().chain([&world.container]) {
            world.bench.call().close(*fd).unwrap();
        }
        let host = world.bench.vfio.host();
        assert_eq!((host.pins().count(), host.user_locked_pages()), (0, 0));
        assert!(world.bench.vfio.iommufds.is_empty());
        // Each group keeps a default and a blocking domain.
        assert_eq!(world.bench.ops().domain_count(), 6);
    }
}

/// Operations to be failed, each on a world with three areas and some devices open.
#[derive(Debug, Clone, Copy)]
enum Failed {
    Open(usize),
    Map,
}

impl Failed {
    fn run(self, world: &mut World) -> Result<(), Errno> {
        match self {
            Self::Open(device) => world.toggle(device),
            Self::Map => world.map(20, 6, 8),
        }
    }
}

// The unwinding of iopt_area_fill_domains(), iopt_fill_domain(), iopt_table_add_domain(),
// iommufd_hw_pagetable_attach(), iommufd_device_bind().
#[test]
fn a_failure_at_any_step_leaves_areas_domains_pins_and_charges_as_they_were() {
    let cases = [
        (Failed::Open(0), &[][..]),
        (Failed::Open(1), &[0][..]),
        (Failed::Open(2), &[0][..]),
        (Failed::Map, &[][..]),
        (Failed::Map, &[0][..]),
        (Failed::Map, &[0, 2][..]),
    ];
    for mut world in worlds() {
        for (first, pages, page) in [(0, 4, 0), (8, 3, 2), (40, 2, 30)] {
            world.expect_map(first, pages, page).unwrap();
            world.map(first, pages, page).unwrap();
        }
        for (operation, open) in cases {
            let mut before = world.clone();
            for device in open {
                before.toggle(*device).unwrap();
            }
            let mut rehearsal = before.clone();
            rehearsal.bench.fail(FaultMode::Count);
            operation.run(&mut rehearsal).unwrap();
            let mut failures = 0;
            for n in 0..rehearsal.bench.ops().control().faults.count() {
                let mut attempt = before.clone();
                attempt.bench.fail(FaultMode::Nth { n, errno: None });
                let result = operation.run(&mut attempt);
                let step = attempt.bench.ops().control().faults.fired();
                // A device that one domain does not take may get another, so some succeed.
                if result.is_err() {
                    failures += 1;
                    assert!(
                        attempt == before,
                        "{operation:?} {open:?}: {step:?} {result:?}"
                    );
                } else {
                    attempt.check(&(operation, open, step));
                }
            }
            assert!(failures > 2, "{operation:?} {open:?}");
        }
    }
}

// iopt_area_split(): a failed cut may leave an earlier one, which maps and pins the same pages.
#[test]
fn a_failed_cut_changes_what_nobody_can_reach() {
    let mut world = World::new(Kernel::V7_2, IommuType::Type1, Accounting::Unlimited);
    world.map(0, 6, 0).unwrap();
    world.toggle(0).unwrap();
    for n in 0..2 {
        let mut attempt = world.clone();
        attempt.bench.fail(FaultMode::NthOf {
            name: "iommufd:split_area",
            n,
            errno: None,
        });
        let (result, size) = attempt.unmap(2, 2);
        assert_eq!((result, size), (Err(Errno::ENOMEM), 2 * PAGE), "{n}");
        let cuts = if n == 0 { &[][..] } else { &[4][..] };
        attempt.list = vec![Listed {
            first: 0,
            pages: cuts.first().copied().unwrap_or(6),
            vaddr: world.vaddr,
        }];
        attempt.list.extend(cuts.iter().map(|at| Listed {
            first: *at,
            pages: 6 - at,
            vaddr: world.vaddr + at * PAGE,
        }));
        attempt.check(&n);
    }
    let large = |world: &World| {
        let view = world.bench.vfio.iommufd(world.bench.pid, world.container);
        view.unwrap().ioas().unwrap().table().large_pages()
    };
    assert_eq!(large(&world), LargePages::Forbidden);
}
