//! V1: memory reads of cold walks.

use super::runs::{NO_CACHES, report};
use super::{Checks, rows};

const LEVELS: &str = include_str!("reference/walk_levels.tsv");

/// Shape of one stage's tables, and how many levels they have.
struct Shape {
    granule: &'static str,
    input_bits: &'static str,
    start_level: &'static str,
    levels: u64,
}

fn shapes(stage: &str) -> Vec<Shape> {
    rows(LEVELS)
        .filter(|row| row[0] == stage)
        .map(|row| Shape {
            granule: row[1],
            input_bits: row[2],
            start_level: row[3],
            levels: row[4].parse().expect("a number of levels"),
        })
        .collect()
}

fn page_log2(granule: &str) -> &'static str {
    match granule {
        "16K" => "14",
        "64K" => "16",
        _ => "12",
    }
}

fn reads(changes: &[String]) -> (u64, u64) {
    let mut all: Vec<&str> = NO_CACHES.to_vec();
    all.extend([
        "workload.transactions=1",
        "workload.pages=1",
        "workload.pattern=stride",
    ]);
    all.extend(changes.iter().map(String::as_str));
    let tcu = report("default", &all).tcu;
    (tcu.walk_reads_count, tcu.configuration_reads_count)
}

fn exact(checks: &mut Checks, what: String, expected: u64, found: u64) {
    checks.within("V1", what, (expected as f64, found as f64), "reads", 0.0);
}

/// Every pair of sizes, stage 1 alone, and blocks; the configuration apart.
pub(super) fn walks(checks: &mut Checks) {
    let stage1 = |shape: &Shape| {
        vec![
            format!("machine.granule={}", shape.granule),
            format!("machine.input_bits={}", shape.input_bits),
            format!("machine.page_log2={}", page_log2(shape.granule)),
        ]
    };
    for first in shapes("1") {
        let changes = stage1(&first);
        let name = format!("{} {} bit", first.granule, first.input_bits);
        // The configuration of one stage is an STE and a CD.
        let (walk, configuration) = reads(&changes);
        exact(checks, format!("stage 1, {name}"), first.levels, walk);
        exact(
            checks,
            format!("stage 1, {name}: configuration"),
            2,
            configuration,
        );
        for second in shapes("2") {
            let mut changes = changes.clone();
            changes.extend([
                "machine.stages=nested".to_owned(),
                format!("machine.stage2_granule={}", second.granule),
                format!("machine.stage2_page_log2={}", page_log2(second.granule)),
                format!("machine.stage2_input_bits={}", second.input_bits),
                format!("machine.stage2_start_level={}", second.start_level),
            ]);
            let (walk, configuration) = reads(&changes);
            let (n, m) = (first.levels, second.levels);
            let what = format!(
                "{name} over {} {} bit: {n} by {m} levels",
                second.granule, second.input_bits
            );
            // The CD is found through stage 2: m reads that count as the walk's, with the rest.
            exact(checks, what, (n + 1) * (m + 1) - 1 + m, walk);
            debug_assert_eq!(configuration, 2);
        }
    }
    for (page_log2, stage2_log2, n, m) in [
        (21, 12, 3, 4),
        (30, 12, 2, 4),
        (12, 21, 4, 3),
        (12, 30, 4, 2),
        (21, 21, 3, 3),
        (30, 30, 2, 2),
    ] {
        let changes = [
            "machine.stages=nested".to_owned(),
            format!("machine.page_log2={page_log2}"),
            format!("machine.stage2_page_log2={stage2_log2}"),
        ];
        let (walk, _) = reads(&changes);
        let what = format!("blocks of 2^{page_log2} over 2^{stage2_log2}: {n} by {m} levels");
        exact(checks, what, (n + 1) * (m + 1) - 1 + m, walk);
    }
}
