//! Results for programs: one JSON document, units in the keys.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use smmu::timing::{
    AtsCounts, Cause, Latencies, LatencyClass, LatencyStack, Matrix, Report, ResourceUsage,
    Settings as _, StreamCounts, TimingConfig, Usage,
};

use super::run::{Ending, FunctionalResult, RunResult};
use super::settings::RunSettings;
use crate::workload::recorded::Comparison;

/// Changes when a key changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// Percentiles that results list.
pub const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p95", 95.0),
    ("p99", 99.0),
    ("p999", 99.9),
];

/// The whole result.
pub fn result<P>(
    input: &str,
    settings: &RunSettings,
    run: &RunResult<P>,
    functional: Option<&FunctionalResult>,
) -> Value {
    let report = &run.report;
    json!({
        "schema_version": SCHEMA_VERSION,
        "program": concat!("smmu-sim ", env!("CARGO_PKG_VERSION")),
        "complete": run.ending == Ending::Complete,
        "input": input,
        "settings": resolved(settings),
        "totals": totals(report),
        "latency_cycles": latencies(report),
        "latency_stack_cycles": stack(&report.stack),
        "tbus": report.tbus.iter().map(tbu).collect::<Vec<_>>(),
        "tcu": tcu(report),
        "ats": report.ats.as_ref().map(ats),
        "memory": memory(report),
        "streams": report.streams.iter().map(|(id, counts)| stream(id.get(), counts)).collect::<Vec<_>>(),
        "vmids": vmids(report),
        "resources": report.resources.iter().map(resource).collect::<Vec<_>>(),
        "faults_count": faults(report),
        "evictions_count": matrix(&report.evictions, ("by_vmid_asid", "whom_vmid_asid"), owner),
        "walk_slot_waits_cycles": matrix(&report.walk_waits, ("by_stream", "whom_stream"), |id| json!(id)),
        "recorded_answers": run.comparison.as_ref().map(comparison),
        "functional": functional.map(|functional| json!({
            "transactions_count": functional.transactions_count,
            "translated_count": functional.translated_count,
            "commands_count": functional.commands_count,
            "recorded_answers": functional.comparison.as_ref().map(comparison),
        })),
    })
}

/// Every setting under its key.
fn resolved(settings: &RunSettings) -> Value {
    let mut sections: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for field in RunSettings::fields() {
        let value = match settings.get(&field.key()) {
            Some(smmu::timing::Value::Number(number)) => json!(number),
            Some(smmu::timing::Value::Word(word)) => json!(word),
            None => Value::Null,
        };
        let section = sections.entry(field.section).or_default();
        section.insert(field.name.to_owned(), value);
    }
    debug_assert!(
        TimingConfig::SECTIONS
            .iter()
            .all(|name| sections.contains_key(name))
    );
    json!(sections)
}

/// A ratio to six digits; 0 of 0 is 0.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (part as f64 / whole as f64 * 1e6).round() / 1e6
}

fn totals(report: &Report) -> Value {
    json!({
        "cycles": report.cycles,
        "transactions_count": report.transactions_count,
        "transferred_bytes": report.transferred_bytes,
        "transactions_per_kilocycle": ratio(report.transactions_count * 1000, report.cycles),
        "bytes_per_kilocycle": ratio(report.transferred_bytes * 1000, report.cycles),
        "latency_cycles_mean": ratio(report.latency_cycles, report.transactions_count),
        "in_flight_mean": ratio(report.latency_cycles, report.cycles),
        "illegal_commands_count": report.illegal_commands_count,
    })
}

fn latencies(report: &Report) -> Value {
    let mut classes = Map::new();
    let mut all = Latencies::default();
    for class in LatencyClass::ALL {
        let histogram = report.class(class);
        all.merge(histogram);
        if !histogram.histogram().is_empty() {
            classes.insert(class.name().to_owned(), latency(histogram));
        }
    }
    classes.insert("all".to_owned(), latency(&all));
    Value::Object(classes)
}

fn latency(latencies: &Latencies) -> Value {
    let histogram = latencies.histogram();
    let mut object = Map::new();
    object.insert("count".into(), json!(histogram.len()));
    let mean = ratio(latencies.total_cycles(), histogram.len());
    object.insert("mean".into(), json!((mean * 1e3).round() / 1e3));
    object.insert("min".into(), json!(latencies.least_cycles()));
    for (name, percentile) in PERCENTILES {
        let value = latencies.percentile_cycles(percentile);
        object.insert(name.into(), json!(value));
    }
    object.insert("max".into(), json!(latencies.most_cycles()));
    Value::Object(object)
}

fn stack(stack: &LatencyStack) -> Value {
    let causes = Cause::ALL
        .into_iter()
        .filter(|cause| stack.get(*cause) != 0);
    let cycles = causes.map(|cause| (cause.name().to_owned(), json!(stack.get(cause))));
    Value::Object(cycles.collect())
}

fn tbu(counts: &smmu::timing::TbuCounts) -> Value {
    json!({
        "transactions_count": counts.transactions_count,
        "transferred_bytes": counts.transferred_bytes,
        "micro_tlb_lookups_count": counts.micro_tlb_lookups_count,
        "micro_tlb_misses_count": counts.micro_tlb_misses_count,
        "main_tlb_lookups_count": counts.main_tlb_lookups_count,
        "main_tlb_misses_count": counts.main_tlb_misses_count,
        "merged_count": counts.merged_count,
        "requests_count": counts.requests_count,
        "suppressed_fills_count": counts.suppressed_fills_count,
        "invalidated_count": counts.invalidated_count,
    })
}

/// Counts by level, each level with a name.
fn by_level(counts: &[u64; 5]) -> Value {
    let levels = counts.iter().enumerate().filter(|(_, count)| **count != 0);
    let named = levels.map(|(place, count)| (format!("l{}", place as i64 - 1), json!(count)));
    Value::Object(named.collect())
}

fn tcu(report: &Report) -> Value {
    let counts = &report.tcu;
    json!({
        "requests_count": counts.requests_count,
        "configuration_lookups_count": counts.configuration_lookups_count,
        "configuration_misses_count": counts.configuration_misses_count,
        "configuration_merged_count": counts.configuration_merged_count,
        "configuration_reads_count": counts.configuration_reads_count,
        "walks_count": counts.walks_count,
        "walk_reads_count": counts.walk_reads_count,
        "reads_per_walk": ratio(counts.walk_reads_count, counts.walks_count),
        "buffered_count": counts.buffered_count,
        "s1_walk_cache_lookups_count": counts.walk_cache_lookups_count[0],
        "s2_walk_cache_lookups_count": counts.walk_cache_lookups_count[1],
        "s1_walk_cache_hits_count": by_level(&counts.walk_cache_hits_count[0]),
        "s2_walk_cache_hits_count": by_level(&counts.walk_cache_hits_count[1]),
        "s1_reads_count": by_level(&counts.reads_by_level_count[0]),
        "s2_reads_count": by_level(&counts.reads_by_level_count[1]),
        "stage2_tlb_lookups_count": counts.stage2_tlb_lookups_count,
        "stage2_tlb_misses_count": counts.stage2_tlb_misses_count,
        "suppressed_fills_count": counts.suppressed_fills_count,
        "updates_count": counts.updates_count,
        "events_count": counts.events_count,
        "commands_count": counts.commands_count,
        "tlb_invalidations_count": counts.tlb_invalidations_count,
        "configuration_invalidations_count": counts.configuration_invalidations_count,
        "syncs_count": counts.syncs_count,
        "sync_cycles": counts.sync_cycles,
        "sync_cycles_mean": ratio(counts.sync_cycles, counts.syncs_count),
    })
}

fn ats(counts: &AtsCounts) -> Value {
    json!({
        "atc_lookups_count": counts.atc_lookups_count,
        "atc_misses_count": counts.atc_misses_count,
        "atc_merged_count": counts.atc_merged_count,
        "translation_requests_count": counts.translation_requests_count,
        "translated_transactions_count": counts.translated_transactions_count,
        "unsupported_count": counts.unsupported_count,
        "aborted_count": counts.aborted_count,
        "denied_count": counts.denied_count,
        "discarded_count": counts.discarded_count,
        "invalidations_count": counts.invalidations_count,
        "invalidated_count": counts.invalidated_count,
        "invalidation_cycles": counts.invalidation_cycles,
        "invalidation_cycles_mean": ratio(counts.invalidation_cycles, counts.invalidations_count),
    })
}

fn memory(report: &Report) -> Value {
    let counts = &report.memory;
    json!({
        "reads_count": counts.reads_count,
        "writes_count": counts.writes_count,
        "merged_count": counts.merged_count,
        "cache_hits_count": counts.cache_hits_count,
        "moved_bytes": counts.moved_bytes,
    })
}

fn stream(id: u32, counts: &StreamCounts) -> Value {
    let classes = LatencyClass::ALL.into_iter().zip(counts.by_class_count);
    let classes = classes.filter(|(_, count)| *count != 0);
    let classes = classes.map(|(class, count)| (class.name().to_owned(), json!(count)));
    json!({
        "stream": id,
        "vmid": counts.vmid,
        "asid": counts.asid,
        "transactions_count": counts.transactions_count,
        "transferred_bytes": counts.transferred_bytes,
        "latency_cycles_mean": ratio(counts.latency_cycles, counts.transactions_count),
        "latency_cycles_max": counts.latency_cycles_max,
        "walk_reads_count": counts.walk_reads_count,
        "configuration_reads_count": counts.configuration_reads_count,
        "by_class_count": Value::Object(classes.collect()),
        "latency_stack_cycles": stack(&counts.stack),
    })
}

/// Streams added up by the VMID they were last seen with.
fn vmids(report: &Report) -> Value {
    let mut sums: BTreeMap<u16, (u64, u64, u64, u64)> = BTreeMap::new();
    for (_, counts) in &report.streams {
        if let Some(vmid) = counts.vmid {
            let sum = sums.entry(vmid).or_default();
            sum.0 += counts.transactions_count;
            sum.1 += counts.transferred_bytes;
            sum.2 += counts.latency_cycles;
            sum.3 += counts.walk_reads_count;
        }
    }
    let rows = sums
        .into_iter()
        .map(|(vmid, (transactions, bytes, latency, reads))| {
            json!({
                "vmid": vmid,
                "transactions_count": transactions,
                "transferred_bytes": bytes,
                "latency_cycles_mean": ratio(latency, transactions),
                "walk_reads_count": reads,
            })
        });
    Value::Array(rows.collect())
}

fn resource(resource: &ResourceUsage) -> Value {
    let Usage {
        grants_count,
        waits_count,
        waited_cycles,
        held_cycles,
        full_cycles,
        peak_count,
    } = resource.usage;
    json!({
        "name": resource.name,
        "capacity_count": resource.capacity_count,
        "grants_count": grants_count,
        "waits_count": waits_count,
        "waited_cycles": waited_cycles,
        "held_cycles": held_cycles,
        "full_cycles": full_cycles,
        "peak_count": peak_count,
    })
}

fn faults(report: &Report) -> Value {
    let named = report.faults.iter().map(|(id, count)| {
        let event = smmu::spec::event::EventId(*id);
        let name = event.name().map_or(format!("{id:#04x}"), str::to_owned);
        (name, json!(count))
    });
    Value::Object(named.collect())
}

fn owner(party: u32) -> Value {
    json!({ "vmid": party >> 16, "asid": party & 0xffff })
}

fn matrix(
    matrix: &Matrix,
    (by_name, whom_name): (&str, &str),
    party: impl Fn(u32) -> Value,
) -> Value {
    let show = |who: Option<u32>| who.map_or(json!("others"), &party);
    let rows = matrix.iter().map(
        |(by, whom, amount)| json!({ by_name: show(by), whom_name: show(whom), "amount": amount }),
    );
    Value::Array(rows.collect())
}

fn comparison(comparison: &Comparison) -> Value {
    let differences = comparison.differences.iter().map(|difference| {
        json!({
            "line": difference.line,
            "recorded": difference.recorded,
            "model": difference.model,
        })
    });
    json!({
        "equal_count": comparison.equal_count,
        "different_count": comparison.different_count,
        "known_departures_count": comparison.known_count,
        "cached_otherwise_count": comparison.cached_count,
        "undefined_by_recording_count": comparison.undefined_count,
        "differences": differences.collect::<Vec<_>>(),
    })
}
