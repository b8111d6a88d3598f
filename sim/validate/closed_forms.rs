//! V2, V3 and V6: formulas.

use smmu::timing::{Cause, LatencyClass};

use super::runs::{NO_CACHES, mean, report, settings, usual};
use super::{Checks, ats, figure, rows};

const HYPERTRIO: &str = include_str!("reference/hypertrio.tsv");

/// V2: every path of the default machine, one transaction at a time.
pub(super) fn latencies(checks: &mut Checks) {
    let default = settings("default", &[]).timing;
    let port = default.tbu.port_cycles;
    let micro = port + default.micro_tlb.latency_cycles;
    let main = micro + default.main_tlb.latency_cycles;
    let link = default.link.latency_cycles;
    let walk_cache = default.walk_cache.latency_cycles;
    let memory = default.memory.request_cycles + default.memory.latency_cycles;
    let read = memory + default.tcu.step_cycles;
    let miss = main + 2 * link + default.configuration_cache.latency_cycles;
    let mut exact = |what: &str, expected: u64, ours: f64| {
        checks.within("V2", what, (expected as f64, ours), "cycles", 0.0);
    };
    let one = ["device.outstanding=1", "workload.transactions=20000"];
    let run = |changes: &[&str]| {
        let mut all = one.to_vec();
        all.extend(changes);
        report("default", &all)
    };
    let hits = run(&["workload.pages=16"]);
    exact(
        "micro TLB hit: port + micro",
        micro,
        usual(&hits, LatencyClass::MicroTlb),
    );
    let hits = run(&["workload.pages=512", "main_tlb.ways=0"]);
    exact(
        "main TLB hit: + main",
        main,
        usual(&hits, LatencyClass::MainTlb),
    );
    let stride = ["workload.pattern=stride", "workload.pages=16384"];
    let walks = run(&stride);
    exact(
        "stage 1, walk cache hit: + 2 link + configuration cache + walk cache + 1 read",
        miss + walk_cache + read,
        usual(&walks, LatencyClass::Stage1),
    );
    let off = ["walk_cache.entries=0", "stage2_tlb.entries=0"];
    let walks = run(&[stride[0], stride[1], off[0], off[1]]);
    exact(
        "stage 1 of 4 levels, no walk cache: + 4 reads",
        miss + 4 * read,
        usual(&walks, LatencyClass::Stage1),
    );
    let walks = run(&[
        stride[0],
        stride[1],
        off[0],
        off[1],
        "machine.stages=stage2",
    ]);
    exact(
        "stage 2 of 4 levels, no walk cache: + 4 reads",
        miss + 4 * read,
        usual(&walks, LatencyClass::Stage2),
    );
    let nested = "machine.stages=nested";
    let walks = run(&[stride[0], stride[1], off[0], off[1], nested]);
    exact(
        "nested 4 by 4 levels, no walk cache: + 24 reads",
        miss + 24 * read,
        usual(&walks, LatencyClass::Nested),
    );
    let walks = run(&[stride[0], stride[1], nested]);
    // Stage-1 table by its walk cache, its page by the stage-2 TLB, the leaf's page by the walk cache.
    exact(
        "nested, walk caches and stage-2 TLB: + 3 probes + 2 reads",
        miss + 3 * walk_cache + 2 * read,
        usual(&walks, LatencyClass::Nested),
    );
    let cold = report(
        "default",
        &[
            "device.outstanding=1",
            "workload.transactions=1",
            "walk_cache.entries=0",
        ],
    );
    exact(
        "stage 1, first access: + STE + CD + 4 reads",
        miss + 2 * memory + 4 * read,
        usual(&cold, LatencyClass::Configuration),
    );
    let bypass = run(&["machine.stages=bypass"]);
    exact("bypass", micro, usual(&bypass, LatencyClass::Bypass));
}

/// V3: what is in a resource is its throughput times the time spent in it.
pub(super) fn littles_law(checks: &mut Checks) {
    for (name, changes) in [
        ("hits", vec!["workload.pages=16"]),
        ("stage 1 walks", vec!["workload.pages=65536"]),
        (
            "nested cold walks",
            vec![
                "workload.pages=65536",
                "machine.stages=nested",
                "walk_cache.entries=0",
                "stage2_tlb.entries=0",
            ],
        ),
    ] {
        let mut all = vec!["workload.transactions=50000", "tbu.slots=32"];
        all.extend(changes);
        let report = report("default", &all);
        let cycles = report.cycles as f64;
        let slots = report.resource("tbu0.slots").expect("every machine has it");
        let held = slots.usage.held_cycles as f64 / cycles;
        let rate = report.transactions_count as f64 / cycles;
        let waited = report.stack.get(Cause::TbuSlot) as f64 / report.transactions_count as f64;
        let expected = rate * (mean(&report) - waited);
        let what = format!("{name}: TBU slots held = rate x time in the TBU");
        checks.within("V3", what, (expected, held), "transactions", 1.0);
        let walks = report
            .resource("tcu.walk_slots")
            .expect("every machine has it");
        if walks.usage.grants_count > 1000 {
            let held = walks.usage.held_cycles as f64 / cycles;
            let within: u64 = [
                Cause::WalkCache,
                Cause::WalkStep,
                Cause::MemoryRead,
                Cause::MemoryQueue,
            ]
            .into_iter()
            .map(|cause| report.stack.get(cause))
            .sum();
            let each = within as f64 / walks.usage.grants_count as f64;
            let expected = walks.usage.grants_count as f64 / cycles * each;
            let what = format!("{name}: walk slots held = walks x their time");
            checks.within("V3", what, (expected, held), "walks", 1.0);
            let most = walks.capacity_count >= walks.usage.peak_count;
            checks.holds("V3", format!("{name}: never more walks than slots"), most);
        }
    }
}

/// Nanoseconds of one packet of 1542 bytes at 200 Gb/s, in tenths: the least time between packets.
const PACKET_BITS: f64 = 1542.0 * 8.0;

/// V6: no cache, all latency in the link and in 24 accesses.
pub(super) fn hypertrio(checks: &mut Checks) {
    let mut base: Vec<String> = NO_CACHES
        .iter()
        .filter(|change| !change.starts_with("configuration"))
        .map(|change| (*change).to_owned())
        .collect();
    base.extend(
        [
            "machine.stages=nested",
            "workload.pages=4096",
            "workload.pattern=stride",
            "workload.transactions=20000",
            "configuration_cache.latency_cycles=0",
            "tbu.port_cycles=0",
            "link.latency_cycles=450",
            "memory.latency_cycles=50",
            "memory.request_cycles=0",
            "memory.merge_entries=0",
            "tcu.step_cycles=0",
            "tcu.walk_slots=128",
            "tcu.request_slots=128",
            "tbu.slots=128",
            "hazard.merge=off",
        ]
        .map(str::to_owned),
    );
    for row in rows(HYPERTRIO) {
        let reference = figure(row[1]);
        let Some(in_flight) = row[0].strip_prefix('q') else {
            let mut changes: Vec<&str> = base.iter().map(String::as_str).collect();
            changes.push("device.outstanding=1");
            let ours = usual(&report("default", &changes), LatencyClass::Nested);
            checks.within(
                "V6",
                "uncached nested translation",
                (reference, ours),
                "ns",
                1.0,
            );
            let changes: Vec<&str> = base.iter().map(String::as_str).collect();
            ats::hypertrio(checks, (reference, &changes));
            continue;
        };
        let outstanding = format!("device.outstanding={in_flight}");
        let mut changes: Vec<&str> = base.iter().map(String::as_str).collect();
        changes.push(&outstanding);
        let report = report("default", &changes);
        let translations = report.transactions_count as f64 / report.cycles as f64;
        let ours = (translations / 3.0 * PACKET_BITS).min(200.0);
        let what = format!("{in_flight} translations in flight");
        checks.within("V6", what, (reference, ours), "Gb/s", 1.0);
    }
}
