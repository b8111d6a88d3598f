//! What a simulated transaction costs the host, counts asserted first: `cargo bench --bench timing`.
//!
//! One element is one transaction; targets per CPU-second are 10 M micro TLB hits, 3 M main TLB hits
//! at 16 outstanding, 1 M cold nested walks of 24 reads, 2 M nested walks with walk caches.

#![allow(clippy::unwrap_used, reason = "a bench is a test")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use smmu::timing::{Machine, Operation};
use smmu_sim::simulate::settings::RunSettings;
use smmu_sim::workload::generator::Generator;
use smmu_sim::workload::world::{World, memory};

const BATCH: u64 = 10_000;

/// A case: its name, what it changes, and the descriptor reads of a batch when warm, at least and
/// at most.
const CASES: [(&str, &[&str], u64, u64); 5] = [
    ("micro-hit", &["workload.pages=16"], 0, 0),
    (
        "main-hit",
        &[
            "workload.pages=512",
            "main_tlb.ways=0",
            "micro_tlb.entries=4",
        ],
        0,
        0,
    ),
    (
        "stage1-walk-cached",
        &["workload.pages=16384", "workload.pattern=stride"],
        9_900,
        10_100,
    ),
    (
        "nested-walk-cached",
        &[
            "workload.pages=16384",
            "workload.pattern=stride",
            "machine.stages=nested",
        ],
        9_900,
        21_000,
    ),
    (
        "nested-walk-24",
        &[
            "workload.pages=16384",
            "workload.pattern=stride",
            "machine.stages=nested",
            "walk_cache.entries=0",
            "stage2_tlb.entries=0",
        ],
        24 * BATCH,
        24 * BATCH,
    ),
];

fn cases(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timing");
    group.throughput(Throughput::Elements(BATCH));
    for (name, changes, least, most) in CASES {
        for outstanding in [1u32, 16] {
            let mut settings = RunSettings::default();
            for change in changes {
                settings.apply_argument(change).unwrap();
            }
            settings.timing.device.outstanding = outstanding;
            // Merged misses would make fewer walks than transactions.
            settings.workload.transactions = u64::MAX >> 1;
            let ram = memory(&settings.machine);
            let (mut world, smmu) = World::new(&ram, &settings.machine).unwrap();
            let mut generator = Generator::new(&settings.workload, &mut world).unwrap();
            let mut machine = Machine::new(smmu, ram.port(), &settings.timing).unwrap();
            let mut batch: Vec<Operation> = Vec::new();
            let mut run = |machine: &mut Machine<_>| {
                batch.clear();
                batch.extend(generator.by_ref().take(BATCH as usize));
                machine.run(&mut batch.iter().copied());
            };
            for _ in 0..4 {
                run(&mut machine);
            }
            let before = machine.report().tcu.walk_reads_count;
            run(&mut machine);
            let reads = machine.report().tcu.walk_reads_count - before;
            assert!((least..=most).contains(&reads), "{name}: {reads} reads");
            group.bench_function(BenchmarkId::new(name, outstanding), |bencher| {
                bencher.iter(|| run(&mut machine));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, cases);
criterion_main!(benches);
