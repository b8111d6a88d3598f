//! Runs made for a check: settings by name, reports back.

use std::sync::atomic::AtomicBool;

use smmu::timing::{LatencyClass, Report};

use crate::simulate::run::{Input, RunResult, timed};
use crate::simulate::settings::RunSettings;

/// A preset with some settings changed.
pub(super) fn settings(preset: &str, changes: &[&str]) -> RunSettings {
    let mut settings = RunSettings::preset(preset).expect("a preset of this crate");
    for change in changes {
        settings
            .apply_argument(change)
            .expect("a setting of this crate");
    }
    settings
}

/// Runs a generated workload.
pub(super) fn result(settings: &RunSettings) -> RunResult {
    let stop = AtomicBool::new(false);
    timed(settings, &Input::Generated, (), (&stop, &mut ())).expect("a workload of this crate")
}

/// Runs a generated workload.
pub(super) fn report(preset: &str, changes: &[&str]) -> Report {
    result(&settings(preset, changes)).report
}

/// Settings that switch every cache off, so that each transaction walks cold.
pub(super) const NO_CACHES: [&str; 5] = [
    "micro_tlb.entries=0",
    "main_tlb.entries=0",
    "configuration_cache.entries=0",
    "walk_cache.entries=0",
    "stage2_tlb.entries=0",
];

/// The latency of a class when nothing is in the way: the shortest.
pub(super) fn usual(report: &Report, class: LatencyClass) -> f64 {
    report.class(class).least_cycles().unwrap_or(0) as f64
}

/// The mean latency of all transactions.
pub(super) fn mean(report: &Report) -> f64 {
    report.latency_cycles as f64 / report.transactions_count as f64
}
