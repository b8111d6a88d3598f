//! Commands that the drivers of 6.1 and 7.2 issued while they worked, compared operation by
//! operation with ours (`tests/data/driver`: the C lines of the recorded traces).

use std::path::{Path, PathBuf};

use smmu_sim::check::{CheckOptions, Report, Side, check_file};

/// Our driver against the recorded one.
fn driver_side() -> CheckOptions {
    CheckOptions {
        side: Side::Driver,
        ..CheckOptions::default()
    }
}

fn trace(run: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/driver")
        .join(format!("dma_trace_{run}.csv.zst"))
}

// linux-iommu.md 4.3, 4.6, 4.7: attach, detach, unmap, flush in strict and lazy mode, with 4 KiB
// and 16 KiB pages, at stage 1 and stage 2.
#[test]
fn every_recorded_operation_issues_the_same_commands() {
    for (run, operations) in [
        ("k61_strict", 26_440),
        ("k61_lazy", 3_010),
        ("k72_strict", 28_051),
        ("k72_16k_strict", 13_502),
        ("k72_s2only", 19_780),
    ] {
        let mut report = Report::default();
        check_file(&trace(run), &driver_side(), &mut report).unwrap();
        assert!(report.is_clean(), "{run}: {report}");
        assert_eq!(report.checked, operations, "{run}");
    }
}

fn first_lines(run: &str, count: usize) -> Vec<String> {
    let bytes = smmu_sim::input::read(&trace(run)).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    text.lines().take(count).map(str::to_owned).collect()
}

fn check_as(name: &str, lines: &[String]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, lines.join("\n")).unwrap();
    let mut report = Report::default();
    check_file(&file, &driver_side(), &mut report).unwrap();
    report
}

#[test]
fn another_kernels_commands_are_told_apart() {
    let lines = first_lines("k61_strict", 200);
    assert!(check_as("dma_trace_k61.csv", &lines).is_clean());
    let report = check_as("dma_trace_k72.csv", &lines);
    assert!(report.differ > 10, "{report}");
}

#[test]
fn a_changed_command_is_a_difference_at_its_operation() {
    let mut lines = first_lines("k72_strict", 199);
    let at = lines
        .iter()
        .position(|line| line == "C,,1000000003,1")
        .unwrap();
    // CFGI_STE loses its Leaf bit.
    lines[at] = "C,,1000000003,0".to_owned();
    let report = check_as("dma_trace_k72.csv", &lines);
    assert_eq!(report.differ, 1, "{report}");
    assert!(report.kinds.contains_key("attach: other commands"));
}

#[test]
fn a_trace_that_is_none_says_where() {
    let lines = ["# smmu-dma-trace-1".to_owned(), "C,0,zz,0".to_owned()];
    let folder = tempfile::tempdir().unwrap();
    for (name, complaint) in [
        ("dma_trace_k61.csv", ":2: expected C,slot,word,word"),
        ("dma_trace.csv", "tells the kernel"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, lines.join("\n")).unwrap();
        let error = check_file(&file, &driver_side(), &mut Report::default()).unwrap_err();
        assert!(error.to_string().contains(complaint), "{error}");
    }
}
