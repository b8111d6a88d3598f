//! What it costs that devices do not share a stage 2: N devices of one guest behind one SMMU, in a
//! container each with a stage 2 of its own, or all over one.

use std::time::{Duration, Instant};

use arm_smmu_v3::{Driver, SmmuId};
use iommu_core::{DomainId, Errno, GroupId, Semantics};
use smmu::Transaction;
use smmu::addr::Iova;
use smmu::ids::StreamId;
use smmu::observe::CacheKind;
use vfio_type1::api::{IommuType, Mapping, Rights};
use vfio_type1::{Pid, Placement, RegionConfig, Vfio};

use super::counted::Counted;
use super::point::{Counts, Grid, Origin, PageSize, Point, Sharing};
use crate::linux::LinuxMachine;
use crate::topology::PciAddress;

/// Runs the grid.
///
/// # Errors
/// The kernel's, on a machine too small for the grid.
pub fn run(grid: &Grid) -> Result<Vec<Point>, Errno> {
    let mut points = Vec::new();
    for &page in &grid.pages {
        for &memory_gib in &grid.memory_gib {
            for &devices in &grid.devices {
                for sharing in Sharing::ALL {
                    points.push(point(grid, devices, memory_gib, page, sharing)?);
                }
            }
        }
    }
    Ok(points)
}

fn point(
    grid: &Grid,
    devices: u64,
    memory_gib: u64,
    page: PageSize,
    sharing: Sharing,
) -> Result<Point, Errno> {
    let copies = match sharing {
        Sharing::PerContainer => devices,
        Sharing::Shared => 1,
    };
    let leaves = (memory_gib << 30) / page.bytes();
    let (counts, origin, map_time) = if leaves * copies <= grid.leaves_max {
        let (counts, time) = measure(devices, memory_gib, page, sharing)?;
        (counts, Origin::Measured, Some(time))
    } else {
        let counts = compute(devices, memory_gib, page, sharing, grid.leaves_max)?;
        (counts, Origin::Computed, None)
    };
    Ok(Point {
        devices,
        memory_gib,
        page,
        sharing,
        counts,
        origin,
        map_time,
    })
}

/// Without sharing every count is that of one device, times their number. A single copy that is too
/// large is told by three small runs: below level 1 each GiB has tables of its own, so counts are
/// linear; what level 1 and above add is the same for every page size, and read off a run with pages
/// of 1 GiB. `a_computed_point_is_what_would_be_measured` holds it against runs.
fn compute(
    devices: u64,
    memory_gib: u64,
    page: PageSize,
    sharing: Sharing,
    leaves_max: u64,
) -> Result<Counts, Errno> {
    let (together, times) = match sharing {
        Sharing::PerContainer => (1, devices),
        Sharing::Shared => (devices, 1),
    };
    let one = if (memory_gib << 30) / page.bytes() <= leaves_max {
        measure(together, memory_gib, page, sharing)?.0
    } else {
        let run = |gib, page| Ok(measure(together, gib, page, sharing)?.0.words());
        let (first, second) = (run(1, page)?, run(2, page)?);
        let (low, high) = (run(1, PageSize::G1)?, run(2, PageSize::G1)?);
        let giant = run(memory_gib, PageSize::G1)?;
        // Differences may be negative on the way; TLB entries are known without.
        let linear = |one: u64, two: u64| {
            one.wrapping_add(two.wrapping_sub(one).wrapping_mul(memory_gib - 1))
        };
        let word = |at: usize| {
            let upper = giant[at].wrapping_sub(linear(low[at], high[at]));
            linear(first[at], second[at]).wrapping_add(upper)
        };
        let mut counts = Counts::from_words(std::array::from_fn(word));
        counts.probes = PROBES;
        counts.tlb_entries = PROBES;
        counts
    };
    Ok(Counts::from_words(one.words().map(|count| count * times)).with_probes(one.probes))
}

/// Addresses each device touches at most.
const PROBES: u64 = 64;
/// Where guests of QEMU's virt machine have their memory.
const GUEST: u64 = 1 << 30;

struct Bench {
    vfio: Vfio<Driver<Counted>>,
    pid: Pid,
    groups: Vec<(i32, GroupId)>,
    /// Each with a share of the memory to map.
    containers: Vec<i32>,
}

/// As much as the largest guest of the grid takes twice.
const PROCESS_MEMORY: (u64, u64) = (2 << 40, 8 << 40);

fn address(index: u64) -> PciAddress {
    let slot = index + 1;
    PciAddress::new((slot >> 5) as u8, (slot & 31) as u8, 0)
}

fn stream(index: u64) -> StreamId {
    StreamId::new(address(index).requester_id())
}

impl Bench {
    fn new(devices: u64) -> Result<Self, Errno> {
        let mut builder = LinuxMachine::builder(Semantics::fixed())
            .process_memory(PROCESS_MEMORY.0, PROCESS_MEMORY.1);
        for index in 0..devices {
            builder = builder.device(address(index), SmmuId(0));
        }
        let mut machine = builder
            .build_on(Counted::new)
            .map_err(|error| error.errno())?;
        let mut groups = Vec::new();
        for index in 0..devices {
            let fd = machine.group(address(index))?;
            let device = machine.place(address(index)).device;
            let core = machine.vfio.core();
            groups.push((fd, core.device(device).ok_or(Errno::ENODEV)?.group));
        }
        let LinuxMachine { vfio, pid, .. } = machine;
        Ok(Self {
            vfio,
            pid,
            groups,
            containers: Vec::new(),
        })
    }

    fn attach(&mut self, sharing: Sharing) -> Result<(), Errno> {
        for index in 0..self.groups.len() {
            let (fd, group) = self.groups[index];
            let fresh = index == 0 || sharing == Sharing::PerContainer;
            if fresh {
                self.containers.push(self.vfio.open_container(self.pid)?);
            }
            let container = *self.containers.last().ok_or(Errno::EINVAL)?;
            let mut caller = self.vfio.caller(self.pid);
            caller.set_container(fd, container)?;
            if fresh {
                caller.set_iommu(container, IommuType::Nesting)?;
            }
            if sharing == Sharing::Shared {
                let parent = self.domain(container)?;
                let core = self.vfio.core_mut();
                let nested = core.domain_alloc_nested(parent)?;
                core.replace_group(nested, group)?;
            }
        }
        Ok(())
    }

    fn domain(&self, container: i32) -> Result<DomainId, Errno> {
        let type1 = self
            .vfio
            .container(self.pid, container)
            .and_then(|c| c.type1());
        let domain = type1.and_then(|type1| type1.domains().next());
        domain.map(|(domain, _)| domain).ok_or(Errno::EINVAL)
    }

    fn counters(&self) -> (u64, u64) {
        let platform = self.vfio.core().ops().platform();
        (platform.stores, platform.commands)
    }

    /// Stores and commands since the last call.
    fn lap(&mut self) -> (u64, u64) {
        let counters = self.counters();
        let platform = self.vfio.core_mut().ops_mut().platform_mut();
        (platform.stores, platform.commands) = (0, 0);
        counters
    }

    /// Each device reads the same addresses; entries the TLB then holds.
    fn tlb_entries(&mut self, size: u64, page: PageSize, probes: u64) -> u64 {
        let before = self.cached();
        let step = (size / page.bytes() / probes) * page.bytes();
        for index in 0..self.groups.len() as u64 {
            for probe in 0..probes {
                let address = Iova::new(GUEST + probe * step);
                let board = &mut self.vfio.core_mut().ops_mut().platform_mut().board;
                let outcome = board.access(SmmuId(0), &Transaction::read(stream(index), address));
                debug_assert!(outcome.pa().is_some());
            }
        }
        self.cached() - before
    }

    /// Translations that the TLB holds; tables in walk caches are not counted.
    fn cached(&self) -> u64 {
        let board = &self.vfio.core().ops().platform().board;
        let cached = board.smmu(SmmuId(0)).cached_translations();
        let leaf = |kind| matches!(kind, CacheKind::Tlb | CacheKind::Stage2Tlb);
        cached.filter(|(kind, _)| leaf(*kind)).count() as u64
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the host took is shown to people and goes nowhere else"
)]
fn host_clock() -> Instant {
    Instant::now()
}

fn measure(
    devices: u64,
    memory_gib: u64,
    page: PageSize,
    sharing: Sharing,
) -> Result<(Counts, Duration), Errno> {
    let size = memory_gib << 30;
    let mut bench = Bench::new(devices)?;
    let vaddr = bench.memory(size, page)?;
    let mut counts = Counts::default();
    bench.lap();
    bench.attach(sharing)?;
    (counts.attach_stores, counts.attach_commands) = bench.lap();
    let mapping = Mapping {
        iova: GUEST,
        vaddr,
        size,
        rights: Rights::ReadWrite,
    };
    let start = host_clock();
    for container in bench.containers.clone() {
        bench.vfio.caller(bench.pid).map(container, mapping)?;
    }
    let map_time = start.elapsed();
    (counts.map_stores, counts.map_commands) = bench.lap();
    for container in bench.containers.clone() {
        let domain = bench.domain(container)?;
        counts.table_bytes += bench.vfio.core().ops().table_bytes(domain);
    }
    counts.pinned_pages = bench.vfio.host().pins().count();
    counts.vmids = bench.vfio.core().ops().vmids_in_use(SmmuId(0)).into();
    counts.probes = PROBES.min(size / page.bytes());
    counts.tlb_entries = bench.tlb_entries(size, page, counts.probes);
    bench.lap();
    for container in bench.containers.clone() {
        let removed = bench.vfio.caller(bench.pid).unmap(container, GUEST, size)?;
        debug_assert_eq!(removed, size);
    }
    (counts.unmap_stores, counts.unmap_commands) = bench.lap();
    Ok((counts, map_time))
}

impl Bench {
    /// Memory whose runs are exactly such pages.
    fn memory(&mut self, size: u64, page: PageSize) -> Result<u64, Errno> {
        let placement = match page {
            PageSize::K4 => Placement::Scattered,
            PageSize::M2 | PageSize::G1 => Placement::Contiguous,
        };
        // Frames that begin 2 MiB beyond a boundary of 1 GiB fit no leaf of 1 GiB.
        let shift = match page {
            PageSize::M2 => PageSize::M2.bytes(),
            PageSize::K4 | PageSize::G1 => 0,
        };
        let region = RegionConfig {
            placement,
            ..RegionConfig::ordinary(size + shift)
        };
        let host = self.vfio.host_mut();
        let base = host.map_memory(self.pid, &region, PageSize::G1.bytes())?;
        Ok(base + shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_computed_point_is_what_would_be_measured() {
        // 513 GiB begin in one table of level 1 and end in another.
        for (devices, memory, page) in [
            (3, 5, PageSize::M2),
            (2, 512, PageSize::M2),
            (3, 512, PageSize::G1),
        ] {
            for sharing in Sharing::ALL {
                let (measured, _) = measure(devices, memory, page, sharing).unwrap();
                for most in [0, 1 << 30] {
                    let computed = compute(devices, memory, page, sharing, most).unwrap();
                    assert_eq!(computed, measured, "{page:?} {sharing:?} {most}");
                }
            }
        }
    }

    #[test]
    fn without_sharing_everything_but_the_attach_is_paid_once_a_device() {
        for page in [PageSize::M2, PageSize::G1] {
            let (own, _) = measure(4, 4, page, Sharing::PerContainer).unwrap();
            let (shared, _) = measure(4, 4, page, Sharing::Shared).unwrap();
            assert_eq!(own.table_bytes, 4 * shared.table_bytes);
            assert_eq!(own.map_stores, 4 * shared.map_stores);
            assert_eq!(own.pinned_pages, 4 * shared.pinned_pages);
            assert_eq!(own.tlb_entries, 4 * shared.tlb_entries);
            assert_eq!(shared.tlb_entries, shared.probes);
            assert_eq!((own.vmids, shared.vmids), (4, 1));
        }
    }
}
