//! V7: gem5's SMMUv3 model, by its preset.

use smmu::timing::{LatencyClass, Report};

use super::runs::{report, usual};
use super::{Checks, figure, rows};

const GEM5: &str = include_str!("reference/gem5.tsv");

/// What gem5's measure leaves out: the cycle of the device port.
const PORT_CYCLES: f64 = 1.0;

/// How each case is brought about, and the class its transactions are of.
fn case(name: &str) -> (Vec<&'static str>, LatencyClass) {
    let (kind, stages) = if name.starts_with("stage 2") {
        (LatencyClass::Stage2, "machine.stages=stage2")
    } else if name.starts_with("nested") {
        (LatencyClass::Nested, "machine.stages=nested")
    } else {
        (LatencyClass::Stage1, "machine.stages=stage1")
    };
    let mut changes = vec![stages, "device.outstanding=1"];
    let mut class = kind;
    if name.contains("TLB hit") {
        changes.push("workload.transactions=50000");
        if name.starts_with("micro") {
            changes.push("workload.pages=16");
            class = LatencyClass::MicroTlb;
        } else {
            changes.push("workload.pages=1024");
            class = LatencyClass::MainTlb;
        }
        return (changes, class);
    }
    changes.push("workload.pattern=stride");
    if name.contains("first access") {
        changes.extend(["workload.pages=1", "workload.transactions=1"]);
        class = LatencyClass::Configuration;
    } else {
        changes.extend(["workload.pages=16384", "workload.transactions=16384"]);
    }
    if name.contains("no walk cache") {
        changes.extend(["walk_cache.entries=0", "stage2_tlb.entries=0"]);
    }
    if name.starts_with("stage 1 of 3") || name.starts_with("nested 3 by 3") {
        changes.push("machine.input_bits=39");
    }
    if name.starts_with("nested 3 by 3") {
        changes.extend([
            "machine.stage2_input_bits=40",
            "machine.stage2_start_level=1",
        ]);
    }
    (changes, class)
}

/// Reads of one transaction of the usual kind.
fn reads(report: &Report, class: LatencyClass) -> f64 {
    let tcu = &report.tcu;
    match class {
        LatencyClass::MicroTlb | LatencyClass::MainTlb => 0.0,
        LatencyClass::Configuration => {
            (tcu.walk_reads_count + tcu.configuration_reads_count) as f64
        }
        _ => (tcu.walk_reads_count as f64 / tcu.walks_count as f64).round(),
    }
}

/// Every case that was measured.
pub(super) fn cycles(checks: &mut Checks) {
    for row in rows(GEM5) {
        let (changes, class) = case(row[0]);
        let report = report("gem5", &changes);
        let ours = usual(&report, class) - PORT_CYCLES;
        checks.within_one("V7", row[0], (figure(row[1]), ours));
        let what = format!("{}: reads", row[0]);
        let ours = reads(&report, class);
        checks.within("V7", what, (figure(row[2]), ours), "reads", 0.0);
    }
}
