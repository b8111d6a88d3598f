//! MAP_DMA and UNMAP_DMA through the bytes of the ioctls, into a container with one domain of the
//! real driver. Memory is scattered: every 4 KiB page is a run of its own. The answer is asserted
//! before anything is timed: where the first and last pages lead, and what is left afterwards.
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

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

criterion_group!(benches, map);
criterion_main!(benches);
