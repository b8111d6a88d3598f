//! Recorded answers of QEMU and of the architecture: everything in `tests/data` agrees.

use std::path::{Path, PathBuf};

use smmu::cache::CacheConfig;
use smmu_sim::check::{Report, check_file};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn checked(name: &str) -> Report {
    let mut report = Report::default();
    check_file(&data(name), &CacheConfig::INFINITE, &mut report).unwrap();
    assert!(report.is_clean(), "{report}");
    report
}

#[test]
fn every_golden_access_agrees_and_the_only_deviation_is_listed() {
    let report = checked("golden.jsonl.gz");
    assert_eq!(report.checked, 18_526);
    let deviations: Vec<_> = report
        .deviations
        .iter()
        .map(|(name, kind)| (*name, kind.count))
        .collect();
    assert_eq!(deviations, [("D1 (SMMUEN=0, address beyond OAS)", 87)]);
    assert_eq!(report.sources["the architecture"], 4_555);
}

#[test]
fn every_row_of_the_snapshots_agrees() {
    for (name, rows) in [
        ("nest_72_64k.mixed", 22_803),
        ("nest_72_64k.nested", 26_163),
        ("own4k_nested.badcd", 20_931),
        ("k72_16k_strict.vfio", 69_081),
        ("two_72.vfio", 102_862),
    ] {
        let report = checked(&format!("snapshots/{name}.json"));
        assert_eq!(report.checked, rows, "{name}");
        assert!(report.deviations.is_empty());
    }
}

#[test]
fn a_recording_that_differs_is_reported_by_kind() {
    let text = String::from_utf8(smmu_sim::input::read(&data("golden.jsonl.gz")).unwrap()).unwrap();
    let first = text.lines().next().unwrap();
    // The first scenario's first answer, moved by a page.
    let wrong = first.replacen("\"pa\":3707529444", "\"pa\":3707533540", 1);
    assert_ne!(
        wrong, first,
        "the recording is as it was when this test was written"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wrong).unwrap();
    let mut report = Report::default();
    check_file(file.path(), &CacheConfig::INFINITE, &mut report).unwrap();
    assert_eq!(report.differ, 1);
    let kind = &report.kinds["a translation expected, a translation found"];
    assert_eq!(kind.examples[0].expected, "pa 0xdcfc78e4");
    assert_eq!(kind.examples[0].actual, "pa 0xdcfc68e4");
}
