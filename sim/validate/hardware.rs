//! V4 and V5: what pcie-bench measured on real machines.
//!
//! One cycle is a tenth of a nanosecond here, so that fits of measured times lose nothing.

use super::runs::{mean, report, settings};
use super::{Checks, Effort, bytes, figure, rows};

const LATENCY: &str = include_str!("reference/pcie_latency.tsv");
const BANDWIDTH: &str = include_str!("reference/pcie_bandwidth.tsv");

const WINDOWS: [&str; 10] = [
    "8K", "256K", "512K", "1M", "1.5M", "2M", "4M", "8M", "16M", "64M",
];

const CYCLES_PER_NS: f64 = 10.0;

/// Cycles of a hit and of what a walk adds to its memory read, in the preset.
fn fixed_parts() -> (f64, f64) {
    let timing = settings("intel-vtd", &[]).timing;
    let hit = timing.tbu.port_cycles + timing.main_tlb.latency_cycles;
    let walk =
        timing.walk_cache.latency_cycles + timing.memory.request_cycles + timing.tcu.step_cycles;
    (hit as f64, walk as f64)
}

/// V4: one read at a time. The miss costs what the fit says; the TLB has as many entries.
pub(super) fn latency(checks: &mut Checks, effort: Effort) {
    let (hit, walk) = fixed_parts();
    let timing = settings("intel-vtd", &[]).timing;
    let way = (2 * timing.link.latency_cycles + timing.configuration_cache.latency_cycles) as f64;
    let transactions = match effort {
        Effort::Full => 60_000,
        Effort::Quick => 20_000,
    };
    for row in rows(LATENCY) {
        let round_trip = figure(row[2]) * CYCLES_PER_NS - hit;
        let memory = figure(row[3]) * CYCLES_PER_NS - way - walk;
        for (window, measured) in WINDOWS.iter().zip(&row[4..]) {
            let pages = bytes(window) / 4096;
            let changes = [
                format!("main_tlb.entries={}", row[1]),
                format!("device.round_trip_cycles={round_trip:.0}"),
                format!("memory.latency_cycles={memory:.0}"),
                format!("workload.pages={pages}"),
                format!("workload.transactions={transactions}"),
                "device.outstanding=1".to_owned(),
            ];
            let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
            let report = report("intel-vtd", &changes);
            let ours = (mean(&report) + round_trip) / CYCLES_PER_NS;
            let what = format!("{}, window {window}", row[0]);
            checks.within("V4", what, (figure(measured), ours), "ns", 1.0);
        }
    }
}

/// Entries, hit and walk of the bandwidth runs: Broadwell's fit, and the walk its plateau needs.
const BROADWELL_ENTRIES: &str = "117";
const BROADWELL_HIT_NS: f64 = 611.9;
const BROADWELL_WALK_NS: f64 = 312.0;

/// V5: as many reads at once as the device sends, six walks at once. In order and without merging, as
/// the preset says; with merging for comparison.
pub(super) fn bandwidth(checks: &mut Checks, effort: Effort) {
    let (hit, walk) = fixed_parts();
    let round_trip = BROADWELL_HIT_NS * CYCLES_PER_NS - hit;
    let memory = BROADWELL_WALK_NS * CYCLES_PER_NS - walk;
    let transactions = match effort {
        Effort::Full => 200_000,
        Effort::Quick => 60_000,
    };
    let rate = |window: &str, more: &[&str]| {
        let changes = [
            format!("main_tlb.entries={BROADWELL_ENTRIES}"),
            format!("device.round_trip_cycles={round_trip:.0}"),
            format!("memory.latency_cycles={memory:.0}"),
            format!("workload.pages={}", bytes(window) / 4096),
            format!("workload.transactions={transactions}"),
        ];
        let mut all: Vec<&str> = changes.iter().map(String::as_str).collect();
        all.extend(more);
        let report = report("intel-vtd", &all);
        report.transactions_count as f64 / report.cycles as f64 * CYCLES_PER_NS * 1000.0
    };
    let mut errors = Vec::new();
    for row in rows(BANDWIDTH) {
        let measured = figure(row[1]);
        let ours = rate(row[0], &[]);
        errors.push((100.0 * (ours - measured) / measured).abs());
        // A point outside the plateau counts in the mean only.
        let tolerance = if row[2] == "1" { 5.0 } else { 100.0 };
        let what = format!("window {}", row[0]);
        checks.within("V5", what, (measured, ours), "reads/us", tolerance);
    }
    let mean_error = errors.iter().sum::<f64>() / errors.len() as f64;
    checks.within(
        "V5",
        "mean error of the curve, allowed 10 %",
        (0.0, mean_error),
        "per cent",
        100.0,
    );
    if let Some(last) = checks.0.last_mut() {
        last.passed = mean_error <= 10.0;
    }
    let merged = rate("1M", &["hazard.merge=translation", "tbu.completion=any"]);
    let apart = rate("1M", &[]);
    checks.holds(
        "V5",
        format!(
            "merging and overtaking would give {merged:.2} instead of {apart:.2} reads/us at 1M"
        ),
        merged > apart,
    );
}
