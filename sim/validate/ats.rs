//! V2 and V6 of devices with ATS: formulas of the device, its link, and what the SMMU does for both.

use smmu::timing::LatencyClass;

use super::Checks;
use super::runs::{report, settings, usual};

/// V2: every path of a device with ATS, one transaction at a time.
pub(super) fn latencies(checks: &mut Checks) {
    let default = settings("default", &[]).timing;
    let atc = default.ats.latency_cycles;
    let link = default.ats.link_latency_cycles;
    let tbu = default.tbu.port_cycles + default.micro_tlb.latency_cycles;
    let main = default.main_tlb.latency_cycles;
    let configuration = default.configuration_cache.latency_cycles;
    let walk_cache = default.walk_cache.latency_cycles;
    let memory = default.memory.request_cycles + default.memory.latency_cycles;
    let read = memory + default.tcu.step_cycles;
    let request = 2 * link + configuration;
    let run = |changes: &[&str]| {
        let mut all = vec![
            "ats.enabled=true",
            "device.outstanding=1",
            "workload.transactions=20000",
        ];
        all.extend(changes);
        report("default", &all)
    };
    let mut exact = |what: &str, expected: u64, ours: f64| {
        let what = format!("ATS, {what}");
        checks.within("V2", what, (expected as f64, ours), "cycles", 0.0);
    };
    let hits = run(&["workload.pages=16"]);
    exact(
        "ATC hit: ATC + port + micro",
        atc + tbu,
        usual(&hits, LatencyClass::AtcHit),
    );
    let stride = ["workload.pattern=stride", "workload.pages=16384"];
    let misses = run(&stride);
    exact(
        "ATC miss, walk cache hit: + 2 ATS link + configuration cache + walk cache + 1 read",
        atc + request + walk_cache + read + tbu,
        usual(&misses, LatencyClass::AtcMiss),
    );
    let cold = ["walk_cache.entries=0", "stage2_tlb.entries=0"];
    let nested = "machine.stages=nested";
    let misses = run(&[stride[0], stride[1], cold[0], cold[1], nested]);
    exact(
        "ATC miss, nested 4 by 4 levels, no walk cache: + 24 reads",
        atc + request + 24 * read + tbu,
        usual(&misses, LatencyClass::AtcMiss),
    );
    let first = report(
        "default",
        &[
            "ats.enabled=true",
            "workload.transactions=1",
            "walk_cache.entries=0",
        ],
    );
    let fetched = configuration + 2 * default.link.latency_cycles;
    exact(
        "first access: + STE + CD + 4 reads, and the TBU asks for the configuration too",
        atc + request + 2 * memory + 4 * read + tbu + fetched,
        usual(&first, LatencyClass::AtcMiss),
    );
    let split = [nested, "machine.eats=split-stage"];
    let hits = run(&["workload.pages=16", split[0], split[1]]);
    exact(
        "split-stage, ATC and micro TLB hit",
        atc + tbu,
        usual(&hits, LatencyClass::AtcHit),
    );
    let misses = run(&[stride[0], stride[1], split[0], split[1]]);
    // Stage-1 table by its walk cache, its page by the stage-2 TLB, the leaf's page by the walk cache.
    let walk = 3 * walk_cache + 2 * read;
    let second = main + 2 * default.link.latency_cycles + configuration + walk_cache;
    exact(
        "split-stage, all miss: + main + 2 link + configuration cache + stage-2 TLB",
        atc + request + walk + tbu + second,
        usual(&misses, LatencyClass::AtcMiss),
    );
}

/// V6: the same 2 100 ns, spent between a device TLB and the walker.
pub(super) fn hypertrio(checks: &mut Checks, (reference, changes): (f64, &[&str])) {
    let mut all = changes.to_vec();
    all.extend([
        "device.outstanding=1",
        "ats.enabled=true",
        "ats.entries=0",
        "link.latency_cycles=0",
        "machine.atschk=false",
    ]);
    let ours = usual(&report("default", &all), LatencyClass::AtcMiss);
    let what = "uncached nested translation asked for by ATS";
    checks.within("V6", what, (reference, ours), "ns", 1.0);
}
