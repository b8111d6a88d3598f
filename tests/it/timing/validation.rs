//! V1 to V10, with as few transactions as their tolerances need.

use smmu_sim::validate::{CHECKS, Check, Effort, run};

fn passes(id: &str) {
    let checks = run(Effort::Quick, |wanted| wanted == id);
    assert!(!checks.is_empty());
    let failed: Vec<&Check> = checks.iter().filter(|check| !check.passed).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn v1_cold_walks_read_what_the_formula_says_for_every_pair_of_levels() {
    passes("V1");
}

#[test]
fn v2_uncontended_latencies_are_their_closed_forms() {
    passes("V2");
}

#[test]
fn v3_littles_law_holds_and_slots_are_never_exceeded() {
    passes("V3");
}

#[test]
fn v4_five_machines_latencies_are_met_within_1_per_cent() {
    passes("V4");
}

#[test]
fn v5_the_bandwidth_collapse_of_a_real_iommu_is_met() {
    passes("V5");
}

#[test]
fn v6_hypertrios_closed_form_is_met() {
    passes("V6");
}

#[test]
fn v7_gem5s_cycles_and_reads_are_met() {
    passes("V7");
}

#[test]
fn v8_timed_equals_functional_and_more_is_never_worse() {
    passes("V8");
}

#[test]
fn v9_no_translation_is_stale_after_its_sync() {
    passes("V9");
}

#[test]
fn v10_published_shapes_are_met() {
    passes("V10");
}

#[test]
fn every_check_there_is_is_tested_here() {
    let own = include_str!("validation.rs");
    for (id, _) in CHECKS {
        assert!(own.contains(&format!("passes(\"{id}\")")), "{id}");
    }
}

/// The checks can fail: a gem5 of another latency is told apart.
#[test]
fn a_wrong_latency_is_noticed() {
    let check = Check {
        id: "V7",
        what: String::new(),
        reference: 132.0,
        ours: 134.0,
        unit: "cycles",
        tolerance_percent: 0.0,
        passed: false,
    };
    assert!((check.error_percent() - 1.515).abs() < 0.001);
}
