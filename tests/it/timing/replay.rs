//! Recorded traces of real drivers, replayed functionally and in time: every answer the recording
//! defines is the model's.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use smmu::cache::CacheConfig;
use smmu_sim::simulate::run::{Input, functional, timed};
use smmu_sim::simulate::settings::RunSettings;
use smmu_sim::workload::recorded::Comparison;

fn input(name: &str) -> Input {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/traces");
    Input::Trace(PathBuf::from(format!("{folder}/{name}.head.csv.zst")))
}

fn in_time(name: &str, preset: &str) -> Comparison {
    let settings = RunSettings::preset(preset).unwrap();
    let stop = AtomicBool::new(false);
    let run = timed(&settings, &input(name), (), (&stop, &mut ())).unwrap();
    let report = &run.report;
    assert_eq!(report.stack.total(), report.latency_cycles);
    run.comparison.unwrap()
}

fn at_once(name: &str, caches: &CacheConfig) -> Comparison {
    let settings = RunSettings::default();
    let run = functional(&settings, &input(name), caches).unwrap();
    run.comparison.unwrap()
}

/// The recording machine's departures are named in docs/src/guide/check.md.
fn agrees(name: &str, departures: u64) {
    for comparison in [
        at_once(name, &CacheConfig::OFF),
        at_once(name, &CacheConfig::SMALL),
        at_once(name, &CacheConfig::INFINITE),
        in_time(name, "default"),
        in_time(name, "mmu-700"),
        in_time(name, "gem5"),
    ] {
        assert_eq!(comparison.differences, [], "{name}");
        assert_eq!(comparison.different_count, 0, "{name}");
        assert_eq!(comparison.known_count, departures, "{name}");
        assert_eq!(comparison.cached_count, 0, "{name}");
        assert_eq!(comparison.undefined_count, 0, "{name}");
        assert!(comparison.equal_count > 5_000, "{name}: {comparison:?}");
    }
}

#[test]
fn strict_invalidation_of_a_4k_kernel() {
    agrees("k61_strict", 0);
}

#[test]
fn lazy_invalidation_of_a_4k_kernel() {
    agrees("k61_lazy", 0);
}

#[test]
fn stage_2_alone() {
    agrees("k72_s2only", 0);
}

#[test]
fn a_16k_kernel() {
    agrees("k72_16k_strict", 0);
}

/// Beside the trace, own4k_nested.head.quirks.tsv lists answers that the recording machine got wrong.
/// Software of this recording marks pages as global and maps them otherwise for another ASID, so
/// warm answers may be another ASID's; and the recording machine raises APTable's faults before it
/// reads the leaf, so not every descriptor is defined.
#[test]
fn nested_translation_with_broken_tables() {
    let cold = at_once("own4k_nested", &CacheConfig::OFF);
    assert_eq!(cold.differences, []);
    assert_eq!(cold.cached_count, 0);
    assert!(cold.equal_count > 3_000, "{cold:?}");
    assert!(cold.undefined_count < cold.equal_count / 10, "{cold:?}");
    for warm in [
        at_once("own4k_nested", &CacheConfig::INFINITE),
        in_time("own4k_nested", "default"),
    ] {
        assert_eq!(warm.differences, []);
        assert!(warm.cached_count < warm.equal_count / 10, "{warm:?}");
    }
}

#[test]
fn a_log_of_qemu_is_read_directly_and_mapped_as_it_comes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/traces/qemu.log");
    let mut settings = RunSettings::default();
    settings.apply_argument("machine.streams=16").unwrap();
    let stop = AtomicBool::new(false);
    let input = Input::Trace(PathBuf::from(path));
    let run = timed(&settings, &input, (), (&stop, &mut ())).unwrap();
    assert_eq!(run.report.transactions_count, 3);
    assert_eq!(run.report.tcu.tlb_invalidations_count, 1);
    assert!(run.report.faults.is_empty());
}
