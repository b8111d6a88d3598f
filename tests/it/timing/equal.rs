//! What must hold for any machine and any workload.

use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use smmu::cache::CacheConfig;
use smmu::timing::{Cause, LatencyClass, Report};
use smmu_sim::simulate::run::{Ending, Input, RunResult, Watch, functional, timed};
use smmu_sim::simulate::settings::{PRESETS, RunSettings};

pub(super) fn run(settings: &RunSettings) -> RunResult {
    let stop = AtomicBool::new(false);
    timed(settings, &Input::Generated, (), (&stop, &mut ())).unwrap()
}

/// Invariants of a report that need no reference.
pub(super) fn consistent(settings: &RunSettings, report: &Report) {
    // A latency stack's layers add up to the latency.
    assert_eq!(report.stack.total(), report.latency_cycles);
    let by_class: u64 = LatencyClass::ALL
        .iter()
        .map(|&class| report.class(class).histogram().len())
        .sum();
    assert_eq!(by_class, report.transactions_count);
    assert_eq!(report.transactions_count, settings.workload.transactions);
    let of_streams: u64 = report
        .streams
        .iter()
        .map(|(_, counts)| counts.by_class_count.iter().sum::<u64>())
        .sum();
    assert_eq!(of_streams, report.transactions_count);
    for tbu in &report.tbus {
        assert!(tbu.micro_tlb_misses_count <= tbu.micro_tlb_lookups_count);
        assert!(tbu.main_tlb_misses_count <= tbu.main_tlb_lookups_count);
    }
    for resource in &report.resources {
        let usage = &resource.usage;
        if resource.name.ends_with("slots") && resource.name != "events.write_slots" {
            assert!(usage.peak_count <= resource.capacity_count, "{resource:?}");
            let most = resource.capacity_count * report.cycles;
            assert!(usage.held_cycles <= most, "{resource:?}");
        }
    }
    let by_level: u64 = report.tcu.reads_by_level_count.iter().flatten().sum();
    assert_eq!(by_level, report.tcu.walk_reads_count);
    // Whoever waits for a walk slot is somebody's victim.
    let waited: u64 = report.walk_waits.iter().map(|(_, _, cycles)| cycles).sum();
    assert!(waited <= report.stack.get(Cause::WalkSlot));
}

prop_compose! {
    /// Small caches, few slots, odd latencies: everything that can be in the way is.
    pub(super) fn cramped()(
        preset in 0..PRESETS.len(),
        outstanding in 1u32..40,
        tbus in 1u32..4,
        slots in 1u32..12,
        walks in 1u32..5,
        requests in 1u32..9,
        micro in prop_oneof![Just(0u32), Just(4), Just(32)],
        main in prop_oneof![Just(0u32), Just(16), Just(256)],
        walk_cache in prop_oneof![Just(0u32), Just(8), Just(256)],
        configuration in prop_oneof![Just(0u32), Just(4)],
        hazard in prop_oneof![Just("off"), Just("translation")],
        completion in prop_oneof![Just("any"), Just("stream"), Just("all")],
        memory in 0u64..2000,
        round_trip in prop_oneof![Just(0u64), Just(1), Just(77)],
        seed in any::<u32>(),
    ) -> Vec<String> {
        vec![
            format!("preset={}", PRESETS[preset].name),
            format!("device.outstanding={outstanding}"),
            format!("device.round_trip_cycles={round_trip}"),
            format!("tbu.count={tbus}"),
            format!("tbu.slots={slots}"),
            format!("tbu.completion={completion}"),
            format!("tcu.walk_slots={walks}"),
            format!("tcu.request_slots={requests}"),
            format!("micro_tlb.entries={micro}"),
            "micro_tlb.ways=0".to_owned(),
            format!("main_tlb.entries={main}"),
            "main_tlb.ways=4".to_owned(),
            "main_tlb.policy=random".to_owned(),
            format!("walk_cache.entries={walk_cache}"),
            format!("configuration_cache.entries={configuration}"),
            format!("hazard.merge={hazard}"),
            format!("memory.latency_cycles={memory}"),
            format!("workload.seed={seed}"),
            format!("memory.seed={seed}"),
        ]
    }
}

prop_compose! {
    pub(super) fn workload()(
        pattern in prop_oneof![
            Just("stride"), Just("random"), Just("zipf"), Just("driver"), Just("tenants")
        ],
        stages in prop_oneof![Just("bypass"), Just("stage1"), Just("stage2"), Just("nested")],
        sharing in prop_oneof![Just("own"), Just("shared")],
        flush in prop_oneof![Just("strict"), Just("lazy"), Just("never")],
        streams in 1u32..5,
        pages in 40u32..200,
    ) -> Vec<String> {
        // A stream that nothing translates has no pages to unmap, and a guest's devices share no table.
        let pattern = match (stages, sharing) {
            ("bypass", _) | ("nested", "shared") if pattern == "driver" => "random",
            _ => pattern,
        };
        vec![
            format!("workload.pattern={pattern}"),
            format!("machine.stages={stages}"),
            format!("machine.sharing={sharing}"),
            format!("workload.flush={flush}"),
            format!("machine.streams={streams}"),
            format!("workload.pages={pages}"),
            "workload.per_buffer=5".to_owned(),
            "workload.flush_pages=9".to_owned(),
            "workload.writes=300".to_owned(),
            "workload.transactions=1500".to_owned(),
        ]
    }
}

pub(super) fn settings(changes: impl IntoIterator<Item = String>) -> RunSettings {
    let mut settings = RunSettings::default();
    for change in changes {
        match change.strip_prefix("preset=") {
            Some(preset) => settings.apply(preset).unwrap(),
            None => settings.apply_argument(&change).unwrap(),
        }
    }
    settings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One machine, two drivers: the same outcome and the same event for every transaction.
    #[test]
    fn timed_and_functional_give_the_same_outcomes(
        machine in cramped(),
        workload in workload(),
    ) {
        let settings = settings(machine.into_iter().chain(workload));
        let in_time = run(&settings);
        consistent(&settings, &in_time.report);
        let at_once = functional(&settings, &Input::Generated, &CacheConfig::SMALL).unwrap();
        prop_assert_eq!(in_time.digest, at_once.digest);
        let cold = functional(&settings, &Input::Generated, &CacheConfig::OFF).unwrap();
        prop_assert_eq!(cold.digest, at_once.digest);
    }
}

#[test]
fn a_run_repeats_to_the_last_count() {
    let changes = [
        "workload.transactions=5000",
        "machine.streams=3",
        "memory.jitter_cycles=50",
        "memory.cache_hits=500",
        "workload.pattern=zipf",
    ];
    let settings = settings(changes.map(str::to_owned));
    assert_eq!(run(&settings).report, run(&settings).report);
}

/// Stops a run at its second look.
struct Impatient<'a>(&'a AtomicBool, u32);

impl Watch for Impatient<'_> {
    fn progress(&mut self, _done: u64, _all: Option<u64>) {
        self.1 += 1;
        if self.1 == 2 {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

#[test]
fn an_interrupted_run_is_valid_as_far_as_it_went_and_says_so() {
    let mut settings = RunSettings::default();
    settings.workload.transactions = 1_000_000;
    let stop = AtomicBool::new(false);
    let mut watch = Impatient(&stop, 0);
    let input = Input::Generated;
    let run = timed(&settings, &input, (), (&stop, &mut watch)).unwrap();
    assert_eq!(run.ending, Ending::Interrupted);
    let report = &run.report;
    assert!(report.transactions_count > 1000 && report.transactions_count < 1_000_000);
    settings.workload.transactions = report.transactions_count;
    consistent(&settings, report);
}

/// Two streams that use equal addresses are not one translation: neither waits for the other.
#[test]
fn misses_of_different_streams_are_never_merged() {
    let changes = [
        "machine.streams=2",
        "workload.pattern=stride",
        "workload.pages=64",
        "workload.transactions=128",
        "device.outstanding=2",
        "workload.bytes=4096",
    ];
    let report = run(&settings(changes.map(str::to_owned))).report;
    assert_eq!(report.tbus[0].merged_count, 0);
    assert_eq!(report.tbus[0].requests_count, 128);
}

/// A block is one entry wherever it is used: 512 pages of it miss once.
#[test]
fn a_2_mib_block_needs_one_main_tlb_entry() {
    let changes = [
        "machine.page_log2=21",
        "workload.pages=1",
        "workload.pattern=stride",
        "workload.transactions=2000",
        "micro_tlb.entries=0",
        "device.outstanding=1",
    ];
    let report = run(&settings(changes.map(str::to_owned))).report;
    assert_eq!(report.tbus[0].main_tlb_misses_count, 1);
}
