//! MAP_DMA and UNMAP_DMA through the bytes of the ioctls, into a container with one domain of the
//! real driver. Memory is scattered: every 4 KiB page is a run of its own. The answer is asserted
//! before anything is timed: where the first and last pages lead, and what is left afterwards.
//! Before that, `map/memory` prints what a mapping of 64 GiB costs the simulator in resident memory,
//! against the bytes of tables the driver has for it.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]
#![allow(
    clippy::cast_precision_loss,
    reason = "ratios are shown to three digits"
)]
#![allow(clippy::print_stdout, reason = "criterion measures no memory")]

use std::hint::black_box;
use std::time::Duration;

use arm_smmu_v3::Driver;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use iommu_core::{IommuOps, Iova, Kernel};
use smmu_sim::board::Board;
use smmu_sim::type1::{MachineConfig, Player};
use vfio_type1::api::{IommuType, Mapping, Rights};
use vfio_type1::{Pid, RegionConfig, Vfio};

const PAGE: u64 = 4096;
const IOVA: u64 = 1 << 32;

/// A process with `size` bytes of memory and a container with one group.
#[derive(Clone)]
struct Ready {
    vfio: Vfio<Driver<Board>>,
    pid: Pid,
    container: i32,
    mapping: Mapping,
}

impl Ready {
    fn new(kernel: Kernel, size: u64) -> Self {
        let config = MachineConfig::new(kernel, PAGE);
        let player = Player::<Driver<Board>>::new(&config).unwrap();
        let mut vfio = player.vfio().clone();
        let pid = vfio.spawn();
        let group = vfio.core().groups().next().unwrap().0;
        let mut call = vfio.caller(pid);
        let container = call.open_container().unwrap();
        let group = call.open_group(group).unwrap();
        call.set_container(group, container).unwrap();
        call.set_iommu(container, IommuType::Type1V2).unwrap();
        let memory = RegionConfig::ordinary(size);
        let vaddr = vfio.host_mut().map_memory(pid, &memory, PAGE).unwrap();
        Self {
            vfio,
            pid,
            container,
            mapping: Mapping {
                iova: IOVA,
                vaddr,
                size,
                rights: Rights::ReadWrite,
            },
        }
    }

    fn map(&mut self) {
        let (container, mapping) = (self.container, self.mapping);
        self.vfio.caller(self.pid).map(container, mapping).unwrap();
    }

    fn unmap(&mut self) {
        let (container, size) = (self.container, self.mapping.size);
        let unmapped = self.vfio.caller(self.pid).unmap(container, IOVA, size);
        assert_eq!(unmapped, Ok(size));
    }

    fn assert_answer(&mut self) {
        let size = self.mapping.size;
        self.map();
        let view = self.vfio.container(self.pid, self.container).unwrap();
        let domain = view.type1().unwrap().domains().next().unwrap().0;
        let process = self.vfio.host().process(self.pid);
        let vaddr = self.mapping.vaddr;
        for offset in [0, PAGE, size - PAGE] {
            let leads = self
                .vfio
                .core()
                .ops()
                .iova_to_phys(domain, Iova(IOVA + offset));
            assert_eq!(leads, process.frames(vaddr + offset, PAGE, PAGE)[0]);
        }
        assert_eq!(self.vfio.host().pins().count(), size / PAGE);
        assert_eq!(process.locked_pages(), size / PAGE);
        self.unmap();
        let leads = self.vfio.core().ops().iova_to_phys(domain, Iova(IOVA));
        assert_eq!(leads, None);
        assert_eq!(self.vfio.host().pins().count(), 0);
    }
}

/// Memory of the simulator over the bytes of the tables themselves, at most.
const MEMORY_GOAL: f64 = 1.3;

/// Resident bytes of this process, now and at most so far. `None` where there is no `/proc`.
fn resident() -> Option<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = |key: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(key))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some((kib("VmRSS:")? << 10, kib("VmHWM:")? << 10))
}

/// What MAP_DMA of 64 GiB at 4 KiB pages adds to the process: tables, which lie in the simulated
/// RAM, and whatever else the simulator keeps. The simulated process has no array of its pages:
/// where a page lies is computed, so the 64 GiB themselves cost nothing.
fn memory(_: &mut Criterion) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for kernel in [Kernel::V6_1, Kernel::V7_2] {
        let Some((start, _)) = resident() else {
            return;
        };
        let mut ready = Ready::new(kernel, 64 << 30);
        let tables = |ready: &Ready| ready.vfio.core().ops().platform().used_bytes();
        let (machine, before) = (resident().unwrap().0, tables(&ready));
        ready.map();
        let (after, peak) = resident().unwrap();
        let tables = tables(&ready) - before;
        let grown = after.saturating_sub(machine);
        let ratio = grown as f64 / tables as f64;
        println!(
            "map/memory/4k/scattered/64g/{kernel:?}: {ratio:.3} x the tables' bytes (goal: at most \
             {MEMORY_GOAL}): {:.1} MiB of tables, {:.1} MiB more in the process, {:.1} MiB at the \
             most; the machine itself before: {:.1} MiB",
            mib(tables),
            mib(grown),
            mib(peak.saturating_sub(machine)),
            mib(machine.saturating_sub(start)),
        );
        ready.unmap();
    }
}

fn map(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("map");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(5));
    for (name, size) in [
        ("256m", 256 << 20),
        ("4g", 4_u64 << 30),
        ("64g", 64_u64 << 30),
    ] {
        for kernel in [Kernel::V6_1, Kernel::V7_2] {
            let mut ready = Ready::new(kernel, size);
            ready.assert_answer();
            group.throughput(Throughput::Elements(size / PAGE));
            group.bench_function(format!("type1/4k/scattered/{name}/{kernel:?}"), |bencher| {
                bencher.iter_batched_ref(
                    || Ready::new(kernel, size),
                    Ready::map,
                    BatchSize::PerIteration,
                );
            });
            group.bench_function(
                format!("type1-unmap/4k/scattered/{name}/{kernel:?}"),
                |bencher| {
                    bencher.iter_batched_ref(
                        || {
                            let mut ready = Ready::new(kernel, size);
                            ready.map();
                            ready
                        },
                        Ready::unmap,
                        BatchSize::PerIteration,
                    );
                },
            );
        }
    }
    black_box(&mut group);
    group.finish();
}

criterion_group!(benches, memory, map);
criterion_main!(benches);
